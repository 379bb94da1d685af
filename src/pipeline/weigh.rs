//! Weights of counts: what makes frequencies of a bag of words, whichever step counted.

use serde::Deserialize;

use super::column::{Slots, SparseBlock};
use super::sparse::{Parts, load_parts};
use super::{Operation, PipelineError, Plan, RowProblem, Run, Slot};

/// What a row of weights is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Norm {
    /// The sum of magnitudes.
    L1,
    /// The root of the sum of squares.
    L2,
    /// The greatest magnitude.
    Max,
}

/// What is done to the counts of a row, in this order: 1 (`binary`), `1 + ln x` (`sublinear`), times `idf`, divided by the `norm`.
#[derive(Debug)]
pub(super) struct Weights {
    binary: bool,
    sublinear: bool,
    /// The factor of each of the columns that are not 0, by their index.
    idf: Option<Idf>,
    norm: Option<Norm>,
}

#[derive(Debug)]
struct Idf {
    values: Vec<f64>,
    /// Where the values are those of some columns only: these, ascending, and the factor of all others.
    of: Option<(Vec<u32>, f64)>,
}

impl Idf {
    fn get(&self, index: u32) -> f64 {
        let (at, otherwise) = match &self.of {
            None => (Some(index as usize), 1.0),
            Some((columns, otherwise)) => (columns.binary_search(&index).ok(), *otherwise),
        };
        at.and_then(|at| self.values.get(at)).copied().unwrap_or(otherwise)
    }
}

impl Weights {
    /// Checked for that many columns; the error says what is wrong.
    pub(super) fn load(
        binary: bool,
        sublinear: bool,
        idf: Option<Vec<Option<f64>>>,
        norm: Option<Norm>,
        n_columns: u32,
    ) -> Result<Self, String> {
        if let Some(idf) = &idf {
            if idf.len() != n_columns as usize {
                return Err(format!("{} values of idf, but {n_columns} outputs", idf.len()));
            }
            if idf.iter().flatten().any(|idf| !idf.is_finite()) {
                return Err("a value of idf is not a finite number".to_owned());
            }
        }
        // The weight of a term that no row of training had is infinite, unless it was smoothed.
        let finite = |value: Option<f64>| value.unwrap_or(f64::INFINITY);
        let idf =
            idf.map(|values| Idf { values: values.into_iter().map(finite).collect(), of: None });
        Ok(Self { binary, sublinear, idf, norm })
    }

    /// Says that the values of `idf` are those of these columns, ascending, and `otherwise` that of all others, or infinite.
    pub(super) fn spread(&mut self, columns: &[u32], otherwise: Option<f64>) {
        if let Some(idf) = &mut self.idf {
            idf.of = Some((columns.to_vec(), otherwise.unwrap_or(f64::INFINITY)));
        }
    }

    /// Weighs a row: the columns that are not 0, ascending, and their values.
    ///
    /// Sums run over the columns in ascending order, as `SciPy`'s do over a CSR row. The answer is a value that is not finite, if there
    /// is one and there is a norm: the original raises then.
    pub(super) fn apply(&self, indices: &[u32], values: &mut [f64]) -> Option<f64> {
        if self.binary {
            values.fill(1.0);
        }
        if self.sublinear {
            values.iter_mut().for_each(|value| *value = value.ln() + 1.0);
        }
        if let Some(idf) = &self.idf {
            for (index, value) in indices.iter().zip(values.iter_mut()) {
                *value *= idf.get(*index);
            }
        }
        let wild = values.iter().copied().find(|value| !value.is_finite());
        let size = match self.norm {
            None => return None,
            Some(Norm::L1) => values.iter().fold(0.0, |sum, value| sum + value.abs()),
            Some(Norm::L2) => values.iter().fold(0.0, |sum, value| sum + value * value).sqrt(),
            Some(Norm::Max) => values.iter().fold(0.0_f64, |most, value| most.max(value.abs())),
        };
        if size != 0.0 {
            values.iter_mut().for_each(|value| *value /= size);
        }
        wild
    }
}

