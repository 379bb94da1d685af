//! `seaworthy predict`: rows of files in, the same rows with predictions out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::Context;
use super::output::{Partial, WriteError, is_special};
use super::stream::{End, Flow, INTERRUPTED, Interrupt, in_order};
use super::tables::{self, FormatName, Job, Progress, TableOptions, thousands, thousands_of};
use crate::predictor::{Model, PredictError, Predictor};
use crate::schema::{Frame, UnknownFields};
use crate::tabular::{
    Binding, Block, Encoder, Format, Keep, Piece, Problem, Sink, Source, Table, TableError, predict,
};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// A directory, a name or name@version
    model: String,
    /// Files, globs in quotes, directories with everything below, or `-` for standard input
    #[arg(required = true)]
    inputs: Vec<String>,
    /// Where predictions go: a file; or, if it ends with `/`, a directory with a file for each input file [default: standard output]
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// The format of the output, and of standard input [default: by extension, else as the input]
    #[arg(long, value_enum)]
    format: Option<FormatName>,
    /// Columns of the input to keep: `all`, `none`, or names with commas between them
    #[arg(long, default_value = "all", value_name = "COLUMNS")]
    keep: String,
    /// What stands before the names of the columns that are added: prediction, probability_<label>, version
    #[arg(long, default_value = "", hide_default_value = true, value_name = "TEXT")]
    prefix: String,
    /// What becomes of a row without a prediction
    #[arg(long, value_enum, default_value = "fail")]
    on_invalid: OnInvalid,
    /// A file for all rows without a prediction, with the reasons: CSV, or NDJSON by its extension
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Leave output files that are there already as they are; only for output into a directory
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    tables: TableOptions,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum OnInvalid {
    /// Stop, write nothing, exit 1
    Fail,
    /// Keep it, with an empty prediction
    Null,
    /// Leave it out
    Skip,
}

/// Why a run failed.
#[derive(Debug)]
enum Failure {
    Table(TableError),
    Predict(PredictError),
}

/// What every table of a run has in common with its model.
struct Bound {
    binding: Binding,
    encoder: Encoder,
}

/// A block that has been predicted and encoded.
struct Done {
    /// Which of the input files.
    file: usize,
    name: String,
    n_rows: u64,
    piece: Option<Piece>,
    problems: Vec<Problem>,
}

/// What one thread needs.
struct Worker {
    predictor: Predictor,
    frame: Frame,
    fails: bool,
}

impl Worker {
    fn run(&mut self, file: usize, bound: &Bound, block: Block) -> Result<Done, Failure> {
        let rows = block.into_rows().map_err(Failure::Table)?;
        let predicted = predict(&rows, &bound.binding, &mut self.predictor, &mut self.frame)
            .map_err(Failure::Predict)?;
        let n_rows = predicted.n_rows as u64;
        let piece = if self.fails && !predicted.problems.is_empty() {
            None
        } else {
            Some(bound.encoder.encode(&rows, &predicted).map_err(Failure::Table)?)
        };
        let name = rows.shared().name().to_owned();
        Ok(Done { file, name, n_rows, piece, problems: predicted.problems })
    }
}

/// Rows so far.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    rows: u64,
    invalid: u64,
    files: usize,
    skipped_files: usize,
}

pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let interrupt = Interrupt::listen()?;
    let format = options.format.map(Format::from);
    let sources = options.tables.sources(&options.inputs, format)?;
    let to_directory = options.output.as_deref().filter(|path| is_directory(path));
    anyhow::ensure!(
        !options.resume || to_directory.is_some(),
        "--resume needs a directory to go on in: --output DIR/"
    );
    let first = tables::load(&options.model, context)?;
    let model = Arc::clone(first.model());
    let mut run = Run {
        options,
        context,
        interrupt,
        unknown_fields: context.settings.schema.unknown_fields,
        workers: tables::predictors(first, options.tables.n_threads())?
            .into_iter()
            .map(|predictor| {
                let frame = model.schema().frame();
                let fails = options.on_invalid == OnInvalid::Fail;
                Arc::new(Mutex::new(Worker { predictor, frame, fails }))
            })
            .collect(),
        model,
        counts: Counts::default(),
        rejects: None,
        shown: Vec::new(),
    };
    if let Some(path) = &options.rejects {
        run.rejects = Some(Rejects::create(path, &run.interrupt)?);
    }
    let end = match to_directory {
        Some(dir) => run.write_each(dir, &sources),
        None => run.write_one(&sources),
    };
    let end = match end {
        Err(error) if is_broken_pipe(&error) => End::Enough,
        Err(error) => {
            // What stopped it is among the rejects.
            if error.is::<InvalidRows>()
                && let Some(rejects) = run.rejects.take()
            {
                rejects.commit()?;
            }
            return Err(error);
        }
        Ok(end) => end,
    };
    match end {
        End::Interrupted => {
            context.printer.error("interrupted; nothing half-written is left");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        End::Enough => return Ok(ExitCode::SUCCESS),
        End::Done => {}
    }
    if let Some(rejects) = run.rejects.take() {
        rejects.commit()?;
    }
    run.summary(started);
    Ok(ExitCode::SUCCESS)
}

/// A path that ends with a slash, or where a directory is.
fn is_directory(path: &Path) -> bool {
    path.is_dir() || path.as_os_str().to_string_lossy().ends_with('/')
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<WriteError>().is_some_and(WriteError::is_broken_pipe)
}

/// Rows that were refused, where that ends the run.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0)]
pub(super) struct InvalidRows(String);

struct Run<'a> {
    options: &'a Options,
    context: &'a Context,
    interrupt: Interrupt,
    unknown_fields: UnknownFields,
    model: Arc<Model>,
    /// One for each thread; kept from one output to the next.
    workers: Vec<Arc<Mutex<Worker>>>,
    counts: Counts,
    rejects: Option<Rejects>,
    /// The first problems, for people.
    shown: Vec<String>,
}

/// Problems that are shown.
const N_SHOWN: usize = 10;

