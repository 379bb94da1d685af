//! What is on disk: a directory with a model, its schema, its pipeline and its proof. See docs/artifact.md.
//!
//! Opening an artifact checks every byte of it against `SHA256SUMS`, and the manifest's form. Whether it computes what it says is
//! checked by the predictor and the proof.

use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::digest::{hex, sha256};

mod error;
mod manifest;
mod signature;
pub mod store;

pub use error::ArtifactError;
pub use manifest::{
    GoldenError, GoldenOutput, GoldenRow, GoldenSpec, Manifest, ModelSpec, Task, TensorSpec,
    Tolerance,
};
pub use signature::{NoSigner, PublicKey, SignError, Signer, SigningKey, Trust};

/// The format that this version reads and writes.
pub const FORMAT: &str = "seaworthy/1";
const MANIFEST: &str = "manifest.json";
const SUMS: &str = "SHA256SUMS";
const SIGNATURES: &str = "SIGNATURES";
/// More files are no artifact.
const MOST_FILES: usize = 1000;
const GOLDEN: &str = "golden.jsonl";
const PROFILE: &str = "profile.json";

/// An artifact whose files are what was published.
#[derive(Debug)]
pub struct Artifact {
    dir: PathBuf,
    manifest: Manifest,
    golden: Vec<GoldenRow>,
    digest: String,
    files: BTreeSet<PathBuf>,
    signatures: Vec<PublicKey>,
}

impl Artifact {
    /// Reads an artifact and checks its files.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file's path: no such directory, a newer format, a name or version that does not fit the
    /// directory, a changed, absent or unlisted file, a path that leads out, a golden row that cannot be read.
    pub fn open(dir: &Path) -> Result<Self, ArtifactError> {
        let not_found = |problem: &str| ArtifactError::NotFound {
            path: dir.to_owned(),
            problem: problem.to_owned(),
        };
        if !dir.is_dir() {
            return Err(not_found(if dir.exists() {
                "it is a file, not a directory"
            } else {
                "no such directory"
            }));
        }
        if !dir.join(MANIFEST).is_file() {
            return Err(not_found("the directory holds no manifest.json"));
        }
        let manifest = read_manifest(dir)?;
        let Verified { digest, files, signatures } = verify_files(dir, &manifest)?;
        let golden = read_golden(dir, &manifest)?;
        let path = dir.join(PROFILE);
        let profile: serde_json::Value =
            serde_json::from_slice(&read(dir, &path)?).map_err(|error| ArtifactError::Unsound {
                path: path.clone(),
                problem: format!("not JSON: {error}"),
            })?;
        if profile.get("format").and_then(serde_json::Value::as_str) != Some("seaworthy-profile/1")
        {
            let problem = "expected the format `seaworthy-profile/1`".to_owned();
            return Err(ArtifactError::Unsound { path, problem });
        }
        Ok(Self { dir: dir.to_owned(), manifest, golden, digest, files, signatures })
    }

