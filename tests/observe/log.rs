//! The prediction log survives its sink: full, gone, rotated away, killed.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::fault::fault;
use crate::helpers::{Server, eventually, good, ids, replay, root, seaworthy};

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("n{number}")).collect()
}

/// The files of a directory by their names, which is oldest first.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(dir).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    files
}

fn text(path: &Path) -> String {
    let mut text = String::new();
    let file = File::open(path).unwrap();
    if path.extension().is_some_and(|end| end == "gz") {
        flate2::read::GzDecoder::new(file).read_to_string(&mut text).unwrap();
    } else {
        (&file).read_to_string(&mut text).unwrap();
    }
    text
}

#[test]
fn files_are_put_aside_compressed_and_read_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("SEAWORTHY__LOG__ROTATE_BYTES", "10000"), ("SEAWORTHY__LOG__KEEP", "0")];
    let server = Server::logging_to(&dir.path().join("predictions.log"), &settings);
    let all = numbers(0..60);
    all.iter().for_each(|id| server.predict(id));
    eventually("all are compressed but the last", || {
        let plain = |path: &&PathBuf| path.extension().is_none_or(|end| end != "gz");
        let files = files(dir.path());
        files.len() > 4 && files.iter().filter(plain).count() == 1
    });
    assert!(server.metric("seaworthy_log_rotations_total") >= 4.0);
    // The last of them a moment after their answers.
    eventually("all are written", || {
        server.metric("seaworthy_log_records_total{result=\"written\"}") >= 60.0
    });
    assert_eq!(server.metric("seaworthy_log_records_total{result=\"written\"}"), 60.0);
    server.stop();
    let files = files(dir.path());
    let found: Vec<String> = files.iter().flat_map(|path| ids(&text(path))).collect();
    assert_eq!(found, all);
    assert!(files.iter().all(|path| text(path).len() <= 10_000));
    let (code, report) = replay(&[dir.path().to_owned()]);
    assert_eq!((code, &report["log"]["replayed"]), (Some(0), &60.into()), "{report:#}");
    fault!(
        "log larger than its limit",
        "rotate_bytes 10000, 60 requests",
        "files of whole records, gzip, replay reads all 60",
        "as expected"
    );
}

#[test]
fn only_so_many_files_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("SEAWORTHY__LOG__ROTATE_BYTES", "5000"), ("SEAWORTHY__LOG__KEEP", "2")];
    let server = Server::logging_to(&dir.path().join("predictions.log"), &settings);
    numbers(0..40).iter().for_each(|id| server.predict(id));
    server.says("an old prediction log was removed");
    eventually("two are left, and the one that is written to", || {
        let files = files(dir.path());
        files.len() == 3 && files[..2].iter().all(|path| path.extension().unwrap() == "gz")
    });
    fault!("too many old logs", "keep 2", "the oldest removed", "as expected");
}

/// Nobody reads standard output: with the policy `drop` requests are answered at once, and it is known how many records are missing.
#[test]
fn a_reader_that_does_not_read_costs_records_and_no_request() {
    let mut command = seaworthy(&["serve", "house-prices@3.2.0"]);
    command.env("SEAWORTHY__LOG__POLICY", "drop").env("SEAWORTHY__LOG__QUEUE", "10");
    let mut server = Server::of({
        command.stdout(Stdio::piped());
        command
    });
    let n = 200;
    let begun = Instant::now();
    numbers(0..n).iter().for_each(|id| server.predict(id));
    assert!(begun.elapsed() < Duration::from_secs(30));
    server.says("the prediction log does not keep up; records are dropped");
    let dropped = server.metric("seaworthy_log_records_total{result=\"dropped\"}");
    assert!(dropped > 50.0, "{dropped}");
    assert!(server.metric("seaworthy_log_lag_seconds") > 0.0);
    assert!(server.metric("seaworthy_log_queue_records") >= 10.0);
    // What was not dropped is there, in order.
    let mut stdout = server.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    server.stop();
    let read = ids(&reader.join().unwrap());
    #[expect(clippy::cast_precision_loss, reason = "they are few")]
    let n_read = read.len() as f64;
    assert_eq!(n_read + dropped, 200.0);
    assert!(read.is_sorted_by_key(|id| id[1..].parse::<usize>().unwrap()));
    fault!(
        "reader of stdout does not read, policy drop",
        "pipe not read, queue 10, 200 requests",
        "200 for all at once; read + dropped = 200, in order; a message",
        "as expected"
    );
}

