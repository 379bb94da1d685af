//! In steady state nothing allocates per row: neither decoding nor any step of a pipeline.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "made-up rows have small numbers"
)]

use allocation_counter::measure;
use seaworthy::pipeline::{Pipeline, Workspace};
use seaworthy::schema::{DecodeOptions, Schema};
use serde_json::{Value, json};

#[expect(dead_code, reason = "benchmarks use the rest")]
#[path = "../benches/common/mod.rs"]
mod common;

/// How often a run over so many rows allocates once its buffers have grown.
fn allocations(schema: &Schema, pipeline: &Pipeline, body: &str) -> u64 {
    let mut frame = schema.frame();
    let decoded = schema.decode(body.as_bytes(), &DecodeOptions::default(), &mut frame).unwrap();
    assert_eq!(decoded.errors, []);
    let mut workspace = Workspace::default();
    pipeline.run(&frame, &mut workspace);
    assert_eq!(workspace.faults(), []);
    measure(|| pipeline.run(&frame, &mut workspace)).count_total
}

#[test]
fn a_pipeline_of_40_columns_and_15_steps_never_allocates() {
    let schema = common::schema();
    let pipeline = common::pipeline(&schema);
    for n_rows in [1, 10, 1_000] {
        assert_eq!(allocations(&schema, &pipeline, &common::rows(n_rows)), 0, "{n_rows} rows");
    }
}

#[test]
fn decoding_allocates_for_a_request_and_not_for_its_rows() {
    let schema = common::schema();
    let mut frame = schema.frame();
    let options = DecodeOptions::default();
    let mut counts = Vec::new();
    for n_rows in [1_000, 1, 1_000] {
        let body = common::rows(n_rows);
        let decode = || {
            assert_eq!(
                schema.decode(body.as_bytes(), &options, &mut frame).unwrap().n_rows,
                n_rows
            );
        };
        counts.push(measure(decode).count_total);
    }
    assert_eq!(counts[1], counts[2], "{counts:?}");
    assert!(counts[1] <= 2, "{counts:?}");
}

