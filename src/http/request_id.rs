//! Which request this is: `X-Request-ID` and `traceparent`.

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: &str = "traceparent";
/// A longer id is not taken over.
const LONGEST: usize = 128;

/// The id of a request: its own if it is well-formed, else a new one.
#[derive(Debug, Clone)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    pub(super) fn as_str(&self) -> &str {
        // Both ways to make one give visible ASCII.
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Takes the id from the headers when it has 1 to 128 characters of `A-Z a-z 0-9 . _ : / + = @ -`, else makes one (a UUID of version 7, without
/// hyphens).
pub(super) fn of(headers: &HeaderMap) -> RequestId {
    let well_formed = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=LONGEST).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._:/+=@-".contains(byte))
    };
    let mut given = headers.get_all(HEADER).iter();
    match (given.next().filter(well_formed), given.next()) {
        (Some(value), None) => RequestId(value.clone()),
        _ => {
            let mut buffer = uuid::Uuid::encode_buffer();
            let id = uuid::Uuid::now_v7().simple().encode_lower(&mut buffer);
            RequestId(HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static("unknown")))
        }
    }
}

/// The trace id of a well-formed W3C `traceparent`.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<String> {
    let parent = headers.get(TRACEPARENT)?.to_str().ok()?;
    let hex = |text: &str, length: usize| {
        text.len() == length
            && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
    };
    let nonzero = |text: &str| text.bytes().any(|c| c != b'0');
    let mut parts = parent.split('-');
    let (version, trace, span, flags) =
        (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let well_formed = hex(version, 2)
        && version != "ff"
        && hex(trace, 32)
        && nonzero(trace)
        && hex(span, 16)
        && nonzero(span)
        && hex(flags, 2)
        // Later versions may say more.
        && (version != "00" || parts.next().is_none());
    well_formed.then(|| trace.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_well_formed_id_is_taken_and_any_other_replaced() {
        let id = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            values.iter().for_each(|value| {
                headers.append(HEADER, HeaderValue::from_static(value));
            });
            of(&headers).as_str().to_owned()
        };
        assert_eq!(id(&["a-1_b.c"]), "a-1_b.c");
        for bad in [&[][..], &[""], &["a b"], &["a\"b"], &["a", "b"]] {
            assert_eq!(id(bad).len(), 32, "{bad:?}");
        }
        assert_ne!(id(&[]), id(&[]));
    }

    #[test]
    fn only_a_well_formed_traceparent_counts() {
        let trace = |value: &'static str| {
            let headers = HeaderMap::from_iter([(
                HeaderName::from_static(TRACEPARENT),
                HeaderValue::from_static(value),
            )]);
            trace_id(&headers)
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace(good).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(trace("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(trace("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"), None);
        assert_eq!(trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"), None);
        assert_eq!(trace("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None);
    }
}
