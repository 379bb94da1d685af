//! Which headers a request has, of those that are looked for in every request and that hardly any has.
//!
//! Knows nothing of what they mean.

use axum::http::{HeaderMap, header};

use super::request_id;

/// What one look at the names shows. To look one up hashes its name, whether it is there or not.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Present {
    /// Whether any header is there more than once.
    pub(super) repeated: bool,
    pub(super) host: bool,
    pub(super) transfer_encoding: bool,
    pub(super) content_encoding: bool,
    pub(super) request_id: bool,
    pub(super) traceparent: bool,
}

impl Present {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let repeated = headers.len() != headers.keys_len();
        headers.keys().fold(Self { repeated, ..Self::default() }, |present, name| Self {
            host: present.host || name == header::HOST,
            transfer_encoding: present.transfer_encoding || name == header::TRANSFER_ENCODING,
            content_encoding: present.content_encoding || name == header::CONTENT_ENCODING,
            request_id: present.request_id || name == request_id::HEADER,
            traceparent: present.traceparent || name == request_id::TRACEPARENT,
            ..present
        })
    }
}
