//! Every kind of output through HTTP: docs/artifact.md, 1.4. The graph is tests/fixtures/graphs/outputs.onnx, of two features.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::helpers::{TestApp, settings, spawn_with};

/// A directory of models that holds one artifact.
pub(crate) fn write_artifact(models: &Path, manifest: &Value, graph: &[u8], golden: &[Value]) {
    let name = manifest["name"].as_str().unwrap();
    let dir = models.join(name).join(manifest["version"].as_str().unwrap());
    std::fs::create_dir_all(&dir).unwrap();
    let golden: Vec<String> = golden.iter().map(Value::to_string).collect();
    let files = [
        ("golden.jsonl", (golden.join("\n") + "\n").into_bytes()),
        ("manifest.json", manifest.to_string().into_bytes()),
        ("model.onnx", graph.to_vec()),
        ("profile.json", br#"{"format": "seaworthy-profile/1"}"#.to_vec()),
    ];
    let mut sums = String::new();
    for (name, bytes) in files {
        let hash = Sha256::digest(&bytes).iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").unwrap();
            text
        });
        writeln!(sums, "{hash}  {name}").unwrap();
        std::fs::write(dir.join(name), bytes).unwrap();
    }
    std::fs::write(dir.join("SHA256SUMS"), sums).unwrap();
}

pub(crate) fn graph(name: &str) -> Vec<u8> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/graphs");
    std::fs::read(dir.join(name)).unwrap()
}

/// A server of the graph with these outputs; `golden` is what a = 0, b = 0.5 gives.
async fn serve(outputs: Value, golden: Value) -> (TestApp, tempfile::TempDir) {
    let models = tempfile::tempdir().unwrap();
    let tensor = |name: &str, r#type: &str, shape: Value| json!({"name": name, "type": r#type, "shape": shape});
    let manifest = json!({
        "format": "seaworthy/1", "name": "outputs", "version": "1.0.0", "task": "other", "created": "2026-01-01T00:00:00Z",
        "inputs": [{"name": "a", "type": "float"}, {"name": "b", "type": "float"}],
        "pipeline": [], "features": ["a", "b"],
        "model": {
            "file": "model.onnx", "opset": 18, "ir_version": 10, "estimator": "none", "precision": "float64",
            "inputs": [tensor("features", "float64", json!([null, 2]))],
            "outputs": [
                tensor("numbers", "float64", json!([null, 2])), tensor("shares", "float64", json!([null, 3])),
                tensor("index", "int64", json!([null, 1])), tensor("words", "string", json!([null, 2])),
                tensor("ratio", "float32", json!([null, 1, 1])),
            ],
        },
        "outputs": outputs,
        "golden": {"rows": 1, "features": {"relative": 0.0, "absolute": 0.0}, "output": {"relative": 0.0, "absolute": 0.0}},
    });
    let row = json!({"input": {"a": 0, "b": 0.5}, "features": [0.0, 0.5], "output": golden});
    write_artifact(models.path(), &manifest, &graph("outputs.onnx"), &[row]);
    let mut settings = settings();
    settings.models.dir = models.path().to_owned();
    settings.models.default.clear();
    (spawn_with(&settings).await, models)
}

/// The answer to two rows, without what is the same in every answer.
async fn answer(app: &TestApp, rows: Value) -> Value {
    let mut answer = app.predict("/v1/predict", json!({"inputs": rows}).to_string()).await;
    let object = answer.as_object_mut().unwrap();
    for key in ["version", "model", "request_id"] {
        object.remove(key).unwrap();
    }
    answer
}

