//! `seaworthy check`: verifies artifacts and prints the certificate.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::{Context, FAILED};
use crate::artifact::{Artifact, ArtifactError, Tolerance, Trust, store};
use crate::bare::is_graph;
use crate::predictor::LoadError;
use crate::proof::{Largest, Proof};
use crate::startup::{load_trusted, open_runtime};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Artifacts: a directory, a name (all its versions) or name@version; a directory of models stands for all in it;
    /// or a bare graph, model.onnx
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
    let all = [models_dir.display().to_string()];
    let asked = if options.models.is_empty() { &all[..] } else { &options.models };
    let mut n_artifacts = 0;
    let mut failed = Vec::new();
    for model in asked {
        let expanded =
            if options.models.is_empty() { all_in(models_dir) } else { expand(models_dir, model) };
        let dirs = match expanded {
            Ok(dirs) => dirs.into_iter().map(Ok).collect(),
            Err(error) => vec![Err((PathBuf::from(model), error.into()))],
        };
        for dir in dirs {
            n_artifacts += 1;
            let checked = dir.and_then(|dir| {
                load_trusted(&dir, &context.trust)
                    .map_err(|error| (dir, anyhow::Error::from(error)))
            });
            match checked {
                Ok((predictor, proof)) => context.printer.result(&passed(
                    options.format,
                    predictor.model().artifact(),
                    &context.trust,
                    &proof,
                ))?,
                Err((dir, error)) => {
                    if matches!(options.format, Format::Json) {
                        let error = super::text(&error);
                        context.printer.result(
                            &serde_json::json!({"path": dir, "passed": false, "error": error})
                                .to_string(),
                        )?;
                    }
                    super::fail(&context.printer, &error);
                    failed.push(dir.display().to_string());
                }
            }
        }
    }
    if failed.is_empty() {
        let proven = if n_artifacts == 1 { "artifact is proven" } else { "artifacts are proven" };
        context.printer.note(&format!("{n_artifacts} {proven}"));
        return Ok(ExitCode::SUCCESS);
    }
    context.printer.note(&format!(
        "{} of {n_artifacts} failed: {}",
        failed.len(),
        failed.join(", ")
    ));
    Ok(ExitCode::from(FAILED))
}

fn passed(format: Format, artifact: &Artifact, trust: &Trust, proof: &Proof) -> String {
    let manifest = artifact.manifest();
    let signed = signed_by(artifact, trust);
    match format {
        Format::Text => certificate(
            &format!("{}@{}", manifest.name, manifest.version),
            artifact.digest(),
            &signed,
            proof,
        ),
        Format::Json => serde_json::json!({
            "model": manifest.name, "version": manifest.version, "artifact": artifact.digest(), "signed_by": signed,
            "passed": true, "proof": proof,
        })
        .to_string(),
    }
}

/// Every artifact in the directory of models.
fn all_in(models_dir: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let all: Vec<PathBuf> =
        store::names(models_dir).iter().flat_map(|name| versions(&models_dir.join(name))).collect();
    if !all.is_empty() {
        return Ok(all);
    }
    let problem = if models_dir.is_dir() { "it holds no models" } else { "no such directory" };
    Err(ArtifactError::NotFound { path: models_dir.to_owned(), problem: problem.to_owned() }.into())
}

fn versions(dir: &Path) -> Vec<PathBuf> {
    store::versions(dir).iter().map(|version| dir.join(version.to_string())).collect()
}

/// The artifacts that an argument means.
fn expand(models_dir: &Path, model: &str) -> Result<Vec<PathBuf>, LoadError> {
    let path = Path::new(model);
    if is_graph(path) && path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
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

/// Who has signed: names where they are known, else public keys.
pub(super) fn signed_by(artifact: &Artifact, trust: &Trust) -> Vec<String> {
    artifact
        .signatures()
        .iter()
        .map(|key| trust.name(key).map_or_else(|| key.to_string(), str::to_owned))
        .collect()
}

fn certificate(name: &str, digest: &str, signed: &[String], proof: &Proof) -> String {
    let predicted = proof.rows - proof.error_rows;
    let signed = if signed.is_empty() {
        String::new()
    } else {
        format!("  signed    by {}\n", signed.join(", "))
    };
    format!(
        "{name}: proven\n  artifact  {digest}\n{signed}  rows      {} golden rows: {predicted} predicted, {} refused as in training; alone and in a batch the same bits\n  features  {}\n  outputs   {}",
        proof.rows,
        proof.error_rows,
        closeness(&proof.feature_difference, proof.feature_tolerance),
        closeness(&proof.output_difference, proof.output_tolerance),
    )
}

/// How close all numbers are. The difference is said in the terms in which it is measured where it is largest: beside a recorded number
/// close to 0 a relative difference says nothing.
fn closeness(largest: &Largest, allowed: Tolerance) -> String {
    let (Some(column), Some(row)) = (&largest.column, largest.row) else {
        return "all equal to the bit".to_owned();
    };
    let is_relative = largest.relative > 0.0
        && allowed.relative * largest.absolute / largest.relative >= allowed.absolute;
    let (kind, found, allowed) = if is_relative {
        ("relative", largest.relative, allowed.relative)
    } else {
        ("absolute", largest.absolute, allowed.absolute)
    };
    format!(
        "largest {kind} difference {found:.1e} (`{column}` in golden row {row}), allowed {allowed:.0e}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It was shown as 1.0 where the recorded value is 4e-16 and the computed one 0.
    #[test]
    fn a_tiny_difference_from_a_tiny_number_alarms_nobody() {
        let allowed = Tolerance { relative: 1e-12, absolute: 1e-12 };
        let largest = |absolute: f64, relative: f64| Largest {
            absolute,
            relative,
            share: 0.0,
            column: Some("area".to_owned()),
            row: Some(27),
        };
        assert_eq!(
            closeness(&largest(4.4e-16, 1.0), allowed),
            "largest absolute difference 4.4e-16 (`area` in golden row 27), allowed 1e-12"
        );
        assert_eq!(
            closeness(&largest(3.5e-10, 1.8e-15), allowed),
            "largest relative difference 1.8e-15 (`area` in golden row 27), allowed 1e-12"
        );
        // From a recorded 0 there is no relative difference.
        assert_eq!(
            closeness(&largest(1e-13, 0.0), allowed),
            "largest absolute difference 1.0e-13 (`area` in golden row 27), allowed 1e-12"
        );
        assert_eq!(closeness(&Largest::default(), allowed), "all equal to the bit");
    }
}
