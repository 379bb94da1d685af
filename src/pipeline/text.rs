//! Functions of text: what `str` and `re` of Python do with one string.

use std::fmt::Write as _;

use regex::Regex;
use serde::Deserialize;

use super::column::{Column, Dtype, Key, Slots, View};
use super::unicode::{self, Shadow};
use super::{Operation, PipelineError, Plan, RowProblem, Run, Slot, quoted};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TextSpec {
    columns: Vec<TextColumnSpec>,
    functions: Vec<FunctionSpec>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TextColumnSpec {
    column: String,
    #[serde(default)]
    output: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum FunctionSpec {
    Slice {
        #[serde(default)]
        start: Option<i64>,
        #[serde(default)]
        stop: Option<i64>,
        #[serde(default)]
        step: Option<i64>,
    },
    Item {
        index: i64,
        absent: Absent,
    },
    Split {
        #[serde(default)]
        separator: Option<String>,
        #[serde(default)]
        maximum: Option<usize>,
        index: i64,
        absent: Absent,
    },
    Lower,
    Upper,
    Strip {
        #[serde(default)]
        characters: Option<String>,
        #[serde(default)]
        side: Side,
    },
    Replace {
        find: String,
        with: String,
    },
    ReplacePattern {
        pattern: String,
        with: String,
    },
    Extract {
        patterns: Vec<PatternSpec>,
        otherwise: Otherwise,
    },
    Append(Part),
    Prepend(Part),
    Number {
        r#type: NumberType,
        otherwise: Absent,
    },
    Length,
}

/// What becomes of a value that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Absent {
    Missing,
    Error,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Side {
    #[default]
    Both,
    Start,
    End,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct PatternSpec {
    pattern: String,
    #[serde(default)]
    group: Option<usize>,
    #[serde(default)]
    value: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Otherwise {
    Missing,
    Keep,
    Error,
    Value(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Part {
    Text(String),
    Column(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum NumberType {
    Int,
    Float,
}

/// Functions of `str`, one after the other, on one column.
///
/// - Input: any column but dates; a number is first written as Python's `str` writes it. A missing value stays missing.
/// - Output: text; int64 after `length` and `number` of type `int`; float64 after `number` of type `float`.
/// - Positions count code points. White space, letters, digits and word boundaries are those of Python's `str` and `re`.
/// - Same as Python 3.9 to 3.13, up to characters that its version of Unicode does not know yet.
#[derive(Debug)]
pub(super) struct TextStep {
    step: usize,
    input: Source,
    column: String,
    output: Slot,
    functions: Vec<Function>,
    last: Last,
}

/// A column read as text.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) slot: Slot,
    /// The texts of categories by code.
    categories: Vec<String>,
}

impl Source {
    pub(super) fn load(plan: &mut Plan, column: &str) -> Result<Self, PipelineError> {
        let slot = plan.slot(column)?;
        let categories = match &plan.slots[slot].dtype {
            Dtype::Datetime => {
                let problem = "this column holds dates, not text".to_owned();
                return Err(plan.error(Some(column), problem));
            }
            Dtype::Category(keys) => keys
                .iter()
                .map(|key| {
                    let mut text = String::new();
                    match key {
                        Key::Int(value) => write_int(*value, &mut text),
                        Key::Float(value) => write_float(*value, &mut text),
                        Key::Text(value) => text.push_str(value),
                    }
                    text
                })
                .collect(),
            // A step takes no tensor.
            Dtype::Float | Dtype::Int | Dtype::Text | Dtype::Tensor(_) | Dtype::Image => Vec::new(),
        };
        Ok(Self { slot, categories })
    }

    /// Appends the text at `row`; false where it is missing.
    pub(super) fn write(&self, column: View<'_>, row: usize, output: &mut String) -> bool {
        match column {
            View::Text(column) => match column.get(row) {
                Some(text) => output.push_str(text),
                None => return false,
            },
            View::Category(codes) => {
                match codes.get(row).and_then(|code| self.categories.get(*code as usize)) {
                    Some(text) => output.push_str(text),
                    None => return false,
                }
            }
            View::Int(column) => match column.get(row) {
                Some(value) => write_int(value, output),
                None => return false,
            },
            View::Float(values) => match values.get(row) {
                Some(value) if !value.is_nan() => write_float(*value, output),
                _ => return false,
            },
            View::Tensor(_) | View::Image(_) => return false,
        }
        true
    }
}

#[derive(Debug)]
enum Function {
    Slice { start: Option<i64>, stop: Option<i64>, step: i64 },
    Item { index: i64, absent: Absent },
    Split { separator: Option<String>, maximum: usize, index: i64, absent: Absent },
    Lower,
    Upper,
    Strip { characters: Option<Vec<char>>, side: Side },
    Replace { find: String, with: String },
    ReplacePattern { pattern: Pattern, with: String },
    Extract { patterns: Vec<(Pattern, Taken)>, otherwise: Otherwise },
    Append(PartOf),
    Prepend(PartOf),
}

#[derive(Debug)]
enum Taken {
    Group(usize),
    Value(String),
}

#[derive(Debug)]
enum PartOf {
    Text(String),
    Column(Source),
}

/// What the chain ends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Text,
    Length,
    Number(NumberType, Absent),
}

/// A regular expression whose word boundaries are Python's.
#[derive(Debug)]
pub(super) struct Pattern {
    regex: Regex,
    boundaries: bool,
}

impl Pattern {
    pub(super) fn load(pattern: &str) -> Result<Self, String> {
        let regex = Regex::new(pattern).map_err(|error| {
            format!("the pattern {pattern:?} is not a regular expression known here: {error}")
        })?;
        Ok(Self { regex, boundaries: pattern.contains("\\b") || pattern.contains("\\B") })
    }

    /// The text to match against: byte by byte as long as `text`, and with the same word boundaries as Python's.
    pub(super) fn haystack<'a>(&self, text: &'a str, shadow: &'a mut Shadow) -> &'a str {
        if self.boundaries { shadow.of(text) } else { text }
    }

    pub(super) fn regex(&self) -> &Regex {
        &self.regex
    }
}

pub(super) fn load(plan: &mut Plan, spec: TextSpec) -> Result<(), PipelineError> {
    if spec.functions.is_empty() {
        return Err(plan.error(None, "`functions` is empty".to_owned()));
    }
    for TextColumnSpec { column, output } in spec.columns {
        let input = Source::load(plan, &column)?;
        let mut inputs = vec![input.slot];
        let mut functions = Vec::with_capacity(spec.functions.len());
        let mut last = Last::Text;
        for function in &spec.functions {
            if last != Last::Text {
                let problem = "`length` and `number` can only be the last function".to_owned();
                return Err(plan.error(Some(&column), problem));
            }
            match function {
                FunctionSpec::Length => last = Last::Length,
                FunctionSpec::Number { r#type, otherwise } => {
                    last = Last::Number(*r#type, *otherwise);
                }
                function => {
                    functions.push(load_function(plan, &column, function, &mut inputs)?);
                }
            }
        }
        let dtype = match last {
            Last::Text => Dtype::Text,
            Last::Length | Last::Number(NumberType::Int, _) => Dtype::Int,
            Last::Number(NumberType::Float, _) => Dtype::Float,
        };
        let slot = plan.derive(dtype, &inputs);
        match &output {
            Some(name) => plan.append(name, slot)?,
            None => plan.replace(&column, slot),
        }
        let step = plan.index;
        plan.operations.push(Operation::Text(TextStep {
            step,
            input,
            column,
            output: slot,
            functions,
            last,
        }));
    }
    Ok(())
}

fn load_function(
    plan: &mut Plan,
    column: &str,
    spec: &FunctionSpec,
    inputs: &mut Vec<Slot>,
) -> Result<Function, PipelineError> {
    let wrong = |plan: &Plan, problem: String| plan.error(Some(column), problem);
    let pattern =
        |plan: &Plan, text: &str| Pattern::load(text).map_err(|problem| wrong(plan, problem));
    Ok(match spec {
        FunctionSpec::Slice { step: Some(0), .. } => {
            return Err(wrong(plan, "the step of a slice is 0".to_owned()));
        }
        FunctionSpec::Slice { start, stop, step } => {
            Function::Slice { start: *start, stop: *stop, step: step.unwrap_or(1) }
        }
        FunctionSpec::Item { index, absent } => Function::Item { index: *index, absent: *absent },
        FunctionSpec::Split { separator, maximum, index, absent } => {
            if separator.as_deref() == Some("") {
                return Err(wrong(plan, "the separator is empty".to_owned()));
            }
            Function::Split {
                separator: separator.clone(),
                maximum: maximum.unwrap_or(usize::MAX),
                index: *index,
                absent: *absent,
            }
        }
        FunctionSpec::Lower => Function::Lower,
        FunctionSpec::Upper => Function::Upper,
        FunctionSpec::Strip { characters, side } => Function::Strip {
            characters: characters.as_ref().map(|characters| characters.chars().collect()),
            side: *side,
        },
        FunctionSpec::Replace { find, with } => {
            Function::Replace { find: find.clone(), with: with.clone() }
        }
        FunctionSpec::ReplacePattern { pattern: text, with } => {
            Function::ReplacePattern { pattern: pattern(plan, text)?, with: with.clone() }
        }
        FunctionSpec::Extract { patterns, otherwise } => {
            if patterns.is_empty() {
                return Err(wrong(plan, "`extract` has no patterns".to_owned()));
            }
            let mut loaded = Vec::with_capacity(patterns.len());
            for spec in patterns {
                let regex = pattern(plan, &spec.pattern)?;
                let taken = match (&spec.value, spec.group) {
                    (Some(value), None) => Taken::Value(value.clone()),
                    (None, group) if group.unwrap_or(0) < regex.regex().captures_len() => {
                        Taken::Group(group.unwrap_or(0))
                    }
                    (None, group) => {
                        let problem = format!(
                            "the pattern {:?} has no group {}",
                            spec.pattern,
                            group.unwrap_or(0)
                        );
                        return Err(wrong(plan, problem));
                    }
                    (Some(_), Some(_)) => {
                        let problem =
                            format!("the pattern {:?} has a group and a value", spec.pattern);
                        return Err(wrong(plan, problem));
                    }
                };
                loaded.push((regex, taken));
            }
            Function::Extract { patterns: loaded, otherwise: otherwise.clone() }
        }
        FunctionSpec::Append(part) => Function::Append(load_part(plan, part, inputs)?),
        FunctionSpec::Prepend(part) => Function::Prepend(load_part(plan, part, inputs)?),
        FunctionSpec::Number { .. } | FunctionSpec::Length => {
            return Err(wrong(
                plan,
                "`length` and `number` can only be the last function".to_owned(),
            ));
        }
    })
}

fn load_part(
    plan: &mut Plan,
    part: &Part,
    inputs: &mut Vec<Slot>,
) -> Result<PartOf, PipelineError> {
    Ok(match part {
        Part::Text(text) => PartOf::Text(text.clone()),
        Part::Column(column) => {
            let source = Source::load(plan, column)?;
            inputs.push(source.slot);
            PartOf::Column(source)
        }
    })
}

/// What a function made of a text.
enum Found {
    /// It is in the output.
    Text,
    /// It is the input itself.
    Same,
    Missing,
    /// The row is refused; what was expected.
    Refused(&'static str),
}

impl From<Absent> for Found {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::Missing => Self::Missing,
            Absent::Error => Self::Refused("longer text"),
        }
    }
}

impl TextStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize, run: &mut Run<'_>) {
        let (before, outputs) = slots.split(self.output, 1);
        let output: &mut Column = &mut outputs[0];
        let column = before.read(self.input.slot);
        let (mut current, mut next, mut shadow) = (String::new(), String::new(), Shadow::default());
        let refuse = |run: &mut Run<'_>, row: usize, text: &str, expected: &'static str| {
            let fields = &run.pipeline.slots[self.output].fields;
            let field = fields.first().copied();
            run.refuse(row, self.step, |run| {
                let step = run.pipeline.step_names[self.step].clone();
                let found = quoted(text);
                (
                    field,
                    RowProblem::UnfitText { step, column: self.column.clone(), expected, found },
                )
            });
        };
        // True when there is a text in `current`.
        let mut chain = |row: usize, current: &mut String, run: &mut Run<'_>| -> bool {
            current.clear();
            if !self.input.write(column, row, current) {
                return false;
            }
            for function in &self.functions {
                next.clear();
                let part = |part: &PartOf, output: &mut String| match part {
                    PartOf::Text(text) => {
                        output.push_str(text);
                        true
                    }
                    PartOf::Column(source) => source.write(before.read(source.slot), row, output),
                };
                let found = match function {
                    Function::Append(text) => {
                        if part(text, current) {
                            Found::Same
                        } else {
                            Found::Missing
                        }
                    }
                    Function::Prepend(text) => {
                        if part(text, &mut next) {
                            next.push_str(current);
                            Found::Text
                        } else {
                            Found::Missing
                        }
                    }
                    function => function.apply(current, &mut next, &mut shadow),
                };
                match found {
                    Found::Text => std::mem::swap(current, &mut next),
                    Found::Same => {}
                    Found::Missing => return false,
                    Found::Refused(expected) => {
                        refuse(run, row, current, expected);
                        return false;
                    }
                }
            }
            true
        };
        match self.last {
            Last::Text => {
                let output = output.as_text();
                for row in 0..n_rows {
                    if chain(row, &mut current, run) {
                        output.push(&current);
                    } else {
                        output.push_missing();
                    }
                }
            }
            Last::Length => {
                let output = output.as_ints();
                for row in 0..n_rows {
                    if chain(row, &mut current, run) {
                        output.push(to_i64(current.chars().count()));
                    } else {
                        output.push_missing();
                    }
                }
            }
            Last::Number(NumberType::Int, otherwise) => {
                let output = output.as_ints();
                let mut digits = String::new();
                for row in 0..n_rows {
                    if !chain(row, &mut current, run) {
                        output.push_missing();
                        continue;
                    }
                    match parse_int(&current, &mut digits) {
                        Some(value) => output.push(value),
                        None => {
                            if otherwise == Absent::Error {
                                refuse(run, row, &current, "an integer");
                            }
                            output.push_missing();
                        }
                    }
                }
            }
            Last::Number(NumberType::Float, otherwise) => {
                let output = output.as_floats();
                let mut digits = String::new();
                for row in 0..n_rows {
                    if !chain(row, &mut current, run) {
                        output.push(f64::NAN);
                        continue;
                    }
                    output.push(parse_float(&current, &mut digits).unwrap_or_else(|| {
                        if otherwise == Absent::Error {
                            refuse(run, row, &current, "a number");
                        }
                        f64::NAN
                    }));
                }
            }
        }
    }
}

impl Function {
    fn apply(&self, text: &str, output: &mut String, shadow: &mut Shadow) -> Found {
        match self {
            Self::Slice { start, stop, step } => {
                slice(text, *start, *stop, *step, output);
                Found::Text
            }
            Self::Item { index, absent } => {
                let mut chars = text.chars();
                let found = match usize::try_from(*index) {
                    Ok(index) => chars.nth(index),
                    Err(_) => chars.rev().nth(from_end(*index)),
                };
                match found {
                    Some(found) => {
                        output.push(found);
                        Found::Text
                    }
                    None => (*absent).into(),
                }
            }
            Self::Split { separator, maximum, index, absent } => {
                let found = match separator {
                    Some(separator) => {
                        pick(|| text.splitn(maximum.saturating_add(1), separator.as_str()), *index)
                    }
                    None => pick(|| Words { rest: text, left: *maximum }, *index),
                };
                match found {
                    Some(found) => {
                        output.push_str(found);
                        Found::Text
                    }
                    None => (*absent).into(),
                }
            }
            Self::Lower => {
                unicode::lower(text, output);
                Found::Text
            }
            Self::Upper => {
                text.chars().for_each(|c| output.extend(c.to_uppercase()));
                Found::Text
            }
            Self::Strip { characters, side } => {
                let outer = |c: char| match characters {
                    Some(characters) => characters.contains(&c),
                    None => unicode::is_space(c),
                };
                let mut text = text;
                if *side != Side::End {
                    text = text.trim_start_matches(outer);
                }
                if *side != Side::Start {
                    text = text.trim_end_matches(outer);
                }
                output.push_str(text);
                Found::Text
            }
            Self::Replace { find, with } => {
                let mut from = 0;
                for (at, part) in text.match_indices(find.as_str()) {
                    output.push_str(&text[from..at]);
                    output.push_str(with);
                    from = at + part.len();
                }
                output.push_str(&text[from..]);
                Found::Text
            }
            Self::ReplacePattern { pattern, with } => {
                let mut from = 0;
                for found in pattern.regex().find_iter(pattern.haystack(text, shadow)) {
                    output.push_str(&text[from..found.start()]);
                    output.push_str(with);
                    from = found.end();
                }
                output.push_str(&text[from..]);
                Found::Text
            }
            Self::Extract { patterns, otherwise } => {
                for (pattern, taken) in patterns {
                    let haystack = pattern.haystack(text, shadow);
                    match taken {
                        Taken::Value(value) => {
                            if pattern.regex().is_match(haystack) {
                                output.push_str(value);
                                return Found::Text;
                            }
                        }
                        Taken::Group(0) => {
                            if let Some(found) = pattern.regex().find(haystack) {
                                output.push_str(&text[found.range()]);
                                return Found::Text;
                            }
                        }
                        Taken::Group(group) => {
                            if let Some(found) = pattern.regex().captures(haystack) {
                                // A group that took no part in the match is None in Python.
                                let Some(found) = found.get(*group) else { return Found::Missing };
                                output.push_str(&text[found.range()]);
                                return Found::Text;
                            }
                        }
                    }
                }
                match otherwise {
                    Otherwise::Missing => Found::Missing,
                    Otherwise::Keep => Found::Same,
                    Otherwise::Error => Found::Refused("text that one of its patterns matches"),
                    Otherwise::Value(value) => {
                        output.push_str(value);
                        Found::Text
                    }
                }
            }
            // These need other columns: see `TextStep::run`.
            Self::Append(_) | Self::Prepend(_) => Found::Same,
        }
    }
}

/// For a negative index the number of items between it and the end.
fn from_end(index: i64) -> usize {
    usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX).saturating_sub(1)
}

fn to_i64(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// The item at a position as Python counts it.
fn pick<'a, I: Iterator<Item = &'a str>>(items: impl Fn() -> I, index: i64) -> Option<&'a str> {
    match usize::try_from(index) {
        Ok(index) => items().nth(index),
        Err(_) => {
            let n = items().count();
            items().nth(n.checked_sub(from_end(index).saturating_add(1))?)
        }
    }
}

/// `str.split()`: the parts between white space, at most so many splits.
struct Words<'a> {
    rest: &'a str,
    left: usize,
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.rest.trim_start_matches(unicode::is_space);
        if text.is_empty() {
            self.rest = text;
            return None;
        }
        if self.left == 0 {
            // Python keeps the white space at the end of the last part only when it stopped splitting before.
            self.rest = "";
            return Some(text);
        }
        self.left -= 1;
        let end = text.find(unicode::is_space).unwrap_or(text.len());
        self.rest = &text[end..];
        Some(&text[..end])
    }
}

