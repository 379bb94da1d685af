//! The executable: sees to it that ONNX Runtime's telemetry is off, then runs the command line.

use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use clap::Parser as _;
use seaworthy::cli::{Arguments, Printer, run};
use seaworthy::config;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !config::process().telemetry_is_off {
        // The library reads this variable when it is opened, before it can be told by its API, and a process cannot safely
        // change its own environment. So it starts itself again with the variable set; this costs about a millisecond.
        if let Ok(executable) = std::env::current_exe() {
            let error = Command::new(executable)
                .args(std::env::args_os().skip(1))
                .env("ORT_DISABLE_TELEMETRY", "1")
                .exec();
            Printer::new(false).note(&format!(
                "warning: cannot start again with ORT_DISABLE_TELEMETRY=1 ({error}); telemetry is only switched off by its API"
            ));
        }
    }
    run(arguments)
}
