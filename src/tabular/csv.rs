//! CSV: blocks of whole records from a stream, and records into cells.
//!
//! RFC 4180 with a choice of delimiter and quote. A quote has a meaning only at the start of a field; anywhere else it is a character like
//! any other. Line breaks are LF or CR LF; blank lines are nothing.

use std::io::Read;

use wide::u8x64;

use super::{Problem, TableError};
use crate::schema::RawCells;

/// How a CSV file is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialect {
    /// Between cells.
    pub delimiter: u8,
    /// Around cells that hold a delimiter, a line break or a quote, which is doubled in them.
    pub quote: Option<u8>,
    /// Whether the first record names the columns.
    pub header: bool,
    /// Cells that are missing values.
    pub missing: Vec<String>,
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: Some(b'"'),
            header: true,
            missing: vec![String::new(), "NA".to_owned()],
        }
    }
}

impl Dialect {
    /// Whether a cell is a missing value.
    #[inline]
    pub(super) fn is_missing(&self, cell: &str) -> bool {
        // Most cells that are as long begin with another letter.
        self.missing.iter().any(|missing| {
            missing.len() == cell.len()
                && missing.as_bytes().first() == cell.as_bytes().first()
                && missing == cell
        })
    }

    /// Writes a cell, in quotes where it needs them.
    pub(super) fn write(&self, cell: &str, out: &mut Vec<u8>) {
        let special = |byte: u8| {
            byte == self.delimiter || byte == b'\n' || byte == b'\r' || Some(byte) == self.quote
        };
        let Some(quote) = self.quote.filter(|_| cell.bytes().any(special)) else {
            out.extend_from_slice(cell.as_bytes());
            return;
        };
        out.push(quote);
        for byte in cell.bytes() {
            if byte == quote {
                out.push(quote);
            }
            out.push(byte);
        }
        out.push(quote);
    }
}

/// The end of the last whole line of `bytes`, where lines end at a line feed.
pub(super) fn end_of_lines(bytes: &[u8]) -> Option<usize> {
    memchr::memrchr(b'\n', bytes).map(|at| at + 1)
}

/// The end of the last whole record of `bytes`, which begins with a record.
fn end_of_records(bytes: &[u8], dialect: &Dialect) -> Option<usize> {
    let Some(quote) = dialect.quote else { return end_of_lines(bytes) };
    let mut outside = 0;
    let mut end = None;
    let mut at = 0;
    while let Some(found) = memchr::memchr(quote, &bytes[at..]).map(|found| at + found) {
        let opens =
            found == 0 || bytes[found - 1] == dialect.delimiter || bytes[found - 1] == b'\n';
        if !opens {
            at = found + 1;
            continue;
        }
        end = end_of_lines(&bytes[outside..found]).map(|end| outside + end).or(end);
        match closing(bytes, found + 1, quote) {
            Some(close) => {
                outside = close + 1;
                at = outside;
            }
            None => return end,
        }
    }
    end_of_lines(&bytes[outside..]).map(|end| outside + end).or(end)
}

/// The place of the quote that closes a field whose text begins at `at`.
fn closing(bytes: &[u8], mut at: usize, quote: u8) -> Option<usize> {
    loop {
        let found = at + memchr::memchr(quote, bytes.get(at..)?)?;
        if bytes.get(found + 1) != Some(&quote) {
            return Some(found);
        }
        at = found + 2;
    }
}

/// Cuts a stream into blocks of whole records or lines.
pub(super) struct Blocks {
    stream: Box<dyn Read + Send>,
    /// `None` for lines, in which quotes mean nothing.
    dialect: Option<Dialect>,
    name: String,
    rest: Vec<u8>,
    ended: bool,
    /// The line with which `rest` begins, from 1.
    line: u64,
    size: usize,
    /// Whether compressed data may end in the middle, as those of a writer that was killed do.
    may_be_cut: bool,
    pub(super) was_cut: bool,
}

/// A record may be as long as this.
const LONGEST: usize = 256 << 20;

