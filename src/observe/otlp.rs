//! Traces for OpenTelemetry: spans of requests, sent to a collector as OTLP over HTTP, in JSON.
//!
//! A request that is traced hands over what it was once it has its answer; a thread of its own makes spans of it and sends them in
//! batches. It never waits for the collector: what does not fit the queue is dropped and counted. Without an endpoint there is no
//! thread and no connection. Only `http://` is spoken: a collector or agent stands beside the server, and speaks to the world.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::metrics::Stage;

/// Requests that may wait to be sent.
const QUEUE: usize = 2048;
/// Requests in one message.
const BATCH: usize = 256;
/// How long they are gathered.
const EVERY: Duration = Duration::from_secs(1);
/// How often a message is sent that the collector does not take, and how long is waited before it is sent again.
const ATTEMPTS: u32 = 3;
const BACKOFF: Duration = Duration::from_millis(500);
/// The same fault is told of only so often.
const COMPLAIN_EVERY: Duration = Duration::from_secs(60);

/// A collector's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
    path: String,
}

impl Endpoint {
    /// Reads `http://host:4318`, to which the path of OTLP is added, or an address with a path, which is taken as it is.
    ///
    /// # Errors
    /// It is none; what was expected.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str = "expected the address of a collector of OTLP over HTTP, such as http://localhost:4318; only http:// is spoken, as the collector stands beside the server";
        let rest = url.strip_prefix("http://").ok_or(EXPECTED)?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
        if authority.is_empty() || authority.contains('@') || !is_plain(rest) {
            return Err(EXPECTED);
        }
        let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
            port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
        });
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:80") };
        let path = if path.len() <= 1 { "/v1/traces" } else { path };
        Ok(Self { authority, path: path.to_owned() })
    }
}

/// Reads `key=value,key=value`, as the standard variables have it; percent-encoded values are decoded.
///
/// # Errors
/// It is not that; what was expected.
pub fn pairs(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    const EXPECTED: &str = "expected pairs such as `key=value,other=value`";
    let pair = |part: &str| {
        let (key, value) = part.split_once('=').ok_or(EXPECTED)?;
        let (key, value) = (key.trim(), decoded(value.trim()));
        let is_sound = !key.is_empty()
            && key
                .bytes()
                .chain(value.bytes())
                .all(|byte| byte == b' ' || !byte.is_ascii_control());
        is_sound.then(|| (key.to_owned(), value)).ok_or(EXPECTED)
    };
    text.split(',').filter(|part| !part.trim().is_empty()).map(pair).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        let byte = hex.filter(|_| *first == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What is sent where.
#[derive(Debug, Clone)]
pub struct Options {
    /// The collector.
    pub endpoint: Endpoint,
    /// Headers of each message.
    pub headers: Vec<(String, String)>,
    /// What the server is called.
    pub service_name: String,
    /// What else is said of it.
    pub resource: Vec<(String, String)>,
    /// The share of requests that are traced, of those that nobody has decided about.
    pub sample: f64,
    /// How long the collector may take.
    pub timeout: Duration,
}

/// Where a request stands in its trace.
#[derive(Debug, Clone)]
pub struct Trace {
    /// 32 digits.
    pub trace_id: String,
    /// 16 digits: the span of whoever asks.
    pub parent: Option<String>,
    /// `tracestate` of whoever asks.
    pub state: String,
    /// 16 digits: this request.
    pub span_id: String,
    /// Whether its spans are wanted.
    pub is_sampled: bool,
}

impl Trace {
    /// A request of somebody who traces.
    #[must_use]
    pub fn continued(trace_id: &str, parent: &str, is_sampled: bool, state: String) -> Self {
        Self {
            trace_id: trace_id.to_owned(),
            parent: Some(parent.to_owned()),
            state,
            span_id: new_span_id(),
            is_sampled,
        }
    }

    /// What the answer says of it, in the form of `traceparent`.
    #[must_use]
    pub fn response(&self, is_recorded: bool) -> String {
        let flags = u8::from(is_recorded && self.is_sampled);
        format!("00-{}-{}-{flags:02x}", self.trace_id, self.span_id)
    }
}

fn new_span_id() -> String {
    // The last half of a random UUID: 62 random bits behind `10`, so never zero.
    uuid::Uuid::new_v4().simple().to_string().split_off(16)
}

/// A request that is over.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Where it stands in its trace.
    pub trace: Trace,
    /// The method of HTTP.
    pub method: String,
    /// The pattern of its route.
    pub route: &'static str,
    /// Its id.
    pub request_id: String,
    /// When it began, and what it took.
    pub span: (Instant, Duration),
    /// Its status.
    pub status: u16,
    /// The type of the problem, when it was refused.
    pub problem: Option<&'static str>,
    /// The model and its version, and the number of rows.
    pub model: Option<(String, String, usize)>,
    /// What its stages took, and when they began.
    pub stages: Vec<(Stage, Instant, Duration)>,
}

/// What has become of spans.
#[derive(Debug, Default)]
pub struct Counts {
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    /// By the label `result`.
    pub fn show(&self) -> [(&'static str, u64); 3] {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [
            ("exported", get(&self.exported)),
            ("dropped", get(&self.dropped)),
            ("failed", get(&self.failed)),
        ]
    }
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Finished>,
    /// Requests in the hands of the sender.
    n_sending: usize,
    is_urgent: bool,
    closed: bool,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    changed: Condvar,
    counts: Arc<Counts>,
    sample: f64,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes requests that are traced; cheap to clone. The thread ends when all clones are gone.
#[derive(Debug, Clone)]
pub struct Tracer(Arc<Handle>);

#[derive(Debug)]
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.lock().closed = true;
        self.0.changed.notify_all();
    }
}

