//! Cheap models: a pool of predictors, run where the request is.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::times::{Times, Watch};
use super::{EngineError, Predict};
use crate::predictor::Predictions;
use crate::schema::Frame;

/// Predictors that wait for a request; there are as many permits as predictors.
#[derive(Clone)]
pub(super) struct Pool {
    predictors: Arc<Mutex<Vec<Box<dyn Predict>>>>,
    free: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
}

/// Counts a request as long as it waits, also when its client leaves meanwhile.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(number: &'a AtomicUsize) -> Self {
        number.fetch_add(1, Ordering::Relaxed);
        Self(number)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
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
    pub(super) fn new(predictors: Vec<Box<dyn Predict>>) -> Self {
        let free = Arc::new(Semaphore::new(predictors.len()));
        Self { predictors: Arc::new(Mutex::new(predictors)), free, waiting: Arc::default() }
    }

    /// Requests that wait for a predictor.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// A permit, and whether it was not there at once.
    async fn permit(&self) -> Result<(SemaphorePermit<'_>, bool), EngineError> {
        if let Ok(permit) = self.free.try_acquire() {
            return Ok((permit, false));
        }
        let _waiting = Waiting::new(&self.waiting);
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
        let (_permit, has_waited) = self.permit().await?;
        let mut watch = Watch::start(queued, has_waited);
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
        Ok((result?, watch.stop(frame.n_rows())))
    }
}
