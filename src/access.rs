//! Who may ask: keys with their quotas, and the origins of web pages.
//!
//! A key is known by its SHA-256 only. It has 256 random bits, so that a fast hash without salt is enough: there is nothing to guess. Knows
//! nothing of HTTP; the time is given to it.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SecureRandom as _;
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

/// What a key begins with, so that people and programs that search for leaked secrets know one when they see it.
pub const KEY_PREFIX: &str = "sw_";
/// Nothing longer is taken for a key.
const LONGEST_KEY: usize = 256;

/// Who may ask. The default lets everybody in, from no other origin.
#[derive(Debug, Default)]
pub struct Access {
    /// The keys; none when nobody needs one.
    pub keys: Option<Keys>,
    /// Whether the pages for people and the OpenAPI document need no key.
    pub has_open_docs: bool,
    /// Whether `/metrics` needs no key: it has a port of its own, which is not for clients.
    pub has_open_metrics: bool,
    /// The web pages that may read answers.
    pub origins: Option<Origins>,
}

/// Why a list of keys or of origins cannot be used. Says nothing of what stands there, which may be a secret in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// An entry is not a key.
    #[error(
        "entry {entry}: {problem}; expected `NAME sha256:<64 hex digits> [LIMIT] [models=A+B]` as `seaworthy key new NAME` prints it"
    )]
    Key {
        /// Which entry, from 1 on.
        entry: usize,
        /// What is wrong.
        problem: &'static str,
    },
    /// Two entries have the same name, or the same key.
    #[error("entry {entry} has the {what} of entry {other}")]
    Twice {
        /// The later one, from 1 on.
        entry: usize,
        /// The earlier one.
        other: usize,
        /// What they share.
        what: &'static str,
    },
    /// A limit is none.
    #[error("expected a limit such as `20/s`, `600/m` or `10000/h`, found {found:?}")]
    Limit {
        /// What there is.
        found: String,
    },
    /// An origin is none.
    #[error(
        "{found:?} is no origin; expected one such as `https://app.example.com`, exactly as browsers send it: lower-case, without a path or a slash at the end"
    )]
    Origin {
        /// What there is.
        found: String,
    },
}

/// So many requests in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// How many requests.
    pub requests: u32,
    /// In how long.
    pub window: Duration,
}

impl FromStr for Limit {
    type Err = AccessError;

    /// Reads `20/s`, `600/m` or `10000/h`.
    fn from_str(text: &str) -> Result<Self, AccessError> {
        let parsed = text.split_once('/').and_then(|(requests, unit)| {
            let seconds = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            };
            let requests =
                requests.parse().ok().filter(|requests| (1..=1_000_000).contains(requests))?;
            Some(Self { requests, window: Duration::from_secs(seconds) })
        });
        parsed.ok_or_else(|| AccessError::Limit { found: text.chars().take(40).collect() })
    }
}

/// How much of a quota is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// The quota.
    pub limit: Limit,
    /// Requests that are taken at once.
    pub remaining: u32,
    /// Until all of the quota is there again.
    pub full_after: Duration,
    /// Until one request is taken; none when this one was.
    pub retry_after: Option<Duration>,
}

/// What is left of a limit: a bucket that fills evenly, so that nobody gets twice the quota around the turn of a minute.
#[derive(Debug)]
struct Quota {
    limit: Limit,
    /// What one request takes of the window, in nanoseconds.
    share: u64,
    epoch: Instant,
    /// When the bucket is full again, in nanoseconds after the epoch.
    full_at: AtomicU64,
}

impl Quota {
    fn new(limit: Limit) -> Self {
        let share = nanos(limit.window) / u64::from(limit.requests);
        Self { limit, share, epoch: Instant::now(), full_at: AtomicU64::new(0) }
    }

