//! Values of sensitive fields are nowhere in what the process writes or sends, but in the answer to the one who sent them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::fault::fault;
use crate::helpers::{Server, eventually, good, root, seaworthy};
use crate::traces::Collector;

/// A category that the model knows, a text, and a number: none of them occurs anywhere else.
const TEXT: &str = "Timber";
const OTHER_TEXT: &str = "zyxwvutsr";
const NUMBER: &str = "8675309";

/// A copy of the artifact in which a string and a number are sensitive.
fn sensitive_copy(models: &Path) {
    let (from, to) = (root().join("models/house-prices/3.2.0"), models.join("house-prices/3.2.0"));
    fs::create_dir_all(&to).unwrap();
    let mut sums = BTreeMap::new();
    for entry in fs::read_dir(&from).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let mut bytes = fs::read(from.join(&name)).unwrap();
        if name == "SHA256SUMS" {
            continue;
        }
        if name == "manifest.json" {
            let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
            for field in manifest["inputs"].as_array_mut().unwrap() {
                if ["Neighborhood", "LotFrontage"].contains(&field["name"].as_str().unwrap()) {
                    field["sensitive"] = true.into();
                }
            }
            bytes = serde_json::to_vec(&manifest).unwrap();
        }
        fs::write(to.join(&name), &bytes).unwrap();
        sums.insert(name, Sha256::digest(&bytes));
    }
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let sums: String = sums.iter().map(|(name, sum)| format!("{}  {name}\n", hex(sum))).collect();
    fs::write(to.join("SHA256SUMS"), sums).unwrap();
}

#[test]
fn sensitive_values_are_in_no_log_no_metric_and_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    sensitive_copy(dir.path());
    let log = dir.path().join("predictions.log");
    let collector = Collector::start(&[200]);
    let mut command = seaworthy(&["serve"]);
    command
        .env("SEAWORTHY__MODELS__DIR", dir.path())
        .env("SEAWORTHY__LOG__PREDICTIONS", &log)
        .env("SEAWORTHY__LOG__LEVEL", "trace")
        .env("SEAWORTHY__LOG__FORMAT", "json")
        .env("SEAWORTHY__LOG__SENSITIVE_KEY", "a key that is not shown")
        .env("SEAWORTHY__OTEL__ENDPOINT", collector.endpoint())
        .stdout(std::process::Stdio::piped());
    let mut server = Server::of(command);
    let mut stdout = server.child.stdout.take().unwrap();
    let secret = good().replace("73.0", NUMBER);
    assert!(secret.contains(NUMBER) && secret.contains(TEXT));
    let wrong = secret.replace(TEXT, OTHER_TEXT);
    let mut bodies = vec![secret.clone(), wrong];
    bodies.push(secret.replace("\"Timber\"", "[\"Timber\"]"));
    bodies.push(secret.replace(NUMBER, &format!("\"{NUMBER}\"")));
    bodies.push(secret.replace(NUMBER, &format!("{NUMBER}e999")));
    bodies.push(secret.replace("Neighborhood", "neighborhood"));
    bodies.push(secret.replace("inputs", "rows"));
    bodies.push(secret.replace("}]}", "}"));
    bodies.push(format!("{{\"inputs\":[\"{TEXT}\",{NUMBER},{{\"unknown\":\"{OTHER_TEXT}\"}}]}}"));
    bodies.push(format!("{TEXT}={NUMBER}"));
    let mut statuses = BTreeMap::new();
    for body in &bodies {
        for path in
            ["/v1/predict", "/v1/predict?on_invalid=null", "/v1/models/house-prices/predict"]
        {
            for media_type in ["application/json", "text/plain"] {
                let head = format!("POST {path} HTTP/1.1\r\ncontent-type: {media_type}");
                *statuses.entry(server.ask(&head, body).status).or_insert(0) += 1;
            }
        }
    }
    assert!(
        [200, 400, 415, 422].iter().all(|status| statuses.contains_key(status)),
        "{statuses:?}"
    );
    // HTTP/2, whose library has messages of its own at the level of traces.
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
        let url = format!("http://127.0.0.1:{}/v1/predict", server.port);
        let request = client.post(url).header("content-type", "application/json");
        let answer = request.body(secret.clone()).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    });
    let metrics = server.ask("GET /metrics HTTP/1.1", "").body;
    let model = server.ask("GET /v1/models/house-prices HTTP/1.1", "").body;
    let n_requests = bodies.len() * 6 + 1;
    let (status, messages) = server.stop();
    assert_eq!(status.code(), Some(0), "{messages}");
    eventually("all spans are there", || {
        let all: String = collector.messages().into_iter().map(|(_, body)| body).collect();
        all.matches("\"kind\":2").count() >= n_requests
    });
    let spans: String =
        collector.messages().into_iter().map(|(head, body)| format!("{head}{body}")).collect();
    let records = fs::read_to_string(&log).unwrap();
    assert_eq!(records.lines().count(), n_requests);
    let mut said = String::new();
    std::io::Read::read_to_string(&mut stdout, &mut said).unwrap();
    for (what, output) in [
        ("the prediction log", &records),
        ("the messages", &messages),
        ("standard output", &said),
        ("the metrics", &metrics),
        ("the spans", &spans),
    ] {
        for value in [TEXT, OTHER_TEXT, NUMBER, "a key that is not shown"] {
            let line = output.lines().find(|line| line.contains(value));
            assert_eq!(line, None, "{value} is in {what}");
        }
    }
    // What training has seen of such a field is not shown either.
    let model: Value = serde_json::from_str(&model).unwrap();
    for field in model["versions"][0]["inputs"].as_array().unwrap() {
        if field["sensitive"] == true {
            assert_eq!((&field["categories"], &field["example"]), (&Value::Null, &Value::Null));
        }
    }
    // That the search would find them: the one field that is not sensitive is there.
    assert!(records.contains("\"MSZoning\":\"RL\"") && messages.lines().count() > 10);
    fault!(
        "sensitive values in odd requests",
        "10 bodies x 3 paths x 2 media types, HTTP/2, messages at trace level",
        "raw values in no log, message, metric or span",
        "as expected"
    );
}

