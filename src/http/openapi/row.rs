//! A row: its JSON Schema, and an example of one.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::narrow::{Accepts, Range};
use crate::proof::label_text;
use crate::schema::{Field, Kind, Scalar, Schema, TensorType, UnknownFields};
use crate::tensor::ElementType;

/// Categories that a description spells out.
const N_SHOWN: usize = 30;

/// The JSON Schema of a row.
///
/// It allows exactly what the server takes, as far as JSON Schema can say it: bounds and categories are only there when a value
/// outside them is refused, and of a name and its aliases exactly one is required.
pub(super) fn row_schema(
    schema: &Schema,
    accepts: &[Accepts],
    unknown_fields: UnknownFields,
) -> Value {
    let mut properties = Map::new();
    let mut required: Vec<Value> = Vec::new();
    let mut names: Vec<Value> = Vec::new();
    let anything = Accepts::default();
    for (index, field) in schema.fields().iter().enumerate() {
        let accepts = accepts.get(index).unwrap_or(&anything);
        let property = field_schema(field, accepts);
        let spec = field.spec();
        for alias in &spec.aliases {
            let mut other = property.clone();
            let text = format!("Another name of {}; a row has one of them.", quoted(field.name()));
            other.insert("description".to_owned(), json!(text));
            other.shift_remove("examples");
            properties.insert(alias.clone(), Value::Object(other));
        }
        properties.insert(field.name().to_owned(), Value::Object(property));
        // Without a default an absent value is a missing one, which the pipeline may refuse.
        let needed =
            spec.required && spec.default.is_none() || spec.default.is_none() && !accepts.missing;
        let all: Vec<&String> = std::iter::once(&spec.name).chain(&spec.aliases).collect();
        match all.as_slice() {
            [name] if needed => required.push(json!(name)),
            [_] => {}
            several => {
                let mut choices: Vec<Value> =
                    several.iter().map(|name| json!({ "required": [name] })).collect();
                if !needed {
                    let any = choices.clone();
                    choices.push(json!({ "not": { "anyOf": any } }));
                }
                names.push(json!({ "oneOf": choices }));
            }
        }
    }
    let mut row = Map::new();
    row.insert("type".to_owned(), json!("object"));
    if !required.is_empty() {
        row.insert("required".to_owned(), Value::Array(required));
    }
    row.insert("properties".to_owned(), Value::Object(properties));
    if !names.is_empty() {
        row.insert("allOf".to_owned(), Value::Array(names));
    }
    let open = unknown_fields == UnknownFields::Ignore;
    row.insert("additionalProperties".to_owned(), json!(open));
    Value::Object(row)
}

/// The JSON Schema of a tensor field's value: nested arrays.
fn tensor_schema(tensor: &TensorType, nullable: bool) -> Map<String, Value> {
    let element = match tensor.dtype {
        ElementType::String => json!({ "type": "string" }),
        ElementType::Bool => json!({ "type": "boolean" }),
        dtype => match dtype.integer_range() {
            Some((least, greatest)) => {
                let least = i64::try_from(least).unwrap_or(i64::MIN);
                let greatest = u64::try_from(greatest).unwrap_or(u64::MAX);
                json!({ "type": "integer", "minimum": least, "maximum": greatest })
            }
            None if nullable => json!({ "type": ["number", "null"] }),
            None => json!({ "type": "number" }),
        },
    };
    let schema = tensor.shape.iter().rev().fold(element, |items, length| match length {
        Some(length) => {
            json!({ "type": "array", "minItems": length, "maxItems": length, "items": items })
        }
        None => json!({ "type": "array", "items": items }),
    });
    schema.as_object().cloned().unwrap_or_default()
}

/// A value of a tensor field; of a large one none, as an example is to be read.
fn example_tensor(tensor: &TensorType) -> Value {
    const MOST: usize = 4096;
    let lengths: Vec<usize> = tensor.shape.iter().map(|length| length.unwrap_or(1)).collect();
    if lengths.iter().product::<usize>() > MOST {
        return json!([]);
    }
    let element = match tensor.dtype {
        ElementType::String => json!("text"),
        ElementType::Bool => json!(false),
        dtype if dtype.is_integer() => json!(0),
        _ => json!(0.0),
    };
    lengths.iter().rev().fold(element, |entry, length| Value::Array(vec![entry; *length]))
}

