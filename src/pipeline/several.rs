//! Steps of several number columns: linear maps, products, norms, statistics of a row.

use serde::Deserialize;

use super::column::{Before, Column, Dtype, Slots};
use super::{Operation, PipelineError, Plan, Slot};

/// The number columns that a step reads, and the slots that it writes one after the other.
#[derive(Debug)]
struct Shape {
    inputs: Vec<Slot>,
    first: Slot,
    n_outputs: usize,
}

impl Shape {
    /// Finds the inputs and makes the outputs, float64 each: in place of the input of the same name, else new columns.
    fn load(
        plan: &mut Plan,
        columns: &[String],
        outputs: &[String],
    ) -> Result<Self, PipelineError> {
        if columns.is_empty() || outputs.is_empty() {
            return Err(plan.error(None, "there are no columns, or no outputs".to_owned()));
        }
        let inputs =
            columns.iter().map(|name| plan.number_slot(name)).collect::<Result<Vec<_>, _>>()?;
        let first = plan.slots.len();
        for (at, output) in outputs.iter().enumerate() {
            if outputs[..at].contains(output) {
                return Err(plan.error(Some(output), "two outputs of this name".to_owned()));
            }
            let slot = plan.derive(Dtype::Float, &inputs);
            if columns.contains(output) {
                plan.replace(output, slot);
            } else {
                plan.append(output, slot)?;
            }
        }
        Ok(Self { inputs, first, n_outputs: outputs.len() })
    }

