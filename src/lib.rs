//! Serves a trained model exactly as it was trained: typed rows in over HTTP, a native preprocessing pipeline, ONNX Runtime, predictions
//! out, every input and prediction logged.
//!
//! In the order in which a request meets them:
//!
//! - core, values in, values out: [`schema`] (decode -> frame), [`image`] (file -> numbers), [`pipeline`] (-> features), [`tensor`], [`runtime`] (session),
//!   [`postprocess`], and [`predictor`], which puts them together; [`artifact`] is what is on disk, [`proof`] shows that it computes
//!   what training computed;
//! - service, threads and time: [`access`] (who may ask), [`engine`] (who runs a model), [`observe`] (what is remembered), [`state`], [`tls`];
//! - edge: [`http`] (answer, log), [`cli`], [`config`], [`telemetry`], [`startup`] (who builds what).
//!
//! ARCHITECTURE.md says who may use whom; `tests/architecture.rs` sees to it.

mod digest;
pub mod image;

pub mod schema;

pub mod pipeline;

pub mod tensor;

pub mod artifact;
pub mod runtime;

pub mod postprocess;

pub mod feed;
pub mod predictor;
pub mod proof;

pub mod bare;

pub mod compare;
pub mod tabular;

pub mod access;
pub mod engine;
pub mod observe;
pub mod state;
pub mod tls;

pub mod cli;
pub mod config;
pub mod http;
pub mod startup;
pub mod telemetry;
