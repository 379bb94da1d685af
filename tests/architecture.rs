//! Who may use whom. Cargo cannot say this inside one crate, so this test does.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module, and the modules it may use. The table of ARCHITECTURE.md.
const RULES: &[(&str, &[&str])] = &[
    // Core: values in, values out.
    ("digest", &[]),
    ("image", &[]),
    ("schema", &["image", "tensor"]),
    ("tensor", &[]),
    ("pipeline", &["image", "schema", "tensor"]),
    ("runtime", &["tensor"]),
    ("postprocess", &["schema", "tensor", "pipeline"]),
    ("artifact", &["digest", "schema", "pipeline", "postprocess"]),
    ("feed", &["schema", "tensor", "pipeline", "postprocess", "artifact"]),
    ("predictor", &["schema", "tensor", "pipeline", "runtime", "postprocess", "artifact", "feed"]),
    ("proof", &["schema", "tensor", "postprocess", "artifact", "predictor"]),
    ("bare", &["digest", "schema", "tensor", "artifact", "postprocess", "runtime", "predictor"]),
    ("compare", &["schema", "postprocess", "artifact", "predictor"]),
    // Files of rows; no threads.
    ("tabular", &["schema", "tensor", "postprocess", "predictor"]),
    // Service: threads and time.
    ("access", &[]),
    ("engine", &["schema", "predictor"]),
    ("observe", &[]),
    ("tls", &[]),
    ("state", &["access", "schema", "predictor", "proof", "engine", "observe"]),
    // Edge.
    ("config", &["access", "artifact", "schema", "observe"]),
    ("telemetry", &["config", "observe"]),
    (
        "http",
        &[
            "access",
            "digest",
            "image",
            "schema",
            "pipeline",
            "tensor",
            "postprocess",
            "artifact",
            "predictor",
            "proof",
            "engine",
            "observe",
            "state",
        ],
    ),
    (
        "startup",
        &[
            "access",
            "image",
            "bare",
            "schema",
            "artifact",
            "runtime",
            "predictor",
            "proof",
            "engine",
            "observe",
            "state",
            "config",
            "http",
            "tls",
        ],
    ),
    (
        "cli",
        &[
            "access",
            "image",
            "bare",
            "schema",
            "pipeline",
            "artifact",
            "runtime",
            "postprocess",
            "predictor",
            "proof",
            "observe",
            "config",
            "startup",
            "telemetry",
            "compare",
            "tabular",
            "tls",
        ],
    ),
];

/// Crates that only some modules may name.
const CRATES: &[(&str, &[&str])] = &[
    ("axum", &["http", "startup"]),
    ("hyper", &["http", "startup"]),
    ("hyper_util", &["http", "startup"]),
    ("tower", &["http", "startup"]),
    ("tower_http", &["http", "startup"]),
    ("rustls", &["tls"]),
    ("tokio_rustls", &["http", "tls"]),
    ("ring", &["access", "artifact"]),
    ("ort", &["runtime"]),
    ("tokio", &["engine", "observe", "http", "startup", "cli"]),
    ("clap", &["cli"]),
    ("anyhow", &["cli"]),
    ("parquet", &["tabular"]),
    ("arrow_array", &["tabular"]),
    ("arrow_ipc", &["tabular"]),
    ("indicatif", &["cli"]),
];

/// The core reads no clock, no environment and, but for the artifact, no disk.
const FORBIDDEN: &[(&str, &[&str])] = &[
    (
        "std::fs",
        &[
            "image",
            "schema",
            "tensor",
            "pipeline",
            "runtime",
            "postprocess",
            "predictor",
            "proof",
            "compare",
            "access",
            "http",
        ],
    ),
    (
        "std::time",
        &[
            "image",
            "schema",
            "tensor",
            "pipeline",
            "runtime",
            "postprocess",
            "predictor",
            "proof",
            "artifact",
            "compare",
            "tabular",
        ],
    ),
    (
        "std::thread",
        &[
            "image",
            "schema",
            "tensor",
            "pipeline",
            "runtime",
            "postprocess",
            "predictor",
            "proof",
            "artifact",
            "compare",
            "tabular",
            "http",
        ],
    ),
];

#[test]
fn modules_use_only_what_they_may() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let rules: BTreeMap<_, _> = RULES.iter().copied().collect();
    let mut broken = Vec::new();
    let mut seen = BTreeSet::new();
    for file in rust_files(&src) {
        let inside = file.strip_prefix(&src).unwrap();
        let module = inside.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = module.trim_end_matches(".rs").to_owned();
        if module == "main" || module == "lib" {
            continue;
        }
        let Some(may_use) = rules.get(module.as_str()) else {
            broken.push(format!("src/{module}: not in RULES"));
            continue;
        };
        seen.insert(module.clone());
        let text = std::fs::read_to_string(&file).unwrap();
        // Tests may use what they need.
        let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        if inside.ends_with("tests.rs") {
            continue;
        }
        for (n, line) in text.lines().enumerate() {
            let line = line.split("//").next().unwrap();
            let mut breaks = |what: &str| {
                let place = format!("{}:{}", inside.display(), n + 1);
                broken.push(format!("{place}: `{module}` may not use `{what}`"));
            };
            for part in line.split("crate::").skip(1) {
                let used: String =
                    part.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                if used != module && !may_use.contains(&used.as_str()) {
                    breaks(&used);
                }
            }
            for (name, modules) in CRATES {
                if !modules.contains(&module.as_str()) && mentions(line, name) {
                    breaks(name);
                }
            }
            for (path, modules) in FORBIDDEN {
                if modules.contains(&module.as_str()) && line.contains(path) {
                    breaks(path);
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert_eq!(seen.len(), RULES.len(), "a rule names a module that is gone: {seen:?}");
}

fn mentions(line: &str, name: &str) -> bool {
    let starts = format!("{name}::");
    line.match_indices(&starts)
        .any(|(at, _)| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            files.push(path);
        }
    }
    files
}
