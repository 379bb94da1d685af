//! `seaworthy predict`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::assert_shown;
use super::helpers::{root, seaworthy, wait};

/// The header and the first good rows of the data set, as cells.
fn houses(n: usize) -> (Vec<String>, Vec<Vec<String>>) {
    let text = std::fs::read_to_string(root().join("tests/data/house-prices/test.csv")).unwrap();
    let mut rows = text.lines().map(|line| line.split(',').map(str::to_owned).collect());
    (rows.next().unwrap(), rows.take(n).collect())
}

fn csv(header: &[String], rows: &[Vec<String>]) -> String {
    let lines = std::iter::once(header).chain(rows.iter().map(Vec::as_slice));
    lines.map(|cells| cells.join(",") + "\n").collect()
}

/// A table of three houses, with some cells replaced.
fn with(changes: &[(usize, &str, &str)]) -> String {
    let (header, mut rows) = houses(3);
    for (row, column, cell) in changes {
        let at = header.iter().position(|name| name == column).unwrap();
        rows[*row][at] = (*cell).to_owned();
    }
    csv(&header, &rows)
}

fn without(column: &str) -> String {
    let (mut header, mut rows) = houses(3);
    let at = header.iter().position(|name| name == column).unwrap();
    header.remove(at);
    rows.iter_mut().for_each(|row| {
        row.remove(at);
    });
    csv(&header, &rows)
}

