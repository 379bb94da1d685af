//! How a model is to be run: by what its golden rows cost, unless the settings say it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::max_wait;
use crate::config::{BatchRows, LaneChoice, Settings};
use crate::engine::{Batching, Cpus, INLINE_AT_MOST, Lane, Plan};
use crate::predictor::{Model, Predictions, Predictor};
use crate::proof;
use crate::schema::{DecodeOptions, Frame, Kind};

/// A model that takes long is not measured again and again.
const MEASURED_FOR: Duration = Duration::from_millis(500);
/// A merged run takes at most so many times what a row takes alone, as far as nothing else is set: all its requests wait for its end.
const LONGER_AT_MOST: u32 = 4;
/// A worker that is busy waits for as long as this part of a row takes for more requests.
const WAITED_FOR: u32 = 20;
/// More rows are not merged; fewer requests than that wait at a time.
const MERGED_AT_MOST: u32 = 64;
/// Rows are merged that take less than this share of their time alone; anything above may be the measurement's noise.
const WORTH_IT: f64 = 0.97;

/// The plan for a model that is proven.
pub(super) fn plan(settings: &Settings, cpus: Cpus, predictor: &mut Predictor) -> Plan {
    let engine = &settings.engine;
    let takes_pictures =
        predictor.model().schema().fields().iter().any(|field| field.kind() == Kind::Image);
    let mut rehearsal = Rehearsal::new(predictor);
    let (row_cost, batch_row_cost) = rehearsal.costs();
    let lane = match engine.lane {
        LaneChoice::Inline => Lane::Inline,
        LaneChoice::Worker => Lane::Worker,
        // A golden picture may be small; the next one need not be.
        LaneChoice::Auto if takes_pictures => Lane::Worker,
        LaneChoice::Auto if row_cost <= INLINE_AT_MOST => Lane::Inline,
        LaneChoice::Auto => Lane::Worker,
    };
    let threads = match engine.threads {
        0 => (cpus.threads() / engine.intra_threads).max(1),
        threads => threads,
    };
    let mut batching = match engine.batch_rows {
        BatchRows::UpTo(rows) => Batching { rows, ..Batching::default() },
        BatchRows::Auto if lane == Lane::Inline => Batching::default(),
        BatchRows::Auto => rehearsal.merging(row_cost, batch_row_cost),
    };
    if engine.batch_delay_us > 0 {
        batching.delay = Duration::from_micros(engine.batch_delay_us);
    }
    Plan {
        lane,
        threads,
        intra_threads: engine.intra_threads,
        queue: engine.queue,
        batching,
        burst: engine.burst,
        max_wait: max_wait(settings),
        row_cost,
        batch_row_cost,
        is_measured: engine.lane == LaneChoice::Auto,
    }
}

/// Golden rows that are run to see what they cost.
struct Rehearsal<'a> {
    predictor: &'a mut Predictor,
    model: Arc<Model>,
    frame: Frame,
    /// Those that have a prediction, as JSON.
    rows: Vec<String>,
}

impl<'a> Rehearsal<'a> {
    fn new(predictor: &'a mut Predictor) -> Self {
        let model = Arc::clone(predictor.model());
        let rows = model.artifact().golden().iter().filter(|row| row.output.is_some());
        let rows = rows.map(|row| row.input.get().to_owned()).collect();
        Self { predictor, frame: model.schema().frame(), model, rows }
    }

    /// Predicts so many rows from `first` on, beginning anew after the last one, and says how long it took. `None` without golden rows.
    fn run(&mut self, first: usize, n_rows: usize) -> Option<(Predictions, Duration)> {
        let rows = self.rows.iter().cycle().skip(first % self.rows.len().max(1)).take(n_rows);
        let body = format!("[{}]", rows.map(String::as_str).collect::<Vec<_>>().join(","));
        let options = DecodeOptions { max_rows: usize::MAX, ..DecodeOptions::default() };
        self.model.schema().decode(body.as_bytes(), &options, &mut self.frame).ok()?;
        let started = Instant::now();
        let predictions = self.predictor.predict(&self.frame).ok()?;
        let took = started.elapsed();
        (predictions.rows.len() == n_rows && n_rows > 0).then_some((predictions, took))
    }

    /// The median cost of a run of so many rows.
    fn cost(&mut self, n_rows: usize, n_runs: usize) -> Duration {
        let begun = Instant::now();
        let mut costs = Vec::with_capacity(n_runs);
        for first in 0..n_runs {
            costs.extend(self.run(first, n_rows).map(|(_, took)| took));
            if begun.elapsed() > MEASURED_FOR {
                break;
            }
        }
        costs.sort_unstable();
        costs.get(costs.len() / 2).copied().unwrap_or_default()
    }

    /// What a row costs alone, and what each further one costs in a batch.
    fn costs(&mut self) -> (Duration, Duration) {
        const RUNS: usize = 15;
        // What a graph needs for many rows at once it keeps, so it gets no more than it takes to see the difference.
        const BATCH: std::ops::RangeInclusive<u32> = 4..=32;
        const BATCH_FOR: Duration = Duration::from_millis(10);
        let alone = self.cost(1, RUNS);
        let n_rows = ratio(BATCH_FOR, alone).clamp(*BATCH.start(), *BATCH.end());
        // Of a model that takes so long that a batch could not be run twice each row is taken to cost the same.
        if alone * n_rows > MEASURED_FOR / 2 {
            return (alone, alone);
        }
        let together = self.cost(n_rows as usize, RUNS / 3);
        (alone, together.saturating_sub(alone) / (n_rows - 1))
    }

