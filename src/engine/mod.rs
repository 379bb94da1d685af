//! Who runs a model, and where: in the thread of the request, or in threads of their own.
//!
//! Knows frames and predictions; knows nothing of HTTP. A cheap model is run *inline*: a hop to another thread would cost more than the
//! prediction. An expensive one is run by *workers* behind a bounded queue, so that the threads that answer health checks are never
//! busy with it; where that saves time, a worker runs the rows of several requests at once.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::predictor::{PredictError, Predictions, Predictor, Stage};
use crate::schema::Frame;

mod admission;
mod batch;
mod cpus;
mod inline;
mod times;
mod turns;
mod worker;

pub use batch::Batching;
pub use cpus::Cpus;
pub use times::Times;
pub use turns::{Turn, Turns};

/// A prediction that takes longer than this is not run in the thread of a request.
pub const INLINE_AT_MOST: Duration = Duration::from_micros(100);
/// As many requests may wait as long as they like, where nothing else is set.
const BURST: usize = 64;
/// A run that is expected to take longer than this lets the runtime move its other tasks away first.
const BLOCKING_FROM: Duration = Duration::from_millis(1);

/// Anything that predicts the rows of a frame; one thread at a time.
pub trait Predict: Send + 'static {
    /// Predicts every row. See [`Predictor::predict`].
    ///
    /// # Errors
    /// The run failed as a whole.
    fn predict(&mut self, frame: &Frame) -> Result<Predictions, PredictError>;

    /// As [`Self::predict`]; `passed` is told when a stage is over.
    ///
    /// # Errors
    /// As [`Self::predict`].
    fn predict_watched(
        &mut self,
        frame: &Frame,
        passed: &mut dyn FnMut(Stage),
    ) -> Result<Predictions, PredictError> {
        let result = self.predict(frame);
        passed(Stage::Inference);
        result
    }
}

impl Predict for Predictor {
    fn predict(&mut self, frame: &Frame) -> Result<Predictions, PredictError> {
        Self::predict(self, frame)
    }

    fn predict_watched(
        &mut self,
        frame: &Frame,
        passed: &mut dyn FnMut(Stage),
    ) -> Result<Predictions, PredictError> {
        Self::predict_watched(self, frame, passed)
    }
}

/// What the rows of a frame gave.
#[derive(Debug)]
pub struct Predicted {
    /// The predictions.
    pub predictions: Predictions,
    /// The frame, to be used again.
    pub frame: Frame,
    /// What the stages took, if that was asked for.
    pub times: Option<Times>,
}

/// Why a frame was not predicted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The queue is full: try again later.
    #[error("the model is busy: its queue is full")]
    Overloaded,
    /// The run failed.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// The thread that ran it is gone.
    #[error("the thread that predicts has ended")]
    Stopped,
}

/// Which threads run a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The thread of the request.
    Inline,
    /// Threads of their own.
    Worker,
}

impl Lane {
    /// For metadata and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Worker => "worker",
        }
    }
}

/// How a model is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Which threads.
    pub lane: Lane,
    /// How many predictions at the same time, at most.
    pub threads: usize,
    /// How many threads one prediction may use.
    pub intra_threads: usize,
    /// How many requests may wait for a worker.
    pub queue: usize,
    /// Which of them are merged.
    pub batching: Batching,
    /// How many requests may wait for as long as they like: those of few clients. More may do so for a moment only.
    pub burst: usize,
    /// How long a request may have to wait for its turn in any case.
    pub max_wait: Option<Duration>,
    /// What a row alone costs, as measured.
    pub row_cost: Duration,
    /// What each of many rows costs, as measured.
    pub batch_row_cost: Duration,
    /// Whether the lane follows from that, or from a setting.
    pub is_measured: bool,
}

impl Plan {
    /// A plan of this lane, that nothing was measured for and that merges nothing.
    #[must_use]
    pub fn new(lane: Lane, threads: usize, queue: usize) -> Self {
        Self {
            lane,
            threads,
            intra_threads: 1,
            queue,
            batching: Batching::default(),
            burst: BURST,
            max_wait: None,
            row_cost: Duration::ZERO,
            batch_row_cost: Duration::ZERO,
            is_measured: false,
        }
    }

