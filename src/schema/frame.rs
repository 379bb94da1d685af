//! The rows of one request as typed columns.
//!
//! Knows nothing of JSON and nothing of steps. Buffers are kept when a frame is cleared, so that a frame that is used
//! again allocates nothing once it has seen its largest request.

use bytes::Bytes;

use super::layout::Layout;
use super::seen::{Seen, Short};
use super::tensors::TensorColumn;

/// One column of values. A column is as long as its frame has rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// 64-bit floats; a missing value is NaN.
    Float(Vec<f64>),
    /// 64-bit integers with a mask.
    Int(IntColumn),
    /// Free text.
    Text(TextColumn),
    /// Tensors; none is missing.
    Tensor(TensorColumn),
    /// The files of pictures; none is missing. One may share its memory with the request it came in.
    Image(Vec<Bytes>),
}

/// Integers with a mask of missing values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IntColumn {
    values: Vec<i64>,
    /// Empty as long as nothing is missing, else as long as `values`.
    missing: Vec<bool>,
}

impl IntColumn {
    /// Appends a value.
    #[inline]
    pub fn push(&mut self, value: i64) {
        self.values.push(value);
        if !self.missing.is_empty() {
            self.missing.push(false);
        }
    }

    /// Appends a missing value.
    pub fn push_missing(&mut self) {
        self.missing.resize(self.values.len(), false);
        self.missing.push(true);
        self.values.push(0);
    }

    /// The values, to be written to.
    pub(super) fn values_mut(&mut self) -> &mut [i64] {
        &mut self.values
    }

    /// Makes the value at `row` a missing one.
    pub(super) fn set_missing(&mut self, row: usize) {
        self.missing.resize(self.values.len(), false);
        if let (Some(value), Some(missing)) = (self.values.get_mut(row), self.missing.get_mut(row))
        {
            (*value, *missing) = (0, true);
        }
    }

    /// Removes all values and keeps the buffers.
    pub fn clear(&mut self) {
        self.values.clear();
        self.missing.clear();
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The values; one that is missing is 0 here.
    #[must_use]
    pub fn values(&self) -> &[i64] {
        &self.values
    }

    /// The value at `row`, or `None` when it is missing.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<i64> {
        if self.is_missing(row) { None } else { self.values.get(row).copied() }
    }

    /// Whether the value at `row` is missing.
    #[must_use]
    pub fn is_missing(&self, row: usize) -> bool {
        self.missing.get(row).copied().unwrap_or(false)
    }

    /// Whether any value is missing.
    #[must_use]
    pub fn has_missing(&self) -> bool {
        !self.missing.is_empty()
    }

    fn truncate(&mut self, n_rows: usize) {
        self.values.truncate(n_rows);
        self.missing.truncate(n_rows);
    }

    /// Forgets the mask when all that was missing has been taken back.
    fn settle(&mut self) {
        if !self.missing.contains(&true) {
            self.missing.clear();
        }
    }
}

/// Strings. Each is kept once or more often, as an entry, and a value is the number of its entry. Columns are equal when their values are.
#[derive(Debug, Clone, Default)]
pub struct TextColumn {
    strings: Strings,
    /// For each value the number of its entry; [`TextColumn::MISSING`] where missing.
    codes: Vec<u32>,
    /// Entries of values that were pushed. Empty as long as there are few.
    seen: Option<Box<Seen>>,
}

/// The entries of a column of text, in one buffer.
#[derive(Debug, Clone, Default)]
pub(super) struct Strings {
    buffer: String,
    /// Start and end of each entry in `buffer`.
    spans: Vec<(u32, u32)>,
    /// As many of the first entries may be the values of several rows, so they stay.
    n_shared: usize,
}

impl Strings {
    /// Adds an entry.
    pub(super) fn add(&mut self, value: &str) -> u32 {
        let code = self.spans.len();
        let start = self.buffer.len();
        self.buffer.push_str(value);
        let end = self.buffer.len();
        // A request body is limited to far less than 4 GiB, so no conversion saturates.
        let place = |at: usize| u32::try_from(at).unwrap_or(TextColumn::MISSING - 1);
        self.spans.push((place(start), place(end)));
        place(code)
    }

    /// Adds an entry that may be the value of several rows.
    pub(super) fn share(&mut self, value: &str) -> u32 {
        let code = self.add(value);
        self.n_shared = self.spans.len();
        code
    }

    fn get(&self, code: u32) -> Option<&str> {
        let (start, end) = *self.spans.get(code as usize)?;
        self.buffer.get(start as usize..end as usize)
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.spans.clear();
        self.n_shared = 0;
    }
}

