//! What is remembered of requests: the prediction log.
//!
//! Knows nothing of HTTP.

pub mod prediction_log;
