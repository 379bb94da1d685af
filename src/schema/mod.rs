//! What a row is: typed fields, and the step from JSON text to columns.
//!
//! Knows nothing of HTTP, of the model or of the disk. Decoding never stops at the first bad cell: it reports every one
//! of them.

use serde::{Deserialize, Serialize};

pub(crate) mod datetime;
mod decode;
#[cfg(test)]
mod differential;
mod error;
mod frame;
mod json;
mod table;

pub use decode::{DecodeOptions, Decoded, DecodedLines, Form, UnknownFields};
pub(crate) use error::shorten;
pub use error::{CellError, CellProblem, SchemaError, SyntaxError};
pub use frame::{Column, Frame, IntColumn, TextColumn};
pub use table::Filler;
pub(crate) use table::integer_of_text;

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
    /// Whether `null` is a missing value.
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
        match self.kind {
            Kind::Int | Kind::Bool | Kind::Datetime => Column::Int(IntColumn::default()),
            Kind::Float => Column::Float(Vec::new()),
            Kind::String => Column::Text(TextColumn::default()),
        }
    }

    fn fits(&self, value: &Scalar) -> bool {
        match (self.kind, value) {
            (Kind::Int, Scalar::Int(_)) | (Kind::Float, Scalar::Int(_)) => true,
            (Kind::Float, Scalar::Float(value)) => value.is_finite(),
            (Kind::String, Scalar::Text(_)) | (Kind::Bool, Scalar::Bool(_)) => true,
            (Kind::Datetime, Scalar::Text(text)) => datetime::parse(text).is_some(),
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
            other @ ("image" | "tensor") => {
                return Err(wrong(format!(
                    "the type `{other}` is part of the format, but this version of seaworthy does not serve it yet"
                )));
            }
            other => {
                return Err(wrong(format!(
                    "unknown type `{other}`; expected one of int, float, string, bool, datetime, image, tensor"
                )));
            }
        };
        if spec.name.is_empty() {
            return Err(wrong("the name is empty".to_owned()));
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
        let field = Self { kind, minimum, maximum, spec };
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
