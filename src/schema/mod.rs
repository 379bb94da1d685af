//! What a row is: typed fields, and the step from JSON text to columns.
//!
//! Knows nothing of HTTP, of the model or of the disk. Decoding never stops at the first bad cell: it reports every one
//! of them.

use serde::{Deserialize, Serialize};

mod cells;
pub(crate) mod datetime;
mod decimal;
mod decode;
#[cfg(test)]
mod differential;
mod error;
mod frame;
mod json;
mod layout;
mod nested;
mod picture;
mod seen;
mod table;
mod tensors;

pub(crate) use cells::Cells;
pub use decode::{DecodeOptions, Decoded, DecodedLines, Form, UnknownFields};
pub(crate) use error::shorten;
pub use error::{CellError, CellProblem, SchemaError, SyntaxError};
pub use frame::{Column, Frame, IntColumn, TextColumn};
pub(crate) use seen::Short as ShortText;
pub(crate) use table::integer_of_text;
pub use table::{Filler, RawCells};
pub use tensors::{TensorColumn, TensorType, Values};

use crate::tensor::ElementType;

/// The file in the value of an image field; none when the text is not base64.
pub(crate) fn picture_file(text: &str) -> Option<Vec<u8>> {
    picture::decode(text, usize::MAX).ok()
}

/// A single typed value of a field: a default, a category, an example.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
}

/// The type of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A 64-bit signed integer; JSON `5` and `5.0`.
    Int,
    /// A finite 64-bit float; any JSON number.
    Float,
    /// A string, never parsed as a number.
    String,
    /// `true` or `false`; a column of 1 and 0.
    Bool,
    /// A point in time as text, ISO 8601; a column of microseconds since 1970.
    Datetime,
    /// Nested arrays of one type and shape, which go into the graph as they are.
    Tensor,
    /// A picture: the bytes of its file, as base64 in JSON.
    Image,
}

impl Kind {
    /// For messages: what such a field takes, with its article.
    #[must_use]
    pub fn expected(self) -> &'static str {
        match self {
            Self::Int => "an integer",
            Self::Float => "a number",
            Self::String => "a string",
            Self::Bool => "true or false",
            Self::Datetime => "a date such as \"2024-02-29T12:30:00Z\"",
            Self::Tensor => "nested arrays",
            Self::Image => "a string with a picture as base64",
        }
    }
}

/// A field as written in `manifest.json`; see docs/artifact.md, 1.1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSpec {
    /// The key in the JSON row.
    pub name: String,
    /// The type, as text, so that an unknown one gets a message with the field's name.
    pub r#type: String,
    /// Of a tensor, the type of its elements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// Of a tensor, the length of each dimension of one row; `null` is any length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shape: Option<Vec<Option<u64>>>,
    /// Whether `null` is a missing value; of a tensor, whether an element may be `null`.
    #[serde(default)]
    pub nullable: bool,
    /// Whether the key must be there.
    #[serde(default = "yes")]
    pub required: bool,
    /// Used when the key is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Scalar>,
    /// Other names of the key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// The distinct values of the training data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub categories: Option<Vec<Scalar>>,
    /// The least value of the training data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum: Option<Scalar>,
    /// The greatest value of the training data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maximum: Option<Scalar>,
    /// Whether range and categories are enforced.
    #[serde(default)]
    pub enforce: bool,
    /// Whether values are kept out of the log.
    #[serde(default)]
    pub sensitive: bool,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// A plausible value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Scalar>,
}

fn yes() -> bool {
    true
}

/// A named, typed field of a raw row, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    kind: Kind,
    spec: FieldSpec,
    minimum: Option<f64>,
    maximum: Option<f64>,
    tensor: Option<TensorType>,
}

impl Field {
    /// The key in the JSON row, and the name of the column at the start of the pipeline.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The type.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Everything the manifest says of the field.
    #[must_use]
    pub fn spec(&self) -> &FieldSpec {
        &self.spec
    }

    /// The kind of a cell of text: that of the one value of a tensor without dimensions, else the field's own.
    #[must_use]
    pub fn cell(&self) -> Kind {
        let scalar = self.tensor.as_ref().filter(|tensor| tensor.shape.is_empty());
        scalar.map_or(self.kind, |tensor| match tensor.dtype {
            ElementType::Float16 | ElementType::Float32 | ElementType::Float64 => Kind::Float,
            ElementType::Bool => Kind::Bool,
            ElementType::String => Kind::String,
            _ => Kind::Int,
        })
    }

