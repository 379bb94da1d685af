//! Rows with their predictions, in the format that is asked for.
//!
//! An [`Encoder`] is shared by all threads and turns a block into a [`Piece`]; a [`Sink`] takes the pieces in their order.

use std::borrow::Cow;
use std::io::Write;
use std::sync::Arc;

use arrow_array::builder::{Float64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::columnar::Builder;
use super::csv::Dialect;
use super::predicted::Predicted;
use super::rows::{Content, Rows, Shared, typed};
use super::value::{json_string, number};
use super::{Format, TableError, Value};
use crate::postprocess::Prediction;
use crate::predictor::Model;
use crate::proof::label_text;
use crate::schema::{Kind, Scalar};

/// Which columns of the input are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keep {
    /// All of them.
    All,
    /// None.
    None,
    /// These, in this order.
    These(Vec<String>),
}

/// Turns blocks of rows with their predictions into the format that is asked for.
#[derive(Debug)]
pub struct Encoder {
    format: Format,
    dialect: Dialect,
    /// The kept columns of the input.
    kept: Vec<usize>,
    names: Vec<String>,
    kinds: Vec<Option<Kind>>,
    /// Whether a row can be written as it stands in the input.
    as_is: bool,
    /// Names of the columns that are added: the prediction, the probabilities, the version.
    added: Vec<String>,
    labels: Labels,
    n_labels: usize,
    version: String,
    /// `,"name":` for each column that is added.
    json_keys: Vec<String>,
    skip: bool,
    schema: Option<SchemaRef>,
}

/// The labels of a classifier as they are written.
#[derive(Debug)]
struct Labels {
    json: Vec<String>,
    csv: Vec<String>,
    values: Vec<Value<'static>>,
    kind: Option<Kind>,
}

impl Labels {
    fn new(labels: &[Scalar]) -> Self {
        let value = |label: &Scalar| match label {
            Scalar::Bool(value) => Value::Bool(*value),
            Scalar::Int(value) => Value::Int(*value),
            Scalar::Float(value) => Value::Float(*value),
            Scalar::Text(text) => Value::Text(Cow::Owned(text.clone())),
        };
        let kind = |label: &Scalar| match label {
            Scalar::Bool(_) => Kind::Bool,
            Scalar::Int(_) => Kind::Int,
            Scalar::Float(_) => Kind::Float,
            Scalar::Text(_) => Kind::String,
        };
        let json = |label: &Scalar| {
            let mut out = Vec::new();
            value(label).write_json(&mut out);
            String::from_utf8(out).unwrap_or_default()
        };
        let first = labels.first().map(kind);
        Self {
            json: labels.iter().map(json).collect(),
            csv: labels.iter().map(|label| value(label).to_text()).collect(),
            values: labels.iter().map(value).collect(),
            kind: first.filter(|first| labels.iter().all(|label| kind(label) == *first)),
        }
    }
}

/// A block, ready to be written.
#[derive(Debug)]
pub enum Piece {
    /// Lines.
    Text(Vec<u8>),
    /// Columns.
    Batch(RecordBatch),
}

