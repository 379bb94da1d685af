//! What happens below the requests: connections that are slow, idle, broken or many.

use std::time::Duration;

use crate::fault::fault;
use crate::helpers::{
    Connection, Row, new_id, post_bytes, record, settings, spawn, spawn_with, wrapped,
};

fn good(id: &str) -> Vec<u8> {
    post_bytes(id, wrapped([&Row::good()]).as_bytes())
}

/// The refusal of a large body was lost: closing a connection from which not everything has been read resets it.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_a_client_that_still_sends() {
    let mut settings = settings();
    settings.server.max_body_bytes = 1000;
    let app = spawn_with(&settings).await;
    let n_bytes = 4 << 20;
    for (path, content_type, status) in [
        ("/v1/predict", "application/json", 413),
        ("/v1/predict", "text/plain", 415),
        ("/v1/predict?on_invalid=x", "application/json", 400),
        ("/nowhere", "application/json", 404),
        ("/v1/models/none/predict", "application/json", 404),
    ] {
        for framing in
            [format!("Content-Length: {n_bytes}"), "Transfer-Encoding: chunked".to_owned()]
        {
            let mut connection = Connection::open(app.address).await;
            let id = new_id("refused");
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: x\r\nX-Request-ID: {id}\r\nContent-Type: {content_type}\r\n{framing}\r\n\r\n{n_bytes:x}\r\n"
            );
            connection.write(head.as_bytes()).await;
            for _ in 0..64 {
                connection.write(&vec![b'x'; n_bytes / 64]).await;
            }
            let answer = connection.try_answer(true).await;
            let answer = answer.unwrap_or_else(|| panic!("{path}, {framing}: no answer"));
            assert_eq!(answer.status, status, "{path}, {framing}");
            assert!(answer.closes(), "{path}, {framing}");
            record(&id);
        }
    }
    fault!(
        "a refusal while the client still sends",
        "4 MB to five places that refuse it, by length and in chunks",
        "the refusal arrives, closed",
        "413, 415, 400, 404, 404, closed, logged"
    );
}

/// A connection on which nothing came, or only the first letters, was kept for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_without_a_request_is_closed() {
    let mut settings = settings();
    settings.server.header_timeout_ms = 100;
    let app = spawn_with(&settings).await;
    for start in [
        "",
        "P",
        "PRI * HTTP/2.0\r\n\r\n",
        "POST /v1/predict HTTP/1.1\r\nHost: ",
        "GET /health HTTP/1.1\r\n",
    ] {
        let mut connection = Connection::open(app.address).await;
        connection.write(start.as_bytes()).await;
        assert!(connection.ends_silently().await, "{start:?}");
    }
    assert_eq!(app.get("/health").await.status(), 200);
    fault!(
        "a connection without a request",
        "nothing, the first letter, or half a head, and then silence",
        "closed after `server.header_timeout_ms`",
        "closed"
    );
}

/// A load balancer keeps its connections for a minute or more, and gives its clients a 502 when one is closed before.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_outlives_the_header_timeout() {
    let mut settings = settings();
    settings.server.header_timeout_ms = 400;
    let app = spawn_with(&settings).await;
    let mut kept = Connection::open(app.address).await;
    kept.write(&good(&new_id("kept"))).await;
    assert_eq!(kept.answer().await.status, 200);
    for _ in 0..2 {
        assert!(Connection::open(app.address).await.ends_silently().await);
    }
    kept.write(&good(&new_id("kept"))).await;
    assert_eq!(kept.answer().await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_closed_in_the_end() {
    let mut settings = settings();
    settings.server.keep_alive_ms = 100;
    let app = spawn_with(&settings).await;
    let mut connection = Connection::open(app.address).await;
    connection.write(&good(&new_id("idle"))).await;
    assert_eq!(connection.answer().await.status, 200);
    assert!(connection.ends_silently().await);
    fault!(
        "an idle connection",
        "silence after an answer",
        "closed after `server.keep_alive_ms`",
        "closed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_http_is_refused_and_the_server_goes_on() {
    let app = spawn().await;
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let large = "x".repeat(1 << 20);
    for (request, status) in [
        ("HELLO\r\n\r\n".to_owned(), 400),
        ("\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/3.0\r\n\r\n".to_owned(), 400),
        ("GET /health HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), 400),
        ("POST /v1/predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n".to_owned(), 400),
        (
            "POST /v1/predict HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"
                .to_owned(),
            400,
        ),
        (format!("GET /health HTTP/1.1\r\n{many}\r\n"), 431),
        (format!("GET /health HTTP/1.1\r\nx: {large}\r\n\r\n"), 431),
        (format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", &large[..70_000]), 414),
        (format!("GET /{large} HTTP/1.1\r\n\r\n"), 431),
    ] {
        let mut connection = Connection::open(app.address).await;
        connection.write(request.as_bytes()).await;
        let answer = connection.try_answer(true).await;
        let shown = &request[..request.len().min(60)];
        let answer = answer.unwrap_or_else(|| panic!("{shown:?}: no answer"));
        assert!(answer.closes(), "{shown:?}");
        assert_eq!(answer.status, status, "{shown:?}");
        assert_eq!(app.get("/health").await.status(), 200);
    }
    fault!(
        "another protocol",
        "TLS, HTTP/3, words",
        "400, closed, the server goes on",
        "400, closed; health 200"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_is_understood() {
    let app = spawn().await;
    let client = reqwest::Client::builder().http2_prior_knowledge().build().unwrap();
    for (body, status) in [(wrapped([&Row::good()]), 200), ("{".to_owned(), 400)] {
        let id = new_id("h2");
        let response = client
            .post(app.url("/v1/predict"))
            .header("content-type", "application/json")
            .header("x-request-id", &id)
            .body(body)
            .send()
            .await
            .unwrap();
        assert_eq!(response.version(), reqwest::Version::HTTP_2);
        assert_eq!(response.status(), status);
        assert_eq!(record(&id).text("status"), status.to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_says_it_is_done_still_gets_its_answer() {
    let app = spawn().await;
    for _ in 0..20 {
        let mut connection = Connection::open(app.address).await;
        let id = new_id("half");
        connection.write(&good(&id)).await;
        connection.finish().await;
        assert_eq!(connection.answer().await.status, 200);
        record(&id);
    }
    fault!(
        "a half-closed socket behind a request",
        "a whole request, then the client closes its side, 20 times",
        "answered",
        "20 x 200"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_connections_are_served() {
    let app = spawn().await;
    let mut connections = Vec::new();
    for _ in 0..200 {
        connections.push(Connection::open(app.address).await);
    }
    // Each has begun a request that is not complete.
    let id = new_id("many");
    let request = good(&id);
    let (start, rest) = request.split_at(request.len() / 2);
    for connection in &mut connections {
        connection.write(start).await;
    }
    let health = tokio::time::timeout(Duration::from_secs(20), app.get("/health")).await.unwrap();
    assert_eq!(health.status(), 200);
    for connection in &mut connections {
        connection.write(rest).await;
    }
    for connection in &mut connections {
        assert_eq!(connection.answer().await.status, 200);
    }
    assert_eq!(crate::helpers::lines(&id).len(), 200);
    fault!(
        "many slow clients at once",
        "200 connections with half a request each",
        "health answers; each is answered when the rest comes",
        "health 200; 200 x 200"
    );
}
