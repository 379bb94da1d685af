//! The prediction log: one JSON object a line for each request, through `tracing` (target `prediction`), never dropped silently.
//!
//! A request serialises its record once and emits it as a `tracing` event; [`PredictionLayer`] appends it to a buffer that a thread of its
//! own writes out in large pieces, at most a few milliseconds later. When the writer falls behind, requests wait: the log slows the server
//! down, it does not lose a line.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

/// The target of a record's event.
pub const TARGET: &str = "prediction";

/// How long records are gathered before they are written: waking a thread and writing for each costs more than the record.
const GATHERED_FOR: Duration = Duration::from_millis(5);
/// So many bytes are written without waiting for more.
const ENOUGH_BYTES: usize = 256 * 1024;
/// While so many bytes wait, so do requests: records may be large.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Where records go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Standard output.
    Stdout,
    /// Nowhere.
    None,
    /// A file that is appended to.
    File(PathBuf),
    /// Memory, for tests.
    Memory(Memory),
}

/// Records kept in memory, for tests.
#[derive(Debug, Clone, Default)]
pub struct Memory(Arc<Mutex<Vec<u8>>>);

impl PartialEq for Memory {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Memory {}

impl Memory {
    /// What has been written so far.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }
}

impl Sink {
    /// The sink of the setting `log.predictions`.
    #[must_use]
    pub fn from_setting(setting: &str) -> Self {
        match setting {
            "stdout" => Self::Stdout,
            "none" => Self::None,
            path => Self::File(PathBuf::from(path)),
        }
    }

    fn open(&self) -> std::io::Result<Option<Box<dyn Write + Send>>> {
        Ok(match self {
            Self::Stdout => Some(Box::new(std::io::stdout())),
            Self::None => None,
            Self::File(path) => {
                Some(Box::new(OpenOptions::new().create(true).append(true).open(path)?))
            }
            Self::Memory(memory) => {
                struct Appender(Memory);
                impl Write for Appender {
                    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                        self.0
                            .0
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .extend_from_slice(bytes);
                        Ok(bytes.len())
                    }
                    fn flush(&mut self) -> std::io::Result<()> {
                        Ok(())
                    }
                }
                Some(Box::new(Appender(memory.clone())))
            }
        })
    }
}

/// Emits a record: a JSON object on one line, without the line break.
pub fn emit(record: &str, is_failure: bool) {
    if is_failure {
        tracing::event!(target: "prediction", Level::ERROR, record);
    } else {
        tracing::event!(target: "prediction", Level::INFO, record);
    }
}

/// What has become of records so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Records that are written.
    pub n_written: u64,
    /// Records that were not taken, as the queue was full.
    pub n_dropped: u64,
    /// Records that could not be written, because the sink failed.
    pub n_lost: u64,
    /// Bytes that are written.
    pub n_bytes: u64,
    /// Attempts to write that failed.
    pub n_failures: u64,
    /// Files that were put aside.
    pub n_rotations: u64,
    /// Records that are not written yet.
    pub n_waiting: u64,
    /// How long the oldest of them has been waiting.
    pub lag: Duration,
}

#[derive(Debug, Default)]
struct Queue {
    buffer: Vec<u8>,
    n_records: usize,
    /// Records in the hands of the writer.
    n_writing: usize,
    stats: Stats,
    /// When the oldest of the records that wait was appended, and of those in the hands of the writer.
    oldest: Option<Instant>,
    oldest_writing: Option<Instant>,
    writer: Doing,
    /// Somebody waits for the records to be written.
    is_urgent: bool,
    closed: bool,
}

/// What the writer does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// It writes, or has been woken.
    #[default]
    Working,
    /// It waits for a first record.
    Idle,
    /// It has records and waits for more of them.
    Gathering,
}

impl Queue {
    /// Whether the writer must be woken now. Whoever is told so has to do it.
    fn must_wake(&mut self, capacity: usize) -> bool {
        let must = match self.writer {
            Doing::Working => false,
            Doing::Idle => self.n_records > 0,
            Doing::Gathering => !self.gathers_on(capacity),
        };
        if must {
            self.writer = Doing::Working;
        }
        must
    }

