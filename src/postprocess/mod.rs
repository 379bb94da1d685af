//! From the graph's raw outputs to predictions: labels, probabilities, inverse transforms of the target.
//!
//! Knows tensors, and how a prediction is written as JSON; knows nothing of the graph or of rows.

use serde::{Deserialize, Serialize};

use crate::pipeline::{Affine, Function, Interpolate, Power};
use crate::schema::Scalar;
use crate::tensor::{Element, ElementType, Tensor};

mod json;

/// Which tensor of the graph holds what: exactly one of these; see docs/artifact.md, 1.4.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputsSpec {
    /// The number, or the numbers, that a regression predicts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prediction: Option<PredictionSpec>,
    /// The probabilities that a classifier gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probabilities: Option<ProbabilitiesSpec>,
    /// The label that a classifier without probabilities gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<LabelSpec>,
    /// The probabilities of labels that do not exclude one another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multilabel: Option<MultilabelSpec>,
    /// Tensors as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tensors: Option<Vec<NamedTensorSpec>>,
}

/// The number, or the numbers, that a regression predicts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PredictionSpec {
    /// The tensor, of shape `[n]` or `[n, 1]`; with names `[n, number of names]`.
    pub tensor: String,
    /// What the numbers of a row are, when the prediction is an array of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
}

/// The probabilities that a classifier gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProbabilitiesSpec {
    /// The tensor, of shape `[n, number of labels]`.
    pub tensor: String,
    /// The labels, in the order of the tensor's columns.
    pub labels: Vec<Scalar>,
    /// A tensor of integers, of shape `[n]` or `[n, 1]`: the index of the label, where it is not that of the largest probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// For two labels: the second is predicted where its probability is at least this.
    #[serde(default)]
    pub threshold: Option<f64>,
    /// An answer holds only so many labels, the most probable first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
}

/// The label that a classifier without probabilities gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LabelSpec {
    /// The tensor of integers, of shape `[n]` or `[n, 1]`: for each row an index into the labels.
    pub tensor: String,
    /// The labels.
    pub labels: Vec<Scalar>,
}

/// The probabilities of labels that do not exclude one another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultilabelSpec {
    /// The tensor, of shape `[n, number of labels]`.
    pub tensor: String,
    /// The labels, in the order of the tensor's columns.
    pub labels: Vec<Scalar>,
    /// A label is predicted where its probability is above this.
    #[serde(default = "half")]
    pub threshold: f64,
}

fn half() -> f64 {
    0.5
}

/// A tensor of the graph, and what an answer calls it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedTensorSpec {
    /// Its key in the answer, when there are several.
    pub name: String,
    /// Its name in the graph; of shape `[n, …]`.
    pub tensor: String,
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
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction {
    /// None: the row was refused, or the output was not finite.
    None,
    /// A number, finite.
    Number(f64),
    /// Several numbers. One that is not finite stays so here, is `null` in an answer, and has an [`OutputFault`].
    Numbers(Box<[f64]>),
    /// The index of a label.
    Label(usize),
    /// The indices of any number of labels, ascending.
    Labels(Box<[usize]>),
    /// The row's slice of each tensor. What is not finite is treated as in [`Self::Numbers`].
    Tensors(Box<[Tensor]>),
}

/// What is wrong with the output for a row. Never the fault of the row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutputFault {
    /// The number, or a probability, is NaN or infinite: there is no prediction.
    #[error("the prediction is not a finite number")]
    NotFinite,
    /// Some numbers of an array are; the others stand.
    #[error("not finite: {n} of the {of} numbers of the prediction")]
    SomeNotFinite {
        /// So many.
        n: usize,
        /// Out of so many.
        of: usize,
    },
    /// The graph cannot be run on this row: an index out of range, lengths that do not go together.
    #[error("the graph cannot be run on this row: {reason}")]
    Refused {
        /// What ONNX Runtime said.
        reason: String,
    },
    /// The graph gave the index of a label that there is not.
    #[error(
        "the graph gave the label number {found}, but there are {known} labels, counted from 0"
    )]
    NoSuchLabel {
        /// What it gave.
        found: i128,
        /// How many there are.
        known: usize,
    },
}

impl OutputFault {
    /// The stable, machine-readable name, as listed in docs/artifact.md, section 3.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotFinite | Self::SomeNotFinite { .. } => "output_not_finite",
            Self::NoSuchLabel { .. } => "output_no_label",
            Self::Refused { .. } => "graph_refused",
        }
    }
}

