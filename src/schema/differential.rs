//! Decoding, compared with a slow and obvious decoder that goes through `serde_json`, on bodies made up at random and on
//! bodies broken in every place.

use std::fmt;

use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::json;
use serde_json::value::RawValue;

use super::{Column, DecodeOptions, Frame, Kind, Scalar, Schema, UnknownFields};

/// Fields of every kind, with every way to be absent, and with names that are hard to read.
fn schema() -> Schema {
    let fields = json!([
        {"name": "LotArea", "type": "int"},
        {"name": "LotFrontage", "type": "float", "nullable": true},
        {"name": "Zone", "type": "string", "nullable": true, "required": false, "aliases": ["MSZoning", "Zoné"]},
        {"name": "Air", "type": "bool", "required": false, "default": true},
        {"name": "a\"b\\c/\u{1}", "type": "string", "required": false, "default": "né"},
        {"name": "Größe😀", "type": "float", "required": false, "default": 3, "aliases": ["", "g"]},
        {"name": "Code", "type": "int", "nullable": true, "enforce": true, "categories": [2, 30, 1], "maximum": 29.5},
        {"name": "Street", "type": "string", "enforce": true, "categories": ["Pave", "Grvl", "é\n"]},
        {"name": "Share", "type": "float", "enforce": true, "minimum": -0.5, "maximum": 1, "nullable": true},
    ]);
    Schema::load(serde_json::from_value(fields).unwrap()).unwrap()
}

/// A cell that can be compared: floats by their bits.
#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Missing,
    Int(i64),
    Float(u64),
    Text(String),
}

