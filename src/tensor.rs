//! Named, typed arrays: where the pipeline, the runtime and the postprocessing meet.
//!
//! Knows nothing of columns, of ONNX Runtime or of requests.

use half::f16;
use ndarray::{ArrayD, Axis, IxDyn};

/// The element type of a tensor, as the manifest spells it: NumPy's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// IEEE 754 binary16.
    Float16,
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64.
    Float64,
    /// Signed 8-bit integers.
    Int8,
    /// Signed 16-bit integers.
    Int16,
    /// Signed 32-bit integers.
    Int32,
    /// Signed 64-bit integers.
    Int64,
    /// Unsigned 8-bit integers.
    UInt8,
    /// Unsigned 16-bit integers.
    UInt16,
    /// Unsigned 32-bit integers.
    UInt32,
    /// Unsigned 64-bit integers.
    UInt64,
    /// Truth values.
    Bool,
    /// Strings.
    String,
}

impl ElementType {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 13] = [
        Self::Float16,
        Self::Float32,
        Self::Float64,
        Self::Int8,
        Self::Int16,
        Self::Int32,
        Self::Int64,
        Self::UInt8,
        Self::UInt16,
        Self::UInt32,
        Self::UInt64,
        Self::Bool,
        Self::String,
    ];

    /// As the manifest spells it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Float16 => "float16",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::UInt8 => "uint8",
            Self::UInt16 => "uint16",
            Self::UInt32 => "uint32",
            Self::UInt64 => "uint64",
            Self::Bool => "bool",
            Self::String => "string",
        }
    }

    /// The type of this name; `None` for one that is not supported.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.as_str() == name)
    }

    /// Whether its values are floating-point numbers.
    #[must_use]
    pub fn is_float(self) -> bool {
        matches!(self, Self::Float16 | Self::Float32 | Self::Float64)
    }

    /// The least and the greatest value of a type of integers.
    #[must_use]
    pub fn integer_range(self) -> Option<(i128, i128)> {
        Some(match self {
            Self::Int8 => (i8::MIN.into(), i8::MAX.into()),
            Self::Int16 => (i16::MIN.into(), i16::MAX.into()),
            Self::Int32 => (i32::MIN.into(), i32::MAX.into()),
            Self::Int64 => (i64::MIN.into(), i64::MAX.into()),
            Self::UInt8 => (0, u8::MAX.into()),
            Self::UInt16 => (0, u16::MAX.into()),
            Self::UInt32 => (0, u32::MAX.into()),
            Self::UInt64 => (0, u64::MAX.into()),
            Self::Float16 | Self::Float32 | Self::Float64 | Self::Bool | Self::String => {
                return None;
            }
        })
    }

    /// Whether its values are integers.
    #[must_use]
    pub fn is_integer(self) -> bool {
        self.integer_range().is_some()
    }
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An array with a shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Tensor {
    /// IEEE 754 binary16.
    Float16(ArrayD<f16>),
    /// IEEE 754 binary32.
    Float32(ArrayD<f32>),
    /// IEEE 754 binary64.
    Float64(ArrayD<f64>),
    /// Signed 8-bit integers.
    Int8(ArrayD<i8>),
    /// Signed 16-bit integers.
    Int16(ArrayD<i16>),
    /// Signed 32-bit integers.
    Int32(ArrayD<i32>),
    /// Signed 64-bit integers.
    Int64(ArrayD<i64>),
    /// Unsigned 8-bit integers.
    UInt8(ArrayD<u8>),
    /// Unsigned 16-bit integers.
    UInt16(ArrayD<u16>),
    /// Unsigned 32-bit integers.
    UInt32(ArrayD<u32>),
    /// Unsigned 64-bit integers.
    UInt64(ArrayD<u64>),
    /// Truth values.
    Bool(ArrayD<bool>),
    /// Strings.
    String(ArrayD<String>),
}

/// The same expression for the array of every type.
macro_rules! each {
    ($tensor:expr, $array:ident => $body:expr) => {
        match $tensor {
            Tensor::Float16($array) => $body,
            Tensor::Float32($array) => $body,
            Tensor::Float64($array) => $body,
            Tensor::Int8($array) => $body,
            Tensor::Int16($array) => $body,
            Tensor::Int32($array) => $body,
            Tensor::Int64($array) => $body,
            Tensor::UInt8($array) => $body,
            Tensor::UInt16($array) => $body,
            Tensor::UInt32($array) => $body,
            Tensor::UInt64($array) => $body,
            Tensor::Bool($array) => $body,
            Tensor::String($array) => $body,
        }
    };
}

