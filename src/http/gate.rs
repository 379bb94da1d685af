//! Who is let in, before a byte of the body is read; and what an answer tells a browser and a client with a quota.
//!
//! The router's outermost layer and the direct way of `POST /v1/predict` both pass here. Without keys and origins it costs two looks at
//! nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    AUTHORIZATION, ORIGIN, RETRY_AFTER, VARY, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::problem::ApiError;
use crate::access::{Access, Key, Standing};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Who asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Caller {
    key: Option<Arc<Key>>,
    standing: Option<Standing>,
}

impl Caller {
    /// The name of the key, for the log.
    pub(super) fn key_name(&self) -> Option<&str> {
        self.key.as_deref().map(Key::name)
    }

    /// Whether it may ask this model.
    ///
    /// # Errors
    /// Its key is for others.
    pub(super) fn may_ask(&self, model: &str) -> Result<(), ApiError> {
        match &self.key {
            Some(key) if !key.may_ask(model) => {
                Err(ApiError::Forbidden { key: key.name().to_owned(), model: model.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

/// Who asks, and why not.
#[derive(Debug, Default)]
pub(super) struct Admission {
    pub(super) caller: Caller,
    pub(super) refused: Option<ApiError>,
}

/// Lets a request in or not, by its headers.
pub(super) fn admit(access: &Access, headers: &HeaderMap, path: &str) -> Admission {
    let Some(keys) = &access.keys else { return Admission::default() };
    if is_open(access, path) {
        return Admission::default();
    }
    let refused = |given: &'static str| Admission {
        caller: Caller::default(),
        refused: Some(ApiError::Unauthorized { given }),
    };
    let mut shown = headers
        .get_all(AUTHORIZATION)
        .iter()
        .map(|value| bearer(value.as_bytes()))
        .chain(headers.get_all(API_KEY).iter().map(|value| Some(value.as_bytes())));
    let key = match (shown.next(), shown.next()) {
        (None, _) => return refused("none"),
        (Some(_), Some(_)) => return refused("several"),
        (Some(None), None) => return refused("credentials of another kind"),
        (Some(Some(shown)), None) => keys.find(shown),
    };
    let Some(key) = key else { return refused("one that is not known") };
    // Only a quota needs the clock.
    let standing = key.take(Instant::now());
    let retry_after = standing.and_then(|standing| standing.retry_after);
    let refused = retry_after.map(|wait| ApiError::TooManyRequests {
        key: key.name().to_owned(),
        retry_after_s: whole_seconds(wait),
    });
    Admission { caller: Caller { key: Some(Arc::clone(key)), standing }, refused }
}

/// The key in `Bearer KEY`.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, key) = value.split_at_checked(b"Bearer ".len())?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
}

/// Whether a path needs no key.
pub(super) fn is_open(access: &Access, path: &str) -> bool {
    let is_health = matches!(path, "/health" | "/health/live" | "/health/ready");
    let is_page =
        || matches!(path, "/" | "/docs" | super::openapi::PATH) || path.starts_with("/docs/");
    is_health
        || (access.has_open_docs && is_page())
        || (access.has_open_metrics && path == "/metrics")
}

/// The answer to a browser that asks whether a page may send a request; none when this is no such question.
///
/// # Errors
/// Pages of this origin may not.
pub(super) fn preflight(
    access: &Access,
    method: &Method,
    headers: &HeaderMap,
) -> Option<Result<Response, ApiError>> {
    let origins = access.origins.as_ref().filter(|_| method == Method::OPTIONS)?;
    let origin = headers.get(ORIGIN)?;
    headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    if !origins.allow(origin.as_bytes()) {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        return Some(Err(ApiError::Origin { origin: super::problem::shown(&origin) }));
    }
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "authorization, content-encoding, content-type, traceparent, tracestate, x-api-key, x-request-id",
        ),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(origins.max_age.as_secs()));
    headers.insert(
        VARY,
        HeaderValue::from_static("access-control-request-method, access-control-request-headers"),
    );
    Some(Ok(response))
}

/// Adds to an answer what a page of another origin needs to read it, and how much of the caller's quota is left.
pub(super) fn dress(
    headers: &mut HeaderMap,
    access: &Access,
    caller: &Caller,
    origin: Option<&HeaderValue>,
) {
    if let Some(origins) = &access.origins {
        // Also on what other origins get, or a cache would give it to this one.
        headers.append(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin.filter(|origin| origins.allow(origin.as_bytes())) {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            let exposed = "ratelimit, ratelimit-policy, retry-after, traceresponse, x-request-id";
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
        }
    }
    if let Some(standing) = &caller.standing {
        let Standing { limit, remaining, full_after, .. } = *standing;
        let policy = format!("\"requests\";q={};w={}", limit.requests, limit.window.as_secs());
        let left = format!("\"requests\";r={remaining};t={}", whole_seconds(full_after));
        for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, left)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}

/// The headers that come with a refusal.
pub(super) fn explain(headers: &mut HeaderMap, error: &ApiError) {
    match error {
        ApiError::Unauthorized { given } => {
            // RFC 6750, 3.1: no error when there were no credentials.
            let challenge = if *given == "none" {
                "Bearer realm=\"seaworthy\""
            } else {
                "Bearer realm=\"seaworthy\", error=\"invalid_token\""
            };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        ApiError::TooManyRequests { retry_after_s, .. } => {
            headers.insert(RETRY_AFTER, HeaderValue::from(*retry_after_s));
        }
        _ => {}
    }
}

/// Rounded up: who comes back then is let in.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_is_read_as_rfc_6750_has_it() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        for other in [&b"Basic abc"[..], b"Bearer", b"abc", b""] {
            assert_eq!(bearer(other), None);
        }
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(whole_seconds(Duration::from_millis(1)), 1);
        assert_eq!(whole_seconds(Duration::from_secs(1)), 1);
    }
}
