//! Cheap models: a pool of predictors, run where the request is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::admission::Admission;
use super::times::{Times, Watch};
use super::{EngineError, Plan, Predict};
use crate::predictor::Predictions;
use crate::schema::Frame;

/// Predictors that wait for a request; there are as many permits as predictors.
#[derive(Clone)]
pub(super) struct Pool {
    predictors: Arc<Mutex<Vec<Box<dyn Predict>>>>,
    free: Arc<Semaphore>,
    /// Those that wait for a permit.
    waiting: Admission,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("free", &self.free.available_permits()).finish()
    }
}

/// A predictor that goes back to the pool whatever happens, a panic included: each run starts with clean buffers.
struct Taken<'a> {
    pool: &'a Pool,
    predictor: Option<Box<dyn Predict>>,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if let Some(predictor) = self.predictor.take() {
            self.pool.predictors.lock().unwrap_or_else(PoisonError::into_inner).push(predictor);
        }
    }
}

impl Pool {
    pub(super) fn new(predictors: Vec<Box<dyn Predict>>, plan: Plan) -> Self {
        let free = Arc::new(Semaphore::new(predictors.len()));
        Self { predictors: Arc::new(Mutex::new(predictors)), free, waiting: Admission::new(plan) }
    }

    pub(super) fn refuses_one(&self) -> bool {
        self.free.available_permits() == 0 && self.waiting.refuses_one()
    }

    /// Requests that wait for a predictor.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.n_requests()
    }

    /// A permit, and whether it was not there at once. If it was, nothing is counted.
    async fn permit(&self, n_rows: usize) -> Result<(SemaphorePermit<'_>, bool), EngineError> {
        if let Ok(permit) = self.free.try_acquire() {
            return Ok((permit, false));
        }
        let _waits = self.waiting.admit(n_rows)?;
        let permit = self.free.acquire().await.map_err(|_closed| EngineError::Stopped)?;
        Ok((permit, true))
    }

    /// Runs a predictor in this thread, as soon as one is free. `blocking` says that it will take long enough for other tasks of the
    /// thread to be moved away.
    pub(super) async fn predict(
        &self,
        frame: &Frame,
        blocking: bool,
        queued: Option<Instant>,
    ) -> Result<(Predictions, Option<Times>), EngineError> {
        let (_permit, has_waited) = self.permit(frame.n_rows()).await?;
        let mut watch = Watch::start(queued, has_waited);
        // Only where requests wait does it matter how long a run takes.
        let started = has_waited.then(Instant::now);
        let predictor = self.predictors.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut taken = Taken { pool: self, predictor };
        let Some(predictor) = taken.predictor.as_mut() else { return Err(EngineError::Stopped) };
        let mut run = || predictor.predict_watched(frame, &mut |stage| watch.passed(stage));
        let multi_thread = tokio::runtime::RuntimeFlavor::MultiThread;
        let result =
            if blocking && tokio::runtime::Handle::current().runtime_flavor() == multi_thread {
                tokio::task::block_in_place(run)
            } else {
                run()
            };
        if let Some(started) = started {
            self.waiting.observe(std::iter::once(frame.n_rows()), started.elapsed());
        }
        Ok((result?, watch.stop(frame.n_rows())))
    }
}
