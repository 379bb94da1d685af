//! Columns that go from one Parquet file into another as they are, without being read.
//!
//! What is kept of a row is the same in the output: its column chunks are copied, group of rows by group of rows, and only the columns that are
//! added are encoded. That costs a hundredth of decoding and encoding them.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::{FieldRef, Schema as ArrowSchema};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata};
use parquet::column::writer::ColumnCloseResult;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use super::{Keep, TableError};

/// Some columns of a Parquet file, to be copied.
#[derive(Debug)]
pub(super) struct Copied {
    /// A handle of its own: the place where it is read moves.
    file: File,
    metadata: Arc<ParquetMetaData>,
    /// The columns as the file counts them; one of structures or lists has several chunks in each group of rows.
    roots: Vec<usize>,
    fields: Vec<FieldRef>,
}

impl Copied {
    /// `None` where the file is such that its columns must be read.
    ///
    /// # Errors
    /// A column to keep is not there.
    pub(super) fn new(
        path: &Path,
        keep: &Keep,
        file: &ParquetRecordBatchReaderBuilder<File>,
        name: &str,
    ) -> Result<Option<Self>, TableError> {
        let fields = file.schema().fields();
        let n_roots = file.parquet_schema().root_schema().get_fields().len();
        let chunks = file.metadata().row_groups().iter().flat_map(|group| group.columns());
        if fields.len() != n_roots || !chunks.into_iter().all(can_be_copied) {
            return Ok(None);
        }
        let names: Vec<String> = fields.iter().map(|field| field.name().clone()).collect();
        let roots = keep.of(&names, name)?;
        let Ok(handle) = File::open(path) else { return Ok(None) };
        Ok(Some(Self {
            file: handle,
            metadata: Arc::clone(file.metadata()),
            fields: roots.iter().map(|root| Arc::clone(&fields[*root])).collect(),
            roots,
        }))
    }

    pub(super) fn fields(&self) -> &[FieldRef] {
        &self.fields
    }

    fn n_groups(&self) -> usize {
        self.metadata.num_row_groups()
    }

    fn n_rows(&self, group: usize) -> usize {
        usize::try_from(self.metadata.row_group(group).num_rows()).unwrap_or_default()
    }

    /// The chunks of a group of rows, in the order of the output.
    fn chunks(&self, group: usize) -> impl Iterator<Item = &ColumnChunkMetaData> {
        let schema = self.metadata.file_metadata().schema_descr();
        let columns = self.metadata.row_group(group).columns();
        self.roots.iter().flat_map(move |root| {
            let is_of_root = move |leaf: &usize| schema.get_column_root_idx(*leaf) == *root;
            (0..columns.len()).filter(is_of_root).map(|leaf| &columns[leaf])
        })
    }
}

/// Whether a chunk says where it is, as not all old writers did.
fn can_be_copied(chunk: &ColumnChunkMetaData) -> bool {
    const MAGIC: i64 = 4;
    let data = chunk.data_page_offset();
    chunk.file_path().is_none()
        && chunk.compressed_size() >= 0
        && data >= MAGIC
        && chunk.dictionary_page_offset().is_none_or(|place| (MAGIC..data).contains(&place))
}

/// Writes a Parquet file of copied columns and added ones.
pub(super) struct Copying<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    copied: Arc<Copied>,
    columns: ArrowRowGroupWriterFactory,
    added: Vec<FieldRef>,
    /// The group of rows that is being written, and the added columns of it so far.
    group: usize,
    n_rows: usize,
    encoded: Vec<ArrowColumnWriter>,
}

impl<W: Write + Send> Copying<W> {
    pub(super) fn start(
        output: W,
        copied: Arc<Copied>,
        added: &[FieldRef],
        mut properties: WriterProperties,
    ) -> Result<Self, ParquetError> {
        let source = copied.metadata.file_metadata().schema_descr().root_schema();
        let new = ArrowSchemaConverter::new().convert(&ArrowSchema::new(added.to_vec()))?;
        let types = copied.roots.iter().map(|root| Arc::clone(&source.get_fields()[*root]));
        let types = types.chain(new.root_schema().get_fields().iter().cloned()).collect();
        let root = Type::group_type_builder(source.name()).with_fields(types).build()?;
        let fields: Vec<FieldRef> = copied.fields.iter().chain(added).cloned().collect();
        let schema = Arc::new(ArrowSchema::new(fields));
        add_encoded_arrow_schema_to_metadata(&schema, &mut properties);
        let writer = SerializedFileWriter::new(output, Arc::new(root), Arc::new(properties))?;
        let columns = ArrowRowGroupWriterFactory::new(&writer, schema);
        let added = added.to_vec();
        let mut this =
            Self { writer, copied, columns, added, group: 0, n_rows: 0, encoded: Vec::new() };
        this.begin_group()?;
        Ok(this)
    }

    /// Goes on to the next group that has rows.
    fn begin_group(&mut self) -> Result<(), ParquetError> {
        while self.group < self.copied.n_groups() && self.copied.n_rows(self.group) == 0 {
            self.group += 1;
        }
        self.n_rows = 0;
        let mut columns = self.columns.create_column_writers(self.group)?;
        // The added ones are the last; each is one chunk, as lists are.
        self.encoded = columns.split_off(columns.len().saturating_sub(self.added.len()));
        Ok(())
    }

    /// Writes the added columns of the next rows.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ParquetError> {
        let mut rest = batch.clone();
        while rest.num_rows() > 0 {
            if self.group >= self.copied.n_groups() {
                return Err(changed());
            }
            let n_left = self.copied.n_rows(self.group) - self.n_rows;
            let n = n_left.min(rest.num_rows());
            let part = rest.slice(0, n);
            rest = rest.slice(n, rest.num_rows() - n);
            let columns = self.added.iter().zip(part.columns());
            for ((field, array), writer) in columns.zip(&mut self.encoded) {
                for leaf in compute_leaves(field, array)? {
                    writer.write(&leaf)?;
                }
            }
            self.n_rows += n;
            if n == n_left {
                self.end_group()?;
            }
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for chunk in self.copied.chunks(self.group) {
            let chunk = ColumnCloseResult {
                bytes_written: u64::try_from(chunk.compressed_size()).unwrap_or_default(),
                rows_written: self.n_rows as u64,
                metadata: chunk.clone(),
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            };
            group.append_column(&self.copied.file, chunk)?;
        }
        for column in self.encoded.drain(..) {
            column.close()?.append_to_row_group(&mut group)?;
        }
        group.close()?;
        self.group += 1;
        self.begin_group()
    }

    pub(super) fn finish(self) -> Result<W, ParquetError> {
        if self.group < self.copied.n_groups() {
            return Err(changed());
        }
        self.writer.into_inner()
    }
}

fn changed() -> ParquetError {
    ParquetError::General("the rows that were read are not those that its index names".to_owned())
}
