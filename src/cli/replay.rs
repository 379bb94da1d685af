//! `seaworthy replay`: runs logged predictions again and compares.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::diff::{CompareOptions, changes, common_labels, side};
use super::stream::{End, Flow, INTERRUPTED, Interrupt, in_order};
use super::tables::{self, Progress, thousands};
use super::{Context, FAILED};
use crate::artifact::{Trust, store};
use crate::compare::{Answer, Difference, Pair, Side};
use crate::predictor::{LoadError, Model, PredictError, Predictor};
use crate::runtime::SessionOptions;
use crate::schema::{DecodeOptions, Frame, Kind};
use crate::startup::{ServerError, load_trusted, open_runtime};
use crate::tabular::{self, Format, Lines, Source, TableError};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Prediction logs, plain or compressed (gzip, Zstandard): files, globs in quotes, directories, or `-` for standard input
    #[arg(required = true, value_name = "LOG")]
    logs: Vec<String>,
    /// Run the records of this model's name on this version of it, instead of the one that each names
    #[arg(long, value_name = "MODEL")]
    on: Option<String>,
    #[command(flatten)]
    compare: CompareOptions,
    /// Threads that predict [default: as many as there are cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// A record of the log, as far as it is needed here.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    target: Option<Cow<'a, str>>,
    #[serde(borrow)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    version: Option<Cow<'a, str>>,
    #[serde(borrow)]
    artifact: Option<Cow<'a, str>>,
    status: Option<u16>,
    #[serde(borrow)]
    inputs: Option<&'a RawValue>,
    body: Option<String>,
    body_bytes: Option<usize>,
    predictions: Option<Vec<serde_json::Value>>,
    probabilities: Option<Vec<Option<BTreeMap<String, f64>>>>,
    errors: Option<Vec<LoggedError>>,
    total_errors: Option<usize>,
}

#[derive(Deserialize)]
struct LoggedError {
    pointer: String,
    code: String,
    detail: String,
}

/// What was in the logs.
#[derive(Debug, Clone, Default, Serialize)]
struct Counts {
    /// Lines with something in them.
    lines: u64,
    /// Requests that were run again.
    replayed: u64,
    /// Of them, those that had been refused.
    refused: u64,
    /// With fields that the log does not show.
    redacted: u64,
    /// Of other models than the one asked for.
    other_models: u64,
    /// Of requests that no model has seen, or whose body is not there whole, by status.
    not_replayable: BTreeMap<u16, u64>,
    /// JSON of something else than the prediction log.
    other: u64,
    /// Lines that end in the middle: the writer was killed.
    torn: u64,
    /// Lines that are broken otherwise.
    corrupt: u64,
}

impl Counts {
    fn append(&mut self, other: &Self) {
        self.lines += other.lines;
        self.replayed += other.replayed;
        self.refused += other.refused;
        self.redacted += other.redacted;
        self.other_models += other.other_models;
        self.other += other.other;
        self.torn += other.torn;
        self.corrupt += other.corrupt;
        for (status, n) in &other.not_replayable {
            *self.not_replayable.entry(*status).or_default() += n;
        }
    }

    fn to_text(&self) -> String {
        let mut text = format!(
            "{} lines: {} requests replayed, {} of them had been refused",
            thousands(self.lines),
            thousands(self.replayed),
            thousands(self.refused)
        );
        for (n, what) in [
            (self.redacted, "left out, with redacted fields"),
            (self.other_models, "of other models"),
            (self.other, "of something else than the prediction log"),
            (self.torn, "torn, where the writer was stopped"),
            (self.corrupt, "corrupt"),
        ] {
            if n > 0 {
                text.push_str(&format!("; {} {what}", thousands(n)));
            }
        }
        for (status, n) in &self.not_replayable {
            text.push_str(&format!(
                "; {} with status {status}, which no model has answered",
                thousands(*n)
            ));
        }
        text
    }
}

