//! Every metric: what it is called, what it counts, and the cells that it is counted in.
//!
//! [`TABLE`] is the one list of them; docs/metrics.md is compared with it, and nothing is shown that is not in it. All cells exist
//! from the start, so that counting is an addition in a place that is known: no lock, no allocation, no name is looked up on
//! the way of a prediction. Cells are kept several times, by thread, so that cores do not wait for one another; a scrape adds them up.
//!
//! Knows nothing of HTTP but the names of routes and the numbers of statuses, which it shows.

use std::array;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::exposition::{Format, Text};
use super::otlp::Counts;
use super::prediction_log::PredictionLog;
use super::process;

/// What the values of a metric are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How many values lie at or below each bound.
    Histogram,
    /// Always 1; its labels say something.
    Info,
}

impl Kind {
    /// As the documentation has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::Info => "info",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Its name, as it stands in a query.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts.
    pub help: &'static str,
}

const fn family(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind, labels, help }
}

const MODEL: &[&str] = &["model", "version"];

/// All metrics, in the order in which they are shown.
pub const TABLE: &[Family] = &[
    family(
        "seaworthy_requests_total",
        Kind::Counter,
        &["route", "status"],
        "Requests that have their answer, or will get none. The status is 499 when the connection was closed before.",
    ),
    family(
        "seaworthy_request_duration_seconds",
        Kind::Histogram,
        &["route"],
        "From the head of a request until its answer is ready.",
    ),
    family("seaworthy_requests_in_flight", Kind::Gauge, &[], "Requests that have no answer yet."),
    family("seaworthy_connections_open", Kind::Gauge, &[], "Connections of clients."),
    family(
        "seaworthy_rejected_total",
        Kind::Counter,
        &["reason"],
        "Requests that were refused, by the type of the problem; and connections that were given up before there was a request.",
    ),
    family(
        "seaworthy_rows_total",
        Kind::Counter,
        MODEL,
        "Rows in requests to a model, so far as they could be counted.",
    ),
    family(
        "seaworthy_predictions_total",
        Kind::Counter,
        &["model", "version", "outcome"],
        "Rows by what became of them: `ok`, `invalid` (the row, or its request, was refused) or `failed`.",
    ),
    family(
        "seaworthy_prediction_duration_seconds",
        Kind::Histogram,
        MODEL,
        "From the head of a request until its answer is ready, for requests to a model that were answered with 200.",
    ),
    family(
        "seaworthy_stage_duration_seconds",
        Kind::Histogram,
        &["model", "version", "stage"],
        "What a request takes in each stage: `decode`, `queue`, `preprocess`, `inference`, `postprocess`. Requests that were run together share a run's time.",
    ),
    family(
        "seaworthy_batch_rows",
        Kind::Histogram,
        MODEL,
        "Rows in a run of the model, which may be those of several requests.",
    ),
    family(
        "seaworthy_queue_requests",
        Kind::Gauge,
        MODEL,
        "Requests that wait for a thread that predicts.",
    ),
    family(
        "seaworthy_queue_capacity_requests",
        Kind::Gauge,
        MODEL,
        "How many may wait in the queue of a model that has threads of its own.",
    ),
    family(
        "seaworthy_predictors",
        Kind::Gauge,
        &["model", "version", "lane"],
        "Predictions of a model that can run at the same time, and where: `inline` or `worker`.",
    ),
    family(
        "seaworthy_log_records_total",
        Kind::Counter,
        &["result"],
        "Records of the prediction log: `written`, `dropped` (by the policy, as the queue was full), `lost` (the sink failed) or `sampled_out`.",
    ),
    family("seaworthy_log_bytes_total", Kind::Counter, &[], "Bytes written to the prediction log."),
    family(
        "seaworthy_log_queue_records",
        Kind::Gauge,
        &[],
        "Records of the prediction log that are not written yet.",
    ),
    family(
        "seaworthy_log_lag_seconds",
        Kind::Gauge,
        &[],
        "How long the oldest of them has been waiting.",
    ),
    family(
        "seaworthy_log_failures_total",
        Kind::Counter,
        &[],
        "Attempts to write to the prediction log that failed; they are repeated.",
    ),
    family(
        "seaworthy_log_rotations_total",
        Kind::Counter,
        &[],
        "Files of the prediction log that were full or old enough to be put aside.",
    ),
    family(
        "seaworthy_spans_total",
        Kind::Counter,
        &["result"],
        "Spans for OpenTelemetry: `exported`, `dropped` (the queue was full) or `failed` (the collector did not take them).",
    ),
    family("seaworthy_ready", Kind::Gauge, &[], "1 when the server is ready for requests, else 0."),
    family(
        "seaworthy_build_info",
        Kind::Info,
        &["version", "onnxruntime"],
        "The version of this program, and the build of ONNX Runtime that it runs.",
    ),
    family(
        "seaworthy_artifact_info",
        Kind::Info,
        &["model", "version", "artifact", "role"],
        "The artifacts that are served, with their digests.",
    ),
    family(
        "process_cpu_seconds_total",
        Kind::Counter,
        &[],
        "CPU time of the process, of user and system.",
    ),
    family(
        "process_resident_memory_bytes",
        Kind::Gauge,
        &[],
        "Memory of the process that is in RAM.",
    ),
    family("process_virtual_memory_bytes", Kind::Gauge, &[], "Address space of the process."),
    family("process_threads", Kind::Gauge, &[], "Threads of the process."),
    family("process_open_fds", Kind::Gauge, &[], "Open file descriptors."),
    family("process_max_fds", Kind::Gauge, &[], "How many file descriptors may be open."),
    family(
        "process_start_time_seconds",
        Kind::Gauge,
        &[],
        "When the process started, in seconds since 1970.",
    ),
];

