//! The prediction log: what a record holds, with which types, and that it is enough to predict again.

use serde_json::Value;

use crate::helpers::{Predicted, Row, new_id, record, spawn, wrapped};

#[tokio::test(flavor = "multi_thread")]
async fn a_record_holds_what_the_contract_says() {
    let app = spawn().await;
    let id = new_id("record");
    let (good, bad) = (Row::good(), Row::good().with("YrSold", "null"));
    let body = wrapped([&good, &bad]);
    let response = app
        .post("/v1/predict?on_invalid=null", body.clone())
        .header("x-request-id", &id)
        .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        .send()
        .await
        .unwrap();
    let answer: Value = response.json().await.unwrap();
    let record = record(&id);
    assert_eq!(
        record.keys(),
        [
            "artifact",
            "errors",
            "inputs",
            "latency_us",
            "level",
            "model",
            "on_invalid",
            "predictions",
            "request_id",
            "role",
            "rows",
            "status",
            "target",
            "timestamp",
            "trace_id",
            "version"
        ]
    );
    let (timestamp, artifact) = (record.value("timestamp"), record.value("artifact"));
    let timestamp = timestamp.as_str().unwrap();
    assert!(
        timestamp.len() == 27 && timestamp.ends_with('Z') && timestamp.as_bytes()[10] == b'T',
        "{timestamp}"
    );
    let digest = artifact.as_str().unwrap().strip_prefix("sha256:").unwrap();
    assert!(digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()), "{digest}");
    for (key, value) in [
        ("level", "\"INFO\""),
        ("target", "\"prediction\""),
        ("trace_id", "\"4bf92f3577b34da6a3ce929d0e0e4736\""),
        ("model", "\"house-prices\""),
        ("version", "\"3.2.0\""),
        ("role", "\"primary\""),
        ("status", "200"),
        ("rows", "2"),
        ("on_invalid", "\"null\""),
        ("predictions", "[241991.33595329963,null]"),
    ] {
        assert_eq!(record.text(key), value, "{key}");
    }
    // As received, to the letter: JSON, not a string that holds JSON.
    assert_eq!(record.text("inputs"), &body[10..body.len() - 1]);
    assert_eq!(record.value("errors"), answer["errors"]);
    assert!(record.value("latency_us").is_u64());
}

/// A log line is enough to run the prediction again and get the same bits.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_can_be_predicted_again() {
    let app = spawn().await;
    let values = [
        "73.00",
        "1e2",
        "0.1e-3",
        "179769313486231570000e288",
        "73.0000000000000000000000001",
        "null",
    ];
    let rows: Vec<Row> =
        values.iter().map(|value| Row::good().with("LotFrontage", value)).collect();
    let id = new_id("again");
    let path = "/v1/predict?on_invalid=null";
    let response = app.post(path, wrapped(&rows)).header("x-request-id", &id).send().await.unwrap();
    let first: Predicted = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    let record = record(&id);
    let body = format!("{{\"inputs\":{}}}", record.text("inputs"));
    let response = app.post(path, body).send().await.unwrap();
    let second: Predicted = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(first.texts(), second.texts());
    assert_eq!(format!("[{}]", first.texts().join(",")), record.text("predictions"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_taken_or_made() {
    let app = spawn().await;
    let body = wrapped([&Row::good()]);
    let id_of = async |given: &[&str]| {
        let mut request = app.post("/v1/predict", body.clone());
        for id in given {
            request = request.header("x-request-id", *id);
        }
        let response = request.send().await.unwrap();
        let header = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let answer: Value = response.json().await.unwrap();
        assert_eq!(answer["request_id"], header.as_str());
        record(&header);
        header
    };
    let own = format!("A-z_0.9:/+=@{}", new_id("id"));
    assert_eq!(id_of(&[&own]).await, own);
    let longest = format!("{:x>128}", new_id("id"));
    assert_eq!(id_of(&[&longest]).await, longest);
    for bad in
        [&[][..], &[""], &["a b"], &["a\"b"], &["x\\n"], &["é"], &["a", "a"], &[&"x".repeat(129)]]
    {
        let made = id_of(bad).await;
        assert!(
            made.len() == 32 && made.bytes().all(|byte| byte.is_ascii_hexdigit()),
            "{bad:?}: {made}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_not_well_formed_is_not_continued() {
    let app = spawn().await;
    for (parent, expected) in [
        (
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
            "\"4bf92f3577b34da6a3ce929d0e0e4736\"",
        ),
        (
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-more",
            "\"4bf92f3577b34da6a3ce929d0e0e4736\"",
        ),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-00", "null"),
        ("00-\"}{x", "null"),
        ("", "null"),
    ] {
        let id = new_id("trace");
        let request = app.post("/v1/predict", wrapped([&Row::good()]));
        let request = request.header("x-request-id", &id).header("traceparent", parent);
        assert_eq!(request.send().await.unwrap().status(), 200);
        assert_eq!(record(&id).text("trace_id"), expected, "{parent}");
    }
}

/// Of a body that is not JSON only so much is logged, and never half a character that breaks the line.
#[tokio::test(flavor = "multi_thread")]
async fn a_long_body_that_is_not_json_is_cut_in_the_log() {
    let mut settings = crate::helpers::settings();
    settings.log.max_text_bytes = 10;
    let app = crate::helpers::spawn_with(&settings).await;
    for (body, shown) in [
        ("aéäöüßx".as_bytes().to_vec(), "aéäöü\u{fffd}".to_owned()),
        (b"\xff\"\n\r\0\\".to_vec(), "\u{fffd}\"\n\r\0\\".to_owned()),
    ] {
        let id = new_id("cut");
        let request = app.post("/v1/predict", body.clone()).header("x-request-id", &id);
        assert_eq!(request.send().await.unwrap().status(), 400);
        let record = record(&id);
        assert_eq!(record.value("body"), shown);
        assert_eq!(record.value("body_bytes"), body.len());
    }
}

/// Of a body that came in several pieces and then broke off, only the first piece was logged.
#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_off_is_logged_as_far_as_it_came() {
    let mut settings = crate::helpers::settings();
    settings.server.body_timeout_ms = 400;
    let app = crate::helpers::spawn_with(&settings).await;
    let mut connection = crate::helpers::Connection::open(app.address).await;
    let id = new_id("pieces");
    let head = format!(
        "POST /v1/predict HTTP/1.1\r\nHost: x\r\nX-Request-ID: {id}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    connection.write(format!("{head}5\r\n{{\"inp\r\n4\r\nuts\"\r\n1\r\n:\r\n").as_bytes()).await;
    assert_eq!(connection.answer().await.status, 408);
    let record = record(&id);
    assert_eq!((record.value("body"), record.text("body_bytes")), ("{\"inputs\":".into(), "10"));
}
