//! ONNX Runtime: the one module that names `ort`.
//!
//! Knows tensors; knows nothing of schemas, columns or artifacts. The shared library is looked for, probed and opened
//! once per process, with telemetry off.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ndarray::{ArrayD, IxDyn, ShapeError};
use ort::environment::Environment;
use ort::ep;
use ort::logging::LogLevel;
use ort::session::builder::GraphOptimizationLevel;
use ort::session::{
    HasSelectedOutputs, OutputSelector, RunOptions, Session as OrtSession, SessionInputValue,
    SessionOutputs,
};
use ort::value::{
    DynMap, DynMapValueType, DynValue, IntoTensorElementType, Outlet, Tensor as OrtTensor,
    TensorElementType, TensorRef, ValueType,
};

use crate::tensor::{ElementType, Tensor};

mod error;
mod file;
mod kept;

pub use error::RuntimeError;
pub use file::{ClassLabels, GraphFile};
use kept::Kept;

/// File name of the library on this system.
#[cfg(target_os = "macos")]
pub const LIBRARY_NAME: &str = "libonnxruntime.dylib";
/// File name of the library on this system.
#[cfg(not(target_os = "macos"))]
pub const LIBRARY_NAME: &str = "libonnxruntime.so";

static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
static LOADED_FROM: OnceLock<PathBuf> = OnceLock::new();

/// Finds the shared library: `explicit` (the setting `ORT_DYLIB_PATH`), beside the executable, the copy that `make onnxruntime` fetched, and at
/// last its bare name, which the system's loader looks up.
///
/// # Errors
/// `explicit` is given and is not a file.
pub fn locate(explicit: Option<&Path>) -> Result<PathBuf, RuntimeError> {
    if let Some(path) = explicit {
        return if path.is_file() {
            // A bare name would be looked up by the system's loader, not here.
            Ok(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
        } else {
            Err(RuntimeError::NotFound {
                looked: format!("ORT_DYLIB_PATH is `{}`, which is not a file", path.display()),
            })
        };
    }
    let executable = std::env::current_exe().unwrap_or_default();
    let mut places: Vec<PathBuf> = executable.parent().map(Path::to_owned).into_iter().collect();
    // target/debug/seaworthy and target/debug/deps/test-… both find target/onnxruntime.
    places.extend(executable.ancestors().skip(1).map(|dir| dir.join("onnxruntime")));
    places.extend(executable.ancestors().skip(1).map(|dir| dir.join("target/onnxruntime")));
    #[cfg(debug_assertions)]
    places.push(Path::new(env!("CARGO_MANIFEST_DIR")).join("target/onnxruntime"));
    Ok(places
        .into_iter()
        .map(|dir| dir.join(LIBRARY_NAME))
        .find(|path| path.is_file())
        .unwrap_or_else(|| PathBuf::from(LIBRARY_NAME)))
}

/// Opens the library at `path`, once per process; telemetry is switched off before the first session.
///
/// # Errors
/// The library is not there, is no ONNX Runtime, or is older than 1.28.
pub fn init(path: &Path) -> Result<(), RuntimeError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    if ENVIRONMENT.get().is_some() {
        return Ok(());
    }
    let refused = |error: ort::LoadDynamicError| {
        let unusable = |reason: String| RuntimeError::Unusable { path: path.to_owned(), reason };
        match error {
            ort::LoadDynamicError::BadVersion { version_str, path } => {
                RuntimeError::TooOld { path, version: version_str }
            }
            ort::LoadDynamicError::Dlopen { error, .. } if path.is_absolute() => {
                // The loader's own words are in the source.
                let words = std::error::Error::source(&error).map(ToString::to_string);
                let words = words.unwrap_or_else(|| error.to_string());
                let prefix = format!("{}: ", path.display());
                unusable(words.strip_prefix(&prefix).unwrap_or(&words).to_owned())
            }
            ort::LoadDynamicError::Dlopen { .. } => RuntimeError::NotFound {
                looked: "looked beside the executable, in target/onnxruntime and where the system keeps libraries"
                    .to_owned(),
            },
            ort::LoadDynamicError::MissingApi { .. } => {
                unusable("it has no function OrtGetApiBase".to_owned())
            }
            ort::LoadDynamicError::InvalidVersionString => {
                unusable("it does not say its version".to_owned())
            }
        }
    };
    let environment = ort::init_from(path)
        .map_err(refused)?
        .with_name("seaworthy")
        .with_telemetry(false)
        .build()
        .map_err(|source| RuntimeError::Environment { reason: source.to_string() })?;
    // Only one thread gets here.
    let _first = ENVIRONMENT.set(environment);
    let _first = LOADED_FROM.set(path.to_owned());
    Ok(())
}

