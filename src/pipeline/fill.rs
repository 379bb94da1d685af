//! Missing values: filled in, or told apart.

use std::sync::Arc;

use super::column::{Column, Dtype, Key, MISSING_CODE, Slots, View, to_f64};
use super::spec::{FillSpec, OutputColumn, OutputsSpec, Value};
use super::{Operation, PipelineError, Plan, Slot};

/// Replaces missing values of one column.
///
/// - Input: any column. Output: the same type, but int64 becomes float64 when the value has a fraction.
/// - Same as `DataFrame.fillna` of pandas 1.5 to 3, hence as the imputers of feature-engine and `SimpleImputer`.
#[derive(Debug)]
pub(super) struct FillStep {
    pub(super) input: Slot,
    pub(super) output: Slot,
    value: Filling,
}

#[derive(Debug)]
enum Filling {
    Float(f64),
    Int(i64),
    Text(String),
    Code(u32),
}

pub(super) fn load_fill(plan: &mut Plan, spec: FillSpec) -> Result<(), PipelineError> {
    for fill in spec.columns {
        let input = plan.slot(&fill.column)?;
        if matches!(fill.value, Value::Float(value) if !value.is_finite()) {
            return Err(plan.error(
                Some(&fill.column),
                "the value to fill in is not a finite number".to_owned(),
            ));
        }
        let (dtype, value) = match (plan.slots[input].dtype.clone(), fill.value) {
            (Dtype::Float, Value::Int(value)) => (Dtype::Float, Filling::Float(to_f64(value))),
            (Dtype::Float | Dtype::Int, Value::Float(value)) => {
                (Dtype::Float, Filling::Float(value))
            }
            (Dtype::Int, Value::Int(value)) => (Dtype::Int, Filling::Int(value)),
            (Dtype::Text, Value::Text(value)) => (Dtype::Text, Filling::Text(value)),
            (Dtype::Category(keys), value) => {
                // As the keys of a map: 20.0 is the category 20.
                let key = Key::from(&value);
                let mut keys = keys.to_vec();
                let code = keys.iter().position(|known| *known == key).unwrap_or_else(|| {
                    keys.push(key);
                    keys.len() - 1
                });
                // A table of 4 billion keys does not fit a manifest.
                let code = u32::try_from(code).unwrap_or(MISSING_CODE);
                (Dtype::Category(Arc::from(keys)), Filling::Code(code))
            }
            (dtype, value) => {
                let kind = if dtype.is_number() { "numbers" } else { "text" };
                let problem =
                    format!("the value to fill in is {value}, but the column holds {kind}");
                return Err(plan.error(Some(&fill.column), problem));
            }
        };
        let output = plan.derive(dtype, &[input]);
        plan.replace(&fill.column, output);
        plan.operations.push(Operation::Fill(FillStep { input, output, value }));
    }
    Ok(())
}

impl FillStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>) {
        let (input, output) = slots.pair(self.input, self.output);
        match (input, &self.value) {
            (View::Float(_) | View::Int(_), Filling::Float(value)) => {
                input.map_numbers(output.as_floats(), |x| if x.is_nan() { *value } else { x });
            }
            (View::Int(column), Filling::Int(value)) => {
                let output = output.as_ints();
                (0..column.len()).for_each(|row| output.push(column.get(row).unwrap_or(*value)));
            }
            (View::Text(column), Filling::Text(value)) => {
                output.as_text().copy_filled(column, value);
            }
            (View::Category(codes), Filling::Code(value)) => {
                output.as_codes().extend(
                    codes.iter().map(|code| if *code == MISSING_CODE { *value } else { *code }),
                );
            }
            // The types were matched at load.
            _ => debug_assert!(false, "a fill of another type than its column"),
        }
    }
}

/// A column of 1 where the input is missing, else 0.
///
/// Same as `AddMissingIndicator` of feature-engine 1.5 to 1.9.
#[derive(Debug)]
pub(super) struct IndicateStep {
    pub(super) input: Slot,
    pub(super) output: Slot,
}

pub(super) fn load_indicate(plan: &mut Plan, spec: OutputsSpec) -> Result<(), PipelineError> {
    for OutputColumn { column, output } in spec.columns {
        let input = plan.slot(&column)?;
        let slot = plan.derive(Dtype::Int, &[input]);
        plan.append(&output, slot)?;
        plan.operations.push(Operation::Indicate(IndicateStep { input, output: slot }));
    }
    Ok(())
}

impl IndicateStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize) {
        let (input, output): (View<'_>, &mut Column) = slots.pair(self.input, self.output);
        let output = output.as_ints();
        (0..n_rows).for_each(|row| output.push(i64::from(input.is_missing(row))));
    }
}