/// What became of a body. An error is a row, a field and a code.
#[derive(Debug, Clone, PartialEq, Default)]
struct Outcome {
    n_rows: usize,
    rows: Vec<(usize, Vec<Cell>)>,
    errors: Vec<(Option<usize>, Option<String>, &'static str)>,
}

impl Outcome {
    fn error(&mut self, row: usize, field: Option<&str>, code: &'static str) {
        self.errors.push((Some(row), field.map(str::to_owned), code));
    }
}

fn cells(frame: &Frame, row: usize) -> Vec<Cell> {
    let cell = |column: &Column| match column {
        _ if column.is_missing(row) => Cell::Missing,
        Column::Float(values) => Cell::Float(values[row].to_bits()),
        Column::Int(values) => Cell::Int(values.get(row).unwrap()),
        Column::Text(values) => Cell::Text(values.get(row).unwrap().to_owned()),
        Column::Tensor(_) | Column::Image(_) => panic!("no schema here has a tensor"),
    };
    frame.columns().iter().map(cell).collect()
}

/// The decoder under test; `None` when it says that the body is not JSON, after a look at the place that it names.
fn fast(
    schema: &Schema,
    options: &DecodeOptions,
    frame: &mut Frame,
    body: &[u8],
) -> Option<Outcome> {
    let decoded = match schema.decode(body, options, frame) {
        Ok(decoded) => decoded,
        Err(error) => {
            assert!(error.offset <= body.len());
            let before = std::str::from_utf8(&body[..error.offset]).unwrap();
            let line = before.split('\n').next_back().unwrap();
            assert_eq!(error.line, before.split('\n').count());
            assert_eq!(error.column, line.chars().count() + 1);
            assert!(!error.problem.is_empty());
            assert_eq!(frame.n_rows(), 0);
            return None;
        }
    };
    assert!(frame.columns().iter().all(|column| column.len() == frame.n_rows()));
    assert_eq!(decoded.n_errors, decoded.errors.len());
    assert_eq!(decoded.kept.is_some(), decoded.n_errors > 0);
    let kept = decoded.kept.unwrap_or_else(|| (0..decoded.n_rows).collect());
    assert_eq!(kept.len(), frame.n_rows());
    // The inputs can be read by themselves.
    let inputs: &RawValue = serde_json::from_slice(&body[decoded.inputs.clone()]).unwrap();
    assert_eq!(inputs.get().len(), decoded.inputs.len());
    for error in &decoded.errors {
        assert!(!error.to_string().is_empty());
        assert!(decoded.form.pointer(error.row, error.field.as_deref()).starts_with('#'));
    }
    Some(Outcome {
        n_rows: decoded.n_rows,
        rows: kept
            .into_iter()
            .enumerate()
            .map(|(row, in_body)| (in_body, cells(frame, row)))
            .collect(),
        errors: decoded
            .errors
            .into_iter()
            .map(|error| (error.row, error.field, error.problem.code()))
            .collect(),
    })
}

/// An object as its pairs, doubles and all.
struct Pairs(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// The same by the rules as they are written down, one after the other.
fn slow(schema: &Schema, options: &DecodeOptions, body: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let mut faults = Vec::new();
    let body = body.trim_matches([' ', '\t', '\r', '\n']);
    let inputs: Option<String> = if body.starts_with('{') {
        let pairs: Pairs = serde_json::from_str(body).unwrap();
        let mut inputs = None;
        for (key, value) in pairs.0 {
            if key == "inputs" && inputs.is_some() {
                faults.push("duplicate_key");
            } else if key == "inputs" {
                inputs = Some(value.get().to_owned());
            } else if options.unknown_fields == UnknownFields::Reject {
                faults.push("unknown_field");
            }
        }
        if inputs.is_none() {
            faults = vec!["missing"];
        }
        inputs
    } else {
        Some(body.to_owned())
    };
    let rows: Vec<Box<RawValue>> = match &inputs {
        Some(inputs) if inputs.starts_with('[') => {
            let rows: Vec<Box<RawValue>> = serde_json::from_str(inputs).unwrap();
            if rows.is_empty() {
                faults.push("empty");
            }
            rows
        }
        Some(inputs) if inputs.starts_with('{') => vec![serde_json::from_str(inputs).unwrap()],
        Some(_) => {
            faults.push("type");
            Vec::new()
        }
        None => Vec::new(),
    };
    outcome.n_rows = rows.len();
    for (row, text) in rows.iter().enumerate().take(options.max_rows) {
        slow_row(schema, options, row, text.get(), &mut outcome);
    }
    if rows.len() > options.max_rows {
        faults.push("too_many_rows");
    }
    if !faults.is_empty() {
        // Within the faults only the codes are compared, not their order.
        outcome.rows.clear();
        let faults = faults.into_iter().map(|code| (None, None, code));
        outcome.errors.splice(0..0, faults);
    }
    outcome
}

fn slow_row(
    schema: &Schema,
    options: &DecodeOptions,
    row: usize,
    text: &str,
    outcome: &mut Outcome,
) {
    if !text.starts_with('{') {
        return outcome.error(row, None, "row_type");
    }
    let n_errors = outcome.errors.len();
    let pairs: Pairs = serde_json::from_str(text).unwrap();
    let mut cells: Vec<Option<Cell>> = vec![None; schema.fields().len()];
    for (key, value) in &pairs.0 {
        let is_key = |name: &String| name == key;
        let index = schema.fields().iter().position(|field| {
            is_key(&field.spec().name) || field.spec().aliases.iter().any(is_key)
        });
        match index {
            None if options.unknown_fields == UnknownFields::Reject => {
                outcome.error(row, Some(key), "unknown_field");
            }
            None => {}
            Some(index) if cells[index].is_some() => outcome.error(row, Some(key), "duplicate_key"),
            Some(index) => {
                let cell = slow_cell(schema, index, value.get());
                cells[index] = Some(cell.clone().unwrap_or(Cell::Missing));
                if let Err(code) = cell {
                    outcome.error(row, Some(key), code);
                }
            }
        }
    }
    let mut full = Vec::new();
    for (field, cell) in schema.fields().iter().zip(cells) {
        let spec = field.spec();
        full.push(match (cell, &spec.default) {
            (Some(cell), _) => cell,
            (None, Some(Scalar::Bool(value))) => Cell::Int(i64::from(*value)),
            (None, Some(Scalar::Int(value))) if field.kind() == Kind::Float => {
                Cell::Float(value.to_string().parse::<f64>().unwrap().to_bits())
            }
            (None, Some(Scalar::Int(value))) => Cell::Int(*value),
            (None, Some(Scalar::Float(value))) => Cell::Float(value.to_bits()),
            (None, Some(Scalar::Text(value))) => Cell::Text(value.clone()),
            (None, None) => {
                if spec.required {
                    outcome.error(row, Some(field.name()), "missing");
                }
                Cell::Missing
            }
        });
    }
    if outcome.errors.len() == n_errors {
        outcome.rows.push((row, full));
    }
}

fn slow_cell(schema: &Schema, index: usize, text: &str) -> Result<Cell, &'static str> {
    let field = &schema.fields()[index];
    let spec = field.spec();
    let is_number = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    let known = |value: Scalar| {
        spec.categories.as_ref().is_none_or(|known| !spec.enforce || known.contains(&value))
    };
    match field.kind() {
        _ if text == "null" => spec.nullable.then_some(Cell::Missing).ok_or("null"),
        Kind::Int if is_number => {
            let value = slow_integer(text)?;
            // Near enough: the bounds of the schema are small.
            let near = value.to_string().parse::<f64>().unwrap();
            match () {
                () if spec.enforce && field.minimum().is_some_and(|minimum| near < minimum) => {
                    Err("minimum")
                }
                () if spec.enforce && field.maximum().is_some_and(|maximum| near > maximum) => {
                    Err("maximum")
                }
                () if !known(Scalar::Int(value)) => Err("category"),
                () => Ok(Cell::Int(value)),
            }
        }
        Kind::Float if is_number => {
            let value = text.parse::<f64>().unwrap();
            // Two parsers agree.
            match serde_json::from_str::<f64>(text) {
                Ok(same) => assert_eq!(value.to_bits(), same.to_bits(), "{text}"),
                Err(_) => assert!(value.is_infinite(), "{text}"),
            }
            match () {
                () if !value.is_finite() => Err("not_finite"),
                () if spec.enforce && field.minimum().is_some_and(|minimum| value < minimum) => {
                    Err("minimum")
                }
                () if spec.enforce && field.maximum().is_some_and(|maximum| value > maximum) => {
                    Err("maximum")
                }
                () => Ok(Cell::Float(value.to_bits())),
            }
        }
        Kind::String if text.starts_with('"') => {
            let value: String = serde_json::from_str(text).unwrap();
            if known(Scalar::Text(value.clone())) { Ok(Cell::Text(value)) } else { Err("category") }
        }
        Kind::Datetime if text.starts_with('"') => {
            let value: String = serde_json::from_str(text).unwrap();
            super::datetime::parse(&value).map(Cell::Int).ok_or("datetime")
        }
        Kind::Bool if text == "true" => Ok(Cell::Int(1)),
        Kind::Bool if text == "false" => Ok(Cell::Int(0)),
        _ => Err("type"),
    }
}

/// Moves the decimal point in the text as far as the exponent says, and looks at what stands on either side.
fn slow_integer(text: &str) -> Result<i64, &'static str> {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |text| ("-", text));
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !digits.contains(|digit| matches!(digit, '1'..='9')) {
        return Ok(0);
    }
    let exponent: i128 = exponent.parse().unwrap();
    let far = 3_000;
    let shift = usize::try_from(exponent.clamp(-far, far) + far).unwrap();
    let padding = "0".repeat(2 * 3_000);
    let all = format!("{padding}{whole}{fraction}{padding}");
    let (whole, fraction) = all.split_at(padding.len() + whole.len() + shift - 3_000);
    if fraction.contains(|digit| digit != '0') {
        return Err("not_integer");
    }
    let whole = whole.trim_start_matches('0');
    format!("{sign}{whole}").parse().map_err(|_| "out_of_range")
}

