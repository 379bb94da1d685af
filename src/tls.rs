//! TLS, where there is no proxy to end it: the certificate and key that the server shows, read again when their files change.
//!
//! Rustls with the primitives of ring; TLS 1.2 and 1.3. Knows nothing of sockets.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    ServerConfig, SignatureScheme,
};
use tokio_rustls::TlsAcceptor;

/// Why files cannot be used for TLS. Never shows what is in them.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("`{}` ({setting}) cannot be read", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Where it is named.
        setting: &'static str,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("`{}` ({setting}): {problem}", .path.display())]
    Unsound {
        /// The file.
        path: PathBuf,
        /// Where it is named.
        setting: &'static str,
        /// What was found, what was expected.
        problem: String,
    },
    /// Certificate and key are not of one pair, or of a kind that is not supported.
    #[error("`{}` and `{}` cannot be used together: {problem}", .certificate.display(), .key.display())]
    Pair {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why not.
        problem: String,
    },
    /// The library cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[source] rustls::Error),
}

const CERTIFICATE: &str = "server.tls_certificate";
const KEY: &str = "server.tls_key";
/// A longer file is no chain of certificates.
const LONGEST: u64 = 1024 * 1024;

/// What a server shows of itself: a chain of certificates, with its key.
#[derive(Debug, Clone)]
pub struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    shown: Arc<Shown>,
    config: Arc<ServerConfig>,
}

#[derive(Debug)]
struct Shown {
    now: RwLock<Pair>,
}

#[derive(Debug, Clone)]
struct Pair {
    certified: Arc<CertifiedKey>,
    modified: Option<(SystemTime, SystemTime)>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let now = self.now.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&now.certified))
    }
}

impl Identity {
    /// Reads a chain of certificates, the server's own first, and its private key (PKCS#8, PKCS#1 or SEC1), both PEM.
    ///
    /// # Errors
    /// A file cannot be read, holds something else, or the two are not of one pair.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let shown = Arc::new(Shown { now: RwLock::new(read(certificate, key)?) });
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Setup)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&shown) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let config = Arc::new(config);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), shown, config })
    }

    /// Reads the files again. Connections that are open keep what they were shown.
    ///
    /// # Errors
    /// As [`Self::open`]; what was shown before still is.
    pub fn reload(&self) -> Result<(), TlsError> {
        let read = read(&self.certificate, &self.key)?;
        *self.shown.now.write().unwrap_or_else(PoisonError::into_inner) = read;
        Ok(())
    }

    /// Whether a file has changed since it was read.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        let read = self.shown.now.read().unwrap_or_else(PoisonError::into_inner).modified;
        modified(&self.certificate, &self.key).is_some_and(|found| read != Some(found))
    }

    /// What is wrong with the time of the certificate, if anything: it has expired, or is for later.
    #[must_use]
    pub fn is_out_of_date(&self) -> bool {
        let pair =
            Arc::clone(&self.shown.now.read().unwrap_or_else(PoisonError::into_inner).certified);
        let Some((own, others)) = pair.cert.split_first() else { return false };
        // Its time is looked at before its name and its issuer, so that it does not matter who that is.
        let mut roots = RootCertStore::empty();
        let _not_an_issuer = roots.add(own.clone());
        let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let Ok(verifier) = builder.build() else { return false };
        let checked = verifier.verify_server_cert(own, others, &local(), &[], UnixTime::now());
        matches!(
            checked,
            Err(rustls::Error::InvalidCertificate(
                CertificateError::Expired
                    | CertificateError::ExpiredContext { .. }
                    | CertificateError::NotValidYet
                    | CertificateError::NotValidYetContext { .. }
            ))
        )
    }

    /// Answers connections: with HTTP/2 or HTTP/1.1, as the client prefers.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn local() -> ServerName<'static> {
    ServerName::from(std::net::IpAddr::from(std::net::Ipv4Addr::LOCALHOST))
}

fn modified(certificate: &Path, key: &Path) -> Option<(SystemTime, SystemTime)> {
    let of = |path: &Path| std::fs::metadata(path).and_then(|found| found.modified()).ok();
    Some((of(certificate)?, of(key)?))
}

fn read(certificate: &Path, key: &Path) -> Result<Pair, TlsError> {
    // Before the files, so that a change while they are read is seen as one.
    let modified = modified(certificate, key);
    let unsound = |path: &Path, setting, problem: String| TlsError::Unsound {
        path: path.to_owned(),
        setting,
        problem,
    };
    let text = read_file(certificate, CERTIFICATE)?;
    let chain = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unsound(certificate, CERTIFICATE, format!("not PEM: {error}")))?;
    if chain.is_empty() {
        let problem = "expected `-----BEGIN CERTIFICATE-----`, the server's own first, then those of its issuers";
        return Err(unsound(certificate, CERTIFICATE, problem.to_owned()));
    }
    let text = read_file(key, KEY)?;
    let private = PrivateKeyDer::from_pem_slice(&text).map_err(|_not_shown| {
        let problem =
            "expected a private key as PEM, `-----BEGIN PRIVATE KEY-----`, without a password";
        unsound(key, KEY, problem.to_owned())
    })?;
    let pair =
        CertifiedKey::from_der(chain, private, &provider()).map_err(|error| TlsError::Pair {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            problem: match error {
                rustls::Error::InconsistentKeys(_) => {
                    "the key is not that of the certificate".to_owned()
                }
                other => other.to_string(),
            },
        })?;
    Ok(Pair { certified: Arc::new(pair), modified })
}

fn read_file(path: &Path, setting: &'static str) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), setting, source };
    let unsound = |problem: String| TlsError::Unsound { path: path.to_owned(), setting, problem };
    let found = std::fs::metadata(path).map_err(failed)?;
    if !found.is_file() {
        return Err(unsound("it is not a regular file".to_owned()));
    }
    if found.len() > LONGEST {
        return Err(unsound(format!("it is longer than {LONGEST} bytes")));
    }
    std::fs::read(path).map_err(failed)
}

/// The client's side of a connection to this very machine. Whoever answers there is believed: nothing secret is sent, and the name in the
/// certificate is that of the world outside.
#[derive(Debug)]
pub struct Session(ClientConnection);

impl Session {
    /// Reads and writes over a socket; the handshake comes with the first byte.
    pub fn stream<'a, S: Read + Write>(&'a mut self, socket: &'a mut S) -> impl Read + Write + 'a {
        rustls::Stream::new(&mut self.0, socket)
    }
}

/// Begins a [`Session`].
///
/// # Errors
/// The library cannot be set up.
pub fn to_this_machine() -> Result<Session, TlsError> {
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider())))
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), local()).map(Session).map_err(TlsError::Setup)
}

/// Takes every certificate whose key the server has.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