/// Refuses a row in which a norm meets a value that is not finite.
pub(super) fn refuse(
    wild: f64,
    row: usize,
    step: usize,
    slot: Slot,
    column: &str,
    run: &mut Run<'_>,
) {
    let field = run.pipeline.slots[slot].fields.first().copied();
    run.refuse(row, step, |run| {
        let step = run.pipeline.step_names[step].clone();
        let column = column.to_owned();
        let problem = if wild.is_nan() {
            RowProblem::MissingValue { step, column }
        } else {
            RowProblem::InfiniteValue { step, column }
        };
        (field, problem)
    });
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WeighSpec {
    columns: Vec<String>,
    #[serde(default)]
    sublinear: bool,
    #[serde(default)]
    idf: Option<Vec<Option<f64>>>,
    #[serde(default)]
    norm: Option<Norm>,
}

/// Weighs the numbers of a row by columns and by their norm, in place; zeros stay zeros.
///
/// - Input: number columns, most of whose values are 0; with a norm a value that is missing or becomes infinite is an error.
///   Output: float64, held as sparse rows.
/// - Same as `TfidfTransformer` of scikit-learn 1.2 to 1.9 wherever its columns come from, and as `Normalizer` of a sparse matrix.
#[derive(Debug)]
pub(super) struct WeighStep {
    step: usize,
    columns: Vec<String>,
    parts: Parts,
    /// The first of as many columns as there are inputs, as one block.
    output: Slot,
    weights: Weights,
}

pub(super) fn load(plan: &mut Plan, spec: WeighSpec) -> Result<(), PipelineError> {
    let (parts, inputs) = load_parts(plan, &spec.columns, "weigh")?;
    let n = u32::try_from(spec.columns.len()).unwrap_or(u32::MAX);
    let weights = Weights::load(false, spec.sublinear, spec.idf, spec.norm, n)
        .map_err(|problem| plan.error(None, problem))?;
    let output = plan.replace_by_block(&inputs, &spec.columns)?;
    let (step, columns) = (plan.index, spec.columns);
    plan.operations.push(Operation::Weigh(WeighStep { step, columns, parts, output, weights }));
    Ok(())
}

impl WeighStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize, run: &mut Run<'_>) {
        let (before, outputs) = slots.split(self.output, 1);
        let block: &mut SparseBlock = outputs[0].as_sparse();
        let mut found: Vec<(u32, f64)> = Vec::new();
        for row in 0..n_rows {
            found.clear();
            self.parts.each(&before, row, |at, value| {
                if value != 0.0 {
                    // There are as many columns as a u32 can count.
                    found.push((u32::try_from(at).unwrap_or(u32::MAX), value));
                }
            });
            found.sort_unstable_by_key(|(at, _)| *at);
            let start = block.begin_row();
            found.iter().for_each(|(at, value)| block.add(*at, *value, start));
            let (indices, values) = block.row_mut(start);
            if let Some(wild) = self.weights.apply(indices, values) {
                let column = self.columns.first().map_or("", String::as_str);
                refuse(wild, row, self.step, self.output, column, run);
            }
            block.end_row();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Norm, Weights};

    #[test]
    fn weights_of_some_columns_and_of_all_others() {
        let mut weights =
            Weights::load(false, true, Some(vec![Some(2.0), Some(3.0)]), None, 2).unwrap();
        weights.spread(&[4, 9], Some(10.0));
        let mut values = [1.0, 1.0, 1.0];
        weights.apply(&[4, 5, 9], &mut values);
        assert_eq!(format!("{values:?}"), "[2.0, 10.0, 3.0]");
    }

    #[test]
    fn a_row_is_divided_by_its_norm_unless_that_is_0() {
        for (norm, expected) in
            [(Norm::L1, "[0.75, -0.25]"), (Norm::Max, "[1.0, -0.3333333333333333]")]
        {
            let weights = Weights::load(false, false, None, Some(norm), 2).unwrap();
            let mut values = [3.0, -1.0];
            weights.apply(&[0, 1], &mut values);
            assert_eq!(format!("{values:?}"), expected);
        }
        let weights = Weights::load(false, false, None, Some(Norm::L2), 2).unwrap();
        assert_eq!(weights.apply(&[], &mut []), None);
    }
}
