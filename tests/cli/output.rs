//! Where output goes: readers that go away, disks that are full, ports that are taken.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Stdio};

use super::assert_shown;
use super::helpers::{root, seaworthy, wait};

#[test]
fn a_reader_that_goes_away_is_a_normal_end() {
    for arguments in [&["inspect", "house-prices"][..], &["check"], &["--help"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
            .args(arguments)
            .current_dir(root())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // Gone before the first line is written.
        drop(child.stdout.take());
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let code = wait(&mut child, &arguments.join(" "));
        let mut said = String::new();
        while stderr.read_line(&mut said).unwrap() > 0 {}
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        assert!(!said.contains("panicked") && !said.contains("error"), "{said}");
    }
}

/// It was not noticed, and the exit code was 0.
#[cfg(target_os = "linux")]
#[test]
fn results_that_cannot_be_written_are_an_error() {
    for arguments in [&["inspect", "house-prices"][..], &["check", "--quiet"]] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let outcome = seaworthy(arguments).stdout(full).end();
        assert_eq!(outcome.code, Some(2));
        assert_eq!(
            outcome.stderr,
            "error: standard output cannot be written: No space left on device (os error 28)\n"
        );
    }
}

#[test]
fn a_port_in_use_is_said_with_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let run = seaworthy(&["serve"])
        .env("PORT", &port)
        .env("SEAWORTHY__SERVER__HOST", "127.0.0.1")
        .env("SEAWORTHY__LOG__LEVEL", "error");
    assert_shown!(run.show().replace(&port, "<port>"));
}

#[test]
fn a_server_that_cannot_start_says_why() {
    let tmp = tempfile::tempdir().unwrap();
    for name in ["cars", "boats"] {
        std::fs::create_dir_all(tmp.path().join(name).join("1.0.0")).unwrap();
    }
    let shown = [
        seaworthy(&["serve", "cars"]),
        seaworthy(&["serve", "/nowhere"]),
        seaworthy(&["serve"])
            .env("SEAWORTHY__MODELS__DEFAULT", "")
            .env("SEAWORTHY__MODELS__DIR", tmp.path().to_str().unwrap()),
        // It was served, as the model without a name.
        seaworthy(&["serve"])
            .env("SEAWORTHY__MODELS__DEFAULT", "")
            .env("SEAWORTHY__MODELS__DIR", "models/house-prices"),
        seaworthy(&["serve"]).env("SEAWORTHY__LOG__PREDICTIONS", "/nowhere/predictions.log"),
        seaworthy(&["serve"]).env("SEAWORTHY__SERVER__HOST", "192.0.2.1").env("PORT", "0"),
    ]
    .map(|run| run.env("SEAWORTHY__LOG__LEVEL", "error").replace(tmp.path(), "<tmp>").show());
    assert_shown!(shown.join("\n"));
}
