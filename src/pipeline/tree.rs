//! Decision trees.

use serde::Deserialize;

use super::column::{Dtype, Slots};
use super::{Operation, PipelineError, Plan, RowProblem, Run, Slot};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TreeSpec {
    columns: Vec<String>,
    output: String,
    nodes: Vec<Node>,
}

/// A question or an answer.
#[derive(Debug, Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Node {
    Split {
        /// Position among the columns.
        column: usize,
        threshold: f64,
        /// Indices of later nodes.
        left: usize,
        right: usize,
        /// Whether a missing value goes left.
        #[serde(default)]
        missing_left: bool,
    },
    Leaf {
        value: f64,
    },
}

/// The value that a decision tree of several columns gives.
///
/// - A number is rounded to float32, as scikit-learn does, and goes left when it is at most the threshold. One that is
///   too large for float32 is refused, with `infinite_value`.
/// - A missing value goes right, or left where the node says so.
/// - Output: float64, a new column, or in place of the only input.
/// - Same as the fitted `tree_` of scikit-learn's `DecisionTreeClassifier` and `DecisionTreeRegressor` 1.2 to 1.9.
#[derive(Debug)]
pub(super) struct TreeStep {
    step: usize,
    names: Vec<String>,
    inputs: Vec<Slot>,
    output: Slot,
    nodes: Vec<Node>,
}

pub(super) fn load(plan: &mut Plan, spec: TreeSpec) -> Result<(), PipelineError> {
    let TreeSpec { columns, output, nodes } = spec;
    let inputs =
        columns.iter().map(|name| plan.number_slot(name)).collect::<Result<Vec<_>, _>>()?;
    let wrong = |problem: String| Err(plan.error(None, problem));
    if inputs.is_empty() || nodes.is_empty() {
        return wrong("there are no columns, or no nodes".to_owned());
    }
    for (at, node) in nodes.iter().enumerate() {
        let sound = match *node {
            // A child comes after its parent, so that there is no way in a circle.
            Node::Split { column, threshold, left, right, .. } => {
                column < columns.len()
                    && threshold.is_finite()
                    && (at + 1..nodes.len()).contains(&left)
                    && (at + 1..nodes.len()).contains(&right)
            }
            Node::Leaf { value } => value.is_finite(),
        };
        if !sound {
            return wrong(format!(
                "node {at} is not sound: its column is one of {}, its children come after it, its numbers are finite",
                columns.len()
            ));
        }
    }
    let slot = plan.derive(Dtype::Float, &inputs);
    if columns.len() == 1 && columns[0] == output {
        plan.replace(&output, slot);
    } else {
        plan.append(&output, slot)?;
    }
    plan.operations.push(Operation::Tree(TreeStep {
        step: plan.index,
        names: columns,
        inputs,
        output: slot,
        nodes,
    }));
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "scikit-learn's trees look at float32")]
fn narrow(x: f64) -> f64 {
    f64::from(x as f32)
}

impl TreeStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, run: &mut Run<'_>, n_rows: usize) {
        let (before, outputs) = slots.split(self.output, 1);
        let output = outputs[0].as_floats();
        for row in 0..n_rows {
            let mut at = 0;
            output.push(loop {
                match self.nodes[at] {
                    Node::Leaf { value } => break value,
                    Node::Split { column, threshold, left, right, missing_left } => {
                        let x = narrow(before.read(self.inputs[column]).number(row));
                        at = if x <= threshold || (missing_left && x.is_nan()) {
                            left
                        } else {
                            right
                        };
                    }
                }
            });
        }
        for (slot, name) in self.inputs.iter().zip(&self.names) {
            let column = before.read(*slot);
            for row in 0..n_rows {
                if narrow(column.number(row)).is_infinite() {
                    run.refuse(row, self.step, |run| {
                        let step = run.pipeline.step_names[self.step].clone();
                        let field = run.pipeline.slots[*slot].fields.first().copied();
                        (field, RowProblem::InfiniteValue { step, column: name.clone() })
                    });
                }
            }
        }
    }
}