/// One value of a tensor, for whoever writes or compares it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Element<'a> {
    /// A floating-point number, widened to float64, which is exact.
    Float(f64),
    /// An integer of any width.
    Int(i128),
    /// A truth value.
    Bool(bool),
    /// A string.
    Text(&'a str),
}

/// What can be an element.
trait AsElement {
    fn element(&self) -> Element<'_>;
}

macro_rules! as_element {
    ($($type:ty => $variant:ident),*) => {
        $(impl AsElement for $type {
            fn element(&self) -> Element<'_> {
                Element::$variant((*self).into())
            }
        })*
    };
}

as_element!(f16 => Float, f32 => Float, f64 => Float, i8 => Int, i16 => Int, i32 => Int, i64 => Int, u8 => Int, u16 => Int, u32 => Int, u64 => Int, bool => Bool);

impl AsElement for String {
    fn element(&self) -> Element<'_> {
        Element::Text(self)
    }
}

/// What features are cast to: the last thing before the graph, and the one place where it is done.
pub trait Feature: Copy {
    /// The value as this type. To a smaller float the nearest one is taken, as NumPy's `astype` does; to an integer the fraction is cut off.
    fn of(value: f64) -> Self;
}

impl Feature for f64 {
    fn of(value: f64) -> Self {
        value
    }
}

impl Feature for f32 {
    #[expect(clippy::cast_possible_truncation, reason = "the graph takes this type")]
    fn of(value: f64) -> Self {
        value as Self
    }
}

impl Feature for f16 {
    fn of(value: f64) -> Self {
        Self::from_f64(value)
    }
}

impl Feature for i64 {
    #[expect(clippy::cast_possible_truncation, reason = "the graph takes this type")]
    fn of(value: f64) -> Self {
        value as Self
    }
}

impl Tensor {
    /// The element type.
    #[must_use]
    pub fn element_type(&self) -> ElementType {
        match self {
            Self::Float16(_) => ElementType::Float16,
            Self::Float32(_) => ElementType::Float32,
            Self::Float64(_) => ElementType::Float64,
            Self::Int8(_) => ElementType::Int8,
            Self::Int16(_) => ElementType::Int16,
            Self::Int32(_) => ElementType::Int32,
            Self::Int64(_) => ElementType::Int64,
            Self::UInt8(_) => ElementType::UInt8,
            Self::UInt16(_) => ElementType::UInt16,
            Self::UInt32(_) => ElementType::UInt32,
            Self::UInt64(_) => ElementType::UInt64,
            Self::Bool(_) => ElementType::Bool,
            Self::String(_) => ElementType::String,
        }
    }

    /// The length of each dimension.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        each!(self, array => array.shape())
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        each!(self, array => array.len())
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A matrix of float64 as a tensor of `element_type`: the last thing before the graph.
    ///
    /// `values` is row-major, `n_rows * n_columns` long; `None` when it is not, or for a type that features are not cast to by [`Feature`].
    #[must_use]
    pub fn from_features(
        element_type: ElementType,
        values: &[f64],
        n_rows: usize,
        n_columns: usize,
    ) -> Option<Self> {
        fn cast<T: Feature>(values: &[f64], shape: IxDyn) -> Option<ArrayD<T>> {
            ArrayD::from_shape_vec(shape, values.iter().map(|&value| T::of(value)).collect()).ok()
        }
        let shape = IxDyn(&[n_rows, n_columns]);
        Some(match element_type {
            ElementType::Float64 => Self::Float64(cast(values, shape)?),
            ElementType::Float32 => Self::Float32(cast(values, shape)?),
            ElementType::Int64 => Self::Int64(cast(values, shape)?),
            ElementType::Float16 => Self::Float16(cast(values, shape)?),
            _ => return None,
        })
    }

