//! Rows that are made up for a graph, and what running them says of it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::postprocess::Prediction;
use crate::predictor::{PredictError, Predictions, Predictor};
use crate::schema::DecodeOptions;
use crate::tensor::{Element, ElementType, Tensor};

/// Lengths for the dimensions that vary; 0 is any from 1 to 4.
pub(super) const LENGTHS: [u64; 6] = [0, 8, 16, 32, 64, 224];

/// Makes values up: the same for every graph on every machine.
pub(super) struct Maker {
    pub(super) state: u64,
    /// Integers are below this.
    pub(super) limit: u64,
    pub(super) length: u64,
}

impl Maker {
    /// `SplitMix64`.
    pub(super) fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn length(&mut self) -> u64 {
        if self.length == 0 { 1 + self.next() % 4 } else { self.length }
    }

    pub(super) fn tensor(&mut self, r#type: Option<ElementType>, shape: &[u64]) -> Value {
        match shape.split_first() {
            Some((length, inner)) => (0..*length).map(|_| self.tensor(r#type, inner)).collect(),
            None => match r#type {
                Some(ElementType::Bool) => json!(self.next().is_multiple_of(2)),
                // A graph may read a string as a number.
                Some(ElementType::String) => json!((self.next() % self.limit).to_string()),
                Some(dtype) if dtype.is_integer() => json!(self.next() % self.limit),
                // Exact in every type of floats.
                _ => {
                    let eighths = u8::try_from(self.next() % 33).unwrap_or(0);
                    json!((f64::from(eighths) - 16.0) / 8.0)
                }
            },
        }
    }
}

/// Runs rows; the reason when one of them, or all, are refused.
pub(super) fn run(predictor: &mut Predictor, rows: &[Value]) -> Result<Predictions, String> {
    let model = Arc::clone(predictor.model());
    let mut frame = model.schema().frame();
    let body = Value::Array(rows.to_vec()).to_string();
    let options = DecodeOptions { max_rows: usize::MAX, ..DecodeOptions::default() };
    let decoded = model.schema().decode(body.as_bytes(), &options, &mut frame);
    let decoded = decoded.map_err(|error| error.to_string())?;
    if let Some(error) = decoded.errors.first() {
        return Err(error.to_string());
    }
    let predictions = predictor.predict(&frame).map_err(|error: PredictError| error.to_string())?;
    match predictions.errors.iter().find(|error| error.problem.is_invalid_input()) {
        Some(error) => Err(error.problem.to_string()),
        None => Ok(predictions),
    }
}

/// How far two predictions are apart, relative to their size; `None` when they are of different shape, or not of numbers and different.
pub(super) fn distance(one: &Prediction, other: &Prediction) -> Option<f64> {
    let (Prediction::Tensors(one), Prediction::Tensors(other)) = (one, other) else {
        return (one == other).then_some(0.0);
    };
    let mut largest = 0.0_f64;
    for (one, other) in one.iter().zip(other) {
        if one.shape() != other.shape() {
            return None;
        }
        let scale = |tensor: &Tensor| {
            let values = tensor.to_f64().unwrap_or_default().into_iter();
            values.filter(|value| value.is_finite()).fold(0.0_f64, |most, x| most.max(x.abs()))
        };
        let scale = scale(one).max(scale(other)).max(f64::MIN_POSITIVE);
        for pair in one.elements().zip(other.elements()) {
            match pair {
                (Element::Float(one), Element::Float(other))
                    if one.to_bits() != other.to_bits() =>
                {
                    let found = (one - other).abs() / scale;
                    // A difference that rounds to nothing is one all the same.
                    largest = largest.max(if found > 0.0 { found } else { f64::MIN_POSITIVE });
                    if one.is_finite() != other.is_finite() {
                        return None;
                    }
                }
                (one, other) if one != other && !matches!(one, Element::Float(_)) => return None,
                _ => {}
            }
        }
    }
    Some(largest)
}
