//! Who may wait for a predictor: everybody in a short burst, and in a lasting flood those who hardly have to.
//!
//! A queue that is limited by its length alone makes each request wait for all of it when there is too much load; one that is limited by
//! time alone refuses a few clients who happen to ask at once. So this one is watched as `CoDel` watches a router's (RFC 8289): while it is
//! short, or has been long for a moment only, a request may wait. When it has been long for [`INTERVAL`], more is asked than can be done:
//! then it is *shed*, which means that a request is admitted only when it waits hardly longer than it takes itself, and the others are
//! refused at once. That ends when few had to be refused for a while; and now and then it is tried whether it can.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::{EngineError, Plan};

/// A queue that is long for so long is no burst.
const INTERVAL: Duration = Duration::from_millis(100);
/// While the queue is shed a request may wait this long, however short it is itself.
const LEAST: Duration = Duration::from_millis(1);
/// A flood is over when fewer than a burst were refused in so long, or in the time that a burst takes when that is longer: clients that were
/// told to come again after a second have been here again by then.
const QUIET: Duration = Duration::from_secs(2);
/// After the time that so many bursts take it is tried whether all would be well without shedding: a few clients who ask again at once when
/// they are refused look like a flood. Were it one, no more than one in so many requests would have to wait for a burst.
const TRIED_AFTER: u64 = 200;
/// In place of a moment in [`Work::long_since`]: the queue is shed again as soon as it is long.
const ON_TRIAL: u64 = u64::MAX;
/// How [`Work::slowness`] writes 1.
const ONE: u64 = 1024;

/// The work that waits or runs; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Admission(Arc<Work>);

