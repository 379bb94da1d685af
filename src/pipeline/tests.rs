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
fn texts_are_compared_and_hashed() {
    check(
        json!([
            {"op": "map", "name": "known", "columns": [{"column": "year", "keys": [1999], "values": ["RL"],
                "unseen": "missing", "missing": "keep"}]},
            {"op": "similarity", "name": "like", "columns": [
                {"column": "zone", "outputs": ["z0", "z1"], "texts": ["R", "other"], "missing": {"row": [0.5, 0.25]}}]},
            {"op": "hash_category", "name": "hash", "columns": ["zone", "year"], "outputs": ["h0", "h1"], "method": "md5"},
        ]),
        &["z0", "z1", "h0", "h1"],
        rows(),
        "[0.6666666666666666, 0.0, 0.0, 2.0]\n[0.5, 0.25, 0.0, 0.0]\n[0.0, 1.0, 0.0, 1.0]",
    );
    check(
        json!([{"op": "similarity", "name": "like", "columns": [
            {"column": "zone", "outputs": ["z0"], "texts": ["RL"], "missing": "error"}]}]),
        &["z0"],
        rows(),
        "[1.0]\n[0.0]\nrow 1 Some(\"zone\") missing_value: step `like` does not take a missing value in `zone`",
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
        "step 2 (`s`): unknown operation `scale`; this version knows affine, aggregate, check, combine, copy, cut, datetime, drop, expand, fill, function, hash_category, hash_features, indicate_missing, interpolate, map, neighbours, normalize, power, products, project, regress, sample, select, similarity, spline, text, threshold, tokens, tree, weigh",
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
    refused(
        json!({"op": "similarity", "name": "s", "columns": [{"column": "zone", "outputs": ["x"], "texts": [], "missing": "zeros"}]}),
        "step 2 (`s`), column `zone`: 0 texts, but 1 outputs",
    );
    refused(
        json!({"op": "hash_category", "name": "s", "columns": ["area"], "outputs": ["x"], "method": "md5"}),
        "step 2 (`s`), column `area`: this step takes text, but the column holds numbers",
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

#[test]
fn numbers_are_put_into_bins() {
    check(
        json!([
            {"op": "cut", "name": "c", "columns": [
                {"column": "area", "output": "left", "edges": [0.0, 2.0], "closed": "left", "values": [0, 1, 2]},
                {"column": "area", "output": "right", "edges": [0.0, 2.0], "closed": "right", "values": [null, 1, 2]},
                {"column": "year", "edges": [0.0], "closed": "left", "values": ["old", 7]}]},
            {"op": "map", "name": "m", "columns": [
                {"column": "year", "keys": ["old", 7], "values": [-1, 1], "unseen": "error", "missing": "error"}]},
        ]),
        &["left", "right", "year"],
        rows(),
        "[2.0, 1.0, 1.0]\n[NaN, NaN, 1.0]\n[1.0, NaN, -1.0]",
    );
}

#[test]
fn curves_follow_their_points() {
    check(
        json!([
            {"op": "interpolate", "name": "i", "columns": [
                {"column": "area", "x": [0.0, 1.0, 1.0, 4.0], "y": [0.0, 1.0, 3.0, 6.0]},
                {"column": "sold", "x": [0.0, 2009.0, 2009.0], "y": [0.0, 0.25, 0.75], "both": true, "margin": 0.0}]},
            {"op": "power", "name": "p", "columns": [{"column": "year", "method": "power", "exponent": 2}]},
        ]),
        &["area", "sold", "year"],
        rows(),
        "[4.0, 0.75, 3996001.0]\n[NaN, 0.75, 4036081.0]\n[0.0, 0.0, 1.0]",
    );
}

#[test]
fn several_columns_make_new_ones() {
    check(
        json!([
            {"op": "project", "name": "p", "columns": ["area", "year"], "outputs": ["sum", "difference"],
                "matrix": [[1, 1], [1, -1]], "subtract": [0, 1], "offset": [0.5, 0]},
            {"op": "products", "name": "m", "columns": ["area", "year"], "outputs": ["one", "square"], "factors": [[], [0, 0]]},
            {"op": "aggregate", "name": "a", "columns": ["area", "year"], "output": "mean", "statistic": "mean", "skip_missing": true},
        ]),
        &["sum", "difference", "one", "square", "mean"],
        rows(),
        "[2000.5, -1996.0, 1.0, 4.0, 1000.5]\n[NaN, NaN, 1.0, NaN, 2009.0]\n[-1.5, 2.0, 1.0, 0.0, -0.5]",
    );
}

#[test]
fn trees_splines_and_imputers() {
    check(
        json!([
            {"op": "tree", "name": "t", "columns": ["area", "year"], "output": "leaf", "nodes": [
                {"column": 0, "threshold": 1.5, "left": 1, "right": 2}, {"value": -1}, {"column": 1, "threshold": 2000, "left": 3, "right": 4},
                {"value": 5}, {"value": 6}]},
            {"op": "spline", "name": "s", "column": "area", "outputs": ["s0", "s1"], "knots": [-2, 0, 4, 6], "degree": 1},
            {"op": "neighbours", "name": "n", "columns": ["area", "year"], "rows": [[1, 2000], [3, 2010], [null, 2011]],
                "count": 1, "weights": "uniform"},
        ]),
        &["leaf", "s0", "s1", "area"],
        rows(),
        "[5.0, 0.5, 0.5, 2.0]\n[6.0, NaN, NaN, 3.0]\n[-1.0, 1.0, 0.0, 0.0]",
    );
    check(
        json!([
            {"op": "regress", "name": "r", "columns": ["area", "year"], "initial": [1, 2], "sequence": [
                {"column": 0, "from": [1], "coefficients": [0.5], "intercept": 1, "clip": [null, 900]}]},
            {"op": "normalize", "name": "n", "columns": ["area", "sold"], "norm": "max"},
        ]),
        &["area", "year"],
        rows(),
        "[0.0009955201592832255, 1999.0]\n[0.44776119402985076, 2009.0]\n[0.0, -1.0]",
    );
}

#[test]
fn a_number_outside_of_bounds_is_refused() {
    check(
        json!([{"op": "check", "name": "o", "columns": ["year"], "refuse": ["outside"], "between": [0, 2000]}]),
        &["year"],
        rows(),
        "[1999.0]\n\
         row 1 Some(\"year\") out_of_domain: step `o` takes only [0, 2000] values in `year`, found 2009\n\
         row 2 Some(\"year\") out_of_domain: step `o` takes only [0, 2000] values in `year`, found -1",
    );
}

#[test]
fn unsound_numeric_steps_are_refused() {
    #[track_caller]
    fn refused(step: serde_json::Value, expected: &str) {
        let error = load(json!([step]), &["area"]).unwrap_err();
        assert_eq!(error.to_string(), format!("step 1 (`s`){expected}"));
    }
    let cut = |edges: serde_json::Value, values: serde_json::Value| {
        json!({"op": "cut", "name": "s", "columns": [
            {"column": "area", "edges": edges, "closed": "left", "values": values}]})
    };
    refused(
        cut(json!([1]), json!([1])),
        ", column `area`: 1 edges, but 1 values; expected one more than edges",
    );
    refused(
        cut(json!([2, 1]), json!([1, 2, 3])),
        ", column `area`: the edges are not in ascending order",
    );
    refused(
        json!({"op": "interpolate", "name": "s", "columns": [{"column": "area", "x": [1, 2], "y": [1]}]}),
        ", column `area`: 2 knots `x`, but 1 `y`; expected as many, at least one",
    );
    refused(
        json!({"op": "project", "name": "s", "columns": ["area", "year"], "outputs": ["a"], "matrix": [[1]]}),
        ": the matrix does not have 1 rows (outputs) of 2 numbers (columns)",
    );
    refused(
        json!({"op": "products", "name": "s", "columns": ["area"], "outputs": ["a"], "factors": [[1]]}),
        ": the factor 1 is not among the 1 columns",
    );
    refused(
        json!({"op": "products", "name": "s", "columns": ["area"], "outputs": ["a", "a"], "factors": [[], []]}),
        ", column `a`: two outputs of this name",
    );
    refused(
        json!({"op": "tree", "name": "s", "columns": ["area"], "output": "a", "nodes": [
            {"column": 0, "threshold": 1, "left": 0, "right": 1}, {"value": 1}]}),
        ": node 0 is not sound: its column is one of 1, its children come after it, its numbers are finite",
    );
    refused(
        json!({"op": "spline", "name": "s", "column": "area", "outputs": ["a"], "knots": [1, 2, 3, 4], "degree": 1}),
        ", column `area`: 1 outputs for 2 splines",
    );
    refused(
        json!({"op": "neighbours", "name": "s", "columns": ["area"], "rows": [[1, 2]], "count": 1, "weights": "all"}),
        ": row 0 does not have a finite number or null for each column",
    );
    refused(
        json!({"op": "regress", "name": "s", "columns": ["area"], "initial": [], "sequence": []}),
        ": `initial` does not have a finite number for each column",
    );
    refused(
        json!({"op": "check", "name": "s", "columns": ["area"], "refuse": ["outside"]}),
        ": `outside` and `between` belong together",
    );
    refused(
        json!({"op": "power", "name": "s", "columns": [{"column": "zone", "method": "power", "exponent": 1}]}),
        ", column `zone`: `s` needs a number column, but this one holds text",
    );
}

#[test]
fn text_goes_through_a_chain_of_functions() {
    check(
        json!([
            {"op": "text", "name": "letter", "columns": [{"column": "zone", "output": "letter"}], "functions": [
                {"split": {"index": 0, "absent": "missing"}}, {"slice": {"stop": 1}}, "lower",
                {"append": {"column": "year"}}, {"replace": {"find": "r", "with": "é"}}]},
            {"op": "text", "name": "length", "columns": [{"column": "letter"}], "functions": ["length"]},
            {"op": "text", "name": "digits", "columns": [{"column": "year"}], "functions": [
                {"extract": {"patterns": [{"pattern": "^(\\d)\\d", "group": 1}, {"pattern": "-", "value": "0"}], "otherwise": "keep"}},
                {"number": {"type": "int", "otherwise": "error"}}]},
            {"op": "text", "name": "cast", "columns": [{"column": "zone"}], "functions": [
                {"number": {"type": "float", "otherwise": "error"}}]},
        ]),
        &["letter", "year"],
        json!([
            {"area": 1, "year": 1999, "sold": 1, "zone": null},
            {"area": 1, "year": 1999, "sold": 1, "zone": "RL x"},
            {"area": 1, "year": -3, "sold": 1, "zone": " 1_0.5 "},
        ]),
        "[NaN, 1.0]\n[3.0, 0.0]\n\
         row 1 Some(\"zone\") out_of_domain: step `cast` expects a number in `zone`, found \"RL x\"",
    );
}

#[test]
fn words_are_counted_in_sparse_rows() {
    let tokens = json!({"op": "tokens", "name": "words", "column": "zone", "lowercase": true, "analyzer": "word",
        "token": {"word": 1}, "ngrams": [1, 2], "vocabulary": ["a", "a b", "b"], "idf": [1, 2, 3], "outputs": ["A", "AB", "B"]});
    let rows = json!([
        {"year": 1, "sold": 1, "zone": "a B-a"},
        {"year": 2, "sold": 1, "zone": null},
        {"year": 3, "sold": 1, "zone": "c, b"},
    ]);
    check(
        json!([tokens]),
        &["B", "year", "A", "AB"],
        rows.clone(),
        "[3.0, 1.0, 2.0, 2.0]\n[0.0, 2.0, 0.0, 0.0]\n[3.0, 3.0, 0.0, 0.0]",
    );
    check(
        json!([tokens,
            {"op": "affine", "name": "s", "columns": [{"column": "B", "divide": 3}]},
            {"op": "project", "name": "p", "columns": ["A", "year", "AB"], "outputs": ["x", "y"],
                "matrix": [[1, 10, 0], [0, 0, 100]], "offset": [0.5, 0]},
            {"op": "drop", "name": "d", "columns": ["A"]}]),
        &["B", "x", "y", "AB"],
        rows,
        "[1.0, 12.5, 200.0, 2.0]\n[0.0, 20.5, 0.0, 0.0]\n[1.0, 30.5, 0.0, 0.0]",
    );
}

#[test]
fn dates_are_taken_apart() {
    check(
        json!([{"op": "datetime", "name": "d", "column": "zone", "formats": ["ISO8601", "%d.%m.%Y"],
            "zone": {"changes": [0], "offsets": [0, 3600]}, "outputs": [
            {"part": "year", "output": "y"}, {"part": "week", "output": "w"}, {"part": "hour", "output": "h"},
            {"part": "ordinal", "output": "o"}]}]),
        &["y", "w", "h", "o"],
        json!([
            {"year": 1, "sold": 1, "zone": "2021-01-02T23:30"},
            {"year": 1, "sold": 1, "zone": "31.12.1969"},
            {"year": 1, "sold": 1, "zone": null},
            {"year": 1, "sold": 1, "zone": "31.11.1969"},
        ]),
        "[2021.0, 53.0, 0.0, 737793.0]\n[1969.0, 1.0, 0.0, 719162.0]\n[NaN, NaN, NaN, NaN]\n\
         row 3 Some(\"zone\") out_of_domain: step `d` expects a date in `zone`, found \"31.11.1969\"",
    );
}

#[test]
fn unsound_text_and_dates_are_refused() {
    #[track_caller]
    fn refused(step: serde_json::Value, expected: &str) {
        let found = load(json!([step]), &["area"]).unwrap_err().to_string();
        assert!(found.contains(expected), "{found}");
    }
    let text = |functions: serde_json::Value| json!({"op": "text", "name": "t", "columns": [{"column": "zone"}], "functions": functions});
    refused(text(json!([])), "step 1 (`t`): `functions` is empty");
    refused(text(json!([{"slice": {"step": 0}}])), "column `zone`: the step of a slice is 0");
    refused(text(json!(["length", "lower"])), "can only be the last function");
    refused(
        text(json!([{"append": {"column": "nowhere"}}])),
        "column `nowhere`: there is no such column",
    );
    let extract = |pattern: &str, group: usize| {
        text(
            json!([{"extract": {"patterns": [{"pattern": pattern, "group": group}], "otherwise": "keep"}}]),
        )
    };
    refused(extract("(", 0), "is not a regular expression known here");
    refused(extract("(?=a)", 0), "look-around");
    refused(extract("(a)", 2), "the pattern \"(a)\" has no group 2");
    let tokens = |change: &str, value: serde_json::Value| {
        let mut step = json!({"op": "tokens", "name": "t", "column": "zone", "analyzer": "word", "token": {"word": 2},
            "ngrams": [1, 1], "vocabulary": ["a", "b"], "outputs": ["A", "B"]});
        step[change] = value;
        step
    };
    refused(tokens("outputs", json!(["A"])), "2 terms, but 1 outputs");
    refused(
        tokens("outputs", json!(["A", "year"])),
        "column `year`: the step would create this column",
    );
    refused(tokens("outputs", json!(["A", "A"])), "column `A`: the step would create this column");
    refused(tokens("vocabulary", json!(["a", "a"])), "the term \"a\" is listed twice");
    refused(tokens("idf", json!([1])), "1 values of idf, but 2 outputs");
    refused(tokens("hash", json!({"alternate_sign": true})), "one of `vocabulary` and `hash`");
    refused(tokens("ngrams", json!([2, 1])), "the range of n-grams is 2 to 1");
    refused(tokens("token", json!({"pattern": "(a)(b)"})), "has 2 groups, expected one at most");
    refused(tokens("column", json!("nowhere")), "column `nowhere`: there is no such column");
    let datetime = |column: &str, formats: serde_json::Value| {
        json!({"op": "datetime", "name": "d", "column": column,
        "formats": formats, "outputs": [{"part": "year", "output": "y"}]})
    };
    refused(datetime("zone", json!(null)), "this column holds text, so `formats` is needed");
    refused(datetime("zone", json!(["%B"])), "the directive `%B`");
    refused(datetime("zone", json!(["%Y-%m"])), "lacks one of %Y, %m and %d");
    refused(datetime("area", json!(null)), "needs a column of dates");
}

#[test]
fn fields_are_hashed_and_weighed() {
    let hash = json!({"op": "hash_features", "name": "h", "hash": {"alternate_sign": false}, "outputs": ["h0", "h1", "h2"],
        "columns": [{"column": "zone", "key": "zone"}, {"column": "area", "key": "area"}]});
    check(
        json!([hash, {"op": "weigh", "name": "w", "columns": ["h0", "h1", "h2"], "idf": [1.0, 2.0, null]}]),
        &["h0", "h1", "h2"],
        json!([{"area": 2.0, "year": 1, "sold": 1, "zone": "RL"}, {"area": 0, "year": 1, "sold": 1, "zone": "RL"}]),
        "[2.0, 0.0, inf]\n[0.0, 0.0, inf]",
    );
    // Without a key a text counts for itself; the buckets that are kept are those of the whole.
    check(
        json!([{"op": "hash_features", "name": "h", "hash": {"alternate_sign": true, "size": 8, "buckets": [3]},
            "columns": [{"column": "zone"}], "outputs": ["rl"]}]),
        &["rl"],
        json!([{"area": 2.0, "year": 1, "sold": 1, "zone": "RL"}, {"area": 0, "year": 1, "sold": 1, "zone": null}]),
        "[1.0]\n[0.0]",
    );
}

#[test]
fn a_norm_takes_no_infinite_weight() {
    check(
        json!([{"op": "weigh", "name": "w", "columns": ["area"], "idf": [null], "norm": "l2"}]),
        &["area"],
        json!([{"area": 2.0, "year": 1, "sold": 1, "zone": "RL"}, {"area": 0, "year": 1, "sold": 1, "zone": "RL"}]),
        "[0.0]\nrow 0 Some(\"area\") infinite_value: step `w` does not take an infinite value in `area`",
    );
}

#[test]
fn a_missing_value_is_drawn_by_the_seed_of_its_row() {
    check(
        json!([{"op": "sample", "name": "s", "seed": "year", "columns": [
            {"column": "area", "values": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]},
            {"column": "zone", "values": ["a", "b", "c"]}]},
            {"op": "map", "name": "m", "columns": [{"column": "zone", "keys": ["a", "b", "c", "RL"], "values": [0, 1, 2, 9],
                "unseen": "error", "missing": "error"}]}]),
        &["area", "zone"],
        json!([
            {"area": null, "year": 42, "sold": 1, "zone": "RL"},
            {"area": 0.5, "year": 7, "sold": 1, "zone": null},
            {"area": null, "year": -1, "sold": 1, "zone": "RL"},
        ]),
        "[6.0, 9.0]\n[0.5, 0.0]\n\
         row 2 Some(\"year\") out_of_domain: step `s` takes only unsigned 32-bit values in `year`, found -1",
    );
}

#[test]
fn the_parts_of_a_text_are_looked_up_each() {
    let steps = |unseen: serde_json::Value, split: serde_json::Value| {
        json!([{"op": "expand", "name": "e", "columns": [{"column": "zone", "outputs": ["a", "b", "other"], "keys": ["a", "b"],
            "ones": [0, 1], "unseen": unseen, "missing": "zeros", "split": split}]}])
    };
    let rows = json!([
        {"area": 1, "year": 1, "sold": 1, "zone": " a |b||a"},
        {"area": 1, "year": 1, "sold": 1, "zone": "a|z"},
        {"area": 1, "year": 1, "sold": 1, "zone": null},
    ]);
    let features = &["a", "b", "other"];
    check(
        steps(json!({"row": [0, 0, 1]}), json!({"separator": "|", "strip": true})),
        features,
        rows.clone(),
        "[1.0, 1.0, 0.0]\n[1.0, 0.0, 1.0]\n[0.0, 0.0, 0.0]",
    );
    check(
        steps(json!("missing"), json!({"separator": "|", "strip": true})),
        features,
        rows.clone(),
        "[1.0, 1.0, 0.0]\n[NaN, NaN, NaN]\n[0.0, 0.0, 0.0]",
    );
    // Without `strip` the blanks belong to the parts; an empty separator takes characters; none takes words.
    for (split, expected) in [
        (json!({"separator": "|"}), "[1.0, 1.0, 0.0]\n[1.0, 0.0, 0.0]\n[0.0, 0.0, 0.0]"),
        (json!({"separator": ""}), "[1.0, 1.0, 0.0]\n[1.0, 0.0, 0.0]\n[0.0, 0.0, 0.0]"),
        (json!({}), "[1.0, 0.0, 0.0]\n[0.0, 0.0, 0.0]\n[0.0, 0.0, 0.0]"),
    ] {
        check(steps(json!("zeros"), split), features, rows.clone(), expected);
    }
}

#[test]
fn unsound_parameters_of_sparse_and_drawing_steps_are_refused() {
    #[track_caller]
    fn refused(step: serde_json::Value, expected: &str) {
        assert_eq!(load(json!([step]), &["area"]).unwrap_err().to_string(), expected);
    }
    let affine = |value: serde_json::Value| json!({"op": "affine", "name": "s", "columns": [{"column": "area", "divide": value}]});
    refused(
        affine(json!(null)),
        "step 1 (`s`): the parameters of `affine` are not sound: invalid type: null, expected f64",
    );
    refused(
        json!({"op": "sample", "name": "s", "seed": "zone", "columns": [{"column": "area", "values": [1]}]}),
        "step 1 (`s`), column `zone`: `s` needs a number column, but this one holds text",
    );
    refused(
        json!({"op": "sample", "name": "s", "seed": "year", "columns": [{"column": "area", "values": []}]}),
        "step 1 (`s`), column `area`: there is no value to draw",
    );
    refused(
        json!({"op": "sample", "name": "s", "seed": "year", "columns": [{"column": "area", "values": ["a"]}]}),
        "step 1 (`s`), column `area`: the column holds numbers, and a value is \"a\"",
    );
    refused(
        json!({"op": "sample", "name": "s", "seed": "year", "columns": [{"column": "zone", "values": [1]}]}),
        "step 1 (`s`), column `zone`: the column holds text, and a value is 1",
    );
    refused(
        json!({"op": "weigh", "name": "w", "columns": ["area"], "idf": [1.0, 2.0]}),
        "step 1 (`w`): 2 values of idf, but 1 outputs",
    );
    refused(
        json!({"op": "weigh", "name": "w", "columns": ["area", "area"]}),
        "step 1 (`w`), column `area`: listed twice",
    );
    refused(
        json!({"op": "weigh", "name": "w", "columns": ["zone"]}),
        "step 1 (`w`), column `zone`: `weigh` takes numbers",
    );
    refused(
        json!({"op": "weigh", "name": "w", "columns": []}),
        "step 1 (`w`): a column is listed twice, or none is",
    );
    let hash = |column: serde_json::Value, outputs: serde_json::Value| json!({"op": "hash_features", "name": "h", "hash": {"alternate_sign": true}, "columns": [column], "outputs": outputs});
    refused(
        hash(json!({"column": "area"}), json!(["x"])),
        "step 1 (`h`), column `area`: a column of numbers needs a `key`",
    );
    refused(hash(json!({"column": "zone"}), json!([])), "step 1 (`h`): 0 outputs");
    refused(
        hash(json!({"column": "lot", "key": "lot"}), json!(["x"])),
        "step 1 (`h`), column `lot`: there is no such column at this point; there are: area, year, sold, zone",
    );
    let expand = |column: &str, keys: serde_json::Value, table: &str| {
        let rows = if table == "rows" { json!([[1]]) } else { json!([0]) };
        json!({"op": "expand", "name": "e", "columns": [{"column": column, "outputs": ["x"], "keys": keys, table: rows,
            "unseen": "zeros", "missing": "zeros", "split": {"separator": "|"}}]})
    };
    refused(
        expand("zone", json!(["a"]), "rows"),
        "step 1 (`e`), column `zone`: `split` needs `ones`",
    );
    refused(
        expand("zone", json!([1]), "ones"),
        "step 1 (`e`), column `zone`: with `split` the keys are text, but one is 1",
    );
    refused(
        expand("area", json!(["a"]), "ones"),
        "step 1 (`e`), column `area`: this step takes text, but the column holds numbers",
    );
    let curve = |x: serde_json::Value, y: serde_json::Value| json!({"op": "interpolate", "name": "i", "columns": [{"column": "area", "x": x, "y": y}]});
    refused(
        curve(json!([0.0, null]), json!([0, 1])),
        "step 1 (`i`): the parameters of `interpolate` are not sound: invalid type: null, expected f64",
    );
    refused(
        curve(json!([1, 0]), json!([0, 1])),
        "step 1 (`i`), column `area`: the knots `x` are not in ascending order",
    );
    refused(
        curve(json!([1]), json!([0, 1])),
        "step 1 (`i`), column `area`: 1 knots `x`, but 2 `y`; expected as many, at least one",
    );
    // A NaN edge is `null` in JSON.
    let cut = |edges: serde_json::Value| json!({"op": "cut", "name": "c", "columns": [{"column": "area", "edges": edges, "closed": "left", "values": [0, 1]}]});
    refused(
        cut(json!([null])),
        "step 1 (`c`): the parameters of `cut` are not sound: invalid type: null, expected f64",
    );
}

#[test]
fn the_shortcut_gives_the_bits_and_the_faults_of_the_steps() {
    let steps = |zone: serde_json::Value| {
        json!([
            {"op": "map", "name": "zones", "columns": [{"column": "zone", "keys": ["RL", "FV"], "values": [1, 2.5],
                "unseen": "missing", "missing": "keep"}]},
            {"op": "check", "name": "scaler", "columns": ["area", "year"], "refuse": ["infinite"]},
            {"op": "affine", "name": "scaler", "columns": [
                {"column": "area", "subtract": 0.1, "divide": 0.3, "multiply": 1e10}, zone,
                {"column": "year", "divide": 3.0}]},
            {"op": "check", "name": "Lasso", "columns": ["zone", "year", "area"], "refuse": ["missing", "infinite"]},
        ])
    };
    let plain = json!({"column": "zone", "multiply": 0.7, "add": -1.3});
    let clipped = json!({"column": "zone", "multiply": 0.7, "add": -1.3, "clip": [0.0, 1.0]});
    let features = ["year", "area", "zone"];
    // Which operations are still run one by one, of six: the zone is folded.
    let left = |steps: serde_json::Value| {
        load(steps, &features).unwrap().shortcut.map(|way| way.operations)
    };
    assert_eq!(left(steps(plain.clone())), Some(vec![]));
    // A folded zone may be clipped.
    assert_eq!(left(steps(clipped)), Some(vec![]));
    // What a clip makes finite has to be looked at before.
    let year = json!([
        {"op": "check", "name": "scaler", "columns": ["area", "year"], "refuse": ["infinite"]},
        {"op": "affine", "name": "scaler", "columns": [{"column": "year", "multiply": 0.7, "clip": [0.0, 1.0]}, {"column": "area", "add": 1.0}]},
        {"op": "check", "name": "Lasso", "columns": ["year", "area"], "refuse": ["missing", "infinite"]},
    ]);
    let of_year = load(year.clone(), &features[..2]).unwrap();
    assert_eq!(of_year.shortcut.map(|way| way.operations), Some(vec![0, 1, 2]));
    // Without the last check what is missing is no reason to take the long way.
    let without_check = json!(year.as_array().unwrap()[..2]);
    assert!(load(without_check, &features[..2]).unwrap().shortcut.is_none());
    let good = json!({"area": 123.456, "year": 1999, "sold": 1, "zone": "RL"});
    let also_good = json!({"area": -0.0, "year": -7, "sold": 1, "zone": "FV"});
    let missing = json!({"area": null, "year": 1, "sold": 1, "zone": "A (agr)"});
    let too_large = json!({"area": 1e300, "year": 1, "sold": 1, "zone": "RL"});
    let rows = [
        json!([good]),
        json!([good, also_good]),
        json!([good, missing, also_good]),
        json!([too_large]),
        json!([missing]),
    ];
    assert_same_both_ways(&steps(plain), &features, &rows);
}

/// What scikit-learn casts to float32 must fit into it: a check of bounds beside that for what is missing.
#[test]
fn the_shortcut_keeps_the_bounds_of_a_check() {
    let columns = json!(["area", "year"]);
    let finite =
        json!({"op": "check", "name": "a", "columns": columns, "refuse": ["missing", "infinite"]});
    let within = |between: serde_json::Value| json!({"op": "check", "name": "b", "columns": columns, "refuse": ["outside"], "between": between});
    let scaled = json!({"op": "affine", "name": "c", "columns": [{"column": "area", "multiply": 2.0, "add": 1.0}]});
    let features = ["area", "year"];
    let row = |area: f64, year: i64| json!({"area": area, "year": year, "sold": 1, "zone": "RL"});
    let rows = [
        json!([row(0.5, 5)]),
        json!([row(-3.0, 7)]),
        json!([row(-3.000_000_1, 7)]),
        json!([row(7.000_000_1, 7)]),
        json!([row(3.1, 5)]),
        json!([row(0.5, 5), row(0.5, -4), row(0.5, 8), row(7.0, 7), row(-100.0, 9)]),
        json!([row(0.5, 5), {"area": null, "year": 5, "sold": 1, "zone": "RL"}]),
    ];
    // Which operations are still run one by one: of the checks two each, for the columns.
    for (steps, left) in [
        (json!([finite, within(json!([-3, 7]))]), vec![]),
        (json!([within(json!([-3, 7])), finite]), vec![]),
        (json!([within(json!([-9, 7])), finite, within(json!([-3, 8]))]), vec![]),
        (json!([finite, within(json!([null, 7]))]), vec![]),
        (json!([finite, within(json!([-3, null]))]), vec![]),
        (json!([scaled, finite, within(json!([-3, 7]))]), vec![]),
        // Whether it was within the bounds before does not show afterwards. That `year` is, does: checks are left from the end on.
        (json!([within(json!([-3, 7])), scaled, finite]), vec![0]),
    ] {
        let way = load(steps.clone(), &features).unwrap().shortcut.map(|way| way.operations);
        assert_eq!(way, Some(left), "{steps}");
        assert_same_both_ways(&steps, &features, &rows);
    }
}

/// The shortcut gives the same features, bit for bit, and the same faults as the steps one by one.
fn assert_same_both_ways(
    steps: &serde_json::Value,
    features: &[&str],
    requests: &[serde_json::Value],
) {
    let at_once = load(steps.clone(), features).unwrap();
    let mut one_by_one = load(steps.clone(), features).unwrap();
    one_by_one.shortcut = None;
    for rows in requests {
        let mut frame = schema().frame();
        let body = rows.to_string();
        schema().decode(body.as_bytes(), &DecodeOptions::default(), &mut frame).unwrap();
        let found = |pipeline: &Pipeline| {
            let mut workspace = Workspace::default();
            pipeline.run(&frame, &mut workspace);
            let bits: Vec<u64> = workspace.features().iter().map(|x| x.to_bits()).collect();
            (bits, workspace.n_rows(), format!("{:?}", workspace.faults()))
        };
        assert_eq!(found(&at_once), found(&one_by_one), "{rows}");
    }
}

/// A frame of one row for each zone, all of them of different entries, or one entry for each zone. A table read from a file has the latter.
fn zones(zones: &[Option<&str>], shared: bool) -> Frame {
    let mut column = TextColumn::default();
    let mut entries: HashMap<&str, u32> = HashMap::new();
    for zone in zones {
        match zone {
            None => column.push_missing(),
            Some(zone) if shared => {
                let code = *entries.entry(zone).or_insert_with(|| column.intern(zone));
                column.push_code(code);
            }
            Some(zone) => column.push(zone),
        }
    }
    let years = || {
        let mut years = IntColumn::default();
        zones.iter().for_each(|_| years.push(1));
        schema::Column::Int(years)
    };
    Frame::new(vec![
        schema::Column::Float(vec![1.5; zones.len()]),
        years(),
        years(),
        schema::Column::Text(column),
    ])
}

proptest::proptest! {
    /// Values that come again are looked up once, with the same numbers and the same faults.
    #[test]
    fn a_table_of_few_values_is_mapped_as_row_by_row(
        cells in proptest::collection::vec("R|S|T|other|NA", 60..100),
        n_kinds in 1_usize..6,
        first: [proptest::sample::Index; 2],
        second: [proptest::sample::Index; 2],
        is_text: bool,
        fills: bool,
    ) {
        let others = |value: serde_json::Value| [json!("missing"), json!("error"), json!("keep"), json!({"value": value})];
        let chosen = |choice: &[proptest::sample::Index; 2], value: serde_json::Value, keep: bool| {
            let mut all = others(value).to_vec();
            let missing = choice[1].get(&all).clone();
            if !keep {
                all.remove(2);
            }
            (choice[0].get(&all).clone(), missing)
        };
        let (unseen, missing) = chosen(&first, json!("Rare"), is_text);
        let mut steps = vec![json!({"op": "map", "name": "rare", "columns": [{"column": "zone", "keys": ["R", "S"],
            "values": ["R", "S"], "unseen": unseen, "missing": missing}]})];
        if fills {
            steps.push(json!({"op": "fill", "name": "fill", "columns": [{"column": "zone", "value": "T"}]}));
        }
        let (unseen, missing) = chosen(&second, json!(-1), false);
        steps.push(json!({"op": "map", "name": "code", "columns": [{"column": "zone", "keys": ["R", "T", "Rare"],
            "values": [1, 2.5, 3], "unseen": unseen, "missing": missing}]}));
        steps.push(json!({"op": "check", "name": "end", "columns": ["zone"], "refuse": ["missing"]}));
        let pipeline = load(steps.clone().into(), &["zone", "area"]).unwrap();
        let kinds = ["R", "S", "T", "other", "NA"];
        let cells: Vec<Option<&str>> = cells
            .iter()
            .map(|cell| kinds[..n_kinds].iter().find(|kind| *kind == cell).copied().filter(|cell| *cell != "NA"))
            .collect();
        let run = |pipeline: &Pipeline, frame: &Frame| {
            let mut workspace = Workspace::default();
            pipeline.run(frame, &mut workspace);
            (format!("{:?}", workspace.features()), format!("{:?}", workspace.faults()))
        };
        let mut one_by_one = load(steps.into(), &["zone", "area"]).unwrap();
        assert!(one_by_one.shortcut.is_some(), "the zone can be folded");
        one_by_one.shortcut = None;
        // A row that comes alone has a way of its own.
        for cells in [&cells[..], &cells[..1]] {
            let expected = run(&one_by_one, &zones(cells, false));
            proptest::prop_assert_eq!(&run(&one_by_one, &zones(cells, true)), &expected);
            proptest::prop_assert_eq!(&run(&pipeline, &zones(cells, true)), &expected);
            proptest::prop_assert_eq!(&run(&pipeline, &zones(cells, false)), &expected);
        }
    }
}