impl Tracer {
    /// Starts the thread that sends.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(options: Options) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            changed: Condvar::new(),
            counts: Arc::default(),
            sample: options.sample,
        });
        let own = Arc::clone(&shared);
        let send = move || send_all(&own, &options);
        std::thread::Builder::new().name("otlp".to_owned()).spawn(send)?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// What has become of spans.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.0.0.counts)
    }

    /// A trace for a request of somebody who does not trace.
    #[must_use]
    pub fn begin(&self) -> Trace {
        let id = uuid::Uuid::new_v4();
        // Its last bits are random.
        let (_, low) = id.as_u64_pair();
        let drawn = f64::from(u32::try_from(low & 0xffff_ffff).unwrap_or_default());
        Trace {
            trace_id: id.simple().to_string(),
            parent: None,
            state: String::new(),
            span_id: new_span_id(),
            is_sampled: drawn / (f64::from(u32::MAX) + 1.0) < self.0.0.sample,
        }
    }

    /// Takes a request that is over.
    pub fn finished(&self, finished: Finished) {
        let shared = &self.0.0;
        let mut queue = shared.lock();
        if queue.waiting.len() >= QUEUE {
            drop(queue);
            let n_spans = 1 + finished.stages.len() as u64;
            shared.counts.dropped.fetch_add(n_spans, Ordering::Relaxed);
            return;
        }
        queue.waiting.push(finished);
        let is_enough = queue.waiting.len() == BATCH;
        drop(queue);
        if is_enough {
            shared.changed.notify_all();
        }
    }

    /// Waits until all is sent, at most so long. Returns whether it is.
    #[must_use]
    pub fn flush(&self, at_most: Duration) -> bool {
        let until = Instant::now() + at_most;
        let mut queue = self.0.0.lock();
        while !queue.waiting.is_empty() || queue.n_sending > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            queue.is_urgent = true;
            self.0.0.changed.notify_all();
            let waited = self.0.0.changed.wait_timeout(queue, left);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

fn send_all(shared: &Shared, options: &Options) {
    let mut last_complaint: Option<Instant> = None;
    loop {
        let batch: Vec<Finished> = {
            let mut queue = shared.lock();
            queue.n_sending = 0;
            shared.changed.notify_all();
            let waits = |queue: &mut Queue| {
                queue.waiting.len() < BATCH && !queue.is_urgent && !queue.closed
            };
            queue = shared
                .changed
                .wait_timeout_while(queue, EVERY, waits)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            if queue.waiting.is_empty() {
                queue.is_urgent = false;
                if queue.closed {
                    return;
                }
                continue;
            }
            let n = queue.waiting.len().min(BATCH);
            queue.n_sending = n;
            queue.waiting.drain(..n).collect()
        };
        let n_spans: u64 = batch.iter().map(|finished| 1 + finished.stages.len() as u64).sum();
        let body = message(&batch, options).to_string();
        let result = (0..ATTEMPTS).find_map(|attempt| {
            let result = post(&body, options);
            let is_last = attempt + 1 == ATTEMPTS || shared.lock().closed;
            match result {
                Err(Refused::ForNow(error)) if !is_last => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "spans are sent again"
                    );
                    std::thread::sleep(BACKOFF * 2_u32.pow(attempt));
                    None
                }
                other => Some(other),
            }
        });
        match result {
            Some(Ok(())) => {
                shared.counts.exported.fetch_add(n_spans, Ordering::Relaxed);
            }
            Some(Err(Refused::ForNow(error) | Refused::ForGood(error))) => {
                shared.counts.failed.fetch_add(n_spans, Ordering::Relaxed);
                if last_complaint.is_none_or(|last| last.elapsed() > COMPLAIN_EVERY) {
                    last_complaint = Some(Instant::now());
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        otel.spans = n_spans,
                        "spans cannot be sent to the collector; they are lost"
                    );
                }
            }
            None => {}
        }
    }
}

