//! Serves a trained model exactly as it was trained.
pub mod artifact;
pub mod config;
pub mod engine;
pub mod observe;
pub mod pipeline;
pub mod postprocess;
pub mod predictor;
pub mod proof;
pub mod runtime;
pub mod schema;
pub mod state;
pub mod telemetry;
pub mod tensor;