impl Run<'_> {
    fn keep(&self) -> Keep {
        match self.options.keep.as_str() {
            "all" => Keep::All,
            "none" | "" => Keep::None,
            names => Keep::These(names.split(',').map(|name| name.trim().to_owned()).collect()),
        }
    }

    /// The format of what is written for these inputs.
    fn output_format(&self, path: Option<&Path>, sources: &[Source]) -> Format {
        let named = self.options.format.map(Format::from);
        let of_path = path.filter(|path| !is_directory(path)).and_then(Format::of);
        named
            .or(of_path)
            .or_else(|| sources.first().map(|source| source.format))
            .unwrap_or(Format::Csv)
    }

    fn write_one(&mut self, sources: &[Source]) -> anyhow::Result<End> {
        let path = self.options.output.clone();
        let format = self.output_format(path.as_deref(), sources);
        let Some((first, others)) = sources.split_first() else { return Ok(End::Done) };
        match path {
            Some(path) if !is_special(&path) => {
                let (partial, output) = Partial::create(&path, &self.interrupt)?;
                let end = self.stream(first, others, format, output, &path, false)?;
                if end == End::Done {
                    partial.commit()?;
                }
                Ok(end)
            }
            Some(path) => {
                let file = std::fs::OpenOptions::new().write(true).open(&path);
                let output = Box::new(file.map_err(|error| WriteError::new(&path, error))?);
                self.stream(first, others, format, output, &path, true)
            }
            None => {
                let output = Box::new(std::io::stdout());
                self.stream(first, others, format, output, Path::new("standard output"), true)
            }
        }
    }

    fn write_each(&mut self, dir: &Path, sources: &[Source]) -> anyhow::Result<End> {
        let format = self.output_format(None, sources);
        std::fs::create_dir_all(dir).map_err(|error| WriteError::new(dir, error))?;
        let mut outputs = Vec::new();
        for source in sources {
            let path = dir.join(out_path(&source.relative, format));
            if outputs.contains(&path) {
                anyhow::bail!(
                    "two input files would both be written to `{}`; ask for them one directory at a time",
                    path.display()
                );
            }
            outputs.push(path);
        }
        self.note_what_is_made(dir, format)?;
        for (source, path) in sources.iter().zip(outputs) {
            if self.options.resume && path.is_file() {
                self.counts.skipped_files += 1;
                continue;
            }
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent).map_err(|error| WriteError::new(parent, error))?;
            }
            let (partial, output) = Partial::create(&path, &self.interrupt)?;
            let end = self.stream(source, &[], format, output, &path, false)?;
            if end != End::Done {
                return Ok(end);
            }
            partial.commit()?;
        }
        Ok(End::Done)
    }

    /// Notes what the files of a directory are made of; refuses to go on with something else.
    fn note_what_is_made(&self, dir: &Path, format: Format) -> anyhow::Result<()> {
        let path = dir.join("_seaworthy.json");
        let artifact = self.model.artifact();
        let manifest = artifact.manifest();
        let made = serde_json::json!({
            "model": manifest.name, "version": manifest.version, "artifact": artifact.digest(),
            "format": format.extension(), "keep": self.options.keep, "prefix": self.options.prefix,
            "on_invalid": format!("{:?}", self.options.on_invalid).to_lowercase(),
        });
        if self.options.resume
            && let Ok(text) = std::fs::read(&path)
        {
            let before: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
            if let Some((key, value)) = made.as_object().and_then(|made| {
                made.iter().find(|(key, value)| before.get(key.as_str()) != Some(value))
            }) {
                let found = before.get(key).cloned().unwrap_or_default();
                anyhow::bail!(
                    "`{}` cannot be gone on with: its files were made with {key} {found}, now it is {value}",
                    dir.display()
                );
            }
            return Ok(());
        }
        let (partial, mut output) = Partial::create(&path, &self.interrupt)?;
        writeln!(output, "{made}")
            .and_then(|()| output.flush())
            .map_err(|error| WriteError::new(&path, error))?;
        drop(output);
        partial.commit()?;
        Ok(())
    }

    /// Predicts tables one after the other into one output.
    fn stream(
        &mut self,
        first: &Source,
        others: &[Source],
        format: Format,
        output: Box<dyn Write + Send>,
        path: &Path,
        is_pipe: bool,
    ) -> anyhow::Result<End> {
        let counter = Arc::new(AtomicU64::new(0));
        let mut reading = self.options.tables.reading(self.model.schema());
        let keep = self.keep();
        let skip = self.options.on_invalid == OnInvalid::Skip;
        let is_parquet = format == Format::Parquet && first.format == Format::Parquet;
        if is_parquet && others.is_empty() && !skip {
            // All rows of the file stay in their groups, so what is kept of them need not be read.
            reading.columns = Some(self.needed(&Keep::None));
            reading.copied = Some(keep.clone());
        } else if keep != Keep::All {
            reading.columns = Some(self.needed(&keep));
        }
        let sizes: Option<u64> =
            std::iter::once(first).chain(others).map(|source| source.size).sum();
        let table = first.open(&reading, &counter)?;
        let encoder = {
            let (model, prefix) = (Arc::clone(&self.model), self.options.prefix.clone());
            move |table: &Table| Encoder::new(format, table.shared(), &keep, &model, &prefix, skip)
        };
        let header = encoder(&table)?;
        let mut sink =
            Sink::start(&header, output, is_pipe).map_err(|error| WriteError::new(path, error))?;
        let (model, unknown_fields) = (Arc::clone(&self.model), self.unknown_fields);
        let bind = move |table: &Table| {
            let encoder = encoder(table)?;
            encoder.same_as(&header, table.shared())?;
            let binding = Binding::new(table.shared(), model.schema(), unknown_fields)?;
            Ok(Bound { binding, encoder })
        };
        let blocks = tables::blocks(table, others.to_vec(), reading, Arc::clone(&counter), bind)?;
        let progress = Progress::new(sizes, &counter, self.context);
        let workers: Vec<_> = self
            .workers
            .iter()
            .map(|worker| {
                let worker = Arc::clone(worker);
                move |job: Job<Bound>| {
                    let (file, bound, block) = job.map_err(Failure::Table)?;
                    // Each thread has its own; the lock is never waited for.
                    let mut worker = worker.lock().unwrap_or_else(PoisonError::into_inner);
                    worker.run(file, &bound, block)
                }
            })
            .collect();
        let mut counts = self.counts;
        let mut in_file = (0, 0);
        let (mut rejects, mut shown) = (self.rejects.take(), std::mem::take(&mut self.shown));
        let fails = self.options.on_invalid == OnInvalid::Fail;
        let end = in_order(blocks, workers, &self.interrupt, |done: Result<Done, Failure>| {
            let done = match done {
                Ok(done) => done,
                Err(Failure::Table(error)) => return Err(error.into()),
                Err(Failure::Predict(error)) => return Err(error.into()),
            };
            if done.file != in_file.0 {
                in_file = (done.file, 0);
            }
            for problem in &done.problems {
                if shown.len() < N_SHOWN {
                    shown.push(describe(problem, &done.name, in_file.1));
                }
                if let Some(rejects) = &mut rejects {
                    rejects.write(problem, &done.name, in_file.1)?;
                }
            }
            let mut rows: Vec<usize> = done.problems.iter().map(|problem| problem.row).collect();
            rows.dedup();
            counts.invalid += rows.len() as u64;
            if fails && !done.problems.is_empty() {
                return Err(InvalidRows(refusal(&shown, done.problems.len())).into());
            }
            in_file.1 += done.n_rows;
            counts.rows += done.n_rows;
            if let Some(piece) = &done.piece {
                sink.write(piece).map_err(|error| WriteError::new(path, error))?;
            }
            progress.rows(counts.rows);
            Ok(Flow::GoOn)
        });
        progress.clear();
        (self.rejects, self.shown) = (rejects, shown);
        let end = end?;
        if end == End::Done {
            counts.files += 1 + others.len();
            sink.finish().map_err(|error| WriteError::new(path, error))?;
        }
        self.counts = counts;
        Ok(end)
    }

    /// The columns that must be read: those that are kept, and the fields by all their names.
    fn needed(&self, keep: &Keep) -> Vec<String> {
        let mut needed = match keep {
            Keep::These(names) => names.clone(),
            Keep::All | Keep::None => Vec::new(),
        };
        for field in self.model.schema().fields() {
            needed.push(field.name().to_owned());
            needed.extend(field.spec().aliases.iter().cloned());
        }
        needed
    }

    fn summary(&self, started: Instant) {
        let Counts { rows, invalid, files, skipped_files } = self.counts;
        let seconds = started.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = thousands_of(rows as f64 / seconds.max(1e-3));
        let manifest = self.model.artifact().manifest();
        let printer = &self.context.printer;
        for problem in &self.shown {
            printer.note(problem);
        }
        if invalid > 0 {
            let became = match self.options.on_invalid {
                OnInvalid::Skip => "left out",
                OnInvalid::Null | OnInvalid::Fail => "empty",
            };
            let more = if invalid > N_SHOWN as u64 && self.options.rejects.is_none() {
                "; --rejects FILE lists them all"
            } else {
                ""
            };
            printer.note(&format!(
                "{} of {} rows have no prediction and are {became}{more}",
                thousands(invalid),
                thousands(rows)
            ));
        }
        let skipped = if skipped_files > 0 {
            format!(", {skipped_files} files were there already")
        } else {
            String::new()
        };
        printer.note(&format!(
            "{} rows of {files} {} by {}@{} in {seconds:.1} s ({rate} rows/s){skipped}",
            thousands(rows),
            if files == 1 { "file" } else { "files" },
            manifest.name,
            manifest.version,
        ));
    }
}

