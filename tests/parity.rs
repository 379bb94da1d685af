//! Predictions equal those of the Python pipelines: on the golden rows, on the data that the models were trained and tested on, and on
//! random rows with all that is rare in them. tests/data/house-prices/README.md says where the numbers come from.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]
#![expect(
    clippy::print_stdout,
    reason = "`cargo test -- --nocapture` shows how close the numbers are"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use seaworthy::config;
use seaworthy::postprocess::Prediction;
use seaworthy::predictor::Predictor;
use seaworthy::schema::{DecodeOptions, Kind, Schema};
use seaworthy::startup::{load_and_prove, open_runtime};
use serde_json::value::RawValue;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn data(file: &str) -> String {
    std::fs::read_to_string(root().join("tests/data/house-prices").join(file)).unwrap()
}

fn house_prices(version: &str) -> Predictor {
    open_runtime(&config::process()).unwrap();
    load_and_prove(&root().join("models/house-prices").join(version)).unwrap().0
}

/// What the server makes of a body of rows: for each row a number, or the codes of its errors.
fn predict(predictor: &mut Predictor, rows: &[String]) -> Vec<Result<f64, String>> {
    let model = std::sync::Arc::clone(predictor.model());
    let mut frame = model.schema().frame();
    let body = format!("{{\"inputs\":[{}]}}", rows.join(","));
    let options = DecodeOptions { max_errors: usize::MAX, ..DecodeOptions::default() };
    let decoded = model.schema().decode(body.as_bytes(), &options, &mut frame).unwrap();
    let mut codes: Vec<Vec<&str>> = vec![Vec::new(); rows.len()];
    for error in &decoded.errors {
        codes[error.row.unwrap()].push(error.problem.code());
    }
    let predictions = predictor.predict(&frame).unwrap();
    let row_of = |at: usize| decoded.kept.as_ref().map_or(at, |kept| kept[at]);
    for error in &predictions.errors {
        codes[row_of(error.row)].push(error.problem.code());
    }
    let mut results: Vec<Result<f64, String>> =
        codes.iter().map(|codes| Err(codes.join(" "))).collect();
    for (at, prediction) in predictions.rows.iter().enumerate() {
        if let Prediction::Number(number) = prediction {
            results[row_of(at)] = Ok(*number);
        }
    }
    for (row, result) in results.iter().enumerate() {
        // Either a prediction or an error, never neither or both.
        assert_eq!(result.is_ok(), codes[row].is_empty(), "row {row}");
    }
    results
}

/// Each row in a request of its own.
fn predict_alone(predictor: &mut Predictor, rows: &[String]) -> Vec<Result<f64, String>> {
    rows.iter().map(|row| predict(predictor, std::slice::from_ref(row)).remove(0)).collect()
}

fn bits(results: &[Result<f64, String>]) -> Vec<Result<u64, &str>> {
    results
        .iter()
        .map(|result| result.as_ref().map(|x| x.to_bits()).map_err(String::as_str))
        .collect()
}

/// The rows of a CSV file without quotes, as a client would send them: `NA` is null, numbers by the schema.
fn csv_rows(text: &str, schema: &Schema) -> Vec<String> {
    assert!(!text.contains('"'), "this reader knows no quotes");
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            assert_eq!(cells.len(), header.len(), "{line}");
            let mut row = String::from("{");
            for (name, cell) in header.iter().zip(cells) {
                // A column that is no field is left out; one may be called by an alias.
                let Some(field) = schema.index_of(name).map(|index| &schema.fields()[index]) else {
                    continue;
                };
                let value = match field.kind() {
                    _ if cell == "NA" || cell.is_empty() => "null".to_owned(),
                    Kind::Int | Kind::Float => cell.to_owned(),
                    Kind::String | Kind::Bool | Kind::Datetime | Kind::Tensor | Kind::Image => {
                        serde_json::to_string(cell).unwrap()
                    }
                };
                let comma = if row.len() > 1 { "," } else { "" };
                write!(row, "{comma}\"{name}\":{value}").unwrap();
            }
            row + "}"
        })
        .collect()
}

/// `row,Id,prediction`: pairs of Id and prediction.
fn predictions(file: &str) -> BTreeMap<usize, f64> {
    let text = data(file);
    text.lines()
        .skip(1)
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            (cells[1].parse().unwrap(), cells[2].parse().unwrap())
        })
        .collect()
}

/// The largest relative difference. Fails where one side has a number and the other has none.
fn largest_difference(found: &[Result<f64, String>], expected: &[Option<f64>]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let mut largest = 0.0_f64;
    for (row, (found, expected)) in found.iter().zip(expected).enumerate() {
        match (found, expected) {
            (Ok(found), Some(expected)) => {
                largest = largest.max((found - expected).abs() / expected.abs());
            }
            (Err(_), None) => {}
            _ => panic!("row {row}: found {found:?}, Python has {expected:?}"),
        }
    }
    largest
}

