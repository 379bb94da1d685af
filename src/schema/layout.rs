//! The keys of the rows before, in their order and their spelling.
//!
//! Rows that come from one program have the same keys in the same order, so that a key is found by comparing what leads to its value with
//! what led to it before: the comma, the key, the colon and the white space between them, in two comparisons of sixteen bytes.

/// Bytes of a lead that are compared at once.
const HEAD: usize = 32;
const HALF: usize = HEAD / 2;

/// For each length of a lead which bits of its first bytes count.
static MASKS: [[u128; 2]; HEAD + 1] = {
    let mut masks = [[0; 2]; HEAD + 1];
    let mut length = 0;
    while length <= HEAD {
        let mut byte = 0;
        while byte < length {
            masks[length][byte / HALF] |= 0xff << (8 * (byte % HALF));
            byte += 1;
        }
        length += 1;
    }
    masks
};

/// What led to a value in an earlier row: all from behind the value before it, or from the opening quote of a row's first key.
#[derive(Debug, Clone)]
pub(super) struct Lead {
    head: [u128; 2],
    /// What does not fit the head.
    tail: Box<[u8]>,
    /// Bytes of the head that are used.
    length: usize,
    /// Where in it the key's opening quote stands.
    quote: usize,
    /// The field of the key.
    pub(super) field: Option<usize>,
}

impl Lead {
    /// `quote` is where in `text` the key begins.
    fn new(text: &[u8], quote: usize, field: Option<usize>) -> Self {
        let (head, tail) = text.split_at(text.len().min(HEAD));
        let mut bytes = [0; HEAD];
        bytes[..head.len()].copy_from_slice(head);
        Self { head: words(&bytes), tail: tail.into(), length: head.len(), quote, field }
    }

    /// Where in it the key begins.
    #[inline]
    pub(super) fn quote(&self) -> usize {
        self.quote
    }

    /// The number of bytes that it is long, if `text` begins with it.
    #[inline]
    pub(super) fn begins(&self, text: &[u8]) -> Option<usize> {
        let Some(head) = text.first_chunk::<HEAD>() else { return self.begins_short(text) };
        let (head, mask) = (words(head), &MASKS[self.length.min(HEAD)]);
        let differs = ((head[0] ^ self.head[0]) & mask[0]) | ((head[1] ^ self.head[1]) & mask[1]);
        if differs != 0 {
            return None;
        }
        if self.tail.is_empty() {
            return Some(self.length);
        }
        text[HEAD..].starts_with(&self.tail).then_some(HEAD + self.tail.len())
    }

    /// The same near the end of a text.
    #[cold]
    fn begins_short(&self, text: &[u8]) -> Option<usize> {
        let is_next = self.tail.is_empty() && text.starts_with(&self.bytes()[..self.length]);
        is_next.then_some(self.length)
    }

    /// As [`Self::begins`], without what stands before the key.
    pub(super) fn key_begins(&self, text: &[u8]) -> Option<usize> {
        let bytes = self.bytes();
        let head = bytes.get(self.quote..self.length)?;
        let rest = text.strip_prefix(head)?;
        rest.starts_with(&self.tail).then_some(head.len() + self.tail.len())
    }

    fn bytes(&self) -> [u8; HEAD] {
        let mut bytes = [0; HEAD];
        let (first, second) = bytes.split_at_mut(HALF);
        first.copy_from_slice(&self.head[0].to_le_bytes());
        second.copy_from_slice(&self.head[1].to_le_bytes());
        bytes
    }
}

fn words(bytes: &[u8; HEAD]) -> [u128; 2] {
    let half = |at: usize| {
        let mut half = [0; HALF];
        half.copy_from_slice(&bytes[at..at + HALF]);
        u128::from_le_bytes(half)
    };
    [half(0), half(HALF)]
}

/// The leads of a row, in their order. Those beyond [`Self::MOST`] and very long ones are looked up each time.
#[derive(Debug, Clone, Default)]
pub(super) struct Layout {
    /// The plan whose fields are meant.
    plan: u64,
    leads: Vec<Lead>,
    /// Bytes of leads that did not fit their heads.
    n_bytes: usize,
}

impl Layout {
    /// Leads of a row that are kept.
    pub(super) const MOST: usize = 4_096;
    /// A longer one is never found.
    const LONGEST: usize = 1_024;
    /// More is not kept from one request to the next.
    const MOST_KEPT: usize = 512;
    const MOST_BYTES_KEPT: usize = 32 * 1024;

    /// Whether these are leads of this plan, so that the frame with them has its columns.
    pub(super) fn is_of(&self, plan: u64) -> bool {
        self.plan == plan
    }

    /// Forgets the leads of another plan.
    pub(super) fn belong_to(&mut self, plan: u64) {
        if self.plan != plan {
            *self = Self { plan, ..Self::default() };
        }
    }

    /// Forgets what is too much to be kept for the next request.
    pub(super) fn settle(&mut self) {
        if self.leads.len() > Self::MOST_KEPT || self.n_bytes > Self::MOST_BYTES_KEPT {
            *self = Self { plan: self.plan, ..Self::default() };
        }
    }

    /// What is expected as the row's key of this number.
    #[inline]
    pub(super) fn get(&self, at: usize) -> Option<&Lead> {
        self.leads.get(at)
    }

    /// Says what led to the row's value of this number.
    pub(super) fn set(&mut self, at: usize, text: &[u8], quote: usize, field: Option<usize>) {
        // No text in UTF-8 begins with this byte.
        let (text, quote) =
            if text.len() > Self::LONGEST { (&[0xff][..], 0) } else { (text, quote) };
        let lead = Lead::new(text, quote, field);
        self.n_bytes += lead.tail.len();
        if let Some(known) = self.leads.get_mut(at) {
            self.n_bytes -= known.tail.len();
            *known = lead;
        } else if at == self.leads.len() && at < Self::MOST {
            self.leads.push(lead);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lead_is_found_whatever_its_length_and_wherever_the_text_ends() {
        for length in [1, 2, 15, 16, 17, 31, 32, 33, 64, 200] {
            let key = format!("\"{}\":", "k".repeat(length));
            let lead = format!(", {key} ");
            let known = Lead::new(lead.as_bytes(), 2, Some(0));
            for rest in ["", "1", "1}]", &"1, ".repeat(40)] {
                let text = format!("{lead}{rest}");
                assert_eq!(known.begins(text.as_bytes()), Some(lead.len()), "{text}");
                assert_eq!(known.key_begins(&text.as_bytes()[2..]), Some(lead.len() - 2), "{text}");
                for at in 0..lead.len() {
                    let mut other = text.clone().into_bytes();
                    other[at] ^= 1;
                    assert_eq!(known.begins(&other), None, "{text} at {at}");
                    assert_eq!(known.begins(&text.as_bytes()[..at]), None, "{text} up to {at}");
                }
            }
        }
    }

    #[test]
    fn much_is_forgotten_after_a_request() {
        let mut layout = Layout::default();
        for at in 0..Layout::MOST_KEPT {
            layout.set(at, b"\"a\":", 0, None);
        }
        layout.settle();
        assert!(layout.get(0).is_some());
        layout.set(Layout::MOST_KEPT, b"\"a\":", 0, None);
        layout.settle();
        assert!(layout.get(0).is_none());
        for at in 0..100 {
            layout.set(at, &[b'a'; 1_000], 0, None);
        }
        layout.settle();
        assert!(layout.get(0).is_none());
    }
}