impl Blocks {
    pub(super) fn new(
        stream: Box<dyn Read + Send>,
        name: &str,
        dialect: Option<Dialect>,
        size: usize,
    ) -> Self {
        Self {
            stream,
            dialect,
            name: name.to_owned(),
            rest: Vec::new(),
            ended: false,
            line: 1,
            size,
            may_be_cut: false,
            was_cut: false,
        }
    }

    /// As lines of a log: compressed data may end in the middle.
    pub(super) fn of_log(stream: Box<dyn Read + Send>, name: &str) -> Self {
        Self { may_be_cut: true, ..Self::new(stream, name, None, 1 << 18) }
    }

    /// The next block, and the line with which it begins. `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(Vec<u8>, u64)>, TableError> {
        let mut size = self.size;
        loop {
            self.fill(size)?;
            if self.rest.is_empty() {
                return Ok(None);
            }
            let end = if self.ended {
                Some(self.rest.len())
            } else {
                match &self.dialect {
                    Some(dialect) => end_of_records(&self.rest, dialect),
                    None => end_of_lines(&self.rest),
                }
            };
            let Some(end) = end else {
                if size >= LONGEST {
                    let what = if self.dialect.is_some() {
                        "a record that is longer than 256 MiB"
                    } else {
                        "a line that is longer than 256 MiB"
                    };
                    return Err(TableError::at(&self.name, self.line, None, what)
                        .hint("is a quote opened here and never closed?"));
                }
                size *= 2;
                continue;
            };
            let rest = self.rest.split_off(end);
            let block = std::mem::replace(&mut self.rest, rest);
            let line = self.line;
            self.line += memchr::memchr_iter(b'\n', &block).count() as u64;
            return Ok(Some((block, line)));
        }
    }

    /// Reads until there are `size` bytes, or no more.
    fn fill(&mut self, size: usize) -> Result<(), TableError> {
        let mut len = self.rest.len();
        if self.ended || len >= size {
            return Ok(());
        }
        self.rest.resize(size, 0);
        while len < size {
            match self.stream.read(&mut self.rest[len..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(n) => len += n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error)
                    if self.may_be_cut && error.kind() == std::io::ErrorKind::UnexpectedEof =>
                {
                    self.was_cut = true;
                    self.ended = true;
                    break;
                }
                Err(error) => {
                    return Err(TableError::of(&self.name, format!("cannot be read: {error}")));
                }
            }
        }
        self.rest.truncate(len);
        Ok(())
    }

    /// Puts something back in front of what is still to come.
    pub(super) fn unread(&mut self, mut block: Vec<u8>, line: u64) {
        block.append(&mut self.rest);
        self.rest = block;
        self.line = line;
    }
}

/// The records of a block, cut into cells.
#[derive(Debug)]
pub(super) struct Records {
    pub(super) text: String,
    n_columns: usize,
    /// For each record of the right shape `n_columns + 1` places: where it begins, and one behind the end of each of its cells.
    bounds: Vec<u32>,
    /// Where the cells with doubled quotes begin, and what they hold.
    doubled: Vec<(u32, String)>,
    quote: Option<u8>,
    pub(super) malformed: Vec<Malformed>,
    /// For each record of the right shape its number among all records; `None` when all are.
    pub(super) rows: Option<Vec<usize>>,
}

/// A record that does not have as many cells as there are columns, or is otherwise none.
#[derive(Debug)]
pub(super) struct Malformed {
    /// Its number among the records of the block.
    pub(super) row: usize,
    /// Where it stands, without its line break.
    pub(super) at: std::ops::Range<usize>,
    /// Where the fault is.
    place: usize,
    n_cells: usize,
    code: &'static str,
    detail: String,
}

/// Bytes that are looked at together.
const SPAN: usize = 64;

/// The bytes of a span that end a cell, a bit for each.
struct Marks {
    delimiters: u64,
    /// Line breaks and quotes.
    others: u64,
}

