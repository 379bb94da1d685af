//! The command line: one file a command.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::artifact::Trust;
use crate::bare::BareError;
use crate::config::{self, ConfigError, Process, Settings};
use crate::predictor::{LoadError, PredictError};
use crate::runtime::RuntimeError;
use crate::startup::ServerError;
use crate::tabular::TableError;
use crate::telemetry::TelemetryError;

mod check;
mod diff;
mod healthcheck;
mod init;
mod inspect;
mod key;
mod new;
mod output;
mod predict;
mod printer;
mod replay;
mod serve;
mod settings;
mod sign;
mod stream;
mod tables;
mod transform;

pub use printer::{OutputError, Printer};
#[cfg(any(test, fuzzing))]
pub use replay::LogReader;

/// The input or the comparison failed.
const FAILED: u8 = 1;
/// This program failed.
const BROKEN: u8 = 2;

/// Serves a trained model exactly as it was trained.
///
/// A MODEL is the directory of an artifact, a name (`house-prices`: its highest version) or `name@version`. Settings come
/// from config/default.toml, the file that `SEAWORTHY_PROFILE` names beside it, `SEAWORTHY__SECTION__KEY` and PORT; see
/// docs/configuration.md. Exit status: 0 all is well; 1 a model or what was asked for is at fault; 2 this program, its
/// settings or what it runs on.
#[derive(Debug, Parser)]
#[command(name = "seaworthy", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print nothing but results and errors.
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Where the settings files are [default: `config` here, or beside the executable].
    #[arg(long, global = true, value_name = "DIR")]
    config_dir: Option<PathBuf>,
}

impl Arguments {
    /// Whether the command is done with ONNX Runtime only when it ends, and nothing of it runs any more.
    fn leaves_runtime(&self) -> bool {
        self.opens_runtime() && !self.serves()
    }

    /// Whether the command serves requests until it is stopped.
    #[must_use]
    pub fn serves(&self) -> bool {
        matches!(self.command, None | Some(Command::Serve(_)))
    }

