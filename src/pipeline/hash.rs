//! Categories to a fixed number of columns by a hash of their text.

use md5::{Digest as _, Md5};
use serde::Deserialize;
use sha2::Sha256;

use super::column::{Column, Dtype, Slots};
use super::similarity::{text, texts_of};
use super::{Operation, PipelineError, Plan, Slot};

/// Parameters of `hash_category`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HashSpec {
    columns: Vec<String>,
    outputs: Vec<String>,
    method: Method,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    Md5,
    Sha256,
}

/// Counts how many of a row's categories hash to each of the outputs: the digest of the text, read as one integer with the
/// highest byte first, modulo their number.
///
/// - Inputs: text, or categories that are text or integers; a missing value counts nowhere. Outputs: float64, whole numbers.
/// - Same as `HashingEncoder` of `category_encoders` 2.6 to 2.11.
#[derive(Debug)]
pub(super) struct HashStep {
    /// Each input with the texts of its categories.
    inputs: Vec<(Slot, Vec<String>)>,
    first: Slot,
    n_outputs: usize,
    method: Method,
}

pub(super) fn load(plan: &mut Plan, spec: HashSpec) -> Result<(), PipelineError> {
    if spec.outputs.is_empty() {
        return Err(plan.error(None, "there are no outputs".to_owned()));
    }
    let mut inputs = Vec::with_capacity(spec.columns.len());
    for column in &spec.columns {
        inputs.push((plan.slot(column)?, texts_of(plan, column)?));
    }
    let sources: Vec<Slot> = inputs.iter().map(|(slot, _)| *slot).collect();
    let first = plan.slots.len();
    for output in &spec.outputs {
        let slot = plan.derive(Dtype::Float, &sources);
        plan.append(output, slot)?;
    }
    let n_outputs = spec.outputs.len();
    let step = HashStep { inputs, first, n_outputs, method: spec.method };
    plan.operations.push(Operation::Hash(step));
    Ok(())
}

impl Method {
    fn bucket(self, text: &str, n: usize) -> usize {
        match self {
            Self::Md5 => remainder(&Md5::digest(text.as_bytes()), n),
            Self::Sha256 => remainder(&Sha256::digest(text.as_bytes()), n),
        }
    }
}

/// Of a number written in bytes, the highest first.
fn remainder(bytes: &[u8], n: usize) -> usize {
    // There are far less than 2^56 outputs, so that nothing is lost.
    bytes.iter().fold(0, |rest, byte| ((rest << 8) | usize::from(*byte)) % n)
}

impl HashStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize) {
        let (before, outputs) = slots.split(self.first, self.n_outputs);
        for output in &mut *outputs {
            output.as_floats().resize(n_rows, 0.0);
        }
        for (input, categories) in &self.inputs {
            let input = before.read(*input);
            for row in 0..n_rows {
                if let Some(text) = text(input, categories, row)
                    && let Some(Column::Float(values)) =
                        outputs.get_mut(self.method.bucket(text, self.n_outputs))
                {
                    values[row] += 1.0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Method;

    #[test]
    fn buckets_are_those_of_hashlib() {
        // int.from_bytes(hashlib.md5(b"abc").digest(), "big") % 7, and so on.
        assert_eq!(Method::Md5.bucket("abc", 7), 0);
        assert_eq!(Method::Md5.bucket("", 1000), 366);
        assert_eq!(Method::Sha256.bucket("été", 8), 4);
    }
}
