//! Which request this is: `X-Request-ID`, and `traceparent` and `tracestate` of W3C Trace Context.

use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue};

use super::present::Present;
use crate::observe::otlp::{Trace, Tracer};

pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// Says in the answer which span of which trace it was.
pub(super) const TRACE_HEADER: HeaderName = HeaderName::from_static("traceresponse");
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: &str = "tracestate";
/// A longer `tracestate` is not passed on; the standard asks for that much.
const LONGEST_STATE: usize = 512;
/// A longer id is not taken over.
const LONGEST: usize = 128;

/// The id of a request: its own if it is well-formed, else a new one; and where it stands in a trace, if it does.
#[derive(Debug, Clone)]
pub(super) struct RequestId {
    id: HeaderValue,
    trace: Option<Arc<Trace>>,
}

impl RequestId {
    pub(super) fn as_str(&self) -> &str {
        // Both ways to make one give visible ASCII.
        self.id.to_str().unwrap_or_default()
    }

    pub(super) fn header(&self) -> HeaderValue {
        self.id.clone()
    }

    pub(super) fn trace(&self) -> Option<&Trace> {
        self.trace.as_deref()
    }

    pub(super) fn trace_id(&self) -> Option<&str> {
        self.trace().map(|trace| trace.trace_id.as_str())
    }
}

/// Takes the id from the headers when it has 1 to 128 characters of `A-Z a-z 0-9 . _ : / + = @ -`, else makes one (a UUID of version 7, without
/// hyphens). The trace of a well-formed `traceparent` is continued; without one a trace is begun, if there is somebody to send it to.
pub(super) fn of(headers: &HeaderMap, tracer: Option<&Tracer>) -> RequestId {
    of_present(headers, Present::of(headers), tracer)
}

/// As [`of`], by one who knows what is there.
pub(super) fn of_present(
    headers: &HeaderMap,
    present: Present,
    tracer: Option<&Tracer>,
) -> RequestId {
    let continued = if present.traceparent { continued(headers) } else { None };
    let trace = continued.or_else(|| tracer.map(Tracer::begin)).map(Arc::new);
    RequestId { id: if present.request_id { id(headers) } else { new_id() }, trace }
}

fn id(headers: &HeaderMap) -> HeaderValue {
    let well_formed = |value: &&HeaderValue| {
        let bytes = value.as_bytes();
        (1..=LONGEST).contains(&bytes.len())
            && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._:/+=@-".contains(byte))
    };
    let mut given = headers.get_all(HEADER).iter();
    match (given.next().filter(well_formed), given.next()) {
        (Some(value), None) => value.clone(),
        _ => new_id(),
    }
}

fn new_id() -> HeaderValue {
    let mut buffer = uuid::Uuid::encode_buffer();
    let id = uuid::Uuid::now_v7().simple().encode_lower(&mut buffer);
    HeaderValue::from_str(id).unwrap_or(HeaderValue::from_static("unknown"))
}

/// The trace of a well-formed W3C `traceparent`.
fn continued(headers: &HeaderMap) -> Option<Trace> {
    let mut parents = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (parents.next(), parents.next()) else { return None };
    let parent = parent.to_str().ok()?;
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
    well_formed.then(|| {
        let is_sampled = u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1);
        Trace::continued(trace, span, is_sampled, state(headers))
    })
}

/// `tracestate` as it came, its lines put together; empty when it is not to be passed on.
fn state(headers: &HeaderMap) -> String {
    let lines: Vec<&str> =
        headers.get_all(TRACESTATE).iter().filter_map(|line| line.to_str().ok()).collect();
    let state = lines.join(",");
    if state.len() <= LONGEST_STATE { state } else { String::new() }
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
            of(&headers, None).as_str().to_owned()
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
            let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(value))]);
            continued(&headers).map(|trace| trace.trace_id)
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(trace(good).as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert_eq!(trace("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(trace("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01"), None);
        assert_eq!(trace("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"), None);
        assert_eq!(trace("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"), None);
    }
}
