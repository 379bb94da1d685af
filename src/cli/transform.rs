//! `seaworthy transform`: the features that a pipeline computes, without its graph.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use serde::Deserialize;

use super::{Context, FAILED};
use crate::artifact::{Artifact, store};
use crate::pipeline::{Fed, Pipeline, StepSpec, Workspace};
use crate::predictor::LoadError;
use crate::schema::{DecodeOptions, FieldSpec, Schema};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// An artifact (a directory, a name or name@version), or a JSON file with the keys `inputs`, `pipeline` and `features` of a manifest
    model: String,
    /// Rows as NDJSON, one object a line; `-` is standard input
    #[arg(default_value = "-")]
    input: String,
    /// Rows that are computed together
    #[arg(long, default_value_t = 1024, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
}

/// The part of a manifest that says how features are computed.
#[derive(Debug, Deserialize)]
struct Spec {
    inputs: Vec<FieldSpec>,
    pipeline: Vec<StepSpec>,
    features: Vec<String>,
    /// Columns that go into the graph by themselves.
    #[serde(default)]
    tensors: Vec<String>,
}

pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let spec = read_spec(&options.model, context)?;
    let schema = Schema::load(spec.inputs)?;
    let fed: Vec<&str> = spec.tensors.iter().map(String::as_str).collect();
    let pipeline = Pipeline::load_fed(&spec.pipeline, &spec.features, &fed, &schema)?;
    let reader: Box<dyn BufRead> = if options.input == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let file = std::fs::File::open(&options.input)
            .with_context(|| format!("cannot open `{}`", options.input))?;
        Box::new(BufReader::new(file))
    };
    let tensors = spec.tensors;
    let mut run = Run { tensors, schema, pipeline, workspace: Workspace::default(), failed: false };
    let mut rows: Vec<String> = Vec::new();
    let mut first = 1;
    for line in reader.lines() {
        let line = line.with_context(|| format!("cannot read `{}`", options.input))?;
        if line.trim().is_empty() {
            continue;
        }
        rows.push(line);
        if rows.len() == options.batch as usize {
            run.rows(&rows, first, context)?;
            first += rows.len();
            rows.clear();
        }
    }
    run.rows(&rows, first, context)?;
    Ok(if run.failed { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

fn read_spec(model: &str, context: &Context) -> anyhow::Result<Spec> {
    let path = Path::new(model);
    if path.is_file() {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read `{model}`"))?;
        return serde_json::from_slice(&bytes)
            .with_context(|| format!("`{model}` is not the specification of a pipeline"));
    }
    let dir = store::find(&context.settings.models.dir, model).map_err(LoadError::from)?;
    let artifact = Artifact::open(&dir).map_err(LoadError::from)?;
    context.trust.check(&artifact).map_err(LoadError::from)?;
    let manifest = artifact.manifest();
    Ok(Spec {
        inputs: manifest.inputs.clone(),
        pipeline: manifest.pipeline.clone(),
        features: manifest.features.clone(),
        tensors: manifest.model.inputs.iter().filter_map(|input| input.from.clone()).collect(),
    })
}

struct Run {
    tensors: Vec<String>,
    schema: Schema,
    pipeline: Pipeline,
    workspace: Workspace,
    failed: bool,
}

impl Run {
    /// Prints a line for each row: `{"features": […]}`, `null` for a missing value, with `"tensors": {name: {"shape", "values"}}` when columns go
    /// into the graph by themselves, or `{"errors": [{"field", "code", "detail"}]}`.
    fn rows(&mut self, rows: &[String], first: usize, context: &Context) -> anyhow::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let body = format!("[{}]", rows.join(",\n"));
        let options = DecodeOptions {
            max_rows: usize::MAX,
            max_errors: usize::MAX,
            ..DecodeOptions::default()
        };
        let mut frame = self.schema.frame();
        let decoded =
            self.schema.decode(body.as_bytes(), &options, &mut frame).map_err(|error| {
                anyhow::anyhow!("line {}: not JSON: {}", first + error.line - 1, error.problem)
            })?;
        self.pipeline.run(&frame, &mut self.workspace);
        let mut errors: Vec<Vec<serde_json::Value>> = vec![Vec::new(); decoded.n_rows];
        let mut refuse = |row: usize, field: Option<&str>, code: &str, detail: String| {
            if let Some(errors) = errors.get_mut(row) {
                errors.push(serde_json::json!({"field": field, "code": code, "detail": detail}));
            }
        };
        for error in &decoded.errors {
            let row = error.row.unwrap_or_default();
            refuse(row, error.field.as_deref(), error.problem.code(), error.problem.to_string());
        }
        let original = |row: usize| decoded.kept.as_ref().map_or(row, |kept| kept[row]);
        for fault in self.workspace.faults() {
            let field = fault
                .field
                .and_then(|field| self.schema.fields().get(field))
                .map(crate::schema::Field::name);
            refuse(original(fault.row), field, fault.problem.code(), fault.problem.to_string());
        }
        let mut features =
            self.workspace.features().chunks(self.pipeline.feature_names().len().max(1));
        let mut at = 0;
        for (row, errors) in errors.into_iter().enumerate() {
            let in_frame = decoded.kept.as_ref().is_none_or(|kept| kept.get(at) == Some(&row));
            let frame_row = at;
            at += usize::from(in_frame);
            if errors.is_empty() {
                // JSON has no word for an infinite number; a feature may be one.
                let number = |value: &f64| match *value {
                    value if value.is_infinite() => {
                        serde_json::json!(if value > 0.0 { "inf" } else { "-inf" })
                    }
                    value => serde_json::json!(value),
                };
                let row: Vec<serde_json::Value> =
                    features.next().unwrap_or_default().iter().map(number).collect();
                let mut line = serde_json::json!({"features": row});
                for (number, name) in self.tensors.iter().enumerate() {
                    let fed = self.pipeline.fed(number, &frame, &self.workspace);
                    if let Some(Fed::Tensor(column)) = fed {
                        let shape = column.shape(frame_row);
                        let values = column.gather(&[frame_row], &shape).and_then(|t| t.to_f64());
                        line["tensors"][name] =
                            serde_json::json!({"shape": shape, "values": values});
                    }
                }
                context.printer.result(&line.to_string())?;
            } else {
                self.failed = true;
                context.printer.result(&serde_json::json!({"errors": errors}).to_string())?;
            }
        }
        Ok(())
    }
}
