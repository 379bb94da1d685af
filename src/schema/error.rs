//! Why a row, or a whole request body, was refused.

use std::fmt;

use crate::image::ImageError;
use crate::tensor::ElementType;

/// One refused cell, row or envelope: where, and what is wrong.
///
/// The place is a row index in the request (from 0) and the name of a field; both are absent when the fault is of the
/// request as a whole. Turning the place into a JSON pointer needs the form of the request: see [`super::Form::pointer`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct CellError {
    /// Index of the row in the request, from 0; `None` for the request as a whole.
    pub row: Option<usize>,
    /// The key as the client wrote it (an alias stays an alias); `None` for the row as a whole.
    pub field: Option<String>,
    /// What is wrong.
    pub problem: CellProblem,
}

impl fmt::Display for CellError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(row) = self.row {
            write!(f, "row {row}, ")?;
        }
        if let Some(field) = &self.field {
            write!(f, "field `{field}`: ")?;
        }
        self.problem.fmt(f)
    }
}

/// What is wrong with a cell. [`Self::code`] is stable; the text is for people and may improve.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CellProblem {
    /// A required key is absent.
    #[error("required, but absent")]
    Missing,
    /// `null` in a field that is not nullable.
    #[error("expected {expected}, found null; a missing value is not allowed here")]
    Null {
        /// What the field takes, with its article.
        expected: &'static str,
    },
    /// Another JSON type than the field's.
    #[error("expected {expected}, found {found}")]
    Type {
        /// What the field takes, with its article.
        expected: &'static str,
        /// What was there, shortened.
        found: String,
    },
    /// A number with a fraction where an integer is expected.
    #[error("expected an integer, found {found}")]
    NotInteger {
        /// The number as written, shortened.
        found: String,
    },
    /// A string that is no date.
    #[error("expected a date such as \"2024-02-29T12:30:00Z\", found {found}")]
    Datetime {
        /// The string as JSON, shortened.
        found: String,
    },
    /// A string that is not base64.
    #[error(
        "expected a picture as base64, bare or as a data URL (data:image/png;base64,…), {problem}"
    )]
    Base64 {
        /// What is wrong.
        problem: String,
    },
    /// A picture that its header already gives away as too large, or as none.
    #[error(transparent)]
    Image(ImageError),
    /// An integer outside the signed 64-bit range.
    #[error(
        "the integer {found} is outside the 64-bit range (-9223372036854775808 to 9223372036854775807)"
    )]
    OutOfRange {
        /// The number as written, shortened.
        found: String,
    },
    /// A number too large for a 64-bit float.
    #[error("the number {found} is too large for a 64-bit float")]
    NotFinite {
        /// The number as written, shortened.
        found: String,
    },
    /// A number too large for the elements of a tensor.
    #[error("the number {found} is too large for {dtype}")]
    TooLarge {
        /// The number as written, shortened.
        found: String,
        /// The type of the elements.
        dtype: ElementType,
    },
    /// An integer outside the range of the elements of a tensor.
    #[error("the integer {found} is outside the range of {dtype}{}", range(*.dtype))]
    IntegerRange {
        /// The number as written, shortened.
        found: String,
        /// The type of the elements.
        dtype: ElementType,
    },
    /// An array of another length than the tensor's shape says, or than the arrays before it.
    #[error("expected {expected} values{}, found {found}", if *.fixed { "" } else { " as in the array before" })]
    Length {
        /// The length.
        found: usize,
        /// The right length.
        expected: usize,
        /// Whether the shape says it.
        fixed: bool,
    },
    /// Something wrong within the arrays of a tensor.
    #[error("{problem}")]
    Within {
        /// Where: the position in each array, from the outermost on, from 0.
        at: Vec<usize>,
        /// What.
        problem: Box<Self>,
    },
    /// Below the enforced minimum.
    #[error("{found} is below the minimum, {minimum}")]
    Minimum {
        /// The value found.
        found: String,
        /// The least value allowed.
        minimum: f64,
    },
    /// Above the enforced maximum.
    #[error("{found} is above the maximum, {maximum}")]
    Maximum {
        /// The value found.
        found: String,
        /// The greatest value allowed.
        maximum: f64,
    },
    /// Not among the enforced categories.
    #[error("{found} is not one of {allowed}")]
    Category {
        /// The value found, quoted if it is a string.
        found: String,
        /// The categories, shortened.
        allowed: String,
    },
    /// The same field twice in a row object, by its name or an alias.
    #[error("given twice{}", match .alias_of { Some(name) => format!(": it is another name of `{name}`"), None => String::new() })]
    DuplicateKey {
        /// The field's name, when the key is an alias.
        alias_of: Option<String>,
    },
    /// A key that is no field, where unknown fields are refused.
    #[error("no such field{}", match .similar { Some(name) => format!("; did you mean `{name}`?"), None => String::new() })]
    UnknownField {
        /// A field with a similar name.
        similar: Option<String>,
    },
    /// A row that is not an object.
    #[error("expected a row object, found {found}")]
    RowType {
        /// What was there, shortened.
        found: String,
    },
    /// The body has no `inputs`, or they have the wrong form.
    #[error("{detail}")]
    Envelope {
        /// A stable code: `missing`, `type`, `empty`, `too_many_rows`, `duplicate_key`, `unknown_field`.
        code: &'static str,
        /// What was found, what was expected.
        detail: String,
    },
}

