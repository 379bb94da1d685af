//! How the answers of two models for the same rows differ.
//!
//! A [`Difference`] takes pairs of answers one by one, or another `Difference` of later rows, and is turned into a [`Report`]. Knows nothing
//! of where rows and answers come from.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::postprocess::{Postprocess, Prediction, label_text};
use crate::predictor::Predictions;

mod html;
mod sum;
mod text;
mod words;

use sum::Sum;
pub use words::{Word, differences};

/// A model's answer for a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// None: the row was refused, or the output was not finite. With the stable names of the reasons.
    None(Vec<String>),
    /// A number.
    Number(f64),
    /// A label, as text.
    Label(String),
    /// Several numbers: an array, or arrays in one another. The text is everything but the numbers.
    Numbers(String, Vec<f64>),
}

impl Answer {
    /// The answer of a model for a row of its predictions; `reasons` say why there is none.
    #[must_use]
    pub fn of(
        predictions: &Predictions,
        row: usize,
        postprocess: &Postprocess,
        reasons: impl FnOnce() -> Vec<String>,
    ) -> Self {
        match predictions.rows.get(row) {
            Some(Prediction::Number(value)) => Self::Number(*value),
            Some(Prediction::Label(label)) => {
                Self::Label(postprocess.labels().get(*label).map(label_text).unwrap_or_default())
            }
            Some(Prediction::None) | None => Self::None(reasons()),
            Some(several) => {
                let mut json = Vec::new();
                postprocess.write_prediction(several, &mut json);
                Self::of_json(&serde_json::from_slice(&json).unwrap_or_default(), false)
            }
        }
    }

    /// The answer that stands in JSON; `is_label` where the model gives labels.
    #[must_use]
    pub fn of_json(value: &serde_json::Value, is_label: bool) -> Self {
        match value {
            serde_json::Value::Null => Self::None(Vec::new()),
            serde_json::Value::String(text) => Self::Label(text.clone()),
            serde_json::Value::Number(number) if !is_label => {
                Self::Number(number.as_f64().unwrap_or(f64::NAN))
            }
            serde_json::Value::Number(number) => Self::Label(number.to_string()),
            serde_json::Value::Bool(true) => Self::Label("True".to_owned()),
            serde_json::Value::Bool(false) => Self::Label("False".to_owned()),
            several => {
                let mut numbers = Vec::new();
                let mut rest = several.clone();
                take_numbers(&mut rest, &mut numbers);
                Self::Numbers(rest.to_string(), numbers)
            }
        }
    }

    fn show(&self) -> serde_json::Value {
        match self {
            Self::None(_) => serde_json::Value::Null,
            Self::Number(value) => (*value).into(),
            Self::Label(label) => label.as_str().into(),
            Self::Numbers(_, numbers) => numbers.clone().into(),
        }
    }
}

fn take_numbers(value: &mut serde_json::Value, numbers: &mut Vec<f64>) {
    match value {
        serde_json::Value::Number(number) => {
            numbers.push(number.as_f64().unwrap_or(f64::NAN));
            *value = serde_json::Value::from(0);
        }
        serde_json::Value::Array(items) => {
            items.iter_mut().for_each(|item| take_numbers(item, numbers));
        }
        serde_json::Value::Object(items) => {
            items.values_mut().for_each(|item| take_numbers(item, numbers));
        }
        _ => {}
    }
}

/// What counts as the same, and how much is kept.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The part of the tolerance that grows with the old number.
    pub relative: f64,
    /// The part that does not.
    pub absolute: f64,
    /// Rows that are shown with their inputs.
    pub n_worst: usize,
    /// The columns by whose values rows are told apart.
    pub by: Vec<String>,
}

/// A row with both answers.
#[derive(Debug)]
pub struct Pair<'a> {
    /// What the old model says.
    pub old: &'a Answer,
    /// What the new one says.
    pub new: &'a Answer,
    /// The probabilities by both, of the same labels in the same order; empty where there are none, and for one of them where the labels are
    /// others.
    pub probabilities: (&'a [f64], &'a [f64]),
    /// The values of the columns of [`Settings::by`].
    pub segments: &'a [String],
}