/// Files as people have them: name, bytes, further arguments.
fn awkward_files() -> Vec<(&'static str, Vec<u8>, &'static [&'static str])> {
    let plain = with(&[]);
    let (header, rows) = houses(3);
    let head = header.join(",");
    let joined: Vec<String> = rows.iter().map(|row| row.join(",")).collect();
    let utf16: Vec<u8> =
        [0xff, 0xfe].into_iter().chain(plain.encode_utf16().flat_map(u16::to_le_bytes)).collect();
    let mut latin1 = with(&[(1, "Neighborhood", "N?mes")]).into_bytes();
    *latin1.iter_mut().find(|byte| **byte == b'?').unwrap() = 0xe4;
    let huge = "x".repeat(3 << 20);
    let semicolons = plain.replace(',', ";");
    let text = |text: String| text.into_bytes();
    vec![
        ("plain", text(plain.clone()), &[][..]),
        ("byte order mark", text(format!("\u{feff}{plain}")), &[]),
        ("CR LF", text(plain.replace('\n', "\r\n")), &[]),
        ("CR alone", text(plain.replace('\n', "\r")), &[]),
        ("no line break at the end", text(plain.trim_end().to_owned()), &[]),
        ("blank lines", text(format!("\n\n{}\n\n", plain.replace('\n', "\n\n"))), &[]),
        ("empty", Vec::new(), &[]),
        ("only blank lines", text("\n\r\n\n".to_owned()), &[]),
        ("header only", text(format!("{head}\n")), &[]),
        ("header without a line break", text(head.clone()), &[]),
        ("a short row", text(format!("{head}\n{}\n1,2,3\n{}\n", joined[0], joined[1])), &[]),
        ("a long row", text(format!("{head}\n{},9,9\n{}\n", joined[0], joined[1])), &[]),
        ("quoted cells", text(format!("{head}\n\"{}\"\n", rows[0].join("\",\""))), &[]),
        ("a quoted header", text(format!("\"{}\"\n{}\n", header.join("\",\""), joined[0])), &[]),
        (
            "a line break in quotes",
            text(with(&[
                (0, "Alley", "\"two\nlines\""),
                (2, "LotArea", "9.5"),
                (2, "MSSubClass", "20.5"),
            ])),
            &[],
        ),
        ("a delimiter in quotes", text(with(&[(0, "Alley", "\"a,b\"")])), &[]),
        ("a quote in quotes", text(with(&[(0, "Alley", "\"5\"\" wide\"")])), &[]),
        ("a quote in the middle", text(with(&[(0, "Alley", "5\" wide")])), &[]),
        ("text behind a quote", text(with(&[(1, "Alley", "\"a\"b")])), &[]),
        ("a quote that is never closed", text(with(&[(1, "Alley", "\"open")])), &[]),
        ("the same without quotes", text(with(&[(1, "Alley", "\"open")])), &["--quote", "none"]),
        ("single quotes", text(with(&[(1, "Alley", "'a,b'")])), &["--quote", "'"]),
        ("a huge field", text(with(&[(1, "Alley", &huge)])), &[]),
        ("Latin-1", latin1, &[]),
        ("UTF-16", utf16, &[]),
        ("a NUL", text(with(&[(1, "Neighborhood", "NA\0mes")])), &[]),
        ("not ASCII", text(with(&[(1, "Neighborhood", "Ñandú")])), &[]),
        ("a missing column", text(without("LotShape")), &[]),
        ("a missing column that may be", text(without("LotFrontage")), &[]),
        ("two missing columns", text(without("LotShape").replace("MSZoning", "Zoning")), &[]),
        ("a column twice", text(plain.replacen("LotShape", "LotConfig", 1)), &[]),
        ("a name and its alias", text(plain.replacen("LotShape", "FirstFlrSF", 1)), &[]),
        ("names in other letters", text(plain.replacen("LotShape", "lotshape", 1)), &[]),
        (
            "integers as 5.0",
            text(with(&[
                (0, "MSSubClass", "20.0"),
                (1, "YrSold", "2010.00"),
                (2, "OverallQual", "5."),
            ])),
            &[],
        ),
        (
            "integers in other ways",
            text(with(&[
                (0, "MSSubClass", " 20 "),
                (1, "YrSold", "+2010"),
                (2, "OverallQual", "5e0"),
            ])),
            &[],
        ),
        ("a fraction", text(with(&[(1, "MSSubClass", "20.5")])), &[]),
        ("a number with a comma", text(with(&[(1, "GrLivArea", "\"1,329\"")])), &[]),
        (
            "text for a number",
            text(with(&[
                (1, "GrLivArea", "big"),
                (1, "YrSold", "#N/A"),
                (2, "LotFrontage", "inf"),
            ])),
            &[],
        ),
        (
            "beyond 64 bits",
            text(with(&[(1, "GrLivArea", "99999999999999999999"), (2, "LotFrontage", "1e999")])),
            &[],
        ),
        (
            "missing values",
            text(with(&[(0, "LotFrontage", ""), (1, "LotFrontage", "NA"), (2, "LotShape", "")])),
            &[],
        ),
        (
            "another missing value",
            text(with(&[(0, "LotFrontage", "?"), (1, "LotShape", "NA")])),
            &["--missing", "?", "--missing", "NA"],
        ),
        ("semicolons", text(semicolons.clone()), &["--delimiter", ";"]),
        ("semicolons unasked", text(semicolons), &[]),
        ("no header", text(format!("{}\n", joined[0])), &["--no-header"]),
        ("no header unasked", text(format!("{}\n", joined[0])), &[]),
        ("JSON in a .csv", text("{\"MSSubClass\": 20}\n".to_owned()), &[]),
        ("Parquet in a .csv", b"PAR1\x15\x04\x15\xfe".to_vec(), &[]),
    ]
}

#[test]
fn awkward_csv_is_handled_or_refused_with_line_and_column() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("in.csv");
    let files = awkward_files();
    assert!(files.len() >= 30);
    let mut shown = Vec::new();
    for (name, bytes, arguments) in files {
        std::fs::write(&path, bytes).unwrap();
        let mut all = vec!["predict", "house-prices@3.2.0", path.to_str().unwrap(), "--quiet"];
        all.extend(["--keep", "none", "--on-invalid", "null", "--threads", "1"]);
        let rejects = tmp.path().join("rejects.csv");
        let _none = std::fs::remove_file(&rejects);
        all.extend(["--rejects", rejects.to_str().unwrap()]);
        all.extend(arguments);
        let outcome = seaworthy(&all).outcome();
        let mut text = format!(
            "# {name}{}{}\n",
            if arguments.is_empty() { "" } else { ": " },
            arguments.join(" ")
        );
        text.push_str(
            &outcome.stdout.replace(",3.2.0\n", "\n").replace("prediction,version\n", ""),
        );
        if let Ok(rejects) = std::fs::read_to_string(&rejects) {
            let lines = rejects
                .lines()
                .skip(1)
                .map(|line| format!("rejected: {}\n", line.split_once(',').unwrap().1));
            text.extend(lines);
        }
        text.push_str(&outcome.stderr);
        text.push_str(&format!("exit {}\n", outcome.code.unwrap()));
        // The last digit of a prediction is the processor's.
        shown.push(text.replace(tmp.path().to_str().unwrap(), "<tmp>"));
    }
    insta::with_settings!({filters => vec![(r"(?m)^(\d+\.\d{6})\d+(;3\.2\.0)?$", "$1…")]}, {
        insta::assert_snapshot!(shown.join("\n"));
    });
}

