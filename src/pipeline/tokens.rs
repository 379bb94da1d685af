//! Text as a bag of words: counts, weights, hashes; sparse rows.

use hashbrown::{HashMap, HashSet};
use serde::Deserialize;

use super::column::{Slots, SparseBlock};
use super::hash::{Buckets, BucketsSpec};
use super::text::{Pattern, Source};
use super::unicode::{self, Accents, Shadow};
use super::weigh::{Norm, Weights, refuse};
use super::{Operation, PipelineError, Plan, Run, Slot};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokensSpec {
    column: String,
    #[serde(default)]
    lowercase: bool,
    #[serde(default)]
    strip_accents: Option<Accents>,
    analyzer: Analyzer,
    #[serde(default)]
    token: Option<TokenSpec>,
    ngrams: [usize; 2],
    #[serde(default)]
    stop_words: Vec<String>,
    #[serde(default)]
    vocabulary: Option<Vec<String>>,
    #[serde(default)]
    hash: Option<BucketsSpec>,
    #[serde(default)]
    binary: bool,
    #[serde(default)]
    sublinear: bool,
    #[serde(default)]
    idf: Option<Vec<Option<f64>>>,
    #[serde(default)]
    norm: Option<Norm>,
    outputs: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Analyzer {
    Word,
    Char,
    CharWb,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum TokenSpec {
    /// Runs of at least so many word characters.
    Word(usize),
    /// What a regular expression matches: its group 1, if it has one.
    Pattern(String),
}

/// Counts the tokens of a text, and weighs the counts: `binary`, `sublinear`, `idf`, `norm`, in this order.
///
/// - Input: a column of text; a missing value counts as one without tokens. Output: a float64 column for each term or hash, held
///   as sparse rows.
/// - Order: lower case, then accents, then the analyzer, then the table or the hash. Sums run over the terms in ascending order.
/// - Same as `CountVectorizer`, `TfidfVectorizer`, `TfidfTransformer` and `HashingVectorizer` of scikit-learn 1.2 to 1.9.
#[derive(Debug)]
pub(super) struct TokensStep {
    step: usize,
    column: String,
    input: Source,
    /// The first of as many slots as there are outputs.
    output: Slot,
    lowercase: bool,
    accents: Option<Accents>,
    analyzer: Analyzer,
    token: Token,
    ngrams: (usize, usize),
    stop_words: HashSet<Box<str>>,
    lookup: Lookup,
    weights: Weights,
}

#[derive(Debug)]
enum Token {
    Word(usize),
    Pattern(Pattern, usize),
}

#[derive(Debug)]
enum Lookup {
    Vocabulary(HashMap<Box<str>, u32>),
    Hash(Buckets),
}

pub(super) fn load(plan: &mut Plan, spec: TokensSpec) -> Result<(), PipelineError> {
    let input = Source::load(plan, &spec.column)?;
    let wrong = |problem: String| plan.error(Some(&spec.column), problem);
    let n = u32::try_from(spec.outputs.len())
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| wrong(format!("{} outputs", spec.outputs.len())))?;
    let lookup = match (spec.vocabulary, spec.hash) {
        (Some(vocabulary), None) => {
            if vocabulary.len() != spec.outputs.len() {
                return Err(wrong(format!(
                    "{} terms, but {} outputs",
                    vocabulary.len(),
                    spec.outputs.len()
                )));
            }
            let mut table = HashMap::with_capacity(vocabulary.len());
            for (term, at) in vocabulary.iter().zip(0..n) {
                if table.insert(Box::from(term.as_str()), at).is_some() {
                    return Err(wrong(format!("the term {term:?} is listed twice")));
                }
            }
            Lookup::Vocabulary(table)
        }
        (None, Some(hash)) => Lookup::Hash(Buckets::load(hash, n).map_err(wrong)?),
        _ => return Err(wrong("one of `vocabulary` and `hash` is needed".to_owned())),
    };
    let mut weights =
        Weights::load(spec.binary, spec.sublinear, spec.idf, spec.norm, n).map_err(wrong)?;
    if let Lookup::Hash(buckets) = &lookup {
        buckets.spread(&mut weights);
    }
    let [least, most] = spec.ngrams;
    if least < 1 || most < least {
        return Err(wrong(format!("the range of n-grams is {least} to {most}")));
    }
    let token = match spec.token {
        None if spec.analyzer != Analyzer::Word => Token::Word(1),
        None => return Err(wrong("the analyzer `word` needs `token`".to_owned())),
        Some(_) if spec.analyzer != Analyzer::Word => {
            return Err(wrong("`token` is for the analyzer `word`".to_owned()));
        }
        Some(TokenSpec::Word(0)) => {
            return Err(wrong("a token has at least one character".to_owned()));
        }
        Some(TokenSpec::Word(least)) => Token::Word(least),
        Some(TokenSpec::Pattern(pattern)) => {
            let pattern = Pattern::load(&pattern).map_err(wrong)?;
            match pattern.regex().captures_len() - 1 {
                groups @ (0 | 1) => Token::Pattern(pattern, groups),
                groups => {
                    return Err(wrong(format!(
                        "the pattern of a token has {groups} groups, expected one at most"
                    )));
                }
            }
        }
    };
    let output = plan.derive_block(&[input.slot], &spec.outputs)?;
    plan.operations.push(Operation::Tokens(Box::new(TokensStep {
        step: plan.index,
        column: spec.column,
        input,
        output,
        lowercase: spec.lowercase,
        accents: spec.strip_accents,
        analyzer: spec.analyzer,
        token,
        ngrams: (least, most),
        stop_words: spec.stop_words.into_iter().map(String::into_boxed_str).collect(),
        lookup,
        weights,
    })));
    Ok(())
}

/// Texts on their way to tokens.
#[derive(Default)]
struct Scratch {
    text: String,
    other: String,
    shadow: Shadow,
    /// Start and end of each token, or of each character.
    tokens: Vec<(usize, usize)>,
    joined: String,
    found: Vec<(u32, f64)>,
}

impl TokensStep {
    pub(super) fn run(&self, slots: &mut Slots<'_>, n_rows: usize, run: &mut Run<'_>) {
        let (before, outputs) = slots.split(self.output, 1);
        let column = before.read(self.input.slot);
        let block = outputs[0].as_sparse();
        let mut scratch = Scratch::default();
        for row in 0..n_rows {
            scratch.text.clear();
            scratch.found.clear();
            if self.input.write(column, row, &mut scratch.text) {
                self.prepare(&mut scratch);
                self.tokens(&mut scratch);
            }
            if let Some(wild) = self.weigh(&mut scratch.found, block) {
                refuse(wild, row, self.step, self.input.slot, &self.column, run);
            }
        }
    }

    /// Lower case and accents.
    fn prepare(&self, scratch: &mut Scratch) {
        let Scratch { text, other, .. } = scratch;
        if self.lowercase {
            other.clear();
            unicode::lower(text, other);
            std::mem::swap(text, other);
        }
        if let Some(accents) = self.accents {
            other.clear();
            accents.strip(text, other);
            std::mem::swap(text, other);
        }
        if self.analyzer != Analyzer::Word {
            // Two and more white spaces become one.
            other.clear();
            let mut rest = text.as_str();
            while let Some(start) = rest.find(unicode::is_space) {
                other.push_str(&rest[..start]);
                let after = rest[start..].trim_start_matches(unicode::is_space);
                let spaces = &rest[start..rest.len() - after.len()];
                other.push_str(if spaces.chars().nth(1).is_some() { " " } else { spaces });
                rest = after;
            }
            other.push_str(rest);
            std::mem::swap(text, other);
        }
    }

    fn tokens(&self, scratch: &mut Scratch) {
        let Scratch { text, other, shadow, tokens, joined, found } = scratch;
        let (least, most) = self.ngrams;
        match self.analyzer {
            Analyzer::Word => {
                self.words(text, shadow, tokens);
                for n in least..=most.min(tokens.len()) {
                    for words in tokens.windows(n) {
                        if let [(start, end)] = words {
                            self.count(&text[*start..*end], found);
                            continue;
                        }
                        joined.clear();
                        for (at, (start, end)) in words.iter().enumerate() {
                            if at > 0 {
                                joined.push(' ');
                            }
                            joined.push_str(&text[*start..*end]);
                        }
                        self.count(joined, found);
                    }
                }
            }
            Analyzer::Char => {
                characters(text, tokens);
                for n in least..=most.min(tokens.len()) {
                    for chars in tokens.windows(n) {
                        self.count(&text[chars[0].0..chars[n - 1].1], found);
                    }
                }
            }
            Analyzer::CharWb => {
                for word in text.split(unicode::is_space).filter(|word| !word.is_empty()) {
                    other.clear();
                    other.push(' ');
                    other.push_str(word);
                    other.push(' ');
                    characters(other, tokens);
                    for n in least..=most {
                        if n >= tokens.len() {
                            // A short word is counted once.
                            self.count(other, found);
                            break;
                        }
                        for chars in tokens.windows(n) {
                            self.count(&other[chars[0].0..chars[n - 1].1], found);
                        }
                    }
                }
            }
        }
    }

    /// Finds the words that are not stop words.
    fn words(&self, text: &str, shadow: &mut Shadow, tokens: &mut Vec<(usize, usize)>) {
        tokens.clear();
        let mut push = |start: usize, end: usize| {
            if self.stop_words.is_empty() || !self.stop_words.contains(&text[start..end]) {
                tokens.push((start, end));
            }
        };
        match &self.token {
            Token::Word(least) => {
                let (mut start, mut n) = (0, 0);
                for (at, c) in text.char_indices() {
                    if unicode::is_word(c) {
                        if n == 0 {
                            start = at;
                        }
                        n += 1;
                    } else {
                        if n >= *least {
                            push(start, at);
                        }
                        n = 0;
                    }
                }
                if n >= *least {
                    push(start, text.len());
                }
            }
            Token::Pattern(pattern, 0) => {
                for found in pattern.regex().find_iter(pattern.haystack(text, shadow)) {
                    push(found.start(), found.end());
                }
            }
            Token::Pattern(pattern, group) => {
                for found in pattern.regex().captures_iter(pattern.haystack(text, shadow)) {
                    // A group that took no part in the match is an empty string in `re.findall`.
                    let (start, end) =
                        found.get(*group).map_or((0, 0), |found| (found.start(), found.end()));
                    push(start, end);
                }
            }
        }
    }

    fn count(&self, term: &str, found: &mut Vec<(u32, f64)>) {
        match &self.lookup {
            Lookup::Vocabulary(table) => {
                if let Some(at) = table.get(term) {
                    found.push((*at, 1.0));
                }
            }
            Lookup::Hash(buckets) => found.push(buckets.of(term.as_bytes())),
        }
    }

    /// Sums what was found, weighs it, and appends it as a row. The answer is what a norm does not take.
    fn weigh(&self, found: &mut [(u32, f64)], block: &mut SparseBlock) -> Option<f64> {
        found.sort_unstable_by_key(|(at, _)| *at);
        let start = block.begin_row();
        for (at, value) in found.iter() {
            // Sums of 1 and -1 are exact in any order.
            block.add(*at, *value, start);
        }
        let (indices, values) = block.row_mut(start);
        let wild = self.weights.apply(indices, values);
        if let Lookup::Hash(buckets) = &self.lookup {
            buckets.keep(block, start);
        }
        block.end_row();
        wild
    }
}

fn characters(text: &str, spans: &mut Vec<(usize, usize)>) {
    spans.clear();
    spans.extend(text.char_indices().map(|(at, c)| (at, at + c.len_utf8())));
}