/// Why a message was not taken.
enum Refused {
    /// It may be sent again.
    ForNow(io::Error),
    /// It may not.
    ForGood(io::Error),
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::ForNow(error)
    }
}

/// Sends a message and waits for its status.
fn post(body: &str, options: &Options) -> Result<(), Refused> {
    let Endpoint { authority, path } = &options.endpoint;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut connected = None;
    for address in authority.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, options.timeout) {
            Ok(stream) => {
                connected = Some(stream);
                break;
            }
            Err(error) => last = error,
        }
    }
    let mut stream = connected.ok_or(last)?;
    stream.set_read_timeout(Some(options.timeout))?;
    stream.set_write_timeout(Some(options.timeout))?;
    let mut head = format!(
        "POST {path} HTTP/1.1\r\nhost: {authority}\r\nuser-agent: seaworthy/{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n",
        env!("CARGO_PKG_VERSION"),
        body.len()
    );
    for (name, value) in &options.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    let status = String::from_utf8_lossy(&answer);
    match status.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..)) {
        Some(status) if status.starts_with('2') => Ok(()),
        // As the protocol has it, these may be repeated.
        Some(status @ ("429" | "502" | "503" | "504")) => {
            Err(Refused::ForNow(io::Error::other(format!("the collector answered {status}"))))
        }
        Some(status) => {
            Err(Refused::ForGood(io::Error::other(format!("the collector answered {status}"))))
        }
        None => Err(Refused::ForGood(io::Error::other("the collector does not speak HTTP"))),
    }
}

/// Nanoseconds since 1970, as OTLP's JSON writes 64 bits.
fn nanos(moment: SystemTime) -> String {
    moment.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

fn attribute(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn number(key: &str, value: u64) -> Value {
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

/// An `ExportTraceServiceRequest`.
fn message(batch: &[Finished], options: &Options) -> Value {
    let now = (Instant::now(), SystemTime::now());
    let mut resource = vec![
        attribute("service.name", &options.service_name),
        attribute("service.version", env!("CARGO_PKG_VERSION")),
    ];
    resource.extend(options.resource.iter().map(|(key, value)| attribute(key, value)));
    let spans: Vec<Value> = batch.iter().flat_map(|finished| spans(finished, now)).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{
            "scope": {"name": "seaworthy", "version": env!("CARGO_PKG_VERSION")},
            "spans": spans,
        }],
    }]})
}

