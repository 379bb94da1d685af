//! Who is let in: keys and their quotas, and the pages of other hosts.

use reqwest::header::HeaderMap;
use seaworthy::access::new_key;
use seaworthy::config::Settings;
use serde_json::Value;

use super::helpers::{
    Connection, Row, TestApp, messages, new_id, record, settings, spawn, spawn_with, wrapped,
};
use crate::fault::fault;

/// Settings with two keys: one without limits, and one with what `more` says of it.
fn with_keys(more: &str) -> (Settings, String, String) {
    let (key, digest) = new_key().unwrap();
    let (other, other_digest) = new_key().unwrap();
    let mut settings = settings();
    settings.access.keys = format!("one {digest}, two {other_digest} {more}");
    (settings, key, other)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap_or_else(|| panic!("no {name} in {headers:?}")).to_str().unwrap()
}

async fn post(app: &TestApp, path: &str, id: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = app.post(path, wrapped([&Row::good()])).header("x-request-id", id);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

const PATHS: [&str; 3] = [
    "/v1/predict",
    "/v1/models/house-prices/predict",
    "/v1/models/house-prices/versions/3.2.0/predict",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_known_key_nothing_but_health_answers() {
    let (settings, key, _) = with_keys("");
    let app = spawn_with(&settings).await;
    let wrong = format!("Bearer {}x", &key[..key.len() - 1]);
    let basic = format!("Basic {key}");
    let bearer = format!("Bearer {key}");
    for path in PATHS {
        for headers in [
            &[][..],
            &[("authorization", wrong.as_str())],
            &[("authorization", "Bearer")],
            &[("authorization", "")],
            &[("authorization", basic.as_str())],
            &[("authorization", key.as_str())],
            &[("x-api-key", "sw_")],
            &[("x-api-key", key.as_str()), ("authorization", wrong.as_str())],
            &[("x-api-key", key.as_str()), ("x-api-key", key.as_str())],
        ] {
            let id = new_id("nokey");
            let response = post(&app, path, &id, headers).await;
            assert_eq!(response.status(), 401, "{path} {headers:?}");
            let challenge = text(response.headers(), "www-authenticate").to_owned();
            assert_eq!(challenge.contains("invalid_token"), !headers.is_empty(), "{challenge}");
            assert_eq!(text(response.headers(), "content-type"), "application/problem+json");
            let problem: Value = response.json().await.unwrap();
            assert_eq!(problem["type"], "/problems/unauthorized");
            assert!(!problem.to_string().contains(&key[4..20]), "{problem}");
            let record = record(&id);
            assert_eq!(record.value("status"), 401);
            assert!(!record.has("key") && record.value("inputs") == Value::Null);
        }
        for headers in [("authorization", bearer.as_str()), ("x-api-key", key.as_str())] {
            let id = new_id("key");
            let response = post(&app, path, &id, &[headers]).await;
            assert_eq!(response.status(), 200, "{path} {headers:?}");
            assert!(response.headers().get("ratelimit").is_none());
            assert_eq!(record(&id).value("key"), "one");
        }
    }
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(app.get(path).await.status(), 200, "{path}");
    }
    for path in [
        "/",
        "/docs",
        "/v1/openapi.json",
        "/v1/models",
        "/v1/models/house-prices",
        "/nothing",
        "/health/",
        "/metrics",
    ] {
        assert_eq!(app.get(path).await.status(), 401, "{path}");
    }
    // Neither the key nor what was shown in its place is ever said.
    for secret in [&key[3..], &wrong[10..]] {
        assert_eq!(messages(secret), Vec::<String>::new());
    }
    fault!(
        "No key where keys are asked for; A key in the log",
        "request without, with a wrong, malformed, doubled or Basic credential to three predict routes, pages, metrics, unknown paths; wrong and right keys sent, all messages and records searched",
        "401 problem, `WWW-Authenticate`; one log record without the key; never there; only its name",
        "as expected"
    );
}

/// Who has no key does not make the server read anything: the body never comes, and the answer is there all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_is_not_read_before_the_key_is_known() {
    let (settings, _, _) = with_keys("");
    let app = spawn_with(&settings).await;
    for path in PATHS {
        let mut connection = Connection::open(app.address).await;
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: 1000\r\n\r\n"
        );
        connection.write(head.as_bytes()).await;
        let answer = connection.answer().await;
        assert_eq!((answer.status, answer.closes()), (401, true), "{path}");
    }
    fault!(
        "A body sent without a key, to tie the server up",
        "head with `Expect: 100-continue` and a length, body never sent",
        "401 at once, no `100 Continue`, connection closed",
        "as expected"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_keys_nobody_is_asked_for_one() {
    let app = spawn().await;
    let id = new_id("free");
    let response = post(&app, "/v1/predict", &id, &[("authorization", "Bearer whatever")]).await;
    assert_eq!(response.status(), 200);
    assert!(!record(&id).has("key"));
    let document: Value = app.get("/v1/openapi.json").await.json().await.unwrap();
    assert!(document.get("security").is_none(), "{document}");
    assert!(document["components"]["responses"].get("Unauthorized").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_over_its_quota_is_429_and_others_are_not() {
    let (settings, key, limited) = with_keys("3/h");
    let app = spawn_with(&settings).await;
    for (at, path) in PATHS.iter().enumerate() {
        let response = post(&app, path, &new_id("quota"), &[("x-api-key", &limited)]).await;
        assert_eq!(response.status(), 200);
        let headers = response.headers();
        assert_eq!(text(headers, "ratelimit-policy"), "\"requests\";q=3;w=3600");
        let reset = 1200 * (at + 1);
        let left = text(headers, "ratelimit");
        assert!(left.starts_with(&format!("\"requests\";r={};t=", 2 - at)), "{left}");
        let t: usize = left.rsplit('=').next().unwrap().parse().unwrap();
        assert!((reset - 60..=reset).contains(&t), "{left}");
    }
    for path in ["/v1/predict", "/v1/models/house-prices/predict", "/v1/models"] {
        let id = new_id("over");
        let response = if path == "/v1/models" {
            let request = app.client.get(app.url(path)).header("x-request-id", &id);
            request.header("x-api-key", &limited).send().await.unwrap()
        } else {
            post(&app, path, &id, &[("x-api-key", &limited)]).await
        };
        assert_eq!(response.status(), 429, "{path}");
        let wait: u64 = text(response.headers(), "retry-after").parse().unwrap();
        assert!((1140..=1200).contains(&wait), "{wait}");
        assert!(text(response.headers(), "ratelimit").starts_with("\"requests\";r=0;t="));
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["type"], "/problems/too-many-requests");
        let record = record(&id);
        assert_eq!((record.value("status"), record.value("key")), (429.into(), "two".into()));
        let response = post(&app, "/v1/predict", &new_id("other"), &[("x-api-key", &key)]).await;
        assert_eq!(response.status(), 200);
    }
    // Health is asked by those who have none, however often.
    assert_eq!(app.get("/health").await.status(), 200);
    fault!(
        "A key over its quota",
        "4 requests with a quota of 3/h, on three routes",
        "429, `Retry-After`, `RateLimit`, `RateLimit-Policy`; other keys and health are answered",
        "as expected"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quota_comes_back_with_time() {
    let (settings, _, limited) = with_keys("1/s");
    let app = spawn_with(&settings).await;
    let key = [("x-api-key", limited.as_str())];
    let mut statuses = Vec::new();
    while statuses.len() < 1000 && !(statuses.contains(&429) && statuses.last() == Some(&200)) {
        let response = post(&app, "/v1/predict", &new_id("back"), &key).await;
        statuses.push(response.status().as_u16());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(statuses.len() < 1000, "{statuses:?}");
    fault!(
        "Quota never comes back",
        "1/s, asked every 20 ms",
        "429, then 200 again within a second",
        "as expected"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_for_other_models_is_403() {
    let (settings, _, other) = with_keys("models=digits+nothing");
    let app = spawn_with(&settings).await;
    for path in PATHS {
        let id = new_id("other-models");
        let response = post(&app, path, &id, &[("x-api-key", &other)]).await;
        assert_eq!(response.status(), 403, "{path}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["detail"], "the key `two` is not for the model `house-prices`");
        assert_eq!(record(&id).value("key"), "two");
    }
    let request = app.client.get(app.url("/v1/models/house-prices")).header("x-api-key", &other);
    assert_eq!(request.send().await.unwrap().status(), 403);
    fault!(
        "A key for other models",
        "key limited to `digits` asks house-prices on every route",
        "403, named key in the log",
        "as expected"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_says_how_to_show_a_key_and_may_be_open() {
    let (mut settings, key, _) = with_keys("");
    settings.access.open_docs = true;
    let app = spawn_with(&settings).await;
    let index = app.get("/docs").await;
    assert_eq!(index.status(), 200);
    let page = index.text().await.unwrap();
    let script = page.split("src=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(app.get(&format!("/{script}")).await.status(), 200);
    assert_eq!(app.get("/").await.status(), 200);
    assert_eq!(app.get("/v1/models").await.status(), 401);
    let document: Value = app.get("/v1/openapi.json").await.json().await.unwrap();
    assert_eq!(document["security"], serde_json::json!([{"bearer": []}, {"apiKey": []}]));
    let schemes = &document["components"]["securitySchemes"];
    assert_eq!(schemes["bearer"]["scheme"], "bearer");
    assert_eq!(schemes["apiKey"]["name"], "X-API-Key");
    let predict = &document["paths"]["/v1/predict"]["post"];
    for status in ["401", "403", "429"] {
        let reference = predict["responses"][status]["$ref"].as_str().unwrap();
        let name = reference.rsplit('/').next().unwrap();
        assert!(document["components"]["responses"].get(name).is_some(), "{name}");
    }
    assert!(predict.get("security").is_none());
    assert_eq!(document["paths"]["/health"]["get"]["security"], serde_json::json!([]));
    assert_eq!(document["paths"]["/v1/openapi.json"]["get"]["security"], serde_json::json!([]));
    assert!(!document.to_string().contains(&key[4..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_read_from_a_file_and_a_file_without_any_stops_the_start() {
    use seaworthy::config;
    use seaworthy::startup::Application;
    let (key, digest) = new_key().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys");
    let mut settings = settings();
    settings.access.keys_file = path.display().to_string();
    let build = async |settings: &Settings| {
        let error = Application::build(settings, &config::process()).await.err().unwrap();
        let mut text = error.to_string();
        if let Some(source) = std::error::Error::source(&error) {
            text = format!("{text}: {source}");
        }
        text.replace(&path.display().to_string(), "<keys>")
    };
    assert!(
        build(&settings)
            .await
            .starts_with("the file of keys `<keys>` (access.keys_file) cannot be read")
    );
    std::fs::write(&path, "# none\n").unwrap();
    assert_eq!(build(&settings).await, "the file of keys `<keys>` (access.keys_file) holds no key");
    std::fs::write(&path, format!("file {key}\n")).unwrap();
    let text = build(&settings).await;
    assert!(text.contains("entry 1: the second word is not") && !text.contains(&key), "{text}");
    std::fs::write(&path, format!("# clients\nfile {digest}\n")).unwrap();
    settings.access.keys = format!("setting {digest}");
    assert!(build(&settings).await.contains("entry 2 has the hash of entry 1"));
    settings.access.keys = String::new();
    let app = spawn_with(&settings).await;
    let id = new_id("file");
    assert_eq!(post(&app, "/v1/predict", &id, &[("x-api-key", &key)]).await.status(), 200);
    assert_eq!(record(&id).value("key"), "file");
    fault!(
        "File of keys absent, empty, with a key instead of its hash, or a key twice",
        "started with each",
        "no start; the message has file and entry number, never the key",
        "as expected"
    );
}

const APP: &str = "https://app.example.com";

async fn with_origins() -> TestApp {
    let (mut settings, _, _) = with_keys("");
    settings.cors.origins = vec![APP.to_owned(), "http://localhost:3000".to_owned()];
    spawn_with(&settings).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_known_origin_reads_every_answer() {
    let mut settings = settings();
    settings.cors.origins = vec![APP.to_owned()];
    let app = spawn_with(&settings).await;
    let origin = ("origin", APP);
    let good = wrapped([&Row::good()]);
    for path in ["/v1/predict", "/v1/models/house-prices/predict", "/v1/models/none/predict"] {
        for body in [good.as_str(), "{"] {
            let response =
                app.post(path, body.to_owned()).header(origin.0, origin.1).send().await.unwrap();
            let (status, headers) = (response.status(), response.headers());
            assert_eq!(text(headers, "access-control-allow-origin"), APP, "{path} {status}");
            let exposed = text(headers, "access-control-expose-headers");
            // `traceresponse` was not among them: a page could not tell support which trace its request was in.
            for header in ["ratelimit", "retry-after", "traceresponse", "x-request-id"] {
                assert!(exposed.split(", ").any(|found| found == header), "{header}: {exposed}");
            }
            assert_eq!(text(headers, "vary"), "origin");
            assert!(headers.get("access-control-allow-credentials").is_none());
            // Another origin, or none: the answer is there, but no page may read it.
            for other in [
                Some("https://evil.example.com"),
                Some("https://app.example.com.evil.com"),
                Some("null"),
                None,
            ] {
                let mut request = app.post(path, body.to_owned());
                if let Some(other) = other {
                    request = request.header("origin", other);
                }
                let response = request.send().await.unwrap();
                assert_eq!(response.status(), status);
                assert!(response.headers().get("access-control-allow-origin").is_none());
                assert_eq!(text(response.headers(), "vary"), "origin");
            }
        }
    }
    fault!(
        "A page of a foreign origin",
        "foreign, look-alike and `null` origins, good and bad requests, direct and routed",
        "no `Access-Control-Allow-Origin`, `Vary: Origin`; preflight 403",
        "as expected"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preflight_needs_no_key_and_is_for_known_origins() {
    let app = with_origins().await;
    let ask = async |origin: &str, method: Option<&str>| {
        let mut request = app
            .client
            .request(reqwest::Method::OPTIONS, app.url("/v1/predict"))
            .header("origin", origin);
        if let Some(method) = method {
            request = request.header("access-control-request-method", method);
        }
        request.send().await.unwrap()
    };
    let response = ask(APP, Some("POST")).await;
    assert_eq!(response.status(), 204);
    let headers = response.headers();
    assert_eq!(text(headers, "access-control-allow-origin"), APP);
    assert_eq!(text(headers, "access-control-max-age"), "600");
    assert!(text(headers, "access-control-allow-methods").contains("POST"));
    for header in ["authorization", "x-api-key", "content-type"] {
        assert!(text(headers, "access-control-allow-headers").contains(header));
    }
    let vary: Vec<_> =
        headers.get_all("vary").iter().map(|value| value.to_str().unwrap()).collect();
    assert!(vary.contains(&"origin"), "{vary:?}");
    let refused = ask("https://evil.example.com", Some("POST")).await;
    assert_eq!(refused.status(), 403);
    assert!(refused.headers().get("access-control-allow-origin").is_none());
    assert_eq!(refused.json::<Value>().await.unwrap()["type"], "/problems/origin-not-allowed");
    // No preflight: a request like any other, and it has no key. The page may read why.
    let other = ask(APP, None).await;
    assert_eq!(other.status(), 401);
    assert_eq!(text(other.headers(), "access-control-allow-origin"), APP);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_origins_no_answer_speaks_of_them() {
    let app = spawn().await;
    for path in ["/v1/predict", "/v1/models/house-prices/predict"] {
        let response = post(&app, path, &new_id("cors-off"), &[("origin", APP)]).await;
        assert!(response.headers().keys().all(|name| !name.as_str().starts_with("access-control")));
        assert!(response.headers().get("vary").is_none());
    }
    let request = app.client.request(reqwest::Method::OPTIONS, app.url("/v1/predict"));
    let request = request.header("origin", APP).header("access-control-request-method", "POST");
    assert_eq!(request.send().await.unwrap().status(), 405);
}

/// Who scrapes them has no key, and clients cannot reach them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_on_a_port_of_their_own_need_no_key() {
    let (mut settings, key, _) = with_keys("");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    settings.metrics.port = free;
    let app = spawn_with(&settings).await;
    assert_eq!(post(&app, "/v1/predict", &new_id("metrics"), &[]).await.status(), 401);
    let text = reqwest::get(format!("http://127.0.0.1:{free}/metrics")).await.unwrap();
    assert_eq!(text.status(), 200);
    let text = text.text().await.unwrap();
    assert!(text.contains("seaworthy_rejected_total{reason=\"unauthorized\"} 1"), "{text}");
    assert!(!text.contains(&key[4..]));
    let request = app.client.get(app.url("/metrics"));
    assert_eq!(request.send().await.unwrap().status(), 404);
}