    /// Takes a request out of the bucket, if there is one.
    fn take(&self, now: Instant) -> Standing {
        let now = nanos(now.saturating_duration_since(self.epoch));
        let window = nanos(self.limit.window);
        let taken = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at| {
            let next = full_at.max(now) + self.share;
            (next <= now + window).then_some(next)
        });
        let standing = |full_at: u64, retry_after| {
            let left = (now + window).saturating_sub(full_at) / self.share;
            Standing {
                limit: self.limit,
                remaining: u32::try_from(left).unwrap_or(u32::MAX).min(self.limit.requests),
                full_after: Duration::from_nanos(full_at.saturating_sub(now)),
                retry_after,
            }
        };
        match taken {
            Ok(before) => standing(before.max(now) + self.share, None),
            Err(full_at) => {
                let wait = (full_at + self.share).saturating_sub(now + window);
                standing(full_at, Some(Duration::from_nanos(wait)))
            }
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A key, as far as the server knows it.
#[derive(Debug)]
pub struct Key {
    name: String,
    digest: [u8; 32],
    quota: Option<Quota>,
    /// The models it may ask; none for all.
    models: Option<Vec<String>>,
}

impl Key {
    /// Its name, for the log: letters, digits, `.`, `_` and `-`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it may ask this model.
    #[must_use]
    pub fn may_ask(&self, model: &str) -> bool {
        self.models.as_ref().is_none_or(|models| models.iter().any(|known| known == model))
    }

    /// Counts a request. `None` when the key has no quota.
    #[must_use]
    pub fn take(&self, now: Instant) -> Option<Standing> {
        self.quota.as_ref().map(|quota| quota.take(now))
    }
}

/// All keys.
#[derive(Debug)]
pub struct Keys(Vec<Arc<Key>>);

impl Keys {
    /// Reads a list of keys: one a line or between commas, `NAME sha256:<64 hex digits> [LIMIT] [models=A+B]`. What follows a `#` is
    /// left out. A key without a limit of its own has the default one.
    ///
    /// # Errors
    /// The first entry that is no key, or that there is twice.
    pub fn parse(text: &str, default_limit: Option<Limit>) -> Result<Self, AccessError> {
        let entries = text
            .lines()
            .map(|line| line.split('#').next().unwrap_or_default())
            .flat_map(|line| line.split(','))
            .map(str::trim)
            .filter(|entry| !entry.is_empty());
        let mut keys: Vec<Arc<Key>> = Vec::new();
        for (at, entry) in entries.enumerate() {
            let key = parse_key(entry, default_limit)
                .map_err(|problem| AccessError::Key { entry: at + 1, problem })?;
            for (other, known) in keys.iter().enumerate() {
                let what = if known.name == key.name {
                    "name"
                } else if known.digest == key.digest {
                    "hash"
                } else {
                    continue;
                };
                return Err(AccessError::Twice { entry: at + 1, other: other + 1, what });
            }
            keys.push(Arc::new(key));
        }
        Ok(Self(keys))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The key that somebody shows. Takes the same time whichever of them it is, and whether it is any.
    #[must_use]
    pub fn find(&self, shown: &[u8]) -> Option<&Arc<Key>> {
        if shown.len() > LONGEST_KEY {
            return None;
        }
        let digest: [u8; 32] = Sha256::digest(shown).into();
        let mut found = u64::MAX;
        for (at, key) in (0_u64..).zip(&self.0) {
            found.conditional_assign(&at, key.digest.ct_eq(&digest));
        }
        usize::try_from(found).ok().and_then(|found| self.0.get(found))
    }
}

fn parse_key(entry: &str, default_limit: Option<Limit>) -> Result<Key, &'static str> {
    let mut words = entry.split_whitespace();
    let name = words.next().unwrap_or_default();
    if !is_key_name(name) {
        return Err("the name is not 1 to 64 characters of `A-Z a-z 0-9 . _ -`");
    }
    if name.starts_with(KEY_PREFIX) {
        return Err(
            "it begins with a key, and not with a name; a key itself is never written down here",
        );
    }
    let digest = words
        .next()
        .and_then(|word| word.strip_prefix("sha256:"))
        .and_then(from_hex)
        .ok_or("the second word is not `sha256:` and 64 hex digits")?;
    let (mut limit, mut models) = (default_limit, None);
    for word in words {
        if let Some(names) = word.strip_prefix("models=") {
            models = Some(names.split('+').map(str::to_owned).collect());
        } else {
            limit = Some(word.parse().map_err(|_no_limit| {
                "after the hash come a limit such as `20/s`, `600/m` or `10000/h`, and `models=`"
            })?);
        }
    }
    Ok(Key { name: name.to_owned(), digest, quota: limit.map(Quota::new), models })
}

/// Whether a key may have this name.
#[must_use]
pub fn is_key_name(name: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"._-".contains(&c);
    (1..=64).contains(&name.len()) && name.bytes().all(plain)
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(bytes)
}

/// A fresh key of 256 random bits, and what the settings say of it: `sha256:<64 hex digits>`.
///
/// # Errors
/// The system gives no random numbers.
pub fn new_key() -> Result<(String, String), NoRandomNumbers> {
    let mut bytes = [0; 32];
    ring::rand::SystemRandom::new().fill(&mut bytes).map_err(|_unspecified| NoRandomNumbers)?;
    let key = format!("{KEY_PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let digest = digest(&key);
    Ok((key, digest))
}

/// `sha256:` and the SHA-256 of a key in hex.
fn digest(key: &str) -> String {
    let hex: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The system gives no random numbers.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandomNumbers;

/// The web pages that may read answers, by their origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origins {
    known: Vec<String>,
    /// How long a browser may remember what it was allowed.
    pub max_age: Duration,
}

impl Origins {
    /// Takes a list of exact origins. `None` when there is none in it.
    ///
    /// # Errors
    /// The first that is no origin as browsers send it.
    pub fn parse(origins: &[String], max_age: Duration) -> Result<Option<Self>, AccessError> {
        for origin in origins {
            if !is_origin(origin) {
                return Err(AccessError::Origin { found: origin.chars().take(100).collect() });
            }
        }
        Ok((!origins.is_empty()).then(|| Self { known: origins.to_vec(), max_age }))
    }

    /// Whether pages of this origin may read answers.
    #[must_use]
    pub fn allow(&self, origin: &[u8]) -> bool {
        self.known.iter().any(|known| known.as_bytes() == origin)
    }
}

fn is_origin(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once("://") else { return false };
    let (host, port) = match rest.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (rest, None),
    };
    let is_lower = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let default_port = match scheme {
        "http" => Some("80"),
        "https" => Some("443"),
        _ => None,
    };
    !scheme.is_empty()
        && scheme.bytes().all(|c| is_lower(c) || b"+-.".contains(&c))
        && !host.is_empty()
        && host.bytes().all(|c| is_lower(c) || b".-_[]:".contains(&c))
        && (host.starts_with('[') == host.contains(':'))
        && port.is_none_or(|port| {
            port.parse::<u16>().is_ok_and(|number| number.to_string() == port)
                && Some(port) != default_port
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn problem(text: &str) -> String {
        Keys::parse(text, None).unwrap_err().to_string()
    }

    #[test]
    fn a_fresh_key_is_found_again_and_nothing_else_is() {
        let (key, digest) = new_key().unwrap();
        let (other, other_digest) = new_key().unwrap();
        assert_ne!(key, other);
        assert_eq!(key.len(), KEY_PREFIX.len() + 43);
        let text = format!("# the keys\none {digest}\ntwo {other_digest} 5/s models=a+b # slow\n");
        let keys = Keys::parse(&text, None).unwrap();
        assert_eq!(keys.len(), 2);
        assert_eq!(keys.find(key.as_bytes()).unwrap().name(), "one");
        let two = keys.find(other.as_bytes()).unwrap();
        assert_eq!(two.name(), "two");
        assert!(two.may_ask("a") && two.may_ask("b") && !two.may_ask("c"));
        for wrong in ["", "sw_", &key[..key.len() - 1], &digest, &"x".repeat(1000)] {
            assert!(keys.find(wrong.as_bytes()).is_none(), "{wrong}");
        }
    }

    #[test]
    fn an_entry_that_is_no_key_is_named_by_its_number_and_not_shown() {
        let (key, _) = new_key().unwrap();
        assert!(
            problem(&format!("a {DIGEST}, b sha256:12")).starts_with("entry 2: the second word")
        );
        assert!(
            problem(&format!("a {DIGEST}, a {DIGEST}"))
                .ends_with("entry 2 has the name of entry 1")
        );
        assert!(problem(&format!("a {DIGEST}\nb {DIGEST}")).ends_with("the hash of entry 1"));
        assert!(problem(&format!("a {DIGEST} 5/d")).contains("a limit such as"));
        assert!(problem(&format!("a {DIGEST} 0/s")).contains("a limit such as"));
        for secret in [key.clone(), format!("a {key}"), format!("a:{key}")] {
            let problem = problem(&secret);
            assert!(problem.starts_with("entry 1: ") && !problem.contains(&key), "{problem}");
        }
    }

    #[test]
    fn a_quota_fills_evenly() {
        let quota = Quota::new("60/m".parse().unwrap());
        let start = quota.epoch + Duration::from_secs(10);
        for left in (0..60).rev() {
            let standing = quota.take(start);
            assert_eq!((standing.remaining, standing.retry_after), (left, None));
        }
        let refused = quota.take(start);
        assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
        assert_eq!((refused.remaining, refused.full_after), (0, Duration::from_secs(60)));
        // A refused request takes nothing.
        let later = start + Duration::from_millis(1500);
        assert_eq!(quota.take(later).retry_after, None);
        assert_eq!(quota.take(later).retry_after, Some(Duration::from_millis(500)));
        let full = quota.take(start + Duration::from_secs(3600));
        assert_eq!((full.remaining, full.full_after), (59, Duration::from_secs(1)));
    }

    #[test]
    fn an_origin_is_what_browsers_send() {
        for good in [
            "https://app.example.com",
            "http://localhost:3000",
            "http://[::1]:8080",
            "capacitor://localhost",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "*",
            "null",
            "",
            "https://",
            "app.example.com",
            "https://app.example.com/",
            "https://App.example.com",
            "https://app.example.com:443",
            "http://a:80",
            "http://a:080",
            "https://*.example.com",
            "https://a b",
            "http://a/b",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }
}