#[test]
fn awkward_ndjson_is_handled_or_refused_with_line_and_column() {
    let tmp = tempfile::tempdir().unwrap();
    let path = tmp.path().join("in.ndjson");
    let golden =
        std::fs::read_to_string(root().join("models/house-prices/3.2.0/golden.jsonl")).unwrap();
    let good: serde_json::Value = serde_json::from_str(golden.lines().next().unwrap()).unwrap();
    let good = good["input"].to_string();
    let bad = good.replacen("\"LotShape\":", "\"LotShape\":1,\"LotShap\":", 1);
    let files = [
        ("blank lines, CR LF", format!("\r\n{good}\r\n\r\n{good}")),
        ("byte order mark", format!("\u{feff}{good}\n")),
        ("a line that is not JSON", format!("{good}\n{{\"a\": }}\n{good}\n")),
        ("two rows on a line", format!("{good} {good}\n{good}\n")),
        ("rows with commas behind", format!("{good},\n{good}\n")),
        ("an array", format!("[{good},\n{good}]\n")),
        ("no objects", format!("5\n{good}\nnull\n")),
        ("a wrong type", format!("{good}\n{bad}\n")),
        ("empty", String::new()),
        ("a key that is to be added", good.replacen('{', "{\"prediction\":1,", 1)),
    ];
    let mut shown = Vec::new();
    for (name, text) in files {
        std::fs::write(&path, text).unwrap();
        let arguments = [
            "predict",
            "house-prices@3.2.0",
            path.to_str().unwrap(),
            "--on-invalid",
            "null",
            "--threads",
            "1",
        ];
        let outcome = seaworthy(&arguments).outcome();
        let rows = outcome.stdout.lines().map(|line| {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            format!("{} keys, {}\n", row.as_object().unwrap().len(), row["prediction"])
        });
        let rows: String = rows.collect();
        let stderr: String = outcome
            .stderr
            .lines()
            .filter(|line| !line.contains("rows/s"))
            .map(|line| format!("{line}\n"))
            .collect();
        let text = format!("# {name}\n{rows}{stderr}exit {}\n", outcome.code.unwrap());
        shown.push(text.replace(tmp.path().to_str().unwrap(), "<tmp>"));
    }
    insta::with_settings!({filters => vec![(r"(?m)(\d+\.\d{6})\d+$", "$1…")]}, {
        insta::assert_snapshot!(shown.join("\n"));
    });
}

#[test]
fn a_run_that_cannot_be_is_refused() {
    let tmp = tempfile::tempdir().unwrap();
    let rows = "tests/data/house-prices/train.csv";
    let out = tmp.path().join("no/such/dir.csv");
    let shown: Vec<String> = [
        &["predict", "house-prices", "nothing.csv"][..],
        &["predict", "house-prices", "tests/data/*.csv"],
        &["predict", "house-prices", "README.md"],
        &["predict", "house-prices", "-"],
        &["predict", "house-prices", "-", "--format", "parquet"],
        &["predict", "house-prices@9.9.9", rows],
        &["predict", "house-prices", rows, "--keep", "Id,Nothing"],
        &["predict", "house-prices", rows, "--resume"],
        &["predict", "house-prices", rows, "--output", out.to_str().unwrap()],
        &["predict", "house-prices@3.2.0", "tests/data/house-prices/test.csv"],
        &["predict", "house-prices"],
        &["predict", "house-prices", rows, "--delimiter", "ab"],
    ]
    .iter()
    .map(|arguments| seaworthy(arguments).replace(tmp.path(), "<tmp>").show())
    .collect();
    assert_shown!(shown.join("\n"));
    assert!(std::fs::read_dir(tmp.path()).unwrap().next().is_none());
}

