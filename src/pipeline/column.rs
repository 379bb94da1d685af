//! Columns inside a run, and the slots they live in.

use std::sync::Arc;

use bytes::Bytes;

use super::Slot;
use crate::schema::{self, IntColumn, TensorColumn, TensorType, TextColumn};

/// A value out of a finite set: what a lookup gives.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Key {
    Int(i64),
    Float(f64),
    Text(String),
}

/// The type of a slot, known at load.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Dtype {
    /// float64, missing = NaN.
    Float,
    /// int64 with a mask.
    Int,
    /// Any string, with missing.
    Text,
    /// int64 microseconds since 1970 on the clock of the column, with a mask.
    Datetime,
    /// One of these values, with missing.
    Category(Arc<[Key]>),
    /// Tensors of this type, none of them missing.
    Tensor(TensorType),
    /// The files of pictures, none of them missing.
    Image,
}

impl Dtype {
    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Float | Self::Int)
    }
}

/// The code of a missing category.
pub(super) const MISSING_CODE: u32 = u32::MAX;

/// A column that a step has written.
#[derive(Debug)]
pub(super) enum Column {
    Float(Vec<f64>),
    Int(IntColumn),
    Text(TextColumn),
    /// Indices into the values of [`Dtype::Category`], or [`MISSING_CODE`].
    Category(Vec<u32>),
    /// Many columns at once, few of whose values are not 0. Read through [`Slots::sparse`].
    Sparse(SparseBlock),
    Tensor(TensorColumn),
}

/// The rows of many float64 columns, each as the values that are not 0, in the order of their columns.
#[derive(Debug, Default)]
pub(super) struct SparseBlock {
    /// Where each row ends in `indices` and `values`.
    ends: Vec<usize>,
    indices: Vec<u32>,
    values: Vec<f64>,
}

impl SparseBlock {
    fn clear(&mut self) {
        self.ends.clear();
        self.indices.clear();
        self.values.clear();
    }

    /// Where the next row starts; [`Self::add`] and [`Self::end_row`] write it.
    pub(super) fn begin_row(&self) -> usize {
        self.indices.len()
    }

    /// Adds to the value of a column that is not below those written since `start`.
    pub(super) fn add(&mut self, index: u32, value: f64, start: usize) {
        match (self.indices[start..].last(), self.values.last_mut()) {
            (Some(last), Some(sum)) if *last == index => *sum += value,
            _ => {
                self.indices.push(index);
                self.values.push(value);
            }
        }
    }

    /// The row that is being written.
    pub(super) fn row_mut(&mut self, start: usize) -> (&[u32], &mut [f64]) {
        (&self.indices[start..], &mut self.values[start..])
    }

    /// Leaves of the row that begins at `start` the columns that `keep` gives a number, under that number, which must ascend as well.
    pub(super) fn retain_row(&mut self, start: usize, mut keep: impl FnMut(u32) -> Option<u32>) {
        let mut end = start;
        for at in start..self.indices.len() {
            if let Some(index) = keep(self.indices[at]) {
                self.indices[end] = index;
                self.values[end] = self.values[at];
                end += 1;
            }
        }
        self.indices.truncate(end);
        self.values.truncate(end);
    }

    pub(super) fn end_row(&mut self) {
        self.ends.push(self.indices.len());
    }

    /// The columns and values of a row.
    pub(super) fn row(&self, row: usize) -> (&[u32], &[f64]) {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        let end = self.ends[row];
        (&self.indices[start..end], &self.values[start..end])
    }
}

impl Default for Column {
    fn default() -> Self {
        Self::Float(Vec::new())
    }
}

