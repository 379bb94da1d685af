//! A loaded model, and the one function that predicts: the server, `check` and every offline command call it.
//!
//! Knows no threads and no HTTP. A [`Model`] is what is shared and never changes; a [`Predictor`] is what one thread needs to run it: a
//! session and buffers.

use std::path::PathBuf;
use std::sync::Arc;

use crate::artifact::{Artifact, ArtifactError, TensorSpec};
use crate::feed::Feeding;
use crate::pipeline::{Pipeline, PipelineError, RowProblem, Workspace};
use crate::postprocess::{
    OutputFault, Outputs, OutputsError, Postprocess, Prediction, shown_shape as shape,
};
use crate::runtime::{RuntimeError, Session, SessionOptions, TensorInfo};
use crate::schema::{Frame, Schema, SchemaError};
use crate::tensor::Tensor;

/// Why a model could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The files are not what they should be.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// The schema is not sound.
    #[error("`{}`: {source}", .path.display())]
    Schema {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: SchemaError,
    },
    /// The pipeline is not sound.
    #[error("`{}`: {source}", .path.display())]
    Pipeline {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: PipelineError,
    },
    /// The outputs are not sound.
    #[error("`{}`: {source}", .path.display())]
    Outputs {
        /// The manifest.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: OutputsError,
    },
    /// The graph cannot be opened.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The graph does not fit the manifest.
    #[error("`{}` does not fit the manifest: {problem}", .path.display())]
    Graph {
        /// The graph.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
}

/// Why a whole run failed; never the fault of a row.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PredictError {
    /// The graph could not be run.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The graph's output is not what the manifest says.
    #[error(transparent)]
    Outputs(#[from] OutputsError),
}

/// A model that is loaded and consistent, though not yet proven. Immutable, shared by all threads.
#[derive(Debug)]
pub struct Model {
    artifact: Artifact,
    schema: Schema,
    pipeline: Pipeline,
    postprocess: Postprocess,
    feeding: Feeding,
}

impl Model {
    /// Compiles the schema, the pipeline and the outputs of an artifact.
    ///
    /// # Errors
    /// The first part that is not sound, with the manifest's path.
    pub fn load(artifact: Artifact) -> Result<Self, LoadError> {
        let path = artifact.manifest_path();
        let manifest = artifact.manifest();
        let schema = Schema::load(manifest.inputs.clone())
            .map_err(|source| LoadError::Schema { path: path.clone(), source })?;
        let fed: Vec<&str> =
            manifest.model.inputs.iter().filter_map(|input| input.from.as_deref()).collect();
        let pipeline = Pipeline::load_fed(&manifest.pipeline, &manifest.features, &fed, &schema)
            .map_err(|source| LoadError::Pipeline { path: path.clone(), source })?;
        let postprocess = Postprocess::load(&manifest.outputs, &manifest.postprocess)
            .map_err(|source| LoadError::Outputs { path: path.clone(), source })?;
        let graph = |problem: String| LoadError::Graph { path: artifact.graph(), problem };
        let feeding = Feeding::load(&manifest.model, &pipeline, &postprocess).map_err(graph)?;
        Ok(Self { schema, pipeline, postprocess, feeding, artifact })
    }

    /// The artifact that it was loaded from.
    #[must_use]
    pub fn artifact(&self) -> &Artifact {
        &self.artifact
    }

    /// What a row is.
    #[must_use]
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The fitted preprocessing.
    #[must_use]
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// What the graph's outputs mean.
    #[must_use]
    pub fn postprocess(&self) -> &Postprocess {
        &self.postprocess
    }
}

/// Why there is no prediction for a row that fitted the schema.
#[derive(Debug, Clone, PartialEq)]
pub struct RowError {
    /// Index of the row in the frame.
    pub row: usize,
    /// Index of the field in the schema that is to blame, if one is.
    pub field: Option<usize>,
    /// What is wrong.
    pub problem: RowErrorProblem,
}

/// What is wrong with a row. [`Self::code`] is stable.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RowErrorProblem {
    /// A step of the pipeline refused it.
    #[error(transparent)]
    Pipeline(RowProblem),
    /// The graph gave something that is no prediction, or not all of one.
    #[error(transparent)]
    Output(OutputFault),
}

impl RowErrorProblem {
    /// The stable, machine-readable name, as listed in docs/artifact.md, section 3.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Pipeline(problem) => problem.code(),
            Self::Output(fault) => fault.code(),
        }
    }

    /// Whether the row itself is at fault: then a strict request is refused. A prediction that is not finite is not.
    #[must_use]
    pub fn is_invalid_input(&self) -> bool {
        matches!(self, Self::Pipeline(_) | Self::Output(OutputFault::Refused { .. }))
    }
}

/// The predictions for a frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Predictions {
    /// One for each row of the frame, in order.
    pub rows: Vec<Prediction>,
    /// For a classifier with probabilities `n_rows * n_labels` of them, row-major; NaN in rows that were refused. Else empty.
    pub probabilities: Vec<f64>,
    /// Why rows have no prediction, or not a whole one, by row.
    pub errors: Vec<RowError>,
}

