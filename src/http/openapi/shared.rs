//! What is the same whatever is loaded: the other paths, parameters, problems.

use serde_json::{Map, Value, json};

use super::{Described, PATH, REQUEST_ID};

const PROBLEM_JSON: &str = "application/problem+json";

/// Every code of a row's error; see docs/artifact.md, section 3.
pub(super) const ROW_CODES: [&str; 26] = [
    "missing",
    "null",
    "type",
    "not_integer",
    "datetime",
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
    "output_no_label",
    "graph_refused",
    "length",
    "base64",
    "image_format",
    "image_unsupported",
    "image_too_large",
    "image_broken",
];
/// Codes of a request as a whole, besides.
pub(super) const ENVELOPE_CODES: [&str; 2] = ["empty", "too_many_rows"];

/// The header that every answer has.
pub(super) fn request_id_header() -> Value {
    json!({ "X-Request-ID": { "$ref": "#/components/headers/RequestId" } })
}

/// A response with a body of one of the shared schemas.
fn response(description: &str, schema: &str) -> Value {
    json!({
        "description": description,
        "headers": request_id_header(),
        "content": { "application/json": {
            "schema": { "$ref": format!("#/components/schemas/{schema}") },
        } },
    })
}

/// A path that is only read.
fn get(tag: &str, id: &str, summary: &str, parameters: &[Value], responses: Value) -> Value {
    let request_id = json!({ "$ref": "#/components/parameters/RequestId" });
    let parameters: Vec<&Value> = parameters.iter().chain([&request_id]).collect();
    let mut item = json!({ "get": {
        "tags": [tag],
        "operationId": id,
        "summary": summary,
        "parameters": parameters,
        "responses": responses,
    } });
    if let Some(responses) = item["get"]["responses"].as_object_mut() {
        // Health has an answer of its own with 503.
        for (status, reference) in problem_references(&[431, 500, 503]) {
            responses.entry(status).or_insert(reference);
        }
    }
    item
}

/// The paths besides those of predictions.
pub(super) fn put_paths(models: &[Described<'_>], paths: &mut Map<String, Value>) {
    let mut names: Vec<&str> = Vec::new();
    for model in models {
        if !names.contains(&model.name) {
            names.push(model.name);
        }
    }
    let mut put = |path: &str, item: Value| paths.insert(path.to_owned(), item);
    let list = json!({ "200": response("Every loaded version, in a few words.", "ModelList") });
    let _new = put("/v1/models", get("models", "list_models", "What is loaded", &[], list));
    let name = json!({
        "name": "model",
        "in": "path",
        "required": true,
        "description": "The name of a model.",
        "schema": { "type": "string", "enum": names },
    });
    let mut found = json!({ "200": response("Its loaded versions, whole.", "Model") });
    if let Some(found) = found.as_object_mut() {
        found.extend(problem_references(&[404]));
    }
    let summary = "One model: schema, provenance, proof";
    let _new = put("/v1/models/{model}", get("models", "find_model", summary, &[name], found));
    let health = || {
        json!({
            "200": response("It may receive requests.", "Health"),
            "503": response("It has been told to stop, and is `draining`.", "Health"),
        })
    };
    let summary = "Ready or not, and what is served";
    let _new = put("/health", get("health", "show_health", summary, &[], health()));
    let alive = json!({ "200": response("It is.", "Liveness") });
    let summary = "The process is alive";
    let _new = put("/health/live", get("health", "show_liveness", summary, &[], alive));
    let summary = "May receive requests; the same as `/health`";
    let _new = put("/health/ready", get("health", "show_readiness", summary, &[], health()));
    let document = json!({
        "200": {
            "description": "An OpenAPI 3.1 document.",
            "headers": request_id_header(),
            "content": { "application/json": { "schema": { "type": "object" } } },
        },
        "304": { "description": "It is what `If-None-Match` names.", "headers": request_id_header() },
    });
    let _new = put(PATH, get("documentation", "show_openapi", "This document", &[], document));
}

/// The parameters that several paths have.
pub(super) fn parameters() -> Value {
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
            "description": "An id for the request. One of 1 to 128 characters out of `A-Z a-z 0-9 . _ : / + = @ -` is kept, any other is \
                            replaced. It comes back in the answer and stands in the log.",
            "schema": { "type": "string" },
        },
    })
}

