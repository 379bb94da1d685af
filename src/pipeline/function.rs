//! Functions of one number: the same in a pipeline and after the graph.

use serde::{Deserialize, Serialize};

/// A NumPy ufunc of one argument, in float64.
///
/// - Input and output: any float64. NaN (a missing value) gives NaN.
/// - Outside the domain the rules of IEEE 754 hold: `log(0)` is `-inf`, `log(-1)` is NaN.
/// - Same as NumPy 1.24 to 2.4 to within the last digits: NumPy's vector loops and the C library round differently by
///   at most 4 ulp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Function {
    /// Natural logarithm.
    Log,
    /// Logarithm to base 10.
    Log10,
    /// Logarithm to base 2.
    Log2,
    /// `log(1 + x)`.
    Log1p,
    /// `e^x`.
    Exp,
    /// `e^x - 1`.
    Expm1,
    /// Square root.
    Sqrt,
    /// Cube root.
    Cbrt,
    /// `x * x`.
    Square,
    /// `1 / x`.
    Reciprocal,
    /// `|x|`.
    Absolute,
    /// `-x`.
    Negative,
    /// Inverse sine.
    Arcsin,
    /// Inverse hyperbolic sine.
    Arcsinh,
    /// Sine of radians.
    Sin,
    /// Cosine of radians.
    Cos,
    /// Hyperbolic tangent.
    Tanh,
    /// The greatest integer that is not above.
    Floor,
    /// The least integer that is not below.
    Ceil,
    /// The nearest integer, ties to even.
    Rint,
    /// -1, 0 or 1.
    Sign,
    /// Tangent of radians.
    Tan,
    /// Inverse cosine.
    Arccos,
    /// Inverse tangent.
    Arctan,
    /// Hyperbolic sine.
    Sinh,
    /// Hyperbolic cosine.
    Cosh,
    /// Inverse hyperbolic cosine.
    Arccosh,
    /// Inverse hyperbolic tangent.
    Arctanh,
    /// 2 to the power of x.
    Exp2,
    /// The integer part, towards 0.
    Trunc,
    /// Degrees to radians.
    Radians,
    /// Radians to degrees.
    Degrees,
    /// The quantile of the standard normal distribution, `scipy.special.ndtri`.
    Ndtri,
    /// The standard normal distribution function, `scipy.special.ndtr`.
    Ndtr,
}

impl Function {
    /// The function's value at `x`.
    #[must_use]
    pub fn apply(self, x: f64) -> f64 {
        match self {
            Self::Log => x.ln(),
            Self::Log10 => x.log10(),
            Self::Log2 => x.log2(),
            Self::Log1p => x.ln_1p(),
            Self::Exp => x.exp(),
            Self::Expm1 => x.exp_m1(),
            Self::Sqrt => x.sqrt(),
            Self::Cbrt => x.cbrt(),
            Self::Square => x * x,
            Self::Reciprocal => 1.0 / x,
            Self::Absolute => x.abs(),
            Self::Negative => -x,
            Self::Arcsin => x.asin(),
            Self::Arcsinh => x.asinh(),
            Self::Sin => x.sin(),
            Self::Cos => x.cos(),
            Self::Tanh => x.tanh(),
            Self::Floor => x.floor(),
            Self::Ceil => x.ceil(),
            Self::Rint => x.round_ties_even(),
            // signum() gives 1 for 0, NumPy gives 0.
            Self::Sign if x == 0.0 => 0.0,
            Self::Sign => x.signum(),
            Self::Tan => x.tan(),
            Self::Arccos => x.acos(),
            Self::Arctan => x.atan(),
            Self::Sinh => x.sinh(),
            Self::Cosh => x.cosh(),
            Self::Arccosh => x.acosh(),
            Self::Arctanh => x.atanh(),
            Self::Exp2 => x.exp2(),
            Self::Trunc => x.trunc(),
            Self::Radians => x * (std::f64::consts::PI / 180.0),
            Self::Degrees => x * (180.0 / std::f64::consts::PI),
            Self::Ndtri => super::normal::quantile(x),
            Self::Ndtr => super::normal::distribution(x),
        }
    }
}

/// `((x - subtract) / divide) * multiply + add`, then the clip, in float64 and in exactly this order.
///
/// Parts that are absent are left out rather than replaced by 0 or 1, so that each rounding is the trained one. NaN stays NaN.
/// Same as scikit-learn's `StandardScaler` (subtract, divide), `MinMaxScaler` (multiply, add, clip), `MaxAbsScaler`
/// (divide) and `RobustScaler` (subtract, divide), 1.2 to 1.9, to the bit.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Affine {
    /// Taken off first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subtract: Option<f64>,
    /// Divided by next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divide: Option<f64>,
    /// Multiplied with next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub multiply: Option<f64>,
    /// Added next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<f64>,
    /// Least and greatest value, last; one of them may be open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<[Option<f64>; 2]>,
}

impl Affine {
    /// Says what is wrong with the parameters: not finite, a division by zero, a clip the wrong way round.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let parts = [
            ("subtract", self.subtract),
            ("divide", self.divide),
            ("multiply", self.multiply),
            ("add", self.add),
        ];
        for (name, value) in parts {
            if value.is_some_and(|value| !value.is_finite()) {
                return Some(format!("`{name}` is not a finite number"));
            }
        }
        if self.divide == Some(0.0) {
            return Some("`divide` is 0".to_owned());
        }
        match self.clip {
            Some([Some(low), Some(high)]) if low.is_nan() || high.is_nan() || low > high => {
                Some(format!("`clip` is [{low}, {high}], expected the lower bound first"))
            }
            Some([None, None]) => Some("`clip` has neither bound".to_owned()),
            _ => None,
        }
    }

    /// The value at `x`.
    #[must_use]
    pub fn apply(&self, mut x: f64) -> f64 {
        if let Some(subtract) = self.subtract {
            x -= subtract;
        }
        if let Some(divide) = self.divide {
            x /= divide;
        }
        if let Some(multiply) = self.multiply {
            x *= multiply;
        }
        if let Some(add) = self.add {
            x += add;
        }
        if let Some([low, high]) = self.clip {
            // Not `clamp`, which would keep -0.0 apart and panic on bounds that `problem` has refused anyway.
            match (low, high) {
                (Some(low), _) if x < low => x = low,
                (_, Some(high)) if x > high => x = high,
                _ => {}
            }
        }
        x
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "these results are exact")]
mod tests {
    use super::*;

    #[test]
    fn sign_and_rint_are_numpys() {
        let values = [-2.5, -0.5, 0.0, 0.5, 1.5, 2.5];
        assert_eq!(values.map(|x| Function::Rint.apply(x)), [-2.0, -0.0, 0.0, 0.0, 2.0, 2.0]);
        assert_eq!(values.map(|x| Function::Sign.apply(x)), [-1.0, -1.0, 0.0, 1.0, 1.0, 1.0]);
        assert!(Function::Sign.apply(f64::NAN).is_nan());
    }

    #[test]
    fn an_affine_step_keeps_the_order_of_operations() {
        let scaler = Affine { subtract: Some(1.0), divide: Some(2.0), ..Affine::default() };
        assert_eq!(scaler.apply(4.0), 1.5);
        let scaler = Affine {
            multiply: Some(2.0),
            add: Some(1.0),
            clip: Some([Some(0.0), Some(8.0)]),
            ..Affine::default()
        };
        assert_eq!([scaler.apply(3.0), scaler.apply(9.0), scaler.apply(-9.0)], [7.0, 8.0, 0.0]);
        assert!(scaler.apply(f64::NAN).is_nan());
    }
}
