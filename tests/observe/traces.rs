//! OpenTelemetry: what a collector receives, and that a trace is continued and answered.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::fault::fault;
use crate::helpers::{Server, eventually, good};

/// A collector of OTLP over HTTP: keeps what it receives.
pub(crate) struct Collector {
    port: u16,
    received: Arc<Mutex<Vec<(String, String)>>>,
}

impl Collector {
    /// Answers with these statuses, the last of them for ever.
    pub(crate) fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let received: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let kept = Arc::clone(&received);
        std::thread::spawn(move || {
            for (n, stream) in listener.incoming().enumerate() {
                let status = statuses.get(n).or(statuses.last()).unwrap();
                kept.lock().unwrap().push(answer(stream.unwrap(), *status));
            }
        });
        Self { port, received }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Heads and bodies of all messages.
    pub(crate) fn messages(&self) -> Vec<(String, String)> {
        self.received.lock().unwrap().clone()
    }

    /// All spans that were received, with the resource that they are of.
    fn spans(&self) -> Vec<(Value, Value)> {
        let mut spans = Vec::new();
        for (_, body) in self.messages() {
            let message: Value = serde_json::from_str(&body).unwrap();
            for of_resource in message["resourceSpans"].as_array().unwrap() {
                for of_scope in of_resource["scopeSpans"].as_array().unwrap() {
                    for span in of_scope["spans"].as_array().unwrap() {
                        spans.push((span.clone(), of_resource["resource"].clone()));
                    }
                }
            }
        }
        spans
    }

    /// The spans of a trace.
    fn trace(&self, trace_id: &str) -> Vec<Value> {
        let spans = self.spans().into_iter().map(|(span, _)| span);
        spans.filter(|span| span["traceId"] == trace_id).collect()
    }
}

/// Reads a message and answers it.
fn answer(mut stream: TcpStream, status: u16) -> (String, String) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while reader.read_line(&mut head).unwrap() > 2 {}
    let length = head.to_lowercase();
    let length = length.split_once("content-length: ").unwrap().1.split('\r').next().unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).unwrap();
    write!(stream, "HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\n{{}}").unwrap();
    (head, String::from_utf8(body).unwrap())
}

/// The attributes of a span or a resource.
fn attributes(of: &Value) -> std::collections::BTreeMap<String, String> {
    let text = |value: &Value| {
        let value = value.get("stringValue").or(value.get("intValue")).unwrap();
        value.as_str().unwrap().to_owned()
    };
    let list = of["attributes"].as_array().unwrap();
    list.iter()
        .map(|pair| (pair["key"].as_str().unwrap().to_owned(), text(&pair["value"])))
        .collect()
}

fn nanos(span: &Value, key: &str) -> u128 {
    span[key].as_str().unwrap().parse().unwrap()
}

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