/// All that is compared for one set of rows, in a line.
fn compare(what: &str, predictor: &mut Predictor, rows: &[String], expected: &[Option<f64>]) {
    // Python's exponential and logarithm and this machine's may round differently.
    const ALLOWED: f64 = 1e-12;
    let alone = predict_alone(predictor, rows);
    let largest = largest_difference(&alone, expected);
    let n_refused = expected.iter().filter(|expected| expected.is_none()).count();
    println!("{what}: {} rows, {n_refused} refused, largest difference {largest:.2e}", rows.len());
    assert!(largest <= ALLOWED, "{what}: {largest:e}");

    // The same bits, however the rows are put into requests.
    let whole = predict(predictor, rows);
    assert_eq!(bits(&whole), bits(&alone), "{what}: whole and row by row");
    let mut state = 42_u64;
    for _ in 0..3 {
        let mut split = Vec::new();
        let mut at = 0;
        while at < rows.len() {
            // The generator of Knuth's MMIX; sizes from 1 to 256, small ones often.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let size = 1_usize << (state >> 61);
            let end = (at + size + usize::from(state >> 40 & 1 == 1)).min(rows.len());
            split.extend(predict(predictor, &rows[at..end]));
            at = end;
        }
        assert_eq!(bits(&split), bits(&alone), "{what}: split and row by row");
    }
}

/// The directories of all artifacts here.
fn artifacts() -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    for model in std::fs::read_dir(root().join("models")).unwrap() {
        for version in std::fs::read_dir(model.unwrap().path()).unwrap() {
            dirs.push(version.unwrap().path());
        }
    }
    dirs.sort();
    dirs
}

#[test]
fn every_artifact_here_is_proven() {
    open_runtime(&config::process()).unwrap();
    let dirs = artifacts();
    assert!(dirs.len() >= 2, "{dirs:?}");
    for dir in dirs {
        let (_, proof) = load_and_prove(&dir).unwrap();
        assert!(proof.rows >= 64 && proof.error_rows < proof.rows, "{}: {proof:?}", dir.display());
        println!(
            "{}: features {:.1e}, outputs {:.1e}",
            dir.display(),
            proof.feature_difference.absolute,
            proof.output_difference.relative
        );
    }
}

#[test]
fn the_published_model_predicts_its_test_data_as_it_did() {
    let mut predictor = house_prices("3.2.0");
    let rows = csv_rows(&data("test.csv"), predictor.model().schema());
    let published = predictions("predictions_3.2.0.csv");
    let expected: Vec<Option<f64>> =
        (0..rows.len()).map(|row| published.get(&(row + 1461)).copied()).collect();
    assert_eq!((rows.len(), published.len()), (1459, 1449));
    compare("3.2.0, test.csv", &mut predictor, &rows, &expected);
    // The ten rows are refused by the schema: null in a field that may not be missing.
    let refused: Vec<String> =
        predict(&mut predictor, &rows).into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 10);
    for codes in refused {
        assert!(codes.split(' ').all(|code| code == "null"), "{codes}");
    }
}

#[test]
fn the_retrained_model_predicts_train_and_test_data_as_in_python() {
    let mut predictor = house_prices("3.3.0");
    let python = predictions("predictions_3.3.0.csv");
    for (file, first_id, n_rows) in [("train.csv", 1, 1460), ("test.csv", 1461, 1459)] {
        let rows = csv_rows(&data(file), predictor.model().schema());
        let expected: Vec<Option<f64>> =
            (0..rows.len()).map(|row| python.get(&(row + first_id)).copied()).collect();
        assert_eq!(rows.len(), n_rows);
        compare(&format!("3.3.0, {file}"), &mut predictor, &rows, &expected);
    }
}

#[derive(serde::Deserialize)]
struct RandomRow {
    input: Box<RawValue>,
    prediction: Option<f64>,
    error: Option<String>,
}

#[test]
fn random_rows_fail_where_python_fails_and_are_equal_elsewhere() {
    let mut said = String::new();
    for version in ["3.2.0", "3.3.0"] {
        let mut predictor = house_prices(version);
        let text = data(&format!("random_{version}.ndjson"));
        let random: Vec<RandomRow> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(random.len(), 2000);
        for row in &random {
            assert_eq!(row.prediction.is_none(), row.error.is_some(), "{}", row.input);
        }
        let rows: Vec<String> = random.iter().map(|row| row.input.get().to_owned()).collect();
        let expected: Vec<Option<f64>> = random.iter().map(|row| row.prediction).collect();
        // Rows of both kinds, or nothing is shown.
        let n_refused = expected.iter().filter(|expected| expected.is_none()).count();
        assert!((200..1800).contains(&n_refused), "{n_refused}");
        compare(&format!("{version}, random rows"), &mut predictor, &rows, &expected);

        // What Python says when it fails, and what the server says then.
        let mut reasons: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (row, found) in random.iter().zip(predict_alone(&mut predictor, &rows)) {
            if let (Some(python), Err(codes)) = (&row.error, found) {
                let mut codes: Vec<&str> = codes.split(' ').collect();
                codes.sort_unstable();
                codes.dedup();
                let python = python.lines().next().unwrap_or_default();
                // Without the names of columns, which come last.
                let python = python.split(['[', ':']).next().unwrap_or_default().trim_end();
                *reasons.entry((python.to_owned(), codes.join(" "))).or_default() += 1;
            }
        }
        for ((python, codes), n) in reasons {
            writeln!(said, "{version}: {n} times `{codes}` for: {python}").unwrap();
        }
    }
    insta::assert_snapshot!(said);
}
