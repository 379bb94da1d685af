//! Pictures: from the bytes of a file to the numbers that a network takes, with the bits that OpenCV or Pillow give.
//!
//! A network was trained on what a Python library made of its pictures; libraries differ in how they decode, order colours
//! and above all resize. Each operation here says whose arithmetic it follows, and `make parity-images` compares it with the
//! original. The size is read from the header and checked before a pixel is decoded. Knows nothing of files, of HTTP, of
//! columns or of time.

mod decode;
mod jpeg;
mod opencv;
mod pillow;
mod recipe;

pub use decode::{Format, Header, probe};
pub use recipe::{
    Alpha, Colour, Decode, Grey, Layout, Library, Method, Numbers, Operation, Orientation, Picture,
    Pixels, Precision, Recipe, RecipeError, RecipeSpec, Rounding, Size,
};

/// What a picture may cost. Checked against its header, before decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of a file.
    pub max_bytes: usize,
    /// The most pixels, width times height, of a picture and of what an operation makes of it.
    pub max_pixels: usize,
    /// The most pixels of all pictures in a request.
    pub max_request_pixels: usize,
}

/// The most pixels that any setting may allow.
pub const MOST_PIXELS: usize = 1 << 28;

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: 16 << 20, max_pixels: 50_000_000, max_request_pixels: 200_000_000 }
    }
}

/// Why a picture was refused. [`Self::code`] is stable; the text is for people and may improve.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// The bytes are of no known format.
    #[error("expected a PNG, JPEG, WebP, BMP or GIF file, found {found}")]
    Format {
        /// What it looks like.
        found: &'static str,
    },
    /// A known format in a variant that is not decoded.
    #[error(
        "{what} is not supported; expected PNG, JPEG, WebP, BMP or GIF with up to 16 bits of grey or RGB"
    )]
    Unsupported {
        /// The variant.
        what: String,
    },
    /// More bytes than allowed.
    #[error("the file has {found} bytes, expected at most {limit}")]
    TooManyBytes {
        /// The size of the file.
        found: usize,
        /// The most that is taken.
        limit: usize,
    },
    /// More pixels than allowed.
    #[error("the picture is {width} x {height} pixels, expected at most {limit} in all")]
    TooManyPixels {
        /// In pixels.
        width: usize,
        /// In pixels.
        height: usize,
        /// The most that are taken.
        limit: usize,
    },
    /// More pixels than allowed, in all pictures of a request.
    #[error("the pictures of this request have more than {limit} pixels in all")]
    TooManyInAll {
        /// The most that are taken.
        limit: usize,
    },
    /// The file is cut off or not what its format says.
    #[error("the picture cannot be decoded: {problem}")]
    Broken {
        /// What is wrong.
        problem: String,
    },
}

impl ImageError {
    /// The stable, machine-readable name, as listed in docs/artifact.md, section 3.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Format { .. } => "image_format",
            Self::Unsupported { .. } => "image_unsupported",
            Self::TooManyBytes { .. } | Self::TooManyPixels { .. } | Self::TooManyInAll { .. } => {
                "image_too_large"
            }
            Self::Broken { .. } => "image_broken",
        }
    }
}

/// Pixels, row by row from the top left, the channels of a pixel side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Raster {
    width: usize,
    height: usize,
    /// 1 is grey, 2 grey and alpha, 3 red, green and blue, 4 those and alpha.
    channels: usize,
    /// `width * height * channels` values.
    data: Vec<u8>,
}

/// To the nearest u8, out of range to its ends.
#[expect(clippy::cast_sign_loss, reason = "clamped to 0..=255")]
fn clamp(value: i32) -> u8 {
    value.clamp(0, 255) as u8
}

#[cfg(test)]
mod tests;
