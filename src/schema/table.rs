//! Cells of tables to typed columns: CSV text and the typed values of Arrow, by the rules that hold for JSON.
//!
//! A table is read column by column. Knows nothing of files, of delimiters or of Arrow.

use super::datetime;
use super::decode::{Absent, Breach, Cell, cut, quoted};
use super::json::{Integer, Scanner};
use super::seen::{Seen, Short};
use super::{CellError, CellProblem, Column, Decoded, Field, Frame, Kind, Schema, TextColumn};

/// The cells of a column, where they stand in the text of a file.
pub trait RawCells {
    /// The text.
    fn text(&self) -> &str;

    /// For each row where its cell begins and ends in the text, with its quotes.
    fn spans(&self) -> impl Iterator<Item = (usize, usize)>;

    /// What the cell that stands there holds; `None` is a missing value. Cells of the same text hold the same.
    fn value(&self, start: usize, end: usize) -> Option<&str>;

    /// Whether digits alone are never a missing value.
    fn digits_are_values(&self) -> bool;
}

/// Fills a frame with a table of a known number of rows, one field after the other.
///
/// Each field is to be filled exactly once: with [`Self::texts`], a method for typed values, or [`Self::absent`]. A bad cell never stops it:
/// [`Self::finish`] leaves the bad rows out and lists all that is wrong with them.
#[derive(Debug)]
pub struct Filler<'a> {
    schema: &'a Schema,
    frame: &'a mut Frame,
    n_rows: usize,
    /// By row; empty as long as no row is bad.
    bad: Vec<bool>,
    /// With the order of the fields, so that a row's errors have it.
    errors: Vec<(usize, CellError)>,
}

impl<'a> Filler<'a> {
    /// Starts a table of `n_rows` rows. `frame` is cleared first; one that was not made by [`Schema::frame`] is replaced by one.
    #[must_use]
    pub fn new(schema: &'a Schema, frame: &'a mut Frame, n_rows: usize) -> Self {
        schema.prepare(frame);
        Self { schema, frame, n_rows, bad: Vec::new(), errors: Vec::new() }
    }

