//! From the bytes of a file to pixels.

use std::io::Cursor;

use image::codecs::{bmp::BmpDecoder, gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError as CodecError};

use super::{ImageError, Limits, Raster, jpeg};

/// The format of a file, known by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// PNG, also animated: then its default picture.
    Png,
    /// JPEG, sequential or progressive.
    Jpeg,
    /// WebP, with or without loss.
    Webp,
    /// Windows bitmap.
    Bmp,
    /// GIF: its first frame.
    Gif,
}

impl Format {
    /// The media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
            Self::Bmp => "image/bmp",
            Self::Gif => "image/gif",
        }
    }

    /// The format of a file.
    ///
    /// # Errors
    /// It is none of these.
    pub fn of(bytes: &[u8]) -> Result<Self, ImageError> {
        let riff = |kind: &[u8]| bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(kind);
        let found = if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Ok(Self::Png);
        } else if bytes.starts_with(b"\xff\xd8\xff") {
            return Ok(Self::Jpeg);
        } else if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
            return Ok(Self::Gif);
        } else if riff(b"WEBP") {
            return Ok(Self::Webp);
        } else if bytes.starts_with(b"BM") && bytes.len() > 26 {
            return Ok(Self::Bmp);
        } else if bytes.is_empty() {
            "nothing"
        } else if bytes.starts_with(b"II*\0") || bytes.starts_with(b"MM\0*") {
            "a TIFF file"
        } else if bytes.starts_with(b"%PDF") {
            "a PDF file"
        } else if bytes.get(4..8) == Some(b"ftyp") {
            "a HEIC, AVIF or MP4 file"
        } else if bytes.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
            "text"
        } else {
            "something else"
        };
        Err(ImageError::Format { found })
    }
}

/// What the header of a file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The format.
    pub format: Format,
    /// In pixels, as stored: before the orientation is applied.
    pub width: usize,
    /// In pixels, as stored.
    pub height: usize,
}

/// Reads format and size and checks them. Decodes no pixel and allocates nothing that depends on the size.
///
/// # Errors
/// The file has too many bytes or pixels, is of no known format, or ends before it says its size.
pub fn probe(bytes: &[u8], limits: Limits) -> Result<Header, ImageError> {
    Ok(match format(bytes, limits)? {
        Format::Jpeg => jpeg_header(bytes, limits)?.0,
        other => open(other, bytes, limits)?.0,
    })
}

fn format(bytes: &[u8], limits: Limits) -> Result<Format, ImageError> {
    if bytes.len() > limits.max_bytes {
        return Err(ImageError::TooManyBytes { found: bytes.len(), limit: limits.max_bytes });
    }
    Format::of(bytes)
}

pub(super) fn check_pixels(width: usize, height: usize, limits: Limits) -> Result<(), ImageError> {
    if width == 0 || height == 0 {
        return Err(ImageError::Broken { problem: "it has no pixels".to_owned() });
    }
    if width.checked_mul(height).is_none_or(|pixels| pixels > limits.max_pixels) {
        return Err(ImageError::TooManyPixels { width, height, limit: limits.max_pixels });
    }
    Ok(())
}

/// Decodes a file. Values of 16 bits are cut to their upper eight, as OpenCV and Pillow do for colour.
pub(super) fn decode(bytes: &[u8], limits: Limits, orient: bool) -> Result<Raster, ImageError> {
    let (raster, orientation) = match format(bytes, limits)? {
        Format::Jpeg => {
            let (_, exif) = jpeg_header(bytes, limits)?;
            let orientation = exif.as_deref().and_then(Orientation::from_exif_chunk);
            (jpeg::decode(bytes)?, orientation.unwrap_or(Orientation::NoTransforms))
        }
        other => {
            let (header, mut decoder) = open(other, bytes, limits)?;
            let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
            (read(decoder, &header)?, orientation)
        }
    };
    Ok(if orient { oriented(raster, orientation) } else { raster })
}

/// The header of a JPEG within the limits, and its EXIF data.
fn jpeg_header(bytes: &[u8], limits: Limits) -> Result<(Header, Option<Vec<u8>>), ImageError> {
    let jpeg::Header { width, height, exif } = jpeg::header(bytes)?;
    check_pixels(width, height, limits)?;
    Ok((Header { format: Format::Jpeg, width, height }, exif))
}

