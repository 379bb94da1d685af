//! What the prediction log holds of a request: one JSON object, written once.

use std::cell::Cell;
use std::io::Write as _;
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Bytes;
use axum::http::Method;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::value::RawValue;
use sha2::Sha256;
use time::OffsetDateTime;

use super::form;
use super::problem::{ApiError, Item};
use super::request_id::RequestId;
use crate::digest::{hex, sha256};
use crate::image;
use crate::observe::metrics::{Metrics, Route};
use crate::observe::prediction_log::{self, Pieces};
use crate::schema::{self, Cells, Field};
use crate::state::{Deployment, Limits};

/// A record that is being written.
pub(super) struct Record<'a> {
    started: Instant,
    request_id: &'a RequestId,
    key: Option<&'a str>,
    metrics: &'a Metrics,
    route: Route,
}

impl<'a> Record<'a> {
    pub(super) fn new(
        started: Instant,
        request_id: &'a RequestId,
        key: Option<&'a str>,
        (metrics, route): (&'a Metrics, Route),
    ) -> Self {
        Self { started, request_id, key, metrics, route }
    }

    /// The part that all records begin with.
    fn begin(&self, line: &mut Vec<u8>, status: u16) {
        line.extend_from_slice(b"{\"timestamp\":\"");
        timestamp(SystemTime::now(), line);
        // The id and the trace id are of characters that JSON takes as they are.
        let level: &[u8] = if status >= 500 {
            b"\",\"level\":\"ERROR\",\"target\":\"prediction\",\"request_id\":\""
        } else {
            b"\",\"level\":\"INFO\",\"target\":\"prediction\",\"request_id\":\""
        };
        line.extend_from_slice(level);
        line.extend_from_slice(self.request_id.as_str().as_bytes());
        line.extend_from_slice(b"\",\"trace_id\":");
        match self.request_id.trace_id() {
            Some(trace_id) => {
                line.push(b'"');
                line.extend_from_slice(trace_id.as_bytes());
                line.push(b'"');
            }
            None => line.extend_from_slice(b"null"),
        }
        // Its characters too are those that JSON takes as they are.
        if let Some(key) = self.key {
            line.extend_from_slice(b",\"key\":\"");
            line.extend_from_slice(key.as_bytes());
            line.push(b'"');
        }
    }

    /// Counts the request; returns what it took.
    fn count(&self, status: u16) -> Duration {
        let duration = self.started.elapsed();
        self.metrics.answered(self.route, status, duration);
        duration
    }

    /// The last part; and the request is counted. Returns what it took.
    fn end(&self, mut line: Line, status: u16) -> Duration {
        let duration = self.count(status);
        let text = &mut line.text;
        text.extend_from_slice(b",\"latency_us\":");
        decimal(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX), text);
        text.push(b'}');
        match line.inputs {
            None => prediction_log::emit(text, status >= 500),
            Some((at, inputs)) => Pieces { text: line.text, at, inputs }.emit(status >= 500),
        }
        duration
    }
}

/// A record as it is put together.
#[derive(Default)]
struct Line {
    text: Vec<u8>,
    /// Inputs that are not short, and where in the text they belong.
    inputs: Option<(usize, Bytes)>,
}

/// Inputs from this size on are not copied into the record, but into the buffer of the log at once. One row may be as long.
const LARGE_INPUTS: usize = 1024;

/// The length of a moment's text up to the point.
const SECOND_LENGTH: usize = 19;

thread_local! {
    /// The second that was last written in this thread, since 1970, and its text up to the point.
    static SECOND: Cell<(u64, [u8; SECOND_LENGTH])> = const { Cell::new((u64::MAX, [0; SECOND_LENGTH])) };
}

/// A moment of this era as `2026-11-21T10:17:46.123456Z`. By hand: the general way costs as much as a small model. What is the same for a second
/// is written once in it.
fn timestamp(moment: SystemTime, line: &mut Vec<u8>) {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (second, mut text) = SECOND.get();
    if second != since.as_secs() {
        text = whole_second(moment.into());
        SECOND.set((since.as_secs(), text));
    }
    line.extend_from_slice(&text);
    let mut micros = *b".000000Z";
    digits(since.subsec_micros(), &mut micros[1..7]);
    line.extend_from_slice(&micros[..]);
}

