//! The proof: golden rows that the training code computed, computed again here and compared.
//!
//! Knows predictors; knows nothing of threads or HTTP. A server does not bind a port before this has passed.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::artifact::{GoldenOutput, GoldenRow, Tolerance};
use crate::postprocess::Prediction;
use crate::predictor::{Model, PredictError, Predictions, Predictor};
use crate::schema::{DecodeOptions, Scalar};

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
        found.extend(predictions.errors.iter().map(|error| {
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
        match (found.rows.first(), as_number(&expected.prediction)) {
            (Some(Prediction::Number(found)), Some(expected)) => {
                number_is("prediction", *found, expected)
            }
            (Some(Prediction::Label(label)), _)
                if labels.get(*label) == Some(&expected.prediction) =>
            {
                Ok(())
            }
            (found, _) => Err(Difference::Output {
                column: "prediction".to_owned(),
                found: shown(&model, found, &[]),
                expected: format!("`{}`", label_text(&expected.prediction)),
                difference: String::new(),
            }),
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
        let width = model.postprocess().labels().len();
        for (at, found) in together.rows.iter().enumerate() {
            let row = decoded.kept.as_ref().map_or(at, |kept| kept.get(at).copied().unwrap_or(at));
            let Some(alone) = alone.get(row) else { continue };
            let bits =
                |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            let probabilities =
                together.probabilities.get(at * width..(at + 1) * width).unwrap_or_default();
            let same = match (alone.rows.first(), found) {
                (Some(Prediction::Number(alone)), Prediction::Number(batch)) => {
                    alone.to_bits() == batch.to_bits()
                }
                (first, batch) => first == Some(batch),
            };
            if !same || bits(&alone.probabilities) != bits(probabilities) {
                let difference = Difference::Batch {
                    alone: shown(&model, alone.rows.first(), &alone.probabilities),
                    batch: shown(&model, Some(found), probabilities),
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

/// A prediction for people.
fn shown(model: &Model, prediction: Option<&Prediction>, probabilities: &[f64]) -> String {
    let mut text = match prediction {
        Some(Prediction::Number(number)) => format!("{number:?}"),
        Some(Prediction::Label(label)) => match model.postprocess().labels().get(*label) {
            Some(label) => format!("`{}`", label_text(label)),
            None => "no label".to_owned(),
        },
        Some(Prediction::None) | None => "none".to_owned(),
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

/// A label as the key of a JSON object: as Python's `str` writes it.
#[must_use]
pub fn label_text(label: &Scalar) -> String {
    match label {
        Scalar::Bool(true) => "True".to_owned(),
        Scalar::Bool(false) => "False".to_owned(),
        Scalar::Int(value) => value.to_string(),
        Scalar::Float(value) => format!("{value:?}"),
        Scalar::Text(text) => text.clone(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a recorded float that JSON wrote without a fraction"
)]
fn as_number(value: &Scalar) -> Option<f64> {
    match value {
        Scalar::Int(value) => Some(*value as f64),
        Scalar::Float(value) => Some(*value),
        Scalar::Bool(_) | Scalar::Text(_) => None,
    }
}