impl Marks {
    // Where what is done with the bits is known here, the compiler takes the vectors apart byte by byte: 470 instructions, not 60.
    #[inline(never)]
    fn of(span: &[u8; SPAN], delimiter: u8, quote: u8) -> Self {
        let span = u8x64::new(*span);
        let is = |byte| span.simd_eq(u8x64::splat(byte));
        Self {
            delimiters: is(delimiter).to_bitmask(),
            others: (is(b'\n') | is(quote)).to_bitmask(),
        }
    }
}

impl Records {
    /// Cuts a block into records of `n_columns` cells.
    ///
    /// # Errors
    /// The text, and the place in it of a quote that is opened and never closed.
    pub(super) fn new(
        text: String,
        n_columns: usize,
        dialect: &Dialect,
    ) -> Result<Self, (String, usize)> {
        let mut records = Self {
            n_columns,
            bounds: Vec::with_capacity(text.len() / 3),
            doubled: Vec::new(),
            quote: dialect.quote,
            malformed: Vec::new(),
            rows: None,
            text: String::new(),
        };
        match records.cut(&text, dialect) {
            Ok(()) => {
                records.text = text;
                Ok(records)
            }
            Err(at) => Err((text, at)),
        }
    }

    fn cut(&mut self, text: &str, dialect: &Dialect) -> Result<(), usize> {
        let bytes = text.as_bytes();
        let delimiter = dialect.delimiter;
        // Without a quote the delimiter is looked for twice.
        let quote = dialect.quote.unwrap_or(delimiter);
        let mut open = Open { start: 0, first: 0, row: 0, fault: None };
        self.bounds.push(0);
        let mut base = 0;
        'spans: while base < bytes.len() {
            let marks = match bytes[base..].first_chunk::<SPAN>() {
                Some(span) => Marks::of(span, delimiter, quote),
                None => {
                    // What stands behind the end is nothing that is looked for.
                    let mut last = [if delimiter == 0 { b' ' } else { 0 }; SPAN];
                    last[..bytes.len() - base].copy_from_slice(&bytes[base..]);
                    Marks::of(&last, delimiter, quote)
                }
            };
            let Marks { mut delimiters, mut others } = marks;
            while others != 0 {
                let bit = others.trailing_zeros();
                others &= others - 1;
                let before = (1 << bit) - 1;
                self.end_cells(base, delimiters & before);
                delimiters &= !before;
                let at = base + bit as usize;
                let byte = bytes[at];
                if byte == b'\n' {
                    self.end_record(bytes, at, &mut open);
                } else if byte == delimiter {
                    // The same byte is among the delimiters.
                } else if self.bounds.last() == Some(&place(at)) {
                    // A quote at the start of a cell.
                    let Some(close) = closing(bytes, at + 1, byte) else { return Err(at) };
                    if memchr::memchr(byte, &bytes[at + 1..close]).is_some() {
                        let quote = char::from(byte).to_string();
                        let cell = text[at + 1..close].replace(&quote.repeat(2), &quote);
                        self.doubled.push((place(at), cell));
                    }
                    let next = bytes.get(close + 1);
                    let ends = next.is_none_or(|next| *next == delimiter || *next == b'\n')
                        || (next == Some(&b'\r')
                            && bytes.get(close + 2).is_none_or(|next| *next == b'\n'));
                    if !ends && open.fault.is_none() {
                        open.fault = Some(close + 1);
                    }
                    base = close + 1;
                    continue 'spans;
                }
            }
            self.end_cells(base, delimiters);
            base += SPAN;
        }
        if open.start < bytes.len() {
            self.end_record(bytes, bytes.len(), &mut open);
        }
        self.bounds.truncate(open.first);
        Ok(())
    }

    /// Ends a cell at each of these bits of the span that begins at `base`.
    #[inline]
    fn end_cells(&mut self, base: usize, mut delimiters: u64) {
        // Several at once: a loop over the bits alone ends where nothing can foresee it.
        const AT_ONCE: usize = 8;
        let next = place(base + 1);
        let n_bounds = self.bounds.len() + delimiters.count_ones() as usize;
        while delimiters != 0 {
            let mut ends = [0; AT_ONCE];
            for end in &mut ends {
                *end = next.wrapping_add(delimiters.trailing_zeros());
                delimiters &= delimiters.wrapping_sub(1);
            }
            self.bounds.extend_from_slice(&ends);
        }
        self.bounds.truncate(n_bounds);
    }

    #[inline]
    fn end_record(&mut self, bytes: &[u8], end: usize, open: &mut Open) {
        self.bounds.push(place(end + 1));
        let n_cells = self.bounds.len() - open.first - 1;
        if n_cells != self.n_columns || open.fault.is_some() {
            self.odd_record(bytes, end, n_cells, open);
        } else {
            if self.n_columns == 1 && is_blank(&bytes[open.start..end]) {
                self.bounds.truncate(open.first);
            } else {
                if let Some(rows) = &mut self.rows {
                    rows.push(open.row);
                }
                open.row += 1;
            }
        }
        open.start = end + 1;
        open.first = self.bounds.len();
        self.bounds.push(place(end + 1));
    }

    #[cold]
    fn odd_record(&mut self, bytes: &[u8], end: usize, n_cells: usize, open: &mut Open) {
        self.bounds.truncate(open.first);
        let fault = open.fault.take();
        let end = end - usize::from(end > open.start && bytes[end - 1] == b'\r');
        if is_blank(&bytes[open.start..end]) {
            return;
        }
        if self.rows.is_none() {
            self.rows = Some((0..open.row).collect());
        }
        let (place, code, detail) = match fault {
            Some(place) => (
                place,
                "quote",
                "text after the quote that closes a cell; a quote within a cell is written twice"
                    .to_owned(),
            ),
            None => (
                open.start,
                "cells",
                format!(
                    "{n_cells} {}, expected {}",
                    if n_cells == 1 { "cell" } else { "cells" },
                    self.n_columns
                ),
            ),
        };
        let at = open.start..end;
        self.malformed.push(Malformed { row: open.row, at, place, n_cells, code, detail });
        open.row += 1;
    }

    /// The number of records, good and bad.
    pub(super) fn n_rows(&self) -> usize {
        self.n_shaped() + self.malformed.len()
    }

    /// The number of records of the right shape.
    pub(super) fn n_shaped(&self) -> usize {
        self.bounds.len() / (self.n_columns + 1)
    }

    /// Where a record of the right shape stands, without its line break.
    #[inline]
    pub(super) fn span(&self, shaped: usize) -> std::ops::Range<usize> {
        let first = shaped * (self.n_columns + 1);
        self.bounds[first] as usize..self.end(first + self.n_columns)
    }

    /// The end of the last cell of a record, without the CR of a CR LF.
    #[inline]
    fn end(&self, bound: usize) -> usize {
        let end = self.bounds[bound] as usize - 1;
        end - usize::from(end > 0 && self.text.as_bytes()[end - 1] == b'\r')
    }

    /// A cell of a record of the right shape.
    #[inline]
    pub(super) fn cell(&self, shaped: usize, column: usize) -> &str {
        let at = shaped * (self.n_columns + 1) + column;
        let start = self.bounds[at] as usize;
        let end = if column + 1 == self.n_columns {
            self.end(at + 1).max(start)
        } else {
            self.bounds[at + 1] as usize - 1
        };
        self.without_quotes(start, end)
    }

    /// A column of the records of the right shape.
    pub(super) fn column<'a>(&'a self, at: usize, dialect: &'a Dialect) -> CsvColumn<'a> {
        CsvColumn { records: self, at, dialect }
    }

    #[inline]
    fn without_quotes(&self, start: usize, end: usize) -> &str {
        let cell = &self.text[start..end];
        match self.quote {
            Some(quote) if cell.as_bytes().first() == Some(&quote) => self.unquoted(start, cell),
            _ => cell,
        }
    }

    #[cold]
    fn unquoted<'a>(&'a self, start: usize, cell: &'a str) -> &'a str {
        match self.doubled.binary_search_by_key(&place(start), |(at, _)| *at) {
            Ok(found) => &self.doubled[found].1,
            Err(_plain) => cell.get(1..cell.len() - 1).unwrap_or_default(),
        }
    }

    /// What is wrong with a malformed record; the block begins with `line`.
    pub(super) fn problem(&self, malformed: &Malformed, line: u64) -> Problem {
        let (line, column) = line_and_column(&self.text, malformed.place, line);
        Problem {
            row: malformed.row,
            line: Some(line),
            column: Some(column),
            field: None,
            code: malformed.code,
            detail: malformed.detail.clone(),
            is_invalid_input: true,
        }
    }

    /// The line and the column of a cell; the block begins with `line`.
    pub(super) fn place(&self, shaped: usize, column: usize, line: u64) -> (u64, u64) {
        let at = self.bounds[shaped * (self.n_columns + 1) + column] as usize;
        line_and_column(&self.text, at, line)
    }

    /// The cells of a malformed record, as far as they can be told apart.
    pub(super) fn cells_of(&self, malformed: &Malformed, dialect: &Dialect) -> Vec<String> {
        let text = &self.text[malformed.at.clone()];
        let Ok(records) = Self::new(text.to_owned(), malformed.n_cells, dialect) else {
            return Vec::new();
        };
        if records.n_shaped() == 0 {
            return Vec::new();
        }
        (0..malformed.n_cells).map(|at| records.cell(0, at).to_owned()).collect()
    }
}