fn whole_second(moment: OffsetDateTime) -> [u8; SECOND_LENGTH] {
    let mut text = *b"0000-00-00T00:00:00";
    let (hour, minute, second) = moment.to_hms();
    digits(u32::try_from(moment.year()).unwrap_or_default(), &mut text[..4]);
    for (number, at) in
        [(moment.month().into(), 5), (moment.day(), 8), (hour, 11), (minute, 14), (second, 17)]
    {
        digits(number.into(), &mut text[at..at + 2]);
    }
    text
}

/// Writes the last digits of a number, as many as there is room for.
fn digits(mut number: u32, text: &mut [u8]) {
    for digit in text.iter_mut().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
}

/// A whole number. By hand as well: what formats anything costs hundreds of instructions for it.
fn decimal(mut number: u64, line: &mut Vec<u8>) {
    // As many digits as the largest has.
    let mut digits = [b'0'; 20];
    let mut start = digits.len() - 1;
    loop {
        // One digit always fits.
        digits[start] += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        if number == 0 || start == 0 {
            break;
        }
        start -= 1;
    }
    line.extend_from_slice(&digits[start..]);
}

/// What a request asked about.
pub(super) enum Inputs<'a> {
    /// The body was not understood.
    None,
    /// Where their text stands in the body.
    Json(Range<usize>),
    /// The body is this file, the value of this field.
    Picture(&'a Field, &'a [u8]),
}

/// What is known of a request to a predict route when it is logged.
pub(super) struct Exchanged<'a> {
    pub(super) deployment: Option<&'a Deployment>,
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) status: u16,
    pub(super) n_rows: usize,
    pub(super) on_invalid_null: bool,
    pub(super) inputs: Inputs<'a>,
    /// The whole body as received, so far as it was; empty for a picture or a form.
    pub(super) body: &'a [u8],
    /// The same, to be kept, if it arrived whole.
    pub(super) shared_body: Option<&'a Bytes>,
    /// The answer's `"predictions":…` and `"probabilities":…` as they stand in it.
    pub(super) predictions: Option<&'a [u8]>,
    pub(super) errors: &'a [Item],
    pub(super) total_errors: usize,
}

/// Logs and counts a request to a predict route, answered or refused. Returns what it took.
pub(super) fn exchanged(
    record: &Record<'_>,
    exchange: &Exchanged<'_>,
    limits: &Limits,
) -> Duration {
    let sample = exchange.deployment.and_then(|deployment| deployment.sample);
    let is_good = exchange.status == 200 && exchange.errors.is_empty();
    if let Some(sample) = sample
        && (is_good || limits.sample_refused)
        && !sample.has(record.request_id.as_str())
    {
        record.metrics.sampled_out();
        return record.count(exchange.status);
    }
    let place = match &exchange.inputs {
        Inputs::Json(place) => place.clone(),
        Inputs::Picture(..) | Inputs::None => 0..0,
    };
    let inputs = exchange.body.get(place.clone()).filter(|_| !place.is_empty());
    let is_large = place.len() >= LARGE_INPUTS;
    let inputs_len = if is_large { 0 } else { place.len() };
    let mut line = Line::default();
    let text = &mut line.text;
    text.reserve(512 + inputs_len + exchange.predictions.map_or(0, <[u8]>::len));
    record.begin(text, exchange.status);
    match exchange.deployment {
        Some(deployment) => text.extend_from_slice(deployment.log_prefix.as_bytes()),
        None => {
            text.extend_from_slice(
                b",\"model\":null,\"version\":null,\"artifact\":null,\"role\":null",
            );
            request(text, exchange.method, exchange.path);
        }
    }
    text.extend_from_slice(b",\"status\":");
    decimal(exchange.status.into(), text);
    text.extend_from_slice(b",\"rows\":");
    decimal(exchange.n_rows as u64, text);
    if exchange.on_invalid_null {
        text.extend_from_slice(b",\"on_invalid\":\"null\"");
    }
    if let Some(sample) = sample.filter(|_| is_good || limits.sample_refused) {
        // What a record stands for.
        let _infallible = write!(text, ",\"sample\":{}", sample.share());
    }
    text.extend_from_slice(b",\"inputs\":");
    match (inputs, exchange.deployment) {
        (Some(inputs), Some(deployment))
            if !deployment.sensitive.is_empty()
                || (deployment.has_images && !limits.log_whole_images) =>
        {
            one_line(redacted(inputs, deployment, limits).as_bytes(), text);
        }
        (Some(inputs), _) => match exchange.shared_body {
            Some(body) if is_large && memchr::memchr2(b'\n', b'\r', inputs).is_none() => {
                line.inputs = Some((text.len(), body.slice(place)));
            }
            _ => one_line(inputs, text),
        },
        (None, deployment) => match (&exchange.inputs, deployment) {
            (Inputs::Picture(field, file), Some(deployment)) => {
                text.extend_from_slice(picture_row(field, file, deployment, limits).as_bytes());
            }
            _ => {
                text.extend_from_slice(b"null");
                let may_show = deployment.is_none_or(|deployment| deployment.sensitive.is_empty());
                if may_show && !exchange.body.is_empty() {
                    body_text(exchange.body, limits.max_text_bytes, text);
                }
            }
        },
    }
    text.push(b',');
    match exchange.predictions {
        Some(predictions) => text.extend_from_slice(predictions),
        None => text.extend_from_slice(b"\"predictions\":null"),
    }
    errors(text, exchange.errors, exchange.total_errors);
    record.end(line, exchange.status)
}

