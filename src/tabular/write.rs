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
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::columnar::{Builder, Nested, list_type, lists};
use super::copied::{Copied, Copying};
use super::csv::Dialect;
use super::predicted::Predicted;
use super::rows::{Content, Rows, Shared, typed};
use super::value::{json_string, number};
use super::{Format, TableError, Value};
use crate::postprocess::{OutputKind, Postprocess, Prediction, label_text};
use crate::predictor::Model;
use crate::schema::{Cells, Kind, Scalar};
use crate::tensor::Element;

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

impl Keep {
    /// The places of these columns among all of the table `name`.
    ///
    /// # Errors
    /// One of them is not there.
    pub(super) fn of(&self, columns: &[String], name: &str) -> Result<Vec<usize>, TableError> {
        let names = match self {
            Self::All => return Ok((0..columns.len()).collect()),
            Self::None => return Ok(Vec::new()),
            Self::These(names) => names,
        };
        let find = |wanted: &String| {
            columns.iter().position(|column| column == wanted).ok_or_else(|| {
                let there = shown(columns);
                let problem = format!("there is no column `{wanted}` to keep; there are: {there}");
                TableError::of(name, problem)
            })
        };
        names.iter().map(find).collect()
    }
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
    column: Column,
    /// Labels that have a column for their probability.
    n_labels: usize,
    /// Only so many of them have one in a row.
    top_k: Option<usize>,
    model: Arc<Model>,
    version: String,
    /// `,"name":` for each column that is added.
    json_keys: Vec<String>,
    skip: bool,
    /// Of what is encoded: without the columns that are copied.
    schema: Option<SchemaRef>,
    /// What goes from Parquet to Parquet as it is.
    copied: Option<Arc<Copied>>,
}

/// How a prediction is written as a column.
#[derive(Debug)]
enum Column {
    /// A number.
    Number,
    /// A label; all of them as values, and their type.
    Label(Vec<Value<'static>>, Option<Kind>),
    /// Lists, nested so deep, of values of this type; text where that is `None`.
    Lists(usize, Option<Kind>),
    /// JSON as text.
    Json,
}

impl Column {
    fn new(model: &Model) -> Self {
        let postprocess = model.postprocess();
        match postprocess.kind() {
            OutputKind::Number => Self::Number,
            OutputKind::Probabilities { .. } | OutputKind::Label => {
                let labels = postprocess.labels();
                let kind = |label: &Scalar| match label {
                    Scalar::Bool(_) => Kind::Bool,
                    Scalar::Int(_) => Kind::Int,
                    Scalar::Float(_) => Kind::Float,
                    Scalar::Text(_) => Kind::String,
                };
                let first = labels.first().map(kind);
                let same = first.filter(|first| labels.iter().all(|label| kind(label) == *first));
                Self::Label(labels.iter().map(value).collect(), same)
            }
            OutputKind::Numbers(_) => Self::Lists(1, Some(Kind::Float)),
            OutputKind::Multilabel { .. } => Self::Lists(1, None),
            OutputKind::Tensors(_) => {
                let [only] = postprocess.tensors() else { return Self::Json };
                let outputs = &model.artifact().manifest().model.outputs;
                let Some(tensor) = outputs.iter().find(|output| output.name == *only) else {
                    return Self::Json;
                };
                let kind = match tensor.r#type.as_str() {
                    "bool" => Some(Kind::Bool),
                    "string" => None,
                    // Beyond the signed 64-bit range only text is exact.
                    "uint64" => return Self::Json,
                    other if other.contains("int") => Some(Kind::Int),
                    _ => Some(Kind::Float),
                };
                Self::Lists(tensor.shape.len().saturating_sub(1), kind)
            }
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Number => DataType::Float64,
            Self::Label(_, kind) => Builder::new(*kind).data_type(),
            Self::Lists(depth, kind) => list_type(*depth, &Builder::new(*kind)),
            Self::Json => DataType::Utf8,
        }
    }

