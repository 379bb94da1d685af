//! Expensive models: a bounded queue, and one thread for each predictor.

use std::convert::Infallible;
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use super::{EngineError, Predict};
use crate::predictor::Predictions;
use crate::schema::Frame;

/// The sending end of the queue.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    jobs: Sender<Job>,
}

#[derive(Debug)]
struct Job {
    frame: Frame,
    reply: oneshot::Sender<Result<(Predictions, Frame), EngineError>>,
}

/// Starts a thread for each predictor. The receiver tells when the first of them ends.
pub(super) fn start(
    predictors: Vec<Box<dyn Predict>>,
    queue: usize,
) -> std::io::Result<(Queue, oneshot::Receiver<Infallible>)> {
    let (jobs, queued) = bounded(queue);
    let (alive, ended) = oneshot::channel::<Infallible>();
    // The first thread that ends takes it out and drops it.
    let alive = Arc::new(std::sync::Mutex::new(Some(alive)));
    for (number, predictor) in predictors.into_iter().enumerate() {
        let (queued, alive) = (queued.clone(), Arc::clone(&alive));
        std::thread::Builder::new().name(format!("predictor-{number}")).spawn(move || {
            let _end = End(alive);
            work(predictor, &queued);
        })?;
    }
    Ok((Queue { jobs }, ended))
}

struct End(Arc<std::sync::Mutex<Option<oneshot::Sender<Infallible>>>>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    }
}

fn work(mut predictor: Box<dyn Predict>, queued: &Receiver<Job>) {
    while let Ok(Job { frame, reply }) = queued.recv() {
        // A client that went away is not computed for.
        if reply.is_closed() {
            continue;
        }
        let result = predictor.predict(&frame).map_err(EngineError::from);
        let _client_gone = reply.send(result.map(|predictions| (predictions, frame)));
    }
}

impl Queue {
    pub(super) async fn predict(&self, frame: Frame) -> Result<(Predictions, Frame), EngineError> {
        let (reply, answer) = oneshot::channel();
        self.jobs.try_send(Job { frame, reply }).map_err(|error| match error {
            TrySendError::Full(_) => EngineError::Overloaded,
            TrySendError::Disconnected(_) => EngineError::Stopped,
        })?;
        answer.await.map_err(|_gone| EngineError::Stopped)?
    }
}
