//! What an ONNX file says of itself, as far as ONNX Runtime does not tell: read straight from its protobuf text, unchecked.
//!
//! Knows the few fields of `onnx.proto3` that are needed. A file that is none gives `None` or holes, never an error: whether it is a graph, ONNX
//! Runtime decides.

use std::collections::BTreeSet;

/// What an ONNX file says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GraphFile {
    /// The version of the file format.
    pub ir_version: u64,
    /// The operator sets that it was written for: domain (empty for ONNX's own) and version.
    pub opsets: Vec<(String, u64)>,
    /// The program that wrote it, with its version.
    pub producer: String,
    /// The files beside it that hold weights, relative, as they are written.
    pub external: Vec<String>,
    /// The class labels that its classifiers or `ZipMap` list.
    pub labels: Vec<ClassLabels>,
}

/// The labels that an operator lists, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClassLabels {
    /// Integers.
    Ints(Vec<i64>),
    /// Strings.
    Texts(Vec<String>),
}

impl GraphFile {
    /// Reads a file; `None` when it is no protobuf at all.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut file = Self::default();
        let mut external = BTreeSet::new();
        let (mut name, mut version) = (String::new(), String::new());
        for field in Fields(bytes) {
            match field? {
                (1, Payload::Number(number)) => file.ir_version = number,
                (2, Payload::Bytes(text)) => name = string(text),
                (3, Payload::Bytes(text)) => version = string(text),
                (7, Payload::Bytes(graph)) => file.graph(graph, &mut external)?,
                (8, Payload::Bytes(opset)) => {
                    let mut entry = (String::new(), 0);
                    for field in Fields(opset) {
                        match field? {
                            (1, Payload::Bytes(domain)) => entry.0 = string(domain),
                            (2, Payload::Number(number)) => entry.1 = number,
                            _ => {}
                        }
                    }
                    file.opsets.push(entry);
                }
                // Functions have nodes as well.
                (25, Payload::Bytes(function)) => {
                    for field in Fields(function) {
                        if let (7, Payload::Bytes(node)) = field? {
                            file.node(node, &mut external)?;
                        }
                    }
                }
                _ => {}
            }
        }
        file.producer = format!("{name} {version}").trim().to_owned();
        file.external = external.into_iter().collect();
        Some(file)
    }

    /// The version of ONNX's own operator set; 0 when it is not said.
    #[must_use]
    pub fn opset(&self) -> u64 {
        let own = |domain: &str| domain.is_empty() || domain == "ai.onnx";
        self.opsets.iter().find(|(domain, _)| own(domain)).map_or(0, |(_, version)| *version)
    }

    fn graph(&mut self, graph: &[u8], external: &mut BTreeSet<String>) -> Option<()> {
        for field in Fields(graph) {
            match field? {
                (1, Payload::Bytes(node)) => self.node(node, external)?,
                (5, Payload::Bytes(tensor)) => read_external(tensor, external)?,
                // Of a sparse tensor, its values and indices.
                (15, Payload::Bytes(sparse)) => {
                    for field in Fields(sparse) {
                        if let (1 | 2, Payload::Bytes(tensor)) = field? {
                            read_external(tensor, external)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Some(())
    }

    fn node(&mut self, node: &[u8], external: &mut BTreeSet<String>) -> Option<()> {
        for field in Fields(node) {
            let (5, Payload::Bytes(attribute)) = field? else { continue };
            let (mut name, mut ints, mut texts) = (String::new(), Vec::new(), Vec::new());
            for field in Fields(attribute) {
                match field? {
                    (1, Payload::Bytes(text)) => name = string(text),
                    (5 | 10, Payload::Bytes(tensor)) => read_external(tensor, external)?,
                    (6 | 11, Payload::Bytes(graph)) => self.graph(graph, external)?,
                    (8, Payload::Number(number)) => ints.push(number.cast_signed()),
                    (8, Payload::Bytes(mut packed)) => {
                        while !packed.is_empty() {
                            ints.push(varint(&mut packed)?.cast_signed());
                        }
                    }
                    (9, Payload::Bytes(text)) => texts.push(string(text)),
                    _ => {}
                }
            }
            match name.as_str() {
                "classlabels_int64s" | "classlabels_ints" if !ints.is_empty() => {
                    self.labels.push(ClassLabels::Ints(ints));
                }
                "classlabels_strings" if !texts.is_empty() => {
                    self.labels.push(ClassLabels::Texts(texts));
                }
                _ => {}
            }
        }
        Some(())
    }
}

/// Adds the file that a tensor's values are in, if they are in one.
fn read_external(tensor: &[u8], external: &mut BTreeSet<String>) -> Option<()> {
    for field in Fields(tensor) {
        let (13, Payload::Bytes(entry)) = field? else { continue };
        let (mut key, mut value) = (String::new(), String::new());
        for field in Fields(entry) {
            match field? {
                (1, Payload::Bytes(text)) => key = string(text),
                (2, Payload::Bytes(text)) => value = string(text),
                _ => {}
            }
        }
        if key == "location" {
            external.insert(value);
        }
    }
    Some(())
}

fn string(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What a field holds.
enum Payload<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// The fields of a message; `None` in place of one that is broken, and nothing after it.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(u64, Payload<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = field(&mut self.0);
        if field.is_none() {
            self.0 = &[];
        }
        Some(field)
    }
}

fn field<'a>(rest: &mut &'a [u8]) -> Option<(u64, Payload<'a>)> {
    let tag = varint(rest)?;
    let mut take = |n: usize| {
        let (head, tail) = rest.split_at_checked(n)?;
        *rest = tail;
        Some(head)
    };
    let payload = match tag & 7 {
        0 => Payload::Number(varint(rest)?),
        1 => take(8).map(|_| Payload::Other)?,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            let (head, tail) = rest.split_at_checked(length)?;
            *rest = tail;
            Payload::Bytes(head)
        }
        5 => take(4).map(|_| Payload::Other)?,
        _ => return None,
    };
    Some((tag >> 3, payload))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, tail) = rest.split_first()?;
        *rest = tail;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(name: &str) -> GraphFile {
        let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/graphs");
        GraphFile::read(&std::fs::read(dir.join(name)).unwrap()).unwrap()
    }

    #[test]
    fn a_file_says_what_it_was_written_for_and_where_its_weights_are() {
        let file = graph("external.onnx");
        assert_eq!((file.ir_version, file.opset()), (10, 18));
        assert_eq!(file.external, ["weights.bin"]);
        assert_eq!(file.producer, "make_graphs.py");
        assert_eq!(graph("outputs.onnx").external, [""; 0]);
        assert_eq!(graph("future.onnx").opset(), 9999);
    }

    #[test]
    fn a_broken_file_is_no_trouble() {
        assert_eq!(GraphFile::read(b"not a graph\n"), None);
        let whole = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/fixtures/graphs/external.onnx");
        let whole = std::fs::read(whole).unwrap();
        for end in 0..whole.len() {
            let _whatever = GraphFile::read(&whole[..end]);
        }
    }
}
