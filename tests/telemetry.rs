//! The process opens no outgoing connection and resolves no name: ONNX Runtime's telemetry is off.
//!
//! What was found with ONNX Runtime 1.31.1 (official wheel, Linux x86-64), with `strace` and with the shim of `tests/fixtures/connect_spy.c`:
//! it brings its own libcurl. As soon as an environment is made it keeps a data base in ~/.cache/Microsoft/DeveloperTools/.onnxruntime,
//! and about 9 s later it resolves mobile.events.data.microsoft.com to send what it has gathered. `DisableTelemetryEvents` right after the
//! environment was made changes nothing of that; `ORT_DISABLE_TELEMETRY=1` in the environment before the library is opened does.
//! So the program starts itself again with the variable set, and refuses to go on where it cannot.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use seaworthy::config;
use seaworthy::startup::{load_and_prove, open_runtime};

/// Where the library reports to.
const COLLECTOR: &str = "mobile.events.data.microsoft.com";
/// Makes [`child_with_telemetry_on`] do something.
const CHILD: &str = "SEAWORTHY_TEST_TELEMETRY_CHILD";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn library() -> PathBuf {
    seaworthy::runtime::locate(config::process().onnxruntime.as_deref()).unwrap()
}

/// A directory with the shim, a home, and what the shim has seen.
struct Spy {
    tmp: tempfile::TempDir,
}

impl Spy {
    fn new() -> Self {
        let tmp = tempfile::tempdir().unwrap();
        std::fs::create_dir(tmp.path().join("home")).unwrap();
        let compiled = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
            .arg(tmp.path().join("spy.so"))
            .arg(root().join("tests/fixtures/connect_spy.c"))
            .arg("-ldl")
            .status()
            .expect("a C compiler is needed to test the program");
        assert!(compiled.success());
        Self { tmp }
    }

    fn home(&self) -> PathBuf {
        self.tmp.path().join("home")
    }

    /// A program that the shim watches and lets nowhere. Its environment says nothing of telemetry.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(root()).env_clear().stdin(Stdio::null());
        command.env("LD_PRELOAD", self.tmp.path().join("spy.so"));
        command.env("CONNECT_SPY", self.tmp.path().join("seen"));
        command.env("CONNECT_SPY_BLOCK", "1");
        command.env("HOME", self.home()).env("ORT_DYLIB_PATH", library());
        command
    }

    fn seaworthy(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(Path::new(env!("CARGO_BIN_EXE_seaworthy")));
        command.args(arguments);
        command
    }

    /// What the shim has seen so far, line by line.
    fn seen(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.tmp.path().join("seen")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// As [`Self::seen`], without starts of programs.
    fn attempts(&self) -> Vec<String> {
        self.seen().into_iter().filter(|line| !line.starts_with("exec ")).collect()
    }

    /// The number of times that a program was started in the place of another.
    fn starts(&self) -> usize {
        self.seen().len() - self.attempts().len()
    }

    /// What was written to the home directory.
    fn kept(&self) -> Vec<String> {
        std::fs::read_dir(self.home())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect()
    }
}

/// A process that is killed at the end.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "waited for 60 s: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Reads the messages of a server until it says its port.
fn port(messages: &mut impl BufRead) -> u16 {
    let mut all = String::new();
    loop {
        let start = all.len();
        assert_ne!(messages.read_line(&mut all).unwrap(), 0, "the server did not start: {all}");
        if let Some((_, rest)) = all[start..].split_once("listening on http://127.0.0.1:") {
            return rest
                .chars()
                .take_while(char::is_ascii_digit)
                .collect::<String>()
                .parse()
                .unwrap();
        }
    }
}

