//! The operations that make the input of a network out of a picture, as the manifest lists them.

use serde::{Deserialize, Serialize};

use super::decode::{check_pixels, decode};
use super::{ImageError, Limits, Raster, clamp, opencv, pillow};

/// The recipe as written in a manifest; see docs/artifact.md, `image`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeSpec {
    /// In which form pixels are read.
    pub decode: Decode,
    /// What is done to them, in order.
    #[serde(default)]
    pub operations: Vec<Operation>,
    /// The order of the dimensions.
    pub layout: Layout,
    /// The type of the result.
    #[serde(rename = "type")]
    pub pixels: Pixels,
    /// The type in which `affine` computes.
    #[serde(default)]
    pub precision: Precision,
}

/// In which form pixels are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decode {
    /// The order of the channels.
    pub colour: Colour,
    /// Whether a picture is turned as its EXIF orientation says.
    #[serde(default)]
    pub orientation: Orientation,
    /// What becomes of transparency.
    #[serde(default)]
    pub alpha: Alpha,
    /// How colour becomes grey.
    #[serde(default)]
    pub grey: Grey,
}

/// The order of the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Colour {
    /// Red, green, blue, as Pillow has them.
    Rgb,
    /// Blue, green, red, as OpenCV has them.
    Bgr,
    /// One channel.
    Grey,
}

impl Colour {
    fn channels(self) -> usize {
        match self {
            Self::Rgb | Self::Bgr => 3,
            Self::Grey => 1,
        }
    }
}

/// What becomes of an EXIF orientation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Orientation {
    /// The picture is turned: `cv2.imdecode`, Pillow's `ImageOps.exif_transpose`.
    #[default]
    Apply,
    /// It stays as stored: Pillow's `Image.open`, torchvision's loaders, Keras.
    Ignore,
}

/// What becomes of transparency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alpha {
    /// It is dropped and the colour below it shows: OpenCV's `IMREAD_COLOR`, Pillow's `convert("RGB")`.
    #[default]
    Drop,
    /// The picture is laid on this red, green and blue: Pillow's `paste` with the alpha as mask.
    Background([u8; 3]),
}

/// How colour becomes grey.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Grey {
    /// `cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)`.
    #[default]
    Opencv,
    /// `image.convert("L")`.
    Pillow,
}

/// Which library's arithmetic is followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Library {
    /// OpenCV's own code: no filter but for `area`.
    Opencv,
    /// OpenCV with Intel's IPP, as in the packages for x86-64: `bicubic` is computed without rounding on the way.
    OpencvIpp,
    /// Pillow before 13: a filter that grows with the reduction. Also torchvision's `Resize`.
    Pillow,
    /// Pillow from 13 on, which begins with the columns where that is less work.
    Pillow13,
}

/// How pixels are computed from their neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// `INTER_NEAREST`, `NEAREST`.
    Nearest,
    /// `INTER_LINEAR`, `BILINEAR`.
    Bilinear,
    /// `INTER_CUBIC`, `BICUBIC`.
    Bicubic,
    /// `INTER_AREA`, `BOX`.
    Area,
    /// `INTER_LANCZOS4`, `LANCZOS`.
    Lanczos,
}

/// Width and height in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// In pixels.
    pub width: usize,
    /// In pixels.
    pub height: usize,
}

/// One number for all channels, or one for each.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Numbers {
    /// The same for all.
    One(f64),
    /// In the order of the channels.
    Each(Vec<f64>),
}

/// Which side has the pixel more, where a margin is odd.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rounding {
    /// The first pixel is at `(size - cut) // 2`: NumPy, Keras, TensorFlow.
    #[default]
    Down,
    /// At `round((size - cut) / 2)`, halves to even: torchvision's `CenterCrop`.
    Even,
}

