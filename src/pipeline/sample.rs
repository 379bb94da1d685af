//! A value out of those of training, drawn as `NumPy` and pandas draw with a seed.

use std::sync::Arc;

use serde::Deserialize;

use super::column::{Column, Dtype, Key, MISSING_CODE, Slots, View, to_f64};
use super::lookup::missing_cell;
use super::spec::Value;
use super::{Operation, PipelineError, Plan, RowProblem, Run, Slot};

/// Parameters of `sample`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SampleSpec {
    seed: String,
    columns: Vec<SampleColumn>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SampleColumn {
    column: String,
    values: Vec<Value>,
}

/// Fills a missing value with one of some values, drawn by a generator that another column of the row seeds.
///
/// - `seed` is a number column; where a value is drawn it must be there and from 0 to 2^32 - 1, else the row is an error; its
///   fraction is cut off.
/// - The values are numbers for a number column, which stays int64 if all of them are and it is, else becomes float64; for a column of
///   categories or text they are strings or numbers.
/// - Same as `Series(values).sample(1, replace=True, random_state=seed)` of pandas 1.5 to 3, which is
///   `RandomState(seed).randint(n)` of `NumPy` 1.24 to 2.4, hence as feature-engine's `RandomSampleImputer` with
///   `seed="observation"`.
#[derive(Debug)]
pub(super) struct SampleStep {
    step: usize,
    seed: (Slot, String),
    input: Slot,
    output: Slot,
    values: Values,
}

#[derive(Debug)]
enum Values {
    Ints(Vec<i64>),
    Floats(Vec<f64>),
    Texts(Vec<String>),
    /// For each value its code, and for each category that the column has the code that it keeps.
    Codes {
        values: Vec<u32>,
        kept: Vec<u32>,
    },
}

pub(super) fn load(plan: &mut Plan, spec: SampleSpec) -> Result<(), PipelineError> {
    let seed = plan.number_slot(&spec.seed)?;
    for SampleColumn { column, values } in spec.columns {
        let input = plan.slot(&column)?;
        let wrong = |problem: String| plan.error(Some(&column), problem);
        if values.is_empty() {
            return Err(wrong("there is no value to draw".to_owned()));
        }
        if values.iter().any(|value| matches!(value, Value::Float(value) if !value.is_finite())) {
            return Err(wrong("a value is not a finite number".to_owned()));
        }
        let number = |value: &Value| match value {
            Value::Int(value) => Ok(to_f64(*value)),
            Value::Float(value) => Ok(*value),
            Value::Text(_) => {
                Err(wrong(format!("the column holds numbers, and a value is {value}")))
            }
        };
        let (dtype, values) = match plan.slots[input].dtype.clone() {
            Dtype::Int if values.iter().all(|value| matches!(value, Value::Int(_))) => {
                let ints = values.iter().filter_map(|value| match value {
                    Value::Int(value) => Some(*value),
                    Value::Float(_) | Value::Text(_) => None,
                });
                (Dtype::Int, Values::Ints(ints.collect()))
            }
            Dtype::Int | Dtype::Float => {
                let floats = values.iter().map(number).collect::<Result<_, _>>()?;
                (Dtype::Float, Values::Floats(floats))
            }
            Dtype::Text => {
                let texts = values
                    .iter()
                    .map(|value| match value {
                        Value::Text(text) => Ok(text.clone()),
                        Value::Int(_) | Value::Float(_) => {
                            Err(wrong(format!("the column holds text, and a value is {value}")))
                        }
                    })
                    .collect::<Result<_, _>>()?;
                (Dtype::Text, Values::Texts(texts))
            }
            Dtype::Category(categories) => {
                let mut keys: Vec<Key> = categories.to_vec();
                let kept = (0_u32..).take(keys.len()).collect();
                let mut code = |key: Key| {
                    let at = keys.iter().position(|known| *known == key).unwrap_or_else(|| {
                        keys.push(key);
                        keys.len() - 1
                    });
                    // A table of 4 billion keys does not fit a manifest.
                    u32::try_from(at).unwrap_or(MISSING_CODE)
                };
                let values = values.iter().map(|value| code(value.into())).collect();
                (Dtype::Category(Arc::from(keys)), Values::Codes { values, kept })
            }
            Dtype::Datetime => return Err(wrong("dates are not drawn".to_owned())),
            Dtype::Tensor(_) => return Err(wrong("tensors are not drawn".to_owned())),
            Dtype::Image => return Err(wrong("pictures are not drawn".to_owned())),
        };
        let output = plan.derive(dtype, &[input, seed]);
        plan.replace(&column, output);
        plan.operations.push(Operation::Sample(SampleStep {
            step: plan.index,
            seed: (seed, spec.seed.clone()),
            input,
            output,
            values,
        }));
    }
    Ok(())
}