#[test]
fn a_trace_is_continued_sent_and_answered() {
    let collector = Collector::start(&[200]);
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("predictions.log");
    let server = Server::logging_to(
        &log,
        &[
            ("SEAWORTHY__OTEL__ENDPOINT", &collector.endpoint()),
            ("SEAWORTHY__OTEL__HEADERS", "x-api-key=a%20b"),
            ("OTEL_SERVICE_NAME", "houses"),
            ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ],
    );
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let headers =
        [("traceparent", &*parent), ("tracestate", "a=1,b=2"), ("x-request-id", "traced")];
    let answer = server.predict_with(&headers, &good());
    assert_eq!(answer.status, 200);
    eventually("the spans arrive", || collector.trace(TRACE).len() == 6);
    let spans = collector.trace(TRACE);
    let [request, stages @ ..] = spans.as_slice() else { panic!("{spans:?}") };
    // The answer names our span.
    let own = request["spanId"].as_str().unwrap();
    assert_eq!(answer.header("traceresponse"), format!("00-{TRACE}-{own}-01"));
    assert_eq!(own.len(), 16);
    assert_eq!(request["parentSpanId"], PARENT);
    assert_eq!(request["traceState"], "a=1,b=2");
    assert_eq!(request["name"], "POST /v1/predict");
    assert_eq!((&request["kind"], &request["status"]), (&2.into(), &serde_json::json!({})));
    let expected = [
        ("http.request.method", "POST"),
        ("http.response.status_code", "200"),
        ("http.route", "/v1/predict"),
        ("seaworthy.model", "house-prices"),
        ("seaworthy.request_id", "traced"),
        ("seaworthy.rows", "1"),
        ("seaworthy.version", "3.2.0"),
    ];
    let expected = expected.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(attributes(request), std::collections::BTreeMap::from(expected));
    let names: Vec<&str> = stages.iter().map(|span| span["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["decode", "queue", "preprocess", "inference", "postprocess"]);
    // One after the other, inside the request.
    let mut last = nanos(request, "startTimeUnixNano");
    for stage in stages {
        assert_eq!((&stage["parentSpanId"], &stage["kind"]), (&own.into(), &1.into()));
        let (start, end) = (nanos(stage, "startTimeUnixNano"), nanos(stage, "endTimeUnixNano"));
        assert!(last <= start && start <= end, "{stage}");
        last = end;
    }
    assert!(last <= nanos(request, "endTimeUnixNano"));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!(now.as_nanos() - last < 60_000_000_000);
    let resource = attributes(&collector.spans()[0].1);
    assert_eq!(resource["service.name"], "houses");
    assert_eq!(resource["deployment.environment.name"], "test");
    let (head, _) = collector.messages().remove(0);
    assert!(head.starts_with("POST /v1/traces HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");
    assert!(head.contains("x-api-key: a b\r\n"), "{head}");
    eventually("they are counted", || {
        server.metric("seaworthy_spans_total{result=\"exported\"}") >= 6.0
    });
    server.stop();
    let record: Value =
        serde_json::from_str(std::fs::read_to_string(&log).unwrap().trim()).unwrap();
    assert_eq!(record["trace_id"], TRACE);
}

/// Who asks decides whether a trace is wanted; for those who say nothing, the share of the settings.
#[test]
fn only_what_is_wanted_is_sent() {
    let collector = Collector::start(&[200]);
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("predictions.log");
    let endpoint = collector.endpoint();
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint), ("SEAWORTHY__OTEL__SAMPLE", "0")];
    let server = Server::logging_to(&log, &settings);
    let unwanted = format!("00-{TRACE}-{PARENT}-00");
    let answer = server.predict_with(&[("traceparent", &unwanted)], &good());
    assert!(answer.header("traceresponse").starts_with(&format!("00-{TRACE}-")));
    assert!(answer.header("traceresponse").ends_with("-00"));
    server.predict("nobody asked");
    let other = TRACE.replace('4', "5");
    let wanted = format!("00-{other}-{PARENT}-01");
    // A request that is refused, and one to no model, are traced as well; health is not, unless it is asked for.
    server.predict_with(&[("traceparent", &wanted)], "{");
    server.ask(&format!("GET /v1/models/nobody HTTP/1.1\r\ntraceparent: {wanted}"), "");
    server.ask("GET /health HTTP/1.1", "");
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
    // What waited was sent at the end.
    let spans: Vec<Value> = collector.spans().into_iter().map(|(span, _)| span).collect();
    assert!(spans.iter().all(|span| span["traceId"] == other.as_str()), "{spans:#?}");
    let requests: Vec<&Value> = spans.iter().filter(|span| span["kind"] == 2).collect();
    let types: Vec<String> =
        requests.iter().map(|span| attributes(span)["error.type"].clone()).collect();
    assert_eq!(types, ["malformed-json", "unknown-model"]);
    // Each record has the trace it was told, or one that was begun here.
    let log = std::fs::read_to_string(&log).unwrap();
    let of = |line: &str| serde_json::from_str::<Value>(line).unwrap()["trace_id"].clone();
    let ids: Vec<Value> = log.lines().map(of).collect();
    assert_eq!((&ids[0], &ids[2], &ids[3]), (&TRACE.into(), &(*other).into(), &(*other).into()));
    assert_eq!(ids[1].as_str().unwrap().len(), 32);
}

/// A collector that is not there, or refuses, costs spans and no request; what it takes later is sent again.
#[test]
fn a_collector_that_fails_costs_spans_and_no_request() {
    let collector = Collector::start(&[503, 200]);
    let endpoint = collector.endpoint();
    let server = Server::start(&[("SEAWORTHY__OTEL__ENDPOINT", &endpoint)]);
    server.predict("again");
    eventually("it is sent again", || {
        server.metric("seaworthy_spans_total{result=\"exported\"}") >= 6.0
    });
    assert!(collector.messages().len() >= 2);
    assert_eq!(server.metric("seaworthy_spans_total{result=\"failed\"}"), 0.0);

    let refuses = Collector::start(&[400]);
    let endpoint = refuses.endpoint();
    let server = Server::start(&[("SEAWORTHY__OTEL__ENDPOINT", &endpoint)]);
    server.predict("refused");
    server.says("spans cannot be sent to the collector; they are lost");
    assert!(server.messages().contains("the collector answered 400"));

    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", nobody.local_addr().unwrap());
    drop(nobody);
    let server = Server::start(&[("SEAWORTHY__OTEL__ENDPOINT", &endpoint)]);
    (0..50).for_each(|number| server.predict(&number.to_string()));
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
    fault!(
        "collector busy; collector refuses; collector absent",
        "OTLP collector answers 503, then 200; answers 400; nobody listens",
        "sent again, none failed; counted, a message, requests go on; requests go on, exit 0 within the drain",
        "as expected"
    );
}

#[test]
fn without_a_collector_a_trace_is_logged_and_answered_but_not_sampled() {
    let server = Server::start(&[]);
    let parent = format!("00-{TRACE}-{PARENT}-01");
    let answer = server.predict_with(&[("traceparent", &parent)], &good());
    let response = answer.header("traceresponse").to_owned();
    assert!(
        response.starts_with(&format!("00-{TRACE}-")) && response.ends_with("-00"),
        "{response}"
    );
    let answer = server.predict_with(&[], &good());
    assert_eq!(answer.header("traceresponse"), "");
}

#[test]
fn a_collector_that_cannot_be_is_refused_at_the_start() {
    for (key, value, expected) in [
        ("SEAWORTHY__OTEL__ENDPOINT", "https://collector", "only http:// is spoken"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "(OTEL_EXPORTER_OTLP_ENDPOINT)"),
        ("SEAWORTHY__OTEL__HEADERS", "secret-token", "expected pairs"),
        ("OTEL_TRACES_SAMPLER_ARG", "2", "must be between 0 and 1"),
    ] {
        let output = crate::helpers::seaworthy(&["serve"]).env(key, value).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{key}: {stderr}");
        assert!(stderr.contains(expected) && !stderr.contains("secret-token"), "{stderr}");
    }
    // Switched off by the standard's own variable.
    let mut command = crate::helpers::seaworthy(&["serve", "house-prices@3.2.0"]);
    command
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "https://collector")
        .env("OTEL_SDK_DISABLED", "true");
    command.stdout(std::process::Stdio::null());
    Server::of(command).predict("off");
}
