//! From a frame of raw columns to the matrix of features: the fitted preprocessing, in float64.
//!
//! Knows nothing of HTTP, of the disk, of ONNX Runtime. Steps are compiled at load into a plan over numbered slots: each
//! slot is written once, so `drop`, `select` and `copy` cost nothing at run time and no name is looked up per request.
//! A row that a step refuses is remembered and left out of the features; it never disturbs another row.

use hashbrown::{HashMap, HashSet};
use serde::de::DeserializeOwned;

use crate::schema::{self, Frame, IntColumn, Kind, Schema, TensorColumn, TensorType, TextColumn};

mod arithmetic;
mod check;
mod column;
mod curve;
mod cut;
mod datetime;
mod ending;
mod error;
mod expand;
mod fill;
mod fold;
mod function;
mod hash;
mod image;
mod impute;
mod lookup;
mod map;
mod normal;
mod sample;
mod several;
mod similarity;
mod sparse;
mod spec;
mod spline;
mod text;
mod tokens;
mod tree;
mod unicode;
mod weigh;

pub use curve::{Interpolate, Method, Power};
pub use error::{PipelineError, RowFault, RowProblem};
pub use function::{Affine, Function};
pub use spec::StepSpec;

use arithmetic::{AffineStep, CombineStep, FunctionStep, ThresholdStep};
use check::CheckStep;
use column::{Column, Dtype, Slots, View, to_f64};
use curve::{InterpolateStep, PowerStep};
use cut::CutStep;
use datetime::DatetimeStep;
use ending::Ending;
use expand::ExpandStep;
use fill::{FillStep, IndicateStep};
use fold::Folded;
use hash::{HashFeaturesStep, HashStep};
use image::ImageStep;
use impute::{Near, NeighboursStep, RegressStep};
use lookup::{ByCode, Lookup};
use map::MapStep;
use sample::SampleStep;
use several::{AggregateStep, NormalizeStep, ProductsStep, ProjectStep};
use similarity::SimilarityStep;
use sparse::SparseProjectStep;
use spline::SplineStep;
use text::TextStep;
use tokens::TokensStep;
use tree::TreeStep;
use weigh::WeighStep;

/// Where a column lives: the frame's columns come first, then one slot for each column that a step writes.
type Slot = usize;

/// One compiled operation on one column. A step of the manifest gives one for each column it names.
#[derive(Debug)]
enum Operation {
    Check(CheckStep),
    Fill(FillStep),
    Indicate(IndicateStep),
    Combine(CombineStep),
    Function(FunctionStep),
    Threshold(ThresholdStep),
    Map(MapStep),
    Expand(ExpandStep),
    Similarity(SimilarityStep),
    Hash(HashStep),
    HashFeatures(HashFeaturesStep),
    Sample(SampleStep),
    Affine(AffineStep),
    Cut(CutStep),
    Interpolate(InterpolateStep),
    Power(PowerStep),
    Project(ProjectStep),
    Products(ProductsStep),
    Normalize(NormalizeStep),
    Aggregate(AggregateStep),
    Tree(TreeStep),
    Spline(SplineStep),
    Neighbours(NeighboursStep),
    Regress(RegressStep),
    Text(TextStep),
    Tokens(Box<TokensStep>),
    Image(Box<ImageStep>),
    Datetime(DatetimeStep),
    Dense(DenseStep),
    SparseProject(SparseProjectStep),
    Weigh(WeighStep),
}

impl Operation {
    /// The table of a step that looks values up.
    fn lookup(&self) -> Option<&Lookup> {
        match self {
            Self::Map(step) => Some(&step.lookup),
            Self::Expand(step) => Some(&step.lookup),
            _ => None,
        }
    }
}

/// What is known of a slot at load: its type, and which fields and steps its values come from.
#[derive(Debug, Clone)]
struct SlotInfo {
    dtype: Dtype,
    /// Indices of schema fields, ascending.
    fields: Vec<usize>,
    /// Indices of the steps it passed through, ascending.
    steps: Vec<usize>,
}

/// A fitted pipeline, ready to run. Immutable; the buffers of a run are in a [`Workspace`].
#[derive(Debug)]
pub struct Pipeline {
    step_names: Vec<String>,
    operations: Vec<Operation>,
    /// What takes the place of all of them as long as no row is refused, where there is a shorter way.
    shortcut: Option<Shortcut>,
    slots: Vec<SlotInfo>,
    n_fields: usize,
    /// The features: name and slot, in the order of the graph's columns. Those out of a block have the block's.
    features: Vec<(String, Slot)>,
    /// Where the features come from: single columns, with their position,
    gathered: Vec<(usize, Slot)>,
    /// and blocks.
    gathered_blocks: Vec<GatheredBlock>,
    /// The columns that go into the graph by themselves.
    fed: Vec<FedColumn>,
}

