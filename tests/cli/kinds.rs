//! `predict`, `diff` and `replay` with every kind of output, and with pictures and redacted fields.

use std::path::Path;

use serde_json::{Value, json};

use super::helpers::{Logging, copy_model, root, seaworthy};

/// The artifact of a bare graph in `models`, and what Python says of its rows.
fn bare(graph: &str, models: &Path) -> Value {
    let path = format!("tests/fixtures/graphs/{graph}.onnx");
    let dir = models.to_str().unwrap();
    let arguments = ["init", &path, "--name", graph, "--version", "1.0.0", "--models-dir", dir];
    let outcome = seaworthy(&arguments).outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    let path = root().join("tests/fixtures/graphs").join(format!("{graph}.json"));
    std::fs::read(path).map(|text| serde_json::from_slice(&text).unwrap()).unwrap_or_default()
}

fn lines(rows: &Value) -> String {
    rows.as_array().unwrap().iter().map(|row| format!("{row}\n")).collect()
}

fn values(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The rows of a file with what a model says of them, by way of some formats, each of which was written from the one before.
fn through(model: &str, rows: &Path, formats: &[&str]) -> Vec<Value> {
    let mut path = rows.to_owned();
    for (at, format) in formats.iter().enumerate() {
        let next = rows.with_file_name(format!("{at}.{format}"));
        let prefix = format!("x{at}_");
        let paths = (path.to_str().unwrap(), next.to_str().unwrap());
        let arguments = ["predict", model, paths.0, "--output", paths.1, "--prefix", &prefix, "-q"];
        let outcome = seaworthy(&arguments).outcome();
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{format}");
        path = next;
    }
    values(&std::fs::read_to_string(path).unwrap())
}

/// The answer of a server to a body.
fn ask(server: &Logging, body: &Value) -> Value {
    serde_json::from_str(&server.post("/v1/predict", &body.to_string()).1).unwrap()
}

/// Stops the server and replays its log.
fn replay(server: Logging, models: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let log = server.stop();
    let arguments = ["replay", "--format", "json", log.to_str().unwrap()];
    let outcome = seaworthy(&[&arguments, more].concat())
        .env("SEAWORTHY__MODELS__DIR", models.to_str().unwrap())
        .outcome();
    let report = serde_json::from_str(&outcome.stdout);
    (outcome.code, report.unwrap_or_else(|_| panic!("{}", outcome.stderr)))
}

#[test]
fn labels_and_probabilities_go_through_every_format() {
    let tmp = tempfile::tempdir().unwrap();
    let reference = bare("bare_forest", tmp.path());
    let model = tmp.path().join("bare_forest/1.0.0");
    let model = model.to_str().unwrap();
    let rows = tmp.path().join("rows.ndjson");
    std::fs::write(&rows, lines(&reference["rows"])).unwrap();
    let server = Logging::start_model("bare_forest", tmp.path());
    let answer = ask(&server, &json!({"inputs": reference["rows"]}));
    assert_eq!(answer["predictions"], reference["expected"]["labels"]);

    let formats = ["parquet", "arrow", "csv", "parquet", "ndjson", "arrow", "ndjson"];
    let found = through(model, &rows, &formats);
    assert_eq!(found.len(), reference["rows"].as_array().unwrap().len());
    for (at, row) in found.iter().enumerate() {
        for step in 0..formats.len() {
            assert_eq!(row[format!("x{step}_prediction")], answer["predictions"][at], "{row}");
            for label in ["setosa", "versicolor", "virginica"] {
                let found = match &row[format!("x{step}_probability_{label}")] {
                    Value::String(text) => text.parse().unwrap(),
                    value => value.as_f64().unwrap(),
                };
                let served = answer["probabilities"][at][label].as_f64().unwrap();
                assert_eq!(found.to_bits(), served.to_bits(), "{label} in step {step} of {row}");
            }
        }
    }

    let data = rows.to_str().unwrap();
    let same = seaworthy(&["diff", model, model, "--data", data, "--format", "json"]).outcome();
    let same: Value = serde_json::from_str(&same.stdout).unwrap();
    assert_eq!((&same["identical"], &same["label_flips"]), (&same["rows"], &json!(0)));
    assert_eq!(same["probabilities"].as_array().unwrap().len(), 3);
    assert_eq!(same["probabilities"][0]["max_shift"], 0.0);

    let (code, report) = replay(server, tmp.path(), &[]);
    assert_eq!((code, &report["identical"]), (Some(0), &report["rows"]), "{report:#}");
    assert_eq!(report["rows"], same["rows"]);
    assert_eq!(report["confusion"], same["confusion"]);
    assert_eq!(report["absolute"]["max"], 0.0, "probabilities were once not compared without --on");
}

#[test]
fn a_label_that_flips_is_counted_and_shown() {
    let tmp = tempfile::tempdir().unwrap();
    let reference = bare("bare_forest", tmp.path());
    let server = Logging::start_model("bare_forest", tmp.path());
    for row in reference["rows"].as_array().unwrap() {
        ask(&server, &json!({"inputs": [row]}));
    }
    // In the log the first row was another flower.
    let log = server.log.clone();
    let (code, whole) = replay(server, tmp.path(), &["--on", "bare_forest"]);
    assert_eq!((code, &whole["over"]), (Some(0), &json!(0)));
    assert_eq!(whole["probabilities"].as_array().unwrap().len(), 3);
    let text = std::fs::read_to_string(&log).unwrap();
    let label = reference["expected"]["labels"][0].as_str().unwrap();
    let other = if label == "setosa" { "virginica" } else { "setosa" };
    let before = format!("\"predictions\":[\"{label}\"]");
    assert!(text.contains(&before), "{text}");
    std::fs::write(&log, text.replacen(&before, &before.replace(label, other), 1)).unwrap();
    let arguments = ["replay", "--format", "json", log.to_str().unwrap()];
    let outcome =
        seaworthy(&arguments).env("SEAWORTHY__MODELS__DIR", tmp.path().to_str().unwrap()).outcome();
    let report: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(
        (outcome.code, &report["over"], &report["label_flips"]),
        (Some(1), &json!(1), &json!(1)),
        "{report:#}"
    );
    assert_eq!(
        (&report["worst"][0]["old"], &report["worst"][0]["new"]),
        (&json!(other), &json!(label))
    );
}

#[test]
fn several_outputs_go_through_files() {
    let tmp = tempfile::tempdir().unwrap();
    bare("tokens", tmp.path());
    let model = tmp.path().join("tokens/1.0.0");
    let golden = std::fs::read_to_string(model.join("golden.jsonl")).unwrap();
    let inputs: Vec<Value> = values(&golden).iter().map(|row| row["input"].clone()).collect();
    let inputs = Value::from(inputs);
    let rows = tmp.path().join("rows.ndjson");
    std::fs::write(&rows, lines(&inputs)).unwrap();
    let server = Logging::start_model("tokens", tmp.path());
    let mut served = Vec::new();
    for row in inputs.as_array().unwrap() {
        served.push(ask(&server, &json!({"inputs": [row]}))["predictions"][0].clone());
    }
    for formats in [&["ndjson"][..], &["csv", "ndjson"], &["arrow", "csv", "parquet", "ndjson"]] {
        let found = through(model.to_str().unwrap(), &rows, formats);
        for (at, row) in found.iter().enumerate() {
            for step in 0..formats.len() {
                let found = match &row[format!("x{step}_prediction")] {
                    Value::String(text) => serde_json::from_str(text).unwrap(),
                    value => value.clone(),
                };
                assert_eq!(found, served[at], "step {step} of {formats:?}: {row}");
            }
        }
    }
    let (code, report) = replay(server, tmp.path(), &[]);
    assert_eq!((code, &report["identical"]), (Some(0), &report["rows"]), "{report:#}");
    assert_eq!(report["rows"], json!(served.len()));
}

#[test]
fn pictures_are_read_from_files_and_left_out_of_a_replay() {
    let tmp = tempfile::tempdir().unwrap();
    let source = root().join("tests/fixtures/models/plant-seedlings/1.0.0-small");
    let model = tmp.path().join("plant-seedlings/1.0.0-small");
    std::fs::create_dir_all(&model).unwrap();
    for entry in std::fs::read_dir(source).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), model.join(entry.file_name())).unwrap();
    }
    let golden = std::fs::read_to_string(model.join("golden.jsonl")).unwrap();
    let mut inputs: Vec<Value> = values(&golden).iter().map(|row| row["input"].clone()).collect();
    inputs.truncate(2);
    let rows = tmp.path().join("rows.ndjson");
    std::fs::write(&rows, lines(&Value::from(inputs.clone()))).unwrap();
    let server = Logging::start_model("plant-seedlings", tmp.path());
    let served: Vec<Value> = inputs
        .iter()
        .map(|row| ask(&server, &json!({"inputs": [row]}))["predictions"][0].clone())
        .collect();
    let dir = model.to_str().unwrap();
    let found = through(dir, &rows, &["csv", "arrow", "ndjson"]);
    for (at, row) in found.iter().enumerate() {
        for step in 0..3 {
            assert_eq!(row[format!("x{step}_prediction")], served[at], "step {step}");
        }
    }
    let data = rows.to_str().unwrap();
    let same = seaworthy(&["diff", dir, dir, "--data", data, "--format", "json"]).outcome();
    let same: Value = serde_json::from_str(&same.stdout).unwrap();
    assert_eq!((&same["identical"], &same["rows"]), (&json!(2), &json!(2)));
    // The log has their digests.
    let (code, report) = replay(server, tmp.path(), &[]);
    assert_eq!((code, &report["log"]["redacted"]), (Some(0), &json!(2)), "{report:#}");
    assert_eq!(report["rows"], 0);
}

