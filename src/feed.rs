//! What goes into which input of the graph, and in which runs: the matrix of features, or columns by themselves.
//!
//! Knows columns and tensors; knows nothing of sessions. Rows share a run only where the graph has a dimension for them and their shapes are
//! the same; nothing is ever padded.

use half::f16;
use hashbrown::HashMap;
use ndarray::ArrayD;

use crate::artifact::ModelSpec;
use crate::pipeline::{Fed, FedKind, Pipeline, Workspace};
use crate::postprocess::{Postprocess, shown_shape as shown};
use crate::schema::{Frame, IntColumn};
use crate::tensor::{ElementType, Tensor};

/// How many rows a run takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Any number: the first dimension of each input is the rows.
    Batch,
    /// One: the first dimension of each input is of length 1.
    One,
    /// One: no dimension is the rows.
    Whole,
}

/// Where the values of an input come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// The matrix of features.
    Features,
    /// A column that goes in by itself, by its number.
    Column(usize),
}

/// An input of the graph.
#[derive(Debug)]
struct Input {
    name: String,
    element_type: ElementType,
    source: Source,
    /// Whether a row of a number alone has a dimension of length 1 in the graph.
    is_column: bool,
}

/// The plan of feeding a graph. Immutable.
#[derive(Debug)]
pub struct Feeding {
    inputs: Vec<Input>,
    mode: Mode,
    rows_per_run: Option<usize>,
    n_features: usize,
    /// For each tensor that is needed, whether it has no dimension for the rows.
    without_rows: Vec<bool>,
}

impl Feeding {
    /// Checks what a manifest says of the graph's tensors against the columns that go in and the outputs that are needed.
    ///
    /// # Errors
    /// What does not fit, with the tensor's name.
    pub fn load(
        model: &ModelSpec,
        pipeline: &Pipeline,
        postprocess: &Postprocess,
    ) -> Result<Self, String> {
        let n_features = pipeline.feature_names().len();
        let mut kinds = pipeline.fed_kinds().enumerate();
        let mut inputs = Vec::with_capacity(model.inputs.len());
        let mut modes = Vec::with_capacity(model.inputs.len());
        for spec in &model.inputs {
            let Some(element_type) = ElementType::parse(&spec.r#type) else {
                return Err(format!(
                    "the input `{}` is of type {}, which is not supported",
                    spec.name, spec.r#type
                ));
            };
            let wrong = |problem: String| format!("the input `{}` {problem}", spec.name);
            let fed = if spec.from.is_some() { kinds.next() } else { None };
            let (source, mode, is_column) = match fed {
                Some((at, kind)) => {
                    check_type(element_type, kind).map_err(wrong)?;
                    let row: &[Option<usize>] = match kind {
                        FedKind::Tensor(tensor) => &tensor.shape,
                        FedKind::Float | FedKind::Int | FedKind::Text => &[],
                    };
                    let (mode, is_column) = fit(&spec.shape, row).map_err(wrong)?;
                    (Source::Column(at), mode, is_column)
                }
                None => {
                    let mode = matrix(element_type, &spec.shape, n_features).map_err(wrong)?;
                    (Source::Features, mode, false)
                }
            };
            inputs.push(Input { name: spec.name.clone(), element_type, source, is_column });
            modes.push(mode);
        }
        let mode = if modes.contains(&Mode::Whole) {
            if let Some(at) = modes.iter().position(|mode| *mode != Mode::Whole) {
                return Err(format!(
                    "the input `{}` has a dimension for the rows, but others have none; leave the rows out of all fields' shapes, or of none",
                    inputs[at].name
                ));
            }
            Mode::Whole
        } else if modes.contains(&Mode::One) {
            Mode::One
        } else {
            Mode::Batch
        };
        match inputs.iter().filter(|input| input.source == Source::Features).count() {
            0 if inputs.is_empty() => return Err("it has no input".to_owned()),
            0 if n_features > 0 => {
                return Err(format!(
                    "there are {n_features} features, but every input is fed from a column"
                ));
            }
            0 | 1 => {}
            n => {
                return Err(format!(
                    "{n} input tensors take the matrix of features; one may, the others need `from`, a column"
                ));
            }
        }
        let mut without_rows = Vec::new();
        for (at, name) in postprocess.tensors().iter().enumerate() {
            let Some(output) = model.outputs.iter().find(|output| output.name == *name) else {
                let known: Vec<&str> =
                    model.outputs.iter().map(|output| output.name.as_str()).collect();
                return Err(format!("it gives no output `{name}`; it gives: {}", known.join(", ")));
            };
            let Some(output_type) = ElementType::parse(&output.r#type) else {
                return Err(format!(
                    "the output `{name}` is of type {}, which is not supported",
                    output.r#type
                ));
            };
            let alone = match mode {
                Mode::Batch => false,
                Mode::One => output.shape.first() != Some(&Some(1)),
                Mode::Whole => true,
            };
            let mut shape = output.shape.clone();
            if alone {
                shape.insert(0, None);
            } else if mode == Mode::One {
                shape[0] = None;
            }
            if shape.is_empty() {
                return Err(format!("the output `{name}` has no dimension for the rows"));
            }
            postprocess
                .check(at, output_type, &shape)
                .map_err(|problem| format!("the output `{name}` {problem}"))?;
            without_rows.push(alone);
        }
        let rows_per_run = match model.rows_per_run {
            Some(0) => return Err("`rows_per_run` is 0, expected at least 1".to_owned()),
            Some(rows) => Some(usize::try_from(rows).unwrap_or(usize::MAX)),
            None => None,
        };
        Ok(Self { inputs, mode, rows_per_run, n_features, without_rows })
    }