/// Python's `text[start:stop:step]`.
fn slice(text: &str, start: Option<i64>, stop: Option<i64>, step: i64, output: &mut String) {
    let n = to_i64(text.chars().count());
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let clamp = |at: i64| {
        let at = if at < 0 { at.saturating_add(n) } else { at };
        at.clamp(low, high)
    };
    let start = start.map_or(if step > 0 { 0 } else { n - 1 }, clamp);
    let stop = stop.map_or(if step > 0 { n } else { -1 }, clamp);
    if step > 0 {
        if start < stop {
            let skip = usize::try_from(start).unwrap_or(0);
            let take = usize::try_from(stop - start).unwrap_or(0);
            let step = usize::try_from(step).unwrap_or(usize::MAX);
            output.extend(text.chars().skip(skip).take(take).step_by(step));
        }
    } else if start > stop {
        let skip = usize::try_from(n - 1 - start).unwrap_or(0);
        let take = usize::try_from(start - stop).unwrap_or(0);
        let step = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
        output.extend(text.chars().rev().skip(skip).take(take).step_by(step));
    }
}

/// Python's `str(int)`.
fn write_int(value: i64, output: &mut String) {
    // Writing to a String does not fail.
    let _ = write!(output, "{value}");
}

/// Python's `repr(float)`: the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
fn write_float(value: f64, output: &mut String) {
    if value.is_infinite() {
        output.push_str(if value > 0.0 { "inf" } else { "-inf" });
        return;
    }
    let size = value.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        let _ = write!(output, "{value:?}");
        return;
    }
    let start = output.len();
    let _ = write!(output, "{value:e}");
    // Rust writes 1e-5 and 1e16, Python 1e-05 and 1e+16.
    if let Some(at) = output[start..].find('e').map(|at| start + at + 1) {
        let exponent: i32 = output[at..].parse().unwrap_or(0);
        output.truncate(at);
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(output, "{sign}{:02}", exponent.unsigned_abs());
    }
}

