//! Tables in files: CSV, NDJSON, Parquet and Arrow IPC, read in blocks and written in order.
//!
//! A [`Table`] gives [`Block`]s of whole rows, cheaply and one after the other; whoever has time turns a block into [`Rows`], and those into a
//! frame of the schema's types. Knows files and formats; knows nothing of threads, of terminals or of what is done with a prediction.

use std::fmt;
use std::path::Path;

mod columnar;
mod copied;
mod csv;
mod predicted;
mod rows;
mod source;
mod value;
mod write;

pub use csv::Dialect;
pub use predicted::{Predicted, predict};
pub use rows::{Binding, Block, Rows};
pub use source::{Lines, Options, Source, Table, expand};
pub use value::Value;
pub use write::{Encoder, Keep, Piece, Sink};

/// The format of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values, and their dialects.
    Csv,
    /// One JSON object a line.
    Ndjson,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC: the file format (Feather 2), or the stream.
    Arrow,
}

impl Format {
    /// The format that a file's extension names; that of a compressed file stands before `.gz` or `.zst`.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let name = name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(&name);
        match name.rsplit_once('.')?.1 {
            "csv" | "tsv" | "tab" | "txt" => Some(Self::Csv),
            "ndjson" | "jsonl" | "json" | "log" => Some(Self::Ndjson),
            "parquet" | "pq" => Some(Self::Parquet),
            "arrow" | "arrows" | "feather" | "ipc" => Some(Self::Arrow),
            _ => None,
        }
    }

    /// The extension of its files.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
            Self::Arrow => "arrow",
        }
    }
}

/// A table that cannot be read, or that does not fit the schema: the input is at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableError {
    file: String,
    line: Option<u64>,
    column: Option<u64>,
    problem: String,
    hint: Option<String>,
}

impl TableError {
    fn of(file: &str, problem: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            column: None,
            problem: problem.into(),
            hint: None,
        }
    }

    fn at(file: &str, line: u64, column: Option<u64>, problem: impl Into<String>) -> Self {
        Self { line: Some(line), column, ..Self::of(file, problem) }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// What can be done about it.
    #[must_use]
    pub fn what_to_do(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.file)?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        if let Some(column) = self.column {
            write!(f, ", column {column}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for TableError {}

/// What is wrong with a row: it has no prediction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The row in its block, from 0.
    pub row: usize,
    /// The line in the file, from 1; a Parquet or Arrow file has none.
    pub line: Option<u64>,
    /// The column in the line, in characters from 1, where that is known.
    pub column: Option<u64>,
    /// The field, as the table names it.
    pub field: Option<String>,
    /// The stable name of the fault: docs/artifact.md, section 3, and for rows that are none `cells`, `quote` and `json`.
    pub code: &'static str,
    /// For people.
    pub detail: String,
    /// Whether the row itself is at fault; a prediction that is not finite is not.
    pub is_invalid_input: bool,
}
