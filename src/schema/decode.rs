//! JSON rows to typed columns, in one pass over the text.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::datetime;
use super::error::shorten;
use super::json::{Integer, Scan, Scanner};
use super::layout::Layout;
use super::{CellError, CellProblem, Column, Field, Frame, Kind, Scalar, Schema, SyntaxError};
use super::{nested, picture};
use crate::image;

/// What becomes of a key that is no field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnknownFields {
    /// It is skipped (its value must still be well-formed).
    #[default]
    Ignore,
    /// It is an error of its row.
    Reject,
}

/// How a body is decoded.
#[derive(Debug, Clone, Copy)]
pub struct DecodeOptions {
    /// What becomes of a key that is no field.
    pub unknown_fields: UnknownFields,
    /// Rows that a request may have; one more refuses the request as a whole.
    pub max_rows: usize,
    /// Errors that are kept; the rest are only counted. One is always kept.
    pub max_errors: usize,
    /// What a picture may cost.
    pub images: image::Limits,
}

impl Default for DecodeOptions {
    fn default() -> Self {
        Self {
            unknown_fields: UnknownFields::Ignore,
            max_rows: 100_000,
            max_errors: 100,
            images: image::Limits::default(),
        }
    }
}

/// How the rows stood in the body. Decides how a row is pointed at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// `{"inputs": [{…}, …]}`.
    #[default]
    Wrapped,
    /// `{"inputs": {…}}`: one bare row.
    WrappedRow,
    /// `[{…}, …]`: a bare array of rows.
    Bare,
}

impl Form {
    /// The JSON pointer (RFC 6901, as a URI fragment) of a row and field in a body of this form.
    #[must_use]
    pub fn pointer(self, row: Option<usize>, field: Option<&str>) -> String {
        let mut pointer = match self {
            Self::Wrapped | Self::WrappedRow => "#/inputs".to_owned(),
            Self::Bare => "#".to_owned(),
        };
        if let Some(row) = row
            && self != Self::WrappedRow
        {
            // Writing to a string cannot fail.
            let _infallible = write!(pointer, "/{row}");
        }
        if let Some(field) = field {
            pointer.push('/');
            pointer.push_str(&field.replace('~', "~0").replace('/', "~1"));
        }
        pointer
    }
}

/// What a body held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Decoded {
    /// How the rows stood in the body.
    pub form: Form,
    /// Rows in the body, good and bad.
    pub n_rows: usize,
    /// For each row of the frame its index in the body; `None` when there was no error, so that they are the same.
    pub kept: Option<Vec<usize>>,
    /// The errors, at most [`DecodeOptions::max_errors`]: first those of the request as a whole ([`CellError::row`] is
    /// `None`), then those of its rows, in the order of the body. With one of the first kind the frame is empty.
    pub errors: Vec<CellError>,
    /// Errors in all.
    pub n_errors: usize,
    /// Where the text of the inputs stands in the body: the value of `inputs`, or the bare array. Without either, the
    /// whole value.
    pub inputs: Range<usize>,
}

impl Schema {
    /// Clears a frame; one that is not of this schema's columns is replaced by one that is.
    pub(super) fn prepare(&self, frame: &mut Frame) {
        let belongs = |(field, column): (&Field, &Column)| match field.kind() {
            Kind::Int | Kind::Bool | Kind::Datetime => matches!(column, Column::Int(_)),
            Kind::Float => matches!(column, Column::Float(_)),
            Kind::String => matches!(column, Column::Text(_)),
            // Of which type and shape does not show cheaply: a frame is of the schema that made it.
            Kind::Tensor => matches!(column, Column::Tensor(_)),
            Kind::Image => matches!(column, Column::Image(_)),
        };
        let is_known = frame.layout_mut().is_of(self.plan.id);
        let n_columns = frame.columns().len();
        if n_columns != self.fields.len()
            || (!is_known && !self.fields.iter().zip(frame.columns()).all(belongs))
        {
            *frame = self.frame();
        }
        frame.clear();
    }

    /// Reads the rows of a request body into `frame`, which is cleared first. Rows with an error are left out of it.
    ///
    /// Takes `{"inputs": [row, …]}`, `{"inputs": row}` and `[row, …]`. Each field's value becomes a cell of its column:
    /// `null` and an absent nullable field are missing. A frame that was not made by [`Self::frame`] is replaced by one.
    ///
    /// # Errors
    /// [`SyntaxError`] when the body is not JSON; the frame is empty then. All other faults, cell by cell, are in
    /// [`Decoded::errors`].
    pub fn decode(
        &self,
        body: &[u8],
        options: &DecodeOptions,
        frame: &mut Frame,
    ) -> Result<Decoded, SyntaxError> {
        self.read(Scanner::open(body), options, frame, |reader| reader.body())
    }

    /// Reads a picture into `frame`, which is cleared first, as the one row that has its file in the field at `index` and no other: the same as
    /// [`Self::decode`] of `{"inputs": {"…": "<base64>"}}`, without the base64. The file is shared, and not copied.
    ///
    /// A field that holds no pictures gets none, and so has the error of one that is missing. [`Decoded::inputs`] is empty.
    pub fn decode_picture(
        &self,
        file: &Bytes,
        index: usize,
        options: &DecodeOptions,
        frame: &mut Frame,
    ) -> Decoded {
        let nothing = Scanner::within("", 0);
        let read = self.read(Ok(nothing), options, frame, |reader| {
            reader.picture(file, index);
            Ok(())
        });
        // Nothing was read that could be malformed.
        read.unwrap_or_default()
    }

    /// Reads one body into `frame`, which is cleared first and left without any row when the body is refused as a whole.
    fn read<'a>(
        &self,
        scan: Scan<Scanner<'a>>,
        options: &DecodeOptions,
        frame: &mut Frame,
        body: impl FnOnce(&mut Reader<'_, 'a>) -> Scan<()>,
    ) -> Result<Decoded, SyntaxError> {
        self.prepare(frame);
        let mut layout = std::mem::take(frame.layout_mut());
        layout.belong_to(self.plan.id);
        let outcome = scan.and_then(|scan| {
            let mut reader = Reader::new(self, options, scan, frame.columns_mut(), &mut layout);
            body(&mut reader)?;
            Ok((reader.n_good, reader.into_decoded()))
        });
        layout.settle();
        *frame.layout_mut() = layout;
        match outcome {
            Ok((n_good, decoded)) => {
                frame.set_n_rows(n_good);
                if decoded.n_errors > 0 {
                    frame.columns_mut().iter_mut().for_each(Column::settle);
                    if decoded.errors.iter().any(|error| error.row.is_none()) {
                        frame.clear();
                    }
                }
                Ok(decoded)
            }
            Err(error) => {
                frame.clear();
                Err(*error)
            }
        }
    }
}

/// What the lines of an NDJSON text held.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DecodedLines {
    /// As for a body; the lines are the rows, also those that are not JSON.
    pub decoded: Decoded,
    /// The lines that are not JSON, with what is wrong; line numbers count from the start of the text.
    pub not_json: Vec<(usize, SyntaxError)>,
}

impl Schema {
    /// Reads rows that stand one on a line each (NDJSON) into `frame`, which is cleared first. `lines` are their places in `text`.
    ///
    /// A line that is not JSON is a bad row like any other. Limits of rows do not apply.
    pub fn decode_lines(
        &self,
        text: &str,
        lines: &[Range<usize>],
        unknown_fields: UnknownFields,
        frame: &mut Frame,
    ) -> DecodedLines {
        self.prepare(frame);
        let options = DecodeOptions {
            unknown_fields,
            max_rows: usize::MAX,
            max_errors: usize::MAX,
            images: image::Limits { max_request_pixels: usize::MAX, ..image::Limits::default() },
        };
        let mut not_json = Vec::new();
        let mut layout = std::mem::take(frame.layout_mut());
        layout.belong_to(self.plan.id);
        let scan = Scanner::within(text, text.len());
        let mut reader = Reader::new(self, &options, scan, frame.columns_mut(), &mut layout);
        for (row, line) in lines.iter().enumerate() {
            let upto = text.get(..line.end).unwrap_or_default();
            reader.scan = Scanner::within(upto, line.start);
            if let Err(error) = reader.line() {
                not_json.push((row, *error));
            }
        }
        let (n_good, decoded) = (reader.n_good, reader.into_decoded());
        layout.settle();
        *frame.layout_mut() = layout;
        frame.set_n_rows(n_good);
        if decoded.kept.is_some() {
            frame.columns_mut().iter_mut().for_each(Column::settle);
        }
        DecodedLines { decoded, not_json }
    }
}

