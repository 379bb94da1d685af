//! The nearest float of a decimal number whose digits have been read already.
//!
//! The algorithm of Eisel and Lemire, <https://arxiv.org/abs/2101.11408>, for the powers of ten for which it always has the answer. The
//! standard library has it as well, for texts only: it would read the digits a second time.

/// How far powers of ten go below 1 and above it. Down to 27, and up to 55, the algorithm never has to give up.
const N_BELOW: usize = 27;
const N_ABOVE: usize = 22;

/// Digits of a float's mantissa behind the point, in binary.
const MANTISSA_BITS: u32 = 52;

/// The first 128 binary digits of each power of five: of those below one rounded up, of the others exact.
static POWERS_OF_FIVE: [u128; N_BELOW + 1 + N_ABOVE] = {
    let mut powers = [0; N_BELOW + 1 + N_ABOVE];
    let (mut at, mut five) = (0, 1_u128);
    // From 5^0 on, and its inverse.
    while at <= N_BELOW {
        if at <= N_ABOVE {
            powers[N_BELOW + at] = five << five.leading_zeros();
        }
        if at > 0 {
            powers[N_BELOW - at] = inverse(five) + 1;
        }
        five *= 5;
        at += 1;
    }
    powers
};

/// The first 128 binary digits of `1 / divisor`, which is above 1 and below 2^127: a long division.
const fn inverse(divisor: u128) -> u128 {
    let (mut quotient, mut rest) = (0_u128, 1_u128);
    while quotient >> 127 == 0 {
        rest <<= 1;
        quotient <<= 1;
        if rest >= divisor {
            rest -= divisor;
            quotient |= 1;
        }
    }
    quotient
}

/// The float that is nearest to `mantissa * 10^power`, ties to even; none when that takes another algorithm.
pub(super) fn nearest(mantissa: u64, power: i64) -> Option<f64> {
    let at = usize::try_from(power.checked_add(i64::try_from(N_BELOW).ok()?)?).ok()?;
    let five = *POWERS_OF_FIVE.get(at)?;
    if mantissa == 0 {
        return Some(0.0);
    }
    let n_zeros = mantissa.leading_zeros();
    let mantissa = mantissa << n_zeros;
    let (upper, lower) = product(mantissa, five);
    // The product begins with a one or with a zero and a one.
    let is_long = upper >> 63;
    let n_cut = is_long + 64 - u64::from(MANTISSA_BITS) - 3;
    // The mantissa and one bit more.
    let mut digits = upper >> n_cut;
    // The power of two of the first digit: log2(10) is 217706 / 2^16 here.
    let exponent = ((217_706 * power) >> 16) + 63 + is_long.cast_signed() - i64::from(n_zeros);
    // Half way between two floats, exactly: to the even one. This can be only where ten to the power, or its inverse, is exact.
    if lower <= 1 && (-4..=23).contains(&power) && digits & 3 == 1 && digits << n_cut == upper {
        digits &= !1;
    }
    digits = (digits + (digits & 1)) >> 1;
    // What was rounded up to a power of two has its digits all zero, and the exponent one more: the addition sees to it.
    let biased = u64::try_from(exponent + 1022).ok()?;
    Some(f64::from_bits((biased << MANTISSA_BITS) + digits))
}

/// The upper half of the product of both, as far as it matters: the upper and the lower 64 bits.
#[expect(clippy::cast_possible_truncation, reason = "halves of 128 bits")]
fn product(mantissa: u64, five: u128) -> (u64, u64) {
    /// Bits that do not go into the mantissa; when all of them are set, what was left out may change it.
    const REST: u64 = u64::MAX >> (MANTISSA_BITS + 3);
    let times = |half: u128| u128::from(mantissa) * half;
    let mut product = times(five >> 64);
    if (product >> 64) as u64 & REST == REST {
        product += times(five & u128::from(u64::MAX)) >> 64;
    }
    ((product >> 64) as u64, product as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEAST: i64 = -27;
    const GREATEST: i64 = 22;

    fn check(mantissa: u64, power: i64) {
        let expected: f64 = format!("{mantissa}e{power}").parse().unwrap();
        let found = nearest(mantissa, power).map(f64::to_bits);
        assert_eq!(found, Some(expected.to_bits()), "{mantissa}e{power}");
    }

    #[test]
    fn it_is_the_float_that_the_standard_library_reads() {
        let edges = (0..64).flat_map(|bit| {
            let around = 1_u64 << bit;
            [around - 1, around, around + 1, u64::MAX - around + 1]
        });
        for mantissa in edges.chain([9_007_199_254_740_993, 9_999_999_999_999_999_999]) {
            (LEAST..=GREATEST).for_each(|power| check(mantissa, power));
        }
    }

    #[test]
    fn half_way_between_two_floats_is_the_even_one() {
        // An odd number of 54 bits, so that its last one is half of what a float shows; and such numbers times 5^4.
        for mantissa in [(1_u64 << 53) + 1, (1 << 53) + 3, (1 << 54) - 1] {
            check(mantissa, 0);
            (1..=4_u32).for_each(|n| check(mantissa * 5_u64.pow(n), -i64::from(n)));
        }
    }

    #[test]
    fn other_powers_are_left_to_others() {
        for power in [LEAST - 1, GREATEST + 1, i64::MIN, i64::MAX] {
            assert_eq!(nearest(1, power), None);
        }
    }

    proptest! {
        #[test]
        fn so_it_is_for_any_digits(mantissa: u64, shift in 0_u32..64, power in LEAST..=GREATEST) {
            check(mantissa >> shift, power);
        }

        #[test]
        fn what_a_float_is_written_as_gives_it_back(float in -1e6..1e6_f64) {
            let text = format!("{:e}", float.abs());
            let (digits, power) = text.split_once('e').unwrap();
            let n_fraction = digits.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            let power = power.parse::<i64>().unwrap() - i64::try_from(n_fraction).unwrap();
            if power >= LEAST {
                let mantissa = digits.replace('.', "").parse().unwrap();
                prop_assert_eq!(nearest(mantissa, power), Some(float.abs()));
            }
        }
    }
}
