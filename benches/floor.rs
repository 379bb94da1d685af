//! The floor: an HTTP server that does as little as one can with a request. `make bench` compares Seaworthy with it.
//!
//! The same libraries, runtime and options as the server; the handler reads the body and answers a constant of the size
//! of a prediction. `floor PORT` does that alone, `floor PORT parse` also parses the body to a `serde_json::Value`.
//! `floor skip FILE` prints how many nanoseconds of CPU `serde_json` takes to see that a file is JSON, and to do nothing with it.

#![expect(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]
#![expect(clippy::print_stdout, reason = "its result")]

use axum::Router;
use axum::body::Bytes;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use axum::serve::ListenerExt as _;

const ANSWER: &str = r#"{"predictions":[113422.5534486417],"version":"3.2.0","errors":null,"model":"house-prices","request_id":"0192f8a1c7e97c5e8f0a1b2c3d4e5f60"}"#;

async fn echo(_body: Bytes) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], ANSWER)
}

async fn parse(body: Bytes) -> impl IntoResponse {
    match serde_json::from_slice::<serde_json::Value>(&body) {
        Ok(value) => {
            std::hint::black_box(value);
            (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], ANSWER)
        }
        Err(_) => (StatusCode::BAD_REQUEST, [(header::CONTENT_TYPE, "application/json")], "{}"),
    }
}

fn skip(body: &[u8]) {
    let mut times: Vec<u128> = (0..300)
        .map(|_| {
            let started = std::time::Instant::now();
            std::hint::black_box(serde_json::from_slice::<serde::de::IgnoredAny>(body).unwrap());
            started.elapsed().as_nanos()
        })
        .collect();
    times.sort_unstable();
    println!("{}", times[times.len() / 2]);
}

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter(|word| word != "--bench");
    let first = arguments.next().unwrap();
    if first == "skip" {
        return skip(&std::fs::read(arguments.next().unwrap()).unwrap());
    }
    let port: u16 = first.parse().unwrap();
    let predict = match arguments.next().as_deref() {
        Some("parse") => post(parse),
        _ => post(echo),
    };
    let router = Router::new()
        .route("/v1/predict", predict)
        .route("/health", get(|| async { "ready" }))
        // As in Seaworthy: a large body is no error.
        .layer(axum::extract::DefaultBodyLimit::disable());
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let listener = listener.tap_io(|tcp| {
        let _not_a_socket = tcp.set_nodelay(true);
    });
    axum::serve(listener, router).await.unwrap();
}
