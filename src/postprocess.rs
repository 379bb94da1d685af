//! From the graph's raw outputs to predictions: labels, probabilities, inverse transforms of the target.
//!
//! Knows tensors; knows nothing of the graph, of rows or of JSON.

use serde::{Deserialize, Serialize};

use crate::pipeline::{Affine, Function, Interpolate, Power};
use crate::schema::Scalar;
use crate::tensor::Tensor;

/// Which tensor of the graph holds what; see docs/artifact.md, 1.4.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputsSpec {
    /// The number that a regression predicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<PredictionSpec>,
    /// The probabilities that a classifier gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<ProbabilitiesSpec>,
}

/// The number that a regression predicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictionSpec {
    /// The tensor, of shape `[n]` or `[n, 1]`.
    pub tensor: String,
}

/// The probabilities that a classifier gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbabilitiesSpec {
    /// The tensor, of shape `[n, number of labels]`.
    pub tensor: String,
    /// The labels, in the order of the tensor's columns.
    pub labels: Vec<Scalar>,
    /// For two labels: the second is predicted where its probability is at least this.
    #[serde(default)]
    pub threshold: Option<f64>,
}

/// An operation on the predicted number, as written in the manifest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum PostprocessSpec {
    /// A function of one number.
    Function {
        /// Which.
        function: Function,
    },
    /// An affine map.
    Affine(Affine),
    /// A power transformation or its inverse.
    Power(Power),
    /// Straight lines between points.
    Interpolate(Interpolate),
}

/// Outputs of a manifest that are not sound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OutputsError(String);

/// A prediction for one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Prediction {
    /// None: the row was refused, or the output was not finite.
    None,
    /// A number, finite.
    Number(f64),
    /// The index of a label.
    Label(usize),
}

/// What the outputs of one run mean, row by row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outputs {
    /// One for each row.
    pub predictions: Vec<Prediction>,
    /// For a classifier `n_rows * n_labels` probabilities, row-major; else empty. NaN where the prediction is none.
    pub probabilities: Vec<f64>,
}

/// How outputs become predictions. Immutable.
#[derive(Debug, Clone, PartialEq)]
pub struct Postprocess {
    kind: Kind,
    operations: Vec<PostprocessSpec>,
}

#[derive(Debug, Clone, PartialEq)]
enum Kind {
    Number { tensor: String },
    Label { tensor: String, labels: Vec<Scalar>, threshold: Option<f64> },
}

impl Postprocess {
    /// Checks what a manifest says of its outputs.
    ///
    /// # Errors
    /// Neither or both kinds of output, a single or doubled label, a threshold without two labels, an unsound operation.
    pub fn load(
        outputs: &OutputsSpec,
        operations: &[PostprocessSpec],
    ) -> Result<Self, OutputsError> {
        let wrong = |problem: String| Err(OutputsError(problem));
        for (at, operation) in operations.iter().enumerate() {
            let problem = match operation {
                PostprocessSpec::Affine(affine) => affine.problem(),
                PostprocessSpec::Power(power) => power.problem(),
                PostprocessSpec::Interpolate(curve) => curve.problem(),
                PostprocessSpec::Function { .. } => None,
            };
            if let Some(problem) = problem {
                return wrong(format!("postprocess step {}: {problem}", at + 1));
            }
        }
        let kind = match (&outputs.prediction, &outputs.probabilities) {
            (Some(prediction), None) => Kind::Number { tensor: prediction.tensor.clone() },
            (None, Some(ProbabilitiesSpec { tensor, labels, threshold })) => {
                if labels.len() < 2 {
                    return wrong(format!(
                        "outputs: {} label(s), expected at least 2",
                        labels.len()
                    ));
                }
                if let Some(label) =
                    (1..labels.len()).find(|at| labels[..*at].contains(&labels[*at]))
                {
                    return wrong(format!(
                        "outputs: the label {:?} is listed twice",
                        labels[label]
                    ));
                }
                if let Some(threshold) = threshold
                    && (labels.len() != 2 || !(0.0..=1.0).contains(threshold))
                {
                    return wrong(
                        "outputs: a threshold needs two labels and lies between 0 and 1".to_owned(),
                    );
                }
                if !operations.is_empty() {
                    return wrong("postprocess: operations are for regressions".to_owned());
                }
                Kind::Label {
                    tensor: tensor.clone(),
                    labels: labels.clone(),
                    threshold: *threshold,
                }
            }
            (None, None) => {
                return wrong("outputs: expected `prediction` or `probabilities`".to_owned());
            }
            (Some(_), Some(_)) => {
                return wrong(
                    "outputs: `prediction` and `probabilities` exclude one another".to_owned(),
                );
            }
        };
        Ok(Self { kind, operations: operations.to_vec() })
    }

    /// The tensor of the graph that is needed.
    #[must_use]
    pub fn tensor(&self) -> &str {
        match &self.kind {
            Kind::Number { tensor } | Kind::Label { tensor, .. } => tensor,
        }
    }

    /// The labels of a classifier, in the order of `classes_`; empty for a regression.
    #[must_use]
    pub fn labels(&self) -> &[Scalar] {
        match &self.kind {
            Kind::Number { .. } => &[],
            Kind::Label { labels, .. } => labels,
        }
    }

    /// The values of one row in the tensor: 1 for a regression, the number of labels for a classifier.
    #[must_use]
    pub fn width(&self) -> usize {
        self.labels().len().max(1)
    }

