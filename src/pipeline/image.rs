//! Makes the input of a network out of the file of a picture.

use serde::Deserialize;

use super::column::{Dtype, Slots, View};
use super::{Operation, PipelineError, Plan, RowProblem, Run, Slot};
use crate::image::{Limits, Pixels, Recipe, RecipeSpec};
use crate::schema::{TensorType, Values};
use crate::tensor::ElementType;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImageSpec {
    column: String,
    #[serde(default)]
    output: Option<String>,
    recipe: RecipeSpec,
}

/// Decodes each picture of a column and applies the operations of its recipe.
///
/// - Output: a column of tensors, float32 or uint8, all of the shape that the recipe has; in the place of the pictures, or new.
/// - Same as the functions of OpenCV 4 and 5 or of Pillow 9 to 13 that each operation names; `make parity-images` compares them.
#[derive(Debug)]
pub(super) struct ImageStep {
    step: usize,
    input: Slot,
    output: Slot,
    field: Option<usize>,
    recipe: Recipe,
    r#type: TensorType,
}

/// What decoding may cost whatever the server allows: the server's own limits were checked when the row was read.
const LIMITS: Limits = Limits {
    max_bytes: usize::MAX,
    max_pixels: crate::image::MOST_PIXELS,
    max_request_pixels: usize::MAX,
};

pub(super) fn load(plan: &mut Plan, spec: ImageSpec) -> Result<(), PipelineError> {
    let input = plan.any_slot(&spec.column)?;
    let wrong = |problem: String| plan.error(Some(&spec.column), problem);
    if !matches!(plan.slots.get(input).map(|slot| &slot.dtype), Some(Dtype::Image)) {
        return Err(wrong("the step takes pictures, but the column holds none".to_owned()));
    }
    let recipe = Recipe::load(spec.recipe).map_err(|error| wrong(error.to_string()))?;
    let dtype = match recipe.pixels() {
        Pixels::Float32 => ElementType::Float32,
        Pixels::Uint8 => ElementType::UInt8,
    };
    let r#type = TensorType { dtype, shape: recipe.shape().into_iter().map(Some).collect() };
    let output = plan.derive(Dtype::Tensor(r#type.clone()), &[input]);
    match &spec.output {
        Some(name) => plan.append(name, output)?,
        None => plan.replace(&spec.column, output),
    }
    let field = plan.slots[input].fields.first().copied();
    let step = ImageStep { step: plan.index, input, output, field, recipe, r#type };
    plan.operations.push(Operation::Image(Box::new(step)));
    Ok(())
}

impl ImageStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize, run: &mut Run<'_>) {
        let (input, output) = slots.pair(self.input, self.output);
        let column = output.as_tensors(&self.r#type);
        let View::Image(files) = input else { return };
        let n: usize = self.recipe.shape().iter().product();
        for row in 0..n_rows {
            // A row that was refused before is not worth the work.
            let pixels = match files.get(row) {
                Some(file) if !run.is_refused(row) => Some(self.recipe.run_to_pixels(file, LIMITS)),
                _ => None,
            };
            match (pixels, column.values_mut()) {
                (Some(Ok(pixels)), Values::Float32(values)) => {
                    self.recipe.append_numbers(&pixels, values);
                }
                (Some(Ok(pixels)), Values::UInt8(values)) => values.extend_from_slice(&pixels),
                (failed, values) => {
                    if let Some(Err(error)) = failed {
                        run.refuse(row, self.step, |_| (self.field, RowProblem::Image(error)));
                    }
                    // Every row has its place in the column.
                    match values {
                        Values::Float32(values) => values.resize(values.len() + n, 0.0),
                        Values::UInt8(values) => values.resize(values.len() + n, 0),
                        _ => {}
                    }
                }
            }
            let is_whole = column.end_row(&[]);
            debug_assert!(is_whole, "a recipe has one shape");
        }
    }
}