/// The JSON Schema of a field's value.
fn field_schema(field: &Field, accepts: &Accepts) -> Map<String, Value> {
    let spec = field.spec();
    let nullable = spec.nullable && accepts.missing;
    let mut property = Map::new();
    if let Some(tensor) = field.tensor() {
        property.extend(tensor_schema(tensor, spec.nullable));
        if !spec.description.is_empty() {
            property.insert("description".to_owned(), json!(spec.description));
        }
        return property;
    }
    let mut put = |key: &str, value: Value| property.insert(key.to_owned(), value);
    let (name, format) = match field.kind() {
        Kind::Int => ("integer", Some("int64")),
        // A tensor has its schema already.
        Kind::Float | Kind::Tensor => ("number", Some("double")),
        Kind::String => ("string", None),
        Kind::Bool => ("boolean", None),
        Kind::Datetime => ("string", Some("date-time")),
        Kind::Image => ("string", None),
    };
    put("type", if nullable { json!([name, "null"]) } else { json!(name) });
    if let Some(format) = format {
        put("format", json!(format));
    }
    if field.kind() == Kind::Image {
        put("contentEncoding", json!("base64"));
        put("contentMediaType", json!("image/png"));
    }
    let text = description(field, accepts);
    if !text.is_empty() {
        put("description", json!(text));
    }
    if let Some(mut values) = only_values(field, accepts) {
        if nullable {
            values.push(Value::Null);
        }
        put("enum", Value::Array(values));
    } else {
        bounds(field, accepts.range, &mut put);
    }
    if let Some(default) = &spec.default {
        put("default", json!(default));
    }
    if let Some(example) = &spec.example {
        put("examples", json!([example]));
    }
    if !spec.enforce && !spec.sensitive {
        for (key, value) in
            [("x-observed-minimum", &spec.minimum), ("x-observed-maximum", &spec.maximum)]
        {
            if let Some(value) = value {
                put(key, json!(value));
            }
        }
    }
    if spec.sensitive {
        put("x-sensitive", json!(true));
    }
    property
}

/// The values that a field takes, when it takes no others.
pub(super) fn only_values(field: &Field, accepts: &Accepts) -> Option<Vec<Value>> {
    let spec = field.spec();
    let categories = || spec.categories.as_ref().filter(|_| spec.enforce);
    accepts
        .values
        .clone()
        .or_else(|| Some(categories()?.iter().map(|category| json!(category)).collect()))
}

/// The bounds outside which a number is refused.
fn bounds(field: &Field, range: Range, put: &mut impl FnMut(&str, Value) -> Option<Value>) {
    let spec = field.spec();
    let enforced = |bound: &Option<Scalar>| bound.clone().filter(|_| spec.enforce);
    let is_above_zero = spec.enforce && field.minimum().is_some_and(|minimum| minimum > 0.0);
    let at_zero = match range {
        Range::Positive => Some("exclusiveMinimum"),
        Range::NotNegative => Some("minimum"),
        Range::NotZero | Range::Any => None,
    };
    // Of two lower bounds the weaker is left out.
    if let Some(key) = at_zero.filter(|_| !is_above_zero) {
        let _replaced = put(key, json!(0));
    } else if let Some(least) = enforced(&spec.minimum) {
        let _replaced = put("minimum", json!(least));
    }
    if let Some(greatest) = enforced(&spec.maximum) {
        let _replaced = put("maximum", json!(greatest));
    }
    if range == Range::NotZero {
        let _replaced = put("not", json!({ "const": 0 }));
    }
}