    /// The predictions of some rows, `None` where there is none.
    fn array<'a>(
        &self,
        rows: impl Iterator<Item = Option<&'a Prediction>>,
        postprocess: &'a Postprocess,
    ) -> Result<ArrayRef, ArrowError> {
        if let Self::Lists(depth, kind) = self {
            let rows = rows.map(|row| row.and_then(|row| nested(row, postprocess)));
            return lists(*depth, Builder::new(*kind), rows);
        }
        let mut builder = match self {
            Self::Number => Builder::new(Some(Kind::Float)),
            Self::Label(_, kind) => Builder::new(*kind),
            Self::Json | Self::Lists(..) => Builder::new(None),
        };
        for row in rows {
            match (self, row) {
                (_, None | Some(Prediction::None)) => builder.push_null(),
                (_, Some(Prediction::Number(value))) => builder.push(&Value::Float(*value)),
                (Self::Label(labels, _), Some(Prediction::Label(label))) => {
                    match labels.get(*label) {
                        Some(value) => builder.push(value),
                        None => builder.push_null(),
                    }
                }
                (_, Some(other)) => builder.push(&Value::Text(json(other, postprocess).into())),
            }
        }
        Ok(builder.finish())
    }
}

fn value(label: &Scalar) -> Value<'static> {
    match label {
        Scalar::Bool(value) => Value::Bool(*value),
        Scalar::Int(value) => Value::Int(*value),
        Scalar::Float(value) => Value::Float(*value),
        Scalar::Text(text) => Value::Text(Cow::Owned(text.clone())),
    }
}

/// A prediction as JSON, as the server writes it.
fn json(prediction: &Prediction, postprocess: &Postprocess) -> String {
    let mut json = Vec::new();
    postprocess.write_prediction(prediction, &mut json);
    String::from_utf8(json).unwrap_or_default()
}