/// A column to be read, of the frame or of a step.
#[derive(Debug, Clone, Copy)]
pub(super) enum View<'a> {
    Float(&'a [f64]),
    Int(&'a IntColumn),
    Text(&'a TextColumn),
    Category(&'a [u32]),
    Tensor(&'a TensorColumn),
    Image(&'a [Bytes]),
}

impl<'a> From<&'a Column> for View<'a> {
    fn from(column: &'a Column) -> Self {
        match column {
            Column::Float(values) => View::Float(values),
            Column::Int(column) => View::Int(column),
            Column::Text(column) => View::Text(column),
            Column::Category(codes) => View::Category(codes),
            // Steps that read single columns of a block have them taken out first.
            Column::Sparse(_) => View::Float(&[]),
            Column::Tensor(column) => View::Tensor(column),
        }
    }
}

impl<'a> From<&'a schema::Column> for View<'a> {
    fn from(column: &'a schema::Column) -> Self {
        match column {
            schema::Column::Float(values) => View::Float(values),
            schema::Column::Int(column) => View::Int(column),
            schema::Column::Text(column) => View::Text(column),
            schema::Column::Tensor(column) => View::Tensor(column),
            schema::Column::Image(files) => View::Image(files),
        }
    }
}

/// int64 to float64, to nearest, as NumPy's `astype` does.
#[expect(
    clippy::cast_precision_loss,
    reason = "the pipeline computes in float64; this is where integers become floats"
)]
pub(super) fn to_f64(value: i64) -> f64 {
    value as f64
}

impl View<'_> {
    /// Writes `f` of each value to `output`.
    pub(super) fn map_numbers(self, output: &mut Vec<f64>, f: impl Fn(f64) -> f64) {
        output.clear();
        match self {
            Self::Float(values) => output.extend(values.iter().map(|x| f(*x))),
            Self::Int(column) if !column.has_missing() => {
                output.extend(column.values().iter().map(|x| f(to_f64(*x))));
            }
            Self::Int(column) => {
                output.extend(
                    (0..column.len()).map(|row| f(column.get(row).map_or(f64::NAN, to_f64))),
                );
            }
            Self::Text(_) | Self::Category(_) | Self::Tensor(_) | Self::Image(_) => {}
        }
    }

    pub(super) fn len(self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Int(column) => column.len(),
            Self::Text(column) => column.len(),
            Self::Category(codes) => codes.len(),
            Self::Tensor(column) => column.len(),
            Self::Image(files) => files.len(),
        }
    }

    /// The value at `row` as float64, NaN where missing; NaN for text and categories.
    pub(super) fn number(self, row: usize) -> f64 {
        match self {
            Self::Float(values) => values.get(row).copied().unwrap_or(f64::NAN),
            Self::Int(column) => column.get(row).map_or(f64::NAN, to_f64),
            Self::Text(_) | Self::Category(_) | Self::Tensor(_) | Self::Image(_) => f64::NAN,
        }
    }

    pub(super) fn is_missing(self, row: usize) -> bool {
        match self {
            Self::Float(values) => values.get(row).is_some_and(|value| value.is_nan()),
            Self::Int(column) => column.is_missing(row),
            Self::Text(column) => column.is_missing(row),
            Self::Category(codes) => codes.get(row).is_some_and(|code| *code == MISSING_CODE),
            Self::Tensor(_) | Self::Image(_) => false,
        }
    }
}

/// The columns of a run by slot.
pub(super) struct Slots<'a> {
    frame: &'a [schema::Column],
    columns: &'a mut [Column],
}

impl<'a> Slots<'a> {
    pub(super) fn new(frame: &'a [schema::Column], columns: &'a mut [Column]) -> Self {
        Self { frame, columns }
    }

    pub(super) fn read(&self, slot: Slot) -> View<'_> {
        match self.frame.get(slot) {
            Some(column) => column.into(),
            None => (&self.columns[slot - self.frame.len()]).into(),
        }
    }

    /// The rows of a block.
    pub(super) fn sparse(&self, slot: Slot) -> Option<&SparseBlock> {
        self.columns.get(slot.checked_sub(self.frame.len())?)?.sparse()
    }

    /// A slot to read and a later one to write.
    #[inline]
    pub(super) fn pair(&mut self, input: Slot, output: Slot) -> (View<'_>, &mut Column) {
        let n_fields = self.frame.len();
        let (before, after) = self.columns.split_at_mut(output - n_fields);
        let input = match self.frame.get(input) {
            Some(column) => column.into(),
            None => (&before[input - n_fields]).into(),
        };
        (input, &mut after[0])
    }

    /// Everything before the slot `first` to read, and `n` slots from there on to write: for steps of several columns.
    pub(super) fn split(&mut self, first: Slot, n: usize) -> (Before<'_>, &mut [Column]) {
        let (before, after) = self.columns.split_at_mut(first - self.frame.len());
        (Before { frame: self.frame, columns: before }, &mut after[..n])
    }
}

