//! There is only so much of everything: what is beyond a limit is told so at once, and what is within it goes on.

use std::ops::Range;
use std::time::{Duration, Instant};

use seaworthy::config::Settings;
use seaworthy::engine::{Lane, Predict};
use seaworthy::postprocess::Prediction;
use seaworthy::predictor::{PredictError, Predictions};
use seaworthy::schema::Frame;

use crate::fault::fault;
use crate::helpers::{
    Answer, Connection, Row, TestApp, eventually, new_id, post_bytes, record, settings,
    spawn_doubles, spawn_with, wrapped,
};

fn body() -> String {
    wrapped([&Row::good()])
}

#[track_caller]
fn is_busy(answer: &Answer, words: &str) {
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.header("content-type"), Some("application/problem+json"));
    let problem = answer.json();
    assert_eq!(problem["type"], "/problems/overloaded");
    assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    assert_eq!(record(answer.header("x-request-id").unwrap()).text("status"), "503");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_connections_than_allowed_are_told_so() {
    let mut settings = settings();
    settings.server.max_connections = 10;
    let app = spawn_with(&settings).await;
    let mut kept = Vec::new();
    for _ in 0..10 {
        let mut connection = Connection::open(app.address).await;
        connection.write(&post_bytes(&new_id("within"), body().as_bytes())).await;
        assert_eq!(connection.answer().await.status, 200);
        kept.push(connection);
    }
    let started = Instant::now();
    let mut surplus = Connection::open(app.address).await;
    surplus.write(&post_bytes(&new_id("surplus"), body().as_bytes())).await;
    let answer = surplus.answer().await;
    let took = started.elapsed();
    is_busy(&answer, "10 connections");
    assert!(answer.closes());
    // Whoever looks after the server still learns how it is.
    let mut health = Connection::open(app.address).await;
    health.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let answer = health.answer().await;
    assert_eq!((answer.status, answer.closes()), (200, true));
    // Those that were there first do not notice.
    kept[0].write(&post_bytes(&new_id("within"), body().as_bytes())).await;
    assert_eq!(kept[0].answer().await.status, 200);
    drop(kept);
    eventually("there is room again", async || {
        let mut connection = Connection::open(app.address).await;
        connection.write(&post_bytes(&new_id("later"), body().as_bytes())).await;
        (connection.try_answer(true).await?.status == 200).then_some(())
    })
    .await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    fault!(
        "more connections than allowed",
        "`server.max_connections = 10`, and an eleventh",
        "503 with `Retry-After` at once, closed; health is answered; the others go on",
        "503 overloaded, `Retry-After: 1`, closed; health 200; 200"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn far_more_connections_than_allowed_are_closed() {
    let mut settings = settings();
    settings.server.max_connections = 4;
    let app = spawn_with(&settings).await;
    // Four, the sixteen that are told, and more, all silent.
    let mut all = Vec::new();
    for _ in 0..60 {
        all.push(Connection::open(app.address).await);
    }
    let mut beyond = all.split_off(20);
    for connection in &mut beyond {
        assert!(connection.ends_silently().await);
    }
    drop(all);
    eventually("there is room again", async || {
        let response = app.client.get(app.url("/health")).send().await.ok()?;
        (response.status() == 200).then_some(())
    })
    .await;
    fault!(
        "a flood of connections",
        "`server.max_connections = 4`, and 60 connections without a word",
        "those beyond the few that are told are closed at once; room again when they are gone",
        "40 closed; then health 200"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_allowed_are_told_so() {
    let mut settings = settings();
    settings.server.max_requests = 3;
    // However long the machine stands still meanwhile.
    settings.server.body_timeout_ms = 600_000;
    let app = spawn_with(&settings).await;
    let request = post_bytes(&new_id("under-way"), body().as_bytes());
    let (start, rest) = request.split_at(request.len() - 5);
    let mut under_way = Vec::new();
    for _ in 0..3 {
        let mut connection = Connection::open(app.address).await;
        connection.write(start).await;
        under_way.push(connection);
    }
    // If it came before the last of them, it would be that one that is refused.
    eventually("three requests under way", async || {
        let metrics = app.get("/metrics").await.text().await.unwrap();
        // The question is one more.
        metrics.contains("\nseaworthy_requests_in_flight 4\n").then_some(())
    })
    .await;
    let mut other = Connection::open(app.address).await;
    other.write(&post_bytes(&new_id("one-more"), body().as_bytes())).await;
    let answer = other.answer().await;
    is_busy(&answer, "3 requests");
    let mut health = Connection::open(app.address).await;
    health.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert_eq!(health.answer().await.status, 200);
    for connection in &mut under_way {
        connection.write(rest).await;
        assert_eq!(connection.answer().await.status, 200);
    }
    assert_eq!(app.post("/v1/predict", body()).send().await.unwrap().status(), 200);
    fault!(
        "more requests under way than allowed",
        "`server.max_requests = 3`, three slow bodies, and a fourth request",
        "503 with `Retry-After` at once; health is answered; the three are answered",
        "503 overloaded, `Retry-After: 1`; health 200; 3 x 200"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_hold_too_much_together_are_told_so() {
    let mut settings = settings();
    settings.server.max_total_body_bytes = 1 << 20;
    // However long the machine stands still meanwhile.
    settings.server.body_timeout_ms = 600_000;
    let app = spawn_with(&settings).await;
    let mut under_way = Vec::new();
    let large = vec![b' '; 400_000];
    let mut pause = Duration::from_millis(10);
    let answer = eventually("a refusal", async || {
        // Each of these holds 400 kB and waits for the rest. Until both have arrived it may be one of them that is refused: then all begin again, and
        // are given more time.
        under_way.clear();
        for _ in 0..2 {
            let mut connection = Connection::open(app.address).await;
            connection.write(&post_bytes(&new_id("large"), &large)[..390_000]).await;
            under_way.push(connection);
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
        let mut third = Connection::open(app.address).await;
        third.write(&post_bytes(&new_id("third"), &large)).await;
        let answer = third.answer().await;
        (answer.status == 503).then_some(answer)
    })
    .await;
    is_busy(&answer, "bodies");
    // What is small is not concerned.
    assert_eq!(app.post("/v1/predict", body()).send().await.unwrap().status(), 200);
    drop(under_way);
    eventually("there is room again", async || {
        let response = app.post("/v1/predict", large.clone()).send().await.unwrap();
        (response.status() == 400).then_some(())
    })
    .await;
    fault!(
        "bodies that hold too much together",
        "`server.max_total_body_bytes` of 1 MiB, two bodies of 390 kB that wait, and a third",
        "503 with `Retry-After`; small requests are answered; room again when they are gone",
        "503 overloaded, `Retry-After: 1`; 200; then read again"
    );
}

/// Takes ten milliseconds for whatever it is given.
struct Slow;

impl Predict for Slow {
    fn predict(&mut self, frame: &Frame) -> Result<Predictions, PredictError> {
        std::thread::sleep(Duration::from_millis(10));
        Ok(Predictions {
            rows: vec![Prediction::Number(1.0); frame.n_rows()],
            ..Predictions::default()
        })
    }
}

/// How long the requests took that so many clients send for so long, each as soon as it has its answer and a pause: those that are
/// accepted, and those that are refused.
async fn flood(
    app: &TestApp,
    n_clients: usize,
    pause: Duration,
    period: Range<Duration>,
) -> (Vec<Duration>, Vec<Duration>) {
    let begun = Instant::now();
    let clients = (0..n_clients).map(|_| {
        let (address, request) = (app.address, post_bytes("flood", body().as_bytes()));
        let period = period.clone();
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await;
            let (mut accepted, mut refused) = (Vec::new(), Vec::new());
            while begun.elapsed() < period.end {
                let started = Instant::now();
                connection.write(&request).await;
                let status = connection.answer().await.status;
                if started.duration_since(begun) >= period.start {
                    match status {
                        200 => accepted.push(started.elapsed()),
                        503 => refused.push(started.elapsed()),
                        other => panic!("{other}"),
                    }
                }
                tokio::time::sleep(pause).await;
            }
            (accepted, refused)
        })
    });
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for client in clients.collect::<Vec<_>>() {
        let (yes, no) = client.await.unwrap();
        accepted.extend(yes);
        refused.extend(no);
    }
    accepted.sort();
    refused.sort();
    (accepted, refused)
}

async fn spawn_slow(lane: Lane, settings: &Settings) -> TestApp {
    let predictors: Vec<Box<dyn Predict>> = vec![Box::new(Slow)];
    let app = spawn_doubles(settings, lane, 256, predictors).await;
    // One after the other: 10 ms each. The engine learns it. Nobody is in his own way.
    for _ in 0..40 {
        app.predict("/v1/predict", body()).await;
    }
    app
}

/// By default what is accepted hardly waits, once it is clear that it is a flood; the rest is refused without waiting.
#[tokio::test(flavor = "multi_thread")]
async fn at_ten_times_the_capacity_what_is_accepted_is_not_slow() {
    let app = spawn_slow(Lane::Worker, &settings()).await;
    let (seconds, pause) = (Duration::from_secs, Duration::from_millis(150));
    // 200 clients could have 1,300 answers a second; the model has 100. The queue of the first moment takes two seconds.
    let (accepted, refused) = flood(&app, 200, pause, seconds(4)..seconds(7)).await;
    let middle = |times: &[Duration]| times[times.len() / 2];
    assert!(refused.len() > 2 * accepted.len(), "{} {}", refused.len(), accepted.len());
    // Were all of them to wait, each would for two seconds. Medians, and wide bounds: the machine that runs this may be busy with
    // other tests. `make chaos` measures the 99th percentile.
    assert!(middle(&accepted) < Duration::from_millis(150), "{:?}", middle(&accepted));
    assert!(middle(&refused) < Duration::from_millis(50), "{:?}", middle(&refused));
    fault!(
        "ten times the load that the model can bear",
        "a model of 10 ms and 200 clients that ask again and again, default settings",
        "what is accepted takes at most three times as long as alone; the rest gets 503 at once",
        "most are refused with 503 at once; those accepted do not wait for the others; figures above"
    );
}

/// The other side of it: 503 to clients who could have been served a moment later.
#[tokio::test(flavor = "multi_thread")]
async fn bursts_of_few_clients_are_not_refused() {
    for lane in [Lane::Worker, Lane::Inline] {
        let app = spawn_slow(lane, &settings()).await;
        let no_pause = Duration::ZERO;
        for n_clients in [1, 8, 64] {
            let period = Duration::ZERO..Duration::from_millis(1500);
            let (accepted, refused) = flood(&app, n_clients, no_pause, period).await;
            assert_eq!(refused.len(), 0, "{n_clients} clients, {lane:?}");
            assert!(accepted.len() >= n_clients);
        }
    }
    fault!(
        "more clients at once than a model can serve at once",
        "a model of 10 ms, and 1, 8 and 64 clients that ask again as soon as they have their answers, default settings",
        "each waits for its turn, none is refused",
        "200 for all"
    );
}

/// Where no burst may wait, a client that asks for one thing after the other is not in its own way.
#[tokio::test(flavor = "multi_thread")]
async fn a_small_request_behind_a_large_one_of_the_same_client_is_not_refused() {
    let mut settings = settings();
    settings.engine.burst = 0;
    settings.engine.max_wait_ms = 1;
    let app = spawn_slow(Lane::Worker, &settings).await;
    let row = Row::good();
    let large = wrapped(vec![&row; 1000]);
    for _ in 0..30 {
        app.predict("/v1/predict", large.clone()).await;
        app.predict("/v1/predict", body()).await;
    }
}
