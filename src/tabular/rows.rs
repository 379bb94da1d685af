//! A block of a table, cut into rows: into the frame of a schema, or into values one by one.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use arrow_array::RecordBatch;
use serde_json::value::RawValue;

use super::copied::Copied;
use super::csv::{Dialect, Malformed, Records, line_and_column};
use super::source::{unclosed, utf8};
use super::{Format, Problem, TableError, Value, columnar};
use crate::schema::{Cells, Decoded, Filler, Frame, Kind, Schema, UnknownFields};

/// What the blocks of a table have in common.
#[derive(Debug)]
pub struct Shared {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
    /// What else there is, with the number of the column from 1: it is not needed, so it is not read.
    pub(super) unread: Vec<(usize, String)>,
    pub(super) format: Format,
    pub(super) dialect: Dialect,
    /// Of Parquet and Arrow.
    pub(super) schema: Option<arrow_schema::SchemaRef>,
    /// What will be in the output as it is in the file.
    pub(super) copied: Option<Arc<Copied>>,
}

impl Shared {
    /// The file's name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Some whole rows of a table, as they stand in the file.
#[derive(Debug)]
pub struct Block {
    pub(super) shared: Arc<Shared>,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// CSV or NDJSON that begins with `line`.
    Text { text: Vec<u8>, line: u64 },
    /// Rows of which the first is `row`, from 1.
    Batch { batch: RecordBatch, row: u64 },
}

/// The rows of a block.
#[derive(Debug)]
pub struct Rows {
    pub(super) shared: Arc<Shared>,
    pub(super) content: Content,
    /// The line, or the row, with which it begins.
    line: u64,
}

#[derive(Debug)]
pub(super) enum Content {
    Records(Records),
    Lines { text: String, lines: Vec<Range<usize>> },
    Batch(RecordBatch),
}

/// Which column of a table is which field of a schema.
#[derive(Debug, Clone)]
pub struct Binding {
    /// For each field its column.
    columns: Vec<Option<usize>>,
    /// Whether every field is a plain value.
    flat: bool,
    unknown_fields: UnknownFields,
}

impl Binding {
    /// Finds the fields of a schema among the columns of a table, by name or alias.
    ///
    /// # Errors
    /// A field that must not be absent is; two columns are the same field; or a column is no field, where those are refused.
    pub fn new(
        shared: &Shared,
        schema: &Schema,
        unknown_fields: UnknownFields,
    ) -> Result<Self, TableError> {
        let mut columns: Vec<Option<usize>> = vec![None; schema.fields().len()];
        let flat = schema.fields().iter().all(|field| is_plain(field.kind()));
        let binding = |columns| Self { columns, flat, unknown_fields };
        if shared.format == Format::Ndjson {
            return Ok(binding(columns));
        }
        let wrong = |problem: String| {
            if shared.format == Format::Csv && shared.dialect.header {
                TableError::at(&shared.name, 1, None, problem)
            } else {
                TableError::of(&shared.name, problem)
            }
        };
        for (at, column) in shared.columns.iter().enumerate() {
            match schema.index_of(column) {
                Some(field) => {
                    if let Some(before) = columns[field].replace(at) {
                        return Err(wrong(format!(
                            "the columns {} `{}` and {} `{column}` are the same field `{}`",
                            before + 1,
                            shared.columns[before],
                            at + 1,
                            schema.fields()[field].name()
                        )));
                    }
                }
                None if unknown_fields == UnknownFields::Reject => {
                    return Err(wrong(format!(
                        "column {}, `{column}`, is no field of the model",
                        at + 1
                    )));
                }
                None => {}
            }
        }
        if unknown_fields == UnknownFields::Reject
            && let Some((number, column)) =
                shared.unread.iter().find(|(_, column)| schema.index_of(column).is_none())
        {
            return Err(wrong(format!("column {number}, `{column}`, is no field of the model")));
        }
        let missing: Vec<&str> = schema
            .fields()
            .iter()
            .zip(&columns)
            .filter(|(field, column)| {
                let spec = field.spec();
                column.is_none() && spec.required && spec.default.is_none()
            })
            .map(|(field, _)| field.name())
            .collect();
        if missing.is_empty() {
            return Ok(binding(columns));
        }
        const N_SHOWN: usize = 10;
        let mut names: Vec<String> =
            missing.iter().take(N_SHOWN).map(|name| format!("`{name}`")).collect();
        if missing.len() > N_SHOWN {
            names.push(format!("… ({} in all)", missing.len()));
        }
        let (what, verb) = if missing.len() == 1 { ("column", "is") } else { ("columns", "are") };
        let error = wrong(format!("the {what} {} {verb} missing", names.join(", ")));
        let elsewhere = [(';', "';'"), ('\t', "tab"), ('|', "'|'"), (',', "','")];
        let other = match shared.columns.as_slice() {
            [only] if shared.format == Format::Csv => {
                elsewhere.iter().find(|(delimiter, _)| only.contains(*delimiter))
            }
            _ => None,
        };
        Err(match other {
            Some((_, name)) => error.hint(format!("another delimiter? --delimiter {name}")),
            None => error,
        })
    }
}

/// Whether a field is a single value, which has a column of its own type in every kind of table.
fn is_plain(kind: Kind) -> bool {
    matches!(kind, Kind::Int | Kind::Float | Kind::String | Kind::Bool | Kind::Datetime)
}

/// The good rows of a block are in the frame; these are the others.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoding {
    /// Rows in the block, good and bad.
    pub n_rows: usize,
    /// For each row of the frame its number in the block; `None` when they are the same.
    pub kept: Option<Vec<usize>>,
    /// What is wrong with the others, by row.
    pub problems: Vec<Problem>,
}

