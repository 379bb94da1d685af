//! `manifest.json`, as written: serde types and nothing else. See docs/artifact.md, 1.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};

use crate::pipeline::StepSpec;
use crate::postprocess::{OutputsSpec, PostprocessSpec};
use crate::schema::FieldSpec;

/// What a model predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// A number.
    Regression,
    /// One of two labels.
    BinaryClassification,
    /// One of several labels.
    MulticlassClassification,
    /// Any number of labels.
    Multilabel,
    /// A vector.
    Embedding,
    /// Something else.
    Other,
}

impl Task {
    /// As the manifest spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Regression => "regression",
            Self::BinaryClassification => "binary_classification",
            Self::MulticlassClassification => "multiclass_classification",
            Self::Multilabel => "multilabel",
            Self::Embedding => "embedding",
            Self::Other => "other",
        }
    }
}

/// The whole of `manifest.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// `seaworthy/1`.
    pub format: String,
    /// The model's name.
    pub name: String,
    /// The model's semantic version.
    #[serde(deserialize_with = "version")]
    pub version: semver::Version,
    /// For people.
    #[serde(default)]
    pub description: String,
    /// What it predicts.
    pub task: Task,
    /// When it was exported, RFC 3339.
    pub created: String,
    /// Who trained it, when, from what.
    #[serde(default)]
    pub provenance: serde_json::Map<String, serde_json::Value>,
    /// The fields of a raw row.
    pub inputs: Vec<FieldSpec>,
    /// The steps of the preprocessing.
    pub pipeline: Vec<StepSpec>,
    /// The columns that go into the graph.
    pub features: Vec<String>,
    /// The graph.
    pub model: ModelSpec,
    /// Which tensor holds what.
    pub outputs: OutputsSpec,
    /// Operations on the predicted number.
    #[serde(default)]
    pub postprocess: Vec<PostprocessSpec>,
    /// How exactly the golden rows must be met.
    pub golden: GoldenSpec,
}

/// Reads a version; says which text is none.
fn version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<semver::Version, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| {
        Error::custom(format!("the version {text:?} is not semantic, such as \"1.2.0\": {error}"))
    })
}

/// The graph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Its file.
    pub file: String,
    /// The operator set it was written for.
    pub opset: u32,
    /// The version of the file format.
    pub ir_version: u32,
    /// The class of the estimator.
    pub estimator: String,
    /// The type in which the estimator computes.
    pub precision: String,
    /// A run takes at most so many rows: of a graph in which rows would influence one another by rounding, 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows_per_run: Option<u64>,
    /// The tensors it takes.
    pub inputs: Vec<TensorSpec>,
    /// The tensors it gives.
    pub outputs: Vec<TensorSpec>,
}

/// A tensor of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Its name.
    pub name: String,
    /// The element type in NumPy's spelling.
    pub r#type: String,
    /// The dimensions; `null` is the batch or another that varies.
    pub shape: Vec<Option<u64>>,
    /// Of an input, the column that goes into it by itself; without it the matrix of features does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// How exactly the golden rows must be met.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenSpec {
    /// The number of lines.
    pub rows: usize,
    /// For features.
    pub features: Tolerance,
    /// For outputs.
    pub output: Tolerance,
}

/// `|found - expected| <= absolute + relative * |expected|`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tolerance {
    /// The part that grows with the number.
    pub relative: f64,
    /// The part that does not.
    pub absolute: f64,
}

impl Tolerance {
    /// Whether `found` is close enough. A missing value (NaN) is close to a missing one only.
    #[must_use]
    pub fn allows(&self, found: f64, expected: f64) -> bool {
        found.to_bits() == expected.to_bits()
            || (found.is_nan() && expected.is_nan())
            || (found - expected).abs() <= self.absolute + self.relative * expected.abs()
    }
}

/// One line of `golden.jsonl`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenRow {
    /// The raw row as a client would send it.
    pub input: Box<serde_json::value::RawValue>,
    /// The features that training computed; `null` is missing.
    #[serde(default)]
    pub features: Option<Vec<Option<f64>>>,
    /// The output that training computed.
    #[serde(default)]
    pub output: Option<GoldenOutput>,
    /// The error that the row must give.
    #[serde(default)]
    pub error: Option<GoldenError>,
}

/// The output that training computed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenOutput {
    /// The prediction as an answer holds it: a number, a label, an array, or an object of arrays.
    pub prediction: serde_json::Value,
    /// The probability of each label, of all of them, by its text.
    #[serde(default)]
    pub probabilities: Option<std::collections::BTreeMap<String, f64>>,
}

/// The error that a row must give.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GoldenError {
    /// The field to blame; not compared when `null`.
    pub field: Option<String>,
    /// The code.
    pub code: String,
}
