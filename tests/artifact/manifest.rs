//! The manifest is consistent, or it is refused.

use serde_json::{Value, json};

use super::helpers::{Cases, Copy, column, step};

#[test]
fn another_format_is_refused() {
    let mut cases = Cases::new();
    for format in [
        json!("seaworthy/2"),
        json!("seaworthy/10"),
        json!("seaworthy/0"),
        json!("seaworthy"),
        json!("mlflow"),
        json!(1),
        json!(null),
    ] {
        cases.edited(&format.to_string(), |manifest| manifest["format"] = format);
    }
    cases.edited("none", |manifest| {
        manifest.as_object_mut().unwrap().remove("format");
    });
    cases.edited("a newer one with keys that are unknown today", |manifest| {
        manifest["format"] = "seaworthy/2".into();
        manifest["explanations"] = json!({});
    });
    let text = |text: &'static str| {
        move |copy: &Copy| {
            copy.write("manifest.json", text);
            copy.seal();
        }
    };
    cases.case("an array", text("[]"));
    cases.case("nothing", text(""));
    cases.case("half a manifest", text("{\"format\": \"seaworthy/1\", \"name\""));
    cases.case("a byte order mark", text("\u{feff}{\"format\": \"seaworthy/1\"}"));
    insta::assert_snapshot!(cases.text());
}

#[test]
fn a_name_or_version_that_does_not_fit_is_refused() {
    let mut cases = Cases::new();
    cases.edited("another name", |manifest| manifest["name"] = "cars".into());
    for name in ["House-Prices", "-house", "", "house prices", "../house", &"a".repeat(65)] {
        cases.edited(&format!("the name {name:?}"), |manifest| manifest["name"] = name.into());
    }
    cases.edited("another version", |manifest| manifest["version"] = "3.2.1".into());
    for version in ["3.2", "v3.2.0", "3.2.0.1", "03.2.0", "latest", ""] {
        let name = format!("the version {version:?}");
        cases.edited(&name, |manifest| manifest["version"] = version.into());
    }
    cases.case("another directory", |copy| {
        // Renamed and back, so that the copy finds itself: the manifest is what does not fit.
        copy.edit(|manifest| manifest["version"] = "3.2.0+build".into());
    });
    insta::assert_snapshot!(cases.text());
}

#[test]
fn an_unknown_key_is_refused_at_every_level() {
    let mut cases = Cases::new();
    let levels: [(&str, &str); 12] = [
        ("the manifest", ""),
        ("a field", "/inputs/0"),
        ("a step", "/pipeline/0"),
        ("a column of a fill", "/pipeline/0/columns/0"),
        ("a column of an indicator", "/pipeline/2/columns/0"),
        ("an operand", "/pipeline/4/left"),
        ("the model", "/model"),
        ("a tensor", "/model/inputs/0"),
        ("the outputs", "/outputs"),
        ("the prediction", "/outputs/prediction"),
        ("golden", "/golden"),
        ("a tolerance", "/golden/features"),
    ];
    for (name, pointer) in levels {
        cases.edited(name, |manifest| {
            let object = manifest.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
            object.insert("extra".to_owned(), json!(1));
        });
    }
    let columns = [
        ("a column of a map", "map", "mapper_qual", "ExterQual"),
        ("a column of a scaler", "affine", "scaler", "MSSubClass"),
        ("a column of a threshold", "threshold", "binarizer/Binarizer", "ScreenPorch"),
    ];
    for (name, op, step, of) in columns {
        cases.edited(name, |manifest| column(manifest, op, step, of)["extra"] = json!(1));
    }
    for op in ["check", "drop", "function", "combine", "map"] {
        cases.edited(&format!("a {op} step"), |manifest| {
            let steps = manifest["pipeline"].as_array_mut().unwrap();
            steps.iter_mut().find(|step| step["op"] == op).unwrap()["extra"] = json!(1);
        });
    }
    cases.edited("an affine postprocess", |manifest| {
        manifest["postprocess"] = json!([{"op": "affine", "add": 1.0, "extra": 1}]);
    });
    cases.edited("what becomes of an unseen value", |manifest| {
        column(manifest, "map", "mapper_qual", "ExterQual")["unseen"] = json!({"extra": 1});
    });
    insta::assert_snapshot!(cases.text());
}

/// It was ignored.
#[test]
fn an_unknown_key_of_a_postprocess_function_is_refused() {
    let mut cases = Cases::new();
    cases.edited("a postprocess function", |manifest| {
        manifest["postprocess"][0]["extra"] = json!(1);
    });
    insta::assert_snapshot!(cases.text());
}

