//! What each stage of a prediction costs: `cargo bench --bench stages`. The figures are in docs/benchmarks.md.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "made-up rows have small numbers"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use seaworthy::artifact::Artifact;
use seaworthy::config::{self, Load, Settings};
use seaworthy::observe::prediction_log::{self, PredictionLayer, PredictionLog, Sink};
use seaworthy::pipeline::Workspace;
use seaworthy::predictor::{Model, Predictor};
use seaworthy::runtime::{Session, SessionOptions};
use seaworthy::schema::DecodeOptions;
use seaworthy::startup::{self, Application};
use seaworthy::tensor::{ElementType, Tensor};
use serde::de::IgnoredAny;
use tower::ServiceExt as _;
use tracing_subscriber::layer::SubscriberExt as _;

mod common;

const SIZES: [usize; 4] = [1, 10, 100, 1_000];

fn house_prices() -> Predictor {
    startup::open_runtime(&config::process()).unwrap();
    let artifact = Artifact::open(&common::root().join("models/house-prices/3.2.0")).unwrap();
    Predictor::open(&Arc::new(Model::load(artifact).unwrap()), SessionOptions::default()).unwrap()
}

fn decode(criterion: &mut Criterion) {
    let predictor = house_prices();
    let schema = predictor.model().schema();
    let options = DecodeOptions::default();
    let mut group = criterion.benchmark_group("decode");
    for n_rows in SIZES {
        let body = common::houses(n_rows);
        group.throughput(Throughput::Elements(n_rows as u64));
        let mut frame = schema.frame();
        group.bench_with_input(BenchmarkId::new("house prices", n_rows), &body, |bencher, body| {
            bencher
                .iter(|| black_box(schema.decode(body.as_bytes(), &options, &mut frame).unwrap()));
        });
        // The least that anybody can do: see that it is JSON.
        group.bench_with_input(
            BenchmarkId::new("serde_json IgnoredAny", n_rows),
            &body,
            |bencher, body| {
                bencher.iter(|| {
                    black_box(serde_json::from_slice::<IgnoredAny>(body.as_bytes()).unwrap())
                });
            },
        );
        group.bench_with_input(
            BenchmarkId::new("serde_json Value", n_rows),
            &body,
            |bencher, body| {
                bencher.iter(|| {
                    black_box(serde_json::from_slice::<serde_json::Value>(body.as_bytes()).unwrap())
                });
            },
        );
    }
}

fn pipeline(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("pipeline");
    let predictor = house_prices();
    let model = predictor.model();
    for n_rows in SIZES {
        let mut frame = model.schema().frame();
        let body = common::houses(n_rows);
        model.schema().decode(body.as_bytes(), &DecodeOptions::default(), &mut frame).unwrap();
        let mut workspace = Workspace::default();
        group.throughput(Throughput::Elements(n_rows as u64));
        group.bench_function(BenchmarkId::new("house prices", n_rows), |bencher| {
            bencher.iter(|| model.pipeline().run(&frame, &mut workspace));
        });
    }
    let schema = common::schema();
    let made_up = common::pipeline(&schema);
    for n_rows in [1, 10, 100, 1_000, 10_000] {
        let mut frame = schema.frame();
        let body = common::rows(n_rows);
        let decoded =
            schema.decode(body.as_bytes(), &DecodeOptions::default(), &mut frame).unwrap();
        assert_eq!(decoded.errors, []);
        let mut workspace = Workspace::default();
        group.throughput(Throughput::Elements(n_rows as u64));
        group.bench_function(BenchmarkId::new("40 columns, 15 steps", n_rows), |bencher| {
            bencher.iter(|| made_up.run(&frame, &mut workspace));
        });
        assert_eq!(workspace.n_rows(), n_rows);
    }
}