/// What the server's own decoder and the model make of the rows of the data set.
fn served(version: &str, rows: &str) -> Vec<Option<f64>> {
    use seaworthy::postprocess::Prediction;
    use seaworthy::startup::{load_and_prove, open_runtime};
    open_runtime(&seaworthy::config::process()).unwrap();
    let dir = root().join("models/house-prices").join(version);
    let (mut predictor, _) = load_and_prove(&dir).unwrap();
    let text = std::fs::read_to_string(root().join("tests/data/house-prices").join(rows)).unwrap();
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().unwrap().split(',').collect();
    let schema = predictor.model().schema().clone();
    let mut found = Vec::new();
    for line in lines {
        let mut row = serde_json::Map::new();
        for (name, cell) in names.iter().zip(line.split(',')) {
            let Some(field) = schema.index_of(name) else { continue };
            let is_text = schema.fields()[field].kind() == seaworthy::schema::Kind::String;
            let value = match cell {
                "NA" | "" => serde_json::Value::Null,
                cell if is_text => cell.into(),
                cell => serde_json::from_str(cell).unwrap(),
            };
            row.insert((*name).to_owned(), value);
        }
        let body = serde_json::json!({"inputs": [row]}).to_string();
        let mut frame = schema.frame();
        let decoded = schema
            .decode(body.as_bytes(), &seaworthy::schema::DecodeOptions::default(), &mut frame)
            .unwrap();
        found.push(if decoded.n_errors > 0 {
            None
        } else {
            match predictor.predict(&frame).unwrap().rows[0] {
                Prediction::Number(value) => Some(value),
                _ => None,
            }
        });
    }
    found
}

fn predictions(ndjson: &str) -> Vec<Option<f64>> {
    ndjson
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["prediction"].as_f64())
        .collect()
}

#[test]
fn every_format_gives_the_servers_bits() {
    let tmp = tempfile::tempdir().unwrap();
    let path = |name: &str| tmp.path().join(name).to_str().unwrap().to_owned();
    for (version, rows) in [("3.2.0", "test.csv"), ("3.3.0", "train.csv")] {
        let model = format!("house-prices@{version}");
        let input = format!("tests/data/house-prices/{rows}");
        let expected: Vec<Option<u64>> =
            served(version, rows).into_iter().map(|value| value.map(f64::to_bits)).collect();
        assert!(expected.iter().flatten().count() > 1000);
        let run = |input: &str, output: &str| {
            let arguments = [
                "predict",
                &model,
                input,
                "-o",
                output,
                "--on-invalid",
                "null",
                "--prefix",
                "x_",
                "-q",
            ];
            let outcome = seaworthy(&arguments).outcome();
            assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{input} {output}");
        };
        // Each format is written from another one, with the columns of all runs before.
        let mut input = input;
        for (at, output) in [
            "1.parquet",
            "2.ndjson",
            "3.csv",
            "4.arrow",
            "5.csv",
            "6.ndjson",
            "7.parquet",
            "8.arrow",
        ]
        .into_iter()
        .enumerate()
        {
            let output = path(&format!("{version}-{output}"));
            let prefix = format!("x{at}_");
            let arguments = [
                "predict",
                &model,
                &input,
                "-o",
                &output,
                "--on-invalid",
                "null",
                "--prefix",
                &prefix,
                "-q",
            ];
            let outcome = seaworthy(&arguments).outcome();
            assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""), "{input} {output}");
            input = output;
        }
        run(&input, &path("all.ndjson"));
        let all = std::fs::read_to_string(path("all.ndjson")).unwrap();
        assert_eq!(all.lines().count(), expected.len());
        for (line, expected) in all.lines().zip(&expected) {
            let row: serde_json::Value = serde_json::from_str(line).unwrap();
            let keys = ["x0_", "x1_", "x2_", "x3_", "x4_", "x5_", "x6_", "x7_", "x_"];
            for key in keys.map(|prefix| format!("{prefix}prediction")) {
                let found = match &row[&key] {
                    serde_json::Value::String(text) => text.parse().ok(),
                    value => value.as_f64(),
                };
                assert_eq!(found.map(f64::to_bits), *expected, "{key} of {line}");
            }
            assert_eq!(row["x_version"], version);
        }
    }
}