/// The schemas that are no model's own.
pub(super) fn put_schemas(schemas: &mut Map<String, Value>) {
    let codes: Vec<&str> = ROW_CODES.into_iter().chain(ENVELOPE_CODES).collect();
    let kinds: Vec<String> =
        PROBLEMS.iter().map(|problem| format!("/problems/{}", problem.kind)).collect();
    let shared = json!({
        "InputError": {
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
        },
        "Problem": {
            "type": "object",
            "description": "Why there is no answer (RFC 9457).",
            "required": ["type", "title", "status", "request_id"],
            "properties": {
                "type": { "type": "string", "description": "The kind of problem, for programs.", "enum": kinds },
                "title": { "type": "string", "description": "The kind of problem, for people." },
                "status": { "type": "integer", "description": "The status of the answer." },
                "detail": { "type": "string", "description": "This problem, for people." },
                "errors": {
                    "type": "array",
                    "description": "What is wrong with the rows, up to a limit.",
                    "items": { "$ref": "#/components/schemas/InputError" },
                },
                "total_errors": {
                    "type": "integer",
                    "description": "How many errors there are, when not all are listed.",
                },
                "request_id": { "type": "string", "description": "As in the header `X-Request-ID`." },
            },
        },
        "ModelList": {
            "type": "object",
            "required": ["models"],
            "properties": {
                "models": { "type": "array", "items": { "$ref": "#/components/schemas/VersionSummary" } },
            },
        },
        "Model": {
            "type": "object",
            "required": ["name", "versions"],
            "properties": {
                "name": { "type": "string" },
                "versions": { "type": "array", "items": { "$ref": "#/components/schemas/Version" } },
            },
        },
        "VersionSummary": {
            "type": "object",
            "description": "A version in a few words.",
            "required": ["name", "version", "role", "default", "task", "description", "artifact", "proven_rows"],
            "properties": {
                "name": { "type": "string" },
                "version": { "type": "string", "description": "A semantic version." },
                "role": { "type": "string", "description": "What it does in serving: the `primary` version answers for its model." },
                "default": { "type": "boolean", "description": "Whether `POST /v1/predict` asks it." },
                "task": { "type": "string", "description": "What it predicts." },
                "description": { "type": "string" },
                "artifact": { "type": "string", "description": "Its digest: `sha256:` and 64 hex digits." },
                "proven_rows": {
                    "type": "integer",
                    "description": "Golden rows, computed by the training code, that it reproduced before it was served.",
                },
            },
        },
        "Version": {
            "description": "A version, whole. What the parts hold is described in the project's docs/artifact.md.",
            "allOf": [{ "$ref": "#/components/schemas/VersionSummary" }],
            "type": "object",
            "required": ["created", "inputs", "features", "model", "outputs", "labels", "provenance", "proof", "engine"],
            "properties": {
                "created": { "type": "string", "description": "When it was exported (RFC 3339)." },
                "inputs": {
                    "type": "array",
                    "description": "The fields of a row.",
                    "items": { "type": "object", "required": ["name", "type"] },
                },
                "features": {
                    "type": "array",
                    "description": "The columns that go into the graph.",
                    "items": { "type": "string" },
                },
                "model": { "type": "object", "description": "The graph." },
                "outputs": { "type": "object", "description": "Which tensor holds what; docs/artifact.md, 1.4." },
                "labels": { "type": "array", "description": "Those of a classifier; else empty." },
                "provenance": { "type": "object", "description": "From what, with what and how well it was trained." },
                "proof": { "type": "object", "description": "What was compared with training, and how close it was." },
                "engine": { "type": "object", "description": "How it is run." },
            },
        },
        "Health": {
            "type": "object",
            "required": ["status", "name", "api_version", "model", "model_version", "artifact"],
            "properties": {
                "status": { "type": "string", "enum": ["ready", "draining"] },
                "name": { "type": "string", "description": "The service." },
                "api_version": { "type": "string", "description": "Its version." },
                "model": { "type": "string", "description": "The default model." },
                "model_version": { "type": "string", "description": "Its version." },
                "artifact": { "type": "string", "description": "Its digest: `sha256:` and 64 hex digits." },
            },
        },
        "Liveness": {
            "type": "object",
            "required": ["status"],
            "properties": { "status": { "const": "alive" } },
        },
    });
    if let Value::Object(shared) = shared {
        schemas.extend(shared);
    }
}

