//! The OpenAPI 3.1 document, made from the loaded models.
//!
//! Each model has paths and schemas of its own, so that a client sees the fields of the model that it asks. The document
//! allows what the server takes and nothing else. Knows nothing of routing: paths, parameters and status codes
//! are written down here a second time, and the API tests compare the two.

use serde_json::{Map, Value, json};

use crate::artifact::Task;
use crate::predictor::Model;
use crate::proof::label_text;
use crate::schema::{Scalar, Schema, UnknownFields};

mod narrow;
mod row;
#[cfg(test)]
mod tests;

pub(super) use narrow::{Accepts, narrow};
pub(super) use row::example_row;

/// The path of the document.
pub(super) const PATH: &str = "/v1/openapi.json";

const PROBLEM_JSON: &str = "application/problem+json";

/// Every code of a row's error; see docs/artifact.md, section 3. The last two are of the request as a whole.
const ROW_CODES: [&str; 17] = [
    "missing",
    "null",
    "type",
    "not_integer",
    "out_of_range",
    "not_finite",
    "minimum",
    "maximum",
    "category",
    "duplicate_key",
    "unknown_field",
    "row_type",
    "missing_value",
    "infinite_value",
    "out_of_domain",
    "unseen_category",
    "output_not_finite",
];
/// Codes of the request as a whole, besides.
const ENVELOPE_CODES: [&str; 2] = ["empty", "too_many_rows"];

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
    /// The labels of a classifier; else empty.
    pub(super) labels: &'a [Scalar],
    /// What its fields take beyond the schema, from [`narrow`]; empty when not known.
    pub(super) accepts: Vec<Accepts>,
    /// What the server answers to the example row.
    pub(super) example: Option<ExampleAnswer>,
}

/// What a server answers to [`Described::example_row`].
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ExampleAnswer {
    /// The number or the label; `null` when there is none.
    pub(super) prediction: Value,
    /// Label to probability, for a classifier.
    pub(super) probabilities: Option<Value>,
}

impl<'a> Described<'a> {
    /// Describes a loaded model: the only one of its name, not the default, without an example of an answer.
    pub(super) fn of(model: &'a Model, role: &'a str) -> Self {
        let manifest = model.artifact().manifest();
        Self {
            name: &manifest.name,
            version: manifest.version.to_string(),
            description: &manifest.description,
            task: manifest.task,
            role,
            is_default: false,
            answers_by_name: true,
            schema: model.schema(),
            labels: model.postprocess().labels(),
            accepts: narrow(model.schema(), model.pipeline(), &manifest.pipeline),
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

    fn example_answer(&self) -> Value {
        let answer = self.example.clone().unwrap_or_else(|| self.plausible_answer());
        let mut body = Map::new();
        body.insert("predictions".to_owned(), json!([answer.prediction]));
        if let Some(probabilities) = answer.probabilities {
            body.insert("probabilities".to_owned(), json!([probabilities]));
        }
        body.insert("version".to_owned(), json!(self.version));
        body.insert("errors".to_owned(), Value::Null);
        body.insert("model".to_owned(), json!(self.name));
        body.insert("request_id".to_owned(), json!(REQUEST_ID));
        Value::Object(body)
    }

    /// An answer of the right form.
    fn plausible_answer(&self) -> ExampleAnswer {
        let Some(first) = self.labels.first() else {
            return ExampleAnswer { prediction: json!(1.5), probabilities: None };
        };
        let certain =
            |(index, label)| (label_text(label), json!(if index == 0 { 1.0 } else { 0.0 }));
        let probabilities: Map<String, Value> =
            self.labels.iter().enumerate().map(certain).collect();
        ExampleAnswer {
            prediction: json!(first),
            probabilities: Some(Value::Object(probabilities)),
        }
    }
}

const REQUEST_ID: &str = "01988c6f-5e2b-7c3e-9a54-0c8f6d1b2a37";

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
    other_paths(models, &mut paths);
    json!({
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
            "parameters": parameters(),
            "headers": {
                "RequestId": {
                    "description": "The id of the request: the one it came with, or a new one. Also in the body and the log.",
                    "schema": { "type": "string" },
                },
            },
            "responses": problem_responses(options),
        },
    })
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
    let mut responses = Map::new();
    responses.insert(
        "200".to_owned(),
        json!({
            "description": "A prediction for each row, in order.",
            "headers": request_id_header(),
            "content": { "application/json": {
                "schema": model.reference("Answer"),
                "examples": { "row": { "summary": "The answer to one row", "value": model.example_answer() } },
            } },
        }),
    );
    for (status, name) in PROBLEMS.iter().map(|problem| (problem.status, problem.component)) {
        responses.insert(
            status.to_string(),
            json!({ "$ref": format!("#/components/responses/{name}") }),
        );
    }
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
                "content": { "application/json": {
                    "schema": model.reference("Request"),
                    "examples": {
                        "rows": { "summary": "Rows", "value": { "inputs": [row] } },
                        "row": { "summary": "One row", "value": { "inputs": row } },
                        "array": { "summary": "A bare array of rows", "value": [row] },
                    },
                } },
            },
            "responses": responses,
        },
    })
}