/// Columns to be read while others are written.
pub(super) struct Before<'a> {
    frame: &'a [schema::Column],
    columns: &'a [Column],
}

impl Before<'_> {
    /// The rows of a block.
    pub(super) fn sparse(&self, slot: Slot) -> Option<&SparseBlock> {
        self.columns.get(slot.checked_sub(self.frame.len())?)?.sparse()
    }

    pub(super) fn read(&self, slot: Slot) -> View<'_> {
        match self.frame.get(slot) {
            Some(column) => column.into(),
            None => (&self.columns[slot - self.frame.len()]).into(),
        }
    }
}

impl Column {
    fn sparse(&self) -> Option<&SparseBlock> {
        match self {
            Self::Sparse(block) => Some(block),
            _ => None,
        }
    }

    /// The floats, to be written to where they stand.
    pub(super) fn floats_mut(&mut self) -> Option<&mut Vec<f64>> {
        match self {
            Self::Float(values) => Some(values),
            _ => None,
        }
    }

    /// The column as an empty block, with its buffers kept if it was one.
    pub(super) fn as_sparse(&mut self) -> &mut SparseBlock {
        if !matches!(self, Self::Sparse(_)) {
            *self = Self::Sparse(SparseBlock::default());
        }
        match self {
            Self::Sparse(block) => {
                block.clear();
                block
            }
            _ => unreachable!("was made one above"),
        }
    }

    /// The column as one of tensors of this type without rows, with its buffer kept if it was one.
    pub(super) fn as_tensors(&mut self, r#type: &TensorType) -> &mut TensorColumn {
        if !matches!(self, Self::Tensor(_)) {
            *self = Self::Tensor(TensorColumn::new(r#type));
        }
        match self {
            Self::Tensor(column) => {
                column.clear();
                column
            }
            _ => unreachable!("was made one above"),
        }
    }

    /// The column as an empty vector of floats, with its buffer kept if it was one.
    pub(super) fn as_floats(&mut self) -> &mut Vec<f64> {
        if !matches!(self, Self::Float(_)) {
            *self = Self::Float(Vec::new());
        }
        match self {
            Self::Float(values) => {
                values.clear();
                values
            }
            _ => unreachable!("was made one above"),
        }
    }

    /// The column as an empty column of integers, with its buffer kept if it was one.
    pub(super) fn as_ints(&mut self) -> &mut IntColumn {
        if !matches!(self, Self::Int(_)) {
            *self = Self::Int(IntColumn::default());
        }
        match self {
            Self::Int(column) => {
                column.clear();
                column
            }
            _ => unreachable!("was made one above"),
        }
    }

    /// The column as an empty column of text, with its buffer kept if it was one.
    pub(super) fn as_text(&mut self) -> &mut TextColumn {
        if !matches!(self, Self::Text(_)) {
            *self = Self::Text(TextColumn::default());
        }
        match self {
            Self::Text(column) => {
                column.clear();
                column
            }
            _ => unreachable!("was made one above"),
        }
    }

    /// The column as an empty vector of category codes, with its buffer kept if it was one.
    pub(super) fn as_codes(&mut self) -> &mut Vec<u32> {
        if !matches!(self, Self::Category(_)) {
            *self = Self::Category(Vec::new());
        }
        match self {
            Self::Category(codes) => {
                codes.clear();
                codes
            }
            _ => unreachable!("was made one above"),
        }
    }
}