/// One operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// To exactly this size.
    Resize {
        /// In pixels.
        width: usize,
        /// In pixels.
        height: usize,
        /// How pixels are computed.
        method: Method,
        /// By whose arithmetic.
        like: Library,
    },
    /// The shorter side to this length, the longer one in proportion, cut to whole pixels: torchvision's `Resize(size)`.
    ResizeShorter {
        /// In pixels.
        size: usize,
        /// How pixels are computed.
        method: Method,
        /// By whose arithmetic.
        like: Library,
    },
    /// The middle of the picture; one that is too small gets a margin of zeros first.
    CentreCrop {
        /// In pixels.
        width: usize,
        /// In pixels.
        height: usize,
        /// Where the first pixel is when a margin is odd.
        #[serde(default)]
        rounding: Rounding,
    },
    /// A margin.
    Pad {
        /// In pixels.
        #[serde(default)]
        left: usize,
        /// In pixels.
        #[serde(default)]
        top: usize,
        /// In pixels.
        #[serde(default)]
        right: usize,
        /// In pixels.
        #[serde(default)]
        bottom: usize,
        /// Its colour, in the order of the channels.
        value: Vec<u8>,
    },
    /// A margin on two sides that makes the picture square; on the right or below it is the wider one.
    PadSquare {
        /// Its colour, in the order of the channels.
        value: Vec<u8>,
    },
    /// `255 - x`: dark on light becomes light on dark.
    Invert {},
    /// In this order `((x - subtract) / divide) * multiply + add`, for each channel; absent parts are left out.
    Affine {
        /// Such as the mean.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        subtract: Option<Numbers>,
        /// Such as 255, or the standard deviation.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        divide: Option<Numbers>,
        /// A factor.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        multiply: Option<Numbers>,
        /// A summand.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        add: Option<Numbers>,
    },
}

/// The order of the dimensions of one picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Height, width, channels: OpenCV, Pillow, Keras, TensorFlow.
    Hwc,
    /// Channels, height, width: PyTorch.
    Chw,
    /// Height, width; grey only.
    Hw,
}

/// The type of the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pixels {
    /// As the network computes, mostly.
    Float32,
    /// Without any `affine`.
    Uint8,
}

/// The type in which `affine` computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// PyTorch, and NumPy on float32.
    #[default]
    Float32,
    /// NumPy on float64; rounded to the result's type at the end.
    Float64,
}

/// A recipe that is not sound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}")]
pub struct RecipeError {
    /// What is wrong.
    pub problem: String,
}

/// What a network takes of one picture.
#[derive(Debug, Clone, PartialEq)]
pub enum Picture {
    /// Rounded to float32 at the end.
    Float32(Vec<f32>),
    /// Untouched pixels.
    Uint8(Vec<u8>),
}

/// A checked recipe. Each picture gives as many numbers as [`Self::shape`] says, whatever its size.
#[derive(Debug, Clone, PartialEq)]
pub struct Recipe {
    spec: RecipeSpec,
    size: Size,
    /// What becomes of each of the 256 values of a pixel, by channel; none where they stay as they are.
    tables: Vec<[f32; 256]>,
}

/// The longest side that a recipe may ask for.
const LONGEST: usize = 1 << 14;

impl Recipe {
    /// Checks a recipe.
    ///
    /// # Errors
    /// Sizes of nothing or too large; a size that depends on the picture; pixels of float where pixels of integers are needed, or the other
    /// way round; parameters for another number of channels; numbers that are not finite or divide by zero.
    pub fn load(spec: RecipeSpec) -> Result<Self, RecipeError> {
        let channels = spec.decode.colour.channels();
        let wrong = |at: usize, problem: String| RecipeError {
            problem: format!("operation {}: {problem}", at + 1),
        };
        let mut size = None;
        let mut affine = Vec::new();
        for (at, operation) in spec.operations.iter().enumerate() {
            let wrong = |problem: &str| wrong(at, problem.to_owned());
            if let Operation::Affine { subtract, divide, multiply, add } = operation {
                affine.push([subtract, divide, multiply, add]);
                for numbers in [subtract, divide, multiply, add].into_iter().flatten() {
                    let numbers = numbers.of(channels).ok_or_else(|| {
                        wrong(&format!(
                            "expected one number, or one for each of {channels} channels"
                        ))
                    })?;
                    if numbers.iter().any(|number| !number.is_finite()) {
                        return Err(wrong("a number is not finite"));
                    }
                }
                if divide
                    .iter()
                    .filter_map(|divide| divide.of(channels))
                    .flatten()
                    .any(|x| x == 0.0)
                {
                    return Err(wrong("a division by zero"));
                }
                continue;
            }
            if !affine.is_empty() {
                return Err(wrong(
                    "only `affine` may follow `affine`: the others take whole pixels",
                ));
            }
            size = operation.size_after(size, channels).map_err(wrong)?;
        }
        let Some(size) = size else {
            return Err(RecipeError {
                problem:
                    "the size of the result depends on the picture; add `resize` or `centre_crop`"
                        .to_owned(),
            });
        };
        if spec.layout == Layout::Hw && channels != 1 {
            return Err(RecipeError { problem: "the layout `hw` is for grey".to_owned() });
        }
        if spec.pixels == Pixels::Uint8 && !affine.is_empty() {
            return Err(RecipeError {
                problem: "`affine` gives fractions, which the type `uint8` cannot hold; expected `float32`".to_owned(),
            });
        }
        let n_tables = if affine.is_empty() { 0 } else { channels };
        let tables = (0..n_tables)
            .map(|channel| table(&affine, channels, channel, spec.precision))
            .collect();
        Ok(Self { spec, size, tables })
    }