#[test]
fn rows_without_a_prediction_are_left_out_or_empty_and_listed() {
    let tmp = tempfile::tempdir().unwrap();
    let input = "tests/data/house-prices/test.csv";
    let run = |on_invalid: &str, rejects: &str| {
        let rejects = tmp.path().join(rejects);
        let arguments = [
            "predict",
            "house-prices@3.2.0",
            input,
            "--keep",
            "Id",
            "--on-invalid",
            on_invalid,
            "--rejects",
            rejects.to_str().unwrap(),
        ];
        let outcome = seaworthy(&arguments).outcome();
        (outcome, std::fs::read_to_string(rejects).unwrap())
    };
    let (null, rejects) = run("null", "r.csv");
    assert_eq!((null.code, null.stdout.lines().count()), (Some(0), 1460));
    assert_eq!(null.stdout.lines().filter(|line| line.ends_with(",,3.2.0")).count(), 10);
    assert!(
        rejects.contains("test.csv,96,97,221,KitchenQual,null,")
            || rejects.contains(",KitchenQual,null,"),
        "{rejects}"
    );
    let (skip, json) = run("skip", "r.ndjson");
    assert_eq!((skip.code, skip.stdout.lines().count()), (Some(0), 1450));
    assert_eq!(json.lines().count(), rejects.lines().count() - 1);
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert_eq!((first["row"].as_u64(), first["line"].as_u64()), (Some(96), Some(97)));
    assert_eq!(
        (first["field"].as_str(), first["code"].as_str()),
        (Some("KitchenQual"), Some("null"))
    );
    let (fail, rejects) = run("fail", "f.csv");
    assert_eq!(fail.code, Some(1));
    assert!(rejects.lines().count() > 1 && fail.stderr.contains("line 97, column 221"));
}

#[test]
fn partitions_are_written_one_by_one_and_gone_on_with() {
    let tmp = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(root().join("tests/data/house-prices/train.csv")).unwrap();
    let (header, rest) = text.split_once('\n').unwrap();
    let lines: Vec<&str> = rest.lines().collect();
    for (at, part) in lines.chunks(500).enumerate() {
        let dir = tmp.path().join(format!("in/part={at}"));
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::write(dir.join("rows.csv"), format!("{header}\n{}\n", part.join("\n"))).unwrap();
    }
    std::fs::write(tmp.path().join("in/_SUCCESS.csv"), "not data").unwrap();
    let (input, output) = (tmp.path().join("in"), tmp.path().join("out/"));
    let output = format!("{}/", output.display());
    let arguments = [
        "predict",
        "house-prices",
        input.to_str().unwrap(),
        "--format",
        "ndjson",
        "--output",
        &output,
    ];
    let resume = [&arguments[..], &["--resume"]].concat();
    let first = seaworthy(&arguments).outcome();
    assert_eq!(first.code, Some(0), "{}", first.stderr);
    let read = |at: usize| {
        std::fs::read_to_string(tmp.path().join(format!("out/part={at}/rows.ndjson"))).unwrap()
    };
    let whole: Vec<String> = (0..3).map(read).collect();
    assert_eq!(whole.iter().map(|text| text.lines().count()).sum::<usize>(), 1460);
    std::fs::remove_file(tmp.path().join("out/part=1/rows.ndjson")).unwrap();
    std::fs::write(tmp.path().join("out/part=2/rows.ndjson"), "kept as it is").unwrap();
    let again = seaworthy(&resume).outcome();
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    assert!(
        again.stderr.contains("500 rows of 1 file")
            && again.stderr.contains("2 files were there already"),
        "{}",
        again.stderr
    );
    assert_eq!((read(1), read(2)), (whole[1].clone(), "kept as it is".to_owned()));
    // Not with another model.
    let mut other = resume.clone();
    other[1] = "house-prices@3.2.0";
    let refused = seaworthy(&other).outcome();
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("cannot be gone on with"), "{}", refused.stderr);
    // One output for all of them, as a glob.
    let glob = format!("{}/in/part=*/rows.csv", tmp.path().display());
    let one = seaworthy(&["predict", "house-prices", &glob, "--keep", "Id", "-q"]).outcome();
    assert_eq!((one.code, one.stdout.lines().count()), (Some(0), 1461));
}

#[test]
fn it_is_a_filter() {
    use std::io::Write;
    let ndjson = seaworthy(&[
        "predict",
        "house-prices",
        "tests/data/house-prices/train.csv",
        "--format",
        "ndjson",
        "-q",
    ])
    .outcome()
    .stdout;
    let mut child = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(["predict", "house-prices", "-", "--format", "ndjson", "--prefix", "again_", "-q"])
        .current_dir(root())
        .env("ORT_DYLIB_PATH", super::helpers::library())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = ndjson.clone();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let again = String::from_utf8(output.stdout).unwrap().replace("again_prediction", "prediction");
    // The last of two equal keys.
    assert_eq!(predictions(&again), predictions(&ndjson));
}

