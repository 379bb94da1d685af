//! What a request must not be: each gets a clear answer and one line in the log, and the next good request is answered.

use std::fmt::Write as _;

use seaworthy::schema::UnknownFields;
use serde_json::Value;

use crate::helpers::{
    Connection, Row, TestApp, new_id, post_bytes, record_at_last, settings, spawn_with, wrapped,
};

const MAX_BODY: usize = 60_000;

/// A request, built byte by byte.
struct Case {
    name: String,
    method: &'static str,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    /// The body as it goes over the wire.
    body: Vec<u8>,
    framing: Framing,
}

enum Framing {
    Length,
    Chunked,
    /// Neither a length nor chunks: there is no body.
    Absent,
    /// More is promised than comes; then the client waits.
    Declares(usize),
    /// More is promised than comes; then the client closes its side.
    Breaks(usize),
}

fn post(name: &str, body: impl Into<Vec<u8>>) -> Case {
    Case {
        name: name.to_owned(),
        method: "POST",
        path: "/v1/predict".to_owned(),
        headers: vec![("Content-Type".to_owned(), b"application/json".to_vec())],
        body: body.into(),
        framing: Framing::Length,
    }
}

/// A good request but for one thing.
fn good(name: &str) -> Case {
    post(name, wrapped([&Row::good()]))
}

/// A request of one row that is not good.
fn row(name: &str, row: &Row) -> Case {
    post(name, wrapped([row]))
}

