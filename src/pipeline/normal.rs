//! The quantiles of the standard normal distribution.
//!
//! The rational approximations of the Cephes library (S. L. Moshier), `ndtri`, which SciPy uses: the same coefficients
//! in the same order of operations.

/// For `y` in (0, exp(-2)), by `z = sqrt(-2 log y)`.
const P0: [f64; 5] = [
    -5.99633501014107895267E1,
    9.80010754185999661536E1,
    -5.66762857469070293439E1,
    1.39312609387279679503E1,
    -1.23916583867381258016E0,
];
const Q0: [f64; 8] = [
    1.95448858338141759834E0,
    4.67627912898881538453E0,
    8.63602421390890590575E1,
    -2.25462687854119370527E2,
    2.00260212380060660359E2,
    -8.20372256168333339912E1,
    1.59056225126211695515E1,
    -1.18331621121330003142E0,
];
const P1: [f64; 9] = [
    4.05544892305962419923E0,
    3.15251094599893866154E1,
    5.71628192246421288162E1,
    4.40805073893200834700E1,
    1.46849561928858024014E1,
    2.18663306850790267539E0,
    -1.40256079171354495875E-1,
    -3.50424626827848203418E-2,
    -8.57456785154685413611E-4,
];
const Q1: [f64; 8] = [
    1.57799883256466749731E1,
    4.53907635128879210584E1,
    4.13172038254672030440E1,
    1.50425385692907503408E1,
    2.50464946208309415979E0,
    -1.42182922854787788574E-1,
    -3.80806407691578277194E-2,
    -9.33259480895457427372E-4,
];
const P2: [f64; 9] = [
    3.23774891776946035970E0,
    6.91522889068984211695E0,
    3.93881025292474443415E0,
    1.33303460815807542389E0,
    2.01485389549179081538E-1,
    1.23716634817820021358E-2,
    3.01581553508235416007E-4,
    2.65806974686737550832E-6,
    6.23974539184983293730E-9,
];
const Q2: [f64; 8] = [
    6.02427039364742014255E0,
    3.67983563856160859403E0,
    1.37702099489081330271E0,
    2.16236993594496635890E-1,
    1.34204006088543189037E-2,
    3.28014464682127739104E-4,
    2.89247864745380683936E-6,
    6.79019408009981274425E-9,
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
    const EXP_MINUS_2: f64 = 0.13533528323661269189;
    const SQRT_2_PI: f64 = 2.50662827463100050242;
    if p == 0.0 {
        return f64::NEG_INFINITY;
    }
    if p == 1.0 {
        return f64::INFINITY;
    }
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
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

#[cfg(test)]
mod tests {
    use super::quantile;

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