/// Where the library was opened from, once it is.
#[must_use]
pub fn loaded_from() -> Option<&'static Path> {
    LOADED_FROM.get().map(PathBuf::as_path)
}

/// Which build of the library it is: `commit 6af1a93`, as it does not tell its version. `None` before [`init`].
#[must_use]
pub fn build_id() -> Option<String> {
    let (_, rest) = build_info()?.split_once("git-commit-id=")?;
    Some(format!("commit {}", rest.split(',').next().unwrap_or(rest).trim()))
}

/// What the library says of its build; `None` before [`init`].
#[must_use]
pub fn build_info() -> Option<&'static str> {
    ENVIRONMENT.get().map(|_| ort::info())
}

/// A tensor that a graph takes or gives.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// Its name in the graph.
    pub name: String,
    /// The element type, as the manifest spells it, or ONNX Runtime's name of a type that is not supported. A sequence of maps to
    /// numbers, as `ZipMap` makes it, counts as the tensor of those numbers.
    pub r#type: String,
    /// The dimensions; `None` is one that varies. Empty also for what is no tensor.
    pub shape: Vec<Option<u64>>,
    /// The names of the dimensions that vary; empty for one without a name, and for the others.
    pub symbols: Vec<String>,
}

/// How a session is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionOptions {
    /// Threads that one run may use, this one included.
    pub intra_threads: usize,
    /// Whether memory of a run is kept for the next one.
    pub arena: bool,
}

impl Default for SessionOptions {
    fn default() -> Self {
        // One thread: a tabular graph takes microseconds, and a result must not depend on how it was split.
        Self { intra_threads: 1, arena: true }
    }
}

/// An opened graph, ready to run. One run at a time; a server has one for each thread that predicts.
pub struct Session {
    session: OrtSession,
    /// Which outputs are computed, when not all of them.
    options: Option<RunOptions<HasSelectedOutputs>>,
    /// The tensors of runs of a matrix.
    kept: Option<Kept>,
    /// The size of the last matrix.
    last: [usize; 2],
    /// Whether the graph takes what was kept.
    keeps: bool,
    inputs: Vec<TensorInfo>,
    outputs: Vec<TensorInfo>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("inputs", &self.inputs)
            .field("outputs", &self.outputs)
            .finish_non_exhaustive()
    }
}

impl Session {
    /// Opens the graph in the file. External data files are found beside it.
    ///
    /// # Errors
    /// [`init`] was not called; the file is no graph, or one that this library cannot run.
    pub fn open(path: &Path, options: SessionOptions) -> Result<Self, RuntimeError> {
        let environment = ENVIRONMENT.get().ok_or(RuntimeError::NotInitialised)?;
        let refused = |reason: String| {
            let (path, reason) = (path.to_owned(), plain(&reason, path));
            match explain(&reason) {
                Some(Fault::TooNew(what)) => RuntimeError::TooNew { path, what },
                Some(Fault::Operator(what)) => RuntimeError::Operator { path, what },
                None => RuntimeError::Open { path, reason },
            }
        };
        let built = || -> Result<OrtSession, String> {
            let text = |error: ort::Error| error.to_string();
            let with = |error: ort::Error<ort::session::builder::SessionBuilder>| error.to_string();
            OrtSession::builder(environment)
                .map_err(text)?
                .with_intra_threads(options.intra_threads)
                .map_err(with)?
                .with_inter_threads(1)
                .map_err(with)?
                // A spinning thread burns a core between two requests.
                .with_intra_op_spinning(false)
                .map_err(with)?
                .with_inter_op_spinning(false)
                .map_err(with)?
                .with_optimization_level(GraphOptimizationLevel::All)
                .map_err(with)?
                // What fails is returned, and it may hold a value of a row.
                .with_log_level(LogLevel::Fatal)
                .map_err(with)?
                // Batch sizes vary; a pattern would be planned for each.
                .with_memory_pattern(false)
                .map_err(with)?
                .with_execution_providers([ep::CPU::default()
                    .with_arena_allocator(options.arena)
                    .build()])
                .map_err(with)?
                .commit_from_file(path)
                .map_err(text)
        };
        let session = built().map_err(refused)?;
        let inputs = session.inputs().iter().map(tensor_info).collect();
        let outputs = session.outputs().iter().map(tensor_info).collect();
        let (options, kept, last, keeps) = (None, None, [0; 2], true);
        Ok(Self { session, options, kept, last, keeps, inputs, outputs })
    }

