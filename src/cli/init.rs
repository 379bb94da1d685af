//! `seaworthy init`: an artifact out of a bare ONNX file.

use std::path::PathBuf;
use std::process::ExitCode;

use super::Context;
use crate::bare::Bare;
use crate::startup::{load_and_prove, open_runtime};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The ONNX file; files of weights are looked for beside it
    graph: PathBuf,
    /// What to call the model: lower-case letters, digits, `.`, `_`, `-`
    #[arg(long)]
    name: String,
    /// Its semantic version, such as 1.0.0
    #[arg(long)]
    version: semver::Version,
    /// Where models are kept [default: models.dir]
    #[arg(long, value_name = "DIR")]
    models_dir: Option<PathBuf>,
    /// Replace an artifact of this name and version
    #[arg(long)]
    force: bool,
}

pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    open_runtime(&context.process)?;
    let bare = Bare::read(&options.graph, &options.name, &options.version)?;
    let models_dir = options.models_dir.as_ref().unwrap_or(&context.settings.models.dir);
    let dir = bare.write(models_dir, options.force)?;
    // What was written is what is served, or it is not left there as if it were.
    let (predictor, proof) = load_and_prove(&dir)?;
    let fields = predictor.model().schema().fields().iter().map(|field| {
        let shown = field.tensor().map_or_else(|| field.spec().r#type.clone(), |it| it.shown());
        format!("{} {shown}", field.name())
    });
    for note in bare.notes() {
        context.printer.note(note);
    }
    context.printer.note(&format!("a row has {}", fields.collect::<Vec<_>>().join(", ")));
    context.printer.note(&format!(
        "{} golden rows were made up and run; they say nothing of how the model was trained",
        proof.rows
    ));
    context.printer.result(&dir.display().to_string())?;
    Ok(ExitCode::SUCCESS)
}
