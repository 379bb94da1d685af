//! The rows of one request as typed columns.
//!
//! Knows nothing of JSON and nothing of steps. Buffers are kept when a frame is cleared, so that a frame that is used
//! again allocates nothing once it has seen its largest request.

use super::layout::Layout;
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
    /// The files of pictures; none is missing.
    Image(Vec<Vec<u8>>),
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

/// Strings in one buffer; each value is a range of it. Columns are equal when their values are.
#[derive(Debug, Clone, Default)]
pub struct TextColumn {
    buffer: String,
    /// Start and end of each value in `buffer`; [`MISSING_SPAN`] where missing.
    spans: Vec<(u32, u32)>,
    /// What [`Self::intern`] put into `buffer` ends here; it may be shared, so it stays.
    interned: usize,
}

const MISSING_SPAN: (u32, u32) = (u32::MAX, u32::MAX);

impl TextColumn {
    /// Appends a value. Values of one column may hold 4 GiB together; the rest of a longer one is cut off.
    pub fn push(&mut self, value: &str) {
        let span = self.store(value);
        self.spans.push(span);
    }

    /// Appends a missing value.
    pub fn push_missing(&mut self) {
        self.spans.push(MISSING_SPAN);
    }

    /// Puts a string into the buffer without making it a value; [`Self::push_span`] makes it one, as often as wanted.
    pub fn intern(&mut self, value: &str) -> (u32, u32) {
        let span = self.store(value);
        self.interned = self.buffer.len();
        span
    }

    fn store(&mut self, value: &str) -> (u32, u32) {
        let start = self.buffer.len();
        self.buffer.push_str(value);
        let end = self.buffer.len();
        // A request body is limited to far less than 4 GiB, so neither conversion saturates.
        (u32::try_from(start).unwrap_or(u32::MAX - 1), u32::try_from(end).unwrap_or(u32::MAX - 1))
    }

    /// Appends the string that [`Self::intern`] returned.
    pub fn push_span(&mut self, span: (u32, u32)) {
        self.spans.push(span);
    }

    /// Becomes a copy of `other` with `value` in the place of what is missing.
    pub fn copy_filled(&mut self, other: &Self, value: &str) {
        self.clear();
        self.buffer.push_str(&other.buffer);
        let filling = self.intern(value);
        let filled = |span: &(u32, u32)| if *span == MISSING_SPAN { filling } else { *span };
        self.spans.extend(other.spans.iter().map(filled));
    }

    /// Where the value at `row` is in the buffer, or `None` when it is missing. What is at the same place is the same string.
    #[must_use]
    pub fn span(&self, row: usize) -> Option<(u32, u32)> {
        self.spans.get(row).copied().filter(|span| *span != MISSING_SPAN)
    }

    /// Removes all values and keeps the buffers.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.spans.clear();
        self.interned = 0;
    }

    /// The number of values.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// The value at `row`, or `None` when it is missing.
    #[must_use]
    pub fn get(&self, row: usize) -> Option<&str> {
        let (start, end) = *self.spans.get(row)?;
        if (start, end) == MISSING_SPAN {
            return None;
        }
        self.buffer.get(start as usize..end as usize)
    }

    fn truncate(&mut self, n_rows: usize) {
        // The cost is that of the values taken back, not of those that stay: a body may have many bad rows.
        while self.spans.len() > n_rows {
            let Some((start, end)) = self.spans.pop() else { return };
            if end as usize == self.buffer.len() && start as usize >= self.interned {
                self.buffer.truncate(start as usize);
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

    /// Whether the value at `row` is missing. A row beyond the end is not.
    #[must_use]
    pub fn is_missing(&self, row: usize) -> bool {
        match self {
            Self::Float(values) => values.get(row).is_some_and(|value| value.is_nan()),
            Self::Int(column) => column.is_missing(row),
            Self::Text(column) => row < column.len() && column.get(row).is_none(),
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
        text.push_span(shared);
        text.push("RL");
        text.push_missing();
        text.push("FV");
        text.truncate(2);
        assert_eq!(text.buffer, "NoneRL");
        text.truncate(0);
        assert_eq!(text.buffer, "None");
        text.push_span(shared);
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
