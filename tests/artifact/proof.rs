//! An artifact computes what training computed, or it is refused: files that are whole do not suffice.

use std::fmt::Write as _;

use seaworthy::artifact::Artifact;
use seaworthy::pipeline::{Pipeline, StepSpec, Workspace};
use seaworthy::schema::{DecodeOptions, Schema};
use serde_json::{Value, json};

use super::helpers::{Cases, Copy, column, graph, root, step};

/// Multiplies a number of the manifest.
fn scale(number: &mut Value, by: f64) {
    *number = json!(number.as_f64().unwrap() * by);
}

#[test]
fn a_changed_parameter_is_refused_with_step_column_row_and_both_numbers() {
    let mut cases = Cases::new();
    cases.edited("a scale", |manifest| {
        scale(&mut column(manifest, "affine", "scaler", "GrLivArea")["multiply"], 1.001);
    });
    cases.edited("a shift", |manifest| {
        scale(&mut column(manifest, "affine", "scaler", "LotFrontage")["add"], 1.000_000_001);
    });
    cases.edited("a clip", |manifest| {
        column(manifest, "affine", "scaler", "GrLivArea")["clip"] = json!([0.25, 0.75]);
    });
    cases.edited("a value of a table", |manifest| {
        column(manifest, "map", "mapper_exposure", "BsmtExposure")["values"][0] = json!(2);
    });
    cases.edited("a value of the table of another table's values", |manifest| {
        column(manifest, "map", "categorical_encoder", "MSZoning")["values"][3] = json!(4);
    });
    cases.edited("a category that a table no longer knows", |manifest| {
        let map = column(manifest, "map", "mapper_exposure", "BsmtExposure");
        map["keys"].as_array_mut().unwrap().remove(0);
        map["values"].as_array_mut().unwrap().remove(0);
    });
    cases.edited("a number that is filled in", |manifest| {
        scale(&mut step(manifest, "fill", "mean_imputation")["columns"][0]["value"], 1.000_000_001);
    });
    cases.edited("a category that is filled in", |manifest| {
        column(manifest, "fill", "frequent_imputation", "BsmtQual")["value"] = "Gd".into();
    });
    cases.edited("a threshold", |manifest| {
        column(manifest, "threshold", "binarizer/Binarizer", "ScreenPorch")["threshold"] =
            json!(1000);
    });
    cases.edited("a function", |manifest| {
        step(manifest, "function", "log")["function"] = "log1p".into();
    });
    cases.edited("an operator", |manifest| {
        step(manifest, "combine", "elapsed_time")["operator"] = "add".into();
    });
    cases.edited("operands the other way round", |manifest| {
        let step = step(manifest, "combine", "elapsed_time");
        let left = step["left"].take();
        step["left"] = step["right"].take();
        step["right"] = left;
    });
    cases.edited("a step less", |manifest| {
        manifest["pipeline"]
            .as_array_mut()
            .unwrap()
            .retain(|step| step["name"] != "mean_imputation");
    });
    cases.edited("a step twice", |manifest| {
        let step = step(manifest, "affine", "scaler").clone();
        manifest["pipeline"].as_array_mut().unwrap().push(step);
    });
    cases.edited("checks that are gone", |manifest| {
        manifest["pipeline"].as_array_mut().unwrap().retain(|step| step["op"] != "check");
    });
    cases.edited("a field that may be null", |manifest| {
        manifest["inputs"].as_array_mut().unwrap().iter_mut().for_each(|field| {
            field["nullable"] = json!(true);
        });
    });
    cases.edited("features in another order", |manifest| {
        manifest["features"].as_array_mut().unwrap().swap(0, 1);
    });
    cases.case("a weight of the graph", |copy| {
        let mut bytes = copy.read("model.onnx");
        let weight = 0.105_246_f64;
        let at = (0..bytes.len() - 8)
            .find(|at| {
                let value = f64::from_le_bytes(bytes[*at..at + 8].try_into().unwrap());
                (value - weight).abs() < 1e-6
            })
            .unwrap();
        let value = f64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        bytes[at..at + 8].copy_from_slice(&(value * 1.000_001).to_le_bytes());
        copy.write("model.onnx", bytes);
        copy.seal();
    });
    cases.edited("no postprocessing", |manifest| manifest["postprocess"] = json!([]));
    cases.edited("another postprocessing", |manifest| {
        manifest["postprocess"] = json!([{"op": "function", "function": "expm1"}]);
    });
    insta::assert_snapshot!(cases.text());
}

