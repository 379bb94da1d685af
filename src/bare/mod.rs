//! From a bare ONNX file to a model: its schema is read off the graph, its golden rows are made up and run.
//!
//! Such golden rows prove that the graph computes the same on another machine and in a batch. They prove nothing about training, and the
//! provenance says so. Knows nothing of HTTP or of the command line.

mod made_up;

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::made_up::{LENGTHS, Maker, distance, run};
use crate::artifact::{self, Artifact, Manifest};
use crate::digest::sha256;
use crate::postprocess::Prediction;
use crate::predictor::{LoadError, Model, Predictor};
use crate::runtime::{
    self, ClassLabels, GraphFile, RuntimeError, Session, SessionOptions, TensorInfo,
};
use crate::schema::Scalar;
use crate::tensor::{Element, ElementType};

/// Why no model can be made of a file.
#[derive(Debug, thiserror::Error)]
pub enum BareError {
    /// A file cannot be read.
    #[error("cannot read `{}`", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The graph cannot be opened.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The model that was made of it is not sound.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// An input or output cannot be served.
    #[error("the graph `{}`: {problem}", .path.display())]
    Tensor {
        /// The graph.
        path: PathBuf,
        /// Which, and why.
        problem: String,
        /// What can be done.
        hint: &'static str,
    },
    /// No row could be found that the graph takes.
    #[error("the graph `{}` takes none of the rows that were made up for it: {reason}", .path.display())]
    NoRow {
        /// The graph.
        path: PathBuf,
        /// What became of the last one.
        reason: String,
    },
    /// There is an artifact already.
    #[error("`{}` exists, and an artifact never changes once it is written", .path.display())]
    Exists {
        /// The directory.
        path: PathBuf,
    },
    /// A name that no model can have.
    #[error(
        "`{name}` cannot name a model: a lower-case letter or digit, then up to 63 of a-z, 0-9, `.`, `_`, `-`"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// The artifact cannot be written.
    #[error("cannot write `{}`", .path.display())]
    Write {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

impl BareError {
    /// What can be done about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Tensor { hint, .. } => Some(hint),
            Self::Runtime(error) => error.hint(),
            Self::NoRow { .. } => Some(
                "write the artifact yourself, with golden rows that the graph takes: docs/artifact.md",
            ),
            Self::Exists { .. } => {
                Some("give the model a new version; to replace a draft, use --force")
            }
            Self::Read { .. } | Self::Load(_) | Self::Name { .. } | Self::Write { .. } => None,
        }
    }
}

/// A model that was made of a bare graph.
#[derive(Debug)]
pub struct Bare {
    manifest: Manifest,
    golden: Vec<String>,
    graph: PathBuf,
    external: Vec<PathBuf>,
    notes: Vec<String>,
}

/// Names and contents.
type Files = Vec<(&'static str, String)>;

/// How rows go into the graph; see docs/artifact.md, 1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Any number of rows at a time.
    Batch,
    /// One of them at a time, though the graph takes several: they would influence one another by rounding.
    BatchOfOne,
    /// One at a time, because the graph takes one.
    One,
    /// A row is a whole run.
    Whole,
}

