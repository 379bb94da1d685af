//! What benchmarks and the test of allocations share: requests for house prices, and a made-up pipeline.

use std::path::{Path, PathBuf};

use seaworthy::pipeline::{Pipeline, StepSpec};
use seaworthy::schema::Schema;
use serde_json::{Value, json};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A request for house prices as the course's notebook sends it: all 80 fields of each of these houses, with blanks. Only such as the model
/// takes.
pub(crate) fn houses(n_rows: usize) -> String {
    let mut reader =
        csv::Reader::from_path(root().join("tests/data/house-prices/test.csv")).unwrap();
    let names: Vec<String> = reader
        .headers()
        .unwrap()
        .iter()
        .map(|name| match name {
            "1stFlrSF" => "FirstFlrSF".to_owned(),
            "2ndFlrSF" => "SecondFlrSF".to_owned(),
            other => other.to_owned(),
        })
        .collect();
    let manifest = root().join("models/house-prices/3.2.0/manifest.json");
    let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
    let inputs = manifest["inputs"].as_array().unwrap();
    let is_needed = |name: &String| {
        inputs.iter().any(|field| field["name"] == **name && field["nullable"] != true)
    };
    let needed: Vec<bool> = names.iter().map(is_needed).collect();
    let is_whole = |record: &csv::StringRecord| {
        record.iter().zip(&needed).all(|(text, needed)| text != "NA" || !needed)
    };
    let rows: Vec<csv::StringRecord> =
        reader.records().map(Result::unwrap).filter(is_whole).take(n_rows).collect();
    let row = |record: &csv::StringRecord| {
        let cell = |(name, text): (&String, &str)| match text {
            "NA" => format!("{name:?}: null"),
            text if text.parse::<i64>().is_ok() => format!("{name:?}: {text}"),
            text => format!("{name:?}: {text:?}"),
        };
        format!("{{{}}}", names.iter().zip(record).map(cell).collect::<Vec<_>>().join(", "))
    };
    format!("{{\"inputs\": [{}]}}", rows.iter().map(row).collect::<Vec<_>>().join(", "))
}

const N_FLOATS: usize = 24;
const N_INTS: usize = 8;
const N_TEXTS: usize = 8;
const CATEGORIES: [&str; 5] = ["Alley", "Basement", "Corner", "Detached", "Existing"];

/// A schema of 40 columns: 24 of floats, 8 of integers, 8 of text; floats and text may be missing.
pub(crate) fn schema() -> Schema {
    let field = |name: String, kind: &str, nullable: bool| json!({"name": name, "type": kind, "nullable": nullable});
    let floats = (0..N_FLOATS).map(|at| field(format!("f{at}"), "float", true));
    let ints = (0..N_INTS).map(|at| field(format!("i{at}"), "int", false));
    let texts = (0..N_TEXTS).map(|at| field(format!("t{at}"), "string", true));
    let fields: Vec<Value> = floats.chain(ints).chain(texts).collect();
    Schema::load(serde_json::from_value(Value::from(fields)).unwrap()).unwrap()
}

/// So many rows of that schema. The same number always gives the same rows.
pub(crate) fn rows(n_rows: usize) -> String {
    let mut state = 1_u64;
    let mut next = |below: u64| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut row = |_: usize| {
        let mut cells = serde_json::Map::new();
        for at in 0..N_FLOATS {
            // One in sixteen is missing.
            let value = if next(16) == 0 {
                Value::Null
            } else {
                json!((next(100_000) as f64) / 128.0 + 0.5)
            };
            cells.insert(format!("f{at}"), value);
        }
        for at in 0..N_INTS {
            cells.insert(format!("i{at}"), json!(1900 + next(120)));
        }
        for at in 0..N_TEXTS {
            let at_most = CATEGORIES.len() as u64 + 1;
            let value =
                CATEGORIES.get(next(at_most) as usize).map_or(Value::Null, |text| json!(text));
            cells.insert(format!("t{at}"), value);
        }
        Value::from(cells)
    };
    Value::from((0..n_rows).map(&mut row).collect::<Vec<_>>()).to_string()
}

