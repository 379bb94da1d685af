//! `seaworthy check`.

use super::assert_shown;
use super::helpers::{copy_model, seaworthy};

#[test]
fn check_prints_what_was_proven() {
    let shown: Vec<String> = [
        &["check"][..],
        &["check", "house-prices"],
        &["check", "house-prices@3.2.0"],
        &["check", "models/house-prices/3.3.0"],
        &["check", "models/house-prices"],
        &["check", "models"],
        &["check", "--quiet", "house-prices@3.2.0"],
        &["check", "--format", "json"],
    ]
    .iter()
    .map(|arguments| seaworthy(arguments).show())
    .collect();
    assert_shown!(shown.join("\n"));
}

#[test]
fn check_says_what_there_is_instead_of_what_there_is_not() {
    let shown: Vec<String> = [
        &["check", "house-price"][..],
        &["check", "house-prices@3.2.1"],
        &["check", "house-prices@latest"],
        &["check", "/nowhere"],
        &["check", "Cargo.toml"],
        &["check", "./src"],
        &["check", ""],
    ]
    .iter()
    .map(|arguments| seaworthy(arguments).show())
    .collect();
    assert_shown!(shown.join("\n"));
}

#[test]
fn check_of_no_models_at_all_fails() {
    let tmp = tempfile::tempdir().unwrap();
    let shown = [
        seaworthy(&["check"]).env("SEAWORTHY__MODELS__DIR", "/nowhere").show(),
        seaworthy(&["check"]).current_dir(tmp.path()).show(),
    ];
    assert_shown!(shown.join("\n"));
}

#[test]
fn check_goes_on_after_a_failure_and_says_which_of_how_many_failed() {
    let tmp = tempfile::tempdir().unwrap();
    let broken = copy_model(tmp.path());
    std::fs::write(broken.join("profile.json"), "{}").unwrap();
    let path = broken.to_str().unwrap();
    let shown = [
        seaworthy(&["check", path, "nothing", "house-prices@3.2.0"])
            .replace(tmp.path(), "<tmp>")
            .show(),
        seaworthy(&["check", "--format", "json", path, "nothing", "house-prices@3.2.0"])
            .replace(tmp.path(), "<tmp>")
            .show(),
        seaworthy(&["check", "--quiet", path]).replace(tmp.path(), "<tmp>").show(),
    ];
    assert_shown!(shown.join("\n"));
}

#[test]
fn check_says_what_to_do_about_an_artifact_from_the_future() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = copy_model(tmp.path());
    let manifest = std::fs::read_to_string(dir.join("manifest.json")).unwrap();
    let newer = manifest.replace("seaworthy/1", "seaworthy/2");
    std::fs::write(dir.join("manifest.json"), newer).unwrap();
    assert_shown!(seaworthy(&["check", dir.to_str().unwrap()]).replace(tmp.path(), "<tmp>").show());
}

#[test]
fn check_as_json_is_one_object_for_each_artifact() {
    let outcome = seaworthy(&["check", "--format", "json"]).outcome();
    let lines: Vec<serde_json::Value> =
        outcome.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    for line in &lines {
        let proof = &line["proof"];
        assert_eq!((line["passed"].as_bool(), proof["rows"].as_u64()), (Some(true), Some(64)));
        for what in ["feature", "output"] {
            let share = proof[format!("{what}_difference")]["share"].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&share), "{proof}");
            assert!(proof[format!("{what}_tolerance")]["relative"].is_f64(), "{proof}");
        }
    }
}
