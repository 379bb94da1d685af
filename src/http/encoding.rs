//! Compressed bodies: those of requests are inflated within a bound, large answers are compressed for clients that take it.
//!
//! An answer below the size of the setting is not looked at any further: that of one row costs nothing.

use std::io::{BufRead, Read, Write};
use std::time::{Duration, Instant};

use axum::body::{Bytes, HttpBody};
use axum::http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt as _, Full};

use super::predict::blocking;
use super::problem::ApiError;

/// What request bodies may be, for the header of a 415.
pub(super) const TAKEN: &str = "gzip, zstd, deflate";
/// The most that a frame of zstd may refer back to, as a power of two: 8 MiB, what RFC 8878 asks of every decoder. A frame may name
/// gigabytes, which would be allocated.
const ZSTD_WINDOW: u32 = 23;
/// So much is inflated between two looks at the clock.
const STEP: usize = 64 * 1024;

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Gzip,
    Zstd,
    /// With the header and the checksum of zlib, as RFC 9110 has it.
    Deflate,
}

impl Encoding {
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Deflate => "deflate",
        }
    }
}

/// How the body of a request is compressed, by its headers.
///
/// # Errors
/// In a way that is not known, or in several ways at once.
pub(super) fn of_request(headers: &HeaderMap) -> Result<Option<Encoding>, ApiError> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let name = value.as_bytes().trim_ascii().to_ascii_lowercase();
    match (name.as_slice(), values.next()) {
        (b"identity" | b"", None) => Ok(None),
        (b"gzip" | b"x-gzip", None) => Ok(Some(Encoding::Gzip)),
        (b"zstd", None) => Ok(Some(Encoding::Zstd)),
        (b"deflate", None) => Ok(Some(Encoding::Deflate)),
        _ => {
            let found = String::from_utf8_lossy(value.as_bytes()).chars().take(80).collect();
            Err(ApiError::ContentEncoding { found })
        }
    }
}

/// Inflates a body of at most `at_most` bytes, within a time.
///
/// # Errors
/// It becomes larger, takes longer, or is not what its header says.
pub(super) fn inflate(
    encoding: Encoding,
    body: &[u8],
    at_most: usize,
    time: Duration,
) -> Result<Vec<u8>, ApiError> {
    let broken = |problem: &str| ApiError::Encoded {
        encoding: encoding.name(),
        problem: problem.to_owned(),
    };
    let failed = |error: std::io::Error| broken(&error.to_string());
    match encoding {
        Encoding::Gzip => {
            let mut decoder = flate2::bufread::MultiGzDecoder::new(body);
            read_within(&mut decoder, body.len(), at_most, time, broken)
        }
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(body).map_err(failed)?;
            decoder.window_log_max(ZSTD_WINDOW).map_err(failed)?;
            read_within(&mut decoder, body.len(), at_most, time, broken)
        }
        Encoding::Deflate => {
            let mut decoder = flate2::bufread::ZlibDecoder::new(body);
            let inflated = read_within(&mut decoder, body.len(), at_most, time, broken)?;
            if decoder.into_inner().fill_buf().is_ok_and(|rest| !rest.is_empty()) {
                return Err(broken("something follows its end"));
            }
            Ok(inflated)
        }
    }
}

fn read_within(
    decoder: &mut impl Read,
    n_compressed: usize,
    at_most: usize,
    time: Duration,
    broken: impl Fn(&str) -> ApiError,
) -> Result<Vec<u8>, ApiError> {
    let started = Instant::now();
    let mut inflated = Vec::with_capacity(n_compressed.saturating_mul(4).min(at_most));
    loop {
        let step = u64::try_from(STEP).unwrap_or(u64::MAX);
        let read = decoder.by_ref().take(step).read_to_end(&mut inflated);
        match read {
            Ok(0) => return Ok(inflated),
            Ok(_) if inflated.len() > at_most => {
                return Err(ApiError::BodyTooLarge { limit: at_most });
            }
            Ok(_) if started.elapsed() > time => {
                return Err(ApiError::BodyTimeout { limit_ms: time.as_millis() });
            }
            Ok(_) => {}
            Err(error) => return Err(broken(&error.to_string())),
        }
    }
}

/// How the client would like large answers, if compressed at all: zstd before gzip where it likes both as much.
pub(super) fn wanted(headers: &HeaderMap) -> Option<Encoding> {
    let (mut gzip, mut zstd, mut any) = (None, None, None);
    let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for part in values.flat_map(|value| value.split(',')) {
        let mut words = part.split(';').map(str::trim);
        let name = words.next().unwrap_or_default();
        let weight =
            words.find_map(|word| word.strip_prefix("q=").or_else(|| word.strip_prefix("Q=")));
        let weight = weight.map_or(1.0, |weight| weight.parse::<f32>().unwrap_or_default());
        if name.eq_ignore_ascii_case("gzip") || name.eq_ignore_ascii_case("x-gzip") {
            gzip = Some(weight);
        } else if name.eq_ignore_ascii_case("zstd") {
            zstd = Some(weight);
        } else if name == "*" {
            any = Some(weight);
        }
    }
    let weight = |own: Option<f32>| own.or(any).unwrap_or_default();
    let (gzip, zstd) = (weight(gzip), weight(zstd));
    match (gzip > 0.0, zstd > 0.0) {
        (_, true) if zstd >= gzip => Some(Encoding::Zstd),
        (true, _) => Some(Encoding::Gzip),
        _ => None,
    }
}

