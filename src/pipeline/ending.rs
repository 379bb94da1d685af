//! The end of most pipelines done at once: scaling, the checks that all features are finite, and gathering.
//!
//! One pass over each feature in place of three or four. It is only taken when no row is refused and every feature is finite and within the bounds
//! of the checks, so that none of them can refuse one; if not, the operations run one by one, and find out which row it is.

use hashbrown::{HashMap, HashSet};

use super::check::FINITE;
use super::column::{Slots, View, to_f64};
use super::function::Affine;
use super::{Operation, Slot};

/// The last operations of a pipeline, as far as they scale columns and refuse what is missing or infinite, and the features that they lead to.
#[derive(Debug)]
pub(super) struct Ending {
    /// How many of the operations come before.
    pub(super) start: usize,
    features: Vec<Feature>,
}

#[derive(Debug)]
struct Feature {
    at: usize,
    slot: Slot,
    /// With no parts where it is not scaled.
    affine: Affine,
    /// The bounds that it must be within, so that it is finite as well; none where it may be anything.
    within: Option<[f64; 2]>,
}

impl Ending {
    /// What can be done at once of these operations, for features at these positions out of these slots. Where no check asks that all of them are
    /// there it is only to gather them: to ask whether they are finite would often be in vain.
    pub(super) fn find(operations: &[&Operation], gathered: &[(usize, Slot)]) -> Self {
        let features: HashSet<Slot> = gathered.iter().map(|(_, slot)| *slot).collect();
        // By output.
        let mut scaled: HashMap<Slot, (Slot, Affine)> = HashMap::new();
        let mut inputs: HashSet<Slot> = HashSet::new();
        let mut checked: HashSet<Slot> = HashSet::new();
        let mut bounds: HashMap<Slot, [f64; 2]> = HashMap::new();
        let mut start = operations.len();
        for operation in operations.iter().rev() {
            match operation {
                // Without a clip what is not finite stays so: the checks before it are seen to by the feature as well.
                Operation::Affine(step)
                    if step.affine.clip.is_none()
                        && features.contains(&step.output)
                        && !inputs.contains(&step.output) =>
                {
                    scaled.insert(step.output, (step.input, step.affine));
                    inputs.insert(step.input);
                }
                Operation::Check(step) => {
                    let Some([low, high]) = step.bounds() else { break };
                    // What is scaled afterwards is finite if what becomes of it is; whether it is within other bounds does not show.
                    let shows = features.contains(&step.input)
                        || (inputs.contains(&step.input) && [low, high] == FINITE);
                    if !shows {
                        break;
                    }
                    let [lowest, highest] = bounds.entry(step.input).or_insert(FINITE);
                    (*lowest, *highest) = (lowest.max(low), highest.min(high));
                    if step.wants_present() {
                        checked.insert(step.input);
                    }
                }
                _ => break,
            }
            start -= 1;
        }
        let feature = |(at, slot): &(usize, Slot)| {
            let (input, affine) = scaled.get(slot).copied().unwrap_or((*slot, Affine::default()));
            let is_checked = checked.contains(slot) || checked.contains(&input);
            let within = Some(bounds.get(slot).copied().unwrap_or(FINITE));
            is_checked.then_some(Feature { at: *at, slot: input, affine, within })
        };
        match gathered.iter().map(feature).collect() {
            Some(features) => Self { start, features },
            None => {
                let gathered = gathered.iter().map(|(at, slot)| Feature {
                    at: *at,
                    slot: *slot,
                    affine: Affine::default(),
                    within: None,
                });
                Self { start: operations.len(), features: gathered.collect() }
            }
        }
    }

    /// Writes its features into the rows of all features, and says whether all are as they must be; if not, they are not to be used.
    pub(super) fn run(&self, slots: &Slots<'_>, n_features: usize, features: &mut [f64]) -> bool {
        fn write<T: Copy>(
            feature: &Feature,
            values: &[T],
            number: impl Fn(T) -> f64 + Copy,
            n_features: usize,
            features: &mut [f64],
        ) -> bool {
            let Feature { at, affine, within, .. } = feature;
            let bounds = within.unwrap_or(FINITE);
            // Which parts there are is asked once, not for each value.
            let all_within = match *affine {
                Affine {
                    subtract: None,
                    divide: None,
                    multiply: Some(by),
                    add: Some(to),
                    clip: None,
                } => write_with(*at, values, |x| number(x) * by + to, bounds, n_features, features),
                Affine {
                    subtract: Some(off),
                    divide: Some(by),
                    multiply: None,
                    add: None,
                    clip: None,
                } => write_with(
                    *at,
                    values,
                    |x| (number(x) - off) / by,
                    bounds,
                    n_features,
                    features,
                ),
                affine => write_with(
                    *at,
                    values,
                    |x| affine.apply(number(x)),
                    bounds,
                    n_features,
                    features,
                ),
            };
            all_within || within.is_none()
        }
        /// A few rows at a time: they are computed together, in fewer instructions, and then put into their rows.
        fn write_with<T: Copy>(
            at: usize,
            values: &[T],
            scaled: impl Fn(T) -> f64,
            [low, high]: [f64; 2],
            n_features: usize,
            features: &mut [f64],
        ) -> bool {
            const FEW: usize = 32;
            // Most requests have one row, for which what comes next is a lot.
            if let ([value], Some(place)) = (values, features.get_mut(at)) {
                *place = scaled(*value);
                return low <= *place && *place <= high;
            }
            let mut few = [0.0; FEW];
            let mut all_within = true;
            for (values, rows) in values.chunks(FEW).zip(features.chunks_mut(FEW * n_features)) {
                let few = &mut few[..values.len()];
                for (place, value) in few.iter_mut().zip(values) {
                    *place = scaled(*value);
                    all_within &= (low <= *place) & (*place <= high);
                }
                for (row, value) in rows.chunks_exact_mut(n_features).zip(few) {
                    row[at] = *value;
                }
            }
            all_within
        }
        self.features.iter().all(|feature| match slots.read(feature.slot) {
            View::Float(values) => write(feature, values, |x| x, n_features, features),
            View::Int(column) if !column.has_missing() => {
                write(feature, column.values(), to_f64, n_features, features)
            }
            _ if feature.within.is_some() => false,
            // Integers, some of them missing.
            column => {
                for (at, row) in features.chunks_exact_mut(n_features).enumerate() {
                    row[feature.at] = feature.affine.apply(column.number(at));
                }
                true
            }
        })
    }
}