    /// Which requests are to be merged.
    ///
    /// They are merged where that saves time and changes no bit. Where a further row costs more than half of the first, the requests that share a
    /// run get their answers later, on average, than one after the other; so it is done only where more is asked than
    /// could be answered otherwise, as then those behind them gain more. There it pays to wait a moment for those that come back at once
    /// with the next request.
    fn merging(&mut self, alone: Duration, each: Duration) -> Batching {
        const RUNS: usize = 5;
        let never = Batching::default();
        if alone.is_zero() || alone * 2 * LONGER_AT_MOST > MEASURED_FOR {
            return never;
        }
        // A machine that is disturbed may well make each of many look dearer than one.
        let more = ratio(alone * (LONGER_AT_MOST - 1), each.min(alone));
        let n_rows = (1 + more).min(MERGED_AT_MOST) as usize;
        let begun = Instant::now();
        let (mut shares, mut later) = (Vec::new(), Vec::new());
        for first in (0..RUNS).map(|run| run * n_rows) {
            // In turn, so that a machine that is disturbed disturbs both.
            let alone: Option<Vec<_>> =
                (first..first + n_rows).map(|row| self.run(row, 1)).collect();
            let Some((alone, (together, took))) = alone.zip(self.run(first, n_rows)) else {
                return never;
            };
            let same = |(at, (alone, _)): (usize, &(Predictions, Duration))| {
                proof::is_row(alone, &together, at)
            };
            if !alone.iter().enumerate().all(same) {
                tracing::info!(
                    model.name = self.model.artifact().manifest().name,
                    "requests are not merged: {n_rows} golden rows give other bits together than alone"
                );
                return never;
            }
            let one_by_one: Duration = alone.iter().map(|(_, took)| *took).sum();
            shares.push(took.div_duration_f64(one_by_one));
            let first = alone[0].1;
            later.push(
                took.saturating_sub(first).div_duration_f64(one_by_one.saturating_sub(first)),
            );
            if begun.elapsed() > MEASURED_FOR {
                break;
            }
        }
        let median = |mut of: Vec<f64>| {
            of.sort_unstable_by(f64::total_cmp);
            of[of.len() / 2]
        };
        let (share, later) = (median(shares), median(later));
        tracing::debug!(
            model.name = self.model.artifact().manifest().name,
            "{n_rows} rows together take {share:.3} of their time one by one"
        );
        if share > WORTH_IT {
            return never;
        }
        let only_when_busy = later > 0.5;
        let delay = if only_when_busy { alone / WAITED_FOR } else { Duration::ZERO };
        Batching { rows: n_rows, delay, only_when_busy }
    }
}

/// How many times the one is in the other.
fn ratio(whole: Duration, part: Duration) -> u32 {
    u32::try_from(whole.as_nanos() / part.as_nanos().max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::artifact::Artifact;
    use crate::digest::sha256;
    use crate::runtime::SessionOptions;

    const ROW: Duration = Duration::from_millis(7);

    /// The house prices, with this graph in place of their own; nothing is proven.
    fn predictor(graph: Option<&str>) -> Predictor {
        super::super::open_runtime(&crate::config::process()).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let copy = tempfile::tempdir().unwrap();
        let (from, dir) =
            (root.join("models/house-prices/3.2.0"), copy.path().join("house-prices/3.2.0"));
        std::fs::create_dir_all(&dir).unwrap();
        let mut sums = String::new();
        for name in ["golden.jsonl", "manifest.json", "model.onnx", "profile.json"] {
            let from = match graph {
                Some(graph) if name == "model.onnx" => {
                    root.join("tests/fixtures/graphs").join(graph)
                }
                _ => from.join(name),
            };
            let bytes = std::fs::read(from).unwrap();
            sums.push_str(&format!("{}  {name}\n", sha256(&bytes)));
            std::fs::write(dir.join(name), bytes).unwrap();
        }
        std::fs::write(dir.join("SHA256SUMS"), sums).unwrap();
        let model = Arc::new(Model::load(Artifact::open(&dir).unwrap()).unwrap());
        Predictor::open(&model, SessionOptions::default()).unwrap()
    }

    #[test]
    fn rows_that_are_cheaper_together_are_merged() {
        let mut predictor = predictor(None);
        let mut rehearsal = Rehearsal::new(&mut predictor);
        let mut rows = |alone, each| rehearsal.merging(alone, each).rows;
        assert_eq!(rows(ROW, ROW / 2), 7);
        assert_eq!(rows(ROW, ROW / 100), 64);
        assert_eq!(rows(ROW, Duration::ZERO), 64);
        assert_eq!(rows(ROW, 2 * ROW), 4);
        assert_eq!(rows(100 * ROW, ROW), 0);
        assert_eq!(rows(Duration::ZERO, Duration::ZERO), 0);
        // A run of one row costs this model as much as one of twenty.
        let always = Batching { rows: 64, ..Batching::default() };
        assert_eq!(rehearsal.merging(ROW, ROW / 100), always);
    }

    #[test]
    fn rows_that_give_other_bits_together_are_not_merged() {
        let mut predictor = predictor(Some("batch.onnx"));
        assert_eq!(Rehearsal::new(&mut predictor).merging(ROW, ROW / 2), Batching::default());
    }

    #[test]
    fn costs_are_those_of_golden_rows() {
        let mut predictor = predictor(None);
        let mut rehearsal = Rehearsal::new(&mut predictor);
        let (alone, each) = rehearsal.costs();
        assert!(Duration::ZERO < each && each < alone, "{alone:?}, {each:?}");
        let (predictions, _) = rehearsal.run(3, 200).unwrap();
        assert_eq!(predictions.rows.len(), 200);
        rehearsal.rows.clear();
        assert!(rehearsal.run(0, 1).is_none());
        assert_eq!(rehearsal.costs(), (Duration::ZERO, Duration::ZERO));
        assert_eq!(rehearsal.merging(ROW, ROW / 2), Batching::default());
    }
}