/// What the outputs of one run mean, row by row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outputs {
    /// One for each row.
    pub predictions: Vec<Prediction>,
    /// For a classifier with probabilities `n_rows * n_labels` of them, row-major; else empty. NaN or infinite where the graph gave that.
    pub probabilities: Vec<f64>,
    /// Rows with something wrong, ascending.
    pub faults: Vec<(usize, OutputFault)>,
}

impl Outputs {
    /// Appends the label of a row, or says why there is none.
    fn push_label(&mut self, row: usize, label: Result<usize, OutputFault>) {
        self.predictions.push(match label {
            Ok(label) => Prediction::Label(label),
            Err(fault) => {
                self.faults.push((row, fault));
                Prediction::None
            }
        });
    }
}

/// What kind of prediction a model makes.
#[derive(Debug, Clone, PartialEq)]
pub enum OutputKind {
    /// A number.
    Number,
    /// Several numbers, with these names.
    Numbers(Vec<String>),
    /// A label, with the probabilities of all labels.
    Probabilities {
        /// For two labels: the second from this probability on.
        threshold: Option<f64>,
        /// An answer holds only so many labels, the most probable first.
        top_k: Option<usize>,
        /// Whether the graph says the label apart.
        has_label: bool,
    },
    /// A label alone.
    Label,
    /// The labels whose probability is above the threshold.
    Multilabel {
        /// The threshold.
        threshold: f64,
    },
    /// Tensors, under these names.
    Tensors(Vec<String>),
}

/// How outputs become predictions. Immutable.
#[derive(Debug, Clone, PartialEq)]
pub struct Postprocess {
    kind: OutputKind,
    /// The tensors of the graph that are needed: one, but for [`OutputKind::Tensors`], and a label beside probabilities.
    tensors: Vec<String>,
    labels: Vec<Scalar>,
    /// The labels as JSON values, and as the keys of a JSON object.
    label_json: Vec<(String, String)>,
    operations: Vec<PostprocessSpec>,
}