    fn split<'a>(&self, slots: &'a mut Slots<'_>) -> (Before<'a>, &'a mut [Column]) {
        slots.split(self.first, self.n_outputs)
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProjectSpec {
    columns: Vec<String>,
    outputs: Vec<String>,
    matrix: Vec<Vec<f64>>,
    #[serde(default)]
    subtract: Option<Vec<f64>>,
    #[serde(default)]
    offset: Option<Vec<f64>>,
}

/// `(x - subtract) @ matrix + offset`: a linear map of several columns.
///
/// - `matrix` has a row for each output. The products are summed in the order of the columns.
/// - Output: float64. Missing as soon as one of the columns is.
/// - Same as `X @ components.T` of scikit-learn's `PCA`, `TruncatedSVD` and other projections 1.2 to 1.9, to within the
///   rounding of a sum whose order a BLAS library chooses.
#[derive(Debug)]
pub(super) struct ProjectStep {
    shape: Shape,
    matrix: Vec<Vec<f64>>,
    subtract: Option<Vec<f64>>,
    offset: Option<Vec<f64>>,
}

pub(super) fn load_project(plan: &mut Plan, spec: ProjectSpec) -> Result<(), PipelineError> {
    let ProjectSpec { columns, outputs, matrix, subtract, offset } = spec;
    let wrong = |problem: String| Err(plan.error(None, problem));
    if matrix.len() != outputs.len() || matrix.iter().any(|row| row.len() != columns.len()) {
        return wrong(format!(
            "the matrix does not have {} rows (outputs) of {} numbers (columns)",
            outputs.len(),
            columns.len()
        ));
    }
    if subtract.as_ref().is_some_and(|values| values.len() != columns.len()) {
        return wrong("`subtract` does not have a number for each column".to_owned());
    }
    if offset.as_ref().is_some_and(|values| values.len() != outputs.len()) {
        return wrong("`offset` does not have a number for each output".to_owned());
    }
    let mut numbers = matrix.iter().chain(&subtract).chain(&offset).flatten();
    if numbers.any(|value| !value.is_finite()) {
        return wrong(
            "`matrix`, `subtract` or `offset` holds a number that is not finite".to_owned(),
        );
    }
    let shape = Shape::load(plan, &columns, &outputs)?;
    plan.operations.push(Operation::Project(ProjectStep { shape, matrix, subtract, offset }));
    Ok(())
}

impl ProjectStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize) {
        let (before, outputs) = self.shape.split(slots);
        for (at, output) in outputs.iter_mut().enumerate() {
            let sums = output.as_floats();
            sums.resize(n_rows, 0.0);
            for (i, (slot, factor)) in self.shape.inputs.iter().zip(&self.matrix[at]).enumerate() {
                let column = before.read(*slot);
                let subtract = self.subtract.as_ref().map_or(0.0, |values| values[i]);
                for (row, sum) in sums.iter_mut().enumerate() {
                    *sum += (column.number(row) - subtract) * factor;
                }
            }
            if let Some(offset) = &self.offset {
                sums.iter_mut().for_each(|sum| *sum += offset[at]);
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProductsSpec {
    columns: Vec<String>,
    outputs: Vec<String>,
    factors: Vec<Vec<usize>>,
}

/// Products of several columns: for each output the positions of its factors among the columns.
///
/// - Multiplied from left to right, each factor as often as it is listed; without any, 1.
/// - Output: float64. Missing if a factor is.
/// - Same as scikit-learn's `PolynomialFeatures` 1.2 to 1.9, to the bit.
#[derive(Debug)]
pub(super) struct ProductsStep {
    shape: Shape,
    factors: Vec<Vec<usize>>,
}

pub(super) fn load_products(plan: &mut Plan, spec: ProductsSpec) -> Result<(), PipelineError> {
    let ProductsSpec { columns, outputs, factors } = spec;
    if factors.len() != outputs.len() {
        let problem = format!("{} outputs, but {} lists of factors", outputs.len(), factors.len());
        return Err(plan.error(None, problem));
    }
    if let Some(factor) = factors.iter().flatten().find(|factor| **factor >= columns.len()) {
        let problem = format!("the factor {factor} is not among the {} columns", columns.len());
        return Err(plan.error(None, problem));
    }
    let shape = Shape::load(plan, &columns, &outputs)?;
    plan.operations.push(Operation::Products(ProductsStep { shape, factors }));
    Ok(())
}

impl ProductsStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize) {
        let (before, outputs) = self.shape.split(slots);
        for (factors, output) in self.factors.iter().zip(outputs) {
            let products = output.as_floats();
            products.resize(n_rows, 1.0);
            for (n, factor) in factors.iter().enumerate() {
                let column = before.read(self.shape.inputs[*factor]);
                for (row, product) in products.iter_mut().enumerate() {
                    let x = column.number(row);
                    *product = if n == 0 { x } else { *product * x };
                }
            }
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NormalizeSpec {
    columns: Vec<String>,
    norm: Norm,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Norm {
    L1,
    L2,
    Max,
}

/// Divides the numbers of a row by their norm, in place; by 1 where that is below ten times the machine epsilon.
///
/// - `l1`: sum of the absolute values, `l2`: root of the sum of the squares, `max`: greatest absolute value.
/// - Output: float64. Missing throughout if one of the columns is.
/// - Same as scikit-learn's `Normalizer` 1.2 to 1.9, to within the rounding of the sum.
#[derive(Debug)]
pub(super) struct NormalizeStep {
    shape: Shape,
    norm: Norm,
}

pub(super) fn load_normalize(plan: &mut Plan, spec: &NormalizeSpec) -> Result<(), PipelineError> {
    let shape = Shape::load(plan, &spec.columns, &spec.columns)?;
    plan.operations.push(Operation::Normalize(NormalizeStep { shape, norm: spec.norm }));
    Ok(())
}

impl NormalizeStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize) {
        let (before, outputs) = self.shape.split(slots);
        for output in outputs.iter_mut() {
            output.as_floats().resize(n_rows, 0.0);
        }
        for row in 0..n_rows {
            let values = || self.shape.inputs.iter().map(|slot| before.read(*slot).number(row));
            let mut norm = match self.norm {
                Norm::L1 => sum(values().map(f64::abs)),
                Norm::L2 => sum(values().map(|x| x * x)).sqrt(),
                Norm::Max => values().map(f64::abs).fold(0.0, greater),
            };
            if norm < 10.0 * f64::EPSILON {
                norm = 1.0;
            }
            for (output, value) in outputs.iter_mut().zip(values()) {
                if let Column::Float(output) = output {
                    output[row] = value / norm;
                }
            }
        }
    }
}

/// From left to right, beginning with 0; `Iterator::sum` begins with -0.
fn sum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, |sum, x| sum + x)
}

/// The greater one; NaN if either is.
fn greater(x: f64, y: f64) -> f64 {
    if x.is_nan() || x > y { x } else { y }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AggregateSpec {
    columns: Vec<String>,
    output: String,
    statistic: Statistic,
    #[serde(default)]
    ddof: u32,
    skip_missing: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Statistic {
    Sum,
    Product,
    Mean,
    Median,
    Variance,
    Std,
    Minimum,
    Maximum,
    Count,
    Distinct,
}

/// A statistic of the numbers of a row: a new column.
///
/// - With `skip_missing` of those that there are, else missing if one is. Of no number at all the sum is 0, the product
///   1, the counts 0, everything else missing.
/// - `variance` and `std` divide by the count less `ddof`, and are missing when that is not positive.
/// - Same as `DataFrame.agg(name, axis=1)` of pandas 1.5 to 3, hence feature-engine's `MathFeatures` 1.5 to 1.9.
#[derive(Debug)]
pub(super) struct AggregateStep {
    shape: Shape,
    statistic: Statistic,
    ddof: u32,
    skip_missing: bool,
}

pub(super) fn load_aggregate(plan: &mut Plan, spec: &AggregateSpec) -> Result<(), PipelineError> {
    let AggregateSpec { columns, output, statistic, ddof, skip_missing } = spec;
    if columns.contains(output) {
        let problem = "the output would replace one of several inputs".to_owned();
        return Err(plan.error(Some(output), problem));
    }
    let shape = Shape::load(plan, columns, std::slice::from_ref(output))?;
    plan.operations.push(Operation::Aggregate(AggregateStep {
        shape,
        statistic: *statistic,
        ddof: *ddof,
        skip_missing: *skip_missing,
    }));
    Ok(())
}

impl AggregateStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize, scratch: &mut Vec<f64>) {
        let (before, outputs) = self.shape.split(slots);
        let output = outputs[0].as_floats();
        for row in 0..n_rows {
            scratch.clear();
            scratch.extend(self.shape.inputs.iter().map(|slot| before.read(*slot).number(row)));
            let missing = scratch.iter().any(|x| x.is_nan());
            if missing && self.skip_missing {
                scratch.retain(|x| !x.is_nan());
            }
            output.push(if missing && !self.skip_missing {
                f64::NAN
            } else {
                self.statistic.of(scratch, f64::from(self.ddof))
            });
        }
    }
}

impl Statistic {
    fn of(self, values: &mut [f64], ddof: f64) -> f64 {
        let numbers = || values.iter().copied();
        #[expect(clippy::cast_precision_loss, reason = "a number of columns")]
        let count = values.len() as f64;
        let variance = || {
            let mean = sum(numbers()) / count;
            if count <= ddof {
                return f64::NAN;
            }
            sum(numbers().map(|x| (mean - x) * (mean - x))) / (count - ddof)
        };
        match self {
            Self::Sum => sum(numbers()),
            Self::Product => numbers().fold(1.0, |product, x| product * x),
            Self::Mean => sum(numbers()) / count,
            Self::Variance => variance(),
            Self::Std => variance().sqrt(),
            Self::Minimum => numbers().reduce(f64::min).unwrap_or(f64::NAN),
            Self::Maximum => numbers().reduce(f64::max).unwrap_or(f64::NAN),
            Self::Count => count,
            Self::Median | Self::Distinct => {
                values.sort_unstable_by(f64::total_cmp);
                if self == Self::Distinct {
                    let changes = values.windows(2).filter(|pair| pair[0] < pair[1]).count();
                    #[expect(clippy::cast_precision_loss, reason = "a number of columns")]
                    return (changes + usize::from(!values.is_empty())) as f64;
                }
                let middle = values.len() / 2;
                match values {
                    [] => f64::NAN,
                    _ if values.len() % 2 == 1 => values[middle],
                    _ => f64::midpoint(values[middle - 1], values[middle]),
                }
            }
        }
    }
}
