//! Runs the real binary and writes down what a user sees.

use std::fmt::Write as _;
use std::io::Read;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The root of the project.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A run of the program: its arguments, and an environment that holds nothing but what the test puts there.
pub(crate) struct Run {
    command: Command,
    shown: String,
    replaced: Vec<(String, &'static str)>,
}

/// What came of it.
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// `seaworthy` with these arguments, in the root of the project.
pub(crate) fn seaworthy(arguments: &[&str]) -> Run {
    program_at(Path::new(env!("CARGO_BIN_EXE_seaworthy")), arguments)
}

/// As [`seaworthy`], with the program at another place.
pub(crate) fn program_at(program: &Path, arguments: &[&str]) -> Run {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).env_clear().stdin(Stdio::null());
    command.env("ORT_DISABLE_TELEMETRY", "1").env("HOME", "/nonexistent");
    command.env("ORT_DYLIB_PATH", library());
    let shown = format!("seaworthy {}", arguments.join(" "));
    Run { command, shown, replaced: Vec::new() }
}

/// The library that the tests use.
pub(crate) fn library() -> PathBuf {
    let process = seaworthy::config::process();
    seaworthy::runtime::locate(process.onnxruntime.as_deref()).unwrap()
}

impl Run {
    /// Sets a variable of the environment, and shows it.
    pub(crate) fn env(mut self, key: &str, value: &str) -> Self {
        self.command.env(key, value);
        self.shown = format!("{key}={value} {}", self.shown);
        self
    }

    pub(crate) fn env_remove(mut self, key: &str) -> Self {
        self.command.env_remove(key);
        self
    }

    pub(crate) fn current_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub(crate) fn stdout(mut self, stdout: impl Into<Stdio>) -> Self {
        self.command.stdout(stdout);
        self
    }

    /// Shows `with` wherever `text` stands.
    pub(crate) fn replace(mut self, text: impl AsRef<Path>, with: &'static str) -> Self {
        self.replaced.push((text.as_ref().to_str().unwrap().to_owned(), with));
        self
    }

    /// Runs it to its end, which must come within 20 s; what hangs is killed and fails the test.
    pub(crate) fn outcome(&mut self) -> Outcome {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.end()
    }

    /// As [`Self::outcome`], with standard output where [`Self::stdout`] put it.
    pub(crate) fn end(&mut self) -> Outcome {
        self.command.stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        let stdout = child.stdout.take().map(reader);
        let stderr = child.stderr.take().map(reader);
        let code = wait(&mut child, &self.shown);
        let text = |reader: Option<std::thread::JoinHandle<String>>| {
            reader.map(|reader| reader.join().unwrap()).unwrap_or_default()
        };
        Outcome { code, stdout: text(stdout), stderr: text(stderr) }
    }

    /// Runs it and shows what was typed, the exit code and both outputs.
    pub(crate) fn show(mut self) -> String {
        let outcome = self.outcome();
        let mut text = format!("$ {}\n", self.shown.trim_end());
        for (name, output) in [("stdout", &outcome.stdout), ("stderr", &outcome.stderr)] {
            if !output.is_empty() {
                writeln!(text, "--- {name}").unwrap();
                text.push_str(output);
                assert!(output.ends_with('\n'), "{output:?}");
            }
        }
        let code = outcome.code.map_or_else(|| "a signal".to_owned(), |code| code.to_string());
        writeln!(text, "--- exit code {code}").unwrap();
        for (replaced, with) in &self.replaced {
            text = text.replace(replaced, with);
        }
        text.replace(root().to_str().unwrap(), "<root>")
    }
}

fn reader(mut stream: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    })
}