    /// Whether the command opens ONNX Runtime.
    #[must_use]
    pub fn opens_runtime(&self) -> bool {
        match self.command {
            None
            | Some(
                Command::Serve(_)
                | Command::Check(_)
                | Command::Init(_)
                | Command::Predict(_)
                | Command::Diff(_)
                | Command::Replay(_),
            ) => true,
            Some(
                Command::Inspect(_)
                | Command::Transform(_)
                | Command::Healthcheck(_)
                | Command::Config(_)
                | Command::Key(_)
                | Command::Sign(_)
                | Command::New(_),
            ) => false,
        }
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve models over HTTP; what happens when no command is given
    Serve(serve::Options),
    /// Verify artifacts and print what was proven; exit 1 on any difference
    Check(check::Options),
    /// Make an artifact of a bare ONNX file
    Init(init::Options),
    /// Predict the rows of files: CSV, NDJSON, Parquet or Arrow in, the same out
    Predict(predict::Options),
    /// Show how two models differ on the same rows; exit 1 over the tolerance
    Diff(diff::Options),
    /// Run logged predictions again and compare; exit 1 on any difference
    Replay(replay::Options),
    /// Show what a model takes, does and gives
    Inspect(inspect::Options),
    /// Compute the features of rows, without the graph
    Transform(transform::Options),
    /// Ask the server on this machine how it is; exit 0 when it is ready, else 1
    Healthcheck(healthcheck::Options),
    /// Print the settings in force, and where each comes from; secrets are hidden
    Config(settings::Options),
    /// Make keys: for clients, and to sign artifacts
    Key(key::Options),
    /// Sign an artifact, so that servers know whose it is
    Sign(sign::Options),
    /// Write a project of one's own, with an example model, that builds and runs at once
    New(new::Options),
}

/// What every command may use.
pub(crate) struct Context {
    settings: Settings,
    trust: Trust,
    process: Process,
    printer: Printer,
}

/// Runs the command line.
#[must_use]
pub fn run(arguments: Arguments) -> ExitCode {
    let ends_at_once = arguments.leaves_runtime();
    let printer = Printer::new(arguments.quiet);
    let process = config::process();
    let config_dir = config_dir(arguments.config_dir);
    let mut settings = match Settings::read(&config_dir) {
        Ok(settings) => settings,
        Err(error) => return fail(&printer, &error.into()),
    };
    settings.models.dir = here_or_beside_the_executable(settings.models.dir);
    let trust = match settings.trust() {
        Ok(trust) => trust,
        Err(error) => return fail(&printer, &ServerError::Signers(error).into()),
    };
    let context = Context { settings, trust, process, printer };
    let result =
        match arguments.command.unwrap_or_else(|| Command::Serve(serve::Options::default())) {
            Command::Serve(options) => serve::run(&options, context.settings.clone(), &context),
            Command::Check(options) => check::run(&options, &context),
            Command::Init(options) => init::run(&options, &context),
            Command::Predict(options) => predict::run(&options, &context),
            Command::Diff(options) => diff::run(&options, &context),
            Command::Replay(options) => replay::run(&options, &context),
            Command::Inspect(options) => inspect::run(&options, &context),
            Command::Transform(options) => transform::run(&options, &context),
            Command::Healthcheck(options) => healthcheck::run(&options, &context),
            Command::Config(options) => settings::run(&options, &config_dir, &context.printer),
            Command::Key(options) => key::run(&options, &context),
            Command::Sign(options) => sign::run(&options, &context),
            Command::New(options) => new::run(&options, &context),
        };
    let code = result.unwrap_or_else(|error| fail(&context.printer, &error));
    if ends_at_once && code == ExitCode::SUCCESS {
        leave();
    }
    code
}

/// Ends the process, with success, without what libraries do at its end: ONNX Runtime takes a tenth of a short run to give back memory that
/// the system takes anyway.
fn leave() {
    // All files are closed by now; what standard output holds is all that is left, and what fails there has been said.
    if std::io::stdout().flush().is_ok() {
        signal_hook::low_level::exit(0);
    }
}

/// The directory asked for; else `config` here; else beside the executable. The defaults are part of the program, so it need not exist.
fn config_dir(asked: Option<PathBuf>) -> PathBuf {
    asked.unwrap_or_else(|| here_or_beside_the_executable(PathBuf::from("config")))
}

/// A directory that is not in the working directory, but beside the executable: an image and an unpacked archive come
/// with settings and models of their own, until there are others where the program is started.
fn here_or_beside_the_executable(dir: PathBuf) -> PathBuf {
    match std::env::current_exe().map(|executable| executable.with_file_name(&dir)) {
        Ok(beside) if dir.is_relative() && !dir.is_dir() && beside.is_dir() => beside,
        _ => dir,
    }
}

/// Prints the error, its causes and what can be done about it, and says whose fault it is.
fn fail(printer: &Printer, error: &anyhow::Error) -> ExitCode {
    printer.error(&text(error));
    if let Some(hint) = hint(error) {
        printer.hint(&hint);
    }
    let ours = match error.downcast_ref::<ServerError>() {
        Some(
            ServerError::Load(_)
            | ServerError::Bare(_)
            | ServerError::Proof(_)
            | ServerError::NoDefault { .. },
        ) => false,
        Some(_) => true,
        None => {
            error.is::<RuntimeError>()
                || error.is::<ConfigError>()
                || error.is::<TelemetryError>()
                || error.is::<OutputError>()
                || error.is::<output::WriteError>()
                || error.is::<PredictError>()
                || error.is::<stream::ThreadEnded>()
                || error.downcast_ref().is_some_and(replay::ReplayError::is_ours)
        }
    };
    ExitCode::from(if ours { BROKEN } else { FAILED })
}

/// The error and its causes, as one sentence.
fn text(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // Some errors repeat their source in their own text.
        if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

fn load_error(error: &anyhow::Error) -> Option<&LoadError> {
    match error.downcast_ref::<ServerError>() {
        Some(ServerError::Load(error)) => Some(error),
        _ => error.downcast_ref::<LoadError>(),
    }
}

/// What can be done, where something can.
fn hint(error: &anyhow::Error) -> Option<String> {
    match error.downcast_ref::<ServerError>() {
        Some(ServerError::Runtime(error)) => return error.hint().map(str::to_owned),
        Some(ServerError::Bare(error)) => return error.hint().map(str::to_owned),
        Some(ServerError::NoDefault { .. }) => {
            return Some(
                "name it: `seaworthy serve MODEL`, or the setting `models.default`".to_owned(),
            );
        }
        Some(ServerError::Bind { source, .. }) => {
            return match source.kind() {
                std::io::ErrorKind::AddrInUse => Some(
                    "another program listens there; choose another port with PORT=8081, or any free one with PORT=0"
                        .to_owned(),
                ),
                std::io::ErrorKind::PermissionDenied => {
                    Some("choose a port from 1024 on, e.g. with PORT=8080".to_owned())
                }
                std::io::ErrorKind::AddrNotAvailable => {
                    Some("set `server.host` to an address of this machine".to_owned())
                }
                _ => None,
            };
        }
        _ => {}
    }
    if let Some(error) = error.downcast_ref::<BareError>() {
        return error.hint().map(str::to_owned);
    }
    if let Some(error) = error.downcast_ref::<RuntimeError>() {
        return error.hint().map(str::to_owned);
    }
    if let Some(error) = error.downcast_ref::<TableError>() {
        return error.what_to_do().map(str::to_owned);
    }
    if let Some(error) = error.downcast_ref::<replay::ReplayError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<new::NewError>() {
        return error.hint().map(str::to_owned);
    }
    match load_error(error)? {
        LoadError::Artifact(error) => error.hint().map(str::to_owned),
        LoadError::Runtime(error) => error.hint().map(str::to_owned),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
