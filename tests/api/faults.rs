//! A model that is slow, busy, broken, or gone.

use std::sync::mpsc::{Receiver, Sender, channel};

use seaworthy::engine::{Lane, Predict};
use seaworthy::postprocess::Prediction;
use seaworthy::predictor::{PredictError, Predictions};
use seaworthy::runtime::RuntimeError;
use seaworthy::schema::Frame;
use serde_json::Value;

use crate::fault::fault;
use crate::helpers::{
    PATIENCE, Row, lines, messages, new_id, record, settings, spawn_doubles, wrapped,
};

/// A predictor that is in the middle of a prediction until it is told to go on.
struct Gate {
    entered: Sender<()>,
    go_on: Receiver<()>,
}

impl Gate {
    fn new() -> (Self, Receiver<()>, Sender<()>) {
        let (entered, has_entered) = channel();
        let (open, go_on) = channel();
        (Self { entered, go_on }, has_entered, open)
    }
}

impl Predict for Gate {
    fn predict(&mut self, frame: &Frame) -> Result<Predictions, PredictError> {
        let _test_over = self.entered.send(());
        // An error means that the test is over.
        let _go_on = self.go_on.recv();
        Ok(Predictions {
            rows: vec![Prediction::Number(1.0); frame.n_rows()],
            ..Predictions::default()
        })
    }
}

struct Broken;

impl Predict for Broken {
    fn predict(&mut self, _frame: &Frame) -> Result<Predictions, PredictError> {
        Err(RuntimeError::Run { reason: "a secret in /srv/models".to_owned() }.into())
    }
}

/// Panics when a year is 1; else gives it.
struct Panics;

impl Predict for Panics {
    fn predict(&mut self, frame: &Frame) -> Result<Predictions, PredictError> {
        assert!(frame.n_rows() < 2, "a secret panic");
        Ok(Predictions {
            rows: vec![Prediction::Number(2.0); frame.n_rows()],
            ..Predictions::default()
        })
    }
}

fn body() -> String {
    wrapped([&Row::good()])
}

