//! Bytes changed at random, with the hashes right: refused with a message, or still proven; never a panic.

use super::helpers::Copy;

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        // xorshift64*, Vigna 2016.
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33;
        usize::try_from(high).unwrap() % limit
    }
}

/// Changes one byte of `file` `n` times; returns how many were refused.
fn mutate(file: &str, n: usize, letters: &[u8], seed: u64) -> usize {
    let copy = Copy::of_house_prices();
    copy.shrink();
    let bytes = copy.read(file);
    let mut random = Random(seed);
    let mut n_refused = 0;
    for _ in 0..n {
        let mut mutated = bytes.clone();
        let at = random.below(bytes.len());
        mutated[at] = match letters {
            [] => u8::try_from(random.below(256)).unwrap(),
            letters => letters[random.below(letters.len())],
        };
        copy.write(file, &mutated);
        copy.seal();
        let refusal = copy.refusal();
        n_refused += usize::from(refusal != "proven");
        let says_something = refusal == "proven" || refusal.len() > 30;
        assert!(says_something, "byte {at} of {file} as {:#x}: {refusal}", mutated[at]);
    }
    n_refused
}

#[test]
fn a_manifest_with_any_byte_changed_is_refused_or_still_proven() {
    let n_refused = mutate("manifest.json", 100, &[], 1) + {
        // Likelier to be JSON still.
        mutate("manifest.json", 250, b"0123456789.-eE\"{}[],:nRta ", 2)
    };
    assert!((100..350).contains(&n_refused), "{n_refused}");
}

#[test]
fn golden_rows_with_any_byte_changed_are_refused_or_still_proven() {
    let n_refused = mutate("golden.jsonl", 60, b"0123456789.-eE\"{}[],:nRta ", 3);
    assert!((20..60).contains(&n_refused), "{n_refused}");
}

#[test]
fn a_graph_with_any_byte_changed_is_refused_or_still_proven() {
    let n_refused = mutate("model.onnx", 100, &[], 4);
    assert!((50..=100).contains(&n_refused), "{n_refused}");
}
