//! Expensive models: a bounded queue, and one thread for each predictor.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tokio::sync::oneshot;

use super::admission::{Admission, Ticket};
use super::batch::{self, Batching};
use super::{EngineError, Plan, Predict, Predicted};
use crate::schema::Frame;

/// The sending end of the queue.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    jobs: Sender<Job>,
    admission: Admission,
}

/// A request that waits for a predictor.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) frame: Frame,
    /// Since when, if times are wanted.
    pub(super) queued: Option<Instant>,
    pub(super) reply: oneshot::Sender<Result<Predicted, EngineError>>,
    /// Counts it among what waits or runs, until it is answered.
    pub(super) ticket: Ticket,
}

/// Starts a thread for each predictor. The receiver tells when the first of them ends.
pub(super) fn start(
    predictors: Vec<Box<dyn Predict>>,
    plan: Plan,
) -> std::io::Result<(Queue, oneshot::Receiver<Infallible>)> {
    let (jobs, queued) = bounded(plan.queue);
    let admission = Admission::new(plan);
    let (alive, ended) = oneshot::channel::<Infallible>();
    // The first thread that ends takes it out and drops it.
    let alive = Arc::new(std::sync::Mutex::new(Some(alive)));
    for (number, predictor) in predictors.into_iter().enumerate() {
        let (queued, alive) = (queued.clone(), Arc::clone(&alive));
        let admission = admission.clone();
        std::thread::Builder::new().name(format!("predictor-{number}")).spawn(move || {
            let _end = End(alive);
            work(predictor, &queued, plan.batching, &admission);
        })?;
    }
    Ok((Queue { jobs, admission }, ended))
}

struct End(Arc<std::sync::Mutex<Option<oneshot::Sender<Infallible>>>>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
    }
}

fn work(
    mut predictor: Box<dyn Predict>,
    queued: &Receiver<Job>,
    batching: Batching,
    admission: &Admission,
) {
    let mut merged = batch::Merged::default();
    // A request that did not fit the batch before.
    let mut held: VecDeque<Job> = VecDeque::new();
    while let Some(first) = held.pop_front().or_else(|| queued.recv().ok()) {
        let mut jobs = vec![first];
        gather(&mut jobs, &mut held, queued, batching);
        // Clients that went away are not computed for.
        jobs.retain(|job| !job.reply.is_closed());
        let n_rows: Vec<usize> = jobs.iter().map(|job| job.frame.n_rows()).collect();
        let started = Instant::now();
        batch::run(&mut *predictor, jobs, &mut merged);
        if !n_rows.is_empty() {
            admission.observe(n_rows.into_iter(), started.elapsed());
        }
    }
}

/// Adds requests that wait, and those that come within the delay, as long as there is room for their rows.
fn gather(
    jobs: &mut Vec<Job>,
    held: &mut VecDeque<Job>,
    queued: &Receiver<Job>,
    batching: Batching,
) {
    let mut n_rows = jobs.iter().map(|job| job.frame.n_rows()).sum::<usize>();
    if n_rows >= batching.rows {
        return;
    }
    let until = Instant::now() + batching.delay;
    while n_rows < batching.rows {
        let next = queued.try_recv().ok().or_else(|| queued.recv_deadline(until).ok());
        let Some(next) = next else { return };
        if next.reply.is_closed() {
            continue;
        }
        n_rows += next.frame.n_rows();
        if n_rows > batching.rows {
            held.push_back(next);
            return;
        }
        jobs.push(next);
    }
}

impl Queue {
    pub(super) fn refuses_one(&self) -> bool {
        // It is asked first, as it counts what is refused.
        self.admission.refuses_one() || self.jobs.is_full()
    }

    /// Requests that wait for a thread.
    pub(super) fn waiting(&self) -> usize {
        self.jobs.len()
    }

    pub(super) async fn predict(
        &self,
        frame: Frame,
        queued: Option<Instant>,
    ) -> Result<Predicted, EngineError> {
        let (reply, answer) = oneshot::channel();
        let ticket = self.admission.admit(frame.n_rows())?;
        let job = Job { frame, queued, reply, ticket };
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => EngineError::Overloaded,
            TrySendError::Disconnected(_) => EngineError::Stopped,
        })?;
        answer.await.map_err(|_gone| EngineError::Stopped)?
    }
}
