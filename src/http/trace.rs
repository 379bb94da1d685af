//! A request that is over, as a trace has it. Nothing of what was asked or answered goes into a span.

use std::time::{Duration, Instant};

use axum::http::Method;

use super::problem::ApiError;
use super::request_id::RequestId;
use crate::engine::Times;
use crate::observe::metrics::{Route, Stage};
use crate::observe::otlp::{Finished, Tracer};
use crate::state::Deployment;

/// Whether the spans of this request are wanted by anybody.
pub(super) fn is_wanted(tracer: Option<&Tracer>, id: &RequestId) -> bool {
    tracer.is_some() && id.trace().is_some_and(|trace| trace.is_sampled)
}

/// What a request was, and what it took.
pub(super) struct Over<'a> {
    pub(super) method: &'a Method,
    pub(super) route: Route,
    pub(super) span: (Instant, Duration),
    pub(super) status: u16,
    pub(super) error: Option<&'a ApiError>,
    pub(super) model: Option<(&'a Deployment, usize)>,
    pub(super) decode: Option<(Instant, Duration)>,
    pub(super) times: Option<Times>,
}

/// Hands the request over to be sent, if its spans are wanted.
pub(super) fn over(tracer: Option<&Tracer>, id: &RequestId, over: &Over<'_>) {
    let (Some(tracer), Some(trace)) = (tracer, id.trace().filter(|trace| trace.is_sampled)) else {
        return;
    };
    let mut stages = Vec::with_capacity(Stage::ALL.len());
    stages.extend(over.decode.map(|(begun, duration)| (Stage::Decode, begun, duration)));
    if let Some(times) = &over.times {
        let mut begun = times.begun.checked_sub(times.queue).unwrap_or(times.begun);
        // One after the other, also where the graph ran several times and they took turns.
        for (stage, duration) in [
            (Stage::Queue, times.queue),
            (Stage::Preprocess, times.preprocess),
            (Stage::Inference, times.inference),
            (Stage::Postprocess, times.postprocess),
        ] {
            stages.push((stage, begun, duration));
            begun += duration;
        }
    }
    let model = over.model.map(|(deployment, n_rows)| {
        (deployment.name().to_owned(), deployment.version().to_string(), n_rows)
    });
    tracer.finished(Finished {
        trace: trace.clone(),
        method: over.method.as_str().chars().take(16).collect(),
        route: over.route.as_str(),
        request_id: id.as_str().to_owned(),
        span: over.span,
        status: over.status,
        problem: over.error.map(|error| error.kind().0),
        model,
        stages,
    });
}