/// The exit code; `None` for a signal.
pub(crate) fn wait(child: &mut Child, what: &str) -> Option<i32> {
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if started.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("`{what}` did not end within 20 s");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Compiles a C file of tests/fixtures to a shared library in `dir`.
pub(crate) fn compile(source: &str, dir: &Path, options: &[&str]) -> PathBuf {
    let library = dir.join(source).with_extension("so");
    let compiled = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
        .arg(&library)
        .args(options)
        .arg(root().join("tests/fixtures").join(source))
        .arg("-ldl")
        .status()
        .expect("a C compiler is needed to test the program");
    assert!(compiled.success(), "{source} does not compile");
    library
}

/// Copies house-prices 3.2.0 to `<models>/house-prices/3.2.0`.
pub(crate) fn copy_model(models: &Path) -> PathBuf {
    let dir = models.join("house-prices/3.2.0");
    std::fs::create_dir_all(&dir).unwrap();
    for entry in std::fs::read_dir(root().join("models/house-prices/3.2.0")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
    }
    dir
}

/// A server on a free port, killed at the end.
pub(crate) struct Server {
    child: Child,
    pub(crate) port: u16,
}

impl Server {
    /// Starts one that says in its messages which port it took.
    pub(crate) fn start() -> Self {
        Self::start_with(&["serve", "house-prices@3.2.0"], root())
    }

    /// Starts one with these arguments in this directory.
    pub(crate) fn start_with(arguments: &[&str], dir: &Path) -> Self {
        Self::run(seaworthy(arguments).current_dir(dir))
    }

    /// Starts one with these variables in its environment.
    pub(crate) fn start_in(environment: &[(&str, &str)]) -> Self {
        let run = seaworthy(&["serve", "house-prices@3.2.0"]);
        Self::run(environment.iter().fold(run, |run, (key, value)| run.env(key, value)))
    }

    /// Asks, and gives the status and the body of the answer.
    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        use std::io::Write as _;
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The id of its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    fn run(mut run: Run) -> Self {
        run.command.env("PORT", "0").env("SEAWORTHY__SERVER__HOST", "127.0.0.1");
        run.command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = run.command.spawn().unwrap();
        let port = listening(&mut child);
        Self { child, port }
    }
}

/// Reads the messages of a server until it listens; the rest of them are read and dropped.
pub(crate) fn listening(child: &mut Child) -> u16 {
    use std::io::{BufRead, BufReader};
    let mut messages = BufReader::new(child.stderr.take().unwrap());
    let mut all = String::new();
    loop {
        let start = all.len();
        assert_ne!(messages.read_line(&mut all).unwrap(), 0, "the server did not start: {all}");
        let listening = all[start..].split_once("listening on http").map(|(_, url)| url);
        if let Some((_, address)) = listening.and_then(|url| url.split_once("://127.0.0.1:")) {
            let digits: String = address.chars().take_while(char::is_ascii_digit).collect();
            std::thread::spawn(move || std::io::copy(&mut messages, &mut std::io::sink()));
            return digits.parse().unwrap();
        }
    }
}

/// A server that logs into a file.
pub(crate) struct Logging {
    server: Server,
    pub(crate) log: PathBuf,
}

impl Logging {
    /// Starts one that logs into this directory.
    pub(crate) fn start(dir: &Path) -> Self {
        Self::run(seaworthy(&["serve", "house-prices@3.2.0"]), dir)
    }

    /// Starts one of a model in this directory that logs into it as well.
    pub(crate) fn start_model(model: &str, dir: &Path) -> Self {
        Self::run(
            seaworthy(&["serve", model]).env("SEAWORTHY__MODELS__DIR", dir.to_str().unwrap()),
            dir,
        )
    }

    fn run(mut run: Run, dir: &Path) -> Self {
        let log = dir.join("predictions.log");
        run.command.env("SEAWORTHY__SERVER__DRAIN_DELAY_MS", "0");
        run.command.env("SEAWORTHY__LOG__PREDICTIONS", &log);
        Self { server: Server::run(run), log }
    }

    /// As [`Server::post`].
    pub(crate) fn post(&self, path: &str, body: &str) -> (u16, String) {
        self.server.post(path, body)
    }

    /// Stops it, so that the log is whole.
    pub(crate) fn stop(mut self) -> PathBuf {
        Command::new("kill").arg("-INT").arg(self.server.id().to_string()).status().unwrap();
        self.server.child.wait().unwrap();
        self.log
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
