//! Where tables come from: files, globs, directories and streams, compressed or not.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::columnar;
use super::csv::{Blocks, Dialect};
use super::rows::{Block, Body, Shared};
use super::{Format, Keep, TableError};
use crate::schema::{Cells, Schema};

/// How standard input is called.
const STDIN: &str = "standard input";

/// How tables are read.
#[derive(Debug, Clone)]
pub struct Options {
    /// The dialect of CSV.
    pub dialect: Dialect,
    /// The columns of CSV without a header.
    pub names: Vec<String>,
    /// About as many bytes of text are one block.
    pub block_bytes: usize,
    /// As many rows of Parquet are one block.
    pub block_rows: usize,
    /// The columns that are needed; `None` for all. Only formats that are stored by column save work with it.
    pub columns: Option<Vec<String>>,
    /// The columns of Parquet that will be in another Parquet file just as they are: they are copied there without being read.
    pub copied: Option<Keep>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dialect: Dialect::default(),
            names: Vec::new(),
            block_bytes: 256 << 10,
            // Their columns and features fit a nearer cache: of 8,192 rows they took twice as much memory and four times the page faults.
            block_rows: 1 << 11,
            columns: None,
            copied: None,
        }
    }
}

/// A file, or standard input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// `None` for standard input.
    pub path: Option<PathBuf>,
    /// Where it stands below what was asked for: a file that is named has its name only.
    pub relative: PathBuf,
    /// Its format.
    pub format: Format,
    /// Its size in bytes, where that is known.
    pub size: Option<u64>,
}

impl Source {
    /// For people.
    #[must_use]
    pub fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| STDIN.to_owned(), |path| path.display().to_string())
    }

    /// Opens it and reads as far as the names of the columns. `counter` counts the bytes that have been read.
    ///
    /// # Errors
    /// It cannot be opened, or is not what its format says.
    pub fn open(&self, options: &Options, counter: &Arc<AtomicU64>) -> Result<Table, TableError> {
        let name = self.name();
        match (self.format, &self.path) {
            (Format::Parquet, None) => Err(TableError::of(
                &name,
                "Parquet has its index at its end, so it cannot be read from a pipe",
            )
            .hint("name the file, or pipe Arrow: `--format arrow`")),
            (Format::Parquet, Some(path)) => {
                let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
                columnar::open_parquet(file, path, &name, options, counter)
            }
            (format, path) => {
                let stream: Box<dyn Read + Send> = match path {
                    Some(path) => {
                        Box::new(File::open(path).map_err(|error| unreadable(&name, &error))?)
                    }
                    None => Box::new(std::io::stdin()),
                };
                let counted = Counted { stream, counter: Arc::clone(counter) };
                let stream = open_stream(Box::new(counted), &name)?;
                match format {
                    Format::Arrow => columnar::open_ipc(stream, &name),
                    Format::Csv => open_csv(stream, &name, self, options),
                    Format::Ndjson | Format::Parquet => open_ndjson(stream, &name, options),
                }
            }
        }
    }
}

fn unreadable(name: &str, error: &std::io::Error) -> TableError {
    TableError::of(name, format!("cannot be read: {error}"))
}

