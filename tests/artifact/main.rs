//! Artifacts that are spoiled one way each: none starts, and each refusal says what is wrong and where.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

#[path = "../support/fault.rs"]
mod fault;
mod files;
mod fuzz;
mod graph;
mod helpers;
mod manifest;
mod proof;
mod signature;