/// The same with the policy `block`: requests wait, and nothing is missing.
#[test]
fn a_reader_that_reads_late_loses_nothing() {
    let mut command = seaworthy(&["serve", "house-prices@3.2.0"]);
    command.env("SEAWORTHY__LOG__QUEUE", "10").stdout(Stdio::piped());
    let mut server = Server::of(command);
    let mut stdout = server.child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(1500));
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        text
    });
    let all = numbers(0..150);
    all.iter().for_each(|id| server.predict(id));
    server.stop();
    assert_eq!(ids(&reader.join().unwrap()), all);
    fault!(
        "reader of stdout reads late, policy block",
        "pipe read after 1.5 s, queue 10",
        "requests wait, all records there",
        "as expected"
    );
}

#[test]
fn a_reader_that_goes_costs_records_and_no_request() {
    let mut command = seaworthy(&["serve", "house-prices@3.2.0"]);
    let mut server = Server::of({
        command.stdout(Stdio::piped());
        command
    });
    drop(server.child.stdout.take());
    for id in numbers(0..30) {
        server.predict(&id);
    }
    server.says("the prediction log cannot be written");
    eventually("all are counted as lost", || {
        server.metric("seaworthy_log_records_total{result=\"lost\"}") >= 30.0
    });
    let (status, _) = server.stop();
    assert_eq!(status.code(), Some(0));
    fault!(
        "reader of stdout gone",
        "read end of the pipe closed",
        "200 for all, lost records counted, a message, exit 0",
        "as expected"
    );
}

/// A device that is always full: records are given up after `log.retry_ms`, requests go on.
#[test]
fn a_full_device_costs_records_and_no_request() {
    let server = Server::logging_to(
        Path::new("/dev/full"),
        &[("SEAWORTHY__LOG__RETRY_MS", "200"), ("SEAWORTHY__LOG__QUEUE", "5")],
    );
    let begun = Instant::now();
    numbers(0..30).iter().for_each(|id| server.predict(id));
    assert!(begun.elapsed() < Duration::from_secs(20));
    server.says("No space left on device");
    eventually("all are counted as lost", || {
        server.metric("seaworthy_log_records_total{result=\"lost\"}") >= 30.0
    });
    let (status, messages) = server.stop();
    assert_eq!(status.code(), Some(0), "{messages}");
    fault!(
        "device always full",
        "log to /dev/full, retry 200 ms, queue 5",
        "200 for all, records lost and counted, a message, exit 0",
        "as expected"
    );
}

