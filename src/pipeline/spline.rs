//! B-splines.

use serde::Deserialize;

use super::column::{Column, Dtype, Slots};
use super::{Operation, PipelineError, Plan, Slot};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SplineSpec {
    column: String,
    outputs: Vec<String>,
    knots: Vec<f64>,
    degree: usize,
    #[serde(default)]
    periodic: bool,
    #[serde(default)]
    below: Option<Line>,
    #[serde(default)]
    above: Option<Line>,
}

/// The outputs beyond a bound: `values + (x - bound) * slopes`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    bound: f64,
    values: Vec<f64>,
    slopes: Vec<f64>,
}

/// The values of the B-splines of one column: a new column for each spline.
///
/// - `knots` hold `degree` more on both sides of the range; `n` knots make `n - degree - 1` splines. With `periodic` the
///   number is taken back into the range first, and the last `degree` splines are added to the first.
/// - `below` and `above` say what holds beyond their bounds; without them the polynomials go on.
/// - Output: float64. Missing throughout where the number is.
/// - Same as scikit-learn's `SplineTransformer` 1.2 to 1.9, in the order of operations of `SciPy`'s de Boor.
#[derive(Debug)]
pub(super) struct SplineStep {
    input: Slot,
    first: Slot,
    n_outputs: usize,
    knots: Vec<f64>,
    degree: usize,
    periodic: bool,
    below: Option<Line>,
    above: Option<Line>,
}

pub(super) fn load(plan: &mut Plan, spec: SplineSpec) -> Result<(), PipelineError> {
    let SplineSpec { column, outputs, knots, degree, periodic, below, above } = spec;
    let wrong = |problem: &str| plan.error(Some(&column), problem.to_owned());
    if knots.iter().any(|knot| !knot.is_finite()) || knots.windows(2).any(|pair| pair[0] > pair[1])
    {
        return Err(wrong("the knots are not finite numbers in ascending order"));
    }
    // Far more than anyone fits, and it keeps the work of a cell bounded.
    if degree > 20 || knots.len() < 2 * degree + 2 {
        return Err(wrong("the degree is above 20, or there are fewer than 2 * degree + 2 knots"));
    }
    let n_splines = knots.len() - degree - 1 - if periodic { degree } else { 0 };
    if outputs.len() != n_splines || n_splines == 0 {
        let problem = format!("{} outputs for {n_splines} splines", outputs.len());
        return Err(plan.error(Some(&column), problem));
    }
    if knots[degree] >= knots[knots.len() - degree - 1] {
        return Err(wrong("the range between the knots is empty"));
    }
    for line in below.iter().chain(&above) {
        if line.values.len() != n_splines
            || line.slopes.len() != n_splines
            || line
                .values
                .iter()
                .chain(&line.slopes)
                .chain([&line.bound])
                .any(|value| !value.is_finite())
        {
            return Err(wrong("`below` or `above` does not hold a finite number for each spline"));
        }
    }
    let input = plan.number_slot(&column)?;
    let first = plan.slots.len();
    for output in &outputs {
        let slot = plan.derive(Dtype::Float, &[input]);
        plan.append(output, slot)?;
    }
    plan.operations.push(Operation::Spline(SplineStep {
        input,
        first,
        n_outputs: n_splines,
        knots,
        degree,
        periodic,
        below,
        above,
    }));
    Ok(())
}

impl SplineStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize, scratch: &mut Vec<f64>) {
        let (before, outputs) = slots.split(self.first, self.n_outputs);
        let input = before.read(self.input);
        for output in outputs.iter_mut() {
            output.as_floats().resize(n_rows, 0.0);
        }
        let (low, high) = (self.knots[self.degree], self.knots[self.knots.len() - self.degree - 1]);
        for row in 0..n_rows {
            let mut x = input.number(row);
            let mut put = |at: usize, value: f64| {
                if let Some(Column::Float(output)) = outputs.get_mut(at) {
                    output[row] += value;
                }
            };
            let below = self.below.as_ref().filter(|line| x < line.bound);
            let line = below.or(self.above.as_ref().filter(|line| x > line.bound));
            if x.is_nan() {
                (0..self.n_outputs).for_each(|at| put(at, f64::NAN));
            } else if let Some(line) = line {
                for (at, (value, slope)) in line.values.iter().zip(&line.slopes).enumerate() {
                    put(at, value + (x - line.bound) * slope);
                }
            } else {
                if self.periodic {
                    let range = high - low;
                    let mut rest = (x - low) % range;
                    if rest < 0.0 {
                        rest += range;
                    }
                    x = low + rest;
                }
                let interval = self.basis(x, scratch);
                for (a, value) in scratch[..=self.degree].iter().enumerate() {
                    put((interval + a - self.degree) % self.n_outputs, *value);
                }
            }
        }
    }

    /// Writes the `degree + 1` splines that are not zero at `x` to the beginning of `work`; the answer is the interval.
    fn basis(&self, x: f64, work: &mut Vec<f64>) -> usize {
        let (t, k) = (&self.knots, self.degree);
        let n = t.len() - k - 1;
        let mut interval = k;
        while x >= t[interval + 1] && interval != n - 1 {
            interval += 1;
        }
        work.clear();
        work.resize(2 * (k + 1), 0.0);
        let (h, previous) = work.split_at_mut(k + 1);
        h[0] = 1.0;
        for j in 1..=k {
            previous[..j].copy_from_slice(&h[..j]);
            h[0] = 0.0;
            for i in 1..=j {
                let (above, below) = (t[interval + i], t[interval + i - j]);
                if above <= below {
                    h[i] = 0.0;
                    continue;
                }
                let w = previous[i - 1] / (above - below);
                h[i - 1] += w * (above - x);
                h[i] = w * (x - below);
            }
        }
        interval
    }
}
