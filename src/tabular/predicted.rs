//! The predictions of a block of rows, with what is wrong with the rows that have none.

use crate::postprocess::Postprocess;
use crate::predictor::{PredictError, Predictions, Predictor};
use crate::schema::Frame;

use super::Problem;
use super::rows::{Binding, Decoding, Rows};

/// What became of the rows of a block.
#[derive(Debug)]
pub struct Predicted {
    /// Rows in the block, good and bad.
    pub n_rows: usize,
    /// For each row of the block its row in `predictions`, or `None` for one that was bad; `None` when all rows were good.
    places: Option<Vec<Option<u32>>>,
    /// Of the good rows.
    pub predictions: Predictions,
    /// What is wrong, by row: bad rows, and good ones without a prediction.
    pub problems: Vec<Problem>,
}

/// Predicts the rows of a block: the function that every offline command calls. It calls [`Predictor::predict`], as the server does.
///
/// # Errors
/// The graph could not be run at all.
pub fn predict(
    rows: &Rows,
    binding: &Binding,
    predictor: &mut Predictor,
    frame: &mut Frame,
) -> Result<Predicted, PredictError> {
    let model = std::sync::Arc::clone(predictor.model());
    let decoding = rows.decode(binding, model.schema(), frame);
    Predicted::new(rows, binding, decoding, predictor, frame)
}

impl Predicted {
    fn new(
        rows: &Rows,
        binding: &Binding,
        decoding: Decoding,
        predictor: &mut Predictor,
        frame: &Frame,
    ) -> Result<Self, PredictError> {
        let Decoding { n_rows, kept, mut problems } = decoding;
        let predictions =
            if frame.n_rows() == 0 { Predictions::default() } else { predictor.predict(frame)? };
        if !predictions.errors.is_empty() {
            let schema = predictor.model().schema();
            for error in &predictions.errors {
                let row = kept.as_ref().map_or(error.row, |kept| kept[error.row]);
                let (line, column, key) = rows.place(row, binding, schema, error.field);
                problems.push(Problem {
                    row,
                    line,
                    column,
                    field: key,
                    code: error.problem.code(),
                    detail: error.problem.to_string(),
                    is_invalid_input: error.problem.is_invalid_input(),
                });
            }
            problems.sort_by_key(|problem| problem.row);
        }
        let places = kept.map(|kept| {
            let mut places = vec![None; n_rows];
            for (at, row) in (0_u32..).zip(kept) {
                places[row] = Some(at);
            }
            places
        });
        Ok(Self { n_rows, places, predictions, problems })
    }

    /// The stable names of what is wrong with a row, in order.
    #[must_use]
    pub fn codes(&self, row: usize) -> Vec<String> {
        let from = self.problems.partition_point(|problem| problem.row < row);
        let problems = self.problems[from..].iter().take_while(|problem| problem.row == row);
        problems.map(|problem| problem.code.to_owned()).collect()
    }

    /// The probabilities of a row, in the order of the labels; empty where there are none.
    #[must_use]
    pub fn probabilities(&self, row: usize, postprocess: &Postprocess) -> &[f64] {
        let width = postprocess.n_probabilities();
        let all = &self.predictions.probabilities;
        let found = self.at(row).and_then(|at| all.get(at * width..(at + 1) * width));
        found.filter(|found| found.iter().all(|value| value.is_finite())).unwrap_or_default()
    }

    /// The row among the predictions of a row of the block; `None` for one that could not be read.
    #[inline]
    #[must_use]
    pub fn at(&self, row: usize) -> Option<usize> {
        match &self.places {
            None => Some(row),
            Some(places) => places[row].map(|at| at as usize),
        }
    }
}
