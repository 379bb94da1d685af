//! Several requests in one run: their rows put below one another, the predictions split again.
//!
//! A merged run that fails says nothing about who is to blame, so its requests are run again one by one, and only the guilty one fails.

use std::time::Duration;

use super::times::{Times, Watch};
use super::worker::Job;
use super::{EngineError, Predict, Predicted};
use crate::schema::Frame;

/// Which requests are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Batching {
    /// Requests are merged up to so many rows; below 2 each is run alone. A request of more rows is run alone, and whole.
    pub rows: usize,
    /// How long a request waits for others; without it only those are merged that wait already.
    pub delay: Duration,
    /// Only by a worker that has hardly had to wait for requests of late, while more than two for each worker are there: where merging saves little, a
    /// few requests are answered sooner one after the other.
    pub only_when_busy: bool,
}

/// The rows of several requests; used again from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Merged(Option<Frame>);

impl Merged {
    fn of(&mut self, jobs: &[Job]) -> &Frame {
        // Every frame of a model has the same columns.
        let frame = self.0.get_or_insert_with(|| jobs[0].frame.clone());
        frame.clear();
        jobs.iter().for_each(|job| frame.append(&job.frame));
        frame
    }
}

/// Runs these requests, together if there are several, and answers each.
pub(super) fn run(predictor: &mut dyn Predict, jobs: Vec<Job>, merged: &mut Merged) {
    if jobs.len() > 1 {
        let mut watch = Watch::start(jobs[0].queued, true);
        let n_rows = jobs.iter().map(|job| job.frame.n_rows()).sum::<usize>();
        let result = predictor
            .predict_watched(merged.of(&jobs), &mut |stage| watch.passed(stage))
            .ok()
            .filter(|predictions| predictions.rows.len() == n_rows);
        if let Some(mut predictions) = result {
            let mut times = watch.stop(n_rows);
            // From the last one on, so that the rest stays where it is.
            for Job { frame, queued, reply, ticket } in jobs.into_iter().rev() {
                let own = predictions.split_off(predictions.rows.len() - frame.n_rows());
                let own_times = times.zip(queued).map(|(times, queued)| Times {
                    queue: times.begun.saturating_duration_since(queued),
                    ..times
                });
                // The run is counted once.
                times = times.map(|times| Times { run_rows: 0, ..times });
                let predicted = Predicted { predictions: own, frame, times: own_times };
                drop(ticket);
                let _client_gone = reply.send(Ok(predicted));
            }
            return;
        }
    }
    for Job { frame, queued, reply, ticket } in jobs {
        let mut watch = Watch::start(queued, true);
        let result = predictor.predict_watched(&frame, &mut |stage| watch.passed(stage));
        let times = watch.stop(frame.n_rows());
        let predicted = result.map(|predictions| Predicted { predictions, frame, times });
        // Before the answer, or the next request of the same client would find itself in its own way.
        drop(ticket);
        let _client_gone = reply.send(predicted.map_err(EngineError::from));
    }
}