/// Chance, from a seed: a row of choices is easier to follow than a tree of strategies.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let sides = u64::try_from(sides).unwrap();
        usize::try_from((word ^ (word >> 31)) % sides).unwrap()
    }

    fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }

    fn pick<'p>(&mut self, choices: &[&'p str]) -> &'p str {
        choices[self.roll(choices.len())]
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.roll(at + 1));
        }
    }

    fn space(&mut self) -> &'static str {
        self.pick(&["", "", "", " ", "\n", "\t \r\n"])
    }

    /// A string as JSON, in one of its many spellings.
    fn string(&mut self, text: &str) -> String {
        let escape_some = self.one_in(4);
        let mut json = String::from('"');
        for character in text.chars() {
            let must = character < ' ' || matches!(character, '"' | '\\');
            if must || (escape_some && self.one_in(3)) {
                match character {
                    '"' | '\\' | '/' if self.one_in(2) => json.extend(['\\', character]),
                    '\n' if self.one_in(2) => json.push_str(r"\n"),
                    _ => {
                        for unit in character.encode_utf16(&mut [0; 2]) {
                            let upper = self.one_in(2);
                            json.push_str(&if upper {
                                format!(r"\u{unit:04X}")
                            } else {
                                format!(r"\u{unit:04x}")
                            });
                        }
                    }
                }
            } else {
                json.push(character);
            }
        }
        json.push('"');
        json
    }

    fn digits(&mut self, n_digits: usize) -> String {
        (0..n_digits).map(|_| char::from(b'0' + u8::try_from(self.roll(10)).unwrap())).collect()
    }

    fn number(&mut self) -> String {
        if self.one_in(3) {
            return self
                .pick(&[
                    "0",
                    "-0",
                    "1",
                    "2",
                    "30",
                    "31",
                    "0.25",
                    "-0.5",
                    "1.0",
                    "2.0e0",
                    "300e-1",
                    "1e400",
                    "-1e400",
                    "1e-400",
                    "9223372036854775807",
                    "9223372036854775808",
                    "-9223372036854775808",
                    "-9223372036854775809.0",
                    "9007199254740993",
                    "9007199254740993.0",
                    "92233720368547758.07e2",
                    "92233720368547758.071e2",
                    "0.000000000000000000001e21",
                    "18446744073709551616",
                    "4.35",
                    "123e-22",
                    "1e23",
                    "0e5",
                    "1E+2",
                    "2.2250738585072011e-308",
                    "0.1e-1",
                    "9007199254740991e22",
                    "9007199254740993e22",
                ])
                .to_owned();
        }
        let mut number = self.pick(&["", "", "-"]).to_owned();
        let n_digits = [1, 2, 3, 8, 17, 19, 20, 25][self.roll(8)];
        let whole = self.digits(n_digits);
        let whole = whole.trim_start_matches('0');
        number.push_str(if whole.is_empty() { "0" } else { whole });
        if self.one_in(3) {
            number.push('.');
            let n_digits = 1 + self.roll(22);
            let fraction =
                if self.one_in(3) { "0".repeat(n_digits) } else { self.digits(n_digits) };
            number.push_str(&fraction);
        }
        if self.one_in(4) {
            number.push_str(self.pick(&["e", "E", "e+", "e-", "E-"]));
            let n_digits = 1 + self.roll(3);
            number.push_str(&self.digits(n_digits));
        }
        number
    }

    fn text(&mut self) -> String {
        let pieces = [
            "Pave",
            "Grvl",
            "é\n",
            "",
            "RL",
            "5",
            "null",
            "😀",
            "\"",
            "\\u0041",
            "\u{0}",
            "a longer piece of text",
        ];
        let n_pieces = [0, 1, 1, 1, 3][self.roll(5)];
        (0..n_pieces).map(|_| self.pick(&pieces)).collect()
    }

    /// Any value.
    fn value(&mut self, depth: usize) -> String {
        match self.roll(if depth == 0 { 5 } else { 8 }) {
            0 => "null".to_owned(),
            1 => "true".to_owned(),
            2 => "false".to_owned(),
            3 => self.number(),
            4 => {
                let text = self.text();
                self.string(&text)
            }
            5 => {
                let n_items = self.roll(4);
                let items: Vec<String> = (0..n_items).map(|_| self.value(depth - 1)).collect();
                self.list('[', &items, ']')
            }
            _ => {
                let keys = ["inputs", "LotArea", "", "x\\", "é"];
                let n_pairs = self.roll(4);
                let pairs: Vec<String> = (0..n_pairs)
                    .map(|_| {
                        let (key, value) = (self.pick(&keys), self.value(depth - 1));
                        self.pair(key, &value)
                    })
                    .collect();
                self.list('{', &pairs, '}')
            }
        }
    }

    fn list(&mut self, open: char, items: &[String], close: char) -> String {
        let mut list = format!("{open}{}", self.space());
        for (at, item) in items.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            list.push_str(&format!("{comma}{}{item}{}", self.space(), self.space()));
        }
        list.push(close);
        list
    }

    fn pair(&mut self, key: &str, value: &str) -> String {
        format!("{}{}:{}{value}", self.string(key), self.space(), self.space())
    }

    /// A value that is likely to be good for the field.
    fn value_of(&mut self, schema: &Schema, index: usize) -> String {
        let field = &schema.fields()[index];
        if self.one_in(40) {
            return self.value(2);
        }
        if field.spec().nullable && self.one_in(6) {
            return "null".to_owned();
        }
        match (field.kind(), field.spec().enforce) {
            (Kind::Datetime, _) => self
                .pick(&["\"2024-02-29\"", "\"2024-02-29T12:30:00.5Z\"", "\"2023-02-29\""])
                .to_owned(),
            (Kind::Bool, _) => self.pick(&["true", "false"]).to_owned(),
            (Kind::Int, true) => self.pick(&["1", "2", "2.0", "1", "20e-1"]).to_owned(),
            (Kind::Float, true) => self.pick(&["0", "-0.5", "1", "0.125", "-0"]).to_owned(),
            (Kind::String, true) => {
                let text = self.pick(&["Pave", "Grvl", "é\n"]);
                self.string(text)
            }
            (Kind::Int, false) => {
                let n_digits = 1 + self.roll(18);
                format!("1{}{}", self.digits(n_digits), self.pick(&["", ".0", "e0"]))
            }
            (Kind::Float, false) => self.number(),
            (Kind::Tensor | Kind::Image, _) => panic!("no schema here has a tensor"),
            (Kind::String, false) => {
                let text = self.text();
                self.string(&text)
            }
        }
    }

    fn row(&mut self, schema: &Schema) -> String {
        if self.one_in(40) {
            return self.value(2);
        }
        let mut pairs = Vec::new();
        for (index, field) in schema.fields().iter().enumerate() {
            let spec = field.spec();
            if self.one_in(if spec.required { 60 } else { 4 }) {
                continue;
            }
            for _ in 0..if self.one_in(60) { 2 } else { 1 } {
                let names: Vec<&str> =
                    [&spec.name].into_iter().chain(&spec.aliases).map(String::as_str).collect();
                let (key, value) = (self.pick(&names), self.value_of(schema, index));
                pairs.push(self.pair(key, &value));
            }
        }
        while self.one_in(3) {
            let (key, value) =
                (self.pick(&["Id", "lotarea", "Zon", "😀", "LotAre\u{0}"]), self.value(3));
            pairs.push(self.pair(key, &value));
        }
        if self.one_in(2) {
            self.shuffle(&mut pairs);
        }
        self.list('{', &pairs, '}')
    }

    fn rows(&mut self, schema: &Schema, n_rows: usize) -> Vec<String> {
        let mut rows: Vec<String> = (0..n_rows).map(|_| self.row(schema)).collect();
        // Rows with the same keys at the same places.
        if self.one_in(3)
            && let Some(first) = rows.first().cloned()
        {
            rows.resize(n_rows + 2, first);
        }
        rows
    }

    fn body(&mut self, schema: &Schema, n_rows: usize) -> String {
        let rows = self.rows(schema, n_rows);
        let inputs = match self.roll(12) {
            0 => self.row(schema),
            1 => self.value(2),
            _ => self.list('[', &rows, ']'),
        };
        if self.one_in(3) {
            return format!("{}{inputs}{}", self.space(), self.space());
        }
        let mut pairs = Vec::new();
        if !self.one_in(30) {
            pairs.push(self.pair("inputs", &inputs));
        }
        for key in ["id", "instances", "LotArea", "inputs"] {
            if self.one_in(12) {
                let value = self.value(3);
                pairs.push(self.pair(key, &value));
            }
        }
        self.shuffle(&mut pairs);
        let body = self.list('{', &pairs, '}');
        format!("{}{body}{}", self.space(), self.space())
    }
}

