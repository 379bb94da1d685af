//! The manifest of an artifact whose hashes are right: loaded, and the pipeline run on a row, or refused with a message.

#![no_main]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use libfuzzer_sys::{Corpus, fuzz_target};
use seaworthy::artifact::Artifact;
use seaworthy::pipeline::Workspace;
use seaworthy::predictor::Model;
use seaworthy::schema::DecodeOptions;
use sha2::{Digest as _, Sha256};

/// An artifact without golden rows, whose manifest is replaced again and again.
struct Place {
    dir: PathBuf,
    sums: String,
    _tmp: tempfile::TempDir,
}

fn sum(bytes: &[u8], name: &str) -> String {
    let mut line = String::new();
    Sha256::digest(bytes).iter().for_each(|byte| write!(line, "{byte:02x}").expect("a string takes all"));
    format!("{line}  {name}\n")
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let memory = Path::new("/dev/shm");
    let tmp = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let tmp = tmp.expect("a temporary directory");
    let dir = tmp.path().join("house-prices").join("3.2.0");
    std::fs::create_dir_all(&dir).expect("a directory");
    let mut sums = String::new();
    let profile = br#"{"format": "seaworthy-profile/1"}"#;
    for (name, bytes) in [("golden.jsonl", &b""[..]), ("model.onnx", b"graph"), ("profile.json", profile)] {
        std::fs::write(dir.join(name), bytes).expect("a file");
        sums.push_str(&sum(bytes, name));
    }
    Place { dir, sums, _tmp: tmp }
});

fuzz_target!(|manifest: &[u8]| -> Corpus {
    let place = &*PLACE;
    std::fs::write(place.dir.join("manifest.json"), manifest).expect("a file");
    let sums = sum(manifest, "manifest.json") + &place.sums;
    std::fs::write(place.dir.join("SHA256SUMS"), sums).expect("a file");
    let artifact = match Artifact::open(&place.dir) {
        Ok(artifact) => artifact,
        Err(error) => {
            assert!(error.to_string().len() > 20, "{error}");
            return Corpus::Keep;
        }
    };
    let model = match Model::load(artifact) {
        Ok(model) => model,
        Err(error) => {
            assert!(error.to_string().len() > 20, "{error}");
            return Corpus::Keep;
        }
    };
    // A row of nothing but nulls, which most fields refuse: then the frame is empty, which a pipeline must take as well.
    let row: Vec<String> = model
        .schema()
        .fields()
        .iter()
        .map(|field| {
            let value = field.spec().example.as_ref().and_then(|value| serde_json::to_string(value).ok());
            format!("{}:{}", serde_json::Value::from(field.name()), value.unwrap_or_else(|| "null".to_owned()))
        })
        .collect();
    let mut frame = model.schema().frame();
    let body = format!("[{{{}}}]", row.join(","));
    model.schema().decode(body.as_bytes(), &DecodeOptions::default(), &mut frame).expect("it is JSON");
    let mut workspace = Workspace::default();
    model.pipeline().run(&frame, &mut workspace);
    assert_eq!(workspace.n_rows(), frame.n_rows());
    Corpus::Keep
});
