//! `seaworthy check`: verifies artifacts and prints the certificate.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Context, FAILED};
use crate::artifact::{Tolerance, store};
use crate::predictor::LoadError;
use crate::proof::{Largest, Proof};
use crate::startup::{load_and_prove, open_runtime};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Artifacts: a directory, a name (all its versions) or name@version; a directory of models stands for all in it
    /// [default: all models in models.dir]
    models: Vec<String>,
    /// How to print what was proven
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON object for each artifact
    Json,
}

pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    open_runtime(&context.process)?;
    let models_dir = &context.settings.models.dir;
    let dirs = if options.models.is_empty() {
        expand(models_dir, &models_dir.display().to_string())?
    } else {
        let mut dirs = Vec::new();
        for model in &options.models {
            dirs.extend(expand(models_dir, model)?);
        }
        dirs
    };
    let mut failed = 0;
    for dir in &dirs {
        match load_and_prove(dir) {
            Ok((predictor, proof)) => {
                let artifact = predictor.model().artifact();
                let manifest = artifact.manifest();
                match options.format {
                    Format::Text => context.printer.result(&certificate(
                        &format!("{}@{}", manifest.name, manifest.version),
                        artifact.digest(),
                        &proof,
                    )),
                    Format::Json => context.printer.result(
                        &serde_json::json!({
                            "model": manifest.name, "version": manifest.version, "artifact": artifact.digest(),
                            "passed": true, "proof": proof,
                        })
                        .to_string(),
                    ),
                }
            }
            Err(error) => {
                failed += 1;
                if matches!(options.format, Format::Json) {
                    context.printer.result(
                        &serde_json::json!({"path": dir, "passed": false, "error": error.to_string()}).to_string(),
                    );
                }
                super::fail(&context.printer, &error.into());
            }
        }
    }
    let passed = dirs.len() - failed;
    context.printer.note(&format!("{passed} passed, {failed} failed"));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// The artifacts that an argument means.
fn expand(models_dir: &Path, model: &str) -> Result<Vec<PathBuf>, LoadError> {
    let versions = |dir: &Path| -> Vec<PathBuf> {
        store::versions(dir).iter().map(|version| dir.join(version.to_string())).collect()
    };
    let path = Path::new(model);
    let named = models_dir.join(model);
    for dir in [path, &named] {
        if dir.join("manifest.json").is_file() {
            return Ok(vec![dir.to_owned()]);
        }
        let below = versions(dir);
        if !below.is_empty() {
            return Ok(below);
        }
    }
    let all: Vec<PathBuf> =
        store::names(path).iter().flat_map(|name| versions(&path.join(name))).collect();
    if all.is_empty() { Ok(vec![store::find(models_dir, model)?]) } else { Ok(all) }
}

fn certificate(name: &str, digest: &str, proof: &Proof) -> String {
    let line = |what: &str, largest: &Largest, allowed: Tolerance| {
        let found = match (&largest.column, largest.row) {
            (Some(column), Some(row)) => {
                format!(
                    "largest difference {:.1e} (`{column}`, golden row {row})",
                    largest.absolute
                )
            }
            _ => "all equal to the bit".to_owned(),
        };
        format!(
            "  {what:<9} {found}; allowed {:.0e} relative + {:.0e}",
            allowed.relative, allowed.absolute
        )
    };
    let predicted = proof.rows - proof.error_rows;
    format!(
        "{name}: proven\n  artifact  {digest}\n  rows      {} golden rows: {predicted} predicted, {} refused as in training; alone and in a batch the same bits\n{}\n{}",
        proof.rows,
        proof.error_rows,
        line("features", &proof.feature_difference, proof.feature_tolerance),
        line("outputs", &proof.output_difference, proof.output_tolerance),
    )
}
