//! A server of its own process, ways to speak to it, and all that it says.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Nothing in these tests takes this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program with these arguments, in an environment that holds nothing but what it needs.
pub(crate) fn seaworthy(arguments: &[&str]) -> Command {
    let process = seaworthy::config::process();
    let library = seaworthy::runtime::locate(process.onnxruntime.as_deref()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_seaworthy"));
    command.args(arguments).current_dir(root()).env_clear().stdin(Stdio::null());
    command.env("ORT_DISABLE_TELEMETRY", "1").env("HOME", "/nonexistent");
    command.env("ORT_DYLIB_PATH", library).env("PORT", "0");
    command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("SEAWORTHY__SERVER__HOST", "127.0.0.1");
    command.env("SEAWORTHY__SERVER__DRAIN_DELAY_MS", "0");
    command
}

/// A server; killed at the end.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) port: u16,
    messages: Arc<Mutex<String>>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }
}

impl Server {
    /// Starts the default model with these settings.
    pub(crate) fn start(settings: &[(&str, &str)]) -> Self {
        let mut command = seaworthy(&["serve", "house-prices@3.2.0"]);
        command.envs(settings.iter().copied()).stdout(Stdio::null());
        Self::of(command)
    }

    /// Starts one that logs into this file.
    pub(crate) fn logging_to(log: &Path, settings: &[(&str, &str)]) -> Self {
        let log = ("SEAWORTHY__LOG__PREDICTIONS", log.to_str().unwrap());
        Self::start(&[&[log], settings].concat())
    }

    /// Starts this command, which says its port on standard error.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let messages: Arc<Mutex<String>> = Arc::default();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let shared = Arc::clone(&messages);
        std::thread::spawn(move || {
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                shared.lock().unwrap().push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
        });
        let mut server = Self { child, port: 0, messages };
        const LISTENS: &str = "listening on http://127.0.0.1:";
        let text = server.says(LISTENS);
        let digits = text.split_once(LISTENS).unwrap().1.chars();
        server.port = digits.take_while(char::is_ascii_digit).collect::<String>().parse().unwrap();
        server
    }

    /// All messages so far.
    pub(crate) fn messages(&self) -> String {
        self.messages.lock().unwrap().clone()
    }

    /// Waits until it has said this; returns all that it has said.
    pub(crate) fn says(&self, text: &str) -> String {
        let started = Instant::now();
        loop {
            let messages = self.messages();
            if messages.contains(text) {
                return messages;
            }
            assert!(started.elapsed() < PATIENCE, "never said `{text}`:\n{messages}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn ask(&self, head: &str, body: &str) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{head}\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// Predicts, with these headers more.
    pub(crate) fn predict_with(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut head = "POST /v1/predict HTTP/1.1\r\ncontent-type: application/json".to_owned();
        for (name, value) in headers {
            head.push_str(&format!("\r\n{name}: {value}"));
        }
        self.ask(&head, body)
    }

    /// Predicts the good row; it must succeed.
    pub(crate) fn predict(&self, id: &str) {
        let answer = self.predict_with(&[("x-request-id", id)], &good());
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    /// The value of a metric.
    pub(crate) fn metric(&self, sample: &str) -> f64 {
        let metrics = self.ask("GET /metrics HTTP/1.1", "").body;
        let mut values = metrics.lines().filter_map(|line| line.strip_prefix(sample));
        values.next().unwrap_or_else(|| panic!("no {sample} in\n{metrics}")).trim().parse().unwrap()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }

    /// Stops it, and waits for it to have written everything.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        self.signal("-INT");
        let status = self.wait();
        (status, self.messages())
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it does not end:\n{}", self.messages());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Waits until this is so.
pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A body with the first golden row.
pub(crate) fn good() -> String {
    static GOOD: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| {
        let golden = root().join("models/house-prices/3.2.0/golden.jsonl");
        let golden = std::fs::read_to_string(golden).unwrap();
        let row: serde_json::Value = serde_json::from_str(golden.lines().next().unwrap()).unwrap();
        format!("{{\"inputs\":[{}]}}", row["input"])
    });
    GOOD.clone()
}

/// The ids of the records in a log; every line must be one.
pub(crate) fn ids(log: &str) -> Vec<String> {
    log.lines()
        .map(|line| {
            let record: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            record["request_id"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// What `replay` finds in these logs: its exit code and its report.
pub(crate) fn replay(logs: &[PathBuf]) -> (Option<i32>, serde_json::Value) {
    let mut command = seaworthy(&["replay", "--format", "json"]);
    let output = command.args(logs).output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        panic!("{error}: {}", String::from_utf8_lossy(&output.stderr));
    });
    (output.status.code(), report)
}