    /// What so many rows are expected to cost.
    #[must_use]
    pub fn cost(&self, n_rows: usize) -> Duration {
        let more = u32::try_from(n_rows.saturating_sub(1)).unwrap_or(u32::MAX);
        self.row_cost.saturating_add(self.batch_row_cost.saturating_mul(more))
    }
}

/// For people, as the server says it at its start.
impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.lane {
            Lane::Inline => write!(f, "inline, at most {} at a time", self.threads)?,
            Lane::Worker => {
                write!(f, "in {} worker(s) behind a queue of {}", self.threads, self.queue)?;
                if self.batching.rows > 1 {
                    let Batching { rows, delay, only_when_busy } = self.batching;
                    write!(f, ", merging up to {rows} rows")?;
                    if !delay.is_zero() {
                        write!(f, " within {delay:?}")?;
                    }
                    if only_when_busy {
                        f.write_str(" while busy")?;
                    }
                }
            }
        }
        if self.intra_threads > 1 {
            write!(f, ", {} threads each", self.intra_threads)?;
        }
        let source = if self.is_measured { "measured" } else { "by setting" };
        write!(
            f,
            " ({source}: a row takes {:?}, each of many {:?})",
            self.row_cost, self.batch_row_cost
        )
    }
}

/// A handle to whatever runs a model; cheap to clone.
#[derive(Debug, Clone)]
pub struct Engine {
    lane: Running,
    plan: Plan,
}

#[derive(Debug, Clone)]
enum Running {
    Inline(inline::Pool),
    Worker(worker::Queue),
}

/// Tells when a thread that predicts has ended: by a panic, or because every [`Engine`] is gone.
#[derive(Debug)]
pub struct Ended(Option<oneshot::Receiver<Infallible>>);

impl Ended {
    /// Waits for the first thread that ends; for ever when there are none of their own.
    pub async fn wait(self) {
        match self.0 {
            Some(ended) => {
                let Err(_dropped) = ended.await;
            }
            None => std::future::pending().await,
        }
    }
}

impl Engine {
    /// Starts running a model with these predictors, one for each thread of the plan.
    ///
    /// # Errors
    /// A thread could not be started.
    pub fn start(predictors: Vec<Box<dyn Predict>>, plan: Plan) -> std::io::Result<(Self, Ended)> {
        let (lane, ended) = match plan.lane {
            Lane::Inline => (Running::Inline(inline::Pool::new(predictors, plan)), Ended(None)),
            Lane::Worker => {
                let (queue, ended) = worker::start(predictors, plan)?;
                (Running::Worker(queue), Ended(Some(ended)))
            }
        };
        Ok((Self { lane, plan }, ended))
    }

    /// How the model is run.
    #[must_use]
    pub fn plan(&self) -> Plan {
        self.plan
    }

    /// Whether a request is refused, however small it is: then it need not be read. It counts as refused.
    #[must_use]
    pub fn refuses_one(&self) -> bool {
        match &self.lane {
            Running::Inline(pool) => pool.refuses_one(),
            Running::Worker(queue) => queue.refuses_one(),
        }
    }

    /// Requests that wait for a predictor.
    #[must_use]
    pub fn waiting(&self) -> usize {
        match &self.lane {
            Running::Inline(pool) => pool.waiting(),
            Running::Worker(queue) => queue.waiting(),
        }
    }

    /// Predicts the rows of a frame, and gives the frame back. With the moment from which it waits the times of stages are
    /// taken; without one no clock is read.
    ///
    /// # Errors
    /// [`EngineError`]; `Overloaded` at once when the queue is full, or the request would wait in it for too long.
    pub async fn predict(
        &self,
        frame: Frame,
        queued: Option<Instant>,
    ) -> Result<Predicted, EngineError> {
        match &self.lane {
            Running::Inline(pool) => {
                let blocking = self.plan.cost(frame.n_rows()) >= BLOCKING_FROM;
                let (predictions, times) = pool.predict(&frame, blocking, queued).await?;
                Ok(Predicted { predictions, frame, times })
            }
            Running::Worker(queue) => queue.predict(frame, queued).await,
        }
    }
}

#[cfg(test)]
mod tests;