impl Block {
    /// Cuts the block into rows.
    ///
    /// # Errors
    /// Its text is not UTF-8, or a quote is never closed.
    pub fn into_rows(self) -> Result<Rows, TableError> {
        let Self { shared, body } = self;
        match body {
            Body::Batch { batch, row } => {
                Ok(Rows { shared, content: Content::Batch(batch), line: row })
            }
            Body::Text { text, line } => {
                let text = utf8(text, &shared.name, line)?;
                let content = if shared.format == Format::Csv {
                    // A place in the text, so that an error can be shown, is needed after the text is given away.
                    let n_columns = shared.columns.len();
                    match Records::new(text, n_columns, &shared.dialect) {
                        Ok(records) => Content::Records(records),
                        Err((text, at)) => {
                            let (line, column) = line_and_column(&text, at, line);
                            return Err(unclosed(&shared.name, line, column));
                        }
                    }
                } else {
                    let lines = lines(&text);
                    Content::Lines { text, lines }
                };
                Ok(Rows { shared, content, line })
            }
        }
    }
}

/// The lines of a text that are not blank.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut lines = Vec::new();
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', text.as_bytes()).chain([text.len()]) {
        if let Some(line) = text.get(start..end) {
            let end = start + line.trim_ascii_end().len();
            if end > start {
                lines.push(start..end);
            }
        }
        start = end + 1;
    }
    lines
}

