//! Arithmetic on number columns: of two columns, of one, of one with learned constants.

use super::column::{Dtype, Slots, View, to_f64};
use super::function::{Affine, Function};
use super::spec::{AffineSpec, CombineSpec, FunctionSpec, Operand, Operator, ThresholdSpec, Value};
use super::{Operation, PipelineError, Plan, Slot};

/// `left operator right` for two columns, or a column and a constant.
///
/// - Two int64 give int64 that wraps at 64 bits, as in NumPy; `divide`, or a float64 on either side, gives float64.
/// - Missing if either side is missing. Division by zero follows IEEE 754.
/// - Same as arithmetic between Series of pandas 1.5 to 3.
#[derive(Debug)]
pub(super) struct CombineStep {
    operator: Operator,
    left: Side,
    right: Side,
    output: Slot,
    integers: bool,
    /// What a division by zero gives.
    by_zero: Option<f64>,
}

#[derive(Debug, Clone, Copy)]
enum Side {
    Column(Slot),
    Int(i64),
    Float(f64),
}

pub(super) fn load_combine(plan: &mut Plan, spec: CombineSpec) -> Result<(), PipelineError> {
    let mut inputs = Vec::new();
    let mut side = |plan: &Plan, operand: Operand| {
        Ok(match operand {
            Operand::Column(name) => {
                let slot = plan.number_slot(&name)?;
                inputs.push(slot);
                (Side::Column(slot), plan.slots[slot].dtype == Dtype::Int)
            }
            Operand::Constant(Value::Int(value)) => (Side::Int(value), true),
            Operand::Constant(Value::Float(value)) if value.is_finite() => {
                (Side::Float(value), false)
            }
            Operand::Constant(value) => {
                return Err(
                    plan.error(None, format!("the constant is {value}, expected a finite number"))
                );
            }
        })
    };
    let (left, left_is_int) = side(plan, spec.left)?;
    let (right, right_is_int) = side(plan, spec.right)?;
    if inputs.is_empty() {
        return Err(plan.error(None, "neither side is a column".to_owned()));
    }
    let divides = !matches!(spec.operator, Operator::Add | Operator::Subtract | Operator::Multiply);
    if spec.by_zero.is_some_and(|value| !value.is_finite() || !divides) {
        let problem = "`by_zero` is a finite number, and goes with a division".to_owned();
        return Err(plan.error(None, problem));
    }
    let integers = left_is_int && right_is_int && !divides;
    let output = plan.derive(if integers { Dtype::Int } else { Dtype::Float }, &inputs);
    if plan.names.iter().any(|(name, _)| *name == spec.output) {
        let slot = plan.slot(&spec.output)?;
        if !inputs.contains(&slot) {
            let problem =
                "the step would replace this column, but it is not one of its inputs".to_owned();
            return Err(plan.error(Some(&spec.output), problem));
        }
        plan.replace(&spec.output, output);
    } else {
        plan.append(&spec.output, output)?;
    }
    plan.operations.push(Operation::Combine(CombineStep {
        operator: spec.operator,
        left,
        right,
        output,
        integers,
        by_zero: spec.by_zero,
    }));
    Ok(())
}

impl Side {
    fn slot(self) -> Option<Slot> {
        match self {
            Self::Column(slot) => Some(slot),
            Self::Int(_) | Self::Float(_) => None,
        }
    }

    fn number(self, column: View<'_>, row: usize) -> f64 {
        match self {
            Self::Column(_) => column.number(row),
            Self::Int(value) => to_f64(value),
            Self::Float(value) => value,
        }
    }

    fn int(self, column: View<'_>, row: usize) -> Option<i64> {
        match (self, column) {
            (Self::Column(_), View::Int(column)) => column.get(row),
            (Self::Int(value), _) => Some(value),
            _ => None,
        }
    }
}

