//! The file of a picture in a JSON string.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::CellProblem;
use crate::image::{self, ImageError, Limits};

/// The standard alphabet, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The file in a string, and by its header that it is a picture within the limits. Pixels are decoded later.
///
/// `n_pixels` counts those of all pictures of a request.
pub(super) fn read(
    text: &str,
    limits: Limits,
    n_pixels: &mut usize,
) -> Result<Vec<u8>, CellProblem> {
    let file = decode(text, limits.max_bytes)?;
    check(&file, limits, n_pixels)?;
    Ok(file)
}

/// By its header, that a file is a picture within the limits.
pub(super) fn check(file: &[u8], limits: Limits, n_pixels: &mut usize) -> Result<(), CellProblem> {
    let header = image::probe(file, limits).map_err(CellProblem::Image)?;
    *n_pixels = n_pixels.saturating_add(header.width * header.height);
    if *n_pixels > limits.max_request_pixels {
        let limit = limits.max_request_pixels;
        return Err(CellProblem::Image(ImageError::TooManyInAll { limit }));
    }
    Ok(())
}

/// Base64, also as a data URL, also in lines.
pub(super) fn decode(text: &str, max_bytes: usize) -> Result<Vec<u8>, CellProblem> {
    let wrong = |problem: &str| CellProblem::Base64 { problem: problem.to_owned() };
    let text = match text.strip_prefix("data:") {
        Some(url) => match url.split_once(',') {
            Some((kind, data)) if kind.ends_with(";base64") => data,
            _ => return Err(wrong("found a data URL without `;base64,`")),
        },
        None => text,
    };
    let found = text.len() / 4 * 3;
    if found > max_bytes.saturating_add(2) {
        return Err(CellProblem::Image(ImageError::TooManyBytes { found, limit: max_bytes }));
    }
    let decoded = BASE64.decode(text).or_else(|error| {
        // It may be in lines.
        let joined: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
        if joined.len() < text.len() { BASE64.decode(joined) } else { Err(error) }
    });
    decoded.map_err(|error| wrong(&format!("found {}", shown(&error))))
}

fn shown(error: &base64::DecodeError) -> String {
    match error {
        base64::DecodeError::InvalidByte(at, _) => {
            format!("a character at {at} that base64 does not have")
        }
        _ => "a text that is cut off".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_taken_bare_as_a_data_url_in_lines_and_without_padding() {
        for text in ["aGk=", "aGk", "aG\nk=\n", "data:image/png;base64,aGk="] {
            assert_eq!(decode(text, 99).unwrap(), b"hi", "{text}");
        }
        for text in ["aG?=", "a", "data:image/png,aGk=", "data:", "aGk=="] {
            assert_eq!(decode(text, 99).unwrap_err().code(), "base64", "{text}");
        }
        assert_eq!(decode(&"A".repeat(400), 99).unwrap_err().code(), "image_too_large");
    }
}