impl TextColumn {
    /// The code of a missing value.
    pub const MISSING: u32 = u32::MAX;

    /// Appends a value. Values of one column may hold 4 GiB together; the rest of a longer one is cut off.
    pub fn push(&mut self, value: &str) {
        // The rows of a small request hardly have the same values.
        const FEW: usize = 16;
        let code =
            if self.codes.len() < FEW { self.strings.add(value) } else { self.entry_of(value) };
        self.codes.push(code);
    }

    fn entry_of(&mut self, value: &str) -> u32 {
        let Some(key) = Short::of(value.as_bytes()) else { return self.strings.add(value) };
        let seen = self.seen.get_or_insert_default();
        seen.find(key).unwrap_or_else(|| {
            let code = self.strings.share(value);
            seen.note(key, code);
            code
        })
    }

    /// Appends a missing value.
    pub fn push_missing(&mut self) {
        self.codes.push(Self::MISSING);
    }

    /// Adds an entry without making it a value; [`Self::push_code`] makes it one, as often as wanted.
    pub fn intern(&mut self, value: &str) -> u32 {
        self.strings.share(value)
    }

    /// Appends the entry that has this number.
    pub fn push_code(&mut self, code: u32) {
        self.codes.push(code);
    }

    /// Becomes a copy of `other` with `value` in the place of what is missing.
    pub fn copy_filled(&mut self, other: &Self, value: &str) {
        self.clear();
        let Strings { buffer, spans, n_shared } = &mut self.strings;
        buffer.clone_from(&other.strings.buffer);
        spans.clone_from(&other.strings.spans);
        *n_shared = spans.len();
        self.copy_codes(other, Some(value));
    }

    /// Becomes a copy of `other` with these entries in the place of its own, and with `missing` in the place of what is missing.
    pub fn copy_replaced<'t>(
        &mut self,
        other: &Self,
        entries: impl IntoIterator<Item = &'t str>,
        missing: Option<&str>,
    ) {
        self.clear();
        for entry in entries {
            let _same_code = self.strings.share(entry);
        }
        self.copy_codes(other, missing);
    }

    fn copy_codes(&mut self, other: &Self, missing: Option<&str>) {
        let filling = missing.map_or(Self::MISSING, |value| self.strings.share(value));
        let filled = |code: &u32| if *code == Self::MISSING { filling } else { *code };
        self.codes.extend(other.codes.iter().map(filled));
    }

    /// For each value the number of its entry, or [`Self::MISSING`]. Different entries may hold the same string.
    #[must_use]
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// The number of entries. Some may be the value of no row.
    #[must_use]
    pub fn n_entries(&self) -> usize {
        self.strings.spans.len()
    }

    /// The string of an entry.
    #[must_use]
    pub fn entry(&self, at: usize) -> Option<&str> {
        self.strings.get(u32::try_from(at).ok()?)
    }

    /// The entries and the codes, to be written to.
    pub(super) fn parts_mut(&mut self) -> (&mut Strings, &mut [u32]) {
        (&mut self.strings, &mut self.codes)
    }

    /// Removes all values and keeps the buffers.
    pub fn clear(&mut self) {
        self.strings.clear();
        self.codes.clear();
        if let Some(seen) = &mut self.seen {
            seen.clear();
        }
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The value at `row`, or `None` when it is missing.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        // No entry has the code of what is missing.
        self.strings.get(*self.codes.get(row)?)
    }

    /// Whether the value at `row` is missing.
    #[must_use]
    pub fn is_missing(&self, row: usize) -> bool {
        self.codes.get(row).is_some_and(|code| *code == Self::MISSING)
    }

    fn truncate(&mut self, n_rows: usize) {
        // The cost is that of the values taken back, not of those that stay: a body may have many bad rows.
        while self.codes.len() > n_rows {
            let Some(code) = self.codes.pop() else { return };
            let Strings { buffer, spans, n_shared } = &mut self.strings;
            let is_last = code as usize + 1 == spans.len() && spans.len() > *n_shared;
            if let Some((start, _)) = spans.pop_if(|_| is_last) {
                buffer.truncate(start as usize);
            }
        }
    }
}

impl PartialEq for TextColumn {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && (0..self.len()).all(|row| self.get(row) == other.get(row))
    }
}

impl Eq for TextColumn {}