/// A column of the records of a block.
pub(super) struct CsvColumn<'a> {
    records: &'a Records,
    at: usize,
    dialect: &'a Dialect,
}

impl RawCells for CsvColumn<'_> {
    #[inline]
    fn text(&self) -> &str {
        &self.records.text
    }

    #[inline]
    fn spans(&self) -> impl Iterator<Item = (usize, usize)> {
        let Records { n_columns, bounds, text, .. } = self.records;
        let is_last = self.at + 1 == *n_columns;
        bounds.chunks_exact(n_columns + 1).map(move |bounds| {
            let (start, end) = match bounds.get(self.at..self.at + 2) {
                Some([start, next]) => (*start as usize, *next as usize - 1),
                _ => (0, 0),
            };
            // The CR of a CR LF is no part of the last cell.
            let cr = is_last && end > start && text.as_bytes()[end - 1] == b'\r';
            (start, end - usize::from(cr))
        })
    }

    fn value(&self, start: usize, end: usize) -> Option<&str> {
        Some(self.records.without_quotes(start, end)).filter(|cell| !self.dialect.is_missing(cell))
    }

    fn digits_are_values(&self) -> bool {
        let is_digit = |byte: &u8| byte.is_ascii_digit();
        !self
            .dialect
            .missing
            .iter()
            .any(|missing| missing.as_bytes().iter().all(is_digit) && !missing.is_empty())
    }
}

