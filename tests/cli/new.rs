//! `seaworthy new`.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use super::assert_shown;
use super::helpers::{Server, seaworthy};

#[test]
fn new_writes_a_project_whose_models_are_proven() {
    let tmp = tempfile::tempdir().unwrap();
    let written =
        seaworthy(&["new", "my-service", "--image", "registry.example.com/seaworthy:0.1.0"])
            .current_dir(tmp.path())
            .show();
    let project = tmp.path().join("my-service");
    let files = files(&project, &project).join("\n");
    let text = |file: &str| std::fs::read_to_string(project.join(file)).unwrap();
    let check = seaworthy(&["check"]).current_dir(&project).show();
    assert_shown!(
        [written, files, text("Dockerfile"), text("config/default.toml"), text("README.md"), check]
            .join("\n--------\n")
    );
}

#[test]
fn a_new_project_serves_at_once() {
    let tmp = tempfile::tempdir().unwrap();
    // A directory that is there and empty is as good as none.
    let project = tmp.path().join("rents");
    std::fs::create_dir(&project).unwrap();
    let outcome = seaworthy(&["new", project.to_str().unwrap(), "--quiet"]).outcome();
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));

    let server = Server::start_with(&["serve"], &project);
    let request = std::fs::read(project.join("request.json")).unwrap();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let head = format!(
        "POST /v1/predict HTTP/1.0\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        request.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!((body["model"].as_str(), body["errors"].is_null()), (Some("rents"), true), "{body}");
    assert!((900.0..1100.0).contains(&body["predictions"][0].as_f64().unwrap()), "{body}");
}

#[test]
fn new_overwrites_nothing() {
    let tmp = tempfile::tempdir().unwrap();
    std::fs::create_dir(tmp.path().join("there")).unwrap();
    std::fs::write(tmp.path().join("there/notes"), "mine").unwrap();
    std::fs::write(tmp.path().join("file"), "mine").unwrap();
    let shown: Vec<String> = [
        &["new", "there"][..],
        &["new", "file"],
        &["new", "file/under"],
        &["new", "My_Service"],
        &["new", "service", "--image", "FROM me"],
        &["new", ""],
        &["new"],
    ]
    .iter()
    .map(|arguments| seaworthy(arguments).current_dir(tmp.path()).show())
    .collect();
    assert_eq!(files(tmp.path(), tmp.path()), ["file", "there/notes"]);
    assert_eq!(std::fs::read_to_string(tmp.path().join("there/notes")).unwrap(), "mine");
    assert_shown!(shown.join("\n"));
}

/// The files under `dir`, relative to `root`, sorted; those that may be executed are marked.
fn files(dir: &Path, root: &Path) -> Vec<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, root));
        } else {
            let executable = path.metadata().unwrap().permissions().mode() & 0o100 != 0;
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            found.push(format!("{name}{}", if executable { " *" } else { "" }));
        }
    }
    found.sort();
    found
}