impl Column {
    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Int(column) => column.len(),
            Self::Text(column) => column.len(),
            Self::Tensor(column) => column.len(),
            Self::Image(files) => files.len(),
        }
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Removes all values and keeps the buffers.
    pub fn clear(&mut self) {
        match self {
            Self::Float(values) => values.clear(),
            Self::Int(column) => column.clear(),
            Self::Text(column) => column.clear(),
            Self::Tensor(column) => column.clear(),
            Self::Image(files) => files.clear(),
        }
    }

    /// Appends a missing value; to tensors nothing, as none of them is missing.
    pub fn push_missing(&mut self) {
        match self {
            Self::Float(values) => values.push(f64::NAN),
            Self::Int(column) => column.push_missing(),
            Self::Text(column) => column.push_missing(),
            Self::Tensor(_) | Self::Image(_) => debug_assert!(false, "it is required"),
        }
    }

    /// Gets places for this many values, all of which are to be written; to tensors it gives none, as they are read row by row.
    pub(super) fn resize(&mut self, n_rows: usize) {
        match self {
            Self::Float(values) => values.resize(n_rows, f64::NAN),
            Self::Int(column) => column.values.resize(n_rows, 0),
            Self::Text(column) => column.codes.resize(n_rows, TextColumn::MISSING),
            Self::Tensor(_) | Self::Image(_) => {}
        }
    }

    /// Makes the value at `row` a missing one; a tensor never is.
    pub(super) fn set_missing(&mut self, row: usize) {
        match self {
            Self::Float(values) => {
                if let Some(value) = values.get_mut(row) {
                    *value = f64::NAN;
                }
            }
            Self::Int(column) => column.set_missing(row),
            Self::Text(column) => {
                if let Some(code) = column.codes.get_mut(row) {
                    *code = TextColumn::MISSING;
                }
            }
            Self::Tensor(_) | Self::Image(_) => debug_assert!(false, "it is required"),
        }
    }

    /// Whether the value at `row` is missing. A row beyond the end is not.
    #[must_use]
    pub fn is_missing(&self, row: usize) -> bool {
        match self {
            Self::Float(values) => values.get(row).is_some_and(|value| value.is_nan()),
            Self::Int(column) => column.is_missing(row),
            Self::Text(column) => column.is_missing(row),
            Self::Tensor(_) | Self::Image(_) => false,
        }
    }

    /// Cuts the column to its first `n_rows` values: how a row that turned out bad is taken back.
    pub fn truncate(&mut self, n_rows: usize) {
        match self {
            Self::Float(values) => values.truncate(n_rows),
            Self::Int(column) => column.truncate(n_rows),
            Self::Text(column) => column.truncate(n_rows),
            Self::Tensor(column) => column.truncate(n_rows),
            Self::Image(files) => files.truncate(n_rows),
        }
    }

    /// After rows were taken back: what is left is as if they had never been there.
    pub(super) fn settle(&mut self) {
        if let Self::Int(column) = self {
            column.settle();
        }
    }

    fn retain(&mut self, keep: &[bool]) {
        let rows = || (0..keep.len()).filter(|row| keep[*row]);
        match self {
            Self::Float(values) => {
                *values = rows().filter_map(|row| values.get(row).copied()).collect();
            }
            Self::Int(column) => {
                let mut kept = IntColumn::default();
                for row in rows() {
                    match column.get(row) {
                        Some(value) => kept.push(value),
                        None => kept.push_missing(),
                    }
                }
                *column = kept;
            }
            Self::Text(column) => {
                let mut kept = TextColumn::default();
                for row in rows() {
                    match column.get(row) {
                        Some(value) => kept.push(value),
                        None => kept.push_missing(),
                    }
                }
                *column = kept;
            }
            // Rows with tensors are read as JSON, which leaves bad ones out at once.
            Self::Tensor(_) => debug_assert!(!keep.contains(&false), "a tensor was refused late"),
            Self::Image(files) => {
                let mut row = 0;
                files.retain(|_| {
                    row += 1;
                    keep.get(row - 1).is_none_or(|keep| *keep)
                });
            }
        }
    }

    fn extend_from(&mut self, other: &Self) {
        match (self, other) {
            (Self::Float(values), Self::Float(tail)) => values.extend_from_slice(tail),
            (Self::Int(column), Self::Int(tail)) => {
                for row in 0..tail.len() {
                    match tail.get(row) {
                        Some(value) => column.push(value),
                        None => column.push_missing(),
                    }
                }
            }
            (Self::Text(column), Self::Text(tail)) => {
                for row in 0..tail.len() {
                    match tail.get(row) {
                        Some(value) => column.push(value),
                        None => column.push_missing(),
                    }
                }
            }
            (Self::Image(files), Self::Image(tail)) => files.extend_from_slice(tail),
            (Self::Tensor(column), Self::Tensor(tail)) => {
                let same = column.extend_from(tail);
                debug_assert!(same, "frames of different schemas were put together");
            }
            (this, other) => {
                debug_assert!(false, "frames of different schemas were put together");
                for _ in 0..other.len() {
                    this.push_missing();
                }
            }
        }
    }
}