/// A route, as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route(usize);

/// The routes that are told apart; everything else is the last.
pub const ROUTES: &[&str] = &[
    "/v1/predict",
    "/v1/models/{model}/predict",
    "/v1/models/{model}/versions/{version}/predict",
    "/v1/models",
    "/v1/models/{model}",
    "/v1/openapi.json",
    "/health",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/",
    "/docs",
    "/docs/{file}",
    "other",
];

impl Route {
    /// `POST /v1/predict`, which no router looks at.
    pub const PREDICT: Self = Self(0);
    /// What is no route of ours.
    pub const OTHER: Self = Self(ROUTES.len() - 1);

    /// Its pattern.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        ROUTES[self.0]
    }

    /// Whether it is asked again and again by machines that watch: health and metrics.
    #[must_use]
    pub fn is_watch(self) -> bool {
        self.as_str().starts_with("/health") || self.as_str() == "/metrics"
    }

    /// The route of this pattern.
    #[must_use]
    pub fn of(pattern: Option<&str>) -> Self {
        let found = pattern.and_then(|pattern| ROUTES.iter().position(|route| *route == pattern));
        found.map_or(Self::OTHER, Self)
    }
}

/// Statuses that are told apart; another one is `other`.
const STATUSES: [u16; 26] = [
    200, 422, 400, 503, 499, 404, 405, 408, 413, 415, 429, 401, 403, 500, 204, 206, 301, 302, 304,
    307, 308, 406, 414, 431, 501, 505,
];

/// Why a request was refused: the types of problems, and what happens to connections before there is a request.
pub const REASONS: &[&str] = &[
    "malformed-json",
    "malformed-form",
    "broken-body",
    "invalid-query",
    "not-found",
    "unknown-model",
    "method-not-allowed",
    "body-timeout",
    "body-too-large",
    "unsupported-media-type",
    "invalid-input",
    "internal",
    "overloaded",
    "timeout",
    "connection-closed",
    "malformed-encoding",
    "unauthorized",
    "forbidden",
    "origin-not-allowed",
    "too-many-requests",
    "loading",
    "malformed-request",
    "uri-too-long",
    "head-too-large",
    Refused::HeadTimeout.as_str(),
    Refused::ConnectionLimit.as_str(),
    "other",
];