impl Bare {
    /// Reads the graph, and finds out by running it how rows go in.
    ///
    /// # Errors
    /// The file cannot be opened by ONNX Runtime, takes or gives what is no tensor, or takes no row that was made up for it.
    pub fn read(graph: &Path, name: &str, version: &semver::Version) -> Result<Self, BareError> {
        if !artifact::is_name(name) {
            return Err(BareError::Name { name: name.to_owned() });
        }
        let bytes = read(graph)?;
        let file = GraphFile::read(&bytes).unwrap_or_default();
        let session = Session::open(graph, SessionOptions::default())?;
        let (inputs, outputs) = (session.inputs().to_vec(), session.outputs().to_vec());
        drop(session);
        check(graph, &inputs, &outputs)?;
        let draft = Draft {
            graph,
            name,
            version,
            created: created(graph)?,
            hash: sha256(&bytes),
            file: &file,
            inputs: &inputs,
            outputs: &outputs,
        };
        let external = external(graph, &file)?;
        let mut notes = Vec::new();
        let (mut refused, mut found) = (None, None);
        for way in ways(&inputs, &outputs) {
            match draft.try_out(way, &draft.tensors()) {
                Ok(Some(rows)) => {
                    found = Some((way, rows));
                    break;
                }
                Ok(None) => {}
                Err(error) => refused = Some(error),
            }
        }
        let Some((way, rows)) = found else {
            return Err(refused.unwrap_or_else(|| BareError::NoRow {
                path: graph.to_owned(),
                reason: "rows influence one another".to_owned(),
            }));
        };
        match way {
            Way::Batch => {}
            Way::BatchOfOne => notes.push(
                "a row has other bits alone than among others, so that rows are run one at a time"
                    .to_owned(),
            ),
            Way::One => notes.push("the graph takes one row at a time".to_owned()),
            Way::Whole => notes.push(
                "the graph has no dimension for rows: a row is the whole of what goes into a run"
                    .to_owned(),
            ),
        }
        let (outputs, rows) = match draft.classifier(&rows) {
            Some(outputs) => match draft.try_out(way, &outputs) {
                Ok(Some(rows)) => (outputs, rows),
                _ => (draft.tensors(), rows),
            },
            None => (draft.tensors(), rows),
        };
        let manifest = draft.manifest(way, &outputs, rows.lines.len())?;
        Ok(Self { manifest, golden: rows.lines, graph: graph.to_owned(), external, notes })
    }