/// Why a log cannot be replayed at all.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplayError {
    /// The record's version is another artifact here.
    #[error(
        "the log was written by {model} with the artifact {logged}, but the one here is {here}"
    )]
    OtherArtifact {
        /// `name@version`.
        model: String,
        /// Its digest in the log.
        logged: String,
        /// Its digest here.
        here: String,
    },
    /// The graph could not be run.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// A model cannot be loaded.
    #[error(transparent)]
    Load(#[from] ServerError),
    /// A log cannot be read.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl ReplayError {
    /// What can be done.
    pub(super) fn hint(&self) -> Option<String> {
        match self {
            Self::OtherArtifact { model, .. } => Some(format!(
                "compare them all the same: --on {model}"
            )),
            Self::Load(_) => Some(
                "a log names the versions that answered; run its records on another one with --on MODEL".to_owned(),
            ),
            Self::Table(error) => error.what_to_do().map(str::to_owned),
            Self::Predict(_) => None,
        }
    }

    /// Whether this program is at fault.
    pub(super) fn is_ours(&self) -> bool {
        matches!(self, Self::Predict(_))
    }
}

/// The models that records name, loaded and proven when the first record names them.
#[derive(Debug)]
struct Models {
    dir: std::path::PathBuf,
    trust: Trust,
    loaded: Mutex<BTreeMap<String, Arc<Model>>>,
    /// The one that all records are run on.
    on: Option<Arc<Model>>,
}

impl Models {
    /// `None` for a record of another model than the one asked for.
    fn find(
        &self,
        name: &str,
        version: &str,
        artifact: &str,
    ) -> Result<Option<Arc<Model>>, ReplayError> {
        if let Some(on) = &self.on {
            return Ok((on.artifact().manifest().name == name).then(|| Arc::clone(on)));
        }
        let key = format!("{name}@{version}");
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let model = match loaded.get(&key) {
            Some(model) => Arc::clone(model),
            None => {
                let dir = store::find(&self.dir, &key)
                    .map_err(|error| ServerError::from(LoadError::from(error)))?;
                let model = Arc::clone(load_trusted(&dir, &self.trust)?.0.model());
                loaded.insert(key.clone(), Arc::clone(&model));
                model
            }
        };
        if !artifact.is_empty() && model.artifact().digest() != artifact {
            return Err(ReplayError::OtherArtifact {
                model: key,
                logged: artifact.to_owned(),
                here: model.artifact().digest().to_owned(),
            });
        }
        Ok(Some(model))
    }

    /// How all of them are called together.
    fn names(&self) -> Side {
        if let Some(on) = &self.on {
            return side(on);
        }
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        match loaded.values().next() {
            Some(only) if loaded.len() == 1 => side(only),
            _ => Side {
                model: loaded.keys().cloned().collect::<Vec<_>>().join(", "),
                artifact: String::new(),
            },
        }
    }
}

/// What one thread needs to run one model.
struct Runner {
    predictor: Predictor,
    frame: Frame,
    /// Those that have probabilities.
    labels: Vec<String>,
    gives_labels: bool,
    has_sensitive: bool,
    has_images: bool,
}

struct Worker {
    models: Arc<Models>,
    runners: BTreeMap<String, Runner>,
    decode: DecodeOptions,
    empty: Difference,
    by: Vec<String>,
}

/// What became of some lines.
struct Part {
    difference: Difference,
    counts: Counts,
    corrupt: Vec<String>,
    /// The versions that the log names.
    versions: Vec<String>,
}

/// Corrupt lines that are shown.
const N_SHOWN: usize = 10;

impl Worker {
    fn run(&mut self, lines: &Lines) -> Result<Part, ReplayError> {
        let mut part = Part {
            difference: self.empty.clone(),
            counts: Counts::default(),
            corrupt: Vec::new(),
            versions: Vec::new(),
        };
        let all: Vec<&[u8]> = lines.text.split_inclusive(|byte| *byte == b'\n').collect();
        for (at, line) in all.iter().enumerate() {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            part.counts.lines += 1;
            let number = lines.line + at as u64;
            let is_last = at + 1 == all.len() && lines.is_open;
            let record = match parse(line) {
                Ok(record) => record,
                Err(error) => {
                    // A line that ends in the middle is the last one of its file; or another writer went on behind it, on a line of its own or
                    // not.
                    if is_last || (error.is_eof() && line.starts_with(START)) {
                        part.counts.torn += 1;
                        continue;
                    }
                    match behind_torn(line).and_then(|rest| parse(rest).ok()) {
                        Some(record) => {
                            part.counts.torn += 1;
                            record
                        }
                        None => {
                            part.counts.corrupt += 1;
                            if part.corrupt.len() < N_SHOWN {
                                part.corrupt
                                    .push(format!("`{}`, line {number}: {error}", lines.name));
                            }
                            continue;
                        }
                    }
                }
            };
            self.record(&record, &format!("{}, line {number}", lines.name), &mut part)?;
        }
        if lines.was_cut && !lines.is_open {
            part.counts.torn += 1;
        }
        Ok(part)
    }

