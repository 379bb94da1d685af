//! ONNX Runtime's library that is missing, wrong or old: one sentence, soon.

use std::time::{Duration, Instant};

use super::assert_shown;
use super::helpers::{compile, library, root, seaworthy};

#[test]
fn a_missing_library_is_said_in_one_sentence_and_soon() {
    let started = Instant::now();
    let shown = [
        seaworthy(&["check"]).env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so").show(),
        seaworthy(&["serve"]).env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so").show(),
        seaworthy(&[]).env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so").show(),
    ];
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert_shown!(shown.join("\n"));
}

#[test]
fn a_file_that_is_no_library_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let text = tmp.path().join("libonnxruntime.so");
    std::fs::write(&text, "not a library\n").unwrap();
    let another = compile("connect_spy.c", tmp.path(), &[]);
    let shown = [
        seaworthy(&["check"]).env("ORT_DYLIB_PATH", text.to_str().unwrap()),
        seaworthy(&["check"]).env("ORT_DYLIB_PATH", another.to_str().unwrap()),
        seaworthy(&["check"]).env("ORT_DYLIB_PATH", tmp.path().to_str().unwrap()),
    ]
    .map(|run| run.replace(tmp.path(), "<tmp>").show());
    assert_shown!(shown.join("\n"));
}

#[test]
fn an_old_library_is_refused_and_does_not_hang() {
    let tmp = tempfile::tempdir().unwrap();
    let old = compile("old_onnxruntime.c", tmp.path(), &[]);
    let shown = ["check", "serve"].map(|command| {
        let run = seaworthy(&[command]).env("ORT_DYLIB_PATH", old.to_str().unwrap());
        run.replace(tmp.path(), "<tmp>").show()
    });
    assert_shown!(shown.join("\n"));
}

/// The library is opened while models are read: what is wrong with both is said in the same order each time.
#[test]
fn a_missing_library_goes_before_a_missing_model() {
    let rows = "tests/data/house-prices/test.csv";
    let shown = [
        seaworthy(&["predict", "house-prices@9.9.9", rows]),
        seaworthy(&["diff", "house-prices@9.9.9", "nobody", "--data", rows]),
        seaworthy(&["diff", "house-prices@9.9.9", "nobody", "--unproven", "--data", rows]),
        seaworthy(&["replay", "/dev/null", "--on", "nobody"]),
        seaworthy(&["replay", "/dev/null"]),
        seaworthy(&["serve", "nobody"]),
        seaworthy(&["serve", "nobody", "--check"]),
    ]
    .map(|run| run.env("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so").show());
    assert_shown!(shown.join("\n"));
    let shown = [
        seaworthy(&["predict", "house-prices@9.9.9", rows]),
        seaworthy(&["serve", "house-prices@9.9.9"]),
    ];
    for mut run in shown {
        let outcome = run.outcome();
        assert_eq!(outcome.code, Some(1), "{}", outcome.stderr);
        assert!(outcome.stderr.contains("9.9.9"), "{}", outcome.stderr);
    }
}

/// A path without a slash passed the check that the file is there, and then the system's loader looked elsewhere.
#[test]
fn the_path_of_the_library_may_be_relative() {
    let library = library();
    let (dir, name) = (library.parent().unwrap(), library.file_name().unwrap());
    let models = root().join("models/house-prices/3.2.0");
    let mut run = seaworthy(&["check", models.to_str().unwrap()])
        .current_dir(dir)
        .env("ORT_DYLIB_PATH", name.to_str().unwrap());
    let outcome = run.outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
}
