//! The document against what it describes: the decoder, the pipeline, docs/artifact.md, docs/api.md.

use std::collections::BTreeSet;

use super::narrow::Range;
use super::shared::{ENVELOPE_CODES, PROBLEMS, ROW_CODES};
use super::*;
use crate::pipeline::{Pipeline, StepSpec};
use crate::schema::{DecodeOptions, FieldSpec};

fn schema(fields: Value) -> Schema {
    let fields: Vec<FieldSpec> = serde_json::from_value(fields).unwrap();
    Schema::load(fields).unwrap()
}

/// A field of every kind, with names that need care.
fn every_kind() -> Schema {
    schema(json!([
        {"name": "id", "type": "int", "description": "A number without a name"},
        {"name": "area", "type": "float", "nullable": true, "required": false, "minimum": 21.0, "maximum": 313,
         "example": 69.5, "description": "Square feet."},
        {"name": "zone", "type": "string", "categories": ["RH", "RL"], "example": "RL"},
        {"name": "quality", "type": "string", "nullable": true, "categories": ["bad", "good"], "enforce": true},
        {"name": "rooms", "type": "int", "minimum": 1, "maximum": 9, "enforce": true, "aliases": ["1st/rooms", "rooms~"]},
        {"name": "depth", "type": "float", "required": false, "default": 2, "aliases": ["tiefe"], "minimum": 0.5},
        {"name": "garage", "type": "bool", "required": false, "default": false},
        {"name": "code", "type": "int", "categories": [20, 30], "enforce": true, "nullable": true},
        {"name": "income", "type": "float", "sensitive": true, "minimum": 1.0, "maximum": 2.0},
        {"name": "a \"b\" <c> `d` ü", "type": "string", "example": "it's"},
    ]))
}

fn postprocess(outputs: Value) -> Postprocess {
    Postprocess::load(&serde_json::from_value(outputs).unwrap(), &[]).unwrap()
}

/// A regression.
fn number() -> Postprocess {
    postprocess(json!({"prediction": {"tensor": "y"}}))
}

fn described<'a>(name: &'a str, schema: &'a Schema, postprocess: &'a Postprocess) -> Described<'a> {
    let labels = postprocess.labels();
    Described {
        name,
        version: "1.0.0-rc.1+b".to_owned(),
        description: "For a test.",
        task: if labels.is_empty() { Task::Regression } else { Task::BinaryClassification },
        role: "primary",
        is_default: labels.is_empty(),
        answers_by_name: true,
        schema,
        postprocess,
        tensors: &[],
        accepts: Vec::new(),
        example: Some(ExampleAnswer {
            prediction: labels.first().map_or(json!(1.25), |label| json!(label)),
            probabilities: (!labels.is_empty()).then(|| json!({ "no": 0.75, "yes": 0.25 })),
        }),
    }
}

const OPTIONS: DocumentOptions<'static> = DocumentOptions {
    service_version: "0.0.0",
    max_body_bytes: 1_000,
    max_rows: 10,
    unknown_fields: UnknownFields::Ignore,
    needs_key: false,
    has_open_docs: false,
};

/// Names that differ only in what an identifier cannot have.
fn two_models(test: impl FnOnce(&[Described<'_>])) {
    let (first, second) = (every_kind(), schema(json!([{"name": "x", "type": "float"}])));
    let labels = json!({"probabilities": {"tensor": "p", "labels": ["no", "yes"]}});
    let (number, labels) = (number(), postprocess(labels));
    test(&[described("a-model", &first, &number), described("a.model", &second, &labels)]);
}

#[test]
fn the_document_of_every_kind_of_field() {
    two_models(|models| insta::assert_json_snapshot!("document", document(models, &OPTIONS)));
}

#[test]
fn unknown_keys_are_closed_out_when_they_are_refused() {
    let options = DocumentOptions { unknown_fields: UnknownFields::Reject, ..OPTIONS };
    let schema = every_kind();
    let document = document(&[described("m", &schema, &number())], &options);
    let schemas = &document["components"]["schemas"];
    assert_eq!(schemas["m_1.0.0-rc.1_b_Row"]["additionalProperties"], false);
    assert_eq!(schemas["m_1.0.0-rc.1_b_Request"]["oneOf"][0]["additionalProperties"], false);
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    fn walk(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(map) => {
                if let Some(Value::String(reference)) = map.get("$ref") {
                    found.insert(reference.clone());
                }
                map.values().for_each(|value| walk(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, found)),
            _ => {}
        }
    }
    two_models(|models| {
        let document = document(models, &OPTIONS);
        let mut used = BTreeSet::new();
        walk(&document, &mut used);
        let mut known = BTreeSet::new();
        for (kind, components) in document["components"].as_object().unwrap() {
            for name in components.as_object().unwrap().keys() {
                let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                assert!(name.chars().all(plain), "{name} is no name of a component");
                known.insert(format!("#/components/{kind}/{name}"));
            }
        }
        assert_eq!(used, known);
    });
}

#[test]
fn no_operation_has_the_id_of_another() {
    two_models(|models| {
        let document = document(models, &OPTIONS);
        let paths = document["paths"].as_object().unwrap();
        let operations = paths.values().flat_map(|item| item.as_object().unwrap().values());
        let ids: Vec<&str> =
            operations.map(|operation| operation["operationId"].as_str().unwrap()).collect();
        let distinct: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), distinct.len(), "{ids:?}");
        assert!(distinct.contains("create_prediction") && distinct.contains("find_model"));
    });
}

