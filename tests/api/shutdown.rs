//! The end of the process: the real program, and signals.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::fault::fault;
use crate::helpers::{
    Answer, Connection, PATIENCE, Record, Row, eventually, new_id, post_bytes, wrapped,
};

/// The program as its own process.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
    log: PathBuf,
    _dir: tempfile::TempDir,
}

impl Process {
    async fn start(drain_delay_ms: u64, drain_timeout_ms: u64) -> Self {
        Self::start_with(&[
            ("SEAWORTHY__SERVER__DRAIN_DELAY_MS", &drain_delay_ms.to_string()),
            ("SEAWORTHY__SERVER__DRAIN_TIMEOUT_MS", &drain_timeout_ms.to_string()),
        ])
        .await
    }

    /// With settings from the environment.
    pub(crate) async fn start_with(settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("predictions.ndjson");
        let mut child = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
            .arg("serve")
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("SEAWORTHY__SERVER__HOST", "127.0.0.1")
            .env("SEAWORTHY__SERVER__PORT", "0")
            .envs(settings.iter().copied())
            .env("SEAWORTHY__MODELS__LOAD", "default")
            .env("SEAWORTHY__LOG__PREDICTIONS", &log)
            .env_remove("PORT")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut messages = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut shown = String::new();
        let address = loop {
            let line = tokio::time::timeout(PATIENCE, messages.next_line()).await.unwrap().unwrap();
            let Some(line) = line else { panic!("the server did not start: {shown}") };
            if let Some((_, url)) = line.split_once("listening on http://") {
                break url.split_whitespace().next().unwrap().parse().unwrap();
            }
            shown.push_str(&line);
        };
        // It must not block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = messages.next_line().await {} });
        Self { child, address, log, _dir: dir }
    }

    /// Bytes of memory that the process holds.
    pub(crate) fn resident(&self) -> usize {
        let statm = format!("/proc/{}/statm", self.child.id().unwrap());
        let pages = std::fs::read_to_string(statm).unwrap();
        pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    }

    /// Files and sockets that the process has open.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id().unwrap())).unwrap().count()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().unwrap().to_string();
        let status = std::process::Command::new("kill").args([&format!("-{signal}"), &id]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) async fn end(mut self) -> (ExitStatus, Vec<Record>) {
        let status = tokio::time::timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        (status, records(&self.log))
    }

    async fn health(&self) -> u16 {
        get(self.address, "/health").await.status
    }

    /// Waits until no connection is taken any more.
    async fn is_closed(&self) {
        let refused = async || TcpStream::connect(self.address).await.is_err().then_some(());
        eventually("the port is closed", refused).await;
    }
}

fn records(log: &Path) -> Vec<Record> {
    std::fs::read_to_string(log).unwrap().lines().map(Record::parse).collect()
}