/// Counts the bytes that go through it.
struct Counted {
    stream: Box<dyn Read + Send>,
    counter: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.stream.read(buffer)?;
        self.counter.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// The files that an argument means: `-` is standard input; a file; a directory, with all tables below it; or a glob. In the order of their names.
///
/// # Errors
/// There is no such file, or its name says nothing of its format and `format` does not either.
pub fn expand(argument: &str, format: Option<Format>) -> Result<Vec<Source>, TableError> {
    let unknown = |name: &str| {
        TableError::of(name, "its name does not say what format it has").hint(if name == STDIN {
            "say it: --format csv|ndjson|parquet|arrow"
        } else {
            "say it: --input-format csv|ndjson|parquet|arrow"
        })
    };
    if argument == "-" {
        let format = format.ok_or_else(|| unknown(STDIN))?;
        return Ok(vec![Source {
            path: None,
            relative: PathBuf::from("stdin"),
            format,
            size: None,
        }]);
    }
    let source = |path: &Path, relative: &Path| {
        let name = path.display().to_string();
        let format = format.or_else(|| Format::of(path)).ok_or_else(|| unknown(&name))?;
        let size = path.metadata().ok().filter(std::fs::Metadata::is_file).map(|file| file.len());
        Ok(Source { path: Some(path.to_owned()), relative: relative.to_owned(), format, size })
    };
    let file_name = |path: &Path| path.file_name().map(PathBuf::from).unwrap_or_default();
    let path = Path::new(argument);
    if path.is_dir() {
        let mut found = Vec::new();
        below(path, &mut found).map_err(|error| unreadable(argument, &error))?;
        found.retain(|path| Format::of(path).is_some());
        found.sort();
        if found.is_empty() {
            return Err(TableError::of(argument, "the directory holds no tables"));
        }
        return found
            .iter()
            .map(|found| source(found, found.strip_prefix(path).unwrap_or(found)))
            .collect();
    }
    if path.exists() {
        return Ok(vec![source(path, &file_name(path))?]);
    }
    if !argument.contains(['*', '?', '[']) {
        return Err(TableError::of(argument, "there is no such file"));
    }
    let paths =
        glob::glob(argument).map_err(|error| TableError::of(argument, error.to_string()))?;
    let mut found = Vec::new();
    for path in paths {
        let path = path.map_err(|error| TableError::of(argument, error.to_string()))?;
        if path.is_file() {
            found.push(path);
        }
    }
    found.sort();
    if found.is_empty() {
        return Err(TableError::of(argument, "no file fits this pattern"));
    }
    // What all of them have in front of the first pattern.
    let fixed = argument.find(['*', '?', '[']).unwrap_or_default();
    let prefix = argument[..fixed].rfind('/').map_or("", |slash| &argument[..=slash]);
    found.iter().map(|path| source(path, path.strip_prefix(prefix).unwrap_or(path))).collect()
}

/// The files below a directory; those whose names begin with `_` or `.` are not data.
fn below(dir: &Path, found: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        let hidden =
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['_', '.']));
        if hidden {
            continue;
        }
        if path.is_dir() {
            below(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

/// A stream as it was before it was compressed, by gzip or Zstandard, if it was.
///
/// # Errors
/// It cannot be read.
fn open_stream(
    mut stream: Box<dyn Read + Send>,
    name: &str,
) -> Result<Box<dyn Read + Send>, TableError> {
    let mut start = Vec::new();
    let read = stream.by_ref().take(4).read_to_end(&mut start);
    read.map_err(|error| unreadable(name, &error))?;
    let whole = Box::new(Cursor::new(start.clone()).chain(stream));
    match start.as_slice() {
        [0x1f, 0x8b, ..] => Ok(Box::new(flate2::read::MultiGzDecoder::new(whole))),
        [0x28, 0xb5, 0x2f, 0xfd] => {
            let decoder = zstd::stream::read::Decoder::new(whole);
            Ok(Box::new(decoder.map_err(|error| unreadable(name, &error))?))
        }
        _ => Ok(whole),
    }
}

/// Some whole lines of a log.
#[derive(Debug)]
pub struct Lines {
    /// The file's name, for people.
    pub name: Arc<str>,
    /// The lines, as they stand in the file.
    pub text: Vec<u8>,
    /// The number of the first of them, from 1.
    pub line: u64,
    /// Whether the last line is the end of its file, without a line break.
    pub is_open: bool,
    /// Whether compressed data ended in the middle.
    pub was_cut: bool,
}

impl Source {
    /// Opens a log, compressed or not, and cuts it into lines.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open_log(
        &self,
        counter: &Arc<AtomicU64>,
    ) -> Result<impl Iterator<Item = Result<Lines, TableError>> + Send + use<>, TableError> {
        let name: Arc<str> = self.name().into();
        let stream: Box<dyn Read + Send> = match &self.path {
            Some(path) => Box::new(File::open(path).map_err(|error| unreadable(&name, &error))?),
            None => Box::new(std::io::stdin()),
        };
        let counted = Counted { stream, counter: Arc::clone(counter) };
        let mut blocks = Blocks::of_log(open_stream(Box::new(counted), &name)?, &name);
        Ok(std::iter::from_fn(move || match blocks.next() {
            Ok(None) => None,
            Ok(Some((text, line))) => {
                let (is_open, was_cut) = (!text.ends_with(b"\n"), blocks.was_cut);
                Some(Ok(Lines { name: Arc::clone(&name), text, line, is_open, was_cut }))
            }
            Err(error) => Some(Err(error)),
        }))
    }
}

/// A table that is being read.
pub struct Table {
    pub(super) shared: Arc<Shared>,
    pub(super) blocks: Box<dyn Iterator<Item = Result<Block, TableError>> + Send>,
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table").field("columns", &self.shared.columns).finish_non_exhaustive()
    }
}

