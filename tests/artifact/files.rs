//! The files of an artifact are what `SHA256SUMS` lists, or it is refused.

use std::os::unix::fs::symlink;

use seaworthy::artifact::Artifact;
use serde_json::Value;

use super::helpers::{Cases, Copy, sha256};

const FILES: [&str; 5] =
    ["manifest.json", "model.onnx", "golden.jsonl", "profile.json", "SHA256SUMS"];

/// Positions spread over a file, both ends included.
fn positions(length: usize) -> [usize; 7] {
    [0, 1, length / 4, length / 3, length / 2, length - 2, length - 1]
}

#[test]
fn one_flipped_byte_in_any_file_is_refused_by_the_files_name() {
    for file in FILES {
        let copy = Copy::of_house_prices();
        let bytes = copy.read(file);
        for at in positions(bytes.len()) {
            let mut spoiled = bytes.clone();
            spoiled[at] ^= 1;
            copy.write(file, spoiled);
            let refusal = copy.refusal();
            assert!(refusal.contains(file), "byte {at} of {file}: {refusal}");
        }
    }
    // What is said, where it does not depend on the byte.
    let mut cases = Cases::new();
    for file in ["model.onnx", "golden.jsonl", "profile.json"] {
        cases.case(&format!("a byte in the middle of {file}"), |copy| {
            let mut bytes = copy.read(file);
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            copy.write(file, bytes);
        });
    }
    cases.case("a letter in the description in manifest.json", |copy| {
        let text = String::from_utf8(copy.read("manifest.json")).unwrap();
        copy.write("manifest.json", text.replacen("Sale", "sale", 1));
    });
    cases.case("a digit of the first hash in SHA256SUMS", |copy| {
        let mut bytes = copy.read("SHA256SUMS");
        bytes[7] = if bytes[7] == b'0' { b'1' } else { b'0' };
        copy.write("SHA256SUMS", bytes);
    });
    cases.case("a letter of the first path in SHA256SUMS", |copy| {
        let text = String::from_utf8(copy.read("SHA256SUMS")).unwrap();
        copy.write("SHA256SUMS", text.replace("golden.jsonl", "golden.jsonm"));
    });
    insta::assert_snapshot!(cases.text());
}

#[test]
fn no_byte_of_the_list_can_be_changed() {
    let copy = Copy::of_house_prices();
    copy.shrink();
    // It is opened six hundred times, which reads the manifest and every hash.
    copy.edit(|manifest| {
        for long in ["inputs", "pipeline", "provenance"] {
            match &mut manifest[long] {
                Value::Array(items) => items.truncate(1),
                Value::Object(items) => items.clear(),
                _ => {}
            }
        }
    });
    Artifact::open(copy.dir()).unwrap();
    let bytes = copy.read("SHA256SUMS");
    for at in 0..bytes.len() {
        // A changed letter; in turn, changed case and what matters to the lines of a list.
        for changed in [bytes[at] ^ 1, [bytes[at] ^ 0x20, b'\n', b'\r'][at % 3]] {
            if changed == bytes[at] {
                continue;
            }
            let mut spoiled = bytes.clone();
            spoiled[at] = changed;
            copy.write("SHA256SUMS", spoiled);
            let error = Artifact::open(copy.dir()).expect_err(&format!("byte {at}: {changed}"));
            let error = error.to_string();
            assert!(error.contains("SHA256SUMS") && !error.contains(char::is_control), "{error}");
        }
    }
}

#[test]
fn no_path_leads_out_of_the_directory() {
    let mut cases = Cases::new();
    let listed = |path: &'static str| {
        move |copy: &Copy| {
            let mut list = String::from_utf8(copy.read("SHA256SUMS")).unwrap();
            std::fs::write(copy.tmp().join("outside"), "outside").unwrap();
            list.push_str(&format!("{}  {path}\n", sha256(b"outside")));
            copy.write("SHA256SUMS", list);
        }
    };
    cases.case("`..` in SHA256SUMS", listed("../../outside"));
    cases.case("`..` in the middle of a path in SHA256SUMS", listed("sub/../../../outside"));
    cases.case("an absolute path in SHA256SUMS", listed("/etc/hostname"));
    cases.case("a path with a backslash in SHA256SUMS", listed("..\\outside"));
    cases.edited("`..` in model.file", |manifest| {
        manifest["model"]["file"] = "../3.2.0/model.onnx".into();
    });
    cases.edited("an absolute path in model.file", |manifest| {
        manifest["model"]["file"] = "/etc/hostname".into();
    });
    cases.edited("no model.file", |manifest| manifest["model"]["file"] = "".into());
    for file in ["manifest.json", "model.onnx", "SHA256SUMS"] {
        cases.case(&format!("{file} is a link that leads out"), |copy| {
            let outside = copy.tmp().join("outside");
            std::fs::rename(copy.path(file), &outside).unwrap();
            symlink(&outside, copy.path(file)).unwrap();
        });
    }
    cases.case("a directory that is a link that leads out", |copy| {
        std::fs::create_dir(copy.tmp().join("outside")).unwrap();
        std::fs::write(copy.tmp().join("outside/weights.bin"), "weights").unwrap();
        symlink(copy.tmp().join("outside"), copy.path("sub")).unwrap();
        let list = String::from_utf8(copy.read("SHA256SUMS")).unwrap();
        let line = format!("{}  sub/weights.bin\n", sha256(b"weights"));
        copy.write("SHA256SUMS", list + &line);
    });
    insta::assert_snapshot!(cases.text());
}

