//! The proof: golden rows that the training code computed, computed again here and compared.
//!
//! Knows predictors; knows nothing of threads or HTTP. A server does not bind a port before this has passed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use crate::artifact::{GoldenOutput, GoldenRow, Tolerance};
use crate::postprocess::{OutputKind, Prediction};
use crate::predictor::{Model, PredictError, Predictions, Predictor, RowError};
use crate::schema::{DecodeOptions, Scalar, shorten};
use crate::tensor::{Element, Tensor};

pub use crate::postprocess::label_text;

/// Why an artifact is not proven.
#[derive(Debug, thiserror::Error)]
pub enum ProofError {
    /// The graph could not be run on a golden row.
    #[error("`{}`, row {row}: the prediction failed: {source}", .path.display())]
    Predict {
        /// The file of golden rows.
        path: PathBuf,
        /// The row, from 1.
        row: usize,
        /// What happened.
        #[source]
        source: PredictError,
    },
    /// A row gives something else than training recorded.
    #[error("`{}`, row {row}: {difference}", .path.display())]
    Different {
        /// The file of golden rows.
        path: PathBuf,
        /// The row, from 1.
        row: usize,
        /// What differs.
        difference: Box<Difference>,
    },
}

/// What differs from what training recorded.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Difference {
    /// A feature: the pipeline computes something else.
    #[error("the feature `{column}`, computed by {}, is {}, but training recorded {}{}; the pipeline of this artifact is not the one that was trained", named(.steps), number(*.found), number(*.expected), distance(*.found, *.expected, *.allowed))]
    Feature {
        /// The feature.
        column: String,
        /// The steps that computed it, in order.
        steps: Vec<String>,
        /// What was computed.
        found: f64,
        /// What was recorded.
        expected: f64,
        /// The difference that is allowed.
        allowed: f64,
    },
    /// An output, though the features agree: the graph or the postprocessing computes something else.
    #[error(
        "the output `{column}` is {found}, but training recorded {expected}{difference}; the features agree, so the graph or the postprocessing of this artifact is not the one that was trained"
    )]
    Output {
        /// `prediction`, or a label.
        column: String,
        /// What was computed.
        found: String,
        /// What was recorded.
        expected: String,
        /// For numbers, how far they are apart and may be; else empty.
        difference: String,
    },
    /// The row must fail and did not, must not and did, or failed otherwise.
    #[error("expected {expected}, found {found}")]
    Error {
        /// What was recorded.
        expected: String,
        /// What happened.
        found: String,
    },
    /// The row gives other bits in a batch than alone.
    #[error(
        "the prediction is {alone} alone, but {batch} in a batch of {n_rows}: rows must not influence one another"
    )]
    Batch {
        /// Alone.
        alone: String,
        /// In a batch with the other golden rows.
        batch: String,
        /// The batch.
        n_rows: usize,
    },
}

/// A number for people; NaN stands for a missing one.
fn number(value: f64) -> String {
    if value.is_nan() { "missing".to_owned() } else { format!("{value:?}") }
}

fn distance(found: f64, expected: f64, allowed: f64) -> String {
    let difference = (found - expected).abs();
    if difference.is_nan() {
        return String::new();
    }
    format!(" (difference {difference:.1e}, allowed {allowed:.1e})")
}

fn named(names: &[String]) -> String {
    match names {
        [] => "no step".to_owned(),
        [one] => format!("step `{one}`"),
        several => format!(
            "steps {}",
            several.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ),
    }
}

/// The largest difference seen, measured by what is allowed there.
#[derive(Debug, Clone, PartialEq, Default, serde::Serialize)]
pub struct Largest {
    /// The difference.
    pub absolute: f64,
    /// The same, relative to the recorded value; 0 where that is 0.
    pub relative: f64,
    /// The same, as a share of what is allowed: at most 1 in an artifact that is proven.
    pub share: f64,
    /// Its column; none when all are equal to the bit.
    pub column: Option<String>,
    /// Its golden row, from 1.
    pub row: Option<usize>,
}

