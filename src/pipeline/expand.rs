//! Looks values up in a table of rows: every encoder that gives several columns.

use hashbrown::HashMap;
use serde::Deserialize;

use super::column::{Column, Dtype, Slots, View};
use super::lookup::{ByCode, Lookup};
use super::similarity::{text, texts_of};
use super::spec::Value;
use super::{Operation, PipelineError, Plan, Run, Slot, unicode};

/// Parameters of `expand`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpandSpec {
    columns: Vec<ExpandColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExpandColumn {
    column: String,
    outputs: Vec<String>,
    keys: Vec<Value>,
    /// A row of numbers for each key; `null` is missing.
    #[serde(default)]
    rows: Option<Vec<Vec<Option<f64>>>>,
    /// Instead: for each key the output that is 1 while all others are 0; `null` for none.
    #[serde(default)]
    ones: Option<Vec<Option<usize>>>,
    unseen: Otherwise,
    missing: Otherwise,
    /// Looks up each part of a text by itself.
    #[serde(default)]
    split: Option<SplitSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SplitSpec {
    /// White space when absent; each character by itself when empty.
    #[serde(default)]
    separator: Option<String>,
    /// Takes white space off each part, and leaves out what is empty then.
    #[serde(default)]
    strip: bool,
}

/// What becomes of a value that is not looked up.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Otherwise {
    Zeros,
    Missing,
    Error,
    Row(Vec<Option<f64>>),
}

/// Writes a row of a table to several new columns, by the value of one column.
///
/// - Input: any column. Outputs: float64, missing = NaN.
/// - Numbers are compared by value, as by `map`.
/// - Same as `OneHotEncoder` of scikit-learn 1.2 to 1.9 and of feature-engine 1.5 to 1.9, and as the encoders of `category_encoders` 2.6
///   to 2.9 that give several columns.
/// - With `split`, each part of a text is looked up and the outputs of all are 1: as `MultiHotEncoder` of `category_encoders` 2.11,
///   and as scikit-learn's `MultiLabelBinarizer` 1.2 to 1.9 of split texts.
#[derive(Debug)]
pub(super) struct ExpandStep {
    pub(super) lookup: Lookup,
    /// The first of the outputs, which follow one another.
    first: Slot,
    n_outputs: usize,
    rows: Rows,
    unseen: Other,
    missing: Other,
    parts: Option<Parts>,
}

/// How a text is split, and the table of its parts.
#[derive(Debug)]
struct Parts {
    split: SplitSpec,
    table: HashMap<Box<str>, Option<usize>>,
    /// The texts of a column of categories.
    categories: Vec<String>,
}

#[derive(Debug)]
enum Rows {
    /// Row-major.
    Dense(Vec<f64>),
    Ones(Vec<Option<usize>>),
}

#[derive(Debug)]
pub(super) enum Other {
    Zeros,
    Missing,
    Error,
    Row(Vec<f64>),
}

pub(super) fn load(plan: &mut Plan, spec: ExpandSpec) -> Result<(), PipelineError> {
    spec.columns.into_iter().try_for_each(|column| load_column(plan, column))
}

fn load_column(plan: &mut Plan, spec: ExpandColumn) -> Result<(), PipelineError> {
    let lookup = Lookup::load(plan, &spec.column, &spec.keys)?;
    let name = spec.column.clone();
    let wrong = |problem: String| plan.error(Some(&name), problem);
    let (n_keys, n_outputs) = (spec.keys.len(), spec.outputs.len());
    if n_outputs == 0 {
        return Err(wrong("there are no outputs".to_owned()));
    }
    let numbers = |row: &[Option<f64>], what: &str| numbers(row, n_outputs, what).map_err(wrong);
    let counted = |n: usize, what: &str| {
        if n == n_keys { Ok(()) } else { Err(wrong(format!("{n_keys} keys, but {n} {what}"))) }
    };
    let rows = match (&spec.rows, spec.ones) {
        (Some(rows), None) => {
            counted(rows.len(), "rows")?;
            let mut dense = Vec::with_capacity(n_keys * n_outputs);
            for (key, row) in spec.keys.iter().zip(rows) {
                dense.extend(numbers(row, &format!("the row of the key {key}"))?);
            }
            Rows::Dense(dense)
        }
        (None, Some(ones)) => {
            counted(ones.len(), "ones")?;
            if let Some(beyond) = ones.iter().flatten().find(|at| **at >= n_outputs) {
                return Err(wrong(format!(
                    "`ones` names the output {beyond}, but there are {n_outputs}, counted from 0"
                )));
            }
            Rows::Ones(ones)
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(wrong("it takes either `rows` or `ones`".to_owned()));
        }
    };
    let unseen = Other::load(&spec.unseen, n_outputs, "unseen").map_err(wrong)?;
    let missing = Other::load(&spec.missing, n_outputs, "missing").map_err(wrong)?;
    let parts = match (spec.split, &rows) {
        (None, _) => None,
        (Some(_), Rows::Dense(_)) => return Err(wrong("`split` needs `ones`".to_owned())),
        (Some(split), Rows::Ones(ones)) => {
            let texts = spec.keys.iter().zip(ones).map(|(key, at)| match key {
                Value::Text(text) => Ok((Box::from(text.as_str()), *at)),
                Value::Int(_) | Value::Float(_) => {
                    Err(wrong(format!("with `split` the keys are text, but one is {key}")))
                }
            });
            let table = texts.collect::<Result<_, _>>()?;
            Some(Parts { split, table, categories: texts_of(plan, &name)? })
        }
    };
    let first = plan.slots.len();
    for output in &spec.outputs {
        let slot = plan.derive(Dtype::Float, &[lookup.input]);
        plan.append(output, slot)?;
    }
    let step = ExpandStep { lookup, first, n_outputs, rows, unseen, missing, parts };
    plan.operations.push(Operation::Expand(step));
    Ok(())
}