/// The record that is being read.
struct Open {
    start: usize,
    /// Where its bounds begin.
    first: usize,
    row: usize,
    fault: Option<usize>,
}

fn is_blank(record: &[u8]) -> bool {
    matches!(record, [] | [b'\r'])
}

fn place(at: usize) -> u32 {
    // A block is shorter than 4 GiB: see `LONGEST`.
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The line and the column, in characters, of a place in a text that begins with `first` as its line.
pub(super) fn line_and_column(text: &str, at: usize, first: u64) -> (u64, u64) {
    let before = text.get(..at).unwrap_or(text);
    let start = end_of_lines(before.as_bytes()).unwrap_or(0);
    let line = first + memchr::memchr_iter(b'\n', before.as_bytes()).count() as u64;
    (line, 1 + before[start..].chars().count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cells(text: &str, n_columns: usize) -> Vec<Vec<String>> {
        let records = Records::new(text.to_owned(), n_columns, &Dialect::default()).unwrap();
        assert!(records.malformed.is_empty(), "{records:?}");
        let row = |row| (0..n_columns).map(|at| records.cell(row, at).to_owned()).collect();
        (0..records.n_shaped()).map(row).collect()
    }

    #[test]
    fn records_are_cut_into_cells() {
        assert_eq!(
            cells("a,b,c\n1,,3\r\n\n\"x,y\",\"two\nlines\",\"say \"\"hi\"\"\"\n5\" pipe,,\"\"", 3),
            [
                ["a", "b", "c"],
                ["1", "", "3"],
                ["x,y", "two\nlines", "say \"hi\""],
                ["5\" pipe", "", ""],
            ]
        );
        assert_eq!(cells("a\r\n\r\n\"\"\r\nb", 1), [["a"], [""], ["b"]]);
        assert!(cells("", 2).is_empty() && cells("\n\r\n\n", 2).is_empty());
    }

    #[test]
    fn records_of_another_shape_are_told_with_their_place() {
        let text = "1,2\n3\n4,5,6\n\"a\"b,7\n8,9".to_owned();
        let records = Records::new(text, 2, &Dialect::default()).unwrap();
        let shown: Vec<String> = records
            .malformed
            .iter()
            .map(|malformed| {
                let problem = records.problem(malformed, 10);
                format!(
                    "{} {:?} {:?} {}",
                    problem.row, problem.line, problem.column, problem.detail
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "1 Some(11) Some(1) 1 cell, expected 2",
                "2 Some(12) Some(1) 3 cells, expected 2",
                "3 Some(13) Some(4) text after the quote that closes a cell; a quote within a cell is written twice",
            ]
        );
        assert_eq!(records.rows, Some(vec![0, 4]));
        assert_eq!(records.cell(1, 1), "9");
        assert_eq!(Records::new("1,\"x".to_owned(), 2, &Dialect::default()).unwrap_err().1, 2);
    }

    fn tables() -> impl Strategy<Value = Vec<Vec<String>>> {
        // Not a table of one column: there an empty cell is a blank line.
        (2_usize..6).prop_flat_map(|n_columns| {
            let cell = "[a,\"\r\n é5.NA]{0,12}";
            prop::collection::vec(prop::collection::vec(cell, n_columns), 1..20)
        })
    }

    proptest! {
        /// What is written is read again, wherever the stream is cut into blocks.
        #[test]
        fn what_is_written_is_read_again(table in tables(), size in 1_usize..200, crlf: bool) {
            let dialect = Dialect::default();
            let mut written = Vec::new();
            for row in &table {
                for (at, cell) in row.iter().enumerate() {
                    if at > 0 {
                        written.push(b',');
                    }
                    dialect.write(cell, &mut written);
                }
                written.extend_from_slice(if crlf { b"\r\n" } else { b"\n" });
            }
            let stream = Box::new(std::io::Cursor::new(written));
            let mut blocks = Blocks::new(stream, "t", Some(dialect), size);
            let mut read = Vec::new();
            while let Some((block, _)) = blocks.next().unwrap() {
                read.extend(cells(&String::from_utf8(block).unwrap(), table[0].len()));
            }
            prop_assert_eq!(read, table);
        }

        /// Any text gives cells or problems, the same ones as the `csv` crate where both have an opinion.
        #[test]
        fn any_text_is_cut_or_refused(text in "[a,\"\r\n é5.]{0,80}", n_columns in 1_usize..5) {
            let Ok(records) = Records::new(text.clone(), n_columns, &Dialect::default()) else { return Ok(()) };
            for row in 0..records.n_shaped() {
                for column in 0..n_columns {
                    let _cell = records.cell(row, column);
                }
            }
            for malformed in &records.malformed {
                let problem = records.problem(malformed, 1);
                prop_assert!(problem.line.is_some() && problem.column.is_some());
            }
            if records.malformed.is_empty() && !text.replace("\r\n", "\n").contains('\r') {
                let mut reader =
                    csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
                let theirs: Vec<Vec<String>> = reader
                    .records()
                    .map(|record| record.unwrap().iter().map(str::to_owned).collect())
                    .collect();
                let ours: Vec<Vec<String>> = (0..records.n_shaped())
                    .map(|row| (0..n_columns).map(|at| records.cell(row, at).to_owned()).collect())
                    .collect();
                prop_assert_eq!(ours, theirs);
            }
        }
    }
}
