//! Which good requests the prediction log has, when not all.

/// A share of requests for each model.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sampling {
    /// By model, or model and version; the last that fits counts.
    rules: Vec<(Option<String>, f64)>,
}

/// What [`Sampling::parse`] takes.
pub const EXPECTED: &str = "expected a share from 0 to 1 for all models, such as 0.1, or shares by model, such as `0.1, house-prices=1, digits@1.0.0=0.01`";

impl Sampling {
    /// Reads `0.1` or `0.1, house-prices=1, digits@1.0.0=0.01`.
    ///
    /// # Errors
    /// It is not that; what was expected.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let rule = |part: &str| {
            let (model, share) = match part.split_once('=') {
                Some((model, share)) => (Some(model.trim()), share.trim()),
                None => (None, part.trim()),
            };
            let share: f64 = share.parse().map_err(|_no_number| EXPECTED)?;
            let is_sound = (0.0..=1.0).contains(&share) && model.is_none_or(|it| !it.is_empty());
            is_sound.then(|| (model.map(str::to_owned), share)).ok_or(EXPECTED)
        };
        Ok(Self { rules: text.split(',').map(rule).collect::<Result<_, _>>()? })
    }

    /// The sample of a model's requests; `None` is all of them. A rule for the version counts more than one for the model, and that
    /// more than one for all.
    #[must_use]
    pub fn of(&self, model: &str, version: &str) -> Option<Sample> {
        let named = format!("{model}@{version}");
        let rule = |wanted: Option<&str>| {
            let fits = |(of, _): &&(Option<String>, f64)| of.as_deref() == wanted;
            self.rules.iter().rev().find(fits).map(|(_, share)| *share)
        };
        let share = rule(Some(&named)).or_else(|| rule(Some(model))).or_else(|| rule(None));
        share.filter(|share| *share < 1.0).map(Sample)
    }
}

/// A share of requests, below 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample(f64);

impl Sample {
    /// The share.
    #[must_use]
    pub fn share(self) -> f64 {
        self.0
    }

    /// Whether it has the request of this id. The same id is in or out everywhere: in every copy of the server, and what is in a
    /// smaller share is in a larger one.
    #[must_use]
    pub fn has(self, request_id: &str) -> bool {
        // FNV-1a, then the finaliser of MurmurHash3, as ids that are counted up differ in their last letters only.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in request_id.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        let top = u32::try_from(hash >> 32).unwrap_or_default();
        f64::from(top) / (f64::from(u32::MAX) + 1.0) < self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_that_of_the_version_of_the_model_or_of_all() {
        let sampling = Sampling::parse("0.5, a=1, b = 0.25 ,b@2.0.0=0").unwrap();
        let share = |model, version| sampling.of(model, version).map(Sample::share);
        assert_eq!(share("a", "1.0.0"), None);
        assert_eq!(share("b", "1.0.0"), Some(0.25));
        assert_eq!(share("b", "2.0.0"), Some(0.0));
        assert_eq!(share("c", "1.0.0"), Some(0.5));
        assert_eq!(Sampling::parse("1").unwrap().of("a", "1.0.0"), None);
        assert_eq!(Sampling::parse("a=0.5").unwrap().of("b", "1.0.0"), None);
        for wrong in ["", "much", "1.5", "-0.1", "a=", "=1", "a=0.5;b=1", "NaN"] {
            assert_eq!(Sampling::parse(wrong), Err(EXPECTED), "{wrong}");
        }
    }

    #[test]
    fn a_share_is_what_is_kept_whatever_the_ids_look_like() {
        for (pattern, from) in [("request-", 0_u32), ("", 1_000_000), ("019f-aa", 77)] {
            for share in [0.01, 0.1, 0.5] {
                let n = 20_000;
                let ids = (from..from + n).map(|number| format!("{pattern}{number}"));
                let kept = ids.filter(|id| Sample(share).has(id)).count();
                let kept = f64::from(u32::try_from(kept).unwrap()) / f64::from(n);
                assert!((kept - share).abs() < 0.012, "{pattern} {share}: {kept}");
            }
        }
        assert!(!Sample(0.0).has("a"));
        let ids = (0..1000).map(|number| number.to_string());
        assert!(ids.filter(|id| Sample(0.1).has(id)).all(|id| Sample(0.2).has(&id)));
    }
}