    /// Fills a field from the text of cells; `None` is a missing value. `key` is the table's name for the column.
    ///
    /// Numbers may have blanks around them, a sign, and be written as `5.0` for an integer; `true` and `false` in any case, `1` and `0` are
    /// booleans; dates are as in JSON. Strings are taken as they are.
    pub fn texts<'t>(
        &mut self,
        field: usize,
        key: &str,
        cells: impl Iterator<Item = Option<&'t str>>,
    ) {
        let (spec, cell, mut put) = self.open(field, key);
        let mut seen = Seen::default();
        put.each(cells, |put, row, text| put.text(row, spec, cell, text, &mut seen));
    }

    /// Fills a field from cells as they stand in a file, by the rules of [`Self::texts`].
    ///
    /// Plain integers and short strings that were there before are known without being taken out of the text.
    pub fn cells(&mut self, field: usize, key: &str, cells: &impl RawCells) {
        let (spec, cell, mut put) = self.open(field, key);
        let text = cells.text().as_bytes();
        let plain = cells.digits_are_values();
        let limits = cell.limits.as_ref();
        let fits = |value: &i64| limits.is_none_or(|limits| limits.of_int(*value).is_none());
        let few = |start, end| if plain { few_digits(text, start, end) } else { None };
        let value = |start, end| cells.value(start, end);
        // What cannot be read at once is looked at again, for what is wrong with it.
        let mut odd = Vec::new();
        match (spec.kind(), &mut *put.column) {
            (Kind::Int, Column::Int(column)) => {
                read_each(cells, column.values_mut(), &mut odd, |start, end| {
                    few(start, end).or_else(|| integer(value(start, end)?).ok()).filter(fits)
                });
            }
            (Kind::Bool, Column::Int(column)) => {
                read_each(cells, column.values_mut(), &mut odd, |start, end| {
                    boolean(value(start, end)?)
                });
            }
            (Kind::Datetime, Column::Int(column)) => {
                read_each(cells, column.values_mut(), &mut odd, |start, end| {
                    datetime::parse(value(start, end)?.trim())
                });
            }
            (Kind::Float, Column::Float(values)) => {
                read_each(cells, values, &mut odd, |start, end| {
                    #[expect(clippy::cast_precision_loss, reason = "at most eight digits")]
                    let few = few(start, end).map(|value| value as f64);
                    few.or_else(|| match value(start, end) {
                        Some(text) => float(text).ok().filter(|value| value.is_finite()),
                        None => cell.nullable.then_some(f64::NAN),
                    })
                    .filter(|value| limits.is_none() || Breach::of_float(spec, *value).is_none())
                });
            }
            (_, Column::Text(column)) => {
                let (strings, codes) = column.parts_mut();
                let mut seen = Seen::default();
                read_each(cells, codes, &mut odd, |start, end| {
                    let key = Short::at(text, start, end);
                    if let Some(code) = key.and_then(|key| seen.find(key)) {
                        return Some(code);
                    }
                    let code = match (value(start, end), key) {
                        (None, _) => cell.nullable.then_some(TextColumn::MISSING)?,
                        (Some(text), _)
                            if limits.is_some_and(|limits| limits.of_text(text).is_some()) =>
                        {
                            return None;
                        }
                        (Some(text), Some(_)) => strings.share(text),
                        (Some(text), None) => strings.add(text),
                    };
                    if let Some(key) = key {
                        seen.note(key, code);
                    }
                    Some(code)
                });
            }
            _ => odd.extend(0..put.n_rows),
        }
        let mut spans = cells.spans();
        let mut next = 0;
        for row in odd {
            // The rows ascend.
            let Some((start, end)) = spans.nth(row - next) else { return };
            next = row + 1;
            match value(start, end) {
                Some(text) => put.text(row, spec, cell, text, &mut Seen::default()),
                None => put.missing(row),
            }
        }
    }

    /// Fills a field from strings; a field of another type than string or datetime takes none of them.
    pub fn strings<'t>(
        &mut self,
        field: usize,
        key: &str,
        cells: impl Iterator<Item = Option<&'t str>>,
    ) {
        if matches!(self.schema.fields()[field].kind(), Kind::String | Kind::Datetime) {
            return self.texts(field, key, cells);
        }
        let (spec, _, mut put) = self.open(field, key);
        put.each(cells, |put, row, text| {
            let found = format!("the string {}", quoted(text));
            put.refuse(row, CellProblem::Type { expected: spec.kind().expected(), found });
        });
    }

    /// Fills a field from strings that are given by their places among `entries`, by the rules of [`Self::strings`]. `None` is a missing value, as
    /// a key and as an entry.
    pub fn coded<T: AsRef<str>>(
        &mut self,
        field: usize,
        key: &str,
        entries: &[Option<T>],
        keys: impl Iterator<Item = Option<usize>>,
    ) {
        let text = |entry: usize| entries.get(entry)?.as_ref().map(AsRef::as_ref);
        if self.schema.fields()[field].kind() != Kind::String {
            return self.strings(field, key, keys.map(|entry| text(entry?)));
        }
        let (spec, cell, mut put) = self.open(field, key);
        // An entry is looked at when it comes first: a large dictionary has many that this table does not use.
        let mut known = vec![TextColumn::MISSING; entries.len()];
        let mut seen = Seen::default();
        put.each(keys.map(|entry| Some((entry?, text(entry?)?))), |put, row, (entry, text)| {
            let Column::Text(column) = &mut *put.column else { return };
            let (_, codes) = column.parts_mut();
            let (Some(code), Some(known)) = (codes.get_mut(row), known.get_mut(entry)) else {
                return;
            };
            if *known != TextColumn::MISSING {
                *code = *known;
                return;
            }
            put.string(row, spec, cell, text, &mut seen);
            if let Column::Text(column) = &*put.column {
                // Missing, if it was refused, which each row with it is to be told.
                *known = column.codes().get(row).copied().unwrap_or(TextColumn::MISSING);
            }
        });
    }

    /// Fills a field from integers: an int field, or a float field, which takes the nearest float.
    pub fn ints(&mut self, field: usize, key: &str, cells: impl Iterator<Item = Option<i64>>) {
        let (spec, cell, mut put) = self.open(field, key);
        match spec.kind() {
            Kind::Int => put.each(cells, |put, row, value| {
                put.int(row, spec, cell, value, || value.to_string());
            }),
            #[expect(
                clippy::cast_precision_loss,
                reason = "the nearest float, as when the same digits come in a row of JSON"
            )]
            Kind::Float => put.each(cells, |put, row, value| {
                put.float(row, spec, cell, value as f64, || value.to_string());
            }),
            kind => put.each(cells, |put, row, value| {
                let found = format!("the number {value}");
                put.refuse(row, CellProblem::Type { expected: kind.expected(), found });
            }),
        }
    }

    /// Fills a field from floats: a float field, or an int field, where they are whole numbers. NaN is a missing value.
    pub fn floats(&mut self, field: usize, key: &str, cells: impl Iterator<Item = Option<f64>>) {
        let (spec, cell, mut put) = self.open(field, key);
        let cells = cells.map(|cell| cell.filter(|value| !value.is_nan()));
        match spec.kind() {
            Kind::Float => put.each(cells, |put, row, value| {
                put.float(row, spec, cell, value, || value.to_string());
            }),
            Kind::Int => put.each(cells, |put, row, value| match whole(value) {
                Some(value) => put.int(row, spec, cell, value, || value.to_string()),
                None if value.fract() == 0.0 || value.is_infinite() => {
                    put.refuse(row, CellProblem::OutOfRange { found: value.to_string() });
                }
                None => put.refuse(row, CellProblem::NotInteger { found: value.to_string() }),
            }),
            kind => put.each(cells, |put, row, value| {
                let found = format!("the number {value}");
                put.refuse(row, CellProblem::Type { expected: kind.expected(), found });
            }),
        }
    }

    /// Fills a bool field; another field takes none of them.
    pub fn bools(&mut self, field: usize, key: &str, cells: impl Iterator<Item = Option<bool>>) {
        let (spec, _, mut put) = self.open(field, key);
        put.each(cells, |put, row, value| {
            if spec.kind() == Kind::Bool {
                put.set_int(row, i64::from(value));
            } else {
                let expected = spec.kind().expected();
                put.refuse(row, CellProblem::Type { expected, found: value.to_string() });
            }
        });
    }

    /// Fills a datetime field from microseconds since 1970; another field takes none of them.
    pub fn instants(&mut self, field: usize, key: &str, cells: impl Iterator<Item = Option<i64>>) {
        let (spec, _, mut put) = self.open(field, key);
        put.each(cells, |put, row, value| {
            if spec.kind() == Kind::Datetime {
                put.set_int(row, value);
            } else {
                let expected = spec.kind().expected();
                put.refuse(row, CellProblem::Type { expected, found: "a timestamp".to_owned() });
            }
        });
    }

    /// Fills a field from values of a type that it cannot take: only the missing ones may be good.
    pub fn unfit(
        &mut self,
        field: usize,
        key: &str,
        found: &str,
        missing: impl Iterator<Item = bool>,
    ) {
        let (spec, _, mut put) = self.open(field, key);
        let cells = missing.map(|missing| (!missing).then_some(()));
        put.each(cells, |put, row, ()| {
            let expected = spec.kind().expected();
            put.refuse(row, CellProblem::Type { expected, found: found.to_owned() });
        });
    }

    /// Fills a field that the table does not have: with its default, or with missing values. Where it may not be absent every row is bad.
    pub fn absent(&mut self, field: usize) {
        let name = self.schema.fields()[field].name();
        let n_rows = self.n_rows;
        let (_, cell, mut put) = self.open(field, name);
        match (&*cell.absent, &mut *put.column) {
            (Absent::Float(value), Column::Float(values)) => values.fill(*value),
            (Absent::Int(value), Column::Int(values)) => values.values_mut().fill(*value),
            (Absent::Text(value), Column::Text(values)) => {
                let (strings, codes) = values.parts_mut();
                codes.fill(strings.share(value));
            }
            (Absent::Missing, column) => (0..n_rows).for_each(|row| column.set_missing(row)),
            _ => (0..n_rows).for_each(|row| put.refuse(row, CellProblem::Missing)),
        }
    }

    /// Ends the table: the frame has its good rows.
    #[must_use]
    pub fn finish(self) -> Decoded {
        debug_assert!(
            self.frame.columns().iter().all(|column| column.len() == self.n_rows),
            "a field was filled with another number of rows, or not at all"
        );
        self.frame.set_n_rows(self.n_rows);
        if self.bad.is_empty() {
            return Decoded { n_rows: self.n_rows, ..Decoded::default() };
        }
        let keep: Vec<bool> = self.bad.iter().map(|bad| !bad).collect();
        self.frame.retain(&keep);
        let mut errors = self.errors;
        errors.sort_by_key(|(field, error)| (error.row, *field));
        Decoded {
            n_rows: self.n_rows,
            kept: Some((0..self.n_rows).filter(|row| keep[*row]).collect()),
            n_errors: errors.len(),
            errors: errors.into_iter().map(|(_, error)| error).collect(),
            ..Decoded::default()
        }
    }

    fn open<'s>(&'s mut self, field: usize, key: &'s str) -> (&'a Field, &'a Cell, Put<'s>) {
        let schema = self.schema;
        let (spec, cell) = (&schema.fields()[field], &schema.plan.cells[field]);
        let column = &mut self.frame.columns_mut()[field];
        column.resize(self.n_rows);
        let put = Put {
            column,
            nullable: cell.nullable,
            expected: spec.kind().expected(),
            n_rows: self.n_rows,
            bad: &mut self.bad,
            errors: &mut self.errors,
            field,
            key,
        };
        (spec, cell, put)
    }
}

