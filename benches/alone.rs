//! Parts of the server alone, for `make bench` and `make bench-profile`.
//!
//! - `alone graph FILE ROWS THREADS SECONDS [BODY]`: what ONNX Runtime takes without anything around it, in microseconds of CPU time a row: THREADS threads,
//!   each with a session of its own and one thread, run the graph on ROWS rows: each so many of a request's BODY in turn, or made-up ones, always
//!   the same. Trees take longer for rows that differ, as the processor cannot foresee their branches.
//! - `alone model DIR ROWS THREADS SECONDS BODY`: what a row of the artifact takes without HTTP, answer and log: to decode JSON, to prepare it, to
//!   run the graph and to look at what it gives, by as many threads and in requests of as many rows.
//! - `alone stage NAME ROWS TIMES`: does one stage of a request of ROWS houses TIMES times; `scripts/bench_profile.py` counts its
//!   instructions.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "its result")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a figure needs few digits, and made-up rows have small numbers"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::Request;
use ndarray::{ArrayD, IxDyn};
use seaworthy::artifact::Artifact;
use seaworthy::config::{self, Load, Settings};
use seaworthy::observe::prediction_log::{self, PredictionLayer, PredictionLog, Sink};
use seaworthy::pipeline::Workspace;
use seaworthy::predictor::{Model, Predictor};
use seaworthy::runtime::{Session, SessionOptions};
use seaworthy::schema::DecodeOptions;
use seaworthy::startup::{self, Application};
use seaworthy::tensor::Tensor;
use serde::de::IgnoredAny;
use tower::ServiceExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

#[expect(dead_code, reason = "the made-up pipeline is not needed here")]
mod common;

/// A number like those that models are trained on: around 0, of few digits.
fn made_up(at: usize) -> f64 {
    ((at.wrapping_mul(2_654_435_761) >> 7) % 4_001) as f64 / 1_000.0 - 2.0
}

/// The numbers of a request, row by row in the order of its fields.
fn numbers(body: &Path) -> Vec<f64> {
    let body: serde_json::Value = serde_json::from_slice(&std::fs::read(body).unwrap()).unwrap();
    let rows = body["inputs"].as_array().unwrap().iter();
    rows.flat_map(|row| row.as_object().unwrap().values().map(|cell| cell.as_f64().unwrap()))
        .collect()
}

fn inputs(session: &Session, n_rows: usize, body: Option<&Path>) -> Vec<Tensor> {
    let [input] = session.inputs() else { panic!("a graph of several inputs") };
    let whole = |dim: &Option<u64>| dim.map_or(n_rows, |dim| usize::try_from(dim).unwrap());
    let shape: Vec<usize> = input.shape.iter().map(whole).collect();
    let n_values = shape.iter().product();
    let values: Vec<f64> = match body {
        Some(body) => numbers(body),
        None => (0..n_values).map(made_up).collect(),
    };
    let tensor = |values: &[f64]| match input.r#type.as_str() {
        "float64" => {
            Tensor::Float64(ArrayD::from_shape_vec(IxDyn(&shape), values.to_vec()).unwrap())
        }
        "float32" => {
            let values = values.iter().map(|value| *value as f32).collect();
            Tensor::Float32(ArrayD::from_shape_vec(IxDyn(&shape), values).unwrap())
        }
        other => panic!("a graph of {other}"),
    };
    values.chunks_exact(n_values).map(tensor).collect()
}

/// Of this process so far, all threads together. Linux counts it in hundredths.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    // The name of the program in brackets may hold anything; `utime` and `stime` are the 12th and 13th behind it.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().unwrap() / 100.0).sum()
}

/// Does the work that `prepare` gives in each thread again and again, and prints what a row of it takes. What `prepare` does is not measured.
fn measure<W: FnMut()>(
    n_rows: usize,
    n_threads: usize,
    seconds: f64,
    prepare: impl Fn() -> W + Sync,
) {
    let begin = Barrier::new(n_threads + 1);
    let run = || {
        let mut work = prepare();
        work();
        begin.wait();
        let until = Instant::now() + Duration::from_secs_f64(seconds);
        let mut n_runs = 0;
        while Instant::now() < until {
            work();
            n_runs += 1;
        }
        n_runs
    };
    let (n_runs, cpu) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(run)).collect();
        begin.wait();
        let before = cpu_seconds();
        let n_runs: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        (n_runs, cpu_seconds() - before)
    });
    println!("{}", cpu * 1e6 / (n_runs * n_rows) as f64);
}

