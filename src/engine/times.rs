//! What a prediction takes, stage by stage. The core reads no clock: it says where it is, and a watch here reads it.

use std::time::{Duration, Instant};

use crate::predictor::Stage;

/// What the stages of a request took.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// When a predictor was free and the run began.
    pub begun: Instant,
    /// How long the request waited until then.
    pub queue: Duration,
    /// The pipeline, up to the tensors.
    pub preprocess: Duration,
    /// The graph.
    pub inference: Duration,
    /// From the graph's outputs to predictions.
    pub postprocess: Duration,
    /// Rows of the run, for one of the requests that shared it; 0 for the others.
    pub run_rows: usize,
}

/// Reads the clock when a stage is over, if anybody wants to know.
#[derive(Debug)]
pub(super) struct Watch(Option<(Times, Instant)>);

impl Watch {
    /// Of a request that has waited since `queued`; `None` when nobody wants to know. `has_waited` is false when a predictor
    /// was free at once, so that the clock need not be read again.
    pub(super) fn start(queued: Option<Instant>, has_waited: bool) -> Self {
        Self(queued.map(|queued| {
            let begun = if has_waited { Instant::now() } else { queued };
            let none = Duration::ZERO;
            let times = Times {
                begun,
                queue: begun.saturating_duration_since(queued),
                preprocess: none,
                inference: none,
                postprocess: none,
                run_rows: 0,
            };
            (times, begun)
        }))
    }

    /// A stage is over; it may be there several times.
    pub(super) fn passed(&mut self, stage: Stage) {
        if let Some((times, last)) = &mut self.0 {
            let now = Instant::now();
            let taken = now.saturating_duration_since(*last);
            *last = now;
            match stage {
                Stage::Preprocess => times.preprocess += taken,
                Stage::Inference => times.inference += taken,
                Stage::Postprocess => times.postprocess += taken,
            }
        }
    }

    /// The times of a run of so many rows.
    pub(super) fn stop(self, n_rows: usize) -> Option<Times> {
        self.0.map(|(times, _)| Times { run_rows: n_rows, ..times })
    }
}