/// The features by a shorter way: text fields folded, the last operations at once. It only shows that some row may be refused, not which one.
#[derive(Debug)]
struct Shortcut {
    folded: Vec<Folded>,
    /// The operations that are still to be run, in between.
    operations: Vec<usize>,
    ending: Ending,
}

impl Shortcut {
    fn find(pipeline: &Pipeline) -> Option<Self> {
        let gathered = &pipeline.gathered;
        if !pipeline.fed.is_empty() || !pipeline.gathered_blocks.is_empty() {
            return None;
        }
        let (folded, skipped) = fold::fold(pipeline, gathered);
        let mut operations: Vec<usize> = (0..skipped.len()).filter(|at| !skipped[*at]).collect();
        let others: Vec<(usize, Slot)> = gathered
            .iter()
            .filter(|(at, _)| !folded.iter().any(|folded| folded.has(*at)))
            .copied()
            .collect();
        let left: Vec<&Operation> = operations.iter().map(|at| &pipeline.operations[*at]).collect();
        let ending = Ending::find(&left, &others);
        operations.truncate(ending.start);
        let is_shorter = operations.len() < pipeline.operations.len();
        is_shorter.then_some(Self { folded, operations, ending })
    }

    /// Whether the features of all rows are there; if not, all operations are to be run, as a row may be refused.
    fn run(&self, pipeline: &Pipeline, frame: &Frame, workspace: &mut Workspace) -> bool {
        let (n_rows, n_features) = (frame.n_rows(), pipeline.features.len());
        let Workspace { features, numbers, .. } = workspace;
        features.clear();
        features.resize(n_rows * n_features, 0.0);
        if !self.folded.iter().all(|folded| folded.run(frame, n_features, features, numbers)) {
            return false;
        }
        pipeline.operate(self.operations.iter().copied(), frame, workspace);
        let Workspace { columns, faults, features, .. } = workspace;
        faults.is_empty()
            && self.ending.run(&Slots::new(frame.columns(), columns), n_features, features)
    }
}

/// What a column that goes into the graph by itself holds.
#[derive(Debug, Clone, PartialEq)]
pub enum FedKind {
    /// float64; a missing value is NaN.
    Float,
    /// int64; no row that is fed lacks one.
    Int,
    /// Text; no row that is fed lacks one.
    Text,
    /// Tensors of this type.
    Tensor(TensorType),
}

/// A column that goes into the graph by itself.
#[derive(Debug)]
struct FedColumn {
    name: String,
    slot: Slot,
    kind: FedKind,
}