fn graph(path: &Path, n_rows: usize, n_threads: usize, seconds: f64, body: Option<&Path>) {
    startup::open_runtime(&config::process()).unwrap();
    measure(n_rows, n_threads, seconds, || {
        let session = Session::open(path, SessionOptions::default()).unwrap();
        let output = vec![session.outputs()[0].name.clone()];
        let mut session = session.giving(&output).unwrap();
        let inputs: Vec<[Tensor; 1]> =
            inputs(&session, n_rows, body).into_iter().map(|input| [input]).collect();
        let mut turn = 0;
        move || {
            black_box(session.run(&inputs[turn % inputs.len()], &output).unwrap());
            turn += 1;
        }
    });
}

fn model(path: &Path, n_rows: usize, n_threads: usize, seconds: f64, body: &Path) {
    startup::open_runtime(&config::process()).unwrap();
    let model = Arc::new(Model::load(Artifact::open(path).unwrap()).unwrap());
    let body: serde_json::Value = serde_json::from_slice(&std::fs::read(body).unwrap()).unwrap();
    let parts = body["inputs"].as_array().unwrap().chunks_exact(n_rows);
    let bodies: Vec<String> =
        parts.map(|rows| serde_json::json!({"inputs": rows}).to_string()).collect();
    let options = DecodeOptions::default();
    measure(n_rows, n_threads, seconds, || {
        let mut predictor = Predictor::open(&model, SessionOptions::default()).unwrap();
        let mut frame = model.schema().frame();
        let (model, bodies, mut turn) = (&model, &bodies, 0);
        move || {
            let body = &bodies[turn % bodies.len()];
            model.schema().decode(body.as_bytes(), &options, &mut frame).unwrap();
            black_box(predictor.predict(&frame).unwrap());
            turn += 1;
        }
    });
}

fn stage(name: &str, n_rows: usize, times: usize) {
    let body = common::houses(n_rows);
    let repeat = |mut work: Box<dyn FnMut()>| (0..times).for_each(|_| work());
    if name == "skip" {
        return repeat(Box::new(|| {
            black_box(serde_json::from_str::<IgnoredAny>(&body).unwrap());
        }));
    }
    startup::open_runtime(&config::process()).unwrap();
    let artifact = Artifact::open(&common::root().join("models/house-prices/3.2.0")).unwrap();
    let model = Arc::new(Model::load(artifact).unwrap());
    let options = DecodeOptions::default();
    let mut frame = model.schema().frame();
    model.schema().decode(body.as_bytes(), &options, &mut frame).unwrap();
    let mut predictor = Predictor::open(&model, SessionOptions::default()).unwrap();
    match name {
        "decode" => repeat(Box::new(|| {
            black_box(model.schema().decode(body.as_bytes(), &options, &mut frame).unwrap());
        })),
        "pipeline" => {
            let mut workspace = Workspace::default();
            repeat(Box::new(|| model.pipeline().run(&frame, &mut workspace)));
        }
        "predict" => repeat(Box::new(|| {
            black_box(predictor.predict(&frame).unwrap());
        })),
        "log" => {
            let (log, _writer) =
                PredictionLog::start(&Sink::File("/dev/null".into()), 8192).unwrap();
            let subscriber = tracing_subscriber::registry().with(PredictionLayer::new(log));
            tracing::subscriber::with_default(subscriber, || {
                repeat(Box::new(|| prediction_log::emit(body.as_bytes(), false)));
            });
        }
        "request" => {
            let nowhere = tempfile::tempdir().unwrap();
            let mut settings = Settings::load(nowhere.path(), BTreeMap::new()).unwrap();
            settings.server.port = 0;
            settings.models.dir = common::root().join("models");
            settings.models.load = Load::Default;
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let application =
                runtime.block_on(Application::build(&settings, &config::process())).unwrap();
            let router = application.router().expect("the models are loaded first");
            let body = Bytes::from(body);
            repeat(Box::new(move || {
                let request = Request::post("/v1/predict")
                    .header("content-type", "application/json")
                    .body(Body::from(body.clone()))
                    .unwrap();
                let response = runtime.block_on(router.clone().oneshot(request)).unwrap();
                assert_eq!(response.status(), 200);
            }));
        }
        other => panic!("there is no stage `{other}`"),
    }
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["graph", path, n_rows, n_threads, seconds, body @ ..] if body.len() < 2 => graph(
            Path::new(path),
            n_rows.parse().unwrap(),
            n_threads.parse().unwrap(),
            seconds.parse().unwrap(),
            body.first().map(Path::new),
        ),
        ["model", path, n_rows, n_threads, seconds, body] => model(
            Path::new(path),
            n_rows.parse().unwrap(),
            n_threads.parse().unwrap(),
            seconds.parse().unwrap(),
            Path::new(body),
        ),
        ["stage", name, n_rows, times] => {
            stage(name, n_rows.parse().unwrap(), times.parse().unwrap());
        }
        _ => println!(
            "usage: alone graph FILE ROWS THREADS SECONDS [BODY] | alone model DIR ROWS THREADS SECONDS BODY | alone stage NAME ROWS TIMES"
        ),
    }
}