impl Rows {
    /// The number of rows, good and bad.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        match &self.content {
            Content::Records(records) => records.n_rows(),
            Content::Lines { lines, .. } => lines.len(),
            Content::Batch(batch) => batch.num_rows(),
        }
    }

    /// What the blocks of the table have in common.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads the rows into `frame`, which is cleared first. Bad rows are left out of it.
    pub fn decode(&self, binding: &Binding, schema: &Schema, frame: &mut Frame) -> Decoding {
        if let Content::Lines { text, lines } = &self.content {
            return self.decode_lines(text, lines, binding, schema, frame);
        }
        if !binding.flat {
            return self.decode_as_json(binding, schema, frame);
        }
        let shaped = match &self.content {
            Content::Records(records) => {
                let mut filler = Filler::new(schema, frame, records.n_shaped());
                for (field, column) in binding.columns.iter().enumerate() {
                    let Some(column) = *column else {
                        filler.absent(field);
                        continue;
                    };
                    let cells = records.column(column, &self.shared.dialect);
                    filler.cells(field, &self.shared.columns[column], &cells);
                }
                filler.finish()
            }
            Content::Batch(batch) => {
                let mut filler = Filler::new(schema, frame, batch.num_rows());
                for (field, column) in binding.columns.iter().enumerate() {
                    match *column {
                        Some(column) => {
                            let key = &self.shared.columns[column];
                            columnar::fill(&mut filler, field, key, batch.column(column));
                        }
                        None => filler.absent(field),
                    }
                }
                filler.finish()
            }
            Content::Lines { .. } => Decoded::default(),
        };
        self.decoding(binding, schema, shaped)
    }

    /// Gives the rows of the right shape their numbers among all rows, and the problems their places.
    fn decoding(&self, binding: &Binding, schema: &Schema, shaped: Decoded) -> Decoding {
        let problem = |error: &crate::schema::CellError| {
            let row = error.row.unwrap_or_default();
            let column = error
                .field
                .as_deref()
                .and_then(|key| schema.index_of(key))
                .and_then(|field| binding.columns[field]);
            let place = match (&self.content, column) {
                (Content::Records(records), Some(column)) => {
                    Some(records.place(row, column, self.line))
                }
                _ => None,
            };
            Problem {
                row,
                line: place.map(|(line, _)| line),
                column: place.map(|(_, column)| column),
                field: error.field.clone(),
                code: error.problem.code(),
                detail: error.problem.to_string(),
                is_invalid_input: true,
            }
        };
        let mut problems: Vec<Problem> = shaped.errors.iter().map(problem).collect();
        let mut kept = shaped.kept;
        if let Content::Records(records) = &self.content
            && let Some(rows) = &records.rows
        {
            for problem in &mut problems {
                problem.row = rows[problem.row];
            }
            kept = Some(match kept {
                Some(kept) => kept.into_iter().map(|row| rows[row]).collect(),
                None => rows.clone(),
            });
            problems.extend(records.malformed.iter().map(|row| records.problem(row, self.line)));
            problems.sort_by_key(|problem| problem.row);
        }
        Decoding { n_rows: self.n_rows(), kept, problems }
    }

    fn decode_lines(
        &self,
        text: &str,
        lines: &[Range<usize>],
        binding: &Binding,
        schema: &Schema,
        frame: &mut Frame,
    ) -> Decoding {
        let decoded = schema.decode_lines(text, lines, binding.unknown_fields, frame);
        let mut problems: Vec<Problem> = Vec::new();
        for (row, error) in decoded.not_json {
            problems.push(Problem {
                row,
                line: Some(self.line + error.line as u64 - 1),
                column: Some(error.column as u64),
                field: None,
                code: "json",
                detail: error.problem,
                is_invalid_input: true,
            });
        }
        for error in decoded.decoded.errors {
            let row = error.row.unwrap_or_default();
            let (line, column) = self.place_in_line(text, &lines[row], error.field.as_deref());
            problems.push(Problem {
                row,
                line: Some(line),
                column: Some(column),
                field: error.field,
                code: error.problem.code(),
                detail: error.problem.to_string(),
                is_invalid_input: true,
            });
        }
        problems.sort_by_key(|problem| problem.row);
        Decoding { n_rows: lines.len(), kept: decoded.decoded.kept, problems }
    }

    /// Where the value of a key of a line stands.
    pub(super) fn place_of_key(&self, row: usize, key: &str) -> (u64, u64) {
        match &self.content {
            Content::Lines { text, lines } => self.place_in_line(text, &lines[row], Some(key)),
            _ => (self.line, 1),
        }
    }

    /// Where the value of a key stands; the start of the line where there is none.
    fn place_in_line(&self, text: &str, line: &Range<usize>, key: Option<&str>) -> (u64, u64) {
        let row = &text[line.clone()];
        let value = serde_json::from_str::<Cells<'_>>(row).ok().and_then(|Cells(cells)| {
            let value = cells.into_iter().rev().find(|(name, _)| Some(name.as_str()) == key)?.1;
            // Both are addresses in the same text.
            Some(value.get().as_ptr().addr() - row.as_ptr().addr())
        });
        line_and_column(text, line.start + value.unwrap_or_default(), self.line)
    }

    /// Where a field of a row stands, and its key: for what is found out after the rows were read.
    pub(super) fn place(
        &self,
        row: usize,
        binding: &Binding,
        schema: &Schema,
        field: Option<usize>,
    ) -> (Option<u64>, Option<u64>, Option<String>) {
        let field = field.and_then(|at| Some((at, schema.fields().get(at)?)));
        match &self.content {
            Content::Records(records) => {
                let column = field.and_then(|(at, _)| binding.columns[at]);
                let place = self
                    .shaped(row)
                    .ok()
                    .map(|shaped| records.place(shaped, column.unwrap_or_default(), self.line));
                let key = column.map(|column| self.shared.columns[column].clone());
                let key = key.or_else(|| field.map(|(_, field)| field.name().to_owned()));
                (place.map(|(line, _)| line), place.map(|(_, column)| column), key)
            }
            Content::Lines { text, lines } => {
                let used = field.map(|(_, field)| {
                    let row = &text[lines[row].clone()];
                    let cells = serde_json::from_str::<Cells<'_>>(row).map(|Cells(cells)| cells);
                    let is_field = |key: &str| {
                        key == field.name() || field.spec().aliases.iter().any(|name| name == key)
                    };
                    let key = cells
                        .unwrap_or_default()
                        .into_iter()
                        .map(|(key, _)| key)
                        .find(|key| is_field(key));
                    key.unwrap_or_else(|| field.name().to_owned())
                });
                let (line, column) = self.place_in_line(text, &lines[row], used.as_deref());
                (Some(line), Some(column), used)
            }
            Content::Batch(_) => (None, None, field.map(|(_, field)| field.name().to_owned())),
        }
    }

    /// Reads rows with fields that are more than a value (tensors, images): by way of the JSON that a client would send.
    fn decode_as_json(&self, binding: &Binding, schema: &Schema, frame: &mut Frame) -> Decoding {
        let shaped: Vec<usize> = match &self.content {
            Content::Records(Records { rows: Some(rows), .. }) => rows.clone(),
            _ => (0..self.n_rows()).collect(),
        };
        let columns: Vec<usize> = binding.columns.iter().filter_map(|column| *column).collect();
        let fields: Vec<usize> =
            (0..binding.columns.len()).filter(|field| binding.columns[*field].is_some()).collect();
        let mut text = Vec::new();
        let mut lines = Vec::new();
        let mut values = Vec::new();
        for row in &shaped {
            let start = text.len();
            self.values(*row, &columns, &mut values);
            text.push(b'{');
            for (at, (value, field)) in values.iter().zip(&fields).enumerate() {
                let field = &schema.fields()[*field];
                if at > 0 {
                    text.push(b',');
                }
                super::value::json_string(&self.shared.columns[columns[at]], &mut text);
                text.push(b':');
                typed(value, field.cell()).write_json(&mut text);
            }
            text.push(b'}');
            lines.push(start..text.len());
            text.push(b'\n');
        }
        // Made of strings and of JSON.
        let text = String::from_utf8(text).unwrap_or_default();
        let decoded = schema.decode_lines(&text, &lines, UnknownFields::Ignore, frame);
        let mut shaped = decoded.decoded;
        for (row, error) in decoded.not_json {
            shaped.errors.push(crate::schema::CellError {
                row: Some(row),
                field: None,
                problem: crate::schema::CellProblem::RowType { found: error.problem },
            });
        }
        self.decoding(binding, schema, shaped)
    }

    /// The values of some columns of a row. What a malformed row does not have is missing.
    pub fn values<'a>(&'a self, row: usize, columns: &[usize], values: &mut Vec<Value<'a>>) {
        values.clear();
        match &self.content {
            Content::Records(records) => {
                let dialect = &self.shared.dialect;
                let text = |cell: Cow<'a, str>| {
                    if dialect.is_missing(&cell) { Value::Missing } else { Value::Text(cell) }
                };
                match self.shaped(row) {
                    Ok(shaped) => values.extend(
                        columns
                            .iter()
                            .map(|column| text(Cow::Borrowed(records.cell(shaped, *column)))),
                    ),
                    Err(malformed) => {
                        let cells = records.cells_of(malformed, dialect);
                        values.extend(columns.iter().map(|column| {
                            cells
                                .get(*column)
                                .map_or(Value::Missing, |cell| text(Cow::Owned(cell.clone())))
                        }));
                    }
                }
            }
            Content::Lines { text, lines } => {
                let cells = serde_json::from_str::<Cells<'a>>(&text[lines[row].clone()]);
                let cells = cells.map(|Cells(cells)| cells).unwrap_or_default();
                values.extend(columns.iter().map(|column| {
                    let name = &self.shared.columns[*column];
                    let value = cells.iter().rev().find(|(key, _)| key == name);
                    value.map_or(Value::Missing, |(_, value)| of_json(value.get()))
                }));
            }
            Content::Batch(batch) => {
                values.extend(
                    columns.iter().map(|column| columnar::value(batch.column(*column), row)),
                );
            }
        }
    }

    /// The number of a row among those of the right shape, or what is wrong with it.
    pub(super) fn shaped(&self, row: usize) -> Result<usize, &Malformed> {
        match &self.content {
            Content::Records(records) => match &records.rows {
                None => Ok(row),
                Some(rows) => rows.binary_search(&row).map_err(|_| {
                    let at = records.malformed.partition_point(|malformed| malformed.row < row);
                    &records.malformed[at]
                }),
            },
            _ => Ok(row),
        }
    }

    /// Where a row stands, for people.
    #[must_use]
    pub fn describe(&self, row: usize) -> String {
        let name = &self.shared.name;
        match &self.content {
            Content::Records(records) => {
                let at = match self.shaped(row) {
                    Ok(shaped) => records.span(shaped).start,
                    Err(malformed) => malformed.at.start,
                };
                format!("{name}, line {}", line_and_column(&records.text, at, self.line).0)
            }
            Content::Lines { text, lines } => {
                format!("{name}, line {}", line_and_column(text, lines[row].start, self.line).0)
            }
            Content::Batch(_) => format!("{name}, row {}", self.line + row as u64),
        }
    }

    /// The fields of a row as one JSON object, as a client would send it. Columns that are no field are left out.
    #[must_use]
    pub fn input_json(&self, row: usize, schema: &Schema) -> String {
        if let Content::Lines { text, lines } = &self.content {
            return text[lines[row].clone()].trim().to_owned();
        }
        let is_field = |column: &usize| schema.index_of(&self.shared.columns[*column]);
        let columns: Vec<usize> =
            (0..self.shared.columns.len()).filter(|column| is_field(column).is_some()).collect();
        let mut values = Vec::new();
        self.values(row, &columns, &mut values);
        let mut out = vec![b'{'];
        for (at, value) in values.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            super::value::json_string(&self.shared.columns[columns[at]], &mut out);
            out.push(b':');
            if let Some(field) = is_field(&columns[at]) {
                typed(value, schema.fields()[field].cell()).write_json(&mut out);
            }
        }
        out.push(b'}');
        String::from_utf8(out).unwrap_or_default()
    }
}

