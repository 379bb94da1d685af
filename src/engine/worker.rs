//! Expensive models: a bounded queue, and one thread for each predictor.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

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
    let n_idle = Arc::new(AtomicUsize::new(0));
    for (number, predictor) in predictors.into_iter().enumerate() {
        let (queued, alive) = (queued.clone(), Arc::clone(&alive));
        let (admission, n_idle) = (admission.clone(), Arc::clone(&n_idle));
        std::thread::Builder::new().name(format!("predictor-{number}")).spawn(move || {
            let _end = End(alive);
            let gathering = Gathering { queued: &queued, batching: plan.batching, n_idle: &n_idle };
            work(predictor, &gathering, &admission);
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

fn work(mut predictor: Box<dyn Predict>, gathering: &Gathering<'_>, admission: &Admission) {
    let mut merged = batch::Merged::default();
    // A request that did not fit the batch before.
    let mut held: VecDeque<Job> = VecDeque::new();
    let mut utilization = Utilization::default();
    let mut free_since = Instant::now();
    while let Some(first) = held.pop_front().or_else(|| gathering.next()) {
        let busy_since = Instant::now();
        utilization.waited(busy_since - free_since);
        let mut jobs = vec![first];
        // Of a flood only those are admitted that hardly have to wait; nor should they for one another.
        let pays =
            || utilization.is_high() && admission.is_queue_standing() && !admission.is_shedding();
        if !gathering.batching.only_when_busy || pays() {
            gathering.gather(&mut jobs, &mut held);
        }
        // Clients that went away are not computed for.
        jobs.retain(|job| !job.reply.is_closed());
        let n_rows: Vec<usize> = jobs.iter().map(|job| job.frame.n_rows()).collect();
        let started = Instant::now();
        batch::run(&mut *predictor, jobs, &mut merged);
        free_since = Instant::now();
        utilization.worked(free_since - busy_since);
        if !n_rows.is_empty() {
            admission.observe(n_rows.into_iter(), free_since - started);
        }
    }
}

/// A worker that has waited for longer is not less busy afterwards than one that has waited for so long.
const IDLE: Duration = Duration::from_millis(100);

/// How much of the last runs' time a worker worked and did not wait for requests; each run counts an eighth less than the next.
#[derive(Debug, Default)]
pub(super) struct Utilization {
    waited: Duration,
    worked: Duration,
}

impl Utilization {
    pub(super) fn waited(&mut self, time: Duration) {
        self.waited = (self.waited * 7 / 8 + time).min(IDLE);
    }

    pub(super) fn worked(&mut self, time: Duration) {
        self.worked = self.worked * 7 / 8 + time;
    }

    /// Whether it worked for more than nine tenths.
    pub(super) fn is_high(&self) -> bool {
        self.worked > self.waited * 9
    }
}

/// Where a worker takes requests from.
struct Gathering<'a> {
    queued: &'a Receiver<Job>,
    batching: Batching,
    /// Workers that wait for a request, of all.
    n_idle: &'a AtomicUsize,
}

impl Gathering<'_> {
    /// Waits for a request; `None` when there will be no more.
    fn next(&self) -> Option<Job> {
        if let Ok(job) = self.queued.try_recv() {
            return Some(job);
        }
        self.n_idle.fetch_add(1, Ordering::Relaxed);
        let next = self.queued.recv().ok();
        self.n_idle.fetch_sub(1, Ordering::Relaxed);
        next
    }

    /// Adds requests that wait, and those that come within the delay, as long as there is room for their rows.
    fn gather(&self, jobs: &mut Vec<Job>, held: &mut VecDeque<Job>) {
        let Batching { rows, delay, .. } = self.batching;
        let mut n_rows = jobs.iter().map(|job| job.frame.n_rows()).sum::<usize>();
        if n_rows >= rows {
            return;
        }
        // What waits is for the other workers that are free as well; who waits for more takes it all.
        let n_free = 1 + self.n_idle.load(Ordering::Relaxed);
        let share = if delay.is_zero() {
            (jobs.len() + self.queued.len()).div_ceil(n_free)
        } else {
            usize::MAX
        };
        let until = Instant::now() + delay;
        while n_rows < rows && jobs.len() < share {
            let next =
                self.queued.try_recv().ok().or_else(|| self.queued.recv_deadline(until).ok());
            let Some(next) = next else { return };
            if next.reply.is_closed() {
                continue;
            }
            n_rows += next.frame.n_rows();
            if n_rows > rows {
                held.push_back(next);
                return;
            }
            jobs.push(next);
        }
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