/// Puts into `ascii` what Python's `float` and `int` read of a text: without white space around it, any decimal digit as an
/// ASCII one, and without the underscores that stand between digits. False where it is no number for sure.
fn plain(text: &str, ascii: &mut String) -> bool {
    ascii.clear();
    let text = text.trim_matches(unicode::is_space);
    let mut digit_before = false;
    let mut underscore = false;
    for c in text.chars() {
        if c == '_' {
            if !digit_before || underscore {
                return false;
            }
            underscore = true;
            continue;
        }
        let c = if c.is_ascii() {
            c
        } else {
            match unicode::decimal(c) {
                Some(digit) => char::from(b'0' + digit),
                None => return false,
            }
        };
        digit_before = c.is_ascii_digit();
        if underscore && !digit_before {
            return false;
        }
        underscore = false;
        ascii.push(c);
    }
    !underscore && !ascii.is_empty()
}

/// Python's `float(text)`.
fn parse_float(text: &str, buffer: &mut String) -> Option<f64> {
    if !plain(text, buffer) {
        return None;
    }
    buffer.parse().ok()
}

/// Python's `int(text)`, within 64 bits.
fn parse_int(text: &str, buffer: &mut String) -> Option<i64> {
    if !plain(text, buffer) {
        return None;
    }
    buffer.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_python_writes_them() {
        let check = |value: f64, expected: &str| {
            let mut text = String::new();
            write_float(value, &mut text);
            assert_eq!(text, expected);
        };
        check(5.0, "5.0");
        check(-0.0, "-0.0");
        check(1e16, "1e+16");
        check(123_456_789_012_345_680.0, "1.2345678901234568e+17");
        check(9_999_999_999_999_998.0, "9999999999999998.0");
        check(0.0001, "0.0001");
        check(0.000_01, "1e-05");
        check(1.5e-300, "1.5e-300");
        check(f64::NEG_INFINITY, "-inf");
    }

    #[test]
    fn numbers_are_read_as_python_reads_them() {
        let float = |text: &str| parse_float(text, &mut String::new());
        assert_eq!(float(" 1_000.5\n"), Some(1000.5));
        assert_eq!(float("\u{661}\u{662}"), Some(12.0));
        assert_eq!(float("-inFinity"), Some(f64::NEG_INFINITY));
        assert_eq!(float("1__0"), None);
        assert_eq!(float("_1"), None);
        assert_eq!(float("1_.5"), None);
        assert_eq!(float("5."), Some(5.0));
        assert_eq!(float(""), None);
        assert_eq!(float("?"), None);
        let int = |text: &str| parse_int(text, &mut String::new());
        assert_eq!(int("+5"), Some(5));
        assert_eq!(int("5.0"), None);
        assert_eq!(int("9223372036854775808"), None);
    }

    #[test]
    fn slices_count_code_points() {
        let check = |start: Option<i64>, stop: Option<i64>, step: i64, expected: &str| {
            let mut text = String::new();
            slice("aßc𝄞e", start, stop, step, &mut text);
            assert_eq!(text, expected);
        };
        check(Some(0), Some(1), 1, "a");
        check(Some(-2), None, 1, "𝄞e");
        check(None, Some(-1), 2, "ac");
        check(None, None, -1, "e𝄞cßa");
        check(Some(3), Some(0), -2, "𝄞ß");
        check(Some(9), Some(1), 1, "");
        check(Some(-9), Some(2), 1, "aß");
    }

    #[test]
    fn words_are_split_at_white_space() {
        let words = |text, left| Words { rest: text, left }.collect::<Vec<_>>().join("|");
        assert_eq!(words("  a\u{1f}b  c ", usize::MAX), "a|b|c");
        assert_eq!(words(" a b  c ", 1), "a|b  c ");
        assert_eq!(words("   ", 1), "");
    }
}
