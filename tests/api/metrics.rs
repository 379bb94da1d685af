//! `/metrics`: every request is seen, whatever becomes of it; labels stay few; the port can be another one.

#![expect(clippy::float_cmp, reason = "counts are whole numbers")]

use std::collections::BTreeMap;
use std::time::Duration;

use seaworthy::observe::metrics::{ROUTES, TABLE};

use crate::fault::fault;
use crate::helpers::{
    Connection, Row, TestApp, eventually, new_id, post_bytes, settings, spawn, spawn_with, wrapped,
};

/// The samples of a scrape.
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    async fn of(app: &TestApp) -> Self {
        Self::parse(&app.get("/metrics").await.text().await.unwrap())
    }

    fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        });
        Self(samples.collect())
    }

    fn get(&self, sample: &str) -> f64 {
        self.0.get(sample).copied().unwrap_or_default()
    }

    /// The samples that have grown since, and by how much; without those that grow by themselves.
    fn since(&self, before: &Self) -> Vec<(String, f64)> {
        let grown = self.0.iter().filter(|(name, _)| {
            ![
                "process_",
                "seaworthy_log_",
                "_bucket",
                "duration_seconds_sum",
                "/metrics",
                "connections_open",
            ]
            .iter()
            .any(|part| name.contains(part))
        });
        grown
            .map(|(name, value)| (name.clone(), value - before.get(name)))
            .filter(|(_, by)| *by != 0.0)
            .collect()
    }
}

const MODEL: &str = "model=\"house-prices\",version=\"3.2.0\"";

fn samples(expected: &[(&str, f64)]) -> Vec<(String, f64)> {
    let mut samples: Vec<(String, f64)> =
        expected.iter().map(|(name, by)| (name.replace("MODEL", MODEL), *by)).collect();
    samples.sort_by(|one, other| one.0.cmp(&other.0));
    samples
}