impl CombineStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize) {
        // A constant side reads the other side's column and ignores it.
        let (Some(left), Some(right)) =
            (self.left.slot().or(self.right.slot()), self.right.slot().or(self.left.slot()))
        else {
            return;
        };
        let (before, outputs) = slots.split(self.output, 1);
        let (left, right, output) = (before.read(left), before.read(right), &mut outputs[0]);
        if self.integers {
            let output = output.as_ints();
            for row in 0..n_rows {
                match (self.left.int(left, row), self.right.int(right, row)) {
                    (Some(x), Some(y)) => output.push(match self.operator {
                        Operator::Add => x.wrapping_add(y),
                        Operator::Subtract => x.wrapping_sub(y),
                        _ => x.wrapping_mul(y),
                    }),
                    _ => output.push_missing(),
                }
            }
        } else {
            output.as_floats().extend((0..n_rows).map(|row| {
                let (x, y) = (self.left.number(left, row), self.right.number(right, row));
                if let (Some(value), 0.0) = (self.by_zero, y) {
                    return value;
                }
                match self.operator {
                    Operator::Add => x + y,
                    Operator::Subtract => x - y,
                    Operator::Multiply => x * y,
                    Operator::Divide => x / y,
                    Operator::FloorDivide => floor_divide(x, y).0,
                    Operator::Modulo => floor_divide(x, y).1,
                    Operator::Power => x.powf(y),
                }
            }));
        }
    }
}

/// `np.floor_divide` and `np.remainder` of two float64: the remainder has the sign of the divisor.
fn floor_divide(x: f64, y: f64) -> (f64, f64) {
    let mut remainder = x % y;
    if y == 0.0 {
        return (x / y, remainder);
    }
    let mut quotient = (x - remainder) / y;
    if remainder == 0.0 {
        remainder = 0.0_f64.copysign(y);
    } else if (y < 0.0) != (remainder < 0.0) {
        remainder += y;
        quotient -= 1.0;
    }
    if quotient == 0.0 {
        return (0.0_f64.copysign(x / y), remainder);
    }
    let floor = quotient.floor();
    (if quotient - floor > 0.5 { floor + 1.0 } else { floor }, remainder)
}

/// A function of one column, in place.
#[derive(Debug)]
pub(super) struct FunctionStep {
    pub(super) input: Slot,
    pub(super) output: Slot,
    function: Function,
}

pub(super) fn load_function(plan: &mut Plan, spec: FunctionSpec) -> Result<(), PipelineError> {
    for column in &spec.columns {
        let (input, output) = in_place(plan, column)?;
        plan.operations.push(Operation::Function(FunctionStep {
            input,
            output,
            function: spec.function,
        }));
    }
    Ok(())
}

impl FunctionStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>) {
        let (input, output) = slots.pair(self.input, self.output);
        input.map_numbers(output.as_floats(), |x| self.function.apply(x));
    }
}

/// 1 where the value is above the threshold, else 0; missing stays missing.
///
/// Same as scikit-learn's `Binarizer` 1.2 to 1.9.
#[derive(Debug)]
pub(super) struct ThresholdStep {
    pub(super) input: Slot,
    pub(super) output: Slot,
    threshold: f64,
}

pub(super) fn load_threshold(plan: &mut Plan, spec: ThresholdSpec) -> Result<(), PipelineError> {
    for column in &spec.columns {
        if !column.threshold.is_finite() {
            return Err(
                plan.error(Some(&column.column), "the threshold is not a finite number".to_owned())
            );
        }
        let (input, output) = in_place(plan, &column.column)?;
        plan.operations.push(Operation::Threshold(ThresholdStep {
            input,
            output,
            threshold: column.threshold,
        }));
    }
    Ok(())
}

impl ThresholdStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>) {
        let (input, output) = slots.pair(self.input, self.output);
        input.map_numbers(output.as_floats(), |x| {
            if x.is_nan() { x } else { f64::from(u8::from(x > self.threshold)) }
        });
    }
}

/// [`Affine`] of one column, in place.
#[derive(Debug)]
pub(super) struct AffineStep {
    pub(super) input: Slot,
    pub(super) output: Slot,
    pub(super) affine: Affine,
}

pub(super) fn load_affine(plan: &mut Plan, spec: AffineSpec) -> Result<(), PipelineError> {
    for column in &spec.columns {
        let affine = column.affine();
        if let Some(problem) = affine.problem() {
            return Err(plan.error(Some(&column.column), problem));
        }
        let (input, output) = in_place(plan, &column.column)?;
        plan.operations.push(Operation::Affine(AffineStep { input, output, affine }));
    }
    Ok(())
}

impl AffineStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>) {
        let (input, output) = slots.pair(self.input, self.output);
        input.map_numbers(output.as_floats(), |x| self.affine.apply(x));
    }
}

/// The slot of a number column, and a new float slot that takes its place.
fn in_place(plan: &mut Plan, column: &str) -> Result<(Slot, Slot), PipelineError> {
    let input = plan.number_slot(column)?;
    let output = plan.derive(Dtype::Float, &[input]);
    plan.replace(column, output);
    Ok((input, output))
}