impl Table {
    /// The names of its columns. For NDJSON they are the keys of the first row.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.shared.columns
    }

    /// The column of this name, or of the field that is called so.
    ///
    /// # Errors
    /// There is none.
    pub fn find(&self, name: &str, schema: &Schema) -> Result<usize, TableError> {
        let columns = &self.shared.columns;
        let field = schema.index_of(name);
        let is_it = |column: &&String| field.is_some() && schema.index_of(column) == field;
        let found =
            columns.iter().find(|column| *column == name).or_else(|| columns.iter().find(is_it));
        found.and_then(|found| columns.iter().position(|column| column == found)).ok_or_else(|| {
            TableError::of(&self.shared.name, format!("there is no column `{name}`"))
        })
    }

    /// What its blocks have in common.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Iterator for Table {
    type Item = Result<Block, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.blocks.next()
    }
}

/// Takes a byte order mark away; refuses one of UTF-16.
fn without_mark(mut block: Vec<u8>, name: &str) -> Result<Vec<u8>, TableError> {
    match block.as_slice() {
        [0xef, 0xbb, 0xbf, ..] => {
            block.drain(..3);
            Ok(block)
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Err(TableError::at(
            name,
            1,
            Some(1),
            "it begins with the byte order mark of UTF-16; expected UTF-8",
        )
        .hint("convert it: iconv -f UTF-16 -t UTF-8")),
        _ => Ok(block),
    }
}

/// The text of a block that begins with `line`.
pub(super) fn utf8(block: Vec<u8>, name: &str, line: u64) -> Result<String, TableError> {
    String::from_utf8(block).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let bytes = error.into_bytes();
        let before = std::str::from_utf8(&bytes[..at]).unwrap_or_default();
        let (line, column) = super::csv::line_and_column(before, at, line);
        let problem = format!("the byte 0x{:02x} is not UTF-8", bytes[at]);
        TableError::at(name, line, Some(column), problem)
            .hint("convert it, e.g. from Latin-1: iconv -f LATIN1 -t UTF-8")
    })
}

fn open_csv(
    stream: Box<dyn Read + Send>,
    name: &str,
    source: &Source,
    options: &Options,
) -> Result<Table, TableError> {
    let mut dialect = options.dialect.clone();
    let is_tsv = source.relative.to_str().is_some_and(|path| {
        let path = path.strip_suffix(".gz").or_else(|| path.strip_suffix(".zst")).unwrap_or(path);
        path.ends_with(".tsv") || path.ends_with(".tab")
    });
    if is_tsv && dialect.delimiter == b',' {
        dialect.delimiter = b'\t';
    }
    let mut blocks = Blocks::new(stream, name, Some(dialect.clone()), options.block_bytes);
    let mut line = 1;
    let mut block = Vec::new();
    let first = loop {
        // Blank lines may come first, block after block.
        let Some((next, at)) = blocks.next()? else { break None };
        (block, line) = (if at == 1 { without_mark(next, name)? } else { next }, at);
        let text = utf8(std::mem::take(&mut block), name, line)?;
        let found = first_record(&text, &dialect);
        block = text.into_bytes();
        match found {
            Ok(Some(found)) => break Some(found),
            Ok(None) => {}
            Err(at) => {
                let text = String::from_utf8_lossy(&block);
                let (line, column) = super::csv::line_and_column(&text, at, line);
                return Err(unclosed(name, line, column));
            }
        }
    };
    let Some((cells, length)) = first else {
        return Err(TableError::of(
            name,
            if dialect.header { "it is empty; expected a header" } else { "it is empty" },
        ));
    };
    if block[..length].contains(&b'\r') && !block.contains(&b'\n') && block.len() > length.min(1) {
        let lines = block.iter().filter(|byte| **byte == b'\r').count();
        if lines > 1 || !block.ends_with(b"\r") {
            return Err(TableError::at(
                name,
                1,
                None,
                "its lines end with CR alone; expected LF or CR LF",
            )
            .hint("convert it: tr '\\r' '\\n'"));
        }
    }
    let columns = if dialect.header {
        let rest = block.split_off(length);
        let line = line + memchr::memchr_iter(b'\n', &block).count() as u64;
        blocks.unread(rest, line);
        cells
    } else {
        if cells.len() != options.names.len() {
            let problem = format!(
                "{} cells and no header to name them, but the model has {} fields",
                cells.len(),
                options.names.len()
            );
            return Err(TableError::at(name, line, None, problem));
        }
        blocks.unread(block, line);
        options.names.clone()
    };
    Ok(text_table(name, columns, Format::Csv, dialect, blocks))
}