/// Rows as columns, in the order of the schema's fields. Frames are equal when their rows are.
#[derive(Debug, Clone, Default)]
pub struct Frame {
    columns: Vec<Column>,
    n_rows: usize,
    /// The keys of the rows that were read into it before.
    layout: Layout,
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.n_rows == other.n_rows && self.columns == other.columns
    }
}

impl Frame {
    /// An empty frame of these columns.
    #[must_use]
    pub fn new(columns: Vec<Column>) -> Self {
        let n_rows = columns.first().map_or(0, Column::len);
        Self { columns, n_rows, layout: Layout::default() }
    }

    /// The number of rows.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The columns, in the schema's order, each as long as there are rows.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The columns, to be written to. The writer sees to it that all have the same length, and says it to
    /// [`Self::set_n_rows`].
    pub(super) fn columns_mut(&mut self) -> &mut [Column] {
        &mut self.columns
    }

    /// What decoding keeps in mind from one request to the next.
    pub(super) fn layout_mut(&mut self) -> &mut Layout {
        &mut self.layout
    }

    /// Says how many rows the columns now have.
    pub(super) fn set_n_rows(&mut self, n_rows: usize) {
        debug_assert!(self.columns.iter().all(|column| column.len() == n_rows), "ragged frame");
        self.n_rows = n_rows;
    }

    /// Removes all rows and keeps the buffers.
    pub fn clear(&mut self) {
        self.columns.iter_mut().for_each(Column::clear);
        self.n_rows = 0;
    }

    /// Leaves only the rows for which `keep` is true.
    pub(super) fn retain(&mut self, keep: &[bool]) {
        for column in &mut self.columns {
            column.retain(keep);
        }
        self.n_rows = keep.iter().filter(|keep| **keep).count();
    }

    /// Puts the rows of `other` below. Both come from the same schema.
    pub fn append(&mut self, other: &Self) {
        for (column, tail) in self.columns.iter_mut().zip(&other.columns) {
            column.extend_from(tail);
        }
        self.n_rows += other.n_rows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_can_be_taken_back() {
        let mut text = TextColumn::default();
        text.push("RL");
        text.push_missing();
        text.push("FV");
        let mut int = IntColumn::default();
        int.push(1);
        int.push(2);
        int.push_missing();
        let mut columns =
            [Column::Text(text), Column::Int(int), Column::Float(vec![0.5, f64::NAN, 1.5])];
        columns.iter_mut().for_each(|column| column.truncate(2));
        let [Column::Text(text), Column::Int(int), Column::Float(float)] = &mut columns else {
            panic!()
        };
        assert_eq!((text.get(0), text.get(1), text.len()), (Some("RL"), None, 2));
        text.push("RM");
        assert_eq!(text.get(2), Some("RM"));
        assert_eq!((int.get(0), int.get(1), int.len()), (Some(1), Some(2), 2));
        int.push(3);
        assert_eq!(int.get(2), Some(3));
        assert_eq!(float.len(), 2);
    }

    #[test]
    fn text_that_is_taken_back_makes_room_unless_it_is_shared() {
        let mut text = TextColumn::default();
        let shared = text.intern("None");
        text.push_code(shared);
        text.push("RL");
        text.push_missing();
        text.push("FV");
        text.truncate(2);
        assert_eq!((text.strings.buffer.as_str(), text.n_entries()), ("NoneRL", 2));
        text.truncate(0);
        assert_eq!((text.strings.buffer.as_str(), text.n_entries()), ("None", 1));
        text.push_code(shared);
        text.push("RM");
        let mut same = TextColumn::default();
        same.push("None");
        same.push("RM");
        assert_eq!(text, same);
        same.truncate(1);
        same.push_missing();
        assert_ne!(text, same);
    }

    #[test]
    fn an_appended_frame_keeps_values_and_missing_ones() {
        let column = |values: &[Option<i64>]| {
            let mut column = IntColumn::default();
            for value in values {
                match value {
                    Some(value) => column.push(*value),
                    None => column.push_missing(),
                }
            }
            Frame::new(vec![Column::Int(column)])
        };
        let mut frame = column(&[Some(1), Some(2)]);
        frame.append(&column(&[None, Some(4)]));
        assert_eq!(frame, column(&[Some(1), Some(2), None, Some(4)]));
        assert_eq!(frame.n_rows(), 4);
    }
}
