//! Linear maps of columns that are held as sparse rows.

use hashbrown::HashSet;
use serde::Deserialize;

use super::column::{Before, Dtype, Slots};
use super::spec::StepSpec;
use super::{Operation, PipelineError, Plan, Slot};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SparseProjectSpec {
    columns: Vec<String>,
    outputs: Vec<String>,
    matrix: Vec<Vec<f64>>,
    #[serde(default)]
    offset: Option<Vec<f64>>,
}

/// `x @ matrix + offset` over columns in blocks, and others among them: `project` without what is zero.
///
/// - `matrix` has a row for each output. The products are summed in the order of the columns; those of zeros are left out,
///   which changes no finite sum.
/// - Output: float64. Missing as soon as one of the columns is.
/// - Same as `X @ components.T` of `scipy.sparse` for a CSR matrix, to the bit, hence as scikit-learn's `TruncatedSVD` after a
///   `TfidfVectorizer`, and as the scores of a linear model.
#[derive(Debug)]
pub(super) struct SparseProjectStep {
    parts: Parts,
    /// For each column its factors, an output after the other.
    factors: Vec<f64>,
    offset: Option<Vec<f64>>,
    /// The first of the outputs.
    output: Slot,
    n_outputs: usize,
}

/// The columns that a step reads, those out of blocks together.
#[derive(Debug)]
pub(super) struct Parts(Vec<Part>);

/// Columns that stand side by side.
#[derive(Debug)]
enum Part {
    Single {
        slot: Slot,
        at: usize,
    },
    /// Columns of one block, in its order.
    Block {
        slot: Slot,
        first: u32,
        /// For each column of the block from `first` on its position among the columns of the step, if it is one.
        at: Vec<Option<usize>>,
    },
}

impl Parts {
    /// Calls `found` with the position of a column and its value in `row`: in the order of the columns, but for zeros in blocks,
    /// which are left out.
    #[inline]
    pub(super) fn each(&self, before: &Before<'_>, row: usize, mut found: impl FnMut(usize, f64)) {
        for part in &self.0 {
            match part {
                Part::Single { slot, at } => found(*at, before.read(*slot).number(row)),
                Part::Block { slot, first, at } => {
                    let Some(block) = before.sparse(*slot) else { continue };
                    let (indices, values) = block.row(row);
                    let start = indices.partition_point(|index| index < first);
                    for (index, value) in indices[start..].iter().zip(&values[start..]) {
                        match at.get((index - first) as usize) {
                            Some(Some(at)) => found(*at, *value),
                            Some(None) => {}
                            None => break,
                        }
                    }
                }
            }
        }
    }
}

/// Finds the number columns of the step `op`, and the slots that they are in, each once.
pub(super) fn load_parts(
    plan: &Plan,
    columns: &[String],
    op: &str,
) -> Result<(Parts, Vec<Slot>), PipelineError> {
    let mut parts: Vec<Part> = Vec::new();
    let mut inputs: Vec<Slot> = Vec::new();
    let mut last = None;
    let by_name = plan.by_name();
    let mut seen = HashSet::with_capacity(columns.len());
    for (at, column) in columns.iter().enumerate() {
        if !seen.insert(column.as_str()) {
            return Err(plan.error(Some(column), "listed twice".to_owned()));
        }
        let slot = match by_name.get(column.as_str()) {
            Some(slot) => *slot,
            None => plan.slot(column)?,
        };
        let Some((block, index)) = plan.in_block(slot) else {
            if !plan.slots[slot].dtype.is_number() {
                return Err(plan.error(Some(column), format!("`{op}` takes numbers")));
            }
            parts.push(Part::Single { slot, at });
            inputs.push(slot);
            last = None;
            continue;
        };
        let slot = plan.blocks[block].slot;
        match (parts.last_mut(), last) {
            // Columns of a block in its order go on with the part before.
            (Some(Part::Block { first, at: positions, .. }), Some((b, i)))
                if b == block && i < index =>
            {
                positions.resize(index - *first as usize, None);
                positions.push(Some(at));
            }
            _ => {
                // A block has as many columns as a u32 can count.
                let first = u32::try_from(index).unwrap_or(u32::MAX);
                parts.push(Part::Block { slot, first, at: vec![Some(at)] });
                inputs.push(slot);
            }
        }
        last = Some((block, index));
    }
    inputs.sort_unstable();
    inputs.dedup();
    Ok((Parts(parts), inputs))
}

/// Loads a `project` whose columns are in blocks; false when none is, or when it must be computed with all columns.
pub(super) fn load_project(plan: &mut Plan, step: &StepSpec) -> Result<bool, PipelineError> {
    if step.parameters.contains_key("subtract") || step.parameters.contains_key("divide") {
        return Ok(false);
    }
    let SparseProjectSpec { columns, outputs, matrix, offset } = plan.parameters(step)?;
    let (parts, inputs) = load_parts(plan, &columns, "project")?;
    if !parts.0.iter().any(|part| matches!(part, Part::Block { .. })) {
        return Ok(false);
    }
    if matrix.len() != outputs.len() || matrix.iter().any(|row| row.len() != columns.len()) {
        let problem = format!(
            "the matrix does not have {} rows (outputs) of {} numbers (columns)",
            outputs.len(),
            columns.len()
        );
        return Err(plan.error(None, problem));
    }
    if offset.as_ref().is_some_and(|values| values.len() != outputs.len()) {
        return Err(plan.error(None, "`offset` does not have a number for each output".to_owned()));
    }
    if outputs.is_empty() {
        return Err(plan.error(None, "`outputs` is empty".to_owned()));
    }
    if matrix.iter().chain(&offset).flatten().any(|value| !value.is_finite()) {
        let problem = "`matrix` or `offset` holds a number that is not finite".to_owned();
        return Err(plan.error(None, problem));
    }
    let mut first = None;
    for output in &outputs {
        let slot = plan.derive(Dtype::Float, &inputs);
        first.get_or_insert(slot);
        if columns.contains(output) {
            plan.replace(output, slot);
        } else {
            plan.append(output, slot)?;
        }
    }
    let factors =
        (0..columns.len()).flat_map(|column| matrix.iter().map(move |row| row[column])).collect();
    plan.operations.push(Operation::SparseProject(SparseProjectStep {
        parts,
        factors,
        offset,
        output: first.unwrap_or_default(),
        n_outputs: outputs.len(),
    }));
    Ok(true)
}

impl SparseProjectStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize) {
        let (before, outputs) = slots.split(self.output, self.n_outputs);
        outputs.iter_mut().for_each(|output| output.as_floats().resize(n_rows, 0.0));
        for row in 0..n_rows {
            let add = |at: usize, value: f64| {
                let factors = &self.factors[at * self.n_outputs..][..self.n_outputs];
                for (output, factor) in outputs.iter_mut().zip(factors) {
                    if let Some(sums) = output.floats_mut() {
                        sums[row] += value * factor;
                    }
                }
            };
            self.parts.each(&before, row, add);
            if let Some(offset) = &self.offset {
                for (output, offset) in outputs.iter_mut().zip(offset) {
                    if let Some(sums) = output.floats_mut() {
                        sums[row] += offset;
                    }
                }
            }
        }
    }
}
