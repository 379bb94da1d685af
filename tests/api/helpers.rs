//! A server in this process, ways to speak to it, and what it logs.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use seaworthy::config::{self, Settings};
use seaworthy::engine::{Lane, Plan, Predict};
use seaworthy::observe::prediction_log::{self, Memory, PredictionLayer, PredictionLog, Sink};
use seaworthy::startup::{Application, ServerError};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Nothing in these tests takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

// The server.

pub(crate) struct TestApp {
    pub(crate) address: SocketAddr,
    pub(crate) client: reqwest::Client,
    pub(crate) server: JoinHandle<Result<(), ServerError>>,
}

/// The settings of the program, with a free port, and nothing read from the environment.
pub(crate) fn settings() -> Settings {
    let nowhere = tempfile::tempdir().unwrap();
    let mut settings = Settings::load(nowhere.path(), BTreeMap::new()).unwrap();
    settings.server.host = [127, 0, 0, 1].into();
    settings.server.port = 0;
    settings.server.drain_delay_ms = 0;
    settings.models.dir = models_dir();
    settings.engine.threads = 2;
    settings
}

pub(crate) fn models_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models")
}

/// A server of the models of the repository.
pub(crate) async fn spawn() -> TestApp {
    spawn_with(&settings()).await
}

pub(crate) async fn spawn_with(settings: &Settings) -> TestApp {
    LazyLock::force(&LOGS);
    serve(Application::build(settings, &config::process()).await.unwrap())
}

/// A server whose default model is run by these predictors.
pub(crate) async fn spawn_doubles(
    settings: &Settings,
    lane: Lane,
    queue: usize,
    predictors: Vec<Box<dyn Predict>>,
) -> TestApp {
    LazyLock::force(&LOGS);
    let engine = &settings.engine;
    let max_wait = Some(Duration::from_millis(engine.max_wait_ms));
    let plan = Plan { burst: engine.burst, max_wait, ..Plan::new(lane, predictors.len(), queue) };
    let process = config::process();
    serve(Application::build_with(settings, &process, predictors, plan).await.unwrap())
}

fn serve(application: Application) -> TestApp {
    let address = application.address();
    let server = tokio::spawn(application.run_until_stopped());
    // When the next request is sent before the last connection is free again there is a second one, which must not stay.
    let client = reqwest::Client::builder().pool_max_idle_per_host(1).build().unwrap();
    TestApp { address, client, server }
}