impl Largest {
    fn add(&mut self, found: f64, expected: f64, tolerance: Tolerance, row: usize, column: &str) {
        let absolute = (found - expected).abs();
        if absolute.is_nan() || absolute == 0.0 {
            return;
        }
        let share = absolute / (tolerance.absolute + tolerance.relative * expected.abs());
        if self.column.is_none() || share > self.share {
            let relative = if expected == 0.0 { 0.0 } else { absolute / expected.abs() };
            *self =
                Self { absolute, relative, share, column: Some(column.to_owned()), row: Some(row) };
        }
    }
}

/// What was compared, and how close it was: the certificate.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Proof {
    /// Golden rows, all of them.
    pub rows: usize,
    /// Those that must fail, and do.
    pub error_rows: usize,
    /// Features of a row.
    pub features: usize,
    /// The largest difference between features.
    pub feature_difference: Largest,
    /// What is allowed between features.
    pub feature_tolerance: Tolerance,
    /// The largest difference between outputs.
    pub output_difference: Largest,
    /// What is allowed between outputs.
    pub output_tolerance: Tolerance,
}

/// Computes every golden row of the predictor's artifact again, alone and all in one batch, and compares.
///
/// # Errors
/// The first row that differs, with what was found and what was expected.
pub fn prove(predictor: &mut Predictor) -> Result<Proof, ProofError> {
    let model = Arc::clone(predictor.model());
    let artifact = model.artifact();
    let golden = artifact.manifest().golden;
    let mut proof = Proof {
        rows: artifact.golden().len(),
        error_rows: 0,
        features: artifact.manifest().features.len(),
        feature_difference: Largest::default(),
        feature_tolerance: golden.features,
        output_difference: Largest::default(),
        output_tolerance: golden.output,
    };
    let mut prover = Prover { predictor, proof: &mut proof };
    let mut alone = Vec::new();
    for (at, row) in artifact.golden().iter().enumerate() {
        alone.push(prover.row(at + 1, row)?);
    }
    prover.batch(artifact.golden(), &alone)?;
    Ok(proof)
}

struct Prover<'a> {
    predictor: &'a mut Predictor,
    proof: &'a mut Proof,
}

