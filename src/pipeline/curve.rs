//! Fitted curves of one number: straight lines between knots, power transformations.

use serde::{Deserialize, Serialize};

use super::column::{Dtype, Slots};
use super::{Operation, PipelineError, Plan, Slot};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct InterpolateSpec {
    columns: Vec<InterpolateColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct InterpolateColumn {
    column: String,
    x: Vec<f64>,
    y: Vec<f64>,
    #[serde(default)]
    both: bool,
    #[serde(default)]
    margin: Option<f64>,
}

/// Straight lines between the points `(x, y)`; before the first and after the last point, their `y`.
///
/// - With `margin`, a number that is the last knot or within less than the margin of it, or above, gives the last `y`;
///   then the same below the first knot. NaN stays NaN.
/// - Same as `np.interp` of NumPy 1.24 to 2.4, with `margin` as scikit-learn's `QuantileTransformer` 1.2 to 1.9.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interpolate {
    /// The knots, ascending; repetitions are allowed.
    pub x: Vec<f64>,
    /// The value at each knot.
    pub y: Vec<f64>,
    /// How near to an end is the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
}

impl Interpolate {
    /// Says what is wrong with the points: their number, their order, one that is not finite.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let Self { x, y, margin } = self;
        if x.len() != y.len() || x.is_empty() {
            return Some(format!(
                "{} knots `x`, but {} `y`; expected as many, at least one",
                x.len(),
                y.len()
            ));
        }
        if x.iter().chain(y).chain(margin).any(|value| !value.is_finite()) {
            return Some("`x`, `y` or `margin` is not a finite number".to_owned());
        }
        if x.windows(2).any(|pair| pair[0] > pair[1]) {
            return Some("the knots `x` are not in ascending order".to_owned());
        }
        None
    }

    /// The value at `x`.
    #[must_use]
    pub fn apply(&self, x: f64) -> f64 {
        if x.is_nan() {
            return x;
        }
        self.end(x).unwrap_or_else(|| interpolate(x, &self.x, &self.y))
    }

    /// The value at an end, if `x` is within the margin of it.
    #[expect(clippy::float_cmp, reason = "the original compares exactly")]
    fn end(&self, x: f64) -> Option<f64> {
        let margin = self.margin?;
        let (first, last) = (self.x.first()?, self.x.last()?);
        // The lower bound is written last by the original, so it wins.
        if (margin == 0.0 && x == *first) || (margin != 0.0 && x - margin < *first) {
            return self.y.first().copied();
        }
        let above = if margin == 0.0 { x == *last } else { x + margin > *last };
        above.then(|| self.y.last().copied()).flatten()
    }
}

/// Puts each number of a column on a curve, in place.
///
/// - With `both`, the mean of the curve and of the same from the other side, which differ where knots are repeated.
/// - Output: float64. Missing stays missing.
/// - Same as [`Interpolate`], with `both` as scikit-learn's `QuantileTransformer`.
#[derive(Debug)]
pub(super) struct InterpolateStep {
    input: Slot,
    output: Slot,
    curve: Interpolate,
    /// The same points from the other side, negated.
    mirrored: Option<(Vec<f64>, Vec<f64>)>,
}

pub(super) fn load_interpolate(
    plan: &mut Plan,
    spec: InterpolateSpec,
) -> Result<(), PipelineError> {
    for InterpolateColumn { column, x, y, both, margin } in spec.columns {
        let curve = Interpolate { x, y, margin };
        if let Some(problem) = curve.problem() {
            return Err(plan.error(Some(&column), problem));
        }
        let input = plan.number_slot(&column)?;
        let output = plan.derive(Dtype::Float, &[input]);
        plan.replace(&column, output);
        let negated = |values: &[f64]| values.iter().rev().map(|value| -value).collect();
        let mirrored = both.then(|| (negated(&curve.x), negated(&curve.y)));
        plan.operations.push(Operation::Interpolate(InterpolateStep {
            input,
            output,
            curve,
            mirrored,
        }));
    }
    Ok(())
}

impl InterpolateStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>) {
        let (input, output) = slots.pair(self.input, self.output);
        input.map_numbers(output.as_floats(), |x| self.apply(x));
    }

    fn apply(&self, x: f64) -> f64 {
        match &self.mirrored {
            Some((mirrored_x, mirrored_y)) if !x.is_nan() => {
                self.curve.end(x).unwrap_or_else(|| {
                    let there = interpolate(x, &self.curve.x, &self.curve.y);
                    0.5 * (there - interpolate(-x, mirrored_x, mirrored_y))
                })
            }
            _ => self.curve.apply(x),
        }
    }
}