/// The problem of an answer, with its id taken out, and what its header says of trying again.
async fn problem(response: reqwest::Response) -> (u16, Option<String>, Value) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let retry =
        response.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
    let mut problem: Value = response.json().await.unwrap();
    problem.as_object_mut().unwrap().remove("request_id").unwrap();
    (status, retry, problem)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_model_is_503_and_the_server_goes_on() {
    let mut settings = settings();
    settings.server.request_timeout_ms = 50;
    let (gate, entered, open) = Gate::new();
    let app = spawn_doubles(&settings, Lane::Worker, 8, vec![Box::new(gate)]).await;
    let id = new_id("slow");
    let response =
        app.post("/v1/predict", body()).header("x-request-id", &id).send().await.unwrap();
    let (status, retry, problem) = problem(response).await;
    assert_eq!((status, retry.as_deref()), (503, Some("1")));
    insta::assert_json_snapshot!("a_slow_model", problem);
    entered.recv().unwrap();
    let record = record(&id);
    assert_eq!((record.text("status"), record.text("level")), ("503", "\"ERROR\""));
    assert_eq!(record.value("inputs")[0]["MSZoning"], "RL");
    // Health does not wait for it; and when it is free again, the next request is answered.
    assert_eq!(app.get("/health").await.status(), 200);
    open.send(()).unwrap();
    open.send(()).unwrap();
    let answer = app.predict("/v1/predict", body()).await;
    assert_eq!(answer["predictions"].to_string(), "[1.0]");
    fault!(
        "a prediction that takes too long",
        "a predictor that does not end within `server.request_timeout_ms`",
        "503 with `Retry-After`; health answers; later requests are answered",
        "503 timeout, `Retry-After: 1`; 200; 200"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_is_503_at_once() {
    let (gate, entered, open) = Gate::new();
    let app = spawn_doubles(&settings(), Lane::Worker, 1, vec![Box::new(gate)]).await;
    let mut requests = tokio::task::JoinSet::new();
    requests.spawn(app.post("/v1/predict", body()).send());
    tokio::task::spawn_blocking(move || entered.recv().unwrap()).await.unwrap();
    // One runs, and of the others one waits: all the rest are refused although nothing moves.
    for _ in 0..5 {
        requests.spawn(app.post("/v1/predict", body()).send());
    }
    for _ in 0..4 {
        let refused = requests.join_next().await.unwrap().unwrap().unwrap();
        let (status, retry, problem) = problem(refused).await;
        assert_eq!((status, retry.as_deref()), (503, Some("1")));
        insta::assert_json_snapshot!("a_full_queue", problem);
    }
    open.send(()).unwrap();
    open.send(()).unwrap();
    while let Some(answered) = requests.join_next().await {
        assert_eq!(answered.unwrap().unwrap().status(), 200);
    }
    fault!(
        "a full queue",
        "a predictor that stands still, a queue of 1, six requests",
        "two are answered in the end, four get 503 with `Retry-After` at once",
        "4 x 503 overloaded, `Retry-After: 1`, while nothing moves; 2 x 200"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_model_says_nothing_of_itself() {
    for lane in [Lane::Inline, Lane::Worker] {
        let app = spawn_doubles(&settings(), lane, 8, vec![Box::new(Broken)]).await;
        let id = new_id("broken");
        let response =
            app.post("/v1/predict", body()).header("x-request-id", &id).send().await.unwrap();
        let (status, _, problem) = problem(response).await;
        assert_eq!(status, 500);
        insta::assert_json_snapshot!("a_broken_model", problem);
        // Neither the answer nor the prediction log say what it was; the messages do, once, with the id.
        let lines = lines(&id);
        assert_eq!(lines.len(), 1);
        assert!(!lines[0].contains("secret"), "{}", lines[0]);
        assert_eq!(record(&id).text("level"), "\"ERROR\"");
        assert_eq!(record(&id).value("inputs")[0]["MSZoning"], "RL");
        let messages = messages(&id);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(
            messages[0].contains("ERROR") && messages[0].contains("a secret in /srv/models"),
            "{messages:?}"
        );
        // Another model of the server is not concerned.
        let other = "/v1/models/house-prices/versions/3.3.0/predict";
        assert!(app.predict(other, body()).await["predictions"][0].is_f64());
    }
    fault!(
        "a graph that fails at run time",
        "a predictor that gives an error, in both lanes",
        "500 that says nothing of itself; the cause is in the messages once, with the request's id",
        "500 internal; one ERROR with the id; other models answer"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_500_and_the_server_goes_on() {
    // The threads of the engine that the double replaces end, which once ended the server.
    let mut settings = settings();
    settings.engine.lane = seaworthy::config::LaneChoice::Worker;
    let app = spawn_doubles(&settings, Lane::Inline, 8, vec![Box::new(Panics)]).await;
    for _ in 0..3 {
        let id = new_id("panic");
        let response = app
            .post("/v1/predict", wrapped([&Row::good(), &Row::good()]))
            .header("x-request-id", &id)
            .send()
            .await
            .unwrap();
        let (status, _, problem) = problem(response).await;
        assert_eq!(status, 500);
        insta::assert_json_snapshot!("a_broken_model", problem);
        // What made it panic is not lost.
        let record = record(&id);
        assert_eq!((record.text("status"), record.text("rows")), ("500", "2"));
        assert_eq!(record.value("inputs")[1]["MSZoning"], "RL");
        let messages = messages(&id);
        assert_eq!(messages.len(), 1, "{messages:?}");
        assert!(
            messages[0].contains("ERROR") && messages[0].contains("a secret panic"),
            "{messages:?}"
        );
        let answer = app.predict("/v1/predict", body()).await;
        assert_eq!(answer["predictions"].to_string(), "[2.0]");
    }
    assert!(!app.server.is_finished());
    fault!(
        "a handler that panics",
        "a predictor that panics in the request's thread, three times",
        "one 500 each, one message with the request's id, the server goes on",
        "500 internal; one ERROR with the id; the next request 200"
    );
}

/// A server that answers 500 for ever is worse than a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_dead_worker_answers_what_waits_and_ends_the_server() {
    let app = spawn_doubles(&settings(), Lane::Worker, 8, vec![Box::new(Panics)]).await;
    assert_eq!(app.predict("/v1/predict", body()).await["predictions"].to_string(), "[2.0]");
    let id = new_id("dies");
    let request =
        app.post("/v1/predict", wrapped([&Row::good(), &Row::good()])).header("x-request-id", &id);
    let (status, _, problem) = problem(request.send().await.unwrap()).await;
    assert_eq!(status, 500);
    insta::assert_json_snapshot!("a_broken_model", problem);
    assert_eq!(record(&id).text("rows"), "2");
    drop(app.client);
    let end = tokio::time::timeout(PATIENCE, app.server).await.unwrap().unwrap();
    assert_eq!(end.unwrap_err().to_string(), "a thread that predicts has ended");
    fault!(
        "a predictor's thread that dies",
        "a predictor that panics in a thread of its own",
        "500 for its request, then an orderly end with an error",
        "500 internal; the server drains and ends with an error"
    );
}

/// A request whose client has gone while it was predicted is in the log as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_is_logged() {
    let (gate, entered, open) = Gate::new();
    let app = spawn_doubles(&settings(), Lane::Worker, 8, vec![Box::new(gate)]).await;
    let id = new_id("leaves");
    let mut connection = crate::helpers::Connection::open(app.address).await;
    connection.write(&crate::helpers::post_bytes(&id, body().as_bytes())).await;
    tokio::task::spawn_blocking(move || entered.recv().unwrap()).await.unwrap();
    drop(connection);
    let record = crate::helpers::record_at_last(&id).await;
    assert_eq!(record.text("status"), "499");
    assert_eq!(record.value("errors")[0]["code"], "connection-closed");
    assert_eq!(record.value("inputs")[0]["MSZoning"], "RL");
    assert_eq!(record.text("rows"), "1");
    open.send(()).unwrap();
    assert_eq!(app.get("/health").await.status(), 200);
    fault!(
        "a client that leaves",
        "the connection is dropped while its request is predicted",
        "logged, the server goes on",
        "logged with 499 and its inputs; health 200"
    );
}
