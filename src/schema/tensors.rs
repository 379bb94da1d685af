//! Tensor fields: their type, and the values of many rows in one typed buffer.
//!
//! Knows nothing of JSON and nothing of graphs. The rows of a column may differ in the dimensions that the type leaves open.

use half::f16;

use crate::tensor::{ElementType, Tensor};

/// What a tensor field takes: a type of elements, and the length of each dimension of a row; `None` is any length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorType {
    /// The type of the elements.
    pub dtype: ElementType,
    /// The dimensions of one row.
    pub shape: Vec<Option<usize>>,
}

impl TensorType {
    /// For messages: `float32[3, any]`.
    #[must_use]
    pub fn shown(&self) -> String {
        let dims = self.shape.iter().map(|dim| dim.map_or("any".to_owned(), |n| n.to_string()));
        format!("{}[{}]", self.dtype, dims.collect::<Vec<_>>().join(", "))
    }
}

/// Elements of one type.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// IEEE 754 binary16.
    Float16(Vec<f16>),
    /// IEEE 754 binary32.
    Float32(Vec<f32>),
    /// IEEE 754 binary64.
    Float64(Vec<f64>),
    /// Signed 8-bit integers.
    Int8(Vec<i8>),
    /// Signed 16-bit integers.
    Int16(Vec<i16>),
    /// Signed 32-bit integers.
    Int32(Vec<i32>),
    /// Signed 64-bit integers.
    Int64(Vec<i64>),
    /// Unsigned 8-bit integers.
    UInt8(Vec<u8>),
    /// Unsigned 16-bit integers.
    UInt16(Vec<u16>),
    /// Unsigned 32-bit integers.
    UInt32(Vec<u32>),
    /// Unsigned 64-bit integers.
    UInt64(Vec<u64>),
    /// Truth values.
    Bool(Vec<bool>),
    /// Strings.
    String(Vec<String>),
}

/// The same expression for the buffer of every type.
macro_rules! each {
    ($values:expr, $buffer:ident => $body:expr) => {
        match $values {
            Values::Float16($buffer) => $body,
            Values::Float32($buffer) => $body,
            Values::Float64($buffer) => $body,
            Values::Int8($buffer) => $body,
            Values::Int16($buffer) => $body,
            Values::Int32($buffer) => $body,
            Values::Int64($buffer) => $body,
            Values::UInt8($buffer) => $body,
            Values::UInt16($buffer) => $body,
            Values::UInt32($buffer) => $body,
            Values::UInt64($buffer) => $body,
            Values::Bool($buffer) => $body,
            Values::String($buffer) => $body,
        }
    };
}

/// The same statement for two buffers of one type; the last one for buffers of different types.
macro_rules! both {
    ($one:expr, $other:expr, $a:ident, $b:ident => $body:expr, else $otherwise:expr) => {
        match ($one, $other) {
            (Values::Float16($a), Values::Float16($b)) => $body,
            (Values::Float32($a), Values::Float32($b)) => $body,
            (Values::Float64($a), Values::Float64($b)) => $body,
            (Values::Int8($a), Values::Int8($b)) => $body,
            (Values::Int16($a), Values::Int16($b)) => $body,
            (Values::Int32($a), Values::Int32($b)) => $body,
            (Values::Int64($a), Values::Int64($b)) => $body,
            (Values::UInt8($a), Values::UInt8($b)) => $body,
            (Values::UInt16($a), Values::UInt16($b)) => $body,
            (Values::UInt32($a), Values::UInt32($b)) => $body,
            (Values::UInt64($a), Values::UInt64($b)) => $body,
            (Values::Bool($a), Values::Bool($b)) => $body,
            (Values::String($a), Values::String($b)) => $body,
            _ => $otherwise,
        }
    };
}

impl Values {
    /// No elements of this type.
    #[must_use]
    pub fn new(dtype: ElementType) -> Self {
        match dtype {
            ElementType::Float16 => Self::Float16(Vec::new()),
            ElementType::Float32 => Self::Float32(Vec::new()),
            ElementType::Float64 => Self::Float64(Vec::new()),
            ElementType::Int8 => Self::Int8(Vec::new()),
            ElementType::Int16 => Self::Int16(Vec::new()),
            ElementType::Int32 => Self::Int32(Vec::new()),
            ElementType::Int64 => Self::Int64(Vec::new()),
            ElementType::UInt8 => Self::UInt8(Vec::new()),
            ElementType::UInt16 => Self::UInt16(Vec::new()),
            ElementType::UInt32 => Self::UInt32(Vec::new()),
            ElementType::UInt64 => Self::UInt64(Vec::new()),
            ElementType::Bool => Self::Bool(Vec::new()),
            ElementType::String => Self::String(Vec::new()),
        }
    }

    /// The number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        each!(self, buffer => buffer.len())
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn truncate(&mut self, len: usize) {
        each!(self, buffer => buffer.truncate(len));
    }
}

/// The values of a tensor field for many rows, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorColumn {
    values: Values,
    shape: Vec<Option<usize>>,
    /// Where each row ends in `values`.
    ends: Vec<usize>,
    /// For each row the lengths of the open dimensions, in order.
    lengths: Vec<usize>,
    n_open: usize,
}