/// One column that is being filled.
struct Put<'a> {
    column: &'a mut Column,
    nullable: bool,
    expected: &'static str,
    n_rows: usize,
    bad: &'a mut Vec<bool>,
    errors: &'a mut Vec<(usize, CellError)>,
    field: usize,
    key: &'a str,
}

impl Put<'_> {
    #[inline]
    fn each<T>(
        &mut self,
        cells: impl Iterator<Item = Option<T>>,
        mut put: impl FnMut(&mut Self, usize, T),
    ) {
        // One loop for each way to put a cell, with the cell's reading in it: a call for each cell costs as much as reading it.
        cells.enumerate().for_each(|(row, cell)| match cell {
            Some(value) => put(self, row, value),
            None => self.missing(row),
        });
    }

    #[inline]
    fn missing(&mut self, row: usize) {
        if self.nullable {
            self.column.set_missing(row);
        } else {
            self.refuse(row, CellProblem::Null { expected: self.expected });
        }
    }

    /// Notes what is wrong; the place in the column is filled all the same.
    #[cold]
    fn refuse(&mut self, row: usize, problem: CellProblem) {
        self.column.set_missing(row);
        self.bad.resize(self.n_rows, false);
        self.bad[row] = true;
        let error = CellError { row: Some(row), field: Some(self.key.to_owned()), problem };
        self.errors.push((self.field, error));
    }

    #[inline]
    fn set_int(&mut self, row: usize, value: i64) {
        if let Column::Int(column) = &mut *self.column
            && let Some(place) = column.values_mut().get_mut(row)
        {
            *place = value;
        }
    }

    #[inline]
    fn int(
        &mut self,
        row: usize,
        field: &Field,
        cell: &Cell,
        value: i64,
        found: impl Fn() -> String,
    ) {
        match cell.limits.as_ref().and_then(|limits| limits.of_int(value)) {
            None => self.set_int(row, value),
            Some(breach) => self.refuse(row, breach.problem(field, found())),
        }
    }

    #[inline]
    fn float(
        &mut self,
        row: usize,
        field: &Field,
        cell: &Cell,
        value: f64,
        found: impl Fn() -> String,
    ) {
        if !value.is_finite() {
            self.refuse(row, CellProblem::NotFinite { found: found() });
        } else if let Some(breach) =
            cell.limits.as_ref().and_then(|_| Breach::of_float(field, value))
        {
            self.refuse(row, breach.problem(field, found()));
        } else if let Column::Float(values) = &mut *self.column
            && let Some(place) = values.get_mut(row)
        {
            *place = value;
        }
    }

    /// A cell of a field of any kind.
    #[inline]
    fn text(&mut self, row: usize, field: &Field, cell: &Cell, text: &str, seen: &mut Seen) {
        match field.kind() {
            Kind::Int => match integer(text) {
                Ok(value) => self.int(row, field, cell, value, || cut(text)),
                Err(problem) => self.refuse(row, problem),
            },
            Kind::Float => match float(text) {
                Ok(value) => self.float(row, field, cell, value, || cut(text)),
                Err(problem) => self.refuse(row, problem),
            },
            Kind::Bool => match boolean(text) {
                Some(value) => self.set_int(row, value),
                None => self.refuse(row, of_type(Kind::Bool, text.trim())),
            },
            Kind::Datetime => match datetime::parse(text.trim()) {
                Some(value) => self.set_int(row, value),
                None => self.refuse(row, CellProblem::Datetime { found: quoted(text) }),
            },
            _ => self.string(row, field, cell, text, seen),
        }
    }

    #[inline]
    fn string(&mut self, row: usize, field: &Field, cell: &Cell, text: &str, seen: &mut Seen) {
        let Column::Text(column) = &mut *self.column else { return };
        let (strings, codes) = column.parts_mut();
        let Some(place) = codes.get_mut(row) else { return };
        let key = Short::of(text.as_bytes());
        if let Some(code) = key.and_then(|key| seen.find(key)) {
            *place = code;
            return;
        }
        if let Some(breach) = cell.limits.as_ref().and_then(|limits| limits.of_text(text)) {
            return self.refuse(row, breach.problem(field, quoted(text)));
        }
        match key {
            Some(key) => {
                *place = strings.share(text);
                seen.note(key, *place);
            }
            None => *place = strings.add(text),
        }
    }
}