#[test]
fn provenance_is_free() {
    let copy = Copy::of_house_prices();
    copy.edit(|manifest| manifest["provenance"]["anything"] = json!({"goes": [1, null, "x"]}));
    assert_eq!(copy.refusal(), "proven");
    copy.edit(|manifest| manifest["provenance"] = json!({}));
    assert_eq!(copy.refusal(), "proven");
}

#[test]
fn an_unsound_manifest_is_refused() {
    let mut cases = Cases::new();
    cases.edited("no fields", |manifest| manifest["inputs"] = json!([]));
    cases.edited("no features", |manifest| manifest["features"] = json!([]));
    cases.edited("no pipeline", |manifest| {
        manifest.as_object_mut().unwrap().remove("pipeline");
    });
    cases.edited("an unknown task", |manifest| manifest["task"] = "guessing".into());
    cases.edited("no time", |manifest| manifest["created"] = "yesterday".into());
    cases.edited("a time that is not UTC", |manifest| {
        manifest["created"] = "2023-01-07T00:00:00+01:00".into();
    });
    cases.edited("an unknown precision", |manifest| manifest["model"]["precision"] = "half".into());
    cases.edited("a negative opset", |manifest| manifest["model"]["opset"] = json!(-1));
    for (name, tolerance) in [("negative", json!(-1e-9)), ("text", json!("1e-9"))] {
        for of in ["features", "output"] {
            let tolerance = tolerance.clone();
            cases.edited(&format!("a tolerance of {of} that is {name}"), |manifest| {
                manifest["golden"][of]["relative"] = tolerance;
            });
        }
    }
    for number in ["NaN", "Infinity", "1e999"] {
        cases.case(&format!("a tolerance that is {number}"), |copy| {
            let text = String::from_utf8(copy.read("manifest.json")).unwrap();
            let edited =
                text.replacen("\"relative\": 1e-12", &format!("\"relative\": {number}"), 1);
            assert_ne!(text, edited);
            copy.write("manifest.json", edited);
            copy.seal();
        });
    }
    cases.case("a key twice", |copy| {
        let text = String::from_utf8(copy.read("manifest.json")).unwrap();
        copy.write("manifest.json", text.replacen('{', "{\"task\": \"other\",", 1));
        copy.seal();
    });
    insta::assert_snapshot!(cases.text());
}

#[test]
fn an_unsound_field_is_refused() {
    let mut cases = Cases::new();
    let mut field = |name: &str, at: usize, edit: fn(&mut Value)| {
        cases.edited(name, |manifest| edit(&mut manifest["inputs"][at]));
    };
    field("an unknown type", 0, |field| field["type"] = "integer".into());
    field("a picture with a range", 0, |field| field["type"] = "image".into());
    field("no name", 0, |field| field["name"] = "".into());
    field("the name of another field", 1, |field| field["name"] = "MSSubClass".into());
    field("an alias that is the name of another field", 1, |field| {
        field["aliases"] = json!(["MSSubClass"]);
    });
    field("an alias that is an alias of another field", 1, |field| {
        field["aliases"] = json!(["1stFlrSF"]);
    });
    field("an alias that is its own name", 1, |field| field["aliases"] = json!(["MSZoning"]));
    field("an example of another type", 0, |field| field["example"] = "fifty".into());
    field("a default of another type", 0, |field| field["default"] = json!(0.5));
    field("an example that is null", 0, |field| field["required"] = Value::Null);
    field("neither required nor nullable, without default", 0, |field| {
        field["required"] = json!(false);
    });
    field("minimum above maximum", 0, |field| field["minimum"] = json!(1000));
    field("minimum that is text", 0, |field| field["minimum"] = json!("20"));
    field("minimum of a string", 1, |field| field["minimum"] = json!(1));
    field("a category twice", 1, |field| field["categories"] = json!(["RL", "RL"]));
    field("a category of another type", 1, |field| field["categories"] = json!([1]));
    insta::assert_snapshot!(cases.text());
}

