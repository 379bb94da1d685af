//! How two artifacts differ, in words.

use serde::Serialize;
use serde_json::Value;

use crate::artifact::Manifest;

/// A difference between two artifacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Word {
    /// The part: `schema`, `pipeline`, `features`, `outputs`, `model`, `provenance`.
    pub part: &'static str,
    /// What is other there.
    pub text: String,
}

/// Differences that are listed for one part.
const AT_MOST: usize = 200;

/// How the manifests of two artifacts differ: fields, steps with their learned parameters, features, outputs, the graph and where it comes from.
#[must_use]
pub fn differences(old: &Manifest, new: &Manifest, same_graph: bool) -> Vec<Word> {
    let mut words = Words(Vec::new());
    words.schema(old, new);
    words.pipeline(old, new);
    words.names("features", "feature", &old.features, &new.features);
    words.json("outputs", "outputs", &json(&old.outputs), &json(&new.outputs));
    words.json("outputs", "postprocess", &json(&old.postprocess), &json(&new.postprocess));
    let (old_model, new_model) = (json(&old.model), json(&new.model));
    words.json("model", "model", &old_model, &new_model);
    if !same_graph {
        words.push("model", "the graph is another file: its parameters may differ".to_owned());
    }
    for key in ["training_data", "libraries", "hyperparameters", "seed", "metrics"] {
        let get = |manifest: &Manifest| manifest.provenance.get(key).cloned().unwrap_or_default();
        words.json("provenance", key, &get(old), &get(new));
    }
    words.0
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

struct Words(Vec<Word>);

impl Words {
    fn push(&mut self, part: &'static str, text: String) {
        let n = self.0.iter().filter(|word| word.part == part).count();
        if n < AT_MOST {
            self.0.push(Word { part, text });
        } else if n == AT_MOST {
            self.0.push(Word { part, text: "… and more".to_owned() });
        }
    }

    fn schema(&mut self, old: &Manifest, new: &Manifest) {
        for field in &old.inputs {
            if !new.inputs.iter().any(|other| other.name == field.name) {
                self.push("schema", format!("the field `{}` is gone", field.name));
            }
        }
        for field in &new.inputs {
            match old.inputs.iter().find(|other| other.name == field.name) {
                None => {
                    self.push(
                        "schema",
                        format!("the field `{}` ({}) is new", field.name, field.r#type),
                    );
                }
                Some(before) => {
                    let place = format!("`{}`", field.name);
                    self.json("schema", &place, &json(before), &json(field));
                }
            }
        }
        let order = |manifest: &Manifest, other: &Manifest| -> Vec<String> {
            let known = |name: &&String| other.inputs.iter().any(|field| field.name == **name);
            manifest.inputs.iter().map(|field| &field.name).filter(known).cloned().collect()
        };
        if order(old, new) != order(new, old) {
            self.push("schema", "the fields stand in another order".to_owned());
        }
    }

    fn pipeline(&mut self, old: &Manifest, new: &Manifest) {
        let steps =
            |manifest: &Manifest| -> Vec<Value> { manifest.pipeline.iter().map(json).collect() };
        let (old, new) = (steps(old), steps(new));
        let what = |step: &Value| {
            let text = |key: &str| step.get(key).and_then(Value::as_str).unwrap_or_default();
            match text("name") {
                "" => text("op").to_owned(),
                name => format!("{} `{name}`", text("op")),
            }
        };
        // Steps are paired by their kind and name, in order.
        let mut at_old = 0;
        for (at, step) in new.iter().enumerate() {
            let same = |other: &Value| what(other) == what(step);
            match old[at_old..].iter().position(same) {
                Some(skipped) => {
                    for gone in &old[at_old..at_old + skipped] {
                        self.push("pipeline", format!("the step {} is gone", what(gone)));
                    }
                    at_old += skipped;
                    let place = format!("step {}, {}", at + 1, what(step));
                    self.step(&place, &old[at_old], step);
                    at_old += 1;
                }
                None => self.push("pipeline", format!("step {}, {}, is new", at + 1, what(step))),
            }
        }
        for gone in &old[at_old..] {
            self.push("pipeline", format!("the step {} is gone", what(gone)));
        }
    }

    fn step(&mut self, place: &str, old: &Value, new: &Value) {
        let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return };
        for key in old.keys().chain(new.keys().filter(|key| !old.contains_key(*key))) {
            // Where a step comes from says nothing of what it does.
            if key == "source" {
                continue;
            }
            let (before, after) = (old.get(key), new.get(key));
            if before == after {
                continue;
            }
            match (before.and_then(Value::as_array), after.and_then(Value::as_array)) {
                (Some(before), Some(after)) if key == "columns" => {
                    self.columns(place, before, after);
                }
                _ => {
                    let none = Value::Null;
                    let (before, after) = (before.unwrap_or(&none), after.unwrap_or(&none));
                    self.json("pipeline", &format!("{place}, {key}"), before, after);
                }
            }
        }
    }

    /// Columns of a step: names, or objects that have one.
    fn columns(&mut self, place: &str, old: &[Value], new: &[Value]) {
        let name = |column: &Value| match column {
            Value::String(name) => name.clone(),
            column => column.get("column").and_then(Value::as_str).unwrap_or_default().to_owned(),
        };
        for column in old {
            if !new.iter().any(|other| name(other) == name(column)) {
                self.push("pipeline", format!("{place}: no longer of `{}`", name(column)));
            }
        }
        for column in new {
            let Some(before) = old.iter().find(|other| name(other) == name(column)) else {
                self.push("pipeline", format!("{place}: now also of `{}`", name(column)));
                continue;
            };
            if before == column {
                continue;
            }
            let place = format!("{place}, `{}`", name(column));
            let (before, after) = (table(before), table(column));
            self.json("pipeline", &place, &before, &after);
        }
    }

    fn names(&mut self, part: &'static str, what: &str, old: &[String], new: &[String]) {
        let (before, after) = (self.0.len(), |words: &Self| words.0.len());
        for name in old.iter().filter(|name| !new.contains(name)) {
            self.push(part, format!("the {what} `{name}` is gone"));
        }
        for name in new.iter().filter(|name| !old.contains(name)) {
            self.push(part, format!("the {what} `{name}` is new"));
        }
        if old != new && after(self) == before {
            self.push(part, format!("the {part} stand in another order"));
        }
    }

    /// What differs in two JSON values, place by place.
    fn json(&mut self, part: &'static str, place: &str, old: &Value, new: &Value) {
        if old == new {
            return;
        }
        match (old, new) {
            (Value::Object(before), Value::Object(after)) => {
                for (key, old) in before {
                    let place = format!("{place}, {key}");
                    match after.get(key) {
                        Some(new) => self.json(part, &place, old, new),
                        None => self.push(part, format!("{place}: was {}, is gone", shown(old))),
                    }
                }
                for (key, new) in after.iter().filter(|(key, _)| !before.contains_key(*key)) {
                    self.push(part, format!("{place}, {key}: now {}", shown(new)));
                }
            }
            (Value::Array(before), Value::Array(after))
                if before.iter().chain(after).all(|item| item.is_string() || item.is_number()) =>
            {
                let gone = before.iter().filter(|item| !after.contains(item)).map(shown);
                let gone: Vec<String> = gone.collect();
                let fresh = after.iter().filter(|item| !before.contains(item)).map(shown);
                let fresh: Vec<String> = fresh.collect();
                if gone.is_empty() && fresh.is_empty() {
                    self.push(part, format!("{place}: in another order"));
                } else {
                    let mut text = Vec::new();
                    if !gone.is_empty() {
                        text.push(format!("without {}", list(&gone)));
                    }
                    if !fresh.is_empty() {
                        text.push(format!("with {}", list(&fresh)));
                    }
                    self.push(part, format!("{place}: now {}", text.join(", ")));
                }
            }
            (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
                for (at, (old, new)) in before.iter().zip(after).enumerate() {
                    self.json(part, &format!("{place}, {}", at + 1), old, new);
                }
            }
            _ => self.push(part, format!("{place}: was {}, is {}", shown(old), shown(new))),
        }
    }
}

/// A column's entry with its `keys` and `values` as one table, so that a change is said of its key.
fn table(column: &Value) -> Value {
    let mut column = column.clone();
    let Some(object) = column.as_object_mut() else { return column };
    if let (Some(Value::Array(keys)), Some(Value::Array(values))) =
        (object.get("keys"), object.get("values"))
        && keys.len() == values.len()
    {
        let entries: serde_json::Map<String, Value> =
            keys.iter().map(shown).zip(values.iter().cloned()).collect();
        object.remove("keys");
        object.insert("values".to_owned(), Value::Object(entries));
    }
    column
}

fn list(items: &[String]) -> String {
    const N_SHOWN: usize = 10;
    let mut text = items.iter().take(N_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if items.len() > N_SHOWN {
        text.push_str(&format!(", … ({} in all)", items.len()));
    }
    text
}

fn shown(value: &Value) -> String {
    crate::schema::shorten(&value.to_string(), 80)
}