    /// The same session, computing no other outputs than these: an output that nobody wants may cost a lot, or be of a type that is no
    /// tensor.
    ///
    /// # Errors
    /// What the library said.
    pub fn giving(mut self, outputs: &[String]) -> Result<Self, RuntimeError> {
        let is_given = |output: &TensorInfo| outputs.contains(&output.name);
        if !self.outputs.iter().all(is_given) {
            let failed = |error: ort::Error| RuntimeError::Run { reason: error.to_string() };
            let selector = outputs.iter().fold(OutputSelector::no_default(), OutputSelector::with);
            self.options = Some(RunOptions::new().map_err(failed)?.with_outputs(selector));
        }
        Ok(self)
    }

    /// The tensors that the graph takes, in its order.
    #[must_use]
    pub fn inputs(&self) -> &[TensorInfo] {
        &self.inputs
    }

    /// The tensors that the graph gives, in its order.
    #[must_use]
    pub fn outputs(&self) -> &[TensorInfo] {
        &self.outputs
    }

    /// Runs the graph on `inputs`, in the order of [`Self::inputs`], and returns the outputs of these names.
    ///
    /// # Errors
    /// What the library said; or an output is not there or of a type that is not supported.
    pub fn run(
        &mut self,
        inputs: &[Tensor],
        wanted: &[String],
    ) -> Result<Vec<Tensor>, RuntimeError> {
        let values =
            inputs.iter().map(input_value).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let outputs = match &self.options {
            Some(options) => self.session.run_with_options(values.as_slice(), options),
            None => self.session.run(values.as_slice()),
        };
        let outputs = outputs.map_err(failed)?;
        wanted.iter().map(|name| extract(&outputs, name)).collect()
    }

    /// As [`Self::run`], for a graph that takes a matrix and nothing else: `features` is one of float64, row-major, `[n_rows, n_columns]`
    /// large, and cast to `element_type`.
    ///
    /// # Errors
    /// As [`Self::run`]; or the features do not fill the matrix, or are not cast to this type.
    pub fn run_features(
        &mut self,
        features: &[f64],
        size: [usize; 2],
        element_type: ElementType,
        wanted: &[String],
    ) -> Result<Vec<Tensor>, RuntimeError> {
        let broken =
            || RuntimeError::Run { reason: "the features do not fill a matrix".to_owned() };
        if size[0].checked_mul(size[1]) != Some(features.len()) {
            return Err(broken());
        }
        let is_kept = self.keep(size, element_type, wanted);
        if is_kept && let Some(kept) = &mut self.kept {
            // Why it fails is said by the run without it.
            if let Ok(outputs) = kept.run(&mut self.session, features) {
                return wanted.iter().map(|name| extract(&outputs, name)).collect();
            }
            self.kept = None;
        }
        let matrix = Tensor::from_features(element_type, features, size[0], size[1]);
        let outputs = self.run(&[matrix.ok_or_else(broken)?], wanted)?;
        // The graph does not give what it says it gives, so that it is not asked to again.
        self.keeps &= !is_kept;
        Ok(outputs)
    }

    /// Whether there are tensors for such a run. They are made when two of the same size come one after the other.
    fn keep(&mut self, size: [usize; 2], element_type: ElementType, wanted: &[String]) -> bool {
        let last = std::mem::replace(&mut self.last, size);
        if self.kept.as_ref().is_some_and(|kept| kept.fits(element_type, size, wanted)) {
            return true;
        }
        let [input] = self.inputs.as_slice() else { return false };
        if !self.keeps || last != size {
            return false;
        }
        let kept = Kept::new(element_type, size, wanted, input, &self.outputs);
        // Without them all goes on as before.
        let Ok(Some(kept)) = kept else { return false };
        self.kept = Some(kept);
        true
    }
}