/// The values of a column that goes into the graph by itself, of all rows of the frame.
#[derive(Debug, Clone, Copy)]
pub enum Fed<'a> {
    /// float64; a missing value is NaN.
    Float(&'a [f64]),
    /// int64.
    Int(&'a IntColumn),
    /// Text.
    Text(&'a TextColumn),
    /// Tensors.
    Tensor(&'a TensorColumn),
}

/// The positions that the columns of a block have among the features.
#[derive(Debug)]
struct GatheredBlock {
    slot: Slot,
    /// For each column where its positions start in `positions`; one more than there are columns.
    starts: Vec<usize>,
    positions: Vec<usize>,
}

/// Takes one column out of a block, for a step that computes with it.
#[derive(Debug)]
struct DenseStep {
    block: Slot,
    index: u32,
    output: Slot,
}

impl DenseStep {
    fn run(&self, slots: &mut Slots<'_>, n_rows: usize) {
        let (before, outputs) = slots.split(self.output, 1);
        let Some(block) = before.sparse(self.block) else { return };
        outputs[0].as_floats().extend((0..n_rows).map(|row| {
            let (indices, values) = block.row(row);
            indices.binary_search(&self.index).map_or(0.0, |at| values[at])
        }));
    }
}

/// The buffers of a run, and what it found. Used again from run to run.
#[derive(Debug, Default)]
pub struct Workspace {
    columns: Vec<Column>,
    /// For each row 1 + the index of the step that refused it, or 0.
    refused_by: Vec<usize>,
    faults: Vec<RowFault>,
    /// Cells that a lookup did not know and made missing: (row, operation).
    unseen: Vec<(usize, usize)>,
    features: Vec<f64>,
    /// What the texts of a column are among those of a [`Folded`] field.
    numbers: Vec<u32>,
    by_code: ByCode,
    /// The numbers of one row, for steps that need them side by side.
    scratch: Vec<f64>,
    near: Near,
    n_rows: usize,
}

impl Workspace {
    /// The features of the rows that passed, row-major, `n_rows() * n_features` values; NaN is missing.
    #[must_use]
    pub fn features(&self) -> &[f64] {
        &self.features
    }

    /// The number of rows that passed.
    #[must_use]
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// The rows that did not pass, by row; of a row all the faults of the first step that refused it.
    #[must_use]
    pub fn faults(&self) -> &[RowFault] {
        &self.faults
    }

    /// Whether the row of the frame passed.
    #[must_use]
    pub fn passed(&self, row: usize) -> bool {
        self.refused_by.get(row).is_none_or(|step| *step == 0)
    }
}

impl Pipeline {
    /// Compiles the steps of a manifest for rows of this schema.
    ///
    /// # Errors
    /// The first step that is unknown, has unsound parameters, or names a column that does not exist at that point; or a feature that does
    /// not exist after the last step or is not numeric.
    pub fn load(
        steps: &[StepSpec],
        features: &[String],
        schema: &Schema,
    ) -> Result<Self, PipelineError> {
        Self::load_fed(steps, features, &[], schema)
    }

    /// As [`Self::load`], with columns that go into the graph by themselves, beside the matrix of features.
    ///
    /// # Errors
    /// As [`Self::load`]; or such a column does not exist after the last step, or holds categories or dates.
    pub fn load_fed(
        steps: &[StepSpec],
        features: &[String],
        fed: &[&str],
        schema: &Schema,
    ) -> Result<Self, PipelineError> {
        let mut plan = Plan::new(schema);
        for (index, step) in steps.iter().enumerate() {
            plan.index = index;
            plan.step.clone_from(&step.name);
            plan.add(step)?;
        }
        plan.index = steps.len();
        "features".clone_into(&mut plan.step);
        let mut named = Vec::with_capacity(features.len());
        let mut gathered = Vec::new();
        let mut in_blocks: Vec<Vec<(usize, usize)>> = vec![Vec::new(); plan.blocks.len()];
        let by_name = plan.by_name();
        let mut seen = HashSet::with_capacity(features.len());
        for (at, feature) in features.iter().enumerate() {
            let slot = match by_name.get(feature.as_str()) {
                Some(slot) => *slot,
                None => plan.slot(feature)?,
            };
            let slot = match plan.in_block(slot) {
                Some((block, index)) => {
                    in_blocks[block].push((index, at));
                    plan.blocks[block].slot
                }
                None => {
                    gathered.push((at, slot));
                    slot
                }
            };
            if !plan.slots[slot].dtype.is_number() {
                let held = match plan.slots[slot].dtype {
                    Dtype::Tensor(_) => "tensors",
                    _ => "categories or text",
                };
                return Err(plan.error(
                    Some(feature),
                    format!(
                        "a feature must be numeric, but this column holds {held} after the last step"
                    ),
                ));
            }
            if !seen.insert(feature.as_str()) {
                return Err(plan.error(Some(feature), "listed twice among the features".to_owned()));
            }
            named.push((feature.clone(), slot));
        }
        let gathered_blocks: Vec<GatheredBlock> = plan
            .blocks
            .iter()
            .zip(in_blocks)
            .filter(|(_, columns)| !columns.is_empty())
            .map(|(block, mut columns)| {
                columns.sort_unstable();
                GatheredBlock {
                    slot: block.slot,
                    starts: (0..=block.n)
                        .map(|index| columns.partition_point(|(column, _)| *column < index))
                        .collect(),
                    positions: columns.into_iter().map(|(_, at)| at).collect(),
                }
            })
            .collect();
        drop((by_name, seen));
        let mut by_itself = Vec::with_capacity(fed.len());
        for column in fed {
            let mut slot = plan.any_slot(column)?;
            if slot >= IN_BLOCKS {
                let named = serde_json::Map::from_iter([("column".to_owned(), (*column).into())]);
                plan.take_out(&named);
                slot = plan.any_slot(column)?;
            }
            let kind = match &plan.slots[slot].dtype {
                Dtype::Float => FedKind::Float,
                Dtype::Int => FedKind::Int,
                Dtype::Text => FedKind::Text,
                Dtype::Tensor(tensor) => FedKind::Tensor(tensor.clone()),
                Dtype::Datetime | Dtype::Category(_) | Dtype::Image => {
                    let problem = "the graph takes numbers, text and tensors, but this column holds dates, categories or pictures after the last step";
                    return Err(plan.error(Some(column), problem.to_owned()));
                }
            };
            by_itself.push(FedColumn { name: (*column).to_owned(), slot, kind });
        }
        let mut pipeline = Self {
            shortcut: None,
            fed: by_itself,
            gathered,
            gathered_blocks,
            // The last of them is what takes the columns: no step, but it may refuse a row as well.
            step_names: steps
                .iter()
                .map(|step| step.name.clone())
                .chain(["graph".to_owned()])
                .collect(),
            operations: plan.operations,
            slots: plan.slots,
            n_fields: schema.fields().len(),
            features: named,
        };
        pipeline.shortcut = Shortcut::find(&pipeline);
        Ok(pipeline)
    }

    /// The names of the features, in the order of the graph's columns.
    pub fn feature_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.features.iter().map(|(name, _)| name.as_str())
    }

    /// The names of the steps that computed a feature, in order.
    #[must_use]
    pub fn steps_of_feature(&self, feature: usize) -> Vec<&str> {
        let Some((_, slot)) = self.features.get(feature) else { return Vec::new() };
        self.slots[*slot].steps.iter().map(|step| self.step_names[*step].as_str()).collect()
    }

    /// The indices of the schema's fields that a feature is computed from.
    #[must_use]
    pub fn fields_of_feature(&self, feature: usize) -> &[usize] {
        self.features.get(feature).map_or(&[], |(_, slot)| &self.slots[*slot].fields)
    }

    /// Runs the steps over a frame of the schema that this pipeline was loaded for. The result is in `workspace`.
    ///
    /// - Output: a matrix of float64, a row for each row that passed, in order; NaN is missing.
    /// - A row's features depend on that row alone, to the bit.
    pub fn run(&self, frame: &Frame, workspace: &mut Workspace) {
        let n_rows = frame.n_rows();
        self.prepare(n_rows, workspace);
        if let Some(shortcut) = &self.shortcut {
            if shortcut.run(self, frame, workspace) {
                workspace.n_rows = n_rows;
                return;
            }
            self.prepare(n_rows, workspace);
        }
        self.operate(0..self.operations.len(), frame, workspace);
        let Workspace { columns, refused_by, faults, unseen, .. } = &mut *workspace;
        let mut run = Run { pipeline: self, frame, refused_by, faults, unseen };
        // NumPy has no missing integer and ONNX no missing string.
        let graph = self.step_names.len() - 1;
        for column in &self.fed {
            if matches!(column.kind, FedKind::Int | FedKind::Text) {
                let slots = Slots::new(frame.columns(), columns);
                let view = slots.read(column.slot);
                let is_whole = matches!(view, View::Int(column) if !column.has_missing());
                for row in (0..n_rows).filter(|row| !is_whole && view.is_missing(*row)) {
                    let fields = &self.slots[column.slot].fields;
                    run.refuse(row, graph, |run| run.blame(row, graph, &column.name, fields));
                }
            }
        }
        workspace.faults.sort_by_key(|fault| fault.row);
        self.gather(frame, workspace);
    }

    /// Makes room for a run. No row is refused yet.
    fn prepare(&self, n_rows: usize, workspace: &mut Workspace) {
        workspace.columns.resize_with(self.slots.len() - self.n_fields, Column::default);
        workspace.refused_by.clear();
        workspace.refused_by.resize(n_rows, 0);
        workspace.faults.clear();
        workspace.unseen.clear();
    }

    /// Runs these operations.
    fn operate(
        &self,
        which: impl Iterator<Item = usize>,
        frame: &Frame,
        workspace: &mut Workspace,
    ) {
        let n_rows = frame.n_rows();
        let Workspace { columns, refused_by, faults, unseen, by_code, scratch, near, .. } =
            workspace;
        let mut run = Run { pipeline: self, frame, refused_by, faults, unseen };
        for index in which {
            let Some(operation) = self.operations.get(index) else { continue };
            let mut slots = Slots::new(frame.columns(), columns);
            match operation {
                Operation::Check(step) => step.run(&slots, &mut run),
                Operation::Fill(step) => step.run(&mut slots),
                Operation::Indicate(step) => step.run(&mut slots, n_rows),
                Operation::Combine(step) => step.run(&mut slots, n_rows),
                Operation::Function(step) => step.run(&mut slots),
                Operation::Threshold(step) => step.run(&mut slots),
                Operation::Map(step) => step.run(&mut slots, index, &mut run, by_code),
                Operation::Expand(step) => step.run(&mut slots, index, &mut run, by_code),
                Operation::Similarity(step) => step.run(&mut slots, &mut run),
                Operation::Hash(step) => step.run(&mut slots, n_rows),
                Operation::HashFeatures(step) => step.run(&mut slots, n_rows),
                Operation::Sample(step) => step.run(&mut slots, n_rows, &mut run),
                Operation::Affine(step) => step.run(&mut slots),
                Operation::Cut(step) => step.run(&mut slots, n_rows),
                Operation::Interpolate(step) => step.run(&mut slots),
                Operation::Power(step) => step.run(&mut slots),
                Operation::Project(step) => step.run(&mut slots, n_rows),
                Operation::Products(step) => step.run(&mut slots, n_rows),
                Operation::Normalize(step) => step.run(&mut slots, n_rows),
                Operation::Aggregate(step) => step.run(&mut slots, n_rows, scratch),
                Operation::Tree(step) => step.run(&mut slots, &mut run, n_rows),
                Operation::Spline(step) => step.run(&mut slots, n_rows, scratch),
                Operation::Neighbours(step) => step.run(&mut slots, n_rows, near),
                Operation::Regress(step) => step.run(&mut slots, n_rows, scratch),
                Operation::Image(step) => step.run(&mut slots, n_rows, &mut run),
                Operation::Text(step) => step.run(&mut slots, n_rows, &mut run),
                Operation::Tokens(step) => step.run(&mut slots, n_rows, &mut run),
                Operation::Datetime(step) => step.run(&mut slots, n_rows, &mut run),
                Operation::Dense(step) => step.run(&mut slots, n_rows),
                Operation::SparseProject(step) => step.run(&mut slots, n_rows),
                Operation::Weigh(step) => step.run(&mut slots, n_rows, &mut run),
            }
        }
    }

    /// What the columns hold that go into the graph by themselves, in the order of loading.
    pub fn fed_kinds(&self) -> impl ExactSizeIterator<Item = &FedKind> {
        self.fed.iter().map(|column| &column.kind)
    }

    /// The values of such a column in the last run over `frame`; `None` when there is no such column.
    #[must_use]
    pub fn fed<'a>(
        &self,
        at: usize,
        frame: &'a Frame,
        workspace: &'a Workspace,
    ) -> Option<Fed<'a>> {
        let slot = self.fed.get(at)?.slot;
        let view: View<'a> = match frame.columns().get(slot) {
            Some(column) => column.into(),
            None => workspace.columns.get(slot.checked_sub(self.n_fields)?)?.into(),
        };
        match view {
            View::Float(values) => Some(Fed::Float(values)),
            View::Int(column) => Some(Fed::Int(column)),
            View::Text(column) => Some(Fed::Text(column)),
            View::Tensor(column) => Some(Fed::Tensor(column)),
            View::Category(_) | View::Image(_) => None,
        }
    }

    /// Writes the features of the rows that passed, row by row.
    fn gather(&self, frame: &Frame, workspace: &mut Workspace) {
        let Workspace { columns, refused_by, features, .. } = workspace;
        let slots = Slots::new(frame.columns(), columns);
        let n_features = self.features.len();
        let n_passed = refused_by.iter().filter(|step| **step == 0).count();
        features.clear();
        features.resize(n_passed * n_features, 0.0);
        let all = n_passed == refused_by.len();
        for (at, slot) in &self.gathered {
            let cells = features.iter_mut().skip(*at).step_by(n_features.max(1));
            match slots.read(*slot) {
                View::Float(values) if all => {
                    cells.zip(values).for_each(|(cell, value)| *cell = *value);
                }
                View::Int(column) if all && !column.has_missing() => {
                    cells.zip(column.values()).for_each(|(cell, value)| *cell = to_f64(*value));
                }
                column => {
                    let passed = (0..refused_by.len()).filter(|row| refused_by[*row] == 0);
                    cells.zip(passed).for_each(|(cell, row)| *cell = column.number(row));
                }
            }
        }
        for gathered in &self.gathered_blocks {
            let Some(block) = slots.sparse(gathered.slot) else { continue };
            let passed = (0..refused_by.len()).filter(|row| refused_by[*row] == 0);
            for (cells, row) in features.chunks_mut(n_features.max(1)).zip(passed) {
                let (indices, values) = block.row(row);
                for (index, value) in indices.iter().zip(values) {
                    let index = *index as usize;
                    let positions = gathered.starts[index]..gathered.starts[index + 1];
                    gathered.positions[positions].iter().for_each(|at| cells[*at] = *value);
                }
            }
        }
        workspace.n_rows = n_passed;
    }
}