#[test]
fn records_with_sensitive_fields_are_counted_and_left_out() {
    use sha2::{Digest as _, Sha256};
    let tmp = tempfile::tempdir().unwrap();
    let model = copy_model(tmp.path());
    let path = model.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let fields = manifest["inputs"].as_array_mut().unwrap();
    let field = fields.iter_mut().find(|field| field["name"] == "GrLivArea").unwrap();
    field["sensitive"] = json!(true);
    let text = manifest.to_string();
    let digest: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    let sums = std::fs::read_to_string(model.join("SHA256SUMS")).unwrap();
    let sums = sums.lines().map(|line| match line.strip_suffix("manifest.json") {
        Some(_) => format!("{digest}  manifest.json\n"),
        None => format!("{line}\n"),
    });
    std::fs::write(model.join("SHA256SUMS"), sums.collect::<String>()).unwrap();
    std::fs::write(path, text).unwrap();

    let golden = std::fs::read_to_string(model.join("golden.jsonl")).unwrap();
    let good = values(&golden).into_iter().find(|row| row["error"].is_null()).unwrap();
    let server = Logging::start_model("house-prices", tmp.path());
    for _ in 0..3 {
        ask(&server, &json!({"inputs": [good["input"]]}));
    }
    let (code, report) = replay(server, tmp.path(), &[]);
    assert_eq!((code, &report["log"]["redacted"]), (Some(0), &json!(3)), "{report:#}");
    assert_eq!((&report["rows"], &report["log"]["replayed"]), (&json!(0), &json!(0)));
}