impl TestApp {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn post(
        &self,
        path: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::RequestBuilder {
        let json = ("content-type", "application/json");
        self.client.post(self.url(path)).header(json.0, json.1).body(body)
    }

    pub(crate) async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    /// The answer to a request that must succeed.
    pub(crate) async fn predict(&self, path: &str, body: impl Into<reqwest::Body>) -> Value {
        let response = self.post(path, body).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert_eq!(status, 200, "{}", text.chars().take(2000).collect::<String>());
        serde_json::from_str(&text).unwrap()
    }
}

/// An id that no other request has.
pub(crate) fn new_id(what: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{what}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

// What is logged. There is one subscriber for all tests of the process; records are told apart by the request's id.

struct Logs {
    predictions: Memory,
    log: PredictionLog,
    messages: Arc<Mutex<Vec<u8>>>,
    // The writer's thread lives as long as the process.
    _writer: Mutex<prediction_log::Writer>,
}

static LOGS: LazyLock<Logs> = LazyLock::new(|| {
    let predictions = Memory::default();
    let (log, writer) = PredictionLog::start(&Sink::Memory(predictions.clone()), 8192).unwrap();
    let messages: Arc<Mutex<Vec<u8>>> = Arc::default();
    let shared = Arc::clone(&messages);
    let is_prediction =
        |metadata: &tracing::Metadata<'_>| metadata.target() == prediction_log::TARGET;
    let own = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .with_writer(move || Appender(Arc::clone(&shared)))
        .with_filter(filter_fn(move |metadata| {
            metadata.level() <= &LevelFilter::INFO && !is_prediction(metadata)
        }));
    let records = PredictionLayer::new(log.clone()).with_filter(filter_fn(is_prediction));
    tracing_subscriber::registry().with(own).with(records).init();
    Logs { predictions, log, messages, _writer: Mutex::new(writer) }
});

struct Appender(Arc<Mutex<Vec<u8>>>);

impl Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The lines of the service's own messages that hold `text`.
pub(crate) fn messages(text: &str) -> Vec<String> {
    let messages = String::from_utf8_lossy(&LOGS.messages.lock().unwrap()).into_owned();
    messages.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// A line of the prediction log. Its values stay text: JSON has numbers that no float holds.
pub(crate) struct Record(BTreeMap<String, Box<RawValue>>);

impl Record {
    pub(crate) fn parse(line: &str) -> Self {
        Self(serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
    }

    /// The JSON text of a key.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.0.get(key).unwrap_or_else(|| panic!("no {key} in {:?}", self.0)).get()
    }

    pub(crate) fn value(&self, key: &str) -> Value {
        serde_json::from_str(self.text(key)).unwrap()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub(crate) fn keys(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

/// The lines that a request left in the prediction log.
pub(crate) fn lines(id: &str) -> Vec<String> {
    assert!(LOGS.log.flush(PATIENCE));
    let key = format!("\"request_id\":\"{id}\"");
    LOGS.predictions.text().lines().filter(|line| line.contains(&key)).map(str::to_owned).collect()
}

/// The one record of a request.
#[track_caller]
pub(crate) fn record(id: &str) -> Record {
    let lines = lines(id);
    let [line] = lines.as_slice() else { panic!("{} lines for {id}: {lines:?}", lines.len()) };
    Record::parse(line)
}

/// Waits until `condition` gives something.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// The one record of a request that is logged after its client has gone.
pub(crate) async fn record_at_last(id: &str) -> Record {
    eventually(id, async || (!lines(id).is_empty()).then_some(())).await;
    record(id)
}

// Requests byte by byte, as no client library makes them.

pub(crate) struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(known, _)| known == name);
        let (first, second) = (found.next(), found.next());
        assert!(second.is_none(), "{name} twice");
        first.map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text:?}"))
    }

    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    /// Writes; the server may have closed the connection meanwhile, which reading will show.
    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        let _closed = self.stream.write_all(bytes).await;
    }

    /// The socket itself.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Says that nothing more is written.
    pub(crate) async fn finish(&mut self) {
        let _closed = self.stream.shutdown().await;
    }

    /// Reads an answer with its body.
    pub(crate) async fn answer(&mut self) -> Answer {
        self.try_answer(true).await.unwrap()
    }

    /// Reads an answer; `None` when the connection ends without one.
    pub(crate) async fn try_answer(&mut self, has_body: bool) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.more().await {
                return None;
            }
        };
        let head = String::from_utf8(self.read.drain(..end).collect()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = Answer { status, headers, body: Vec::new() };
        if has_body && status >= 200 {
            let length: usize = answer.header("content-length").unwrap().parse().unwrap();
            while self.read.len() < length {
                assert!(self.more().await, "the connection ended in the middle of an answer");
            }
            answer.body = self.read.drain(..length).collect();
        }
        Some(answer)
    }

    async fn more(&mut self) -> bool {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.read)).await;
        matches!(read.expect("an answer or an end"), Ok(1..))
    }

    /// Waits until the server closes the connection. Returns whether it did so without saying anything more.
    pub(crate) async fn ends_silently(&mut self) -> bool {
        self.read.clear();
        while self.more().await {}
        self.read.is_empty()
    }
}

