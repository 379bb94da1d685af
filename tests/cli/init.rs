//! `seaworthy init` and `seaworthy serve graph.onnx`: bare ONNX files. `tests/fixtures/make_graphs.py` and `make_bare.py` say what each is.

use std::path::Path;

use serde_json::{Value, json};

use super::assert_shown;
use super::helpers::{Server, root, seaworthy};

fn graph(name: &str) -> String {
    format!("tests/fixtures/graphs/{name}.onnx")
}

fn init(name: &str, models: &Path, more: &[&str]) -> super::helpers::Run {
    let (graph, dir) = (graph(name), models.to_str().unwrap());
    let arguments = ["init", &graph, "--name", "bare", "--version", "1.0.0", "--models-dir", dir];
    seaworthy(&[&arguments[..], more].concat()).replace(models, "<models>")
}

fn manifest(models: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(models.join("bare/1.0.0/manifest.json")).unwrap())
        .unwrap()
}

#[test]
fn init_says_what_a_row_is_and_what_is_proven() {
    let mut shown = Vec::new();
    for name in [
        "types",
        "tokens",
        "one_at_a_time",
        "two_at_a_time",
        "recurrent",
        "batch",
        "classifier",
        "bare_torch",
        "bare_forest_zipmap",
    ] {
        let models = tempfile::tempdir().unwrap();
        shown.push(init(name, models.path(), &[]).show());
        let checked = seaworthy(&["check", models.path().to_str().unwrap()]).outcome();
        assert_eq!(checked.code, Some(0), "{name}: {}", checked.stderr);
    }
    assert_shown!(shown.join("\n"));
}

#[test]
fn init_refuses_what_cannot_be_served_in_one_sentence() {
    let models = tempfile::tempdir().unwrap();
    let mut shown: Vec<String> = [
        "future",
        "future_format",
        "custom",
        "sequence",
        "optional",
        "bfloat16",
        "constant",
        "external_outside",
        "not_there",
    ]
    .iter()
    .map(|name| init(name, models.path(), &[]).show())
    .collect();
    let text = models.path().join("text.onnx");
    std::fs::write(&text, "not a graph\n").unwrap();
    for (path, name, version) in [
        (text.to_str().unwrap(), "bare", "1.0.0"),
        ("tests/fixtures/graphs/types.onnx", "Bare", "1.0.0"),
        ("tests/fixtures/graphs/types.onnx", "bare", "1.0"),
    ] {
        let run = seaworthy(&["init", path, "--name", name, "--version", version]);
        shown.push(run.replace(models.path(), "<models>").show());
    }
    assert_shown!(shown.join("\n"));
    assert!(!models.path().join("bare").exists(), "nothing is left of what was refused");
}

#[test]
fn init_replaces_an_artifact_on_demand_only() {
    let models = tempfile::tempdir().unwrap();
    assert_eq!(init("types", models.path(), &[]).outcome().code, Some(0));
    let before = std::fs::read(models.path().join("bare/1.0.0/SHA256SUMS")).unwrap();
    let again = init("tokens", models.path(), &[]).show();
    assert_eq!(std::fs::read(models.path().join("bare/1.0.0/SHA256SUMS")).unwrap(), before);
    let forced = init("tokens", models.path(), &["--force", "--quiet"]).show();
    assert_ne!(std::fs::read(models.path().join("bare/1.0.0/SHA256SUMS")).unwrap(), before);
    assert_shown!([again, forced].join("\n"));
    let left = std::fs::read_dir(models.path().join("bare")).unwrap().count();
    assert_eq!(left, 1, "no draft is left beside it");
}

#[test]
fn init_copies_weights_that_lie_beside_the_graph() {
    let models = tempfile::tempdir().unwrap();
    assert_eq!(init("external", models.path(), &[]).outcome().code, Some(0));
    let dir = models.path().join("bare/1.0.0");
    let sums = std::fs::read_to_string(dir.join("SHA256SUMS")).unwrap();
    assert!(sums.contains("  weights.bin\n"), "{sums}");
    assert_eq!(
        std::fs::read(dir.join("weights.bin")).unwrap(),
        std::fs::read(root().join("tests/fixtures/graphs/weights.bin")).unwrap()
    );
}