/// The header of a file of another format within the limits, and what decodes its pixels.
fn open<'a>(
    format: Format,
    bytes: &'a [u8],
    limits: Limits,
) -> Result<(Header, Box<dyn ImageDecoder + 'a>), ImageError> {
    let file = Cursor::new(bytes);
    let mut decoder: Box<dyn ImageDecoder + 'a> = match format {
        Format::Png => Box::new(PngDecoder::new(file).map_err(refused)?),
        Format::Webp => Box::new(WebPDecoder::new(file).map_err(refused)?),
        Format::Bmp => Box::new(BmpDecoder::new(file).map_err(refused)?),
        Format::Gif => Box::new(GifDecoder::new(file).map_err(refused)?),
        Format::Jpeg => {
            return Err(ImageError::Unsupported { what: "JPEG by another decoder".to_owned() });
        }
    };
    // A second wall: what a decoder allocates besides its pixels, such as a compressed text or profile.
    let mut allowed = image::Limits::no_limits();
    allowed.max_alloc = Some(limits.max_pixels as u64 * 16 + (16 << 20));
    let (width, height) = decoder.dimensions();
    let (width, height) = (width as usize, height as usize);
    check_pixels(width, height, limits)?;
    decoder.set_limits(allowed).map_err(refused)?;
    Ok((Header { format, width, height }, decoder))
}

fn refused(error: CodecError) -> ImageError {
    match error {
        CodecError::Unsupported(error) => ImageError::Unsupported { what: shown(&error) },
        error => ImageError::Broken { problem: shown(&error) },
    }
}

/// The text of an error of a codec on one line.
fn shown(error: &dyn std::error::Error) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}

fn read(decoder: Box<dyn ImageDecoder + '_>, header: &Header) -> Result<Raster, ImageError> {
    let colour = decoder.color_type();
    let (channels, wide) = match colour {
        ColorType::L8 => (1, false),
        ColorType::La8 => (2, false),
        ColorType::Rgb8 => (3, false),
        ColorType::Rgba8 => (4, false),
        ColorType::L16 => (1, true),
        ColorType::La16 => (2, true),
        ColorType::Rgb16 => (3, true),
        ColorType::Rgba16 => (4, true),
        other => return Err(ImageError::Unsupported { what: format!("a picture of {other:?}") }),
    };
    let n = header.width * header.height * channels;
    let mut data = vec![0; if wide { 2 * n } else { n }];
    decoder.read_image(&mut data).map_err(refused)?;
    if wide {
        data = data
            .chunks_exact(2)
            .map(|pair| u16::from_ne_bytes([pair[0], pair[1]]).to_be_bytes()[0])
            .collect();
    }
    Ok(Raster { width: header.width, height: header.height, channels, data })
}

fn oriented(raster: Raster, orientation: Orientation) -> Raster {
    let (turned, mirrored_x, mirrored_y) = match orientation {
        Orientation::NoTransforms => return raster,
        Orientation::FlipHorizontal => (false, true, false),
        Orientation::Rotate180 => (false, true, true),
        Orientation::FlipVertical => (false, false, true),
        // Rows become columns; then what is mirrored is said of the stored picture.
        Orientation::Rotate90FlipH => (true, false, false),
        Orientation::Rotate90 => (true, false, true),
        Orientation::Rotate270FlipH => (true, true, true),
        Orientation::Rotate270 => (true, true, false),
    };
    let Raster { width, height, channels, data } = raster;
    let (new_width, new_height) = if turned { (height, width) } else { (width, height) };
    let mut new = Vec::with_capacity(data.len());
    for y in 0..new_height {
        for x in 0..new_width {
            let (old_x, old_y) = if turned { (y, x) } else { (x, y) };
            let old_x = if mirrored_x { width - 1 - old_x } else { old_x };
            let old_y = if mirrored_y { height - 1 - old_y } else { old_y };
            let at = (old_y * width + old_x) * channels;
            new.extend_from_slice(&data[at..at + channels]);
        }
    }
    Raster { width: new_width, height: new_height, channels, data: new }
}
