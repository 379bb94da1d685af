//! `seaworthy inspect`: the manifest for people.

use std::path::Path;
use std::process::ExitCode;

use super::Context;
use super::check::signed_by;
use crate::artifact::{Trust, store};
use crate::bare::is_graph;
use crate::postprocess::{OutputKind, Postprocess};
use crate::predictor::{LoadError, Model};
use crate::schema::{Field, Scalar};
use crate::startup::{open_artifact, open_runtime};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A directory, a name (its highest version) or name@version; or a bare graph, model.onnx
    model: String,
    /// How to print it
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For people
    Text,
    /// The manifest as it is
    Json,
}

pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let path = Path::new(&options.model);
    let artifact = if is_graph(path) && path.is_file() {
        open_runtime(&context.process)?;
        open_artifact(path, &Trust::default())?
    } else {
        let models_dir = &context.settings.models.dir;
        let dir = store::find(models_dir, &options.model).map_err(LoadError::from)?;
        // Who is not trusted may still be looked at.
        open_artifact(&dir, &Trust::default())?
    };
    if matches!(options.format, Format::Json) {
        context.printer.result(&serde_json::to_string_pretty(artifact.manifest())?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let model = Model::load(artifact)?;
    context.printer.result(&describe(&model, &context.trust))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(model: &Model, trust: &Trust) -> String {
    let artifact = model.artifact();
    let manifest = artifact.manifest();
    let mut facts = vec![
        ("task".to_owned(), manifest.task.as_str().to_owned()),
        ("created".to_owned(), manifest.created.clone()),
        ("artifact".to_owned(), artifact.digest().to_owned()),
        (
            "estimator".to_owned(),
            format!("{} in {}", manifest.model.estimator, manifest.model.precision),
        ),
        ("golden".to_owned(), format!("{} rows", manifest.golden.rows)),
    ];
    let signed = signed_by(artifact, trust);
    if !signed.is_empty() {
        facts.push(("signed by".to_owned(), signed.join(", ")));
    }
    let provenance = manifest.provenance.iter().map(|(key, value)| (key.clone(), flat(value)));
    facts.extend(provenance.filter(|(_, value)| !value.is_empty() && value != "null"));
    let mut text = vec![format!("{}@{}", manifest.name, manifest.version)];
    if !manifest.description.is_empty() {
        text.push(manifest.description.clone());
    }
    text.push(String::new());
    let width = widest(facts.iter().map(|(key, _)| key.as_str()));
    text.extend(facts.iter().map(|(key, value)| format!("  {key:<width$}  {value}")));
    let fields = model.schema().fields();
    text.push(format!("\nA row has {}:", counted(fields.len(), "field")));
    let names = widest(fields.iter().map(Field::name));
    let types = widest(fields.iter().map(|field| field.spec().r#type.as_str()));
    let needs = widest(fields.iter().map(need));
    text.extend(fields.iter().map(|field| {
        let (name, spec, need) = (field.name(), field.spec(), need(field));
        let line =
            format!("  {name:<names$}  {:<types$}  {need:<needs$}  {}", spec.r#type, more(field));
        line.trim_end().to_owned()
    }));
    text.push(match manifest.pipeline.len() {
        0 => "\nIt passes no step.".to_owned(),
        n => format!("\nIt passes {}:", counted(n, "step")),
    });
    let ops = widest(manifest.pipeline.iter().map(|step| step.op.as_str()));
    let names = widest(manifest.pipeline.iter().map(|step| step.name.as_str()));
    for (at, step) in manifest.pipeline.iter().enumerate() {
        let source = step.source.as_deref().unwrap_or_default();
        let line = format!("  {:>3}. {:<ops$}  {:<names$}  {source}", at + 1, step.op, step.name);
        text.push(line.trim_end().to_owned());
    }
    let graph = |tensors: &[crate::artifact::TensorSpec]| {
        let shape = |tensor: &crate::artifact::TensorSpec| {
            let dims = tensor
                .shape
                .iter()
                .map(|dim| dim.map_or_else(|| "batch".to_owned(), |dim| dim.to_string()));
            format!("{} {}[{}]", tensor.name, tensor.r#type, dims.collect::<Vec<_>>().join(", "))
        };
        tensors.iter().map(shape).collect::<Vec<_>>().join(", ")
    };
    let into = match manifest.features.len() {
        0 => "The columns go as they are".to_owned(),
        1 => "1 feature goes".to_owned(),
        n => format!("{n} features go"),
    };
    text.push(format!(
        "\n{into} into {} (opset {}): {} -> {}",
        manifest.model.file,
        manifest.model.opset,
        graph(&manifest.model.inputs),
        graph(&manifest.model.outputs)
    ));
    text.extend(outputs(model.postprocess()));
    for operation in &manifest.postprocess {
        let operation = serde_json::to_value(operation).unwrap_or_default();
        text.push(match operation["function"].as_str() {
            Some(function) => format!("Then {function}"),
            None => format!("Then {}", flat(&operation)),
        });
    }
    text.join("\n")
}

fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// What a prediction is, where it is more than a number.
fn outputs(postprocess: &Postprocess) -> Vec<String> {
    let labels = postprocess.labels().iter().map(scalar).collect::<Vec<_>>().join(", ");
    let labels = format!("Labels: {labels}");
    match postprocess.kind() {
        OutputKind::Number => Vec::new(),
        OutputKind::Numbers(names) => {
            vec![format!("The prediction is an array of {}: {}", names.len(), names.join(", "))]
        }
        OutputKind::Probabilities { threshold, top_k, has_label } => {
            let label = has_label.then(|| {
                "The label is said by the graph, not by the largest probability".to_owned()
            });
            let threshold = threshold
                .map(|threshold| format!("The second label is predicted from {threshold} on"));
            let top_k = top_k.map(|k| format!("An answer holds the {k} most probable"));
            [labels].into_iter().chain(threshold).chain(label).chain(top_k).collect()
        }
        OutputKind::Label => vec![labels],
        OutputKind::Multilabel { threshold } => {
            vec![labels, format!("Those above {threshold} are predicted")]
        }
        OutputKind::Tensors(names) => {
            vec![format!("The prediction is made of the tensors: {}", names.join(", "))]
        }
    }
}

fn widest<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or_default()
}

/// A value of the provenance on one line.
fn flat(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Object(object) => object
            .iter()
            .map(|(key, value)| format!("{key} {}", flat(value)))
            .collect::<Vec<_>>()
            .join(", "),
        serde_json::Value::Array(values) => values.iter().map(flat).collect::<Vec<_>>().join("; "),
        other => other.to_string(),
    }
}

/// Whether the key must be there, and may be `null`.
fn need(field: &Field) -> &'static str {
    match (field.spec().required, field.spec().nullable) {
        (true, false) => "required",
        (true, true) => "required, or null",
        (false, true) => "optional, or null",
        (false, false) => "optional",
    }
}

/// What else is known of a field.
fn more(field: &Field) -> String {
    let spec = field.spec();
    let mut text = Vec::new();
    if let Some(default) = &spec.default {
        text.push(format!("default {}", scalar(default)));
    }
    if let (Some(minimum), Some(maximum)) = (&spec.minimum, &spec.maximum) {
        let kind = if spec.enforce { "" } else { " in training" };
        text.push(format!("{} to {}{kind}", scalar(minimum), scalar(maximum)));
    }
    if let Some(categories) = &spec.categories {
        const SHOWN: usize = 6;
        let mut shown = categories.iter().take(SHOWN).map(scalar).collect::<Vec<_>>().join(", ");
        if categories.len() > SHOWN {
            shown.push_str(&format!(", … ({})", categories.len()));
        }
        text.push(shown);
    }
    if !spec.aliases.is_empty() {
        text.push(format!("also called {}", spec.aliases.join(", ")));
    }
    if spec.sensitive {
        text.push("sensitive".to_owned());
    }
    if !spec.description.is_empty() {
        text.push(spec.description.clone());
    }
    text.join("; ")
}

fn scalar(value: &Scalar) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