/// Reads each cell into its place, and notes the rows of those that cannot be read.
#[inline]
fn read_each<T>(
    cells: &impl RawCells,
    places: &mut [T],
    odd: &mut Vec<usize>,
    mut read: impl FnMut(usize, usize) -> Option<T>,
) {
    for (row, (place, (start, end))) in places.iter_mut().zip(cells.spans()).enumerate() {
        match read(start, end) {
            Some(value) => *place = value,
            None => odd.push(row),
        }
    }
}

/// The integer of one to eight digits that stands there, if it is one and does not end the text.
#[inline]
fn few_digits(text: &[u8], start: usize, end: usize) -> Option<i64> {
    let len = end.wrapping_sub(start);
    if !(1..=8).contains(&len) {
        return None;
    }
    let word = u64::from_le_bytes(*text.get(start..)?.first_chunk()?);
    // The first digit is in the lowest byte. What is behind the last one is shifted out, and zeros come in before the first.
    let digits = (word ^ 0x3030_3030_3030_3030) << (64 - 8 * len);
    if (digits.wrapping_add(0x7676_7676_7676_7676) | digits) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    // Pairs of digits, then pairs of pairs, then both halves: each multiplication adds up what is in different bytes.
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    const EVERY_FOURTH: u64 = 0x0000_00ff_0000_00ff;
    let first = (pairs & EVERY_FOURTH).wrapping_mul(100 + (1_000_000 << 32));
    let second = (pairs >> 16 & EVERY_FOURTH).wrapping_mul(1 + (10_000 << 32));
    Some((first.wrapping_add(second) >> 32).cast_signed())
}

