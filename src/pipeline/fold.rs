//! What all the steps make of a text field, found out at load for every text that they know.
//!
//! Steps that look at one value alone (filling, tables, checks, scaling) are run at load on each text of their tables, on a missing value and on a
//! text that is in none of them. A request then looks its text up once, in place of going through the steps.

use hashbrown::{HashMap, HashSet};

use super::column::{Dtype, Slots};
use super::{Operation, Pipeline, Slot, Workspace};
use crate::schema::{self, Frame, ShortText, TextColumn};

/// The features of a text field, by its text.
#[derive(Debug)]
pub(super) struct Folded {
    field: usize,
    /// The positions of its features.
    features: Vec<usize>,
    keys: Keys,
    /// For each key, then for what is missing and for any other text, the values of its features.
    values: Vec<f64>,
    /// For each of these whether no step refuses it.
    passes: Vec<bool>,
}

/// Texts by their number.
#[derive(Debug)]
struct Keys {
    /// As many as a power of two, half of them taken at most.
    short: Vec<Option<(ShortText, u32)>>,
    long: HashMap<Box<str>, u32>,
    n: u32,
}

impl Keys {
    fn new(keys: &[&str]) -> Self {
        let n_short = (2 * keys.len()).next_power_of_two();
        let mut found = Self { short: vec![None; n_short], long: HashMap::new(), n: 0 };
        for key in keys {
            match ShortText::of(key.as_bytes()) {
                Some(short) => {
                    let mut at = short.hash();
                    while found.short[at % n_short].is_some() {
                        at += 1;
                    }
                    found.short[at % n_short] = Some((short, found.n));
                }
                None => {
                    found.long.insert((*key).into(), found.n);
                }
            }
            found.n += 1;
        }
        found
    }

    /// What is missing comes behind the texts.
    fn missing(&self) -> u32 {
        self.n
    }

    #[inline]
    fn find(&self, text: &str) -> u32 {
        let other = self.n + 1;
        let Some(short) = ShortText::of(text.as_bytes()) else {
            return self.long.get(text).copied().unwrap_or(other);
        };
        let mut at = short.hash();
        loop {
            match self.short.get(at & (self.short.len() - 1)) {
                Some(Some((known, number))) if *known == short => return *number,
                Some(Some(_)) => at += 1,
                _ => return other,
            }
        }
    }
}

/// The slot that an operation on one column reads, and the one that it writes. `None` for one that looks at more, or at more than the value.
fn passes_through(operation: &Operation) -> Option<(Slot, Option<Slot>)> {
    match operation {
        Operation::Check(step) => Some((step.input, None)),
        Operation::Fill(step) => Some((step.input, Some(step.output))),
        Operation::Indicate(step) => Some((step.input, Some(step.output))),
        Operation::Function(step) => Some((step.input, Some(step.output))),
        Operation::Threshold(step) => Some((step.input, Some(step.output))),
        Operation::Map(step) => Some((step.lookup.input, Some(step.output))),
        Operation::Affine(step) => Some((step.input, Some(step.output))),
        _ => None,
    }
}

/// Finds the text fields that can be folded, and says for each operation whether it is one of theirs: it then need not run.
pub(super) fn fold(pipeline: &Pipeline, gathered: &[(usize, Slot)]) -> (Vec<Folded>, Vec<bool>) {
    let slots = &pipeline.slots;
    // For each slot the text field that it comes from, where it comes from no other one.
    let mut origin: Vec<Option<usize>> = vec![None; slots.len()];
    for field in 0..pipeline.n_fields {
        origin[field] = (slots[field].dtype == Dtype::Text).then_some(field);
    }
    let mut of_field: Vec<Option<usize>> = Vec::with_capacity(pipeline.operations.len());
    for operation in &pipeline.operations {
        let (input, output) = passes_through(operation).unzip();
        let field = input.and_then(|input| origin[input]);
        if let Some(Some(output)) = output {
            origin[output] = field;
        }
        of_field.push(field);
    }
    let is_whole = |field: usize| {
        let uses = |slot: Slot| slots[slot].fields.contains(&field);
        (0..slots.len()).all(|slot| !uses(slot) || origin[slot] == Some(field))
    };
    let mut folded: Vec<Folded> = Vec::new();
    for field in 0..pipeline.n_fields {
        let which = (0..of_field.len()).filter(|at| of_field[*at] == Some(field));
        let which: Vec<usize> = which.collect();
        let is_text = origin[field].is_some();
        if is_text && !which.is_empty() && is_whole(field) {
            let features = gathered.iter().filter(|(_, slot)| origin[*slot] == Some(field));
            let features: Vec<(usize, Slot)> = features.copied().collect();
            folded.extend(Folded::new(pipeline, field, &which, &features));
        }
    }
    let is_folded = |field: usize| folded.iter().any(|folded| folded.field == field);
    let skipped = of_field.iter().map(|field| field.is_some_and(is_folded)).collect();
    (folded, skipped)
}