#[test]
fn rows_that_influence_one_another_are_refused() {
    let mut cases = Cases::new();
    cases.case("a graph that looks at the mean of its batch", |copy| {
        copy.write("model.onnx", graph("batch.onnx"));
        copy.seal();
    });
    insta::assert_snapshot!(cases.text());
}

#[test]
fn golden_rows_that_prove_nothing_are_refused() {
    let mut cases = Cases::new();
    let lines = |edit: fn(Vec<&str>) -> String| {
        move |copy: &Copy| {
            let text = String::from_utf8(copy.read("golden.jsonl")).unwrap();
            copy.write("golden.jsonl", edit(text.lines().collect()));
            copy.seal();
        }
    };
    cases.case("a row too few", lines(|rows| rows[1..].join("\n")));
    cases.case("none", lines(|_| String::new()));
    cases.edited("another number of rows in the manifest", |manifest| {
        manifest["golden"]["rows"] = json!(65);
    });
    cases.case("only rows that fail", |copy| {
        let text = String::from_utf8(copy.read("golden.jsonl")).unwrap();
        let rows: Vec<&str> = text.lines().filter(|row| row.contains("\"error\"")).collect();
        copy.write("golden.jsonl", rows.join("\n"));
        copy.edit(|manifest| manifest["golden"]["rows"] = json!(rows.len()));
    });
    cases.case("an empty line", lines(|rows| rows.join("\n\n")));
    cases.case("a row that is not JSON", lines(|rows| format!("golden\n{}", rows[1..].join("\n"))));
    cases.case("a file that is not text", |copy| {
        copy.write("golden.jsonl", [0xff, 0xfe]);
        copy.seal();
    });
    let predicted = |edit: fn(&mut Value)| move |copy: &Copy| copy.edit_golden(1, edit);
    cases.case(
        "a feature too few",
        predicted(|row| {
            row["features"].as_array_mut().unwrap().pop();
        }),
    );
    cases.case(
        "no features",
        predicted(|row| {
            row.as_object_mut().unwrap().remove("features");
        }),
    );
    cases.case("an unknown key", predicted(|row| row["weight"] = json!(1)));
    cases.case(
        "an output and an error",
        predicted(|row| row["error"] = json!({"field": null, "code": "null"})),
    );
    cases.case("an input that is no row", predicted(|row| row["input"] = json!([1, 2])));
    cases.case(
        "an input that the schema refuses",
        predicted(|row| row["input"]["YrSold"] = json!("x")),
    );
    cases.case("a label", predicted(|row| row["output"]["prediction"] = json!("cheap")));
    cases.case("another feature", predicted(|row| row["features"][2] = json!(0.5)));
    cases.case("a feature that is missing", predicted(|row| row["features"][2] = Value::Null));
    cases.case("another output", predicted(|row| row["output"]["prediction"] = json!(1.0)));
    cases.case(
        "an error that does not happen",
        predicted(|row| {
            *row = json!({"input": row["input"], "error": {"field": "YrSold", "code": "null"}});
        }),
    );
    insta::assert_snapshot!(cases.text());
}

#[test]
fn a_golden_row_that_fails_otherwise_is_refused() {
    let text =
        std::fs::read_to_string(root().join("models/house-prices/3.2.0/golden.jsonl")).unwrap();
    let failing = text.lines().position(|row| row.contains("\"error\"")).unwrap() + 1;
    let mut cases = Cases::new();
    cases.case("with another code", |copy| {
        copy.edit_golden(failing, |row| row["error"]["code"] = "infinite_value".into());
    });
    cases.case("at another field", |copy| {
        copy.edit_golden(failing, |row| row["error"]["field"] = "Neighborhood".into());
    });
    cases.case("with an unknown code", |copy| {
        copy.edit_golden(failing, |row| row["error"]["code"] = "bad".into());
    });
    insta::assert_snapshot!(cases.text());
    // A field that is null is not compared.
    let copy = Copy::of_house_prices();
    copy.edit_golden(failing, |row| row["error"]["field"] = Value::Null);
    assert_eq!(copy.refusal(), "proven");
}