fn predict(criterion: &mut Criterion) {
    let mut predictor = house_prices();
    let model = Arc::clone(predictor.model());
    let mut group = criterion.benchmark_group("predict");
    for n_rows in SIZES {
        let mut frame = model.schema().frame();
        let body = common::houses(n_rows);
        model.schema().decode(body.as_bytes(), &DecodeOptions::default(), &mut frame).unwrap();
        group.throughput(Throughput::Elements(n_rows as u64));
        group.bench_function(
            BenchmarkId::new("pipeline, session, postprocess", n_rows),
            |bencher| {
                bencher.iter(|| black_box(predictor.predict(&frame).unwrap()));
            },
        );
    }
}

/// The graph alone, and what its numbers are made into.
fn session(criterion: &mut Criterion) {
    let mut predictor = house_prices();
    let model = Arc::clone(predictor.model());
    let (path, names) = (model.artifact().graph(), model.postprocess().tensors());
    let open = |arena| {
        let options = SessionOptions { arena, ..SessionOptions::default() };
        Session::open(&path, options).unwrap().giving(names).unwrap()
    };
    let (mut session, mut no_arena) = (open(true), open(false));
    let width = model.pipeline().feature_names().len();
    let mut group = criterion.benchmark_group("session");
    for n_rows in SIZES {
        let mut frame = model.schema().frame();
        let body = common::houses(n_rows);
        model.schema().decode(body.as_bytes(), &DecodeOptions::default(), &mut frame).unwrap();
        predictor.predict(&frame).unwrap();
        let features = predictor.features();
        let tensor =
            || Tensor::from_features(ElementType::Float64, features, n_rows, width).unwrap();
        let inputs = [tensor()];
        group.throughput(Throughput::Elements(n_rows as u64));
        group.bench_function(BenchmarkId::new("features to a tensor", n_rows), |bencher| {
            bencher.iter(|| black_box(tensor()));
        });
        group.bench_function(BenchmarkId::new("run", n_rows), |bencher| {
            bencher.iter(|| black_box(session.run(&inputs, names).unwrap()));
        });
        group.bench_function(BenchmarkId::new("run without arena", n_rows), |bencher| {
            bencher.iter(|| black_box(no_arena.run(&inputs, names).unwrap()));
        });
        let outputs = session.run(&inputs, names).unwrap();
        group.bench_function(BenchmarkId::new("postprocess", n_rows), |bencher| {
            bencher.iter(|| black_box(model.postprocess().run(&outputs, n_rows).unwrap()));
        });
    }
}

/// A record on its way to the thread that writes it.
fn log(criterion: &mut Criterion) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let sink = Sink::File(file.path().to_owned());
    let (log, _writer) = PredictionLog::start(&sink, 8192).unwrap();
    let subscriber = tracing_subscriber::registry().with(PredictionLayer::new(log));
    let record = common::houses(1);
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Bytes(record.len() as u64));
    tracing::subscriber::with_default(subscriber, || {
        group.bench_function("a record of 1.6 KB to a file", |bencher| {
            bencher.iter(|| prediction_log::emit(record.as_bytes(), false));
        });
    });
}

/// Decoding, prediction and answer, through the router but without a socket and a log.
fn request(criterion: &mut Criterion) {
    let nowhere = tempfile::tempdir().unwrap();
    let mut settings = Settings::load(nowhere.path(), BTreeMap::new()).unwrap();
    settings.server.port = 0;
    settings.models.dir = common::root().join("models");
    settings.models.load = Load::Default;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let process = config::process();
    let application = runtime.block_on(Application::build(&settings, &process)).unwrap();
    let router = application.router().expect("the models are loaded first");
    let mut group = criterion.benchmark_group("request");
    for n_rows in SIZES {
        let body = Bytes::from(common::houses(n_rows));
        group.throughput(Throughput::Elements(n_rows as u64));
        group.bench_function(BenchmarkId::new("without socket and log", n_rows), |bencher| {
            bencher.iter(|| {
                let request = Request::post("/v1/predict")
                    .header("content-type", "application/json")
                    .body(Body::from(body.clone()))
                    .unwrap();
                let response = runtime.block_on(router.clone().oneshot(request)).unwrap();
                assert_eq!(response.status(), 200);
            });
        });
    }
}

criterion_group! {
    name = stages;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30);
    targets = decode, pipeline, session, predict, log, request
}
criterion_main!(stages);
