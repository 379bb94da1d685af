//! Black box: a server on a free port, spoken to over HTTP.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod access;
mod bad_requests;
mod connections;
mod encoding;
#[path = "../support/fault.rs"]
mod fault;
mod faults;
mod helpers;
mod hygiene;
mod images;
mod limits;
mod loading;
mod metrics;
mod models;
mod outputs;
mod predict;
mod records;
mod sensitive;
mod shutdown;
mod tensors;
mod tls;
#[path = "../support/tls.rs"]
mod tls_files;
