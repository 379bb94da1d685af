//! The executable: sees to it that ONNX Runtime's telemetry is off, then runs the command line.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use clap::Parser as _;
use seaworthy::cli::{Arguments, Printer, run};
use seaworthy::config;

/// Takes about a tenth less CPU a request than the allocator of glibc; see docs/benchmarks.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What ONNX Runtime and the allocator read from the environment when the process begins, and nowhere else.
const ENVIRONMENT: [(&str, &str); 2] = [
    ("ORT_DISABLE_TELEMETRY", "1"),
    // Where the system gives huge pages to all: memory would grow by two megabytes at a time.
    ("MIMALLOC_ALLOW_THP", "0"),
];

/// Milliseconds until what is free goes back to the system. A second is usual.
const PURGE_DELAY: &str = "MIMALLOC_PURGE_DELAY";
/// Large bodies come in bursts, and a server waits in between.
const OF_SERVER: &str = "10";
/// A table is read block after block, so what was given back is wanted again at once: half the page faults of Parquet.
const OF_COMMAND: &str = "100";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.opens_runtime() && !config::process().telemetry_is_off {
        let purge_delay = if arguments.serves() { OF_SERVER } else { OF_COMMAND };
        return start_again(purge_delay);
    }
    run(arguments)
}

/// Replaces this process by one in whose environment ONNX Runtime's telemetry is off.
///
/// The official library of 1.29 and later starts to report to mobile.events.data.microsoft.com as soon as an environment is made,
/// before its API can be told not to: seen with `strace` on 1.31.1, which resolves that name even when
/// `DisableTelemetryEvents` is the very next call. Only the variable `ORT_DISABLE_TELEMETRY` keeps it silent; the library reads it
/// when it is opened, and a process cannot safely change its own environment. This costs about a millisecond. Where it is
/// not possible nothing is opened at all.
fn start_again(purge_delay: &str) -> ExitCode {
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    let error = match std::env::current_exe() {
        Ok(executable) => {
            let environment = ENVIRONMENT.into_iter().chain([(PURGE_DELAY, purge_delay)]);
            Command::new(executable).arg0(name).args(arguments).envs(environment).exec()
        }
        Err(error) => error,
    };
    let printer = Printer::new(false);
    printer.error(&format!(
        "ONNX Runtime's telemetry is on, and this program cannot start itself again without it: {error}"
    ));
    printer.hint("set ORT_DISABLE_TELEMETRY=1 in its environment");
    ExitCode::from(2)
}
