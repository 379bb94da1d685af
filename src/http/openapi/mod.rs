//! The OpenAPI 3.1 document, made from the loaded models.
//!
//! Each model has paths and schemas of its own, so that a client sees the fields of the model that it asks. The document
//! allows what the server takes and nothing else. Knows nothing of routing: paths, parameters and status codes
//! are written down here a second time, and the API tests compare the two.

use serde_json::{Map, Value, json};

use crate::artifact::{Task, TensorSpec};
use crate::postprocess::{OutputKind, Postprocess, Prediction, label_text};
use crate::predictor::Predictions;
use crate::schema::{Field, Kind, Scalar, Schema, UnknownFields};
use crate::state::{Deployment, Role};
use crate::tensor::ElementType;

mod narrow;
mod row;
mod security;
mod shared;
#[cfg(test)]
mod tests;

pub(super) use narrow::{Accepts, narrow};
pub(super) use row::example_row;

/// The path of the document.
pub(super) const PATH: &str = "/v1/openapi.json";

/// A request id, for examples.
const REQUEST_ID: &str = "01988c6f5e2b7c3e9a540c8f6d1b2a37";

/// What the document says besides the models.
#[derive(Debug, Clone, Copy)]
pub(super) struct DocumentOptions<'a> {
    /// The version of the service.
    pub(super) service_version: &'a str,
    /// A larger body is refused.
    pub(super) max_body_bytes: usize,
    /// More rows are refused.
    pub(super) max_rows: usize,
    /// What becomes of a key that is no field.
    pub(super) unknown_fields: UnknownFields,
    /// Whether requests must show a key.
    pub(super) needs_key: bool,
    /// Whether this document is for those without one too.
    pub(super) has_open_docs: bool,
}

/// A loaded version of a model.
#[derive(Debug, Clone)]
pub(super) struct Described<'a> {
    /// Its name.
    pub(super) name: &'a str,
    /// Its version.
    pub(super) version: String,
    /// For people.
    pub(super) description: &'a str,
    /// What it predicts.
    pub(super) task: Task,
    /// Its role in serving, e.g. `primary`.
    pub(super) role: &'a str,
    /// Whether `POST /v1/predict` asks it.
    pub(super) is_default: bool,
    /// Whether `POST /v1/models/{name}/predict` asks it, rather than another version.
    pub(super) answers_by_name: bool,
    /// What a row is.
    pub(super) schema: &'a Schema,
    /// What its outputs mean.
    pub(super) postprocess: &'a Postprocess,
    /// The tensors that its graph gives.
    pub(super) tensors: &'a [TensorSpec],
    /// What its fields take beyond the schema, from [`narrow()`]; empty when not known.
    pub(super) accepts: Vec<Accepts>,
    /// What the server answers to the example row.
    pub(super) example: Option<ExampleAnswer>,
}

/// What a server answers to [`Described::example_row`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExampleAnswer {
    /// The number, the label or whatever it is.
    pub(super) prediction: Value,
    /// Label to probability, for a classifier.
    pub(super) probabilities: Option<Value>,
}

impl ExampleAnswer {
    /// The answer out of what a model predicted for one row; none when it predicted nothing.
    pub(super) fn of(predictions: &Predictions, postprocess: &Postprocess) -> Option<Self> {
        let first = predictions.rows.first().filter(|first| **first != Prediction::None)?;
        let (mut prediction, mut probabilities) = (Vec::new(), Vec::new());
        postprocess.write_prediction(first, &mut prediction);
        let width = postprocess.n_probabilities();
        if width > 0 {
            let values = predictions.probabilities.get(..width).unwrap_or_default();
            postprocess.write_probabilities(values, &mut probabilities);
        }
        Some(Self {
            prediction: serde_json::from_slice(&prediction).ok()?,
            probabilities: serde_json::from_slice(&probabilities).ok(),
        })
    }
}

impl<'a> Described<'a> {
    /// Describes a loaded model.
    pub(super) fn of(deployment: &'a Deployment, is_default: bool, accepts: Vec<Accepts>) -> Self {
        let model = &deployment.model;
        let manifest = model.artifact().manifest();
        Self {
            name: &manifest.name,
            version: manifest.version.to_string(),
            description: &manifest.description,
            task: manifest.task,
            role: deployment.role.as_str(),
            is_default,
            answers_by_name: deployment.role == Role::Primary,
            schema: model.schema(),
            postprocess: model.postprocess(),
            tensors: &manifest.model.outputs,
            accepts,
            example: None,
        }
    }

    /// A whole row that the model takes.
    pub(super) fn example_row(&self) -> Map<String, Value> {
        example_row(self.schema, &self.accepts)
    }