/// A pipeline of 15 steps over all 40 columns: one step each of what training pipelines are mostly made of.
pub(crate) fn pipeline(schema: &Schema) -> Pipeline {
    let (floats, ints, texts) =
        (names("f", 0..N_FLOATS), names("i", 0..N_INTS), names("t", 0..N_TEXTS));
    let steps = json!([
        {"op": "indicate_missing", "name": "flag", "columns": columns(&floats[..4], |name, _| json!({"column": name, "output": format!("{name}_na")}))},
        {"op": "fill", "name": "mean", "columns": columns(&floats, |name, at| json!({"column": name, "value": 40.5 + at as f64}))},
        {"op": "fill", "name": "none", "columns": columns(&texts, |name, _| json!({"column": name, "value": "None"}))},
        {"op": "combine", "name": "age", "operator": "subtract", "left": {"column": "i0"}, "right": {"column": "i1"}, "output": "age"},
        {"op": "function", "name": "log", "columns": (&floats[..6]), "function": "log1p"},
        {"op": "power", "name": "yeo-johnson", "columns": columns(&floats[6..10], |name, _| json!({"column": name, "method": "yeo_johnson", "exponent": 0.4}))},
        {"op": "cut", "name": "bins", "columns": columns(&floats[10..14], |name, _| json!({"column": name,
            "edges": [50, 100, 200, 300, 400, 500, 600, 700, 750], "closed": "left", "values": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]}))},
        {"op": "interpolate", "name": "quantiles", "columns": columns(&floats[14..16], |name, _| json!({"column": name,
            "x": [0, 100, 200, 300, 400, 800], "y": [0, 0.2, 0.4, 0.6, 0.8, 1]}))},
        {"op": "affine", "name": "scaler", "columns": columns(&[&floats[..], &ints[..]].concat(), |name, at| json!({"column": name, "subtract": 10.5 + at as f64, "divide": 3.25}))},
        {"op": "map", "name": "ordinal", "columns": columns(&texts[..4], |name, _| json!({"column": name, "keys": keys(), "values": [0, 1, 2, 3, 4, 5], "unseen": "error", "missing": "error"}))},
        {"op": "expand", "name": "one-hot", "columns": columns(&texts[4..], |name, _| json!({"column": name,
            "outputs": names(&format!("{name}_"), 0..6), "keys": keys(), "ones": [0, 1, 2, 3, 4, 5], "unseen": "zeros", "missing": "zeros"}))},
        {"op": "threshold", "name": "binarizer", "columns": columns(&floats[16..18], |name, _| json!({"column": name, "threshold": 0.5}))},
        {"op": "products", "name": "polynomial", "columns": (&floats[18..21]), "outputs": names("p", 0..6),
            "factors": [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]]},
        {"op": "aggregate", "name": "mean of four", "columns": (&floats[20..24]), "output": "mean", "statistic": "mean", "skip_missing": false},
        {"op": "check", "name": "estimator", "columns": ([&floats[..], &ints[..]].concat()), "refuse": ["missing", "infinite"]},
    ]);
    let mut features = [&floats[..], &ints[..], &texts[..4]].concat();
    features.extend(names("p", 0..6));
    features.extend(["age".to_owned(), "mean".to_owned()]);
    features.extend(names("f", 0..4).iter().map(|name| format!("{name}_na")));
    features.extend(texts[4..].iter().flat_map(|name| names(&format!("{name}_"), 0..6)));
    load(schema, steps, &features)
}

pub(crate) fn load(schema: &Schema, steps: Value, features: &[String]) -> Pipeline {
    let steps: Vec<StepSpec> = serde_json::from_value(steps).unwrap();
    Pipeline::load(&steps, features, schema).unwrap()
}

fn names(prefix: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|at| format!("{prefix}{at}")).collect()
}

fn columns(names: &[String], column: impl Fn(&str, usize) -> Value) -> Value {
    names.iter().enumerate().map(|(at, name)| column(name, at)).collect()
}

fn keys() -> Value {
    CATEGORIES.iter().copied().chain(["None"]).collect()
}