async fn get(address: SocketAddr, path: &str) -> Answer {
    let mut connection = Connection::open(address).await;
    connection.write(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
    connection.answer().await
}

fn body() -> String {
    wrapped([&Row::good()])
}

/// What the clients of a load test share.
#[derive(Default)]
struct Load {
    draining: AtomicBool,
    n_answered: AtomicUsize,
    n_while_draining: AtomicUsize,
}

/// Requests without a break, until enough were answered while the server drained. Returns their ids.
async fn client(address: SocketAddr, load: Arc<Load>) -> Vec<String> {
    let mut ids = Vec::new();
    let mut connection = Connection::open(address).await;
    while load.n_while_draining.load(Ordering::SeqCst) < 40 {
        let id = new_id("load");
        let draining = load.draining.load(Ordering::SeqCst);
        connection.write(&post_bytes(&id, body().as_bytes())).await;
        ids.push(id.clone());
        let answer = connection.try_answer(true).await;
        let answer = answer.unwrap_or_else(|| panic!("{id} has no answer; draining: {draining}"));
        assert_eq!(answer.status, 200, "{}", answer.json());
        assert_eq!(answer.header("x-request-id"), Some(id.as_str()));
        load.n_answered.fetch_add(1, Ordering::SeqCst);
        if draining {
            assert!(answer.closes(), "{id}");
            load.n_while_draining.fetch_add(1, Ordering::SeqCst);
        }
        if answer.closes() {
            connection = Connection::open(address).await;
        }
    }
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_under_load_loses_nothing() {
    let server = Process::start(4_000, 30_000).await;
    let load = Arc::new(Load::default());
    let clients: Vec<_> =
        (0..4).map(|_| tokio::spawn(client(server.address, Arc::clone(&load)))).collect();
    let under_load = async || (load.n_answered.load(Ordering::SeqCst) >= 100).then_some(());
    eventually("100 answers", under_load).await;
    assert_eq!(server.health().await, 200);
    // One request is under way all the time, by a client that is slow.
    let slow = new_id("slow");
    let request = post_bytes(&slow, body().as_bytes());
    let (start, rest) = request.split_at(request.len() - 10);
    let mut under_way = Connection::open(server.address).await;
    under_way.write(start).await;

    server.signal("TERM");
    eventually("not ready", async || (server.health().await == 503).then_some(())).await;
    assert_eq!(get(server.address, "/health/ready").await.json()["status"], "draining");
    assert_eq!(get(server.address, "/health/live").await.status, 200);
    load.draining.store(true, Ordering::SeqCst);
    let mut ids = Vec::new();
    for client in clients {
        ids.extend(client.await.unwrap());
    }

    server.is_closed().await;
    under_way.write(rest).await;
    let answer = under_way.answer().await;
    assert_eq!((answer.status, answer.header("x-request-id")), (200, Some(slow.as_str())));
    assert!(answer.closes());
    ids.push(slow);
    let (status, records) = server.end().await;
    assert_eq!(status.code(), Some(0));
    let mut logged: Vec<String> = records
        .iter()
        .map(|record| {
            assert_eq!(record.text("status"), "200");
            record.value("request_id").as_str().unwrap().to_owned()
        })
        .collect();
    logged.sort();
    ids.sort();
    assert_eq!(logged, ids);
    fault!(
        "SIGTERM under load",
        "four clients without a break and a slow one, SIGTERM meanwhile",
        "each request answered and logged once, exit code 0",
        "{} requests answered and logged, exit code 0",
        ids.len()
    );
}

/// Whoever stops a process with SIGINT, as `docker stop` does when an image asks for it, sends requests until told not to.
#[tokio::test(flavor = "multi_thread")]
async fn sigint_without_a_terminal_drains_like_sigterm() {
    for signal in ["INT", "TERM"] {
        let server = Process::start(300, 3_600_000).await;
        let mut idle = Connection::open(server.address).await;
        idle.write(&post_bytes("idle", body().as_bytes())).await;
        assert_eq!(idle.answer().await.status, 200);
        server.signal(signal);
        let is_draining = async || (server.health().await == 503).then_some(());
        eventually("not ready", is_draining).await;
        let mut late = Connection::open(server.address).await;
        late.write(&post_bytes("late", body().as_bytes())).await;
        let answer = late.answer().await;
        assert_eq!((answer.status, answer.closes()), (200, true));
        let (status, records) = server.end().await;
        assert_eq!((status.code(), records.len()), (Some(0), 2));
        assert!(idle.ends_silently().await);
    }
    fault!(
        "SIGTERM, and SIGINT without a terminal",
        "the signal, then a request while the server drains",
        "readiness 503; the request is answered with `Connection: close`; exit code 0; the log is whole",
        "503; 200 and close; exit code 0; both records"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_at_once() {
    for second in ["TERM", "INT"] {
        let server = Process::start(3_600_000, 3_600_000).await;
        assert_eq!(server.health().await, 200);
        server.signal("TERM");
        eventually("not ready", async || (server.health().await == 503).then_some(())).await;
        server.signal(second);
        let (status, _) = server.end().await;
        assert_eq!(status.code(), Some(0));
    }
    fault!(
        "a second signal",
        "SIGTERM with a drain of an hour, then SIGTERM or SIGINT",
        "the end at once, exit code 0",
        "the end at once, exit code 0"
    );
}

/// A request that does not finish in time is cut off, and still logged.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_outlives_the_drain_timeout_is_cut_off() {
    let server = Process::start(0, 200).await;
    let mut stuck = Connection::open(server.address).await;
    let request = post_bytes("stuck", body().as_bytes());
    stuck.write(&request[..request.len() - 10]).await;
    // The request is with the server when another one behind it has been answered.
    assert_eq!(server.health().await, 200);
    server.signal("TERM");
    let (status, records) = server.end().await;
    assert_eq!(status.code(), Some(0));
    assert!(stuck.ends_silently().await);
    let [record] = records.as_slice() else { panic!("{} records", records.len()) };
    assert_eq!(record.value("request_id"), "stuck");
    assert_eq!(record.text("status"), "499");
    fault!(
        "a request that outlives the drain",
        "a body that never comes whole, then SIGTERM with a drain timeout of 200 ms",
        "cut off, logged, exit code 0",
        "cut off, logged with 499, exit code 0"
    );
}