#[test]
fn the_example_requests_are_taken_by_the_decoder() {
    two_models(|models| {
        let document = document(models, &OPTIONS);
        let options =
            DecodeOptions { unknown_fields: UnknownFields::Reject, ..DecodeOptions::default() };
        let mut n_examples = 0;
        for (path, item) in document["paths"].as_object().unwrap() {
            let content = &item["post"]["requestBody"]["content"]["application/json"];
            let Some(examples) = content["examples"].as_object() else { continue };
            let model =
                models.iter().rfind(|model| path.contains(model.name)).unwrap_or(&models[0]);
            for example in examples.values() {
                let body = example["value"].to_string();
                let mut frame = model.schema.frame();
                let decoded = model.schema.decode(body.as_bytes(), &options, &mut frame).unwrap();
                assert_eq!(decoded.errors, [], "{path}: {body}");
                assert_eq!(decoded.n_rows, 1, "{path}: {body}");
                n_examples += 1;
            }
        }
        assert_eq!(n_examples, 15);
    });
}

/// The cells of the rows of a Markdown table below a heading that begin with a code span.
fn table<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let section = text.split(&format!("\n{heading}")).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect()).collect()
}

#[test]
fn the_codes_are_those_of_the_contract() {
    let rows = table(include_str!("../../../docs/artifact.md"), "## 3.");
    let documented: BTreeSet<&str> =
        rows.iter().flat_map(|row| row[0].split('`').skip(1).step_by(2)).collect();
    let codes = ROW_CODES.into_iter().chain(ENVELOPE_CODES).collect();
    assert_eq!(documented, codes);
}

#[test]
fn the_problems_are_those_of_the_api() {
    let rows = table(include_str!("../../../docs/api.md"), "## Problems");
    let documented: BTreeSet<(&str, &str)> =
        rows.iter().skip(1).map(|row| (row[0].trim_matches('`'), row[1])).collect();
    let found: Vec<(String, String)> = PROBLEMS
        .iter()
        .map(|problem| (format!("/problems/{}", problem.kind), problem.status.to_string()))
        .collect();
    let found: BTreeSet<(&str, &str)> =
        found.iter().map(|(kind, status)| (kind.as_str(), status.as_str())).collect();
    assert_eq!(found, documented);
    // Each is a reason in the metrics, so that none is counted as `other`.
    for problem in &PROBLEMS {
        assert!(crate::observe::metrics::REASONS.contains(&problem.kind), "{}", problem.kind);
    }
}

