//! From nested JSON arrays straight into the typed buffer of a tensor column.

use half::f16;

use super::error::CellProblem;
use super::json::{Integer, Scan, Scanner};
use super::tensors::{TensorColumn, TensorType, Values};
use crate::tensor::ElementType;

/// Reads the value at the cursor as one row of `column`. The cursor is behind the value afterwards, also when it is refused; then the row has been
/// taken back.
///
/// `missing` says whether `null` is an element, NaN; only floats have one. `found` describes a value for messages.
pub(super) fn read(
    scan: &mut Scanner<'_>,
    column: &mut TensorColumn,
    r#type: &TensorType,
    missing: bool,
    scratch: &mut String,
    found: fn(Scanner<'_>) -> String,
) -> Scan<Result<(), CellProblem>> {
    let before = scan.clone();
    let n_rows = column.len();
    let mut reader = Reader {
        scan,
        values: column.values_mut(),
        dtype: r#type.dtype,
        missing,
        scratch,
        found,
        lengths: vec![None; r#type.shape.len()],
        path: Vec::new(),
    };
    let read = reader.level(&r#type.shape, 0)?;
    let Reader { lengths, path, .. } = reader;
    match read {
        Ok(()) => {
            let open = r#type.shape.iter().zip(lengths).filter(|(dim, _)| dim.is_none());
            // Below an array without entries nothing has a length.
            let lengths: Vec<usize> = open.map(|(_, length)| length.unwrap_or(0)).collect();
            let complete = column.end_row(&lengths);
            debug_assert!(complete, "every level was counted");
            Ok(Ok(()))
        }
        Err(problem) => {
            column.truncate(n_rows);
            // The rest of it must be JSON all the same.
            *scan = before;
            scan.skip_value()?;
            Ok(Err(CellProblem::within(path, problem)))
        }
    }
}

struct Reader<'r, 'a> {
    scan: &'r mut Scanner<'a>,
    values: &'r mut Values,
    dtype: ElementType,
    missing: bool,
    scratch: &'r mut String,
    found: fn(Scanner<'_>) -> String,
    /// The length that each dimension has shown.
    lengths: Vec<Option<usize>>,
    /// Where the cursor is, as positions in arrays.
    path: Vec<usize>,
}

impl Reader<'_, '_> {
    /// Reads the dimensions from `depth` on. Recurses as deep as the shape has dimensions.
    fn level(&mut self, shape: &[Option<usize>], depth: usize) -> Scan<Result<(), CellProblem>> {
        let Some(dim) = shape.get(depth) else { return self.element() };
        if self.scan.peek() != b'[' {
            return Ok(Err(self.refused("an array")));
        }
        let mut length = 0;
        let mut goes_on = self.scan.begin(b']')?;
        while goes_on {
            self.path.push(length);
            if let Err(problem) = self.level(shape, depth + 1)? {
                return Ok(Err(problem));
            }
            self.path.pop();
            length += 1;
            goes_on = self.scan.more(b']')?;
        }
        let expected = dim.or(self.lengths[depth]);
        self.lengths[depth] = Some(length);
        match expected {
            Some(expected) if expected != length => {
                Ok(Err(CellProblem::Length { found: length, expected, fixed: dim.is_some() }))
            }
            _ => Ok(Ok(())),
        }
    }

    fn refused(&self, expected: &'static str) -> CellProblem {
        let found = (self.found)(self.scan.clone());
        if found == "null" {
            CellProblem::Null { expected }
        } else {
            CellProblem::Type { expected, found }
        }
    }

    fn element(&mut self) -> Scan<Result<(), CellProblem>> {
        match (self.scan.peek(), self.dtype) {
            (b't' | b'f', ElementType::Bool) => {
                let value = self.scan.peek() == b't';
                self.scan.literal(if value { "true" } else { "false" })?;
                if let Values::Bool(values) = self.values {
                    values.push(value);
                }
                Ok(Ok(()))
            }
            (b'"', ElementType::String) => {
                let raw = self.scan.string()?;
                if let Values::String(values) = self.values {
                    values.push(raw.value(self.scratch).to_owned());
                }
                Ok(Ok(()))
            }
            (b'0'..=b'9' | b'-', dtype) if dtype.is_float() => self.float(),
            (b'0'..=b'9' | b'-', dtype) if dtype.is_integer() => self.integer(),
            (b'n', dtype) if dtype.is_float() && self.missing => {
                self.scan.literal("null")?;
                self.push_float(f64::NAN);
                Ok(Ok(()))
            }
            (_, ElementType::Bool) => Ok(Err(self.refused("true or false"))),
            (_, ElementType::String) => Ok(Err(self.refused("a string"))),
            (_, dtype) if dtype.is_integer() => Ok(Err(self.refused("an integer"))),
            _ => Ok(Err(self.refused("a number"))),
        }
    }

    /// To the nearest value of the type, by way of float64, as NumPy does with the same digits.
    fn float(&mut self) -> Scan<Result<(), CellProblem>> {
        let number = self.scan.number()?;
        let value = number.to_f64();
        if self.push_float(value) {
            return Ok(Ok(()));
        }
        let found = super::shorten(number.text, super::decode::SHOWN);
        Ok(Err(CellProblem::TooLarge { found, dtype: self.dtype }))
    }

    /// Appends a float; false when it is beyond the type.
    fn push_float(&mut self, value: f64) -> bool {
        let finite;
        match self.values {
            Values::Float64(values) => {
                finite = value.is_finite();
                values.push(value);
            }
            #[expect(clippy::cast_possible_truncation, reason = "to the nearest, as NumPy does")]
            Values::Float32(values) => {
                let value = value as f32;
                finite = value.is_finite();
                values.push(value);
            }
            Values::Float16(values) => {
                let value = f16::from_f64(value);
                finite = value.is_finite();
                values.push(value);
            }
            _ => return false,
        }
        finite || value.is_nan()
    }

    fn integer(&mut self) -> Scan<Result<(), CellProblem>> {
        let number = self.scan.number()?;
        let found = || super::shorten(number.text, super::decode::SHOWN);
        let wide: i128 = match number.to_integer() {
            Integer::Exact(value) => value.into(),
            Integer::Fraction => return Ok(Err(CellProblem::NotInteger { found: found() })),
            // The upper half of uint64 is beyond what an integer field takes.
            Integer::OutOfRange => number.text.parse().unwrap_or(i128::MAX),
        };
        /// Appends it where it fits the type.
        macro_rules! push {
            ($($variant:ident),*) => {
                match self.values {
                    $(Values::$variant(values) => wide.try_into().map(|value| values.push(value)).is_ok(),)*
                    _ => false,
                }
            };
        }
        if push!(Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64) {
            return Ok(Ok(()));
        }
        Ok(Err(CellProblem::IntegerRange { found: found(), dtype: self.dtype }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Column, DecodeOptions, Schema};
    use serde_json::json;

    /// What becomes of a value of a field of this type: the shape and values of the row, or the error's path and code.
    fn read(dtype: &str, shape: serde_json::Value, value: &str) -> String {
        let field = json!([{"name": "x", "type": "tensor", "dtype": dtype, "shape": shape}]);
        let schema = Schema::load(serde_json::from_value(field).unwrap()).unwrap();
        let mut frame = schema.frame();
        // The rows around it must not notice.
        let one = "{\"x\":null,\"x\":null}";
        let body = format!("[{one},{{\"x\":{value}}},{one}]");
        let decoded = match schema.decode(body.as_bytes(), &DecodeOptions::default(), &mut frame) {
            Ok(decoded) => decoded,
            Err(error) => return error.to_string(),
        };
        let error = decoded.errors.iter().find(|error| error.row == Some(1));
        let [Column::Tensor(column)] = frame.columns() else { panic!() };
        match error {
            Some(error) => {
                assert_eq!((column.len(), column.values().len()), (0, 0));
                format!("{:?} {}: {}", error.problem.path(), error.problem.code(), error.problem)
            }
            None => {
                let values: Vec<String> = column
                    .gather(&[0], &column.shape(0))
                    .unwrap()
                    .elements()
                    .map(|value| format!("{value:?}"))
                    .collect();
                format!("{:?} {}", column.shape(0), values.join(" "))
            }
        }
    }

    #[test]
    fn nested_arrays_are_read_row_by_row() {
        assert_eq!(read("int8", json!([]), " -5.0 "), "[] Int(-5)");
        assert_eq!(read("int8", json!([2, 1]), "[ [1] , [ 2 ] ]"), "[2, 1] Int(1) Int(2)");
        assert_eq!(
            read("bool", json!([null, null]), "[[true,false]]"),
            "[1, 2] Bool(true) Bool(false)"
        );
        assert_eq!(read("float32", json!([null, 2, null]), "[]"), "[0, 2, 0] ");
        assert_eq!(read("float32", json!([null, 2, null]), "[[[],[]]]"), "[1, 2, 0] ");
        assert_eq!(
            read("uint64", json!([1]), "[18446744073709551615]"),
            "[1] Int(18446744073709551615)"
        );
        assert_eq!(read("string", json!([1]), r#"["\u00e9"]"#), "[1] Text(\"é\")");
    }

    #[test]
    fn a_wrong_shape_is_said_with_its_place() {
        let cube = json!([null, null, 2]);
        assert_eq!(
            read("float64", cube.clone(), "[[[1,2]],[[1,2],[3,4]]]"),
            "[1] length: expected 1 values as in the array before, found 2"
        );
        assert_eq!(
            read("float64", cube.clone(), "[[[1,2]],[[1]]]"),
            "[1, 0] length: expected 2 values, found 1"
        );
        assert_eq!(
            read("float64", cube.clone(), "[[1,2]]"),
            "[0, 0] type: expected an array, found the number 1"
        );
        assert_eq!(
            read("float64", cube.clone(), "[[[1,[2]]]]"),
            "[0, 0, 1] type: expected a number, found an array"
        );
        assert_eq!(
            read("float64", cube.clone(), "5"),
            "[] type: expected an array, found the number 5"
        );
        assert_eq!(
            read("float64", cube, "null"),
            "[] null: expected an array, found null; a missing value is not allowed here"
        );
        // What comes after the fault must be JSON all the same.
        assert_eq!(
            read("int8", json!([2]), "[1.5, }"),
            "expected a value, found `}` at line 1, column 33"
        );
    }

    #[test]
    fn unsound_tensor_fields_are_refused() {
        let refusal = |more: serde_json::Value| {
            let mut field = json!({"name": "x", "type": "tensor", "dtype": "int8", "shape": [2]});
            for (key, value) in more.as_object().unwrap() {
                field[key] = value.clone();
            }
            let field = serde_json::from_value(json!([field])).unwrap();
            Schema::load(field).unwrap_err().to_string()
        };
        for (more, expected) in [
            (
                json!({"dtype": "bfloat16"}),
                "field `x`: unknown dtype `bfloat16`; expected one of float16, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64, bool, string",
            ),
            (
                json!({"shape": null}),
                "field `x`: a tensor needs a `shape`: the length of each dimension of one row, or null for any",
            ),
            (json!({"shape": vec![1; 17]}), "field `x`: 17 dimensions; at most 16 are served"),
            (
                json!({"shape": [1_u64 << 40, 1_u64 << 40]}),
                "field `x`: the shape has more elements than this machine can count",
            ),
            (
                json!({"nullable": true}),
                "field `x`: elements of the type int8 cannot be missing: `nullable` is for floats",
            ),
            (
                json!({"required": false, "nullable": true, "dtype": "float16"}),
                "field `x`: a tensor is required, and has no `default`, `categories` or `enforce`",
            ),
            (json!({"type": "int"}), "field `x`: `dtype` is for tensor fields"),
        ] {
            assert_eq!(refusal(more), expected);
        }
    }
}