/// What decoding looks up for each key and cell; made once, from the checked fields.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// Tells this plan from those of other schemas.
    id: u64,
    pub(super) cells: Vec<Cell>,
    /// Hash table, by linear probing, of indices into [`Schema::names`]; at most a quarter full.
    slots: Vec<u32>,
}

/// What a field's cell may be.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    kind: Kind,
    /// Whether numbers and texts go into the column as they come.
    is_plain: bool,
    pub(super) nullable: bool,
    /// `None` where nothing is enforced.
    pub(super) limits: Option<Box<Limits>>,
    pub(super) absent: Box<Absent>,
}

/// What a cell is when its key is not in the row.
#[derive(Debug, Clone)]
pub(super) enum Absent {
    Error,
    Missing,
    Float(f64),
    Int(i64),
    Text(String),
}

/// The enforced limits of a field.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    /// Limits of integers, rounded to the side on which the allowed ones are. Wide enough for any bound.
    least: i128,
    greatest: i128,
    categories: Option<Categories>,
}

/// The enforced categories, sorted.
#[derive(Debug, Clone)]
pub(super) enum Categories {
    Int(Vec<i64>),
    Text(Vec<String>),
}

const EMPTY: u32 = u32::MAX;

impl Plan {
    /// The plan of these fields; `names` has every name and alias, sorted, with the field's index.
    pub(super) fn new(fields: &[Field], names: &[(String, usize)]) -> Self {
        let mut slots = vec![EMPTY; (names.len() * 4).next_power_of_two()];
        for (index, (name, _)) in names.iter().enumerate() {
            let mut at = hash(name.as_bytes());
            while slots[at & (slots.len() - 1)] != EMPTY {
                at += 1;
            }
            at &= slots.len() - 1;
            slots[at] = u32::try_from(index).unwrap_or(EMPTY);
        }
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, cells: fields.iter().map(Cell::new).collect(), slots }
    }

    /// The field of a key.
    fn find(&self, key: &str, names: &[(String, usize)]) -> Option<usize> {
        let mut at = hash(key.as_bytes());
        loop {
            let index = self.slots[at & (self.slots.len() - 1)];
            // The table has empty slots, so the search ends; and `EMPTY` is the index of no name.
            let (name, field) = names.get(index as usize)?;
            if name == key {
                return Some(*field);
            }
            at += 1;
        }
    }
}

/// A hash of the ends and the length of a key: enough to tell the few names of a schema apart. The keys of a request
/// cannot crowd the table, as they never go into it.
#[inline]
fn hash(key: &[u8]) -> usize {
    let ends = if let (Some(head), Some(tail)) = (key.first_chunk::<8>(), key.last_chunk::<8>()) {
        u64::from_le_bytes(*head) ^ u64::from_le_bytes(*tail).rotate_left(29)
    } else if let (Some(head), Some(tail)) = (key.first_chunk::<4>(), key.last_chunk::<4>()) {
        u64::from(u32::from_le_bytes(*head)) ^ u64::from(u32::from_le_bytes(*tail)).rotate_left(29)
    } else {
        key.iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
    };
    let mixed = (ends ^ key.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    // The upper half of the product depends on every bit.
    usize::try_from(mixed >> 32).unwrap_or(0)
}

impl Cell {
    fn new(field: &Field) -> Self {
        let spec = field.spec();
        let absent = match &spec.default {
            #[expect(
                clippy::cast_precision_loss,
                reason = "the nearest float, as when the same digits come in a row"
            )]
            Some(Scalar::Int(value)) if field.kind() == Kind::Float => Absent::Float(*value as f64),
            Some(Scalar::Int(value)) => Absent::Int(*value),
            Some(Scalar::Float(value)) => Absent::Float(*value),
            Some(Scalar::Bool(value)) => Absent::Int(i64::from(*value)),
            Some(Scalar::Text(value)) if field.kind() == Kind::Datetime => {
                // A default that is no date is refused with the schema.
                datetime::parse(value).map_or(Absent::Missing, Absent::Int)
            }
            Some(Scalar::Text(value)) => Absent::Text(value.clone()),
            None if spec.required => Absent::Error,
            None => Absent::Missing,
        };
        Self {
            kind: field.kind(),
            is_plain: !spec.enforce
                && matches!(field.kind(), Kind::Int | Kind::Float | Kind::String),
            nullable: spec.nullable,
            limits: spec.enforce.then(|| Box::new(Limits::new(field))),
            absent: Box::new(absent),
        }
    }
}

impl Limits {
    fn new(field: &Field) -> Self {
        let spec = field.spec();
        #[expect(
            clippy::cast_possible_truncation,
            reason = "saturates, far outside the range of the integers"
        )]
        let bound = |bound: &Option<Scalar>, round: fn(f64) -> f64| match bound {
            Some(Scalar::Int(value)) => Some(i128::from(*value)),
            Some(Scalar::Float(value)) => Some(round(*value) as i128),
            _ => None,
        };
        let mut ints: Vec<i64> = Vec::new();
        let mut texts: Vec<String> = Vec::new();
        for category in spec.categories.iter().flatten() {
            match category {
                Scalar::Int(value) => ints.push(*value),
                Scalar::Text(value) => texts.push(value.clone()),
                Scalar::Bool(_) | Scalar::Float(_) => {}
            }
        }
        ints.sort_unstable();
        texts.sort_unstable();
        Self {
            least: bound(&spec.minimum, f64::ceil).unwrap_or(i128::MIN),
            greatest: bound(&spec.maximum, f64::floor).unwrap_or(i128::MAX),
            categories: spec.categories.as_ref().map(|_| match field.kind() {
                Kind::String => Categories::Text(texts),
                Kind::Int
                | Kind::Float
                | Kind::Bool
                | Kind::Datetime
                | Kind::Tensor
                | Kind::Image => Categories::Int(ints),
            }),
        }
    }

    /// Which limit an integer breaks.
    pub(super) fn of_int(&self, value: i64) -> Option<Breach> {
        let wide = i128::from(value);
        match &self.categories {
            _ if wide < self.least => Some(Breach::Minimum),
            _ if wide > self.greatest => Some(Breach::Maximum),
            Some(Categories::Int(known)) if known.binary_search(&value).is_err() => {
                Some(Breach::Category)
            }
            _ => None,
        }
    }

    /// Which limit a string breaks.
    pub(super) fn of_text(&self, value: &str) -> Option<Breach> {
        match &self.categories {
            Some(Categories::Text(known))
                if known.binary_search_by(|known| known.as_str().cmp(value)).is_err() =>
            {
                Some(Breach::Category)
            }
            _ => None,
        }
    }
}

/// An enforced limit that a value breaks.
#[derive(Debug, Clone, Copy)]
pub(super) enum Breach {
    Minimum,
    Maximum,
    Category,
}

impl Breach {
    /// Which limit of `field` a float breaks.
    pub(super) fn of_float(field: &Field, value: f64) -> Option<Self> {
        if field.minimum().is_some_and(|minimum| value < minimum) {
            return Some(Self::Minimum);
        }
        field.maximum().is_some_and(|maximum| value > maximum).then_some(Self::Maximum)
    }

    /// The error, for a value that is shown as `found`.
    pub(super) fn problem(self, field: &Field, found: String) -> CellProblem {
        match self {
            Self::Minimum => CellProblem::Minimum {
                found,
                minimum: field.minimum().unwrap_or(f64::NEG_INFINITY),
            },
            Self::Maximum => {
                CellProblem::Maximum { found, maximum: field.maximum().unwrap_or(f64::INFINITY) }
            }
            Self::Category => CellProblem::Category { found, allowed: allowed(field) },
        }
    }
}

/// The categories of a field, or the first of them.
fn allowed(field: &Field) -> String {
    const N_SHOWN: usize = 10;
    let categories = field.spec().categories.as_deref().unwrap_or_default();
    let show = |category: &Scalar| match category {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
        Scalar::Float(value) => value.to_string(),
        Scalar::Text(value) => quoted(value),
    };
    let mut allowed = categories.iter().take(N_SHOWN).map(show).collect::<Vec<_>>().join(", ");
    if categories.len() > N_SHOWN {
        // Writing to a string cannot fail.
        let _infallible = write!(allowed, ", … ({} in all)", categories.len());
    }
    allowed
}