    /// The type of the one input, when all that goes in is the matrix of features, all rows in one run.
    #[must_use]
    pub fn only_matrix(&self) -> Option<ElementType> {
        match self.inputs.as_slice() {
            [input]
                if input.source == Source::Features
                    && self.mode == Mode::Batch
                    && self.rows_per_run.is_none() =>
            {
                Some(input.element_type)
            }
            _ => None,
        }
    }

    /// The names of the inputs, in the order of [`Self::tensors`].
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.inputs.iter().map(|input| input.name.as_str())
    }

    /// Whether a tensor that is needed has no dimension for the rows.
    #[must_use]
    pub fn is_without_rows(&self, tensor: usize) -> bool {
        self.without_rows.get(tensor).copied().unwrap_or(false)
    }

    /// The rows of each run, in order: positions in `passed`, which are rows of the frame.
    #[must_use]
    pub fn runs(&self, passed: &[usize], columns: &[Fed<'_>]) -> Vec<Vec<usize>> {
        let at_most = match self.mode {
            Mode::Batch => self.rows_per_run.unwrap_or(usize::MAX),
            Mode::One | Mode::Whole => 1,
        };
        let mut runs: Vec<Vec<usize>> = Vec::new();
        let mut open: HashMap<Vec<usize>, usize> = HashMap::new();
        let mut key = Vec::new();
        for (at, row) in passed.iter().enumerate() {
            key.clear();
            for column in columns {
                if let Fed::Tensor(column) = column {
                    key.extend_from_slice(column.lengths(*row));
                }
            }
            match open.get(&key) {
                Some(run) if runs[*run].len() < at_most => runs[*run].push(at),
                _ => {
                    open.insert(key.clone(), runs.len());
                    runs.push(vec![at]);
                }
            }
        }
        runs
    }

    /// The columns that go in by themselves, after a run of the pipeline over `frame`.
    #[must_use]
    pub fn columns<'a>(
        &self,
        pipeline: &Pipeline,
        frame: &'a Frame,
        workspace: &'a Workspace,
    ) -> Vec<Fed<'a>> {
        (0..pipeline.fed_kinds().len())
            .filter_map(|at| pipeline.fed(at, frame, workspace))
            .collect()
    }

    /// The tensors of one run of [`Self::runs`]. `None` when the columns are not those of the plan.
    #[must_use]
    pub fn tensors(
        &self,
        run: &[usize],
        passed: &[usize],
        columns: &[Fed<'_>],
        features: &[f64],
    ) -> Option<Vec<Tensor>> {
        let rows: Vec<usize> =
            run.iter().map(|at| passed.get(*at).copied()).collect::<Option<_>>()?;
        let tensor = |input: &Input| {
            let at = match input.source {
                Source::Column(at) => at,
                Source::Features => {
                    let width = self.n_features;
                    let mut matrix = Vec::with_capacity(run.len() * width);
                    for at in run {
                        matrix.extend_from_slice(features.get(at * width..(at + 1) * width)?);
                    }
                    return Tensor::from_features(input.element_type, &matrix, run.len(), width);
                }
            };
            let mut shape = if self.mode == Mode::Whole { Vec::new() } else { vec![rows.len()] };
            match columns.get(at)? {
                Fed::Tensor(column) => {
                    shape.extend(column.shape(*rows.first()?));
                    if input.is_column {
                        shape.push(1);
                    }
                    column.gather(&rows, &shape)
                }
                other => {
                    if input.is_column {
                        shape.push(1);
                    }
                    scalars(*other, &rows, &shape, input.element_type)
                }
            }
        };
        self.inputs.iter().map(tensor).collect()
    }
}

/// Whether an input of this type takes such a column.
fn check_type(element_type: ElementType, kind: &FedKind) -> Result<(), String> {
    let (fits, what) = match kind {
        FedKind::Float => (element_type.is_float(), "numbers".to_owned()),
        FedKind::Int => {
            let fits = element_type.is_float()
                || matches!(element_type, ElementType::Int64 | ElementType::Bool);
            (fits, "integers of 64 bits".to_owned())
        }
        FedKind::Text => (element_type == ElementType::String, "text".to_owned()),
        FedKind::Tensor(tensor) => (element_type == tensor.dtype, tensor.shown()),
    };
    if fits {
        return Ok(());
    }
    Err(format!(
        "is of type {element_type}, but the column that feeds it holds {what}; a field of type tensor has a `dtype` of its own"
    ))
}