/// A cell's text as the value that it is for a field of this kind: what a client would have sent.
pub(super) fn typed<'a>(value: &'a Value<'a>, kind: Kind) -> Value<'a> {
    let Value::Text(text) = value else { return value.clone() };
    let trimmed = text.trim();
    let is_json = || serde_json::from_str::<&RawValue>(trimmed).is_ok();
    match kind {
        Kind::Int | Kind::Float => {
            if trimmed.starts_with(|c: char| c.is_ascii_digit() || c == '-') && is_json() {
                return Value::Json(Cow::Borrowed(trimmed));
            }
            let number = trimmed.parse::<f64>().ok().filter(|number| number.is_finite());
            number.map_or_else(|| value.clone(), Value::Float)
        }
        Kind::Bool if trimmed == "1" || trimmed.eq_ignore_ascii_case("true") => Value::Bool(true),
        Kind::Bool if trimmed == "0" || trimmed.eq_ignore_ascii_case("false") => Value::Bool(false),
        kind if !is_plain(kind) && trimmed.starts_with(['[', '{']) && is_json() => {
            Value::Json(Cow::Borrowed(trimmed))
        }
        _ => value.clone(),
    }
}

fn of_json(text: &str) -> Value<'_> {
    match text.as_bytes().first() {
        Some(b'n') => Value::Missing,
        Some(b't') => Value::Bool(true),
        Some(b'f') => Value::Bool(false),
        Some(b'"') => match serde_json::from_str::<Cow<'_, str>>(text) {
            Ok(string) => Value::Text(Cow::Owned(string.into_owned())),
            Err(_) => Value::Json(Cow::Borrowed(text)),
        },
        _ => Value::Json(Cow::Borrowed(text)),
    }
}
