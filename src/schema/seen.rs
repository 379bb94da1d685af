//! Short texts that a column has had lately. Columns of text often have few values.

/// A text of up to 15 bytes as a number, with its length in the last byte: equal where the texts are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Short(u128);

impl Short {
    const LONGEST: usize = 15;

    /// The text between two places in a longer one; `None` where it is too long, or no text.
    #[inline]
    pub(super) fn at(text: &[u8], start: usize, end: usize) -> Option<Self> {
        const BYTES_OF: [u128; Short::LONGEST + 1] = {
            let mut masks = [0; Short::LONGEST + 1];
            let mut len = 0;
            while len < masks.len() {
                masks[len] = (1 << (8 * len)) - 1;
                len += 1;
            }
            masks
        };
        let len = end.wrapping_sub(start);
        let bytes = BYTES_OF.get(len)?;
        match text.get(start..)?.first_chunk() {
            Some(word) => Some(Self(u128::from_le_bytes(*word) & bytes | (len as u128) << 120)),
            None => Self::of(text.get(start..end)?),
        }
    }

    /// A text by itself.
    #[inline]
    pub(crate) fn of(text: &[u8]) -> Option<Self> {
        let len = text.len();
        // The start and the end cover all of it. Where they overlap they are the same.
        let (start, end): (u128, u128) = match len {
            8..=Self::LONGEST => (
                u64::from_le_bytes(*text.first_chunk()?).into(),
                u64::from_le_bytes(*text.last_chunk()?).into(),
            ),
            4..=7 => (
                u32::from_le_bytes(*text.first_chunk()?).into(),
                u32::from_le_bytes(*text.last_chunk()?).into(),
            ),
            2..=3 => (
                u16::from_le_bytes(*text.first_chunk()?).into(),
                u16::from_le_bytes(*text.last_chunk()?).into(),
            ),
            1 => (text[0].into(), 0),
            0 => (0, 0),
            _ => return None,
        };
        let width = match len {
            8.. => 8,
            4.. => 4,
            2.. => 2,
            _ => len,
        };
        Some(Self(start | end << (8 * (len - width)) | (len as u128) << 120))
    }

    /// A number below 2^16 that hardly any other text has.
    #[inline]
    pub(crate) fn hash(self) -> usize {
        #[expect(clippy::cast_possible_truncation, reason = "the halves of the number")]
        let (start, end) = (self.0 as u64, (self.0 >> 64) as u64);
        // The fractional part of the golden ratio spreads what is close together.
        let mixed = (start ^ end.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 48) as usize
    }
}

/// Short texts, and the entries of their column.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    /// [`Self::NONE`] where there is none.
    keys: [Short; Self::N],
    codes: [u32; Self::N],
    is_empty: bool,
}

impl Default for Seen {
    fn default() -> Self {
        Self { keys: [Self::NONE; Self::N], codes: [0; Self::N], is_empty: true }
    }
}

impl Seen {
    const N: usize = 128;
    /// No text is as long.
    const NONE: Short = Short(u128::MAX);

    #[inline]
    fn place(key: Short) -> usize {
        key.hash() % Self::N
    }

    /// The entry of a text, if it was noted lately.
    #[inline]
    pub(super) fn find(&self, key: Short) -> Option<u32> {
        let place = Self::place(key);
        if self.keys[place] == key {
            return Some(self.codes[place]);
        }
        (self.keys[place ^ 1] == key).then(|| self.codes[place ^ 1])
    }

    /// Notes the entry of a text.
    pub(super) fn note(&mut self, key: Short, code: u32) {
        let place = Self::place(key);
        // Of two that are there the first one stays: it has come first, so it may be the more frequent one.
        let free = if self.keys[place] == Self::NONE { place } else { place ^ 1 };
        self.keys[free] = key;
        self.codes[free] = code;
        self.is_empty = false;
    }

    /// Forgets all texts.
    pub(super) fn clear(&mut self) {
        if !self.is_empty {
            self.keys = [Self::NONE; Self::N];
            self.is_empty = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// Texts are the same exactly where their numbers are, wherever they stand.
        #[test]
        fn short_texts_are_told_apart(a in "[ab\u{0}]{0,17}", b in "[ab\u{0}]{0,17}", before in "[ab]{0,3}", behind in "[ab]{0,20}") {
            let text = format!("{before}{a}{behind}");
            let at = Short::at(text.as_bytes(), before.len(), before.len() + a.len());
            let (short, other) = (Short::of(a.as_bytes()), Short::of(b.as_bytes()));
            proptest::prop_assert_eq!(at, short);
            proptest::prop_assert_eq!(short.is_some(), a.len() <= Short::LONGEST);
            proptest::prop_assert_eq!(short == other, a == b || short.is_none() && other.is_none());
        }
    }

    #[test]
    fn what_was_noted_is_found_or_forgotten_but_never_another() {
        let mut seen = Seen::default();
        let key = |at: u32| Short::of(at.to_string().as_bytes()).unwrap();
        for at in 0..1000 {
            assert_eq!(seen.find(key(at)), None);
            seen.note(key(at), at);
            assert_eq!(seen.find(key(at)), Some(at));
        }
        let found = (0..1000)
            .filter(|at| seen.find(key(*at)).inspect(|code| assert_eq!(code, at)).is_some());
        assert!(found.count() > 64);
        seen.clear();
        assert!((0..1000).all(|at| seen.find(key(at)).is_none()));
    }
}
