use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::*;
use crate::pipeline::RowProblem;
use crate::postprocess::Prediction;
use crate::predictor::{RowError, RowErrorProblem};
use crate::runtime::RuntimeError;
use crate::schema::{Column, DecodeOptions, Schema};

fn schema() -> Schema {
    Schema::load(serde_json::from_value(json!([{"name": "x", "type": "float"}])).unwrap()).unwrap()
}

fn frame(values: &[f64]) -> Frame {
    let rows: Vec<_> = values.iter().map(|x| json!({"x": x})).collect();
    let (mut frame, body) = (schema().frame(), serde_json::to_vec(&rows).unwrap());
    schema().decode(&body, &DecodeOptions::default(), &mut frame).unwrap();
    frame
}

fn missing(row: usize) -> RowError {
    let (step, column) = ("s".to_owned(), "x".to_owned());
    RowError {
        row,
        field: Some(0),
        problem: RowErrorProblem::Pipeline(RowProblem::MissingValue { step, column }),
    }
}

/// Doubles each number. Refuses a row that is 0, and the whole run when one is negative; notes how many rows each run had.
struct Doubler {
    runs: Arc<Mutex<Vec<usize>>>,
    /// A run waits for this, so that requests can gather.
    begins: Option<std::sync::mpsc::Receiver<()>>,
    /// Runs that wait, or have waited.
    n_begun: Arc<AtomicUsize>,
}

impl Predict for Doubler {
    fn predict(&mut self, frame: &Frame) -> Result<Predictions, PredictError> {
        if let Some(begins) = &self.begins {
            self.n_begun.fetch_add(1, Ordering::Relaxed);
            begins.recv().unwrap();
        }
        let Column::Float(values) = &frame.columns()[0] else { panic!() };
        self.runs.lock().unwrap().push(values.len());
        if values.iter().any(|value| *value < 0.0) {
            return Err(RuntimeError::Run { reason: "negative".to_owned() }.into());
        }
        let number =
            |x: &f64| if *x == 0.0 { Prediction::None } else { Prediction::Number(2.0 * x) };
        let bad = values.iter().enumerate().filter(|(_, value)| **value == 0.0);
        Ok(Predictions {
            rows: values.iter().map(number).collect(),
            probabilities: values.iter().flat_map(|x| [*x, -x]).collect(),
            errors: bad.map(|(row, _)| missing(row)).collect(),
        })
    }
}

fn predicted(values: &[f64]) -> Predictions {
    Doubler { runs: Arc::default(), begins: None, n_begun: Arc::default() }
        .predict(&frame(values))
        .unwrap()
}

/// Sends these requests while the worker is busy with a first one of one row, and returns their answers and the rows of each run.
async fn together(
    batching: Batching,
    requests: &[&[f64]],
) -> (Vec<Result<Predictions, EngineError>>, Vec<usize>) {
    let runs: Arc<Mutex<Vec<usize>>> = Arc::default();
    let (begin, begins) = std::sync::mpsc::channel();
    let n_begun = Arc::default();
    let doubler =
        Doubler { runs: Arc::clone(&runs), begins: Some(begins), n_begun: Arc::clone(&n_begun) };
    let plan = Plan { batching, ..Plan::new(Lane::Worker, 1, 16) };
    let (engine, _ended) = Engine::start(vec![Box::new(doubler)], plan).unwrap();
    let send = |values: &[f64]| {
        let (engine, frame) = (engine.clone(), frame(values));
        tokio::spawn(async move { engine.predict(frame, None).await.map(|it| it.predictions) })
    };
    let first = send(&[1.0]);
    while n_begun.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let mut answers: Vec<_> = Vec::new();
    for request in requests {
        // One after the other, so that they stand in the queue in this order.
        answers.push(send(request));
        tokio::task::yield_now().await;
    }
    for _ in 0..=2 * requests.len() {
        begin.send(()).unwrap();
    }
    assert_eq!(first.await.unwrap(), Ok(predicted(&[1.0])));
    let mut results = Vec::new();
    for answer in answers {
        results.push(answer.await.unwrap());
    }
    let runs = runs.lock().unwrap().clone();
    (results, runs)
}

/// The worker takes up to 5 rows, and its first request has one; those that come while it runs are gathered.
fn batching() -> Batching {
    Batching { rows: 5, ..Batching::default() }
}

#[tokio::test]
async fn requests_that_wait_are_merged_by_their_rows_and_split_again() {
    let requests: [&[f64]; 4] =
        [&[1.0, 0.0], &[3.0], &[4.0, 5.0, 6.0, 7.0, 8.0, 9.0], &[0.0, 2.0, 0.0]];
    let (answers, runs) = together(batching(), &requests).await;
    let expected: Vec<_> = requests.iter().map(|request| Ok(predicted(request))).collect();
    assert_eq!(answers, expected);
    // The worker was busy with the first; then the two that fit, the large one whole, and the last.
    assert_eq!(runs, [1, 3, 6, 3]);
}

#[tokio::test]
async fn without_batching_each_request_is_run_alone() {
    let (answers, mut runs) = together(Batching::default(), &[&[1.0, 2.0], &[3.0]]).await;
    assert_eq!(answers, [Ok(predicted(&[1.0, 2.0])), Ok(predicted(&[3.0]))]);
    runs.sort_unstable();
    assert_eq!(runs, [1, 1, 2]);
}

#[tokio::test]
async fn only_the_guilty_request_of_a_batch_fails() {
    let (answers, _) = together(batching(), &[&[1.0], &[-1.0], &[2.0, 3.0]]).await;
    let failed = EngineError::Predict(RuntimeError::Run { reason: "negative".to_owned() }.into());
    assert_eq!(answers, [Ok(predicted(&[1.0])), Err(failed), Ok(predicted(&[2.0, 3.0]))]);
}