fn failed(error: ort::Error) -> RuntimeError {
    RuntimeError::Run { reason: error.to_string() }
}

/// What the library says of a file, without the path, which is said already, and without the place in its sources.
fn plain(reason: &str, path: &Path) -> String {
    let prefix = format!("Load model from {} failed:", path.display());
    let mut reason = reason.strip_prefix(&prefix).unwrap_or(reason);
    // `/onnxruntime_src/…/file.cc:12 type function(type, type) What is wrong.`
    if reason.starts_with("/onnxruntime_src/") {
        reason = reason.split_once(") ").map_or(reason, |(_, rest)| rest);
    }
    // A name in a broken file may hold anything; a message is one line.
    let words = reason.split(|c: char| c.is_control() || c == ' ').filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(" ")
}

/// A fault of a graph for which there is a better sentence than ONNX Runtime's.
enum Fault {
    /// It was written for more than this library knows.
    TooNew(String),
    /// It uses an operator that this library does not have.
    Operator(String),
}

fn explain(reason: &str) -> Option<Fault> {
    let between = |start: &str, end: &str| {
        let (_, rest) = reason.split_once(start)?;
        Some(rest.split_once(end).map_or(rest, |(found, _)| found).trim())
    };
    // "Opset 9999 is under development … Current official support for domain ai.onnx is till opset 26."
    if let (Some(found), Some(domain), Some(known)) = (
        between("Opset ", " is under development"),
        between("support for domain ", " is till"),
        between("is till opset ", "."),
    ) {
        return Some(Fault::TooNew(format!(
            "version {found} of the operators of {domain}; it knows them up to {known}"
        )));
    }
    // "Unsupported model IR version: 99, max supported IR version: 13"
    if let (Some(found), Some(known)) =
        (between("model IR version: ", ","), between("max supported IR version: ", " "))
    {
        let format = format!("version {found} of the file format (IR); it knows it up to {known}");
        return Some(Fault::TooNew(format));
    }
    // "Fatal error: com.example:Twice(-1) is not a registered function/op"
    let named = between("Fatal error: ", " is not a registered function/op")?;
    let (domain, operator) = named.rsplit_once(':').unwrap_or(("ai.onnx", named));
    let operator = operator.split('(').next().unwrap_or(operator);
    Some(Fault::Operator(format!("`{operator}` of the domain `{domain}`")))
}

fn input_value(tensor: &Tensor) -> ort::Result<SessionInputValue<'_>> {
    Ok(match tensor {
        Tensor::Float16(array) => TensorRef::from_array_view(array)?.into(),
        Tensor::Float32(array) => TensorRef::from_array_view(array)?.into(),
        Tensor::Float64(array) => TensorRef::from_array_view(array)?.into(),
        Tensor::Int8(array) => TensorRef::from_array_view(array)?.into(),
        Tensor::Int16(array) => TensorRef::from_array_view(array)?.into(),
        Tensor::Int32(array) => TensorRef::from_array_view(array)?.into(),
        Tensor::Int64(array) => TensorRef::from_array_view(array)?.into(),
        Tensor::UInt8(array) => TensorRef::from_array_view(array)?.into(),
        Tensor::UInt16(array) => TensorRef::from_array_view(array)?.into(),
        Tensor::UInt32(array) => TensorRef::from_array_view(array)?.into(),
        Tensor::UInt64(array) => TensorRef::from_array_view(array)?.into(),
        Tensor::Bool(array) => TensorRef::from_array_view(array)?.into(),
        Tensor::String(array) => OrtTensor::from_string_array(array)?.into(),
    })
}

