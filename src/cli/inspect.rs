//! `seaworthy inspect`: the manifest for people.

use std::process::ExitCode;

use super::Context;
use crate::artifact::{Artifact, Manifest, store};
use crate::predictor::{LoadError, Model};
use crate::schema::{Field, Scalar};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A directory, a name (its highest version) or name@version
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
    let dir = store::find(&context.settings.models.dir, &options.model).map_err(LoadError::from)?;
    let artifact = Artifact::open(&dir).map_err(LoadError::from)?;
    if matches!(options.format, Format::Json) {
        context.printer.result(&serde_json::to_string_pretty(artifact.manifest())?);
        return Ok(ExitCode::SUCCESS);
    }
    let model = Model::load(artifact)?;
    context.printer.result(&describe(&model));
    Ok(ExitCode::SUCCESS)
}

fn describe(model: &Model) -> String {
    let artifact = model.artifact();
    let manifest = artifact.manifest();
    let mut text = vec![
        format!("{}@{}", manifest.name, manifest.version),
        manifest.description.clone(),
        String::new(),
        format!("  task       {}", manifest.task.as_str()),
        format!("  created    {}", manifest.created),
        format!("  artifact   {}", artifact.digest()),
        format!("  estimator  {} in {}", manifest.model.estimator, manifest.model.precision),
        format!("  golden     {} rows", manifest.golden.rows),
    ];
    text.extend(provenance(manifest));
    let fields = model.schema().fields();
    text.push(format!("\nA row has {} fields:", fields.len()));
    let width = fields.iter().map(|field| field.name().chars().count()).max().unwrap_or_default();
    text.extend(
        fields.iter().map(|field| format!("  {:<width$}  {}", field.name(), field_text(field))),
    );
    text.push(format!("\nIt passes {} steps:", manifest.pipeline.len()));
    for (at, step) in manifest.pipeline.iter().enumerate() {
        let source =
            step.source.as_deref().map(|source| format!("  ({source})")).unwrap_or_default();
        text.push(format!("  {:>3}. {:<18} {}{source}", at + 1, step.op, step.name));
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
    text.push(format!(
        "\n{} features go into {} (opset {}): {} -> {}",
        manifest.features.len(),
        manifest.model.file,
        manifest.model.opset,
        graph(&manifest.model.inputs),
        graph(&manifest.model.outputs)
    ));
    let labels = model.postprocess().labels();
    if !labels.is_empty() {
        text.push(format!("Labels: {}", labels.iter().map(scalar).collect::<Vec<_>>().join(", ")));
    }
    for operation in &manifest.postprocess {
        text.push(format!("Then: {}", serde_json::to_string(operation).unwrap_or_default()));
    }
    text.join("\n")
}

fn provenance(manifest: &Manifest) -> Vec<String> {
    let flat = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Object(object) => object
            .iter()
            .map(|(key, value)| format!("{key} {}", value.to_string().trim_matches('"')))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    };
    manifest.provenance.iter().map(|(key, value)| format!("  {key:<10} {}", flat(value))).collect()
}

fn field_text(field: &Field) -> String {
    let spec = field.spec();
    let mut text = vec![format!("{:<6}", spec.r#type)];
    text.push(match (spec.required, spec.nullable) {
        (true, false) => "required".to_owned(),
        (true, true) => "required, may be null".to_owned(),
        (false, true) => "optional, may be null".to_owned(),
        (false, false) => "optional".to_owned(),
    });
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
