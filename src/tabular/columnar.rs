//! Parquet and Arrow IPC: record batches in, typed cells out of them, and values into arrays.

use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::builder::{
    BooleanBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowDictionaryKeyType, Date32Type, Date64Type, Float16Type, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, ListArray, RecordBatch};
use arrow_buffer::OffsetBuffer;
use arrow_schema::{
    ArrowError, DataType, Field as ArrowField, Fields, Schema as ArrowSchema, SchemaRef, TimeUnit,
};
use base64::Engine as _;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder,
};

use super::copied::Copied;
use super::csv::Dialect;
use super::rows::{Block, Body, Shared};
use super::source::{Options, Table};
use super::{Format, Keep, TableError, Value};
use crate::schema::{Filler, Kind, datetime};

/// Opens a Parquet file. `counter` grows with the rows that are read, as if they were of one size.
pub(super) fn open_parquet(
    file: File,
    path: &Path,
    name: &str,
    options: &Options,
    counter: &Arc<AtomicU64>,
) -> Result<Table, TableError> {
    let n_bytes = file.metadata().map_or(0, |file| file.len());
    let wrong = |error: &dyn std::fmt::Display| {
        TableError::of(name, format!("cannot be read as Parquet: {error}"))
    };
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default())
        .map_err(|error| wrong(&error))?;
    let mut builder = file
        .try_clone()
        .map(|file| ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone()))
        .map_err(|error| wrong(&error))?;
    let n_rows = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0).max(1);
    let copied = match &options.copied {
        Some(keep) => Copied::new(path, keep, &builder, name)?.map(Arc::new),
        None => None,
    };
    // What is copied is not read, so what is read is not in the output: its type there does not matter.
    if copied.is_some()
        && let Some(coded) = with_dictionaries(&metadata)
    {
        builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, coded);
    }
    let mut unread = Vec::new();
    let wanted = match (&options.copied, &copied) {
        // It cannot be copied, so it must be read.
        (Some(Keep::All), None) => None,
        (Some(Keep::These(names)), None) => {
            options.columns.as_ref().map(|columns| [columns.as_slice(), names].concat())
        }
        _ => options.columns.clone(),
    };
    if let Some(wanted) = &wanted {
        let root = builder.parquet_schema().root_schema().get_fields();
        let indices: Vec<usize> = (0..root.len())
            .filter(|at| wanted.iter().any(|wanted| wanted == root[*at].name()))
            .collect();
        unread = (0..root.len())
            .filter(|at| !indices.contains(at))
            .map(|at| (at + 1, root[at].name().to_owned()))
            .collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), indices);
        builder = builder.with_projection(mask);
    }
    let reader =
        builder.with_batch_size(options.block_rows).build().map_err(|error| wrong(&error))?;
    let schema = arrow_array::RecordBatchReader::schema(&reader);
    let counter = Arc::clone(counter);
    let mut n_read = 0;
    let mut counted = 0;
    let batches = reader.inspect(move |batch| {
        n_read += batch.as_ref().map_or(0, |batch| batch.num_rows() as u64);
        let bytes = u64::try_from(u128::from(n_read) * u128::from(n_bytes) / u128::from(n_rows));
        let bytes = bytes.unwrap_or(counted);
        counter.fetch_add(bytes - counted, Ordering::Relaxed);
        counted = bytes;
    });
    let shared = shared(name, Format::Parquet, schema);
    Ok(table(Shared { unread, copied, ..shared }, options.block_rows, Box::new(batches)))
}

