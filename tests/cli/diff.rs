//! `seaworthy diff`.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::helpers::{copy_model, root, seaworthy};

const DATA: &str = "tests/data/house-prices/train.csv";

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

/// What `predict` says, by row.
fn predictions(model: &str) -> Vec<Option<f64>> {
    let arguments = [
        "predict",
        model,
        DATA,
        "--keep",
        "none",
        "--on-invalid",
        "null",
        "--format",
        "ndjson",
        "-q",
    ];
    let outcome = seaworthy(&arguments).outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    outcome.stdout.lines().map(|line| json(line)["prediction"].as_f64()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand values")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// NumPy's `quantile`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places in a list of a few thousand values"
)]
fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = q * (sorted.len() - 1) as f64;
    let low = sorted[place.floor() as usize];
    let high = sorted[(place.floor() as usize + 1).min(sorted.len() - 1)];
    low + (high - low) * place.fract()
}

/// The differential test of this project's two models, which CI runs.
#[test]
fn the_difference_of_two_versions_is_what_their_predictions_say() {
    let arguments = [
        "diff",
        "house-prices@3.2.0",
        "house-prices@3.3.0",
        "--data",
        DATA,
        "--rel-tol",
        "1.8e-15",
        "--by",
        "Neighborhood",
        "--format",
        "json",
    ];
    let outcome = seaworthy(&arguments).outcome();
    let report = json(&outcome.stdout);
    let (old, new) = (predictions("house-prices@3.2.0"), predictions("house-prices@3.3.0"));
    let pairs: Vec<(f64, f64)> =
        old.iter().zip(&new).filter_map(|pair| Some(((*pair.0)?, (*pair.1)?))).collect();
    assert!(pairs.len() > 1400);
    let absolute: Vec<f64> = pairs.iter().map(|(old, new)| (new - old).abs()).collect();
    let relative: Vec<f64> = pairs.iter().map(|(old, new)| ((new - old) / old).abs()).collect();
    let near = |found: &serde_json::Value, expected: f64| {
        let found = found.as_f64().unwrap();
        assert!((found - expected).abs() <= 1e-9 * expected.abs(), "{found} {expected}");
    };
    for (name, values) in [("absolute", &absolute), ("relative", &relative)] {
        near(&report[name]["mean"], mean(values));
        near(&report[name]["p50"], quantile(values, 0.5));
        near(&report[name]["p99"], quantile(values, 0.99));
        near(&report[name]["max"], values.iter().copied().fold(0.0, f64::max));
    }
    let refused =
        |predictions: &[Option<f64>]| predictions.iter().filter(|value| value.is_none()).count();
    assert_eq!(report["rows"], old.len());
    let over = pairs.iter().filter(|(old, new)| (new - old).abs() > 1.8e-15 * old.abs()).count();
    assert_eq!(report["over"], over + refused(&old).abs_diff(refused(&new)));
    assert_eq!(
        (report["passed"].as_bool(), outcome.code),
        (Some(over == 0), Some(i32::from(over > 0)))
    );
    // By segment, from the file itself.
    let text = std::fs::read_to_string(root().join(DATA)).unwrap();
    let mut lines = text.lines();
    let at = lines.next().unwrap().split(',').position(|name| name == "Neighborhood").unwrap();
    let mut by: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (line, (old, new)) in lines.zip(old.iter().zip(&new)) {
        if let (Some(old), Some(new)) = (old, new) {
            by.entry(line.split(',').nth(at).unwrap()).or_default().push((new - old).abs());
        }
    }
    let segments = report["by"][0]["segments"].as_array().unwrap();
    assert_eq!(segments.len(), by.len());
    for segment in segments {
        near(&segment["mean_absolute"], mean(&by[segment["value"].as_str().unwrap()]));
    }
    // The worst row, with what went in.
    let worst = &report["worst"][0];
    near(
        &serde_json::json!(worst["difference"].as_f64().unwrap().abs()),
        absolute.iter().copied().fold(0.0, f64::max),
    );
    assert!(worst["input"]["Neighborhood"].is_string());
    // In words.
    let changes = report["changes"].to_string();
    assert!(changes.contains("libraries, scikit-learn: was"), "{changes}");
    // Enough rows may be over.
    let allowed = [&arguments[..], &["--max-over", "100%"]].concat();
    assert_eq!(seaworthy(&allowed).outcome().code, Some(0));
}