/// What happens to a connection that never becomes a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Nothing came in time, or not all of a head.
    HeadTimeout,
    /// There are too many connections.
    ConnectionLimit,
}

impl Refused {
    /// The value of the label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HeadTimeout => "head-timeout",
            Self::ConnectionLimit => "connection-limit",
        }
    }
}

/// What became of rows.
const OUTCOMES: [&str; 3] = ["ok", "invalid", "failed"];

/// The stages of a prediction, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From the text of the body to the frame.
    Decode,
    /// Waiting for a predictor.
    Queue,
    /// The pipeline, up to the tensors.
    Preprocess,
    /// The graph.
    Inference,
    /// From the graph's outputs to predictions.
    Postprocess,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Self; 5] =
        [Self::Decode, Self::Queue, Self::Preprocess, Self::Inference, Self::Postprocess];

    /// The value of the label, and the name of the span.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Queue => "queue",
            Self::Preprocess => "preprocess",
            Self::Inference => "inference",
            Self::Postprocess => "postprocess",
        }
    }
}

/// Bounds of durations, in nanoseconds: a microsecond is a short stage, 25 s the longest request.
const DURATIONS: [u64; 23] = [
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    25_000_000_000,
];

/// Bounds of numbers of rows.
const ROWS: [u64; 12] = [1, 2, 4, 8, 16, 32, 64, 256, 1_024, 4_096, 16_384, 65_536];

/// Values counted by `N` bounds; one more is for what lies above the last.
#[derive(Debug)]
struct Histogram<const N: usize> {
    below: [AtomicU64; N],
    above: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Histogram<N> {
    fn new() -> Self {
        Self { below: cells(), above: AtomicU64::new(0), sum: AtomicU64::new(0) }
    }

    fn observe(&self, bounds: &[u64; N], value: u64) {
        let at = bounds.partition_point(|bound| *bound < value);
        self.below.get(at).unwrap_or(&self.above).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }
}

/// A histogram as it is shown: the counts of each bound and of what is above, not yet added up, and the sum.
struct Counted<const N: usize> {
    below: [u64; N],
    above: u64,
    sum: u64,
}

impl<const N: usize> Counted<N> {
    fn of<'a>(parts: impl Iterator<Item = &'a Histogram<N>>) -> Self {
        let mut all = Self { below: [0; N], above: 0, sum: 0 };
        for part in parts {
            for (sum, cell) in all.below.iter_mut().zip(&part.below) {
                *sum += cell.load(Ordering::Relaxed);
            }
            all.above += part.above.load(Ordering::Relaxed);
            all.sum = all.sum.wrapping_add(part.sum.load(Ordering::Relaxed));
        }
        all
    }

    fn n(&self) -> u64 {
        self.below.iter().sum::<u64>() + self.above
    }

    /// Writes it; `scale` is what a value is divided by to get the base unit.
    fn write(&self, text: &mut Text, labels: &[(&str, &str)], bounds: &[u64; N], scale: f64) {
        let bounds: Vec<f64> = bounds.iter().map(|bound| approximate(*bound) / scale).collect();
        text.histogram(labels, &bounds, &self.below, self.n(), approximate(self.sum) / scale);
    }
}

/// Nanoseconds in a second.
const NANOS: f64 = 1e9;

#[expect(clippy::cast_precision_loss, reason = "a metric need not be exact above 2^53")]
fn approximate(number: u64) -> f64 {
    number as f64
}

fn cells<const N: usize>() -> [AtomicU64; N] {
    array::from_fn(|_| AtomicU64::new(0))
}

/// On a cache line pair of its own, so that what another core counts does not disturb.
#[derive(Debug)]
#[repr(align(128))]
struct Aligned<T>(T);

/// Cells kept several times, by thread.
#[derive(Debug)]
struct Sharded<T>(Box<[Aligned<T>]>);

/// More would be memory without a use.
const MOST_SHARDS: usize = 16;