fn request_id_header() -> Value {
    json!({ "X-Request-ID": { "$ref": "#/components/headers/RequestId" } })
}

/// The paths that are the same for all models.
fn other_paths(models: &[Described<'_>], paths: &mut Map<String, Value>) {
    let ok = |description: &str, schema: &str| {
        json!({
            "description": description,
            "headers": request_id_header(),
            "content": { "application/json": {
                "schema": { "$ref": format!("#/components/schemas/{schema}") },
            } },
        })
    };
    let problem = |name: &str| json!({ "$ref": format!("#/components/responses/{name}") });
    let get = |tag: &str, id: &str, summary: &str, parameters: Value, responses: Value| {
        let mut parameters = parameters;
        if let Some(parameters) = parameters.as_array_mut() {
            parameters.push(json!({ "$ref": "#/components/parameters/RequestId" }));
        }
        let mut responses = responses;
        if let Some(responses) = responses.as_object_mut() {
            responses.insert("500".to_owned(), problem("InternalServerError"));
            if !responses.contains_key("503") {
                responses.insert("503".to_owned(), problem("ServiceUnavailable"));
            }
        }
        json!({ "get": {
            "tags": [tag],
            "operationId": id,
            "summary": summary,
            "parameters": parameters,
            "responses": responses,
        } })
    };
    let mut names: Vec<&str> = models.iter().map(|model| model.name).collect();
    names.dedup();
    let mut put = |path: &str, item: Value| paths.insert(path.to_owned(), item);
    put(
        "/v1/models",
        get(
            "models",
            "list_models",
            "What is loaded",
            json!([]),
            json!({ "200": ok("Every loaded model.", "ModelList") }),
        ),
    );
    put(
        "/v1/models/{model}",
        get(
            "models",
            "find_model",
            "One model: schema, versions, provenance, proof",
            json!([{
                "name": "model",
                "in": "path",
                "required": true,
                "description": "The name of a model.",
                "schema": { "type": "string", "enum": names },
                "example": names.first(),
            }]),
            json!({ "200": ok("The model.", "Model"), "404": problem("NotFound") }),
        ),
    );
    let ready = || ok("It may receive traffic.", "Health");
    put(
        "/health",
        get(
            "health",
            "show_health",
            "Ready or not, and what is served",
            json!([]),
            json!({ "200": ready() }),
        ),
    );
    put(
        "/health/live",
        get(
            "health",
            "show_liveness",
            "The process is alive",
            json!([]),
            json!({ "200": ok("It is.", "Health") }),
        ),
    );
    put(
        "/health/ready",
        get(
            "health",
            "show_readiness",
            "May receive traffic",
            json!([]),
            json!({ "200": ready() }),
        ),
    );
    let document = json!({
        "description": "An OpenAPI 3.1 document.",
        "headers": request_id_header(),
        "content": { "application/json": { "schema": { "type": "object" } } },
    });
    put(
        PATH,
        get(
            "documentation",
            "show_openapi",
            "This document",
            json!([]),
            json!({ "200": document }),
        ),
    );
}

fn parameters() -> Value {
    json!({
        "OnInvalid": {
            "name": "on_invalid",
            "in": "query",
            "description": "What becomes of a request with rows that cannot be predicted: `fail` refuses all of it, `null` predicts the \
                            others and gives `null` and an error for these.",
            "schema": { "type": "string", "enum": ["fail", "null"], "default": "fail" },
        },
        "RequestId": {
            "name": "X-Request-ID",
            "in": "header",
            "description": "An id for the request, kept when well-formed (1 to 128 visible ASCII characters), else replaced. Comes back in the \
                            answer and stands in the log.",
            "schema": { "type": "string" },
        },
    })
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
    let codes: Vec<&str> = ROW_CODES.into_iter().chain(ENVELOPE_CODES).collect();
    schemas.insert(
        "InputError".to_owned(),
        json!({
            "type": "object",
            "description": "One thing that is wrong with the request, or with a row.",
            "required": ["pointer", "code", "detail"],
            "properties": {
                "pointer": {
                    "type": "string",
                    "description": "Where: a JSON pointer (RFC 6901) into the request's body, as a URI fragment.",
                    "examples": ["#/inputs/1/LotArea"],
                },
                "code": { "type": "string", "description": "What, for programs.", "enum": codes },
                "detail": { "type": "string", "description": "What, for people." },
            },
        }),
    );
    schemas.insert(
        "Problem".to_owned(),
        json!({
            "type": "object",
            "description": "Why there is no answer (RFC 9457).",
            "required": ["type", "title", "status", "request_id"],
            "properties": {
                "type": {
                    "type": "string",
                    "format": "uri-reference",
                    "description": "Names the kind of problem.",
                },
                "title": { "type": "string", "description": "The kind of problem, for people." },
                "status": { "type": "integer", "minimum": 400, "maximum": 599 },
                "detail": { "type": "string", "description": "This problem, for people." },
                "errors": {
                    "type": "array",
                    "description": "Everything that is wrong with the rows, up to a limit.",
                    "items": { "$ref": "#/components/schemas/InputError" },
                },
                "total_errors": {
                    "type": "integer",
                    "minimum": 0,
                    "description": "How many errors there are, listed or not.",
                },
                "request_id": { "type": "string" },
            },
        }),
    );
    schemas.insert(
        "ModelList".to_owned(),
        json!({
            "type": "object",
            "required": ["models"],
            "properties": {
                "models": { "type": "array", "items": { "$ref": "#/components/schemas/Model" } },
            },
        }),
    );
    schemas.insert(
        "Model".to_owned(),
        json!({
            "type": "object",
            "description": "What is loaded under a name: versions with their roles, digest, schema, provenance and proof.",
            "required": ["name"],
            "properties": { "name": { "type": "string" } },
        }),
    );
    schemas.insert(
        "Health".to_owned(),
        json!({
            "type": "object",
            "required": ["status"],
            "properties": {
                "status": { "type": "string", "examples": ["ready"] },
                "name": { "type": "string", "description": "The service." },
                "api_version": { "type": "string", "description": "The version of the service." },
                "model": { "type": "string", "description": "The default model." },
                "model_version": { "type": "string", "description": "Its version." },
                "artifact": {
                    "type": "string",
                    "description": "The digest of its artifact: `sha256:` and 64 hex digits.",
                },
            },
        }),
    );
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

fn answer_schema(model: &Described<'_>) -> Value {
    let prediction = if model.labels.is_empty() {
        json!({ "type": ["number", "null"], "format": "double" })
    } else {
        let labels: Vec<Value> =
            model.labels.iter().map(|label| json!(label)).chain([Value::Null]).collect();
        json!({ "enum": labels })
    };
    let mut properties = Map::new();
    let mut required = vec!["predictions", "version", "errors", "model", "request_id"];
    properties.insert(
        "predictions".to_owned(),
        json!({
            "type": "array",
            "description": "One for each row, in order; `null` where there is none, with the reason in `errors`.",
            "items": prediction,
        }),
    );
    if !model.labels.is_empty() {
        required.insert(1, "probabilities");
        let number =
            |label: &Scalar| (label_text(label), json!({ "type": "number", "format": "double" }));
        let labels: Vec<String> = model.labels.iter().map(label_text).collect();
        properties.insert(
            "probabilities".to_owned(),
            json!({
                "type": "array",
                "description": "One for each row, in order: the probability of each label.",
                "items": {
                    "type": ["object", "null"],
                    "required": labels,
                    "properties": model.labels.iter().map(number).collect::<Map<_, _>>(),
                },
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

/// A kind of problem: its status, the name of its response, and an example.
struct ProblemKind {
    status: u16,
    component: &'static str,
    kind: &'static str,
    title: &'static str,
    description: &'static str,
    detail: Option<&'static str>,
}

const PROBLEMS: [ProblemKind; 9] = [
    ProblemKind {
        status: 400,
        component: "BadRequest",
        kind: "invalid-json",
        title: "Invalid JSON",
        description: "The body is not JSON, or a parameter is not known.",
        detail: Some("expected `,` or `}` at line 3, column 14"),
    },
    ProblemKind {
        status: 404,
        component: "NotFound",
        kind: "not-found",
        title: "Not found",
        description: "There is no such path, model or version.",
        detail: Some("no model `house-price` is loaded"),
    },
    ProblemKind {
        status: 405,
        component: "MethodNotAllowed",
        kind: "method-not-allowed",
        title: "Method not allowed",
        description: "The path is there, but not with this method; `Allow` says which.",
        detail: None,
    },
    ProblemKind {
        status: 408,
        component: "RequestTimeout",
        kind: "request-timeout",
        title: "Request timeout",
        description: "The body did not arrive in time.",
        detail: None,
    },
    ProblemKind {
        status: 413,
        component: "ContentTooLarge",
        kind: "content-too-large",
        title: "Content too large",
        description: "The body is too large.",
        detail: None,
    },
    ProblemKind {
        status: 415,
        component: "UnsupportedMediaType",
        kind: "unsupported-media-type",
        title: "Unsupported media type",
        description: "The body is not `application/json`.",
        detail: None,
    },
    ProblemKind {
        status: 422,
        component: "UnprocessableContent",
        kind: "invalid-input",
        title: "Invalid input",
        description: "Rows break the schema, or the model cannot be asked with their values. Lists every problem.",
        detail: Some("1 problem in 1 of 1 rows"),
    },
    ProblemKind {
        status: 500,
        component: "InternalServerError",
        kind: "internal",
        title: "Internal server error",
        description: "The server's own fault; its log has the request's id.",
        detail: None,
    },
    ProblemKind {
        status: 503,
        component: "ServiceUnavailable",
        kind: "unavailable",
        title: "Service unavailable",
        description: "The server is full, not ready or about to stop: try again, or another copy.",
        detail: None,
    },
];

fn problem_responses(options: &DocumentOptions<'_>) -> Map<String, Value> {
    let response = |problem: &ProblemKind| {
        let mut example = Map::new();
        example.insert("type".to_owned(), json!(format!("/problems/{}", problem.kind)));
        example.insert("title".to_owned(), json!(problem.title));
        example.insert("status".to_owned(), json!(problem.status));
        if let Some(detail) = problem.detail {
            example.insert("detail".to_owned(), json!(detail));
        }
        if problem.status == 422 {
            let error = json!({
                "pointer": "#/inputs/0/LotArea",
                "code": "type",
                "detail": "expected an integer, found the string \"big\"",
            });
            example.insert("errors".to_owned(), json!([error]));
            example.insert("total_errors".to_owned(), json!(1));
        }
        example.insert("request_id".to_owned(), json!(REQUEST_ID));
        let mut headers = request_id_header();
        let extra = match problem.status {
            405 => Some(("Allow", "The methods that the path has.")),
            503 => Some(("Retry-After", "When to try again, in seconds; when the server is full.")),
            _ => None,
        };
        if let (Some(headers), Some((name, description))) = (headers.as_object_mut(), extra) {
            let header = json!({ "description": description, "schema": { "type": "string" } });
            headers.insert(name.to_owned(), header);
        }
        let description = match problem.status {
            413 => format!(
                "{} At most {} bytes are taken.",
                problem.description, options.max_body_bytes
            ),
            _ => problem.description.to_owned(),
        };
        let response = json!({
            "description": description,
            "headers": headers,
            "content": { PROBLEM_JSON: {
                "schema": { "$ref": "#/components/schemas/Problem" },
                "example": example,
            } },
        });
        (problem.component.to_owned(), response)
    };
    PROBLEMS.iter().map(response).collect()
}
