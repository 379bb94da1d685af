use super::*;
use crate::schema::{DecodeOptions, FieldSpec};
use serde_json::json;

fn schema() -> Schema {
    let field = |name: &str, kind: &str, nullable: bool| -> FieldSpec {
        serde_json::from_value(
            json!({"name": name, "type": kind, "nullable": nullable, "required": !nullable}),
        )
        .unwrap()
    };
    Schema::load(vec![
        field("area", "float", true),
        field("year", "int", false),
        field("sold", "int", false),
        field("zone", "string", true),
    ])
    .unwrap()
}

fn load(steps: serde_json::Value, features: &[&str]) -> Result<Pipeline, PipelineError> {
    let steps: Vec<StepSpec> = serde_json::from_value(steps).unwrap();
    let features: Vec<String> = features.iter().map(|name| (*name).to_owned()).collect();
    Pipeline::load(&steps, &features, &schema())
}

#[track_caller]
fn check(steps: serde_json::Value, features: &[&str], rows: serde_json::Value, expected: &str) {
    let pipeline = load(steps, features).unwrap();
    let mut frame = schema().frame();
    let body = rows.to_string();
    let decoded = schema().decode(body.as_bytes(), &DecodeOptions::default(), &mut frame).unwrap();
    assert_eq!(decoded.errors, []);
    let mut workspace = Workspace::default();
    // The second run uses the buffers of the first.
    for _ in 0..2 {
        pipeline.run(&frame, &mut workspace);
        let mut found: Vec<String> =
            workspace.features().chunks(features.len()).map(|row| format!("{row:?}")).collect();
        let name = |index: usize| schema().fields()[index].name().to_owned();
        found.extend(workspace.faults().iter().map(|fault| {
            format!(
                "row {} {:?} {}: {}",
                fault.row,
                fault.field.map(name),
                fault.problem.code(),
                fault.problem
            )
        }));
        assert_eq!(found.join("\n"), expected);
    }
}

fn rows() -> serde_json::Value {
    json!([
        {"area": 2.0, "year": 1999, "sold": 2009, "zone": "RL"},
        {"area": null, "year": 2009, "sold": 2010, "zone": null},
        {"area": 0, "year": -1, "sold": 0, "zone": "other"},
    ])
}

#[test]
fn missing_values_are_told_apart_and_filled() {
    check(
        json!([
            {"op": "indicate_missing", "name": "flag", "columns": [{"column": "area", "output": "area_na"}]},
            {"op": "fill", "name": "mean", "columns": [{"column": "area", "value": 5}]},
            {"op": "fill", "name": "zone", "columns": [{"column": "zone", "value": "none"}]},
            {"op": "map", "name": "code", "columns": [{"column": "zone", "keys": ["none", "RL"], "values": [1, 2],
                "unseen": {"value": -1}, "missing": "error"}]},
        ]),
        &["area", "area_na", "zone"],
        rows(),
        "[2.0, 0.0, 2.0]\n[5.0, 1.0, 1.0]\n[0.0, 0.0, -1.0]",
    );
}

#[test]
fn integers_are_combined_exactly() {
    check(
        json!([
            {"op": "combine", "name": "age", "operator": "subtract", "left": {"column": "sold"},
                "right": {"column": "year"}, "output": "year"},
            {"op": "combine", "name": "half", "operator": "divide", "left": {"column": "year"},
                "right": {"constant": 4}, "output": "quarter"},
        ]),
        &["quarter", "year"],
        json!([{"year": i64::MIN, "sold": 1, "zone": "a"}, {"year": 9_007_199_254_740_993_i64, "sold": 9_007_199_254_740_995_i64}]),
        "[-2.305843009213694e18, -9.223372036854776e18]\n[0.5, 2.0]",
    );
}

#[test]
fn a_category_passes_through_two_tables() {
    let steps = json!([
        {"op": "map", "name": "rare", "columns": [
            {"column": "zone", "keys": ["RL"], "values": ["RL"], "unseen": {"value": "Rare"}, "missing": "keep"},
            {"column": "year", "keys": [1999, 2009], "values": [1999, 2009], "unseen": {"value": "Rare"}, "missing": "error"}]},
        {"op": "fill", "name": "fill", "columns": [{"column": "zone", "value": "Rare"}]},
        {"op": "map", "name": "ordinal", "columns": [
            {"column": "zone", "keys": ["Rare", "RL"], "values": [0, 1], "unseen": "error", "missing": "error"},
            {"column": "year", "keys": ["Rare", 1999.0, 2009], "values": [7, 8, 9.5], "unseen": "error", "missing": "error"}]},
    ]);
    check(steps, &["zone", "year"], rows(), "[1.0, 8.0]\n[0.0, 9.5]\n[0.0, 7.0]");
}