impl Prover<'_> {
    fn row(&mut self, number: usize, row: &GoldenRow) -> Result<Predictions, ProofError> {
        let model = Arc::clone(self.predictor.model());
        let path = || model.artifact().golden_path();
        let different = |difference| ProofError::Different {
            path: path(),
            row: number,
            difference: Box::new(difference),
        };
        let (schema, mut frame) = (model.schema(), model.schema().frame());
        let body = format!("{{\"inputs\":[{}]}}", row.input.get());
        let decoded = schema
            .decode(body.as_bytes(), &DecodeOptions::default(), &mut frame)
            .map_err(|error| {
                different(Difference::Error {
                    expected: "a JSON row".to_owned(),
                    found: error.to_string(),
                })
            })?;
        let predictions = self.predictor.predict(&frame).map_err(|source| ProofError::Predict {
            path: path(),
            row: number,
            source,
        })?;
        let mut found: Vec<(Option<String>, &'static str, String)> = decoded
            .errors
            .iter()
            .map(|error| (error.field.clone(), error.problem.code(), error.problem.to_string()))
            .collect();
        // A recorded `null` says that training had no number there either.
        let has_null = row.output.as_ref().is_some_and(|output| holds_null(&output.prediction));
        let counts = |error: &&RowError| error.problem.is_invalid_input() || !has_null;
        found.extend(predictions.errors.iter().filter(counts).map(|error| {
            let field = error
                .field
                .and_then(|field| schema.fields().get(field))
                .map(|field| field.name().to_owned());
            (field, error.problem.code(), error.problem.to_string())
        }));
        let place = |field: &Option<String>| {
            field.as_ref().map(|field| format!(" at `{field}`")).unwrap_or_default()
        };
        if let Some(expected) = &row.error {
            self.proof.error_rows += 1;
            let matches = |(field, code, _): &(Option<String>, &'static str, String)| {
                *code == expected.code && (expected.field.is_none() || expected.field == *field)
            };
            if !found.iter().any(matches) {
                let expected = format!("the error `{}`{}", expected.code, place(&expected.field));
                let found = match found.first() {
                    Some((field, code, text)) => {
                        format!("the error `{code}`{}: {text}", place(field))
                    }
                    None => {
                        format!("the prediction {}", shown(&model, predictions.rows.first(), &[]))
                    }
                };
                return Err(different(Difference::Error { expected, found }));
            }
            return Ok(predictions);
        }
        if let Some((field, code, text)) = found.first() {
            return Err(different(Difference::Error {
                expected: "a prediction".to_owned(),
                found: format!("the error `{code}`{}: {text}", place(field)),
            }));
        }
        if let Some(expected) = &row.features {
            self.features(number, expected).map_err(different)?;
        }
        if let Some(expected) = &row.output {
            self.output(number, &predictions, expected).map_err(different)?;
        }
        Ok(predictions)
    }

    fn features(&mut self, number: usize, expected: &[Option<f64>]) -> Result<(), Difference> {
        let model = Arc::clone(self.predictor.model());
        let tolerance = self.proof.feature_tolerance;
        let names = model.pipeline().feature_names();
        for (at, ((found, expected), name)) in
            self.predictor.features().iter().zip(expected).zip(names).enumerate()
        {
            let (found, expected) = (*found, expected.unwrap_or(f64::NAN));
            if !tolerance.allows(found, expected) {
                return Err(Difference::Feature {
                    column: name.to_owned(),
                    steps: model
                        .pipeline()
                        .steps_of_feature(at)
                        .into_iter()
                        .map(str::to_owned)
                        .collect(),
                    found,
                    expected,
                    allowed: tolerance.absolute + tolerance.relative * expected.abs(),
                });
            }
            self.proof.feature_difference.add(found, expected, tolerance, number, name);
        }
        Ok(())
    }

    fn output(
        &mut self,
        row: usize,
        found: &Predictions,
        expected: &GoldenOutput,
    ) -> Result<(), Difference> {
        let model = Arc::clone(self.predictor.model());
        let tolerance = self.proof.output_tolerance;
        let labels = model.postprocess().labels();
        let mut number_is = |column: &str, found: f64, expected: f64| {
            self.proof.output_difference.add(found, expected, tolerance, row, column);
            if tolerance.allows(found, expected) {
                return Ok(());
            }
            Err(Difference::Output {
                column: column.to_owned(),
                found: number(found),
                expected: number(expected),
                difference: distance(
                    found,
                    expected,
                    tolerance.absolute + tolerance.relative * expected.abs(),
                ),
            })
        };
        if let Some(expected) = &expected.probabilities {
            for (at, label) in labels.iter().enumerate() {
                let text = label_text(label);
                let expected = recorded(expected, label).unwrap_or(f64::NAN);
                number_is(
                    &text,
                    found.probabilities.get(at).copied().unwrap_or(f64::NAN),
                    expected,
                )?;
            }
        }
        let found = found.rows.first();
        let expected = &expected.prediction;
        let different = || Difference::Output {
            column: "prediction".to_owned(),
            found: shown(&model, found, &[]),
            expected: match expected {
                Value::String(text) => format!("`{text}`"),
                other => shorten(&other.to_string(), 200),
            },
            difference: String::new(),
        };
        let is_label = |label: usize, expected: &Value| {
            let expected: Option<Scalar> = serde_json::from_value(expected.clone()).ok();
            expected.is_some() && labels.get(label) == expected.as_ref()
        };
        match (found, expected) {
            (Some(Prediction::Number(found)), Value::Number(expected)) => {
                number_is("prediction", *found, as_number(expected))
            }
            (Some(Prediction::Numbers(found)), Value::Array(expected))
                if found.len() == expected.len() =>
            {
                let OutputKind::Numbers(names) = model.postprocess().kind() else {
                    return Err(different());
                };
                for ((found, expected), name) in found.iter().zip(expected).zip(names) {
                    match expected {
                        Value::Number(expected) => number_is(name, *found, as_number(expected))?,
                        Value::Null if !found.is_finite() => {}
                        _ => return Err(different()),
                    }
                }
                Ok(())
            }
            (Some(Prediction::Label(label)), expected) if is_label(*label, expected) => Ok(()),
            (Some(Prediction::Labels(found)), Value::Array(expected))
                if found.len() == expected.len()
                    && found.iter().zip(expected).all(|(label, value)| is_label(*label, value)) =>
            {
                Ok(())
            }
            (Some(Prediction::Tensors(found)), expected) => {
                let OutputKind::Tensors(names) = model.postprocess().kind() else {
                    return Err(different());
                };
                let several = names.len() > 1;
                for (name, found) in names.iter().zip(found) {
                    let expected = if several { expected.get(name) } else { Some(expected) };
                    let expected = expected.ok_or_else(different)?;
                    compare_tensor(name, found, expected, &mut number_is)?;
                }
                Ok(())
            }
            // What training recorded as `null` is nothing here either.
            (Some(Prediction::None), Value::Null) => Ok(()),
            _ => Err(different()),
        }
    }

    /// All golden rows in one frame: the same bits as alone.
    fn batch(&mut self, rows: &[GoldenRow], alone: &[Predictions]) -> Result<(), ProofError> {
        let model = Arc::clone(self.predictor.model());
        let path = || model.artifact().golden_path();
        let inputs: Vec<&str> = rows.iter().map(|row| row.input.get()).collect();
        let body = format!("{{\"inputs\":[{}]}}", inputs.join(","));
        let mut frame = model.schema().frame();
        let options = DecodeOptions { max_rows: usize::MAX, ..DecodeOptions::default() };
        let Ok(decoded) = model.schema().decode(body.as_bytes(), &options, &mut frame) else {
            // Each row was decoded alone just now.
            return Ok(());
        };
        let together = self.predictor.predict(&frame).map_err(|source| ProofError::Predict {
            path: path(),
            row: 1,
            source,
        })?;
        for (at, found) in together.rows.iter().enumerate() {
            let row = decoded.kept.as_ref().map_or(at, |kept| kept.get(at).copied().unwrap_or(at));
            let Some(alone) = alone.get(row) else { continue };
            if !is_row(alone, &together, at) {
                let difference = Difference::Batch {
                    alone: shown(&model, alone.rows.first(), &alone.probabilities),
                    batch: shown(&model, Some(found), probabilities_of(&together, at)),
                    n_rows: together.rows.len(),
                };
                return Err(ProofError::Different {
                    path: path(),
                    row: row + 1,
                    difference: Box::new(difference),
                });
            }
        }
        Ok(())
    }
}

