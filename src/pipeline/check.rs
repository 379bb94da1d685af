//! Refuses rows where the fitted pipeline would raise.

use super::column::{Dtype, MISSING_CODE, Slots, View};
use super::spec::{CheckSpec, Refusal};
use super::{Operation, PipelineError, Plan, RowProblem, Run, Slot};
use crate::schema::TextColumn;

/// Refuses the rows whose value in one column is missing, infinite or out of a domain.
///
/// Same as `check_array` of scikit-learn and the `_check_…` functions of feature-engine, for one row at a time.
#[derive(Debug)]
pub(super) struct CheckStep {
    step: usize,
    pub(super) input: Slot,
    column: String,
    refuse: Vec<Refusal>,
    between: [Option<f64>; 2],
}

/// The smallest and the largest number.
pub(super) const FINITE: [f64; 2] = [f64::MIN, f64::MAX];

pub(super) fn load(plan: &mut Plan, spec: CheckSpec) -> Result<(), PipelineError> {
    if spec.refuse.is_empty() {
        return Err(plan.error(None, "`refuse` is empty".to_owned()));
    }
    let between = spec.between.unwrap_or_default();
    if spec.refuse.contains(&Refusal::Outside) != spec.between.is_some() {
        let problem = "`outside` and `between` belong together".to_owned();
        return Err(plan.error(None, problem));
    }
    if spec.between.is_some()
        && (between == [None, None]
            || between.iter().flatten().any(|bound| !bound.is_finite())
            || matches!(between, [Some(low), Some(high)] if low > high))
    {
        let problem =
            "`between` is a lower and an upper bound; one of the two may be null".to_owned();
        return Err(plan.error(None, problem));
    }
    let needs_numbers = spec.refuse.iter().any(|refusal| *refusal != Refusal::Missing);
    for column in spec.columns {
        let input = plan.slot(&column)?;
        if needs_numbers && !plan.slots[input].dtype.is_number() {
            let kind = match plan.slots[input].dtype {
                Dtype::Text => "text",
                Dtype::Datetime => "dates",
                _ => "categories",
            };
            return Err(plan.error(
                Some(&column),
                format!("only `missing` can be refused in a column of {kind}"),
            ));
        }
        plan.operations.push(Operation::Check(CheckStep {
            step: plan.index,
            input,
            column,
            refuse: spec.refuse.clone(),
            between,
        }));
    }
    Ok(())
}

impl CheckStep {
    /// The bounds within which it refuses nothing, when that is all that a number has to be: those of float64 where it only has to be finite.
    pub(super) fn bounds(&self) -> Option<[f64; 2]> {
        let is_simple = |refusal: &Refusal| {
            matches!(refusal, Refusal::Missing | Refusal::Infinite | Refusal::Outside)
        };
        let [low, high] = self.between;
        self.refuse
            .iter()
            .all(is_simple)
            .then_some([low.unwrap_or(FINITE[0]), high.unwrap_or(FINITE[1])])
    }

    /// Whether it refuses what is missing.
    pub(super) fn wants_present(&self) -> bool {
        self.refuse.contains(&Refusal::Missing)
    }

    pub(super) fn run(&self, slots: &Slots<'_>, run: &mut Run<'_>) {
        let column = slots.read(self.input);
        for refusal in &self.refuse {
            match refusal {
                Refusal::Missing => match column {
                    View::Int(ints) if !ints.has_missing() => {}
                    View::Float(values) if !any(values, f64::is_nan) => {}
                    View::Text(column) if !column.codes().contains(&TextColumn::MISSING) => {}
                    View::Category(codes) if !codes.contains(&MISSING_CODE) => {}
                    _ => self.each(
                        column,
                        run,
                        |column, row| column.is_missing(row),
                        |run, row, _| {
                            run.blame(
                                row,
                                self.step,
                                &self.column,
                                &run.pipeline.slots[self.input].fields,
                            )
                        },
                    ),
                },
                Refusal::Infinite if matches!(column, View::Int(_)) => {}
                Refusal::Infinite => {
                    self.numbers(column, run, f64::is_infinite, |step, column, _| {
                        RowProblem::InfiniteValue { step, column }
                    });
                }
                Refusal::NotPositive => self.domain(column, run, |x| x <= 0.0, "positive"),
                Refusal::Negative => self.domain(column, run, |x| x < 0.0, "zero or positive"),
                Refusal::Zero => self.domain(column, run, |x| x == 0.0, "non-zero"),
                Refusal::Outside => {
                    let [low, high] = self.between;
                    self.numbers(
                        column,
                        run,
                        |x| low.is_some_and(|low| x < low) || high.is_some_and(|high| x > high),
                        |step, column, found| {
                            let expected = match (low, high) {
                                (Some(low), Some(high)) => format!("[{low}, {high}]"),
                                (Some(low), None) => format!(">= {low}"),
                                (None, high) => format!("<= {}", high.unwrap_or(f64::INFINITY)),
                            };
                            RowProblem::OutOfDomain {
                                step,
                                column,
                                expected: expected.into(),
                                found,
                            }
                        },
                    );
                }
            }
        }
    }

    fn domain(
        &self,
        column: View<'_>,
        run: &mut Run<'_>,
        refused: impl Fn(f64) -> bool,
        expected: &'static str,
    ) {
        self.numbers(column, run, refused, |step, column, found| RowProblem::OutOfDomain {
            step,
            column,
            expected: expected.into(),
            found,
        });
    }

    fn numbers(
        &self,
        column: View<'_>,
        run: &mut Run<'_>,
        refused: impl Fn(f64) -> bool,
        problem: impl Fn(String, String, f64) -> RowProblem,
    ) {
        // Nearly always none is refused, which a loop over plain numbers finds out fastest.
        if let View::Float(values) = column
            && !any(values, &refused)
        {
            return;
        }
        self.each(
            column,
            run,
            |column, row| refused(column.number(row)),
            |run, row, column| {
                let field = run.pipeline.slots[self.input].fields.first().copied();
                let step = run.pipeline.step_names[self.step].clone();
                (field, problem(step, self.column.clone(), column.number(row)))
            },
        );
    }

    fn each(
        &self,
        column: View<'_>,
        run: &mut Run<'_>,
        refused: impl Fn(View<'_>, usize) -> bool,
        fault: impl Fn(&Run<'_>, usize, View<'_>) -> (Option<usize>, RowProblem),
    ) {
        for row in 0..column.len() {
            if refused(column, row) {
                run.refuse(row, self.step, |run| fault(run, row, column));
            }
        }
    }
}

/// Whether any value is refused, a few at a time: without a way out after each of them they are compared together.
fn any(values: &[f64], refused: impl Fn(f64) -> bool) -> bool {
    const TOGETHER: usize = 16;
    values.chunks(TOGETHER).any(|values| values.iter().fold(false, |any, x| any | refused(*x)))
}