impl CellProblem {
    /// The problem at a place within arrays.
    pub(super) fn within(at: Vec<usize>, problem: Self) -> Self {
        if at.is_empty() { problem } else { Self::Within { at, problem: Box::new(problem) } }
    }

    /// Where within the arrays of a cell the problem is; empty when it is of the cell as a whole.
    #[must_use]
    pub fn path(&self) -> &[usize] {
        match self {
            Self::Within { at, .. } => at,
            _ => &[],
        }
    }

    /// The stable, machine-readable name, as listed in docs/artifact.md, section 3.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "not_finite",
            Self::IntegerRange { .. } => "out_of_range",
            Self::Length { .. } => "length",
            Self::Within { problem, .. } => problem.code(),
            Self::Missing => "missing",
            Self::Null { .. } => "null",
            Self::Type { .. } => "type",
            Self::NotInteger { .. } => "not_integer",
            Self::Datetime { .. } => "datetime",
            Self::Base64 { .. } => "base64",
            Self::Image(error) => error.code(),
            Self::OutOfRange { .. } => "out_of_range",
            Self::NotFinite { .. } => "not_finite",
            Self::Minimum { .. } => "minimum",
            Self::Maximum { .. } => "maximum",
            Self::Category { .. } => "category",
            Self::DuplicateKey { .. } => "duplicate_key",
            Self::UnknownField { .. } => "unknown_field",
            Self::RowType { .. } => "row_type",
            Self::Envelope { code, .. } => code,
        }
    }
}

/// ` (-128 to 127)`.
fn range(dtype: ElementType) -> String {
    dtype
        .integer_range()
        .map_or_else(String::new, |(least, greatest)| format!(" ({least} to {greatest})"))
}

/// The start of a text that a client wrote and that may be long: at most so many characters of it, for messages.
pub(crate) fn shorten(text: &str, at_most: usize) -> String {
    match text.char_indices().nth(at_most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// A body that is not JSON: nothing in it could be read as rows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at line {line}, column {column}")]
pub struct SyntaxError {
    /// From 1.
    pub line: usize,
    /// From 1, in characters (not bytes).
    pub column: usize,
    /// Byte offset in the body, from 0.
    pub offset: usize,
    /// What was expected or found.
    pub problem: String,
}

/// A field of a manifest that cannot be part of a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("field `{field}`: {problem}")]
pub struct SchemaError {
    /// The field's name.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}