impl Postprocess {
    /// Checks what a manifest says of its outputs.
    ///
    /// # Errors
    /// None or several kinds of output, too few or doubled labels or names, a threshold without two labels, an unsound operation.
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
        let OutputsSpec { prediction, probabilities, label, multilabel, tensors } = outputs;
        let given: Vec<&str> = [
            ("prediction", prediction.is_some()),
            ("probabilities", probabilities.is_some()),
            ("label", label.is_some()),
            ("multilabel", multilabel.is_some()),
            ("tensors", tensors.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect();
        match given.as_slice() {
            [] => {
                return wrong(
                    "outputs: expected one of `prediction`, `probabilities`, `label`, `multilabel`, `tensors`"
                        .to_owned(),
                );
            }
            [_] => {}
            [first, second, ..] => {
                return wrong(format!("outputs: `{first}` and `{second}` exclude one another"));
            }
        }
        let (kind, needed, labels) = if let Some(PredictionSpec { tensor, names }) = prediction {
            let kind = names.clone().map_or(OutputKind::Number, OutputKind::Numbers);
            (kind, vec![tensor.clone()], Vec::new())
        } else if let Some(spec) = probabilities {
            let ProbabilitiesSpec { tensor, labels, label, threshold, top_k } = spec;
            if labels.len() < 2 {
                return wrong(format!("outputs: {} label(s), expected at least 2", labels.len()));
            }
            if let Some(threshold) = threshold
                && (labels.len() != 2 || !(0.0..=1.0).contains(threshold))
            {
                return wrong(
                    "outputs: a threshold needs two labels and lies between 0 and 1".to_owned(),
                );
            }
            if threshold.is_some() && label.is_some() {
                return wrong("outputs: `threshold` and `label` exclude one another".to_owned());
            }
            if top_k.is_some_and(|k| k == 0 || k > labels.len()) {
                return wrong(format!(
                    "outputs: `top_k` is a number from 1 to that of the labels, {}",
                    labels.len()
                ));
            }
            let kind = OutputKind::Probabilities {
                threshold: *threshold,
                top_k: *top_k,
                has_label: label.is_some(),
            };
            let needed = [Some(tensor), label.as_ref()].into_iter().flatten().cloned().collect();
            (kind, needed, labels.clone())
        } else if let Some(LabelSpec { tensor, labels }) = label {
            (OutputKind::Label, vec![tensor.clone()], labels.clone())
        } else if let Some(MultilabelSpec { tensor, labels, threshold }) = multilabel {
            if !threshold.is_finite() {
                return wrong("outputs: `threshold` is not a finite number".to_owned());
            }
            let kind = OutputKind::Multilabel { threshold: *threshold };
            (kind, vec![tensor.clone()], labels.clone())
        } else {
            let tensors = tensors.as_deref().unwrap_or_default();
            let names = tensors.iter().map(|entry| entry.name.clone()).collect();
            let needed = tensors.iter().map(|entry| entry.tensor.clone()).collect();
            (OutputKind::Tensors(names), needed, Vec::new())
        };
        if let OutputKind::Numbers(names) | OutputKind::Tensors(names) = &kind {
            if names.is_empty() {
                return wrong("outputs: no name, expected at least 1".to_owned());
            }
            if let Some(name) = twice(names) {
                return wrong(format!("outputs: the name `{name}` is listed twice"));
            }
        } else if !matches!(kind, OutputKind::Number) {
            if labels.is_empty() {
                return wrong("outputs: 0 label(s), expected at least 1".to_owned());
            }
            if let Some(label) = twice(&labels) {
                return wrong(format!("outputs: the label {label:?} is listed twice"));
            }
        }
        if !operations.is_empty() && !matches!(kind, OutputKind::Number | OutputKind::Numbers(_)) {
            return wrong("postprocess: operations are for regressions".to_owned());
        }
        let json = |label: &Scalar| {
            let key = serde_json::Value::from(label_text(label)).to_string();
            (serde_json::to_value(label).unwrap_or_default().to_string(), key)
        };
        let label_json = labels.iter().map(json).collect();
        Ok(Self { kind, tensors: needed, labels, label_json, operations: operations.to_vec() })
    }

    /// The tensors of the graph that are needed, in the order in which [`Self::run`] takes them.
    #[must_use]
    pub fn tensors(&self) -> &[String] {
        &self.tensors
    }

    /// What kind of prediction it makes.
    #[must_use]
    pub fn kind(&self) -> &OutputKind {
        &self.kind
    }

    /// The labels of a classifier, in the order of `classes_`; else empty.
    #[must_use]
    pub fn labels(&self) -> &[Scalar] {
        &self.labels
    }

    /// The values of one row in [`Outputs::probabilities`]: the number of labels, or 0 without probabilities.
    #[must_use]
    pub fn n_probabilities(&self) -> usize {
        match self.kind {
            OutputKind::Probabilities { .. } | OutputKind::Multilabel { .. } => self.labels.len(),
            OutputKind::Number
            | OutputKind::Numbers(_)
            | OutputKind::Label
            | OutputKind::Tensors(_) => 0,
        }
    }

    /// The values of one row in the tensor; none for tensors as they are.
    fn width(&self) -> Option<usize> {
        match &self.kind {
            OutputKind::Number | OutputKind::Label => Some(1),
            OutputKind::Numbers(names) => Some(names.len()),
            OutputKind::Probabilities { .. } | OutputKind::Multilabel { .. } => {
                Some(self.labels.len())
            }
            OutputKind::Tensors(_) => None,
        }
    }

    /// Checks the tensor of the graph at the position `at` of [`Self::tensors`] against what is made of it.
    ///
    /// # Errors
    /// What does not fit: `has the shape …, expected …`.
    pub fn check(
        &self,
        at: usize,
        r#type: ElementType,
        shape: &[Option<u64>],
    ) -> Result<(), String> {
        let is_label = match self.kind {
            OutputKind::Label => true,
            OutputKind::Probabilities { has_label, .. } => has_label && at == 1,
            _ => false,
        };
        let fits = match r#type {
            ElementType::String | ElementType::Bool => matches!(self.kind, OutputKind::Tensors(_)),
            other => !is_label || other.is_integer(),
        };
        if !fits {
            let expected = if is_label { "integers" } else { "numbers" };
            return Err(format!("is of type {type}, expected a type of {expected}"));
        }
        let Some(width) = self.width() else { return Ok(()) };
        let width = if is_label { 1 } else { width };
        let fits = match shape {
            [_] => width == 1,
            [_, last] => last.is_none_or(|last| last == width as u64),
            _ => false,
        };
        if fits {
            return Ok(());
        }
        Err(format!("has the shape {}, expected [batch, {width}]", shown_shape(shape)))
    }