    /// An artifact that is nowhere written down: what is said of it is all there is, and is not checked.
    pub(crate) fn bare(
        dir: PathBuf,
        manifest: Manifest,
        golden: Vec<GoldenRow>,
        digest: String,
    ) -> Self {
        Self { dir, manifest, golden, digest, files: BTreeSet::new(), signatures: Vec::new() }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The rows with known results.
    #[must_use]
    pub fn golden(&self) -> &[GoldenRow] {
        &self.golden
    }

    /// `sha256:` and the hash of `SHA256SUMS`: the artifact's name in health, log and metrics.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// The files that it lists, relative; none when it is nowhere written down.
    #[must_use]
    pub fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    /// The keys by which it is signed. Each signature has been checked.
    #[must_use]
    pub fn signatures(&self) -> &[PublicKey] {
        &self.signatures
    }

    /// The path of the graph.
    #[must_use]
    pub fn graph(&self) -> PathBuf {
        self.dir.join(&self.manifest.model.file)
    }

    /// The path of the manifest, for messages.
    #[must_use]
    pub fn manifest_path(&self) -> PathBuf {
        self.dir.join(MANIFEST)
    }

    /// The path of the golden rows, for messages.
    #[must_use]
    pub fn golden_path(&self) -> PathBuf {
        self.dir.join(GOLDEN)
    }
}

/// Opens a file of the artifact in `dir`. What is not a file of it is not opened: a device or a pipe might never end.
fn open(dir: &Path, path: &Path) -> Result<std::fs::File, ArtifactError> {
    let failed = |source: std::io::Error| {
        if source.kind() == std::io::ErrorKind::NotFound {
            ArtifactError::Absent { path: path.to_owned() }
        } else {
            ArtifactError::Read { path: path.to_owned(), source }
        }
    };
    let target = path.canonicalize().map_err(failed)?;
    if !target.starts_with(dir.canonicalize().map_err(failed)?) {
        return Err(ArtifactError::Link { path: path.to_owned(), target });
    }
    if !std::fs::metadata(&target).map_err(failed)?.is_file() {
        let problem = "it is not a regular file".to_owned();
        return Err(ArtifactError::Unsound { path: path.to_owned(), problem });
    }
    std::fs::File::open(&target).map_err(failed)
}

/// Reads a file of the artifact whole, unless it is longer than any of its kind.
fn read(dir: &Path, path: &Path) -> Result<Vec<u8>, ArtifactError> {
    let longest = match path.file_name().and_then(std::ffi::OsStr::to_str) {
        Some(SIGNATURES) => 64 * 1024,
        Some(SUMS) => 16 * 1024 * 1024,
        Some(MANIFEST) => 256 * 1024 * 1024,
        _ => 4 * 1024 * 1024 * 1024,
    };
    let failed = |source| ArtifactError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    // One more than it may have, whatever the system says of its length.
    open(dir, path)?.take(longest + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > longest) {
        let problem = format!("it is longer than {longest} bytes");
        return Err(ArtifactError::Unsound { path: path.to_owned(), problem });
    }
    Ok(bytes)
}

/// The SHA-256 of a file of the artifact, read piece by piece: a graph may be larger than what memory is left.
fn hash(dir: &Path, path: &Path) -> Result<String, ArtifactError> {
    let mut file = open(dir, path)?;
    let mut hash = Sha256::new();
    let mut piece = vec![0; 256 * 1024];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hex(&hash.finalize())),
            Ok(length) => hash.update(&piece[..length]),
            Err(source) => return Err(ArtifactError::Read { path: path.to_owned(), source }),
        }
    }
}

fn read_manifest(dir: &Path) -> Result<Manifest, ArtifactError> {
    let path = dir.join(MANIFEST);
    let bytes = read(dir, &path)?;
    let unsound = |problem: String| ArtifactError::Unsound { path: path.clone(), problem };
    // The format first: a newer manifest need not have this one's form.
    let value: serde_json::Value =
        serde_json::from_slice(&bytes).map_err(|error| unsound(format!("not JSON: {error}")))?;
    match value.get("format").and_then(serde_json::Value::as_str) {
        Some(FORMAT) => {}
        Some(found) if is_newer(found) => {
            return Err(ArtifactError::NewerFormat { path, found: found.to_owned() });
        }
        Some(found) => {
            return Err(unsound(format!("the format is `{found}`, expected `{FORMAT}`")));
        }
        None => {
            return Err(unsound(format!("it names no format, expected \"format\": \"{FORMAT}\"")));
        }
    }
    // From the text again, so that a fault has its line and column.
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|error| unsound(error.to_string()))?;
    if !is_name(&manifest.name) {
        let expected = "a lower-case letter or digit, then up to 63 of a-z, 0-9, `.`, `_`, `-`";
        return Err(unsound(format!("the name is `{}`, expected {expected}", manifest.name)));
    }
    let canonical = dir
        .canonicalize()
        .map_err(|source| ArtifactError::Read { path: dir.to_owned(), source })?;
    let directory = |path: Option<&Path>| {
        path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned())
    };
    let named = directory(Some(&canonical));
    if named.as_deref() != Some(manifest.version.to_string().as_str()) {
        let named = named.unwrap_or_default();
        return Err(unsound(format!(
            "the version is {}, but the directory is called `{named}`",
            manifest.version
        )));
    }
    let named = directory(canonical.parent());
    if named.as_deref() != Some(manifest.name.as_str()) {
        let named = named.unwrap_or_default();
        return Err(unsound(format!(
            "the name is `{}`, but the parent directory is called `{named}`",
            manifest.name
        )));
    }
    let created = OffsetDateTime::parse(&manifest.created, &Rfc3339);
    if !created.is_ok_and(|created| created.offset().is_utc()) {
        return Err(unsound(format!(
            "`created` is {:?}, expected a time in UTC such as \"2026-01-31T12:00:00Z\"",
            manifest.created
        )));
    }
    if !matches!(manifest.model.precision.as_str(), "float64" | "float32") {
        return Err(unsound(format!(
            "`model.precision` is {:?}, expected \"float64\" or \"float32\"",
            manifest.model.precision
        )));
    }
    if manifest.model.file.is_empty() {
        return Err(unsound(
            "`model.file` is empty, expected a path such as `model.onnx`".to_owned(),
        ));
    }
    if manifest.inputs.is_empty() {
        return Err(unsound("`inputs` is empty; a row needs at least one field".to_owned()));
    }
    let takes_matrix = manifest.model.inputs.iter().any(|input| input.from.is_none());
    if manifest.features.is_empty() && takes_matrix {
        return Err(unsound("`features` is empty; the graph needs at least one".to_owned()));
    }
    for (name, tolerance) in
        [("features", manifest.golden.features), ("output", manifest.golden.output)]
    {
        let sound = |value: f64| value.is_finite() && value >= 0.0;
        if !sound(tolerance.relative) || !sound(tolerance.absolute) {
            return Err(unsound(format!(
                "golden.{name}: a tolerance is a finite number, 0 or above"
            )));
        }
    }
    Ok(manifest)
}