/// 1 or 0, in words or digits.
fn boolean(text: &str) -> Option<i64> {
    let text = text.trim();
    if text == "1" || text.eq_ignore_ascii_case("true") {
        Some(1)
    } else if text == "0" || text.eq_ignore_ascii_case("false") {
        Some(0)
    } else {
        None
    }
}

fn of_type(kind: Kind, text: &str) -> CellProblem {
    CellProblem::Type { expected: kind.expected(), found: quoted(text) }
}

/// The integer that a text is, by its digits: `5`, `5.0`, `5e0`.
#[must_use]
pub(crate) fn integer_of_text(text: &str) -> Option<i64> {
    integer(text).ok()
}

/// The integer that a cell is.
#[inline]
fn integer(text: &str) -> Result<i64, CellProblem> {
    // Most are a few digits; a few digits cannot overflow.
    if text.len() <= 18
        && !text.is_empty()
        && let Some(value) = text.bytes().try_fold(0_i64, |sum, byte| {
            let digit = byte.wrapping_sub(b'0');
            (digit < 10).then(|| sum * 10 + i64::from(digit))
        })
    {
        return Ok(value);
    }
    odd_integer(text)
}

#[cold]
fn odd_integer(text: &str) -> Result<i64, CellProblem> {
    let trimmed = text.trim();
    if let Ok(value) = trimmed.parse() {
        return Ok(value);
    }
    let canonical = canonical(trimmed);
    let number = Scanner::open(canonical.as_bytes()).and_then(|mut scan| {
        let number = scan.number()?;
        scan.finish()?;
        Ok(number)
    });
    match number.map(super::json::Number::to_integer) {
        Ok(Integer::Exact(value)) => Ok(value),
        Ok(Integer::Fraction) => Err(CellProblem::NotInteger { found: cut(trimmed) }),
        Ok(Integer::OutOfRange) => Err(CellProblem::OutOfRange { found: cut(trimmed) }),
        Err(_no_number) => Err(of_type(Kind::Int, text)),
    }
}

