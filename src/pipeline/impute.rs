//! Imputation of a missing number from the other numbers of its row.

use serde::Deserialize;

use super::column::{Column, Dtype, Slots};
use super::{Operation, PipelineError, Plan, Slot};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NeighboursSpec {
    columns: Vec<String>,
    rows: Vec<Vec<Option<f64>>>,
    count: usize,
    weights: Weights,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Weights {
    Uniform,
    Distance,
    All,
}

/// Fills a missing number with the mean of the nearest training rows that have one, in place.
///
/// - Near is the Euclidean distance over the columns that both rows have, scaled up for those they have not. A row without any
///   such column gets the mean of the column. A column without any training value stays as it is.
/// - Rows without any common column count for nothing, or with the weights `all` as much as the others, but are the last ones
///   to be taken.
/// - With `distance` the mean is weighted by 1 / distance; rows at distance 0 then count alone.
/// - Of training rows at the same distance the first ones are taken.
/// - Same as scikit-learn's `KNNImputer` 1.2 to 1.9, to within the rounding of its matrix products; where it chooses among
///   equally near rows in an order of its own, another one may be taken.
#[derive(Debug)]
pub(super) struct NeighboursStep {
    inputs: Vec<Slot>,
    first: Slot,
    rows: Vec<Vec<f64>>,
    /// The mean of each column, NaN where there is no training value.
    means: Vec<f64>,
    count: usize,
    weights: Weights,
}

/// What `neighbours` needs for a row, used again from row to row.
#[derive(Debug, Default)]
pub(super) struct Near {
    row: Vec<f64>,
    /// For each training row its distance.
    distances: Vec<f64>,
    /// Training rows that have the number.
    donors: Vec<(f64, usize)>,
}

fn in_place(plan: &mut Plan, columns: &[String]) -> Result<(Vec<Slot>, Slot), PipelineError> {
    let inputs =
        columns.iter().map(|name| plan.number_slot(name)).collect::<Result<Vec<_>, _>>()?;
    let first = plan.slots.len();
    for (at, column) in columns.iter().enumerate() {
        if columns[..at].contains(column) {
            return Err(plan.error(Some(column), "listed twice".to_owned()));
        }
        let slot = plan.derive(Dtype::Float, &inputs);
        plan.replace(column, slot);
    }
    Ok((inputs, first))
}

pub(super) fn load_neighbours(plan: &mut Plan, spec: NeighboursSpec) -> Result<(), PipelineError> {
    let NeighboursSpec { columns, rows, count, weights } = spec;
    if count == 0 || rows.is_empty() || columns.is_empty() {
        let problem = "`columns`, `rows` and `count` must not be empty or 0".to_owned();
        return Err(plan.error(None, problem));
    }
    if let Some(at) = rows.iter().position(|row| {
        row.len() != columns.len() || row.iter().flatten().any(|value| !value.is_finite())
    }) {
        let problem = format!("row {at} does not have a finite number or null for each column");
        return Err(plan.error(None, problem));
    }
    let rows: Vec<Vec<f64>> = rows
        .into_iter()
        .map(|row| row.into_iter().map(|x| x.unwrap_or(f64::NAN)).collect())
        .collect();
    let mean = |at: usize| {
        let values = rows.iter().map(|row| row[at]).filter(|x| !x.is_nan());
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), x| (sum + x, count + 1.0));
        sum / count
    };
    let means = (0..columns.len()).map(mean).collect();
    let (inputs, first) = in_place(plan, &columns)?;
    plan.operations.push(Operation::Neighbours(NeighboursStep {
        inputs,
        first,
        rows,
        means,
        count,
        weights,
    }));
    Ok(())
}