/// It was read before it was looked at: a link to /dev/zero filled the memory, a pipe was waited for.
#[test]
fn a_device_or_a_pipe_is_refused_and_not_read() {
    let mut cases = Cases::new();
    cases.case("a link to /dev/zero", |copy| {
        std::fs::remove_file(copy.path("profile.json")).unwrap();
        symlink("/dev/zero", copy.path("profile.json")).unwrap();
    });
    cases.case("a pipe", |copy| {
        std::fs::remove_file(copy.path("profile.json")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(copy.path("profile.json")).status();
        assert!(made.unwrap().success());
    });
    cases.case("a directory", |copy| {
        std::fs::remove_file(copy.path("profile.json")).unwrap();
        std::fs::create_dir(copy.path("profile.json")).unwrap();
    });
    cases.case("a link to itself", |copy| {
        std::fs::remove_file(copy.path("profile.json")).unwrap();
        symlink("profile.json", copy.path("profile.json")).unwrap();
    });
    insta::assert_snapshot!(cases.text());
}

#[test]
fn a_list_that_is_not_one_is_refused() {
    let mut cases = Cases::new();
    let lines = |edit: fn(Vec<String>) -> Vec<String>| {
        move |copy: &Copy| {
            let list = String::from_utf8(copy.read("SHA256SUMS")).unwrap();
            let lines = edit(list.lines().map(str::to_owned).collect());
            copy.write("SHA256SUMS", lines.join("\n") + "\n");
        }
    };
    cases.case("SHA256SUMS is absent", |copy| {
        std::fs::remove_file(copy.path("SHA256SUMS")).unwrap();
    });
    cases.case("SHA256SUMS is empty", |copy| copy.write("SHA256SUMS", ""));
    cases.case("SHA256SUMS is not text", |copy| copy.write("SHA256SUMS", [0xff, 0xfe, 0x00]));
    cases.case(
        "an empty line",
        lines(|mut lines| {
            lines.insert(1, String::new());
            lines
        }),
    );
    cases.case(
        "a line twice",
        lines(|mut lines| {
            lines.push(lines[0].clone());
            lines
        }),
    );
    cases.case(
        "the list lists itself",
        lines(|mut lines| {
            lines.push(lines[0].replace("golden.jsonl", "SHA256SUMS"));
            lines
        }),
    );
    cases.case(
        "hashes in capitals",
        lines(|lines| {
            lines
                .iter()
                .map(|line| format!("{}{}", line[..64].to_uppercase(), &line[64..]))
                .collect()
        }),
    );
    cases.case(
        "one space instead of two",
        lines(|lines| lines.iter().map(|line| line.replacen("  ", " ", 1)).collect()),
    );
    cases.case(
        "the graph is not listed",
        lines(|mut lines| {
            lines.retain(|line| !line.ends_with("model.onnx"));
            lines
        }),
    );
    cases.case(
        "a file is listed and not there",
        lines(|mut lines| {
            lines.push(lines[0].replace("golden.jsonl", "weights.bin"));
            lines
        }),
    );
    for file in ["golden.jsonl", "profile.json", "model.onnx"] {
        cases.case(&format!("{file} is listed and not there"), |copy| {
            std::fs::remove_file(copy.path(file)).unwrap();
        });
    }
    cases.case("a file is there and not listed", |copy| copy.write("notes.txt", "mine"));
    cases.case("a file in a directory is there and not listed", |copy| {
        std::fs::create_dir(copy.path("sub")).unwrap();
        copy.write("sub/notes.txt", "mine");
    });
    cases.case("a hidden file is there and not listed", |copy| copy.write(".DS_Store", "mine"));
    insta::assert_snapshot!(cases.text());
}

#[test]
fn what_is_no_artifact_is_refused() {
    let mut cases = Cases::new();
    cases.case("no directory", |copy| std::fs::remove_dir_all(copy.dir()).unwrap());
    cases.case("an empty directory", |copy| {
        std::fs::remove_dir_all(copy.dir()).unwrap();
        std::fs::create_dir(copy.dir()).unwrap();
    });
    cases.case("a file", |copy| {
        std::fs::remove_dir_all(copy.dir()).unwrap();
        std::fs::write(copy.dir(), "").unwrap();
    });
    cases.case("no profile.json, and the hashes are right", |copy| {
        std::fs::remove_file(copy.path("profile.json")).unwrap();
        copy.seal();
    });
    cases.case("profile.json is not JSON", |copy| {
        copy.write("profile.json", "profile");
        copy.seal();
    });
    cases.case("profile.json has another format", |copy| {
        copy.write("profile.json", r#"{"format": "seaworthy-profile/2"}"#);
        copy.seal();
    });
    insta::assert_snapshot!(cases.text());
}

#[test]
fn a_link_to_a_version_and_files_in_directories_are_fine() {
    let copy = Copy::of_house_prices();
    symlink("3.2.0", copy.dir().with_file_name("latest")).unwrap();
    super::helpers::open();
    seaworthy::startup::load_and_prove(&copy.dir().with_file_name("latest")).unwrap();
    std::fs::create_dir(copy.path("docs")).unwrap();
    copy.write("docs/card.md", "A card.");
    let list = String::from_utf8(copy.read("SHA256SUMS")).unwrap();
    copy.write("SHA256SUMS", format!("{list}{}  docs/card.md\n", sha256(b"A card.")));
    assert_eq!(copy.refusal(), "proven");
}