/// What the steps of one run share: where they report rows that they refuse.
struct Run<'a> {
    pipeline: &'a Pipeline,
    frame: &'a Frame,
    refused_by: &'a mut [usize],
    faults: &'a mut Vec<RowFault>,
    unseen: &'a mut Vec<(usize, usize)>,
}

impl Run<'_> {
    /// Whether a step has refused the row already.
    fn is_refused(&self, row: usize) -> bool {
        self.refused_by.get(row).is_some_and(|step| *step != 0)
    }

    /// Records that `step` refuses `row`, unless an earlier step has. `fault` gives the field and the problem.
    fn refuse(
        &mut self,
        row: usize,
        step: usize,
        fault: impl FnOnce(&Self) -> (Option<usize>, RowProblem),
    ) {
        match self.refused_by.get(row) {
            Some(0) => self.refused_by[row] = step + 1,
            Some(by) if *by == step + 1 => {}
            _ => return,
        }
        let (field, problem) = fault(self);
        // One category that several features are computed from is one fault.
        if !self.faults.iter().rev().take_while(|known| known.row == row).any(|known| {
            known.field == field
                && known.step == step
                && field.is_some()
                && known.problem.code() == problem.code()
        }) {
            self.faults.push(RowFault { row, field, step, problem });
        }
    }

    /// The field to blame for a missing value in a column computed from `fields`: first a category that a lookup did not know, then
    /// a raw value that is missing, then the first.
    fn blame(
        &self,
        row: usize,
        step: usize,
        column: &str,
        fields: &[usize],
    ) -> (Option<usize>, RowProblem) {
        for (unseen_row, operation) in self.unseen.iter() {
            if *unseen_row == row
                && let Some(lookup) = self.pipeline.operations[*operation].lookup()
                && let Some(field) = self.pipeline.slots[lookup.input]
                    .fields
                    .iter()
                    .find(|field| fields.contains(field))
            {
                return (Some(*field), self.unseen_category(row, *field, lookup));
            }
        }
        let raw = self.frame.columns();
        let missing = fields
            .iter()
            .find(|field| raw.get(**field).is_some_and(|column| column.is_missing(row)));
        let step = self.pipeline.step_names[step].clone();
        (
            missing.or(fields.first()).copied(),
            RowProblem::MissingValue { step, column: column.to_owned() },
        )
    }

    fn unseen_category(&self, row: usize, field: usize, lookup: &Lookup) -> RowProblem {
        let found = match self.frame.columns().get(field) {
            Some(schema::Column::Text(column)) => column.get(row).map(quoted),
            Some(schema::Column::Int(column)) => column.get(row).map(|value| value.to_string()),
            Some(schema::Column::Float(values)) => {
                values.get(row).map(|value| format!("{value:?}"))
            }
            Some(schema::Column::Tensor(_) | schema::Column::Image(_)) | None => None,
        };
        RowProblem::UnseenCategory {
            step: self.pipeline.step_names[lookup.step].clone(),
            found: found.unwrap_or_else(|| "null".to_owned()),
            known: lookup.known.clone(),
        }
    }
}

