//! Categories, tokens and fields to a fixed number of columns by a hash of their text.

use md5::{Digest as _, Md5};
use serde::Deserialize;
use sha2::Sha256;

use super::column::{Column, Dtype, Key, MISSING_CODE, Slots, SparseBlock, View, to_f64};
use super::similarity::{text, texts_of};
use super::weigh::Weights;
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

/// Where a hash counts; written as `hash` of `tokens` and within `hash_features`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BucketsSpec {
    alternate_sign: bool,
    /// How many buckets there are, if not as many as outputs.
    #[serde(default)]
    size: Option<u32>,
    /// Which of them the outputs are, ascending, if not all.
    #[serde(default)]
    buckets: Option<Vec<u32>>,
    /// The `idf` of the others; infinite when absent.
    #[serde(default)]
    other_idf: Option<f64>,
}

/// The buckets that terms are counted in: |h| mod n, where h is the `MurmurHash3` of the term, with a sign on demand.
///
/// Same as `HashingVectorizer` and `FeatureHasher` of scikit-learn 1.2 to 1.9.
#[derive(Debug)]
pub(super) struct Buckets {
    size: u32,
    kept: Option<Vec<u32>>,
    other_idf: Option<f64>,
    alternate_sign: bool,
}

impl Buckets {
    /// Checked for that many outputs; the error says what is wrong.
    pub(super) fn load(spec: BucketsSpec, n_outputs: u32) -> Result<Self, String> {
        let BucketsSpec { alternate_sign, size, buckets, other_idf } = spec;
        let size = size.unwrap_or(n_outputs);
        let n_kept = buckets.as_ref().map_or(size as usize, Vec::len);
        if n_kept != n_outputs as usize {
            return Err(format!("{n_kept} buckets, but {n_outputs} outputs"));
        }
        if let Some(kept) = &buckets
            && (kept.windows(2).any(|pair| pair[0] >= pair[1])
                || kept.last().is_some_and(|last| *last >= size))
        {
            return Err(format!("`buckets` are not ascending numbers below {size}"));
        }
        if other_idf.is_some_and(|idf| !idf.is_finite()) {
            return Err("`other_idf` is not a finite number".to_owned());
        }
        Ok(Self { size, kept: buckets, other_idf, alternate_sign })
    }

    /// Has the weights meant for the outputs apply to the buckets.
    pub(super) fn spread(&self, weights: &mut Weights) {
        if let Some(kept) = &self.kept {
            weights.spread(kept, self.other_idf);
        }
    }

    /// The bucket of a term, and what it counts there: 1 or -1.
    pub(super) fn of(&self, term: &[u8]) -> (u32, f64) {
        let hash = murmur3(term);
        // scikit-learn takes the remainder of the absolute value of the signed hash, and of 2^31 as well.
        (hash.unsigned_abs() % self.size, if self.alternate_sign && hash < 0 { -1.0 } else { 1.0 })
    }

    /// Leaves in the row that begins at `start` what the outputs are, under their numbers.
    pub(super) fn keep(&self, block: &mut SparseBlock, start: usize) {
        if let Some(kept) = &self.kept {
            block.retain_row(start, |bucket| {
                // There are as many outputs as a u32 can count.
                kept.binary_search(&bucket).ok().and_then(|at| u32::try_from(at).ok())
            });
        }
    }
}

/// Parameters of `hash_features`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FeaturesSpec {
    columns: Vec<FeatureColumn>,
    hash: BucketsSpec,
    outputs: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FeatureColumn {
    column: String,
    #[serde(default)]
    key: Option<String>,
}

/// Hashes the fields of a row: a number counts as much as it is for its key, a text counts 1 for `key=text`.
///
/// - Input: any columns but dates. Without a key a text counts 1 for itself, and numbers are refused.
/// - A missing value makes the output of its key missing; without a key it counts nowhere.
/// - Output: a float64 column for each bucket, held as sparse rows. What falls into one bucket is summed in the order of the columns.
/// - Same as `FeatureHasher` of scikit-learn 1.2 to 1.9, of dicts and pairs with a key, of strings without.
#[derive(Debug)]
pub(super) struct HashFeaturesStep {
    columns: Vec<Hashed>,
    output: Slot,
    buckets: Buckets,
}

#[derive(Debug)]
struct Hashed {
    input: Slot,
    /// `key=`, to which a text is appended.
    prefix: String,
    /// The bucket of the key, of numbers and of what is missing.
    key: Option<(u32, f64)>,
    /// For each category its bucket and what it counts there.
    categories: Vec<(u32, f64)>,
}