/// Quantiles are exact up to so many differences that are not 0; beyond that they are of a sample of them.
const N_EXACT: usize = 1 << 21;
/// Points of the plot of old against new.
const N_POINTS: usize = 2_000;
/// Values of one column that are told apart.
const N_SEGMENTS: usize = 1_000;

/// Numbers of which mean, quantiles and maximum are wanted. Most of them may be 0.
#[derive(Debug, Clone, Default)]
struct Distribution {
    n: u64,
    sum: Sum,
    greatest: f64,
    /// Those that are not 0; a sample of them when there are many.
    values: Vec<f64>,
    n_values: u64,
    random: u64,
}

impl Distribution {
    fn add(&mut self, value: f64) {
        self.n += 1;
        self.sum.add(value);
        self.greatest = self.greatest.max(value);
        if value > 0.0 {
            self.keep(value);
        }
    }

    fn keep(&mut self, value: f64) {
        self.n_values += 1;
        if self.values.len() < N_EXACT {
            self.values.push(value);
            return;
        }
        // Any value is in the sample with the same chance (Vitter's algorithm R); the numbers are the same in each run.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let place = (self.random >> 11) % self.n_values;
        if let Some(kept) = usize::try_from(place).ok().and_then(|place| self.values.get_mut(place))
        {
            *kept = value;
        }
    }

    fn append(&mut self, other: &Self) {
        self.n += other.n;
        self.sum.append(&other.sum);
        self.greatest = self.greatest.max(other.greatest);
        other.values.iter().for_each(|value| self.keep(*value));
    }

    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    fn summary(&self) -> Summary {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        let n_zero = self.n - self.n_values;
        // As if the sample were all of them.
        let n_sorted = n_zero as f64 / self.n_values.max(1) as f64 * values.len() as f64;
        let n_sorted =
            if self.n_values == values.len() as u64 { n_zero as f64 } else { n_sorted.round() };
        Summary {
            mean: if self.n == 0 { 0.0 } else { self.sum.value() / self.n as f64 },
            p50: quantile(&values, n_sorted, 0.5),
            p99: quantile(&values, n_sorted, 0.99),
            max: self.greatest,
        }
    }

    fn is_sample(&self) -> bool {
        self.n_values > self.values.len() as u64
    }
}

/// A quantile of `n_zero` zeros and the sorted values. Same as NumPy `quantile(method='linear')`.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "places in a list, far below 2^53 and not negative"
)]
fn quantile(values: &[f64], n_zero: f64, q: f64) -> f64 {
    let n = n_zero + values.len() as f64;
    if n == 0.0 {
        return 0.0;
    }
    let at = |place: f64| {
        if place < n_zero {
            return 0.0;
        }
        let last = values.len().saturating_sub(1);
        values.get(((place - n_zero) as usize).min(last)).copied().unwrap_or(0.0)
    };
    let place = q * (n - 1.0);
    let (below, part) = (place.floor(), place.fract());
    let (low, high) = (at(below), at(below + 1.0));
    low + (high - low) * part
}

/// Mean, quantiles and maximum of differences.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Summary {
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The maximum.
    pub max: f64,
}

#[derive(Debug, Clone, Default)]
struct SegmentSums {
    rows: u64,
    over: u64,
    compared: u64,
    absolute: Sum,
    relative: Sum,
    signed: Sum,
    greatest: f64,
}

impl SegmentSums {
    fn append(&mut self, other: &Self) {
        self.rows += other.rows;
        self.over += other.over;
        self.compared += other.compared;
        self.absolute.append(&other.absolute);
        self.relative.append(&other.relative);
        self.signed.append(&other.signed);
        self.greatest = self.greatest.max(other.greatest);
    }
}

/// One of the worst rows.
#[derive(Debug, Clone, Serialize)]
pub struct WorstRow {
    /// Where it stands.
    pub row: String,
    /// What the old model says.
    pub old: serde_json::Value,
    /// What the new one says.
    pub new: serde_json::Value,
    /// By how much they differ; `null` where that is no number.
    pub difference: Option<f64>,
    /// What went in.
    pub input: serde_json::Value,
    #[serde(skip)]
    rank: f64,
}

#[derive(Debug, Clone, Default)]
struct LabelSums {
    n: u64,
    old: Sum,
    new: Sum,
    shift: Sum,
    greatest: f64,
}

