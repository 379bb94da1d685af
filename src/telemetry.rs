//! The `tracing` subscriber: the service's own messages to standard error, predictions to their log.

use std::time::Duration;

use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::{Log, LogFormat, LogPolicy};
use crate::observe::prediction_log::{
    Options, Policy, PredictionLayer, PredictionLog, Rotation, Sink, TARGET, Writer,
};

/// Why the subscriber could not be installed.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The prediction log cannot be opened.
    #[error("the prediction log `{sink}` cannot be opened")]
    Open {
        /// The setting.
        sink: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// There is a subscriber already.
    #[error("a tracing subscriber is installed already")]
    Installed,
}

/// Installs the subscriber for this process. The writer writes what is left when it is dropped.
///
/// # Errors
/// The prediction log cannot be opened; or there is a subscriber already.
pub fn init(settings: &Log) -> Result<(PredictionLog, Writer), TelemetryError> {
    init_with(settings, &Sink::from_setting(&settings.predictions))
}

fn options(settings: &Log) -> Options {
    let rotation = Rotation {
        max_bytes: Some(settings.rotate_bytes).filter(|bytes| *bytes > 0),
        max_age: Some(Duration::from_secs(settings.rotate_seconds)).filter(|age| !age.is_zero()),
        keep: settings.keep,
        compress: settings.compress,
    };
    let policy = match settings.policy {
        LogPolicy::Block => Policy::Block,
        LogPolicy::Drop => Policy::Drop,
    };
    let retry = Duration::from_millis(settings.retry_ms);
    Options { capacity: settings.queue, policy, retry, rotation }
}

/// As [`init`], with the sink given: tests put one in memory here.
///
/// # Errors
/// As [`init`].
pub fn init_with(settings: &Log, sink: &Sink) -> Result<(PredictionLog, Writer), TelemetryError> {
    let (log, writer) = PredictionLog::start_with(sink, &options(settings))
        .map_err(|source| TelemetryError::Open { sink: settings.predictions.clone(), source })?;
    // Checked when the settings were read.
    let level: Targets = settings.level.parse().unwrap_or_default();
    let own = level.and(filter_fn(|metadata| metadata.target() != TARGET));
    let messages = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let messages = match settings.format {
        LogFormat::Text => {
            messages.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed()
        }
        LogFormat::Json => messages.json().flatten_event(true).boxed(),
    };
    let predictions = PredictionLayer::new(log.clone())
        .with_filter(filter_fn(|metadata| metadata.target() == TARGET));
    tracing_subscriber::registry()
        .with(messages.with_filter(own))
        .with(predictions)
        .try_init()
        .map_err(|_error| TelemetryError::Installed)?;
    Ok((log, writer))
}
