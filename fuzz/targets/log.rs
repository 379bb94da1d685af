//! Files of a prediction log, compressed or not, run again on a model: each line is counted as something, and none is fatal.

#![no_main]

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use libfuzzer_sys::fuzz_target;
use seaworthy::cli::LogReader;
use seaworthy::config;
use seaworthy::startup::{load_and_prove, open_runtime};

struct Place {
    reader: LogReader,
    file: PathBuf,
    _tmp: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        open_runtime(&config::process()).expect("ONNX Runtime");
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/house-prices/3.2.0");
        let model = load_and_prove(&model).expect("a proven model").0;
        let memory = Path::new("/dev/shm");
        let tmp = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let tmp = tmp.expect("a temporary directory");
        Self { reader: LogReader::new(model.model()), file: tmp.path().join("log"), _tmp: tmp }
    }
}

thread_local! {
    static PLACE: RefCell<Place> = RefCell::new(Place::new());
}

fuzz_target!(|log: &[u8]| {
    PLACE.with_borrow_mut(|place| {
        std::fs::write(&place.file, log).expect("a file");
        // A file that is no log, or no text, is refused; a record is never the reason.
        if let Ok((lines, counted)) = place.reader.read(&place.file) {
            // A line that ends in the middle may have a whole one behind it.
            assert!(lines <= counted, "a line was counted as nothing");
        }
    });
});
