//! Serves a trained model exactly as it was trained.
pub mod schema;