#[test]
fn the_schema_is_that_of_the_graph() {
    let models = tempfile::tempdir().unwrap();
    assert_eq!(init("tokens", models.path(), &[]).outcome().code, Some(0));
    let manifest = manifest(models.path());
    let fields: Vec<(&str, &str, &Value)> = manifest["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|field| {
            (field["name"].as_str().unwrap(), field["dtype"].as_str().unwrap(), &field["shape"])
        })
        .collect();
    assert_eq!(
        fields,
        [
            ("tokens", "int64", &json!([null])),
            ("weight", "float32", &json!([])),
            ("bias", "float32", &json!([null])),
        ]
    );
    assert_eq!(
        manifest["outputs"],
        json!({"tensors": [{"name": "sum", "tensor": "sum"}, {"name": "each", "tensor": "each"}]})
    );
    // It says what it proves, and does not claim to know of training.
    let proof = manifest["provenance"]["proof"].as_str().unwrap();
    assert!(
        proof.starts_with("the golden rows were made up and run by ONNX Runtime (commit "),
        "{proof}"
    );
    assert_eq!(manifest["provenance"]["training_data"], json!([]));
    // The same file gives the same artifact.
    let sums = |models: &Path| std::fs::read(models.join("bare/1.0.0/SHA256SUMS")).unwrap();
    let other = tempfile::tempdir().unwrap();
    assert_eq!(init("tokens", other.path(), &[]).outcome().code, Some(0));
    assert_eq!(sums(models.path()), sums(other.path()));
}

/// The answer of a server to a body.
fn predict(server: &Server, body: &Value) -> Value {
    let (status, body) = server.post("/v1/predict", &body.to_string());
    assert_eq!(status, 200, "{body}");
    serde_json::from_str(&body).unwrap()
}

/// A server of a bare graph started by one command, and what Python says of its rows.
fn serve(name: &str) -> (Server, Value) {
    let server = Server::start_with(&["serve", &graph(name)], root());
    let path = root().join("tests/fixtures/graphs").join(format!("{name}.json"));
    (server, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
}

/// Within 1e-6 + 1e-5 relative: what float32 computes.
fn assert_close(found: &Value, expected: &Value, place: &str) {
    match (found, expected) {
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len(), "{place}");
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                assert_close(found, expected, &format!("{place}/{at}"));
            }
        }
        _ => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            let allowed = 1e-6 + 1e-5 * expected.abs();
            assert!((found - expected).abs() <= allowed, "{place}: {found}, expected {expected}");
        }
    }
}

#[test]
fn a_bare_graph_from_pytorch_is_served_by_one_command() {
    let (server, reference) = serve("bare_torch");
    let answer = predict(&server, &json!({"inputs": reference["rows"]}));
    assert_close(&answer["predictions"], &reference["expected"], "predictions");
    // One row alone gives the same to the bit.
    let alone = predict(&server, &json!({"inputs": reference["rows"][7]}));
    assert_eq!(alone["predictions"][0], answer["predictions"][7]);
    assert_eq!((&answer["model"], &answer["version"]), (&json!("bare_torch"), &json!("0.0.0")));
}

#[test]
fn a_forest_from_scikit_learn_is_served_by_one_command_with_zip_map_and_without() {
    for name in ["bare_forest", "bare_forest_zipmap"] {
        let (server, reference) = serve(name);
        let answer = predict(&server, &json!({"inputs": reference["rows"]}));
        assert_eq!(answer["predictions"], reference["expected"]["labels"], "{name}");
        let labels = ["setosa", "versicolor", "virginica"];
        let found: Value = answer["probabilities"]
            .as_array()
            .unwrap()
            .iter()
            .map(|row| labels.iter().map(|label| row[label].clone()).collect::<Value>())
            .collect();
        assert_close(&found, &reference["expected"]["probabilities"], name);
    }
}

#[test]
fn serving_a_graph_that_cannot_be_served_says_why() {
    let shown: Vec<String> = ["future", "custom", "not_there"]
        .iter()
        .map(|name| {
            let outcome = seaworthy(&["serve", &graph(name)]).outcome();
            assert_eq!(outcome.code, Some(1));
            // Before it there may be messages of the start, with times.
            let at = outcome.stderr.find("error: ").unwrap();
            outcome.stderr[at..].to_owned()
        })
        .collect();
    assert_shown!(shown.join("\n"));
}

#[test]
fn a_bare_graph_leaves_no_file_behind() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::copy(root().join(graph("types")), dir.path().join("Some Graph.onnx")).unwrap();
    let server = Server::start_with(&["serve", "Some Graph.onnx"], dir.path());
    drop(server);
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn check_and_inspect_take_a_bare_graph() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("forest.onnx");
    std::fs::copy(root().join(graph("bare_forest")), &path).unwrap();
    let leap_day = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_709_208_000);
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(leap_day).unwrap();
    let (path, absent) = (path.to_str().unwrap(), dir.path().join("none.onnx"));
    let shown: Vec<String> = ["check", "inspect"]
        .into_iter()
        .flat_map(|command| [path, absent.to_str().unwrap()].map(|graph| [command, graph]))
        .map(|arguments| seaworthy(&arguments).replace(dir.path(), "<dir>").show())
        .collect();
    assert_shown!(shown.join("\n"));
}