    /// Turns the graph's tensors, in the order of [`Self::tensors`], into predictions for `n_rows` rows.
    ///
    /// Same as `predict` and `predict_proba` of scikit-learn: the label of the largest probability, the first on a tie; of labels that do
    /// not exclude one another those above the threshold. A number or probability that is not finite gives [`Prediction::None`].
    ///
    /// # Errors
    /// A tensor is absent, holds no numbers, or has not a slice for each row.
    pub fn run(&self, tensors: &[Tensor], n_rows: usize) -> Result<Outputs, OutputsError> {
        if tensors.len() != self.tensors.len() {
            return Err(OutputsError(format!(
                "the graph gave {} tensors, expected {}",
                tensors.len(),
                self.tensors.len()
            )));
        }
        let Some(width) = self.width() else { return self.slices(tensors, n_rows) };
        let (tensor, name) = (&tensors[0], &self.tensors[0]);
        let wrong_shape = || {
            OutputsError(format!(
                "the tensor `{name}` has the shape {:?}, expected [{n_rows}, {width}]",
                tensor.shape()
            ))
        };
        if tensor.len() != n_rows * width {
            return Err(wrong_shape());
        }
        let mut result = Outputs::default();
        if matches!(self.kind, OutputKind::Label) {
            for (row, label) in self.label_indices(tensor, name, n_rows)?.into_iter().enumerate() {
                result.push_label(row, label);
            }
            return Ok(result);
        }
        let mut labels = match tensors.get(1) {
            Some(labels) => self.label_indices(labels, &self.tensors[1], n_rows)?.into_iter(),
            None => Vec::new().into_iter(),
        };
        let mut values = tensor.to_f64().ok_or_else(wrong_shape)?;
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
        result.predictions.reserve(n_rows);
        for (row, values) in values.chunks(width).enumerate() {
            let n_bad = values.iter().filter(|value| !value.is_finite()).count();
            let is_array = matches!(self.kind, OutputKind::Numbers(_));
            if n_bad > 0 {
                let some = OutputFault::SomeNotFinite { n: n_bad, of: width };
                result.faults.push((row, if is_array { some } else { OutputFault::NotFinite }));
            }
            let label = labels.next();
            result.predictions.push(match &self.kind {
                OutputKind::Numbers(_) => Prediction::Numbers(values.into()),
                _ if n_bad > 0 => Prediction::None,
                OutputKind::Probabilities { threshold: Some(threshold), .. } => {
                    // `load` has seen to it that there are two.
                    Prediction::Label(usize::from(values[values.len() - 1] >= *threshold))
                }
                OutputKind::Probabilities { threshold: None, .. } => {
                    if let Some(label) = label {
                        result.push_label(row, label);
                        continue;
                    }
                    Prediction::Label(
                        (1..values.len())
                            .fold(0, |best, at| if values[at] > values[best] { at } else { best }),
                    )
                }
                OutputKind::Multilabel { threshold } => {
                    Prediction::Labels((0..width).filter(|at| values[*at] > *threshold).collect())
                }
                _ => Prediction::Number(values[0]),
            });
        }
        if self.n_probabilities() > 0 {
            result.probabilities = values;
        }
        Ok(result)
    }

    /// The labels that a tensor of indices says, row by row.
    fn label_indices(
        &self,
        tensor: &Tensor,
        name: &str,
        n_rows: usize,
    ) -> Result<Vec<Result<usize, OutputFault>>, OutputsError> {
        let known = self.labels.len();
        let label = |element| match element {
            Element::Int(found) => Some(
                usize::try_from(found)
                    .ok()
                    .filter(|label| *label < known)
                    .ok_or(OutputFault::NoSuchLabel { found, known }),
            ),
            _ => None,
        };
        let labels: Option<Vec<_>> = tensor.elements().map(label).collect();
        labels.filter(|labels| labels.len() == n_rows).ok_or_else(|| {
            OutputsError(format!(
                "the tensor `{name}` is {} of the shape {:?}, expected integers of [{n_rows}, 1]",
                tensor.element_type(),
                tensor.shape()
            ))
        })
    }

    /// The slices of tensors, row by row.
    fn slices(&self, tensors: &[Tensor], n_rows: usize) -> Result<Outputs, OutputsError> {
        let mut result = Outputs::default();
        for (tensor, name) in tensors.iter().zip(&self.tensors) {
            if tensor.shape().first() != Some(&n_rows) {
                return Err(OutputsError(format!(
                    "the tensor `{name}` has the shape {:?}, expected [{n_rows}, …]",
                    tensor.shape()
                )));
            }
        }
        for row in 0..n_rows {
            let slices: Box<[Tensor]> =
                tensors.iter().filter_map(|tensor| tensor.row(row)).collect();
            let n = slices.iter().map(Tensor::n_not_finite).sum();
            if n > 0 {
                let of = slices.iter().map(Tensor::len).sum();
                result.faults.push((row, OutputFault::SomeNotFinite { n, of }));
            }
            result.predictions.push(Prediction::Tensors(slices));
        }
        Ok(result)
    }
}

