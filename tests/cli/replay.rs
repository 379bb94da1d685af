//! `seaworthy replay`.

use std::io::Write;
use std::path::{Path, PathBuf};

use super::helpers::{Logging, root, seaworthy};

fn rows() -> Vec<String> {
    let golden =
        std::fs::read_to_string(root().join("models/house-prices/3.2.0/golden.jsonl")).unwrap();
    let input =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["input"].to_string();
    golden.lines().map(input).collect()
}

/// A log of good and bad requests.
fn log(dir: &Path) -> PathBuf {
    let server = Logging::start(dir);
    let rows = rows();
    let mut statuses = std::collections::BTreeMap::new();
    let mut ask = |path: &str, body: &str| {
        *statuses.entry(server.post(path, body).0).or_insert(0) += 1;
    };
    for row in &rows {
        ask("/v1/predict", &format!("{{\"inputs\": [{row}]}}"));
        ask(
            "/v1/predict?on_invalid=null",
            &format!("{{\"inputs\": [{row}, {{\"LotArea\": \"big\"}}, {row}]}}"),
        );
    }
    ask("/v1/predict", &format!("{{\"inputs\": {}}}", rows[0]));
    ask("/v1/predict", &format!("[{}]", rows.join(",\n")));
    for body in [
        "{\"inputs\": [",
        "",
        "{\"inputs\": []}",
        "[]",
        "{\"rows\": []}",
        "{\"inputs\": 5}",
        "[5, {}, null]",
        "\"text\"",
        "{\"inputs\": {\"MSSubClass\": 5.5}}",
    ] {
        ask("/v1/predict", body);
    }
    ask("/v1/models/nothing/predict", "[]");
    ask("/v1/nothing", "[]");
    ask("/v1/predict?on_invalid=often", "[]");
    assert!(
        statuses[&200] > 100 && statuses[&422] > 5 && statuses[&400] >= 2 && statuses[&404] == 2,
        "{statuses:?}"
    );
    server.stop()
}

fn report(arguments: &[&str]) -> (Option<i32>, serde_json::Value, String) {
    let outcome = seaworthy(&[&["replay", "--format", "json"], arguments].concat()).outcome();
    let report = serde_json::from_str(&outcome.stdout).unwrap_or_default();
    (outcome.code, report, outcome.stderr)
}