/// The kinds of spans and of their ends, by their numbers in OTLP.
const INTERNAL: u8 = 1;
const SERVER: u8 = 2;
const ERROR: u8 = 2;

/// A request and its stages.
fn spans(finished: &Finished, now: (Instant, SystemTime)) -> Vec<Value> {
    let at = |moment: Instant| {
        now.1.checked_sub(now.0.saturating_duration_since(moment)).unwrap_or(now.1)
    };
    let trace = &finished.trace;
    let (begun, duration) = finished.span;
    let mut attributes = vec![
        attribute("http.request.method", &finished.method),
        attribute("http.route", finished.route),
        number("http.response.status_code", finished.status.into()),
        attribute("seaworthy.request_id", &finished.request_id),
    ];
    if let Some((model, version, n_rows)) = &finished.model {
        attributes.push(attribute("seaworthy.model", model));
        attributes.push(attribute("seaworthy.version", version));
        attributes.push(number("seaworthy.rows", *n_rows as u64));
    }
    if let Some(problem) = finished.problem {
        attributes.push(attribute("error.type", problem));
    }
    let mut request = json!({
        "traceId": trace.trace_id,
        "spanId": trace.span_id,
        "name": format!("{} {}", finished.method, finished.route),
        "kind": SERVER,
        "startTimeUnixNano": nanos(at(begun)),
        "endTimeUnixNano": nanos(at(begun + duration)),
        "attributes": attributes,
        // Of a server only its own faults are errors.
        "status": if finished.status >= 500 { json!({"code": ERROR}) } else { json!({}) },
    });
    if let Some(parent) = &trace.parent {
        request["parentSpanId"] = parent.as_str().into();
    }
    if !trace.state.is_empty() {
        request["traceState"] = trace.state.as_str().into();
    }
    let stage = |(stage, begun, duration): &(Stage, Instant, Duration)| {
        json!({
            "traceId": trace.trace_id,
            "spanId": new_span_id(),
            "parentSpanId": trace.span_id,
            "name": stage.as_str(),
            "kind": INTERNAL,
            "startTimeUnixNano": nanos(at(*begun)),
            "endTimeUnixNano": nanos(at(*begun + *duration)),
            "status": {},
        })
    };
    std::iter::once(request).chain(finished.stages.iter().map(stage)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_place_or_a_whole_address() {
        let parsed = |url| Endpoint::parse(url).map(|it| format!("{} {}", it.authority, it.path));
        assert_eq!(parsed("http://localhost:4318").unwrap(), "localhost:4318 /v1/traces");
        assert_eq!(parsed("http://localhost:4318/").unwrap(), "localhost:4318 /v1/traces");
        assert_eq!(parsed("http://[::1]:4318/x/y").unwrap(), "[::1]:4318 /x/y");
        assert_eq!(parsed("http://[::1]").unwrap(), "[::1]:80 /v1/traces");
        assert_eq!(parsed("http://collector").unwrap(), "collector:80 /v1/traces");
        for wrong in ["", "localhost:4318", "https://x", "http://", "http://a b", "http://u:p@x"] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn pairs_are_those_of_the_standard_variables() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(pairs(" a=1 , b=x%20y%3D,"), Ok(vec![pair("a", "1"), pair("b", "x y=")]));
        assert_eq!(pairs("a=%zz%4"), Ok(vec![pair("a", "%zz%4")]));
        assert_eq!(pairs(""), Ok(Vec::new()));
        for wrong in ["a", "=1", "a=x%0d%0ay"] {
            assert!(pairs(wrong).is_err(), "{wrong}");
        }
    }
}
