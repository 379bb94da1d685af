//! The prediction log: one JSON object a line for each request, through `tracing` (target `prediction`), never dropped silently.
//!
//! A request serialises its record once and emits it as a `tracing` event; [`PredictionLayer`] appends it to a buffer that a thread of its
//! own writes out in large pieces, at most a few milliseconds later. When the writer falls behind, requests wait: the log slows the server
//! down, it does not lose a line; unless it was told to drop records and count them. What the sink refuses is tried again for a while.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::output::Output;

/// The target of a record's event.
pub const TARGET: &str = "prediction";

/// How long records are gathered before they are written: waking a thread and writing for each costs more than the record.
const GATHERED_FOR: Duration = Duration::from_millis(5);
/// So many bytes are written without waiting for more.
const ENOUGH_BYTES: usize = 256 * 1024;
/// A buffer up to this size is kept: a record of a thousand rows finds room, and new memory costs more than copying into it. A larger one is
/// kept as long as it is needed.
const KEPT_BYTES: usize = 4 * 1024 * 1024;
/// After so long without a record no larger one is needed.
const KEPT_FOR: Duration = Duration::from_secs(1);
/// While so many bytes wait, so do requests: records may be large.
const MOST_BYTES: usize = 8 * 1024 * 1024;
/// Between two attempts to write what the sink has refused.
const RETRY_EVERY: Duration = Duration::from_millis(100);
/// The same fault is told of only so often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

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

    pub(super) fn append(&self, records: &[u8]) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(records);
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
}

/// When files are put aside, and what becomes of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rotation {
    /// A file that would become larger is put aside.
    pub max_bytes: Option<u64>,
    /// A file that is older is put aside, when a record is written.
    pub max_age: Option<Duration>,
    /// So many files that were put aside are kept; 0 keeps all.
    pub keep: usize,
    /// Whether they are compressed.
    pub compress: bool,
}

/// What becomes of a record when the queue is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// Its request waits.
    #[default]
    Block,
    /// It is dropped, and counted.
    Drop,
}

/// How records are kept until they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Records that may wait.
    pub capacity: usize,
    /// What becomes of more.
    pub policy: Policy,
    /// How long it is tried again to write records that the sink refuses, before they are given up.
    pub retry: Duration,
    /// When files are put aside.
    pub rotation: Rotation,
}

impl Default for Options {
    fn default() -> Self {
        let (policy, rotation) = (Policy::default(), Rotation::default());
        Self { capacity: 8192, policy, retry: Duration::from_secs(10), rotation }
    }
}

/// Emits a record: a JSON object on one line in UTF-8, without the line break.
pub fn emit(record: &[u8], is_failure: bool) {
    if is_failure {
        tracing::event!(target: "prediction", Level::ERROR, record);
    } else {
        tracing::event!(target: "prediction", Level::INFO, record);
    }
}

/// A record around inputs that are shared, as they came: they are copied once, to where they wait to be written.
#[derive(Debug)]
pub struct Pieces {
    /// All but the inputs.
    pub text: Vec<u8>,
    /// Where in it they belong.
    pub at: usize,
    /// The inputs.
    pub inputs: Bytes,
}

impl std::fmt::Display for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.parts().iter().try_for_each(|piece| f.write_str(&String::from_utf8_lossy(piece)))
    }
}

/// An error is the one kind of value that a visitor of an event can have back as what it was.
impl std::error::Error for Pieces {}

impl Pieces {
    /// In the order in which they are written.
    fn parts(&self) -> [&[u8]; 3] {
        let (head, tail) = self.text.split_at(self.at.min(self.text.len()));
        [head, &self.inputs, tail]
    }

