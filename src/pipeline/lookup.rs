//! From a value to the index of its key: what every step with a table does first.

use hashbrown::{HashMap, HashSet};

use super::column::{Dtype, Key, MISSING_CODE, View, to_f64};
use super::spec::Value;
use super::{PipelineError, Plan, Run, Slot};

/// The keys of a table, as the column that is looked up holds them.
///
/// Numbers are compared by value: the key `20` finds `20` and `20.0`. Text never equals a number.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) step: usize,
    pub(super) input: Slot,
    column: String,
    table: Table,
    /// The keys, shortened, for messages.
    pub(super) known: String,
}

#[derive(Debug)]
enum Table {
    Text(HashMap<Box<str>, usize>),
    Int(HashMap<i64, usize>),
    /// By the bits of the number, with -0 as 0.
    Float(HashMap<u64, usize>),
    /// By category code; `None` where the category is not among the keys.
    Category(Vec<Option<usize>>),
}

impl From<&Value> for Key {
    fn from(value: &Value) -> Self {
        match value {
            Value::Int(value) => Self::Int(*value),
            // The only integers that a float64 key can equal are those it holds exactly.
            #[expect(
                clippy::cast_possible_truncation,
                reason = "checked to be integral and within the exact range"
            )]
            Value::Float(value)
                if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 =>
            {
                Self::Int(*value as i64)
            }
            Value::Float(value) => Self::Float(*value),
            Value::Text(value) => Self::Text(value.clone()),
        }
    }
}

fn bits(value: f64) -> u64 {
    (value + 0.0).to_bits()
}

fn known(keys: &[Value]) -> String {
    const SHOWN: usize = 10;
    let mut known = keys.iter().take(SHOWN).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if keys.len() > SHOWN {
        known.push_str(&format!(", … ({} in all)", keys.len()));
    }
    known
}

impl Lookup {
    /// The table of these keys for a column that exists now.
    pub(super) fn load(plan: &Plan, column: &str, values: &[Value]) -> Result<Self, PipelineError> {
        let input = plan.slot(column)?;
        let wrong = |problem: String| plan.error(Some(column), problem);
        if values.iter().any(|key| matches!(key, Value::Float(key) if !key.is_finite())) {
            return Err(wrong("a key is not a finite number".to_owned()));
        }
        let keys: Vec<Key> = values.iter().map(Key::from).collect();
        let mut distinct: HashSet<String> = HashSet::with_capacity(keys.len());
        if let Some(twice) = keys.iter().position(|key| !distinct.insert(format!("{key:?}"))) {
            return Err(wrong(format!("the key {} is listed twice", values[twice])));
        }
        let table = Table::load(&plan.slots[input].dtype, &keys);
        Ok(Self { step: plan.index, input, column: column.to_owned(), table, known: known(values) })
    }

    /// The keys of a table of text; none of another one.
    pub(super) fn texts(&self) -> impl Iterator<Item = &str> {
        let table = match &self.table {
            Table::Text(table) => Some(table),
            Table::Int(_) | Table::Float(_) | Table::Category(_) => None,
        };
        table.into_iter().flat_map(|table| table.keys().map(AsRef::as_ref))
    }

    /// Calls `found` for each cell of the column, in order: `None` for a missing cell, else the index of its key, if there is one.
    #[inline]
    pub(super) fn each(
        &self,
        column: View<'_>,
        by_code: &mut ByCode,
        mut found: impl FnMut(usize, Option<Option<usize>>),
    ) {
        match (&self.table, column) {
            (Table::Text(table), View::Text(texts)) => {
                // Each string once, however many rows have it.
                if self.by_code(column, &mut by_code.keys, |_, key| Some(key)).is_some() {
                    for (row, code) in texts.codes().iter().enumerate() {
                        found(row, by_code.keys.get(*code as usize).copied());
                    }
                } else {
                    let find = |text: &str| table.get(text).copied();
                    (0..texts.len()).for_each(|row| found(row, texts.get(row).map(find)));
                }
            }
            (Table::Int(table), View::Int(column)) => {
                (0..column.len()).for_each(|row| {
                    found(row, column.get(row).map(|value| table.get(&value).copied()));
                });
            }
            (Table::Float(table), View::Float(values)) => {
                for (row, value) in values.iter().enumerate() {
                    found(row, (!value.is_nan()).then(|| table.get(&bits(*value)).copied()));
                }
            }
            (Table::Category(table), View::Category(codes)) => {
                for (row, code) in codes.iter().enumerate() {
                    found(
                        row,
                        (*code != MISSING_CODE)
                            .then(|| table.get(*code as usize).copied().flatten()),
                    );
                }
            }
            _ => debug_assert!(false, "a lookup of another type than its column"),
        }
    }

