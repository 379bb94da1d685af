//! What the real program writes while it serves: the prediction log under every fault, traces, and nothing that must stay secret.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

#[path = "../support/fault.rs"]
mod fault;
mod helpers;
mod log;
mod secrets;
mod traces;