fn extract(outputs: &SessionOutputs<'_>, name: &str) -> Result<Tensor, RuntimeError> {
    let missing = |what: String| RuntimeError::Run { reason: what };
    let value =
        outputs.get(name).ok_or_else(|| missing(format!("the graph gave no output `{name}`")))?;
    let ValueType::Tensor { ty, .. } = value.dtype() else {
        if zip_map(value.dtype()).is_some() {
            return unzip(value, name);
        }
        return Err(missing(format!("the output `{name}` is no tensor, but {}", value.dtype())));
    };
    let broken_shape = |error| missing(format!("the output `{name}` has a broken shape: {error}"));
    // The numbers of an output, as they are.
    macro_rules! array {
        ($variant:ident) => {{
            let (shape, values) = value.try_extract_tensor().map_err(failed)?;
            Tensor::$variant(array(shape, values.to_vec()).map_err(broken_shape)?)
        }};
    }
    Ok(match element_type(*ty) {
        Some(ElementType::Float16) => array!(Float16),
        Some(ElementType::Float32) => array!(Float32),
        Some(ElementType::Float64) => array!(Float64),
        Some(ElementType::Int8) => array!(Int8),
        Some(ElementType::Int16) => array!(Int16),
        Some(ElementType::Int32) => array!(Int32),
        Some(ElementType::Int64) => array!(Int64),
        Some(ElementType::UInt8) => array!(UInt8),
        Some(ElementType::UInt16) => array!(UInt16),
        Some(ElementType::UInt32) => array!(UInt32),
        Some(ElementType::UInt64) => array!(UInt64),
        Some(ElementType::Bool) => array!(Bool),
        Some(ElementType::String) => {
            let (shape, strings) = value.try_extract_strings().map_err(failed)?;
            Tensor::String(array(shape, strings).map_err(broken_shape)?)
        }
        None => {
            return Err(missing(format!(
                "the output `{name}` has the type {ty}, which is not supported"
            )));
        }
    })
}

/// An array of a shape as ONNX Runtime has it.
fn array<T>(shape: &[i64], values: Vec<T>) -> Result<ArrayD<T>, ShapeError> {
    let shape: Vec<usize> = shape.iter().map(|dim| usize::try_from(*dim).unwrap_or(0)).collect();
    ArrayD::from_shape_vec(shape, values)
}

/// The types of keys and values, when this is what the operator `ZipMap` makes.
fn zip_map(r#type: &ValueType) -> Option<(TensorElementType, TensorElementType)> {
    let ValueType::Sequence(inner) = r#type else { return None };
    match **inner {
        ValueType::Map { key, value }
            if matches!(key, TensorElementType::Int64 | TensorElementType::String)
                && value == TensorElementType::Float32 =>
        {
            Some((key, value))
        }
        _ => None,
    }
}

/// A sequence of maps as a matrix: a row for each map, a column for each key, the keys in ascending order.
fn unzip(value: &DynValue, name: &str) -> Result<Tensor, RuntimeError> {
    fn numbers<K>(value: &DynValue) -> ort::Result<Vec<Vec<f32>>>
    where
        K: IntoTensorElementType + Clone + std::hash::Hash + Eq + Ord + std::fmt::Debug,
    {
        let row = |map: DynMap| {
            let mut pairs = map.try_extract_key_values::<K, f32>()?;
            pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
            Ok(pairs.into_iter().map(|(_, value)| value).collect())
        };
        value.try_extract_sequence::<DynMapValueType>()?.into_iter().map(row).collect()
    }
    let failed = |error: ort::Error| RuntimeError::Run { reason: error.to_string() };
    let rows = match zip_map(value.dtype()) {
        Some((TensorElementType::Int64, _)) => numbers::<i64>(value),
        _ => numbers::<String>(value),
    };
    let rows = rows.map_err(failed)?;
    let shape = [rows.len(), rows.first().map_or(0, Vec::len)];
    ArrayD::from_shape_vec(IxDyn(&shape), rows.concat()).map(Tensor::Float32).map_err(|_ragged| {
        RuntimeError::Run { reason: format!("the maps of the output `{name}` have different keys") }
    })
}

/// The element types that can be served.
fn element_type(r#type: TensorElementType) -> Option<ElementType> {
    Some(match r#type {
        TensorElementType::Float16 => ElementType::Float16,
        TensorElementType::Float32 => ElementType::Float32,
        TensorElementType::Float64 => ElementType::Float64,
        TensorElementType::Int8 => ElementType::Int8,
        TensorElementType::Int16 => ElementType::Int16,
        TensorElementType::Int32 => ElementType::Int32,
        TensorElementType::Int64 => ElementType::Int64,
        TensorElementType::Uint8 => ElementType::UInt8,
        TensorElementType::Uint16 => ElementType::UInt16,
        TensorElementType::Uint32 => ElementType::UInt32,
        TensorElementType::Uint64 => ElementType::UInt64,
        TensorElementType::Bool => ElementType::Bool,
        TensorElementType::String => ElementType::String,
        _ => return None,
    })
}