/// The same columns, but the strings that the file has dictionaries of are read as numbers of their entries. `None` where there are none.
fn with_dictionaries(file: &ArrowReaderMetadata) -> Option<ArrowReaderMetadata> {
    let groups = file.metadata().row_groups();
    let schema = file.metadata().file_metadata().schema_descr();
    let has_dictionary = |root: usize| {
        let leaf = (0..schema.num_columns()).find(|leaf| schema.get_column_root_idx(*leaf) == root);
        leaf.is_some_and(|leaf| {
            groups.iter().all(|group| group.column(leaf).dictionary_page_offset().is_some())
        })
    };
    let fields = file.schema().fields().iter().enumerate().map(|(root, field)| {
        if !matches!(field.data_type(), DataType::Utf8 | DataType::LargeUtf8)
            || !has_dictionary(root)
        {
            return Arc::clone(field);
        }
        let coded = DataType::Dictionary(DataType::Int32.into(), field.data_type().clone().into());
        Arc::new(field.as_ref().clone().with_data_type(coded))
    });
    let fields: Fields = fields.collect();
    if fields == *file.schema().fields() {
        return None;
    }
    let coded = ArrowSchema::new_with_metadata(fields, file.schema().metadata().clone());
    let options = ArrowReaderOptions::default().with_schema(Arc::new(coded));
    ArrowReaderMetadata::try_new(Arc::clone(file.metadata()), options).ok()
}

/// Opens an Arrow stream, or a file: its beginning is a stream.
pub(super) fn open_ipc(mut stream: Box<dyn Read + Send>, name: &str) -> Result<Table, TableError> {
    const MAGIC: &[u8] = b"ARROW1";
    let wrong = |error: &dyn std::fmt::Display| {
        TableError::of(name, format!("cannot be read as Arrow IPC: {error}"))
    };
    let mut start = Vec::new();
    stream.by_ref().take(8).read_to_end(&mut start).map_err(|error| wrong(&error))?;
    if start.starts_with(MAGIC) {
        // A file: the magic, zeros up to some boundary, then a stream, then an index that is not needed here.
        start.clear();
        while start.iter().all(|byte| *byte == 0) {
            start.clear();
            let n =
                stream.by_ref().take(4).read_to_end(&mut start).map_err(|error| wrong(&error))?;
            if n == 0 {
                break;
            }
        }
    }
    let stream = BufReader::with_capacity(1 << 18, std::io::Cursor::new(start).chain(stream));
    let reader =
        arrow_ipc::reader::StreamReader::try_new(stream, None).map_err(|error| wrong(&error))?;
    let schema = reader.schema();
    Ok(table(shared(name, Format::Arrow, schema), 1 << 13, Box::new(reader)))
}

fn shared(name: &str, format: Format, schema: SchemaRef) -> Shared {
    Shared {
        name: name.to_owned(),
        columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
        unread: Vec::new(),
        format,
        dialect: Dialect::default(),
        schema: Some(schema),
        copied: None,
    }
}

fn table(
    shared: Shared,
    block_rows: usize,
    mut batches: Box<dyn Iterator<Item = Result<RecordBatch, ArrowError>> + Send>,
) -> Table {
    let shared = Arc::new(shared);
    let of_blocks = Arc::clone(&shared);
    // What is left of a batch that is larger than a block.
    let mut rest: Option<RecordBatch> = None;
    let mut row = 1;
    let blocks = std::iter::from_fn(move || {
        let batch = match rest.take() {
            Some(batch) => batch,
            None => match batches.next()? {
                Ok(batch) => batch,
                Err(error) => {
                    let problem = format!("is broken: {error}");
                    return Some(Err(TableError::of(&of_blocks.name, problem)));
                }
            },
        };
        let n_rows = batch.num_rows();
        let batch = if n_rows > block_rows {
            rest = Some(batch.slice(block_rows, n_rows - block_rows));
            batch.slice(0, block_rows)
        } else {
            batch
        };
        let first = row;
        row += batch.num_rows() as u64;
        Some(Ok(Block { shared: Arc::clone(&of_blocks), body: Body::Batch { batch, row: first } }))
    });
    Table { shared, blocks: Box::new(blocks) }
}