/// Each message that a request gives rise to leads to it.
#[test]
fn every_message_of_a_request_carries_its_id_and_its_trace() {
    let log = tempfile::tempdir().unwrap();
    let mut command = seaworthy(&["serve", "house-prices@3.2.0"]);
    command
        .env("SEAWORTHY__LOG__LEVEL", "info,seaworthy=trace")
        .env("SEAWORTHY__LOG__FORMAT", "json")
        .env("SEAWORTHY__LOG__PREDICTIONS", log.path().join("predictions.log"))
        // Each prediction takes too long.
        .env("SEAWORTHY__SERVER__BODY_TIMEOUT_MS", "1")
        .env("SEAWORTHY__SERVER__REQUEST_TIMEOUT_MS", "1")
        // The worker may be busy still with one that was given up; the next must not be refused for it.
        .env("SEAWORTHY__ENGINE__MAX_WAIT_MS", "60000")
        .env("SEAWORTHY__ENGINE__LANE", "worker")
        .env("SEAWORTHY__ENGINE__THREADS", "1")
        .stdout(std::process::Stdio::null());
    let server = Server::of(command);
    let before = server.messages().len();
    let rows = good().replace("{\"inputs\":[", "").replace("]}", "");
    let body = format!("{{\"inputs\":[{}]}}", vec![rows; 3000].join(","));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let mut n_failed = 0;
    for number in 0..20 {
        let id = format!("request-{number}");
        let headers = [("x-request-id", &*id), ("traceparent", &*parent)];
        let answer = server.predict_with(&headers, &body);
        // While the one before is still computed it is refused at once; such are told of together, by their number.
        n_failed += usize::from(answer.body.contains("took longer"));
    }
    assert!(n_failed > 0);
    eventually("each is told of", || {
        server.messages().matches("a request failed").count() == n_failed
    });
    for line in server.messages()[before..].lines() {
        let message: Value = serde_json::from_str(line).unwrap();
        if message["refused.n"].is_u64() {
            continue;
        }
        let id = message["request.id"].as_str();
        assert!(id.is_some_and(|id| id.starts_with("request-")), "{line}");
        assert_eq!(message["trace.id"], trace, "{line}");
    }
}
