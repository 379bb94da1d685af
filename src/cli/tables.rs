//! What the commands that read tables have in common: their options, and the tables one after the other.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Context;
use crate::predictor::{LoadError, Model, Predictor};
use crate::runtime::SessionOptions;
use crate::schema::Schema;
use crate::startup::{compile, compile_ahead, open_runtime_beside, prove};
use crate::tabular::{self, Block, Dialect, Format, Source, Table, TableError};

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FormatName {
    /// Comma-separated values
    Csv,
    /// One JSON object a line
    Ndjson,
    /// Apache Parquet
    Parquet,
    /// Arrow IPC: a file, or a stream in a pipe
    Arrow,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Csv => Self::Csv,
            FormatName::Ndjson => Self::Ndjson,
            FormatName::Parquet => Self::Parquet,
            FormatName::Arrow => Self::Arrow,
        }
    }
}

#[derive(Debug, Clone, clap::Args)]
pub(super) struct TableOptions {
    /// The format of input files whose extension does not say it
    #[arg(long, value_enum)]
    pub(super) input_format: Option<FormatName>,
    /// CSV: between cells; `tab`, or one character [default: `,`, in .tsv files a tab]
    #[arg(long, value_parser = character, default_value = ",", hide_default_value = true, value_name = "CHAR")]
    delimiter: u8,
    /// CSV: around cells with special characters; `none` where quotes mean nothing
    #[arg(long, value_parser = quote, default_value = "\"", value_name = "CHAR")]
    quote: Quote,
    /// CSV: there is no header; the columns are the fields of the model
    #[arg(long)]
    no_header: bool,
    /// CSV: a cell that is a missing value; may be given several times, replaces all of the default [default: an empty cell, NA]
    #[arg(long, value_name = "TEXT")]
    missing: Vec<String>,
    /// Threads that predict [default: as many as there are cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
}

/// A quote, or none.
#[derive(Debug, Clone, Copy)]
struct Quote(Option<u8>);

fn character(text: &str) -> Result<u8, String> {
    match (text, text.as_bytes()) {
        ("tab" | "\\t", _) => Ok(b'\t'),
        (_, [byte]) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(*byte),
        _ => Err("expected one ASCII character, or `tab`".to_owned()),
    }
}

fn quote(text: &str) -> Result<Quote, String> {
    if text == "none" { Ok(Quote(None)) } else { Ok(Quote(Some(character(text)?))) }
}

impl TableOptions {
    /// How tables are read for a model.
    pub(super) fn reading(&self, schema: &Schema) -> tabular::Options {
        let missing =
            if self.missing.is_empty() { Dialect::default().missing } else { self.missing.clone() };
        tabular::Options {
            dialect: Dialect {
                delimiter: self.delimiter,
                quote: self.quote.0,
                header: !self.no_header,
                missing,
            },
            names: schema.fields().iter().map(|field| field.name().to_owned()).collect(),
            ..tabular::Options::default()
        }
    }

    /// The files that the arguments mean; `of_stdin` is the format of standard input.
    pub(super) fn sources(
        &self,
        arguments: &[String],
        of_stdin: Option<Format>,
    ) -> Result<Vec<Source>, TableError> {
        let named = self.input_format.map(Format::from);
        let mut sources = Vec::new();
        for argument in arguments {
            let format = if argument == "-" { named.or(of_stdin) } else { named };
            sources.extend(tabular::expand(argument, format)?);
        }
        Ok(sources)
    }

    pub(super) fn n_threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.threads.map_or_else(cores, usize::from)
    }
}

/// Loads and proves a model, and opens ONNX Runtime if nobody has.
pub(super) fn load(model: &str, context: &Context) -> anyhow::Result<Predictor> {
    Ok(prove(&compiled(model, context)?)?.0)
}

/// Loads a model without its proof: what is compared may be what is wrong.
pub(super) fn load_unproven(model: &str, context: &Context) -> anyhow::Result<Predictor> {
    Ok(Predictor::open(&compiled(model, context)?, SessionOptions::default())?)
}