/// Logs and counts a request that no handler has logged: to a path or with a method that there is not, or one that failed on the way.
/// What is not HTTP has neither method nor path.
pub(super) fn rejected(
    record: Record<'_>,
    request_line: Option<(&Method, &str)>,
    error: &ApiError,
) -> Duration {
    let status = error.status().as_u16();
    let mut line = Line::default();
    let text = &mut line.text;
    record.begin(text, status);
    text.extend_from_slice(b",\"model\":null,\"version\":null,\"artifact\":null,\"role\":null");
    match request_line {
        Some((method, path)) => request(text, method, path),
        None => text.extend_from_slice(b",\"method\":null,\"path\":null"),
    }
    let _infallible =
        write!(text, ",\"status\":{status},\"rows\":0,\"inputs\":null,\"predictions\":null");
    let items = error.items();
    errors(text, &items, items.len());
    record.metrics.rejected(error.kind().0);
    record.end(line, status)
}

fn request(line: &mut Vec<u8>, method: &Method, path: &str) {
    let json = |text: &str| serde_json::Value::from(text);
    let _infallible = write!(line, ",\"method\":{},\"path\":{}", json(method.as_str()), json(path));
}

fn errors(line: &mut Vec<u8>, items: &[Item], total: usize) {
    line.extend_from_slice(b",\"errors\":");
    if items.is_empty() {
        line.extend_from_slice(b"null");
        return;
    }
    line.push(b'[');
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            line.push(b',');
        }
        let written = if item.sensitive {
            let shown = Item {
                detail: "not shown: it may hold a sensitive value".to_owned(),
                ..item.clone()
            };
            serde_json::to_writer(&mut *line, &shown)
        } else {
            serde_json::to_writer(&mut *line, item)
        };
        debug_assert!(written.is_ok(), "strings always serialise");
    }
    line.push(b']');
    if total > items.len() {
        let _infallible = write!(line, ",\"total_errors\":{total}");
    }
}

/// Copies well-formed JSON onto one line. A line break in it can only stand between tokens, where a blank does as well.
fn one_line(json: &[u8], line: &mut Vec<u8>) {
    let mut rest = json;
    line.reserve(json.len());
    while let Some(at) = memchr::memchr2(b'\n', b'\r', rest) {
        line.extend_from_slice(&rest[..at]);
        line.push(b' ');
        rest = &rest[at + 1..];
    }
    line.extend_from_slice(rest);
}

/// A body that is not JSON, as a JSON string of at most `at_most` bytes of it.
fn body_text(body: &[u8], at_most: usize, line: &mut Vec<u8>) {
    let shown = String::from_utf8_lossy(&body[..body.len().min(at_most)]);
    let _infallible = write!(
        line,
        ",\"body\":{},\"body_bytes\":{}",
        serde_json::Value::from(shown.as_ref()),
        body.len()
    );
}