impl Encoder {
    /// Chooses the columns of the output for a table and a model. `prefix` stands before the names of those that are added; `skip` leaves rows
    /// without a prediction out.
    ///
    /// # Errors
    /// A column to keep is not there, or an added one is already there.
    pub fn new(
        format: Format,
        table: &Shared,
        keep: &Keep,
        model: &Model,
        prefix: &str,
        skip: bool,
    ) -> Result<Self, TableError> {
        let kept: Vec<usize> = match keep {
            Keep::All => (0..table.columns.len()).collect(),
            Keep::None => Vec::new(),
            Keep::These(names) => {
                let find = |name: &String| {
                    table.columns.iter().position(|column| column == name).ok_or_else(|| {
                        TableError::of(
                            &table.name,
                            format!(
                                "there is no column `{name}` to keep; there are: {}",
                                shown(&table.columns)
                            ),
                        )
                    })
                };
                names.iter().map(find).collect::<Result<_, _>>()?
            }
        };
        let names: Vec<String> = kept.iter().map(|column| table.columns[*column].clone()).collect();
        let labels = model.postprocess().labels();
        let mut added = vec![format!("{prefix}prediction")];
        added.extend(
            labels.iter().map(|label| format!("{prefix}probability_{}", label_text(label))),
        );
        added.push(format!("{prefix}version"));
        if let Some(taken) = added.iter().find(|added| names.contains(added)) {
            let problem =
                format!("it already has a column `{taken}`, which the predictions would be called");
            return Err(TableError::of(&table.name, problem).hint(
                "put something before their names (--prefix new_), or keep other columns (--keep)",
            ));
        }
        if format != Format::Csv
            && let Some(twice) = (1..names.len()).find(|at| names[..*at].contains(&names[*at]))
        {
            let problem = format!(
                "the column `{}` is there twice; only CSV can be written like this",
                names[twice]
            );
            return Err(TableError::of(&table.name, problem).hint("choose columns with --keep"));
        }
        let schema = model.schema();
        let kinds: Vec<Option<Kind>> = names
            .iter()
            .map(|name| schema.index_of(name).map(|field| schema.fields()[field].kind()))
            .collect();
        let dialect =
            if table.format == Format::Csv { table.dialect.clone() } else { Dialect::default() };
        let json_keys = added
            .iter()
            .map(|name| {
                let mut key = vec![b','];
                json_string(name, &mut key);
                key.push(b':');
                String::from_utf8(key).unwrap_or_default()
            })
            .collect();
        let mut encoder = Self {
            format,
            dialect,
            as_is: *keep == Keep::All && format == table.format,
            labels: Labels::new(labels),
            n_labels: labels.len(),
            version: model.artifact().manifest().version.to_string(),
            kept,
            names,
            kinds,
            added,
            json_keys,
            skip,
            schema: None,
        };
        if matches!(format, Format::Parquet | Format::Arrow) {
            encoder.schema = Some(encoder.arrow_schema(table));
        }
        Ok(encoder)
    }

    /// The names of all columns of the output.
    #[must_use]
    pub fn columns(&self) -> Vec<&str> {
        self.names.iter().chain(&self.added).map(String::as_str).collect()
    }

    /// Sees to it that another table can follow the first one into the same output.
    ///
    /// # Errors
    /// Its columns are others.
    pub fn same_as(&self, first: &Self, table: &Shared) -> Result<(), TableError> {
        if self.format == Format::Ndjson {
            return Ok(());
        }
        if self.names != first.names {
            let at = self.names.iter().zip(&first.names).position(|(name, first)| name != first);
            let at = at.unwrap_or_else(|| self.names.len().min(first.names.len()));
            let show = |names: &[String]| {
                names.get(at).map_or_else(|| "none".to_owned(), |name| format!("`{name}`"))
            };
            let problem = format!(
                "its columns are not those of the first file: column {} is {}, there {}",
                at + 1,
                show(&self.names),
                show(&first.names)
            );
            return Err(TableError::of(&table.name, problem)
                .hint("write a file for each (--output DIR/), or choose columns with --keep"));
        }
        if let (Some(schema), Some(before)) = (&self.schema, &first.schema)
            && let Some((field, before)) = schema
                .fields()
                .iter()
                .zip(before.fields())
                .find(|(field, before)| field.data_type() != before.data_type())
        {
            let problem = format!(
                "its column `{}` is of the type {}, that of the first file of {}",
                field.name(),
                field.data_type(),
                before.data_type()
            );
            return Err(
                TableError::of(&table.name, problem).hint("write a file for each: --output DIR/")
            );
        }
        Ok(())
    }

    fn arrow_schema(&self, table: &Shared) -> SchemaRef {
        let mut fields: Vec<Arc<ArrowField>> = Vec::new();
        for (at, name) in self.names.iter().enumerate() {
            fields.push(match &table.schema {
                Some(schema) => Arc::clone(&schema.fields()[self.kept[at]]),
                None => {
                    Arc::new(ArrowField::new(name, Builder::new(self.kinds[at]).data_type(), true))
                }
            });
        }
        for (at, name) in self.added.iter().enumerate() {
            let data_type = if at == 0 {
                self.prediction_builder().data_type()
            } else if at <= self.n_labels {
                DataType::Float64
            } else {
                DataType::Utf8
            };
            fields.push(Arc::new(ArrowField::new(name, data_type, at <= self.n_labels)));
        }
        Arc::new(ArrowSchema::new(fields))
    }

    fn prediction_builder(&self) -> Builder {
        if self.n_labels == 0 {
            Builder::new(Some(Kind::Float))
        } else {
            Builder::new(self.labels.kind)
        }
    }