impl<T> Sharded<T> {
    fn new(make: impl Fn() -> T) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let n = cpus.next_power_of_two().min(MOST_SHARDS);
        Self((0..n).map(|_| Aligned(make())).collect())
    }

    /// Those of this thread.
    fn mine(&self) -> &T {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static NUMBER: usize = NEXT.fetch_add(1, Ordering::Relaxed);
        }
        // The number is a power of two. A thread that ends has nothing to count any more.
        let number = NUMBER.try_with(|number| *number).unwrap_or_default();
        &self.0[number & (self.0.len() - 1)].0
    }

    fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|aligned| &aligned.0)
    }

    fn sum(&self, cell: impl Fn(&T) -> &AtomicU64) -> u64 {
        self.all().map(|shard| cell(shard).load(Ordering::Relaxed)).sum()
    }
}

#[derive(Debug)]
struct RouteCells {
    by_status: [AtomicU64; STATUSES.len()],
    other_status: AtomicU64,
    duration: Histogram<{ DURATIONS.len() }>,
}

impl RouteCells {
    fn new() -> Self {
        Self { by_status: cells(), other_status: AtomicU64::new(0), duration: Histogram::new() }
    }

    fn of_status(&self, status: u16) -> &AtomicU64 {
        // The first is that of nearly all requests.
        let at = STATUSES.iter().position(|known| *known == status);
        at.and_then(|at| self.by_status.get(at)).unwrap_or(&self.other_status)
    }
}

#[derive(Debug)]
struct ModelCells {
    rows: AtomicU64,
    outcomes: [AtomicU64; OUTCOMES.len()],
    duration: Histogram<{ DURATIONS.len() }>,
    stages: [Histogram<{ DURATIONS.len() }>; Stage::ALL.len()],
    batch_rows: Histogram<{ ROWS.len() }>,
}

/// What is counted of one model.
#[derive(Debug)]
pub struct ModelMetrics(Sharded<ModelCells>);

impl Default for ModelMetrics {
    fn default() -> Self {
        Self(Sharded::new(|| ModelCells {
            rows: AtomicU64::new(0),
            outcomes: cells(),
            duration: Histogram::new(),
            stages: array::from_fn(|_| Histogram::new()),
            batch_rows: Histogram::new(),
        }))
    }
}

impl ModelMetrics {
    /// A request with so many rows has its status; of an answer so many rows have a prediction.
    pub fn exchanged(&self, status: u16, n_rows: usize, n_predicted: usize, duration: Duration) {
        let cells = self.0.mine();
        let (n_rows, n_predicted) = (n_rows as u64, n_predicted as u64);
        cells.rows.fetch_add(n_rows, Ordering::Relaxed);
        let [ok, invalid, failed] = &cells.outcomes;
        if status == 200 {
            cells.duration.observe(&DURATIONS, nanos(duration));
            ok.fetch_add(n_predicted, Ordering::Relaxed);
            if n_rows > n_predicted {
                invalid.fetch_add(n_rows - n_predicted, Ordering::Relaxed);
            }
        } else if status < 499 {
            invalid.fetch_add(n_rows, Ordering::Relaxed);
        } else {
            failed.fetch_add(n_rows, Ordering::Relaxed);
        }
    }

    /// What a request took in each of these stages.
    pub fn stages(&self, stages: &[(Stage, Duration)]) {
        let cells = self.0.mine();
        for (stage, duration) in stages {
            cells.stages[*stage as usize].observe(&DURATIONS, nanos(*duration));
        }
    }

    /// The model was run on so many rows.
    pub fn run(&self, n_rows: usize) {
        self.0.mine().batch_rows.observe(&ROWS, n_rows as u64);
    }
}

/// A duration in whole nanoseconds; 584 years at most.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
struct Flight {
    requests: AtomicI64,
    connections: AtomicI64,
}

/// Where metrics can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: nothing is counted.
    Off,
    /// Beside everything else.
    Here,
    /// At a port of their own.
    OwnPort,
}