/// An artifact for tests/fixtures/graphs/classifier.onnx, whose probabilities are `[1 - x, x]`.
fn classifier(labels: &Value, threshold: &Value, golden: &[Value]) -> Copy {
    let copy = Copy::empty("coin", "1.0.0");
    copy.write("model.onnx", graph("classifier.onnx"));
    let rows: Vec<String> = golden.iter().map(Value::to_string).collect();
    copy.write("golden.jsonl", rows.join("\n"));
    copy.write("profile.json", json!({"format": "seaworthy-profile/1"}).to_string());
    let manifest = json!({
        "format": "seaworthy/1", "name": "coin", "version": "1.0.0", "description": "A coin.",
        "task": "binary_classification", "created": "2026-01-01T00:00:00Z", "provenance": {},
        "inputs": [{"name": "x", "type": "float"}], "pipeline": [], "features": ["x"],
        "model": {
            "file": "model.onnx", "opset": 18, "ir_version": 10, "estimator": "Coin", "precision": "float64",
            "inputs": [{"name": "features", "type": "float64", "shape": [null, 1]}],
            "outputs": [{"name": "probabilities", "type": "float64", "shape": [null, 2]}],
        },
        "outputs": {"probabilities": {"tensor": "probabilities", "labels": labels, "threshold": threshold}},
        "postprocess": [],
        "golden": {
            "rows": golden.len(), "features": {"relative": 0.0, "absolute": 0.0},
            "output": {"relative": 0.0, "absolute": 0.0},
        },
    });
    copy.write("manifest.json", manifest.to_string());
    copy.seal();
    copy
}

fn toss(x: f64, label: Value, probabilities: Value) -> Value {
    json!({"input": {"x": x}, "features": [x], "output": {"prediction": label, "probabilities": probabilities}})
}

#[test]
fn a_classifier_is_proven_by_its_labels_and_probabilities() {
    let labels = json!(["no", "yes"]);
    let rows = [
        toss(0.25, json!("no"), json!({"no": 0.75, "yes": 0.25})),
        toss(0.5, json!("no"), json!({"no": 0.5, "yes": 0.5})),
        toss(0.75, json!("yes"), json!({"no": 0.25, "yes": 0.75})),
    ];
    assert_eq!(classifier(&labels, &Value::Null, &rows).refusal(), "proven");
    let refusals = [
        classifier(&labels, &json!(0.5), &rows).refusal(),
        classifier(&json!(["yes", "no"]), &Value::Null, &rows).refusal(),
        classifier(
            &labels,
            &Value::Null,
            &[toss(0.25, json!("no"), json!({"no": 0.75, "yes": 0.5}))],
        )
        .refusal(),
        classifier(&labels, &Value::Null, &[toss(0.25, json!("no"), json!({"no": 0.75}))])
            .refusal(),
        classifier(
            &labels,
            &Value::Null,
            &[toss(0.25, json!("maybe"), json!({"no": 0.75, "yes": 0.25}))],
        )
        .refusal(),
    ];
    insta::assert_snapshot!(refusals.join("\n"));
}

/// docs/artifact.md has them as Python's `str` writes them; they were looked up as `true` and `1e16`.
#[test]
fn labels_that_are_no_strings_are_keys_as_python_writes_them() {
    let rows = [
        toss(0.25, json!(false), json!({"False": 0.75, "True": 0.25})),
        toss(0.75, json!(true), json!({"False": 0.25, "True": 0.75})),
    ];
    assert_eq!(classifier(&json!([false, true]), &Value::Null, &rows).refusal(), "proven");
    let rows = [toss(0.25, json!(0), json!({"0": 0.75, "1": 0.25}))];
    assert_eq!(classifier(&json!([0, 1]), &Value::Null, &rows).refusal(), "proven");
    let rows = [toss(0.25, json!(0.5), json!({"0.5": 0.75, "1e+16": 0.25}))];
    assert_eq!(classifier(&json!([0.5, 1e16]), &Value::Null, &rows).refusal(), "proven");
}

