//! Who may wait for a predictor: as long as the wait is short compared with the work itself.
//!
//! A queue that is limited by its length alone makes each request wait for all of it when there is too much load; one that is limited by
//! time refuses what would wait too long, at once, so that what is accepted takes hardly longer than without load.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::{EngineError, Plan};

/// By this the wait is limited when it is not set, and the work is shorter.
const LEAST: Duration = Duration::from_millis(5);
/// How [`Admission::slowness`] writes 1.
const ONE: u64 = 1024;

/// The work that waits or runs; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Admission(Arc<Work>);

#[derive(Debug)]
struct Work {
    plan: Plan,
    /// Requests that are admitted and not done.
    n_requests: AtomicUsize,
    /// What they are expected to take one after the other, in microseconds.
    micros: AtomicU64,
    /// How much longer runs take than the plan says, since others run beside them, in parts of [`ONE`].
    slowness: AtomicU64,
}

/// A request that is admitted, until it is done.
#[derive(Debug)]
pub(super) struct Ticket {
    work: Arc<Work>,
    micros: u64,
}

impl Admission {
    pub(super) fn new(plan: Plan) -> Self {
        Self(Arc::new(Work {
            plan,
            n_requests: AtomicUsize::new(0),
            micros: AtomicU64::new(0),
            slowness: AtomicU64::new(ONE),
        }))
    }

    /// Lets a request of so many rows wait, unless that would be too long.
    pub(super) fn admit(&self, n_rows: usize) -> Result<Ticket, EngineError> {
        let work = &self.0;
        let own = work.micros(n_rows);
        if work.is_full(own) {
            return Err(EngineError::Overloaded);
        }
        work.n_requests.fetch_add(1, Ordering::Relaxed);
        work.micros.fetch_add(own, Ordering::Relaxed);
        Ok(Ticket { work: Arc::clone(work), micros: own })
    }

    /// Requests that are admitted and not done.
    pub(super) fn n_requests(&self) -> usize {
        self.0.n_requests.load(Ordering::Relaxed)
    }

    /// Whether not even a request of one row would be admitted.
    pub(super) fn is_full(&self) -> bool {
        self.0.is_full(self.0.micros(1))
    }

    /// Learns how long a run of requests of so many rows took.
    pub(super) fn observe(&self, n_rows: impl Iterator<Item = usize>, took: Duration) {
        let planned: u64 = n_rows.map(|n_rows| self.0.planned(n_rows)).sum();
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let slowness = took.saturating_mul(ONE) / planned.max(1);
        // A mean of about the last eight; two threads that learn at the same time may forget one of them.
        let mean = self.0.slowness.load(Ordering::Relaxed);
        let mean = (mean.saturating_mul(7).saturating_add(slowness) / 8).max(1);
        self.0.slowness.store(mean, Ordering::Relaxed);
    }
}

impl Work {
    /// What so many rows take by the plan, in microseconds. A row takes at least one, so that there is something to multiply.
    fn planned(&self, n_rows: usize) -> u64 {
        let micros = u64::try_from(self.plan.cost(n_rows).as_micros()).unwrap_or(u64::MAX);
        micros.max(u64::try_from(n_rows).unwrap_or(u64::MAX)).max(1)
    }

    /// The same as runs are at present.
    fn micros(&self, n_rows: usize) -> u64 {
        let slowness = self.slowness.load(Ordering::Relaxed);
        (self.planned(n_rows).saturating_mul(slowness) / ONE).max(1)
    }

    /// Whether a request that takes so long itself would have to wait too long.
    fn is_full(&self, own: u64) -> bool {
        // While a predictor is free nobody waits, whatever the others do.
        if self.n_requests.load(Ordering::Relaxed) < self.plan.threads {
            return false;
        }
        let at_most = self
            .plan
            .max_wait
            .unwrap_or_else(|| Duration::from_micros(own.saturating_mul(2)).max(LEAST));
        let n_threads = u64::try_from(self.plan.threads).unwrap_or(u64::MAX).max(1);
        let wait = Duration::from_micros(self.micros.load(Ordering::Relaxed) / n_threads);
        wait > at_most
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.work.n_requests.fetch_sub(1, Ordering::Relaxed);
        self.work.micros.fetch_sub(self.micros, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Lane;

    fn plan(row_ms: u64) -> Plan {
        let row_cost = Duration::from_millis(row_ms);
        Plan { row_cost, batch_row_cost: row_cost, ..Plan::new(Lane::Worker, 2, 256) }
    }

    fn fill(admission: &Admission, n_rows: usize) -> Vec<Ticket> {
        (0..1000).map_while(|_| admission.admit(n_rows).ok()).collect()
    }

    #[test]
    fn as_many_wait_as_take_twice_their_own_time() {
        // Two threads that have 40 ms before them: two rows run, two wait; and the fifth would wait for exactly 20 ms.
        let admission = Admission::new(plan(10));
        let tickets = fill(&admission, 1);
        assert_eq!(tickets.len(), 5);
        assert!(admission.is_full());
        // A long request may wait longer.
        assert!(admission.admit(3).is_ok());
        drop(tickets);
        assert!(!admission.is_full());
        assert_eq!(fill(&admission, 1).len(), 5);
    }

    #[test]
    fn short_work_may_wait_five_milliseconds() {
        let mut plan = plan(0);
        plan.row_cost = Duration::from_micros(100);
        assert_eq!(fill(&Admission::new(plan), 1).len(), 101);
        plan.max_wait = Some(Duration::from_millis(50));
        assert_eq!(fill(&Admission::new(plan), 1).len(), 1000);
    }

    #[test]
    fn while_a_thread_is_free_nobody_is_refused() {
        let admission = Admission::new(plan(10));
        let long = admission.admit(10_000).unwrap();
        assert!(admission.admit(1).is_ok() && !admission.is_full());
        let other = admission.admit(1).unwrap();
        assert!(admission.is_full());
        drop((long, other));
    }

    #[test]
    fn what_runs_really_take_is_learnt() {
        let admission = Admission::new(plan(0));
        assert_eq!(fill(&admission, 1).len(), 1000);
        for _ in 0..100 {
            admission.observe([1, 1].into_iter(), Duration::from_millis(20));
        }
        assert_eq!(fill(&admission, 1).len(), 5);
        for _ in 0..200 {
            admission.observe(std::iter::once(1), Duration::from_micros(1));
        }
        assert!(fill(&admission, 1).len() > 100);
    }
}
