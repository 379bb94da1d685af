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

#[test]
fn config_prints_what_is_in_force_and_where_it_comes_from() {
    let tmp = tempfile::tempdir().unwrap();
    let hash = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
    std::fs::write(tmp.path().join("default.toml"), "# Ours.\n[models]\nload = \"default\"\n")
        .unwrap();
    std::fs::write(
        tmp.path().join("test.toml"),
        "[server]\nmax_rows = 5\n\n[cors]\norigins = [\"https://a.example.com\"]\n",
    )
    .unwrap();
    let run = |more: &[&str]| {
        let dir = tmp.path().to_str().unwrap();
        let arguments = [&["--config-dir", dir, "config"], more].concat();
        seaworthy(&arguments)
            .env("SEAWORTHY_PROFILE", "test")
            .env("SEAWORTHY__SERVER__PORT", "81")
            .env("PORT", "82")
            .env("SEAWORTHY__LOG__LEVEL", "warn")
            .env("SEAWORTHY__LOG__SENSITIVE_KEY", "s3cr3t")
            .env("SEAWORTHY__ACCESS__KEYS", &format!("frontend sha256:{hash}"))
            .env("SEAWORTHY__ACCESS__KEYS_FILE", "keys.txt")
    };
    let outcome = run(&[]).outcome();
    assert_eq!(outcome.code, Some(0), "{}", outcome.stderr);
    for secret in ["s3cr3t", hash] {
        assert!(!outcome.stdout.contains(secret), "{}", outcome.stdout);
    }
    // Only what differs from the defaults, which others may add to.
    let set: Vec<String> = outcome
        .stdout
        .lines()
        .filter_map(|line| line.rsplit_once("  # "))
        .filter(|(_, origin)| *origin != "default")
        .map(|(set, origin)| format!("{} # {origin}", set.trim_end()))
        .map(|line| line.replace(tmp.path().to_str().unwrap(), "<tmp>"))
        .collect();
    assert_eq!(
        set,
        [
            "keys = \"…\" # the environment (SEAWORTHY__ACCESS__KEYS)",
            "keys_file = \"keys.txt\" # the environment (SEAWORTHY__ACCESS__KEYS_FILE)",
            "origins = [\"https://a.example.com\"] # `<tmp>/test.toml`, line 5",
            "level = \"warn\" # the environment (SEAWORTHY__LOG__LEVEL)",
            "sensitive_key = \"…\" # the environment (SEAWORTHY__LOG__SENSITIVE_KEY)",
            "load = \"default\" # `<tmp>/default.toml`, line 3",
            "max_rows = 5 # `<tmp>/test.toml`, line 2",
            "port = 82 # the environment (PORT)",
        ]
    );
    // It is a file of settings itself, but for what is hidden.
    let values: Vec<String> =
        outcome.stdout.lines().map(|line| line.replace("\"…\"", "\"\"")).collect();
    std::fs::write(tmp.path().join("default.toml"), values.join("\n")).unwrap();
    let again = seaworthy(&["--config-dir", tmp.path().to_str().unwrap(), "config"]).outcome();
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let outcome = run(&["--format", "json"]).outcome();
    let all: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(all["server.port"]["value"], 82);
    assert_eq!(all["server.port"]["origin"], "the environment (PORT)");
    assert_eq!(all["cors.origins"]["value"][0], "https://a.example.com");
    assert_eq!(all["log.sensitive_key"]["hidden"], true);
    assert!(!outcome.stdout.contains("s3cr3t") && !outcome.stdout.contains(hash));
    // What is wrong is said as at the start.
    let wrong = run(&[]).env("SEAWORTHY__SERVER__MAX_ROWS", "0").outcome();
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.stderr.contains("`server.max_rows` = 0"), "{}", wrong.stderr);
    fault!(
        "A secret in a wrong or right setting",
        "sensitive key and key hashes set, `config` in both forms",
        "never printed",
        "as expected"
    );
}

#[test]
fn serve_check_starts_nothing_and_says_whether_it_would() {
    let tmp = tempfile::tempdir().unwrap();
    let model = copy_model(tmp.path());
    let models = tmp.path().to_str().unwrap();
    // The port is taken: a server that runs may be asked about its next start.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let log = tmp.path().join("predictions.jsonl");
    let check = |more: &[(&str, &str)]| {
        let run = seaworthy(&["serve", "--check"])
            .env("SEAWORTHY__MODELS__DIR", models)
            .env("SEAWORTHY__SERVER__HOST", "127.0.0.1")
            .env("SEAWORTHY__LOG__LEVEL", "off")
            .env("SEAWORTHY__LOG__PREDICTIONS", log.to_str().unwrap())
            .env("PORT", &port);
        let outcome = more.iter().fold(run, |run, (key, value)| run.env(key, value)).outcome();
        (outcome.code, outcome.stdout, outcome.stderr)
    };
    let (code, said, wrong) = check(&[]);
    assert_eq!((code, wrong.as_str()), (Some(0), ""));
    assert_eq!(
        said,
        format!(
            "it would start: house-prices@3.2.0 proven, on http://127.0.0.1:{port}, for everybody\n"
        )
    );
    assert!(!log.exists());
    let (code, said, wrong) = check(&[("SEAWORTHY__SERVER__PORTS", "1")]);
    assert_eq!((code, said.as_str()), (Some(2), ""));
    assert!(wrong.contains("unknown setting"), "{wrong}");
    let (code, said, wrong) = check(&[("SEAWORTHY__ACCESS__KEYS_FILE", "/nowhere/keys")]);
    assert_eq!((code, said.as_str()), (Some(2), ""));
    assert!(wrong.contains("`/nowhere/keys` (access.keys_file) cannot be read"), "{wrong}");
    let tls = [
        ("SEAWORTHY__SERVER__TLS_CERTIFICATE", "/nowhere/c"),
        ("SEAWORTHY__SERVER__TLS_KEY", "/nowhere/k"),
    ];
    assert_eq!(check(&tls).0, Some(2));
    let golden = model.join("golden.jsonl");
    std::fs::write(&golden, std::fs::read_to_string(&golden).unwrap().replacen("1", "2", 1))
        .unwrap();
    let (code, said, wrong) = check(&[]);
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(wrong.contains("is not the file that SHA256SUMS lists"), "{wrong}");
    fault!(
        "A deployment that would not start",
        "`serve --check` with a wrong setting, absent key file, absent certificate, spoiled model; port taken, log not there",
        "exit 2, 2, 2, 1; exit 0 when all is well; no port, no log file",
        "as expected"
    );
}