pub(super) fn load_features(plan: &mut Plan, spec: FeaturesSpec) -> Result<(), PipelineError> {
    let n = u32::try_from(spec.outputs.len())
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| plan.error(None, format!("{} outputs", spec.outputs.len())))?;
    let buckets = Buckets::load(spec.hash, n).map_err(|problem| plan.error(None, problem))?;
    let mut columns = Vec::with_capacity(spec.columns.len());
    for FeatureColumn { column, key } in spec.columns {
        let input = plan.slot(&column)?;
        let prefix = key.as_ref().map_or_else(String::new, |key| format!("{key}="));
        let number = |value: f64| {
            let key = key.as_ref().ok_or_else(|| {
                plan.error(Some(&column), "a column of numbers needs a `key`".to_owned())
            })?;
            let (bucket, sign) = buckets.of(key.as_bytes());
            Ok((bucket, sign * value))
        };
        let categories = match &plan.slots[input].dtype {
            // A step takes no tensor and no picture.
            Dtype::Text | Dtype::Tensor(_) | Dtype::Image => Vec::new(),
            Dtype::Int | Dtype::Float => {
                number(1.0)?;
                Vec::new()
            }
            Dtype::Category(categories) => categories
                .iter()
                .map(|category| match category {
                    Key::Text(text) => Ok(buckets.of(format!("{prefix}{text}").as_bytes())),
                    Key::Int(value) => number(to_f64(*value)),
                    Key::Float(value) => number(*value),
                })
                .collect::<Result<_, _>>()?,
            Dtype::Datetime => {
                return Err(plan.error(
                    Some(&column),
                    "this step takes text and numbers, but the column holds dates".to_owned(),
                ));
            }
        };
        let key = key.map(|key| buckets.of(key.as_bytes()));
        columns.push(Hashed { input, prefix, key, categories });
    }
    let inputs: Vec<Slot> = columns.iter().map(|column| column.input).collect();
    let output = plan.derive_block(&inputs, &spec.outputs)?;
    plan.operations.push(Operation::HashFeatures(HashFeaturesStep { columns, output, buckets }));
    Ok(())
}

impl HashFeaturesStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize) {
        let (before, outputs) = slots.split(self.output, 1);
        let block = outputs[0].as_sparse();
        let mut found: Vec<(u32, f64)> = Vec::with_capacity(self.columns.len());
        for row in 0..n_rows {
            found.clear();
            for column in &self.columns {
                let entry = match before.read(column.input) {
                    View::Text(texts) => {
                        texts.get(row).map(|text| self.buckets.joined(&column.prefix, text))
                    }
                    View::Category(codes) => codes
                        .get(row)
                        .filter(|code| **code != MISSING_CODE)
                        .and_then(|code| column.categories.get(*code as usize))
                        .copied(),
                    numbers @ (View::Int(_) | View::Float(_)) => {
                        column.key.map(|(bucket, sign)| (bucket, sign * numbers.number(row)))
                    }
                    View::Tensor(_) | View::Image(_) => None,
                };
                let missing = || column.key.map(|(bucket, _)| (bucket, f64::NAN));
                // The original leaves a 0 out.
                found.extend(entry.or_else(missing).filter(|(_, value)| *value != 0.0));
            }
            found.sort_by_key(|(bucket, _)| *bucket);
            let start = block.begin_row();
            found.iter().for_each(|(bucket, value)| block.add(*bucket, *value, start));
            self.buckets.keep(block, start);
            block.end_row();
        }
    }
}

impl Buckets {
    /// The bucket of two texts in one.
    fn joined(&self, prefix: &str, text: &str) -> (u32, f64) {
        let mut bytes = Vec::with_capacity(prefix.len() + text.len());
        bytes.extend_from_slice(prefix.as_bytes());
        bytes.extend_from_slice(text.as_bytes());
        self.of(&bytes)
    }
}

/// `MurmurHash3`, 32 bits, x86, with the seed 0, as a signed number.
fn murmur3(bytes: &[u8]) -> i32 {
    let mix =
        |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut hash: u32 = 0;
    let mut blocks = bytes.chunks_exact(4);
    for block in blocks.by_ref() {
        let block = block.iter().rev().fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte));
        hash ^= mix(block);
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let tail = blocks.remainder();
    if !tail.is_empty() {
        hash ^= mix(tail.iter().rev().fold(0, |sum: u32, byte| sum << 8 | u32::from(*byte)));
    }
    // Only the lowest 32 bits of the length count.
    hash ^= bytes.len().to_le_bytes()[..4]
        .iter()
        .rev()
        .fold(0, |sum, byte| sum << 8 | u32::from(*byte));
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^= hash >> 16;
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::{Buckets, Method, murmur3};

    #[test]
    fn buckets_are_those_of_hashlib() {
        // int.from_bytes(hashlib.md5(b"abc").digest(), "big") % 7, and so on.
        assert_eq!(Method::Md5.bucket("abc", 7), 0);
        assert_eq!(Method::Md5.bucket("", 1000), 366);
        assert_eq!(Method::Sha256.bucket("été", 8), 4);
    }

    #[test]
    fn hashes_are_those_of_scikit_learn() {
        // sklearn.utils.murmurhash3_32(text, seed=0)
        assert_eq!(murmur3(b""), 0);
        assert_eq!(murmur3(b"foo"), -156_908_512);
        assert_eq!(murmur3("größe €".as_bytes()), -80_629_466);
    }

    #[test]
    fn buckets_that_are_not_sound_are_refused() {
        let problem = |spec: serde_json::Value, n| {
            Buckets::load(serde_json::from_value(spec).unwrap(), n).unwrap_err()
        };
        let spec = serde_json::json!({"alternate_sign": true, "size": 8, "buckets": [1, 1]});
        assert_eq!(problem(spec, 2), "`buckets` are not ascending numbers below 8");
        let spec = serde_json::json!({"alternate_sign": true, "size": 8, "buckets": [1, 8]});
        assert_eq!(problem(spec, 2), "`buckets` are not ascending numbers below 8");
        let spec = serde_json::json!({"alternate_sign": true, "size": 8});
        assert_eq!(problem(spec, 2), "8 buckets, but 2 outputs");
    }
}