/// A text of a row, for messages: its start, as JSON.
fn quoted(text: &str) -> String {
    const LONGEST: usize = 40;
    serde_json::Value::from(schema::shorten(text, LONGEST)).to_string()
}

/// The state of loading: what columns there are, by name, after the steps so far.
struct Plan {
    index: usize,
    step: String,
    operations: Vec<Operation>,
    slots: Vec<SlotInfo>,
    /// The columns that exist now, in order. The slot of a column in a block is one of [`Block::columns`].
    names: Vec<(String, Slot)>,
    blocks: Vec<Block>,
}

/// Many columns in one slot. Each of them has a number in place of a slot, so that it has a name like any other column.
#[derive(Debug)]
struct Block {
    slot: Slot,
    /// The number of its first column.
    first: usize,
    n: usize,
}

/// From here on, numbers are those of columns in blocks.
const IN_BLOCKS: usize = usize::MAX / 2;

impl Plan {
    fn new(schema: &Schema) -> Self {
        let slot = |(index, field): (usize, &schema::Field)| SlotInfo {
            dtype: match field.kind() {
                Kind::Int | Kind::Bool => Dtype::Int,
                Kind::Float => Dtype::Float,
                Kind::String => Dtype::Text,
                Kind::Datetime => Dtype::Datetime,
                // A tensor field has a type.
                Kind::Tensor => field.tensor().cloned().map_or(Dtype::Float, Dtype::Tensor),
                Kind::Image => Dtype::Image,
            },
            fields: vec![index],
            steps: Vec::new(),
        };
        let fields = schema.fields();
        Self {
            index: 0,
            step: String::new(),
            blocks: Vec::new(),
            operations: Vec::new(),
            slots: fields.iter().enumerate().map(slot).collect(),
            names: fields
                .iter()
                .enumerate()
                .map(|(slot, field)| (field.name().to_owned(), slot))
                .collect(),
        }
    }

