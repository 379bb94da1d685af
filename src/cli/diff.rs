//! `seaworthy diff`: how two models differ on the same rows.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::output::{Partial, WriteError};
use super::stream::{End, Flow, INTERRUPTED, Interrupt, in_order};
use super::tables::{self, Job, Progress, TableOptions};
use super::{Context, FAILED};
use crate::compare::{
    Allowed, Answer, Difference, Pair, Report, Settings, Side, Word, differences,
};
use crate::postprocess::label_text;
use crate::predictor::{Model, PredictError, Predictor};
use crate::schema::Frame;
use crate::tabular::{Binding, Predicted, Rows, Table, TableError, predict};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// The old model: a directory, a name or name@version
    old: String,
    /// The new model
    new: String,
    /// Rows: files, globs in quotes, directories with everything below, or `-` for standard input
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    data: Vec<String>,
    /// Compare also what does not give its golden rows
    #[arg(long)]
    unproven: bool,
    #[command(flatten)]
    compare: CompareOptions,
    #[command(flatten)]
    tables: TableOptions,
}

/// What `diff` and `replay` have in common.
#[derive(Debug, clap::Args)]
pub(super) struct CompareOptions {
    /// The part of the tolerance that grows with the old prediction
    #[arg(long, default_value_t = 0.0, value_name = "PART", value_parser = tolerance)]
    rel_tol: f64,
    /// The part of the tolerance that does not
    #[arg(long, default_value_t = 0.0, value_name = "NUMBER", value_parser = tolerance)]
    abs_tol: f64,
    /// How many rows may be over the tolerance: a number, or a percentage
    #[arg(long, default_value = "0", value_name = "ROWS|%", value_parser = allowed)]
    max_over: Allowed,
    /// Columns by whose values the rows are told apart; may be given several times
    #[arg(long, value_name = "COLUMN", value_delimiter = ',')]
    by: Vec<String>,
    /// How many of the rows that differ most are shown
    #[arg(long, default_value_t = 10, value_name = "ROWS")]
    worst: usize,
    /// How the report is printed
    #[arg(long, value_enum, default_value = "text")]
    format: ReportFormat,
    /// A file for the report as HTML with plots; it needs no network
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum ReportFormat {
    /// For people
    Text,
    /// One JSON object
    Json,
}

fn tolerance(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|value: &f64| value.is_finite() && *value >= 0.0)
        .ok_or_else(|| "expected a number that is not negative".to_owned())
}

fn allowed(text: &str) -> Result<Allowed, String> {
    let wrong = || "expected a number of rows, or a percentage such as 0.5%".to_owned();
    match text.strip_suffix('%') {
        Some(percent) => {
            let percent: f64 = percent.trim().parse().map_err(|_no_number| wrong())?;
            if (0.0..=100.0).contains(&percent) {
                Ok(Allowed::Share(percent / 100.0))
            } else {
                Err(wrong())
            }
        }
        None => text.parse().map(Allowed::Rows).map_err(|_no_number| wrong()),
    }
}

impl CompareOptions {
    pub(super) fn settings(&self) -> Settings {
        Settings {
            relative: self.rel_tol,
            absolute: self.abs_tol,
            n_worst: self.worst,
            by: self.by.clone(),
        }
    }

    pub(super) fn max_over(&self) -> Allowed {
        self.max_over
    }

    pub(super) fn is_json(&self) -> bool {
        self.format == ReportFormat::Json
    }

    /// Writes the report as HTML, where that is asked for.
    pub(super) fn write_html(
        &self,
        report: &Report,
        interrupt: &Interrupt,
    ) -> Result<(), WriteError> {
        let Some(path) = &self.html else { return Ok(()) };
        let (partial, mut output) = Partial::create(path, interrupt)?;
        output
            .write_all(report.to_html().as_bytes())
            .and_then(|()| output.flush())
            .map_err(|error| WriteError::new(path, error))?;
        drop(output);
        partial.commit()
    }
}

/// What a report says of a model.
pub(super) fn side(model: &Model) -> Side {
    let manifest = model.artifact().manifest();
    Side {
        model: format!("{}@{}", manifest.name, manifest.version),
        artifact: model.artifact().digest().to_owned(),
    }
}

/// How two artifacts differ, in words.
pub(super) fn changes(old: &Model, new: &Model) -> Vec<Word> {
    // The sums of all files but those that hold no parameters.
    let graphs = |model: &Model| -> Vec<String> {
        let sums = std::fs::read_to_string(model.artifact().dir().join("SHA256SUMS"));
        let others = ["manifest.json", "golden.jsonl", "profile.json"];
        let is_graph = |line: &&str| !others.iter().any(|other| line.ends_with(other));
        sums.unwrap_or_default().lines().filter(is_graph).map(str::to_owned).collect()
    };
    let same_graph = graphs(old) == graphs(new);
    differences(old.artifact().manifest(), new.artifact().manifest(), same_graph)
}

/// The labels of both models, where they are the same and have probabilities.
pub(super) fn common_labels(old: &Model, new: &Model) -> Vec<String> {
    let labels = |model: &Model| -> Vec<String> {
        let n_probabilities = model.postprocess().n_probabilities();
        model.postprocess().labels().iter().take(n_probabilities).map(label_text).collect()
    };
    if labels(old) == labels(new) { labels(old) } else { Vec::new() }
}

/// What one thread needs to run one of the models.
struct Running {
    predictor: Predictor,
    frame: Frame,
}

