//! Looks values up in a fitted table: every encoder that gives one column, and mappings of categories to categories.

use std::sync::Arc;

use hashbrown::HashMap;

use super::column::{Column, Dtype, Key, MISSING_CODE, Slots, View, to_f64};
use super::spec::{MapColumn, MapSpec, Otherwise, Value};
use super::{Operation, PipelineError, Plan, Run, Slot};

/// Replaces each value of one column by what a table says.
///
/// - Input: any column. Output: float64 when all values of the table are numbers (missing = NaN), else categories, or
///   text where unseen text is kept.
/// - Numbers are compared by value: the key `20` finds `20` and `20.0`. Text never equals a number.
/// - Same as `Series.map(dict)` of pandas 1.5 to 3, hence as the encoders of feature-engine that replace a column.
#[derive(Debug)]
pub(super) struct MapStep {
    pub(super) step: usize,
    pub(super) input: Slot,
    column: String,
    output: Slot,
    lookup: Lookup,
    result: Outcome,
    /// The keys, shortened, for messages.
    pub(super) known: String,
}

/// From a value to the index of its key.
#[derive(Debug)]
enum Lookup {
    Text(HashMap<Box<str>, usize>),
    Int(HashMap<i64, usize>),
    /// By the bits of the number, with -0 as 0.
    Float(HashMap<u64, usize>),
    /// By category code; `None` where the category is not among the keys.
    Category(Vec<Option<usize>>),
}

#[derive(Debug)]
enum Outcome {
    Numbers { values: Vec<f64>, unseen: Other<f64>, missing: Other<f64> },
    Codes { values: Vec<u32>, unseen: Other<u32>, missing: Other<u32>, kept: Vec<u32> },
    Text { values: Vec<Option<String>>, missing: Other<String> },
}

/// What becomes of a cell that is not looked up. For a missing cell `Missing` and `Keep` are the same.
#[derive(Debug, Clone)]
enum Other<T> {
    Missing,
    Keep,
    Error,
    Value(T),
}