/// The first entry that is there twice.
fn twice<T: PartialEq>(entries: &[T]) -> Option<&T> {
    (1..entries.len()).find(|at| entries[..*at].contains(&entries[*at])).map(|at| &entries[at])
}

/// A shape of the manifest, for messages.
#[must_use]
pub fn shown_shape(dims: &[Option<u64>]) -> String {
    let dims = dims.iter().enumerate().map(|(at, dim)| match dim {
        Some(length) => length.to_string(),
        None if at == 0 => "batch".to_owned(),
        None => "any".to_owned(),
    });
    format!("[{}]", dims.collect::<Vec<_>>().join(", "))
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
        let outputs = postprocess.run(&[tensor(&[3, 1], &[0.0, 1000.0, f64::NAN])], 3).unwrap();
        assert_eq!(
            outputs.predictions,
            [Prediction::Number(2.0), Prediction::None, Prediction::None]
        );
        let error = postprocess.run(&[tensor(&[3, 1], &[0.0; 3])], 2).unwrap_err();
        assert_eq!(error.to_string(), "the tensor `y` has the shape [3, 1], expected [2, 1]");
    }

    #[test]
    fn the_first_of_the_largest_probabilities_is_the_label() {
        let labels =
            json!({"probabilities": {"tensor": "p", "labels": ["a", "b", "c"], "threshold": null}});
        let outputs = load(labels, json!([]))
            .unwrap()
            .run(&[tensor(&[2, 3], &[0.2, 0.4, 0.4, 1.0, 0.0, 0.0])], 2)
            .unwrap();
        assert_eq!(outputs.predictions, [Prediction::Label(1), Prediction::Label(0)]);
        let labels = json!({"probabilities": {"tensor": "p", "labels": [0, 1], "threshold": 0.25}});
        let outputs = load(labels, json!([]))
            .unwrap()
            .run(&[tensor(&[2, 2], &[0.75, 0.25, 0.8, 0.2])], 2)
            .unwrap();
        assert_eq!(outputs.predictions, [Prediction::Label(1), Prediction::Label(0)]);
    }

    #[test]
    fn a_label_beside_probabilities_is_taken_as_the_graph_says_it() {
        let spec = |more: serde_json::Value| {
            let mut spec = json!({"tensor": "p", "labels": ["a", "b"], "label": "l"});
            spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"probabilities": spec})
        };
        let postprocess = load(spec(json!({})), json!([])).unwrap();
        assert_eq!(postprocess.tensors(), ["p", "l"]);
        let labels = |found: &[i64]| {
            Tensor::Int64(ArrayD::from_shape_vec(IxDyn(&[found.len(), 1]), found.to_vec()).unwrap())
        };
        let p = tensor(&[3, 2], &[0.6, 0.4, 0.6, 0.4, 0.1, f64::NAN]);
        let outputs = postprocess.run(&[p.clone(), labels(&[1, 2, 0])], 3).unwrap();
        assert_eq!(outputs.predictions, [Prediction::Label(1), Prediction::None, Prediction::None]);
        assert_eq!(
            outputs.faults,
            [(1, OutputFault::NoSuchLabel { found: 2, known: 2 }), (2, OutputFault::NotFinite)]
        );
        assert!(postprocess.run(&[p, labels(&[1])], 3).is_err());
        assert!(postprocess.check(1, ElementType::Float64, &[None, Some(1)]).is_err());
        assert!(postprocess.check(1, ElementType::Int64, &[None, Some(2)]).is_err());
        assert!(postprocess.check(1, ElementType::Int64, &[None]).is_ok());
        let both = load(spec(json!({"threshold": 0.5})), json!([])).unwrap_err();
        assert_eq!(both.to_string(), "outputs: `threshold` and `label` exclude one another");
    }

    #[test]
    fn unsound_outputs_are_refused() {
        let error = |outputs, operations| load(outputs, operations).unwrap_err().to_string();
        assert_eq!(
            error(json!({}), json!([])),
            "outputs: expected one of `prediction`, `probabilities`, `label`, `multilabel`, `tensors`"
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