impl Predictions {
    /// Takes the rows from `row` on away, as predictions of their own: how those of several requests that were run at once are split.
    #[must_use]
    pub fn split_off(&mut self, row: usize) -> Self {
        let n_rows = self.rows.len();
        let row = row.min(n_rows);
        let rows = self.rows.split_off(row);
        let width = self.probabilities.len().checked_div(n_rows).unwrap_or_default();
        let probabilities = self.probabilities.split_off(row * width);
        let first = self.errors.partition_point(|error| error.row < row);
        let mut errors = self.errors.split_off(first);
        errors.iter_mut().for_each(|error| error.row -= row);
        Self { rows, probabilities, errors }
    }
}

/// A part of a prediction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The pipeline, up to the tensors.
    Preprocess,
    /// The graph.
    Inference,
    /// From the graph's outputs to predictions.
    Postprocess,
}

/// What one thread needs to run a model.
#[derive(Debug)]
pub struct Predictor {
    model: Arc<Model>,
    session: Session,
    /// For each input of the session its place among those of the plan.
    order: Vec<usize>,
    workspace: Workspace,
}

impl Predictor {
    /// Opens a session of the model's graph and compares its signature with the manifest.
    ///
    /// # Errors
    /// The graph cannot be opened, or takes or gives other tensors than the manifest says.
    pub fn open(model: &Arc<Model>, options: SessionOptions) -> Result<Self, LoadError> {
        let path = model.artifact.graph();
        let session = Session::open(&path, options)?.giving(model.postprocess.tensors())?;
        let spec = &model.artifact.manifest().model;
        for (what, found, expected) in [
            ("input", session.inputs(), &spec.inputs),
            ("output", session.outputs(), &spec.outputs),
        ] {
            check_signature(what, found, expected)
                .map_err(|problem| LoadError::Graph { path: path.clone(), problem })?;
        }
        let place = |input: &TensorInfo| model.feeding.names().position(|name| name == input.name);
        // The signatures have been compared, so each has one.
        let order = session.inputs().iter().filter_map(place).collect();
        Ok(Self { model: Arc::clone(model), session, order, workspace: Workspace::default() })
    }

    /// The model that it runs.
    #[must_use]
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Predicts every row of a frame. THE function: everything that predicts calls it.
    ///
    /// The result has the frame's rows in order. A row that a step refuses, or whose prediction is not finite, has none and an error; it does
    /// not disturb the others.
    ///
    /// # Errors
    /// The graph could not be run at all.
    pub fn predict(&mut self, frame: &Frame) -> Result<Predictions, PredictError> {
        self.predict_watched(frame, &mut |_stage| {})
    }

    /// As [`Self::predict`]; `passed` is told when a stage is over, several times when the graph is run several times.
    ///
    /// # Errors
    /// As [`Self::predict`].
    pub fn predict_watched(
        &mut self,
        frame: &Frame,
        passed: &mut dyn FnMut(Stage),
    ) -> Result<Predictions, PredictError> {
        // Not a handle of its own: all threads would count it up and down, request by request.
        let Self { model, session, order, workspace } = self;
        let model: &Model = model;
        model.pipeline.run(frame, workspace);
        let n_passed = workspace.n_rows();
        let n_features = model.pipeline.feature_names().len();
        let width = model.postprocess.n_probabilities();
        let outputs = if n_passed == 0 {
            Outputs::default()
        } else if let Some(input_type) = model.feeding.only_matrix() {
            passed(Stage::Preprocess);
            let tensors = session.run_features(
                workspace.features(),
                [n_passed, n_features],
                input_type,
                model.postprocess.tensors(),
            )?;
            passed(Stage::Inference);
            model.postprocess.run(&tensors, n_passed)?
        } else {
            feed((model, session, order, workspace), frame, passed)?
        };
        let fault = |fault: &crate::pipeline::RowFault| RowError {
            row: fault.row,
            field: fault.field,
            problem: RowErrorProblem::Pipeline(fault.problem.clone()),
        };
        let mut errors: Vec<RowError> = workspace.faults().iter().map(fault).collect();
        let mut result = Predictions::default();
        let n_before = errors.len();
        let faulty = |row: usize, fault: OutputFault| RowError {
            row,
            field: None,
            problem: RowErrorProblem::Output(fault),
        };
        if n_passed == frame.n_rows() {
            result.rows = outputs.predictions;
            result.probabilities = outputs.probabilities;
            errors.extend(outputs.faults.into_iter().map(|(row, fault)| faulty(row, fault)));
        } else {
            result.rows = vec![Prediction::None; frame.n_rows()];
            result.probabilities = vec![f64::NAN; frame.n_rows() * width];
            let passed: Vec<usize> =
                (0..frame.n_rows()).filter(|row| workspace.passed(*row)).collect();
            for (at, (row, prediction)) in passed.iter().zip(outputs.predictions).enumerate() {
                result.rows[*row] = prediction;
                result.probabilities[row * width..(row + 1) * width]
                    .copy_from_slice(&outputs.probabilities[at * width..(at + 1) * width]);
            }
            errors.extend(outputs.faults.into_iter().map(|(at, fault)| faulty(passed[at], fault)));
        }
        if n_before > 0 && errors.len() > n_before {
            errors.sort_by_key(|error| error.row);
        }
        result.errors = errors;
        passed(Stage::Postprocess);
        Ok(result)
    }

