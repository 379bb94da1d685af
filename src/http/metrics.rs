//! `GET /metrics`: for Prometheus and others that read its format.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::engine::Lane;
use crate::observe::Format;
use crate::observe::metrics::ModelView;
use crate::state::{AppState, Deployment};

pub(super) fn router() -> Router<AppState> {
    Router::new().route("/metrics", get(show_metrics))
}

/// All metrics, as `OpenMetrics` for those who ask for it.
async fn show_metrics(State(state): State<AppState>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept.unwrap_or_default());
    let models: Vec<ModelView<'_>> = state.deployments().iter().map(view).collect();
    let text = state.metrics().show(&models, !state.is_draining(), format);
    let content_type = HeaderValue::from_static(format.content_type());
    let no_store = HeaderValue::from_static("no-store");
    let headers = [(header::CONTENT_TYPE, content_type), (header::CACHE_CONTROL, no_store)];
    (headers, text).into_response()
}

fn view(deployment: &Deployment) -> ModelView<'_> {
    let plan = deployment.engine.plan();
    ModelView {
        model: deployment.name(),
        version: deployment.version().to_string(),
        artifact: deployment.model.artifact().digest(),
        role: deployment.role.as_str(),
        metrics: &deployment.metrics,
        waiting: deployment.engine.waiting(),
        queue: (plan.lane == Lane::Worker).then_some(plan.queue),
        threads: plan.threads,
        lane: plan.lane.as_str(),
    }
}
