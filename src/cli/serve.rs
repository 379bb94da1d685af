//! `seaworthy serve`: the server.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;

use super::Context;
use crate::bare::is_graph;
use crate::config::{Load, Settings};
use crate::observe::prediction_log::PredictionLog;
use crate::startup::{self, Application};
use crate::telemetry;

#[derive(Debug, Default, clap::Args)]
pub(super) struct Options {
    /// What `POST /v1/predict` asks: a directory, a name or name@version [default: models.default]; or an ONNX file, whose schema is
    /// read off it. A directory or a file is served alone
    model: Option<String>,
    /// Start nothing: load and prove the models, read keys and certificates, and say whether the server would start
    #[arg(long)]
    check: bool,
}

pub(super) fn run(
    options: &Options,
    mut settings: Settings,
    context: &Context,
) -> anyhow::Result<ExitCode> {
    if let Some(model) = &options.model {
        if model.contains(['/', '\\']) || model.starts_with('.') || is_graph(Path::new(model)) {
            settings.models.load = Load::Default;
        }
        settings.models.default.clone_from(model);
    }
    if options.check {
        return check(settings, context);
    }
    let (log, writer) = telemetry::init(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no threads can be started")?;
    let result = runtime.block_on(async {
        let application = Application::build(&settings, &context.process).await?.watching(&log);
        tokio::spawn(reopen_when_told(log.clone()));
        application.run_until_stopped().await
    });
    // Connections that did not end in time are given up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    if !log.flush(Duration::from_secs(3)) {
        tracing::error!(
            "the prediction log could not be written out within 3 s; its last records are lost"
        );
    }
    drop(writer);
    result?;
    Ok(ExitCode::SUCCESS)
}

/// Does all that the start does, but for the port and the prediction log. Fails as the start would.
fn check(mut settings: Settings, context: &Context) -> anyhow::Result<ExitCode> {
    "none".clone_into(&mut settings.log.predictions);
    let (_log, _writer) = telemetry::init(&settings.log)?;
    let verdict = startup::check(&settings, &context.process)?;
    context.printer.result(&format!("it would start: {verdict}"))?;
    Ok(ExitCode::SUCCESS)
}

/// SIGHUP says that somebody has put the prediction log aside. It would end the process otherwise.
async fn reopen_when_told(log: PredictionLog) {
    use tokio::signal::unix::{SignalKind, signal};
    match signal(SignalKind::hangup()) {
        Ok(mut hangup) => {
            while hangup.recv().await.is_some() {
                tracing::info!("SIGHUP: the prediction log is opened anew");
                log.reopen();
            }
        }
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "SIGHUP cannot be listened to");
        }
    }
}
