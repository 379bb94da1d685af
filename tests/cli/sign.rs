//! `seaworthy sign`: from a fresh key to a server that takes nothing else.

use super::helpers::{copy_model, seaworthy};

#[test]
fn an_artifact_is_signed_shown_and_asked_for() {
    let tmp = tempfile::tempdir().unwrap();
    let model = copy_model(&tmp.path().join("models"));
    let dir = model.to_str().unwrap();
    let file = tmp.path().join("release.pem");
    let key = file.to_str().unwrap();
    let run = |arguments: &[&str], more: &[(&str, &str)]| {
        let run = seaworthy(arguments)
            .env("SEAWORTHY__MODELS__DIR", tmp.path().join("models").to_str().unwrap());
        let outcome = more.iter().fold(run, |run, (key, value)| run.env(key, value)).outcome();
        (outcome.code, outcome.stdout, outcome.stderr)
    };
    let (code, public, note) = run(&["key", "signing", key], &[]);
    assert_eq!(code, Some(0), "{note}");
    let public = public.trim();
    assert!(public.starts_with("ed25519:"), "{public}");
    let secret = std::fs::read_to_string(&file).unwrap();
    assert!(!note.contains(secret.lines().nth(1).unwrap()));
    // A key is not written over another file.
    assert_eq!(run(&["key", "signing", key], &[]).0, Some(1));
    let signers = format!("release {public}");
    let required = [
        ("SEAWORTHY__MODELS__SIGNERS", signers.as_str()),
        ("SEAWORTHY__MODELS__REQUIRE_SIGNATURE", "true"),
    ];
    let (code, _, wrong) = run(&["check", dir], &required);
    assert_eq!(code, Some(1));
    assert!(
        wrong.contains("is not trusted: it is not signed")
            && wrong.contains("hint: `seaworthy sign"),
        "{wrong}"
    );
    for command in ["check", "serve"] {
        let check =
            if command == "serve" { &["serve", "--check", dir][..] } else { &["check", dir] };
        assert_eq!(run(check, &required).0, Some(1), "{command}");
    }
    let (code, said, wrong) = run(&["sign", dir, "--key", key], &[]);
    assert_eq!(code, Some(0), "{wrong}");
    assert!(said.contains("house-prices@3.2.0") && said.contains(public), "{said}");
    for (command, with_names, shown) in [
        ("check", true, "signed    by release"),
        ("check", false, public),
        ("inspect", true, "release"),
        ("inspect", false, public),
    ] {
        let settings = if with_names { &required[..] } else { &[] };
        let (code, said, wrong) = run(&[command, dir], settings);
        assert_eq!(code, Some(0), "{wrong}");
        assert!(said.contains(shown), "{command}: {said}");
    }
    let (code, said, _) = run(
        &["serve", "--check", "house-prices"],
        &[
            required[0],
            required[1],
            ("SEAWORTHY__MODELS__DEFAULT", ""),
            ("SEAWORTHY__LOG__LEVEL", "off"),
        ],
    );
    assert_eq!(code, Some(0), "{said}");
    // What is not sound is not signed, and what is no key signs nothing.
    std::fs::write(model.join("profile.json"), "{}").unwrap();
    assert_eq!(run(&["sign", dir, "--key", key], &[]).0, Some(1));
    assert_eq!(run(&["sign", dir, "--key", dir], &[]).0, Some(1));
    assert_eq!(run(&["sign", dir, "--key", "Cargo.toml"], &[]).0, Some(1));
    // Nobody could have signed: said at the start.
    let (code, _, wrong) = run(&["check", dir], &required[1..]);
    assert_eq!(code, Some(2));
    assert!(wrong.contains("`models.signers` names nobody"), "{wrong}");
    let (code, _, wrong) =
        run(&["check", dir], &[("SEAWORTHY__MODELS__SIGNERS", "release ed25519:AAAA")]);
    assert_eq!(code, Some(2));
    assert!(wrong.contains("is no signer"), "{wrong}");
}