/// The float that a cell is.
#[inline]
fn float(text: &str) -> Result<f64, CellProblem> {
    // An integer below 2^53 is exact.
    if text.len() <= 15
        && !text.is_empty()
        && let Some(value) = text.bytes().try_fold(0_u64, |sum, byte| {
            let digit = byte.wrapping_sub(b'0');
            (digit < 10).then(|| sum * 10 + u64::from(digit))
        })
    {
        #[expect(clippy::cast_precision_loss, reason = "at most 15 digits, so nothing is lost")]
        return Ok(value as f64);
    }
    let trimmed = text.trim();
    // The parser also takes `inf` and `nan`, in any case.
    let looks_like_number = trimmed
        .bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    match trimmed.parse() {
        Ok(value) if looks_like_number => Ok(value),
        Ok(_infinite_or_nan) => Err(CellProblem::NotFinite { found: cut(trimmed) }),
        Err(_no_number) => Err(of_type(Kind::Float, text)),
    }
}

/// A number as JSON writes it: without a plus sign and leading zeros, with digits on both sides of the point. Other text stays as it is.
fn canonical(text: &str) -> String {
    if !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return text.to_owned();
    }
    let (sign, digits) = match text.as_bytes().first() {
        Some(b'-') => ("-", &text[1..]),
        Some(b'+') => ("", &text[1..]),
        _ => ("", text),
    };
    let stripped = digits.trim_start_matches('0');
    let whole = stripped.bytes().take_while(u8::is_ascii_digit).count();
    let zero = if whole == 0 && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        "0"
    } else {
        ""
    };
    let mut text = format!("{sign}{zero}{stripped}");
    if let Some(at) = text.find('.')
        && !text[at + 1..].starts_with(|c: char| c.is_ascii_digit())
    {
        text.remove(at);
    }
    text
}