/// A row of a table, with NaN for what is missing.
fn numbers(row: &[Option<f64>], n_outputs: usize, what: &str) -> Result<Vec<f64>, String> {
    if row.len() != n_outputs {
        return Err(format!("{what} has {} numbers, but there are {n_outputs} outputs", row.len()));
    }
    if row.iter().flatten().any(|value| !value.is_finite()) {
        return Err(format!("a number of {what} is not finite"));
    }
    Ok(row.iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

impl ExpandStep {
    pub(super) fn run(
        &self,
        slots: &mut Slots<'_>,
        operation: usize,
        run: &mut Run<'_>,
        by_code: &mut ByCode,
    ) {
        let (before, outputs) = slots.split(self.first, self.n_outputs);
        let input = before.read(self.lookup.input);
        for output in &mut *outputs {
            output.as_floats().resize(input.len(), 0.0);
        }
        if let Some(parts) = &self.parts {
            self.run_parts(parts, input, outputs, operation, run);
            return;
        }
        self.lookup.each(input, by_code, |row, found| match found {
            Some(Some(key)) => match &self.rows {
                Rows::Dense(rows) => {
                    write(outputs, row, &rows[key * self.n_outputs..][..self.n_outputs]);
                }
                Rows::Ones(ones) => {
                    if let Some(at) = ones[key] {
                        set(&mut outputs[at], row, 1.0);
                    }
                }
            },
            Some(None) => {
                if matches!(self.unseen, Other::Missing | Other::Error) {
                    let error = matches!(self.unseen, Other::Error);
                    self.lookup.unseen(row, operation, error, run);
                }
                self.unseen.write(outputs, row);
            }
            None => {
                if matches!(self.missing, Other::Error) {
                    self.lookup.missing(row, run);
                }
                self.missing.write(outputs, row);
            }
        });
    }

    fn run_parts(
        &self,
        parts: &Parts,
        input: View<'_>,
        outputs: &mut [Column],
        operation: usize,
        run: &mut Run<'_>,
    ) {
        for row in 0..input.len() {
            let Some(text) = text(input, &parts.categories, row) else {
                if matches!(self.missing, Other::Error) {
                    self.lookup.missing(row, run);
                }
                self.missing.write(outputs, row);
                continue;
            };
            let mut unseen = false;
            parts.split.each(text, |part| match parts.table.get(part) {
                Some(Some(at)) => set(&mut outputs[*at], row, 1.0),
                Some(None) => {}
                None => unseen = true,
            });
            if !unseen {
                continue;
            }
            match &self.unseen {
                Other::Zeros => {}
                Other::Row(values) => {
                    for (output, value) in outputs.iter_mut().zip(values) {
                        if *value != 0.0 {
                            set(output, row, *value);
                        }
                    }
                }
                Other::Missing | Other::Error => {
                    let error = matches!(self.unseen, Other::Error);
                    self.lookup.unseen(row, operation, error, run);
                    self.unseen.write(outputs, row);
                }
            }
        }
    }
}

impl SplitSpec {
    /// Calls `found` with each part of the text.
    fn each(&self, text: &str, mut found: impl FnMut(&str)) {
        let mut part = |part: &str| {
            let part = if self.strip { part.trim_matches(unicode::is_space) } else { part };
            if !(self.strip && part.is_empty()) {
                found(part);
            }
        };
        match self.separator.as_deref() {
            None => {
                text.split(unicode::is_space).filter(|word| !word.is_empty()).for_each(part);
            }
            Some("") => {
                for (at, character) in text.char_indices() {
                    part(&text[at..at + character.len_utf8()]);
                }
            }
            Some(separator) => text.split(separator).for_each(part),
        }
    }
}

impl Other {
    /// Checked for a step of that many outputs; the error says what is wrong with `what`.
    pub(super) fn load(
        otherwise: &Otherwise,
        n_outputs: usize,
        what: &str,
    ) -> Result<Self, String> {
        Ok(match otherwise {
            Otherwise::Zeros => Self::Zeros,
            Otherwise::Missing => Self::Missing,
            Otherwise::Error => Self::Error,
            Otherwise::Row(row) => {
                Self::Row(numbers(row, n_outputs, &format!("the row of `{what}`"))?)
            }
        })
    }

    pub(super) fn is_error(&self) -> bool {
        matches!(self, Self::Error)
    }

    pub(super) fn write(&self, outputs: &mut [Column], row: usize) {
        match self {
            Self::Zeros => {}
            Self::Missing | Self::Error => {
                outputs.iter_mut().for_each(|output| set(output, row, f64::NAN));
            }
            Self::Row(values) => write(outputs, row, values),
        }
    }
}

fn write(outputs: &mut [Column], row: usize, values: &[f64]) {
    outputs.iter_mut().zip(values).for_each(|(output, value)| set(output, row, *value));
}

#[inline]
fn set(output: &mut Column, row: usize, value: f64) {
    // The outputs were made columns of floats, as long as the input, before the first cell.
    if let Column::Float(values) = output
        && let Some(cell) = values.get_mut(row)
    {
        *cell = value;
    }
}
