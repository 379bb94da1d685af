//! TLS from the command line: files that cannot be used, `healthcheck`, SIGHUP.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConnection;
use rustls::pki_types::{CertificateDer, ServerName};

use super::assert_shown;
use super::helpers::{Server, seaworthy};
use crate::fault::fault;
use crate::tls_files::{params, trusting, write_pair};

fn write_in(dir: &Path, name: &str) -> CertificateDer<'static> {
    let file = |extension: &str| dir.join(format!("{name}.{extension}"));
    write_pair(&file("crt"), &file("key"), params())
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start() {
    let tmp = tempfile::tempdir().unwrap();
    write_in(tmp.path(), "one");
    write_in(tmp.path(), "two");
    std::fs::write(tmp.path().join("empty"), "").unwrap();
    let broken = std::fs::read_to_string(tmp.path().join("one.crt")).unwrap().replace("MII", "!!!");
    std::fs::write(tmp.path().join("broken.crt"), broken).unwrap();
    let shown = [
        ("one.crt", "two.key"),
        ("one.key", "one.crt"),
        ("one.crt", "one.crt"),
        ("one.crt", "absent.key"),
        ("absent.crt", "one.key"),
        ("empty", "one.key"),
        ("one.crt", "empty"),
        ("broken.crt", "one.key"),
        (".", "one.key"),
        ("one.crt", ""),
        ("", "one.key"),
    ]
    .map(|(certificate, key)| {
        let path = |name: &str| match name {
            "" => String::new(),
            name => tmp.path().join(name).display().to_string(),
        };
        seaworthy(&["--quiet", "serve", "house-prices@3.2.0"])
            .env("SEAWORTHY__LOG__LEVEL", "off")
            .env("PORT", "0")
            .env("SEAWORTHY__SERVER__TLS_CERTIFICATE", &path(certificate))
            .env("SEAWORTHY__SERVER__TLS_KEY", &path(key))
            .replace(tmp.path(), "<tmp>")
            .show()
    });
    assert_shown!(shown.join("\n"));
    fault!(
        "Certificate or key that cannot be used",
        "absent, empty, swapped, of another pair, not PEM, a directory, only one of the two set",
        "no start, exit 2, file and reason named",
        "as expected"
    );
}

#[test]
fn healthcheck_asks_a_server_with_tls_and_sighup_renews_its_certificate() {
    let tmp = tempfile::tempdir().unwrap();
    let first = write_in(tmp.path(), "one");
    let (certificate, key) = (tmp.path().join("one.crt"), tmp.path().join("one.key"));
    let tls = [
        ("SEAWORTHY__SERVER__TLS_CERTIFICATE", certificate.to_str().unwrap()),
        ("SEAWORTHY__SERVER__TLS_KEY", key.to_str().unwrap()),
        ("SEAWORTHY__SERVER__TLS_RELOAD_S", "0"),
    ];
    let server = Server::start_in(&tls);
    let check = |is_tls: bool, path: &str| {
        let mut run =
            seaworthy(&["healthcheck", "--path", path]).env("PORT", &server.port.to_string());
        for (key, value) in tls.iter().filter(|_| is_tls) {
            run = run.env(key, value);
        }
        let outcome = run.outcome();
        (outcome.code, outcome.stderr)
    };
    let (code, said) = check(true, "/health");
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("\"status\":\"ready\""), "{said}");
    let (code, said) = check(true, "/nothing");
    assert_eq!(code, Some(1));
    assert!(
        said.contains(&format!("https://127.0.0.1:{}/nothing answers 404", server.port)),
        "{said}"
    );
    // Who asks in plain text gets no answer.
    assert_eq!(check(false, "/health").0, Some(1));
    let shows = |certificate: &CertificateDer<'static>| {
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::new(trusting(certificate)), name).unwrap();
        let mut socket = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        session.complete_io(&mut socket).is_ok()
    };
    assert!(shows(&first));
    let second = write_in(tmp.path(), "one");
    assert!(shows(&first) && !shows(&second));
    let killed = Command::new("kill").args(["-HUP", &server.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let started = Instant::now();
    while !shows(&second) {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "the certificate is still the old one"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(check(true, "/health").0, Some(0));
}