/// How the answers for some rows differ.
#[derive(Debug, Clone)]
pub struct Difference {
    settings: Settings,
    labels: Vec<String>,
    rows: u64,
    both: u64,
    identical: u64,
    within: u64,
    over: u64,
    neither: u64,
    same_refusal: u64,
    only_old: u64,
    only_new: u64,
    absolute: Distribution,
    relative: Distribution,
    flips: u64,
    confusion: BTreeMap<(String, String), u64>,
    probabilities: Vec<LabelSums>,
    segments: Vec<BTreeMap<String, SegmentSums>>,
    worst: Vec<WorstRow>,
    /// Old and new numbers, and the signed relative difference: a sample of rows.
    points: Vec<(f64, f64)>,
    n_points: u64,
    random: u64,
}

impl Difference {
    /// Of no rows yet; `labels` are those whose probabilities are compared.
    #[must_use]
    pub fn new(settings: Settings, labels: Vec<String>) -> Self {
        Self {
            probabilities: vec![LabelSums::default(); labels.len()],
            segments: vec![BTreeMap::new(); settings.by.len()],
            settings,
            labels,
            rows: 0,
            both: 0,
            identical: 0,
            within: 0,
            over: 0,
            neither: 0,
            same_refusal: 0,
            only_old: 0,
            only_new: 0,
            absolute: Distribution::default(),
            relative: Distribution::default(),
            flips: 0,
            confusion: BTreeMap::new(),
            worst: Vec::new(),
            points: Vec::new(),
            n_points: 0,
            random: 0,
        }
    }

    /// Another one like this, of no rows.
    #[must_use]
    pub fn empty(&self) -> Self {
        Self::new(self.settings.clone(), self.labels.clone())
    }

    /// Rows over the tolerance, or with an answer of one model only, or refused for other reasons.
    #[must_use]
    pub fn n_over(&self) -> u64 {
        self.over
    }

    /// The columns by whose values rows are told apart.
    #[must_use]
    pub fn n_segments(&self) -> usize {
        self.settings.by.len()
    }

    /// Whether there are labels whose probabilities are compared.
    #[must_use]
    pub fn has_labels(&self) -> bool {
        !self.labels.is_empty()
    }

    /// Rows so far.
    #[must_use]
    pub fn n_rows(&self) -> u64 {
        self.rows
    }