/// Characters of a value that are shown.
pub(super) const SHOWN: usize = 40;

/// The start of a text that may be long.
pub(super) fn cut(text: &str) -> String {
    shorten(text, SHOWN)
}

/// The start of a string, in quotes, with escapes.
pub(super) fn quoted(text: &str) -> String {
    format!("{:?}", cut(text))
}

/// A key as it stands in a row: a place in the text.
#[derive(Debug, Clone, Copy)]
struct Key {
    /// Its opening quote.
    start: usize,
    field: Option<usize>,
}

/// One pass over a body.
struct Reader<'r, 'a> {
    schema: &'r Schema,
    options: &'r DecodeOptions,
    scan: Scanner<'a>,
    columns: &'r mut [Column],
    /// The keys of the rows before.
    layout: &'r mut Layout,
    /// For each field the row in which it was last seen, counted from 1.
    seen: Vec<usize>,
    /// Strings with escapes are put together here.
    scratch: String,
    /// Pixels of all pictures so far.
    n_pixels: usize,
    form: Form,
    inputs: Option<Range<usize>>,
    n_rows: usize,
    n_good: usize,
    kept: Option<Vec<usize>>,
    /// Errors of the request as a whole.
    faults: Vec<CellError>,
    n_faults: usize,
    /// Errors of rows.
    errors: Vec<CellError>,
    n_errors: usize,
}

impl<'r, 'a> Reader<'r, 'a> {
    fn new(
        schema: &'r Schema,
        options: &'r DecodeOptions,
        scan: Scanner<'a>,
        columns: &'r mut [Column],
        layout: &'r mut Layout,
    ) -> Self {
        Self {
            schema,
            options,
            scan,
            columns,
            layout,
            seen: vec![0; schema.fields.len()],
            scratch: String::new(),
            n_pixels: 0,
            form: Form::Wrapped,
            inputs: None,
            n_rows: 0,
            n_good: 0,
            kept: None,
            faults: Vec::new(),
            n_faults: 0,
            errors: Vec::new(),
            n_errors: 0,
        }
    }

    fn into_decoded(self) -> Decoded {
        let max_errors = self.options.max_errors.max(1);
        let (mut errors, n_errors) = (self.faults, self.n_faults + self.n_errors);
        let mut kept = self.kept;
        if self.n_faults > 0 {
            kept = Some(Vec::new());
        }
        errors.extend(self.errors);
        errors.truncate(max_errors);
        Decoded {
            form: self.form,
            n_rows: self.n_rows,
            kept,
            errors,
            n_errors,
            inputs: self.inputs.unwrap_or_default(),
        }
    }

    /// Reads the body, in any of its forms.
    fn body(&mut self) -> Scan<()> {
        let start = self.scan.at();
        match self.scan.peek() {
            b'{' => self.envelope()?,
            b'[' => {
                self.form = Form::Bare;
                self.rows()?;
            }
            _ => {
                self.form = Form::Bare;
                let found = self.skip_found()?;
                let hint = if found.starts_with("the string") {
                    "; was the JSON encoded twice?"
                } else {
                    ""
                };
                self.fault("type", || {
                    format!(
                        r#"expected {{"inputs": [{{…}}]}} or an array of rows, found {found}{hint}"#
                    )
                });
            }
        }
        let end = self.scan.at();
        self.inputs.get_or_insert(start..end);
        self.scan.finish()?;
        if self.n_rows > self.options.max_rows {
            let (n_rows, max_rows) = (self.n_rows, self.options.max_rows);
            self.fault("too_many_rows", || {
                format!("{n_rows} rows in one request; at most {max_rows} are taken")
            });
        }
        Ok(())
    }

    /// Reads the object around the rows.
    fn envelope(&mut self) -> Scan<()> {
        let mut hints = Hints::default();
        let mut goes_on = self.scan.begin(b'}')?;
        while goes_on {
            let key = self.scan.key()?;
            let mut scratch = std::mem::take(&mut self.scratch);
            let name = key.value(&mut scratch);
            if name != "inputs" {
                self.other_key(name, &mut hints);
                self.scan.skip_value()?;
            } else if self.inputs.is_some() {
                self.fault("duplicate_key", || "`inputs` is given twice".to_owned());
                self.scan.skip_value()?;
            } else {
                let start = self.scan.at();
                self.inputs()?;
                self.inputs = Some(start..self.scan.at());
            }
            self.scratch = scratch;
            goes_on = self.scan.more(b'}')?;
        }
        if self.inputs.is_none() {
            // Whatever else is wrong with the object: it is not an envelope.
            (self.faults, self.n_faults) = (Vec::new(), 0);
            self.fault("missing", || hints.no_inputs());
        }
        Ok(())
    }

    /// A key beside `inputs`.
    #[cold]
    fn other_key(&mut self, name: &str, hints: &mut Hints) {
        hints.n_keys += 1;
        hints.is_row |= self.schema.index_of(name).is_some();
        if hints.similar.is_none() && hints.n_keys <= Hints::N_COMPARED && resembles_inputs(name) {
            hints.similar = Some(cut(name));
        }
        if self.options.unknown_fields == UnknownFields::Reject {
            self.fault("unknown_field", || {
                let similar = if resembles_inputs(name) { "; did you mean `inputs`?" } else { "" };
                format!("no such key beside `inputs`: `{}`{similar}", cut(name))
            });
        }
    }

    /// Reads the value of `inputs`.
    fn inputs(&mut self) -> Scan<()> {
        match self.scan.peek() {
            b'[' => self.rows(),
            b'{' => {
                self.form = Form::WrappedRow;
                self.row()
            }
            _ => {
                let found = self.skip_found()?;
                self.fault("type", || {
                    format!("expected an array of rows, or one row, as `inputs`, found {found}")
                });
                Ok(())
            }
        }
    }

    /// Reads an array of rows.
    fn rows(&mut self) -> Scan<()> {
        let mut goes_on = self.scan.begin(b']')?;
        if !goes_on {
            self.fault("empty", || "there are no rows; expected at least one".to_owned());
        }
        while goes_on {
            self.row()?;
            goes_on = self.scan.more(b']')?;
        }
        Ok(())
    }

    /// Reads a line that is one row. One that is not JSON leaves nothing behind.
    fn line(&mut self) -> Scan<()> {
        let (n_good, n_errors) = (self.n_good, self.n_errors);
        let read = self.row().and_then(|()| {
            self.scan.space();
            self.scan.finish()
        });
        if read.is_err() {
            self.n_good = n_good;
            self.n_errors = n_errors;
            self.errors.truncate(n_errors);
            let kept = self.kept.get_or_insert_with(|| (0..n_good).collect());
            kept.truncate(n_good);
            self.columns.iter_mut().for_each(|column| column.truncate(n_good));
        }
        read
    }

    /// Reads one row, good or bad.
    fn row(&mut self) -> Scan<()> {
        self.n_rows += 1;
        if self.n_rows > self.options.max_rows {
            return self.scan.skip_value();
        }
        let n_errors = self.n_errors;
        if self.scan.peek() == b'{' {
            self.cells()?;
        } else {
            let found = self.skip_found()?;
            self.push_error(|| (None, CellProblem::RowType { found }));
        }
        self.end_row(n_errors);
        Ok(())
    }

    /// Keeps the row if there are no more errors than there were before it, or takes it back.
    fn end_row(&mut self, n_errors: usize) {
        if self.n_errors == n_errors {
            if let Some(kept) = &mut self.kept {
                kept.push(self.n_rows - 1);
            }
            self.n_good += 1;
        } else {
            let n_good = self.n_good;
            self.kept.get_or_insert_with(|| (0..n_good).collect());
            self.columns.iter_mut().for_each(|column| column.truncate(n_good));
        }
    }