#[test]
fn what_a_server_logged_is_what_it_would_answer_again() {
    let tmp = tempfile::tempdir().unwrap();
    let path = log(tmp.path());
    let log = path.to_str().unwrap();
    let (code, report1, stderr) = report(&[log]);
    assert_eq!(code, Some(0), "{report1:#} {stderr}");
    assert_eq!((&report1["over"], &report1["within"]), (&0.into(), &0.into()));
    assert_eq!(report1["rows"], report1["identical"]);
    assert!(
        report1["rows"].as_u64() > Some(200) && report1["log"]["refused"].as_u64() > Some(7),
        "{report1:#}"
    );
    assert_eq!(report1["log"]["corrupt"], 0);
    assert_eq!(
        report1["log"]["lines"].as_u64().unwrap(),
        std::fs::read_to_string(&path).unwrap().lines().count() as u64
    );

    // Compressed, in several files, and with a last line that ends in the middle.
    let bytes = std::fs::read(&path).unwrap();
    let dir = tmp.path().join("logs");
    std::fs::create_dir(&dir).unwrap();
    let middle = bytes.len() / 2;
    let cut = middle + bytes[middle..].iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gz.write_all(&bytes[..cut]).unwrap();
    std::fs::write(dir.join("1.log.gz"), gz.finish().unwrap()).unwrap();
    std::fs::write(dir.join("2.log.zst"), zstd::encode_all(&bytes[cut..], 1).unwrap()).unwrap();
    let torn = [&bytes[cut..], &bytes[..100]].concat();
    std::fs::write(dir.join("3.log"), &torn).unwrap();
    // The writer came back and went on behind the torn line.
    std::fs::write(dir.join("4.log"), [&bytes[..100], &bytes[cut..]].concat()).unwrap();
    let (code, several, stderr) = report(&[dir.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!((&several["log"]["torn"], &several["over"]), (&2.into(), &0.into()), "{several:#}");
    assert!(several["rows"].as_u64() > report1["rows"].as_u64());

    // A compressed file whose writer was killed.
    let whole = std::fs::read(dir.join("1.log.gz")).unwrap();
    std::fs::write(dir.join("1.log.gz"), &whole[..whole.len() - 30]).unwrap();
    let (code, cut_short, _) = report(&[dir.join("1.log.gz").to_str().unwrap()]);
    assert_eq!((code, &cut_short["log"]["torn"]), (Some(0), &1.into()));

    // Corruption is something else.
    let mut broken = bytes.clone();
    broken[cut + 5] = b'\n';
    std::fs::write(dir.join("5.log"), &broken).unwrap();
    let (code, corrupt, stderr) = report(&[dir.join("5.log").to_str().unwrap()]);
    assert_eq!(code, Some(1));
    assert_eq!((&corrupt["log"]["corrupt"], &corrupt["log"]["torn"]), (&2.into(), &0.into()));
    assert!(stderr.contains("5.log`, line "), "{stderr}");

    // A number that the model never gave.
    let text = String::from_utf8(bytes).unwrap();
    let at = text.find("\"predictions\":[").unwrap() + "\"predictions\":[".len();
    let changed = format!("{}9{}", &text[..at], &text[at..]);
    std::fs::write(dir.join("6.log"), changed).unwrap();
    let (code, other, _) = report(&[dir.join("6.log").to_str().unwrap()]);
    assert_eq!((code, &other["over"]), (Some(1), &1.into()));
    assert!(other["worst"][0]["row"].as_str().unwrap().contains("6.log, line 1 ("), "{other:#}");
}

/// On another version a log says what `diff` says of the same rows.
#[test]
fn replay_on_another_version_equals_diff() {
    let tmp = tempfile::tempdir().unwrap();
    let server = Logging::start(tmp.path());
    let good: Vec<String> = {
        let golden =
            std::fs::read_to_string(root().join("models/house-prices/3.2.0/golden.jsonl")).unwrap();
        let lines =
            golden.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        lines.filter(|line| line["error"].is_null()).map(|line| line["input"].to_string()).collect()
    };
    for row in &good {
        assert_eq!(server.post("/v1/predict", &format!("[{row}]")).0, 200);
    }
    let log = server.stop();
    let data = tmp.path().join("rows.ndjson");
    // Many, so that the log and the rows come in blocks that begin with other rows: sums once depended on it.
    const N_TIMES: usize = 40;
    let once = std::fs::read_to_string(&log).unwrap();
    std::fs::write(&log, once.repeat(N_TIMES)).unwrap();
    std::fs::write(&data, format!("{}\n", good.join("\n")).repeat(N_TIMES)).unwrap();
    let by = ["--by", "Neighborhood", "--rel-tol", "1e-15"];
    let (code, replayed, _) =
        report(&[&[log.to_str().unwrap(), "--on", "house-prices@3.3.0"], &by[..]].concat());
    let arguments = [
        &[
            "diff",
            "house-prices@3.2.0",
            "house-prices@3.3.0",
            "--format",
            "json",
            "--data",
            data.to_str().unwrap(),
        ],
        &by[..],
    ]
    .concat();
    let outcome = seaworthy(&arguments).outcome();
    let diffed: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(code, outcome.code);
    for key in [
        "rows",
        "identical",
        "within",
        "over",
        "only_old",
        "only_new",
        "absolute",
        "relative",
        "by",
        "changes",
    ] {
        assert_eq!(replayed[key], diffed[key], "{key}");
    }
    assert!(diffed["over"].as_u64() > Some(0));
}

#[test]
fn a_log_that_cannot_be_replayed_says_why() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("x.log");
    let line = r#"{"timestamp":"2026-01-01T00:00:00Z","target":"prediction","model":"house-prices","version":"3.2.0","artifact":"sha256:0","role":"primary","status":200,"rows":1,"inputs":[{}],"predictions":[1.0],"errors":null}"#;
    let check = |line: &str, arguments: &[&str], expected: &str| {
        std::fs::write(&path, format!("{line}\n")).unwrap();
        let outcome =
            seaworthy(&[&["replay", path.to_str().unwrap()], arguments].concat()).outcome();
        assert_eq!(outcome.code, Some(1), "{}", outcome.stdout);
        let all = outcome.stdout + &outcome.stderr;
        assert!(all.contains(expected), "{all}");
    };
    check(line, &[], "but the one here is sha256:");
    check(line, &["--on", "house-prices@3.2.0"], "1 of 1 rows are over the tolerance");
    check(&line.replace("3.2.0", "9.9.9"), &[], "there is no version 9.9.9");
    check("not a log", &[], "1 corrupt");
    let other = line.replace("house-prices", "titanic");
    std::fs::write(&path, format!("{other}\n{{\"level\":\"INFO\"}}\n")).unwrap();
    let outcome = seaworthy(&["replay", path.to_str().unwrap(), "--on", "house-prices"]).outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    assert!(
        outcome.stdout.contains("1 of other models; 1 of something else"),
        "{}",
        outcome.stdout
    );
}
