//! What the README shows is what the program says.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::path::Path;

use seaworthy::config::process;
use seaworthy::postprocess::Prediction;
use seaworthy::schema::DecodeOptions;
use seaworthy::startup::{load_and_prove, open_runtime};

#[test]
fn the_example_of_the_readme_predicts_what_the_readme_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let request = between(&readme, "-d '", "'\n");
    let answer: serde_json::Value =
        serde_json::from_str(between(&readme, "```json\n", "\n```")).unwrap();
    open_runtime(&process()).unwrap();
    let version = answer["version"].as_str().unwrap();
    let dir = root.join("models").join(answer["model"].as_str().unwrap()).join(version);
    let (mut predictor, _proof) = load_and_prove(&dir).unwrap();
    let schema = predictor.model().schema();
    let mut frame = schema.frame();
    let decoded = schema.decode(request.as_bytes(), &DecodeOptions::default(), &mut frame).unwrap();
    assert_eq!(decoded.errors, []);
    let [Prediction::Number(found)] = predictor.predict(&frame).unwrap().rows[..] else { panic!() };
    let expected = answer["predictions"][0].as_f64().unwrap();
    // The last digit is the processor's: ONNX Runtime has other kernels for another one.
    assert!((found / expected - 1.0).abs() < 1e-14, "{found:?}, but the README says {expected:?}");
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    text.split_once(start).unwrap().1.split_once(end).unwrap().0
}