/// What one good request of two rows counts.
const GOOD: [(&str, f64); 11] = [
    ("seaworthy_requests_total{route=\"/v1/predict\",status=\"200\"}", 1.0),
    ("seaworthy_request_duration_seconds_count{route=\"/v1/predict\"}", 1.0),
    ("seaworthy_rows_total{MODEL}", 2.0),
    ("seaworthy_predictions_total{MODEL,outcome=\"ok\"}", 2.0),
    ("seaworthy_prediction_duration_seconds_count{MODEL}", 1.0),
    ("seaworthy_stage_duration_seconds_count{MODEL,stage=\"decode\"}", 1.0),
    ("seaworthy_stage_duration_seconds_count{MODEL,stage=\"queue\"}", 1.0),
    ("seaworthy_stage_duration_seconds_count{MODEL,stage=\"preprocess\"}", 1.0),
    ("seaworthy_stage_duration_seconds_count{MODEL,stage=\"inference\"}", 1.0),
    ("seaworthy_stage_duration_seconds_count{MODEL,stage=\"postprocess\"}", 1.0),
    ("seaworthy_batch_rows_count{MODEL}", 1.0),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_prediction_is_counted_in_every_metric_once() {
    let app = spawn().await;
    let rows = wrapped([&Row::good(), &Row::good()]);
    for lane in ["/v1/predict", "/v1/models/house-prices/predict"] {
        let before = Scrape::of(&app).await;
        app.predict(lane, rows.clone()).await;
        let after = Scrape::of(&app).await;
        let mut expected = GOOD.to_vec();
        expected.push(("seaworthy_batch_rows_sum{MODEL}", 2.0));
        let route = lane.replace("house-prices", "{model}");
        let expected: Vec<(String, f64)> = samples(&expected)
            .into_iter()
            .map(|(name, by)| (name.replace("/v1/predict", &route), by))
            .collect();
        let mut found = after.since(&before);
        found.sort_by(|one, other| one.0.cmp(&other.0));
        let mut expected = expected;
        expected.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!(found, expected);
    }
    // The stages are parts of the whole.
    let scrape = Scrape::of(&app).await;
    let sum = |name: &str| scrape.get(&format!("seaworthy_{name}").replace("MODEL", MODEL));
    let whole = sum("prediction_duration_seconds_sum{MODEL}");
    let stages: f64 = ["decode", "queue", "preprocess", "inference", "postprocess"]
        .iter()
        .map(|stage| sum(&format!("stage_duration_seconds_sum{{MODEL,stage=\"{stage}\"}}")))
        .sum();
    assert!(0.0 < stages && stages <= whole, "{stages} of {whole}");
    assert_eq!(scrape.get("seaworthy_ready"), 1.0);
    assert!(scrape.get("process_open_fds") > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_counted_by_its_reason() {
    let app = spawn().await;
    let good = Row::good();
    let bad = good.clone().with("YrSold", "null");
    let mut requests = Vec::new();
    for (path, body, status, reason, rows) in [
        ("/v1/predict", wrapped([&good, &bad]), 422, "invalid-input", 2.0),
        ("/v1/predict", "{".to_owned(), 400, "malformed-json", 0.0),
        ("/v1/predict?on_invalid=maybe", "{}".to_owned(), 400, "invalid-query", 0.0),
        ("/v1/models/nobody/predict", "{}".to_owned(), 404, "unknown-model", 0.0),
        ("/v1/nothing", "{}".to_owned(), 404, "not-found", 0.0),
        ("/health", "{}".to_owned(), 405, "method-not-allowed", 0.0),
    ] {
        requests.push((path, body, status, reason, rows));
    }
    for (path, body, status, reason, rows) in requests {
        let before = Scrape::of(&app).await;
        let answer = app.post(path, body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{path}");
        let grown = Scrape::of(&app).await.since(&before);
        let route = match path.split('?').next().unwrap() {
            "/v1/models/nobody/predict" => "/v1/models/{model}/predict",
            "/v1/nothing" => "other",
            path => path,
        };
        for (name, by) in [
            (format!("seaworthy_requests_total{{route=\"{route}\",status=\"{status}\"}}"), 1.0),
            (format!("seaworthy_request_duration_seconds_count{{route=\"{route}\"}}"), 1.0),
            (format!("seaworthy_rejected_total{{reason=\"{reason}\"}}"), 1.0),
            (format!("seaworthy_predictions_total{{{MODEL},outcome=\"invalid\"}}"), rows),
        ] {
            let found = grown.iter().find(|(found, _)| *found == name).map(|(_, by)| *by);
            assert_eq!(found.unwrap_or_default(), by, "{name} in {grown:?}");
        }
    }
    // A row that is left out of an answer.
    let before = Scrape::of(&app).await;
    app.predict("/v1/predict?on_invalid=null", wrapped([&good, &bad])).await;
    let after = Scrape::of(&app).await;
    for outcome in ["ok", "invalid"] {
        let name = format!("seaworthy_predictions_total{{{MODEL},outcome=\"{outcome}\"}}");
        assert_eq!(after.get(&name) - before.get(&name), 1.0, "{outcome}");
    }
}

/// No router and no handler sees these.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_never_become_a_request_are_counted() {
    let mut settings = settings();
    settings.server.header_timeout_ms = 100;
    let app = spawn_with(&settings).await;
    let mut malformed = Connection::open(app.address).await;
    malformed.write(b"BLAH\x00 blah\r\n\r\n").await;
    let mut silent = Connection::open(app.address).await;
    silent.write(b"POST /v1/pre").await;
    assert!(silent.ends_silently().await);
    for reason in ["malformed-request", "head-timeout"] {
        let name = format!("seaworthy_rejected_total{{reason=\"{reason}\"}}");
        eventually(reason, async || (Scrape::of(&app).await.get(&name) >= 1.0).then_some(())).await;
    }
    let open = eventually("one connection", async || {
        let scrape = Scrape::of(&app).await;
        (scrape.get("seaworthy_connections_open") == 1.0).then_some(scrape)
    })
    .await;
    // The scrape itself.
    assert_eq!(open.get("seaworthy_requests_in_flight"), 1.0);
    fault!(
        "no HTTP on the connection; half a head, then silence",
        "bytes that are no request line; 12 bytes, header timeout 100 ms",
        "closed, counted as malformed-request; closed, counted as head-timeout",
        "as expected"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_client_leaves_is_counted() {
    let app = spawn().await;
    let id = new_id("left");
    let mut connection = Connection::open(app.address).await;
    let request = post_bytes(&id, wrapped([&Row::good()]).as_bytes());
    connection.write(&request[..request.len() - 10]).await;
    eventually("in flight", async || {
        (Scrape::of(&app).await.get("seaworthy_requests_in_flight") == 2.0).then_some(())
    })
    .await;
    drop(connection);
    eventually("it is counted", async || {
        let scrape = Scrape::of(&app).await;
        let broken = scrape.get("seaworthy_rejected_total{reason=\"broken-body\"}")
            + scrape.get("seaworthy_rejected_total{reason=\"connection-closed\"}");
        (broken == 1.0 && scrape.get("seaworthy_requests_in_flight") == 1.0).then_some(())
    })
    .await;
    fault!(
        "client leaves in the middle of its body",
        "connection dropped",
        "counted, in-flight back to what it was",
        "as expected"
    );
}

/// Whatever clients ask for, the number of lines stays small.
#[tokio::test(flavor = "multi_thread")]
async fn labels_are_bounded() {
    let app = spawn().await;
    for number in 0..300 {
        let path = format!("/v1/models/m{number}/versions/{number}.0.0/predict?x={number}");
        app.post(&path, "{}").header("x-request-id", number.to_string()).send().await.unwrap();
        app.get(&format!("/p{number}")).await;
    }
    let scrape = Scrape::of(&app).await;
    let routes: std::collections::BTreeSet<&str> = scrape
        .0
        .keys()
        .filter_map(|name| name.split_once("route=\"")?.1.split('"').next())
        .collect();
    assert!(routes.iter().all(|route| ROUTES.contains(route)), "{routes:?}");
    assert_eq!(scrape.get("seaworthy_requests_total{route=\"other\",status=\"404\"}"), 300.0);
    let models = 5;
    assert!(scrape.0.len() < 400 + models * 250, "{}", scrape.0.len());
    fault!(
        "made-up paths and models",
        "600 requests to 600 paths",
        "series stay bounded, all are `other` or the route's pattern",
        "as expected"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn open_metrics_is_given_to_those_who_ask_for_it() {
    let app = spawn().await;
    for (accept, expected, end) in [
        ("*/*", "text/plain; version=0.0.4; charset=utf-8", "\n"),
        (
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "\n# EOF\n",
        ),
    ] {
        let answer = app.client.get(app.url("/metrics")).header("accept", accept).send().await;
        let answer = answer.unwrap();
        assert_eq!(answer.headers()["content-type"], expected);
        assert!(answer.text().await.unwrap().ends_with(end));
    }
    let answer = app.get("/metrics").await.text().await.unwrap();
    for family in TABLE {
        assert!(answer.contains(&format!("# HELP {} ", family.name)), "{}", family.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_can_have_a_port_of_their_own_or_none() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = settings();
    settings.metrics.port = free.port();
    let app = spawn_with(&settings).await;
    app.predict("/v1/predict", wrapped([&Row::good()])).await;
    assert_eq!(app.get("/metrics").await.status(), 404);
    let other = TestApp {
        address: free,
        client: app.client.clone(),
        server: tokio::spawn(async { Ok(()) }),
    };
    let scrape = Scrape::of(&other).await;
    assert_eq!(scrape.get("seaworthy_requests_total{route=\"/v1/predict\",status=\"200\"}"), 1.0);
    // Nothing else is there, and nothing can be predicted.
    for path in ["/health", "/v1/models", "/docs"] {
        assert_eq!(other.get(path).await.status(), 404);
    }
    let answer = other.post("/v1/predict", wrapped([&Row::good()])).send().await.unwrap();
    assert_eq!(answer.status(), 404);
    // A client that says nothing does not stay for ever.
    settings.server.header_timeout_ms = 50;
    settings.metrics.port = 0;
    settings.metrics.enabled = false;
    let off = spawn_with(&settings).await;
    off.predict("/v1/predict", wrapped([&Row::good()])).await;
    assert_eq!(off.get("/metrics").await.status(), 404);
}

/// The port for metrics closes connections that send no head in time, as the other one does.
#[tokio::test(flavor = "multi_thread")]
async fn a_slow_client_of_the_metrics_port_is_closed() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = settings();
    settings.metrics.port = free.port();
    settings.server.header_timeout_ms = 50;
    let _app = spawn_with(&settings).await;
    let mut connection = Connection::open(free).await;
    connection.write(b"GET /met").await;
    let ends = tokio::time::timeout(Duration::from_secs(20), connection.ends_silently()).await;
    assert!(ends.is_ok());
    fault!(
        "slow client of the metrics port",
        "half a head on metrics.port",
        "closed after header_timeout_ms",
        "as expected"
    );
}
