//! Why a pipeline could not be loaded, and why a row did not pass through it.

use std::borrow::Cow;

use crate::image::ImageError;

/// A pipeline in a manifest that is not sound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {} (`{step}`){}: {problem}", .index + 1, match .column { Some(column) => format!(", column `{column}`"), None => String::new() })]
pub struct PipelineError {
    /// Index of the step, from 0.
    pub index: usize,
    /// Its name in the training pipeline.
    pub step: String,
    /// The column, where one is concerned.
    pub column: Option<String>,
    /// What is wrong.
    pub problem: String,
}

/// Why a row did not pass.
#[derive(Debug, Clone, PartialEq)]
pub struct RowFault {
    /// Index of the row in the frame.
    pub row: usize,
    /// Index of the field in the schema from which the refused value was computed.
    pub field: Option<usize>,
    /// Index of the step that refused it.
    pub step: usize,
    /// What is wrong.
    pub problem: RowProblem,
}

/// What is wrong with a row. [`Self::code`] is stable.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum RowProblem {
    /// A missing value where the fitted step raises.
    #[error("step `{step}` does not take a missing value in `{column}`")]
    MissingValue {
        /// The step's name.
        step: String,
        /// The column that it refused.
        column: String,
    },
    /// An infinite value where the fitted step raises.
    #[error("step `{step}` does not take an infinite value in `{column}`")]
    InfiniteValue {
        /// The step's name.
        step: String,
        /// The column that it refused.
        column: String,
    },
    /// A number outside of what the fitted step takes.
    #[error("step `{step}` takes only {expected} values in `{column}`, found {found}")]
    OutOfDomain {
        /// The step's name.
        step: String,
        /// The column that it refused.
        column: String,
        /// What it takes, e.g. `positive`.
        expected: Cow<'static, str>,
        /// The number found.
        found: f64,
    },
    /// A category that the fitted step does not know.
    #[error(
        "{found} is not a category that the model was trained on (step `{step}`); it knows {known}"
    )]
    UnseenCategory {
        /// The name of the step that looked the category up.
        step: String,
        /// The raw value, as JSON.
        found: String,
        /// The categories it knows, shortened.
        known: String,
    },
    /// A picture that cannot be decoded.
    #[error(transparent)]
    Image(ImageError),
    /// A text that the fitted step does not take.
    #[error("step `{step}` expects {expected} in `{column}`, found {found}")]
    UnfitText {
        /// The step's name.
        step: String,
        /// The column that it refused.
        column: String,
        /// What it takes, e.g. `a number`.
        expected: &'static str,
        /// The text found, as JSON, shortened.
        found: String,
    },
}

impl RowProblem {
    /// The stable, machine-readable name, as listed in docs/artifact.md, section 3.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::MissingValue { .. } => "missing_value",
            Self::InfiniteValue { .. } => "infinite_value",
            Self::OutOfDomain { .. } | Self::UnfitText { .. } => "out_of_domain",
            Self::UnseenCategory { .. } => "unseen_category",
            Self::Image(error) => error.code(),
        }
    }
}