/// Fills a field from an array.
pub(super) fn fill(filler: &mut Filler<'_>, field: usize, key: &str, array: &ArrayRef) {
    macro_rules! ints {
        ($t:ty) => {
            filler.ints(
                field,
                key,
                array.as_primitive::<$t>().iter().map(|cell| cell.map(i64::from)),
            )
        };
    }
    macro_rules! instants {
        ($t:ty, $scale:expr) => {
            filler.instants(
                field,
                key,
                array
                    .as_primitive::<$t>()
                    .iter()
                    .map(|cell| cell.map(|cell| $scale(i64::from(cell)))),
            )
        };
    }
    match array.data_type() {
        DataType::Int8 => ints!(Int8Type),
        DataType::Int16 => ints!(Int16Type),
        DataType::Int32 => ints!(Int32Type),
        DataType::Int64 => ints!(Int64Type),
        DataType::UInt8 => ints!(UInt8Type),
        DataType::UInt16 => ints!(UInt16Type),
        DataType::UInt32 => ints!(UInt32Type),
        DataType::Float16 => {
            let cells = array.as_primitive::<Float16Type>().iter();
            filler.floats(field, key, cells.map(|cell| cell.map(f64::from)));
        }
        DataType::Float32 => {
            let cells = array.as_primitive::<Float32Type>().iter();
            filler.floats(field, key, cells.map(|cell| cell.map(f64::from)));
        }
        DataType::Float64 => filler.floats(field, key, array.as_primitive::<Float64Type>().iter()),
        DataType::Boolean => filler.bools(field, key, array.as_boolean().iter()),
        DataType::Utf8 => filler.strings(field, key, array.as_string::<i32>().iter()),
        DataType::LargeUtf8 => filler.strings(field, key, array.as_string::<i64>().iter()),
        DataType::Utf8View => filler.strings(field, key, array.as_string_view().iter()),
        DataType::Date32 => instants!(Date32Type, |days: i64| days.saturating_mul(datetime::DAY)),
        DataType::Date64 => instants!(Date64Type, |ms: i64| ms.saturating_mul(1000)),
        DataType::Timestamp(unit, _) => match unit {
            TimeUnit::Second => {
                instants!(TimestampSecondType, |s: i64| s.saturating_mul(datetime::SECOND));
            }
            TimeUnit::Millisecond => {
                instants!(TimestampMillisecondType, |ms: i64| ms.saturating_mul(1000));
            }
            TimeUnit::Microsecond => instants!(TimestampMicrosecondType, |us: i64| us),
            TimeUnit::Nanosecond => {
                instants!(TimestampNanosecondType, |ns: i64| ns.div_euclid(1000));
            }
        },
        DataType::Dictionary(_, values) if is_text(values) => {
            let dictionary = array.as_any_dictionary();
            let entries: Vec<Option<Cow<'_, str>>> =
                (0..dictionary.values().len()).map(|at| text(dictionary.values(), at)).collect();
            // With no entries there are no keys.
            let keys = if entries.is_empty() { Vec::new() } else { dictionary.normalized_keys() };
            let rows = 0..array.len();
            let keys = rows.map(|row| keys.get(row).filter(|_| array.is_valid(row)).copied());
            filler.coded(field, key, &entries, keys);
        }
        DataType::UInt64 | DataType::Decimal128(_, _) | DataType::Decimal256(_, _) => {
            let values: Vec<Option<String>> =
                (0..array.len()).map(|row| text_of(array, row)).collect();
            filler.texts(field, key, values.iter().map(Option::as_deref));
        }
        DataType::Null => filler.strings(field, key, (0..array.len()).map(|_| None)),
        other => {
            let found = format!("a value of the type {other}");
            filler.unfit(field, key, &found, (0..array.len()).map(|row| array.is_null(row)));
        }
    }
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// A string of an array of strings.
fn text(array: &ArrayRef, at: usize) -> Option<Cow<'_, str>> {
    match value(array, at) {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

fn text_of(array: &ArrayRef, row: usize) -> Option<String> {
    match value(array, row) {
        Value::Missing => None,
        value => Some(value.to_text()),
    }
}

/// A cell of an array.
pub(super) fn value(array: &dyn Array, row: usize) -> Value<'_> {
    if array.is_null(row) {
        return Value::Missing;
    }
    macro_rules! int {
        ($t:ty) => {
            Value::Int(i64::from(array.as_primitive::<$t>().value(row)))
        };
    }
    macro_rules! items {
        ($list:expr) => {{
            let mut out = vec![b'['];
            let list = $list;
            for at in 0..list.len() {
                if at > 0 {
                    out.push(b',');
                }
                value(list.as_ref(), at).write_json(&mut out);
            }
            out.push(b']');
            Value::Json(Cow::Owned(String::from_utf8(out).unwrap_or_default()))
        }};
    }
    match array.data_type() {
        DataType::Int8 => int!(Int8Type),
        DataType::Int16 => int!(Int16Type),
        DataType::Int32 => int!(Int32Type),
        DataType::Int64 => int!(Int64Type),
        DataType::UInt8 => int!(UInt8Type),
        DataType::UInt16 => int!(UInt16Type),
        DataType::UInt32 => int!(UInt32Type),
        DataType::UInt64 => Value::Unsigned(array.as_primitive::<UInt64Type>().value(row)),
        DataType::Float16 => {
            Value::Float(f64::from(array.as_primitive::<Float16Type>().value(row)))
        }
        DataType::Float32 => {
            Value::Float(f64::from(array.as_primitive::<Float32Type>().value(row)))
        }
        DataType::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Boolean => Value::Bool(array.as_boolean().value(row)),
        DataType::Utf8 => Value::Text(Cow::Borrowed(array.as_string::<i32>().value(row))),
        DataType::LargeUtf8 => Value::Text(Cow::Borrowed(array.as_string::<i64>().value(row))),
        DataType::Utf8View => Value::Text(Cow::Borrowed(array.as_string_view().value(row))),
        DataType::Binary => base64(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => base64(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => base64(array.as_binary_view().value(row)),
        DataType::Date32 => {
            let days = i64::from(array.as_primitive::<Date32Type>().value(row));
            Value::Instant(days.saturating_mul(datetime::DAY))
        }
        DataType::Date64 => {
            Value::Instant(array.as_primitive::<Date64Type>().value(row).saturating_mul(1000))
        }
        DataType::Timestamp(unit, _) => Value::Instant(match unit {
            TimeUnit::Second => {
                let seconds = array.as_primitive::<TimestampSecondType>().value(row);
                seconds.saturating_mul(datetime::SECOND)
            }
            TimeUnit::Millisecond => {
                array.as_primitive::<TimestampMillisecondType>().value(row).saturating_mul(1000)
            }
            TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
            TimeUnit::Nanosecond => {
                array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1000)
            }
        }),
        DataType::Decimal128(_, _) => {
            let text =
                array.as_primitive::<arrow_array::types::Decimal128Type>().value_as_string(row);
            Value::Json(Cow::Owned(text))
        }
        DataType::Decimal256(_, _) => {
            let text =
                array.as_primitive::<arrow_array::types::Decimal256Type>().value_as_string(row);
            Value::Json(Cow::Owned(text))
        }
        DataType::List(_) => items!(array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => items!(array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(_, _) => items!(array.as_fixed_size_list().value(row)),
        DataType::Dictionary(keys, _) => match keys.as_ref() {
            DataType::Int8 => entry::<Int8Type>(array, row),
            DataType::Int16 => entry::<Int16Type>(array, row),
            DataType::Int32 => entry::<Int32Type>(array, row),
            DataType::Int64 => entry::<Int64Type>(array, row),
            DataType::UInt8 => entry::<UInt8Type>(array, row),
            DataType::UInt16 => entry::<UInt16Type>(array, row),
            DataType::UInt32 => entry::<UInt32Type>(array, row),
            _ => entry::<UInt64Type>(array, row),
        },
        _ => Value::Missing,
    }
}

fn entry<K: ArrowDictionaryKeyType>(array: &dyn Array, row: usize) -> Value<'_> {
    let dictionary = array.as_dictionary::<K>();
    match dictionary.key(row) {
        Some(key) => value(dictionary.values().as_ref(), key),
        None => Value::Missing,
    }
}

fn base64(bytes: &[u8]) -> Value<'_> {
    Value::Text(Cow::Owned(base64::engine::general_purpose::STANDARD.encode(bytes)))
}

/// An array that is being filled with values; one that does not fit its type is null.
pub(super) enum Builder {
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Instant(TimestampMicrosecondBuilder),
    Text(StringBuilder),
}

impl Builder {
    /// For the values of a field of this kind; of text for what is no field, or more than a value.
    pub(super) fn new(kind: Option<Kind>) -> Self {
        match kind {
            Some(Kind::Int) => Self::Int(Int64Builder::new()),
            Some(Kind::Float) => Self::Float(Float64Builder::new()),
            Some(Kind::Bool) => Self::Bool(BooleanBuilder::new()),
            Some(Kind::Datetime) => Self::Instant(TimestampMicrosecondBuilder::new()),
            _ => Self::Text(StringBuilder::new()),
        }
    }

    pub(super) fn data_type(&self) -> DataType {
        match self {
            Self::Int(_) => DataType::Int64,
            Self::Float(_) => DataType::Float64,
            Self::Bool(_) => DataType::Boolean,
            Self::Instant(_) => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Text(_) => DataType::Utf8,
        }
    }

    pub(super) fn push(&mut self, value: &Value<'_>) {
        if *value == Value::Missing {
            return self.push_null();
        }
        match self {
            Self::Int(builder) => builder.append_option(match value {
                Value::Int(value) => Some(*value),
                value => crate::schema::integer_of_text(&value.to_text()),
            }),
            Self::Float(builder) => builder.append_option(match value {
                Value::Float(value) => Some(*value),
                value => value.to_text().trim().parse().ok(),
            }),
            Self::Bool(builder) => builder.append_option(match value {
                Value::Bool(value) => Some(*value),
                _ => None,
            }),
            Self::Instant(builder) => builder.append_option(match value {
                Value::Instant(value) => Some(*value),
                value => datetime::parse(value.to_text().trim()),
            }),
            Self::Text(builder) => match value {
                Value::Text(text) => builder.append_value(text),
                value => builder.append_value(value.to_text()),
            },
        }
    }

    pub(super) fn push_null(&mut self) {
        match self {
            Self::Int(builder) => builder.append_null(),
            Self::Float(builder) => builder.append_null(),
            Self::Bool(builder) => builder.append_null(),
            Self::Instant(builder) => builder.append_null(),
            Self::Text(builder) => builder.append_null(),
        }
    }

    pub(super) fn finish(self) -> ArrayRef {
        match self {
            Self::Int(mut builder) => Arc::new(builder.finish()),
            Self::Float(mut builder) => Arc::new(builder.finish()),
            Self::Bool(mut builder) => Arc::new(builder.finish()),
            Self::Instant(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
        }
    }
}

/// The values of a row in nested lists: their shape, and one after the other.
pub(super) type Nested<'a> = (Vec<usize>, Box<dyn Iterator<Item = Value<'a>> + 'a>);

/// The type of lists that are nested `depth` deep.
pub(super) fn list_type(depth: usize, items: &Builder) -> DataType {
    (0..depth).fold(items.data_type(), |inner, _| {
        DataType::List(Arc::new(ArrowField::new_list_field(inner, true)))
    })
}

/// An array of lists that are nested `depth` deep; a row that is `None`, or of another depth, is null.
pub(super) fn lists<'a>(
    depth: usize,
    mut items: Builder,
    rows: impl Iterator<Item = Option<Nested<'a>>>,
) -> Result<ArrayRef, ArrowError> {
    // The lengths of the lists of each level, the outermost first.
    let mut lengths: Vec<Vec<usize>> = vec![Vec::new(); depth];
    let mut valid = Vec::new();
    for row in rows {
        match row.filter(|(shape, _)| shape.len() == depth) {
            Some((shape, values)) => {
                let mut n_lists = 1;
                for (lengths, length) in lengths.iter_mut().zip(&shape) {
                    lengths.extend(std::iter::repeat_n(*length, n_lists));
                    n_lists *= length;
                }
                values.for_each(|value| items.push(&value));
                valid.push(true);
            }
            None => {
                match lengths.first_mut() {
                    Some(lengths) => lengths.push(0),
                    None => items.push_null(),
                }
                valid.push(false);
            }
        }
    }
    let mut array = items.finish();
    for (level, lengths) in lengths.into_iter().enumerate().rev() {
        let field = Arc::new(ArrowField::new_list_field(array.data_type().clone(), true));
        let nulls = (level == 0 && valid.contains(&false)).then(|| valid.clone().into());
        let offsets = OffsetBuffer::from_lengths(lengths);
        array = Arc::new(ListArray::try_new(field, offsets, array, nulls)?);
    }
    Ok(array)
}