/// Compares a tensor with the nested arrays that were recorded, each number with `number_is`.
fn compare_tensor(
    name: &str,
    found: &Tensor,
    expected: &Value,
    number_is: &mut impl FnMut(&str, f64, f64) -> Result<(), Difference>,
) -> Result<(), Difference> {
    let different = |column: String, found: String, expected: &Value| Difference::Output {
        column,
        found,
        expected: shorten(&expected.to_string(), 200),
        difference: String::new(),
    };
    let shape = found.shape();
    let mut values = Vec::with_capacity(found.len());
    if !flatten(expected, shape, &mut values) {
        let found = format!("a tensor of the shape {shape:?}");
        return Err(different(name.to_owned(), found, expected));
    }
    for (at, (element, expected)) in found.elements().zip(values).enumerate() {
        let same = match (element, expected) {
            (Element::Float(found), Value::Number(expected)) => {
                let expected = as_number(expected);
                if found.to_bits() != expected.to_bits() {
                    number_is(&position(name, shape, at), found, expected)?;
                }
                true
            }
            (Element::Float(found), Value::Null) => !found.is_finite(),
            (Element::Int(found), Value::Number(expected)) => {
                let exact = expected.as_i64().map(i128::from);
                exact.or_else(|| expected.as_u64().map(i128::from)) == Some(found)
            }
            (Element::Bool(found), Value::Bool(expected)) => found == *expected,
            (Element::Text(found), Value::String(expected)) => found == expected,
            _ => false,
        };
        if !same {
            let found = match element {
                Element::Float(found) => number(found),
                Element::Int(found) => found.to_string(),
                Element::Bool(found) => found.to_string(),
                Element::Text(found) => Value::from(found).to_string(),
            };
            return Err(different(position(name, shape, at), found, expected));
        }
    }
    Ok(())
}