    /// The lengths of the dimensions of one picture, in the order of the layout.
    #[must_use]
    pub fn shape(&self) -> Vec<usize> {
        let Size { width, height } = self.size;
        let channels = self.spec.decode.colour.channels();
        match self.spec.layout {
            Layout::Hwc => vec![height, width, channels],
            Layout::Chw => vec![channels, height, width],
            Layout::Hw => vec![height, width],
        }
    }

    /// The type of the numbers.
    #[must_use]
    pub fn pixels(&self) -> Pixels {
        self.spec.pixels
    }

    /// Makes the input of a network out of a file.
    ///
    /// - Output: as many numbers as [`Self::shape`] says, row-major.
    /// - Depends on nothing but the bytes: the same file gives the same bits everywhere.
    ///
    /// # Errors
    /// The file is of no known format, over the limits, or cannot be decoded to its end.
    pub fn run(&self, bytes: &[u8], limits: Limits) -> Result<Picture, ImageError> {
        let pixels = self.run_to_pixels(bytes, limits)?;
        if self.spec.pixels == Pixels::Uint8 {
            return Ok(Picture::Uint8(pixels));
        }
        let mut numbers = Vec::with_capacity(pixels.len());
        self.append_numbers(&pixels, &mut numbers);
        Ok(Picture::Float32(numbers))
    }

    /// As [`Self::run`], but for the last step: whole pixels, in the order of the layout. Of the type `uint8` they are the result; of `float32`,
    /// [`Self::append_numbers`] makes it of them.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn run_to_pixels(&self, bytes: &[u8], limits: Limits) -> Result<Vec<u8>, ImageError> {
        let Decode { colour, orientation, alpha, grey } = self.spec.decode;
        let raster = decode(bytes, limits, orientation == Orientation::Apply)?;
        let mut raster = with_colour(without_alpha(raster, alpha), colour, grey);
        for operation in &self.spec.operations {
            raster = operation.run(raster, limits)?;
        }
        let channels = raster.channels;
        Ok(match self.spec.layout {
            Layout::Hwc | Layout::Hw => raster.data,
            Layout::Chw => {
                let mut data = Vec::with_capacity(raster.data.len());
                for channel in 0..channels {
                    data.extend(raster.data.iter().skip(channel).step_by(channels));
                }
                data
            }
        })
    }

    /// Appends what a network takes of the pixels of one picture, of [`Self::run_to_pixels`].
    pub fn append_numbers(&self, pixels: &[u8], numbers: &mut Vec<f32>) {
        match self.tables.as_slice() {
            [] => numbers.extend(pixels.iter().map(|value| f32::from(*value))),
            [table] => numbers.extend(pixels.iter().map(|value| table[usize::from(*value)])),
            tables if self.spec.layout == Layout::Chw => {
                let planes = pixels.chunks_exact((pixels.len() / tables.len()).max(1));
                for (plane, table) in planes.zip(tables) {
                    numbers.extend(plane.iter().map(|value| table[usize::from(*value)]));
                }
            }
            tables => {
                numbers.reserve(pixels.len());
                for pixel in pixels.chunks_exact(tables.len()) {
                    let values = pixel.iter().zip(tables);
                    numbers.extend(values.map(|(value, table)| table[usize::from(*value)]));
                }
            }
        }
    }
}

/// A pixel has 256 values, so each is computed once for each channel.
fn table(
    steps: &[[&Option<Numbers>; 4]],
    channels: usize,
    channel: usize,
    precision: Precision,
) -> [f32; 256] {
    let number = |numbers: &Option<Numbers>| {
        numbers.as_ref().and_then(|numbers| numbers.of(channels)).map(|numbers| numbers[channel])
    };
    let mut table = [0.0; 256];
    for (value, result) in (0_u8..=255).zip(&mut table) {
        *result = match precision {
            Precision::Float64 => {
                let mut x = f64::from(value);
                for [subtract, divide, multiply, add] in steps {
                    x = number(subtract).map_or(x, |by| x - by);
                    x = number(divide).map_or(x, |by| x / by);
                    x = number(multiply).map_or(x, |by| x * by);
                    x = number(add).map_or(x, |by| x + by);
                }
                to_f32(x)
            }
            Precision::Float32 => {
                let mut x = f32::from(value);
                for [subtract, divide, multiply, add] in steps {
                    x = number(subtract).map_or(x, |by| x - to_f32(by));
                    x = number(divide).map_or(x, |by| x / to_f32(by));
                    x = number(multiply).map_or(x, |by| x * to_f32(by));
                    x = number(add).map_or(x, |by| x + to_f32(by));
                }
                x
            }
        };
    }
    table
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the network takes float32; to nearest, as NumPy's `astype`"
)]
fn to_f32(x: f64) -> f32 {
    x as f32
}

