//! What is remembered of requests: the prediction log, metrics, and traces.
//!
//! Knows nothing of HTTP.

mod archive;
mod exposition;
pub mod metrics;
pub mod otlp;
mod output;
pub mod prediction_log;
mod process;
pub mod sampling;

pub use exposition::Format;