/// Runs of a millisecond each; notes how many rows each had.
struct Slow(Arc<Mutex<Vec<usize>>>);

impl Predict for Slow {
    fn predict(&mut self, frame: &Frame) -> Result<Predictions, PredictError> {
        std::thread::sleep(Duration::from_millis(1));
        self.0.lock().unwrap().push(frame.n_rows());
        Ok(Predictions { rows: vec![Prediction::None; frame.n_rows()], ..Predictions::default() })
    }
}

/// The rows of each run, when so many requests come at once and workers merge up to four while they are busy.
async fn at_once(n_requests: usize, n_workers: usize, only_when_busy: bool) -> Vec<usize> {
    let runs: Arc<Mutex<Vec<usize>>> = Arc::default();
    let batching = Batching { rows: 4, only_when_busy, ..Batching::default() };
    let plan = Plan { batching, burst: 1_000, ..Plan::new(Lane::Worker, n_workers, 1_000) };
    let worker = || -> Box<dyn Predict> { Box::new(Slow(Arc::clone(&runs))) };
    let workers = std::iter::repeat_with(worker).take(n_workers).collect();
    let (engine, _ended) = Engine::start(workers, plan).unwrap();
    // All of them wait for requests.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let requests = (0..n_requests).map(|_| {
        let (engine, frame) = (engine.clone(), frame(&[1.0]));
        tokio::spawn(async move { engine.predict(frame, None).await })
    });
    for request in requests.collect::<Vec<_>>() {
        assert_eq!(request.await.unwrap().unwrap().predictions.rows.len(), 1);
    }
    runs.lock().unwrap().clone()
}

#[tokio::test]
async fn a_few_requests_at_once_are_not_merged_by_workers_that_had_to_wait() {
    assert_eq!(at_once(5, 1, true).await, [1; 5]);
}

#[tokio::test]
async fn workers_that_are_busy_all_the_time_merge() {
    let runs = at_once(600, 1, true).await;
    assert_eq!(runs.iter().sum::<usize>(), 600);
    assert_eq!(runs[..5], [1; 5]);
    assert!(runs.iter().filter(|rows| **rows == 4).count() > 50, "{runs:?}");
}

#[tokio::test]
async fn workers_that_are_free_share_what_waits() {
    for _ in 0..20 {
        // One of them would take all four.
        let mut runs = at_once(4, 4, false).await;
        runs.sort_unstable();
        assert!(runs.len() >= 2, "{runs:?}");
    }
}

#[test]
fn a_worker_that_waits_is_not_busy() {
    let ms = Duration::from_millis;
    let mut utilization = worker::Utilization::default();
    let mut run = |waited: u64, worked: u64| {
        utilization.waited(ms(waited));
        utilization.worked(ms(worked));
        utilization.is_high()
    };
    assert!(!run(1_000, 7));
    let runs_until_busy = (0..).take_while(|_| !run(0, 7)).count();
    assert!((15..30).contains(&runs_until_busy), "{runs_until_busy}");
    // A short pause between two runs is none, a longer one is.
    assert!((0..100).all(|_| run(0, 7)));
    assert!((0..100).all(|at| run(u64::from(at % 2 == 0), 7)));
    assert!(!run(14, 7));
    assert!((0..15).all(|_| !run(u64::MAX / 1_000_000, 7)));
    assert!((0..30).any(|_| run(0, 7)), "however long it waited");
}

#[tokio::test]
async fn a_request_whose_client_left_is_not_run() {
    let runs: Arc<Mutex<Vec<usize>>> = Arc::default();
    let (begin, begins) = std::sync::mpsc::channel();
    let n_begun = Arc::default();
    let doubler =
        Doubler { runs: Arc::clone(&runs), begins: Some(begins), n_begun: Arc::clone(&n_begun) };
    let batching = Batching { rows: 100, ..Batching::default() };
    let plan = Plan { batching, ..Plan::new(Lane::Worker, 1, 16) };
    let (engine, _ended) = Engine::start(vec![Box::new(doubler)], plan).unwrap();
    let send = |values: &[f64]| {
        let (engine, frame) = (engine.clone(), frame(values));
        tokio::spawn(async move { engine.predict(frame, None).await.map(|it| it.predictions) })
    };
    let busy = send(&[2.0]);
    while n_begun.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    let gone = send(&[3.0, 4.0]);
    let stays = send(&[5.0]);
    tokio::task::yield_now().await;
    gone.abort();
    let _aborted = gone.await;
    for _ in 0..3 {
        begin.send(()).unwrap();
    }
    assert_eq!(busy.await.unwrap(), Ok(predicted(&[2.0])));
    assert_eq!(stays.await.unwrap(), Ok(predicted(&[5.0])));
    let runs = runs.lock().unwrap().clone();
    assert!(!runs.contains(&2) && runs.iter().sum::<usize>() == 2, "{runs:?}");
}

#[test]
fn a_plan_says_what_it_does() {
    let plan = Plan {
        batching: Batching { rows: 32, delay: Duration::from_micros(500), only_when_busy: true },
        row_cost: Duration::from_millis(12),
        batch_row_cost: Duration::from_millis(9),
        is_measured: true,
        ..Plan::new(Lane::Worker, 2, 256)
    };
    assert_eq!(
        plan.to_string(),
        "in 2 worker(s) behind a queue of 256, merging up to 32 rows within 500µs while busy (measured: a row takes 12ms, each of many 9ms)"
    );
    assert_eq!(
        Plan::new(Lane::Inline, 2, 256).to_string(),
        "inline, at most 2 at a time (by setting: a row takes 0ns, each of many 0ns)"
    );
    assert_eq!(plan.cost(3), Duration::from_millis(30));
}