#[test]
fn identical_artifacts_do_not_differ() {
    let tmp = tempfile::tempdir().unwrap();
    let copy = copy_model(tmp.path());
    let arguments = [
        "diff",
        "house-prices@3.2.0",
        copy.to_str().unwrap(),
        "--data",
        "tests/data/house-prices/test.csv",
        DATA,
        "--format",
        "json",
    ];
    let outcome = seaworthy(&arguments).outcome();
    let report = json(&outcome.stdout);
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert_eq!((report["identical"].as_u64(), report["over"].as_u64()), (Some(2919), Some(0)));
    assert_eq!(
        (report["neither"].as_u64(), report["absolute"]["max"].as_f64()),
        (Some(10), Some(0.0))
    );
    assert_eq!(
        (report["changes"].to_string(), report["worst"].to_string()),
        ("[]".to_owned(), "[]".to_owned())
    );
}

/// Writes the manifest again with one category encoded otherwise.
fn plant(dir: &std::path::Path, category: &str) {
    let path = dir.join("manifest.json");
    let mut manifest = json(&std::fs::read_to_string(&path).unwrap());
    // The last step that encodes the column.
    let steps = manifest["pipeline"].as_array_mut().unwrap().iter_mut().rev();
    let columns = steps
        .filter(|step| step["op"] == "map")
        .filter_map(|step| step["columns"].as_array_mut())
        .flatten();
    let mut columns = columns.filter(|column| column["column"] == "Neighborhood");
    let column = columns.next().unwrap();
    let at = column["keys"].as_array().unwrap().iter().position(|key| key == category).unwrap();
    let before = column["values"][at].as_f64().unwrap();
    column["values"][at] = serde_json::json!(before + 1.0);
    let text = serde_json::to_vec(&manifest).unwrap();
    let sums = std::fs::read_to_string(dir.join("SHA256SUMS")).unwrap();
    let digest: String = Sha256::digest(&text).iter().map(|byte| format!("{byte:02x}")).collect();
    let lines: Vec<String> = sums
        .lines()
        .map(|line| {
            if line.ends_with("manifest.json") {
                format!("{digest}  manifest.json")
            } else {
                line.to_owned()
            }
        })
        .collect();
    std::fs::write(dir.join("SHA256SUMS"), lines.join("\n") + "\n").unwrap();
    std::fs::write(path, text).unwrap();
}

#[test]
fn a_planted_change_is_found_with_its_step_and_its_segment() {
    let tmp = tempfile::tempdir().unwrap();
    let copy = copy_model(tmp.path());
    plant(&copy, "NoRidge");
    let html = tmp.path().join("report.html");
    let arguments = [
        "diff",
        "house-prices@3.2.0",
        copy.to_str().unwrap(),
        "--unproven",
        "--data",
        DATA,
        "--by",
        "Neighborhood",
        "--html",
        html.to_str().unwrap(),
        "--format",
        "json",
    ];
    let outcome = seaworthy(&arguments).outcome();
    let report = json(&outcome.stdout);
    assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
    let segments = report["by"][0]["segments"].as_array().unwrap();
    assert_eq!(segments[0]["value"], "NoRidge");
    assert_eq!(segments[0]["rows"], segments[0]["over"]);
    assert_eq!(segments[0]["over"], report["over"]);
    assert!(segments[1..].iter().all(|segment| segment["over"] == 0));
    let changes = report["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{changes:?}");
    let text = changes[0]["text"].as_str().unwrap();
    assert!(text.contains("`Neighborhood`") && text.contains("\"NoRidge\""), "{text}");
    // The page is whole and asks nobody for anything.
    let html = std::fs::read_to_string(html).unwrap();
    assert!(html.contains("<svg") && html.contains("NoRidge"));
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!html.contains(outside), "{outside}");
    }
}