    /// Whether the writer may wait for more records.
    fn gathers_on(&self, capacity: usize) -> bool {
        !self.is_urgent
            && !self.closed
            && self.buffer.len() < ENOUGH_BYTES
            && !self.is_full(capacity)
    }

    /// Whether requests have to wait. One record is always taken, of whatever size.
    fn is_full(&self, capacity: usize) -> bool {
        self.n_records >= capacity || self.buffer.len() >= MOST_BYTES
    }
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// There is something to write.
    filled: Condvar,
    /// There is room again, or everything is written.
    emptied: Condvar,
    capacity: usize,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic while the lock is held cannot leave a torn record: a record is appended by one call.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A handle to the writer; cheap to clone.
#[derive(Debug, Clone)]
pub struct PredictionLog {
    shared: Arc<Shared>,
}

/// Ends the writer when dropped, after it has written everything.
#[derive(Debug)]
pub struct Writer {
    log: PredictionLog,
    thread: Option<JoinHandle<()>>,
}

impl PredictionLog {
    /// Opens the sink and starts the thread that writes to it; `capacity` records may wait.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread not started.
    pub fn start(sink: &Sink, capacity: usize) -> std::io::Result<(Self, Writer)> {
        let output = sink.open()?;
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { closed: output.is_none(), ..Queue::default() }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            capacity,
        });
        let log = Self { shared: Arc::clone(&shared) };
        let thread = match output {
            None => None,
            Some(output) => Some(
                std::thread::Builder::new()
                    .name("prediction-log".to_owned())
                    .spawn(move || write_out(&shared, output))?,
            ),
        };
        Ok((log.clone(), Writer { log, thread }))
    }

    /// Appends a record; waits while the queue is full.
    fn append(&self, record: &str) {
        let mut queue = self.shared.lock();
        if queue.closed {
            return;
        }
        if queue.is_full(self.shared.capacity) {
            drop(queue);
            self.wait_for_room();
            queue = self.shared.lock();
        }
        if queue.n_records == 0 {
            queue.oldest = Some(Instant::now());
        }
        queue.buffer.extend_from_slice(record.as_bytes());
        queue.buffer.push(b'\n');
        queue.n_records += 1;
        let must_wake = queue.must_wake(self.shared.capacity);
        drop(queue);
        if must_wake {
            self.shared.filled.notify_one();
        }
    }

    #[cold]
    fn wait_for_room(&self) {
        let wait = || {
            let mut queue = self.shared.lock();
            while queue.is_full(self.shared.capacity) && !queue.closed {
                queue = self.shared.emptied.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
        };
        // The other requests of this thread, health checks among them, go on in another one meanwhile.
        match tokio::runtime::Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(tokio::runtime::RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
            _ => wait(),
        }
    }

    /// Records that could not be written, because the sink failed.
    #[must_use]
    pub fn n_lost(&self) -> u64 {
        self.shared.lock().stats.n_lost
    }

    /// What has become of records so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let queue = self.shared.lock();
        let oldest = queue.oldest_writing.or(queue.oldest);
        Stats {
            n_waiting: (queue.n_records + queue.n_writing) as u64,
            lag: oldest.map(|oldest| oldest.elapsed()).unwrap_or_default(),
            ..queue.stats
        }
    }

    /// Waits until what has been emitted is written, at most so long. Returns whether it is.
    #[must_use]
    pub fn flush(&self, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        let mut queue = self.shared.lock();
        loop {
            if queue.n_records == 0 && queue.n_writing == 0 {
                return true;
            }
            queue.is_urgent = true;
            if queue.must_wake(self.shared.capacity) {
                self.shared.filled.notify_one();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue = self
                .shared
                .emptied
                .wait_timeout(queue, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        {
            let mut queue = self.log.shared.lock();
            queue.closed = true;
            self.log.shared.filled.notify_all();
            self.log.shared.emptied.notify_all();
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes the prediction log has panicked");
        }
    }
}

fn write_out(shared: &Shared, mut output: Box<dyn Write + Send>) {
    let mut writing = Vec::new();
    let mut last_complaint: Option<Instant> = None;
    loop {
        let n_records = {
            let mut queue = shared.lock();
            queue.n_writing = 0;
            queue.oldest_writing = None;
            shared.emptied.notify_all();
            while queue.n_records == 0 {
                if queue.closed {
                    return;
                }
                queue.writer = Doing::Idle;
                queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.gathers_on(shared.capacity) {
                queue.writer = Doing::Gathering;
                let more = |queue: &mut Queue| queue.gathers_on(shared.capacity);
                queue = shared
                    .filled
                    .wait_timeout_while(queue, GATHERED_FOR, more)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
            }
            queue.writer = Doing::Working;
            queue.is_urgent = false;
            std::mem::swap(&mut queue.buffer, &mut writing);
            queue.n_writing = std::mem::take(&mut queue.n_records);
            queue.oldest_writing = queue.oldest.take();
            queue.n_writing
        };
        shared.emptied.notify_all();
        if let Err(error) = output.write_all(&writing).and_then(|()| output.flush()) {
            let mut queue = shared.lock();
            queue.stats.n_failures += 1;
            queue.stats.n_lost += n_records as u64;
            drop(queue);
            if last_complaint.is_none_or(|last| last.elapsed() > Duration::from_secs(10)) {
                last_complaint = Some(Instant::now());
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    records = n_records,
                    "the prediction log cannot be written; records are lost"
                );
            }
        } else {
            let mut queue = shared.lock();
            queue.stats.n_written += n_records as u64;
            queue.stats.n_bytes += writing.len() as u64;
        }
        writing.clear();
        // What a busy moment needed is not kept for ever.
        writing.shrink_to(4 * ENOUGH_BYTES);
    }
}

/// Sends the events of the target `prediction` to the log.
#[derive(Debug)]
pub struct PredictionLayer {
    log: PredictionLog,
}

impl PredictionLayer {
    /// A layer that writes to this log.
    #[must_use]
    pub fn new(log: PredictionLog) -> Self {
        Self { log }
    }
}

impl<S: Subscriber> Layer<S> for PredictionLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        struct Record<'a>(&'a PredictionLog);
        impl Visit for Record<'_> {
            fn record_str(&mut self, field: &Field, value: &str) {
                if field.name() == "record" {
                    self.0.append(value);
                }
            }
            fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
        }
        if event.metadata().target() == TARGET {
            event.record(&mut Record(&self.log));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn a_full_queue_waits_and_loses_nothing() {
        let memory = Memory::default();
        let (log, writer) = PredictionLog::start(&Sink::Memory(memory.clone()), 2).unwrap();
        let subscriber = tracing_subscriber::registry().with(PredictionLayer::new(log.clone()));
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..1000 {
                emit(&format!("{{\"number\":{number}}}"), false);
            }
        });
        assert!(log.flush(Duration::from_secs(5)));
        drop(writer);
        let expected: Vec<String> =
            (0..1000).map(|number| format!("{{\"number\":{number}}}")).collect();
        assert_eq!(memory.text().lines().collect::<Vec<_>>(), expected);
        assert_eq!(log.n_lost(), 0);
    }

    /// 8,192 records of a megabyte each would be eight gigabytes.
    #[test]
    fn large_records_wait_by_their_size_and_none_is_lost() {
        let memory = Memory::default();
        let (log, writer) = PredictionLog::start(&Sink::Memory(memory.clone()), 8192).unwrap();
        let record = "x".repeat(MOST_BYTES / 2);
        for _ in 0..6 {
            log.append(&record);
            assert!(log.shared.lock().buffer.len() <= MOST_BYTES + record.len());
        }
        assert!(log.flush(Duration::from_secs(60)));
        drop(writer);
        assert_eq!(memory.text().lines().filter(|line| *line == record).count(), 6);
    }
}
