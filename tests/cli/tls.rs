//! TLS from the command line: files that cannot be used, `healthcheck`, SIGHUP.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::assert_shown;
use super::helpers::{Server, seaworthy};
use crate::fault::fault;

fn write_pair(dir: &Path, name: &str) {
    let pair = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join(format!("{name}.crt")), pair.cert.pem()).unwrap();
    std::fs::write(dir.join(format!("{name}.key")), pair.signing_key.serialize_pem()).unwrap();
}

#[test]
fn a_certificate_that_cannot_be_used_stops_the_start() {
    let tmp = tempfile::tempdir().unwrap();
    write_pair(tmp.path(), "one");
    write_pair(tmp.path(), "two");
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
    write_pair(tmp.path(), "one");
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
    let shown = || seen(server.port);
    let before = shown();
    write_pair(tmp.path(), "one");
    assert_eq!(shown(), before);
    let killed = Command::new("kill").args(["-HUP", &server.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let started = Instant::now();
    while shown() == before {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "the certificate is still the old one"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(check(true, "/health").0, Some(0));
}

/// The certificate that a server shows.
fn seen(port: u16) -> Vec<u8> {
    use rustls::pki_types::ServerName;
    use std::sync::Arc;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut config = config;
    let seen = Arc::new(Seen::default());
    config.dangerous().set_certificate_verifier(Arc::clone(&seen) as _);
    let mut session = rustls::ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    let _refused = session.complete_io(&mut socket);
    seen.0.lock().unwrap().clone()
}

/// Notes the certificate, and goes no further.
#[derive(Debug, Default)]
struct Seen(std::sync::Mutex<Vec<u8>>);

impl rustls::client::danger::ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        certificate: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = certificate.to_vec();
        Err(rustls::Error::General("seen".to_owned()))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("seen".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("seen".to_owned()))
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::ring::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
