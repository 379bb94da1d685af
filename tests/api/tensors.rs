//! Tensor fields through HTTP: docs/artifact.md, 1.1 and 1.3. `tests/fixtures/make_graphs.py` says what each graph is.

use serde_json::{Value, json};

use super::helpers::{TestApp, settings, spawn_with};
use super::outputs::{graph, write_artifact};

/// A server of a graph without a pipeline: `fields` are its rows, `golden` a row and its prediction.
async fn serve(
    name: &str,
    fields: Value,
    inputs: Value,
    outputs: &[(&str, &str, Value)],
    golden: (Value, Value),
) -> (TestApp, tempfile::TempDir) {
    let models = tempfile::tempdir().unwrap();
    let tensors: Vec<Value> =
        outputs.iter().map(|(name, _, _)| json!({"name": name, "tensor": name})).collect();
    let signature: Vec<Value> = outputs
        .iter()
        .map(|(name, r#type, shape)| json!({"name": name, "type": r#type, "shape": shape}))
        .collect();
    let manifest = json!({
        "format": "seaworthy/1", "name": "tensors", "version": "1.0.0", "task": "other", "created": "2026-01-01T00:00:00Z",
        "inputs": fields, "pipeline": [], "features": [],
        "model": {
            "file": "model.onnx", "opset": 18, "ir_version": 10, "estimator": "none", "precision": "float32",
            "inputs": inputs, "outputs": signature,
        },
        "outputs": {"tensors": tensors},
        "golden": {"rows": 1, "features": {"relative": 0.0, "absolute": 0.0}, "output": {"relative": 0.0, "absolute": 0.0}},
    });
    let row = json!({"input": golden.0, "features": [], "output": {"prediction": golden.1}});
    write_artifact(models.path(), &manifest, &graph(&format!("{name}.onnx")), &[row]);
    let mut settings = settings();
    settings.models.dir = models.path().to_owned();
    settings.models.default.clear();
    (spawn_with(&settings).await, models)
}

const TYPES: [&str; 13] = [
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16",
    "uint32", "uint64", "bool", "string",
];

/// A row of the graph of all types: the text of two values of each.
fn row(values: impl Fn(&str) -> String) -> String {
    let cells: Vec<String> =
        TYPES.iter().map(|r#type| format!("\"{type}\":[{}]", values(r#type))).collect();
    format!("{{{}}}", cells.join(","))
}

/// The least and the greatest value of a type, as JSON.
fn extremes(r#type: &str) -> &'static str {
    match r#type {
        "float16" => "-65504.0,5.960464477539063e-8",
        "float32" => "-3.4028234663852886e+38,1.401298464324817e-45",
        "float64" => "-1.7976931348623157e+308,5e-324",
        "int8" => "-128,127",
        "int16" => "-32768,32767",
        "int32" => "-2147483648,2147483647",
        "int64" => "-9223372036854775808,9223372036854775807",
        "uint8" => "0,255",
        "uint16" => "0,65535",
        "uint32" => "0,4294967295",
        "uint64" => "0,18446744073709551615",
        "bool" => "true,false",
        _ => "\"\",\"\\\"é\\n\"",
    }
}

async fn serve_types() -> (TestApp, tempfile::TempDir) {
    let names: Vec<String> = TYPES.iter().map(|r#type| format!("y_{type}")).collect();
    let outputs: Vec<(&str, &str, Value)> = names
        .iter()
        .zip(TYPES)
        .map(|(name, r#type)| (name.as_str(), r#type, json!([null, 2])))
        .collect();
    let fields = TYPES
        .iter()
        .map(|r#type| json!({"name": r#type, "type": "tensor", "dtype": r#type, "shape": [2]}))
        .collect();
    let inputs = TYPES
        .iter()
        .map(|r#type| json!({"name": format!("x_{type}"), "type": r#type, "shape": [null, 2], "from": r#type}))
        .collect();
    let golden: Value = serde_json::from_str(&row(|r#type| extremes(r#type).to_owned())).unwrap();
    let prediction: serde_json::Map<String, Value> = golden
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| (format!("y_{name}"), value.clone()))
        .collect();
    serve("types", fields, inputs, &outputs, (golden, Value::Object(prediction))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_goes_through_unchanged() {
    let (app, _models) = serve_types().await;
    let sent = row(|r#type| extremes(r#type).to_owned());
    let response = app.post("/v1/predict", format!("[{sent},{sent}]")).send().await.unwrap();
    let text = response.text().await.unwrap();
    let expected: Vec<String> =
        TYPES.iter().map(|r#type| format!("\"y_{type}\":[{}]", extremes(r#type))).collect();
    let expected = format!("{{{}}}", expected.join(","));
    let expected = format!("{{\"predictions\":[{expected},{expected}],");
    assert!(text.starts_with(&expected), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_element_that_does_not_fit_is_said_with_its_place() {
    let (app, _models) = serve_types().await;
    let mut found = String::new();
    for (r#type, values) in [
        ("float16", "1, 65520"),
        ("float32", "1e39, 1"),
        ("float64", "1, 1e400"),
        ("float64", "1, null"),
        ("float64", "1, \"2\""),
        ("float64", "1, [2]"),
        ("int8", "127, 128"),
        ("uint8", "-1, 0"),
        ("int16", "1, 1.5"),
        ("int32", "1, 2147483648.0"),
        ("int64", "1, 9223372036854775808"),
        ("uint64", "1, 18446744073709551616"),
        ("uint64", "-1, 0"),
        ("uint16", "true, 0"),
        ("bool", "1, false"),
        ("bool", "true, null"),
        ("string", "\"a\", 5"),
        ("string", "\"a\""),
        ("string", "\"a\", \"b\", \"c\""),
        ("string", ""),
    ] {
        let body = row(|name| if name == r#type { values } else { extremes(name) }.to_owned());
        let response = app.post("/v1/predict", body_of(&body)).send().await.unwrap();
        assert_eq!(response.status(), 422);
        let problem: Value = response.json().await.unwrap();
        let errors = problem["errors"].as_array().unwrap();
        assert_eq!(errors.len(), 1, "{problem}");
        found.push_str(&format!(
            "{type} [{values}]\n    {} {}: {}\n",
            errors[0]["pointer"].as_str().unwrap(),
            errors[0]["code"].as_str().unwrap(),
            errors[0]["detail"].as_str().unwrap()
        ));
    }
    insta::assert_snapshot!(found);
}

fn body_of(row: &str) -> String {
    format!("{{\"inputs\":[{row}]}}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tensor_that_is_no_array_is_refused_and_the_rest_is_read() {
    let (app, _models) = serve_types().await;
    let good = row(|r#type| extremes(r#type).to_owned());
    let bad =
        good.replace("\"float32\":[", "\"float32\":[[").replace("],\"float64\"", "]],\"float64\"");
    let object = good.replace("\"int8\":[-128,127]", "\"int8\":{\"a\":[1]}");
    let body = format!("[{good},{bad},{object},{good}]");
    let answer = app.predict("/v1/predict?on_invalid=null", body).await;
    let predictions = answer["predictions"].as_array().unwrap();
    let is_null: Vec<bool> = predictions.iter().map(Value::is_null).collect();
    assert_eq!(is_null, [false, true, true, false]);
    assert_eq!(predictions[0], predictions[3]);
    assert_eq!(answer["errors"][0]["pointer"], "#/1/float32/0");
    assert_eq!(answer["errors"][0]["detail"], "expected a number, found an array");
    assert_eq!(answer["errors"][1]["pointer"], "#/2/int8");
    assert_eq!(answer["errors"][1]["detail"], "expected an array, found an object");
}

/// Tokens and a number for each of them, of any length, and a number for the row as a field of its own type.
async fn serve_tokens() -> (TestApp, tempfile::TempDir) {
    let fields = json!([
        {"name": "tokens", "type": "tensor", "dtype": "int64", "shape": [null]},
        {"name": "weight", "type": "float", "nullable": true, "required": false},
        {"name": "bias", "type": "tensor", "dtype": "float32", "shape": [null], "nullable": true},
    ]);
    let inputs = json!([
        {"name": "bias", "type": "float32", "shape": [null, null], "from": "bias"},
        {"name": "tokens", "type": "int64", "shape": [null, null], "from": "tokens"},
        {"name": "weight", "type": "float32", "shape": [null, 1], "from": "weight"},
    ]);
    let outputs = [("each", "float32", json!([null, null])), ("sum", "float32", json!([null]))];
    let golden = (
        json!({"tokens": [0, 9], "weight": 2, "bias": [0, 0.5]}),
        json!({"each": [20, 38.5], "sum": 29}),
    );
    serve("tokens", fields, inputs, &outputs, golden).await
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_differing_lengths_keep_their_order() {
    let (app, _models) = serve_tokens().await;
    let lengths: [u32; 8] = [2, 1, 0, 3, 1, 2, 0, 2];
    let token = |row: u32, at: u32| (row + at) % 10;
    let rows: Vec<Value> = (0..)
        .zip(lengths)
        .map(|(row, n)| {
            let tokens: Vec<u32> = (0..n).map(|at| token(row, at)).collect();
            json!({"tokens": tokens, "weight": row, "bias": vec![0.25; tokens.len()]})
        })
        .collect();
    let answer = app.predict("/v1/predict", json!(rows).to_string()).await;
    let found = answer["predictions"].as_array().unwrap();
    for ((row, n), found) in (0..).zip(lengths).zip(found) {
        let tokens = (0..n).map(|at| 10.0 + f64::from(token(row, at)));
        let each: Vec<f64> = tokens.clone().map(|token| token * f64::from(row) + 0.25).collect();
        assert_eq!(*found, json!({"each": each, "sum": tokens.sum::<f64>()}), "row {row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_the_graph_refuses_does_not_disturb_the_others() {
    let (app, _models) = serve_tokens().await;
    let row = |tokens: Value| json!({"tokens": tokens, "weight": 1, "bias": [0, 0]});
    let rows =
        json!([row(json!([1, 2])), row(json!([1, 10])), row(json!([1, 2, 3])), row(json!([3, 4]))]);
    let answer = app.predict("/v1/predict?on_invalid=null", rows.to_string()).await;
    assert_eq!(
        answer["predictions"],
        json!([{"each": [11.0, 12.0], "sum": 23.0}, null, null, {"each": [13.0, 14.0], "sum": 27.0}])
    );
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 2);
    assert_eq!(
        (&errors[0]["pointer"], &errors[0]["code"]),
        (&json!("#/1"), &json!("graph_refused"))
    );
    let detail = errors[0]["detail"].as_str().unwrap();
    assert_eq!(
        detail,
        "the graph cannot be run on this row: indices element out of data bounds, idx=10 must be within the inclusive range [-10,9]"
    );
    let response = app.post("/v1/predict", rows.to_string()).send().await.unwrap();
    assert_eq!(response.status(), 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_element_is_not_a_number_where_that_is_allowed() {
    let (app, _models) = serve_tokens().await;
    let rows = json!([
        {"tokens": [1, 2], "weight": 1, "bias": [null, 0.5]},
        {"tokens": [1], "bias": [1]},
        {"tokens": [null], "weight": 1, "bias": [1]},
    ]);
    let answer = app.predict("/v1/predict?on_invalid=null", rows.to_string()).await;
    assert_eq!(
        answer["predictions"],
        json!([{"each": [null, 12.5], "sum": 23.0}, {"each": [null], "sum": 11.0}, null])
    );
    let codes: Vec<(&str, &str)> = answer["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| (error["pointer"].as_str().unwrap(), error["code"].as_str().unwrap()))
        .collect();
    assert_eq!(
        codes,
        [("#/0", "output_not_finite"), ("#/1", "output_not_finite"), ("#/2/tokens/0", "null")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_takes_one_row_is_run_for_each() {
    let fields = json!([{"name": "x", "type": "tensor", "dtype": "float32", "shape": [3]}]);
    let inputs = json!([{"name": "x", "type": "float32", "shape": [1, 3], "from": "x"}]);
    // The places have no dimension for the rows, so they come whole.
    let outputs = [("twice", "float32", json!([1, 3])), ("places", "int64", json!([2, null]))];
    let golden = (json!({"x": [0, 1, 2]}), json!({"twice": [0, 2, 4], "places": [[0, 0], [1, 2]]}));
    let (app, _models) = serve("one_at_a_time", fields, inputs, &outputs, golden).await;
    let rows = json!([{"x": [1, 0, 0]}, {"x": [0, 0, 0]}, {"x": [0, 1, 1.5]}]);
    let answer = app.predict("/v1/predict", rows.to_string()).await;
    assert_eq!(
        answer["predictions"],
        json!([
            {"twice": [2.0, 0.0, 0.0], "places": [[0], [0]]},
            {"twice": [0.0, 0.0, 0.0], "places": [[], []]},
            {"twice": [0.0, 2.0, 3.0], "places": [[0, 0], [1, 2]]},
        ])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_may_be_the_whole_of_a_run() {
    let fields = json!([{"name": "x", "type": "tensor", "dtype": "float32", "shape": [2, 3]}]);
    let inputs = json!([{"name": "x", "type": "float32", "shape": [2, 3], "from": "x"}]);
    let outputs = [("twice", "float32", json!([2, 3])), ("places", "int64", json!([2, null]))];
    let places = json!([[0, 0], [1, 2]]);
    let golden = (
        json!({"x": [[0, 1, 2], [0, 0, 0]]}),
        json!({"twice": [[0, 2, 4], [0, 0, 0]], "places": places}),
    );
    let (app, _models) = serve("two_at_a_time", fields, inputs, &outputs, golden).await;
    let rows = json!([{"x": [[1, 0, 0], [0, 0, 1]]}, {"x": [[0, 0, 0], [1, 1, 1]]}]);
    let answer = app.predict("/v1/predict", rows.to_string()).await;
    assert_eq!(
        answer["predictions"],
        json!([
            {"twice": [[2.0, 0.0, 0.0], [0.0, 0.0, 2.0]], "places": [[0, 1], [0, 2]]},
            {"twice": [[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]], "places": [[1, 1, 1], [0, 1, 2]]},
        ])
    );
}
