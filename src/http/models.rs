//! `GET /v1/models` and `GET /v1/models/{model}`: what is loaded, and what was proven of it.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::routing::get;
use axum::{Extension, Json, Router};
use serde::Serialize;

use super::gate::Caller;
use super::problem::{self, ApiError};
use crate::artifact::{ModelSpec, Task};
use crate::engine::{Lane, Plan};
use crate::postprocess::OutputsSpec;
use crate::proof::Proof;
use crate::schema::{Field, FieldSpec};
use crate::state::{AppState, Deployment};

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/v1/models", get(list_models)).route("/v1/models/{model}", get(find_model))
}

#[derive(Debug, Serialize)]
struct ModelsResponse<'a> {
    models: Vec<Summary<'a>>,
}

/// A version in a few words.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    name: &'a str,
    version: String,
    role: &'static str,
    /// Whether `POST /v1/predict` asks it.
    default: bool,
    task: Task,
    description: &'a str,
    artifact: &'a str,
    /// Golden rows that it reproduced before it was served.
    proven_rows: usize,
}

#[derive(Debug, Serialize)]
struct ModelResponse<'a> {
    name: &'a str,
    versions: Vec<Version<'a>>,
}

/// A version, whole.
#[derive(Debug, Serialize)]
struct Version<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    created: &'a str,
    inputs: Vec<FieldSpec>,
    features: &'a [String],
    model: &'a ModelSpec,
    /// What the prediction is made of, and its labels or names.
    outputs: &'a OutputsSpec,
    labels: &'a [crate::schema::Scalar],
    provenance: &'a serde_json::Map<String, serde_json::Value>,
    proof: &'a Proof,
    engine: EngineView,
}

#[derive(Debug, Serialize)]
struct EngineView {
    lane: &'static str,
    /// Whether the lane follows from the measured cost or from a setting.
    chosen_by: &'static str,
    threads: usize,
    intra_threads: usize,
    /// Requests that may wait; only workers have a queue.
    queue: Option<usize>,
    /// Rows up to which a worker merges requests; null when it merges none.
    batch_rows: Option<usize>,
    batch_delay_us: Option<u128>,
    /// Whether it does so only while it is busy and the queue stands.
    batch_only_when_busy: Option<bool>,
    /// What a golden row took when the model was loaded.
    row_cost_us: f64,
    /// The same for each of many rows at once.
    batch_row_cost_us: f64,
}

fn summary<'a>(state: &'a AppState, deployment: &'a Deployment) -> Summary<'a> {
    let artifact = deployment.model.artifact();
    Summary {
        name: deployment.name(),
        version: deployment.version().to_string(),
        role: deployment.role.as_str(),
        default: std::ptr::eq(deployment, state.default_deployment()),
        task: artifact.manifest().task,
        description: &artifact.manifest().description,
        artifact: artifact.digest(),
        proven_rows: deployment.proof.rows,
    }
}

async fn list_models(State(state): State<AppState>) -> Json<serde_json::Value> {
    let models = state.deployments().iter().map(|deployment| summary(&state, deployment)).collect();
    Json(serde_json::to_value(ModelsResponse { models }).unwrap_or_default())
}

async fn find_model(
    State(state): State<AppState>,
    name: Result<Path<String>, PathRejection>,
    caller: Option<Extension<Caller>>,
    uri: Uri,
) -> Result<Json<serde_json::Value>, ApiError> {
    // A name that is not UTF-8 is no model's.
    let Path(name) = name.map_err(|_not_utf8| unknown(&state, in_path(uri.path())))?;
    let found: Vec<&Deployment> =
        state.deployments().iter().filter(|deployment| deployment.name() == name).collect();
    let Some(first) = found.first() else { return Err(unknown(&state, &name)) };
    caller.unwrap_or_default().may_ask(first.name())?;
    let versions = found.iter().map(|deployment| version(&state, deployment)).collect();
    let response = ModelResponse { name: first.name(), versions };
    Ok(Json(serde_json::to_value(response).unwrap_or_default()))
}

fn version<'a>(state: &'a AppState, deployment: &'a Deployment) -> Version<'a> {
    let manifest = deployment.model.artifact().manifest();
    let plan = deployment.engine.plan();
    Version {
        summary: summary(state, deployment),
        created: &manifest.created,
        inputs: deployment.model.schema().fields().iter().map(shown).collect(),
        features: &manifest.features,
        model: &manifest.model,
        outputs: &manifest.outputs,
        labels: deployment.model.postprocess().labels(),
        provenance: &manifest.provenance,
        proof: &deployment.proof,
        engine: view(&plan),
    }
}

fn view(plan: &Plan) -> EngineView {
    let has_queue = plan.lane == Lane::Worker;
    let merges = has_queue && plan.batching.rows > 1;
    EngineView {
        lane: plan.lane.as_str(),
        chosen_by: if plan.is_measured { "measurement" } else { "setting" },
        threads: plan.threads,
        intra_threads: plan.intra_threads,
        queue: has_queue.then_some(plan.queue),
        batch_rows: merges.then_some(plan.batching.rows),
        batch_delay_us: merges.then_some(plan.batching.delay.as_micros()),
        batch_only_when_busy: merges.then_some(plan.batching.only_when_busy),
        row_cost_us: plan.row_cost.as_secs_f64() * 1e6,
        batch_row_cost_us: plan.batch_row_cost.as_secs_f64() * 1e6,
    }
}

/// A field as everybody may see it: of a sensitive one no value from the training data.
fn shown(field: &Field) -> FieldSpec {
    let mut spec = field.spec().clone();
    if spec.sensitive {
        spec.categories = spec.categories.filter(|_| spec.enforce);
        spec.minimum = spec.minimum.filter(|_| spec.enforce);
        spec.maximum = spec.maximum.filter(|_| spec.enforce);
        spec.example = None;
    }
    spec
}

/// The error for a model or version that is not loaded.
pub(super) fn unknown(state: &AppState, wanted: &str) -> ApiError {
    let known: Vec<String> = state
        .deployments()
        .iter()
        .map(|deployment| format!("{}@{}", deployment.name(), deployment.version()))
        .collect();
    ApiError::UnknownModel { wanted: problem::shown(wanted), known: known.join(", ") }
}

/// The part of a path where a model is named, as it was written.
pub(super) fn in_path(path: &str) -> &str {
    let named = path.strip_prefix("/v1/models/").unwrap_or(path);
    named.strip_suffix("/predict").unwrap_or(named)
}