    fn error(&self, column: Option<&str>, problem: String) -> PipelineError {
        PipelineError {
            index: self.index,
            step: self.step.clone(),
            column: column.map(str::to_owned),
            problem,
        }
    }

    /// The slot of a column that must exist and be no tensor and no picture: few steps take those.
    fn slot(&self, name: &str) -> Result<Slot, PipelineError> {
        let slot = self.any_slot(name)?;
        match self.slots.get(slot).map(|slot| &slot.dtype) {
            Some(Dtype::Tensor(tensor)) => {
                let problem = format!(
                    "the column holds tensors ({}), which this step does not take",
                    tensor.shown()
                );
                Err(self.error(Some(name), problem))
            }
            Some(Dtype::Image) => {
                let problem = "the column holds pictures, which only the step `image` takes";
                Err(self.error(Some(name), problem.to_owned()))
            }
            _ => Ok(slot),
        }
    }

    /// The slot of a column that must exist, whatever it holds.
    fn any_slot(&self, name: &str) -> Result<Slot, PipelineError> {
        self.names.iter().find(|(known, _)| known == name).map(|(_, slot)| *slot).ok_or_else(|| {
            let known =
                self.names.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            self.error(
                Some(name),
                format!("there is no such column at this point; there are: {known}"),
            )
        })
    }

    fn number_slot(&self, name: &str) -> Result<Slot, PipelineError> {
        let slot = self.slot(name)?;
        if self.slots[slot].dtype.is_number() {
            Ok(slot)
        } else {
            Err(self.error(
                Some(name),
                format!("`{}` needs a number column, but this one holds text", self.step),
            ))
        }
    }