fn tensor_info(outlet: &Outlet) -> TensorInfo {
    let (r#type, shape, symbols) = match outlet.dtype() {
        ValueType::Tensor { ty, shape, dimension_symbols } => (
            element_type(*ty)
                .map_or_else(|| ty.to_string().to_lowercase(), |known| known.to_string()),
            shape.iter().map(|dim| u64::try_from(*dim).ok()).collect(),
            dimension_symbols.iter().cloned().collect(),
        ),
        zipped if zip_map(zipped).is_some() => {
            (ElementType::Float32.to_string(), vec![None, None], vec![String::new(); 2])
        }
        other => (other.to_string(), Vec::new(), Vec::new()),
    };
    TensorInfo { name: outlet.name().to_owned(), r#type, shape, symbols }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(name: &str) -> (Session, Vec<String>) {
        init(&locate(crate::config::process().onnxruntime.as_deref()).unwrap()).unwrap();
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/graphs");
        let session = Session::open(&dir.join(name), SessionOptions::default()).unwrap();
        let outputs: Vec<String> =
            session.outputs().iter().map(|output| output.name.clone()).collect();
        (session.giving(&outputs).unwrap(), outputs)
    }

    fn matrix(n_rows: usize, n_columns: usize, seed: u32) -> Vec<f64> {
        let numbers = (0_u32..).map(|at| f64::from((at * 37 + seed * 11) % 101) / 7.0 - 3.0);
        numbers.take(n_rows * n_columns).collect()
    }

    /// In Debug form, so that NaN is like NaN and -0 is not like 0.
    #[track_caller]
    fn check(name: &str, n_columns: usize, element_type: ElementType) {
        let (mut keeping, wanted) = open(name);
        let (mut plain, _) = open(name);
        for (seed, n_rows) in (0..).zip([1, 1, 1, 1, 3, 1, 3, 3, 3, 1, 1]) {
            let features = matrix(n_rows, n_columns, seed);
            let tensor = Tensor::from_features(element_type, &features, n_rows, n_columns);
            let expected = plain.run(&[tensor.unwrap()], &wanted).unwrap();
            let size = [n_rows, n_columns];
            let found = keeping.run_features(&features, size, element_type, &wanted).unwrap();
            assert_eq!(format!("{found:?}"), format!("{expected:?}"), "{name}, run {seed}");
        }
        assert!(keeping.kept.is_some() && keeping.keeps, "{name}");
    }

    #[test]
    fn what_goes_from_run_to_run_changes_no_result() {
        check("two_columns.onnx", 37, ElementType::Float64);
        check("float32.onnx", 37, ElementType::Float32);
        check("float16.onnx", 37, ElementType::Float16);
        check("two_outputs.onnx", 37, ElementType::Float64);
        // Strings and float32 in three dimensions among its outputs.
        check("outputs.onnx", 2, ElementType::Float64);
    }

    #[test]
    fn a_graph_that_gives_fewer_rows_than_it_says_is_run_as_before() {
        let (mut session, wanted) = open("fewer.onnx");
        let mut run = |features: &[f64]| {
            let size = [features.len(), 1];
            let outputs = session.run_features(features, size, ElementType::Float64, &wanted);
            let kept = (session.kept.is_some(), session.keeps);
            (outputs.unwrap()[0].to_f64().unwrap(), kept)
        };
        assert_eq!(run(&[1.0, 2.0]), (vec![1.0, 2.0], (false, true)));
        assert_eq!(run(&[3.0, 4.0]), (vec![3.0, 4.0], (true, true)));
        assert_eq!(run(&[-3.0, 5.0]), (vec![5.0], (false, false)));
        assert_eq!(run(&[-6.0, -7.0]), (Vec::new(), (false, false)));
        assert_eq!(run(&[6.0, 7.0]), (vec![6.0, 7.0], (false, false)));
    }

    #[test]
    fn features_that_do_not_fill_the_matrix_are_refused() {
        let (mut session, wanted) = open("narrow.onnx");
        for (n, size) in [(35, [1, 36]), (37, [1, 36]), (0, [usize::MAX, 36]), (36, [1, 36])] {
            let features = vec![0.0; n];
            let outputs = session.run_features(&features, size, ElementType::Float64, &wanted);
            assert_eq!(outputs.is_ok(), n == 36, "{n} {size:?}");
        }
    }
}