    /// Takes a picture as the only value of a row.
    fn picture(&mut self, file: &Bytes, index: usize) {
        self.form = Form::WrappedRow;
        self.n_rows += 1;
        let n_errors = self.n_errors;
        if let (Some(field), Some(Column::Image(files))) =
            (self.schema.fields.get(index), self.columns.get_mut(index))
        {
            self.seen[index] = self.n_rows;
            match picture::check(file, self.options.images, &mut self.n_pixels) {
                Ok(()) => files.push(file.clone()),
                Err(problem) => self.push_error(|| (Some(field.name().to_owned()), problem)),
            }
        }
        self.absent();
        self.end_row(n_errors);
    }

    /// Reads the object of one row into the columns.
    fn cells(&mut self) -> Scan<()> {
        let (mut n_seen, mut at_layout, mut next_field) = (0, 0, 0);
        let mut goes_on = self.scan.begin(b'}')?;
        while goes_on {
            let key = match self.expected(at_layout) {
                Some((key, at)) => {
                    at_layout = at;
                    // There may have been less white space behind it.
                    self.scan.space();
                    key
                }
                None => {
                    let lead = self.scan.at();
                    goes_on = at_layout == 0 || self.scan.more(b'}')?;
                    if !goes_on {
                        break;
                    }
                    self.key(lead, &mut at_layout, next_field)?
                }
            };
            match key.field {
                Some(index) => {
                    next_field = index + 1;
                    if self.seen[index] == self.n_rows {
                        self.second(key, index);
                        self.scan.skip_value()?;
                    } else {
                        self.seen[index] = self.n_rows;
                        n_seen += 1;
                        if !self.plain_cell(index) {
                            self.cell(key, index)?;
                        }
                    }
                }
                None => {
                    if self.options.unknown_fields == UnknownFields::Reject {
                        self.unknown(key);
                    }
                    if !self.scan.skip_plain() {
                        self.scan.skip_value()?;
                    }
                }
            }
        }
        if n_seen < self.seen.len() {
            self.absent();
        }
        Ok(())
    }

    /// Goes on to the value of the next key, comma and all, if it is the expected one or the one after it; and says which comes then.
    #[inline]
    fn expected(&mut self, at: usize) -> Option<(Key, usize)> {
        let rest = self.scan.rest();
        let lead = self.layout.get(at)?;
        let (n_bytes, lead, next) = match lead.begins(rest) {
            Some(n_bytes) => (n_bytes, lead, at + 1),
            // The row may lack the key that is expected; but a row's first key has no comma before it.
            None if at > 0 => {
                let lead = self.layout.get(at + 1)?;
                (lead.begins(rest)?, lead, at + 2)
            }
            None => return None,
        };
        let key = Key { start: self.scan.at() + lead.quote(), field: lead.field };
        self.scan.skip(n_bytes);
        Some((key, next))
    }

    /// Reads a key that does not come as expected, and writes down what led to its value: all from `lead` on.
    fn key(&mut self, lead: usize, at_layout: &mut usize, next_field: usize) -> Scan<Key> {
        let start = self.scan.at();
        // Only the white space before it may be another.
        for next in [*at_layout, *at_layout + 1] {
            let known = self.layout.get(next);
            if let Some((n_bytes, field)) =
                known.and_then(|known| Some((known.key_begins(self.scan.rest())?, known.field)))
            {
                self.scan.skip(n_bytes);
                self.scan.space();
                *at_layout = next + 1;
                return Ok(Key { start, field });
            }
        }
        let raw = self.scan.key()?;
        let name = raw.value(&mut self.scratch);
        let is_next = self.schema.fields.get(next_field).is_some_and(|field| field.name() == name);
        let field = if is_next {
            Some(next_field)
        } else {
            self.schema.plan.find(name, &self.schema.names)
        };
        self.layout.set(*at_layout, self.scan.since(lead).as_bytes(), start - lead, field);
        *at_layout += 1;
        Ok(Key { start, field })
    }

    /// Reads the value of a field into its column, if it is one of those that nearly all are: a short number, a string without escapes, and
    /// nothing is enforced.
    #[inline]
    fn plain_cell(&mut self, index: usize) -> bool {
        if !self.schema.plan.cells[index].is_plain {
            return false;
        }
        match &mut self.columns[index] {
            Column::Int(values) => match self.scan.short_integer() {
                Some(value) => values.push(value.into()),
                None => return false,
            },
            Column::Float(values) => match self.scan.short_number() {
                Some(value) => values.push(value),
                None => return false,
            },
            Column::Text(values) => match self.scan.plain_string() {
                Some(value) => values.push(value),
                None => return false,
            },
            Column::Tensor(_) | Column::Image(_) => return false,
        }
        true
    }