#[test]
fn a_row_schema_says_what_the_pipeline_refuses() {
    let schema = schema(json!([
        {"name": "side", "type": "float", "nullable": true, "example": 2.5},
        {"name": "depth", "type": "int", "example": 3},
        {"name": "width", "type": "float", "nullable": true, "example": 1.0},
        {"name": "shape", "type": "string", "categories": ["round", "square"], "example": "round"},
        {"name": "colour", "type": "string", "categories": ["blue", "red"], "example": "red"},
        {"name": "class", "type": "int", "categories": [1, 2], "example": 1},
        {"name": "free", "type": "string", "example": "anything"},
    ]));
    let number = |name: &str| json!({"column": name, "keys": ["anything"], "values": [1], "unseen": {"value": 0}, "missing": "keep"});
    let steps = json!([
        {"op": "check", "name": "log", "columns": ["side"], "refuse": ["missing", "not_positive"]},
        {"op": "check", "name": "sqrt", "columns": ["depth"], "refuse": ["negative"]},
        {"op": "check", "name": "reciprocal", "columns": ["width"], "refuse": ["zero"]},
        {"op": "map", "name": "strict", "columns": [
            {"column": "shape", "keys": ["round", "oval"], "values": [0, 1], "unseen": "error", "missing": "error"},
            {"column": "class", "keys": [1, 2, 7], "values": [0, 1, 2], "unseen": "error", "missing": "error"},
        ]},
        {"op": "map", "name": "lenient", "columns": [
            {"column": "colour", "keys": ["red"], "values": ["known"], "unseen": {"value": "rare"}, "missing": "keep"},
        ]},
        {"op": "map", "name": "codes", "columns": [
            {"column": "colour", "keys": ["known", "rare"], "values": [0, 1], "unseen": "error", "missing": "keep"},
            number("free"),
        ]},
    ]);
    let steps: Vec<StepSpec> = serde_json::from_value(steps).unwrap();
    let features = ["side", "depth", "width", "shape", "colour", "class", "free"];
    let pipeline = Pipeline::load(&steps, &features.map(str::to_owned), &schema).unwrap();
    let accepts = narrow(&schema, &pipeline, &steps);
    let found: Vec<(bool, Option<Value>, Range)> = accepts
        .iter()
        .map(|one| (one.missing, one.values.clone().map(Value::Array), one.range))
        .collect();
    assert_eq!(
        found,
        [
            (false, None, Range::Positive),
            (true, None, Range::NotNegative),
            (true, None, Range::NotZero),
            (true, Some(json!(["round", "oval"])), Range::Any),
            (true, None, Range::Any),
            (true, Some(json!([1, 2, 7])), Range::Any),
            (true, None, Range::Any),
        ]
    );
    let row = row::row_schema(&schema, &accepts, UnknownFields::Ignore);
    assert_eq!(row["properties"]["side"]["type"], "number");
    assert_eq!(row["properties"]["side"]["exclusiveMinimum"], 0);
    assert_eq!(row["properties"]["depth"]["minimum"], 0);
    assert_eq!(row["properties"]["width"]["not"], json!({ "const": 0 }));
    assert_eq!(row["properties"]["shape"]["enum"], json!(["round", "oval"]));
    assert_eq!(row["properties"]["colour"].get("enum"), None);
}

#[test]
fn nothing_is_claimed_that_depends_on_the_rest_of_the_row() {
    // Refused below zero, but only as long as the other is zero, as in the example.
    let schema = schema(json!([
        {"name": "one", "type": "float", "example": 0.0, "maximum": 0.0},
        {"name": "other", "type": "float", "example": 0.0, "maximum": 5.0},
    ]));
    let steps = json!([
        {"op": "combine", "name": "sum", "operator": "add", "left": {"column": "one"}, "right": {"column": "other"}, "output": "sum"},
        {"op": "check", "name": "sqrt", "columns": ["sum"], "refuse": ["negative"]},
    ]);
    let steps: Vec<StepSpec> = serde_json::from_value(steps).unwrap();
    let pipeline = Pipeline::load(&steps, &["sum".to_owned()], &schema).unwrap();
    assert_eq!(narrow(&schema, &pipeline, &steps)[0], Accepts::default());
}

#[test]
fn the_schema_of_a_prediction_follows_the_kind_of_output() {
    let schema = schema(json!([{"name": "x", "type": "float"}]));
    let of = |outputs: Value, tensors: Value| {
        let postprocess = postprocess(outputs);
        let tensors: Vec<TensorSpec> = serde_json::from_value(tensors).unwrap();
        let mut model = described("m", &schema, &postprocess);
        model.tensors = &tensors;
        (prediction_schema(&model), probabilities_schema(&model))
    };
    let numbers = json!({"prediction": {"tensor": "y", "names": ["a", "b"]}});
    let (prediction, probabilities) = of(numbers, json!([]));
    assert_eq!(prediction["maxItems"], 2);
    assert_eq!(probabilities, None);
    let top = json!({"probabilities": {"tensor": "p", "labels": ["a", "b", "c"], "top_k": 2}});
    let (prediction, probabilities) = of(top, json!([]));
    assert_eq!(prediction, json!({"enum": ["a", "b", "c", null]}));
    assert_eq!(probabilities.unwrap()["maxProperties"], 2);
    let label = json!({"label": {"tensor": "l", "labels": [0, 1]}});
    assert_eq!(of(label, json!([])), (json!({"enum": [0, 1, null]}), None));
    let multilabel = json!({"multilabel": {"tensor": "p", "labels": ["a"], "threshold": 0.5}});
    let (prediction, probabilities) = of(multilabel, json!([]));
    assert_eq!(prediction["items"], json!({"enum": ["a"]}));
    assert_eq!(probabilities.unwrap()["required"], json!(["a"]));
    let tensors =
        json!({"tensors": [{"name": "logits", "tensor": "z"}, {"name": "words", "tensor": "w"}]});
    let graph = json!([
        {"name": "z", "type": "float32", "shape": [null, 3]}, {"name": "w", "type": "string", "shape": [null, null]}
    ]);
    let (prediction, _) = of(tensors, graph);
    let logits = json!({"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": ["number", "null"]}});
    assert_eq!(prediction["properties"]["logits"], logits);
    assert_eq!(
        prediction["properties"]["words"],
        json!({"type": "array", "items": {"type": "string"}})
    );
}
