//! `GET /health`, `/health/live`, `/health/ready`: for load balancers and orchestrators.

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;

use crate::state::AppState;

pub(super) fn router() -> Router<AppState> {
    Router::new()
        .route("/health", get(show_readiness))
        .route("/health/ready", get(show_readiness))
        .route("/health/live", get(show_liveness))
}

/// Marks an answer whose status alone says how the server is, so that it is no problem document.
#[derive(Debug, Clone, Copy)]
pub(super) struct Health;

#[derive(Debug, Serialize)]
struct HealthResponse<'a> {
    status: &'static str,
    name: &'static str,
    api_version: &'static str,
    model: &'a str,
    model_version: String,
    artifact: &'a str,
}

/// 200 when requests are welcome, 503 when the server is about to stop. Before all models are proven there is no port to ask.
async fn show_readiness(State(state): State<AppState>) -> Response {
    let deployment = state.default_deployment();
    let (status, text) = if state.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        (StatusCode::OK, "ready")
    };
    let body = HealthResponse {
        status: text,
        name: env!("CARGO_PKG_NAME"),
        api_version: env!("CARGO_PKG_VERSION"),
        model: deployment.name(),
        model_version: deployment.version().to_string(),
        artifact: deployment.model.artifact().digest(),
    };
    let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let mut response = (status, [no_store], Json(body)).into_response();
    response.extensions_mut().insert(Health);
    response
}

/// 200 as long as the process can answer at all.
async fn show_liveness() -> Response {
    Json(serde_json::json!({"status": "alive"})).into_response()
}