impl Folded {
    /// Runs these operations on every text that they know. None where there are too many.
    fn new(
        pipeline: &Pipeline,
        field: usize,
        which: &[usize],
        features: &[(usize, Slot)],
    ) -> Option<Self> {
        const MOST: usize = 4096;
        let lookups = which.iter().filter_map(|at| pipeline.operations[*at].lookup());
        let keys: HashSet<&str> = lookups.flat_map(|lookup| lookup.texts()).collect();
        if keys.len() > MOST {
            return None;
        }
        let mut keys: Vec<&str> = keys.into_iter().collect();
        keys.sort_unstable();
        // Longer than each of them.
        let longest = keys.iter().map(|key| key.len()).max().unwrap_or_default();
        let other = "?".repeat(longest + 1);
        let mut texts = TextColumn::default();
        keys.iter().for_each(|key| texts.push(key));
        texts.push_missing();
        texts.push(&other);
        let n_rows = texts.len();
        // No other field is read. The first one tells the number of rows.
        let mut columns = vec![schema::Column::Text(TextColumn::default()); pipeline.n_fields];
        columns[0] = schema::Column::Float(vec![f64::NAN; n_rows]);
        columns[field] = schema::Column::Text(texts);
        let frame = Frame::new(columns);
        let mut workspace = Workspace::default();
        pipeline.prepare(n_rows, &mut workspace);
        pipeline.operate(which.iter().copied(), &frame, &mut workspace);
        let passes = (0..n_rows).map(|row| workspace.passed(row)).collect();
        let slots = Slots::new(frame.columns(), &mut workspace.columns);
        let values = (0..n_rows)
            .flat_map(|row| features.iter().map(move |(_, slot)| (row, *slot)))
            .map(|(row, slot)| slots.read(slot).number(row))
            .collect();
        Some(Self {
            field,
            features: features.iter().map(|(at, _)| *at).collect(),
            keys: Keys::new(&keys),
            values,
            passes,
        })
    }

    pub(super) fn has(&self, feature: usize) -> bool {
        self.features.contains(&feature)
    }

    /// Writes the features of the field into the rows of all features. Says whether no step refuses any of them; if one does, they are not to be
    /// used.
    pub(super) fn run(
        &self,
        frame: &Frame,
        n_features: usize,
        features: &mut [f64],
        numbers: &mut Vec<u32>,
    ) -> bool {
        let Some(schema::Column::Text(column)) = frame.columns().get(self.field) else {
            return false;
        };
        // Most requests have one row, for which what comes next is a lot.
        if let [code] = column.codes() {
            let number = column.entry(*code as usize);
            let number = number.map_or(self.keys.missing(), |text| self.keys.find(text)) as usize;
            self.write(number, features);
            return self.passes(number);
        }
        // Each text once, however many rows have it.
        numbers.clear();
        numbers.extend((0..column.n_entries()).map(|entry| {
            column.entry(entry).map_or(self.keys.missing(), |text| self.keys.find(text))
        }));
        let of_row = |code: &u32| {
            numbers.get(*code as usize).copied().unwrap_or(self.keys.missing()) as usize
        };
        // Where nothing would be refused, the rows need not be asked.
        let all_pass = numbers.iter().all(|number| self.passes(*number as usize))
            && self.passes(of_row(&TextColumn::MISSING));
        if !all_pass && !column.codes().iter().all(|code| self.passes(of_row(code))) {
            return false;
        }
        let rows = features.chunks_exact_mut(n_features.max(1)).zip(column.codes());
        match self.features.as_slice() {
            [] => {}
            [at] => rows.for_each(|(row, code)| {
                if let (Some(place), Some(value)) =
                    (row.get_mut(*at), self.values.get(of_row(code)))
                {
                    *place = *value;
                }
            }),
            _ => rows.for_each(|(row, code)| self.write(of_row(code), row)),
        }
        true
    }

    /// Whether no step refuses the text of this number.
    #[inline]
    fn passes(&self, number: usize) -> bool {
        self.passes.get(number).copied().unwrap_or(false)
    }

    /// Writes the features of the text of this number into a row.
    #[inline]
    fn write(&self, number: usize, row: &mut [f64]) {
        let values = self.values.get(number * self.features.len()..).unwrap_or_default();
        for (at, value) in self.features.iter().zip(values) {
            if let Some(place) = row.get_mut(*at) {
                *place = *value;
            }
        }
    }
}