/// The values of nested arrays of this shape, in order; false when they have another one.
fn flatten<'a>(nested: &'a Value, shape: &[usize], values: &mut Vec<&'a Value>) -> bool {
    match (shape.split_first(), nested) {
        (None, value) => {
            values.push(value);
            true
        }
        (Some((length, inner)), Value::Array(entries)) => {
            entries.len() == *length && entries.iter().all(|entry| flatten(entry, inner, values))
        }
        (Some(_), _) => false,
    }
}

/// The place of a value in a tensor: `logits[0, 3]`.
fn position(name: &str, shape: &[usize], mut at: usize) -> String {
    if shape.is_empty() {
        return name.to_owned();
    }
    let mut indices = Vec::with_capacity(shape.len());
    for length in shape.iter().rev() {
        indices.push((at % length).to_string());
        at /= length;
    }
    indices.reverse();
    format!("{name}[{}]", indices.join(", "))
}

/// Whether what a row gives alone is the same, to the bit, as what it gives as the row `at` of several.
#[must_use]
pub fn is_row(alone: &Predictions, together: &Predictions, at: usize) -> bool {
    let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
    let same = alone.rows.first().zip(together.rows.get(at));
    same.is_some_and(|(one, other)| same_bits(one, other))
        && bits(&alone.probabilities) == bits(probabilities_of(together, at))
}

/// The probabilities of a row; none where the model gives none.
fn probabilities_of(predictions: &Predictions, row: usize) -> &[f64] {
    let width = predictions.probabilities.len().checked_div(predictions.rows.len()).unwrap_or(0);
    predictions.probabilities.get(row * width..(row + 1) * width).unwrap_or_default()
}

/// Whether two predictions are the same to the bit; NaN is itself.
fn same_bits(one: &Prediction, other: &Prediction) -> bool {
    let equal = |one: f64, other: f64| one.to_bits() == other.to_bits();
    match (one, other) {
        (Prediction::Number(one), Prediction::Number(other)) => equal(*one, *other),
        (Prediction::Numbers(one), Prediction::Numbers(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(a, b)| equal(*a, *b))
        }
        (Prediction::Tensors(one), Prediction::Tensors(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| {
                    let same = |(one, other)| match (one, other) {
                        (Element::Float(one), Element::Float(other)) => equal(one, other),
                        (one, other) => one == other,
                    };
                    one.shape() == other.shape() && one.elements().zip(other.elements()).all(same)
                })
        }
        (one, other) => one == other,
    }
}

/// Whether a recorded prediction holds a `null`.
fn holds_null(recorded: &Value) -> bool {
    match recorded {
        Value::Null => true,
        Value::Array(entries) => entries.iter().any(holds_null),
        Value::Object(entries) => entries.values().any(holds_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// A prediction for people.
fn shown(model: &Model, prediction: Option<&Prediction>, probabilities: &[f64]) -> String {
    let mut text = match prediction {
        Some(Prediction::Number(number)) => format!("{number:?}"),
        Some(Prediction::Label(label)) => match model.postprocess().labels().get(*label) {
            Some(label) => format!("`{}`", label_text(label)),
            None => "no label".to_owned(),
        },
        Some(Prediction::None) | None => "none".to_owned(),
        Some(several) => {
            let mut json = Vec::new();
            model.postprocess().write_prediction(several, &mut json);
            shorten(&String::from_utf8_lossy(&json), 200)
        }
    };
    if !probabilities.is_empty() {
        text.push_str(&format!(" with the probabilities {probabilities:?}"));
    }
    text
}

/// The probability that training recorded for a label. Numbers are compared by value, as not all languages write them alike.
fn recorded(probabilities: &BTreeMap<String, f64>, label: &Scalar) -> Option<f64> {
    let same = |key: &str| match label {
        Scalar::Float(value) => {
            key.parse::<f64>().is_ok_and(|key| key.to_bits() == value.to_bits())
        }
        label => key == label_text(label),
    };
    probabilities.iter().find(|(key, _)| same(key)).map(|(_, value)| *value)
}

/// A recorded float that JSON may have written without a fraction.
fn as_number(value: &serde_json::Number) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}