    /// Turns the tensor into predictions for `n_rows` rows. A value that is not finite gives [`Prediction::None`].
    ///
    /// Same as `predict` and `predict_proba` of scikit-learn: the label of the largest probability, the first on a tie.
    ///
    /// # Errors
    /// The tensor holds no numbers or has not `n_rows * width()` of them.
    pub fn run(&self, tensor: &Tensor, n_rows: usize) -> Result<Outputs, OutputsError> {
        let wrong_shape = || {
            let width = self.width();
            OutputsError(format!(
                "the tensor `{}` has the shape {:?}, expected [{n_rows}, {width}]",
                self.tensor(),
                tensor.shape()
            ))
        };
        let mut values = tensor.to_f64().ok_or_else(wrong_shape)?;
        if values.len() != n_rows * self.width() {
            return Err(wrong_shape());
        }
        match &self.kind {
            Kind::Number { .. } => {
                for operation in &self.operations {
                    match operation {
                        PostprocessSpec::Function { function } => {
                            values.iter_mut().for_each(|value| *value = function.apply(*value));
                        }
                        PostprocessSpec::Affine(affine) => {
                            values.iter_mut().for_each(|value| *value = affine.apply(*value));
                        }
                        PostprocessSpec::Power(power) => {
                            values.iter_mut().for_each(|value| *value = power.apply(*value));
                        }
                        PostprocessSpec::Interpolate(curve) => {
                            values.iter_mut().for_each(|value| *value = curve.apply(*value));
                        }
                    }
                }
                let number = |value: f64| {
                    if value.is_finite() { Prediction::Number(value) } else { Prediction::None }
                };
                Ok(Outputs {
                    predictions: values.into_iter().map(number).collect(),
                    probabilities: Vec::new(),
                })
            }
            Kind::Label { threshold, .. } => {
                let label = |row: &[f64]| match (threshold, row) {
                    _ if row.iter().any(|value| !value.is_finite()) => Prediction::None,
                    (Some(threshold), [_, second]) => {
                        Prediction::Label(usize::from(second >= threshold))
                    }
                    _ => Prediction::Label(
                        (1..row.len())
                            .fold(0, |best, at| if row[at] > row[best] { at } else { best }),
                    ),
                };
                Ok(Outputs {
                    predictions: values.chunks(self.width()).map(label).collect(),
                    probabilities: values,
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayD, IxDyn};
    use serde_json::json;

    fn load(
        outputs: serde_json::Value,
        operations: serde_json::Value,
    ) -> Result<Postprocess, OutputsError> {
        Postprocess::load(
            &serde_json::from_value(outputs).unwrap(),
            &serde_json::from_value::<Vec<_>>(operations).unwrap(),
        )
    }

    fn tensor(shape: &[usize], values: &[f64]) -> Tensor {
        Tensor::Float64(ArrayD::from_shape_vec(IxDyn(shape), values.to_vec()).unwrap())
    }

    #[test]
    fn a_number_is_transformed_back_and_one_that_overflows_is_none() {
        let exp = json!([{"op": "function", "function": "exp"}, {"op": "affine", "multiply": 2.0}]);
        let postprocess = load(json!({"prediction": {"tensor": "y"}}), exp).unwrap();
        let outputs = postprocess.run(&tensor(&[3, 1], &[0.0, 1000.0, f64::NAN]), 3).unwrap();
        assert_eq!(
            outputs.predictions,
            [Prediction::Number(2.0), Prediction::None, Prediction::None]
        );
        let error = postprocess.run(&tensor(&[3, 1], &[0.0; 3]), 2).unwrap_err();
        assert_eq!(error.to_string(), "the tensor `y` has the shape [3, 1], expected [2, 1]");
    }

    #[test]
    fn the_first_of_the_largest_probabilities_is_the_label() {
        let labels =
            json!({"probabilities": {"tensor": "p", "labels": ["a", "b", "c"], "threshold": null}});
        let outputs = load(labels, json!([]))
            .unwrap()
            .run(&tensor(&[2, 3], &[0.2, 0.4, 0.4, 1.0, 0.0, 0.0]), 2)
            .unwrap();
        assert_eq!(outputs.predictions, [Prediction::Label(1), Prediction::Label(0)]);
        let labels = json!({"probabilities": {"tensor": "p", "labels": [0, 1], "threshold": 0.25}});
        let outputs = load(labels, json!([]))
            .unwrap()
            .run(&tensor(&[2, 2], &[0.75, 0.25, 0.8, 0.2]), 2)
            .unwrap();
        assert_eq!(outputs.predictions, [Prediction::Label(1), Prediction::Label(0)]);
    }

    #[test]
    fn unsound_outputs_are_refused() {
        let error = |outputs, operations| load(outputs, operations).unwrap_err().to_string();
        assert_eq!(
            error(json!({}), json!([])),
            "outputs: expected `prediction` or `probabilities`"
        );
        let twice = json!({"probabilities": {"tensor": "p", "labels": ["a", "a"]}});
        assert_eq!(error(twice, json!([])), "outputs: the label Text(\"a\") is listed twice");
        let affine = json!([{"op": "affine", "divide": 0.0}]);
        assert_eq!(
            error(json!({"prediction": {"tensor": "y"}}), affine),
            "postprocess step 1: `divide` is 0"
        );
    }
}