    /// The key of one of its schemas among the components.
    fn component(&self, what: &str) -> String {
        identifier(&format!("{}_{}_{what}", self.name, self.version), ".-")
    }

    /// A reference to one of its schemas.
    fn reference(&self, what: &str) -> Value {
        json!({ "$ref": format!("#/components/schemas/{}", self.component(what)) })
    }

    /// The answer to the example row, if it is known.
    fn example_answer(&self) -> Option<Value> {
        let answer = self.example.as_ref()?;
        let mut body = Map::new();
        body.insert("predictions".to_owned(), json!([answer.prediction]));
        if let Some(probabilities) = &answer.probabilities {
            body.insert("probabilities".to_owned(), json!([probabilities]));
        }
        body.insert("version".to_owned(), json!(self.version));
        body.insert("errors".to_owned(), Value::Null);
        body.insert("model".to_owned(), json!(self.name));
        body.insert("request_id".to_owned(), json!(REQUEST_ID));
        Some(Value::Object(body))
    }
}

/// The text with everything but ASCII letters, digits, `_` and the characters in `also` replaced by `_`.
fn identifier(text: &str, also: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_alphanumeric() || also.contains(c) { c } else { '_' })
        .collect()
}

/// The whole document. Its order is that of `models`.
pub(super) fn document(models: &[Described<'_>], options: &DocumentOptions<'_>) -> Value {
    let mut paths = Map::new();
    let mut ids = std::collections::BTreeSet::new();
    // Names that differ only in punctuation would give the same id.
    let mut unique = |id: String| {
        let mut id = identifier(&id, "");
        while !ids.insert(id.clone()) {
            id.push('_');
        }
        id
    };
    for model in models.iter().filter(|model| model.is_default) {
        let id = unique("create_prediction".to_owned());
        paths.insert("/v1/predict".to_owned(), predict_path(model, &id, "the default model"));
    }
    for model in models.iter().filter(|model| model.answers_by_name) {
        let path = format!("/v1/models/{}/predict", model.name);
        let id = unique(format!("create_prediction_{}", model.name));
        paths.insert(path, predict_path(model, &id, "the version that serves"));
    }
    for model in models {
        let path =
            format!("/v1/models/{}/versions/{}/predict", model.name, segment(&model.version));
        let id = unique(format!("create_prediction_{}_{}", model.name, model.version));
        paths.insert(path, predict_path(model, &id, "this version"));
    }
    shared::put_paths(models, &mut paths);
    let mut document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Seaworthy",
            "version": options.service_version,
            "summary": "Predictions of trained models, exactly as they were trained",
            "description": introduction(models, options),
        },
        "tags": [
            { "name": "predictions", "description": "Rows in, predictions out." },
            { "name": "models", "description": "What is loaded." },
            { "name": "health", "description": "For load balancers and orchestrators." },
            { "name": "documentation", "description": "This document." },
        ],
        "paths": paths,
        "components": {
            "schemas": schemas(models, options),
            "parameters": shared::parameters(),
            "headers": {
                "RequestId": {
                    "description": "The id of the request: the one it came with, or a new one. Also in the body and the log.",
                    "schema": { "type": "string" },
                },
            },
            "responses": shared::problem_responses(|status| !matches!(status, 401 | 403 | 429)),
        },
    });
    security::put_security(&mut document, options.needs_key, options.has_open_docs);
    document
}

/// A version as a segment of a path: build metadata follows a plus, which some clients read as a space.
fn segment(version: &str) -> String {
    version.replace('+', "%2B")
}