impl TensorColumn {
    /// A column without rows.
    #[must_use]
    pub fn new(r#type: &TensorType) -> Self {
        Self {
            values: Values::new(r#type.dtype),
            shape: r#type.shape.clone(),
            ends: Vec::new(),
            lengths: Vec::new(),
            n_open: r#type.shape.iter().filter(|dim| dim.is_none()).count(),
        }
    }

    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The elements of all rows; the elements of a row that is being written come last.
    #[must_use]
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// Where the elements of the next row go, in row-major order; [`Self::end_row`] makes them one.
    pub fn values_mut(&mut self) -> &mut Values {
        &mut self.values
    }

    /// Ends a row. `lengths` are those of the open dimensions, in order.
    ///
    /// The caller has written as many elements as the shape has; else they are taken back and the result is false.
    pub fn end_row(&mut self, lengths: &[usize]) -> bool {
        let start = self.ends.last().copied().unwrap_or(0);
        let mut open = lengths.iter().copied();
        let expected = self
            .shape
            .iter()
            .try_fold(1_usize, |product, dim| product.checked_mul(dim.or_else(|| open.next())?));
        if lengths.len() != self.n_open || expected != Some(self.values.len() - start) {
            self.values.truncate(start);
            return false;
        }
        self.ends.push(self.values.len());
        self.lengths.extend_from_slice(lengths);
        true
    }

    /// The lengths of the open dimensions of a row.
    #[must_use]
    pub fn lengths(&self, row: usize) -> &[usize] {
        self.lengths.get(row * self.n_open..(row + 1) * self.n_open).unwrap_or_default()
    }

    /// The whole shape of a row.
    #[must_use]
    pub fn shape(&self, row: usize) -> Vec<usize> {
        let mut open = self.lengths(row).iter().copied();
        self.shape.iter().map(|dim| dim.or_else(|| open.next()).unwrap_or(0)).collect()
    }

    /// Removes all rows and keeps the buffers.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Cuts the column to its first rows, and takes back a row that is being written.
    pub fn truncate(&mut self, n_rows: usize) {
        self.ends.truncate(n_rows);
        self.lengths.truncate(n_rows * self.n_open);
        self.values.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Appends the rows of a column of the same type; false when it is of another one.
    pub fn extend_from(&mut self, tail: &Self) -> bool {
        if self.shape != tail.shape {
            return false;
        }
        let before = self.ends.last().copied().unwrap_or(0);
        let end = tail.ends.last().copied().unwrap_or(0);
        self.values.truncate(before);
        both!(&mut self.values, &tail.values, mine, theirs => mine.extend_from_slice(&theirs[..end]), else return false);
        self.ends.extend(tail.ends.iter().map(|end| before + end));
        self.lengths.extend_from_slice(&tail.lengths);
        true
    }

    /// The elements of these rows, one after the other, as a tensor of this shape. `None` when they do not fill it.
    #[must_use]
    pub fn gather(&self, rows: &[usize], shape: &[usize]) -> Option<Tensor> {
        let range = |row: usize| {
            let start = row.checked_sub(1).map_or(Some(0), |before| self.ends.get(before).copied());
            Some(start?..*self.ends.get(row)?)
        };
        /// The arrays of the same name.
        macro_rules! gathered {
            ($($variant:ident),*) => {
                match &self.values {
                    $(Values::$variant(values) => {
                        let mut picked = Vec::with_capacity(shape.iter().product());
                        for row in rows {
                            picked.extend_from_slice(values.get(range(*row)?)?);
                        }
                        Tensor::$variant(ndarray::ArrayD::from_shape_vec(shape, picked).ok()?)
                    })*
                }
            };
        }
        Some(gathered!(
            Float16, Float32, Float64, Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32, UInt64,
            Bool, String
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(rows: &[&[i64]]) -> TensorColumn {
        let r#type = TensorType { dtype: ElementType::Int64, shape: vec![None] };
        let mut column = TensorColumn::new(&r#type);
        for row in rows {
            let Values::Int64(values) = column.values_mut() else { panic!() };
            values.extend_from_slice(row);
            assert!(column.end_row(&[row.len()]));
        }
        column
    }

    #[test]
    fn rows_of_differing_lengths_are_kept_apart() {
        let mut rows = column(&[&[1, 2], &[], &[3]]);
        assert_eq!((rows.len(), rows.lengths(0), rows.shape(1)), (3, &[2][..], vec![0]));
        let tensor = rows.gather(&[2, 0], &[3]).unwrap();
        assert_eq!(tensor, Tensor::Int64(ndarray::arr1(&[3, 1, 2]).into_dyn()));
        assert_eq!(rows.gather(&[2, 0], &[2, 2]), None);
        assert_eq!(rows.gather(&[3], &[1]), None);
        rows.truncate(2);
        assert!(rows.extend_from(&column(&[&[4]])));
        assert_eq!(rows, column(&[&[1, 2], &[], &[4]]));
        rows.clear();
        assert_eq!(rows, column(&[]));
    }

    #[test]
    fn a_row_that_does_not_fill_its_shape_is_taken_back() {
        let mut rows = column(&[&[1]]);
        let Values::Int64(values) = rows.values_mut() else { panic!() };
        values.push(2);
        assert!(!rows.end_row(&[2]));
        assert_eq!(rows, column(&[&[1]]));
        let Values::Int64(values) = rows.values_mut() else { panic!() };
        values.push(2);
        rows.truncate(1);
        assert_eq!(rows, column(&[&[1]]));
    }
}