/// A file system of 64 KiB for one process and those that it starts; `None` where one may not make such.
fn small_disk(dir: &Path) -> Option<std::process::Command> {
    let mount = format!("mount -t tmpfs -o size=64k none {}", dir.display());
    let own = ["--user", "--map-root-user", "--mount"];
    let as_root = ["--mount"];
    let works = |how: &[&str]| {
        let mut tried = std::process::Command::new("unshare");
        tried
            .args(how)
            .args(["sh", "-c", &mount])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    let how = [&as_root[..], &own[..]].into_iter().find(|how| works(how))?;
    let program = seaworthy(&["serve", "house-prices@3.2.0"]);
    let mut command = std::process::Command::new("unshare");
    command.args(how).args(["sh", "-c", &format!("{mount} && exec \"$0\" \"$@\"")]);
    command.arg(program.get_program()).args(program.get_args());
    command.env_clear().current_dir(root()).stdin(Stdio::null()).stdout(Stdio::null());
    command.envs(program.get_envs().filter_map(|(key, value)| Some((key, value?))));
    Some(command)
}

/// A disk that is full for a while: what fits is whole, what came meanwhile waits, and when there is room again it is written.
#[test]
fn a_full_disk_tears_no_record_and_is_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut command) = small_disk(dir.path()) else {
        // Containers forbid it; `a_full_device_costs_records_and_no_request` and the unit tests of `observe::output` run there.
        return;
    };
    command.env("SEAWORTHY__LOG__PREDICTIONS", dir.path().join("predictions.log"));
    command.env("SEAWORTHY__LOG__RETRY_MS", "60000");
    let server = Server::of(command);
    // As the server sees it.
    let disk = PathBuf::from(format!("/proc/{}/root{}", server.child.id(), dir.path().display()));
    let log = disk.join("predictions.log");
    fs::write(disk.join("ballast"), vec![0; 32 * 1024]).unwrap();
    let all = numbers(0..60);
    all.iter().for_each(|id| server.predict(id));
    server.says("No space left on device");
    eventually("it tries again", || server.metric("seaworthy_log_failures_total") > 2.0);
    // No torn line is left, also while the disk is full.
    let while_full = ids(&fs::read_to_string(&log).unwrap());
    assert!(!while_full.is_empty() && while_full.len() < 60, "{}", while_full.len());
    assert_eq!(while_full, all[..while_full.len()]);
    fs::write(disk.join("ballast"), []).unwrap();
    fs::remove_file(disk.join("ballast")).unwrap();
    server.says("the prediction log can be written again");
    let n = ids(&fs::read_to_string(&log).unwrap()).len();
    assert!(n > while_full.len(), "{n}");
    assert_eq!(server.metric("seaworthy_log_records_total{result=\"lost\"}"), 0.0);
    let written = server.metric("seaworthy_log_records_total{result=\"written\"}");
    #[expect(clippy::cast_precision_loss, reason = "they are few")]
    let n = n as f64;
    assert!(written >= n);
    fault!(
        "full disk",
        "the log on a tmpfs of 64 KiB filled by ballast, freed later",
        "requests go on, no torn line while full, records written once there is room, none lost",
        "as expected"
    );
}

/// As logrotate does it: by renaming and SIGHUP, by renaming alone, and by `copytruncate`.
#[test]
fn a_file_that_is_rotated_away_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (log, aside) = (dir.path().join("predictions.log"), dir.path().join("aside"));
    let server = Server::logging_to(&log, &[]);
    let mut expected = Vec::new();
    let mut found = Vec::new();
    let logged = |path: &Path, id: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        text.contains(&format!("\"{id}\""))
    };
    for (number, way) in
        ["rename and hangup", "rename", "remove", "copytruncate"].iter().enumerate()
    {
        let id = format!("before-{number}");
        server.predict(&id);
        expected.push(id.clone());
        eventually("it is written", || logged(&log, &id));
        match *way {
            "rename and hangup" => {
                fs::rename(&log, &aside).unwrap();
                server.signal("-HUP");
                server.says("SIGHUP: the prediction log is opened anew");
            }
            "rename" | "remove" => {
                fs::rename(&log, &aside).unwrap();
                // It looks five times a second.
                std::thread::sleep(Duration::from_millis(250));
            }
            _ => {
                fs::copy(&log, &aside).unwrap();
                File::options().write(true).open(&log).unwrap().set_len(0).unwrap();
            }
        }
        found.extend(ids(&fs::read_to_string(&aside).unwrap()));
        fs::remove_file(&aside).unwrap();
        let id = format!("after-{number}");
        server.predict(&id);
        expected.push(id.clone());
        eventually(way, || logged(&log, &id));
    }
    server.stop();
    found.extend(ids(&fs::read_to_string(&log).unwrap()));
    assert_eq!(found, expected);
    fault!(
        "log renamed away, then SIGHUP; log renamed away without a signal; log emptied under it (copytruncate)",
        "rename and kill -HUP; rename; copy, truncate to 0",
        "process lives, next record in a new file, none missing; noticed within 200 ms, none missing; goes on at the start of the file, no hole, none missing",
        "as expected"
    );
}