    /// Adds a row. `describe` says where it stands and what went in; it is called for the worst rows only.
    pub fn add(&mut self, pair: &Pair<'_>, describe: impl FnOnce() -> (String, serde_json::Value)) {
        self.rows += 1;
        let mut difference = None;
        let mut identical = false;
        let over;
        match (pair.old, pair.new) {
            (Answer::None(old), Answer::None(new)) => {
                self.neither += 1;
                // Without reasons nothing is known against it.
                identical = old == new || old.is_empty() || new.is_empty();
                over = !identical;
                self.same_refusal += u64::from(identical);
            }
            (Answer::None(_), _) => {
                self.only_new += 1;
                over = true;
            }
            (_, Answer::None(_)) => {
                self.only_old += 1;
                over = true;
            }
            (Answer::Number(old), Answer::Number(new)) => {
                self.both += 1;
                identical = old.to_bits() == new.to_bits();
                let found = (new - old).abs();
                over = !identical && !self.allows(*old, *new);
                difference = Some(new - old);
                self.count(found, relative(*old, *new));
                self.point(*old, *new);
            }
            (Answer::Label(old), Answer::Label(new)) => {
                self.both += 1;
                let flips = old != new;
                self.flips += u64::from(flips);
                *self.confusion.entry((old.clone(), new.clone())).or_default() += 1;
                let (identical_p, over_p, shift) = self.shift(pair.probabilities);
                identical = !flips && identical_p;
                over = flips || over_p;
                difference = shift;
            }
            (Answer::Numbers(old_rest, old), Answer::Numbers(new_rest, new))
                if old_rest == new_rest && old.len() == new.len() =>
            {
                self.both += 1;
                let pairs = || old.iter().zip(new);
                identical = pairs().all(|(old, new)| old.to_bits() == new.to_bits());
                over = !pairs().all(|(old, new)| self.allows(*old, *new));
                let worst = pairs().max_by(|one, other| {
                    (one.0 - one.1).abs().total_cmp(&(other.0 - other.1).abs())
                });
                if let Some((old, new)) = worst {
                    difference = Some(new - old);
                    self.count((new - old).abs(), relative(*old, *new));
                }
            }
            _ => {
                self.both += 1;
                over = true;
            }
        }
        if identical {
            self.identical += 1;
        } else if over {
            self.over += 1;
        } else {
            self.within += 1;
        }
        for (segments, value) in self.segments.iter_mut().zip(pair.segments) {
            let known = segments.contains_key(value);
            let key = if known || segments.len() < N_SEGMENTS { value.as_str() } else { "…" };
            let sums = segments.entry(key.to_owned()).or_default();
            sums.rows += 1;
            sums.over += u64::from(over);
            if let (Some(difference), Answer::Number(old), Answer::Number(new)) =
                (difference, pair.old, pair.new)
            {
                sums.compared += 1;
                sums.absolute.add(difference.abs());
                sums.signed.add(difference);
                sums.relative.add(relative(*old, *new).unwrap_or(0.0));
                sums.greatest = sums.greatest.max(difference.abs());
            } else if let Some(difference) = difference {
                sums.compared += 1;
                sums.absolute.add(difference.abs());
                sums.greatest = sums.greatest.max(difference.abs());
            }
        }
        if !identical {
            let flips = matches!((pair.old, pair.new), (Answer::Label(old), Answer::Label(new)) if old != new);
            // A row that only one of them answers is worse than any number.
            let rank = match difference {
                Some(difference) if flips => 1e300 + difference.abs(),
                Some(difference) => difference.abs(),
                None => f64::MAX,
            };
            self.note_worst(rank, || {
                let (row, input) = describe();
                let (old, new) = (pair.old.show(), pair.new.show());
                WorstRow { row, old, new, difference, input, rank }
            });
        }
    }

    fn note_worst(&mut self, rank: f64, row: impl FnOnce() -> WorstRow) {
        let place = self.worst.partition_point(|known| known.rank >= rank);
        if place < self.settings.n_worst {
            self.worst.insert(place, row());
            self.worst.truncate(self.settings.n_worst);
        }
    }

    fn allows(&self, old: f64, new: f64) -> bool {
        old.to_bits() == new.to_bits()
            || (new - old).abs() <= self.settings.absolute + self.settings.relative * old.abs()
    }

    fn count(&mut self, absolute: f64, relative: Option<f64>) {
        self.absolute.add(absolute);
        if let Some(relative) = relative {
            self.relative.add(relative);
        }
    }

    fn point(&mut self, old: f64, new: f64) {
        self.n_points += 1;
        if self.points.len() < N_POINTS {
            self.points.push((old, new));
            return;
        }
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let place = (self.random >> 11) % self.n_points;
        if let Some(kept) = usize::try_from(place).ok().and_then(|place| self.points.get_mut(place))
        {
            *kept = (old, new);
        }
    }

    /// Counts how probabilities have moved: whether not at all, whether too far, and the largest move.
    fn shift(&mut self, (old, new): (&[f64], &[f64])) -> (bool, bool, Option<f64>) {
        if old.len() != new.len() || old.is_empty() {
            return (old.is_empty() && new.is_empty(), false, None);
        }
        let mut greatest = 0.0_f64;
        // Where several models answer, as in a log, no label is that of all of them.
        let has_labels = old.len() == self.labels.len();
        for (at, (old, new)) in old.iter().zip(new).enumerate() {
            let shift = (new - old).abs();
            greatest = greatest.max(shift);
            if let Some(sums) = self.probabilities.get_mut(at).filter(|_| has_labels) {
                sums.n += 1;
                sums.old.add(*old);
                sums.new.add(*new);
                sums.shift.add(shift);
                sums.greatest = sums.greatest.max(shift);
            }
        }
        let identical = old.iter().zip(new).all(|(old, new)| old.to_bits() == new.to_bits());
        let over = !old.iter().zip(new).all(|(old, new)| self.allows(*old, *new));
        self.absolute.add(greatest);
        (identical, over, Some(greatest))
    }