fn rows(values: &[[f64; 2]]) -> Value {
    values.iter().map(|[a, b]| json!({"a": a, "b": b})).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_numbers_are_an_array() {
    let outputs = json!({"prediction": {"tensor": "numbers", "names": ["first", "second"]}});
    let (app, _models) = serve(outputs, json!({"prediction": [0, 5.0]})).await;
    let found = answer(&app, rows(&[[1.0, 2.0], [1e308, 0.25]])).await;
    let error = json!({
        "pointer": "#/inputs/1", "code": "output_not_finite", "detail": "not finite: 1 of the 2 numbers of the prediction"
    });
    assert_eq!(found, json!({"predictions": [[10.0, 20.0], [null, 2.5]], "errors": [error]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_most_probable_labels_come_in_descending_order() {
    let labels = ["x", "y", "z"];
    let outputs = json!({"probabilities": {"tensor": "shares", "labels": labels, "threshold": null, "top_k": 2}});
    let golden = json!({"prediction": "y", "probabilities": {"x": 0, "y": 0.5, "z": 0.5}});
    let (app, _models) = serve(outputs, golden).await;
    let response = app.post("/v1/predict", rows(&[[0.25, 0.25], [0.0, 0.0]]).to_string()).send();
    let text = response.await.unwrap().text().await.unwrap();
    // The text itself, because the order of keys counts.
    let expected =
        r#"{"predictions":["z","z"],"probabilities":[{"z":0.5,"x":0.25},{"z":1.0,"x":0.0}],"#;
    assert!(text.starts_with(expected), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_comes_alone_and_one_that_there_is_not_is_an_error() {
    let outputs = json!({"label": {"tensor": "index", "labels": [-1, 1]}});
    let (app, _models) = serve(outputs, json!({"prediction": -1})).await;
    let found = answer(&app, rows(&[[1.0, 0.0], [2.0, 0.0], [0.0, 0.0], [-1.0, 0.0]])).await;
    assert_eq!(found["predictions"], json!([1, null, -1, null]));
    assert_eq!(found.get("probabilities"), None);
    let details: Vec<&str> = found["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| error["detail"].as_str().unwrap())
        .collect();
    assert_eq!(
        details,
        [
            "the graph gave the label number 2, but there are 2 labels, counted from 0",
            "the graph gave the label number -1, but there are 2 labels, counted from 0"
        ]
    );
    assert_eq!(found["errors"][0]["code"], "output_no_label");
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_that_do_not_exclude_one_another_are_an_array() {
    let labels = ["x", "y", "z"];
    let outputs = json!({"multilabel": {"tensor": "shares", "labels": labels, "threshold": 0.4}});
    let golden = json!({"prediction": ["y", "z"], "probabilities": {"x": 0, "y": 0.5, "z": 0.5}});
    let (app, _models) = serve(outputs, golden).await;
    let found = answer(&app, rows(&[[0.4, 0.3], [0.5, 0.5]])).await;
    assert_eq!(found["predictions"], json!([[], ["x", "y"]]));
    assert_eq!(found["probabilities"][1], json!({"x": 0.5, "y": 0.5, "z": 0.0}));
}

#[tokio::test(flavor = "multi_thread")]
async fn tensors_are_nested_arrays_and_several_an_object() {
    let one = json!({"tensors": [{"name": "ratio", "tensor": "ratio"}]});
    let (app, _models) = serve(one, json!({"prediction": [[0]]})).await;
    let found = answer(&app, rows(&[[1.0, 4.0], [0.0, 0.0]])).await;
    assert_eq!(found["predictions"], json!([[[0.25]], [[null]]]));
    assert_eq!(found["errors"][0]["code"], "output_not_finite");
    let several =
        json!({"tensors": [{"name": "text", "tensor": "words"}, {"name": "i", "tensor": "index"}]});
    let golden = json!({"prediction": {"text": ["0", "0.5"], "i": [0]}});
    let (app, _models) = serve(several, golden).await;
    let found = answer(&app, rows(&[[3.0, 0.125]])).await;
    assert_eq!(found["predictions"], json!([{"text": ["3", "0.125"], "i": [3]}]));
    // What OpenAPI shows is what the server answers.
    let document: Value = app.get("/v1/openapi.json").await.json().await.unwrap();
    let answer = &document["components"]["schemas"]["outputs_1.0.0_Answer"];
    assert_eq!(
        answer["properties"]["predictions"]["items"]["properties"]["text"],
        json!({"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_say_what_a_prediction_is() {
    let outputs = json!({"prediction": {"tensor": "numbers", "names": ["first", "second"]}});
    let (app, _models) = serve(outputs.clone(), json!({"prediction": [0, 5]})).await;
    let found: Value = app.get("/v1/models/outputs").await.json().await.unwrap();
    assert_eq!(found["versions"][0]["outputs"], outputs);
}