fn introduction(models: &[Described<'_>], options: &DocumentOptions<'_>) -> String {
    let DocumentOptions { max_body_bytes, max_rows, unknown_fields, .. } = options;
    let unknown = match unknown_fields {
        UnknownFields::Ignore => "A key that is no field is ignored.",
        UnknownFields::Reject => "A key that is no field is an error.",
    };
    let list: String = models
        .iter()
        .map(|model| {
            let default = if model.is_default { ", the default" } else { "" };
            format!("\n* `{}` {}, {}{default}", model.name, model.version, model.role)
        })
        .collect();
    format!(
        "Loaded:\n{list}\n\n\
         A request holds rows: `{{\"inputs\": [row, …]}}`, `{{\"inputs\": row}}` or just `[row, …]`, at most {max_rows} of them and at most \
         {max_body_bytes} bytes. Prediction *i* belongs to row *i*. {unknown} A key twice, or a name together with its alias, is an error. \
         Integers are exact to 64 bits; `5.0` is the integer 5. Strings are never read as numbers.\n\n\
         Every error is `application/problem+json` (RFC 9457) with the request's id. A row that cannot be predicted makes the whole request a 422 that \
         lists every problem, unless `on_invalid=null` asks for `null` in its place."
    )
}

/// The path item of a prediction.
fn predict_path(model: &Described<'_>, id: &str, which: &str) -> Value {
    let row = Value::Object(model.example_row());
    let mut description = model.description.trim().to_owned();
    if !description.is_empty() {
        description.push_str("\n\n");
    }
    description.push_str(&format!(
        "Model `{}`, version `{}` ({}), {}.",
        model.name,
        model.version,
        model.task.as_str(),
        model.role
    ));
    let mut answer = json!({ "schema": model.reference("Answer") });
    if let (Some(answer), Some(value)) = (answer.as_object_mut(), model.example_answer()) {
        let example = json!({ "row": { "summary": "The answer to the example", "value": value } });
        answer.insert("examples".to_owned(), example);
    }
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "A prediction for each row, in order.",
            "headers": shared::request_id_header(),
            "content": { "application/json": answer },
        }),
    );
    responses.extend(shared::problem_references(&[
        400, 404, 405, 408, 413, 414, 415, 422, 431, 500, 503,
    ]));
    json!({
        "post": {
            "tags": ["predictions"],
            "operationId": id,
            "summary": format!("Predict with {which}: {} {}", model.name, model.version),
            "description": description,
            "parameters": [
                { "$ref": "#/components/parameters/OnInvalid" },
                { "$ref": "#/components/parameters/RequestId" },
            ],
            "requestBody": {
                "required": true,
                "description": "The rows, in one of three forms.",
                "content": content(model, &json!({
                    "schema": model.reference("Request"),
                    "examples": {
                        "rows": { "summary": "Rows", "value": { "inputs": [row] } },
                        "row": { "summary": "One row", "value": { "inputs": row } },
                        "array": { "summary": "A bare array of rows", "value": [row] },
                    },
                })),
            },
            "responses": responses,
        },
    })
}

/// The forms of a body: JSON, and for a model of pictures a form and, where it needs nothing else, the picture as it is.
fn content(model: &Described<'_>, rows: &Value) -> Value {
    let mut content = json!({ "application/json": rows });
    let fields = model.schema.fields();
    let is_image = |field: &Field| field.kind() == Kind::Image;
    if fields.iter().any(is_image) {
        let parts = fields.iter().map(|field| {
            let binary = json!({ "contentMediaType": "application/octet-stream" });
            (field.name().to_owned(), if is_image(field) { binary } else { json!({}) })
        });
        content["multipart/form-data"] = json!({ "schema": {
            "type": "object",
            "description": "One row: a part for each field.",
            "properties": parts.collect::<Map<_, _>>(),
        } });
        if fields.iter().filter(|field| field.spec().required).count() == 1 {
            content["image/*"] = json!({ "schema": {} });
        }
    }
    content
}

