//! Who runs a model, and where: in the thread of the request, or in threads of their own.
//!
//! Knows frames and predictions; knows nothing of HTTP. A cheap model is run *inline*: a hop to another thread would cost more than the
//! prediction. An expensive one is run by *workers* behind a bounded queue, so that the threads that answer health checks are never
//! busy with it.

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::predictor::{PredictError, Predictions, Predictor};
use crate::schema::Frame;

mod inline;
mod worker;

/// A prediction that takes longer than this is not run in the thread of a request.
pub const INLINE_AT_MOST: Duration = Duration::from_micros(100);
/// A run that is expected to take longer than this lets the runtime move its other tasks away first.
const BLOCKING_FROM: Duration = Duration::from_millis(1);

/// Anything that predicts the rows of a frame; one thread at a time.
pub trait Predict: Send + 'static {
    /// Predicts every row. See [`Predictor::predict`].
    ///
    /// # Errors
    /// The run failed as a whole.
    fn predict(&mut self, frame: &Frame) -> Result<Predictions, PredictError>;
}

impl Predict for Predictor {
    fn predict(&mut self, frame: &Frame) -> Result<Predictions, PredictError> {
        Self::predict(self, frame)
    }
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
    /// How many requests may wait for a worker.
    pub queue: usize,
    /// What a row costs, as measured.
    pub row_cost: Duration,
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
            Lane::Inline => (Running::Inline(inline::Pool::new(predictors)), Ended(None)),
            Lane::Worker => {
                let (queue, ended) = worker::start(predictors, plan.queue)?;
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

    /// Predicts the rows of a frame, and gives the frame back.
    ///
    /// # Errors
    /// [`EngineError`]; `Overloaded` at once when the queue of the workers is full.
    pub async fn predict(&self, frame: Frame) -> Result<(Predictions, Frame), EngineError> {
        match &self.lane {
            Running::Inline(pool) => {
                let n_rows = u32::try_from(frame.n_rows()).unwrap_or(u32::MAX);
                let blocking = self.plan.row_cost.saturating_mul(n_rows) >= BLOCKING_FROM;
                let predictions = pool.predict(&frame, blocking).await?;
                Ok((predictions, frame))
            }
            Running::Worker(queue) => queue.predict(frame).await,
        }
    }
}
