//! A copy of an artifact that a test may spoil.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use seaworthy::config;
use seaworthy::predictor::Predictor;
use seaworthy::proof::Proof;
use seaworthy::startup::{ServerError, load_and_prove, open_runtime};
use serde_json::Value;
use sha2::{Digest, Sha256};

/// The root of the project.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A graph of tests/fixtures.
pub(crate) fn graph(name: &str) -> Vec<u8> {
    std::fs::read(root().join("tests/fixtures/graphs").join(name)).unwrap()
}

/// `<tmp>/<name>/<version>`, removed at the end.
pub(crate) struct Copy {
    tmp: tempfile::TempDir,
    dir: PathBuf,
}

impl Copy {
    /// A copy of house-prices 3.2.0.
    pub(crate) fn of_house_prices() -> Self {
        let copy = Self::empty("house-prices", "3.2.0");
        for entry in std::fs::read_dir(root().join("models/house-prices/3.2.0")).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), copy.path(entry.file_name().to_str().unwrap())).unwrap();
        }
        copy
    }

    /// Leaves only a few golden rows, so that it loads quickly.
    pub(crate) fn shrink(&self) {
        const ROWS: usize = 8;
        let text = String::from_utf8(self.read("golden.jsonl")).unwrap();
        let rows: Vec<&str> = text.lines().take(ROWS).collect();
        self.write("golden.jsonl", rows.join("\n") + "\n");
        self.write("profile.json", r#"{"format": "seaworthy-profile/1"}"#);
        self.edit(|manifest| manifest["golden"]["rows"] = ROWS.into());
    }

    /// An empty directory for an artifact.
    pub(crate) fn empty(name: &str, version: &str) -> Self {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().join(name).join(version);
        std::fs::create_dir_all(&dir).unwrap();
        Self { tmp, dir }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn tmp(&self) -> &Path {
        self.tmp.path()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.dir.join(file)
    }

    pub(crate) fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.path(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(file), bytes).unwrap();
    }

    pub(crate) fn manifest(&self) -> Value {
        serde_json::from_slice(&self.read("manifest.json")).unwrap()
    }

    /// Edits the manifest and makes the hashes right again.
    pub(crate) fn edit(&self, edit: impl FnOnce(&mut Value)) {
        let mut manifest = self.manifest();
        edit(&mut manifest);
        self.write("manifest.json", serde_json::to_string_pretty(&manifest).unwrap());
        self.seal();
    }

    /// Edits one golden row and makes the hashes right again.
    pub(crate) fn edit_golden(&self, row: usize, edit: impl FnOnce(&mut Value)) {
        let text = String::from_utf8(self.read("golden.jsonl")).unwrap();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let mut value = serde_json::from_str(&lines[row - 1]).unwrap();
        edit(&mut value);
        lines[row - 1] = value.to_string();
        self.write("golden.jsonl", lines.join("\n") + "\n");
        self.seal();
    }

    /// Makes the hashes right again: lists every file that is there.
    pub(crate) fn seal(&self) {
        let mut names: Vec<String> = std::fs::read_dir(&self.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "SHA256SUMS")
            .collect();
        names.sort();
        let lines = names.iter().fold(String::new(), |mut lines, name| {
            writeln!(lines, "{}  {name}", sha256(&self.read(name))).unwrap();
            lines
        });
        self.write("SHA256SUMS", lines);
    }

    /// Loads and proves it.
    pub(crate) fn load(&self) -> Result<(Predictor, Proof), ServerError> {
        open();
        load_and_prove(&self.dir)
    }

    /// Why it is refused, with all causes, `…` for the temporary directory and `<sha256>` for hashes; `proven` if it is not.
    pub(crate) fn refusal(&self) -> String {
        match self.load() {
            Ok(_) => "proven".to_owned(),
            Err(error) => self.text(&error),
        }
    }

    fn text(&self, error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            if !text.contains(&error.to_string()) {
                write!(text, ": {error}").unwrap();
            }
            cause = error.source();
        }
        assert!(!text.contains(char::is_control), "a message is one line: {text:?}");
        let text = without_hashes(&text.replace(self.tmp.path().to_str().unwrap(), "…"));
        let text: Vec<String> = text.split(' ').map(short).collect();
        let text = text.join(" ");
        // Where in a manifest of 30 kB a fault is does not matter here.
        match text.split_once(" at line ") {
            Some((text, place)) if place.contains(" column ") => {
                format!("{text} at line … column …")
            }
            _ => text,
        }
    }
}

/// Opens ONNX Runtime, once.
pub(crate) fn open() {
    open_runtime(&config::process()).unwrap();
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A number without its last digits, in which machines differ.
fn short(word: &str) -> String {
    const DIGITS: usize = 11;
    let number = word.trim_end_matches([',', ';']);
    if number.len() > DIGITS && number.contains('.') && number.parse::<f64>().is_ok() {
        return word.replace(number, &format!("{}…", &number[..DIGITS]));
    }
    word.to_owned()
}

fn without_hashes(text: &str) -> String {
    text.split(' ')
        .map(|word| {
            let hex = word.trim_end_matches(',');
            let is_hash = hex.len() == 64 && hex.bytes().all(|c| c.is_ascii_hexdigit());
            if is_hash { word.replace(hex, "<sha256>") } else { word.to_owned() }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Spoils a fresh copy for each case and collects what is said, as the text of a snapshot. None may be taken for proven.
pub(crate) struct Cases(String);

impl Cases {
    pub(crate) fn new() -> Self {
        Self(String::new())
    }

    pub(crate) fn case(&mut self, name: &str, spoil: impl FnOnce(&Copy)) {
        let copy = Copy::of_house_prices();
        spoil(&copy);
        let refusal = copy.refusal();
        assert_ne!(refusal, "proven", "{name}");
        writeln!(self.0, "{name}\n    {refusal}").unwrap();
    }

    /// A change of the manifest, with the hashes right.
    pub(crate) fn edited(&mut self, name: &str, edit: impl FnOnce(&mut Value)) {
        self.case(name, |copy| copy.edit(edit));
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// The first step with this operation and name.
pub(crate) fn step<'a>(manifest: &'a mut Value, op: &str, name: &str) -> &'a mut Value {
    manifest["pipeline"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .find(|step| step["op"] == op && step["name"] == name)
        .unwrap_or_else(|| panic!("there is a step {op} {name}"))
}

/// The parameters of one column in such a step.
pub(crate) fn column<'a>(
    manifest: &'a mut Value,
    op: &str,
    name: &str,
    column: &str,
) -> &'a mut Value {
    step(manifest, op, name)["columns"]
        .as_array_mut()
        .unwrap()
        .iter_mut()
        .find(|spec| spec["column"] == column)
        .unwrap_or_else(|| panic!("the step {op} {name} has a column {column}"))
}
