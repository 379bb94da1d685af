//! Serves a trained model exactly as it was trained.
pub mod artifact;
pub mod http;
pub mod pipeline;
pub mod postprocess;
pub mod predictor;
pub mod proof;
pub mod runtime;
pub mod schema;
pub mod tensor;