/// The path of an output file below its directory.
fn out_path(relative: &Path, format: Format) -> PathBuf {
    let mut path = relative.to_owned();
    if matches!(path.extension().and_then(|extension| extension.to_str()), Some("gz" | "zst")) {
        path.set_extension("");
    }
    path.set_extension(format.extension());
    path
}

/// A problem in one line; `before` rows of the file came in earlier blocks.
fn describe(problem: &Problem, file: &str, before: u64) -> String {
    use std::fmt::Write as _;
    let mut text = format!("`{file}`, ");
    // Writing to a string cannot fail.
    let _infallible = match (problem.line, problem.column) {
        (Some(line), Some(column)) => write!(text, "line {line}, column {column}"),
        (Some(line), None) => write!(text, "line {line}"),
        (None, _) => write!(text, "row {}", before + problem.row as u64 + 1),
    };
    if let Some(field) = &problem.field {
        let _infallible = write!(text, ", `{field}`");
    }
    let _infallible = write!(text, ": {}", problem.detail);
    text
}

fn refusal(shown: &[String], n: usize) -> String {
    let mut lines = vec![format!(
        "{n} {} in the first rows that have any (--on-invalid null|skip goes on)",
        if n == 1 { "problem" } else { "problems" }
    )];
    lines.extend(shown.iter().map(|problem| format!("  {problem}")));
    if n > shown.len() {
        lines.push("  …".to_owned());
    }
    lines.join("\n")
}

