//! A cell of a table, whatever the table is written in.

use std::borrow::Cow;

use crate::schema::datetime;

/// A cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// No value.
    Missing,
    /// `true` or `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer beyond the signed 64-bit range.
    Unsigned(u64),
    /// A float, perhaps not finite.
    Float(f64),
    /// Microseconds since 1970.
    Instant(i64),
    /// A string.
    Text(Cow<'a, str>),
    /// JSON as it stands in the table: a number, an array or an object.
    Json(Cow<'a, str>),
}

impl Value<'_> {
    /// Writes the value as JSON; a float that is not finite is `null`.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        match self {
            Self::Missing => out.extend_from_slice(b"null"),
            Self::Json(json) => out.extend_from_slice(json.as_bytes()),
            Self::Text(text) => json_string(text, out),
            Self::Instant(_) => {
                out.push(b'"');
                self.write_text(out);
                out.push(b'"');
            }
            Self::Float(value) if !value.is_finite() => out.extend_from_slice(b"null"),
            _ => self.write_text(out),
        }
    }

    /// Writes the value as the text of a cell; a missing one is nothing.
    pub fn write_text(&self, out: &mut Vec<u8>) {
        match self {
            Self::Missing => {}
            Self::Bool(value) => out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Self::Int(value) => json(value, out),
            Self::Unsigned(value) => json(value, out),
            Self::Float(value) if value.is_finite() => json(value, out),
            Self::Float(value) => out.extend_from_slice(value.to_string().as_bytes()),
            Self::Instant(micros) => out.extend_from_slice(datetime::format(*micros).as_bytes()),
            Self::Text(text) | Self::Json(text) => out.extend_from_slice(text.as_bytes()),
        }
    }

    /// The value as the text of a cell.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut out = Vec::new();
        self.write_text(&mut out);
        String::from_utf8(out).unwrap_or_default()
    }
}

/// The shortest digits that read back to the same number.
fn json(value: &impl serde::Serialize, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(out, value);
    debug_assert!(written.is_ok(), "a number always serialises");
}

/// A float in the digits that the server writes.
pub(super) fn number(value: f64, out: &mut Vec<u8>) {
    json(&value, out);
}

/// A string in quotes.
pub(super) fn json_string(text: &str, out: &mut Vec<u8>) {
    json(&text, out);
}