#[test]
fn the_first_step_that_refuses_a_row_names_all_its_faults() {
    check(
        json!([
            {"op": "map", "name": "mapper", "columns": [{"column": "zone", "keys": ["RL", "null"], "values": [1.5, 2],
                "unseen": "missing", "missing": "keep"}]},
            {"op": "check", "name": "log", "columns": ["area"], "refuse": ["not_positive"]},
            {"op": "function", "name": "log", "columns": ["area"], "function": "log"},
            {"op": "check", "name": "Lasso", "columns": ["area", "zone", "year"], "refuse": ["missing", "infinite"]},
        ]),
        &["area", "zone"],
        json!([
            {"area": 1, "year": 1, "sold": 1, "zone": "RL"},
            {"area": null, "year": 1, "sold": 1, "zone": "FV"},
            {"area": 0, "year": 1, "sold": 1, "zone": null},
            {"area": 1, "year": 1, "sold": 1, "zone": null},
        ]),
        "[0.0, 1.5]\n\
         row 1 Some(\"area\") missing_value: step `Lasso` does not take a missing value in `area`\n\
         row 1 Some(\"zone\") unseen_category: \"FV\" is not a category that the model was trained on (step `mapper`); \
         it knows \"RL\", \"null\"\n\
         row 2 Some(\"area\") out_of_domain: step `log` takes only positive values in `area`, found 0\n\
         row 3 Some(\"zone\") missing_value: step `Lasso` does not take a missing value in `zone`",
    );
}

#[test]
fn columns_are_copied_dropped_and_selected() {
    check(
        json!([
            {"op": "copy", "name": "c", "columns": [{"column": "year", "output": "num__year"}]},
            {"op": "affine", "name": "s", "columns": [{"column": "num__year", "subtract": 2000, "divide": 10}]},
            {"op": "drop", "name": "d", "columns": ["area"]},
            {"op": "select", "name": "o", "columns": ["num__year", "year"]},
            {"op": "threshold", "name": "t", "columns": [{"column": "year", "threshold": 2000}]},
        ]),
        &["year", "num__year"],
        rows(),
        "[0.0, -0.1]\n[1.0, 0.9]\n[0.0, -200.1]",
    );
}

#[test]
fn kept_text_and_kept_numbers() {
    check(
        json!([
            {"op": "map", "name": "replace", "columns": [
                {"column": "zone", "keys": ["other", "RL"], "values": ["O", null], "unseen": "keep", "missing": {"value": "?"}},
                {"column": "year", "output": "year2", "keys": [-1], "values": [null], "unseen": "keep", "missing": "keep"}]},
            {"op": "map", "name": "codes", "columns": [
                {"column": "zone", "keys": ["O", "?"], "values": [1, 2], "unseen": "error", "missing": {"value": 3}}]},
        ]),
        &["zone", "year2"],
        rows(),
        "[3.0, 1999.0]\n[2.0, 2009.0]\n[1.0, NaN]",
    );
}

#[test]
fn a_value_is_expanded_to_several_columns() {
    check(
        json!([
            {"op": "expand", "name": "onehot", "columns": [
                {"column": "zone", "outputs": ["zone_RL", "zone_other"], "keys": ["RL", "other", "x"], "ones": [0, 1, null],
                    "unseen": "zeros", "missing": "missing"},
                {"column": "area", "outputs": ["a0", "a1"], "keys": [2, 0.5], "rows": [[0.25, null], [1, 2]],
                    "unseen": {"row": [-1, 9]}, "missing": "zeros"},
                {"column": "year", "outputs": ["y"], "keys": ["1999", -1.0], "rows": [[1], [2]], "unseen": "zeros", "missing": "error"}]},
        ]),
        &["zone_RL", "zone_other", "a0", "a1", "y"],
        rows(),
        "[1.0, 0.0, 0.25, NaN, 0.0]\n[NaN, NaN, 0.0, 0.0, 0.0]\n[0.0, 1.0, -1.0, 9.0, 2.0]",
    );
    check(
        json!([
            {"op": "expand", "name": "sum", "columns": [{"column": "zone", "outputs": ["z0", "z1"], "keys": ["RL"], "rows": [[1, 2]],
                "unseen": "missing", "missing": "error"}]},
            {"op": "check", "name": "Lasso", "columns": ["z0", "z1"], "refuse": ["missing"]},
        ]),
        &["z0", "z1"],
        rows(),
        "[1.0, 2.0]\n\
         row 1 Some(\"zone\") missing_value: step `sum` does not take a missing value in `zone`\n\
         row 2 Some(\"zone\") unseen_category: \"other\" is not a category that the model was trained on (step `sum`); \
         it knows \"RL\"",
    );
}