/// The file of rows without a prediction.
struct Rejects {
    partial: Option<Partial>,
    path: PathBuf,
    output: Box<dyn Write + Send>,
    json: bool,
}

impl Rejects {
    fn create(path: &Path, interrupt: &Interrupt) -> Result<Self, WriteError> {
        let json = Format::of(path) == Some(Format::Ndjson);
        let wrong = |error| WriteError::new(path, error);
        let (partial, mut output): (_, Box<dyn Write + Send>) = if is_special(path) {
            let file = std::fs::OpenOptions::new().write(true).open(path).map_err(wrong)?;
            (None, Box::new(file))
        } else {
            let (partial, output) = Partial::create(path, interrupt)?;
            (Some(partial), output)
        };
        if !json {
            output.write_all(b"file,row,line,column,field,code,reason\n").map_err(wrong)?;
        }
        Ok(Self { partial, path: path.to_owned(), output, json })
    }

    fn write(&mut self, problem: &Problem, file: &str, before: u64) -> Result<(), WriteError> {
        let row = before + problem.row as u64 + 1;
        let Problem { line, column, field, code, detail, .. } = problem;
        let written = if self.json {
            let reject = serde_json::json!({
                "file": file, "row": row, "line": line, "column": column, "field": field,
                "code": code, "reason": detail,
            });
            writeln!(self.output, "{reject}")
        } else {
            let number = |number: &Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
            let cells = [
                file,
                &row.to_string(),
                &number(line),
                &number(column),
                field.as_deref().unwrap_or_default(),
                code,
                detail,
            ]
            .map(quoted)
            .join(",");
            writeln!(self.output, "{cells}")
        };
        written.map_err(|error| WriteError::new(&self.path, error))
    }

    fn commit(mut self) -> Result<(), WriteError> {
        self.output.flush().map_err(|error| WriteError::new(&self.path, error))?;
        self.partial.map_or(Ok(()), Partial::commit)
    }
}

/// A cell of CSV.
fn quoted(cell: &str) -> String {
    if cell.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}
