//! Characters as Python's `str` and `re` class them, where Rust's classes are others.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::{canonical_combining_class, is_combining_mark};

/// `str.isspace`, hence `\s` of `re`: Unicode's white space and the four separators of ASCII.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `\w` of Python's `re`: letters, numbers of any kind, and `_`.
pub(super) fn is_word(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || c == '_';
    }
    // Rust calls some marks and circled letters alphabetic.
    (c.is_alphabetic() && !is_combining_mark(c) && !is_circled(c)) || c.is_numeric()
}

fn is_circled(c: char) -> bool {
    matches!(c, '\u{24b6}'..='\u{24e9}' | '\u{1f130}'..='\u{1f149}' | '\u{1f150}'..='\u{1f169}' | '\u{1f170}'..='\u{1f189}')
}

/// `\w` of the regex crate, outside ASCII.
fn is_regex_word(c: char) -> bool {
    c.is_alphabetic()
        || is_combining_mark(c)
        || decimal(c).is_some()
        || matches!(c, '\u{200c}' | '\u{200d}')
        || matches!(
            c,
            '\u{203f}' | '\u{2040}' | '\u{2054}' | '\u{fe33}' | '\u{fe34}' | '\u{fe4d}'
                ..='\u{fe4f}' | '\u{ff3f}'
        )
}

/// The digit zero of each script, but ASCII's: Unicode 14's category Nd.
const ZEROS: [u32; 65] = [
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xDE6,
    0xE50, 0xED0, 0xF20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50,
    0x1BB0, 0x1C40, 0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10,
    0x104A0, 0x10D30, 0x11066, 0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650,
    0x116C0, 0x11730, 0x118E0, 0x11950, 0x11C50, 0x11D50, 0x11DA0, 0x16A60, 0x16AC0, 0x16B50,
    0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E950, 0x1FBF0,
];

/// The value of a decimal digit of any script but ASCII's.
pub(super) fn decimal(c: char) -> Option<u8> {
    let code = u32::from(c);
    let zero = ZEROS[..ZEROS.partition_point(|zero| *zero <= code)].last()?;
    u8::try_from(code - zero).ok().filter(|digit| *digit < 10)
}

/// `str.lower`.
pub(super) fn lower(text: &str, output: &mut String) {
    if text.contains('Σ') {
        // The form of a sigma depends on what stands around it.
        output.push_str(&text.to_lowercase());
    } else {
        text.chars().for_each(|c| output.extend(c.to_lowercase()));
    }
}

/// What to do with accents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Accents {
    /// Decompose, and keep what is ASCII.
    Ascii,
    /// Decompose, and leave out combining characters.
    Unicode,
}

impl Accents {
    /// `strip_accents_ascii` and `strip_accents_unicode` of scikit-learn.
    pub(super) fn strip(self, text: &str, output: &mut String) {
        match self {
            _ if text.is_ascii() => output.push_str(text),
            Self::Ascii => output.extend(text.nfkd().filter(char::is_ascii)),
            Self::Unicode => {
                output.extend(text.nfkd().filter(|c| canonical_combining_class(*c) == 0));
            }
        }
    }
}

/// A text in which characters that Python and the regex crate class differently are replaced by others of the same length that
/// both class as Python does, so that `\b` is where Python sees it.
#[derive(Debug, Default)]
pub(super) struct Shadow {
    text: String,
}

impl Shadow {
    pub(super) fn of<'a>(&'a mut self, text: &'a str) -> &'a str {
        let differs = |c: char| !c.is_ascii() && is_word(c) != is_regex_word(c);
        if !text.contains(differs) {
            return text;
        }
        self.text.clear();
        self.text.extend(text.chars().map(|c| match (differs(c), is_word(c), c.len_utf8()) {
            (false, ..) => c,
            (true, true, 2) => 'ª',
            (true, true, 3) => 'あ',
            (true, true, _) => '\u{20000}',
            (true, false, 2) => '¦',
            (true, false, 3) => '•',
            (true, false, _) => '\u{1f600}',
        }));
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shadow_has_the_words_of_python() {
        let boundary = regex::Regex::new(r"\b").unwrap();
        let word = regex::Regex::new(r"^\w$").unwrap();
        // The tables of the crates are not all of the same version; none is older than this.
        let known = regex::Regex::new(r"^\p{Age:14.0}$").unwrap();
        for c in (0..=0x10_ffff).filter_map(char::from_u32) {
            let text = c.to_string();
            if !known.is_match(&text) {
                continue;
            }
            let mut shadow = Shadow::default();
            let seen = shadow.of(&text);
            assert_eq!(seen.len(), text.len());
            assert_eq!(boundary.is_match(seen), is_word(c), "{:x}", u32::from(c));
            if !c.is_ascii() {
                assert_eq!(word.is_match(&text), is_regex_word(c), "{:x}", u32::from(c));
            }
        }
    }

    #[test]
    fn accents_are_stripped() {
        let strip = |accents: Accents, text: &str| {
            let mut output = String::new();
            accents.strip(text, &mut output);
            output
        };
        assert_eq!(strip(Accents::Unicode, "Ŀâé ﬁ"), "L·ae fi");
        assert_eq!(strip(Accents::Ascii, "Ŀâé ﬁß"), "Lae fi");
    }
}
