//! What the pipeline refuses of what the schema allows, found by asking it.
//!
//! A field of strings whose encoder refuses unseen categories takes, in truth, only those that it knows; a field that goes through a
//! logarithm takes only positive numbers. The manifest does not say so of the field, but a document that promises more than the
//! server takes is wrong. So each field is tried with the values that could make a difference, in otherwise good rows, with
//! the decoder and the pipeline that serve. Where the rows do not agree, nothing is claimed.

use serde_json::{Map, Value, json};

use super::row::example_row;
use crate::pipeline::{Pipeline, StepSpec, Workspace};
use crate::schema::{DecodeOptions, Field, Frame, Kind, Scalar, Schema};

/// More values than the format keeps as categories are not written out.
const MAX_VALUES: usize = 1_000;
/// Rows that are tried at a time.
const N_AT_A_TIME: usize = 512;
/// A string that is no category of anything.
const NO_CATEGORY: &str = "\u{1}seaworthy: no such category";
/// Integers that are hardly the code of anything.
const NO_CODES: [i64; 3] = [-987_654_321, 987_654_321, 1_234_567_891];

/// What a field takes, beyond what its schema says.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::http) struct Accepts {
    /// Whether a missing value is taken.
    pub(super) missing: bool,
    /// The only values that are taken.
    pub(super) values: Option<Vec<Value>>,
    /// Which numbers are taken.
    pub(super) range: Range,
}

/// Which numbers a field takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Range {
    Any,
    Positive,
    NotNegative,
    NotZero,
}

impl Default for Accepts {
    fn default() -> Self {
        Self { missing: true, values: None, range: Range::Any }
    }
}

/// Asks what each field takes, in the order of the schema. `steps` are those that `pipeline` was loaded from.
///
/// Takes milliseconds for most models, seconds for hundreds of fields with a thousand categories each.
pub(in crate::http) fn narrow(
    schema: &Schema,
    pipeline: &Pipeline,
    steps: &[StepSpec],
) -> Vec<Accepts> {
    let keys = MapKeys::of(steps);
    let mut asker = Asker::new(schema, pipeline);
    schema.fields().iter().map(|field| asker.field(field, &keys)).collect()
}

/// The keys of all tables of a pipeline, with the column that is looked up.
struct MapKeys<'a>(Vec<(&'a str, &'a Value)>);

impl<'a> MapKeys<'a> {
    fn of(steps: &'a [StepSpec]) -> Self {
        let columns = steps
            .iter()
            .filter(|step| step.op == "map")
            .filter_map(|step| step.parameters.get("columns")?.as_array())
            .flatten();
        let keys = columns.filter_map(|column| {
            Some((column.get("column")?.as_str()?, column.get("keys")?.as_array()?))
        });
        Self(keys.flat_map(|(column, keys)| keys.iter().map(move |key| (column, key))).collect())
    }

    /// The keys that a value of the field could meet: of its own column, and of columns that are no field's.
    fn of_field(&self, schema: &Schema, name: &str) -> impl Iterator<Item = &'a Value> {
        self.0
            .iter()
            .filter(move |(column, _)| {
                *column == name || schema.fields().iter().all(|field| field.name() != *column)
            })
            .map(|(_, key)| *key)
    }
}

/// How a value fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Taken,
    Refused(&'static str),
    /// The answer depends on the rest of the row.
    Unclear,
}

struct Asker<'a> {
    schema: &'a Schema,
    pipeline: &'a Pipeline,
    workspace: Workspace,
    frame: Frame,
    /// Rows that are taken.
    bases: Vec<Map<String, Value>>,
}

impl<'a> Asker<'a> {
    fn new(schema: &'a Schema, pipeline: &'a Pipeline) -> Self {
        let mut asker = Self {
            schema,
            pipeline,
            workspace: Workspace::default(),
            frame: schema.frame(),
            bases: Vec::new(),
        };
        let example = example_row(schema, &[]);
        let other = other_row(schema, &example);
        for row in [example, other] {
            if asker.verdicts(&[Value::Object(row.clone()).to_string()]) == [Verdict::Taken] {
                asker.bases.push(row);
            }
        }
        asker
    }

    fn field(&mut self, field: &Field, keys: &MapKeys<'_>) -> Accepts {
        let spec = field.spec();
        let missing =
            !spec.nullable || !matches!(self.ask(field, &[Value::Null])[..], [Verdict::Refused(_)]);
        let mut accepts = Accepts { missing, ..Accepts::default() };
        let mut candidates: Vec<Value> =
            spec.categories.iter().flatten().map(|category| json!(category)).collect();
        match field.kind() {
            Kind::String => {
                candidates.extend(
                    keys.of_field(self.schema, field.name()).filter(|key| key.is_string()).cloned(),
                );
                accepts.values = self.only(field, candidates, &[json!(NO_CATEGORY)]);
            }
            Kind::Int => {
                candidates.extend(
                    keys.of_field(self.schema, field.name()).filter(|key| key.is_i64()).cloned(),
                );
                accepts.values = self.only(field, candidates, &NO_CODES.map(|code| json!(code)));
                accepts.range =
                    self.range(field, [-1_000_000, -1, 0, 1, 1_000_000].map(Value::from));
            }
            // The least step from zero that survives most arithmetic.
            Kind::Float => {
                accepts.range =
                    self.range(field, [-1e6, -1e-300, 0.0, 1e-300, 1e6].map(Value::from));
            }
            Kind::Bool | Kind::Datetime | Kind::Tensor | Kind::Image => {}
        }
        accepts
    }