/// A prediction of several values, for lists.
fn nested<'a>(prediction: &'a Prediction, postprocess: &'a Postprocess) -> Option<Nested<'a>> {
    let float = |value: f64| if value.is_finite() { Value::Float(value) } else { Value::Missing };
    match prediction {
        Prediction::Numbers(values) => {
            Some((vec![values.len()], Box::new(values.iter().map(move |value| float(*value)))))
        }
        Prediction::Labels(labels) => {
            let text = |label: &usize| {
                let label = postprocess.labels().get(*label);
                label.map_or(Value::Missing, |label| Value::Text(label_text(label).into()))
            };
            Some((vec![labels.len()], Box::new(labels.iter().map(text))))
        }
        Prediction::Tensors(tensors) => {
            let [tensor] = &**tensors else { return None };
            let value = move |element: Element<'a>| match element {
                Element::Float(value) => float(value),
                Element::Int(value) => i64::try_from(value).map_or(Value::Missing, Value::Int),
                Element::Bool(value) => Value::Bool(value),
                Element::Text(text) => Value::Text(Cow::Borrowed(text)),
            };
            Some((tensor.shape().to_vec(), Box::new(tensor.elements().map(value))))
        }
        Prediction::None | Prediction::Number(_) | Prediction::Label(_) => None,
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
        model: &Arc<Model>,
        prefix: &str,
        skip: bool,
    ) -> Result<Self, TableError> {
        // What is copied is not among what is read.
        let copied = table.copied.clone().filter(|_| format == Format::Parquet);
        let (kept, names): (Vec<usize>, Vec<String>) = match &copied {
            Some(copied) => {
                (Vec::new(), copied.fields().iter().map(|field| field.name().clone()).collect())
            }
            None => {
                let kept = keep.of(&table.columns, &table.name)?;
                let names = kept.iter().map(|column| table.columns[*column].clone()).collect();
                (kept, names)
            }
        };
        let n_labels = model.postprocess().n_probabilities();
        let labels = model.postprocess().labels().iter().take(n_labels);
        let mut added = vec![format!("{prefix}prediction")];
        added.extend(labels.map(|label| format!("{prefix}probability_{}", label_text(label))));
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
        // In columns of Arrow a tensor stays text: a 64-bit integer of it may have no sign.
        let is_text = matches!(format, Format::Csv | Format::Ndjson);
        let kind = |name: &String| {
            let field = &schema.fields()[schema.index_of(name)?];
            Some(if is_text { field.cell() } else { field.kind() })
        };
        let kinds: Vec<Option<Kind>> = names.iter().map(kind).collect();
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
            column: Column::new(model),
            n_labels,
            top_k: match model.postprocess().kind() {
                OutputKind::Probabilities { top_k, .. } => *top_k,
                _ => None,
            },
            model: Arc::clone(model),
            version: model.artifact().manifest().version.to_string(),
            kept,
            names,
            kinds,
            added,
            json_keys,
            skip,
            schema: None,
            copied,
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
        for (at, name) in self.names.iter().enumerate().take(self.kept.len()) {
            fields.push(match &table.schema {
                Some(schema) => Arc::clone(&schema.fields()[self.kept[at]]),
                None => {
                    Arc::new(ArrowField::new(name, Builder::new(self.kinds[at]).data_type(), true))
                }
            });
        }
        for (at, name) in self.added.iter().enumerate() {
            let data_type = if at == 0 {
                self.column.data_type()
            } else if at <= self.n_labels {
                DataType::Float64
            } else {
                DataType::Utf8
            };
            fields.push(Arc::new(ArrowField::new(name, data_type, at <= self.n_labels)));
        }
        Arc::new(ArrowSchema::new(fields))
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
                match (&predicted.predictions.rows[at], &self.column) {
                    (Prediction::Number(value), _) => number(*value, &mut out),
                    (Prediction::Label(label), Column::Label(labels, _)) => {
                        let text = labels.get(*label).map(Value::to_text);
                        self.dialect.write(&text.unwrap_or_default(), &mut out);
                    }
                    (other, _) => {
                        self.dialect.write(&json(other, self.model.postprocess()), &mut out);
                    }
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

    /// A probability, where there is one: not of a label that is none of the most probable, where only those are given.
    fn probability(&self, predicted: &Predicted, at: usize, label: usize) -> Option<f64> {
        let all = &predicted.predictions.probabilities;
        let row = all.get(at * self.n_labels..(at + 1) * self.n_labels)?;
        let value = *row.get(label)?;
        if let Some(k) = self.top_k {
            // Of equal ones the first label comes first.
            let before = row.iter().enumerate().filter(|(other, other_value)| {
                **other_value > value || (*other < label && other_value.total_cmp(&value).is_eq())
            });
            if before.count() >= k {
                return None;
            }
        }
        Some(value).filter(|_| row.iter().all(|value| value.is_finite()))
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
                    } else if let Ok(Cells(cells)) = serde_json::from_str(line) {
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
                Some(prediction) => {
                    self.model.postprocess().write_prediction(prediction, &mut out);
                }
                None => out.extend_from_slice(b"null"),
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
        let cells = serde_json::from_str(line).map(|Cells(cells)| cells);
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
        let predictions =
            written.iter().map(|(_, at)| at.map(|at| &predicted.predictions.rows[at]));
        let prediction = self.column.array(predictions, self.model.postprocess());
        columns.push(prediction.map_err(|error| broken(rows, &error))?);
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
    Copying(Box<Copying<Output>>),
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
                let mut properties = WriterProperties::builder()
                    .set_compression(Compression::SNAPPY)
                    .set_max_row_group_row_count(Some(ROW_GROUP));
                // Nearly all of them are different numbers.
                for name in &encoder.added[..=encoder.n_labels] {
                    let path = ColumnPath::new(vec![name.clone()]);
                    properties = properties.set_column_dictionary_enabled(path, false);
                }
                if let Some(copied) = &encoder.copied {
                    // The columns that are copied have no index of pages, so none has.
                    let properties = properties
                        .set_statistics_enabled(EnabledStatistics::Chunk)
                        .set_offset_index_disabled(true)
                        .build();
                    let fields = schema.fields();
                    let copying = Copying::start(output, Arc::clone(copied), fields, properties);
                    return Ok(Self(Target::Copying(Box::new(copying.map_err(of_parquet)?))));
                }
                let properties = properties.build();
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
            (Target::Copying(copying), Piece::Batch(batch)) => {
                copying.write(batch).map_err(of_parquet)
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
            Target::Parquet(_) | Target::Copying(_) | Target::File(_) => Ok(()),
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
            Target::Copying(copying) => copying.finish().map_err(of_parquet)?.flush(),
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