/// A field of each type that steps take, and a step or more of each kind.
#[test]
fn no_step_allocates_per_row() {
    let schema = Schema::load(
        serde_json::from_value(json!([
            {"name": "x", "type": "float", "nullable": true},
            {"name": "y", "type": "float", "nullable": true},
            {"name": "n", "type": "int"},
            {"name": "m", "type": "int", "nullable": true},
            {"name": "word", "type": "string", "nullable": true},
            {"name": "text", "type": "string", "nullable": true},
            {"name": "date", "type": "string"},
            {"name": "time", "type": "datetime"},
        ]))
        .unwrap(),
    )
    .unwrap();
    let row = |at: usize| {
        json!({
            "x": if at.is_multiple_of(7) { Value::Null } else { json!(at as f64 / 8.0) },
            "y": if at.is_multiple_of(11) { Value::Null } else { json!(3.5 - at as f64) },
            "n": at, "m": if at.is_multiple_of(5) { Value::Null } else { json!(at % 3) },
            "word": (["red", "green", "blue, light"][at % 3]),
            "text": (["The quick brown fox", "jumps over the lazy dogs", "Édouard a mangé", "12 dogs"][at % 4]),
            "date": (["2020-02-29", "31.12.1999"][at % 2]),
            "time": "2021-03-04T05:06:07Z",
        })
    };
    let keys = json!(["red", "green", "blue, light"]);
    let steps = [
        json!([{"op": "check", "name": "s", "columns": ["n"], "refuse": ["missing", "infinite", "negative"]}]),
        json!([{"op": "indicate_missing", "name": "s", "columns": [{"column": "x", "output": "out"}]}]),
        json!([{"op": "fill", "name": "s", "columns": [{"column": "x", "value": 1.5}, {"column": "m", "value": 1}, {"column": "word", "value": "none"}]}]),
        json!([{"op": "combine", "name": "s", "operator": "divide", "left": {"column": "x"}, "right": {"column": "n"}, "output": "out", "by_zero": 0}]),
        json!([{"op": "function", "name": "s", "columns": ["x", "n"], "function": "arcsinh"}]),
        json!([{"op": "threshold", "name": "s", "columns": [{"column": "x", "threshold": 1}]}]),
        json!([{"op": "map", "name": "s", "columns": [{"column": "word", "keys": keys, "values": ["a", "b", "c"], "unseen": "keep", "missing": "keep"}]},
            {"op": "map", "name": "t", "columns": [{"column": "word", "keys": ["a", "b"], "values": [1, 2.5], "unseen": "missing", "missing": "keep"}]}]),
        json!([{"op": "expand", "name": "s", "columns": [{"column": "word", "outputs": ["a", "b", "c"], "keys": keys, "ones": [0, 1, 2], "unseen": "zeros", "missing": "zeros"}]}]),
        json!([{"op": "similarity", "name": "s", "columns": [{"column": "word", "outputs": ["a", "b"], "texts": ["red", "bleu"], "missing": "zeros"}]}]),
        json!([{"op": "hash_category", "name": "s", "columns": ["word"], "outputs": ["a", "b"], "method": "md5"}]),
        json!([{"op": "affine", "name": "s", "columns": [{"column": "x", "subtract": 1, "divide": 2, "clip": [0, 1]}]}]),
        json!([{"op": "cut", "name": "s", "columns": [{"column": "x", "edges": [1, 2], "closed": "left", "values": ["a", "b", "c"]}]},
            {"op": "map", "name": "t", "columns": [{"column": "x", "keys": ["a"], "values": [1], "unseen": {"value": 0}, "missing": "keep"}]}]),
        json!([{"op": "interpolate", "name": "s", "columns": [{"column": "x", "x": [0, 1], "y": [0, 1]}]}]),
        json!([{"op": "power", "name": "s", "columns": [{"column": "x", "method": "yeo_johnson", "exponent": 0.5}]}]),
        json!([{"op": "project", "name": "s", "columns": ["x", "n"], "outputs": ["a", "b"], "matrix": [[1, 2], [3, 4]]}]),
        json!([{"op": "products", "name": "s", "columns": ["x", "n"], "outputs": ["a"], "factors": [[0, 1, 1]]}]),
        json!([{"op": "normalize", "name": "s", "columns": ["x", "n"], "norm": "l2"}]),
        json!([{"op": "aggregate", "name": "s", "columns": ["x", "y", "n"], "output": "out", "statistic": "median", "skip_missing": true},
            {"op": "aggregate", "name": "t", "columns": ["x", "y", "n"], "output": "count", "statistic": "distinct", "skip_missing": true}]),
        json!([{"op": "tree", "name": "s", "columns": ["n"], "output": "out", "nodes": [
            {"column": 0, "threshold": 2, "left": 1, "right": 2}, {"value": 1}, {"value": 2}]}]),
        json!([{"op": "spline", "name": "s", "column": "n", "outputs": ["a", "b"], "knots": [-2, 0, 4000, 6000], "degree": 1}]),
        json!([{"op": "neighbours", "name": "s", "columns": ["x", "y"], "rows": [[1, 2], [3, null], [null, 5], [7, 8]], "count": 2, "weights": "distance"}]),
        json!([{"op": "regress", "name": "s", "columns": ["x", "y"], "initial": [1, 2], "sequence": [
            {"column": 0, "from": [1], "coefficients": [0.5], "intercept": 1}]}]),
        json!([{"op": "text", "name": "s", "columns": [{"column": "text"}], "functions": ["lower", {"slice": {"start": 1}}, {"strip": {}},
            {"replace": {"find": "the", "with": "a"}}, {"append": {"text": "!"}}, "length"]}]),
        json!([{"op": "text", "name": "s", "columns": [{"column": "text"}], "functions": [
            {"extract": {"patterns": [{"pattern": "[0-9]+", "group": 0}], "otherwise": "missing"}}, {"number": {"type": "int", "otherwise": "missing"}}]}]),
        json!([{"op": "text", "name": "s", "columns": [{"column": "text"}], "functions": [
            {"split": {"separator": " ", "index": 0, "absent": "missing"}}, {"replace_pattern": {"pattern": "[aeiou]", "with": "_"}}, "length"]}]),
        json!([{"op": "tokens", "name": "s", "column": "text", "lowercase": true, "analyzer": "word", "token": {"word": 2}, "ngrams": [1, 2],
            "vocabulary": ["the", "quick", "dogs", "the lazy"], "outputs": ["a", "b", "c", "d"], "norm": "l2"}]),
        json!([{"op": "tokens", "name": "s", "column": "text", "analyzer": "char_wb", "ngrams": [2, 3], "strip_accents": "unicode",
            "hash": {"alternate_sign": true}, "outputs": ["a", "b", "c", "d"]}]),
        json!([{"op": "datetime", "name": "s", "column": "date", "formats": ["ISO8601", "%d.%m.%Y"], "outputs": [{"part": "year", "output": "a"}, {"part": "week", "output": "b"}]}]),
        json!([{"op": "datetime", "name": "s", "column": "time", "outputs": [{"part": "hour", "output": "a"}, {"part": "ordinal", "output": "b"}]}]),
    ];
    let mut wasteful = Vec::new();
    for steps in steps {
        // Numbers that the steps make are features, so that gathering is tried as well.
        let mut features = vec!["n".to_owned()];
        made(&steps, &mut features);
        let pipeline = common::load(&schema, steps.clone(), &features);
        let counts = [1, 100, 1_000].map(|n_rows| {
            let body = Value::from((1..=n_rows).map(row).collect::<Vec<_>>()).to_string();
            allocations(&schema, &pipeline, &body)
        });
        // A few for a run, in steps that put text together; none for a row.
        if counts[1] != counts[2] || counts[2] > 16 {
            wasteful.push(format!("{} with {steps}: {counts:?}", steps[0]["op"]));
        }
    }
    assert!(wasteful.is_empty(), "allocations for 1, 100 and 1,000 rows:\n{}", wasteful.join("\n"));
}

/// The columns that steps add.
fn made(steps: &Value, names: &mut Vec<String>) {
    match steps {
        Value::Object(step) => {
            let outputs = ["output", "outputs"].into_iter().filter_map(|key| step.get(key));
            for output in outputs {
                match output {
                    Value::String(name) => names.push(name.clone()),
                    Value::Array(several) => {
                        names.extend(several.iter().filter_map(Value::as_str).map(str::to_owned));
                    }
                    _ => {}
                }
            }
            step.values().for_each(|value| made(value, names));
        }
        Value::Array(values) => values.iter().for_each(|value| made(value, names)),
        _ => {}
    }
}