/// A kind of problem, as the table in docs/api.md has it; the first of a status is its example.
pub(super) struct ProblemKind {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) title: &'static str,
    /// When it arises.
    when: &'static str,
    /// An example of what it says.
    detail: Option<&'static str>,
}

const fn problem(
    status: u16,
    kind: &'static str,
    title: &'static str,
    when: &'static str,
    detail: Option<&'static str>,
) -> ProblemKind {
    ProblemKind { status, kind, title, when, detail }
}

pub(super) const PROBLEMS: [ProblemKind; 23] = [
    problem(
        400,
        "malformed-json",
        "The body is not JSON",
        "the body is not JSON",
        Some("the body is not JSON: expected `,` or `}` at line 3, column 14"),
    ),
    problem(
        400,
        "malformed-form",
        "The form cannot be read",
        "the form has no such boundary, is cut off, or its part `inputs` is no JSON object",
        None,
    ),
    problem(
        400,
        "malformed-encoding",
        "The body cannot be decompressed",
        "the body is not what its `Content-Encoding` says",
        None,
    ),
    problem(400, "broken-body", "The body could not be read", "the body broke off", None),
    problem(
        400,
        "invalid-query",
        "Invalid query",
        "`on_invalid` is neither `fail` nor `null`",
        Some("the query parameter `on_invalid` is `skip`, expected `fail` or `null`"),
    ),
    problem(
        400,
        "malformed-request",
        "The request is not HTTP",
        "the request's line or its headers are not those of HTTP",
        None,
    ),
    problem(
        401,
        "unauthorized",
        "A key is needed",
        "keys are asked for, and none that is known came with the request",
        Some("a key is needed, as `Authorization: Bearer KEY` or `X-API-Key: KEY`; found none"),
    ),
    problem(
        403,
        "forbidden",
        "The key is for other models",
        "the key is for other models",
        Some("the key `frontend` is not for the model `house-prices`"),
    ),
    problem(
        403,
        "origin-not-allowed",
        "Pages of this origin may not",
        "a page of an origin that is not in `cors.origins` asks whether it may send a request",
        None,
    ),
    problem(
        404,
        "unknown-model",
        "Unknown model",
        "no such model or version is loaded",
        Some("there is no model `house-price`; there are: house-prices@3.2.0"),
    ),
    problem(404, "not-found", "Not found", "there is no such path", None),
    problem(
        405,
        "method-not-allowed",
        "Method not allowed",
        "another method is needed",
        Some("DELETE is not possible here; use POST"),
    ),
    problem(
        408,
        "body-timeout",
        "The body came too slowly",
        "the body did not arrive in time",
        Some("the body did not arrive within 10000 ms"),
    ),
    problem(
        413,
        "body-too-large",
        "The body is too large",
        "the body is too large",
        Some("the body is larger than 16777216 bytes; send fewer rows at a time"),
    ),
    problem(414, "uri-too-long", "The path is too long", "the path is too long", None),
    problem(
        415,
        "unsupported-media-type",
        "Unsupported media type",
        "the body is not JSON by its content type, not UTF-8, or compressed otherwise than by gzip, zstd or deflate",
        Some("expected the content type application/json, found `text/csv`"),
    ),
    problem(
        422,
        "invalid-input",
        "Invalid input",
        "rows, or the request as a whole, break the schema or are refused by the fitted pipeline",
        Some("1 problem in 1 of 3 rows"),
    ),
    problem(
        429,
        "too-many-requests",
        "The quota is used up",
        "the quota of the key is used up",
        Some("the quota of the key `frontend` is used up; try again in 2 s"),
    ),
    problem(
        431,
        "head-too-large",
        "The headers are too large",
        "the line and the headers are too large together, or too many",
        None,
    ),
    problem(
        500,
        "internal",
        "Internal error",
        "the fault is the server's; its log has the id",
        None,
    ),
    problem(
        503,
        "overloaded",
        "The server is busy",
        "too many requests wait or are under way, or too many connections are open",
        Some("the model is busy: its queue is full"),
    ),
    problem(503, "timeout", "The prediction took too long", "the prediction took too long", None),
    problem(
        503,
        "loading",
        "The models are being loaded",
        "the models are still being loaded in the background",
        None,
    ),
];