/// The inputs with pictures replaced by what names them, and the values of sensitive fields by a keyed hash. So is, for a model with such
/// fields, everything else that is not the plain value of a field: the value may have been meant for a sensitive one. The rest stays as it was
/// written.
fn redacted(inputs: &[u8], deployment: &Deployment, limits: &Limits) -> String {
    let key = &limits.sensitive_key;
    let may_hide = !deployment.sensitive.is_empty();
    let hide = |value: &RawValue| {
        let text = value.get();
        if text == "null" {
            return text.to_owned();
        }
        // The same string or number gives the same hash, however it was spelt.
        let value = serde_json::from_str::<serde_json::Value>(text);
        let text = value.map_or_else(|_too_large| text.to_owned(), |value| value.to_string());
        serde_json::Value::from(hash(&text, key)).to_string()
    };
    let row = |row: &RawValue| {
        let Ok(Cells(cells)) = serde_json::from_str(row.get()) else {
            return if may_hide { hide(row) } else { row.get().to_owned() };
        };
        let cells = cells.into_iter().map(|(name, value)| {
            let is_plain = !value.get().starts_with(['{', '[']);
            let shown = !may_hide || (is_plain && !deployment.may_hold_sensitive(Some(&name)));
            let value = if !shown {
                hide(value)
            } else if !limits.log_whole_images && deployment.is_image(&name) {
                picture(value.get())
            } else {
                value.get().to_owned()
            };
            format!("{}:{value}", serde_json::Value::from(name))
        });
        format!("{{{}}}", cells.collect::<Vec<_>>().join(","))
    };
    match serde_json::from_slice::<Vec<&RawValue>>(inputs) {
        Ok(rows) => format!("[{}]", rows.into_iter().map(row).collect::<Vec<_>>().join(",")),
        Err(_no_array) => {
            serde_json::from_slice::<&RawValue>(inputs).map_or_else(|_| "null".to_owned(), row)
        }
    }
}

/// The row of a picture that came without JSON around it, as [`redacted`] makes it of the JSON that says the same.
fn picture_row(field: &Field, file: &[u8], deployment: &Deployment, limits: &Limits) -> String {
    let name = serde_json::Value::from(field.name());
    if deployment.sensitive.is_empty() && !limits.log_whole_images {
        return format!("{{{name}:{}}}", named(file));
    }
    let row = format!("{{{name}:{}}}", form::quoted_file(file));
    if deployment.sensitive.is_empty() { row } else { redacted(row.as_bytes(), deployment, limits) }
}

/// What names a picture in a text of base64.
fn picture(value: &str) -> String {
    let text: Result<std::borrow::Cow<'_, str>, _> = serde_json::from_str(value);
    let Some(file) = text.ok().and_then(|text| schema::picture_file(&text)) else {
        return if value.len() <= MOST_SHOWN {
            value.to_owned()
        } else {
            serde_json::json!({"text_bytes": value.len()}).to_string()
        };
    };
    named(&file)
}

/// What names a picture: `{"sha256": …, "bytes": …, "type": "image/png"}`, of the file and not of its base64.
fn named(file: &[u8]) -> String {
    let digest = sha256(file);
    let media_type = image::Format::of(file).map(image::Format::media_type).ok();
    serde_json::json!({"sha256": digest, "bytes": file.len(), "type": media_type}).to_string()
}

/// A value in the place of a picture that is none is shown up to this length.
const MOST_SHOWN: usize = 200;

/// HMAC-SHA256 of the value's JSON text, its first 128 bits.
fn hash(value: &str, key: &str) -> String {
    if key.is_empty() {
        return "redacted".to_owned();
    }
    // HMAC takes a key of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key.as_bytes()) else {
        return "redacted".to_owned();
    };
    mac.update(value.as_bytes());
    format!("hmac:{}", hex(&mac.finalize().into_bytes()[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_as_others_write_it() {
        for number in [0, 7, 10, 200, 1_000_000, u64::MAX] {
            let mut line = Vec::new();
            decimal(number, &mut line);
            assert_eq!(String::from_utf8(line).unwrap(), number.to_string());
        }
    }

    #[test]
    fn a_timestamp_is_written_as_rfc_3339_has_it() {
        for seconds in [0, 951_782_399, 1_709_164_800, 4_102_444_799_i64] {
            for nanos in [0, 1_000, 123_456_789, 999_999_999] {
                let moment = OffsetDateTime::from_unix_timestamp_nanos(
                    i128::from(seconds) * 1_000_000_000 + nanos,
                )
                .unwrap();
                let format = time::macros::format_description!(
                    "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z"
                );
                let mut line = Vec::new();
                timestamp(moment.into(), &mut line);
                assert_eq!(String::from_utf8(line).unwrap(), moment.format(format).unwrap());
            }
        }
    }
}