    /// The values as float64, row-major; `None` for strings and truth values.
    #[must_use]
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "an output of the graph that is asked for as a number"
        )]
        Some(match self {
            Self::Float64(array) => array.iter().copied().collect(),
            Self::Float32(array) => array.iter().map(|&value| value.into()).collect(),
            Self::Float16(array) => array.iter().map(|&value| value.into()).collect(),
            Self::Int8(array) => array.iter().map(|&value| value.into()).collect(),
            Self::Int16(array) => array.iter().map(|&value| value.into()).collect(),
            Self::Int32(array) => array.iter().map(|&value| value.into()).collect(),
            Self::Int64(array) => array.iter().map(|&value| value as f64).collect(),
            Self::UInt8(array) => array.iter().map(|&value| value.into()).collect(),
            Self::UInt16(array) => array.iter().map(|&value| value.into()).collect(),
            Self::UInt32(array) => array.iter().map(|&value| value.into()).collect(),
            Self::UInt64(array) => array.iter().map(|&value| value as f64).collect(),
            Self::Bool(_) | Self::String(_) => return None,
        })
    }

    /// The values in row-major order.
    pub fn elements(&self) -> Box<dyn Iterator<Item = Element<'_>> + '_> {
        each!(self, array => Box::new(array.iter().map(AsElement::element)))
    }

    /// How many values are NaN or infinite.
    #[must_use]
    pub fn n_not_finite(&self) -> usize {
        match self {
            Self::Float16(array) => array.iter().filter(|value| !value.is_finite()).count(),
            Self::Float32(array) => array.iter().filter(|value| !value.is_finite()).count(),
            Self::Float64(array) => array.iter().filter(|value| !value.is_finite()).count(),
            _ => 0,
        }
    }

    /// The same values with a first dimension of length 1.
    #[must_use]
    pub fn with_row(self) -> Self {
        let at = Axis(0);
        match self {
            Self::Float16(array) => Self::Float16(array.insert_axis(at)),
            Self::Float32(array) => Self::Float32(array.insert_axis(at)),
            Self::Float64(array) => Self::Float64(array.insert_axis(at)),
            Self::Int8(array) => Self::Int8(array.insert_axis(at)),
            Self::Int16(array) => Self::Int16(array.insert_axis(at)),
            Self::Int32(array) => Self::Int32(array.insert_axis(at)),
            Self::Int64(array) => Self::Int64(array.insert_axis(at)),
            Self::UInt8(array) => Self::UInt8(array.insert_axis(at)),
            Self::UInt16(array) => Self::UInt16(array.insert_axis(at)),
            Self::UInt32(array) => Self::UInt32(array.insert_axis(at)),
            Self::UInt64(array) => Self::UInt64(array.insert_axis(at)),
            Self::Bool(array) => Self::Bool(array.insert_axis(at)),
            Self::String(array) => Self::String(array.insert_axis(at)),
        }
    }

    /// The slice at `row` of the first dimension, which it loses. `None` when there is no such row, or no dimension.
    #[must_use]
    pub fn row(&self, row: usize) -> Option<Self> {
        if self.shape().first().is_none_or(|n_rows| row >= *n_rows) {
            return None;
        }
        let at = Axis(0);
        Some(match self {
            Self::Float16(array) => Self::Float16(array.index_axis(at, row).to_owned()),
            Self::Float32(array) => Self::Float32(array.index_axis(at, row).to_owned()),
            Self::Float64(array) => Self::Float64(array.index_axis(at, row).to_owned()),
            Self::Int8(array) => Self::Int8(array.index_axis(at, row).to_owned()),
            Self::Int16(array) => Self::Int16(array.index_axis(at, row).to_owned()),
            Self::Int32(array) => Self::Int32(array.index_axis(at, row).to_owned()),
            Self::Int64(array) => Self::Int64(array.index_axis(at, row).to_owned()),
            Self::UInt8(array) => Self::UInt8(array.index_axis(at, row).to_owned()),
            Self::UInt16(array) => Self::UInt16(array.index_axis(at, row).to_owned()),
            Self::UInt32(array) => Self::UInt32(array.index_axis(at, row).to_owned()),
            Self::UInt64(array) => Self::UInt64(array.index_axis(at, row).to_owned()),
            Self::Bool(array) => Self::Bool(array.index_axis(at, row).to_owned()),
            Self::String(array) => Self::String(array.index_axis(at, row).to_owned()),
        })
    }
}