    /// Reads the value of a field into its column.
    fn cell(&mut self, key: Key, index: usize) -> Scan<()> {
        let schema = self.schema;
        let (cell, field) = (&schema.plan.cells[index], &schema.fields[index]);
        let start = self.scan.at();
        match (self.scan.peek(), cell.kind, &mut self.columns[index]) {
            (b'0'..=b'9' | b'-', Kind::Float, Column::Float(values)) => {
                let number = self.scan.number()?;
                let value = number.to_f64();
                if !value.is_finite() {
                    self.error(key, || CellProblem::NotFinite { found: cut(number.text) });
                } else if let Some(breach) =
                    cell.limits.as_ref().and_then(|_| Breach::of_float(field, value))
                {
                    self.error(key, || breach.problem(field, cut(number.text)));
                } else {
                    values.push(value);
                }
            }
            (b'0'..=b'9' | b'-', Kind::Int, Column::Int(values)) => {
                let number = self.scan.number()?;
                match number.to_integer() {
                    Integer::Exact(value) => {
                        match cell.limits.as_ref().and_then(|limits| limits.of_int(value)) {
                            None => values.push(value),
                            Some(breach) => {
                                self.error(key, || breach.problem(field, cut(number.text)));
                            }
                        }
                    }
                    Integer::Fraction => {
                        self.error(key, || CellProblem::NotInteger { found: cut(number.text) });
                    }
                    Integer::OutOfRange => {
                        self.error(key, || CellProblem::OutOfRange { found: cut(number.text) });
                    }
                }
            }
            (b'"', Kind::String, Column::Text(values)) => {
                let raw = self.scan.string()?;
                let value = raw.value(&mut self.scratch);
                match cell.limits.as_ref().and_then(|limits| limits.of_text(value)) {
                    None => values.push(value),
                    Some(breach) => {
                        let mut scratch = String::new();
                        self.error(key, || breach.problem(field, quoted(raw.value(&mut scratch))));
                    }
                }
            }
            (b'"', Kind::Datetime, Column::Int(values)) => {
                let raw = self.scan.string()?;
                match datetime::parse(raw.value(&mut self.scratch)) {
                    Some(value) => values.push(value),
                    None => {
                        let mut scratch = String::new();
                        self.error(key, || CellProblem::Datetime {
                            found: quoted(raw.value(&mut scratch)),
                        });
                    }
                }
            }
            (b't', Kind::Bool, Column::Int(values)) => {
                self.scan.literal("true")?;
                values.push(1);
            }
            (b'f', Kind::Bool, Column::Int(values)) => {
                self.scan.literal("false")?;
                values.push(0);
            }
            (b'"', Kind::Image, Column::Image(files)) => {
                let raw = self.scan.string()?;
                let limits = self.options.images;
                match picture::read(raw.value(&mut self.scratch), limits, &mut self.n_pixels) {
                    Ok(file) => files.push(file.into()),
                    Err(problem) => self.error(key, || problem),
                }
            }
            (_, Kind::Tensor, Column::Tensor(column)) => {
                let Some(r#type) = field.tensor() else { return self.scan.skip_value() };
                let scratch = &mut self.scratch;
                let read =
                    nested::read(&mut self.scan, column, r#type, cell.nullable, scratch, found)?;
                if let Err(problem) = read {
                    self.error(key, || problem);
                }
            }
            (b'n', _, column) => {
                self.scan.literal("null")?;
                if cell.nullable {
                    column.push_missing();
                } else {
                    self.error(key, || CellProblem::Null { expected: field.kind().expected() });
                }
            }
            _ => {
                self.scan.skip_value()?;
                let scan = self.scan.back_at(start);
                self.error(key, || CellProblem::Type {
                    expected: field.kind().expected(),
                    found: found(scan),
                });
            }
        }
        Ok(())
    }

    /// Fills in the fields that the row does not have.
    fn absent(&mut self) {
        let schema = self.schema;
        for (index, cell) in schema.plan.cells.iter().enumerate() {
            if self.seen[index] == self.n_rows {
                continue;
            }
            match (&*cell.absent, &mut self.columns[index]) {
                (Absent::Float(value), Column::Float(values)) => values.push(*value),
                (Absent::Int(value), Column::Int(values)) => values.push(*value),
                (Absent::Text(value), Column::Text(values)) => values.push(value),
                (Absent::Missing, column) => column.push_missing(),
                _ => {
                    let name = schema.fields[index].name();
                    self.push_error(|| (Some(name.to_owned()), CellProblem::Missing));
                }
            }
        }
    }

    /// The second of two keys of one field.
    #[cold]
    fn second(&mut self, key: Key, index: usize) {
        let name = self.schema.fields[index].name();
        let scan = self.scan.back_at(key.start);
        self.push_error(|| {
            let written = key_name(scan);
            let alias_of = (written != name).then(|| name.to_owned());
            (Some(written), CellProblem::DuplicateKey { alias_of })
        });
    }

    /// A key that is no field.
    #[cold]
    fn unknown(&mut self, key: Key) {
        let schema = self.schema;
        let scan = self.scan.back_at(key.start);
        self.push_error(|| {
            let written = key_name(scan);
            let similar = similar(&written, schema.names.iter().map(|(name, _)| name.as_str()))
                .map(str::to_owned);
            (Some(written), CellProblem::UnknownField { similar })
        });
    }

    /// Skips a value and describes it.
    #[cold]
    fn skip_found(&mut self) -> Scan<String> {
        let start = self.scan.at();
        self.scan.skip_value()?;
        Ok(found(self.scan.back_at(start)))
    }

    #[cold]
    fn error(&mut self, key: Key, problem: impl FnOnce() -> CellProblem) {
        let scan = self.scan.back_at(key.start);
        self.push_error(|| (Some(key_name(scan)), problem()));
    }

    /// Counts an error of the current row, and keeps it if there is room.
    #[cold]
    fn push_error(&mut self, error: impl FnOnce() -> (Option<String>, CellProblem)) {
        self.n_errors += 1;
        if self.errors.len() < self.options.max_errors.max(1) {
            let (field, problem) = error();
            self.errors.push(CellError { row: Some(self.n_rows - 1), field, problem });
        }
    }

    /// Counts an error of the request as a whole, and keeps it if there is room.
    #[cold]
    fn fault(&mut self, code: &'static str, detail: impl FnOnce() -> String) {
        self.n_faults += 1;
        if self.faults.len() < self.options.max_errors.max(1) {
            let problem = CellProblem::Envelope { code, detail: detail() };
            self.faults.push(CellError { row: None, field: None, problem });
        }
    }
}

/// The key that was read here before, as the client wrote it, unescaped.
#[cold]
fn key_name(mut scan: Scanner<'_>) -> String {
    let mut scratch = String::new();
    scan.string().map_or_else(|_| String::new(), |raw| raw.value(&mut scratch).to_owned())
}

/// What stands at a place where a value was read before, for messages.
#[cold]
fn found(mut scan: Scanner<'_>) -> String {
    let mut scratch = String::new();
    match scan.peek() {
        b'{' => "an object".to_owned(),
        b'[' => "an array".to_owned(),
        b'"' => format!(
            "the string {}",
            scan.string().map_or_else(|_| String::new(), |raw| quoted(raw.value(&mut scratch)))
        ),
        b't' => "true".to_owned(),
        b'f' => "false".to_owned(),
        b'n' => "null".to_owned(),
        _ => format!(
            "the number {}",
            scan.number().map_or_else(|_| String::new(), |number| cut(number.text))
        ),
    }
}

/// What the keys of an object without `inputs` tell.
#[derive(Debug, Default)]
struct Hints {
    n_keys: usize,
    is_row: bool,
    similar: Option<String>,
}

impl Hints {
    /// Only the first keys are compared letter by letter: an object may have a million.
    const N_COMPARED: usize = 100;

    fn no_inputs(self) -> String {
        let hint = match self {
            Self { is_row: true, .. } => {
                r#"; this looks like a row, wrap it: {"inputs": [{…}]}"#.to_owned()
            }
            Self { similar: Some(key), .. } => format!("; did you mean it by `{key}`?"),
            Self { .. } => r#"; expected {"inputs": [{…}]}"#.to_owned(),
        };
        format!("the body has no `inputs`{hint}")
    }
}

/// Whether a key is likely to stand for `inputs`: a slip of the pen, or what another server calls it.
fn resembles_inputs(key: &str) -> bool {
    const ELSEWHERE: [&str; 9] = [
        "instances",
        "data",
        "rows",
        "records",
        "features",
        "samples",
        "dataframe_records",
        "dataframe_split",
        "payload",
    ];
    ELSEWHERE.iter().any(|name| key.eq_ignore_ascii_case(name))
        || similar(key, ["inputs"].into_iter()).is_some()
}

/// The name most like `key`: the same but for upper and lower case, or at most two letters away.
pub(super) fn similar<'n>(
    key: &str,
    names: impl Iterator<Item = &'n str> + Clone,
) -> Option<&'n str> {
    const FARTHEST: usize = 2;
    let lower = key.to_lowercase();
    if let Some(name) = names.clone().find(|name| name.to_lowercase() == lower) {
        return Some(name);
    }
    let (distance, name) =
        names.map(|name| (distance(key, name), name)).min_by_key(|(distance, _)| *distance)?;
    // Of very short names every letter may differ.
    (distance <= FARTHEST && distance < key.chars().count().min(name.chars().count()))
        .then_some(name)
}