    /// Of a tensor, the type of its elements and its shape.
    #[must_use]
    pub fn tensor(&self) -> Option<&TensorType> {
        self.tensor.as_ref()
    }

    /// The least value of the training data, as a float.
    #[must_use]
    pub fn minimum(&self) -> Option<f64> {
        self.minimum
    }

    /// The greatest value of the training data, as a float.
    #[must_use]
    pub fn maximum(&self) -> Option<f64> {
        self.maximum
    }

    /// An empty column for the values of this field.
    #[must_use]
    pub fn column(&self) -> Column {
        if let Some(tensor) = &self.tensor {
            return Column::Tensor(TensorColumn::new(tensor));
        }
        match self.kind {
            Kind::Int | Kind::Bool | Kind::Datetime => Column::Int(IntColumn::default()),
            Kind::Float | Kind::Tensor => Column::Float(Vec::new()),
            Kind::String => Column::Text(TextColumn::default()),
            Kind::Image => Column::Image(Vec::new()),
        }
    }

    fn fits(&self, value: &Scalar) -> bool {
        match (self.kind, value) {
            (Kind::Int, Scalar::Int(_)) | (Kind::Float, Scalar::Int(_)) => true,
            (Kind::Float, Scalar::Float(value)) => value.is_finite(),
            (Kind::String, Scalar::Text(_)) | (Kind::Bool, Scalar::Bool(_)) => true,
            (Kind::Datetime, Scalar::Text(text)) => datetime::parse(text).is_some(),
            (Kind::Image, Scalar::Text(text)) => picture::decode(text, usize::MAX).is_ok(),
            _ => false,
        }
    }
}

impl TryFrom<FieldSpec> for Field {
    type Error = SchemaError;

    fn try_from(spec: FieldSpec) -> Result<Self, SchemaError> {
        let wrong = |problem: String| SchemaError { field: spec.name.clone(), problem };
        let kind = match spec.r#type.as_str() {
            "int" => Kind::Int,
            "float" => Kind::Float,
            "string" => Kind::String,
            "bool" => Kind::Bool,
            "datetime" => Kind::Datetime,
            "tensor" => Kind::Tensor,
            "image" => Kind::Image,
            other => {
                return Err(wrong(format!(
                    "unknown type `{other}`; expected one of int, float, string, bool, datetime, image, tensor"
                )));
            }
        };
        if spec.name.is_empty() {
            return Err(wrong("the name is empty".to_owned()));
        }
        let tensor = tensor_type(&spec, kind).map_err(wrong)?;
        if kind == Kind::Image && (spec.nullable || !spec.required || spec.default.is_some()) {
            return Err(wrong(
                "an image is required and not nullable: no network takes a missing picture"
                    .to_owned(),
            ));
        }
        let number = |what: &str, value: &Option<Scalar>| match value {
            None => Ok(None),
            // Exact to 2^53; a bound beyond is only ever compared with.
            #[expect(clippy::cast_precision_loss, reason = "a bound; exact where it matters")]
            Some(Scalar::Int(value)) => Ok(Some(*value as f64)),
            Some(Scalar::Float(value)) if value.is_finite() => Ok(Some(*value)),
            Some(other) => Err(wrong(format!("`{what}` is {other:?}, expected a finite number"))),
        };
        let (minimum, maximum) =
            (number("minimum", &spec.minimum)?, number("maximum", &spec.maximum)?);
        if (minimum.is_some() || maximum.is_some()) && !matches!(kind, Kind::Int | Kind::Float) {
            return Err(wrong("`minimum` and `maximum` are for int and float fields".to_owned()));
        }
        if let (Some(minimum), Some(maximum)) = (minimum, maximum)
            && minimum > maximum
        {
            return Err(wrong(format!("`minimum` {minimum} is above `maximum` {maximum}")));
        }
        if !spec.required && spec.default.is_none() && !spec.nullable {
            return Err(wrong(
                "not required, without a default and not nullable: an absent value could not be anything".to_owned(),
            ));
        }
        let field = Self { kind, minimum, maximum, tensor, spec };
        let spec = &field.spec;
        let wrong = |problem: String| SchemaError { field: spec.name.clone(), problem };
        for (what, value) in [("default", &spec.default), ("example", &spec.example)] {
            if let Some(value) = value
                && !field.fits(value)
            {
                return Err(wrong(format!("`{what}` is {value:?}, expected {}", kind.expected())));
            }
        }
        if let Some(categories) = &spec.categories {
            if !matches!(kind, Kind::Int | Kind::String) {
                return Err(wrong("`categories` are for string and int fields".to_owned()));
            }
            for (at, category) in categories.iter().enumerate() {
                if !field.fits(category) {
                    return Err(wrong(format!(
                        "category {category:?}, expected {}",
                        kind.expected()
                    )));
                }
                if categories[..at].contains(category) {
                    return Err(wrong(format!("category {category:?} is listed twice")));
                }
            }
        }
        Ok(field)
    }
}