/// The schemas of all models, and those that they share.
fn schemas(models: &[Described<'_>], options: &DocumentOptions<'_>) -> Map<String, Value> {
    let mut schemas = Map::new();
    for model in models {
        let row = row::row_schema(model.schema, &model.accepts, options.unknown_fields);
        schemas.insert(model.component("Row"), row);
        schemas.insert(model.component("Request"), request_schema(model, options));
        schemas.insert(model.component("Answer"), answer_schema(model));
    }
    shared::put_schemas(&mut schemas);
    schemas
}

fn request_schema(model: &Described<'_>, options: &DocumentOptions<'_>) -> Value {
    let row = model.reference("Row");
    let rows = |description: &str| {
        json!({
            "type": "array",
            "description": description,
            "minItems": 1,
            "maxItems": options.max_rows,
            "items": row,
        })
    };
    let open = options.unknown_fields == UnknownFields::Ignore;
    let envelope = |title: &str, inputs: Value| {
        json!({
            "title": title,
            "type": "object",
            "required": ["inputs"],
            "properties": { "inputs": inputs },
            "additionalProperties": open,
        })
    };
    let mut bare = rows("A bare array of rows.");
    if let Some(bare) = bare.as_object_mut() {
        bare.shift_insert(0, "title".to_owned(), json!("Array"));
    }
    json!({
        "description": format!("Rows for {} {}.", model.name, model.version),
        "oneOf": [envelope("Rows", rows("The rows.")), envelope("Row", row.clone()), bare],
    })
}

/// The schema of one prediction.
fn prediction_schema(model: &Described<'_>) -> Value {
    let number = || json!({ "type": ["number", "null"], "format": "double" });
    let labels = || model.postprocess.labels().iter().map(|label| json!(label));
    match model.postprocess.kind() {
        OutputKind::Number => number(),
        OutputKind::Numbers(names) => json!({
            "type": ["array", "null"],
            "description": format!("In this order: {}.", names.join(", ")),
            "minItems": names.len(),
            "maxItems": names.len(),
            "items": number(),
        }),
        OutputKind::Probabilities { .. } | OutputKind::Label => {
            json!({ "enum": labels().chain([Value::Null]).collect::<Vec<_>>() })
        }
        OutputKind::Multilabel { .. } => json!({
            "type": ["array", "null"],
            "uniqueItems": true,
            "items": { "enum": labels().collect::<Vec<_>>() },
        }),
        OutputKind::Tensors(names) => {
            let tensor = |name: &String| {
                let spec = model.tensors.iter().find(|spec| spec.name == *name);
                let shape = spec.map(|spec| spec.shape.get(1..).unwrap_or_default());
                let r#type = spec.and_then(|spec| ElementType::parse(&spec.r#type));
                tensor_schema(r#type, shape.unwrap_or_default())
            };
            let tensors = model.postprocess.tensors().iter().map(tensor);
            match names.as_slice() {
                [_] => {
                    let schemas: Vec<Value> = tensors.chain([json!({ "type": "null" })]).collect();
                    json!({ "anyOf": schemas })
                }
                _ => json!({
                    "type": ["object", "null"],
                    "required": names,
                    "properties": names.iter().cloned().zip(tensors).collect::<Map<_, _>>(),
                }),
            }
        }
    }
}

/// The schema of nested arrays of this shape; `None` is any length.
fn tensor_schema(r#type: Option<ElementType>, shape: &[Option<u64>]) -> Value {
    let element = match r#type {
        Some(ElementType::String) => json!({ "type": "string" }),
        Some(ElementType::Bool) => json!({ "type": "boolean" }),
        Some(known) if known.is_integer() => json!({ "type": "integer" }),
        _ => json!({ "type": ["number", "null"] }),
    };
    shape.iter().rev().fold(element, |items, length| match length {
        Some(length) => {
            json!({ "type": "array", "minItems": length, "maxItems": length, "items": items })
        }
        None => json!({ "type": "array", "items": items }),
    })
}

/// The schema of the probabilities of one row, where there are any.
fn probabilities_schema(model: &Described<'_>) -> Option<Value> {
    if model.postprocess.n_probabilities() == 0 {
        return None;
    }
    let number =
        |label: &Scalar| (label_text(label), json!({ "type": "number", "format": "double" }));
    let labels = model.postprocess.labels();
    let properties: Map<_, _> = labels.iter().map(number).collect();
    Some(match model.postprocess.kind() {
        OutputKind::Probabilities { top_k: Some(k), .. } => json!({
            "type": ["object", "null"],
            "description": format!("The {k} most probable labels, in descending order."),
            "minProperties": k,
            "maxProperties": k,
            "properties": properties,
            "additionalProperties": false,
        }),
        _ => json!({
            "type": ["object", "null"],
            "required": labels.iter().map(label_text).collect::<Vec<_>>(),
            "properties": properties,
        }),
    })
}

fn answer_schema(model: &Described<'_>) -> Value {
    let mut properties = Map::new();
    let mut required = vec!["predictions", "version", "errors", "model", "request_id"];
    properties.insert(
        "predictions".to_owned(),
        json!({
            "type": "array",
            "description": "One for each row, in order; `null` where there is none, with the reason in `errors`.",
            "items": prediction_schema(model),
        }),
    );
    if let Some(probabilities) = probabilities_schema(model) {
        required.insert(1, "probabilities");
        properties.insert(
            "probabilities".to_owned(),
            json!({
                "type": "array",
                "description": "One for each row, in order: the probability of each label.",
                "items": probabilities,
            }),
        );
    }
    for (key, value) in [
        (
            "version",
            json!({ "const": model.version, "description": "The version that predicted." }),
        ),
        (
            "errors",
            json!({
                "type": ["array", "null"],
                "description": "Why rows have no prediction; `null` when all have one.",
                "items": { "$ref": "#/components/schemas/InputError" },
            }),
        ),
        (
            "total_errors",
            json!({
                "type": "integer",
                "minimum": 0,
                "description": "How many errors there are, when not all are listed.",
            }),
        ),
        ("model", json!({ "const": model.name, "description": "The model that predicted." })),
        (
            "request_id",
            json!({ "type": "string", "description": "As in the header `X-Request-ID`." }),
        ),
    ] {
        properties.insert(key.to_owned(), value);
    }
    json!({ "type": "object", "required": required, "properties": properties })
}
