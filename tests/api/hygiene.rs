//! What comes over the wire and is no decent HTTP: each is answered or closed, and none is kept.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::fault::fault;
use crate::helpers::{
    Answer, Connection, Row, TestApp, eventually, lines, new_id, post_bytes, record,
    record_at_last, settings, spawn, spawn_with, wrapped,
};
use crate::shutdown::Process;

fn body() -> String {
    wrapped([&Row::good()])
}

/// All answers to these bytes, until the server closes the connection.
async fn answers(address: SocketAddr, bytes: &[u8]) -> Vec<Answer> {
    let mut connection = Connection::open(address).await;
    connection.write(bytes).await;
    let mut answers = Vec::new();
    while let Some(answer) = connection.try_answer(true).await {
        answers.push(answer);
    }
    answers
}

/// These bytes are refused with this status, as a problem that the log has as well, and the connection ends.
async fn is_refused(app: &TestApp, bytes: &[u8], status: u16, kind: &str) {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]).into_owned();
    let answers = answers(app.address, bytes).await;
    let [answer] = answers.as_slice() else { panic!("{} answers to {shown:?}", answers.len()) };
    assert_eq!(answer.status, status, "{shown:?}");
    assert!(answer.closes(), "{shown:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{shown:?}");
    let problem = answer.json();
    assert_eq!(problem["type"], format!("/problems/{kind}"), "{shown:?}");
    let id = answer.header("x-request-id").unwrap();
    assert_eq!(problem["request_id"], id);
    assert_eq!(record(id).text("status"), status.to_string(), "{shown:?}");
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    format!("POST /v1/predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n{headers}\r\n{body}")
        .into_bytes()
}

fn chunked(id: &str, chunks: &str) -> Vec<u8> {
    post(&format!("X-Request-ID: {id}\r\nTransfer-Encoding: chunked\r\n"), chunks)
}

/// What a proxy in front might have taken for the body.
const SMUGGLED: &str = "GET /v1/models HTTP/1.1\r\nHost: smuggled\r\n\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn two_lengths_are_refused() {
    let app = spawn().await;
    for lengths in [
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 6\r\n",
        "Content-Length: 5\r\nX: y\r\ncontent-length: 44\r\n",
    ] {
        is_refused(&app, &post(lengths, SMUGGLED), 400, "malformed-request").await;
    }
    fault!(
        "request smuggling: two lengths",
        "two `Content-Length` that differ, another request behind",
        "400, closed, the request behind is not seen",
        "400 malformed-request, closed, logged"
    );
}

