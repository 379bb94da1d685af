//! Certificates for `localhost`, and clients that trust them.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

/// What a certificate says that nothing is wrong with.
pub(crate) fn params() -> CertificateParams {
    CertificateParams::new(vec!["localhost".to_owned()]).unwrap()
}

/// Writes a fresh certificate and its key, as a program that renews them does: whole files take the place of the old ones.
pub(crate) fn write_pair(
    certificate: &Path,
    key: &Path,
    params: CertificateParams,
) -> CertificateDer<'static> {
    let pair = KeyPair::generate().unwrap();
    let signed = params.self_signed(&pair).unwrap();
    for (path, text) in [(key, pair.serialize_pem()), (certificate, signed.pem())] {
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, path).unwrap();
    }
    signed.der().clone()
}

/// A client that trusts this certificate only.
pub(crate) fn trusting(certificate: &CertificateDer<'static>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}