impl SampleStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize, run: &mut Run<'_>) {
        let (before, outputs) = slots.split(self.output, 1);
        let (input, seeds) = (before.read(self.input), before.read(self.seed.0));
        let mut draw = |row: usize, n: usize| self.draw(seeds, row, n, run);
        match &self.values {
            Values::Ints(values) => {
                let output = outputs[0].as_ints();
                let View::Int(column) = input else { return };
                for row in 0..n_rows {
                    match column.get(row).or_else(|| Some(values[draw(row, values.len())?])) {
                        Some(value) => output.push(value),
                        None => output.push_missing(),
                    }
                }
            }
            Values::Floats(values) => {
                let output = outputs[0].as_floats();
                output.extend((0..n_rows).map(|row| {
                    let value = input.number(row);
                    if !value.is_nan() {
                        return value;
                    }
                    draw(row, values.len()).map_or(f64::NAN, |at| values[at])
                }));
            }
            Values::Texts(values) => {
                let output = outputs[0].as_text();
                let View::Text(column) = input else { return };
                for row in 0..n_rows {
                    let drawn = || Some(values[draw(row, values.len())?].as_str());
                    match column.get(row).or_else(drawn) {
                        Some(text) => output.push(text),
                        None => output.push_missing(),
                    }
                }
            }
            Values::Codes { values, kept } => {
                let output: &mut Column = &mut outputs[0];
                let output = output.as_codes();
                let View::Category(codes) = input else { return };
                for (row, code) in codes.iter().enumerate() {
                    output.push(match kept.get(*code as usize) {
                        Some(code) => *code,
                        None => draw(row, values.len()).map_or(MISSING_CODE, |at| values[at]),
                    });
                }
            }
        }
    }

    /// The position of the value that is drawn for a row, out of `n`; the row is an error when its seed is none.
    fn draw(&self, seeds: View<'_>, row: usize, n: usize, run: &mut Run<'_>) -> Option<usize> {
        let (slot, column) = &self.seed;
        let seed = seeds.number(row);
        if seed.is_nan() {
            missing_cell(row, self.step, *slot, column, run);
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be in the range; the original cuts the fraction off"
        )]
        let whole = (0.0..=f64::from(u32::MAX)).contains(&seed.trunc()).then_some(seed as u32);
        let Some(whole) = whole else {
            let field = run.pipeline.slots[*slot].fields.first().copied();
            run.refuse(row, self.step, |run| {
                let problem = RowProblem::OutOfDomain {
                    step: run.pipeline.step_names[self.step].clone(),
                    column: column.clone(),
                    expected: "unsigned 32-bit".into(),
                    found: seed,
                };
                (field, problem)
            });
            return None;
        };
        // There are at most as many values as bytes in a manifest.
        let last = u32::try_from(n - 1).unwrap_or(u32::MAX);
        Some(Twister::new(whole).below_or_at(last) as usize)
    }
}

/// The Mersenne Twister MT19937, as `NumPy`'s `RandomState(seed)` seeds and uses it.
struct Twister {
    state: [u32; Self::N],
    next: usize,
}

impl Twister {
    const N: usize = 624;
    const M: usize = 397;

    fn new(seed: u32) -> Self {
        let mut state = [0; Self::N];
        let mut value = seed;
        for (word, at) in state.iter_mut().zip(1_u32..) {
            *word = value;
            value = (value ^ (value >> 30)).wrapping_mul(1_812_433_253).wrapping_add(at);
        }
        Self { state, next: 0 }
    }

    /// The state is renewed word by word, as each is asked for, for mostly one is.
    fn word(&mut self) -> u32 {
        let at = self.next;
        let following = (at + 1) % Self::N;
        let mixed = (self.state[at] & 0x8000_0000) | (self.state[following] & 0x7fff_ffff);
        let twisted = if mixed & 1 == 0 { 0 } else { 0x9908_b0df };
        self.state[at] = self.state[(at + Self::M) % Self::N] ^ (mixed >> 1) ^ twisted;
        self.next = following;
        let mut y = self.state[at];
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A number from 0 to `last`: the lowest bits that hold it, until one is not above. Nothing is drawn for `last` 0.
    fn below_or_at(&mut self, last: u32) -> u32 {
        if last == 0 {
            return 0;
        }
        let mask = u32::MAX >> last.leading_zeros();
        loop {
            let value = self.word() & mask;
            if value <= last {
                return value;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Twister;

    #[test]
    fn numbers_are_those_of_random_state() {
        // np.random.RandomState(seed).randint(0, 2**32, size=3, dtype=np.uint32)
        let mut twister = Twister::new(42);
        let drawn: Vec<u32> = (0..3).map(|_| twister.word()).collect();
        assert_eq!(drawn, [1_608_637_542, 3_421_126_067, 4_083_286_876]);
        // The 1000th of RandomState(0): the state has been renewed once.
        let mut twister = Twister::new(0);
        assert_eq!((0..1000).map(|_| twister.word()).last(), Some(3_043_451_800));
        // np.random.RandomState(7).randint(0, 1000)
        assert_eq!(Twister::new(7).below_or_at(999), 175);
        assert_eq!(Twister::new(7).below_or_at(0), 0);
    }
}
