//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
//!
//! A pattern is compiled into an automaton whose state is a row of bits, one for each place in the
//! pattern that a text may have reached. A text costs one step per byte, whatever the pattern:
//! there is no backtracking.

use smallvec::{SmallVec, smallvec};

use super::refuse::Refused;

#[cfg(test)]
mod tests;

/// The longest pattern, in bytes. Guess: far beyond what anybody types; its automaton takes 34 KB.
pub(crate) const PATTERN_BYTES_MAX: usize = 1024;

/// The most bytes of all patterns of one command together. Compiling them costs at worst 256 steps
/// per byte, a quarter of a millisecond in all.
pub(crate) const PATTERNS_BYTES_MAX: usize = 1024;

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Glob {
    /// For each byte, the symbols that accept it and lead one place on; `words` words per byte.
    takes: Vec<u64>,
    /// The places of `*`: whatever byte comes, the automaton may stay there.
    stays: Vec<u64>,
    /// The number of symbols; the place after the last one is the end.
    symbols: usize,
}

impl Glob {
    /// Compiles a pattern of at most [`PATTERN_BYTES_MAX`] bytes.
    pub(crate) fn new(pattern: &[u8]) -> Result<Self, Refused> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(Refused::PatternTooLong {
                bytes: pattern.len(),
                max: PATTERN_BYTES_MAX,
            });
        }
        let words = pattern.len() / 64 + 1;
        let (mut takes, mut stays) = (vec![0u64; 256 * words], vec![0u64; words]);
        let (mut at, mut symbols) = (0, 0);
        while at < pattern.len() {
            let (word, bit) = (symbols / 64, 1 << (symbols % 64));
            if pattern[at] == b'*' {
                stays[word] |= bit;
                at += 1;
                continue;
            }
            let (set, length) = head(&pattern[at..]);
            set.each(|byte| takes[byte * words + word] |= bit);
            at += length;
            symbols += 1;
        }
        Ok(Self {
            takes,
            stays,
            symbols,
        })
    }

    /// Whether the whole of `text` matches.
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        let words = self.stays.len();
        let mut places: SmallVec<[u64; 4]> = smallvec![0; words];
        places[0] = 1;
        for byte in text {
            let takes = &self.takes[usize::from(*byte) * words..][..words];
            let (mut carry, mut any) = (0, 0);
            for ((place, takes), stays) in places.iter_mut().zip(takes).zip(&self.stays) {
                let moved = *place & takes;
                *place = (moved << 1) | carry | (*place & stays);
                carry = moved >> 63;
                any |= *place;
            }
            if any == 0 {
                return false;
            }
        }
        (places[self.symbols / 64] >> (self.symbols % 64)) & 1 == 1
    }

    /// The cost of matching `text`, in steps of about a nanosecond.
    pub(crate) fn steps(&self, text: &[u8]) -> usize {
        text.len() * self.stays.len()
    }
}

/// A set of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ByteSet([u64; 4]);

impl ByteSet {
    /// Adds all bytes from `low` to `high`, which must not be below it, in four steps however many
    /// they are.
    fn add(&mut self, low: u8, high: u8) {
        for (number, word) in (0..).zip(&mut self.0) {
            let (first, last) = (64 * number, 64 * number + 63);
            let (from, to) = (u32::from(low).max(first), u32::from(high).min(last));
            if from <= to {
                *word |= (u64::MAX >> (63 - (to - from))) << (from - first);
            }
        }
    }

    fn negated(self) -> Self {
        Self(self.0.map(|word| !word))
    }

    fn each(self, mut act: impl FnMut(usize)) {
        for (number, mut word) in self.0.into_iter().enumerate() {
            while word != 0 {
                act(64 * number + word.trailing_zeros() as usize);
                word &= word - 1;
            }
        }
    }
}

/// The bytes that the head of `pattern`, which is not `*`, accepts, and the length of that head.
/// Each byte is looked at once, because a client chooses them and the faces share their thread with
/// the network.
fn head(pattern: &[u8]) -> (ByteSet, usize) {
    let mut set = ByteSet::default();
    let length = match pattern {
        [b'?', ..] => {
            set.add(0, u8::MAX);
            1
        }
        [b'\\', escaped, ..] => {
            set.add(*escaped, *escaped);
            2
        }
        [b'[', class @ ..] => return class_head(class),
        [plain, ..] => {
            set.add(*plain, *plain);
            1
        }
        [] => 0,
    };
    (set, length)
}

/// Parses a class that begins after its bracket. A class without a closing bracket runs to the end
/// of the pattern.
fn class_head(class: &[u8]) -> (ByteSet, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut set = ByteSet::default();
    let length = loop {
        match &class[at..] {
            [] => break at + 1,
            [b']', ..] => break at + 2,
            [b'\\', escaped, ..] => {
                set.add(*escaped, *escaped);
                at += 2;
            }
            [from, b'-', to, ..] if *to != b']' => {
                set.add(*from.min(to), *from.max(to));
                at += 3;
            }
            [plain, ..] => {
                set.add(*plain, *plain);
                at += 1;
            }
        }
    };
    (if negated { set.negated() } else { set }, length)
}
