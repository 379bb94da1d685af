//! How alike a text is to each of some texts.

use serde::Deserialize;

use super::column::{Column, Dtype, Key, MISSING_CODE, Slots, View, to_f64};
use super::expand::{Other, Otherwise};
use super::lookup::missing_cell;
use super::{Operation, PipelineError, Plan, Run, Slot};

/// Parameters of `similarity`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SimilaritySpec {
    columns: Vec<SimilarityColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SimilarityColumn {
    column: String,
    outputs: Vec<String>,
    texts: Vec<String>,
    missing: Otherwise,
}

/// Writes to new columns how many characters a text has in common with each of some texts: `2 m / t`, where `t` is the
/// number of characters of both and `m` how many of them are in both, each counted as often as it occurs in both.
///
/// - Input: text, or categories that are text or integers. Outputs: float64 from 0 to 1; two empty texts give 1.
/// - A character is a Unicode code point.
/// - Same as `difflib.SequenceMatcher(None, a, b).quick_ratio()` of Python 3.8 to 3.13, hence as `StringSimilarityEncoder`
///   of feature-engine 1.5 to 1.9.
#[derive(Debug)]
pub(super) struct SimilarityStep {
    step: usize,
    input: Slot,
    column: String,
    /// The first of the outputs, which follow one another, one for each of the texts.
    first: Slot,
    /// The characters of each text, sorted.
    texts: Vec<Vec<char>>,
    /// The text of each category.
    categories: Vec<String>,
    missing: Other,
}

pub(super) fn load(plan: &mut Plan, spec: SimilaritySpec) -> Result<(), PipelineError> {
    spec.columns.into_iter().try_for_each(|column| load_column(plan, column))
}

fn load_column(plan: &mut Plan, spec: SimilarityColumn) -> Result<(), PipelineError> {
    let input = plan.slot(&spec.column)?;
    let wrong = |problem: String| plan.error(Some(&spec.column), problem);
    if spec.outputs.is_empty() {
        return Err(wrong("there are no outputs".to_owned()));
    }
    if spec.texts.len() != spec.outputs.len() {
        return Err(wrong(format!(
            "{} texts, but {} outputs",
            spec.texts.len(),
            spec.outputs.len()
        )));
    }
    let categories = texts_of(plan, &spec.column)?;
    let missing = Other::load(&spec.missing, spec.outputs.len(), "missing").map_err(wrong)?;
    let first = plan.slots.len();
    for output in &spec.outputs {
        let slot = plan.derive(Dtype::Float, &[input]);
        plan.append(output, slot)?;
    }
    let sorted = |text: &String| {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters
    };
    let texts = spec.texts.iter().map(sorted).collect();
    let (step, column) = (plan.index, spec.column);
    plan.operations.push(Operation::Similarity(SimilarityStep {
        step,
        input,
        column,
        first,
        texts,
        categories,
        missing,
    }));
    Ok(())
}

/// The texts of the categories of a column; none for a column of text. Numbers are refused.
pub(super) fn texts_of(plan: &Plan, column: &str) -> Result<Vec<String>, PipelineError> {
    let wrong = |problem: &str| Err(plan.error(Some(column), problem.to_owned()));
    let mut texts = Vec::new();
    match &plan.slots[plan.slot(column)?].dtype {
        // A step takes no tensor.
        Dtype::Text | Dtype::Tensor(_) | Dtype::Image => {}
        Dtype::Category(categories) => {
            for category in categories.iter() {
                texts.push(match category {
                    Key::Text(text) => text.clone(),
                    Key::Int(value) => value.to_string(),
                    Key::Float(_) => {
                        return wrong(
                            "this step takes text, but a category is a number with a fraction",
                        );
                    }
                });
            }
        }
        Dtype::Int | Dtype::Float => {
            return wrong("this step takes text, but the column holds numbers");
        }
        Dtype::Datetime => return wrong("this step takes text, but the column holds dates"),
    }
    Ok(texts)
}

/// The text at `row` of a column of text or categories, or `None` where it is missing.
#[inline]
pub(super) fn text<'a>(column: View<'a>, categories: &'a [String], row: usize) -> Option<&'a str> {
    match column {
        View::Text(column) => column.get(row),
        View::Category(codes) => codes
            .get(row)
            .filter(|code| **code != MISSING_CODE)
            .and_then(|code| categories.get(*code as usize))
            .map(String::as_str),
        View::Int(_) | View::Float(_) | View::Tensor(_) | View::Image(_) => None,
    }
}

impl SimilarityStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, run: &mut Run<'_>) {
        let (before, outputs) = slots.split(self.first, self.texts.len());
        let input = before.read(self.input);
        for output in &mut *outputs {
            output.as_floats().resize(input.len(), 0.0);
        }
        let mut characters: Vec<char> = Vec::new();
        for row in 0..input.len() {
            let Some(text) = text(input, &self.categories, row) else {
                if self.missing.is_error() {
                    missing_cell(row, self.step, self.input, &self.column, run);
                }
                self.missing.write(outputs, row);
                continue;
            };
            characters.clear();
            characters.extend(text.chars());
            characters.sort_unstable();
            for (output, text) in outputs.iter_mut().zip(&self.texts) {
                if let Column::Float(values) = output {
                    values[row] = ratio(&characters, text);
                }
            }
        }
    }
}

/// Of two sorted texts.
fn ratio(left: &[char], right: &[char]) -> f64 {
    let (mut common, mut l, mut r) = (0_u32, 0, 0);
    while let (Some(a), Some(b)) = (left.get(l), right.get(r)) {
        common += u32::from(a == b);
        l += usize::from(a <= b);
        r += usize::from(b <= a);
    }
    let total = i64::try_from(left.len() + right.len()).unwrap_or(i64::MAX);
    if total == 0 { 1.0 } else { 2.0 * f64::from(common) / to_f64(total) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_ratio_is_difflibs_quick_one() {
        let ratio = |a: &str, b: &str| {
            let sorted = |text: &str| {
                let mut characters: Vec<char> = text.chars().collect();
                characters.sort_unstable();
                characters
            };
            super::ratio(&sorted(a), &sorted(b)).to_string()
        };
        assert_eq!(ratio("dog", "dig"), "0.6666666666666666");
        assert_eq!(ratio("dog", "dagger"), "0.4444444444444444");
        assert_eq!(ratio("", ""), "1");
        assert_eq!(ratio("aab", "bba"), "0.6666666666666666");
        assert_eq!(ratio("É", "é"), "0");
    }
}