/// Whether an answer is so large that it is worth compressing.
pub(super) fn is_large<B: HttpBody>(response: &Response<B>, from: Option<u64>) -> bool {
    from.is_some_and(|from| response.body().size_hint().exact().is_some_and(|size| size >= from))
}

/// Compresses a large answer, as the client wants it.
pub(super) async fn compress<B>(
    response: Response<B>,
    wanted: Option<Encoding>,
) -> Response<Full<Bytes>>
where
    B: HttpBody<Data = Bytes>,
{
    let (mut parts, body) = response.into_parts();
    // Our own bodies are in memory, and cannot fail.
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let content_type = parts.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_text = content_type.is_some_and(|content_type| {
        content_type.starts_with(b"text/")
            || content_type.starts_with(b"application/json")
            || content_type.starts_with(b"application/problem+json")
            || content_type.starts_with(b"image/svg")
    });
    if !is_text || parts.headers.contains_key(CONTENT_ENCODING) {
        return Response::from_parts(parts, Full::from(body));
    }
    parts.headers.append(VARY, HeaderValue::from_static("accept-encoding"));
    let compressed =
        wanted.and_then(|encoding| Some((encoding, blocking(|| deflate(encoding, &body))?)));
    let Some((encoding, compressed)) =
        compressed.filter(|(_, compressed)| compressed.len() < body.len())
    else {
        return Response::from_parts(parts, Full::from(body));
    };
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding.name()));
    // Other bytes for the same page: only a weak tag may be that of both.
    let tag = parts.headers.get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/"));
    let weak = tag.map(|tag| [b"W/", tag.as_bytes()].concat());
    if let Some(weak) = weak.and_then(|weak| HeaderValue::from_bytes(&weak).ok()) {
        parts.headers.insert(ETAG, weak);
    }
    Response::from_parts(parts, Full::from(compressed))
}

/// As fast as it goes: the client waits for it.
fn deflate(encoding: Encoding, body: &[u8]) -> Option<Vec<u8>> {
    match encoding {
        Encoding::Zstd => zstd::bulk::compress(body, 1).ok(),
        Encoding::Gzip | Encoding::Deflate => {
            let compressed = Vec::with_capacity(body.len() / 4);
            let mut encoder =
                flate2::write::GzEncoder::new(compressed, flate2::Compression::fast());
            encoder.write_all(body).ok()?;
            encoder.finish().ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(value: &'static str) -> Option<Encoding> {
        wanted(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]))
    }

    #[test]
    fn the_client_says_what_it_takes() {
        assert_eq!(accepting("gzip, deflate"), Some(Encoding::Gzip));
        assert_eq!(accepting("gzip, deflate, br, zstd"), Some(Encoding::Zstd));
        assert_eq!(accepting("zstd;q=0.5, gzip;q=0.8"), Some(Encoding::Gzip));
        assert_eq!(accepting("gzip;q=0, *"), Some(Encoding::Zstd));
        assert_eq!(accepting("*;q=0"), None);
        for none in ["", "identity", "br", "gzip;q=0", "gzip;q=x", "gzipped"] {
            assert_eq!(accepting(none), None, "{none}");
        }
        assert_eq!(wanted(&HeaderMap::new()), None);
    }

    #[test]
    fn a_body_is_inflated_within_its_bound() {
        let text = b"seaworthy ".repeat(1000);
        let hour = Duration::from_secs(3600);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(&text).unwrap();
        for (encoding, body) in [
            (Encoding::Gzip, deflate(Encoding::Gzip, &text).unwrap()),
            (Encoding::Zstd, deflate(Encoding::Zstd, &text).unwrap()),
            (Encoding::Deflate, zlib.finish().unwrap()),
        ] {
            let problem =
                |body: &[u8], at_most| inflate(encoding, body, at_most, hour).unwrap_err();
            assert_eq!(inflate(encoding, &body, text.len(), hour).unwrap(), text);
            assert!(matches!(problem(&body, text.len() - 1), ApiError::BodyTooLarge { .. }));
            assert!(matches!(
                inflate(encoding, &body, usize::MAX, Duration::ZERO),
                Err(ApiError::BodyTimeout { .. })
            ));
            assert!(matches!(problem(&body[..body.len() - 1], 1 << 20), ApiError::Encoded { .. }));
            assert!(matches!(
                problem(&[&body[..], b"more"].concat(), 1 << 20),
                ApiError::Encoded { .. }
            ));
            assert!(matches!(problem(b"{\"inputs\": []}", 1 << 20), ApiError::Encoded { .. }));
        }
    }

    /// A frame of a few bytes may ask for a window of 2 GiB.
    #[test]
    fn a_frame_that_wants_much_memory_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(27).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(b"{}").unwrap();
        let body = encoder.finish().unwrap();
        let error = inflate(Encoding::Zstd, &body, 1 << 20, Duration::from_secs(3600)).unwrap_err();
        assert!(matches!(error, ApiError::Encoded { .. }), "{error}");
    }
}
