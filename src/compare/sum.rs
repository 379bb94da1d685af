//! Sums that do not depend on the order of what is added.

/// An exact sum of floats, as the parts of it that no float holds together: the same numbers give the same sum, in whatever order and however
/// they were told apart, so `diff` and `replay` of the same rows say the same.
///
/// Same as Python's `math.fsum`, for numbers whose sums stay in the range of a float; beyond it, it is infinite.
#[derive(Debug, Clone, Default)]
pub(super) struct Sum {
    /// Each is smaller than the last digit of the next.
    parts: Vec<f64>,
    /// What is not finite.
    rest: f64,
}

impl Sum {
    pub(super) fn add(&mut self, value: f64) {
        if !value.is_finite() {
            self.rest += value;
            return;
        }
        let mut sum = value;
        let mut n_kept = 0;
        for at in 0..self.parts.len() {
            let part = self.parts[at];
            let (large, small) = if sum.abs() < part.abs() { (part, sum) } else { (sum, part) };
            let rounded = large + small;
            // What the rounding has taken away, exactly.
            let error = small - (rounded - large);
            if error != 0.0 {
                self.parts[n_kept] = error;
                n_kept += 1;
            }
            sum = rounded;
        }
        self.parts.truncate(n_kept);
        if sum.is_finite() {
            self.parts.push(sum);
        } else {
            self.parts.clear();
            self.rest += sum;
        }
    }

    pub(super) fn append(&mut self, other: &Self) {
        other.parts.iter().for_each(|part| self.add(*part));
        self.rest += other.rest;
    }

    /// The float that is nearest to the sum, ties to even.
    pub(super) fn value(&self) -> f64 {
        if self.rest != 0.0 {
            return self.rest;
        }
        let mut parts = self.parts.iter().rev().copied();
        let Some(mut sum) = parts.next() else { return 0.0 };
        while let Some(part) = parts.next() {
            let before = sum;
            sum = before + part;
            let error = part - (sum - before);
            if error != 0.0 {
                // Half-way between two floats the next part says to which side.
                if let Some(next) = parts.next()
                    && (error < 0.0) == (next < 0.0)
                {
                    let other = sum + 2.0 * error;
                    #[expect(clippy::float_cmp, reason = "whether the step is exact")]
                    if other - sum == 2.0 * error {
                        sum = other;
                    }
                }
                break;
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sum(values: &[f64]) -> f64 {
        let mut sum = Sum::default();
        values.iter().for_each(|value| sum.add(*value));
        sum.value()
    }

    #[test]
    fn a_sum_is_the_nearest_float() {
        for (values, expected) in [
            (vec![], 0.0),
            (vec![0.1; 10], 1.0),
            (vec![1e16, 1.0, -1e16], 1.0),
            (vec![1.0, 1e100, 1.0, -1e100], 2.0),
            // Half-way, with a little more or less.
            (vec![9_007_199_254_740_992.0, 1.0], 9_007_199_254_740_992.0),
            (vec![9_007_199_254_740_992.0, 1.0, 1e-30], 9_007_199_254_740_994.0),
            (vec![9_007_199_254_740_994.0, 1.0, -1e-30], 9_007_199_254_740_994.0),
            (vec![f64::MAX, f64::MAX], f64::INFINITY),
        ] {
            assert_eq!(sum(&values).to_bits(), f64::to_bits(expected), "{values:?}");
        }
    }

    proptest! {
        #[test]
        fn the_order_and_the_parts_do_not_matter(
            values in prop::collection::vec((-1e3..1e3_f64, -30..30_i32), 0..60),
            cut in 0_usize..60,
            shift in 0_usize..60,
        ) {
            let mut values: Vec<f64> =
                values.into_iter().map(|(value, power)| value * 10_f64.powi(power)).collect();
            let expected = sum(&values).to_bits();
            let (first, last) = values.split_at(cut.min(values.len()));
            let mut parts = [Sum::default(), Sum::default()];
            first.iter().for_each(|value| parts[0].add(*value));
            last.iter().for_each(|value| parts[1].add(*value));
            let [mut one, other] = parts;
            one.append(&other);
            prop_assert_eq!(one.value().to_bits(), expected);
            let n = values.len().max(1);
            values.rotate_left(shift % n);
            prop_assert_eq!(sum(&values).to_bits(), expected);
        }
    }
}