#[test]
fn unsound_steps_are_refused_with_step_and_column() {
    #[track_caller]
    fn refused(step: serde_json::Value, expected: &str) {
        let error =
            load(json!([{"op": "drop", "name": "first", "columns": ["sold"]}, step]), &["area"])
                .unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    refused(
        json!({"op": "scale", "name": "s", "columns": []}),
        "step 2 (`s`): unknown operation `scale`; this version knows affine, check, combine, copy, drop, expand, fill, function, \
         indicate_missing, map, select, threshold",
    );
    refused(
        json!({"op": "drop", "name": "s", "columns": ["sold"]}),
        "step 2 (`s`), column `sold`: there is no such column at this point; there are: area, year, zone",
    );
    refused(
        json!({"op": "affine", "name": "s", "columns": [{"column": "area", "divide": 0}]}),
        "step 2 (`s`), column `area`: `divide` is 0",
    );
    refused(
        json!({"op": "affine", "name": "s", "columns": [{"column": "zone", "divide": 1}]}),
        "step 2 (`s`), column `zone`: `s` needs a number column, but this one holds text",
    );
    refused(
        json!({"op": "affine", "name": "s", "columns": [{"column": "area", "times": 1}]}),
        "step 2 (`s`): the parameters of `affine` are not sound: unknown field `times`, expected one of `column`, \
         `subtract`, `divide`, `multiply`, `add`, `clip`",
    );
    let map = |keys: serde_json::Value, values: serde_json::Value| json!({"op": "map", "name": "s", "columns": [{"column": "zone", "keys": keys, "values": values, "unseen": "error", "missing": "keep"}]});
    refused(map(json!(["a"]), json!([])), "step 2 (`s`), column `zone`: 1 keys, but 0 values");
    refused(
        map(json!(["a", "b", "a"]), json!([1, 2, 3])),
        "step 2 (`s`), column `zone`: the key \"a\" is listed twice",
    );
    refused(
        map(json!([1, 1.0]), json!([1, 2])),
        "step 2 (`s`), column `zone`: the key 1.0 is listed twice",
    );
    let expand = |changes: serde_json::Value| {
        let mut column = json!({"column": "zone", "outputs": ["x", "y"], "keys": ["a"], "rows": [[1, 2]],
            "unseen": "zeros", "missing": "error"});
        for (key, value) in changes.as_object().unwrap() {
            column[key] = value.clone();
        }
        json!({"op": "expand", "name": "e", "columns": [column]})
    };
    let wrong = |changes, problem: &str| {
        refused(expand(changes), &format!("step 2 (`e`), column {problem}"));
    };
    wrong(json!({"keys": []}), "`zone`: 0 keys, but 1 rows");
    wrong(
        json!({"rows": [[1]]}),
        "`zone`: the row of the key \"a\" has 1 numbers, but there are 2 outputs",
    );
    wrong(
        json!({"missing": {"row": []}}),
        "`zone`: the row of `missing` has 0 numbers, but there are 2 outputs",
    );
    wrong(json!({"ones": [0]}), "`zone`: it takes either `rows` or `ones`");
    wrong(
        json!({"rows": null, "ones": [2]}),
        "`zone`: `ones` names the output 2, but there are 2, counted from 0",
    );
    wrong(
        json!({"keys": ["a", "a"], "rows": [[1, 2], [1, 2]]}),
        "`zone`: the key \"a\" is listed twice",
    );
    wrong(
        json!({"outputs": ["x", "x"]}),
        "`x`: the step would create this column, but it exists already",
    );
    let error = load(json!([]), &["area", "zone"]).unwrap_err().to_string();
    let expected = "step 1 (`features`), column `zone`: a feature must be numeric, but this column holds categories or text after the last step";
    assert_eq!(error, expected);
}

#[test]
fn a_filled_in_number_is_the_same_category_however_it_is_written() {
    let steps = |filling: serde_json::Value| {
        json!([
            {"op": "map", "name": "rare", "columns": [{"column": "year", "keys": [1999], "values": [1999],
                "unseen": "missing", "missing": "keep"}, {"column": "sold", "keys": [0], "values": ["none"],
                "unseen": {"value": 20}, "missing": "keep"}]},
            {"op": "map", "name": "empty", "columns": [{"column": "sold", "keys": ["none"], "values": [null],
                "unseen": "keep", "missing": "keep"}]},
            {"op": "fill", "name": "fill", "columns": [{"column": "sold", "value": filling}]},
            {"op": "map", "name": "encode", "columns": [{"column": "sold", "keys": [20], "values": [1],
                "unseen": {"value": 7}, "missing": "error"}]},
        ])
    };
    for filling in [json!(20), json!(20.0)] {
        check(steps(filling), &["sold"], rows(), "[1.0]\n[1.0]\n[1.0]");
    }
}