    /// The features of the last run, row-major; a row for each row that passed the pipeline.
    #[must_use]
    pub fn features(&self) -> &[f64] {
        self.workspace.features()
    }
}

/// Runs the graph on the rows that passed the pipeline, in as many runs as they need.
fn feed(
    (model, session, order, workspace): (&Model, &mut Session, &[usize], &Workspace),
    frame: &Frame,
    passed_stage: &mut dyn FnMut(Stage),
) -> Result<Outputs, PredictError> {
    let (feeding, postprocess) = (&model.feeding, &model.postprocess);
    let passed: Vec<usize> = (0..frame.n_rows()).filter(|row| workspace.passed(*row)).collect();
    let columns = feeding.columns(&model.pipeline, frame, workspace);
    let width = postprocess.n_probabilities();
    let mut all = Outputs {
        predictions: vec![Prediction::None; passed.len()],
        probabilities: vec![f64::NAN; passed.len() * width],
        faults: Vec::new(),
    };
    let mut runs: std::collections::VecDeque<Vec<usize>> = feeding.runs(&passed, &columns).into();
    while let Some(run) = runs.pop_front() {
        let broken =
            || RuntimeError::Run { reason: "the columns do not fill the inputs".to_owned() };
        let mut tensors: Vec<Option<Tensor>> = feeding
            .tensors(&run, &passed, &columns, workspace.features())
            .ok_or_else(broken)?
            .into_iter()
            .map(Some)
            .collect();
        let inputs: Vec<Tensor> =
            order.iter().filter_map(|at| tensors.get_mut(*at)?.take()).collect();
        passed_stage(Stage::Preprocess);
        let outputs = session.run(&inputs, postprocess.tensors());
        passed_stage(Stage::Inference);
        let outputs = match outputs {
            Ok(outputs) => outputs,
            // One row may be to blame; the others shall not suffer for it.
            Err(RuntimeError::Run { .. }) if run.len() > 1 => {
                run.into_iter().rev().for_each(|at| runs.push_front(vec![at]));
                continue;
            }
            Err(RuntimeError::Run { reason }) => {
                all.faults.push((run[0], OutputFault::Refused { reason: status(&reason) }));
                continue;
            }
            Err(other) => return Err(other.into()),
        };
        let outputs: Vec<Tensor> = outputs
            .into_iter()
            .enumerate()
            .map(
                |(at, tensor)| {
                    if feeding.is_without_rows(at) { tensor.with_row() } else { tensor }
                },
            )
            .collect();
        let found = postprocess.run(&outputs, run.len())?;
        passed_stage(Stage::Postprocess);
        all.faults.extend(found.faults.into_iter().map(|(at, fault)| (run[at], fault)));
        for (at, (row, prediction)) in run.iter().zip(found.predictions).enumerate() {
            all.predictions[*row] = prediction;
            all.probabilities[row * width..(row + 1) * width]
                .copy_from_slice(&found.probabilities[at * width..(at + 1) * width]);
        }
    }
    all.faults.sort_by_key(|(row, _)| *row);
    Ok(all)
}

/// What ONNX Runtime says of a run that failed, without the names of nodes and the places in its sources.
fn status(reason: &str) -> String {
    let text = reason.rsplit_once("Status Message: ").map_or(reason, |(_, text)| text);
    let text = text
        .rsplit_once(") ")
        .map_or(text, |(place, rest)| if place.contains("/onnxruntime") { rest } else { text });
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn check_signature(
    what: &str,
    found: &[TensorInfo],
    expected: &[TensorSpec],
) -> Result<(), String> {
    let names = |names: Vec<&str>| names.join(", ");
    if found.len() != expected.len() {
        let found_names = names(found.iter().map(|tensor| tensor.name.as_str()).collect());
        return Err(format!(
            "it has {} {what}s ({found_names}), the manifest says {}",
            found.len(),
            expected.len()
        ));
    }
    for expected in expected {
        let Some(found) = found.iter().find(|tensor| tensor.name == expected.name) else {
            let known = names(found.iter().map(|tensor| tensor.name.as_str()).collect());
            return Err(format!("it has no {what} `{}`; it has: {known}", expected.name));
        };
        if found.r#type != expected.r#type {
            return Err(format!(
                "its {what} `{}` is of type {}, the manifest says {}",
                expected.name, found.r#type, expected.r#type
            ));
        }
        if found.shape != expected.shape {
            let (found, expected_shape) = (shape(&found.shape), shape(&expected.shape));
            return Err(format!(
                "its {what} `{}` has the shape {found}, the manifest says {expected_shape}",
                expected.name
            ));
        }
    }
    Ok(())
}
