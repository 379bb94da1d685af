//! Puts numbers into bins.

use std::sync::Arc;

use serde::Deserialize;

use super::column::{Dtype, Key, MISSING_CODE, Slots, to_f64};
use super::spec::Value;
use super::{Operation, PipelineError, Plan, Slot};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CutSpec {
    columns: Vec<CutColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CutColumn {
    column: String,
    #[serde(default)]
    output: Option<String>,
    edges: Vec<f64>,
    closed: Closed,
    values: Vec<Option<Value>>,
}

/// The side on which a bin holds its own edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Closed {
    Left,
    Right,
}

/// The value of the bin that a number of one column falls into.
///
/// - `n` edges make `n + 1` bins, of which the first and the last are open; each has a value, which may be missing.
/// - Output: int64 when all values are integers, float64 when they are numbers or missing, else categories. Missing
///   stays missing.
/// - Same as `np.searchsorted` of NumPy and `pd.cut` of pandas 1.5 to 3, hence as scikit-learn's `KBinsDiscretizer` 1.2
///   to 1.9 and the discretisers of feature-engine 1.5 to 1.9.
#[derive(Debug)]
pub(super) struct CutStep {
    input: Slot,
    output: Slot,
    edges: Vec<f64>,
    closed: Closed,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Codes(Vec<u32>),
}

pub(super) fn load(plan: &mut Plan, spec: CutSpec) -> Result<(), PipelineError> {
    spec.columns.into_iter().try_for_each(|column| load_column(plan, column))
}

fn load_column(plan: &mut Plan, spec: CutColumn) -> Result<(), PipelineError> {
    let input = plan.number_slot(&spec.column)?;
    let wrong = |problem: String| plan.error(Some(&spec.column), problem);
    if spec.edges.iter().any(|edge| !edge.is_finite()) {
        return Err(wrong("an edge is not a finite number".to_owned()));
    }
    if spec.edges.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err(wrong("the edges are not in ascending order".to_owned()));
    }
    if spec.values.len() != spec.edges.len() + 1 {
        let (edges, values) = (spec.edges.len(), spec.values.len());
        return Err(wrong(format!(
            "{edges} edges, but {values} values; expected one more than edges"
        )));
    }
    if spec.values.iter().flatten().any(|value| matches!(value, Value::Float(x) if !x.is_finite()))
    {
        return Err(wrong("a value is not a finite number".to_owned()));
    }
    let (dtype, values) = Values::load(&spec.values);
    let output = plan.derive(dtype, &[input]);
    match &spec.output {
        Some(name) => plan.append(name, output)?,
        None => plan.replace(&spec.column, output),
    }
    let CutColumn { edges, closed, .. } = spec;
    plan.operations.push(Operation::Cut(CutStep { input, output, edges, closed, values }));
    Ok(())
}

impl Values {
    fn load(values: &[Option<Value>]) -> (Dtype, Self) {
        if values.iter().flatten().any(|value| matches!(value, Value::Text(_))) {
            let mut keys: Vec<Key> = Vec::new();
            let codes = values
                .iter()
                .map(|value| {
                    let Some(value) = value else { return MISSING_CODE };
                    let key = Key::from(value);
                    let at = keys.iter().position(|known| *known == key).unwrap_or_else(|| {
                        keys.push(key);
                        keys.len() - 1
                    });
                    u32::try_from(at).unwrap_or(MISSING_CODE)
                })
                .collect();
            return (Dtype::Category(Arc::from(keys)), Self::Codes(codes));
        }
        let ints: Option<Vec<i64>> = values
            .iter()
            .map(|value| match value {
                Some(Value::Int(value)) => Some(*value),
                _ => None,
            })
            .collect();
        match ints {
            Some(ints) => (Dtype::Int, Self::Ints(ints)),
            None => {
                let number = |value: &Option<Value>| match value {
                    Some(Value::Int(value)) => to_f64(*value),
                    Some(Value::Float(value)) => *value,
                    Some(Value::Text(_)) | None => f64::NAN,
                };
                (Dtype::Float, Self::Floats(values.iter().map(number).collect()))
            }
        }
    }
}

impl CutStep {
    /// The index of the bin, none for a missing value.
    fn bin(&self, x: f64) -> Option<usize> {
        if x.is_nan() {
            return None;
        }
        Some(match self.closed {
            Closed::Left => self.edges.partition_point(|edge| *edge <= x),
            Closed::Right => self.edges.partition_point(|edge| *edge < x),
        })
    }

    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize) {
        let (input, output) = slots.pair(self.input, self.output);
        let bins = (0..n_rows).map(|row| self.bin(input.number(row)));
        match &self.values {
            Values::Ints(values) => {
                let output = output.as_ints();
                for bin in bins {
                    match bin.and_then(|bin| values.get(bin)) {
                        Some(value) => output.push(*value),
                        None => output.push_missing(),
                    }
                }
            }
            Values::Floats(values) => {
                let value = |bin: Option<usize>| {
                    bin.and_then(|bin| values.get(bin)).copied().unwrap_or(f64::NAN)
                };
                output.as_floats().extend(bins.map(value));
            }
            Values::Codes(values) => {
                let value = |bin: Option<usize>| {
                    bin.and_then(|bin| values.get(bin)).copied().unwrap_or(MISSING_CODE)
                };
                output.as_codes().extend(bins.map(value));
            }
        }
    }
}
