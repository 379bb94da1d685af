//! `seaworthy config`: the settings in force, and where each comes from.

use std::path::Path;
use std::process::ExitCode;

use super::Printer;
use crate::config::{Effective, Settings};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// How to print them
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    /// For people, and as TOML
    Text,
    /// One JSON object: for each key its value and origin
    Json,
}

pub(super) fn run(options: &Options, dir: &Path, printer: &Printer) -> anyhow::Result<ExitCode> {
    let (_, effective) = Settings::read_explained(dir)?;
    printer.result(&match options.format {
        Format::Text => text(&effective),
        Format::Json => json(&effective),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn text(effective: &[Effective]) -> String {
    let mut lines = Vec::new();
    let assigned = |setting: &Effective| {
        let name = setting.key.split_once('.').map_or(setting.key.as_str(), |(_, name)| name);
        format!("{name} = {}", setting.value)
    };
    let width = effective.iter().map(|setting| assigned(setting).chars().count()).max();
    // One long value does not push all origins out of sight.
    let width = width.unwrap_or_default().min(48);
    let mut section = "";
    for setting in effective {
        let own = setting.key.split_once('.').map_or("", |(section, _)| section);
        if own != section {
            if !section.is_empty() {
                lines.push(String::new());
            }
            lines.push(format!("[{own}]"));
            section = own;
        }
        lines.push(format!("{:<width$}  # {}", assigned(setting), setting.origin));
    }
    lines.join("\n")
}

fn json(effective: &[Effective]) -> String {
    let entries = effective.iter().map(|setting| {
        let entry = serde_json::json!({
            "value": setting.value,
            "origin": setting.origin,
            "hidden": setting.is_hidden,
        });
        (setting.key.clone(), entry)
    });
    serde_json::Value::Object(entries.collect()).to_string()
}