/// Whether a model may have this name.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.starts_with(plain)
        && name.len() <= 64
        && name.chars().all(|c| plain(c) || "._-".contains(c))
}

fn is_newer(format: &str) -> bool {
    format
        .strip_prefix("seaworthy/")
        .and_then(|number| number.parse::<u32>().ok())
        .is_some_and(|number| number > 1)
}

/// What the files have shown.
struct Verified {
    digest: String,
    files: BTreeSet<PathBuf>,
    signatures: Vec<PublicKey>,
}

/// Checks every file against `SHA256SUMS`, that there are no others, and the signatures.
fn verify_files(dir: &Path, manifest: &Manifest) -> Result<Verified, ArtifactError> {
    let sums_path = dir.join(SUMS);
    let sums = read(dir, &sums_path).map_err(|error| match error {
        ArtifactError::Absent { .. } => ArtifactError::NotFound {
            path: dir.to_owned(),
            problem: format!("the directory holds no {SUMS}"),
        },
        other => other,
    })?;
    let unsound = |problem: String| ArtifactError::Unsound { path: sums_path.clone(), problem };
    let text =
        std::str::from_utf8(&sums).map_err(|error| unsound(format!("not UTF-8: {error}")))?;
    let mut listed: BTreeSet<PathBuf> = BTreeSet::new();
    for (at, line) in text.lines().enumerate() {
        let hex = |hash: &str| {
            hash.len() == 64
                && hash.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
        };
        let (expected, name) = line
            .split_once("  ")
            .filter(|(hash, name)| {
                hex(hash) && !name.is_empty() && !name.contains(char::is_control)
            })
            .ok_or_else(|| {
                unsound(format!("line {}: expected 64 hex digits, two spaces and a path", at + 1))
            })?;
        let relative = inside(name).ok_or_else(|| ArtifactError::Escapes {
            path: sums_path.clone(),
            found: name.to_owned(),
        })?;
        let path = dir.join(&relative);
        if relative == Path::new(SUMS) {
            return Err(unsound(format!("line {}: the list cannot list itself", at + 1)));
        }
        if relative == Path::new(SIGNATURES) {
            let problem = "the list cannot list its signatures, which are made of it";
            return Err(unsound(format!("line {}: {problem}", at + 1)));
        }
        if listed.len() == MOST_FILES {
            return Err(unsound(format!("it lists more than {MOST_FILES} files")));
        }
        if listed.contains(&relative) {
            return Err(unsound(format!("line {}: `{name}` is listed twice", at + 1)));
        }
        let found = hash(dir, &path)?;
        if found != expected {
            return Err(ArtifactError::Hash { path, found, expected: expected.to_owned() });
        }
        listed.insert(relative);
    }
    for needed in [MANIFEST, GOLDEN, PROFILE, manifest.model.file.as_str()] {
        let manifest_path = || dir.join(MANIFEST);
        let relative = inside(needed).ok_or_else(|| ArtifactError::Escapes {
            path: manifest_path(),
            found: needed.to_owned(),
        })?;
        if !listed.contains(&relative) {
            return Err(unsound(format!("`{needed}` is part of an artifact, but is not listed")));
        }
    }
    let mut found = Vec::new();
    list_files(dir, Path::new(""), &mut found)?;
    if let Some(path) = found.into_iter().find(|path| {
        ![SUMS, SIGNATURES].iter().any(|own| path == Path::new(own)) && !listed.contains(path)
    }) {
        return Err(ArtifactError::Unlisted { path: dir.join(path) });
    }
    let path = dir.join(SIGNATURES);
    // A link that leads nowhere is there as well.
    let signatures = if path.symlink_metadata().is_ok() {
        let text = read(dir, &path).map_err(|error| match error {
            ArtifactError::Absent { path } => {
                let problem = "it is a link that leads nowhere".to_owned();
                ArtifactError::Signature { path, problem }
            }
            other => other,
        })?;
        signature::verify(&text, &sums)
            .map_err(|problem| ArtifactError::Signature { path, problem })?
    } else {
        Vec::new()
    };
    let digest = format!("sha256:{}", sha256(&sums));
    Ok(Verified { digest, files: listed, signatures })
}

