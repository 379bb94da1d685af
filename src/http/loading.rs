//! What is answered while models are being loaded: that the process lives, how far it is, and that all else must wait.

use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::Full;
use serde::Serialize;

use super::problem::{self, ApiError};
use super::request_id;
use crate::observe::metrics::Metrics;
use crate::state::{Loaded, Loading};

#[derive(Debug, Serialize)]
struct LoadingResponse<'a> {
    status: &'static str,
    name: &'static str,
    api_version: &'static str,
    loading: &'a Loaded,
}

/// Answers any request before the models are proven.
pub(super) fn answer<B>(
    request: &Request<B>,
    loading: &Loading,
    metrics: &Metrics,
) -> Response<Full<Bytes>> {
    let (status, body) = match request.uri().path() {
        "/health/live" => (StatusCode::OK, serde_json::json!({"status": "alive"})),
        "/health" | "/health/ready" => {
            let body = LoadingResponse {
                status: "loading",
                name: env!("CARGO_PKG_NAME"),
                api_version: env!("CARGO_PKG_VERSION"),
                loading: &loading.loaded(),
            };
            (StatusCode::SERVICE_UNAVAILABLE, serde_json::to_value(body).unwrap_or_default())
        }
        _ => return problem::refuse(request, &ApiError::Loading, metrics, None),
    };
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(request_id::HEADER, request_id::of(request.headers(), None).header());
    response
}