fn options(reject: bool, max_rows: usize) -> DecodeOptions {
    let unknown_fields = if reject { UnknownFields::Reject } else { UnknownFields::Ignore };
    DecodeOptions { unknown_fields, max_rows, max_errors: usize::MAX, ..DecodeOptions::default() }
}

/// Decodes in both ways, and leaves out what `serde_json` cannot say: it refuses numbers too large for a float.
fn compare(
    schema: &Schema,
    options: &DecodeOptions,
    frame: &mut Frame,
    body: &[u8],
) -> Option<Outcome> {
    let mut found = fast(schema, options, frame, body);
    let shown = String::from_utf8_lossy(body);
    match serde_json::from_slice::<serde_json::Value>(body) {
        Err(error) if error.to_string().starts_with("number out of range") => {}
        accepted => assert_eq!(found.is_some(), accepted.is_ok(), "{accepted:?}: {shown}"),
    }
    if let Some(found) = &mut found {
        let mut expected = slow(schema, options, std::str::from_utf8(body).unwrap());
        let n_faults = expected.errors.iter().filter(|error| error.0.is_none()).count();
        for outcome in [&mut *found, &mut expected] {
            outcome.errors[..n_faults].sort();
        }
        assert_eq!(*found, expected, "{shown}");
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn decoding_is_as_the_rules_say(seed: u64, n_rows in 0..6_usize, reject: bool, max_rows in 3..8_usize) {
        let schema = schema();
        let body = Dice(seed).body(&schema, n_rows);
        let found = compare(&schema, &options(reject, max_rows), &mut schema.frame(), body.as_bytes());
        prop_assert!(found.is_some(), "{}", body);
    }

    #[test]
    fn a_broken_body_is_refused_where_serde_json_refuses_it(seed: u64, n_rows in 0..3_usize, n_breaks in 1..4) {
        let schema = schema();
        let mut dice = Dice(seed);
        let mut body = dice.body(&schema, n_rows).into_bytes();
        for _ in 0..n_breaks {
            let (at, to) = (dice.roll(body.len()), dice.roll(body.len()));
            match dice.roll(4) {
                0 => body[at] = u8::try_from(dice.roll(256)).unwrap(),
                1 => body.insert(at, br#"{}[]",:\u0e.-+ tfn"#[dice.roll(18)]),
                2 => body.swap(at, to),
                _ if body.len() > 1 => drop(body.remove(at)),
                _ => {}
            }
        }
        compare(&schema, &options(false, 100), &mut schema.frame(), &body);
    }

    #[test]
    fn each_row_decodes_as_it_would_alone(seed: u64, n_rows in 1..6_usize, reject: bool) {
        let schema = schema();
        let options = options(reject, 100);
        let mut dice = Dice(seed);
        let rows = dice.rows(&schema, n_rows);
        let mut frame = schema.frame();
        let together = fast(&schema, &options, &mut frame, dice.list('[', &rows, ']').as_bytes()).unwrap();
        let mut appended = schema.frame();
        let mut expected = Outcome { n_rows: rows.len(), ..Outcome::default() };
        for (row, text) in rows.iter().enumerate() {
            let alone = fast(&schema, &options, &mut frame, format!(r#"[{text}]"#).as_bytes()).unwrap();
            expected.rows.extend(alone.rows.into_iter().map(|(_, cells)| (row, cells)));
            expected.errors.extend(alone.errors.into_iter().map(|(_, field, code)| (Some(row), field, code)));
            appended.append(&frame);
        }
        prop_assert_eq!(&together, &expected);
        let appended: Vec<_> = (0..appended.n_rows()).map(|row| cells(&appended, row)).collect();
        prop_assert_eq!(appended, expected.rows.into_iter().map(|(_, cells)| cells).collect::<Vec<_>>());
    }

    #[test]
    fn any_number_is_read_as_the_standard_library_reads_it(seed: u64) {
        let schema = Schema::load(serde_json::from_value(json!([
            {"name": "f", "type": "float"}, {"name": "i", "type": "int"}
        ])).unwrap()).unwrap();
        let mut dice = Dice(seed);
        for _ in 0..20 {
            let number = dice.number();
            let body = format!(r#"[{{"f": {number}, "i": 0}}, {{"f": 0, "i": {number}}}]"#);
            compare(&schema, &options(true, 2), &mut schema.frame(), body.as_bytes()).unwrap();
        }
    }
}

const BODY: &str = r#"{"meta": [1.5e-3, {"a": "\ud83d\ude00 \"", "b": [[], {}]}, true], "inputs": [
  {"LotArea": 8450, "LotFrontage": 65.0, "Zone": "R\u004c", "Air": false, "Code": 2, "Street": "Pave", "Share": -0.25},
  {"LotArea": 1e3,"LotFrontage":null,"MSZoning":"né😀","Id":[null,{}],"Code":1,"Street":"\u00e9\n","Share":1}]}
"#;

#[test]
fn a_body_cut_anywhere_is_refused_at_a_place_within_it() {
    let schema = schema();
    let mut frame = schema.frame();
    let good = compare(&schema, &options(true, 10), &mut frame, BODY.as_bytes()).unwrap();
    assert_eq!(good.errors.len(), 2, "{good:?}");
    for end in 0..BODY.trim_end().len() {
        assert_eq!(
            compare(&schema, &options(false, 10), &mut frame, &BODY.as_bytes()[..end]),
            None
        );
    }
}

#[test]
fn a_body_broken_at_any_byte_is_judged_as_serde_json_judges_it() {
    let schema = schema();
    let mut frame = schema.frame();
    let options = options(true, 10);
    for at in 0..BODY.len() {
        let mut body = BODY.as_bytes().to_vec();
        let before = body[at];
        let others = *b"{}[]\",:\\/u0159eE.-+ \t\n\rtnx\0\x1f\x7f\x80\xc3\xa9\xed\xf0\xff";
        for byte in others.into_iter().chain([before ^ 1, before ^ 0x20, before ^ 0x80]) {
            body[at] = byte;
            compare(&schema, &options, &mut frame, &body);
        }
        body[at] = before;
        body.insert(at, before);
        compare(&schema, &options, &mut frame, &body);
        body.drain(at..at + 2);
        compare(&schema, &options, &mut frame, &body);
    }
}
