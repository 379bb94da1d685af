//! Steps as written in `manifest.json`, unchecked. See docs/artifact.md, 1.2.

use serde::{Deserialize, Serialize};

use super::function::{Affine, Function};

/// A step: its operation, where it came from, and the parameters of the operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepSpec {
    /// The operation, e.g. `affine`.
    pub op: String,
    /// The step's name in the training pipeline.
    pub name: String,
    /// The fitted class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// The parameters; read by the operation, which refuses unknown ones.
    #[serde(flatten)]
    pub parameters: serde_json::Map<String, serde_json::Value>,
}

/// A string or a number: a key or value of a table, a value to fill in.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected a string or a number")]
pub(super) enum Value {
    Int(i64),
    Float(f64),
    Text(String),
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value:?}"),
            // A Rust string's debug form is its JSON form for all that matters in a message.
            Self::Text(value) => write!(f, "{value:?}"),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckSpec {
    pub(super) columns: Vec<String>,
    pub(super) refuse: Vec<Refusal>,
    #[serde(default)]
    pub(super) between: Option<[Option<f64>; 2]>,
}

/// What a check refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refusal {
    Missing,
    Infinite,
    NotPositive,
    Negative,
    Zero,
    Outside,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FillSpec {
    pub(super) columns: Vec<FillColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FillColumn {
    pub(super) column: String,
    pub(super) value: Value,
}

/// Parameters of `copy` and `indicate_missing`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputsSpec {
    pub(super) columns: Vec<OutputColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputColumn {
    pub(super) column: String,
    pub(super) output: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CombineSpec {
    pub(super) operator: Operator,
    pub(super) left: Operand,
    pub(super) right: Operand,
    pub(super) output: String,
    /// What a division by zero gives.
    #[serde(default)]
    pub(super) by_zero: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    #[serde(rename = "floor_divide")]
    FloorDivide,
    Modulo,
    Power,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Operand {
    Column(String),
    Constant(Value),
}

/// Parameters of `drop` and `select`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ColumnsSpec {
    pub(super) columns: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FunctionSpec {
    pub(super) columns: Vec<String>,
    pub(super) function: Function,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThresholdSpec {
    pub(super) columns: Vec<ThresholdColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ThresholdColumn {
    pub(super) column: String,
    pub(super) threshold: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MapSpec {
    pub(super) columns: Vec<MapColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MapColumn {
    pub(super) column: String,
    #[serde(default)]
    pub(super) output: Option<String>,
    pub(super) keys: Vec<Value>,
    pub(super) values: Vec<Option<Value>>,
    pub(super) unseen: Otherwise,
    pub(super) missing: Otherwise,
}

/// What becomes of a value that is not looked up.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Otherwise {
    Missing,
    Keep,
    Error,
    Value(Value),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AffineSpec {
    pub(super) columns: Vec<AffineColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AffineColumn {
    pub(super) column: String,
    // Spelled out, not flattened: serde cannot refuse unknown keys beside a flattened struct.
    #[serde(default, deserialize_with = "given")]
    subtract: Option<f64>,
    #[serde(default, deserialize_with = "given")]
    divide: Option<f64>,
    #[serde(default, deserialize_with = "given")]
    multiply: Option<f64>,
    #[serde(default, deserialize_with = "given")]
    add: Option<f64>,
    #[serde(default, deserialize_with = "given")]
    clip: Option<[Option<f64>; 2]>,
}

/// A value that is there: `null`, which is how some write NaN, is not the same as an absent key.
fn given<'de, T: Deserialize<'de>, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

impl AffineColumn {
    pub(super) fn affine(&self) -> Affine {
        let &Self { column: _, subtract, divide, multiply, add, clip } = self;
        Affine { subtract, divide, multiply, add, clip }
    }
}
