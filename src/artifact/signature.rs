//! Who stands for an artifact: signatures by ed25519 over the bytes of `SHA256SUMS`, which names the hash of every other file.
//!
//! They stand in the file `SIGNATURES`, one a line: `ed25519 <public key> <signature>`, both as base64. A signature that is there must be
//! right, whoever it is by; whether one by somebody known must be there is a setting.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SecureRandom as _;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use super::{Artifact, ArtifactError, SIGNATURES, SUMS};

const ALGORITHM: &str = "ed25519";
/// More signatures are no sound file.
const MOST: usize = 16;
/// What PKCS#8 has before the 32 bytes of an ed25519 key (RFC 8410).
const PKCS8_HEAD: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{ALGORITHM}:{}", STANDARD.encode(self.0))
    }
}

/// A name that stands for a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    /// Its name.
    pub name: String,
    key: PublicKey,
}

/// What is no signer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{found:?} is no signer; expected `NAME ed25519:<44 characters of base64>` as `seaworthy key signing FILE` prints it"
)]
pub struct NoSigner {
    found: String,
}

/// Whose signatures count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trust {
    signers: Vec<Signer>,
    is_required: bool,
}

impl Trust {
    /// Reads signers, `NAME ed25519:<base64>` each.
    ///
    /// # Errors
    /// The first that is none.
    pub fn new(signers: &[String], is_required: bool) -> Result<Self, NoSigner> {
        let signers = signers.iter().map(|text| {
            let wrong = || NoSigner { found: text.chars().take(100).collect() };
            let (name, key) = text.trim().split_once(char::is_whitespace).ok_or_else(wrong)?;
            let key = key.trim().strip_prefix("ed25519:").and_then(decode).ok_or_else(wrong)?;
            Ok(Signer { name: name.to_owned(), key: PublicKey(key) })
        });
        Ok(Self { signers: signers.collect::<Result<_, _>>()?, is_required })
    }

    /// The names of those who have signed an artifact and are known.
    #[must_use]
    pub fn names<'a>(&'a self, artifact: &Artifact) -> Vec<&'a str> {
        let has_signed = |signer: &&Signer| artifact.signatures().contains(&signer.key);
        self.signers.iter().filter(has_signed).map(|signer| signer.name.as_str()).collect()
    }

    /// What a key is called, if it is known.
    #[must_use]
    pub fn name(&self, key: &PublicKey) -> Option<&str> {
        let found = self.signers.iter().find(|signer| signer.key == *key);
        found.map(|signer| signer.name.as_str())
    }

    /// Whether somebody known must have signed.
    #[must_use]
    pub fn is_required(&self) -> bool {
        self.is_required
    }

    /// Whether anybody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.signers.is_empty()
    }

    /// Lets an artifact pass, or not.
    ///
    /// # Errors
    /// Nobody known has signed it, and somebody must have.
    pub fn check(&self, artifact: &Artifact) -> Result<(), ArtifactError> {
        if !self.is_required || !self.names(artifact).is_empty() {
            return Ok(());
        }
        let others: Vec<String> = artifact.signatures().iter().map(PublicKey::to_string).collect();
        let found = if others.is_empty() {
            "it is not signed".to_owned()
        } else {
            format!("it is signed only by {}", others.join(", "))
        };
        let known =
            self.signers.iter().map(|signer| signer.name.as_str()).collect::<Vec<_>>().join(", ");
        Err(ArtifactError::Untrusted { path: artifact.dir().to_owned(), found, known })
    }
}

fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

/// Reads the file of signatures and checks each against the bytes of `SHA256SUMS`.
pub(super) fn verify(text: &[u8], sums: &[u8]) -> Result<Vec<PublicKey>, String> {
    let text = std::str::from_utf8(text).map_err(|error| format!("not UTF-8: {error}"))?;
    let mut keys = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let wrong = |problem: &str| format!("line {}: {problem}", at + 1);
        let mut words = line.split(' ');
        let (Some(ALGORITHM), Some(key), Some(signature), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong("expected `ed25519 <public key> <signature>`, both as base64"));
        };
        let key = decode(key).ok_or_else(|| wrong("the public key is not 32 bytes as base64"))?;
        let signature: [u8; 64] =
            decode(signature).ok_or_else(|| wrong("the signature is not 64 bytes as base64"))?;
        UnparsedPublicKey::new(&ED25519, &key).verify(sums, &signature).map_err(|_wrong| {
            wrong(&format!("the signature by {} is not one of this {SUMS}", PublicKey(key)))
        })?;
        keys.push(PublicKey(key));
    }
    if keys.is_empty() || keys.len() > MOST {
        return Err(format!("{} signatures, expected 1 to {MOST}", keys.len()));
    }
    Ok(keys)
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The key's file cannot be read or written.
    #[error("`{}` cannot be read or written", .path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The file holds no key.
    #[error("`{}` holds no private key for ed25519; expected PEM, `-----BEGIN PRIVATE KEY-----`, without a password", .path.display())]
    NoKey {
        /// The file.
        path: std::path::PathBuf,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    NoRandomNumbers,
}

/// A private key.
pub struct SigningKey(Ed25519KeyPair);

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SigningKey").field(&self.public().to_string()).finish()
    }
}

impl SigningKey {
    /// Makes a fresh key and writes it to a file that only its owner may read, and that was not there: PKCS#8 as PEM.
    ///
    /// # Errors
    /// The file is there, or cannot be written.
    pub fn create(path: &Path) -> Result<Self, SignError> {
        use std::io::Write as _;
        use std::os::unix::fs::OpenOptionsExt as _;
        let mut der = PKCS8_HEAD.to_vec();
        let mut secret = [0; 32];
        let random = ring::rand::SystemRandom::new();
        random.fill(&mut secret).map_err(|_unspecified| SignError::NoRandomNumbers)?;
        der.extend_from_slice(&secret);
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der)
            .map_err(|_rejected| SignError::NoRandomNumbers)?;
        let failed = |source| SignError::File { path: path.to_owned(), source };
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        let text = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der));
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        Ok(Self(key))
    }

    /// Reads a key, as [`Self::create`] or `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// The file cannot be read, or holds something else.
    pub fn open(path: &Path) -> Result<Self, SignError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SignError::File { path: path.to_owned(), source })?;
        let between = text.split_once(BEGIN).and_then(|(_, rest)| rest.split_once(END));
        between
            .map(|(base64, _)| base64.split_whitespace().collect::<String>())
            .and_then(|base64| STANDARD.decode(base64).ok())
            .and_then(|der| Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).ok())
            .map(Self)
            .ok_or_else(|| SignError::NoKey { path: path.to_owned() })
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        let mut key = [0; 32];
        key.copy_from_slice(self.0.public_key().as_ref());
        PublicKey(key)
    }

    /// Signs an artifact, beside the signatures that it has; one by this key is replaced.
    ///
    /// # Errors
    /// The file of signatures cannot be written.
    pub fn sign(&self, artifact: &Artifact) -> Result<(), SignError> {
        let path = artifact.dir().join(SIGNATURES);
        let failed = |source| SignError::File { path: path.clone(), source };
        let sums = std::fs::read(artifact.dir().join(SUMS)).map_err(failed)?;
        let public = STANDARD.encode(self.public().0);
        let signature = STANDARD.encode(self.0.sign(&sums));
        let mut text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(failed(error)),
        };
        text = text
            .lines()
            .filter(|line| !line.contains(&public))
            .map(|line| format!("{line}\n"))
            .collect();
        text.push_str(&format!("{ALGORITHM} {public} {signature}\n"));
        std::fs::write(&path, text).map_err(failed)
    }
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