/// A program that runs on rows without end, and a table that it is writing.
fn endless(output: &Path) -> std::process::Child {
    let text = std::fs::read_to_string(root().join("tests/data/house-prices/train.csv")).unwrap();
    let (header, rows) = text.split_once('\n').unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(["predict", "house-prices", "-", "--format", "csv", "-q", "-o"])
        .arg(output)
        .current_dir(root())
        .env("ORT_DYLIB_PATH", super::helpers::library())
        .env("ORT_DISABLE_TELEMETRY", "1")
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let (header, rows) = (header.to_owned(), rows.to_owned());
    std::thread::spawn(move || {
        use std::io::Write;
        let _gone = stdin.write_all(format!("{header}\n").as_bytes());
        while stdin.write_all(rows.as_bytes()).is_ok() {}
    });
    child
}

#[test]
fn an_interrupted_run_leaves_nothing_behind() {
    let tmp = tempfile::tempdir().unwrap();
    for signal in ["-INT", "-TERM"] {
        let mut child = endless(&tmp.path().join("out.csv"));
        let started = std::time::Instant::now();
        // The partial file grows: it is at work.
        let at_work = || {
            std::fs::read_dir(tmp.path())
                .unwrap()
                .any(|entry| entry.unwrap().metadata().unwrap().len() > 0)
        };
        while !at_work() {
            assert!(started.elapsed() < Duration::from_secs(20), "nothing was written");
            std::thread::sleep(Duration::from_millis(5));
        }
        let killed = Command::new("kill").arg(signal).arg(child.id().to_string()).status().unwrap();
        assert!(killed.success());
        assert_eq!(wait(&mut child, "an interrupted run"), Some(130), "{signal}");
        assert!(std::fs::read_dir(tmp.path()).unwrap().next().is_none(), "something is left");
    }
}

#[test]
fn a_reader_that_goes_away_is_a_normal_end() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_seaworthy"))
        .args(["predict", "house-prices", "tests/data/house-prices/train.csv", "-q"])
        .current_dir(root())
        .env("ORT_DYLIB_PATH", super::helpers::library())
        .env("ORT_DISABLE_TELEMETRY", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(wait(&mut child, "a broken pipe"), Some(0));
    let mut stderr = String::new();
    std::io::Read::read_to_string(&mut child.stderr.take().unwrap(), &mut stderr).unwrap();
    assert_eq!(stderr, "");
}

#[test]
fn a_full_disk_is_this_sides_fault_and_leaves_nothing() {
    let outcome = seaworthy(&[
        "predict",
        "house-prices",
        "tests/data/house-prices/train.csv",
        "-q",
        "-o",
        "/dev/full",
    ])
    .outcome();
    assert_eq!(outcome.code, Some(2), "{}", outcome.stderr);
    assert!(outcome.stderr.contains("`/dev/full` cannot be written"), "{}", outcome.stderr);
}

#[test]
fn compressed_input_is_read_as_it_was() {
    use std::io::Write;
    let tmp = tempfile::tempdir().unwrap();
    let text = std::fs::read(root().join("tests/data/house-prices/train.csv")).unwrap();
    let plain = seaworthy(&["predict", "house-prices", "tests/data/house-prices/train.csv", "-q"])
        .outcome()
        .stdout;
    let gz = tmp.path().join("rows.csv.gz");
    let mut encoder = flate2::write::GzEncoder::new(
        std::fs::File::create(&gz).unwrap(),
        flate2::Compression::fast(),
    );
    encoder.write_all(&text).unwrap();
    encoder.finish().unwrap();
    let zst = tmp.path().join("rows.csv.zst");
    std::fs::write(&zst, zstd::encode_all(text.as_slice(), 1).unwrap()).unwrap();
    for path in [gz, zst] {
        let outcome =
            seaworthy(&["predict", "house-prices", path.to_str().unwrap(), "-q"]).outcome();
        assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
        assert!(outcome.stdout == plain, "{}", path.display());
    }
}