/// Every learned parameter takes part in a golden row, but for those that no row of the training data reaches: what a table has for
/// values that never occur, and what becomes of rare categories where there are none.
#[test]
fn a_golden_row_depends_on_every_learned_parameter_that_training_data_reach() {
    let mut unnoticed = String::new();
    for version in ["3.2.0", "3.3.0"] {
        let artifact = Artifact::open(&root().join("models/house-prices").join(version)).unwrap();
        let manifest = artifact.manifest();
        let schema = Schema::load(manifest.inputs.clone()).unwrap();
        let rows: Vec<&str> = artifact.golden().iter().map(|row| row.input.get()).collect();
        let mut frame = schema.frame();
        let body = format!("[{}]", rows.join(","));
        schema.decode(body.as_bytes(), &DecodeOptions::default(), &mut frame).unwrap();
        let mut workspace = Workspace::default();
        let mut run = |steps: &Value| {
            let steps: Vec<StepSpec> = serde_json::from_value(steps.clone()).unwrap();
            let pipeline = Pipeline::load(&steps, &manifest.features, &schema).ok()?;
            pipeline.run(&frame, &mut workspace);
            let passed: Vec<bool> = (0..frame.n_rows()).map(|row| workspace.passed(row)).collect();
            Some((passed, workspace.features().to_vec()))
        };
        let steps = serde_json::to_value(&manifest.pipeline).unwrap();
        let trained = run(&steps).unwrap();
        let mut n_changed = 0;
        let mut n_unnoticed = 0;
        for (at, step) in steps.as_array().unwrap().iter().enumerate() {
            for pointer in parameters(step, format!("/{at}")) {
                let mut edited = steps.clone();
                change(edited.pointer_mut(&pointer).unwrap());
                n_changed += 1;
                let noticed = run(&edited).is_none_or(|found| {
                    let apart = |(found, trained): (&f64, &f64)| {
                        !manifest.golden.features.allows(*found, *trained)
                    };
                    found.0 != trained.0 || found.1.iter().zip(&trained.1).any(apart)
                });
                if !noticed {
                    n_unnoticed += 1;
                    let value = steps.pointer(&pointer).unwrap();
                    let column = pointer.split('/').nth(3).unwrap().parse::<usize>().unwrap();
                    let name = step["columns"][column]["column"].as_str().unwrap();
                    let what = pointer.split('/').skip(4).collect::<Vec<_>>().join("/");
                    let step = step["name"].as_str().unwrap();
                    writeln!(unnoticed, "  {step}, {name}, {what}: {value}").unwrap();
                }
            }
        }
        writeln!(unnoticed, "{version}: {n_unnoticed} of {n_changed}").unwrap();
    }
    insta::assert_snapshot!(unnoticed);
}

/// Pointers to the learned parameters of a step.
fn parameters(step: &Value, at: String) -> Vec<String> {
    match step {
        Value::Object(object) => object
            .iter()
            .filter(|(key, _)| {
                !["op", "name", "source", "column", "output", "refuse"].contains(&key.as_str())
            })
            .flat_map(|(key, value)| parameters(value, format!("{at}/{key}")))
            .collect(),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .flat_map(|(index, value)| parameters(value, format!("{at}/{index}")))
            .collect(),
        Value::Number(_) => vec![at],
        Value::String(_) if at.contains("/keys/") || at.ends_with("/value") => vec![at],
        _ => Vec::new(),
    }
}

fn change(value: &mut Value) {
    *value = match &*value {
        Value::Number(number) if number.is_i64() => json!(number.as_i64().unwrap() + 1000),
        Value::Number(number) => json!(number.as_f64().unwrap() * 1.001 + 0.001),
        Value::String(text) => json!(format!("{text}?")),
        other => panic!("{other} is no parameter"),
    };
}