/// A request to `/v1/predict` with a length.
pub(crate) fn post_bytes(id: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST /v1/predict HTTP/1.1\r\nHost: x\r\nX-Request-ID: {id}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

// Rows.

/// A row as keys and the JSON text of values, in order.
#[derive(Debug, Clone)]
pub(crate) struct Row(pub(crate) Vec<(String, String)>);

impl Row {
    /// The first golden row of the model.
    pub(crate) fn good() -> Self {
        let golden = models_dir().join("house-prices/3.2.0/golden.jsonl");
        let golden = std::fs::read_to_string(golden).unwrap();
        let first: Value = serde_json::from_str(golden.lines().next().unwrap()).unwrap();
        let row = first["input"].as_object().unwrap();
        Self(row.iter().map(|(key, value)| (key.clone(), value.to_string())).collect())
    }

    /// With another value in a field, or with one more key.
    pub(crate) fn with(mut self, key: &str, value: &str) -> Self {
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => value.clone_into(old),
            None => self.0.push((key.to_owned(), value.to_owned())),
        }
        self
    }

    /// With one more key at the end, even if it is there already.
    pub(crate) fn and(mut self, key: &str, value: &str) -> Self {
        self.0.push((key.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, key: &str) -> Self {
        self.0.retain(|(known, _)| known != key);
        self
    }

    pub(crate) fn json(&self) -> String {
        let cells: Vec<String> = self
            .0
            .iter()
            .map(|(key, value)| format!("{}:{value}", Value::from(key.as_str())))
            .collect();
        format!("{{{}}}", cells.join(","))
    }
}

/// The usual body around rows.
pub(crate) fn wrapped<'a>(rows: impl IntoIterator<Item = &'a Row>) -> String {
    let rows: Vec<String> = rows.into_iter().map(Row::json).collect();
    format!("{{\"inputs\":[{}]}}", rows.join(","))
}

/// The rows of a CSV file of the test data with their `Id`, by the schema that the server shows.
pub(crate) async fn csv_rows(app: &TestApp, file: &str) -> Vec<(u32, Row)> {
    let model: Value = app.get("/v1/models/house-prices").await.json().await.unwrap();
    let fields = model["versions"][0]["inputs"].as_array().unwrap();
    let text = std::fs::read_to_string(data(file)).unwrap();
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let columns: Vec<(usize, &str, bool)> = fields
        .iter()
        .map(|field| {
            let name = field["name"].as_str().unwrap();
            let aliases = field["aliases"].as_array();
            let at = header.iter().position(|column| {
                *column == name
                    || aliases.is_some_and(|aliases| aliases.iter().any(|alias| alias == column))
            });
            // The key as the file has it, so that aliases are in use.
            (at.unwrap(), header[at.unwrap()], field["type"] == "string")
        })
        .collect();
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            let cell = |&(at, key, is_text): &(usize, &str, bool)| {
                let value = match cells[at] {
                    "NA" => "null".to_owned(),
                    text if is_text => Value::from(text).to_string(),
                    number => number.to_owned(),
                };
                (key.to_owned(), value)
            };
            (cells[0].parse().unwrap(), Row(columns.iter().map(cell).collect()))
        })
        .collect()
}

pub(crate) fn data(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/house-prices").join(file)
}

/// The `Id` and the prediction of each line of a file of predictions.
pub(crate) fn csv_predictions(file: &str) -> BTreeMap<u32, f64> {
    let text = std::fs::read_to_string(data(file)).unwrap();
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        (cells[1].parse().unwrap(), cells[2].parse().unwrap())
    };
    text.lines().skip(1).map(line).collect()
}

/// An answer whose predictions stay text, so that they can be compared to the bit.
#[derive(serde::Deserialize)]
pub(crate) struct Predicted {
    pub(crate) predictions: Vec<Box<RawValue>>,
    pub(crate) errors: Option<Vec<Value>>,
}

impl Predicted {
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.predictions.iter().map(|prediction| prediction.get()).collect()
    }
}
