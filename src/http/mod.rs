//! The edge: routes, limits, problems. Thin: a handler extracts, calls and converts.
//!
//! The way of a prediction is in [`predict`]: decode, frame, pipeline, session, postprocess, answer, log.

use axum::http::StatusCode;
use axum::{Router, middleware};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use crate::state::AppState;

pub(crate) mod connection;
mod encoding;
mod form;
mod gate;
mod health;
mod loading;
mod metrics;
mod models;
mod openapi;
mod pages;
mod predict;
mod present;
pub mod problem;
mod record;
mod request_id;
pub(crate) mod threads;
mod trace;

/// The whole service, ready to be served or called in a test.
pub fn router(state: AppState) -> Router {
    let routes = Router::new()
        .merge(predict::router())
        .merge(models::router())
        .merge(health::router())
        .merge(pages::router());
    let routes = if state.metrics().is_here() { routes.merge(metrics::router()) } else { routes };
    dress(routes, state)
}

/// What there is on the port for metrics alone.
pub fn metrics_router(state: AppState) -> Router {
    dress(metrics::router(), state)
}

/// Adds what every route gets: an id, problems for all failures, a log line.
fn dress(routes: Router<AppState>, state: AppState) -> Router {
    routes
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(
            // Top to bottom: the first layer sees the request first and the response last.
            ServiceBuilder::new()
                .layer(middleware::from_fn_with_state(state.clone(), problem::finish))
                .layer(CatchPanicLayer::custom(problem::panicked)),
        )
        .with_state(state)
}