/// Whatever moment it is killed at: what `replay` reads are whole records, and the next server begins a line of its own.
#[test]
fn a_killed_server_leaves_no_torn_line_that_is_read_as_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("predictions.log");
    let mut answered = 0;
    for round in 0..4_u64 {
        let mut server = Server::logging_to(&log, &[]);
        let stop = AtomicBool::new(false);
        answered += std::thread::scope(|scope| {
            let asking: Vec<_> = (0..2)
                .map(|_| {
                    scope.spawn(|| {
                        let mut n = 0;
                        while !stop.load(Ordering::Relaxed) {
                            let head = format!(
                                "POST /v1/predict HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                                good().len()
                            );
                            let Ok(mut stream) =
                                std::net::TcpStream::connect(("127.0.0.1", server.port))
                            else {
                                continue;
                            };
                            use std::io::Write as _;
                            let _killed = stream.write_all(format!("{head}{}", good()).as_bytes());
                            let mut answer = String::new();
                            if stream.read_to_string(&mut answer).is_ok()
                                && answer.starts_with("HTTP/1.1 200")
                            {
                                n += 1;
                            }
                        }
                        n
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(300 + 37 * round));
            server.signal("-KILL");
            std::thread::sleep(Duration::from_millis(20));
            stop.store(true, Ordering::Relaxed);
            asking.into_iter().map(|thread| thread.join().unwrap()).sum::<u64>()
        });
        server.wait();
        // What a kernel leaves when it is stopped in the middle of a write; it hardly ever is, so it is written here.
        let mut text = fs::read(&log).unwrap();
        let line = text.split(|byte| *byte == b'\n').next().unwrap().to_vec();
        text.extend_from_slice(&line[..line.len() / 2]);
        fs::write(&log, text).unwrap();
    }
    let server = Server::logging_to(&log, &[]);
    server.predict("last");
    server.stop();
    let (code, report) = replay(std::slice::from_ref(&log));
    let counts = &report["log"];
    assert_eq!(code, Some(0), "{report:#}");
    assert_eq!((&counts["torn"], &counts["corrupt"]), (&4.into(), &0.into()), "{report:#}");
    let replayed = counts["replayed"].as_u64().unwrap();
    // Records that were gathered for some milliseconds are gone with the process: no more than that.
    assert!(replayed + 4 * 200 >= answered && replayed > 50, "{replayed} of {answered}");
    assert!(fs::read_to_string(&log).unwrap().contains("\"last\""));
    fault!(
        "kill -9 under load",
        "four rounds of load and SIGKILL, half a record added after each",
        "replay: 4 torn, 0 corrupt, nothing torn read as a record; next server begins a line",
        "as expected"
    );
}

#[test]
fn a_sample_is_logged_and_whatever_was_refused() {
    let dir = tempfile::tempdir().unwrap();
    for (settings, n_refused) in [
        (vec![("SEAWORTHY__LOG__SAMPLE", "1, house-prices=0.25")], 40),
        (vec![("SEAWORTHY__LOG__SAMPLE", "0.25"), ("SEAWORTHY__LOG__SAMPLE_REFUSED", "true")], 10),
    ] {
        let log = dir.path().join(format!("{n_refused}.log"));
        let server = Server::logging_to(&log, &settings);
        for number in 0..40 {
            server.predict(&format!("good-{number}"));
            let id = format!("bad-{number}");
            server.predict_with(&[("x-request-id", &id)], "{\"inputs\":[]}");
        }
        let metric = |result: &str| {
            server.metric(&format!("seaworthy_log_records_total{{result=\"{result}\"}}"))
        };
        eventually("all are written", || metric("written") + metric("sampled_out") == 80.0);
        server.stop();
        let text = fs::read_to_string(&log).unwrap();
        let ids = ids(&text);
        let n = |what: &str| ids.iter().filter(|id| id.starts_with(what)).count();
        assert!((4..=18).contains(&n("good")), "{ids:?}");
        if n_refused == 40 {
            assert_eq!(n("bad"), 40, "{ids:?}");
        } else {
            assert!((4..=18).contains(&n("bad")), "{ids:?}");
        }
        // A record says what it stands for.
        for line in text.lines() {
            let is_sampled = line.contains("good-") || n_refused == 10;
            assert_eq!(line.contains("\"sample\":0.25,"), is_sampled, "{line}");
        }
        // The same requests in every copy of the server.
        let again = Server::logging_to(&dir.path().join("again.log"), &settings);
        (0..40).for_each(|number| again.predict(&format!("good-{number}")));
        again.stop();
        let again = crate::helpers::ids(&text_and_remove(&dir.path().join("again.log")));
        let good: Vec<&String> = ids.iter().filter(|id| id.starts_with("good")).collect();
        assert_eq!(again.iter().collect::<Vec<_>>(), good);
    }
}

fn text_and_remove(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    fs::remove_file(path).unwrap();
    text
}
