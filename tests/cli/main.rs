//! The command line as a stranger meets it: exit code, standard output and standard error of the real program.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

mod check;
mod diff;
#[path = "../support/fault.rs"]
mod fault;
mod healthcheck;
mod help;
mod helpers;
mod init;
mod inspect;
mod key;
mod kinds;
mod library;
mod new;
mod output;
mod parquet;
mod predict;
mod replay;
mod settings;
mod sign;
mod tls;
#[path = "../support/tls.rs"]
mod tls_files;

/// Asserts a snapshot without hashes, and without what depends on the machine: how its logarithm rounds.
macro_rules! assert_shown {
    ($text:expr) => {{
        let text = $text;
        insta::with_settings!({filters => vec![
            (r"\b[0-9a-f]{64}\b", "<sha256>"),
            (r"  (features|outputs) +(all equal to the bit|largest .* difference .*)", "  $1 <how close>"),
            (r#""proof":\{.*\}\}"#, r#""proof":{<how close>}}"#),
            (r"commit [0-9a-f]{7,}", "commit <id>"),
            (r"seaworthy \d+\.\d+\.\d+\n", "seaworthy <version>\n"),
        ]}, {
            insta::assert_snapshot!(text);
        });
    }};
}
pub(crate) use assert_shown;