    /// Emits the record, as [`emit`] does.
    pub fn emit(&self, is_failure: bool) {
        let record: &(dyn std::error::Error + 'static) = self;
        if is_failure {
            tracing::event!(target: "prediction", Level::ERROR, record);
        } else {
            tracing::event!(target: "prediction", Level::INFO, record);
        }
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
    /// The file is to be opened anew.
    must_reopen: bool,
    /// When it was last told that records are dropped, and how many had been.
    complained: Option<(Instant, u64)>,
}

/// What the writer does.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// It writes, or has been woken.
    #[default]
    Working,
    /// It waits for a first record.
    Idle,
    /// It waits a moment for records, whether it has some or none.
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
    policy: Policy,
    retry: Duration,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic while the lock is held cannot leave a torn record: a record is appended by one call.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for records to come together, for a while or until there are enough.
    fn gather<'a>(&self, mut queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
        queue.writer = Doing::Gathering;
        let more = |queue: &mut Queue| queue.gathers_on(self.capacity);
        let waited = self.filled.wait_timeout_while(queue, GATHERED_FOR, more);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until there may be a record. What a busy moment needed is given back when none comes for a while.
    fn wait_for_record<'a>(
        &self,
        queue: MutexGuard<'a, Queue>,
        writing: &mut Vec<u8>,
    ) -> MutexGuard<'a, Queue> {
        if queue.buffer.capacity().max(writing.capacity()) <= KEPT_BYTES {
            return self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let waited = self.filled.wait_timeout(queue, KEPT_FOR);
        let (mut queue, waited) = waited.unwrap_or_else(PoisonError::into_inner);
        if waited.timed_out() && queue.n_records == 0 {
            queue.buffer = Vec::new();
            *writing = Vec::new();
        }
        queue
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
        Self::start_with(sink, &Options { capacity, ..Options::default() })
    }