/// Compiles a model while ONNX Runtime is opened. What is wrong with ONNX Runtime is said first, as it is wrong for every model.
fn compiled(model: &str, context: &Context) -> anyhow::Result<Arc<Model>> {
    let dir = crate::artifact::store::find(&context.settings.models.dir, model);
    let ahead = || dir.as_ref().ok().and_then(|dir| compile_ahead(dir, &context.trust));
    let ahead = open_runtime_beside(&context.process, ahead)?;
    let dir = dir.map_err(LoadError::from)?;
    Ok(ahead.unwrap_or_else(|| compile(&dir, &context.trust))?)
}

/// Predictors of one model, one for each thread; the first is there already.
pub(super) fn predictors(first: Predictor, n: usize) -> Result<Vec<Predictor>, LoadError> {
    let model: Arc<Model> = Arc::clone(first.model());
    let mut predictors = vec![first];
    for _ in 1..n {
        predictors.push(Predictor::open(&model, SessionOptions::default())?);
    }
    Ok(predictors)
}

/// A block, the number of its table, and what was made of that; or why there is none.
pub(super) type Job<B> = Result<(usize, Arc<B>, Block), TableError>;

/// The blocks of tables, one after the other, each with the number of its table and what `bind` made of that. A table is opened when its turn
/// comes.
pub(super) fn blocks<B: Send + Sync + 'static>(
    first: Table,
    others: Vec<Source>,
    options: tabular::Options,
    counter: Arc<AtomicU64>,
    bind: impl Fn(&Table) -> Result<B, TableError> + Send + 'static,
) -> Result<impl Iterator<Item = Job<B>> + Send + 'static, TableError> {
    let mut bound = Arc::new(bind(&first)?);
    let mut table = first;
    let mut others = others.into_iter();
    let mut number = 0;
    let mut failed = false;
    Ok(std::iter::from_fn(move || {
        if failed {
            return None;
        }
        loop {
            if let Some(block) = table.next() {
                failed = block.is_err();
                return Some(block.map(|block| (number, Arc::clone(&bound), block)));
            }
            let source = others.next()?;
            number += 1;
            let opened = source.open(&options, &counter).and_then(|next| {
                bound = Arc::new(bind(&next)?);
                table = next;
                Ok(())
            });
            if let Err(error) = opened {
                failed = true;
                return Some(Err(error));
            }
        }
    }))
}

/// A bar with rows, rate and remaining time on a terminal; nothing in a pipe.
pub(super) struct Progress {
    bar: ProgressBar,
    counter: Arc<AtomicU64>,
}

impl Progress {
    /// `n_bytes` is the size of the input, where it is known.
    pub(super) fn new(n_bytes: Option<u64>, counter: &Arc<AtomicU64>, context: &Context) -> Self {
        let is_shown = context.printer.is_terminal();
        let target = if is_shown {
            ProgressDrawTarget::stderr_with_hz(5)
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(n_bytes, target);
        let template = if n_bytes.is_some() {
            "{bar:30} {percent:>3}%  {msg}  {elapsed_precise}  left: {eta}"
        } else {
            "{spinner} {msg}  {elapsed_precise}"
        };
        // The templates are sound: a test draws them.
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        if is_shown {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self { bar, counter: Arc::clone(counter) }
    }

    /// Says how many rows are done.
    pub(super) fn rows(&self, n_rows: u64) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_position(self.counter.load(std::sync::atomic::Ordering::Relaxed));
        let seconds = self.bar.elapsed().as_secs_f64().max(1e-3);
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = n_rows as f64 / seconds;
        self.bar.set_message(format!("{} rows, {}/s", thousands(n_rows), thousands_of(rate)));
    }

    /// Removes the bar.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A number with commas between its thousands.
pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "for people")]
pub(super) fn thousands_of(value: f64) -> String {
    thousands(value.max(0.0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_told_apart() {
        assert_eq!(
            [thousands(0), thousands(999), thousands(1000), thousands(1_234_567)],
            ["0", "999", "1,000", "1,234,567"]
        );
    }

    #[test]
    fn the_templates_of_the_bar_are_sound() {
        for template in [
            "{bar:30} {percent:>3}%  {msg}  {elapsed_precise}  left: {eta}",
            "{spinner} {msg}  {elapsed_precise}",
        ] {
            assert!(ProgressStyle::with_template(template).is_ok());
        }
    }
}