#[test]
fn an_unsound_step_is_refused() {
    let mut cases = Cases::new();
    cases.edited("an unknown operation", |manifest| {
        manifest["pipeline"][0]["op"] = "impute".into();
    });
    cases.edited("no operation", |manifest| {
        manifest["pipeline"][0].as_object_mut().unwrap().remove("op");
    });
    cases.edited("no name", |manifest| {
        manifest["pipeline"][0].as_object_mut().unwrap().remove("name");
    });
    cases.edited("no parameters", |manifest| {
        manifest["pipeline"][0].as_object_mut().unwrap().remove("columns");
    });
    cases.edited("a column that does not exist", |manifest| {
        manifest["pipeline"][0]["columns"][0]["column"] = "Fireplace".into();
    });
    cases.edited("a column that was dropped before", |manifest| {
        step(manifest, "function", "log")["columns"] = json!(["YrSold"]);
    });
    cases.edited("a column that is created later", |manifest| {
        let steps = manifest["pipeline"].as_array_mut().unwrap();
        steps.insert(0, json!({"op": "drop", "name": "early", "columns": ["LotFrontage_na"]}));
    });
    cases.edited("a column that exists already", |manifest| {
        step(manifest, "indicate_missing", "missing_indicator")["columns"][0]["output"] =
            "GrLivArea".into();
    });
    cases.edited("a logarithm of text", |manifest| {
        step(manifest, "function", "log")["columns"] = json!(["MSZoning"]);
    });
    cases.edited("an unknown function", |manifest| {
        step(manifest, "function", "log")["function"] = "ln".into();
    });
    cases.edited("a check of nothing", |manifest| {
        step(manifest, "check", "log")["refuse"] = json!([]);
    });
    cases.edited("a check of text for zeros", |manifest| {
        step(manifest, "check", "log")["columns"] = json!(["MSZoning"]);
    });
    cases.edited("text to fill in numbers", |manifest| {
        step(manifest, "fill", "mean_imputation")["columns"][0]["value"] = "Missing".into();
    });
    cases.edited("a number to fill in text", |manifest| {
        step(manifest, "fill", "missing_imputation")["columns"][0]["value"] = json!(0);
    });
    cases.edited("a combination of constants", |manifest| {
        let step = step(manifest, "combine", "elapsed_time");
        step["left"] = json!({"constant": 1});
        step["right"] = json!({"constant": 2});
    });
    cases.edited("an operand that is a column and a constant", |manifest| {
        step(manifest, "combine", "elapsed_time")["left"] =
            json!({"column": "YrSold", "constant": 1});
    });
    cases.edited("a scaler that divides by zero", |manifest| {
        column(manifest, "affine", "scaler", "LotFrontage")["divide"] = json!(0.0);
    });
    cases.edited("a clip the wrong way round", |manifest| {
        column(manifest, "affine", "scaler", "LotFrontage")["clip"] = json!([1.0, 0.0]);
    });
    cases.edited("a selection of a column twice", |manifest| {
        let steps = manifest["pipeline"].as_array_mut().unwrap();
        steps.insert(0, json!({"op": "select", "name": "twice", "columns": ["YrSold", "YrSold"]}));
    });
    let mut map = |name: &str, edit: fn(&mut Value)| {
        cases.edited(name, |manifest| {
            edit(column(manifest, "map", "mapper_exposure", "BsmtExposure"));
        });
    };
    map("a map with a value too few", |map| {
        map["values"].as_array_mut().unwrap().pop();
    });
    map("a map with a key twice", |map| map["keys"][1] = map["keys"][0].clone());
    map("a map with a number twice, written otherwise", |map| {
        map["keys"] = json!([1, 1.0]);
        map["values"] = json!([1, 2]);
    });
    map("a map with a key that is null", |map| map["keys"][0] = Value::Null);
    map("a map without a rule for what is unseen", |map| {
        map.as_object_mut().unwrap().remove("unseen");
    });
    map("a map with an unknown rule for what is missing", |map| map["missing"] = "drop".into());
    map("a map that keeps unseen text among numbers", |map| map["unseen"] = "keep".into());
    cases.case("a map with a value that is not finite", |copy| {
        copy.edit(|manifest| {
            column(manifest, "map", "mapper_exposure", "BsmtExposure")["values"][0] =
                "1e999".into();
        });
        let text = String::from_utf8(copy.read("manifest.json")).unwrap();
        copy.write("manifest.json", text.replace("\"1e999\"", "1e999"));
        copy.seal();
    });
    insta::assert_snapshot!(cases.text());
}

#[test]
fn an_unsound_feature_or_output_is_refused() {
    let mut cases = Cases::new();
    cases.edited("a feature that does not exist", |manifest| {
        manifest["features"][0] = "YrSold".into();
    });
    cases.edited("a feature twice", |manifest| manifest["features"][1] = "MSSubClass".into());
    cases.edited("a feature that is text", |manifest| {
        manifest["pipeline"].as_array_mut().unwrap().retain(|step| step["op"] != "map");
    });
    cases.edited("no output", |manifest| manifest["outputs"] = json!({}));
    cases.edited("both kinds of output", |manifest| {
        manifest["outputs"]["probabilities"] =
            json!({"tensor": "prediction", "labels": ["no", "yes"]});
    });
    cases.edited("one label", |manifest| {
        manifest["outputs"] = json!({"probabilities": {"tensor": "prediction", "labels": ["no"]}});
    });
    cases.edited("an unknown postprocess operation", |manifest| {
        manifest["postprocess"] = json!([{"op": "round"}]);
    });
    cases.edited("an unknown postprocess function", |manifest| {
        manifest["postprocess"][0]["function"] = "exponential".into();
    });
    insta::assert_snapshot!(cases.text());
}