pub(super) fn unclosed(name: &str, line: u64, column: u64) -> TableError {
    TableError::at(name, line, Some(column), "a quote is opened here and never closed")
        .hint("without quotes as such: --quote none")
}

/// The cells of the first record that is not blank, and where the next one begins. The place of an opening quote that nothing closes is the
/// error.
fn first_record(text: &str, dialect: &Dialect) -> Result<Option<(Vec<String>, usize)>, usize> {
    let bytes = text.as_bytes();
    let mut start = 0;
    while let Some(byte) = bytes.get(start) {
        match byte {
            b'\n' => start += 1,
            b'\r' if bytes.get(start + 1).is_none_or(|next| *next == b'\n') => start += 1,
            _ => break,
        }
    }
    if start >= bytes.len() {
        return Ok(None);
    }
    let mut cells = Vec::new();
    let mut at = start;
    loop {
        let mut cell = String::new();
        if dialect.quote.is_some() && bytes.get(at).copied() == dialect.quote {
            let quote = bytes[at];
            let open = at;
            at += 1;
            loop {
                let Some(found) = memchr::memchr(quote, &bytes[at..]).map(|found| at + found)
                else {
                    return Err(open);
                };
                cell.push_str(&text[at..found]);
                at = found + 1;
                if bytes.get(at) != Some(&quote) {
                    break;
                }
                cell.push(char::from(quote));
                at += 1;
            }
        }
        let end = memchr::memchr2(dialect.delimiter, b'\n', &bytes[at..])
            .map_or(bytes.len(), |found| at + found);
        let ends_record = bytes.get(end) != Some(&dialect.delimiter);
        let rest = &text[at..end];
        cell.push_str(if ends_record { rest.strip_suffix('\r').unwrap_or(rest) } else { rest });
        cells.push(cell);
        at = end + 1;
        if ends_record {
            return Ok(Some((cells, at.min(bytes.len()))));
        }
    }
}

fn open_ndjson(
    stream: Box<dyn Read + Send>,
    name: &str,
    options: &Options,
) -> Result<Table, TableError> {
    let mut blocks = Blocks::new(stream, name, None, options.block_bytes);
    let mut columns = Vec::new();
    while let Some((block, line)) = blocks.next()? {
        let block = if line == 1 { without_mark(block, name)? } else { block };
        let first = block
            .split(|byte| *byte == b'\n')
            .find(|line| !line.iter().all(u8::is_ascii_whitespace))
            .map(<[u8]>::to_vec);
        let Some(first) = first else { continue };
        if first.trim_ascii().starts_with(b"[") {
            return Err(TableError::at(
                name,
                line,
                Some(1),
                "an array, expected NDJSON: one object a line, without brackets and commas around them",
            )
            .hint("convert it: jq -c '.[]'"));
        }
        if let Ok(Cells(cells)) = serde_json::from_slice(&first) {
            columns = cells.into_iter().map(|(key, _)| key).collect();
        }
        blocks.unread(block, line);
        break;
    }
    Ok(text_table(name, columns, Format::Ndjson, options.dialect.clone(), blocks))
}

/// A table of the blocks of text that are left.
fn text_table(
    name: &str,
    columns: Vec<String>,
    format: Format,
    dialect: Dialect,
    mut blocks: Blocks,
) -> Table {
    let shared = Arc::new(Shared {
        name: name.to_owned(),
        columns,
        unread: Vec::new(),
        format,
        dialect,
        schema: None,
        copied: None,
    });
    let of_blocks = Arc::clone(&shared);
    let blocks = std::iter::from_fn(move || {
        let block = blocks.next().transpose()?;
        Some(block.map(|(text, line)| Block {
            shared: Arc::clone(&of_blocks),
            body: Body::Text { text, line },
        }))
    });
    Table { shared, blocks: Box::new(blocks) }
}