    fn record(
        &mut self,
        record: &Record<'_>,
        place: &str,
        part: &mut Part,
    ) -> Result<(), ReplayError> {
        let Some(status) = record.status.filter(|_| record.target.as_deref() == Some("prediction"))
        else {
            part.counts.other += 1;
            return Ok(());
        };
        let (Some(name), Some(version)) = (&record.model, &record.version) else {
            *part.counts.not_replayable.entry(status).or_default() += 1;
            return Ok(());
        };
        let artifact = record.artifact.as_deref().unwrap_or_default();
        let Some(model) = self.models.find(name, version, artifact)? else {
            part.counts.other_models += 1;
            return Ok(());
        };
        let named = format!("{name}@{version}");
        if !part.versions.contains(&named) {
            part.versions.push(named);
        }
        let runner = runner(&mut self.runners, &model)?;
        let is_redacted = |text: &str| {
            (runner.has_sensitive && (text.contains(r#""hmac:"#) || text.contains(r#""redacted""#)))
                // A picture that was logged by its digest.
                || (runner.has_images && text.contains(r#"{"sha256":"#))
        };
        let inputs = record.inputs.map(RawValue::get);
        if inputs.is_some_and(is_redacted) {
            part.counts.redacted += 1;
            return Ok(());
        }
        match (status, inputs) {
            (200, Some(inputs)) => {
                part.counts.replayed += 1;
                answered(runner, record, inputs, &self.decode, &self.by, place, part)
            }
            (422, Some(inputs)) => {
                part.counts.replayed += 1;
                part.counts.refused += 1;
                refused(runner, record, inputs, &self.decode, place, part)
            }
            (400, None) if whole_body(record).is_some() && is_syntax_error(record) => {
                part.counts.replayed += 1;
                part.counts.refused += 1;
                let body = whole_body(record).unwrap_or_default();
                let decoded = runner.predictor.model().schema().decode(
                    body.as_bytes(),
                    &self.decode,
                    &mut runner.frame,
                );
                let old: Vec<String> =
                    record.errors.iter().flatten().map(|error| error.detail.clone()).collect();
                let new = match decoded {
                    Err(error) => Answer::None(vec![format!("the body is not JSON: {error}")]),
                    Ok(_) => Answer::Label("read".to_owned()),
                };
                add(part, &Answer::None(old), &new, (&[], &[]), &[], || {
                    (place.to_owned(), body.into())
                });
                Ok(())
            }
            _ => {
                if runner.has_sensitive && status == 400 {
                    part.counts.redacted += 1;
                } else {
                    *part.counts.not_replayable.entry(status).or_default() += 1;
                }
                Ok(())
            }
        }
    }
}

fn parse(line: &[u8]) -> Result<Record<'_>, serde_json::Error> {
    serde_json::from_slice(line)
}

/// How every record begins.
const START: &[u8] = br#"{"timestamp":""#;

/// What another writer wrote behind a line that ends in the middle.
fn behind_torn(line: &[u8]) -> Option<&[u8]> {
    let at = memchr::memmem::rfind(line, START)?;
    (at > 0 && line.starts_with(b"{")).then(|| &line[at..])
}

/// The body, if the log has all of it as it was.
fn whole_body<'a>(record: &'a Record<'_>) -> Option<&'a str> {
    let body = record.body.as_deref()?;
    let is_whole =
        record.body_bytes == Some(body.len()) && !body.contains(char::REPLACEMENT_CHARACTER);
    is_whole.then_some(body)
}

fn is_syntax_error(record: &Record<'_>) -> bool {
    record.errors.iter().flatten().any(|error| error.code == "malformed-json")
}

fn runner<'a>(
    runners: &'a mut BTreeMap<String, Runner>,
    model: &Arc<Model>,
) -> Result<&'a mut Runner, ReplayError> {
    let key = model.artifact().digest().to_owned();
    if !runners.contains_key(&key) {
        let predictor =
            Predictor::open(model, SessionOptions::default()).map_err(ServerError::from)?;
        let schema = model.schema();
        let new = Runner {
            frame: schema.frame(),
            predictor,
            labels: common_labels(model, model),
            gives_labels: !model.postprocess().labels().is_empty(),
            has_sensitive: schema.fields().iter().any(|field| field.spec().sensitive),
            has_images: schema.fields().iter().any(|field| field.kind() == Kind::Image),
        };
        runners.insert(key.clone(), new);
    }
    runners.get_mut(&key).ok_or_else(|| {
        // It has just been put there.
        ReplayError::Predict(PredictError::Runtime(crate::runtime::RuntimeError::Run {
            reason: "the model was not kept".to_owned(),
        }))
    })
}

fn add(
    part: &mut Part,
    old: &Answer,
    new: &Answer,
    probabilities: (&[f64], &[f64]),
    segments: &[String],
    describe: impl FnOnce() -> (String, serde_json::Value),
) {
    part.difference.add(&Pair { old, new, probabilities, segments }, describe);
}

/// The row that a pointer leads to; 0 for the only one.
fn row_of(pointer: &str) -> usize {
    pointer.split('/').find_map(|part| part.parse().ok()).unwrap_or(0)
}

/// Runs a request again that was answered, row by row.
fn answered(
    runner: &mut Runner,
    record: &Record<'_>,
    inputs: &str,
    options: &DecodeOptions,
    by: &[String],
    place: &str,
    part: &mut Part,
) -> Result<(), ReplayError> {
    let model = Arc::clone(runner.predictor.model());
    let body = rows_of(inputs);
    let decoded = match model.schema().decode(body.as_bytes(), options, &mut runner.frame) {
        Ok(decoded) => decoded,
        Err(error) => {
            let (old, new) =
                (Answer::Label("answered".to_owned()), Answer::None(vec![error.to_string()]));
            add(part, &old, &new, (&[], &[]), &vec![String::new(); by.len()], || {
                (place.to_owned(), inputs.into())
            });
            return Ok(());
        }
    };
    let predicted = runner.predictor.predict(&runner.frame)?;
    let mut places = vec![None; decoded.n_rows];
    for at in 0..runner.frame.n_rows() {
        places[decoded.kept.as_ref().map_or(at, |kept| kept[at])] = Some(at);
    }
    let mut codes: Vec<Vec<String>> = vec![Vec::new(); decoded.n_rows];
    for error in &decoded.errors {
        if let Some(codes) = error.row.and_then(|row| codes.get_mut(row)) {
            codes.push(error.problem.code().to_owned());
        }
    }
    for error in &predicted.errors {
        let row = decoded.kept.as_ref().map_or(error.row, |kept| kept[error.row]);
        codes[row].push(error.problem.code().to_owned());
    }
    let mut logged: Vec<Vec<String>> = vec![Vec::new(); decoded.n_rows];
    // Where not all errors were logged, nothing is known of the reasons of the rest.
    for error in record.errors.iter().flatten() {
        if let Some(logged) = logged.get_mut(row_of(&error.pointer)) {
            logged.push(error.code.clone());
        }
    }
    let is_label = runner.gives_labels;
    let empty = Vec::new();
    let predictions = record.predictions.as_ref().unwrap_or(&empty);
    let values =
        needs_values(by).then(|| serde_json::from_str::<serde_json::Value>(inputs).ok()).flatten();
    let n_labels = runner.labels.len();
    for row in 0..decoded.n_rows.max(predictions.len()) {
        let of_row = |codes: &[Vec<String>]| codes.get(row).cloned().unwrap_or_default();
        let old = match predictions.get(row) {
            None | Some(serde_json::Value::Null) => Answer::None(of_row(&logged)),
            Some(value) => Answer::of_json(value, is_label),
        };
        let at = places.get(row).copied().flatten();
        let new = match at {
            Some(at) => Answer::of(&predicted, at, model.postprocess(), || of_row(&codes)),
            None => Answer::None(of_row(&codes)),
        };
        let new_probabilities = at
            .and_then(|at| predicted.probabilities.get(at * n_labels..(at + 1) * n_labels))
            .filter(|values| values.iter().all(|value| value.is_finite()))
            .unwrap_or_default();
        // An answer may hold only the most probable labels: of the others nothing is known.
        let logged = record.probabilities.as_ref().and_then(|rows| rows.get(row)?.as_ref());
        let old_probabilities: Vec<f64> = logged.map_or_else(Vec::new, |logged| {
            let labels = runner.labels.iter().zip(new_probabilities);
            labels.map(|(label, new)| logged.get(label).copied().unwrap_or(*new)).collect()
        });
        let segments: Vec<String> = by
            .iter()
            .map(|name| {
                values.as_ref().map_or_else(String::new, |values| cell(values, row, name, &model))
            })
            .collect();
        // Where the log has none, as it had none.
        let new_probabilities = if logged.is_some() { new_probabilities } else { &[] };
        let probabilities = (old_probabilities.as_slice(), new_probabilities);
        add(part, &old, &new, probabilities, &segments, || {
            let values = serde_json::from_str::<serde_json::Value>(inputs).unwrap_or_default();
            let input = if values.is_array() { values.get(row).cloned() } else { Some(values) };
            let id = record.request_id.as_deref().unwrap_or_default();
            (format!("{place} ({id}), row {row}"), input.unwrap_or_default())
        });
    }
    Ok(())
}

fn needs_values(by: &[String]) -> bool {
    !by.is_empty()
}

/// The value of a field in a row, by any of its names, as text.
fn cell(inputs: &serde_json::Value, row: usize, name: &str, model: &Model) -> String {
    let row = if inputs.is_array() { inputs.get(row) } else { Some(inputs) };
    let schema = model.schema();
    let field = schema.index_of(name);
    let value = row.and_then(serde_json::Value::as_object).and_then(|row| {
        row.iter()
            .find(|(key, _)| *key == name || (field.is_some() && schema.index_of(key) == field))
    });
    match value {
        None | Some((_, serde_json::Value::Null)) => String::new(),
        Some((_, serde_json::Value::String(text))) => text.clone(),
        Some((_, value)) => value.to_string(),
    }
}

/// A body with these inputs: what was bare in the request is in the log as it was.
fn rows_of(inputs: &str) -> String {
    format!("{{\"inputs\":{inputs}}}")
}

/// Runs a request again that was refused as a whole: it must be, for the same reasons.
fn refused(
    runner: &mut Runner,
    record: &Record<'_>,
    inputs: &str,
    options: &DecodeOptions,
    place: &str,
    part: &mut Part,
) -> Result<(), ReplayError> {
    let model = Arc::clone(runner.predictor.model());
    let of_the_whole = record
        .errors
        .iter()
        .flatten()
        .any(|error| matches!(error.pointer.as_str(), "#" | "#/inputs"));
    // An envelope that was wrong is in the log as the whole value.
    let body = if of_the_whole && !matches!(inputs.as_bytes().first(), Some(b'[')) {
        inputs.to_owned()
    } else {
        rows_of(inputs)
    };
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut total = 0;
    match model.schema().decode(body.as_bytes(), options, &mut runner.frame) {
        Err(error) => found.push((0, error.to_string())),
        Ok(decoded) => {
            total = decoded.n_errors;
            found.extend(
                decoded
                    .errors
                    .iter()
                    .map(|error| (error.row.unwrap_or(0), error.problem.code().to_owned())),
            );
            let predicts = runner.frame.n_rows() > 0
                && !decoded.errors.iter().any(|error| error.row.is_none());
            if predicts {
                let predicted = runner.predictor.predict(&runner.frame)?;
                total += predicted.errors.len();
                found.extend(predicted.errors.iter().map(|error| {
                    let row = decoded.kept.as_ref().map_or(error.row, |kept| kept[error.row]);
                    (row, error.problem.code().to_owned())
                }));
            }
        }
    }
    found.sort_by_key(|(row, _)| *row);
    let logged: Vec<(usize, String)> = record
        .errors
        .iter()
        .flatten()
        .map(|error| (row_of(&error.pointer), error.code.clone()))
        .collect();
    let logged_total = record.total_errors.unwrap_or(logged.len());
    let show = |errors: &[(usize, String)], total: usize| -> Vec<String> {
        let mut shown: Vec<String> =
            errors.iter().take(logged.len()).map(|(row, code)| format!("{row}: {code}")).collect();
        shown.push(format!("{total} in all"));
        shown
    };
    let old = Answer::None(show(&logged, logged_total));
    let new = if total == 0 && found.is_empty() {
        Answer::Label("accepted".to_owned())
    } else {
        Answer::None(show(&found, total))
    };
    let segments = vec![String::new(); part.difference.n_segments()];
    add(part, &old, &new, (&[], &[]), &segments, || {
        (place.to_owned(), serde_json::from_str(inputs).unwrap_or_default())
    });
    Ok(())
}

pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let mut sources: Vec<Source> = Vec::new();
    for log in &options.logs {
        sources.extend(tabular::expand(log, Some(Format::Ndjson))?);
    }
    let on = match &options.on {
        Some(on) => Some(Arc::clone(tables::load(on, context)?.model())),
        None => {
            open_runtime(&context.process)?;
            None
        }
    };
    let labels = on.as_ref().map(|on| common_labels(on, on)).unwrap_or_default();
    let mut whole = Difference::new(options.compare.settings(), labels);
    let models = Arc::new(Models {
        dir: context.settings.models.dir.clone(),
        trust: context.trust.clone(),
        loaded: Mutex::default(),
        on,
    });
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let n_threads = options.threads.map_or_else(cores, usize::from);
    let decode = DecodeOptions {
        unknown_fields: context.settings.schema.unknown_fields,
        max_rows: context.settings.server.max_rows,
        max_errors: usize::MAX,
        images: crate::image::Limits {
            max_bytes: context.settings.images.max_bytes,
            max_pixels: context.settings.images.max_pixels,
            max_request_pixels: context.settings.images.max_request_pixels,
        },
    };
    let workers: Vec<_> = (0..n_threads)
        .map(|_| {
            let mut worker = Worker {
                models: Arc::clone(&models),
                runners: BTreeMap::new(),
                decode,
                empty: whole.empty(),
                by: options.compare.settings().by,
            };
            move |lines: Result<Lines, TableError>| worker.run(&lines?)
        })
        .collect();
    let counter = Arc::new(AtomicU64::new(0));
    let sizes: Option<u64> = sources.iter().map(|source| source.size).sum();
    let progress = Progress::new(sizes, &counter, context);
    let of_reader = Arc::clone(&counter);
    let lines = sources.into_iter().flat_map(move |source| {
        let (lines, error) = match source.open_log(&of_reader) {
            Ok(lines) => (Some(lines), None),
            Err(error) => (None, Some(Err(error))),
        };
        lines.into_iter().flatten().chain(error)
    });
    let mut counts = Counts::default();
    let mut corrupt = Vec::new();
    let mut versions: Vec<String> = Vec::new();
    let end = in_order(lines, workers, &interrupt, |part: Result<Part, ReplayError>| {
        let part = part?;
        counts.append(&part.counts);
        whole.append(part.difference);
        corrupt.extend(part.corrupt);
        for version in part.versions {
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        progress.rows(whole.n_rows());
        Ok(Flow::GoOn)
    })?;
    progress.clear();
    if end == End::Interrupted {
        context.printer.error("interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let words = match (&models.on, versions.as_slice()) {
        (Some(on), [only]) => store::find(&models.dir, only)
            .ok()
            .and_then(|dir| load_trusted(&dir, &context.trust).ok())
            .map(|(logged, _)| changes(logged.model(), on))
            .unwrap_or_default(),
        _ => Vec::new(),
    };
    let old =
        Side { model: format!("the log of {}", versions.join(", ")), artifact: String::new() };
    let report = whole.report(old, models.names(), words, options.compare.max_over());
    options.compare.write_html(&report, &interrupt)?;
    for line in corrupt.iter().take(N_SHOWN) {
        context.printer.error(line);
    }
    if options.compare.is_json() {
        let mut json = serde_json::to_value(&report)?;
        if let Some(json) = json.as_object_mut() {
            json.insert("log".to_owned(), serde_json::to_value(&counts)?);
        }
        context.printer.result(&serde_json::to_string_pretty(&json)?)?;
    } else {
        context.printer.result(&format!("{}\n{}", counts.to_text(), report.to_text()))?;
    }
    let passed = report.passed && counts.corrupt == 0;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Reads files as logs, for the fuzz target `log`: all that `replay` does with a record, but for the report.
#[cfg(any(test, fuzzing))]
pub struct LogReader(Worker);

#[cfg(any(test, fuzzing))]
impl std::fmt::Debug for LogReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogReader").finish_non_exhaustive()
    }
}

#[cfg(any(test, fuzzing))]
impl LogReader {
    /// A reader that runs every record of this model's name on it.
    #[must_use]
    pub fn new(model: &Arc<Model>) -> Self {
        let models = Models {
            dir: std::path::PathBuf::new(),
            trust: Trust::default(),
            loaded: Mutex::default(),
            on: Some(Arc::clone(model)),
        };
        let settings = crate::compare::Settings {
            relative: 0.0,
            absolute: 0.0,
            n_worst: 3,
            by: vec!["Street".to_owned()],
        };
        let by = settings.by.clone();
        Self(Worker {
            models: Arc::new(models),
            runners: BTreeMap::new(),
            decode: DecodeOptions { max_errors: usize::MAX, ..DecodeOptions::default() },
            empty: Difference::new(settings, common_labels(model, model)),
            by,
        })
    }

    /// How many lines a file has, and what they were counted as.
    ///
    /// # Errors
    /// It cannot be read as text.
    ///
    /// # Panics
    /// A record is fatal.
    #[expect(clippy::panic, reason = "that is what a fuzz target is to find")]
    pub fn read(&mut self, path: &std::path::Path) -> Result<(u64, u64), TableError> {
        let relative = path.file_name().map(Into::into).unwrap_or_default();
        let source =
            Source { path: Some(path.to_owned()), relative, format: Format::Ndjson, size: None };
        let (mut n_lines, mut n_counted) = (0, 0);
        for lines in source.open_log(&Arc::default())? {
            let counts = match self.0.run(&lines?) {
                Ok(part) => part.counts,
                Err(ReplayError::Table(error)) => return Err(error),
                Err(error) => panic!("{error}"),
            };
            n_lines += counts.lines;
            n_counted += counts.replayed
                + counts.redacted
                + counts.other_models
                + counts.not_replayable.values().sum::<u64>()
                + counts.other
                + counts.torn
                + counts.corrupt;
        }
        Ok((n_lines, n_counted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_behind_a_torn_one_is_found() {
        let whole = br#"{"timestamp":"2026","target":"prediction","status":200}"#;
        let both = [&whole[..30], &whole[..]].concat();
        assert_eq!(behind_torn(&both), Some(&whole[..]));
        assert_eq!(behind_torn(whole), None);
        assert_eq!(behind_torn(b"garbage"), None);
    }

    /// It is compiled here as well: the fuzz target was not, and did not compile for a while.
    #[test]
    fn every_line_of_the_seeds_of_the_fuzz_target_is_counted() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        open_runtime(&crate::config::process()).unwrap();
        let model = root.join("models/house-prices/3.2.0");
        let model = crate::startup::load_and_prove(&model).unwrap().0;
        let mut reader = LogReader::new(model.model());
        for name in ["gzip", "mixed", "torn"] {
            let (lines, counted) = reader.read(&root.join("fuzz/seeds/log").join(name)).unwrap();
            assert!(lines > 0 && lines <= counted, "{name}: {lines} lines, {counted} counted");
        }
    }

    #[test]
    fn a_pointer_names_its_row() {
        assert_eq!(
            [
                row_of("#/inputs/12/LotArea"),
                row_of("#/inputs/LotArea"),
                row_of("#/3/a"),
                row_of("#")
            ],
            [12, 0, 3, 0]
        );
    }
}