/// `np.interp` for one number, in its order of operations.
#[expect(clippy::float_cmp, reason = "the original compares exactly")]
fn interpolate(x: f64, knots: &[f64], values: &[f64]) -> f64 {
    let after = knots.partition_point(|knot| *knot <= x);
    let last = knots.len() - 1;
    if after == 0 {
        return values[0];
    }
    let at = after - 1;
    if at == last || knots[at] == x {
        // NumPy avoids a slope that may be infinite.
        return values[at];
    }
    let slope = (values[at + 1] - values[at]) / (knots[at + 1] - knots[at]);
    let result = slope * (x - knots[at]) + values[at];
    if !result.is_nan() {
        return result;
    }
    let result = slope * (x - knots[at + 1]) + values[at + 1];
    if result.is_nan() && values[at] == values[at + 1] { values[at] } else { result }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PowerSpec {
    columns: Vec<PowerColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PowerColumn {
    column: String,
    method: Method,
    exponent: f64,
}

/// Which function of the exponent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// `x ** exponent`.
    Power,
    /// Box-Cox by `expm1`, as `SciPy`.
    BoxCox,
    /// Box-Cox as `(x ** exponent - 1) / exponent`, as the name says.
    BoxCoxDirect,
    /// What Box-Cox came from, by powers.
    BoxCoxInverse,
    /// Yeo-Johnson by `expm1` and `log1p`, as `SciPy`.
    YeoJohnson,
    /// Yeo-Johnson by powers, as scikit-learn 1.2.
    YeoJohnsonDirect,
    /// What Yeo-Johnson came from, by powers.
    YeoJohnsonInverse,
}

/// A power transformation of one number, or its inverse.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Power {
    /// Which.
    pub method: Method,
    /// Its exponent, often called lambda.
    pub exponent: f64,
}

/// A power transformation of one column, in place.
///
/// - Output: float64. Missing stays missing; outside the domain the rules of IEEE 754 hold.
/// - The `direct` forms lose digits near 0 where the library does, so they are kept apart.
/// - Same as `np.power`, `scipy.special.boxcox`, `scipy.stats.yeojohnson` of `SciPy` 1.15 to 1.17, and the Yeo-Johnson of
///   scikit-learn 1.2's `PowerTransformer` (1.3 and later call `SciPy`'s).
#[derive(Debug)]
pub(super) struct PowerStep {
    input: Slot,
    output: Slot,
    power: Power,
}

pub(super) fn load_power(plan: &mut Plan, spec: PowerSpec) -> Result<(), PipelineError> {
    for PowerColumn { column, method, exponent } in spec.columns {
        let power = Power { method, exponent };
        if let Some(problem) = power.problem() {
            return Err(plan.error(Some(&column), problem));
        }
        let input = plan.number_slot(&column)?;
        let output = plan.derive(Dtype::Float, &[input]);
        plan.replace(&column, output);
        plan.operations.push(Operation::Power(PowerStep { input, output, power }));
    }
    Ok(())
}

impl PowerStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>) {
        let (input, output) = slots.pair(self.input, self.output);
        input.map_numbers(output.as_floats(), |x| self.power.apply(x));
    }
}

impl Power {
    /// Says what is wrong with the parameters: an exponent that is not finite.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        (!self.exponent.is_finite()).then(|| "`exponent` is not a finite number".to_owned())
    }

    /// The value at `x`.
    #[must_use]
    pub fn apply(&self, x: f64) -> f64 {
        if x.is_nan() {
            return x;
        }
        let lambda = self.exponent;
        match self.method {
            Method::Power => x.powf(lambda),
            Method::BoxCox => box_cox(x, lambda),
            Method::BoxCoxDirect if lambda == 0.0 => x.ln(),
            Method::BoxCoxDirect => (x.powf(lambda) - 1.0) / lambda,
            Method::YeoJohnson => {
                if x >= 0.0 {
                    if lambda.abs() < f64::EPSILON {
                        x.ln_1p()
                    } else {
                        (lambda * x.ln_1p()).exp_m1() / lambda
                    }
                } else if (lambda - 2.0).abs() > f64::EPSILON {
                    -((2.0 - lambda) * (-x).ln_1p()).exp_m1() / (2.0 - lambda)
                } else {
                    -(-x).ln_1p()
                }
            }
            Method::BoxCoxInverse if lambda == 0.0 => x.exp(),
            Method::BoxCoxInverse => (x * lambda + 1.0).powf(1.0 / lambda),
            Method::YeoJohnsonInverse => {
                if x >= 0.0 {
                    if lambda.abs() < f64::EPSILON {
                        x.exp() - 1.0
                    } else {
                        (x * lambda + 1.0).powf(1.0 / lambda) - 1.0
                    }
                } else if (lambda - 2.0).abs() > f64::EPSILON {
                    1.0 - (-(2.0 - lambda) * x + 1.0).powf(1.0 / (2.0 - lambda))
                } else {
                    1.0 - (-x).exp()
                }
            }
            Method::YeoJohnsonDirect => {
                if x >= 0.0 {
                    if lambda.abs() < f64::EPSILON {
                        x.ln_1p()
                    } else {
                        ((x + 1.0).powf(lambda) - 1.0) / lambda
                    }
                } else if (lambda - 2.0).abs() > f64::EPSILON {
                    -((-x + 1.0).powf(2.0 - lambda) - 1.0) / (2.0 - lambda)
                } else {
                    -(-x).ln_1p()
                }
            }
        }
    }
}

/// `scipy.special.boxcox`.
fn box_cox(x: f64, lambda: f64) -> f64 {
    if lambda.abs() < 1e-19 {
        return x.ln();
    }
    let product = lambda * x.ln();
    if product < 709.78 {
        product.exp_m1() / lambda
    } else {
        lambda.signum() * (product - lambda.abs().ln()).exp() - 1.0 / lambda
    }
}