    /// The candidates that are taken, if values that are none of them are not.
    fn only(
        &mut self,
        field: &Field,
        mut candidates: Vec<Value>,
        others: &[Value],
    ) -> Option<Vec<Value>> {
        let mut seen = std::collections::BTreeSet::new();
        candidates.retain(|candidate| seen.insert(candidate.to_string()));
        if candidates.is_empty() || candidates.len() > MAX_VALUES {
            return None;
        }
        let is_unknown =
            |verdict: &Verdict| matches!(verdict, Verdict::Refused("unseen_category" | "category"));
        if !self.ask(field, others).iter().all(is_unknown) {
            return None;
        }
        let verdicts = self.ask(field, &candidates);
        let taken: Vec<Value> = candidates
            .into_iter()
            .zip(verdicts)
            .filter(|(_, verdict)| !is_unknown(verdict))
            .map(|(candidate, _)| candidate)
            .collect();
        (!taken.is_empty()).then_some(taken)
    }

    /// Which numbers are taken, judged by `probes`: far below zero, just below, zero, just above, far above.
    fn range(&mut self, field: &Field, probes: [Value; 5]) -> Range {
        let refused = |verdict: &Verdict| match verdict {
            Verdict::Refused(code) => {
                Some(matches!(*code, "out_of_domain" | "infinite_value" | "missing_value"))
            }
            Verdict::Taken => Some(false),
            Verdict::Unclear => None,
        };
        let answers: Option<Vec<bool>> = self.ask(field, &probes).iter().map(refused).collect();
        match answers.as_deref() {
            Some([true, true, true, false, false]) => Range::Positive,
            Some([true, true, false, false, false]) => Range::NotNegative,
            Some([false, false, true, false, false]) => Range::NotZero,
            _ => Range::Any,
        }
    }

    /// How each value of a field fares, the rest of the row being good. Empty when no row is.
    fn ask(&mut self, field: &Field, values: &[Value]) -> Vec<Verdict> {
        let mut agreed: Vec<Verdict> = vec![Verdict::Unclear; values.len()];
        for at in 0..self.bases.len() {
            let mut base = self.bases[at].clone();
            base.shift_remove(field.name());
            let name = Value::from(field.name());
            let rest = Value::Object(base).to_string();
            let rest = rest.strip_prefix('{').filter(|rest| *rest != "}");
            let row = |value: &Value| match rest {
                Some(rest) => format!("{{{name}:{value},{rest}"),
                None => format!("{{{name}:{value}}}"),
            };
            let found = values
                .chunks(N_AT_A_TIME)
                .flat_map(|values| self.verdicts(&values.iter().map(row).collect::<Vec<_>>()))
                .collect::<Vec<_>>();
            for (agreed, found) in agreed.iter_mut().zip(found) {
                if at == 0 {
                    *agreed = found;
                } else if *agreed != found {
                    *agreed = Verdict::Unclear;
                }
            }
        }
        agreed
    }

    /// How each row fares with the decoder and the pipeline.
    fn verdicts(&mut self, rows: &[String]) -> Vec<Verdict> {
        let options = DecodeOptions {
            max_rows: usize::MAX,
            max_errors: usize::MAX,
            ..DecodeOptions::default()
        };
        let body = format!("[{}]", rows.join(","));
        let decoded = match self.schema.decode(body.as_bytes(), &options, &mut self.frame) {
            Ok(decoded) if decoded.n_rows == rows.len() => decoded,
            _ => return vec![Verdict::Unclear; rows.len()],
        };
        let mut verdicts = vec![Verdict::Taken; rows.len()];
        for error in &decoded.errors {
            match error.row.and_then(|row| verdicts.get_mut(row)) {
                Some(verdict) => *verdict = Verdict::Refused(error.problem.code()),
                None => return vec![Verdict::Unclear; rows.len()],
            }
        }
        self.pipeline.run(&self.frame, &mut self.workspace);
        for fault in self.workspace.faults() {
            let row =
                decoded.kept.as_ref().map_or(Some(fault.row), |kept| kept.get(fault.row).copied());
            if let Some(verdict) = row.and_then(|row| verdicts.get_mut(row)) {
                *verdict = Verdict::Refused(fault.problem.code());
            }
        }
        verdicts
    }
}

/// A row as unlike the example as the schema tells: the greatest numbers, the last categories.
fn other_row(schema: &Schema, example: &Map<String, Value>) -> Map<String, Value> {
    let mut row = example.clone();
    for field in schema.fields() {
        let spec = field.spec();
        let last = spec.categories.as_ref().and_then(|categories| categories.last());
        if let Some(value) = last.or(spec.maximum.as_ref()) {
            let fits = !matches!((field.kind(), value), (Kind::Int, Scalar::Float(_)));
            if fits {
                row.insert(field.name().to_owned(), json!(value));
            }
        }
    }
    row
}