    /// Adds the rows of another one, which come after those of this one.
    pub fn append(&mut self, other: Self) {
        self.rows += other.rows;
        self.both += other.both;
        self.identical += other.identical;
        self.within += other.within;
        self.over += other.over;
        self.neither += other.neither;
        self.same_refusal += other.same_refusal;
        self.only_old += other.only_old;
        self.only_new += other.only_new;
        self.flips += other.flips;
        self.absolute.append(&other.absolute);
        self.relative.append(&other.relative);
        for (labels, n) in other.confusion {
            *self.confusion.entry(labels).or_default() += n;
        }
        for (sums, other) in self.probabilities.iter_mut().zip(&other.probabilities) {
            sums.n += other.n;
            sums.old.append(&other.old);
            sums.new.append(&other.new);
            sums.shift.append(&other.shift);
            sums.greatest = sums.greatest.max(other.greatest);
        }
        for (segments, other) in self.segments.iter_mut().zip(other.segments) {
            for (value, sums) in other {
                let known = segments.contains_key(&value);
                let key =
                    if known || segments.len() < N_SEGMENTS { value } else { "…".to_owned() };
                segments.entry(key).or_default().append(&sums);
            }
        }
        for row in other.worst {
            self.note_worst(row.rank, || row);
        }
        for (old, new) in other.points {
            self.point(old, new);
        }
    }

    /// What a reviewer needs.
    #[must_use]
    pub fn report(self, old: Side, new: Side, words: Vec<Word>, allowed_over: Allowed) -> Report {
        #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
        let mean = |sum: &Sum, n: u64| if n == 0 { 0.0 } else { sum.value() / n as f64 };
        let by = self.settings.by.iter().zip(self.segments).map(|(column, segments)| {
            let mut segments: Vec<Segment> = segments
                .into_iter()
                .map(|(value, sums)| Segment {
                    value,
                    rows: sums.rows,
                    over: sums.over,
                    mean_absolute: mean(&sums.absolute, sums.compared),
                    mean_relative: mean(&sums.relative, sums.compared),
                    mean_signed: mean(&sums.signed, sums.compared),
                    max_absolute: sums.greatest,
                })
                .collect();
            segments.sort_by(|one, other| {
                other.mean_absolute.total_cmp(&one.mean_absolute).then(other.over.cmp(&one.over))
            });
            Segments { column: column.clone(), segments }
        });
        let n_allowed = allowed_over.of(self.rows);
        Report {
            passed: self.over <= n_allowed,
            rows: self.rows,
            identical: self.identical,
            within: self.within,
            over: self.over,
            allowed_over: n_allowed,
            only_old: self.only_old,
            only_new: self.only_new,
            neither: self.neither,
            tolerance: crate::artifact::Tolerance {
                relative: self.settings.relative,
                absolute: self.settings.absolute,
            },
            absolute: (self.absolute.n > 0).then(|| self.absolute.summary()),
            relative: (self.relative.n > 0).then(|| self.relative.summary()),
            quantiles_of_a_sample: self.absolute.is_sample(),
            label_flips: (!self.confusion.is_empty()).then_some(self.flips),
            confusion: self
                .confusion
                .into_iter()
                .map(|((old, new), rows)| Confusion { old, new, rows })
                .collect(),
            probabilities: self
                .labels
                .iter()
                .zip(&self.probabilities)
                .filter(|(_, sums)| sums.n > 0)
                .map(|(label, sums)| Shift {
                    label: label.clone(),
                    mean_old: mean(&sums.old, sums.n),
                    mean_new: mean(&sums.new, sums.n),
                    mean_shift: mean(&sums.shift, sums.n),
                    max_shift: sums.greatest,
                })
                .collect(),
            by: by.collect(),
            worst: self.worst,
            changes: words,
            points: self.points,
            old,
            new,
        }
    }
}

/// The relative difference; `None` from 0 to something else.
fn relative(old: f64, new: f64) -> Option<f64> {
    if old.to_bits() == new.to_bits() {
        return Some(0.0);
    }
    let relative = ((new - old) / old).abs();
    relative.is_finite().then_some(relative)
}

/// How many rows may be over the tolerance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Allowed {
    /// So many.
    Rows(u64),
    /// This part of all rows, 0 to 1.
    Share(f64),
}