/// All that is counted is counted without a lock: threads that look at the same moment may admit one too many.
#[derive(Debug)]
struct Work {
    plan: Plan,
    /// The clock of the moments below begins here.
    begun: Instant,
    /// Requests that are admitted and not done.
    n_requests: AtomicUsize,
    /// What they are expected to take one after the other, in microseconds.
    micros: AtomicU64,
    /// How much longer runs take than the plan says, since others run beside them, in parts of [`ONE`].
    slowness: AtomicU64,
    /// Since when the queue has been long, in microseconds; 0 while it is not, or [`ON_TRIAL`].
    long_since: AtomicU64,
    /// Since when the queue has been shed; 0 while it is not.
    shed_since: AtomicU64,
    /// How many were refused, from when on.
    n_shed: AtomicUsize,
    counted_from: AtomicU64,
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
            begun: Instant::now(),
            n_requests: AtomicUsize::new(0),
            micros: AtomicU64::new(0),
            slowness: AtomicU64::new(ONE),
            long_since: AtomicU64::new(0),
            shed_since: AtomicU64::new(0),
            n_shed: AtomicUsize::new(0),
            counted_from: AtomicU64::new(0),
        }))
    }

    /// Lets a request of so many rows wait, unless that would be too long.
    pub(super) fn admit(&self, n_rows: usize) -> Result<Ticket, EngineError> {
        self.admit_at(self.0.begun.elapsed(), n_rows)
    }

    fn admit_at(&self, now: Duration, n_rows: usize) -> Result<Ticket, EngineError> {
        let work = &self.0;
        let own = work.micros(n_rows);
        if work.refuses(now, own) {
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

    /// Whether not even a request of one row is admitted. Counts as a refusal.
    pub(super) fn refuses_one(&self) -> bool {
        self.0.refuses(self.0.begun.elapsed(), self.0.micros(1))
    }

    /// Whether more requests are there than each predictor can run now and next.
    pub(super) fn is_queue_standing(&self) -> bool {
        self.n_requests() > 2 * self.0.plan.threads
    }

    /// Whether the queue is being shed, as far as is known.
    pub(super) fn is_shedding(&self) -> bool {
        self.0.shed_since.load(Ordering::Relaxed) != 0
    }

    /// Learns how long a run of requests of so many rows took.
    pub(super) fn observe(&self, n_rows: impl Iterator<Item = usize>, took: Duration) {
        let planned: u64 = n_rows.map(|n_rows| self.0.planned(n_rows)).sum();
        let slowness = whole_micros(took).saturating_mul(ONE) / planned.max(1);
        // A mean of about the last eight; two threads that learn at the same time may forget one of them.
        let mean = self.0.slowness.load(Ordering::Relaxed);
        let mean = (mean.saturating_mul(7).saturating_add(slowness) / 8).max(1);
        self.0.slowness.store(mean, Ordering::Relaxed);
    }
}

fn whole_micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Work {
    /// What so many rows take by the plan, in microseconds. A row takes at least one, so that there is something to multiply.
    fn planned(&self, n_rows: usize) -> u64 {
        let micros = whole_micros(self.plan.cost(n_rows));
        micros.max(u64::try_from(n_rows).unwrap_or(u64::MAX)).max(1)
    }

    /// The same as runs are at present.
    fn micros(&self, n_rows: usize) -> u64 {
        let slowness = self.slowness.load(Ordering::Relaxed);
        (self.planned(n_rows).saturating_mul(slowness) / ONE).max(1)
    }

    /// Whether a request that takes `own` microseconds itself would have to wait too long.
    fn refuses(&self, now: Duration, own: u64) -> bool {
        // 0 means never.
        let now = whole_micros(now).max(1);
        let n_waiting = self.n_requests.load(Ordering::Relaxed).checked_sub(self.plan.threads);
        let Some(n_waiting) = n_waiting else {
            // While a predictor is free nobody waits, whatever the others do.
            self.set_short(true);
            return false;
        };
        let n_threads = u64::try_from(self.plan.threads).unwrap_or(u64::MAX).max(1);
        let wait = self.micros.load(Ordering::Relaxed) / n_threads;
        // Half of its own time more than what runs, so that there is always one that waits for its turn.
        let hardly = own.saturating_add(own / 2).max(whole_micros(LEAST));
        if self.sheds(now, own) {
            let refused = wait > hardly;
            if refused {
                self.count_shed(now);
            }
            return refused;
        }
        let at_most = self.plan.max_wait.map_or(u64::MAX, whole_micros);
        let burst = self.plan.burst;
        let is_too_long = wait > at_most;
        if is_too_long || (n_waiting > burst && wait > hardly) {
            let since = self.long_since.load(Ordering::Relaxed);
            if since == 0 {
                self.long_since.store(now, Ordering::Relaxed);
            } else if since == ON_TRIAL || now.saturating_sub(since) >= whole_micros(INTERVAL) {
                self.n_shed.store(0, Ordering::Relaxed);
                self.counted_from.store(now, Ordering::Relaxed);
                self.shed_since.store(now, Ordering::Relaxed);
                return true;
            }
        } else if n_waiting <= burst / 2 && wait <= at_most / 2 {
            // Half, as a queue that is filled up to its limit is below it whenever a request is done.
            self.set_short(false);
        }
        is_too_long
    }

    /// The queue is not long; nor was it on trial, when it is empty.
    fn set_short(&self, is_empty: bool) {
        let since = self.long_since.load(Ordering::Relaxed);
        if since != 0 && (is_empty || since != ON_TRIAL) {
            self.long_since.store(0, Ordering::Relaxed);
        }
    }

    /// Whether the queue is being shed at the moment.
    fn sheds(&self, now: u64, own: u64) -> bool {
        let since = self.shed_since.load(Ordering::Relaxed);
        if since == 0 {
            return false;
        }
        let per_thread = self.plan.burst / self.plan.threads.max(1);
        let n_runs = u64::try_from(per_thread).unwrap_or(u64::MAX);
        let burst = own.saturating_mul(n_runs);
        let quiet = now.saturating_sub(self.counted_from.load(Ordering::Relaxed));
        let is_over = quiet > burst.max(whole_micros(QUIET));
        let is_on_trial =
            now.saturating_sub(since) > burst.saturating_mul(TRIED_AFTER).max(whole_micros(QUIET));
        if is_over || is_on_trial {
            self.long_since.store(if is_over { 0 } else { ON_TRIAL }, Ordering::Relaxed);
            self.shed_since.store(0, Ordering::Relaxed);
            return false;
        }
        true
    }

    fn count_shed(&self, now: u64) {
        if self.n_shed.fetch_add(1, Ordering::Relaxed) >= self.plan.burst {
            self.n_shed.store(0, Ordering::Relaxed);
            self.counted_from.store(now, Ordering::Relaxed);
        }
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
    use std::collections::VecDeque;

    use super::*;
    use crate::engine::Lane;

    /// Two threads, rows of ten milliseconds.
    fn plan() -> Plan {
        let row_cost = Duration::from_millis(10);
        Plan { row_cost, batch_row_cost: row_cost, ..Plan::new(Lane::Worker, 2, 256) }
    }

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// What happened to the requests of a simulated load: how long each accepted one took, when, and when others were refused.
    #[derive(Default)]
    struct Seen {
        accepted: Vec<(Duration, Duration)>,
        refused: Vec<Duration>,
    }

    impl Seen {
        /// The longest that a request took that came in this time.
        fn slowest(&self, from: Duration, to: Duration) -> Duration {
            let within = self.accepted.iter().filter(|(at, _)| (from..to).contains(at));
            within.map(|(_, took)| *took).max().unwrap_or_default()
        }

        fn n_refused(&self, from: Duration, to: Duration) -> usize {
            self.refused.iter().filter(|at| (from..to).contains(*at)).count()
        }
    }

    /// Two threads that take `cost` for each request, first come, first served, and requests of one row at these moments.
    fn simulate(
        admission: &Admission,
        cost: Duration,
        arrivals: impl Iterator<Item = Duration>,
    ) -> Seen {
        let mut seen = Seen::default();
        let mut free_at = [Duration::ZERO; 2];
        let mut under_way: VecDeque<(Duration, Ticket)> = VecDeque::new();
        for now in arrivals {
            while under_way.front().is_some_and(|(end, _)| *end <= now) {
                under_way.pop_front();
            }
            match admission.admit_at(now, 1) {
                Ok(ticket) => {
                    let thread = free_at.iter_mut().min().unwrap();
                    *thread = (*thread).max(now) + cost;
                    under_way.push_back((*thread, ticket));
                    seen.accepted.push((now, *thread - now));
                }
                Err(_overloaded) => seen.refused.push(now),
            }
        }
        seen
    }

    fn every(gap: Duration, from: Duration, to: Duration) -> impl Iterator<Item = Duration> {
        (0..).map(move |n| from + gap * n).take_while(move |at| *at < to)
    }

    #[test]
    fn bursts_of_few_clients_are_never_refused() {
        let admission = Admission::new(plan());
        // 64 at once, each second; and eight that ask again as soon as they have their answers.
        let bursts = (0..20).flat_map(|second| std::iter::repeat_n(ms(1000 * second), 64));
        assert_eq!(simulate(&admission, ms(10), bursts).refused.len(), 0);
        let mut under_way: VecDeque<Ticket> = VecDeque::new();
        for n in 0..10_000 {
            if under_way.len() == 64 {
                under_way.pop_front();
            }
            under_way.push_back(admission.admit_at(ms(20_000 + 5 * n), 1).unwrap());
        }
    }

    #[test]
    fn a_burst_of_many_clients_is_admitted_as_a_whole() {
        let seen = simulate(&Admission::new(plan()), ms(10), std::iter::repeat_n(ms(50), 250));
        assert_eq!(seen.refused.len(), 0);
    }

    #[test]
    fn at_ten_times_the_capacity_what_is_accepted_takes_three_times_as_long_at_most() {
        // Two threads do a request in 5 ms.
        let (second, end) = (ms(1000), ms(20_000));
        let load = every(Duration::from_micros(500), Duration::ZERO, end);
        let seen = simulate(&Admission::new(plan()), ms(10), load);
        let steady = seen.slowest(2 * second, end);
        assert!(steady <= ms(30), "{steady:?}");
        // Nothing of the capacity is lost.
        let accepted = seen.accepted.iter().filter(|(at, _)| *at >= 2 * second).count();
        assert!((3_500..=3_601).contains(&accepted), "{accepted}");
        // What came before the flood was known to be one waits as a burst does.
        assert!(seen.slowest(Duration::ZERO, 2 * second) < 2 * second);
    }

    #[test]
    fn a_flood_of_long_requests_is_shed_although_few_of_them_wait() {
        // A second each: no more than 20 could wait.
        let plan = Plan { row_cost: ms(1000), max_wait: Some(ms(10_000)), ..plan() };
        let (minute, end) = (ms(60_000), ms(600_000));
        let seen = simulate(&Admission::new(plan), ms(1000), every(ms(50), Duration::ZERO, end));
        assert!(seen.slowest(minute, end) <= ms(3000), "{:?}", seen.slowest(minute, end));
        assert!(seen.n_refused(minute, end) > 9_000);
    }

    /// A thousand clients that all ask at the same moments: between them nothing is refused, and the queue is empty. This was not seen as
    /// one flood.
    #[test]
    fn a_flood_that_comes_in_waves_is_shed() {
        // A hundred times what is done in 250 ms, on average ten times the capacity.
        let waves = (0..80).flat_map(|n| std::iter::repeat_n(ms(250 * n), 500));
        let seen = simulate(&Admission::new(plan()), ms(10), waves);
        assert!(seen.slowest(ms(2000), ms(20_000)) <= ms(30));
    }

    #[test]
    fn when_the_flood_is_over_few_clients_are_admitted_again() {
        let admission = Admission::new(plan());
        let flood = every(Duration::from_micros(500), ms(0), ms(5000));
        assert!(!admission.is_shedding());
        assert!(simulate(&admission, ms(10), flood).refused.len() > 5_000);
        assert!(admission.is_shedding());
        // Twelve at once, again and again, from a second after it on: of the first some are still refused.
        let bursts = (0..40).flat_map(|n| std::iter::repeat_n(ms(6_000 + 250 * n), 12));
        let after = simulate(&admission, ms(10), bursts);
        assert_eq!(after.n_refused(ms(8_500), ms(60_000)), 0, "{:?}", after.refused);
        assert!(!admission.is_shedding());
    }

    #[test]
    fn few_clients_that_ask_again_at_once_when_refused_are_admitted_in_the_end() {
        let admission = Admission::new(plan());
        let flood = every(Duration::from_micros(500), ms(0), ms(5000));
        simulate(&admission, ms(10), flood);
        // Eight clients; each asks again 1 ms after it was refused, and at once when it has its answer.
        let mut free_at = [ms(5000); 2];
        let mut under_way: VecDeque<(Duration, Ticket)> = VecDeque::new();
        let mut last_refused = Duration::ZERO;
        for now in (5_000..200_000).map(ms) {
            while under_way.front().is_some_and(|(end, _)| *end <= now) {
                under_way.pop_front();
            }
            for _ in under_way.len()..8 {
                if let Ok(ticket) = admission.admit_at(now, 1) {
                    let thread = free_at.iter_mut().min().unwrap();
                    *thread = (*thread).max(now) + ms(10);
                    under_way.push_back((*thread, ticket));
                } else {
                    last_refused = now;
                }
            }
        }
        assert!((ms(6_000)..ms(80_000)).contains(&last_refused), "{last_refused:?}");
    }

    #[test]
    fn that_it_is_tried_whether_the_flood_is_over_costs_less_than_one_request_in_a_hundred() {
        let (start, end) = (ms(2000), ms(400_000));
        let load = every(Duration::from_micros(500), Duration::ZERO, end);
        let seen = simulate(&Admission::new(plan()), ms(10), load);
        let steady: Vec<_> = seen.accepted.iter().filter(|(at, _)| *at >= start).collect();
        let n_slow = steady.iter().filter(|(_, took)| *took > ms(30)).count();
        assert!(n_slow > 0 && n_slow * 100 < steady.len(), "{n_slow} of {}", steady.len());
    }

    #[test]
    fn a_load_below_the_capacity_is_never_refused() {
        let load = every(Duration::from_micros(5_500), Duration::ZERO, ms(60_000));
        let seen = simulate(&Admission::new(plan()), ms(10), load);
        assert_eq!((seen.refused.len(), seen.slowest(ms(0), ms(60_000))), (0, ms(10)));
    }

    #[test]
    fn nobody_waits_longer_than_the_setting_says() {
        let admission = Admission::new(Plan { max_wait: Some(ms(50)), ..plan() });
        let tickets: Vec<_> = (0..100).map_while(|_| admission.admit_at(ms(1), 1).ok()).collect();
        // Two run, nine wait, and the next would wait for 55 ms.
        assert_eq!(tickets.len(), 11);
        assert!(admission.is_queue_standing());
        assert!(admission.refuses_one());
        drop(tickets);
        assert!(!admission.refuses_one());
        // Two run, two wait.
        let tickets: Vec<_> = (0..4).map_while(|_| admission.admit_at(ms(1), 1).ok()).collect();
        assert!(tickets.len() == 4 && !admission.is_queue_standing());
    }

    #[test]
    fn while_a_thread_is_free_nobody_is_refused() {
        let admission = Admission::new(Plan { max_wait: Some(ms(50)), ..plan() });
        let long = admission.admit(10_000).unwrap();
        assert!(!admission.refuses_one());
        let other = admission.admit(1).unwrap();
        assert!(admission.refuses_one());
        drop((long, other));
    }

    #[test]
    fn what_runs_really_take_is_learnt() {
        let plan = Plan { row_cost: ms(0), max_wait: Some(ms(20)), ..plan() };
        let admission = Admission::new(plan);
        let fill =
            || -> Vec<_> { (0..1000).map_while(|_| admission.admit_at(ms(1), 1).ok()).collect() };
        assert_eq!(fill().len(), 1000);
        for _ in 0..100 {
            admission.observe([1, 1].into_iter(), ms(20));
        }
        assert_eq!(fill().len(), 5);
        for _ in 0..200 {
            admission.observe(std::iter::once(1), Duration::from_micros(1));
        }
        assert!(fill().len() > 100);
    }
}