/// How many letters must be put in, taken out or replaced (Levenshtein). Names far apart in length are not compared.
fn distance(left: &str, right: &str) -> usize {
    if left.len().abs_diff(right.len()) > 8 {
        return usize::MAX;
    }
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, left) in left.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (at, right) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(left != *right);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema(fields: serde_json::Value) -> Schema {
        Schema::load(serde_json::from_value(fields).unwrap()).unwrap()
    }

    /// A schema with a field of each kind and each way to be absent.
    fn houses() -> Schema {
        schema(json!([
            {"name": "Area", "type": "int"},
            {"name": "Front", "type": "float", "nullable": true},
            {"name": "Zone", "type": "string", "nullable": true, "required": false, "aliases": ["MSZoning", "zone/type"]},
            {"name": "Air", "type": "bool", "required": false, "default": true},
        ]))
    }

    /// A cell as JSON, `-` if it is missing.
    fn show(column: &Column, row: usize) -> String {
        match column {
            _ if column.is_missing(row) => "-".to_owned(),
            Column::Float(values) => format!("{:?}", values[row]),
            Column::Int(values) => values.get(row).unwrap().to_string(),
            Column::Text(values) => format!("{:?}", values.get(row).unwrap()),
            Column::Tensor(values) => format!("{:?}", values.gather(&[row], &values.shape(row))),
            Column::Image(files) => format!("{} bytes", files[row].len()),
        }
    }

    /// What became of a body: the good rows, each on a line, then the errors with their pointers and codes.
    fn outcome(schema: &Schema, options: &DecodeOptions, body: &[u8]) -> String {
        let mut frame = schema.frame();
        let decoded = match schema.decode(body, options, &mut frame) {
            Ok(decoded) => decoded,
            Err(error) => return error.to_string(),
        };
        assert_eq!(decoded.kept.is_some(), decoded.n_errors > 0);
        assert_eq!(decoded.errors.len(), decoded.n_errors.min(options.max_errors.max(1)));
        let mut lines = Vec::new();
        for row in 0..frame.n_rows() {
            let cells: Vec<String> =
                frame.columns().iter().map(|column| show(column, row)).collect();
            let in_body = decoded.kept.as_ref().map_or(row, |kept| kept[row]);
            lines.push(format!("{in_body}: {}", cells.join(" ")));
        }
        for error in &decoded.errors {
            let pointer = decoded.form.pointer(error.row, error.field.as_deref());
            lines.push(format!("{pointer} {}: {}", error.problem.code(), error.problem));
        }
        lines.join("\n")
    }

    #[track_caller]
    fn check(body: &str, expected: &str) {
        assert_eq!(
            outcome(&houses(), &DecodeOptions::default(), body.as_bytes()),
            expected,
            "{body}"
        );
    }

    #[track_caller]
    fn check_strictly(body: &str, expected: &str) {
        let options =
            DecodeOptions { unknown_fields: UnknownFields::Reject, ..DecodeOptions::default() };
        assert_eq!(outcome(&houses(), &options, body.as_bytes()), expected, "{body}");
    }

    /// A field of this type (and more keys of its own) with this value in the only row.
    #[track_caller]
    fn check_cell(field: serde_json::Value, value: &str, expected: &str) {
        let mut spec = field;
        spec["name"] = json!("x");
        let body = format!(r#"{{"inputs": {{"x": {value}}}}}"#);
        let found = outcome(&schema(json!([spec])), &DecodeOptions::default(), body.as_bytes());
        let found = found.trim_start_matches("0: ").trim_start_matches("#/inputs/x ");
        assert_eq!(found, expected, "{}", cut(value));
    }

    #[test]
    fn the_three_forms_of_a_body_hold_the_same_rows() {
        let row = r#"{"Area": 1, "Front": 80, "Zone": "RL", "Air": false}"#;
        let (cells, more) = (r#"1 80.0 "RL" 0"#, r#"{"Area":2,"Front":null}"#);
        check(&format!(r#"{{"inputs": [{row}]}}"#), &format!("0: {cells}"));
        check(&format!(r#"{{"inputs": {row}}}"#), &format!("0: {cells}"));
        check(&format!("[{row}]"), &format!("0: {cells}"));
        check(&format!(" [ {row} ,\n{more}\t]\r\n"), &format!("0: {cells}\n1: 2 - - 1"));
        check(
            &format!(r#"{{"parameters": {{"a": [1, {{}}]}}, "inputs": [{row}, {more}], "id": 7}}"#),
            &format!("0: {cells}\n1: 2 - - 1"),
        );
    }

    #[test]
    fn the_range_of_the_inputs_is_that_of_their_text() {
        let check = |body: &str, expected: &str| {
            let schema = houses();
            let decoded = schema
                .decode(body.as_bytes(), &DecodeOptions::default(), &mut schema.frame())
                .unwrap();
            assert_eq!(&body[decoded.inputs], expected);
        };
        check(r#" {"a": 1, "inputs" : [ {} ] , "b": []} "#, "[ {} ]");
        check(r#"{"inputs":{"Area": 1},"inputs": [2]}"#, r#"{"Area": 1}"#);
        check(r#"{"inputs":"x" }"#, r#""x""#);
        check(" [{}, 5] ", "[{}, 5]");
        check(r#" {"é": "é"} "#, r#"{"é": "é"}"#);
        check(" 15 ", "15");
    }

    #[test]
    fn a_body_without_rows_says_what_to_send() {
        let no_inputs = "#/inputs missing: the body has no `inputs`";
        check("{}", &format!(r#"{no_inputs}; expected {{"inputs": [{{…}}]}}"#));
        check(
            r#"{"Id": 1, "Area": 5, "data": 3}"#,
            &format!(r#"{no_inputs}; this looks like a row, wrap it: {{"inputs": [{{…}}]}}"#),
        );
        check(
            r#"{"zone\/type": 5}"#,
            &format!(r#"{no_inputs}; this looks like a row, wrap it: {{"inputs": [{{…}}]}}"#),
        );
        for key in ["instances", "data", "rows", "Inputs", "input", "inptus"] {
            check(
                &format!(r#"{{"a": 1, "{key}": [{{}}]}}"#),
                &format!("{no_inputs}; did you mean it by `{key}`?"),
            );
        }
        check_strictly(
            r#"{"a": 1, "rows": []}"#,
            &format!("{no_inputs}; did you mean it by `rows`?"),
        );
        check(r#"{"inputs": []}"#, "#/inputs empty: there are no rows; expected at least one");
        check("[]", "# empty: there are no rows; expected at least one");
        check(
            r#"{"inputs": "[{}]"}"#,
            r##"#/inputs type: expected an array of rows, or one row, as `inputs`, found the string "[{}]""##,
        );
        check(
            r#"{"inputs": null}"#,
            "#/inputs type: expected an array of rows, or one row, as `inputs`, found null",
        );
        check(
            "7",
            r##"# type: expected {"inputs": [{…}]} or an array of rows, found the number 7"##,
        );
        check(
            r#""{\"inputs\": []}""#,
            r##"# type: expected {"inputs": [{…}]} or an array of rows, found the string "{\"inputs\": []}"; was the JSON encoded twice?"##,
        );
        check(
            r#"{"inputs": [{"Area": 1, "Front": 2}], "inputs": [{"Area": "x"}]}"#,
            "#/inputs duplicate_key: `inputs` is given twice",
        );
    }

    #[test]
    fn a_request_with_too_many_rows_is_refused_as_a_whole() {
        let schema = houses();
        let check = |max_rows, body: &str, expected: &str| {
            let options = DecodeOptions { max_rows, ..DecodeOptions::default() };
            let mut frame = schema.frame();
            assert_eq!(outcome(&schema, &options, body.as_bytes()), expected);
            let decoded = schema.decode(body.as_bytes(), &options, &mut frame);
            assert_eq!(
                decoded.map_or(0, |decoded| decoded.n_rows),
                3 * usize::from(!expected.contains("at line"))
            );
        };
        let row = r#"{"Area": 1, "Front": 2}"#;
        let body = format!(r#"{{"inputs": [{row}, {row}, {{"Area": "x"}}]}}"#);
        check(2, &body, "#/inputs too_many_rows: 3 rows in one request; at most 2 are taken");
        check(
            3,
            &body[..body.len() - 3],
            "expected `,` or `}`, found the end of the body at line 1, column 75",
        );
        check(
            1,
            &format!("[5, {row}, 01]"),
            "a number with a leading zero, `01` at line 1, column 30",
        );
        check(
            1,
            &format!("[5, {row}, {row}]"),
            "# too_many_rows: 3 rows in one request; at most 1 are taken\n\
             #/0 row_type: expected a row object, found the number 5",
        );
    }

    #[test]
    fn every_error_of_every_row_is_reported_in_order() {
        check(
            r#"[{"Area": 1, "Front": 1}, {"Air": 1, "Zone": 2}, 5, {"Area": 2, "Front": 1}, {"Area": 1.5, "Front": 1}]"#,
            "0: 1 1.0 - 1\n\
             3: 2 1.0 - 1\n\
             #/1/Air type: expected true or false, found the number 1\n\
             #/1/Zone type: expected a string, found the number 2\n\
             #/1/Area missing: required, but absent\n\
             #/1/Front missing: required, but absent\n\
             #/2 row_type: expected a row object, found the number 5\n\
             #/4/Area not_integer: expected an integer, found 1.5",
        );
        check(r#"{"inputs": {"Front": 1}}"#, "#/inputs/Area missing: required, but absent");
    }

    #[test]
    fn errors_beyond_the_cap_are_counted() {
        let schema = houses();
        let options = DecodeOptions { max_errors: 3, ..DecodeOptions::default() };
        let body = format!("[{}7]", r#"{"Front": "x"}, {"Area": 1, "Front": 1}, "#.repeat(10));
        let mut frame = schema.frame();
        let decoded = schema.decode(body.as_bytes(), &options, &mut frame).unwrap();
        assert_eq!((decoded.n_rows, decoded.n_errors, decoded.errors.len()), (21, 21, 3));
        assert_eq!(decoded.kept, Some((0..10).map(|row| 2 * row + 1).collect()));
        assert_eq!(frame.n_rows(), 10);
        // What is wrong with the request as a whole is never crowded out.
        let options = DecodeOptions { max_errors: 0, max_rows: 20, ..options };
        let decoded = schema.decode(body.as_bytes(), &options, &mut frame).unwrap();
        assert_eq!((decoded.n_errors, frame.n_rows()), (21, 0));
        assert_eq!(
            decoded.errors.iter().map(|error| error.problem.code()).collect::<Vec<_>>(),
            ["too_many_rows"]
        );
    }

    #[test]
    fn a_bad_row_leaves_no_trace_in_the_frame() {
        let schema = houses();
        let good = r#"{"Area": 1, "Front": 2, "Zone": "RL", "Air": true}"#;
        let bad = r#"{"Area": null, "Front": null, "Zone": "other", "Air": 5}"#;
        let mut frame = schema.frame();
        let decode = |frame: &mut Frame, rows: &[&str]| {
            schema
                .decode(
                    format!("[{}]", rows.join(",")).as_bytes(),
                    &DecodeOptions::default(),
                    frame,
                )
                .unwrap()
                .kept
        };
        assert_eq!(decode(&mut frame, &[good, bad, good, bad]), Some(vec![0, 2]));
        let mut expected = schema.frame();
        assert_eq!(decode(&mut expected, &[good, good]), None);
        assert_eq!(frame, expected);
        // `null` in a nullable field of a row that is taken back leaves no mask either.
        let schema = self::schema(json!([
            {"name": "a", "type": "int", "nullable": true}, {"name": "b", "type": "int"},
        ]));
        let mut frame = schema.frame();
        let body = br#"[{"a": 1, "b": 1}, {"a": null, "b": null}]"#;
        schema.decode(body, &DecodeOptions::default(), &mut frame).unwrap();
        let Column::Int(column) = &frame.columns()[0] else { panic!() };
        assert!(!column.has_missing());
    }

    #[test]
    fn a_frame_of_another_schema_is_replaced() {
        let body = br#"[{"Area": 1, "Front": 2}]"#;
        for mut frame in [Frame::default(), schema(json!([{"name": "a", "type": "int"}])).frame()] {
            houses().decode(body, &DecodeOptions::default(), &mut frame).unwrap();
            assert_eq!((frame.n_rows(), frame.columns().len()), (1, 4));
        }
    }

    #[test]
    fn nothing_is_left_in_the_frame_of_a_body_that_is_not_json() {
        let schema = houses();
        let mut frame = schema.frame();
        for body in
            [r#"[{"Area": 1, "Front": 2}, {"Area": 2"#, "", r#"[{"Area": 1, "Front": 2}] x"#]
        {
            schema
                .decode(br#"[{"Area": 1, "Front": 2}]"#, &DecodeOptions::default(), &mut frame)
                .unwrap();
            schema.decode(body.as_bytes(), &DecodeOptions::default(), &mut frame).unwrap_err();
            assert_eq!(frame, schema.frame(), "{body}");
        }
    }

    #[test]
    fn keys_may_come_in_any_order_and_spelling() {
        check(
            r#"[{"Front": 1, "Area": 1, "x": {}}, {"Area": 2, "Front":2, "y": 0, "Zone": "a"}, {"\u0041re\u0061": 3,
              "Front" : 3 , "MSZoning": "b"}, {"zone/type":"c","Area":4,"Front":4}, {"zone\/type": "d","Area": 5,"Front":
              5, "Air" :false}, {"Front":6,"Area":6,"Air":false,"x":[]}, {"Area":  7,"Front":7}]"#,
            "0: 1 1.0 - 1\n\
             1: 2 2.0 \"a\" 1\n\
             2: 3 3.0 \"b\" 1\n\
             3: 4 4.0 \"c\" 1\n\
             4: 5 5.0 \"d\" 0\n\
             5: 6 6.0 - 0\n\
             6: 7 7.0 - 1",
        );
    }

    #[test]
    fn a_row_may_have_more_keys_than_are_kept_in_mind() {
        let others: String = (0..2 * Layout::MOST).map(|at| format!("\"k{at}\": 0, ")).collect();
        let row = format!(r#"{{"Area": 1, {others} "Front": 2}}"#);
        check(&format!("[{row}, {row}]"), "0: 1 2.0 - 1\n1: 1 2.0 - 1");
    }

    #[test]
    fn a_field_given_twice_is_an_error_at_the_second_key() {
        let row = r#""Area": 1, "Front": 1"#;
        check(&format!(r#"[{{{row}, "Area": 1}}]"#), "#/0/Area duplicate_key: given twice");
        check(
            &format!(r#"[{{{row}, "\u0041rea": "not looked at"}}]"#),
            "#/0/Area duplicate_key: given twice",
        );
        check(
            &format!(r#"[{{{row}, "Zone": "a", "zone/type": "b", "MSZoning": null}}, {{{row}}}]"#),
            "1: 1 1.0 - 1\n\
             #/0/zone~1type duplicate_key: given twice: it is another name of `Zone`\n\
             #/0/MSZoning duplicate_key: given twice: it is another name of `Zone`",
        );
        check(
            &format!(r#"[{{{row}, "MSZoning": "a", "Zone": "b"}}]"#),
            "#/0/Zone duplicate_key: given twice",
        );
        // A key that is no field is not kept in mind.
        check(&format!(r#"[{{{row}, "x": 1, "x": 2}}]"#), "0: 1 1.0 - 1");
        // Not even when the row before had the same keys.
        let twice = format!(r#"{{{row}, "Area": 1}}"#);
        check(
            &format!("[{twice},{twice}]"),
            "#/0/Area duplicate_key: given twice\n#/1/Area duplicate_key: given twice",
        );
    }

    #[test]
    fn an_unknown_field_is_an_error_if_so_configured() {
        let row = r#""Area": 1, "Front": 1"#;
        check_strictly(
            &format!(
                r#"[{{{row}, "area": 1, "Zne": 2, "Ab": 0, "nothing like it": {{}}, "MSZonin\u0067s": 1}}]"#
            ),
            "#/0/area unknown_field: no such field; did you mean `Area`?\n\
             #/0/Zne unknown_field: no such field; did you mean `Zone`?\n\
             #/0/Ab unknown_field: no such field\n\
             #/0/nothing like it unknown_field: no such field\n\
             #/0/MSZonings unknown_field: no such field; did you mean `MSZoning`?",
        );
        check_strictly(
            &format!(r#"{{"Inputs": 1, "inputs": [{{{row}}}, {{{row}, "x": 1}}], "y": 2}}"#),
            "#/inputs unknown_field: no such key beside `inputs`: `Inputs`; did you mean `inputs`?\n\
             #/inputs unknown_field: no such key beside `inputs`: `y`\n\
             #/inputs/1/x unknown_field: no such field",
        );
    }

    #[test]
    fn integers_are_exact_in_every_spelling() {
        let int = || json!({"type": "int"});
        for (value, expected) in [
            ("5", "5"),
            ("0", "0"),
            ("-0", "0"),
            ("5.0", "5"),
            ("5e0", "5"),
            ("1e3", "1000"),
            ("-1.50e1", "-15"),
            ("1200e-2", "12"),
            ("0.00", "0"),
            ("-0.0e-7", "0"),
            ("0e400", "0"),
            ("0.05e2", "5"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9007199254740993", "9007199254740993"),
            ("9007199254740993.0", "9007199254740993"),
            ("9223372036854775807.000", "9223372036854775807"),
            ("-9.223372036854775808E+18", "-9223372036854775808"),
            ("92233720368547758070000e-4", "9223372036854775807"),
        ] {
            check_cell(int(), value, expected);
        }
        for value in [
            "5.5",
            "1e-1",
            "-0.5",
            "10.01",
            "1e-400",
            "1e-99999999999999999999",
            "9223372036854775808.5",
        ] {
            let shown = cut(value);
            check_cell(int(), value, &format!("not_integer: expected an integer, found {shown}"));
        }
        for value in [
            "9223372036854775808",
            "-9223372036854775809",
            "9223372036854775808.0",
            "1e19",
            "-1e19",
            "18446744073709551616",
            "18446744073709551617",
            "1e400",
            "1.5e400",
            "1e99999999999999999999",
        ] {
            let range = "is outside the 64-bit range (-9223372036854775808 to 9223372036854775807)";
            check_cell(int(), value, &format!("out_of_range: the integer {value} {range}"));
        }
    }

    #[test]
    fn floats_are_the_nearest_ones() {
        let float = || json!({"type": "float"});
        let zeros = "0".repeat(700_000);
        for (value, expected) in [
            ("5", "5.0"),
            ("-0", "-0.0"),
            ("-0.0", "-0.0"),
            ("0.1", "0.1"),
            ("123456.789e-3", "123.456789"),
            ("9007199254740993", "9007199254740992.0"),
            ("9007199254740993.0000001", "9007199254740994.0"),
            ("1e22", "1e22"),
            ("1e23", "1e23"),
            ("8.5e-23", "8.5e-23"),
            ("1e-400", "0.0"),
            ("-1e-400", "-0.0"),
            ("1.7976931348623157e308", "1.7976931348623157e308"),
            ("1.797693134862315807e308", "1.7976931348623157e308"),
            ("5e-324", "5e-324"),
            ("2.4703282292062328e-324", "5e-324"),
            ("2.4703282292062327e-324", "0.0"),
            ("0e999999999999999999999", "0.0"),
            (&format!("0.{zeros}1e700001"), "1.0"),
            (&format!("1{zeros}25e-700000"), "100.0"),
            (&format!("-1{zeros}.5e-700001"), "-0.1"),
            (&format!("0.{zeros}"), "0.0"),
        ] {
            check_cell(float(), value, expected);
        }
        for value in ["1e400", "-1e309", "1.7976931348623159e308", "1e99999999999999999999"] {
            check_cell(
                float(),
                value,
                &format!("not_finite: the number {value} is too large for a 64-bit float"),
            );
        }
    }

    #[test]
    fn strings_are_never_parsed_and_bools_are_ints() {
        for (value, expected) in [
            (r#""""#, r#""""#),
            (r#""5""#, r#""5""#),
            (r#""null""#, r#""null""#),
            (r#""\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00é😀""#, r#""\"\\/\u{8}\u{c}\n\r\té😀é😀""#),
            (r#""\u0000""#, r#""\0""#),
        ] {
            check_cell(json!({"type": "string"}), value, expected);
        }
        check_cell(json!({"type": "bool"}), "true", "1");
        check_cell(json!({"type": "bool"}), "false", "0");
    }

    #[test]
    fn another_type_is_shown_and_shortened() {
        let long = "é\\n".repeat(50);
        let shown = "é\\n".repeat(20);
        for (value, found) in [
            (r#""big""#, r#"the string "big""#),
            (r#""say \"5\"""#, r#"the string "say \"5\"""#),
            (&format!("\"{long}\""), &format!("the string \"{shown}…\"")),
            ("true", "true"),
            ("false", "false"),
            ("[1, [2]]", "an array"),
            (r#"{"a": {}}"#, "an object"),
        ] {
            check_cell(
                json!({"type": "int"}),
                value,
                &format!("type: expected an integer, found {found}"),
            );
            check_cell(
                json!({"type": "float"}),
                value,
                &format!("type: expected a number, found {found}"),
            );
        }
        check_cell(
            json!({"type": "string"}),
            "5.0",
            "type: expected a string, found the number 5.0",
        );
        check_cell(json!({"type": "string"}), "true", "type: expected a string, found true");
        check_cell(
            json!({"type": "bool"}),
            "0",
            "type: expected true or false, found the number 0",
        );
        let digits = "1".repeat(50);
        let shown = "1".repeat(40);
        check_cell(
            json!({"type": "bool"}),
            &digits,
            &format!("type: expected true or false, found the number {shown}…"),
        );
    }

    #[test]
    fn null_is_missing_only_where_it_may_be() {
        for kind in ["int", "float", "string", "bool"] {
            check_cell(json!({"type": kind, "nullable": true}), "null", "-");
            let expected =
                schema(json!([{"name": "x", "type": kind}])).fields()[0].kind().expected();
            let problem = format!(
                "null: expected {expected}, found null; a missing value is not allowed here"
            );
            check_cell(json!({"type": kind}), "null", &problem);
        }
        // A default stands for an absent key, never for null.
        check_cell(
            json!({"type": "int", "required": false, "default": 3}),
            "null",
            "null: expected an integer, found null; a missing value is not allowed here",
        );
    }

    #[test]
    fn an_absent_field_is_its_default_or_missing() {
        let schema = schema(json!([
            {"name": "a", "type": "int", "required": false, "default": 3},
            {"name": "b", "type": "float", "required": false, "default": 3, "nullable": true},
            {"name": "c", "type": "string", "default": "x"},
            {"name": "d", "type": "bool", "required": false, "default": false},
            {"name": "e", "type": "int", "required": false, "nullable": true},
            {"name": "f", "type": "string", "required": false, "nullable": true},
        ]));
        let body = br#"[{}, {"a": 1, "f": "y", "e": 5}, {"d": true, "c": "z"}]"#;
        assert_eq!(
            outcome(&schema, &DecodeOptions::default(), body),
            "0: 3 3.0 \"x\" 0 - -\n1: 1 3.0 \"x\" 0 5 \"y\"\n2: 3 3.0 \"z\" 1 - -"
        );
    }

    #[test]
    fn limits_are_enforced_where_the_schema_says_so() {
        let int = || json!({"type": "int", "minimum": 1.5, "maximum": 9007199254740993_i64, "enforce": true});
        check_cell(int(), "2", "2");
        check_cell(int(), "1", "minimum: 1 is below the minimum, 1.5");
        check_cell(int(), "9007199254740993", "9007199254740993");
        check_cell(
            int(),
            "9007199254740994",
            "maximum: 9007199254740994 is above the maximum, 9007199254740992",
        );
        check_cell(json!({"type": "int", "minimum": 1, "maximum": 2}), "3", "3");
        let float = || json!({"type": "float", "minimum": 0.5, "maximum": 2, "enforce": true});
        check_cell(float(), "0.5", "0.5");
        check_cell(float(), "0.49", "minimum: 0.49 is below the minimum, 0.5");
        check_cell(float(), "20e-1", "2.0");
        check_cell(float(), "2.00001", "maximum: 2.00001 is above the maximum, 2");
        let text = || json!({"type": "string", "nullable": true, "categories": ["RL", "FV"], "enforce": true});
        check_cell(text(), r#""FV""#, r#""FV""#);
        check_cell(text(), "null", "-");
        check_cell(text(), r#""rl""#, r#"category: "rl" is not one of "RL", "FV""#);
        check_cell(json!({"type": "string", "categories": ["RL"]}), r#""XX""#, r#""XX""#);
        let code =
            || json!({"type": "int", "categories": (1..28).collect::<Vec<_>>(), "enforce": true});
        check_cell(code(), "27", "27");
        check_cell(
            code(),
            "0",
            "category: 0 is not one of 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, … (27 in all)",
        );
        check_cell(
            json!({"type": "int", "minimum": 1e20, "enforce": true}),
            "9223372036854775807",
            "minimum: 9223372036854775807 is below the minimum, 100000000000000000000",
        );
    }

    #[test]
    fn every_name_is_found_and_nothing_else() {
        let names: Vec<String> = (0..300)
            .flat_map(|at| [format!("{at}"), format!("abcdefgh{at}ijklmnop"), "x".repeat(at + 1)])
            .collect();
        let fields: Vec<_> =
            names.iter().map(|name| json!({"name": name, "type": "int"})).collect();
        let schema = schema(json!(fields));
        for (index, name) in names.iter().enumerate() {
            assert_eq!(schema.plan.find(name, &schema.names), Some(index));
            let other = format!("{name}?");
            assert_eq!(schema.plan.find(&other, &schema.names), None);
        }
        assert_eq!(schema.plan.find("", &schema.names), None);
    }

    #[test]
    fn a_schema_without_fields_takes_any_object() {
        assert_eq!(
            outcome(&schema(json!([])), &DecodeOptions::default(), br#"[{}, {"a": 1}]"#),
            "0: \n1: "
        );
    }

    #[test]
    fn similar_names_are_at_most_two_letters_away() {
        let check = |key, expected| {
            assert_eq!(similar(key, ["LotArea", "Id", "Zone"].into_iter()), expected, "{key}");
        };
        check("lotarea", Some("LotArea"));
        check("LotAera", Some("LotArea"));
        check("LotAr", Some("LotArea"));
        check("LotA", None);
        check("ID", Some("Id"));
        check("xy", None);
        check("Ix", Some("Id"));
        check("", None);
        check("Lone", Some("Zone"));
    }

    /// The schema that is fuzzed was none, which only `make fuzz` saw.
    #[test]
    fn the_schema_that_is_fuzzed_is_sound_and_takes_a_row_of_its_seeds() {
        let specs = serde_json::from_str(include_str!("../../fuzz/rows.schema.json")).unwrap();
        let schema = Schema::load(specs).unwrap();
        let mut frame = schema.frame();
        let body = include_bytes!("../../fuzz/seeds/rows/wrapped.json");
        let decoded = schema.decode(body, &DecodeOptions::default(), &mut frame).unwrap();
        assert_eq!((decoded.n_rows, frame.n_rows()), (2, 1), "{:?}", decoded.errors);
    }
}
