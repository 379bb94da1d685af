//! What is remembered of requests: the prediction log, and metrics.
//!
//! Knows nothing of HTTP.

mod archive;
mod exposition;
pub mod metrics;
mod output;
pub mod prediction_log;
mod process;
pub mod sampling;

pub use exposition::Format;