/// Asks for a prediction; returns the answer.
fn predict(port: u16, row: &str) -> String {
    let body = format!("{{\"inputs\":[{row}]}}");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    write!(
        stream,
        "POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Not a test: what [`a_server_reaches_for_nobody`] starts to see what happens with telemetry on.
#[test]
fn child_with_telemetry_on() {
    #[expect(clippy::disallowed_methods, reason = "this is how the parent tells it what it is")]
    if std::env::var(CHILD).is_err() {
        return;
    }
    // It switches telemetry off by the API, as the program does.
    open_runtime(&config::process()).unwrap();
    let _predictor = load_and_prove(&root().join("models/house-prices/3.2.0")).unwrap();
    loop {
        // Until the parent kills it.
        std::thread::park();
    }
}

#[test]
fn a_server_reaches_for_nobody() {
    let spy = Spy::new();
    let mut command = spy.seaworthy(&["serve", "house-prices@3.2.0"]);
    command.env("PORT", "0").env("SEAWORTHY__SERVER__HOST", "127.0.0.1");
    let mut server = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut messages = BufReader::new(server.0.stderr.take().unwrap());
    let port = port(&mut messages);
    // The control: the same library with telemetry on. Started later, so that the server
    // would have been first.
    let control = Spy::new();
    let mut command = control.command(&std::env::current_exe().unwrap());
    command.args(["--exact", "child_with_telemetry_on", "--nocapture"]);
    command.env(CHILD, "1");
    let _child = Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());

    let golden = std::fs::read_to_string(root().join("models/house-prices/3.2.0/golden.jsonl"));
    let golden = golden.unwrap();
    let rows: Vec<serde_json::Value> =
        golden.lines().take(50).map(|line| serde_json::from_str(line).unwrap()).collect();
    for row in &rows {
        let answer = predict(port, &row["input"].to_string());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    // Long enough for the library to have reached out, if it could: the control has, in the same time. A library that was built
    // without telemetry has no address to reach out to.
    let bytes = std::fs::read(library()).unwrap();
    if memchr::memmem::find(&bytes, COLLECTOR.as_bytes()).is_some() {
        wait_for("the library to reach out with telemetry on", || {
            control.attempts().contains(&format!("getaddrinfo {COLLECTOR} 0"))
        });
        assert_ne!(control.kept(), [] as [String; 0], "it keeps what it has gathered");
    }

    // Requests are answered still; then it ends, and nothing is sent at the end either.
    assert!(predict(port, &rows[0]["input"].to_string()).starts_with("HTTP/1.1 200"));
    let pid = server.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let status = server.0.wait().unwrap();
    let mut rest = String::new();
    messages.read_to_string(&mut rest).unwrap();
    assert_eq!(status.code(), Some(0), "{rest}");
    assert_eq!(spy.attempts(), [] as [String; 0]);
    assert_eq!(spy.kept(), [] as [String; 0]);
    assert_eq!(spy.starts(), 1, "it starts itself again once, without telemetry");
}

/// That the shim sees what this program does itself.
#[test]
fn the_shim_sees_a_connection() {
    let spy = Spy::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let ended = spy.seaworthy(&["healthcheck"]).env("PORT", port.to_string()).output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(spy.attempts(), [format!("connect 127.0.0.1 {port}")]);
}

#[test]
fn it_starts_itself_again_only_when_needed() {
    let starts = |arguments: &[&str], telemetry: Option<&str>| {
        let spy = Spy::new();
        let mut command = spy.seaworthy(arguments);
        telemetry.map(|value| command.env("ORT_DISABLE_TELEMETRY", value));
        let ended = command.output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{arguments:?}: {ended:?}");
        assert_eq!((spy.attempts(), spy.kept()), (Vec::new(), Vec::new()), "{arguments:?}");
        spy.starts()
    };
    // The library is opened, and the variable is not set, or not to what the library takes for a yes everywhere.
    assert_eq!(starts(&["check"], None), 1);
    assert_eq!(starts(&["check"], Some("0")), 1);
    assert_eq!(starts(&["check"], Some("")), 1);
    // The variable is set.
    assert_eq!(starts(&["check"], Some("1")), 0);
    // The library is not opened.
    assert_eq!(starts(&["inspect", "house-prices"], None), 0);
    assert_eq!(starts(&["--help"], None), 0);
    assert_eq!(starts(&["check", "--help"], None), 0);
}

/// It went on with a warning, and the library reported all the same.
#[test]
fn it_does_not_go_on_where_telemetry_cannot_be_switched_off() {
    let spy = Spy::new();
    for command in ["check", "serve"] {
        let mut command = spy.seaworthy(&[command]);
        let Output { status, stdout, stderr } =
            command.env("CONNECT_SPY_DENY_EXEC", "1").output().unwrap();
        assert_eq!((status.code(), stdout), (Some(2), Vec::new()));
        assert_eq!(
            String::from_utf8(stderr).unwrap(),
            "error: ONNX Runtime's telemetry is on, and this program cannot start itself again without it: \
             Operation not permitted (os error 1)\nhint: set ORT_DISABLE_TELEMETRY=1 in its environment\n"
        );
    }
    assert_eq!((spy.attempts(), spy.kept()), (Vec::new(), Vec::new()));
}

#[test]
fn arguments_and_the_exit_code_survive_the_new_start() {
    let spy = Spy::new();
    let ended = spy.seaworthy(&["check", "no such model", "--format", "json"]).output().unwrap();
    assert_eq!((ended.status.code(), spy.starts()), (Some(1), 1));
    let line: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(line["path"], "no such model");
}