    /// A slot for a block of columns, which are appended under these names.
    fn derive_block(&mut self, inputs: &[Slot], names: &[String]) -> Result<Slot, PipelineError> {
        let slot = self.derive(Dtype::Float, inputs);
        let first = self.blocks.last().map_or(IN_BLOCKS, |block| block.first + block.n);
        let mut known: HashSet<&str> = self.names.iter().map(|(name, _)| name.as_str()).collect();
        for name in names {
            if name.is_empty() {
                return Err(self.error(None, "the name of an output column is empty".to_owned()));
            }
            if !known.insert(name) {
                let problem = "the step would create this column, but it exists already".to_owned();
                return Err(self.error(Some(name), problem));
            }
        }
        drop(known);
        self.names.extend(names.iter().zip(first..).map(|(name, number)| (name.clone(), number)));
        self.blocks.push(Block { slot, first, n: names.len() });
        Ok(slot)
    }

    /// A slot for a block of columns, which take the places of these, that exist.
    fn replace_by_block(
        &mut self,
        inputs: &[Slot],
        names: &[String],
    ) -> Result<Slot, PipelineError> {
        let slot = self.derive(Dtype::Float, inputs);
        let first = self.blocks.last().map_or(IN_BLOCKS, |block| block.first + block.n);
        let numbers: HashMap<&str, Slot> =
            names.iter().zip(first..).map(|(name, number)| (name.as_str(), number)).collect();
        if numbers.len() != names.len() || names.is_empty() {
            return Err(self.error(None, "a column is listed twice, or none is".to_owned()));
        }
        for (name, slot) in &mut self.names {
            if let Some(number) = numbers.get(name.as_str()) {
                *slot = *number;
            }
        }
        self.blocks.push(Block { slot, first, n: names.len() });
        Ok(slot)
    }

    /// The block that a column is in, and its position there.
    fn in_block(&self, slot: Slot) -> Option<(usize, usize)> {
        if slot < IN_BLOCKS {
            return None;
        }
        let block = self.blocks.iter().position(|block| slot < block.first + block.n)?;
        Some((block, slot - self.blocks[block].first))
    }

    fn by_name(&self) -> HashMap<&str, Slot> {
        self.names.iter().map(|(name, slot)| (name.as_str(), *slot)).collect()
    }

