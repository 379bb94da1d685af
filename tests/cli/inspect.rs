//! `seaworthy inspect`.

use super::assert_shown;
use super::helpers::{copy_model, root, seaworthy};

#[test]
fn inspect_shows_what_a_model_takes_does_and_gives() {
    assert_shown!(seaworthy(&["inspect", "house-prices@3.2.0"]).show());
}

#[test]
fn inspect_as_json_is_the_manifest() {
    let outcome = seaworthy(&["inspect", "house-prices", "--format", "json"]).outcome();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    let shown: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let manifest = std::fs::read(root().join("models/house-prices/3.3.0/manifest.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    // Defaults are written out.
    for field in manifest["inputs"].as_array_mut().unwrap() {
        let field = field.as_object_mut().unwrap();
        for key in ["enforce", "sensitive"] {
            field.entry(key).or_insert(false.into());
        }
    }
    assert_eq!(shown, manifest);
}

#[test]
fn inspect_needs_no_onnx_runtime() {
    let mut run = seaworthy(&["inspect", "house-prices"]).env("ORT_DYLIB_PATH", "/nowhere");
    assert_eq!(run.outcome().code, Some(0));
}

#[test]
fn inspect_refuses_what_is_broken_or_not_there() {
    let tmp = tempfile::tempdir().unwrap();
    let broken = copy_model(tmp.path());
    std::fs::write(broken.join("model.onnx"), "broken").unwrap();
    let shown = [
        seaworthy(&["inspect", broken.to_str().unwrap()]).replace(tmp.path(), "<tmp>").show(),
        seaworthy(&["inspect", "cars"]).show(),
    ];
    assert_shown!(shown.join("\n"));
}
