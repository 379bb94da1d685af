//! Named, typed arrays: where the pipeline, the runtime and the postprocessing meet.
//!
//! Knows nothing of columns, of ONNX Runtime or of requests.

use ndarray::{ArrayD, IxDyn};

/// The element type of a tensor, as the manifest spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ElementType {
    /// IEEE 754 binary32.
    Float32,
    /// IEEE 754 binary64.
    Float64,
    /// Signed 64-bit integers.
    Int64,
    /// Strings.
    String,
}

impl std::fmt::Display for ElementType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Int64 => "int64",
            Self::String => "string",
        })
    }
}

/// An array with a shape, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Tensor {
    /// IEEE 754 binary32.
    Float32(ArrayD<f32>),
    /// IEEE 754 binary64.
    Float64(ArrayD<f64>),
    /// Signed 64-bit integers.
    Int64(ArrayD<i64>),
    /// Strings.
    String(ArrayD<String>),
}

impl Tensor {
    /// The element type.
    #[must_use]
    pub fn element_type(&self) -> ElementType {
        match self {
            Self::Float32(_) => ElementType::Float32,
            Self::Float64(_) => ElementType::Float64,
            Self::Int64(_) => ElementType::Int64,
            Self::String(_) => ElementType::String,
        }
    }

    /// The length of each dimension.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        match self {
            Self::Float32(array) => array.shape(),
            Self::Float64(array) => array.shape(),
            Self::Int64(array) => array.shape(),
            Self::String(array) => array.shape(),
        }
    }

    /// A matrix of float64 as a tensor of `element_type`: the last thing before the graph.
    ///
    /// `values` is row-major, `n_rows * n_columns` long; `None` when it is not, or for a type without numbers. To
    /// float32 the nearest value is taken, as NumPy's `astype` does; to int64 the fraction is cut off.
    #[must_use]
    pub fn from_features(
        element_type: ElementType,
        values: &[f64],
        n_rows: usize,
        n_columns: usize,
    ) -> Option<Self> {
        let shape = IxDyn(&[n_rows, n_columns]);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "the graph takes this type; this is the one cast to it"
        )]
        Some(match element_type {
            ElementType::Float64 => {
                Self::Float64(ArrayD::from_shape_vec(shape, values.to_vec()).ok()?)
            }
            ElementType::Float32 => Self::Float32(
                ArrayD::from_shape_vec(shape, values.iter().map(|&x| x as f32).collect()).ok()?,
            ),
            ElementType::Int64 => Self::Int64(
                ArrayD::from_shape_vec(shape, values.iter().map(|&x| x as i64).collect()).ok()?,
            ),
            ElementType::String => return None,
        })
    }

    /// The values as float64, row-major; `None` for strings.
    #[must_use]
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        match self {
            Self::Float64(array) => Some(array.iter().copied().collect()),
            Self::Float32(array) => Some(array.iter().map(|&value| f64::from(value)).collect()),
            #[expect(
                clippy::cast_precision_loss,
                reason = "an output of the graph that is asked for as a number"
            )]
            Self::Int64(array) => Some(array.iter().map(|&value| value as f64).collect()),
            Self::String(_) => None,
        }
    }
}