    /// Puts into `into` what `found` makes of each code of a column and the index of its key, if there is one: as values come again, there are
    /// fewer codes than rows. Returns `None` where the column is to be read row by row, as it is not such a column, or as `found` gives nothing
    /// for a code.
    pub(super) fn by_code<T>(
        &self,
        column: View<'_>,
        into: &mut Vec<T>,
        mut found: impl FnMut(usize, Option<usize>) -> Option<T>,
    ) -> Option<()> {
        into.clear();
        match (&self.table, column) {
            (Table::Text(table), View::Text(column))
                if repeats(column.codes(), column.n_entries()) =>
            {
                for code in 0..column.n_entries() {
                    let key = column.entry(code).and_then(|text| table.get(text).copied());
                    into.push(found(code, key)?);
                }
            }
            (Table::Category(table), View::Category(codes)) if repeats(codes, table.len()) => {
                for (code, key) in table.iter().enumerate() {
                    into.push(found(code, *key)?);
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// A category that is not among the keys: an error now, or remembered in case that a later step refuses what is missing then.
    pub(super) fn unseen(&self, row: usize, operation: usize, error: bool, run: &mut Run<'_>) {
        if error {
            let field = run.pipeline.slots[self.input].fields.first().copied();
            run.refuse(row, self.step, |run| {
                (field, run.unseen_category(row, field.unwrap_or_default(), self))
            });
        } else {
            run.unseen.push((row, operation));
        }
    }

    /// A missing value where the table takes none.
    pub(super) fn missing(&self, row: usize, run: &mut Run<'_>) {
        missing_cell(row, self.step, self.input, &self.column, run);
    }
}

/// What was found for the codes of a column. Used again from step to step, so that none allocates.
#[derive(Debug, Default)]
pub(super) struct ByCode {
    pub(super) keys: Vec<Option<usize>>,
    pub(super) numbers: Vec<f64>,
    pub(super) codes: Vec<u32>,
}

/// Whether it pays to look at the entries of a column of codes first, and at its rows then.
fn repeats(codes: &[u32], n_entries: usize) -> bool {
    const FROM: usize = 64;
    codes.len() >= FROM && n_entries <= codes.len() / 2
}

/// A missing value in `column`, which is in the slot `input`, where `step` takes none.
pub(super) fn missing_cell(row: usize, step: usize, input: Slot, column: &str, run: &mut Run<'_>) {
    let fields = &run.pipeline.slots[input].fields;
    run.refuse(row, step, |run| run.blame(row, step, column, fields));
}

impl Table {
    fn load(dtype: &Dtype, keys: &[Key]) -> Self {
        let indexed = || keys.iter().enumerate();
        match dtype {
            // A step takes no tensor and no picture.
            Dtype::Text | Dtype::Tensor(_) | Dtype::Image => Self::Text(
                indexed()
                    .filter_map(|(at, key)| match key {
                        Key::Text(text) => Some((text.as_str().into(), at)),
                        Key::Int(_) | Key::Float(_) => None,
                    })
                    .collect(),
            ),
            Dtype::Int | Dtype::Datetime => Self::Int(
                indexed()
                    .filter_map(|(at, key)| match key {
                        Key::Int(value) => Some((*value, at)),
                        Key::Float(_) | Key::Text(_) => None,
                    })
                    .collect(),
            ),
            Dtype::Float => Self::Float(
                indexed()
                    .filter_map(|(at, key)| match key {
                        Key::Int(value) => Some((bits(to_f64(*value)), at)),
                        Key::Float(value) => Some((bits(*value), at)),
                        Key::Text(_) => None,
                    })
                    .collect(),
            ),
            Dtype::Category(categories) => Self::Category(
                categories
                    .iter()
                    .map(|category| keys.iter().position(|key| key == category))
                    .collect(),
            ),
        }
    }
}
