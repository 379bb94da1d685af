//! Settings that stop the start: each with its name, its value and where it was set.

use super::assert_shown;
use super::helpers::{copy_model, program_at, seaworthy};
use crate::fault::fault;

#[test]
fn a_wrong_setting_is_named() {
    let shown = [
        ("SEAWORTHY__SERVER__PROT", "80"),
        ("SEAWORTHY__PORT", "80"),
        ("SEAWORTHY__SERVER__MAX_ROWS", "0"),
        ("SEAWORTHY__SERVER__HOST", "localhost"),
        ("SEAWORTHY__SERVER__PORT", "65536"),
        ("SEAWORTHY__SCHEMA__UNKNOWN_FIELDS", "refuse"),
        ("SEAWORTHY__LOG__LEVEL", "info,seaworthy=loud"),
        ("SEAWORTHY__ENGINE__THREADS", "-1"),
        ("SEAWORTHY__NOTHING__LIKE__IT", "1"),
        ("PORT", "http"),
        ("PORT", ""),
        ("SEAWORTHY_PROFILE", "staging"),
        ("SEAWORTHY__ACCESS__KEYS", "frontend sha256:12"),
        ("SEAWORTHY__ACCESS__KEYS", "sw_a-key-in-the-place-of-its-name"),
        ("SEAWORTHY__ACCESS__RATE_LIMIT", "600"),
        ("SEAWORTHY__CORS__ORIGINS", "https://a.example.com, *"),
        ("SEAWORTHY__CORS__ORIGINS", "https://a.example.com/"),
    ]
    .map(|(key, value)| seaworthy(&["check"]).env(key, value).show());
    assert_shown!(shown.join("\n"));
    fault!(
        "A key itself in the settings; A wrong setting",
        "`SEAWORTHY__ACCESS__KEYS=sw_…`; unknown key, impossible value, in file, environment and PORT",
        "no start, exit 2, value not shown; exit 2; key, value, file with line or variable; a near name",
        "as expected"
    );
}

#[test]
fn a_wrong_settings_file_is_named() {
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("default.toml");
    let shown = [
        "[server]\nprot = 80\n",
        "[server]\nport = \"http\"\n",
        "[server]\nport = 80\nport = 81\n",
        "[server\n",
        "port = 80\n",
    ]
    .map(|text| {
        std::fs::write(&file, text).unwrap();
        let run = seaworthy(&["--config-dir", tmp.path().to_str().unwrap(), "check"]);
        format!("{text}{}", run.replace(tmp.path(), "<tmp>").show())
    });
    assert_shown!(shown.join("\n"));
}

/// It was taken for the name of a target, and all messages were lost.
#[test]
fn a_log_level_that_is_none_is_refused() {
    assert_shown!(seaworthy(&["check"]).env("SEAWORTHY__LOG__LEVEL", "loud").show());
}

#[test]
fn settings_are_found_from_anywhere() {
    let tmp = tempfile::tempdir().unwrap();
    let mut run = seaworthy(&["check"]).current_dir(tmp.path()).env_remove("ORT_DYLIB_PATH");
    // No models there, which is all that is wrong.
    assert_eq!(run.outcome().code, Some(1));
}

/// An image and an unpacked archive come with both beside the program.
#[test]
fn settings_and_models_are_found_beside_the_program() {
    let beside = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let program = beside.path().join("seaworthy");
    std::fs::hard_link(env!("CARGO_BIN_EXE_seaworthy"), &program).unwrap();
    copy_model(&beside.path().join("models"));
    std::fs::create_dir(beside.path().join("config")).unwrap();
    let settings = beside.path().join("config/default.toml");
    let check = || {
        let mut run = program_at(&program, &["check", "--quiet"]).current_dir(elsewhere.path());
        let outcome = run.outcome();
        (outcome.code, outcome.stderr)
    };
    std::fs::write(&settings, "[models]\ndefault = \"\"\n").unwrap();
    assert_eq!(check(), (Some(0), String::new()));
    std::fs::write(&settings, "[models]\ndir = \"other\"\n").unwrap();
    assert_eq!(check().0, Some(1));
    // What is where the program is started comes first.
    std::fs::create_dir(elsewhere.path().join("config")).unwrap();
    assert_eq!(check(), (Some(0), String::new()));
    std::fs::create_dir(elsewhere.path().join("models")).unwrap();
    let (code, messages) = check();
    assert_eq!(code, Some(1));
    assert!(messages.contains("there is no artifact at `models`"), "{messages}");
}

/// A secret under a wrong name was printed, and messages go to logs.
#[test]
fn a_secret_under_a_wrong_name_is_not_printed() {
    let shown = seaworthy(&["check"]).env("SEAWORTHY__LOG__SENSITIVE_KEYS", "s3cr3t").outcome();
    assert_eq!(shown.code, Some(2));
    assert!(!shown.stderr.contains("s3cr3t"), "{}", shown.stderr);
    assert!(shown.stderr.contains("did you mean `log.sensitive_key`?"), "{}", shown.stderr);
}