/// The path if it is relative and stays where it is.
fn inside(name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (plain && !name.contains('\\') && !name.is_empty()).then(|| path.to_owned())
}

fn list_files(dir: &Path, below: &Path, found: &mut Vec<PathBuf>) -> Result<(), ArtifactError> {
    let path = dir.join(below);
    let failed = |source| ArtifactError::Read { path: path.clone(), source };
    for entry in std::fs::read_dir(&path).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let relative = below.join(entry.file_name());
        if found.len() > MOST_FILES {
            let problem = format!("it holds more than {MOST_FILES} files");
            return Err(ArtifactError::Unsound { path, problem });
        }
        if entry.file_type().map_err(failed)?.is_dir() {
            list_files(dir, &relative, found)?;
        } else {
            found.push(relative);
        }
    }
    found.sort();
    Ok(())
}

fn read_golden(dir: &Path, manifest: &Manifest) -> Result<Vec<GoldenRow>, ArtifactError> {
    let path = dir.join(GOLDEN);
    let unsound = |problem: String| ArtifactError::Unsound { path: path.clone(), problem };
    let bytes = read(dir, &path)?;
    let text =
        std::str::from_utf8(&bytes).map_err(|error| unsound(format!("not UTF-8: {error}")))?;
    let mut rows = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let wrong = |problem: String| unsound(format!("line {}: {problem}", at + 1));
        if line.trim().is_empty() {
            return Err(wrong("it is empty; expected a JSON object".to_owned()));
        }
        let row: GoldenRow = serde_json::from_str(line).map_err(|error| {
            // A line of its own is line 1 to the parser.
            let place = format!(" at line {} column {}", error.line(), error.column());
            let problem = error.to_string().replace(&place, "");
            unsound(format!("line {}, column {}: {problem}", at + 1, error.column()))
        })?;
        match (&row.features, &row.output, &row.error) {
            (Some(features), Some(_), None) if features.len() == manifest.features.len() => {}
            (Some(features), Some(_), None) => {
                let expected = manifest.features.len();
                return Err(wrong(format!(
                    "{} features, but the manifest names {expected}",
                    features.len()
                )));
            }
            (None, None, Some(_)) => {}
            _ => return Err(wrong("expected `features` and `output`, or `error`".to_owned())),
        }
        rows.push(row);
    }
    if rows.len() != manifest.golden.rows {
        return Err(unsound(format!(
            "{} rows, but the manifest says {}",
            rows.len(),
            manifest.golden.rows
        )));
    }
    if !rows.iter().any(|row| row.output.is_some()) {
        return Err(unsound("no row with an output: without one nothing is proven".to_owned()));
    }
    Ok(rows)
}