impl Numbers {
    /// One for each channel; `None` when there are more or fewer.
    fn of(&self, channels: usize) -> Option<Vec<f64>> {
        match self {
            Self::One(number) => Some(vec![*number; channels]),
            Self::Each(numbers) => (numbers.len() == channels).then(|| numbers.clone()),
        }
    }
}

impl Operation {
    /// The size after it, as far as it is known before there is a picture.
    fn size_after(
        &self,
        size: Option<Size>,
        channels: usize,
    ) -> Result<Option<Size>, &'static str> {
        let sound = |width: usize, height: usize| {
            if width == 0 || height == 0 {
                Err("width and height must be at least 1")
            } else if width > LONGEST || height > LONGEST {
                Err("width and height may be at most 16384")
            } else {
                Ok(Some(Size { width, height }))
            }
        };
        match self {
            Self::Resize { width, height, .. } | Self::CentreCrop { width, height, .. } => {
                sound(*width, *height)
            }
            Self::ResizeShorter { size: shorter, .. } => {
                sound(*shorter, *shorter)?;
                Ok(size.map(|size| in_proportion(size, *shorter)))
            }
            Self::Pad { left, top, right, bottom, value } => {
                if value.len() != channels {
                    return Err("`value` needs a number for each channel");
                }
                if [left, top, right, bottom].into_iter().any(|n| *n > LONGEST) {
                    return Err("a margin may be at most 16384");
                }
                size.map_or(Ok(None), |size| {
                    sound(size.width + left + right, size.height + top + bottom)
                })
            }
            Self::PadSquare { value } => {
                if value.len() != channels {
                    return Err("`value` needs a number for each channel");
                }
                Ok(size.map(|Size { width, height }| {
                    let side = width.max(height);
                    Size { width: side, height: side }
                }))
            }
            Self::Invert {} | Self::Affine { .. } => Ok(size),
        }
    }

    fn run(&self, mut raster: Raster, limits: Limits) -> Result<Raster, ImageError> {
        let (width, height) = (raster.width, raster.height);
        Ok(match self {
            Self::Resize { width, height, method, like } => {
                resize(raster, *width, *height, *method, *like)
            }
            Self::ResizeShorter { size, method, like } => {
                let Size { width, height } = in_proportion(Size { width, height }, *size);
                check_pixels(width, height, limits)?;
                resize(raster, width, height, *method, *like)
            }
            Self::CentreCrop { width, height, rounding } => {
                centre_crop(&raster, *width, *height, *rounding)
            }
            Self::Pad { left, top, right, bottom, value } => {
                check_pixels(width + left + right, height + top + bottom, limits)?;
                pad(&raster, [*left, *top, *right, *bottom], value)
            }
            Self::PadSquare { value } => {
                let side = width.max(height);
                check_pixels(side, side, limits)?;
                let (left, top) = ((side - width) / 2, (side - height) / 2);
                pad(&raster, [left, top, side - width - left, side - height - top], value)
            }
            Self::Invert {} => {
                raster.data.iter_mut().for_each(|value| *value = 255 - *value);
                raster
            }
            Self::Affine { .. } => raster,
        })
    }
}

/// The shorter side to `shorter`, the longer one as `int(shorter * long / short)`.
fn in_proportion(Size { width, height }: Size, shorter: usize) -> Size {
    if width <= height {
        Size { width: shorter, height: shorter * height / width }
    } else {
        Size { width: shorter * width / height, height: shorter }
    }
}

fn resize(raster: Raster, width: usize, height: usize, method: Method, like: Library) -> Raster {
    if (raster.width, raster.height) == (width, height) {
        return raster;
    }
    match like {
        Library::OpencvIpp if method == Method::Bicubic => {
            opencv::resize_ipp(&raster, width, height)
        }
        Library::Opencv | Library::OpencvIpp => opencv::resize(&raster, width, height, method),
        Library::Pillow => pillow::resize(&raster, width, height, method, false),
        Library::Pillow13 => {
            let (fewer_rows, fewer_columns) =
                (raster.height.checked_sub(height), raster.width.saturating_sub(width));
            let columns_first = fewer_rows.is_some_and(|fewer| fewer > 2 * fewer_columns);
            pillow::resize(&raster, width, height, method, columns_first)
        }
    }
}

