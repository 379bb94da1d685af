//! The graph fits the manifest, or it is refused. `tests/fixtures/make_graphs.py` says what each file is.

use serde_json::json;

use super::helpers::{Cases, Copy, graph};
use crate::fault::fault;

#[test]
fn a_graph_that_does_not_fit_is_refused() {
    let mut cases = Cases::new();
    for name in [
        "narrow",
        "float32",
        "float16",
        "input_name",
        "output_name",
        "two_inputs",
        "two_outputs",
        "two_columns",
        "fixed_batch",
    ] {
        cases.case(name, |copy| {
            copy.write("model.onnx", graph(&format!("{name}.onnx")));
            copy.seal();
        });
    }
    cases.edited("another name of the input in the manifest", |manifest| {
        manifest["model"]["inputs"][0]["name"] = "x".into();
    });
    cases.edited("another type of the input in the manifest", |manifest| {
        manifest["model"]["inputs"][0]["type"] = "float32".into();
    });
    cases.edited("an unknown type of the input in the manifest", |manifest| {
        manifest["model"]["inputs"][0]["type"] = "complex128".into();
    });
    cases.edited("another width in the manifest", |manifest| {
        manifest["model"]["inputs"][0]["shape"] = json!([null, 36]);
    });
    cases.edited("no batch in the manifest", |manifest| {
        manifest["model"]["inputs"][0]["shape"] = json!([37]);
    });
    cases.edited("a second input in the manifest", |manifest| {
        let input = manifest["model"]["inputs"][0].clone();
        manifest["model"]["inputs"].as_array_mut().unwrap().push(input);
    });
    cases.edited("no input in the manifest", |manifest| manifest["model"]["inputs"] = json!([]));
    cases.edited("no output in the manifest", |manifest| manifest["model"]["outputs"] = json!([]));
    cases.edited("another output that predicts", |manifest| {
        manifest["outputs"]["prediction"]["tensor"] = "y".into();
    });
    cases.edited("an output with two columns in the manifest", |manifest| {
        manifest["model"]["outputs"][0]["shape"] = json!([null, 2]);
    });
    cases.edited("an output with three dimensions in the manifest", |manifest| {
        manifest["model"]["outputs"][0]["shape"] = json!([null, 1, 1]);
    });
    cases.edited("a feature fewer in the manifest", |manifest| {
        manifest["features"].as_array_mut().unwrap().pop();
    });
    insta::assert_snapshot!(cases.text());
}

#[test]
fn a_file_that_is_no_graph_is_refused() {
    let mut cases = Cases::new();
    let file = |bytes: Vec<u8>| {
        move |copy: &Copy| {
            copy.write("model.onnx", bytes);
            copy.seal();
        }
    };
    cases.case("text", file(b"not a graph\n".to_vec()));
    cases.case("nothing", file(Vec::new()));
    let whole = graph("batch.onnx");
    cases.case("half a graph", file(whole[..whole.len() / 2].to_vec()));
    cases.case("a graph from the future", file(graph("future.onnx")));
    cases.edited("golden.jsonl", |manifest| manifest["model"]["file"] = "golden.jsonl".into());
    cases.case("weights outside of the artifact", |copy| {
        copy.write("model.onnx", graph("external_outside.onnx"));
        std::fs::write(copy.tmp().join("outside.bin"), graph("weights.bin")).unwrap();
        copy.seal();
    });
    cases.case("weights that are not there", |copy| {
        copy.write("model.onnx", graph("external.onnx"));
        copy.seal();
    });
    cases.case("weights that are not listed", |copy| {
        copy.write("model.onnx", graph("external.onnx"));
        copy.seal();
        copy.write("weights.bin", graph("weights.bin"));
    });
    // What ONNX Runtime says ends with where in its sources it says so.
    insta::assert_snapshot!(cases.text());
    fault!(
        "A graph that reads a file outside of the artifact",
        "ONNX external data `../../outside.bin`, or not listed",
        "refused before ONNX Runtime opens it",
        "as expected"
    );
}

#[test]
fn weights_in_a_file_beside_the_graph_are_served() {
    let copy = Copy::of_house_prices();
    copy.write("model.onnx", graph("external.onnx"));
    copy.write("weights.bin", graph("weights.bin"));
    copy.seal();
    assert_eq!(copy.refusal(), "proven");
}
