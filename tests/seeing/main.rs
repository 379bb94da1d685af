//! What the real program writes while it serves: the prediction log under every fault, traces, and nothing that must stay secret.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod helpers;
mod log;
mod secrets;
mod traces;