impl Case {
    fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    fn path(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.retain(|(known, _)| known != name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    fn framing(self, framing: Framing) -> Self {
        Self { framing, ..self }
    }

    fn bytes(&self, id: &str) -> Vec<u8> {
        let mut request =
            format!("{} {} HTTP/1.1\r\nHost: x\r\nX-Request-ID: {id}\r\n", self.method, self.path)
                .into_bytes();
        let headers = self.headers.iter().filter(|(_, value)| !value.is_empty());
        for (name, value) in headers {
            request.extend_from_slice(name.as_bytes());
            request.extend_from_slice(b": ");
            request.extend_from_slice(value);
            request.extend_from_slice(b"\r\n");
        }
        match self.framing {
            Framing::Length => {
                request.extend(format!("Content-Length: {}\r\n\r\n", self.body.len()).bytes());
                request.extend_from_slice(&self.body);
            }
            Framing::Declares(length) | Framing::Breaks(length) => {
                request.extend(format!("Content-Length: {length}\r\n\r\n").bytes());
                request.extend_from_slice(&self.body);
            }
            Framing::Chunked => {
                request.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in self.body.chunks(1000) {
                    request.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    request.extend_from_slice(chunk);
                    request.extend_from_slice(b"\r\n");
                }
                request.extend_from_slice(b"0\r\n\r\n");
            }
            Framing::Absent => request.extend_from_slice(b"\r\n"),
        }
        request
    }
}

/// A body, token by token: cut off behind each, and with a wrong one in the place of each.
fn broken_tokens() -> Vec<Case> {
    const TOKENS: [&str; 29] = [
        "{",
        "\"inputs\"",
        ":",
        "[",
        "{",
        "\"LotFrontage\"",
        ":",
        "-1.5e3",
        ",",
        "\"x\"",
        ":",
        "[",
        "true",
        ",",
        "null",
        ",",
        "\"\\u00e9\"",
        "]",
        ",",
        "\"y\"",
        ":",
        "{",
        "}",
        "}",
        "]",
        ",",
        "\"k\"",
        ":",
        "0}",
    ];
    let mut cases = Vec::new();
    for at in 0..TOKENS.len() {
        let before = TOKENS[..at].concat();
        let after = TOKENS[at + 1..].concat();
        cases.push(post(&format!("cut off: {before}"), before.clone()));
        cases.push(post(&format!("junk: {before} ? …"), format!("{before}?{after}")));
    }
    cases
}

fn not_json() -> Vec<Case> {
    let in_row = |value: &str| wrapped([&Row::good().with("LotFrontage", value)]);
    let utf16: Vec<u8> = "{\"inputs\":[]}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut cases = vec![
        post("nothing", ""),
        post("blanks", " \r\n\t "),
        post("NaN", in_row("NaN")),
        post("Infinity", in_row("-Infinity")),
        post("Python's None", in_row("None")),
        post("Python's quotes", "{'inputs': []}"),
        post("a plus sign", in_row("+5")),
        post("a leading zero", in_row("007")),
        post("no digit before the point", in_row(".5")),
        post("no digit behind the point", in_row("5.")),
        post("no digit in the exponent", in_row("5e")),
        post("a hexadecimal number", in_row("0x10")),
        post("a comment", "{\"inputs\": [] /* none */}"),
        post("a trailing comma in an array", "{\"inputs\": [{},]}"),
        post("a trailing comma in an object", "{\"inputs\": [{\"a\":1,}]}"),
        post("a key without quotes", "{inputs: []}"),
        post("a number as a key", "{1: []}"),
        post("two values", "{\"inputs\": []} {\"inputs\": []}"),
        post("rows line by line", format!("{}\n{}\n", Row::good().json(), Row::good().json())),
        post("a wrong bracket", "{\"inputs\": [}]"),
        post("a lone surrogate", in_row(r#""\ud800""#)),
        post("a low surrogate alone", in_row(r#""\udc00x""#)),
        post("an unknown escape", in_row(r#""\x41""#)),
        post("a short escape", in_row(r#""\u12""#)),
        post("a line break in a string", in_row("\"a\nb\"")),
        post("a NUL in a string", in_row("\"a\0b\"")),
        post("a NUL behind the value", "{\"inputs\": []}\0"),
        post("a byte order mark", format!("\u{feff}{}", wrapped([&Row::good()]))),
        post("invalid UTF-8", *b"{\"inputs\": [{\"MSZoning\": \"\xc3\x28\"}]}"),
        post("a surrogate in UTF-8", *b"{\"inputs\": [{\"MSZoning\": \"\xed\xa0\x80\"}]}"),
        post("UTF-16", utf16),
        post("gzip, undeclared", *b"\x1f\x8b\x08\x00\x00\x00\x00\x00"),
        post("10,000 nested arrays", "[".repeat(10_000)),
        post("10,000 nested arrays, closed", "[".repeat(10_000) + &"]".repeat(10_000)),
        post("10,000 nested objects", "{\"inputs\":".repeat(5_000)),
        post(
            "10,000 nested arrays in a field that is ignored",
            in_row("1").replace("}]}", &format!(",\"x\":{}}}]}}", "[".repeat(10_000))),
        ),
        post("a form", "inputs=5&on_invalid=null"),
        good("neither a length nor chunks").framing(Framing::Absent),
    ];
    cases.extend(broken_tokens());
    cases
}

fn not_the_schema() -> Vec<Case> {
    let good_row = Row::good;
    let cell = |name: &str, field: &str, value: &str| row(name, &good_row().with(field, value));
    let many = format!("[{}]", vec!["{}"; 51].join(","));
    vec![
        post("no rows", "{\"inputs\": []}"),
        post("no rows, bare", "[]"),
        post("an empty object", "{}"),
        post("a row without inputs around it", good_row().json()),
        post("instances", wrapped([&good_row()]).replace("inputs", "instances")),
        post("Inputs", wrapped([&good_row()]).replace("inputs", "Inputs")),
        post("inputs twice", "{\"inputs\": [{}], \"inputs\": []}"),
        post("inputs is null", "{\"inputs\": null}"),
        post("inputs is a string", "{\"inputs\": \"a\"}"),
        post("inputs is a number", "{\"inputs\": 5}"),
        post("the body is null", "null"),
        post("the body is a number", "1e400"),
        post(
            "the body is a string: JSON encoded twice",
            Value::from("{\"inputs\": []}").to_string(),
        ),
        post("columns instead of rows", "{\"inputs\": {\"LotFrontage\": [1, 2]}}"),
        post("a row that is a list", "{\"inputs\": [[1, 2]]}"),
        post("a row that is null", format!("{{\"inputs\": [{}, null]}}", good_row().json())),
        post("rows in rows", format!("[[{}]]", good_row().json())),
        post("an empty row", "{\"inputs\": {}}"),
        post("too many rows", many),
        row("a required field is absent", &good_row().without("MSZoning")),
        row("a required field is null", &good_row().with("MSZoning", "null")),
        row("a misspelt field", &good_row().without("GarageArea").and("garageArea", "5")),
        cell("a fraction for an int", "FirstFlrSF", "5.5"),
        cell("a fraction in an exponent for an int", "FirstFlrSF", "55e-1"),
        cell("a string for an int", "FirstFlrSF", "\"856\""),
        cell("true for an int", "FirstFlrSF", "true"),
        cell("an array for an int", "FirstFlrSF", "[856]"),
        cell("an object for an int", "FirstFlrSF", "{\"value\": 856}"),
        cell("2^63 for an int", "FirstFlrSF", "9223372036854775808"),
        cell("-2^63-1 for an int", "FirstFlrSF", "-9223372036854775809"),
        cell("1e400 for an int", "FirstFlrSF", "1e400"),
        cell("a long integer for an int", "FirstFlrSF", &"9".repeat(500)),
        cell("1e400 for a float", "LotFrontage", "1e400"),
        cell("-1e309 for a float", "LotFrontage", "-1e309"),
        cell("a string for a float", "LotFrontage", "\"80\""),
        cell("an empty string for a float", "LotFrontage", "\"\""),
        cell("false for a float", "LotFrontage", "false"),
        cell("a number for a string", "MSZoning", "5"),
        cell("true for a string", "MSZoning", "true"),
        cell("an array for a string", "MSZoning", "[\"RL\"]"),
        cell("a long string for an int", "FirstFlrSF", &format!("\"{}\"", "é\\n".repeat(300))),
        row("the same key twice", &good_row().and("MSZoning", "\"RL\"")),
        row("the same key twice, once with an escape", &good_row().and("MSZ\u{6f}ning", "\"RL\"")),
        row("a name and its alias", &good_row().and("1stFlrSF", "856")),
        row(
            "an alias twice",
            &good_row().without("FirstFlrSF").and("1stFlrSF", "1").and("1stFlrSF", "1"),
        ),
        row(
            "a bad value by its alias",
            &good_row().without("FirstFlrSF").and("1stFlrSF", "\"big\""),
        ),
        post(
            "bad values in a bare row",
            format!("{{\"inputs\": {}}}", good_row().with("MSSubClass", "\"a\"").json()),
        ),
        post(
            "bad values in a bare list",
            format!("[{}, {}]", good_row().json(), good_row().with("MSSubClass", "null").json()),
        ),
        post(
            "many rows with many faults",
            wrapped([
                &good_row().with("MSSubClass", "1.5").with("MSZoning", "5"),
                &good_row(),
                &good_row().without("YrSold").with("SaleCondition", "null"),
            ]),
        ),
        cell("a category that the pipeline refuses", "ExterQual", "\"Good\""),
        cell("a value out of the domain", "LotFrontage", "0"),
        cell("a value out of the domain, negative", "GrLivArea", "-5"),
        row(
            "a value out of the domain, by its alias",
            &good_row().without("FirstFlrSF").and("1stFlrSF", "0"),
        ),
        post(
            "faults of the schema and of the pipeline",
            wrapped([
                &good_row().with("GrLivArea", "0"),
                &good_row().with("MSSubClass", "null"),
                &good_row().with("ExterQual", "\"Good\""),
            ]),
        ),
        // Missing content length, but in chunks: read like any other.
        row("in chunks", &good_row().with("MSSubClass", "\"a\"")).framing(Framing::Chunked),
    ]
}

fn not_the_protocol() -> Vec<Case> {
    let long = "x".repeat(20_000);
    let large = format!("{{\"inputs\": \"{}\"}}", "x".repeat(MAX_BODY));
    vec![
        good("GET").method("GET").framing(Framing::Absent),
        good("PUT").method("PUT"),
        good("DELETE").method("DELETE").framing(Framing::Absent),
        good("OPTIONS").method("OPTIONS").framing(Framing::Absent),
        good("a method of one's own").method("PREDICT"),
        good("POST to a model's page").path("/v1/models"),
        good("POST to health").path("/health"),
        good("another path").path("/predict"),
        good("a slash at the end").path("/v1/predict/"),
        good("two slashes").path("//v1/predict"),
        good("dots in the path").path("/v1/models/../predict"),
        good("upper case").path("/V1/PREDICT"),
        good("an unknown model").path("/v1/models/flat-prices/predict"),
        good("an unknown version").path("/v1/models/house-prices/versions/9.9.9/predict"),
        good("no version").path("/v1/models/house-prices/versions/latest/predict"),
        good("an empty model").path("/v1/models//predict"),
        good("a model that climbs").path("/v1/models/..%2f..%2fetc%2fpasswd/predict"),
        good("a model that is not UTF-8").path("/v1/models/%ff%fe/predict"),
        good("a model with control characters").path("/v1/models/a%0d%0ab%00/predict"),
        good("a very long model").path(&format!("/v1/models/{long}/predict")),
        good("a very long path").path(&format!("/{long}")),
        good("another value of on_invalid").path("/v1/predict?on_invalid=skip"),
        good("no value of on_invalid").path("/v1/predict?on_invalid"),
        good("a long value of on_invalid").path(&format!("/v1/predict?on_invalid={long}")),
        good("upper case in on_invalid").path("/v1/predict?on_invalid=NULL"),
        good("no content type").header("Content-Type", ""),
        good("text").header("Content-Type", "text/plain"),
        good("a form by its type").header("Content-Type", "application/x-www-form-urlencoded"),
        good("something like JSON").header("Content-Type", "application/jsonx"),
        good("a content type that is not text").header("Content-Type", *b"\xff\xfe"),
        good("another charset").header("Content-Type", "application/json; charset=latin1"),
        good("compressed").header("Content-Encoding", "gzip"),
        good("compressed twice").header("Content-Encoding", "br, gzip"),
        post("a body over the limit", large.clone()),
        post("a body over the limit, only declared", "").framing(Framing::Declares(MAX_BODY + 1)),
        post("a body over the limit, in chunks", large).framing(Framing::Chunked),
        good("a slow body").framing(Framing::Declares(5_000)),
        post("a body that never comes", "").framing(Framing::Declares(5)),
        good("a connection that breaks in the body").framing(Framing::Breaks(5_000)),
        good("a chunk without a size")
            .header("Transfer-Encoding", "chunked")
            .framing(Framing::Absent),
    ]
}

fn strict() -> Vec<Case> {
    let good_row = Row::good;
    vec![
        row("an unknown field", &good_row().and("Basement", "5")),
        row("a misspelt field", &good_row().without("GarageArea").and("garageArea", "5")),
        row("an unknown field twice", &good_row().and("x~/y", "1").and("x~/y", "2")),
        post("a key beside inputs", "{\"inputs\": [], \"parameters\": {}}"),
        post("input instead of inputs", "{\"input\": []}"),
    ]
}

/// A row whose body or field names would make the table unreadable is cut.
fn short(text: &str) -> String {
    let shown: String = text.chars().take(110).flat_map(char::escape_debug).collect();
    if text.chars().count() > 110 { format!("{shown}…") } else { shown }
        .replace("\\\"", "\"")
        .replace("\\'", "'")
}

struct Table {
    app: TestApp,
    connection: Connection,
    text: String,
    n: usize,
    ids: Vec<String>,
}

impl Table {
    async fn new(unknown_fields: UnknownFields) -> Self {
        let mut settings = settings();
        settings.server.max_body_bytes = MAX_BODY;
        settings.server.body_timeout_ms = 400;
        settings.server.max_rows = 50;
        settings.server.max_errors = 5;
        settings.schema.unknown_fields = unknown_fields;
        let app = spawn_with(&settings).await;
        let connection = Connection::open(app.address).await;
        Self { app, connection, text: String::new(), n: 0, ids: Vec::new() }
    }

    async fn run(&mut self, cases: Vec<Case>) {
        for case in cases {
            self.check(&case).await;
        }
    }

    /// Sends a bad request and writes down what comes back; then a good one, over the same connection if it is still there.
    async fn check(&mut self, case: &Case) {
        self.n += 1;
        let id = new_id("bad");
        self.connection.write(&case.bytes(&id)).await;
        if matches!(case.framing, Framing::Breaks(_)) {
            self.connection.finish().await;
        }
        let name = &case.name;
        let answer = self.connection.try_answer(true).await;
        let answer =
            answer.unwrap_or_else(|| panic!("{name}: the connection ended without an answer"));
        let _infallible = writeln!(self.text, "{}", short(name).trim_end());
        let kind = answer.header("content-type").unwrap_or_default();
        let problem = answer.json();
        assert!((400..500).contains(&answer.status), "{name}: {problem}");
        assert_eq!(kind, "application/problem+json", "{name}");
        assert_eq!(answer.header("x-request-id"), Some(id.as_str()), "{name}");
        assert_eq!(problem["request_id"], id.as_str(), "{name}");
        assert_eq!(problem["status"], answer.status, "{name}");
        let allow =
            answer.header("allow").map(|allow| format!(", allow {allow}")).unwrap_or_default();
        let closes = if answer.closes() { ", closes" } else { "" };
        let _infallible = writeln!(
            self.text,
            "    {} {} \"{}\"{allow}{closes}\n    {}",
            answer.status,
            problem["type"].as_str().unwrap(),
            problem["title"].as_str().unwrap(),
            short(problem["detail"].as_str().unwrap())
        );
        for error in problem["errors"].as_array().into_iter().flatten() {
            let part = |key: &str| short(error[key].as_str().unwrap());
            let _infallible = writeln!(
                self.text,
                "      {} {}: {}",
                part("pointer"),
                part("code"),
                part("detail")
            );
        }
        if let Some(total) = problem.get("total_errors") {
            let _infallible = writeln!(self.text, "      {total} in all");
        }
        self.check_record(case, &id, &problem).await;
        if answer.closes() || matches!(case.framing, Framing::Breaks(_)) {
            self.connection = Connection::open(self.app.address).await;
        }
        let good = new_id("good");
        self.connection.write(&post_bytes(&good, wrapped([&Row::good()]).as_bytes())).await;
        let answer = self.connection.try_answer(true).await;
        let answer = answer.unwrap_or_else(|| panic!("{name}: the next request is not answered"));
        assert_eq!(answer.status, 200, "after {name}: {}", answer.json());
        self.ids.push(id);
    }

    /// The one line of the log: the answer's status and errors, and what was received.
    async fn check_record(&self, case: &Case, id: &str, problem: &Value) {
        let name = &case.name;
        let record = record_at_last(id).await;
        assert_eq!(record.value("status"), problem["status"], "{name}");
        assert_eq!(record.text("predictions"), "null", "{name}");
        assert_eq!(record.value("target"), "prediction", "{name}");
        let kind = problem["type"].as_str().unwrap();
        if kind == "/problems/invalid-input" {
            assert_eq!(record.value("errors"), problem["errors"], "{name}");
            // What was received, on one line, token for token.
            let sent = String::from_utf8(case.body.clone()).unwrap();
            let flat = |text: &str| text.split_whitespace().collect::<String>();
            assert!(
                flat(&sent).contains(&flat(record.text("inputs"))),
                "{name}: {}",
                record.text("inputs")
            );
            assert!(record.text("inputs") != "null" || sent.contains("null"), "{name}");
            assert!(!record.has("body"), "{name}");
        } else {
            let errors = record.value("errors");
            assert_eq!(errors.as_array().unwrap().len(), 1, "{name}");
            assert_eq!(errors[0]["detail"], problem["detail"], "{name}");
            assert_eq!(
                format!("/problems/{}", errors[0]["code"].as_str().unwrap()),
                kind,
                "{name}"
            );
            assert_eq!(record.text("inputs"), "null", "{name}");
        }
        if kind == "/problems/malformed-json"
            && !matches!(case.framing, Framing::Absent)
            && !case.body.is_empty()
        {
            assert_eq!(
                record.value("body"),
                String::from_utf8_lossy(&case.body).as_ref(),
                "{name}"
            );
            assert_eq!(record.value("body_bytes"), case.body.len(), "{name}");
        }
    }

    /// Once more at the end: no line came late.
    async fn finish(self) -> String {
        for id in &self.ids {
            record_at_last(id).await;
        }
        self.text
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_request_has_its_answer_and_its_line() {
    let mut table = Table::new(UnknownFields::Ignore).await;
    let mut text = String::new();
    let mut n = 0;
    for (heading, cases) in [
        ("Not the protocol", not_the_protocol()),
        ("Not JSON", not_json()),
        ("Not the schema", not_the_schema()),
    ] {
        table.run(cases).await;
        let _infallible = writeln!(text, "# {heading}\n\n{}", std::mem::take(&mut table.text));
        n += std::mem::take(&mut table.n);
    }
    table.finish().await;
    let mut table = Table::new(UnknownFields::Reject).await;
    table.run(strict()).await;
    n += table.n;
    let _infallible = write!(text, "# Unknown fields rejected\n\n{}", table.finish().await);
    assert!(n >= 60, "{n}");
    insta::with_settings!({ omit_expression => true }, {
        insta::assert_snapshot!("bad_requests", text);
    });
}