    /// What stands before the first row.
    #[must_use]
    pub fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.format == Format::Csv && self.dialect.header {
            for (at, name) in self.columns().into_iter().enumerate() {
                if at > 0 {
                    out.push(self.dialect.delimiter);
                }
                self.dialect.write(name, &mut out);
            }
            out.push(b'\n');
        }
        out
    }

    /// Writes a block.
    ///
    /// # Errors
    /// A row of NDJSON already has a key that is to be added.
    pub fn encode(&self, rows: &Rows, predicted: &Predicted) -> Result<Piece, TableError> {
        match self.format {
            Format::Csv => Ok(Piece::Text(self.csv(rows, predicted))),
            Format::Ndjson => self.ndjson(rows, predicted).map(Piece::Text),
            Format::Parquet | Format::Arrow => self.batch(rows, predicted).map(Piece::Batch),
        }
    }

    /// The rows to be written, with their place among the predictions.
    fn each<'a>(
        &'a self,
        predicted: &'a Predicted,
    ) -> impl Iterator<Item = (usize, Option<usize>)> + 'a {
        (0..predicted.n_rows).filter_map(move |row| {
            let at =
                predicted.at(row).filter(|at| predicted.predictions.rows[*at] != Prediction::None);
            (at.is_some() || !self.skip).then_some((row, at))
        })
    }

    fn csv(&self, rows: &Rows, predicted: &Predicted) -> Vec<u8> {
        let delimiter = self.dialect.delimiter;
        let mut values = Vec::new();
        let mut cell = Vec::new();
        let added = 24 + self.version.len() + 20 * self.n_labels;
        let in_bytes = match &rows.content {
            Content::Records(records) if self.as_is => records.text.len(),
            _ => predicted.n_rows * 8 * self.kept.len(),
        };
        let mut out = Vec::with_capacity(in_bytes + predicted.n_rows * added);
        for (row, at) in self.each(predicted) {
            match (&rows.content, rows.shaped(row)) {
                (Content::Records(records), Ok(shaped)) if self.as_is => {
                    out.extend_from_slice(&records.text.as_bytes()[records.span(shaped)]);
                    out.push(delimiter);
                }
                _ => {
                    rows.values(row, &self.kept, &mut values);
                    for value in &values {
                        cell.clear();
                        value.write_text(&mut cell);
                        // Made of text.
                        self.dialect
                            .write(std::str::from_utf8(&cell).unwrap_or_default(), &mut out);
                        out.push(delimiter);
                    }
                }
            }
            if let Some(at) = at {
                match &predicted.predictions.rows[at] {
                    Prediction::Number(value) => number(*value, &mut out),
                    Prediction::Label(label) => {
                        if let Some(text) = self.labels.csv.get(*label) {
                            self.dialect.write(text, &mut out);
                        }
                    }
                    Prediction::None => {}
                }
            }
            for label in 0..self.n_labels {
                out.push(delimiter);
                if let Some(value) = at.and_then(|at| self.probability(predicted, at, label)) {
                    number(value, &mut out);
                }
            }
            out.push(delimiter);
            out.extend_from_slice(self.version.as_bytes());
            out.push(b'\n');
        }
        out
    }

    /// A probability, where there is one.
    fn probability(&self, predicted: &Predicted, at: usize, label: usize) -> Option<f64> {
        let value = predicted.predictions.probabilities.get(at * self.n_labels + label);
        value.copied().filter(|value| value.is_finite())
    }

    fn ndjson(&self, rows: &Rows, predicted: &Predicted) -> Result<Vec<u8>, TableError> {
        let mut out = Vec::new();
        let mut values = Vec::new();
        for (row, at) in self.each(predicted) {
            out.push(b'{');
            let start = out.len();
            match &rows.content {
                Content::Lines { text, lines } if self.as_is => {
                    let line = text[lines[row].clone()].trim();
                    // A row that is no object cannot be kept.
                    if predicted.at(row).is_some() {
                        self.refuse_taken(rows, line, row)?;
                        let inside = line.get(1..line.len().saturating_sub(1)).unwrap_or_default();
                        out.extend_from_slice(inside.trim_ascii().as_bytes());
                    } else if let Ok(super::rows::Cells(cells)) = serde_json::from_str(line) {
                        self.refuse_taken(rows, line, row)?;
                        for (at, (key, value)) in cells.into_iter().enumerate() {
                            if at > 0 {
                                out.push(b',');
                            }
                            json_string(&key, &mut out);
                            out.push(b':');
                            out.extend_from_slice(value.get().as_bytes());
                        }
                    }
                }
                _ => {
                    rows.values(row, &self.kept, &mut values);
                    for (at, value) in values.iter().enumerate() {
                        if at > 0 {
                            out.push(b',');
                        }
                        json_string(&self.names[at], &mut out);
                        out.push(b':');
                        match self.kinds[at] {
                            Some(kind) => typed(value, kind).write_json(&mut out),
                            None => value.write_json(&mut out),
                        }
                    }
                }
            }
            let key = &self.json_keys[0];
            let is_first = out.len() == start;
            out.extend_from_slice(if is_first { &key.as_bytes()[1..] } else { key.as_bytes() });
            match at.map(|at| &predicted.predictions.rows[at]) {
                Some(Prediction::Number(value)) => number(*value, &mut out),
                Some(Prediction::Label(label)) => {
                    let text = self.labels.json.get(*label).map_or("null", String::as_str);
                    out.extend_from_slice(text.as_bytes());
                }
                Some(Prediction::None) | None => out.extend_from_slice(b"null"),
            }
            for label in 0..self.n_labels {
                out.extend_from_slice(self.json_keys[1 + label].as_bytes());
                match at.and_then(|at| self.probability(predicted, at, label)) {
                    Some(value) => number(value, &mut out),
                    None => out.extend_from_slice(b"null"),
                }
            }
            out.extend_from_slice(self.json_keys[self.added.len() - 1].as_bytes());
            json_string(&self.version, &mut out);
            out.extend_from_slice(b"}\n");
        }
        Ok(out)
    }

    /// An object has no key twice: not one that is to be added either.
    fn refuse_taken(&self, rows: &Rows, line: &str, row: usize) -> Result<(), TableError> {
        let suspect = self
            .added
            .iter()
            .any(|name| memchr::memmem::find(line.as_bytes(), name.as_bytes()).is_some());
        if !suspect {
            return Ok(());
        }
        let cells = serde_json::from_str(line).map(|super::rows::Cells(cells)| cells);
        for (key, _) in cells.unwrap_or_default() {
            if self.added.contains(&key) {
                let (line, column) = rows.place_of_key(row, &key);
                let problem =
                    format!("it already has a key `{key}`, which the prediction would be called");
                return Err(TableError::at(&rows.shared.name, line, Some(column), problem).hint(
                    "put something before the names: --prefix new_; or keep other columns: --keep",
                ));
            }
        }
        Ok(())
    }

    fn batch(&self, rows: &Rows, predicted: &Predicted) -> Result<RecordBatch, TableError> {
        let written: Vec<(usize, Option<usize>)> = self.each(predicted).collect();
        let all = written.len() == predicted.n_rows;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.names.len() + self.added.len());
        match &rows.content {
            Content::Batch(batch) if all => {
                columns.extend(self.kept.iter().map(|column| Arc::clone(batch.column(*column))));
            }
            Content::Batch(batch) => {
                let indices = written.iter().map(|(row, _)| *row as u64);
                let indices = arrow_array::UInt64Array::from_iter_values(indices);
                for column in &self.kept {
                    let taken = arrow_select::take::take(batch.column(*column), &indices, None);
                    columns.push(taken.map_err(|error| broken(rows, &error))?);
                }
            }
            _ => {
                let mut builders: Vec<Builder> =
                    self.kinds.iter().map(|kind| Builder::new(*kind)).collect();
                let mut values = Vec::new();
                for (row, _) in &written {
                    rows.values(*row, &self.kept, &mut values);
                    for ((builder, value), kind) in
                        builders.iter_mut().zip(&values).zip(&self.kinds)
                    {
                        match (kind, value) {
                            (Some(kind), Value::Text(_)) if *kind != Kind::String => {
                                builder.push(&typed(value, *kind));
                            }
                            _ => builder.push(value),
                        }
                    }
                }
                columns.extend(builders.into_iter().map(Builder::finish));
            }
        }
        let mut prediction = self.prediction_builder();
        for (_, at) in &written {
            match at.map(|at| &predicted.predictions.rows[at]) {
                Some(Prediction::Number(value)) => prediction.push(&Value::Float(*value)),
                Some(Prediction::Label(label)) => match self.labels.values.get(*label) {
                    Some(value) => prediction.push(value),
                    None => prediction.push_null(),
                },
                Some(Prediction::None) | None => prediction.push_null(),
            }
        }
        columns.push(prediction.finish());
        for label in 0..self.n_labels {
            let mut builder = Float64Builder::with_capacity(written.len());
            for (_, at) in &written {
                builder.append_option(at.and_then(|at| self.probability(predicted, at, label)));
            }
            columns.push(Arc::new(builder.finish()));
        }
        let mut version = StringBuilder::new();
        version.append_value_n(&self.version, written.len());
        columns.push(Arc::new(version.finish()));
        let schema = self.schema.clone().unwrap_or_else(|| Arc::new(ArrowSchema::empty()));
        RecordBatch::try_new(schema, columns).map_err(|error| broken(rows, &error))
    }
}

