//! What is remembered of requests: the prediction log, and metrics.
//!
//! Knows nothing of HTTP.

mod exposition;
pub mod metrics;
pub mod prediction_log;
mod process;

pub use exposition::Format;