/// What is counted of the server.
#[derive(Debug)]
pub struct Metrics {
    place: Place,
    onnxruntime: String,
    routes: Box<[Sharded<RouteCells>]>,
    rejected: [AtomicU64; REASONS.len()],
    flight: Sharded<Flight>,
    log: OnceLock<PredictionLog>,
    spans: OnceLock<Arc<Counts>>,
    sampled_out: AtomicU64,
}

impl Metrics {
    /// Nothing is counted yet. `onnxruntime` says which build of the library it is.
    #[must_use]
    pub fn new(place: Place, onnxruntime: &str) -> Self {
        Self {
            place,
            onnxruntime: onnxruntime.to_owned(),
            routes: ROUTES.iter().map(|_| Sharded::new(RouteCells::new)).collect(),
            rejected: cells(),
            flight: Sharded::new(Flight::default),
            log: OnceLock::new(),
            spans: OnceLock::new(),
            sampled_out: AtomicU64::new(0),
        }
    }

    /// Whether anything is counted, and times of stages are taken.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.place != Place::Off
    }

    /// Whether the server's own port has a route for them.
    #[must_use]
    pub fn is_here(&self) -> bool {
        self.place == Place::Here
    }

    /// Shows what becomes of the prediction log.
    pub fn watch_log(&self, log: PredictionLog) {
        // It is the process's one; a second server in a test has the same.
        let _known = self.log.set(log);
    }

    /// Shows what becomes of spans.
    pub fn watch_spans(&self, counts: Arc<Counts>) {
        let _known = self.spans.set(counts);
    }

    /// A request has its status.
    pub fn answered(&self, route: Route, status: u16, duration: Duration) {
        if self.is_on() {
            let cells = self.routes[route.0].mine();
            cells.of_status(status).fetch_add(1, Ordering::Relaxed);
            cells.duration.observe(&DURATIONS, nanos(duration));
        }
    }

    /// A request was refused with this type of problem.
    pub fn rejected(&self, kind: &str) {
        let at = REASONS.iter().position(|reason| *reason == kind).unwrap_or(REASONS.len() - 1);
        self.rejected[at].fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was given up before there was a request.
    pub fn refused(&self, why: Refused) {
        self.rejected(why.as_str());
    }

    /// A record was left out of the prediction log by its sampling.
    pub fn sampled_out(&self) {
        self.sampled_out.fetch_add(1, Ordering::Relaxed);
    }

    /// A request has begun.
    pub fn begin_request(&self) {
        self.flight.mine().requests.fetch_add(1, Ordering::Relaxed);
    }

    /// A request has ended.
    pub fn end_request(&self) {
        self.flight.mine().requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// A connection was opened.
    pub fn begin_connection(&self) {
        self.flight.mine().connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection was closed.
    pub fn end_connection(&self) {
        self.flight.mine().connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A model, for a scrape.
#[derive(Debug, Clone)]
pub struct ModelView<'a> {
    /// Its name.
    pub model: &'a str,
    /// Its version.
    pub version: String,
    /// The digest of its artifact.
    pub artifact: &'a str,
    /// Its role.
    pub role: &'a str,
    /// What was counted of it.
    pub metrics: &'a ModelMetrics,
    /// Requests that wait for it.
    pub waiting: usize,
    /// How many may, when there is a bound.
    pub queue: Option<usize>,
    /// How many predictions run at the same time.
    pub threads: usize,
    /// Where they run.
    pub lane: &'a str,
}

impl Metrics {
    /// What a scrape gets.
    #[must_use]
    pub fn show(&self, models: &[ModelView<'_>], is_ready: bool, format: Format) -> String {
        let mut text = Text::new(format);
        for family in TABLE {
            text.family(family);
            self.family(family.name, models, is_ready, &mut text);
        }
        text.finish()
    }

    fn family(&self, name: &str, models: &[ModelView<'_>], is_ready: bool, text: &mut Text) {
        match name {
            "seaworthy_requests_total" | "seaworthy_request_duration_seconds" => {
                self.routes(name, text);
            }
            "seaworthy_requests_in_flight" | "seaworthy_connections_open" => {
                let cell = |flight: &Flight| {
                    let of =
                        if name.ends_with("open") { &flight.connections } else { &flight.requests };
                    of.load(Ordering::Relaxed)
                };
                // Between two additions of another thread the sum may be off by one, and even below nothing.
                let n: i64 = self.flight.all().map(cell).sum();
                text.number(&[], u64::try_from(n).unwrap_or_default());
            }
            "seaworthy_rejected_total" => {
                for (reason, cell) in REASONS.iter().zip(&self.rejected) {
                    text.number(&[("reason", reason)], cell.load(Ordering::Relaxed));
                }
            }
            "seaworthy_ready" => text.number(&[], u64::from(is_ready)),
            "seaworthy_build_info" => {
                let version = env!("CARGO_PKG_VERSION");
                text.number(&[("version", version), ("onnxruntime", &self.onnxruntime)], 1);
            }
            "seaworthy_spans_total" => {
                for (result, n) in self.spans.get().into_iter().flat_map(|spans| spans.show()) {
                    text.number(&[("result", result)], n);
                }
            }
            _ if name.starts_with("seaworthy_log_") => self.log(name, text),
            _ if name.starts_with("process_") => process::show(name, text),
            _ => models.iter().for_each(|model| model.show(name, text)),
        }
    }

    fn routes(&self, name: &str, text: &mut Text) {
        for (route, cells) in ROUTES.iter().zip(&self.routes) {
            let duration = Counted::of(cells.all().map(|cells| &cells.duration));
            // What was never asked for is not worth 24 lines; but that nobody predicts should be seen as a zero.
            let is_shown = duration.n() > 0 || route.ends_with("predict");
            if name == "seaworthy_request_duration_seconds" {
                if is_shown {
                    duration.write(text, &[("route", route)], &DURATIONS, NANOS);
                }
                continue;
            }
            for (at, status) in STATUSES.iter().enumerate() {
                let n = cells.sum(|cells| &cells.by_status[at]);
                if n > 0 || (at == 0 && is_shown) {
                    text.number(&[("route", route), ("status", &status.to_string())], n);
                }
            }
            let n = cells.sum(|cells| &cells.other_status);
            if n > 0 {
                text.number(&[("route", route), ("status", "other")], n);
            }
        }
    }

    fn log(&self, name: &str, text: &mut Text) {
        let stats = self.log.get().map(PredictionLog::stats).unwrap_or_default();
        match name {
            "seaworthy_log_records_total" => {
                for (result, n) in [
                    ("written", stats.n_written),
                    ("dropped", stats.n_dropped),
                    ("lost", stats.n_lost),
                    ("sampled_out", self.sampled_out.load(Ordering::Relaxed)),
                ] {
                    text.number(&[("result", result)], n);
                }
            }
            "seaworthy_log_bytes_total" => text.number(&[], stats.n_bytes),
            "seaworthy_log_queue_records" => text.number(&[], stats.n_waiting),
            "seaworthy_log_lag_seconds" => text.float(&[], stats.lag.as_secs_f64()),
            "seaworthy_log_failures_total" => text.number(&[], stats.n_failures),
            "seaworthy_log_rotations_total" => text.number(&[], stats.n_rotations),
            _ => {}
        }
    }
}

impl ModelView<'_> {
    fn show(&self, name: &str, text: &mut Text) {
        let labels = [("model", self.model), ("version", self.version.as_str())];
        let [model, version] = labels;
        let cells = &self.metrics.0;
        match name {
            "seaworthy_rows_total" => text.number(&labels, cells.sum(|cells| &cells.rows)),
            "seaworthy_predictions_total" => {
                for (at, outcome) in OUTCOMES.iter().enumerate() {
                    let n = cells.sum(|cells| &cells.outcomes[at]);
                    text.number(&[model, version, ("outcome", outcome)], n);
                }
            }
            "seaworthy_prediction_duration_seconds" => {
                let counted = Counted::of(cells.all().map(|cells| &cells.duration));
                counted.write(text, &labels, &DURATIONS, NANOS);
            }
            "seaworthy_stage_duration_seconds" => {
                for stage in Stage::ALL {
                    let parts = cells.all().map(|cells| &cells.stages[stage as usize]);
                    let labels = [model, version, ("stage", stage.as_str())];
                    Counted::of(parts).write(text, &labels, &DURATIONS, NANOS);
                }
            }
            "seaworthy_batch_rows" => {
                let counted = Counted::of(cells.all().map(|cells| &cells.batch_rows));
                counted.write(text, &labels, &ROWS, 1.0);
            }
            "seaworthy_queue_requests" => text.number(&labels, self.waiting as u64),
            "seaworthy_queue_capacity_requests" => {
                if let Some(queue) = self.queue {
                    text.number(&labels, queue as u64);
                }
            }
            "seaworthy_predictors" => {
                text.number(&[model, version, ("lane", self.lane)], self.threads as u64);
            }
            "seaworthy_artifact_info" => {
                let labels = [model, version, ("artifact", self.artifact), ("role", self.role)];
                text.number(&labels, 1);
            }
            _ => {}
        }
    }
}

/// Seconds since 1970.
pub(super) fn seconds_since_1970(moment: SystemTime) -> f64 {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(metrics: &ModelMetrics) -> ModelView<'_> {
        ModelView {
            model: "m\"\\\n",
            version: "1.0.0".to_owned(),
            artifact: "sha256:00",
            role: "primary",
            metrics,
            waiting: 3,
            queue: Some(256),
            threads: 2,
            lane: "worker",
        }
    }

    fn busy() -> (Metrics, ModelMetrics) {
        let metrics = Metrics::new(Place::Here, "commit 6af1a93");
        let model = ModelMetrics::default();
        metrics.begin_request();
        metrics.answered(Route::PREDICT, 200, Duration::from_micros(22));
        metrics.answered(Route::of(Some("/secret")), 418, Duration::from_secs(60));
        metrics.rejected("invalid-input");
        metrics.rejected("never heard of");
        metrics.refused(Refused::HeadTimeout);
        model.exchanged(200, 3, 2, Duration::from_nanos(1_001));
        model.exchanged(422, 5, 0, Duration::from_micros(9));
        model.exchanged(499, 7, 0, Duration::from_micros(9));
        model.stages(&[(Stage::Inference, Duration::from_micros(1))]);
        model.run(65_537);
        (metrics, model)
    }

    /// Everything that is shown is in the table, with its labels, and the other way round.
    #[test]
    fn what_is_shown_is_what_the_table_says() {
        let (metrics, model) = busy();
        metrics.watch_spans(Arc::default());
        let (log, _writer) =
            PredictionLog::start(&super::super::prediction_log::Sink::None, 8).unwrap();
        metrics.watch_log(log);
        let shown = metrics.show(&[view(&model)], true, Format::Prometheus);
        for family in TABLE {
            assert!(family.help.ends_with('.'), "{}", family.name);
            assert!(
                !family.name.ends_with("_total") || family.kind == Kind::Counter,
                "{}",
                family.name
            );
            let kind = if family.kind == Kind::Info { "gauge" } else { family.kind.as_str() };
            assert!(shown.contains(&format!("# TYPE {} {kind}\n", family.name)), "{}", family.name);
            let samples: Vec<&str> = shown
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter(|line| {
                    let name = line.split(['{', ' ']).next().unwrap();
                    name == family.name
                        || (family.kind == Kind::Histogram
                            && ["_bucket", "_sum", "_count"]
                                .iter()
                                .any(|end| name.strip_suffix(end) == Some(family.name)))
                })
                .collect();
            assert!(!samples.is_empty(), "{} is not shown", family.name);
            for sample in samples {
                let labels: Vec<&str> = sample
                    .split_once('{')
                    .map(|(_, rest)| rest.rsplit_once('}').unwrap().0)
                    .unwrap_or_default()
                    .split("\",")
                    .filter_map(|label| label.split_once('=').map(|(name, _)| name))
                    .filter(|name| *name != "le")
                    .collect();
                assert_eq!(labels, family.labels, "{sample}");
            }
        }
    }

    #[test]
    fn values_are_counted_where_they_belong() {
        let (metrics, model) = busy();
        let shown = metrics.show(&[view(&model)], false, Format::Prometheus);
        for line in [
            "seaworthy_requests_total{route=\"/v1/predict\",status=\"200\"} 1",
            "seaworthy_requests_total{route=\"other\",status=\"other\"} 1",
            "seaworthy_request_duration_seconds_bucket{route=\"/v1/predict\",le=\"1e-5\"} 0",
            "seaworthy_request_duration_seconds_bucket{route=\"/v1/predict\",le=\"2.5e-5\"} 1",
            "seaworthy_request_duration_seconds_bucket{route=\"other\",le=\"25.0\"} 0",
            "seaworthy_request_duration_seconds_bucket{route=\"other\",le=\"+Inf\"} 1",
            "seaworthy_request_duration_seconds_sum{route=\"other\"} 60.0",
            "seaworthy_requests_in_flight 1",
            "seaworthy_rejected_total{reason=\"invalid-input\"} 1",
            "seaworthy_rejected_total{reason=\"head-timeout\"} 1",
            "seaworthy_rejected_total{reason=\"other\"} 1",
            "seaworthy_rows_total{model=\"m\\\"\\\\\\n\",version=\"1.0.0\"} 15",
            "seaworthy_predictions_total{model=\"m\\\"\\\\\\n\",version=\"1.0.0\",outcome=\"ok\"} 2",
            "seaworthy_predictions_total{model=\"m\\\"\\\\\\n\",version=\"1.0.0\",outcome=\"invalid\"} 6",
            "seaworthy_predictions_total{model=\"m\\\"\\\\\\n\",version=\"1.0.0\",outcome=\"failed\"} 7",
            "seaworthy_prediction_duration_seconds_bucket{model=\"m\\\"\\\\\\n\",version=\"1.0.0\",le=\"1e-6\"} 0",
            "seaworthy_prediction_duration_seconds_count{model=\"m\\\"\\\\\\n\",version=\"1.0.0\"} 1",
            "seaworthy_stage_duration_seconds_bucket{model=\"m\\\"\\\\\\n\",version=\"1.0.0\",stage=\"inference\",le=\"1e-6\"} 1",
            "seaworthy_batch_rows_bucket{model=\"m\\\"\\\\\\n\",version=\"1.0.0\",le=\"65536.0\"} 0",
            "seaworthy_batch_rows_sum{model=\"m\\\"\\\\\\n\",version=\"1.0.0\"} 65537.0",
            "seaworthy_ready 0",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
        }
    }

    #[test]
    fn open_metrics_is_shown_to_those_who_want_it() {
        let (metrics, model) = busy();
        let shown = metrics.show(&[view(&model)], true, Format::OpenMetrics);
        assert!(shown.ends_with("# EOF\n"));
        assert!(shown.contains("# TYPE seaworthy_requests counter\n"));
        assert!(shown.contains("# UNIT seaworthy_request_duration_seconds seconds\n"));
        assert!(shown.contains("# TYPE seaworthy_build info\n"));
        assert!(shown.contains("\nseaworthy_build_info{version="));
        assert!(shown.contains("\nprocess_cpu_seconds_total "));
    }

    #[test]
    fn docs_metrics_md_is_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        let docs = std::fs::read_to_string(path).unwrap();
        let row = |family: &Family| {
            let labels: Vec<String> =
                family.labels.iter().map(|label| format!("`{label}`")).collect();
            format!(
                "| `{}` | {} | {} | {} |",
                family.name,
                family.kind.as_str(),
                labels.join(", "),
                family.help
            )
        };
        let expected: Vec<String> = TABLE.iter().map(row).collect();
        let found: Vec<&str> = docs
            .lines()
            .filter(|line| line.starts_with("| `seaworthy_") || line.starts_with("| `process_"))
            .collect();
        assert_eq!(found, expected, "\n{}", expected.join("\n"));
    }
}