impl<T> Other<T> {
    fn load(otherwise: &Otherwise, convert: impl FnOnce(&Value) -> T) -> Self {
        match otherwise {
            Otherwise::Missing => Self::Missing,
            Otherwise::Keep => Self::Keep,
            Otherwise::Error => Self::Error,
            Otherwise::Value(value) => Self::Value(convert(value)),
        }
    }
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

pub(super) fn load(plan: &mut Plan, spec: MapSpec) -> Result<(), PipelineError> {
    spec.columns.into_iter().try_for_each(|column| load_column(plan, &column))
}

fn load_column(plan: &mut Plan, spec: &MapColumn) -> Result<(), PipelineError> {
    let input = plan.slot(&spec.column)?;
    let wrong = |problem: String| plan.error(Some(&spec.column), problem);
    if spec.keys.len() != spec.values.len() {
        return Err(wrong(format!("{} keys, but {} values", spec.keys.len(), spec.values.len())));
    }
    let all = || {
        spec.keys
            .iter()
            .chain(spec.values.iter().flatten())
            .chain(spec.unseen.value())
            .chain(spec.missing.value())
    };
    if all().any(|value| matches!(value, Value::Float(value) if !value.is_finite())) {
        return Err(wrong("a key or value is not a finite number".to_owned()));
    }
    let keys: Vec<Key> = spec.keys.iter().map(Key::from).collect();
    let lookup = Lookup::load(&plan.slots[input].dtype, &keys);
    let distinct: hashbrown::HashSet<String> = keys.iter().map(|key| format!("{key:?}")).collect();
    if distinct.len() < keys.len() {
        let twice = (1..keys.len())
            .find(|at| keys[..*at].contains(&keys[*at]))
            .map(|at| spec.keys[at].to_string());
        return Err(wrong(format!("the key {} is listed twice", twice.unwrap_or_default())));
    }
    let results =
        || spec.values.iter().flatten().chain(spec.unseen.value()).chain(spec.missing.value());
    let numbers = results().all(|value| !matches!(value, Value::Text(_)));
    let (dtype, result) = match &plan.slots[input].dtype {
        input if numbers && (input.is_number() || spec.unseen != Otherwise::Keep) => {
            (Dtype::Float, Outcome::numbers(spec))
        }
        Dtype::Text if spec.unseen == Otherwise::Keep => {
            if let Some(number) = results().find(|value| !matches!(value, Value::Text(_))) {
                return Err(wrong(format!(
                    "unseen text is kept, so all values must be text, but one is {number}"
                )));
            }
            (Dtype::Text, Outcome::text(spec))
        }
        Dtype::Int | Dtype::Float if spec.unseen == Otherwise::Keep => {
            return Err(wrong("unseen numbers are kept, so all values must be numbers".to_owned()));
        }
        input => Outcome::codes(spec, input),
    };
    let known = known(&spec.keys);
    let output = plan.derive(dtype, &[input]);
    match &spec.output {
        Some(name) => plan.append(name, output)?,
        None => plan.replace(&spec.column, output),
    }
    let (step, column) = (plan.index, spec.column.clone());
    plan.operations.push(Operation::Map(MapStep {
        step,
        input,
        column,
        output,
        lookup,
        result,
        known,
    }));
    Ok(())
}

impl Otherwise {
    fn value(&self) -> Option<&Value> {
        match self {
            Self::Value(value) => Some(value),
            Self::Missing | Self::Keep | Self::Error => None,
        }
    }
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
    fn load(dtype: &Dtype, keys: &[Key]) -> Self {
        let indexed = || keys.iter().enumerate();
        match dtype {
            Dtype::Text => Self::Text(
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

    /// Calls `found` for each cell of the column, in order: `None` for a missing cell, else the index of its key, if there is one.
    #[inline]
    fn each(&self, column: View<'_>, mut found: impl FnMut(usize, Option<Option<usize>>)) {
        match (self, column) {
            (Self::Text(table), View::Text(column)) => {
                (0..column.len()).for_each(|row| {
                    found(row, column.get(row).map(|text| table.get(text).copied()));
                });
            }
            (Self::Int(table), View::Int(column)) => {
                (0..column.len()).for_each(|row| {
                    found(row, column.get(row).map(|value| table.get(&value).copied()));
                });
            }
            (Self::Float(table), View::Float(values)) => {
                for (row, value) in values.iter().enumerate() {
                    found(row, (!value.is_nan()).then(|| table.get(&bits(*value)).copied()));
                }
            }
            (Self::Category(table), View::Category(codes)) => {
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
}

impl Outcome {
    fn numbers(spec: &MapColumn) -> Self {
        let number = |value: &Value| match value {
            Value::Int(value) => to_f64(*value),
            Value::Float(value) => *value,
            Value::Text(_) => f64::NAN,
        };
        Self::Numbers {
            values: spec
                .values
                .iter()
                .map(|value| value.as_ref().map_or(f64::NAN, number))
                .collect(),
            unseen: Other::load(&spec.unseen, number),
            missing: Other::load(&spec.missing, number),
        }
    }

    fn text(spec: &MapColumn) -> Self {
        let text = |value: &Value| match value {
            Value::Text(text) => text.clone(),
            Value::Int(_) | Value::Float(_) => value.to_string(),
        };
        Self::Text {
            values: spec.values.iter().map(|value| value.as_ref().map(text)).collect(),
            missing: Other::load(&spec.missing, text),
        }
    }

    fn codes(spec: &MapColumn, input: &Dtype) -> (Dtype, Self) {
        let mut keys: Vec<Key> = Vec::new();
        let mut code = |key: Key| {
            let at = keys.iter().position(|known| *known == key).unwrap_or_else(|| {
                keys.push(key);
                keys.len() - 1
            });
            // A table of 4 billion keys does not fit a manifest.
            u32::try_from(at).unwrap_or(MISSING_CODE)
        };
        let values = spec
            .values
            .iter()
            .map(|value| value.as_ref().map_or(MISSING_CODE, |value| code(value.into())))
            .collect();
        let unseen = Other::load(&spec.unseen, |value| code(value.into()));
        let missing = Other::load(&spec.missing, |value| code(value.into()));
        let kept = match (input, &spec.unseen) {
            (Dtype::Category(categories), Otherwise::Keep) => {
                categories.iter().map(|category| code(category.clone())).collect()
            }
            _ => Vec::new(),
        };
        (Dtype::Category(Arc::from(keys)), Self::Codes { values, unseen, missing, kept })
    }
}

impl MapStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, operation: usize, run: &mut Run<'_>) {
        let (input, output): (View<'_>, &mut Column) = slots.pair(self.input, self.output);
        match &self.result {
            Outcome::Numbers { values, unseen, missing } => {
                let output = output.as_floats();
                output.reserve(input.len());
                self.lookup.each(input, |row, found| {
                    output.push(match found {
                        Some(Some(at)) => values[at],
                        Some(None) => match unseen {
                            Other::Value(value) => *value,
                            Other::Keep => input.number(row),
                            Other::Missing | Other::Error => {
                                self.unseen(row, operation, matches!(unseen, Other::Error), run);
                                f64::NAN
                            }
                        },
                        None => match missing {
                            Other::Value(value) => *value,
                            Other::Missing | Other::Keep => f64::NAN,
                            Other::Error => {
                                self.missing(row, run);
                                f64::NAN
                            }
                        },
                    });
                });
            }
            Outcome::Codes { values, unseen, missing, kept } => {
                let output = output.as_codes();
                output.reserve(input.len());
                self.lookup.each(input, |row, found| {
                    output.push(match found {
                        Some(Some(at)) => values[at],
                        Some(None) => match (unseen, input) {
                            (Other::Value(value), _) => *value,
                            (Other::Keep, View::Category(codes)) => {
                                kept.get(codes[row] as usize).copied().unwrap_or(MISSING_CODE)
                            }
                            (Other::Missing | Other::Error | Other::Keep, _) => {
                                self.unseen(row, operation, matches!(unseen, Other::Error), run);
                                MISSING_CODE
                            }
                        },
                        None => match missing {
                            Other::Value(value) => *value,
                            Other::Missing | Other::Keep => MISSING_CODE,
                            Other::Error => {
                                self.missing(row, run);
                                MISSING_CODE
                            }
                        },
                    });
                });
            }
            Outcome::Text { values, missing } => {
                let View::Text(texts) = input else { return };
                let output = output.as_text();
                self.lookup.each(input, |row, found| match found {
                    Some(Some(at)) => match &values[at] {
                        Some(text) => output.push(text),
                        None => output.push_missing(),
                    },
                    Some(None) => output.push(texts.get(row).unwrap_or_default()),
                    None => match missing {
                        Other::Value(text) => output.push(text),
                        Other::Missing | Other::Keep => output.push_missing(),
                        Other::Error => {
                            self.missing(row, run);
                            output.push_missing();
                        }
                    },
                });
            }
        }
    }

    /// A category that is not among the keys: an error now, or remembered in case that a later step refuses what is missing then.
    fn unseen(&self, row: usize, operation: usize, error: bool, run: &mut Run<'_>) {
        if error {
            let field = run.pipeline.slots[self.input].fields.first().copied();
            run.refuse(row, self.step, |run| {
                (field, run.unseen_category(row, field.unwrap_or_default(), self))
            });
        } else {
            run.unseen.push((row, operation));
        }
    }

    fn missing(&self, row: usize, run: &mut Run<'_>) {
        let fields = &run.pipeline.slots[self.input].fields;
        run.refuse(row, self.step, |run| run.blame(row, self.step, &self.column, fields));
    }
}