fn centre_crop(raster: &Raster, width: usize, height: usize, rounding: Rounding) -> Raster {
    let margin = |size: usize, cut: usize| {
        let missing = cut.saturating_sub(size);
        (missing / 2, missing.div_ceil(2))
    };
    let ((left, right), (top, bottom)) =
        (margin(raster.width, width), margin(raster.height, height));
    let padded = pad(raster, [left, top, right, bottom], &vec![0; raster.channels]);
    let first = |size: usize, cut: usize| {
        let left_over = size - cut;
        let half = left_over / 2;
        match rounding {
            Rounding::Down => half,
            Rounding::Even => half + usize::from(left_over % 2 == 1 && half % 2 == 1),
        }
    };
    let (x, y) = (first(padded.width, width), first(padded.height, height));
    let channels = raster.channels;
    let mut data = Vec::with_capacity(width * height * channels);
    for row in padded.data.chunks_exact(padded.width * channels).skip(y).take(height) {
        data.extend_from_slice(&row[x * channels..(x + width) * channels]);
    }
    Raster { width, height, channels, data }
}

fn pad(raster: &Raster, [left, top, right, bottom]: [usize; 4], value: &[u8]) -> Raster {
    let (width, height) = (raster.width + left + right, raster.height + top + bottom);
    let mut data = Vec::with_capacity(width * height * raster.channels);
    let fill = |data: &mut Vec<u8>, n: usize| (0..n).for_each(|_| data.extend_from_slice(value));
    fill(&mut data, width * top);
    for row in raster.data.chunks_exact(raster.width * raster.channels) {
        fill(&mut data, left);
        data.extend_from_slice(row);
        fill(&mut data, right);
    }
    fill(&mut data, width * bottom);
    Raster { width, height, channels: raster.channels, data }
}

fn without_alpha(raster: Raster, alpha: Alpha) -> Raster {
    let colours = match raster.channels {
        2 => 1,
        4 => 3,
        _ => return raster,
    };
    let Raster { width, height, channels, data } = raster;
    // A grey picture on a coloured background is coloured.
    let channels_after =
        match alpha {
            Alpha::Drop => colours,
            Alpha::Background([red, green, blue]) => {
                if colours == 1 && red == green && green == blue { 1 } else { 3 }
            }
        };
    let mut flat = Vec::with_capacity(width * height * channels_after);
    for pixel in data.chunks_exact(channels) {
        let opacity = u32::from(pixel[colours]);
        for channel in 0..channels_after {
            let value = pixel[channel.min(colours - 1)];
            flat.push(match alpha {
                Alpha::Drop => value,
                Alpha::Background(background) => {
                    let sum = u32::from(value) * opacity
                        + u32::from(background[channel]) * (255 - opacity)
                        + 0x80;
                    u8::try_from(((sum >> 8) + sum) >> 8).unwrap_or(u8::MAX)
                }
            });
        }
    }
    Raster { width, height, channels: channels_after, data: flat }
}

fn with_colour(raster: Raster, colour: Colour, grey: Grey) -> Raster {
    let Raster { width, height, channels, data } = raster;
    let (channels, data) = match (channels, colour) {
        (1, Colour::Grey) | (3, Colour::Rgb) => (channels, data),
        (1, Colour::Rgb | Colour::Bgr) => (3, data.iter().flat_map(|value| [*value; 3]).collect()),
        (_, Colour::Bgr) => {
            let mut data = data;
            data.chunks_exact_mut(3).for_each(<[u8]>::reverse);
            (3, data)
        }
        (_, Colour::Grey) => {
            let (weights, bits) = match grey {
                Grey::Opencv => ([9798, 19235, 3735], 15),
                Grey::Pillow => ([19595, 38470, 7471], 16),
            };
            let to_grey = |pixel: &[u8]| {
                let sum: i32 =
                    pixel.iter().zip(weights).map(|(x, weight)| i32::from(*x) * weight).sum();
                clamp((sum + (1 << (bits - 1))) >> bits)
            };
            (1, data.chunks_exact(3).map(to_grey).collect())
        }
        (_, Colour::Rgb) => (channels, data),
    };
    Raster { width, height, channels, data }
}
