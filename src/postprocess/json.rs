//! A prediction as JSON: the same bytes in an answer, in the log and in the files of the offline commands.

use std::io::Write as _;

use super::{OutputKind, Postprocess, Prediction};
use crate::tensor::{Element, Tensor};

impl Postprocess {
    /// Appends a prediction as JSON: a number, a label, an array, or an object of arrays. What is not finite is `null`.
    pub fn write_prediction(&self, prediction: &Prediction, json: &mut Vec<u8>) {
        match prediction {
            Prediction::None => json.extend_from_slice(b"null"),
            Prediction::Number(value) => number(*value, json),
            Prediction::Numbers(values) => {
                list(json, b"[]", values, |value, json| number(*value, json));
            }
            Prediction::Label(label) => self.label(*label, json),
            Prediction::Labels(labels) => {
                list(json, b"[]", labels, |label, json| self.label(*label, json));
            }
            Prediction::Tensors(tensors) => match (&self.kind, &**tensors) {
                (_, [one]) => tensor(one, json),
                (OutputKind::Tensors(names), several) => {
                    list(json, b"{}", names.iter().zip(several), |(name, value), json| {
                        string(name, json);
                        json.push(b':');
                        tensor(value, json);
                    });
                }
                _ => json.extend_from_slice(b"null"),
            },
        }
    }

    /// Appends the probabilities of one row as an object, label to probability; with `top_k` only of the most probable labels, in descending
    /// order. `null` where one is not finite, or `values` is not of [`Self::n_probabilities`].
    pub fn write_probabilities(&self, values: &[f64], json: &mut Vec<u8>) {
        if values.len() != self.label_json.len() || values.iter().any(|value| !value.is_finite()) {
            json.extend_from_slice(b"null");
            return;
        }
        let pair = |at: usize, json: &mut Vec<u8>| {
            json.extend_from_slice(self.label_json[at].1.as_bytes());
            json.push(b':');
            number(values[at], json);
        };
        if let OutputKind::Probabilities { top_k: Some(k), .. } = self.kind {
            let mut order: Vec<usize> = (0..values.len()).collect();
            // Stable: of equal ones the first label comes first, as it is the one that is predicted.
            order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));
            list(json, b"{}", order.into_iter().take(k), pair);
        } else {
            list(json, b"{}", 0..values.len(), pair);
        }
    }

    fn label(&self, label: usize, json: &mut Vec<u8>) {
        let text = self.label_json.get(label).map_or("null", |(value, _)| value.as_str());
        json.extend_from_slice(text.as_bytes());
    }
}

/// Appends entries between two brackets, with commas.
fn list<T>(
    json: &mut Vec<u8>,
    brackets: &[u8; 2],
    entries: impl IntoIterator<Item = T>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    json.push(brackets[0]);
    for (at, entry) in entries.into_iter().enumerate() {
        if at > 0 {
            json.push(b',');
        }
        write(entry, json);
    }
    json.push(brackets[1]);
}

/// The shortest digits that read back to the same float64; `null` for what is not finite.
fn number(value: f64, json: &mut Vec<u8>) {
    // serde_json writes `null` for NaN and infinity.
    let written = serde_json::to_writer(json, &value);
    debug_assert!(written.is_ok(), "a float always serialises");
}

fn string(text: &str, json: &mut Vec<u8>) {
    let written = serde_json::to_writer(json, text);
    debug_assert!(written.is_ok(), "a string always serialises");
}

/// A tensor as nested arrays; without dimensions its one value.
fn tensor(tensor: &Tensor, json: &mut Vec<u8>) {
    nested(tensor.shape(), &mut tensor.elements(), json);
}