/// What there is to know of a field, for people (Markdown).
fn description(field: &Field, accepts: &Accepts) -> String {
    let spec = field.spec();
    let mut text = spec.description.trim().to_owned();
    if text.ends_with(|c: char| c.is_alphanumeric() || ")]`\"'".contains(c)) {
        text.push('.');
    }
    let mut say = |sentence: std::fmt::Arguments<'_>| {
        if !text.is_empty() {
            text.push(' ');
        }
        // Writing to a string cannot fail.
        let _infallible = text.write_fmt(sentence);
    };
    if !spec.enforce && !spec.sensitive {
        let shown: Option<Vec<String>> = spec.categories.as_ref().map(|categories| {
            categories.iter().take(N_SHOWN).map(|one| quoted(label_text(one))).collect()
        });
        match (shown, &spec.minimum, &spec.maximum) {
            (Some(_), ..) if only_values(field, accepts).is_some() => {}
            (Some(shown), ..) => {
                let n_more = spec.categories.as_ref().map_or(0, Vec::len) - shown.len();
                let more = if n_more > 0 { format!(" and {n_more} more") } else { String::new() };
                let shown = shown.join(", ");
                say(format_args!("In training {shown}{more}; other values are taken too."));
            }
            (None, Some(minimum), Some(maximum)) => {
                let (minimum, maximum) = (label_text(minimum), label_text(maximum));
                say(format_args!("In training from {minimum} to {maximum}."));
            }
            (None, Some(minimum), None) => {
                say(format_args!("In training at least {}.", label_text(minimum)));
            }
            (None, None, Some(maximum)) => {
                say(format_args!("In training at most {}.", label_text(maximum)));
            }
            (None, None, None) => {}
        }
    }
    match (spec.required, &spec.default, spec.nullable && accepts.missing) {
        (false, None, true) => say(format_args!("May be `null` or left out: missing.")),
        (_, _, true) => say(format_args!("May be `null`: missing.")),
        _ => {}
    }
    if let [first, rest @ ..] = spec.aliases.as_slice() {
        let rest: String = rest.iter().map(|alias| format!(" or {}", quoted(alias))).collect();
        say(format_args!("May be called {}{rest} instead.", quoted(first)));
    }
    if spec.sensitive {
        say(format_args!("Never logged in clear."));
    }
    text
}

/// As code in Markdown.
fn quoted(value: impl std::fmt::Display) -> String {
    format!("`{value}`")
}

/// A whole row out of the fields' examples; where there is none, of another value that the field takes.
pub(in crate::http) fn example_row(schema: &Schema, accepts: &[Accepts]) -> Map<String, Value> {
    let anything = Accepts::default();
    let value = |(index, field): (usize, &Field)| {
        let accepts = accepts.get(index).unwrap_or(&anything);
        (field.name().to_owned(), example_value(field, accepts))
    };
    schema.fields().iter().enumerate().map(value).collect()
}

/// A PNG of 8 x 8 white pixels.
const EXAMPLE_PICTURE: &str = "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAADklEQVR42mP4DwUMlDEA98A/wa9cD80AAAAASUVORK5CYII=";

fn example_value(field: &Field, accepts: &Accepts) -> Value {
    let spec = field.spec();
    let given = spec.example.as_ref().or(spec.default.as_ref());
    if let Some(value) = given {
        return json!(value);
    }
    if let Some(value) = only_values(field, accepts).and_then(|values| values.into_iter().next()) {
        return value;
    }
    let first = spec.categories.as_ref().and_then(|categories| categories.first());
    if let Some(value) = first {
        return json!(value);
    }
    // The extremes of training are somebody's values.
    let bound = [&spec.minimum, &spec.maximum]
        .into_iter()
        .flatten()
        .find(|_| spec.enforce || !spec.sensitive);
    match (field.kind(), bound) {
        (Kind::Tensor, _) => field.tensor().map_or(Value::Null, example_tensor),
        _ if spec.nullable && accepts.missing => Value::Null,
        (Kind::Int, Some(Scalar::Int(value))) => json!(value),
        (Kind::Float, Some(value)) => json!(value),
        (Kind::Int, _) => json!(1),
        (Kind::Float, None) => json!(1.0),
        (Kind::String, _) => json!("text"),
        (Kind::Bool, _) => json!(false),
        (Kind::Datetime, _) => json!("2024-02-29T12:30:00Z"),
        (Kind::Image, _) => json!(EXAMPLE_PICTURE),
    }
}