impl Allowed {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts far below 2^53, and a share from 0 to 1"
    )]
    fn of(self, rows: u64) -> u64 {
        match self {
            Self::Rows(rows) => rows,
            Self::Share(share) => (share * rows as f64) as u64,
        }
    }
}

/// One of the two models.
#[derive(Debug, Clone, Serialize)]
pub struct Side {
    /// `name@version`.
    pub model: String,
    /// The digest of its artifact.
    pub artifact: String,
}

/// Rows with the same value of a column.
#[derive(Debug, Clone, Serialize)]
pub struct Segment {
    /// The value.
    pub value: String,
    /// Rows.
    pub rows: u64,
    /// Rows over the tolerance.
    pub over: u64,
    /// The mean of the absolute differences.
    pub mean_absolute: f64,
    /// The mean of the relative differences.
    pub mean_relative: f64,
    /// The mean of new less old.
    pub mean_signed: f64,
    /// The largest absolute difference.
    pub max_absolute: f64,
}

/// The rows by the values of a column, the segment that differs most first.
#[derive(Debug, Clone, Serialize)]
pub struct Segments {
    /// The column.
    pub column: String,
    /// Its values.
    pub segments: Vec<Segment>,
}

/// Rows with an old and a new label.
#[derive(Debug, Clone, Serialize)]
pub struct Confusion {
    /// The old label.
    pub old: String,
    /// The new label.
    pub new: String,
    /// Rows with both.
    pub rows: u64,
}

/// How the probability of a label has moved.
#[derive(Debug, Clone, Serialize)]
pub struct Shift {
    /// The label.
    pub label: String,
    /// The old mean.
    pub mean_old: f64,
    /// The new mean.
    pub mean_new: f64,
    /// The mean of the absolute differences.
    pub mean_shift: f64,
    /// The largest absolute difference.
    pub max_shift: f64,
}