fn nested<'a>(shape: &[usize], values: &mut dyn Iterator<Item = Element<'a>>, json: &mut Vec<u8>) {
    let Some((length, inner)) = shape.split_first() else {
        match values.next() {
            Some(Element::Float(value)) => number(value, json),
            Some(Element::Int(value)) => {
                let _infallible = write!(json, "{value}");
            }
            Some(Element::Bool(value)) => {
                json.extend_from_slice(if value { b"true" } else { b"false" });
            }
            Some(Element::Text(text)) => string(text, json),
            None => json.extend_from_slice(b"null"),
        }
        return;
    };
    list(json, b"[]", 0..*length, |_, json| nested(inner, values, json));
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{ArrayD, IxDyn};
    use serde_json::json;

    fn written(outputs: serde_json::Value, tensors: &[Tensor], n_rows: usize) -> Vec<String> {
        let spec = serde_json::from_value(outputs).unwrap();
        let postprocess = Postprocess::load(&spec, &[]).unwrap();
        let outputs = postprocess.run(tensors, n_rows).unwrap();
        let text = |row: usize| {
            let mut json = Vec::new();
            postprocess.write_prediction(&outputs.predictions[row], &mut json);
            let width = postprocess.n_probabilities();
            if width > 0 {
                json.push(b' ');
                let values = &outputs.probabilities[row * width..(row + 1) * width];
                postprocess.write_probabilities(values, &mut json);
            }
            String::from_utf8(json).unwrap()
        };
        (0..n_rows).map(text).collect()
    }

    fn array<T>(shape: &[usize], values: Vec<T>) -> ArrayD<T> {
        ArrayD::from_shape_vec(IxDyn(shape), values).unwrap()
    }

    #[test]
    fn every_kind_of_output_is_written_as_json() {
        let floats =
            |shape: &[usize], values: &[f64]| Tensor::Float64(array(shape, values.to_vec()));
        assert_eq!(
            written(
                json!({"prediction": {"tensor": "y"}}),
                &[floats(&[2, 1], &[0.1, f64::NAN])],
                2
            ),
            ["0.1", "null"]
        );
        assert_eq!(
            written(
                json!({"prediction": {"tensor": "y", "names": ["a", "b"]}}),
                &[floats(&[2, 2], &[1.0, 2.5, f64::INFINITY, 3.0])],
                2
            ),
            ["[1.0,2.5]", "[null,3.0]"]
        );
        assert_eq!(
            written(
                json!({"probabilities": {"tensor": "p", "labels": ["a", 2, true], "top_k": 2}}),
                &[floats(&[2, 3], &[0.2, 0.4, 0.4, 0.5, 0.2, 0.3])],
                2
            ),
            [r#"2 {"2":0.4,"True":0.4}"#, r#""a" {"a":0.5,"True":0.3}"#]
        );
        assert_eq!(
            written(
                json!({"label": {"tensor": "l", "labels": ["in", "out"]}}),
                &[Tensor::Int64(array(&[3], vec![1, 0, 2]))],
                3
            ),
            [r#""out""#, r#""in""#, "null"]
        );
        assert_eq!(
            written(
                json!({"multilabel": {"tensor": "p", "labels": ["a", "b"], "threshold": 0.5}}),
                &[floats(&[3, 2], &[0.5, 0.6, 0.1, 0.2, f64::NAN, 1.0])],
                3
            ),
            [r#"["b"] {"a":0.5,"b":0.6}"#, r#"[] {"a":0.1,"b":0.2}"#, "null null"]
        );
    }

    #[test]
    fn tensors_of_every_type_are_written_exactly() {
        let outputs = json!({"tensors": [
            {"name": "u", "tensor": "u"}, {"name": "f", "tensor": "f"}, {"name": "s", "tensor": "s"}, {"name": "b", "tensor": "b"}
        ]});
        let half = half::f16::from_f32;
        let tensors = [
            Tensor::UInt64(array(&[2], vec![u64::MAX, 0])),
            Tensor::Float16(array(
                &[2, 1, 2],
                vec![half(0.5), half::f16::NAN, half(1.0), half(2.0)],
            )),
            Tensor::String(array(&[2, 1], vec!["é\"".to_owned(), String::new()])),
            Tensor::Bool(array(&[2, 0], vec![])),
        ];
        assert_eq!(
            written(outputs, &tensors, 2),
            [
                r#"{"u":18446744073709551615,"f":[[0.5,null]],"s":["é\""],"b":[]}"#,
                r#"{"u":0,"f":[[1.0,2.0]],"s":[""],"b":[]}"#,
            ]
        );
        let one = json!({"tensors": [{"name": "f", "tensor": "f"}]});
        let values = Tensor::Float32(array(&[1, 2], vec![0.1, 1e30]));
        assert_eq!(written(one, &[values], 1), ["[0.10000000149011612,1.0000000150474662e+30]"]);
    }
}