    /// As [`Self::start`], with everything that can be chosen.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_with(sink: &Sink, options: &Options) -> std::io::Result<(Self, Writer)> {
        let output = Output::open(sink, &options.rotation)?;
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue { closed: output.is_none(), ..Queue::default() }),
            filled: Condvar::new(),
            emptied: Condvar::new(),
            capacity: options.capacity,
            policy: options.policy,
            retry: options.retry,
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

    /// Has the file opened anew before the next record is written: somebody has put it aside.
    pub fn reopen(&self) {
        self.shared.lock().must_reopen = true;
    }

    /// Appends a record. While the queue is full it waits, or drops the record, by the policy.
    fn append(&self, pieces: &[&[u8]]) {
        let mut queue = self.shared.lock();
        if queue.closed {
            return;
        }
        if queue.is_full(self.shared.capacity) {
            if self.shared.policy == Policy::Drop {
                drop_record(queue);
                return;
            }
            drop(queue);
            self.wait_for_room();
            queue = self.shared.lock();
        }
        if queue.n_records == 0 {
            queue.oldest = Some(Instant::now());
        }
        pieces.iter().for_each(|piece| queue.buffer.extend_from_slice(piece));
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

/// Counts a record that is not taken, and tells of it from time to time.
#[cold]
fn drop_record(mut queue: MutexGuard<'_, Queue>) {
    queue.stats.n_dropped += 1;
    let so_far = queue.stats.n_dropped;
    let before = queue.complained;
    if before.is_some_and(|(last, _)| last.elapsed() < COMPLAIN_EVERY) {
        return;
    }
    queue.complained = Some((Instant::now(), so_far));
    drop(queue);
    let records = so_far - before.map_or(0, |(_, before)| before);
    tracing::error!(
        log.dropped_records = records,
        "the prediction log does not keep up; records are dropped"
    );
}

fn write_out(shared: &Shared, mut output: Output) {
    let mut writing = Vec::new();
    let mut trouble = Trouble::default();
    loop {
        let n_records = {
            let mut queue = shared.lock();
            queue.n_writing = 0;
            queue.oldest_writing = None;
            shared.emptied.notify_all();
            // After a record there is mostly another soon: nobody has to wake the writer for that.
            queue = shared.gather(queue);
            while queue.n_records == 0 {
                if queue.closed {
                    return;
                }
                queue.writer = Doing::Idle;
                queue = shared.wait_for_record(queue, &mut writing);
                if queue.n_records > 0 {
                    queue = shared.gather(queue);
                }
            }
            queue.writer = Doing::Working;
            queue.is_urgent = false;
            if std::mem::take(&mut queue.must_reopen) {
                output.reopen();
            }
            std::mem::swap(&mut queue.buffer, &mut writing);
            queue.n_writing = std::mem::take(&mut queue.n_records);
            queue.oldest_writing = queue.oldest.take();
            queue.n_writing
        };
        shared.emptied.notify_all();
        write(shared, &mut output, &writing, n_records, &mut trouble);
        if is_too_large(&writing) {
            writing = Vec::new();
        }
        writing.clear();
    }
}

/// Whether a buffer is larger than what is kept, and than what it holds calls for. It is replaced and not made smaller, which would copy it.
fn is_too_large(buffer: &Vec<u8>) -> bool {
    buffer.capacity() > KEPT_BYTES && buffer.len() < buffer.capacity() / 16
}

/// What the writer remembers of a sink that fails.
#[derive(Debug, Default)]
struct Trouble {
    /// Records were given up, and none has been written since: the next are not tried for long.
    has_given_up: bool,
    /// Records given up since that was last told.
    n_lost: u64,
    last_complaint: Option<Instant>,
}

impl Trouble {
    fn complain(&mut self, error: &std::io::Error) {
        if self.last_complaint.is_none_or(|last| last.elapsed() > COMPLAIN_EVERY) {
            self.last_complaint = Some(Instant::now());
            tracing::error!(
                error = error as &dyn std::error::Error,
                log.lost_records = std::mem::take(&mut self.n_lost),
                "the prediction log cannot be written"
            );
        }
    }

    fn is_over(&mut self) {
        if self.last_complaint.take().is_some() {
            let log_lost_records = std::mem::take(&mut self.n_lost);
            tracing::warn!(
                log.lost_records = log_lost_records,
                "the prediction log can be written again"
            );
        }
        self.has_given_up = false;
    }
}

/// Writes these records; what the sink refuses is tried again for a while, and then lost.
fn write(
    shared: &Shared,
    output: &mut Output,
    records: &[u8],
    n_records: usize,
    trouble: &mut Trouble,
) {
    let begun = Instant::now();
    let (mut rest, mut n_left) = (records, n_records as u64);
    loop {
        let result = output.write(rest);
        let written = result.as_ref().map_or_else(|failed| failed.written, |()| rest.len());
        let n_written = match &result {
            Ok(()) => n_left,
            Err(_) => memchr::memchr_iter(b'\n', &rest[..written]).count() as u64,
        };
        rest = &rest[written..];
        n_left -= n_written;
        let mut queue = shared.lock();
        queue.stats.n_written += n_written;
        queue.stats.n_bytes += written as u64;
        queue.stats.n_rotations = output.n_rotations();
        let Err(failed) = result else {
            drop(queue);
            trouble.is_over();
            return;
        };
        queue.stats.n_failures += 1;
        if n_written > 0 {
            trouble.has_given_up = false;
        }
        if trouble.has_given_up
            || failed.is_for_good()
            || queue.closed
            || begun.elapsed() >= shared.retry
        {
            queue.stats.n_lost += n_left;
            drop(queue);
            trouble.has_given_up = true;
            trouble.n_lost += n_left;
            trouble.complain(&failed.error);
            return;
        }
        drop(queue);
        trouble.complain(&failed.error);
        let queue = shared.lock();
        let goes_on = |queue: &mut Queue| !queue.closed;
        drop(shared.filled.wait_timeout_while(queue, RETRY_EVERY, goes_on));
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
            fn record_bytes(&mut self, field: &Field, value: &[u8]) {
                if field.name() == "record" {
                    self.0.append(&[value]);
                }
            }
            fn record_error(&mut self, _field: &Field, value: &(dyn std::error::Error + 'static)) {
                if let Some(pieces) = value.downcast_ref::<Pieces>() {
                    self.0.append(&pieces.parts());
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
                emit(format!("{{\"number\":{number}}}").as_bytes(), false);
            }
        });
        assert!(log.flush(Duration::from_secs(5)));
        drop(writer);
        let expected: Vec<String> =
            (0..1000).map(|number| format!("{{\"number\":{number}}}")).collect();
        assert_eq!(memory.text().lines().collect::<Vec<_>>(), expected);
        assert_eq!(log.n_lost(), 0);
    }

    #[test]
    fn the_pieces_of_a_record_are_written_in_their_order() {
        let memory = Memory::default();
        let (log, writer) = PredictionLog::start(&Sink::Memory(memory.clone()), 4).unwrap();
        let subscriber = tracing_subscriber::registry().with(PredictionLayer::new(log.clone()));
        let mut expected = String::new();
        tracing::subscriber::with_default(subscriber, || {
            for number in 0..100 {
                emit(b"one", false);
                let inputs = Bytes::from(number.to_string().repeat(number));
                let pieces = Pieces { text: b"<>".to_vec(), at: 1, inputs };
                pieces.emit(number % 2 == 0);
                expected.push_str(&format!("one\n{pieces}\n"));
            }
        });
        assert!(log.flush(Duration::from_secs(5)));
        drop(writer);
        assert_eq!(memory.text(), expected);
    }

    /// 8,192 records of a megabyte each would be eight gigabytes.
    #[test]
    fn large_records_wait_by_their_size_and_none_is_lost() {
        let memory = Memory::default();
        let (log, writer) = PredictionLog::start(&Sink::Memory(memory.clone()), 8192).unwrap();
        let record = "x".repeat(MOST_BYTES / 2);
        for _ in 0..6 {
            log.append(&[record.as_bytes()]);
            assert!(log.shared.lock().buffer.len() <= MOST_BYTES + record.len());
        }
        assert!(log.flush(Duration::from_secs(60)));
        drop(writer);
        assert_eq!(memory.text().lines().filter(|line| *line == record).count(), 6);
    }

    #[test]
    fn a_large_buffer_is_kept_while_it_is_needed_and_then_given_back() {
        let mut buffer = vec![b'x'; 2 * KEPT_BYTES];
        assert!(!is_too_large(&buffer));
        buffer.truncate(KEPT_BYTES / 16);
        assert!(is_too_large(&buffer));
        assert!(!is_too_large(&Vec::with_capacity(KEPT_BYTES)));

        let sink = Sink::Memory(Memory::default());
        let (log, _writer) = PredictionLog::start(&sink, 8192).unwrap();
        let record = "x".repeat(MOST_BYTES);
        for _ in 0..2 {
            log.append(&[record.as_bytes()]);
        }
        assert!(log.flush(Duration::from_secs(60)));
        let until = Instant::now() + Duration::from_secs(60);
        while log.shared.lock().buffer.capacity() > KEPT_BYTES {
            assert!(Instant::now() < until, "it is never given back");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_full_queue_drops_and_counts_when_told_to() {
        let options = Options { capacity: 2, policy: Policy::Drop, ..Options::default() };
        let memory = Memory::default();
        // The writer cannot write as long as the memory is locked.
        let locked = memory.0.lock().unwrap();
        let (log, writer) =
            PredictionLog::start_with(&Sink::Memory(memory.clone()), &options).unwrap();
        (0..1000).for_each(|number| log.append(&[number.to_string().as_bytes()]));
        drop(locked);
        assert!(log.flush(Duration::from_secs(60)));
        drop(writer);
        let stats = log.stats();
        assert_eq!(stats.n_written, memory.text().lines().count() as u64);
        // Two wait, and two more at most are in the hands of the writer.
        assert!((2..=4).contains(&stats.n_written), "{stats:?}");
        assert_eq!(stats.n_written + stats.n_dropped, 1000);
    }

    /// A sink that takes nothing does not hold up the end, and what was lost is known.
    #[test]
    fn a_full_device_loses_records_after_a_while_and_counts_them() {
        let sink = Sink::File(PathBuf::from("/dev/full"));
        let options = Options { retry: Duration::from_millis(150), ..Options::default() };
        let (log, writer) = PredictionLog::start_with(&sink, &options).unwrap();
        let begun = Instant::now();
        for _ in 0..3 {
            log.append(&[b"{}"]);
            assert!(log.flush(Duration::from_secs(60)));
        }
        // The first is tried again, the others are not.
        assert!(begun.elapsed() < Duration::from_secs(3));
        let stats = log.stats();
        assert_eq!((stats.n_written, stats.n_lost, stats.n_waiting), (0, 3, 0));
        assert!(stats.n_failures >= 4, "{stats:?}");
        drop(writer);
    }
}