fn broken(rows: &Rows, error: &ArrowError) -> TableError {
    TableError::of(&rows.shared.name, format!("cannot be written again: {error}"))
}

/// The first names of a list.
fn shown(names: &[String]) -> String {
    const N_SHOWN: usize = 20;
    let mut shown = names.iter().take(N_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > N_SHOWN {
        shown.push_str(&format!(", … ({} in all)", names.len()));
    }
    shown
}

/// Takes the pieces of a table in their order.
pub struct Sink(Target);

type Output = Box<dyn Write + Send>;

enum Target {
    Text(Output),
    Parquet(Box<ArrowWriter<Output>>),
    File(Box<arrow_ipc::writer::FileWriter<Output>>),
    Stream(Box<arrow_ipc::writer::StreamWriter<Output>>),
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}

/// Rows of a Parquet file that stand together; until they are complete they are in memory.
const ROW_GROUP: usize = 1 << 16;

impl Sink {
    /// Begins a table. Arrow is written as a stream where `is_pipe`, else as a file.
    ///
    /// # Errors
    /// The output takes nothing.
    pub fn start(encoder: &Encoder, mut output: Output, is_pipe: bool) -> std::io::Result<Self> {
        let schema = encoder.schema.clone().unwrap_or_else(|| Arc::new(ArrowSchema::empty()));
        Ok(Self(match encoder.format {
            Format::Csv | Format::Ndjson => {
                output.write_all(&encoder.header())?;
                Target::Text(output)
            }
            Format::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_max_row_group_row_count(Some(ROW_GROUP))
                    .build();
                let writer = ArrowWriter::try_new(output, schema, Some(properties));
                Target::Parquet(Box::new(writer.map_err(of_parquet)?))
            }
            Format::Arrow if is_pipe => {
                let writer = arrow_ipc::writer::StreamWriter::try_new(output, &schema);
                Target::Stream(Box::new(writer.map_err(of_arrow)?))
            }
            Format::Arrow => {
                let writer = arrow_ipc::writer::FileWriter::try_new(output, &schema);
                Target::File(Box::new(writer.map_err(of_arrow)?))
            }
        }))
    }

    /// Writes the next piece.
    ///
    /// # Errors
    /// The output takes no more.
    pub fn write(&mut self, piece: &Piece) -> std::io::Result<()> {
        match (&mut self.0, piece) {
            (Target::Text(output), Piece::Text(text)) => output.write_all(text),
            (Target::Parquet(writer), Piece::Batch(batch)) => {
                writer.write(batch).map_err(of_parquet)
            }
            (Target::File(writer), Piece::Batch(batch)) => writer.write(batch).map_err(of_arrow),
            (Target::Stream(writer), Piece::Batch(batch)) => {
                writer.write(batch).map_err(of_arrow)?;
                writer.flush().map_err(of_arrow)
            }
            _ => Err(std::io::Error::other("a piece of another format")),
        }
    }

    /// Makes what was written so far visible to a reader at the other end of a pipe.
    ///
    /// # Errors
    /// The output takes no more.
    pub fn flush(&mut self) -> std::io::Result<()> {
        match &mut self.0 {
            Target::Text(output) => output.flush(),
            Target::Stream(writer) => writer.flush().map_err(of_arrow),
            Target::Parquet(_) | Target::File(_) => Ok(()),
        }
    }

    /// Ends the table.
    ///
    /// # Errors
    /// The output takes no more.
    pub fn finish(self) -> std::io::Result<()> {
        match self.0 {
            Target::Text(mut output) => output.flush(),
            Target::Parquet(writer) => writer.into_inner().map_err(of_parquet)?.flush(),
            Target::File(mut writer) => {
                writer.finish().map_err(of_arrow)?;
                writer.into_inner().map_err(of_arrow)?.flush()
            }
            Target::Stream(mut writer) => {
                writer.finish().map_err(of_arrow)?;
                writer.into_inner().map_err(of_arrow)?.flush()
            }
        }
    }
}

/// The error of the file beneath, where it is one: a broken pipe must be told apart.
fn of_arrow(error: ArrowError) -> std::io::Error {
    match error {
        ArrowError::IoError(_, error) => error,
        error => std::io::Error::other(error),
    }
}

fn of_parquet(error: ParquetError) -> std::io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<std::io::Error>() {
            Ok(error) => *error,
            Err(error) => std::io::Error::other(error),
        },
        error => std::io::Error::other(error),
    }
}