impl NeighboursStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize, near: &mut Near) {
        let (before, outputs) = slots.split(self.first, self.inputs.len());
        for output in outputs.iter_mut() {
            output.as_floats().reserve(n_rows);
        }
        for row in 0..n_rows {
            near.row.clear();
            near.row.extend(self.inputs.iter().map(|slot| before.read(*slot).number(row)));
            if near.row.iter().any(|x| x.is_nan()) {
                self.measure(near);
            }
            for (at, output) in outputs.iter_mut().enumerate() {
                let x = near.row[at];
                let value = if x.is_nan() { self.impute(at, near) } else { x };
                if let Column::Float(output) = output {
                    output.push(value);
                }
            }
        }
    }

    /// The distances of all training rows, in the order of operations of scikit-learn's `nan_euclidean_distances`.
    fn measure(&self, near: &mut Near) {
        let Near { row, distances, .. } = near;
        let zero = |x: f64| if x.is_nan() { 0.0 } else { x };
        distances.clear();
        distances.extend(self.rows.iter().map(|other| {
            let (mut product, mut own, mut others) = (0.0, 0.0, 0.0);
            let (mut lost_own, mut lost_others, mut present) = (0.0, 0.0, 0.0);
            for (x, y) in row.iter().zip(other) {
                let (missing_x, missing_y) = (x.is_nan(), y.is_nan());
                let (x, y) = (zero(*x), zero(*y));
                product += x * y;
                own += x * x;
                others += y * y;
                if missing_y {
                    lost_own += x * x;
                }
                if missing_x {
                    lost_others += y * y;
                }
                if !missing_x && !missing_y {
                    present += 1.0;
                }
            }
            if present == 0.0 {
                return f64::NAN;
            }
            let square = (-2.0 * product + own + others).max(0.0) - lost_own - lost_others;
            #[expect(clippy::cast_precision_loss, reason = "a number of columns")]
            let n_columns = row.len() as f64;
            (square.max(0.0) / present * n_columns).sqrt()
        }));
    }

    fn impute(&self, at: usize, near: &mut Near) -> f64 {
        let Near { distances, donors, .. } = near;
        donors.clear();
        let known = self.rows.iter().zip(distances.iter()).enumerate();
        donors.extend(
            known
                .filter(|(_, (row, _))| !row[at].is_nan())
                .map(|(i, (_, distance))| (*distance, i)),
        );
        if donors.iter().all(|(distance, _)| distance.is_nan()) {
            return self.means[at];
        }
        // NaN is positive here, so it comes last.
        let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if donors.len() > self.count {
            donors.select_nth_unstable_by(self.count - 1, order);
            donors.truncate(self.count);
        }
        donors.sort_unstable_by(order);
        let zeros = donors.iter().any(|(distance, _)| *distance == 0.0);
        let (mut sum, mut total) = (0.0, 0.0);
        for (distance, donor) in donors.iter() {
            let weight = match self.weights {
                Weights::All => 1.0,
                _ if distance.is_nan() => 0.0,
                Weights::Uniform => 1.0,
                Weights::Distance if zeros => f64::from(u8::from(*distance == 0.0)),
                Weights::Distance => 1.0 / distance,
            };
            sum += self.rows[*donor][at] * weight;
            total += weight;
        }
        sum / total
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegressSpec {
    columns: Vec<String>,
    initial: Vec<f64>,
    sequence: Vec<Regression>,
}

/// One missing number from the others: `x @ coefficients + intercept`, clipped.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Regression {
    column: usize,
    from: Vec<usize>,
    coefficients: Vec<f64>,
    intercept: f64,
    #[serde(default)]
    clip: Option<[Option<f64>; 2]>,
}

/// Fills missing numbers by linear regressions on the other columns, one after the other, in place.
///
/// - Missing numbers begin with the `initial` values; each regression then replaces that of its column, if it was missing.
///   A row without any number keeps the initial values.
/// - Same as scikit-learn's `IterativeImputer` 1.2 to 1.9 with a linear estimator, asked for one row, to within the rounding
///   of its products.
#[derive(Debug)]
pub(super) struct RegressStep {
    inputs: Vec<Slot>,
    first: Slot,
    initial: Vec<f64>,
    sequence: Vec<Regression>,
}

pub(super) fn load_regress(plan: &mut Plan, spec: RegressSpec) -> Result<(), PipelineError> {
    let RegressSpec { columns, initial, sequence } = spec;
    if columns.is_empty()
        || initial.len() != columns.len()
        || initial.iter().any(|x| !x.is_finite())
    {
        let problem = "`initial` does not have a finite number for each column".to_owned();
        return Err(plan.error(None, problem));
    }
    for (at, step) in sequence.iter().enumerate() {
        let n = columns.len();
        if step.column >= n
            || step.from.iter().any(|from| *from >= n)
            || step.from.len() != step.coefficients.len()
            || step.coefficients.iter().chain([&step.intercept]).any(|x| !x.is_finite())
            || step.clip.iter().flatten().flatten().any(|x| !x.is_finite())
        {
            let problem = format!(
                "regression {at} is not sound: its columns are among {n}, it has a finite coefficient for each"
            );
            return Err(plan.error(None, problem));
        }
    }
    let (inputs, first) = in_place(plan, &columns)?;
    plan.operations.push(Operation::Regress(RegressStep { inputs, first, initial, sequence }));
    Ok(())
}

impl RegressStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize, scratch: &mut Vec<f64>) {
        let (before, outputs) = slots.split(self.first, self.inputs.len());
        for output in outputs.iter_mut() {
            output.as_floats().reserve(n_rows);
        }
        for row in 0..n_rows {
            let raw = |at: usize| before.read(self.inputs[at]).number(row);
            scratch.clear();
            scratch.extend((0..self.inputs.len()).map(raw));
            let n_missing = scratch.iter().filter(|x| x.is_nan()).count();
            if n_missing > 0 {
                for (value, initial) in scratch.iter_mut().zip(&self.initial) {
                    if value.is_nan() {
                        *value = *initial;
                    }
                }
            }
            if n_missing > 0 && n_missing < self.inputs.len() {
                for step in self.sequence.iter().filter(|step| raw(step.column).is_nan()) {
                    let mut sum = 0.0;
                    for (from, coefficient) in step.from.iter().zip(&step.coefficients) {
                        sum += scratch[*from] * coefficient;
                    }
                    sum += step.intercept;
                    if let Some([low, high]) = step.clip {
                        sum = low.map_or(sum, |low| sum.max(low));
                        sum = high.map_or(sum, |high| sum.min(high));
                    }
                    scratch[step.column] = sum;
                }
            }
            for (output, value) in outputs.iter_mut().zip(scratch.iter()) {
                if let Column::Float(output) = output {
                    output.push(*value);
                }
            }
        }
    }
}