    /// Takes the columns that the parameters of a step name out of their blocks, each into a slot of its own.
    fn take_out(&mut self, parameters: &serde_json::Map<String, serde_json::Value>) {
        fn strings<'a>(value: &'a serde_json::Value, found: &mut HashSet<&'a str>) {
            match value {
                serde_json::Value::String(text) => {
                    found.insert(text);
                }
                serde_json::Value::Array(values) => {
                    values.iter().for_each(|value| strings(value, found));
                }
                serde_json::Value::Object(values) => {
                    values.values().for_each(|value| strings(value, found));
                }
                _ => {}
            }
        }
        let mut named = HashSet::new();
        parameters.values().for_each(|value| strings(value, &mut named));
        for at in 0..self.names.len() {
            let (name, slot) = &self.names[at];
            if let Some((block, index)) = self.in_block(*slot)
                && named.contains(name.as_str())
            {
                let block = self.blocks[block].slot;
                let SlotInfo { dtype, fields, steps } = self.slots[block].clone();
                self.slots.push(SlotInfo { dtype, fields, steps });
                let output = self.slots.len() - 1;
                self.names[at].1 = output;
                // A block has as many columns as a u32 can count.
                let index = u32::try_from(index).unwrap_or(u32::MAX);
                self.operations.push(Operation::Dense(DenseStep { block, index, output }));
            }
        }
    }

    /// A new slot whose values are computed from `inputs` by the current step.
    fn derive(&mut self, dtype: Dtype, inputs: &[Slot]) -> Slot {
        let mut fields: Vec<usize> =
            inputs.iter().flat_map(|slot| self.slots[*slot].fields.clone()).collect();
        fields.sort_unstable();
        fields.dedup();
        let mut steps: Vec<usize> =
            inputs.iter().flat_map(|slot| self.slots[*slot].steps.clone()).collect();
        steps.push(self.index);
        steps.sort_unstable();
        steps.dedup();
        self.slots.push(SlotInfo { dtype, fields, steps });
        self.slots.len() - 1
    }

    /// Makes `slot` the column of this name, in its place.
    fn replace(&mut self, name: &str, slot: Slot) {
        if let Some(named) = self.names.iter_mut().find(|(known, _)| known == name) {
            named.1 = slot;
        }
    }

    /// Makes `slot` a new column at the end.
    fn append(&mut self, name: &str, slot: Slot) -> Result<(), PipelineError> {
        if name.is_empty() {
            return Err(self.error(None, "the name of an output column is empty".to_owned()));
        }
        if self.names.iter().any(|(known, _)| known == name) {
            return Err(self.error(
                Some(name),
                "the step would create this column, but it exists already".to_owned(),
            ));
        }
        self.names.push((name.to_owned(), slot));
        Ok(())
    }

    fn parameters<T: DeserializeOwned>(&self, step: &StepSpec) -> Result<T, PipelineError> {
        serde_json::from_value(serde_json::Value::Object(step.parameters.clone())).map_err(
            |error| {
                self.error(None, format!("the parameters of `{}` are not sound: {error}", step.op))
            },
        )
    }

    fn add(&mut self, step: &StepSpec) -> Result<(), PipelineError> {
        if !self.blocks.is_empty() && !matches!(step.op.as_str(), "copy" | "drop" | "select") {
            if step.op == "project" && sparse::load_project(self, step)? {
                return Ok(());
            }
            if step.op != "weigh" {
                self.take_out(&step.parameters);
            }
        }
        match step.op.as_str() {
            "check" => check::load(self, self.parameters(step)?),
            "fill" => fill::load_fill(self, self.parameters(step)?),
            "indicate_missing" => fill::load_indicate(self, self.parameters(step)?),
            "combine" => arithmetic::load_combine(self, self.parameters(step)?),
            "function" => arithmetic::load_function(self, self.parameters(step)?),
            "threshold" => arithmetic::load_threshold(self, self.parameters(step)?),
            "map" => map::load(self, self.parameters(step)?),
            "expand" => expand::load(self, self.parameters(step)?),
            "similarity" => similarity::load(self, self.parameters(step)?),
            "hash_category" => hash::load(self, self.parameters(step)?),
            "hash_features" => hash::load_features(self, self.parameters(step)?),
            "sample" => sample::load(self, self.parameters(step)?),
            "weigh" => weigh::load(self, self.parameters(step)?),
            "affine" => arithmetic::load_affine(self, self.parameters(step)?),
            "cut" => cut::load(self, self.parameters(step)?),
            "interpolate" => curve::load_interpolate(self, self.parameters(step)?),
            "power" => curve::load_power(self, self.parameters(step)?),
            "project" => several::load_project(self, self.parameters(step)?),
            "products" => several::load_products(self, self.parameters(step)?),
            "normalize" => several::load_normalize(self, &self.parameters(step)?),
            "aggregate" => several::load_aggregate(self, &self.parameters(step)?),
            "spline" => spline::load(self, self.parameters(step)?),
            "neighbours" => impute::load_neighbours(self, self.parameters(step)?),
            "regress" => impute::load_regress(self, self.parameters(step)?),
            "tree" => tree::load(self, self.parameters(step)?),
            "image" => image::load(self, self.parameters(step)?),
            "copy" => self.copy(&self.parameters::<spec::OutputsSpec>(step)?),
            "datetime" => datetime::load(self, self.parameters(step)?),
            "text" => text::load(self, self.parameters(step)?),
            "tokens" => tokens::load(self, self.parameters(step)?),
            "drop" => self.drop_columns(&self.parameters::<spec::ColumnsSpec>(step)?),
            "select" => self.select(&self.parameters::<spec::ColumnsSpec>(step)?),
            other => {
                const KNOWN: &str = "affine, aggregate, check, combine, copy, cut, datetime, drop, expand, fill, function, hash_category, hash_features, indicate_missing, interpolate, map, neighbours, normalize, power, products, project, regress, sample, select, similarity, spline, text, threshold, tokens, tree, weigh";
                Err(self.error(
                    None,
                    format!("unknown operation `{other}`; this version knows {KNOWN}"),
                ))
            }
        }
    }

    fn copy(&mut self, spec: &spec::OutputsSpec) -> Result<(), PipelineError> {
        for spec::OutputColumn { column, output } in &spec.columns {
            let slot = self.any_slot(column)?;
            self.append(output, slot)?;
        }
        Ok(())
    }

    fn drop_columns(&mut self, spec: &spec::ColumnsSpec) -> Result<(), PipelineError> {
        let mut gone = HashSet::with_capacity(spec.columns.len());
        let unknown = {
            let known = self.by_name();
            spec.columns
                .iter()
                .find(|name| !known.contains_key(name.as_str()) || !gone.insert(name.as_str()))
        };
        self.names.retain(|(name, _)| !gone.contains(name.as_str()));
        unknown.map_or(Ok(()), |name| self.slot(name).map(|_| ()))
    }

    fn select(&mut self, spec: &spec::ColumnsSpec) -> Result<(), PipelineError> {
        let mut names: Vec<(String, Slot)> = Vec::with_capacity(spec.columns.len());
        let known = self.by_name();
        let mut seen = HashSet::with_capacity(spec.columns.len());
        for column in &spec.columns {
            if !seen.insert(column.as_str()) {
                return Err(self.error(Some(column), "selected twice".to_owned()));
            }
            let slot = match known.get(column.as_str()) {
                Some(slot) => *slot,
                None => self.slot(column)?,
            };
            names.push((column.clone(), slot));
        }
        drop(known);
        self.names = names;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
