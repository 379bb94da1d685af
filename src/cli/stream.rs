//! Work that goes on in all cores and comes out in order, and what ends it early.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{RecvTimeoutError, Sender, bounded, unbounded};

/// How long a thread waits before it looks whether it is to stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// How work came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Everything is done.
    Done,
    /// Whoever took the results wanted no more.
    Enough,
    /// A signal came.
    Interrupted,
}

/// Whether more results are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    GoOn,
    Enough,
}

/// A thread ended before its work: a fault of this program.
#[derive(Debug, thiserror::Error)]
#[error("a thread that predicts has ended")]
pub(super) struct ThreadEnded;

/// Jobs that may be under way for each thread: so many are in memory.
const AHEAD: usize = 8;

/// Runs `jobs` in one thread and each worker in one of its own; `take` gets the results in the order of the jobs, in this thread.
///
/// Memory stays bounded: a job is fetched only when an earlier result has been taken. All workers have ended when this returns; the thread
/// of the jobs may still wait for its input.
pub(super) fn in_order<J, R, W>(
    jobs: impl Iterator<Item = J> + Send + 'static,
    workers: Vec<W>,
    interrupt: &Interrupt,
    mut take: impl FnMut(R) -> anyhow::Result<Flow>,
) -> anyhow::Result<End>
where
    J: Send + 'static,
    R: Send + 'static,
    W: FnMut(J) -> R + Send + 'static,
{
    let n_jobs = AHEAD * workers.len().max(1);
    let (permit, permits) = unbounded();
    for _ in 0..n_jobs {
        let _receiver_is_here = permit.send(());
    }
    let (job_sender, job_receiver) = bounded::<(u64, J)>(n_jobs);
    let (result_sender, results) = unbounded::<(u64, R)>();
    let cancelled = Arc::new(AtomicBool::new(false));
    std::thread::Builder::new().name("read".to_owned()).spawn(move || {
        for numbered in (0..).zip(jobs) {
            if permits.recv().is_err() || job_sender.send(numbered).is_err() {
                return;
            }
        }
    })?;
    let mut threads = Vec::new();
    for (at, mut worker) in workers.into_iter().enumerate() {
        let (jobs, results) = (job_receiver.clone(), result_sender.clone());
        let cancelled = Arc::clone(&cancelled);
        let work = move || loop {
            if cancelled.load(Ordering::Relaxed) {
                return;
            }
            match jobs.recv_timeout(PATIENCE) {
                Ok((number, job)) => {
                    if results.send((number, worker(job))).is_err() {
                        return;
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        };
        threads.push(std::thread::Builder::new().name(format!("predict-{at}")).spawn(work)?);
    }
    drop((job_receiver, result_sender));
    let mut next = 0;
    let mut early = BTreeMap::new();
    let end = loop {
        if interrupt.has_come() {
            break Ok(End::Interrupted);
        }
        match results.recv_timeout(PATIENCE) {
            Ok((number, result)) => {
                early.insert(number, result);
            }
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) if early.is_empty() => break Ok(End::Done),
            Err(RecvTimeoutError::Disconnected) => break Err(ThreadEnded.into()),
        }
        match take_all(&mut early, &mut next, &permit, &mut take) {
            Ok(Flow::GoOn) => {}
            Ok(Flow::Enough) => break Ok(End::Enough),
            Err(error) => break Err(error),
        }
    };
    cancelled.store(true, Ordering::Relaxed);
    drop((permit, results));
    let mut ended = Ok(());
    for thread in threads {
        ended = thread.join().map_err(|_panicked| ThreadEnded).and(ended);
    }
    match end {
        Ok(end) => ended.map(|()| end).map_err(Into::into),
        Err(error) => Err(error),
    }
}

/// Hands over the results whose turn it is.
fn take_all<R>(
    early: &mut BTreeMap<u64, R>,
    next: &mut u64,
    permit: &Sender<()>,
    take: &mut impl FnMut(R) -> anyhow::Result<Flow>,
) -> anyhow::Result<Flow> {
    while let Some(result) = early.remove(next) {
        *next += 1;
        if take(result)? == Flow::Enough {
            return Ok(Flow::Enough);
        }
        let _reader_has_ended = permit.send(());
    }
    Ok(Flow::GoOn)
}

/// The exit code of a program that a signal ended, as a shell counts it for Ctrl-C.
pub(super) const INTERRUPTED: u8 = 130;

/// Whether Ctrl-C or SIGTERM has come, and the files that must not be left behind.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt {
    has_come: Arc<AtomicBool>,
    partial: Arc<Mutex<Vec<PathBuf>>>,
}

impl Interrupt {
    /// From here on signals do not end the process at once: work is stopped in an orderly way. Where that takes longer than two seconds, or a
    /// second signal comes, half-written files are removed and the process ends.
    pub(super) fn listen() -> std::io::Result<Self> {
        let interrupt = Self::default();
        let of_thread = interrupt.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async move {
                use tokio::signal::unix::{SignalKind, signal};
                let (Ok(mut interrupted), Ok(mut terminated)) =
                    (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
                else {
                    return;
                };
                tokio::select! { _ = interrupted.recv() => {}, _ = terminated.recv() => {} }
                of_thread.has_come.store(true, Ordering::Relaxed);
                let patience = tokio::time::sleep(Duration::from_secs(2));
                tokio::select! {
                    _ = interrupted.recv() => {}, _ = terminated.recv() => {}, () = patience => {}
                }
                // Held to the end, so that nothing half becomes a result meanwhile.
                let partial = of_thread.partial.lock().unwrap_or_else(PoisonError::into_inner);
                for path in partial.iter() {
                    let _gone = std::fs::remove_file(path);
                }
                #[expect(
                    clippy::disallowed_methods,
                    reason = "the main thread is stuck in a write or a read"
                )]
                std::process::exit(i32::from(INTERRUPTED));
            });
        })?;
        Ok(interrupt)
    }

    /// Whether a signal has come.
    pub(super) fn has_come(&self) -> bool {
        self.has_come.load(Ordering::Relaxed)
    }

    /// Notes a file that is being written.
    pub(super) fn begin(&self, path: PathBuf) {
        self.partial.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }

    /// Does the last thing with a file that is being written: renames or removes it.
    pub(super) fn end<T>(&self, path: &std::path::Path, last: impl FnOnce() -> T) -> T {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        partial.retain(|known| known != path);
        last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workers(n: usize) -> Vec<impl FnMut(u64) -> u64 + Send + 'static> {
        let work = |job: u64| {
            // Later jobs end earlier.
            std::thread::sleep(Duration::from_micros(500 - (job * 37) % 500));
            job * job
        };
        (0..n).map(|_| work).collect()
    }

    #[test]
    fn results_come_in_the_order_of_the_jobs() {
        let mut seen = Vec::new();
        let end = in_order(0..200, workers(4), &Interrupt::default(), |result: u64| {
            seen.push(result);
            Ok(Flow::GoOn)
        });
        assert_eq!(end.unwrap(), End::Done);
        assert_eq!(seen, (0..200).map(|job| job * job).collect::<Vec<_>>());
    }

    #[test]
    fn work_ends_when_no_more_is_wanted_or_something_fails() {
        let mut n = 0;
        let end = in_order(0.., workers(2), &Interrupt::default(), |_: u64| {
            n += 1;
            Ok(if n == 10 { Flow::Enough } else { Flow::GoOn })
        });
        assert_eq!((end.unwrap(), n), (End::Enough, 10));
        let end = in_order(0.., workers(2), &Interrupt::default(), |_: u64| anyhow::bail!("full"));
        assert_eq!(end.unwrap_err().to_string(), "full");
        let interrupt = Interrupt::default();
        interrupt.has_come.store(true, Ordering::Relaxed);
        let end = in_order(0.., workers(2), &interrupt, |_: u64| Ok(Flow::GoOn));
        assert_eq!(end.unwrap(), End::Interrupted);
    }

    #[test]
    fn no_more_jobs_are_fetched_than_may_wait() {
        let fetched = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = Arc::clone(&fetched);
        let jobs = (0..1000_u64).inspect(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let mut taken = 0;
        let end = in_order(jobs, workers(2), &Interrupt::default(), |_: u64| {
            taken += 1;
            assert!(fetched.load(Ordering::Relaxed) <= taken + 2 * AHEAD + 1);
            Ok(Flow::GoOn)
        });
        assert_eq!(end.unwrap(), End::Done);
    }

    #[test]
    fn a_worker_that_panics_is_said() {
        let worker = |job: u64| {
            assert_ne!(job, 5, "on purpose");
            job
        };
        let end = in_order(0..100, vec![worker], &Interrupt::default(), |_: u64| Ok(Flow::GoOn));
        assert!(end.unwrap_err().is::<ThreadEnded>());
    }
}
