//! Looks values up in a fitted table: every encoder that gives one column, and mappings of categories to categories.

use std::sync::Arc;

use super::column::{Column, Dtype, Key, MISSING_CODE, Slots, View, to_f64};
use super::lookup::{ByCode, Lookup};
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
    pub(super) lookup: Lookup,
    pub(super) output: Slot,
    result: Outcome,
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

impl<T: Copy> Other<T> {
    fn value(&self) -> Option<T> {
        match self {
            Self::Value(value) => Some(*value),
            Self::Missing | Self::Keep | Self::Error => None,
        }
    }

    /// What the missing ones of these codes become, or `None` where that is an error. `none` is a missing value.
    fn of_codes(&self, none: T, codes: &[u32]) -> Option<T> {
        match self {
            Self::Value(value) => Some(*value),
            Self::Missing | Self::Keep => Some(none),
            Self::Error => (!codes.contains(&MISSING_CODE)).then_some(none),
        }
    }
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
    let lookup = Lookup::load(plan, &spec.column, &spec.keys)?;
    let results =
        || spec.values.iter().flatten().chain(spec.unseen.value()).chain(spec.missing.value());
    if results().any(|value| matches!(value, Value::Float(value) if !value.is_finite())) {
        return Err(wrong("a value is not a finite number".to_owned()));
    }
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
    let output = plan.derive(dtype, &[input]);
    match &spec.output {
        Some(name) => plan.append(name, output)?,
        None => plan.replace(&spec.column, output),
    }
    plan.operations.push(Operation::Map(MapStep { lookup, output, result }));
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
    pub(super) fn run(
        &self,
        slots: &mut Slots<'_>,
        operation: usize,
        run: &mut Run<'_>,
        by_code: &mut ByCode,
    ) {
        let (input, output): (View<'_>, &mut Column) = slots.pair(self.lookup.input, self.output);
        if self.run_by_code(input, output, by_code).is_some() {
            return;
        }
        match &self.result {
            Outcome::Numbers { values, unseen, missing } => {
                let output = output.as_floats();
                output.reserve(input.len());
                self.lookup.each(input, by_code, |row, found| {
                    output.push(match found {
                        Some(Some(at)) => values[at],
                        Some(None) => match unseen {
                            Other::Value(value) => *value,
                            Other::Keep => input.number(row),
                            Other::Missing | Other::Error => {
                                self.lookup.unseen(
                                    row,
                                    operation,
                                    matches!(unseen, Other::Error),
                                    run,
                                );
                                f64::NAN
                            }
                        },
                        None => match missing {
                            Other::Value(value) => *value,
                            Other::Missing | Other::Keep => f64::NAN,
                            Other::Error => {
                                self.lookup.missing(row, run);
                                f64::NAN
                            }
                        },
                    });
                });
            }
            Outcome::Codes { values, unseen, missing, kept } => {
                let output = output.as_codes();
                output.reserve(input.len());
                self.lookup.each(input, by_code, |row, found| {
                    output.push(match found {
                        Some(Some(at)) => values[at],
                        Some(None) => match (unseen, input) {
                            (Other::Value(value), _) => *value,
                            (Other::Keep, View::Category(codes)) => {
                                kept.get(codes[row] as usize).copied().unwrap_or(MISSING_CODE)
                            }
                            (Other::Missing | Other::Error | Other::Keep, _) => {
                                self.lookup.unseen(
                                    row,
                                    operation,
                                    matches!(unseen, Other::Error),
                                    run,
                                );
                                MISSING_CODE
                            }
                        },
                        None => match missing {
                            Other::Value(value) => *value,
                            Other::Missing | Other::Keep => MISSING_CODE,
                            Other::Error => {
                                self.lookup.missing(row, run);
                                MISSING_CODE
                            }
                        },
                    });
                });
            }
            Outcome::Text { values, missing } => {
                let View::Text(texts) = input else { return };
                let output = output.as_text();
                self.lookup.each(input, by_code, |row, found| match found {
                    Some(Some(at)) => match &values[at] {
                        Some(text) => output.push(text),
                        None => output.push_missing(),
                    },
                    Some(None) => output.push(texts.get(row).unwrap_or_default()),
                    None => match missing {
                        Other::Value(text) => output.push(text),
                        Other::Missing | Other::Keep => output.push_missing(),
                        Other::Error => {
                            self.lookup.missing(row, run);
                            output.push_missing();
                        }
                    },
                });
            }
        }
    }

    /// Looks up what is different in a column whose values come again, and gives each row what was found for its code. Does nothing for
    /// another column, or where a row might be refused.
    fn run_by_code(
        &self,
        input: View<'_>,
        output: &mut Column,
        by_code: &mut ByCode,
    ) -> Option<()> {
        let codes = match input {
            View::Text(column) => column.codes(),
            View::Category(codes) => codes,
            _ => return None,
        };
        match &self.result {
            Outcome::Numbers { values, unseen, missing } => {
                let missing = missing.of_codes(f64::NAN, codes)?;
                let found = &mut by_code.numbers;
                self.lookup.by_code(input, found, |_, at| match at {
                    Some(at) => Some(values[at]),
                    None => unseen.value(),
                })?;
                let of = |code: &u32| found.get(*code as usize).copied().unwrap_or(missing);
                output.as_floats().extend(codes.iter().map(of));
            }
            Outcome::Codes { values, unseen, missing, kept } => {
                let missing = missing.of_codes(MISSING_CODE, codes)?;
                let found = &mut by_code.codes;
                self.lookup.by_code(input, found, |code, at| match (at, unseen) {
                    (Some(at), _) => Some(values[at]),
                    (None, Other::Keep) => kept.get(code).copied(),
                    (None, unseen) => unseen.value(),
                })?;
                let of = |code: &u32| found.get(*code as usize).copied().unwrap_or(missing);
                output.as_codes().extend(codes.iter().map(of));
            }
            Outcome::Text { values, missing } => {
                let View::Text(texts) = input else { return None };
                let missing = match missing {
                    Other::Value(text) => Some(text.as_str()),
                    Other::Missing | Other::Keep => None,
                    Other::Error => return None,
                };
                let found = &mut by_code.keys;
                self.lookup.by_code(input, found, |_, at| match at {
                    Some(at) => values[at].is_some().then_some(Some(at)),
                    None => Some(None),
                })?;
                let entries = (0..).zip(found).filter_map(|(code, at)| match at {
                    Some(at) => values[*at].as_deref(),
                    None => texts.entry(code),
                });
                output.as_text().copy_replaced(texts, entries, missing);
            }
        }
        Some(())
    }
}