/// What a reviewer needs.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Whether no more rows are over the tolerance than may be.
    pub passed: bool,
    /// The old model.
    pub old: Side,
    /// The new model.
    pub new: Side,
    /// Rows compared.
    pub rows: u64,
    /// Rows with the same bits, or refused by both for the same reasons.
    pub identical: u64,
    /// Other rows within the tolerance.
    pub within: u64,
    /// All others.
    pub over: u64,
    /// As many may be over it.
    pub allowed_over: u64,
    /// Rows that only the old model predicts; all of them are over the tolerance.
    pub only_old: u64,
    /// Rows that only the new model predicts; all of them are over the tolerance.
    pub only_new: u64,
    /// Rows that neither predicts.
    pub neither: u64,
    /// The tolerance.
    pub tolerance: crate::artifact::Tolerance,
    /// Absolute differences of numbers, or of a row's probabilities.
    pub absolute: Option<Summary>,
    /// Differences of numbers in parts of the old one.
    pub relative: Option<Summary>,
    /// Whether there were too many differences to keep them all.
    pub quantiles_of_a_sample: bool,
    /// Rows with another label.
    pub label_flips: Option<u64>,
    /// Old labels against new ones.
    pub confusion: Vec<Confusion>,
    /// How probabilities have moved.
    pub probabilities: Vec<Shift>,
    /// By the values of columns.
    pub by: Vec<Segments>,
    /// The rows that differ most.
    pub worst: Vec<WorstRow>,
    /// How the artifacts differ, in words.
    pub changes: Vec<Word>,
    /// Old and new numbers of a sample of rows.
    #[serde(skip)]
    pub points: Vec<(f64, f64)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(relative: f64, absolute: f64) -> Settings {
        Settings { relative, absolute, n_worst: 2, by: vec!["zone".to_owned()] }
    }

    fn side() -> Side {
        Side { model: "m@1.0.0".to_owned(), artifact: String::new() }
    }

    fn of(pairs: &[(Answer, Answer)], settings: Settings) -> Report {
        // In two parts, as two threads would do it.
        let mut whole = Difference::new(settings, Vec::new());
        for part in pairs.chunks(pairs.len().div_ceil(2)) {
            let mut difference = whole.empty();
            for (at, (old, new)) in part.iter().enumerate() {
                let segments = [if at % 2 == 0 { "RL" } else { "RM" }.to_owned()];
                let pair = Pair { old, new, probabilities: (&[], &[]), segments: &segments };
                difference.add(&pair, || (format!("row {at}"), serde_json::Value::Null));
            }
            whole.append(difference);
        }
        whole.report(side(), side(), Vec::new(), Allowed::Rows(0))
    }

    #[test]
    fn numbers_are_counted_and_summed_up() {
        let number = |old: f64, new: f64| (Answer::Number(old), Answer::Number(new));
        let pairs = [number(1.0, 1.0), number(2.0, 2.5), number(4.0, 3.0), number(10.0, 10.1)];
        let report = of(&pairs, settings(0.02, 0.0));
        assert_eq!((report.rows, report.identical, report.within, report.over), (4, 1, 1, 2));
        let absolute = report.absolute.unwrap();
        assert!((absolute.mean - 0.4).abs() < 1e-12 && (absolute.max - 1.0).abs() < 1e-15);
        // numpy.quantile([0, 0.5, 1, 0.1], [0.5, 0.99])
        assert!((absolute.p50 - 0.3).abs() < 1e-12 && (absolute.p99 - 0.985).abs() < 1e-12);
        let relative = report.relative.unwrap();
        assert!((relative.mean - 0.1275).abs() < 1e-12 && (relative.max - 0.25).abs() < 1e-15);
        assert_eq!(report.worst[0].difference, Some(-1.0));
        assert_eq!(report.worst.len(), 2);
        assert!(!report.passed);
        let segments = &report.by[0].segments;
        assert_eq!((segments[0].value.as_str(), segments[0].rows, segments[0].over), ("RL", 2, 1));
    }

    #[test]
    fn a_row_that_one_of_them_refuses_is_over_any_tolerance() {
        let none = |codes: &[&str]| Answer::None(codes.iter().map(ToString::to_string).collect());
        let pairs = [
            (Answer::Number(1.0), none(&["type"])),
            (none(&["type"]), Answer::Number(1.0)),
            (none(&["type"]), none(&["type"])),
            (none(&["type"]), none(&["null"])),
        ];
        let report = of(&pairs, settings(1.0, 1e9));
        assert_eq!((report.identical, report.over, report.only_old, report.only_new), (1, 3, 1, 1));
        assert_eq!(report.neither, 2);
    }

    #[test]
    fn labels_flip() {
        let label =
            |old: &str, new: &str| (Answer::Label(old.to_owned()), Answer::Label(new.to_owned()));
        let report =
            of(&[label("no", "no"), label("no", "yes"), label("yes", "yes")], settings(0.0, 0.0));
        assert_eq!((report.label_flips, report.over, report.identical), (Some(1), 1, 2));
        let cells: Vec<_> = report
            .confusion
            .iter()
            .map(|cell| (cell.old.as_str(), cell.new.as_str(), cell.rows))
            .collect();
        assert_eq!(cells, [("no", "no", 1), ("no", "yes", 1), ("yes", "yes", 1)]);
    }

    #[test]
    fn arrays_are_compared_number_by_number() {
        let json = |text: &str| Answer::of_json(&serde_json::from_str(text).unwrap(), false);
        let pairs = [
            (json("[1,2]"), json("[1,2]")),
            (json("[1,2]"), json("[1,2.5]")),
            (json("[1,2]"), json("[1,2,3]")),
            (json(r#"{"a":[1]}"#), json(r#"{"b":[1]}"#)),
        ];
        let report = of(&pairs, settings(0.0, 0.1));
        assert_eq!((report.identical, report.over), (1, 3));
        assert!((report.absolute.unwrap().max - 0.5).abs() < 1e-15);
    }

    #[test]
    fn quantiles_are_those_of_numpy() {
        let values = [1.0, 2.0, 3.0];
        // numpy.quantile([0, 0, 1, 2, 3], [0.5, 0.99, 0.25])
        for (q, expected) in [(0.5, 1.0), (0.99, 2.96), (0.25, 0.0)] {
            assert!((quantile(&values, 2.0, q) - expected).abs() < 1e-12);
        }
        assert!(quantile(&[], 0.0, 0.5).abs() < 1e-15 && quantile(&[], 9.0, 0.99).abs() < 1e-15);
    }
}
