//! Compressed bodies, of requests and of answers.

use std::io::{Read as _, Write as _};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::{GzEncoder, ZlibEncoder};
use serde_json::Value;

use super::helpers::{Row, TestApp, new_id, record, settings, spawn, spawn_with, wrapped};
use crate::fault::fault;

const PATHS: [&str; 2] = ["/v1/predict", "/v1/models/house-prices/predict"];

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

fn zstd(body: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(body, 3).unwrap()
}

async fn post(
    app: &TestApp,
    path: &str,
    id: &str,
    encoding: &str,
    body: Vec<u8>,
) -> reqwest::Response {
    let request = app.post(path, body).header("x-request-id", id);
    request.header("content-encoding", encoding).send().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_request_is_answered_like_any_other() {
    let app = spawn().await;
    let body = wrapped([&Row::good()]);
    let plain = app.predict("/v1/predict", body.clone()).await;
    let bytes = body.as_bytes();
    for path in PATHS {
        for (encoding, body) in [
            ("gzip", gzip(bytes)),
            ("x-gzip", gzip(bytes)),
            ("GZip", gzip(bytes)),
            // Members and frames may be in a row.
            ("gzip", [gzip(&bytes[..9]), gzip(&bytes[9..])].concat()),
            ("zstd", zstd(bytes)),
            ("zstd", [zstd(&bytes[..9]), zstd(&bytes[9..])].concat()),
            ("deflate", zlib(bytes)),
            ("identity", bytes.to_vec()),
        ] {
            let id = new_id("inflated");
            let response = post(&app, path, &id, encoding, body).await;
            assert_eq!(response.status(), 200, "{path} {encoding}");
            let answer: Value = response.json().await.unwrap();
            assert_eq!(answer["predictions"], plain["predictions"], "{path} {encoding}");
            // The log has what was meant.
            assert_eq!(
                record(&id).value("inputs")[0],
                serde_json::from_str::<Value>(&Row::good().json()).unwrap()
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_inflated_beyond_the_bound_is_413() {
    let mut settings = settings();
    settings.server.max_body_bytes = 1_000_000;
    let app = spawn_with(&settings).await;
    let bomb = format!("{{\"inputs\": [{}]}}", " ".repeat(100_000_000)).into_bytes();
    for (encoding, body) in [("gzip", gzip(&bomb)), ("zstd", zstd(&bomb)), ("deflate", zlib(&bomb))]
    {
        assert!(body.len() < 200_000, "{}", body.len());
        for path in PATHS {
            let id = new_id("bomb");
            let response = post(&app, path, &id, encoding, body.clone()).await;
            assert_eq!(response.status(), 413, "{path} {encoding}");
            let problem: Value = response.json().await.unwrap();
            assert_eq!(problem["type"], "/problems/body-too-large");
            let record = record(&id);
            assert_eq!((record.value("status"), record.value("inputs")), (413.into(), Value::Null));
            assert!(!record.has("body"), "compressed bytes are not for the log");
        }
    }
    // What is compressed is bounded as well.
    let large = post(&app, "/v1/predict", &new_id("bomb"), "gzip", vec![0; 1_000_001]).await;
    assert_eq!(large.status(), 413);
    fault!(
        "Compression bomb",
        "100 MB of blanks in under 200 kB as gzip, zstd, deflate; bound 1 MB",
        "413, nothing inflated beyond the bound, compressed bytes not logged",
        "as expected"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_not_what_its_encoding_says_is_400() {
    let app = spawn().await;
    let body = wrapped([&Row::good()]);
    let bytes = body.as_bytes();
    for (encoding, body) in [
        ("gzip", bytes.to_vec()),
        ("gzip", zstd(bytes)),
        ("gzip", Vec::new()),
        ("gzip", gzip(bytes)[..40].to_vec()),
        ("gzip", [gzip(bytes), b"x".to_vec()].concat()),
        ("zstd", gzip(bytes)),
        ("zstd", zstd(bytes)[..40].to_vec()),
        ("deflate", gzip(bytes)),
        ("deflate", [zlib(bytes), b"x".to_vec()].concat()),
    ] {
        for path in PATHS {
            let id = new_id("broken");
            let response = post(&app, path, &id, encoding, body.clone()).await;
            assert_eq!(response.status(), 400, "{path} {encoding} {}", body.len());
            let problem: Value = response.json().await.unwrap();
            assert_eq!(problem["type"], "/problems/malformed-encoding");
            assert!(!record(&id).has("body"));
        }
    }
    fault!(
        "A body that is not what its encoding says",
        "cut off, other format, trailing bytes, empty",
        "400 problem",
        "as expected"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_encoding_is_415_and_the_answer_says_which_are_known() {
    let app = spawn().await;
    for encoding in ["br", "compress", "gzip, gzip", "gzip, identity", "aes128gcm", "chunked"] {
        for path in PATHS {
            let body = gzip(wrapped([&Row::good()]).as_bytes());
            let response = post(&app, path, &new_id("unknown"), encoding, body).await;
            assert_eq!(response.status(), 415, "{path} {encoding}");
            let known = response.headers().get("accept-encoding").unwrap();
            assert_eq!(known, "gzip, zstd, deflate");
        }
    }
    fault!(
        "An unknown or doubled content encoding",
        "br, compress, `gzip, gzip`, …",
        "415 with `Accept-Encoding`",
        "as expected"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_answer_is_compressed_for_those_who_take_it_and_a_small_one_is_not() {
    let app = spawn().await;
    let rows = vec![Row::good(); 2000];
    let large = wrapped(&rows);
    let plain = app.predict("/v1/predict", large.clone()).await;
    let ask = async |path: &str, body: &str, accept: &str| {
        let request = app.post(path, body.to_owned()).header("accept-encoding", accept);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 200);
        let header = |name: &str| {
            response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
        };
        let (encoding, vary, length) =
            (header("content-encoding"), header("vary"), header("content-length"));
        let bytes = response.bytes().await.unwrap().to_vec();
        assert_eq!(length.unwrap(), bytes.len().to_string());
        (encoding, vary, bytes)
    };
    for path in PATHS {
        for (accept, expected) in [
            ("gzip, deflate", Some("gzip")),
            ("gzip, deflate, br, zstd", Some("zstd")),
            ("zstd;q=0.1, gzip", Some("gzip")),
            ("br", None),
            ("identity", None),
            ("gzip;q=0", None),
        ] {
            let (encoding, vary, bytes) = ask(path, &large, accept).await;
            assert_eq!(encoding.as_deref(), expected, "{path} {accept}");
            assert_eq!(vary.as_deref(), Some("accept-encoding"));
            let text = match expected {
                Some("gzip") => {
                    let mut text = Vec::new();
                    GzDecoder::new(bytes.as_slice()).read_to_end(&mut text).unwrap();
                    text
                }
                Some(_) => zstd::bulk::decompress(&bytes, 1 << 24).unwrap(),
                None => bytes.clone(),
            };
            assert!(expected.is_none() || bytes.len() < text.len() / 4);
            let answer: Value = serde_json::from_slice(&text).unwrap();
            assert_eq!(answer["predictions"], plain["predictions"]);
        }
        let (encoding, vary, _) = ask(path, &wrapped([&Row::good()]), "gzip, zstd").await;
        assert_eq!((encoding, vary), (None, None), "one row");
    }
    let mut settings = settings();
    settings.server.compress_from_bytes = 0;
    let off = spawn_with(&settings).await;
    let response =
        off.post("/v1/predict", large).header("accept-encoding", "gzip").send().await.unwrap();
    assert!(response.headers().get("content-encoding").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_compressed_page_has_a_weak_tag_and_is_known_by_it() {
    let app = spawn().await;
    let url = app.url("/v1/openapi.json");
    let ask = |tag: Option<String>| {
        let request = app.client.get(&url).header("accept-encoding", "gzip");
        tag.into_iter().fold(request, |request, tag| request.header("if-none-match", tag))
    };
    let response = ask(None).send().await.unwrap();
    let tag = response.headers()["etag"].to_str().unwrap().to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let mut text = String::new();
    GzDecoder::new(response.bytes().await.unwrap().as_ref()).read_to_string(&mut text).unwrap();
    assert!(serde_json::from_str::<Value>(&text).unwrap()["openapi"].is_string());
    assert_eq!(ask(Some(tag)).send().await.unwrap().status(), 304);
}
