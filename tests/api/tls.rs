//! TLS without a proxy: both versions of HTTP, certificates that change, clients that do not get on with it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::http::Request;
use http_body_util::BodyExt as _;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, date_time_ymd};
use rustls::pki_types::{CertificateDer, ServerName};
use seaworthy::config::Settings;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::helpers::{
    PATIENCE, Row, TestApp, eventually, messages, new_id, post_bytes, record, settings, spawn,
    spawn_with, wrapped,
};
use crate::fault::fault;
use crate::tls_files::{params, trusting, write_pair};

/// A certificate for `localhost` with its key, in files.
struct Files {
    _dir: tempfile::TempDir,
    certificate: PathBuf,
    key: PathBuf,
}

impl Files {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
        let files = Self { _dir: dir, certificate, key };
        let _first = files.renew();
        files
    }

    /// Writes a new pair and returns its certificate.
    fn renew(&self) -> CertificateDer<'static> {
        self.write(params())
    }

    fn write(&self, params: CertificateParams) -> CertificateDer<'static> {
        write_pair(&self.certificate, &self.key, params)
    }

    fn settings(&self) -> Settings {
        let mut settings = settings();
        let text = |path: &Path| path.display().to_string();
        settings.server.tls_certificate = text(&self.certificate);
        settings.server.tls_key = text(&self.key);
        settings
    }
}

/// A connection to the server of a client that trusts this certificate only.
async fn connect(
    app: &TestApp,
    trusted: &CertificateDer<'static>,
    protocols: &[&str],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut config = trusting(trusted);
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    let tcp = TcpStream::connect(app.address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prediction_over_tls_is_that_over_plain_http() {
    let files = Files::new();
    let certificate = files.renew();
    let app = spawn_with(&files.settings()).await;
    let body = wrapped([&Row::good()]);
    let plain = spawn().await.predict("/v1/predict", body.clone()).await;
    let predicted =
        |text: &[u8]| serde_json::from_slice::<Value>(text).unwrap()["predictions"].clone();
    for protocols in [&[][..], &["http/1.1"]] {
        let mut stream = connect(&app, &certificate, protocols).await.unwrap();
        let chosen = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(chosen.as_deref(), protocols.first().map(|name| name.as_bytes()));
        // Twice, on one connection.
        for _ in 0..2 {
            let id = new_id("tls");
            stream.write_all(&post_bytes(&id, body.as_bytes())).await.unwrap();
            let mut read = Vec::new();
            while !read.ends_with(b"}") {
                assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
            }
            let text = String::from_utf8(read).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
            assert_eq!(predicted(body.as_bytes()), plain["predictions"]);
            assert_eq!(record(&id).value("status"), 200);
        }
    }
    let stream = connect(&app, &certificate, &["h2", "http/1.1"]).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let connected =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = connected.await.unwrap();
    tokio::spawn(connection);
    for path in ["/v1/predict", "/v1/models/house-prices/predict"] {
        let request = Request::post(format!("https://localhost{path}"))
            .header("content-type", "application/json")
            .body(Body::from(body.clone()))
            .unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let answer = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(predicted(&answer), plain["predictions"]);
    }
}

/// Plain HTTP, another protocol, half a greeting, or nothing at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_shake_hands_in_time_is_closed() {
    let files = Files::new();
    let certificate = files.renew();
    let mut settings = files.settings();
    settings.server.header_timeout_ms = 300;
    let app = spawn_with(&settings).await;
    let half_a_hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00];
    for said in
        [&b""[..], &half_a_hello, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-x\r\n"]
    {
        let started = Instant::now();
        let mut tcp = TcpStream::connect(app.address).await.unwrap();
        tcp.write_all(said).await.unwrap();
        let mut read = Vec::new();
        let ended = tokio::time::timeout(PATIENCE, tcp.read_to_end(&mut read)).await;
        let _reset = ended.expect("the connection ends");
        assert!(!read.starts_with(b"HTTP"), "{said:?}");
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    }
    // After the handshake the head is waited for as long again.
    let mut silent = connect(&app, &certificate, &[]).await.unwrap();
    let mut read = Vec::new();
    let _ended = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut read)).await.unwrap();
    assert!(read.is_empty());
    // Others are served all the while.
    assert!(connect(&app, &certificate, &[]).await.is_ok());
    fault!(
        "A TLS handshake that is not finished",
        "nothing, half a ClientHello, plain HTTP and SSH sent to the TLS port; `server.header_timeout_ms` 300",
        "closed in time, no HTTP answer, others served",
        "as expected"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let files = Files::new();
    let first = files.renew();
    let mut settings = files.settings();
    settings.server.tls_reload_s = 1;
    let app = spawn_with(&settings).await;
    let mut open = connect(&app, &first, &[]).await.unwrap();
    std::fs::write(&files.certificate, "-----BEGIN CERTIFICATE-----\n").unwrap();
    let place = files.certificate.display().to_string();
    eventually("the message", async || {
        messages("cannot be read again").iter().any(|line| line.contains(&place)).then_some(())
    })
    .await;
    assert!(connect(&app, &first, &[]).await.is_ok());
    let second = files.renew();
    eventually("the new certificate", async || connect(&app, &second, &[]).await.ok()).await;
    assert!(connect(&app, &first, &[]).await.is_err());
    // What was open before still is.
    open.write_all(b"GET /health HTTP/1.0\r\n\r\n").await.unwrap();
    let mut read = Vec::new();
    open.read_to_end(&mut read).await.unwrap();
    assert!(read.starts_with(b"HTTP/1.0 200"));
    fault!(
        "Certificate renewed while serving; Certificate file broken while serving",
        "files replaced under a running server, by time and by SIGHUP; cut off under a running server",
        "new one shown, open connections go on; old one stays, error message",
        "as expected"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_out_of_date_is_served_with_a_warning() {
    let files = Files::new();
    let warned = || messages("has expired or is not valid yet").len();
    let _app = spawn_with(&files.settings()).await;
    let before = warned();
    let mut params = params();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2021, 1, 1));
    let expired = files.write(params);
    let app = spawn_with(&files.settings()).await;
    assert_eq!(warned(), before + 1);
    assert!(connect(&app, &expired, &[]).await.is_err());
    fault!(
        "Certificate expired",
        "one of 2020",
        "served with a warning in the log; clients refuse it",
        "as expected"
    );
}