/// How rows of the shape `row` go into an input of this shape; and whether a number alone gets a dimension of its own.
fn fit(shape: &[Option<u64>], row: &[Option<usize>]) -> Result<(Mode, bool), String> {
    let same = |dims: &[Option<u64>]| {
        dims.len() == row.len()
            && dims.iter().zip(row).all(|(dim, row)| match (dim, row) {
                (None, _) => true,
                (Some(dim), Some(row)) => *dim == *row as u64,
                (Some(_), None) => false,
            })
    };
    if same(shape) {
        return Ok((Mode::Whole, false));
    }
    let of_rows = |first: &Option<u64>| match first {
        None => Some(Mode::Batch),
        Some(1) => Some(Mode::One),
        Some(_) => None,
    };
    let row = shown_row(row);
    match shape.split_first() {
        Some((first, rest)) if same(rest) || (rest == [Some(1)] && row == "[]") => {
            match of_rows(first) {
                Some(mode) => Ok((mode, !same(rest))),
                None => Err(format!(
                    "has the shape {}, which takes so many rows at a time and no others; a row must be the whole of it then: {}",
                    shown(shape),
                    whole(shape)
                )),
            }
        }
        _ => Err(format!(
            "has the shape {}, but a row of the column that feeds it has the shape {row}",
            shown(shape)
        )),
    }
}

fn shown_row(row: &[Option<usize>]) -> String {
    let dims = row.iter().map(|dim| dim.map_or_else(|| "any".to_owned(), |n| n.to_string()));
    format!("[{}]", dims.collect::<Vec<_>>().join(", "))
}

fn whole(shape: &[Option<u64>]) -> String {
    let dims = shape.iter().map(|dim| dim.map_or_else(|| "any".to_owned(), |n| n.to_string()));
    format!("[{}]", dims.collect::<Vec<_>>().join(", "))
}

/// How the matrix of features goes into an input.
fn matrix(
    element_type: ElementType,
    shape: &[Option<u64>],
    n_features: usize,
) -> Result<Mode, String> {
    let mode = match shape {
        [None, Some(width)] if *width == n_features as u64 => Mode::Batch,
        [Some(1), Some(width)] if *width == n_features as u64 => Mode::One,
        _ => {
            return Err(format!(
                "has the shape {}, but there are {n_features} features: expected [batch, {n_features}]",
                shown(shape)
            ));
        }
    };
    match element_type {
        ElementType::Float16 | ElementType::Float32 | ElementType::Float64 | ElementType::Int64 => {
            Ok(mode)
        }
        other => Err(format!("is of type {other}, expected a type of numbers")),
    }
}

/// A column of scalars as a tensor of this type and shape.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "the graph takes this type; this is the one cast to it"
)]
fn scalars(
    column: Fed<'_>,
    rows: &[usize],
    shape: &[usize],
    element_type: ElementType,
) -> Option<Tensor> {
    fn array<T>(shape: &[usize], values: impl Iterator<Item = Option<T>>) -> Option<ArrayD<T>> {
        ArrayD::from_shape_vec(shape, values.collect::<Option<Vec<T>>>()?).ok()
    }
    let float = |row: &usize| match column {
        Fed::Float(values) => values.get(*row).copied(),
        Fed::Int(ints) => {
            (*row < ints.len()).then(|| ints.get(*row).map_or(f64::NAN, |value| value as f64))
        }
        Fed::Text(_) | Fed::Tensor(_) => None,
    };
    let int = |row: &usize| match column {
        Fed::Int(ints) => IntColumn::get(ints, *row),
        Fed::Float(_) | Fed::Text(_) | Fed::Tensor(_) => None,
    };
    let rows = rows.iter();
    Some(match element_type {
        ElementType::Float64 => Tensor::Float64(array(shape, rows.map(float))?),
        ElementType::Float32 => {
            Tensor::Float32(array(shape, rows.map(|row| float(row).map(|value| value as f32)))?)
        }
        ElementType::Float16 => {
            Tensor::Float16(array(shape, rows.map(|row| float(row).map(f16::from_f64)))?)
        }
        ElementType::Int64 => Tensor::Int64(array(shape, rows.map(int))?),
        ElementType::Bool => {
            Tensor::Bool(array(shape, rows.map(|row| int(row).map(|value| value != 0)))?)
        }
        ElementType::String => {
            let Fed::Text(texts) = column else { return None };
            Tensor::String(array(shape, rows.map(|row| texts.get(*row).map(str::to_owned)))?)
        }
        _ => return None,
    })
}