/// A whole number in the range of 64-bit integers.
fn whole(value: f64) -> Option<i64> {
    #[expect(clippy::cast_precision_loss, reason = "a power of two is exact")]
    const TWO_TO_63: f64 = (1_u64 << 63) as f64;
    // 2^63 itself is beyond; both bounds are exact as floats.
    let in_range = (-TWO_TO_63..TWO_TO_63).contains(&value);
    #[expect(clippy::cast_possible_truncation, reason = "whole and in range, so nothing is lost")]
    (in_range && value.fract() == 0.0).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cell_is_an_integer_by_its_digits() {
        for (text, expected) in [
            ("5", 5),
            ("-5", -5),
            ("+5", 5),
            ("005", 5),
            (" 5 ", 5),
            ("5.0", 5),
            ("5.", 5),
            ("-0.0", 0),
            ("5e2", 500),
            ("0.5e1", 5),
            (".5e1", 5),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
            ("9223372036854775807.0", i64::MAX),
        ] {
            assert_eq!(integer(text), Ok(expected), "{text}");
        }
        for (text, code) in [
            ("5.5", "not_integer"),
            ("", "type"),
            ("abc", "type"),
            ("5 5", "type"),
            ("1,000", "type"),
            (".", "type"),
            ("5e", "type"),
            ("0x10", "type"),
            ("9223372036854775808", "out_of_range"),
            ("nan", "type"),
            ("--5", "type"),
            ("1e400", "out_of_range"),
            ("٣", "type"),
        ] {
            assert_eq!(integer(text).unwrap_err().code(), code, "{text}");
        }
    }

    #[test]
    fn a_cell_is_the_nearest_float() {
        for (text, expected) in [
            ("5", 5.0),
            ("-0.1", -0.1),
            (" 1e3", 1e3),
            ("+.5", 0.5),
            ("5.", 5.0),
            ("0.1", 0.1),
            ("123456789012345", 123_456_789_012_345.0),
        ] {
            assert_eq!(float(text).map(f64::to_bits), Ok(f64::to_bits(expected)), "{text}");
        }
        for (text, code) in [
            ("inf", "not_finite"),
            ("NaN", "not_finite"),
            ("1e", "type"),
            ("", "type"),
            ("1 2", "type"),
            ("1,5", "type"),
        ] {
            assert_eq!(float(text).unwrap_err().code(), code, "{text}");
        }
        assert_eq!(float("1e400"), Ok(f64::INFINITY), "refused where it is put into a column");
    }

    #[test]
    fn bad_rows_are_left_out_and_all_their_errors_listed_in_order() {
        let schema = Schema::load(
            serde_json::from_value(json!([
                {"name": "a", "type": "int"},
                {"name": "b", "type": "float", "nullable": true, "required": false},
                {"name": "c", "type": "string", "nullable": true},
                {"name": "d", "type": "bool", "required": false, "default": true},
            ]))
            .unwrap(),
        )
        .unwrap();
        let mut frame = schema.frame();
        let mut filler = Filler::new(&schema, &mut frame, 4);
        filler.texts(2, "C", [Some("x"), None, Some("z"), Some("w")].into_iter());
        filler.texts(1, "b", [Some("1"), Some("no"), None, Some("1e999")].into_iter());
        filler.texts(0, "a", [Some("1"), None, Some("3"), Some("4.5")].into_iter());
        filler.absent(3);
        let decoded = filler.finish();
        assert_eq!(decoded.kept, Some(vec![0, 2]));
        let shown: Vec<String> = decoded.errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "row 1, field `a`: expected an integer, found null; a missing value is not allowed here",
                "row 1, field `b`: expected a number, found \"no\"",
                "row 3, field `a`: expected an integer, found 4.5",
                "row 3, field `b`: the number 1e999 is too large for a 64-bit float",
            ]
        );
        let mut expected = schema.frame();
        schema
            .decode(
                br#"[{"a":1,"b":1,"c":"x"},{"a":3,"c":"z"}]"#,
                &crate::schema::DecodeOptions::default(),
                &mut expected,
            )
            .unwrap();
        let Column::Float(values) = &frame.columns()[1] else { panic!() };
        assert!(values[1].is_nan());
        assert_eq!(frame.n_rows(), expected.n_rows());
        assert_eq!(frame.columns()[0], expected.columns()[0]);
        assert_eq!(frame.columns()[2..], expected.columns()[2..]);
    }

    #[test]
    fn typed_cells_fit_as_json_of_the_same_value_does() {
        let schema = Schema::load(
            serde_json::from_value(json!([
                {"name": "a", "type": "int"}, {"name": "b", "type": "float"},
            ]))
            .unwrap(),
        )
        .unwrap();
        let mut frame = schema.frame();
        let mut filler = Filler::new(&schema, &mut frame, 2);
        filler.floats(0, "a", [Some(5.0), Some(5.5)].into_iter());
        filler.ints(1, "b", [Some(1), Some(2)].into_iter());
        let decoded = filler.finish();
        assert_eq!(
            (decoded.kept, decoded.errors[0].problem.code()),
            (Some(vec![0]), "not_integer")
        );
        let mut filler = Filler::new(&schema, &mut frame, 1);
        filler.strings(0, "a", [Some("5")].into_iter());
        filler.bools(1, "b", [Some(true)].into_iter());
        let shown: Vec<String> = filler.finish().errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "row 0, field `a`: expected an integer, found the string \"5\"",
                "row 0, field `b`: expected a number, found true",
            ]
        );
        assert_eq!(frame.n_rows(), 0);
    }

    /// Cells that stand one behind the other, with something in between. `NA` is missing, and `404`.
    struct Standing {
        text: String,
        spans: Vec<(usize, usize)>,
        digits_are_values: bool,
    }

    impl RawCells for Standing {
        fn text(&self) -> &str {
            &self.text
        }

        fn spans(&self) -> impl Iterator<Item = (usize, usize)> {
            self.spans.iter().copied()
        }

        fn value(&self, start: usize, end: usize) -> Option<&str> {
            let value = &self.text[start..end];
            (value != "NA" && (self.digits_are_values || value != "404")).then_some(value)
        }

        fn digits_are_values(&self) -> bool {
            self.digits_are_values
        }
    }

    fn field(kind: &str, nullable: bool, enforce: bool) -> Schema {
        let mut field = json!({"name": "a", "type": kind, "nullable": nullable});
        if enforce {
            field["enforce"] = true.into();
            match kind {
                "string" => field["categories"] = json!(["RL", "a text of 16 bytes", "404"]),
                _ => field["maximum"] = json!(1000),
            }
        }
        Schema::load(serde_json::from_value(json!([field])).unwrap()).unwrap()
    }

    proptest::proptest! {
        /// What is read where it stands is what is read when it is taken out of the text: values, and what is wrong.
        #[test]
        fn cells_are_read_where_they_stand(
            cells in proptest::collection::vec(
                "NA|404|RL|FV|[0-9]{1,9}|-?[0-9]{0,3}[.][0-9]{0,3}|[a-c\u{0}é]{0,3}|[ab]{14,17}|true|0|2020-01-0[0-3]|[/:0-9]{1,8}",
                0..200,
            ),
            kind in proptest::sample::select(vec!["int", "float", "bool", "datetime", "string"]),
            nullable: bool,
            enforce: bool,
            digits_are_values: bool,
        ) {
            let schema = field(kind, nullable, enforce && matches!(kind, "int" | "float" | "string"));
            let mut standing = Standing { text: String::new(), spans: Vec::new(), digits_are_values };
            for cell in &cells {
                let start = standing.text.len();
                standing.text.push_str(cell);
                standing.spans.push((start, standing.text.len()));
                standing.text.push(',');
            }
            let (mut frame, mut taken_out) = (schema.frame(), schema.frame());
            let mut filler = Filler::new(&schema, &mut frame, cells.len());
            filler.cells(0, "a", &standing);
            let decoded = filler.finish();
            let mut filler = Filler::new(&schema, &mut taken_out, cells.len());
            filler.texts(0, "a", standing.spans.iter().map(|(start, end)| standing.value(*start, *end)));
            proptest::prop_assert_eq!(decoded, filler.finish());
            proptest::prop_assert_eq!(values(&frame), values(&taken_out));
        }
    }

    proptest::proptest! {
        /// Strings that are given by their places are what the strings themselves would be: values, and what is wrong.
        #[test]
        fn entries_are_read_as_their_strings(
            entries in proptest::collection::vec(proptest::option::of("RL|FV|404|2020-01-0[0-3]|[ab]{14,17}"), 0..8),
            keys in proptest::collection::vec(proptest::option::of(0_usize..8), 0..100),
            kind in proptest::sample::select(vec!["int", "datetime", "string"]),
            nullable: bool,
            enforce: bool,
        ) {
            let schema = field(kind, nullable, enforce && kind == "string");
            let (mut frame, mut taken_out) = (schema.frame(), schema.frame());
            let mut filler = Filler::new(&schema, &mut frame, keys.len());
            filler.coded(0, "a", &entries, keys.iter().copied());
            let decoded = filler.finish();
            let mut filler = Filler::new(&schema, &mut taken_out, keys.len());
            filler.strings(0, "a", keys.iter().map(|entry| entries.get((*entry)?)?.as_deref()));
            proptest::prop_assert_eq!(decoded, filler.finish());
            proptest::prop_assert_eq!(values(&frame), values(&taken_out));
        }
    }

    /// The values of the only column. NaN is shown like any other.
    fn values(frame: &Frame) -> Vec<String> {
        let rows = 0..frame.n_rows();
        match &frame.columns()[0] {
            Column::Float(values) => rows.map(|row| values[row].to_string()).collect(),
            Column::Int(column) => rows.map(|row| format!("{:?}", column.get(row))).collect(),
            Column::Text(column) => rows.map(|row| format!("{:?}", column.get(row))).collect(),
            Column::Tensor(_) | Column::Image(_) => panic!(),
        }
    }

    #[test]
    fn a_few_digits_are_an_integer_wherever_they_stand() {
        for text in ["0", "7", "42", "007", "1234567", "98765432"] {
            let (len, padded) = (text.len(), format!("x{text},12345678"));
            assert_eq!(few_digits(padded.as_bytes(), 1, 1 + len), text.parse().ok(), "{text}");
        }
        for text in ["", "-1", "1.", "12345678", "1a", "/", ":", "é", "1 "] {
            let padded = format!("{text}........");
            let found = few_digits(padded.as_bytes(), 0, text.len());
            assert_eq!(found, text.parse().ok().filter(|value| *value >= 0), "{text}");
        }
        assert_eq!(few_digits(b"123456789...", 0, 9), None, "too many");
        assert_eq!(few_digits(b"1234", 0, 4), None, "nothing behind it");
    }
}
