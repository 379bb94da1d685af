//! Health, and what is shown of the models.

use seaworthy::config::{BatchRows, LaneChoice};
use serde_json::{Value, json};

use crate::helpers::{Connection, settings, spawn, spawn_with};

#[tokio::test(flavor = "multi_thread")]
async fn health_says_what_is_served() {
    let app = spawn().await;
    for path in ["/health", "/health/ready"] {
        let response = app.get(path).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "application/json");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let health: Value = response.json().await.unwrap();
        assert_eq!(health["status"], "ready");
        assert_eq!(health["name"], "seaworthy");
        assert_eq!(health["api_version"], env!("CARGO_PKG_VERSION"));
        assert_eq!(health["model"], "house-prices");
        assert_eq!(health["model_version"], "3.2.0");
        assert!(health["artifact"].as_str().unwrap().starts_with("sha256:"));
    }
    let live: Value = app.get("/health/live").await.json().await.unwrap();
    assert_eq!(live["status"], "alive");
}

/// A HEAD request has the head of the GET and no body, so that the next request of the connection is understood.
#[tokio::test(flavor = "multi_thread")]
async fn head_is_get_without_a_body() {
    let app = spawn().await;
    let mut connection = Connection::open(app.address).await;
    for path in [
        "/health",
        "/health/live",
        "/v1/models",
        "/v1/models/house-prices",
        "/nowhere",
        "/v1/predict",
    ] {
        connection.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        let get = connection.answer().await;
        connection.write(format!("HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        let head = connection.try_answer(false).await.unwrap();
        assert_eq!(head.status, get.status, "{path}");
        for header in ["content-type", "cache-control", "allow"] {
            assert_eq!(head.header(header), get.header(header), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_versions_are_listed_and_shown_whole() {
    let app = spawn().await;
    let listed: Value = app.get("/v1/models").await.json().await.unwrap();
    let listed: Vec<String> = listed["models"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| {
            let text = |key: &str| model[key].as_str().unwrap().to_owned();
            assert!(model["artifact"].as_str().unwrap().starts_with("sha256:"));
            assert!(model["proven_rows"].as_u64().unwrap() > 0);
            format!("{}@{} {} {}", text("name"), text("version"), text("role"), model["default"])
        })
        .collect();
    assert_eq!(listed, ["house-prices@3.2.0 primary true", "house-prices@3.3.0 standby false"]);
    let model: Value = app.get("/v1/models/house-prices").await.json().await.unwrap();
    assert_eq!(model["name"], "house-prices");
    for version in model["versions"].as_array().unwrap() {
        assert_eq!(version["inputs"].as_array().unwrap().len(), 37);
        assert!(version["proof"]["rows"].as_u64().unwrap() > 0, "{}", version["proof"]);
        assert!(version["provenance"].is_object() && version["engine"]["lane"].is_string());
    }
    let unknown = app.get("/v1/models/flat-prices").await;
    assert_eq!(unknown.status(), 404);
    let unknown: Value = unknown.json().await.unwrap();
    assert_eq!(
        unknown["detail"],
        "there is no model `flat-prices`; there are: house-prices@3.2.0, house-prices@3.3.0"
    );
}

/// A model whose name is not UTF-8 once decoded was a server error.
#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_not_utf_8_is_not_found() {
    let app = spawn().await;
    let mut connection = Connection::open(app.address).await;
    for request in [
        "GET /v1/models/%ff",
        "POST /v1/models/%ff/predict",
        "GET /%ff",
        "POST /v1/models/a/versions/%c3%28/predict",
    ] {
        let length = if request.starts_with("POST") { "Content-Length: 0\r\n" } else { "" };
        connection.write(format!("{request} HTTP/1.1\r\nHost: x\r\n{length}\r\n").as_bytes()).await;
        let answer = connection.answer().await;
        assert_eq!(answer.status, 404, "{request}: {}", answer.json());
    }
}

/// Workers merge where the golden rows cost less together; the setting can say otherwise, and there is nothing to merge without workers.
#[tokio::test(flavor = "multi_thread")]
async fn the_plan_says_what_is_merged() {
    let mut settings = settings();
    for (lane, rows, expected) in [
        (LaneChoice::Worker, BatchRows::Auto, None),
        (LaneChoice::Worker, BatchRows::UpTo(5), Some(json!(5))),
        (LaneChoice::Worker, BatchRows::UpTo(0), Some(Value::Null)),
        (LaneChoice::Inline, BatchRows::Auto, Some(Value::Null)),
    ] {
        (settings.engine.lane, settings.engine.batch_rows) = (lane, rows);
        let app = spawn_with(&settings).await;
        let model: Value = app.get("/v1/models/house-prices").await.json().await.unwrap();
        let engine = &model["versions"][0]["engine"];
        match expected {
            Some(expected) => assert_eq!(engine["batch_rows"], expected, "{lane:?}, {rows:?}"),
            // A graph of one matrix: a second row costs next to nothing.
            None => assert!(engine["batch_rows"].as_u64().unwrap() > 2, "{engine}"),
        }
        let merges = !engine["batch_rows"].is_null();
        assert_eq!(engine["batch_delay_us"], if merges { json!(0) } else { Value::Null });
        let only_when_busy = if merges { json!(false) } else { Value::Null };
        assert_eq!(engine["batch_only_when_busy"], only_when_busy, "{engine}");
    }
}