    /// What somebody should know who did not make the graph.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// What an artifact of it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The artifact as [`Self::write`] would write it, with the graph where it is.
    ///
    /// # Errors
    /// A file cannot be read any more.
    pub fn artifact(self) -> Result<Artifact, BareError> {
        let (_, digest) = self.files()?;
        let Self { mut manifest, golden, graph, .. } = self;
        let dir = graph.parent().unwrap_or(Path::new("")).to_owned();
        manifest.model.file =
            graph.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let golden = golden.iter().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Artifact::bare(dir, manifest, golden, digest))
    }

    /// The small files, `SHA256SUMS` the last; and the digest.
    fn files(&self) -> Result<(Files, String), BareError> {
        let manifest = serde_json::to_string_pretty(&self.manifest).unwrap_or_default() + "\n";
        let profile = json!({
            "format": "seaworthy-profile/1", "rows": 0, "fields": {}, "features": {}, "outputs": {}
        });
        let mut files = vec![
            ("golden.jsonl", self.golden.iter().map(|line| format!("{line}\n")).collect()),
            ("manifest.json", manifest),
            ("profile.json", format!("{profile}\n")),
        ];
        let mut sums: Vec<(String, String)> = files
            .iter()
            .map(|(name, text): &(&str, String)| ((*name).to_owned(), sha256(text.as_bytes())))
            .collect();
        sums.push(("model.onnx".to_owned(), sha256(&read(&self.graph)?)));
        let beside = self.graph.parent().unwrap_or(Path::new(""));
        for path in &self.external {
            let name = path.to_string_lossy().replace('\\', "/");
            sums.push((name, sha256(&read(&beside.join(path))?)));
        }
        sums.sort();
        let sums: String = sums.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect();
        let digest = format!("sha256:{}", sha256(sums.as_bytes()));
        files.push(("SHA256SUMS", sums));
        Ok((files, digest))
    }

    /// Writes the artifact, all or nothing, and returns its directory.
    ///
    /// # Errors
    /// It exists and is not to be replaced; or a file cannot be written.
    pub fn write(&self, models_dir: &Path, replace: bool) -> Result<PathBuf, BareError> {
        let parent = models_dir.join(&self.manifest.name);
        let version = self.manifest.version.to_string();
        let dir = parent.join(&version);
        if dir.exists() && !replace {
            return Err(BareError::Exists { path: dir });
        }
        // Into a neighbour first, which is renamed at the end.
        let draft = parent.join(format!(".{version}.{}", std::process::id()));
        let written = self.write_to(&draft).and_then(|()| {
            if dir.exists() {
                std::fs::remove_dir_all(&dir).map_err(failed(&dir))?;
            }
            std::fs::rename(&draft, &dir).map_err(failed(&dir))
        });
        if written.is_err() {
            // What is left of it is nobody's.
            let _gone = std::fs::remove_dir_all(&draft);
        }
        written.map(|()| dir)
    }

    fn write_to(&self, dir: &Path) -> Result<(), BareError> {
        std::fs::create_dir_all(dir).map_err(failed(dir))?;
        let copy = |from: &Path, to: &Path| std::fs::copy(from, to).map_err(failed(to)).map(drop);
        copy(&self.graph, &dir.join("model.onnx"))?;
        let beside = self.graph.parent().unwrap_or(Path::new(""));
        for path in &self.external {
            let to = dir.join(path);
            if let Some(parent) = to.parent() {
                std::fs::create_dir_all(parent).map_err(failed(parent))?;
            }
            copy(&beside.join(path), &to)?;
        }
        for (name, text) in self.files()?.0 {
            let path = dir.join(name);
            std::fs::write(&path, text).map_err(failed(&path))?;
        }
        Ok(())
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BareError> {
    std::fs::read(path).map_err(|source| BareError::Read { path: path.to_owned(), source })
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> BareError {
    let path = path.to_owned();
    |source| BareError::Write { path, source }
}

/// When the file was last changed, so that the same file gives the same artifact.
fn created(graph: &Path) -> Result<String, BareError> {
    let failed = |source| BareError::Read { path: graph.to_owned(), source };
    let changed = std::fs::metadata(graph).and_then(|data| data.modified()).map_err(failed)?;
    let changed = OffsetDateTime::from(changed).replace_nanosecond(0);
    let changed = changed.unwrap_or(OffsetDateTime::UNIX_EPOCH);
    Ok(changed.format(&Rfc3339).unwrap_or_default())
}

/// The files of weights beside the graph.
fn external(graph: &Path, file: &GraphFile) -> Result<Vec<PathBuf>, BareError> {
    let taken = ["golden.jsonl", "manifest.json", "model.onnx", "profile.json", "SHA256SUMS"]
        .map(Path::new);
    file.external
        .iter()
        .map(|name| {
            let path = Path::new(name);
            let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
            if plain && !taken.contains(&path) {
                return Ok(path.to_owned());
            }
            Err(BareError::Tensor {
                path: graph.to_owned(),
                problem: format!("its weights are in `{name}`, which cannot be a file of an artifact"),
                hint: "save the graph with its weights inside, or in a file of another name beside it",
            })
        })
        .collect()
}

/// Refuses what is no tensor.
fn check(graph: &Path, inputs: &[TensorInfo], outputs: &[TensorInfo]) -> Result<(), BareError> {
    let wrong =
        |problem: String, hint| Err(BareError::Tensor { path: graph.to_owned(), problem, hint });
    if inputs.is_empty() {
        return wrong("it takes no input".to_owned(), "a model has something to predict from");
    }
    for (what, tensors) in [("input", inputs), ("output", outputs)] {
        for tensor in tensors {
            if ElementType::parse(&tensor.r#type).is_none() {
                return wrong(
                    format!(
                        "the {what} `{}` is of type {}, which is not served",
                        tensor.name, tensor.r#type
                    ),
                    "served are tensors of floats, integers from 8 to 64 bits, bool and strings, and what ZipMap makes; export the graph without anything else (skl2onnx: options={'zipmap': False})",
                );
            }
        }
    }
    Ok(())
}

/// The ways that rows may go in, the best first.
fn ways(inputs: &[TensorInfo], outputs: &[TensorInfo]) -> Vec<Way> {
    let first = |tensor: &TensorInfo| tensor.shape.first().copied();
    let symbol = |tensor: &TensorInfo| tensor.symbols.first().cloned().unwrap_or_default();
    let mut ways = Vec::new();
    let of_rows = inputs.iter().all(|input| {
        first(input) == Some(None) && inputs.iter().all(|other| symbol(other) == symbol(input))
    });
    if of_rows && outputs.iter().all(|output| first(output) == Some(None)) {
        ways.extend([Way::Batch, Way::BatchOfOne]);
    } else if inputs.iter().all(|input| matches!(first(input), Some(None | Some(1)))) && !of_rows {
        ways.push(Way::One);
    }
    ways.push(Way::Whole);
    ways
}

/// What is known of a graph before it has been run.
struct Draft<'a> {
    graph: &'a Path,
    name: &'a str,
    version: &'a semver::Version,
    created: String,
    hash: String,
    file: &'a GraphFile,
    inputs: &'a [TensorInfo],
    outputs: &'a [TensorInfo],
}

/// Rows that were made up, and what they gave.
struct Rows {
    lines: Vec<String>,
    predictions: Vec<Prediction>,
}

impl Draft<'_> {
    /// All outputs, as they are.
    fn tensors(&self) -> Value {
        let entry = |output: &TensorInfo| json!({"name": output.name, "tensor": output.name});
        json!({"tensors": self.outputs.iter().map(entry).collect::<Vec<_>>()})
    }

    /// A row's part of the input.
    fn row_shape<'t>(&self, input: &'t TensorInfo, way: Way) -> &'t [Option<u64>] {
        let rest = match way {
            Way::Whole => return &input.shape,
            Way::Batch | Way::BatchOfOne | Way::One => input.shape.get(1..).unwrap_or_default(),
        };
        // A number alone needs no brackets.
        if rest == [Some(1)] { &[] } else { rest }
    }

    fn field(&self, input: &TensorInfo, way: Way) -> Value {
        let shape = self.row_shape(input, way);
        let scalar = match input.r#type.as_str() {
            "float64" => Some("float"),
            "int64" => Some("int"),
            "string" => Some("string"),
            "bool" => Some("bool"),
            _ => None,
        };
        match scalar {
            Some(kind) if shape.is_empty() && way != Way::Whole => {
                json!({"name": input.name, "type": kind})
            }
            _ => {
                json!({"name": input.name, "type": "tensor", "dtype": input.r#type, "shape": shape})
            }
        }
    }

    fn manifest(&self, way: Way, outputs: &Value, n_rows: usize) -> Result<Manifest, BareError> {
        let signature = |tensor: &TensorInfo| json!({"name": tensor.name, "type": tensor.r#type, "shape": tensor.shape});
        let input = |tensor: &TensorInfo| {
            let mut spec = signature(tensor);
            spec["from"] = json!(tensor.name);
            spec
        };
        let file = self.graph.file_name().unwrap_or_default().to_string_lossy();
        let is_wide = self.outputs.iter().any(|output| output.r#type == "float64");
        let tolerance = if is_wide { (1e-9, 1e-12) } else { (1e-5, 1e-6) };
        let labels = outputs["probabilities"]["labels"].as_array().map_or(0, Vec::len);
        let library = runtime::build_id().unwrap_or_default();
        let mut manifest = json!({
            "format": artifact::FORMAT,
            "name": self.name,
            "version": self.version.to_string(),
            "description": format!("Made from {file}."),
            "task": match labels {
                0 => "other",
                2 => "binary_classification",
                _ => "multiclass_classification",
            },
            "created": self.created,
            "provenance": {
                "training_data": [],
                "source": format!("{file}, sha256 {}", self.hash),
                "libraries": {"onnxruntime": library},
                "hyperparameters": {},
                "seed": null,
                "metrics": {},
                "proof": format!("the golden rows were made up and run by ONNX Runtime ({library}): they show that the graph computes the same elsewhere and in a batch, and nothing of how it was trained"),
            },
            "inputs": self.inputs.iter().map(|input| self.field(input, way)).collect::<Vec<_>>(),
            "pipeline": [],
            "features": [],
            "model": {
                "file": "model.onnx",
                "opset": self.file.opset(),
                "ir_version": self.file.ir_version,
                "estimator": if self.file.producer.is_empty() { "unknown" } else { self.file.producer.as_str() },
                "precision": if is_wide { "float64" } else { "float32" },
                "inputs": self.inputs.iter().map(input).collect::<Vec<_>>(),
                "outputs": self.outputs.iter().map(signature).collect::<Vec<_>>(),
            },
            "outputs": outputs,
            "postprocess": [],
            "golden": {
                "rows": n_rows,
                "features": {"relative": 0.0, "absolute": 0.0},
                "output": {"relative": tolerance.0, "absolute": tolerance.1},
            },
        });
        if way == Way::BatchOfOne {
            manifest["model"]["rows_per_run"] = json!(1);
        }
        serde_json::from_value(manifest).map_err(|error| BareError::Tensor {
            path: self.graph.to_owned(),
            problem: format!("what it says of itself makes no manifest: {error}"),
            hint: "this is a fault of seaworthy; please report it with the graph",
        })
    }

    /// Makes up rows and runs them this way. `None` when they influence one another more than this way allows.
    fn try_out(&self, way: Way, outputs: &Value) -> Result<Option<Rows>, BareError> {
        let mut manifest = self.manifest(way, outputs, 0)?;
        manifest.model.file =
            self.graph.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let dir = self.graph.parent().unwrap_or(Path::new("")).to_owned();
        let artifact = Artifact::bare(dir, manifest, Vec::new(), String::new());
        let model = Arc::new(Model::load(artifact)?);
        let mut predictor = Predictor::open(&model, SessionOptions::default())?;
        let mut refused = String::new();
        // What a graph takes is not written in it: how small an index, how long a row.
        for (limit, length) in [10, 2, 1].into_iter().flat_map(|limit| LENGTHS.map(|l| (limit, l)))
        {
            let mut maker = Maker { state: 1, limit, length };
            let first = self.row(&mut maker, way);
            match run(&mut predictor, std::slice::from_ref(&first)) {
                Ok(_) => {
                    let rows = self.rows(&mut predictor, first, &mut maker, way);
                    return Ok(rows.filter(|rows| self.is_sound(&mut predictor, rows, way)));
                }
                Err(reason) => refused = reason,
            }
        }
        Err(BareError::NoRow { path: self.graph.to_owned(), reason: refused })
    }

    /// The first row and others like it, each run alone.
    fn rows(
        &self,
        predictor: &mut Predictor,
        first: Value,
        maker: &mut Maker,
        way: Way,
    ) -> Option<Rows> {
        // Enough for the body and the tail of a vector; of large rows a few.
        const MANY: usize = 17;
        const FEW: usize = 3;
        let n_rows = if first.to_string().len() > 20_000 { FEW } else { MANY };
        let postprocess = Arc::clone(predictor.model());
        let postprocess = postprocess.postprocess();
        let mut rows = Rows { lines: Vec::new(), predictions: Vec::new() };
        let mut next = Some(first);
        for _ in 0..n_rows {
            let row = next.take().unwrap_or_else(|| self.row(maker, way));
            // One that the graph refuses proves nothing.
            let Ok(found) = run(predictor, std::slice::from_ref(&row)) else { continue };
            let prediction = found.rows.into_iter().next()?;
            let mut output = b"{\"prediction\":".to_vec();
            postprocess.write_prediction(&prediction, &mut output);
            if postprocess.n_probabilities() > 0 && prediction != Prediction::None {
                output.extend_from_slice(b",\"probabilities\":");
                postprocess.write_probabilities(&found.probabilities, &mut output);
            }
            output.push(b'}');
            let output = String::from_utf8(output).ok()?;
            rows.lines.push(format!("{{\"input\":{row},\"features\":[],\"output\":{output}}}"));
            rows.predictions.push(prediction);
        }
        Some(rows)
    }

    /// Whether the rows give in batches of several sizes what they give alone: to the bit, as far as a batch is run at once.
    fn is_sound(&self, predictor: &mut Predictor, rows: &Rows, way: Way) -> bool {
        let inputs: Vec<Value> = rows
            .lines
            .iter()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .map(|line| line["input"].clone())
            .collect();
        if matches!(way, Way::One | Way::Whole) {
            return true;
        }
        // In runs of one row the bits are the same; what is left to see is that rows are rows.
        if way == Way::BatchOfOne {
            return self.rows_are_rows(&inputs, &rows.predictions);
        }
        [2, 3, 4, 8, 16, 17].into_iter().filter(|n| *n <= inputs.len()).all(|n| {
            let Ok(found) = run(predictor, &inputs[..n]) else { return false };
            let mut pairs = found.rows.iter().zip(&rows.predictions);
            pairs.all(|(one, other)| distance(one, other) == Some(0.0))
        })
    }

    /// Whether rows influence one another by rounding at most. In a graph that takes the sequence first and the batch second they do by more.
    fn rows_are_rows(&self, inputs: &[Value], alone: &[Prediction]) -> bool {
        const ROUNDING: f64 = 1e-2;
        let together = || {
            let mut manifest = self.manifest(Way::Batch, &self.tensors(), 0).ok()?;
            manifest.model.file = self.graph.file_name()?.to_string_lossy().into_owned();
            let dir = self.graph.parent()?.to_owned();
            let model = Model::load(Artifact::bare(dir, manifest, Vec::new(), String::new()));
            let mut predictor =
                Predictor::open(&Arc::new(model.ok()?), SessionOptions::default()).ok()?;
            run(&mut predictor, inputs).ok()
        };
        let Some(together) = together() else { return false };
        let mut pairs = together.rows.iter().zip(alone);
        pairs.all(|(one, other)| distance(one, other).is_some_and(|found| found <= ROUNDING))
    }

    fn row(&self, maker: &mut Maker, way: Way) -> Value {
        let mut lengths: BTreeMap<String, u64> = BTreeMap::new();
        let mut row = serde_json::Map::new();
        for input in self.inputs {
            let shape = self.row_shape(input, way);
            let offset = input.shape.len() - shape.len();
            // Dimensions of one name have one length.
            let shape: Vec<u64> = shape
                .iter()
                .enumerate()
                .map(|(at, dim)| {
                    dim.unwrap_or_else(|| {
                        let symbol = input.symbols.get(at + offset).cloned().unwrap_or_default();
                        let key =
                            if symbol.is_empty() { format!("{}/{at}", input.name) } else { symbol };
                        *lengths.entry(key).or_insert_with(|| maker.length())
                    })
                })
                .collect();
            let value = maker.tensor(ElementType::parse(&input.r#type), &shape);
            row.insert(input.name.clone(), value);
        }
        Value::Object(row)
    }

    /// The graph as a classifier with probabilities, when it is one beyond doubt: an operator lists the classes, one output has as many
    /// columns, and another the label of the largest.
    fn classifier(&self, rows: &Rows) -> Option<Value> {
        let first = self.file.labels.first()?;
        if self.file.labels.iter().any(|other| other != first) {
            return None;
        }
        let labels: Vec<Scalar> = match first {
            ClassLabels::Ints(ints) => ints.iter().map(|label| Scalar::Int(*label)).collect(),
            ClassLabels::Texts(texts) => texts.iter().cloned().map(Scalar::Text).collect(),
        };
        let [_label, probabilities] = self.outputs else { return None };
        if probabilities.symbols.len() != 2 || labels.len() < 2 {
            return None;
        }
        // The maps of ZipMap come in the order of their keys.
        let mut order: Vec<usize> = (0..labels.len()).collect();
        if probabilities.shape == [None, None] {
            order.sort_by(|one, other| match first {
                ClassLabels::Ints(ints) => ints[*one].cmp(&ints[*other]),
                ClassLabels::Texts(texts) => texts[*one].cmp(&texts[*other]),
            });
        }
        let labels: Vec<Scalar> = order.into_iter().map(|at| labels[at].clone()).collect();
        let agrees = |prediction: &Prediction| {
            let Prediction::Tensors(tensors) = prediction else { return false };
            let [label, probabilities] = &**tensors else { return false };
            let (Some(label), Some(values)) = (label.elements().next(), probabilities.to_f64())
            else {
                return false;
            };
            let best = (1..values.len())
                .fold(0, |best, at| if values[at] > values[best] { at } else { best });
            let sum: f64 = values.iter().sum();
            values.len() == labels.len()
                && (sum - 1.0).abs() < 1e-3
                && match (label, &labels[best]) {
                    (Element::Int(found), Scalar::Int(label)) => found == i128::from(*label),
                    (Element::Text(found), Scalar::Text(label)) => found == label,
                    _ => false,
                }
        };
        rows.predictions.iter().all(agrees).then(|| {
            json!({"probabilities": {"tensor": probabilities.name, "labels": labels, "threshold": null}})
        })
    }
}

/// Whether a path is that of a bare graph, and not of an artifact.
#[must_use]
pub fn is_graph(path: &Path) -> bool {
    path.extension().is_some_and(|name| name.eq_ignore_ascii_case("onnx")) && !path.is_dir()
}

/// Loads a bare graph as a model of this name, as [`Bare::write`] and loading would.
///
/// # Errors
/// As [`Bare::read`].
pub fn load(graph: &Path) -> Result<Artifact, BareError> {
    let stem = graph.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = stem.chars().map(plain).take(64).collect();
    let name = name.trim_start_matches(['.', '_', '-']);
    let name = if name.is_empty() { "model" } else { name };
    Bare::read(graph, name, &semver::Version::new(0, 0, 0))?.artifact()
}
