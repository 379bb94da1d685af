//! The standard normal distribution and its quantiles.
//!
//! The rational approximations of the Cephes library (S. L. Moshier), `ndtr` and `ndtri`, which `SciPy` uses: the same
//! coefficients in the same order of operations.

const P0: [f64; 5] = [
    -59.96335010141079,
    98.00107541859997,
    -56.67628574690703,
    13.931260938727968,
    -1.2391658386738125,
];
const Q0: [f64; 8] = [
    1.9544885833814176,
    4.676279128988815,
    86.36024213908905,
    -225.46268785411937,
    200.26021238006066,
    -82.03722561683334,
    15.90562251262117,
    -1.1833162112133,
];
const P1: [f64; 9] = [
    4.0554489230596245,
    31.525109459989388,
    57.16281922464213,
    44.08050738932008,
    14.684956192885803,
    2.1866330685079025,
    -0.1402560791713545,
    -0.03504246268278482,
    -0.0008574567851546854,
];
const Q1: [f64; 8] = [
    15.779988325646675,
    45.39076351288792,
    41.3172038254672,
    15.04253856929075,
    2.504649462083094,
    -0.14218292285478779,
    -0.03808064076915783,
    -0.0009332594808954574,
];
const P2: [f64; 9] = [
    3.2377489177694603,
    6.915228890689842,
    3.9388102529247444,
    1.3330346081580755,
    0.20148538954917908,
    0.012371663481782003,
    0.00030158155350823543,
    2.6580697468673755e-06,
    6.239745391849833e-09,
];
const Q2: [f64; 8] = [
    6.02427039364742,
    3.6798356385616087,
    1.3770209948908132,
    0.21623699359449663,
    0.013420400608854318,
    0.00032801446468212774,
    2.8924786474538068e-06,
    6.790194080099813e-09,
];

const ERFC_P: [f64; 9] = [
    2.461969814735305e-10,
    0.5641895648310689,
    7.463210564422699,
    48.63719709856814,
    196.5208329560771,
    526.4451949954773,
    934.5285271719576,
    1027.5518868951572,
    557.5353353693994,
];
const ERFC_Q: [f64; 8] = [
    13.228195115474499,
    86.70721408859897,
    354.9377788878199,
    975.7085017432055,
    1823.9091668790973,
    2246.3376081871097,
    1656.6630919416134,
    557.5353408177277,
];
const ERFC_R: [f64; 6] = [
    0.5641895835477551,
    1.275366707599781,
    5.019050422511805,
    6.160210979930536,
    7.4097426995044895,
    2.9788666537210022,
];
const ERFC_S: [f64; 6] = [
    2.2605286322011726,
    9.396035249380015,
    12.048953980809666,
    17.08144507475659,
    9.608968090632859,
    3.369076451000815,
];
const ERF_T: [f64; 5] =
    [9.604973739870516, 90.02601972038427, 2232.005345946843, 7003.325141128051, 55592.30130103949];
const ERF_U: [f64; 5] = [
    33.56171416475031,
    521.3579497801527,
    4594.323829709801,
    22629.000061389095,
    49267.39426086359,
];

fn polynomial(x: f64, coefficients: &[f64]) -> f64 {
    coefficients.iter().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// With a leading coefficient of 1.
fn monic(x: f64, coefficients: &[f64]) -> f64 {
    coefficients.iter().fold(1.0, |sum, coefficient| sum * x + coefficient)
}

/// The `x` below which the standard normal distribution has the probability `p`; NaN outside of [0, 1].
pub(super) fn quantile(p: f64) -> f64 {
    const EXP_MINUS_2: f64 = 0.1353352832366127;
    const SQRT_2_PI: f64 = 2.5066282746310007;
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p == 0.0 {
        return f64::NEG_INFINITY;
    }
    if p >= 1.0 {
        return f64::INFINITY;
    }
    let mut negate = true;
    let mut y = p;
    if y > 1.0 - EXP_MINUS_2 {
        y = 1.0 - y;
        negate = false;
    }
    if y > EXP_MINUS_2 {
        y -= 0.5;
        let square = y * y;
        let x = y + y * (square * polynomial(square, &P0) / monic(square, &Q0));
        return x * SQRT_2_PI;
    }
    let x = (-2.0 * y.ln()).sqrt();
    let x0 = x - x.ln() / x;
    let z = 1.0 / x;
    let x1 = if x < 8.0 {
        z * polynomial(z, &P1) / monic(z, &Q1)
    } else {
        z * polynomial(z, &P2) / monic(z, &Q2)
    };
    let x = x0 - x1;
    if negate { -x } else { x }
}

/// The probability of the standard normal distribution below `x`.
pub(super) fn distribution(x: f64) -> f64 {
    let x = x * std::f64::consts::FRAC_1_SQRT_2;
    let z = x.abs();
    if z < 1.0 {
        return 0.5 + 0.5 * erf_near_0(x);
    }
    let tail = 0.5 * erfc_above_1(z);
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// The error function from -1 to 1.
fn erf_near_0(x: f64) -> f64 {
    let square = x * x;
    x * polynomial(square, &ERF_T) / monic(square, &ERF_U)
}

/// One minus the error function from 1 on; NaN stays NaN.
fn erfc_above_1(x: f64) -> f64 {
    /// Where `exp` gives 0.
    const MAX_LOG: f64 = 709.782712893384;
    let exponent = -x * x;
    if exponent < -MAX_LOG {
        return 0.0;
    }
    let (p, q) = if x < 8.0 {
        (polynomial(x, &ERFC_P), monic(x, &ERFC_Q))
    } else {
        (polynomial(x, &ERFC_R), monic(x, &ERFC_S))
    };
    exponent.exp() * p / q
}

#[cfg(test)]
mod tests {
    use super::{distribution, quantile};

    #[test]
    fn probabilities_are_scipys() {
        for (x, expected) in NDTR {
            let found = distribution(x);
            assert!((found - expected).abs() <= 2e-15 * expected.abs(), "{x}: {found} {expected}");
        }
        assert!(distribution(f64::NAN).is_nan());
    }
    const NDTR: [(f64, f64); 11] = [
        (-38.5, 0.0),
        (-20.0, 2.7536241186061556e-89),
        (-12.0, 1.776482112077653e-33),
        (-5.25, 7.6049605164887e-08),
        (-1.5, 0.06680720126885807),
        (-0.7, 0.24196365222307303),
        (0.0, 0.5),
        (0.7, 0.758036347776927),
        (1.2, 0.8849303297782918),
        (1.5, 0.9331927987311419),
        (9.0, 1.0),
    ];

    #[test]
    fn quantiles_are_scipys() {
        for (p, expected) in NDTRI {
            let found = quantile(p);
            assert!((found - expected).abs() <= 1e-15 * expected.abs(), "{p}: {found} {expected}");
        }
    }
    const NDTRI: [(f64, f64); 9] = [
        (1e-07, -5.1993375821928165),
        (1e-20, -9.262340089798409),
        (0.001, -3.090232306167813),
        (0.1, -1.2815515655446004),
        (0.2, -0.8416212335729142),
        (0.5001, 0.0002506628300880075),
        (0.8, 0.8416212335729143),
        (0.9, 1.2815515655446004),
        (0.9999999, 5.199337582290661),
    ];
}