/// The tables bound to both models.
struct Bound {
    old: Binding,
    new: Binding,
    /// The columns of `--by`, in the table.
    by: Vec<usize>,
}

enum Failure {
    Table(TableError),
    Predict(PredictError),
}

/// Compares the answers for a block of rows.
fn compare(
    rows: &Rows,
    (old, old_model): (&Predicted, &Model),
    (new, new_model): (&Predicted, &Model),
    by: &[usize],
    difference: &mut Difference,
) {
    let answer = |predicted: &Predicted, model: &Model, row: usize| {
        let reasons = || predicted.codes(row);
        match predicted.at(row) {
            Some(at) => Answer::of(&predicted.predictions, at, model.postprocess(), reasons),
            None => Answer::None(reasons()),
        }
    };
    let mut values = Vec::new();
    let mut segments = vec![String::new(); by.len()];
    let has_labels = difference.has_labels();
    for row in 0..rows.n_rows() {
        if !by.is_empty() {
            rows.values(row, by, &mut values);
            for (segment, value) in segments.iter_mut().zip(&values) {
                *segment = value.to_text();
            }
        }
        let (old_answer, new_answer) = (answer(old, old_model, row), answer(new, new_model, row));
        let pair = Pair {
            old: &old_answer,
            new: &new_answer,
            probabilities: (
                old.probabilities(row, old_model.postprocess()),
                // Those of other labels cannot be compared.
                if has_labels { new.probabilities(row, new_model.postprocess()) } else { &[] },
            ),
            segments: &segments,
        };
        difference.add(&pair, || {
            let input = serde_json::from_str(&rows.input_json(row, new_model.schema()));
            (rows.describe(row), input.unwrap_or_default())
        });
    }
}

pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let interrupt = Interrupt::listen()?;
    let sources = options.tables.sources(&options.data, None)?;
    let load = if options.unproven { tables::load_unproven } else { tables::load };
    let (old, new) = (load(&options.old, context)?, load(&options.new, context)?);
    let (old_model, new_model) = (Arc::clone(old.model()), Arc::clone(new.model()));
    let n_threads = options.tables.n_threads();
    let whole = Difference::new(options.compare.settings(), common_labels(&old_model, &new_model));
    let pairs =
        tables::predictors(old, n_threads)?.into_iter().zip(tables::predictors(new, n_threads)?);
    let side_of = |predictor: Predictor| {
        let frame = predictor.model().schema().frame();
        Running { predictor, frame }
    };
    let workers: Vec<_> = pairs
        .map(|(old, new)| {
            let (mut old, mut new, empty) = (side_of(old), side_of(new), whole.empty());
            move |job: Job<Bound>| {
                let (_, bound, block) = job.map_err(Failure::Table)?;
                let rows = block.into_rows().map_err(Failure::Table)?;
                let run = |side: &mut Running, binding: &Binding| {
                    predict(&rows, binding, &mut side.predictor, &mut side.frame)
                        .map_err(Failure::Predict)
                };
                let (predicted_old, predicted_new) =
                    (run(&mut old, &bound.old)?, run(&mut new, &bound.new)?);
                let mut difference = empty.clone();
                let (old_model, new_model) = (old.predictor.model(), new.predictor.model());
                compare(
                    &rows,
                    (&predicted_old, old_model),
                    (&predicted_new, new_model),
                    &bound.by,
                    &mut difference,
                );
                Ok(difference)
            }
        })
        .collect();
    let Some((first, others)) = sources.split_first() else { return Ok(ExitCode::SUCCESS) };
    let counter = Arc::new(AtomicU64::new(0));
    let reading = options.tables.reading(new_model.schema());
    let sizes: Option<u64> = sources.iter().map(|source| source.size).sum();
    let table = first.open(&reading, &counter)?;
    let unknown = context.settings.schema.unknown_fields;
    let (old_schema, new_schema) = (Arc::clone(&old_model), Arc::clone(&new_model));
    let by = options.compare.by.clone();
    let bind = move |table: &Table| {
        Ok(Bound {
            old: Binding::new(table.shared(), old_schema.schema(), unknown)?,
            new: Binding::new(table.shared(), new_schema.schema(), unknown)?,
            by: by
                .iter()
                .map(|name| table.find(name, new_schema.schema()))
                .collect::<Result<_, _>>()?,
        })
    };
    let blocks = tables::blocks(table, others.to_vec(), reading, Arc::clone(&counter), bind)?;
    let progress = Progress::new(sizes, &counter, context);
    let mut whole = whole;
    let end = in_order(blocks, workers, &interrupt, |part: Result<Difference, Failure>| {
        match part {
            Ok(part) => whole.append(part),
            Err(Failure::Table(error)) => return Err(error.into()),
            Err(Failure::Predict(error)) => return Err(error.into()),
        }
        progress.rows(whole.n_rows());
        Ok(Flow::GoOn)
    })?;
    progress.clear();
    if end == End::Interrupted {
        context.printer.error("interrupted");
        return Ok(ExitCode::from(INTERRUPTED));
    }
    let words = changes(&old_model, &new_model);
    let report =
        whole.report(side(&old_model), side(&new_model), words, options.compare.max_over());
    options.compare.write_html(&report, &interrupt)?;
    let text = if options.compare.is_json() {
        serde_json::to_string_pretty(&report)?
    } else {
        report.to_text()
    };
    context.printer.result(&text)?;
    Ok(if report.passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}