/// RFC 9112, 3.2. They were answered, whichever host was meant.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_host_or_with_two_is_refused() {
    let app = spawn().await;
    for (line, hosts) in [
        ("GET /health HTTP/1.1", ""),
        ("GET /health HTTP/1.1", "Host: a\r\nHost: b\r\n"),
        ("GET /health HTTP/1.1", "Host: a\r\nHost: a\r\n"),
        ("GET /health HTTP/1.0", "Host: a\r\nHost: b\r\n"),
        ("POST /v1/predict HTTP/1.1", "Content-Length: 2\r\n"),
    ] {
        let request = format!("{line}\r\n{hosts}\r\n{SMUGGLED}");
        is_refused(&app, request.as_bytes(), 400, "malformed-request").await;
    }
    let mut old = Connection::open(app.address).await;
    old.write(b"GET /health HTTP/1.0\r\n\r\n").await;
    assert_eq!(old.answer().await.status, 200);
    fault!(
        "request smuggling: no host, or two",
        "HTTP/1.1 without `Host`, two of them in HTTP/1.1 and 1.0, another request behind",
        "400, closed, the request behind is not seen; HTTP/1.0 needs none",
        "400 malformed-request, closed, logged; 200"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_odd_length_is_refused() {
    let app = spawn().await;
    for length in ["+5", "-5", "0x5", "5 5", "", "five", "18446744073709551616", "1e1"] {
        let request = post(&format!("Content-Length: {length}\r\n"), SMUGGLED);
        is_refused(&app, &request, 400, "malformed-request").await;
    }
    is_refused(&app, &post("Content-Length : 5\r\n", SMUGGLED), 400, "malformed-request").await;
    fault!(
        "request smuggling: a length that is no number",
        "`Content-Length` of `+5`, `-5`, `0x5`, `1e1`, 2^64, empty; a blank before the colon",
        "400, closed",
        "400 malformed-request, closed, logged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_beside_chunks_does_not_count_and_the_connection_ends() {
    let app = spawn().await;
    let body = body();
    let chunks = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for headers in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let answers = answers(app.address, &post(headers, &(chunks.clone() + SMUGGLED))).await;
        let [answer] = answers.as_slice() else { panic!("{} answers", answers.len()) };
        assert_eq!(answer.status, 200, "{headers}: {}", answer.json());
        assert!(answer.closes(), "{headers}");
    }
    fault!(
        "request smuggling: length and chunks",
        "`Content-Length` and `Transfer-Encoding: chunked` in both orders, another request behind",
        "the chunks count, closed, the request behind is not seen (RFC 9112, 6.3)",
        "200 for the chunks, closed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoding_that_is_not_chunked_at_the_end_is_refused() {
    let app = spawn().await;
    for encoding in ["chunked, gzip", "gzip", "identity", "xchunked", "chunked;q=1", "chunkedd"] {
        let request =
            post(&format!("Transfer-Encoding: {encoding}\r\n"), &format!("0\r\n\r\n{SMUGGLED}"));
        is_refused(&app, &request, 400, "malformed-request").await;
    }
    // The last one is `chunked`, so that hyper takes them; what is below it nobody would undo.
    for encoding in ["gzip, chunked", "chunked, chunked", "chunked\r\nTransfer-Encoding: chunked"] {
        let request =
            post(&format!("Transfer-Encoding: {encoding}\r\n"), &format!("0\r\n\r\n{SMUGGLED}"));
        is_refused(&app, &request, 400, "malformed-request").await;
    }
    let old = "POST /v1/predict HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    is_refused(&app, old.as_bytes(), 400, "malformed-request").await;
    fault!(
        "request smuggling: an unknown transfer encoding",
        "`Transfer-Encoding` of `gzip`, `xchunked`, `chunked, gzip`, `gzip, chunked`, `chunked, chunked` and others; chunks in HTTP/1.0",
        "400, closed",
        "400 malformed-request, closed, logged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_chunks_are_refused() {
    let app = spawn().await;
    for chunks in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "2 2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}XX0\r\n\r\n",
        "ffffffffffffffffff\r\n{}\r\n0\r\n\r\n",
        "2\r{}\r\n0\r\n\r\n",
        "\r\n2\r\n{}\r\n0\r\n\r\n",
    ] {
        let id = new_id("chunks");
        let answers = answers(app.address, &(chunked(&id, &(chunks.to_owned() + SMUGGLED)))).await;
        let [answer] = answers.as_slice() else { panic!("{} answers: {chunks:?}", answers.len()) };
        assert_eq!((answer.status, answer.closes()), (400, true), "{chunks:?}");
        assert_eq!(answer.json()["type"], "/problems/broken-body", "{chunks:?}");
        assert_eq!(record(&id).text("status"), "400");
    }
    fault!(
        "request smuggling: broken chunks",
        "sizes of `zz`, `-2`, `0x2`, 2^72; no line break after a chunk; another request behind",
        "400, closed, the request behind is not seen",
        "400 broken-body, closed, logged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn long_extensions_and_trailers_of_chunks_are_refused() {
    let app = spawn().await;
    let long = "x".repeat(100_000);
    let many: String = (0..5_000).map(|n| format!("t{n}: 1\r\n")).collect();
    for chunks in [
        format!("2;{long}\r\n{{}}\r\n0\r\n\r\n"),
        format!("2\r\n{{}}\r\n0\r\nt: {long}\r\n\r\n"),
        format!("2\r\n{{}}\r\n0\r\n{many}\r\n"),
    ] {
        let id = new_id("extensions");
        let answers = answers(app.address, &chunked(&id, &chunks)).await;
        let [answer] = answers.as_slice() else { panic!("{} answers", answers.len()) };
        assert_eq!((answer.status, answer.closes()), (400, true));
        assert_eq!(answer.json()["type"], "/problems/broken-body");
    }
    fault!(
        "a bomb behind the chunks",
        "a chunk's extension of 100 kB, trailers of 100 kB, 5,000 trailers",
        "400, closed",
        "400 broken-body, closed, logged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tiny_chunks_are_one_body() {
    let app = spawn().await;
    let rows = Row::good();
    let body = wrapped((0..40).map(|_| &rows));
    let mut chunks: String = String::new();
    for byte in body.as_bytes() {
        chunks.push_str("1\r\n");
        chunks.push(char::from(*byte));
        chunks.push_str("\r\n");
    }
    chunks.push_str("0\r\n\r\n");
    let id = new_id("tiny");
    let mut connection = Connection::open(app.address).await;
    connection.write(&chunked(&id, &chunks)).await;
    let answer = connection.answer().await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    assert_eq!(answer.json()["predictions"].as_array().unwrap().len(), 40);
    assert!(!answer.closes());
    let n = body.len();
    assert!(n > 20_000, "{n}");
    fault!(
        "many tiny chunks",
        "a body of 40 rows in chunks of one byte each",
        "200, the connection goes on",
        "200, 40 predictions"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_headers_are_refused() {
    let app = spawn().await;
    for headers in [
        "X\0: y\r\n",
        "X: a\0b\r\n",
        "X: a\x7fb\r\n",
        " folded: y\r\n",
        "X: y\r\n folded\r\n",
        ": y\r\n",
        "no colon\r\n",
        "X y: z\r\n",
        "X: a\rb\r\n",
    ] {
        let request = format!("GET /health HTTP/1.1\r\n{headers}\r\n");
        is_refused(&app, request.as_bytes(), 400, "malformed-request").await;
    }
    for line in ["GET  /health HTTP/1.1", "GET /he alth HTTP/1.1", "G\u{e9}T / HTTP/1.1", "GET"] {
        is_refused(&app, format!("{line}\r\n\r\n").as_bytes(), 400, "malformed-request").await;
    }
    fault!(
        "odd headers",
        "control characters, a blank in a name, a folded line, no colon, a request line of four words",
        "400, closed",
        "400 malformed-request, closed, logged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_of_headers_is_refused() {
    let app = spawn().await;
    let many: String = (0..101).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = "x".repeat(140_000);
    let endless = "a: b\r\n".repeat(100_000);
    for headers in [many, format!("x: {long}\r\n"), endless] {
        let request = format!("GET /health HTTP/1.1\r\n{headers}\r\n");
        is_refused(&app, request.as_bytes(), 431, "head-too-large").await;
    }
    let mut settings = settings();
    settings.server.max_headers = 3;
    settings.server.max_header_bytes = 8192;
    let app = spawn_with(&settings).await;
    let request = |headers: &str| format!("GET /health HTTP/1.1\r\n{headers}\r\n").into_bytes();
    is_refused(&app, &request("a: 1\r\nb: 1\r\nc: 1\r\nd: 1\r\n"), 431, "head-too-large").await;
    is_refused(&app, &request(&format!("a: {}\r\n", &long[..8200])), 431, "head-too-large").await;
    let mut connection = Connection::open(app.address).await;
    connection.write(&request(&format!("a: {}\r\nHost: x\r\nc: 1\r\n", &long[..7000]))).await;
    assert_eq!(connection.answer().await.status, 200);
    fault!(
        "a bomb of headers",
        "101 headers; one of 140 kB; 100,000 headers; and beyond limits that are set lower",
        "431, closed",
        "431 head-too-large, closed, logged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_is_too_long_is_refused() {
    let app = spawn().await;
    let long = "x".repeat(1 << 20);
    is_refused(&app, format!("GET /{long} HTTP/1.1\r\n\r\n").as_bytes(), 431, "head-too-large")
        .await;
    let mut settings = settings();
    settings.server.max_header_bytes = 200_000;
    let app = spawn_with(&settings).await;
    let request = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", &long[..70_000]);
    is_refused(&app, request.as_bytes(), 414, "uri-too-long").await;
    fault!(
        "a path without end",
        "a path of 1 MB; one of 70 kB where so large a head is taken",
        "431; 414; closed",
        "431 head-too-large; 414 uri-too-long; closed, logged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_behind_a_request_ends_the_connection_after_its_answer() {
    let app = spawn().await;
    for garbage in ["\0\u{1}\u{2}\r\n\r\n", "HELLO\r\n\r\n", "{\"inputs\": []}\r\n\r\n"] {
        let id = new_id("garbage");
        let mut bytes = post_bytes(&id, body().as_bytes());
        bytes.extend_from_slice(garbage.as_bytes());
        let answers = answers(app.address, &bytes).await;
        let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        assert_eq!(statuses, [200, 400], "{garbage:?}");
        assert_eq!(answers[1].json()["type"], "/problems/malformed-request");
        assert_eq!(record(&id).text("status"), "200");
    }
    fault!(
        "garbage behind a request",
        "a good request and, in the same segment, bytes that are no HTTP",
        "200, then 400, closed",
        "200, then 400 malformed-request, closed, logged"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_their_order() {
    let app = spawn().await;
    let ids: Vec<String> = (0..200).map(|_| new_id("pipelined")).collect();
    let bytes: Vec<u8> = ids.iter().flat_map(|id| post_bytes(id, body().as_bytes())).collect();
    let mut connection = Connection::open(app.address).await;
    connection.write(&bytes).await;
    for id in &ids {
        let answer = connection.answer().await;
        assert_eq!((answer.status, answer.header("x-request-id")), (200, Some(id.as_str())));
    }
    fault!(
        "pipelining",
        "200 requests at once on one connection",
        "200 each, in their order",
        "200 answers in their order"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_ends_in_the_middle_is_logged_and_closed() {
    let app = spawn().await;
    let request = post_bytes("", body().as_bytes());
    let head = request.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    for upto in [head, head + 1, request.len() - 1] {
        let id = new_id("torn");
        let request = post_bytes(&id, body().as_bytes());
        let mut connection = Connection::open(app.address).await;
        connection.write(&request[..upto + id.len()]).await;
        connection.finish().await;
        while connection.try_answer(true).await.is_some() {}
        let record = record_at_last(&id).await;
        assert!(["400", "499"].contains(&record.text("status")), "{}", record.text("status"));
    }
    fault!(
        "a half-closed socket in the middle of a body",
        "head and a part of the body, then the client closes its side",
        "400 where it can be told, logged, closed",
        "logged with 400 or 499, closed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_comes_letter_by_letter_is_408() {
    let mut settings = settings();
    settings.server.body_timeout_ms = 300;
    let app = spawn_with(&settings).await;
    for framing in ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"] {
        let id = new_id("letters");
        let head = format!("X-Request-ID: {id}\r\n{framing}");
        let mut connection = Connection::open(app.address).await;
        connection.write(&post(&head, "")).await;
        let is_chunked = framing.starts_with('T');
        let (mut other, mut n) = (Connection::open(app.address).await, 0);
        // A letter each time that another client has had an answer.
        while lines(&id).is_empty() {
            connection.write(if is_chunked { b"1\r\n \r\n" } else { b" " }).await;
            other.write(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n").await;
            assert_eq!(other.answer().await.status, 200);
            tokio::time::sleep(Duration::from_millis(5)).await;
            n += 1;
        }
        let answer = connection.answer().await;
        assert_eq!((answer.status, answer.closes()), (408, true), "{n} letters");
        assert_eq!(answer.json()["type"], "/problems/body-timeout");
    }
    fault!(
        "slowloris: a slow body",
        "a body letter by letter, by length and in chunks",
        "408 after `server.body_timeout_ms`, closed",
        "408 body-timeout, closed, logged; others are answered meanwhile"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_comes_letter_by_letter_is_closed() {
    let mut settings = settings();
    settings.server.header_timeout_ms = 200;
    settings.server.keep_alive_ms = 200;
    let app = spawn_with(&settings).await;
    for is_second in [false, true] {
        let mut connection = Connection::open(app.address).await;
        if is_second {
            connection.write(&post_bytes(&new_id("first"), body().as_bytes())).await;
            assert_eq!(connection.answer().await.status, 200);
        }
        connection.write(b"GET /health HTTP/1.1\r\nx: ").await;
        let mut stream = connection.into_stream();
        eventually("the connection is closed", async || {
            let gone = stream.write_all(b"y").await.is_err();
            gone.then_some(())
        })
        .await;
    }
    assert_eq!(app.get("/health").await.status(), 200);
    fault!(
        "slowloris: a slow head",
        "headers letter by letter, of the first request and of a later one",
        "closed after `server.header_timeout_ms` or `server.keep_alive_ms`",
        "closed"
    );
}

/// A client that sent requests and read no answer was kept for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_closed() {
    let mut settings = settings();
    settings.server.write_timeout_ms = 300;
    let app = spawn_with(&settings).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    // Answers of many megabytes, more than the sockets hold.
    let request = b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(2_000);
    stream.write_all(&request).await.unwrap();
    eventually("the connection is closed", async || {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.is_err().then_some(())
    })
    .await;
    assert_eq!(app.get("/health").await.status(), 200);
    fault!(
        "a client that does not read",
        "2,000 requests for a large page at once, and not one answer is read",
        "closed after `server.write_timeout_ms`",
        "closed; others are answered meanwhile"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_targets_and_methods_are_answered() {
    let app = spawn().await;
    for (line, status) in [
        ("GET http://elsewhere.example/health HTTP/1.1", 200),
        ("OPTIONS * HTTP/1.1", 404),
        ("CONNECT elsewhere.example:443 HTTP/1.1", 404),
        ("TRACE /health HTTP/1.1", 405),
        ("BREW /v1/predict HTTP/1.1", 405),
        ("GET /../../etc/passwd HTTP/1.1", 404),
        ("GET /%2e%2e/%00 HTTP/1.1", 404),
        ("GET //health HTTP/1.1", 404),
        ("GET /health?%zz=%ff HTTP/1.1", 200),
    ] {
        let mut connection = Connection::open(app.address).await;
        connection
            .write(format!("{line}\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
            .await;
        let answer = connection.try_answer(true).await.unwrap_or_else(|| panic!("{line}"));
        assert_eq!(answer.status, status, "{line}");
    }
    fault!(
        "odd methods and paths",
        "CONNECT, TRACE, BREW, `OPTIONS *`, whole URLs, `/../../etc/passwd`, bad percent signs",
        "404, 405, or as without them",
        "404 and 405 as problems; 200 for health"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_refused_is_not_asked_for() {
    let mut settings = settings();
    settings.server.max_body_bytes = 1000;
    let app = spawn_with(&settings).await;
    let expect = "Expect: 100-continue\r\nContent-Length: 100000\r\n";
    let answers = answers(app.address, &post(expect, "")).await;
    let statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [413]);
    fault!(
        "`Expect: 100-continue` for a body that is too large",
        "the head alone, with a length over the limit",
        "413 without 100, closed",
        "413 body-too-large, closed, logged"
    );
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// Frames after the preface are sent until the server has had enough.
async fn is_ended_by(address: SocketAddr, frames: impl Iterator<Item = Vec<u8>>) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut reader, mut writer) = stream.into_split();
    let reading =
        tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
    writer.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    writer.write_all(&frame(4, 0, 0, &[])).await.unwrap();
    let mut has_ended = false;
    for frame in frames {
        if writer.write_all(&frame).await.is_err() {
            has_ended = true;
            break;
        }
    }
    if !has_ended {
        // It may have been told so, with frames still on their way.
        let _read = tokio::time::timeout(crate::helpers::PATIENCE, reading).await.unwrap();
    }
}

/// CVE-2023-44487.
#[tokio::test(flavor = "multi_thread")]
async fn http_2_rapid_resets_end_the_connection() {
    let app = spawn().await;
    // GET / over http, from the static table of HPACK; reset at once.
    let streams = (0..1_000_000_u32).map(|n| {
        let stream = 2 * n + 1;
        let mut both = frame(1, 4 | 1, stream, &[0x82, 0x86, 0x84]);
        both.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
        both
    });
    is_ended_by(app.address, streams).await;
    assert_eq!(app.get("/health").await.status(), 200);
    fault!(
        "HTTP/2 rapid reset",
        "streams that are opened and reset at once, without end",
        "the connection ends",
        "the connection ends; others are answered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn http_2_endless_headers_end_the_connection() {
    let app = spawn().await;
    let first = std::iter::once(frame(1, 1, 1, &[0x82, 0x86, 0x84]));
    // A literal header of 15 kB, not indexed, again and again.
    let mut header = vec![0x00, 0x01, b'x', 0x7f, 0x99, 0x74];
    header.extend(vec![b'y'; 15_000]);
    let more = std::iter::repeat_n(frame(9, 0, 1, &header), 100_000);
    is_ended_by(app.address, first.chain(more)).await;
    assert_eq!(app.get("/health").await.status(), 200);
    fault!(
        "HTTP/2 flood of CONTINUATION",
        "a head that never ends, in frames of 15 kB",
        "the connection ends",
        "the connection ends; others are answered"
    );
}

/// Whatever came, in the end the process holds as many descriptors as before.
#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_kept() {
    let server = Process::start_with(&[
        ("SEAWORTHY__SERVER__HEADER_TIMEOUT_MS", "300"),
        ("SEAWORTHY__SERVER__KEEP_ALIVE_MS", "300"),
        ("SEAWORTHY__SERVER__BODY_TIMEOUT_MS", "300"),
        ("SEAWORTHY__SERVER__WRITE_TIMEOUT_MS", "300"),
    ])
    .await;
    let before = server.descriptors();
    let good = post_bytes("kept", body().as_bytes());
    let mut connections = Vec::new();
    for bytes in [
        b"".to_vec(),
        b"POST".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET /health HTTP/1.1\r\nx: ".to_vec(),
        good[..good.len() - 1].to_vec(),
        good.clone(),
        [&good[..], &good[..60]].concat(),
        [&good[..], b"garbage\r\n\r\n"].concat(),
        post("Transfer-Encoding: chunked\r\n", "5\r\nabc"),
        post("Transfer-Encoding: chunked\r\n", "zz\r\n"),
        post("Content-Length: 5\r\nContent-Length: 6\r\n", SMUGGLED),
        b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n".repeat(500),
    ] {
        for half_closes in [false, true] {
            for _ in 0..5 {
                let mut connection = Connection::open(server.address).await;
                connection.write(&bytes).await;
                if half_closes {
                    connection.finish().await;
                }
                connections.push(connection);
            }
        }
    }
    // The clients keep their ends; the last one closes its own after five seconds of lingering.
    eventually("all connections are closed", async || {
        (server.descriptors() <= before).then_some(())
    })
    .await;
    drop(connections);
    fault!(
        "connections that would never end",
        "120 of them in twelve odd states, none closed by its client",
        "all closed by the server",
        "as many open descriptors as before"
    );
}