/// Dimensions that a tensor may have: more than any graph, few enough to read them level by level.
const MOST_DIMENSIONS: usize = 16;

/// The type of a tensor field; none for another one, which must not have its keys.
fn tensor_type(spec: &FieldSpec, kind: Kind) -> Result<Option<TensorType>, String> {
    if kind != Kind::Tensor {
        let given = [("dtype", spec.dtype.is_some()), ("shape", spec.shape.is_some())];
        return match given.iter().find(|(_, given)| *given) {
            Some((key, _)) => Err(format!("`{key}` is for tensor fields")),
            None => Ok(None),
        };
    }
    let names = || ElementType::ALL.map(ElementType::as_str).join(", ");
    let Some(name) = &spec.dtype else {
        return Err(format!("a tensor needs a `dtype`: one of {}", names()));
    };
    let Some(dtype) = ElementType::parse(name) else {
        return Err(format!("unknown dtype `{name}`; expected one of {}", names()));
    };
    let Some(shape) = &spec.shape else {
        return Err(
            "a tensor needs a `shape`: the length of each dimension of one row, or null for any"
                .to_owned(),
        );
    };
    if shape.len() > MOST_DIMENSIONS {
        return Err(format!("{} dimensions; at most {MOST_DIMENSIONS} are served", shape.len()));
    }
    let length = |dim: &Option<u64>| dim.map(usize::try_from).transpose();
    let shape: Vec<Option<usize>> = shape
        .iter()
        .map(length)
        .collect::<Result<_, _>>()
        .map_err(|_| "a dimension is longer than this machine can count".to_owned())?;
    let known = shape.iter().flatten();
    if known.copied().try_fold(1_usize, usize::checked_mul).is_none() {
        return Err("the shape has more elements than this machine can count".to_owned());
    }
    if !spec.required || spec.default.is_some() || spec.categories.is_some() || spec.enforce {
        return Err(
            "a tensor is required, and has no `default`, `categories` or `enforce`".to_owned()
        );
    }
    if spec.nullable && !dtype.is_float() {
        return Err(format!(
            "elements of the type {dtype} cannot be missing: `nullable` is for floats"
        ));
    }
    Ok(Some(TensorType { dtype, shape }))
}

/// The fields of a raw row, in the order of the training frame.
#[derive(Debug, Clone)]
pub struct Schema {
    fields: Vec<Field>,
    /// Every name and alias, sorted, with the field's index.
    names: Vec<(String, usize)>,
    /// What decoding looks up for each key and cell.
    plan: decode::Plan,
}

impl Schema {
    /// Checks the fields of a manifest.
    ///
    /// # Errors
    /// The first field that is not sound: unknown type, contradictory keys, a name or alias used twice.
    pub fn load(specs: Vec<FieldSpec>) -> Result<Self, SchemaError> {
        let fields = specs.into_iter().map(Field::try_from).collect::<Result<Vec<_>, _>>()?;
        let mut names: Vec<(String, usize)> = Vec::new();
        for (index, field) in fields.iter().enumerate() {
            names.push((field.spec.name.clone(), index));
            names.extend(field.spec.aliases.iter().map(|alias| (alias.clone(), index)));
        }
        names.sort();
        if let Some([first, second]) = names.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            let problem =
                format!("the name `{}` is also a name of `{}`", first.0, fields[first.1].name());
            return Err(SchemaError { field: fields[second.1].name().to_owned(), problem });
        }
        let plan = decode::Plan::new(&fields, &names);
        Ok(Self { fields, names, plan })
    }

    /// The fields, in order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// The index of the field of this name or alias.
    #[must_use]
    pub fn index_of(&self, name: &str) -> Option<usize> {
        let at = self.names.binary_search_by(|(known, _)| known.as_str().cmp(name)).ok()?;
        Some(self.names[at].1)
    }

    /// An empty frame with a column for each field.
    #[must_use]
    pub fn frame(&self) -> Frame {
        Frame::new(self.fields.iter().map(Field::column).collect())
    }
}
