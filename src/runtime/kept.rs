//! Tensors that go from one run to the next: a graph of one matrix is most often given as many rows as the last time.
//!
//! To make a tensor for each run, to ask for the type of each output and to give all of it back takes a third as long as to run a linear model.

use half::f16;
use ort::memory::Allocator;
use ort::session::{
    HasSelectedOutputs, OutputSelector, RunOptions, Session as OrtSession, SessionInputValue,
    SessionOutputs,
};
use ort::value::{PrimitiveTensorElementType, Tensor as OrtTensor};

use super::TensorInfo;
use crate::tensor::{ElementType, Feature};

/// A larger matrix is not kept: what it costs to make does not count there, and each session would hold it.
const MOST_VALUES: usize = 64 * 1024;

/// The input of runs of one size, and their outputs where their size is known.
pub(super) struct Kept {
    element_type: ElementType,
    size: [usize; 2],
    wanted: Vec<String>,
    input: Input,
    options: RunOptions<HasSelectedOutputs>,
}

/// A matrix of a type that features are cast to.
enum Input {
    Float16(OrtTensor<f16>),
    Float32(OrtTensor<f32>),
    Float64(OrtTensor<f64>),
    Int64(OrtTensor<i64>),
}

impl Kept {
    /// Tensors for runs of a matrix of this size; `None` when there is nothing to be gained.
    pub(super) fn new(
        element_type: ElementType,
        size: [usize; 2],
        wanted: &[String],
        input: &TensorInfo,
        outputs: &[TensorInfo],
    ) -> ort::Result<Option<Self>> {
        if size[0].saturating_mul(size[1]) > MOST_VALUES {
            return Ok(None);
        }
        let filled = match element_type {
            ElementType::Float16 => Input::Float16(matrix(size)?),
            ElementType::Float32 => Input::Float32(matrix(size)?),
            ElementType::Float64 => Input::Float64(matrix(size)?),
            ElementType::Int64 => Input::Int64(matrix(size)?),
            _ => return Ok(None),
        };
        let rows = input.symbols.first().map_or("", String::as_str);
        let mut selector = OutputSelector::no_default();
        for name in wanted {
            selector = selector.with(name);
            let known = outputs.iter().find(|output| output.name == *name).and_then(|output| {
                Some((ElementType::parse(&output.r#type)?, shape(output, rows, size[0])?))
            });
            if let Some((element_type, shape)) = known {
                selector = preallocated(selector, name, element_type, &shape)?;
            }
        }
        let options = RunOptions::new()?.with_outputs(selector);
        Ok(Some(Self { element_type, size, wanted: wanted.to_vec(), input: filled, options }))
    }

    /// Whether it is for such runs.
    pub(super) fn fits(
        &self,
        element_type: ElementType,
        size: [usize; 2],
        wanted: &[String],
    ) -> bool {
        self.size == size && self.element_type == element_type && self.wanted == wanted
    }

    /// Runs the graph on the features, which are as many as the matrix has room for.
    pub(super) fn run<'a>(
        &'a mut self,
        session: &'a mut OrtSession,
        features: &[f64],
    ) -> ort::Result<SessionOutputs<'a>> {
        let input: SessionInputValue<'_> = match &mut self.input {
            Input::Float16(tensor) => filled(tensor, features)?,
            Input::Float32(tensor) => filled(tensor, features)?,
            Input::Float64(tensor) => filled(tensor, features)?,
            Input::Int64(tensor) => filled(tensor, features)?,
        };
        session.run_with_options([input], &self.options)
    }
}

fn matrix<T>(size: [usize; 2]) -> ort::Result<OrtTensor<T>>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Clone + Default + 'static,
{
    OrtTensor::from_array((size, vec![T::default(); size[0] * size[1]]))
}

fn filled<'a, T>(
    tensor: &'a mut OrtTensor<T>,
    features: &[f64],
) -> ort::Result<SessionInputValue<'a>>
where
    T: PrimitiveTensorElementType + std::fmt::Debug + Feature,
{
    let (_, values) = tensor.try_extract_tensor_mut::<T>()?;
    for (value, feature) in values.iter_mut().zip(features) {
        *value = T::of(*feature);
    }
    Ok(tensor.view().into())
}

/// The shape of an output for so many rows, where the graph says it by the same dimension as that of its input, or by numbers.
fn shape(output: &TensorInfo, rows: &str, n_rows: usize) -> Option<Vec<usize>> {
    let dims = output.shape.iter().zip(&output.symbols);
    dims.map(|(dim, symbol)| match dim {
        Some(dim) => usize::try_from(*dim).ok(),
        None if !symbol.is_empty() && symbol == rows => Some(n_rows),
        None => None,
    })
    .collect()
}

fn preallocated(
    selector: OutputSelector,
    name: &str,
    element_type: ElementType,
    shape: &[usize],
) -> ort::Result<OutputSelector> {
    let memory = Allocator::default();
    macro_rules! tensor {
        ($type:ty) => {
            selector.preallocate(name, OrtTensor::<$type>::new(&memory, shape)?)
        };
    }
    Ok(match element_type {
        ElementType::Float32 => tensor!(f32),
        ElementType::Float64 => tensor!(f64),
        ElementType::Int64 => tensor!(i64),
        // Any other is made by each run.
        _ => selector,
    })
}