/// The key of the response of a status among the components.
fn response_component(status: u16) -> &'static str {
    match status {
        400 => "BadRequest",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "NotFound",
        405 => "MethodNotAllowed",
        408 => "RequestTimeout",
        413 => "ContentTooLarge",
        414 => "UriTooLong",
        415 => "UnsupportedMediaType",
        429 => "TooManyRequests",
        422 => "UnprocessableContent",
        431 => "RequestHeaderFieldsTooLarge",
        503 => "ServiceUnavailable",
        _ => "InternalServerError",
    }
}

/// References to the responses of these statuses.
pub(super) fn problem_references(statuses: &[u16]) -> Map<String, Value> {
    let reference = |status: &u16| {
        let component = response_component(*status);
        (status.to_string(), json!({ "$ref": format!("#/components/responses/{component}") }))
    };
    statuses.iter().map(reference).collect()
}

/// The responses of the problems of some statuses.
pub(super) fn problem_responses(wanted: impl Fn(u16) -> bool) -> Map<String, Value> {
    let mut responses = Map::new();
    for of_status in PROBLEMS.chunk_by(|one, next| one.status == next.status) {
        let Some(first) = of_status.first().filter(|first| wanted(first.status)) else { continue };
        let when: Vec<String> = of_status
            .iter()
            .map(|problem| format!("`{}`: {}", problem.kind, problem.when))
            .collect();
        let mut headers = request_id_header();
        let extra = match first.status {
            405 => Some(("Allow", "The methods that are possible.")),
            401 => Some(("WWW-Authenticate", "That a key is needed (RFC 6750).")),
            429 | 503 => Some(("Retry-After", "When to try again, in seconds.")),
            _ => None,
        };
        if let (Some(headers), Some((name, description))) = (headers.as_object_mut(), extra) {
            let header = json!({ "description": description, "schema": { "type": "string" } });
            headers.insert(name.to_owned(), header);
        }
        let response = json!({
            "description": format!("{}.", when.join("; ")),
            "headers": headers,
            "content": { PROBLEM_JSON: {
                "schema": { "$ref": "#/components/schemas/Problem" },
                "example": problem_example(first),
            } },
        });
        responses.insert(response_component(first.status).to_owned(), response);
    }
    responses
}

fn problem_example(problem: &ProblemKind) -> Value {
    let mut example = Map::new();
    example.insert("type".to_owned(), json!(format!("/problems/{}", problem.kind)));
    example.insert("title".to_owned(), json!(problem.title));
    example.insert("status".to_owned(), json!(problem.status));
    if let Some(detail) = problem.detail {
        example.insert("detail".to_owned(), json!(detail));
    }
    if problem.status == 422 {
        let error = json!({
            "pointer": "#/inputs/1/LotArea",
            "code": "type",
            "detail": "expected an integer, found the string \"big\"",
        });
        example.insert("errors".to_owned(), json!([error]));
    }
    example.insert("request_id".to_owned(), json!(REQUEST_ID));
    Value::Object(example)
}
