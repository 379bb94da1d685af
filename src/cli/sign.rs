//! `seaworthy sign`: says who stands for an artifact.

use std::path::PathBuf;
use std::process::ExitCode;

use super::Context;
use crate::artifact::{Artifact, SigningKey, store};
use crate::predictor::LoadError;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// An artifact: a directory, a name (its highest version) or name@version
    model: String,
    /// The file of the private key, as `seaworthy key signing FILE` writes it
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
}

pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let key = SigningKey::open(&options.key)?;
    let dir = store::find(&context.settings.models.dir, &options.model).map_err(LoadError::from)?;
    // Nobody signs what is not sound.
    let artifact = Artifact::open(&dir).map_err(LoadError::from)?;
    key.sign(&artifact)?;
    let manifest = artifact.manifest();
    context.printer.result(&format!(
        "{}@{} ({}) is signed by {}",
        manifest.name,
        manifest.version,
        artifact.digest(),
        key.public()
    ))?;
    Ok(ExitCode::SUCCESS)
}
