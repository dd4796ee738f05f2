//! Redis's glob patterns: `*`, `?`, `[a-z]`, `[^a]`, `\x`.
//!
//! A pattern is compiled into an automaton whose state is a row of bits, one for each place in the pattern that a text may have reached. A text
//! costs one step for each of its bytes, whatever the pattern: nothing is ever tried again.

use smallvec::{SmallVec, smallvec};

use super::refuse::Refused;

#[cfg(test)]
mod tests;

/// The longest pattern, in bytes. Guess: far beyond what anybody types, and its automaton is 34 KB.
pub(crate) const PATTERN_BYTES_MAX: usize = 1024;

/// A pattern, ready to be held against texts.
#[derive(Debug)]
pub(crate) struct Glob {
    /// For each byte, the symbols that take it and lead one place on; `words` words for each byte.
    takes: Vec<u64>,
    /// The places where a `*` stands: whatever comes, one may stay there.
    stays: Vec<u64>,
    /// How many symbols there are; the place behind the last is the end.
    symbols: usize,
}

impl Glob {
    /// Compiles a pattern of at most [`PATTERN_BYTES_MAX`] bytes.
    pub(crate) fn new(pattern: &[u8]) -> Result<Self, Refused> {
        if pattern.len() > PATTERN_BYTES_MAX {
            return Err(Refused::PatternTooLong { bytes: pattern.len(), max: PATTERN_BYTES_MAX });
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
            let mut length = 1;
            for byte in 0..=u8::MAX {
                let (hit, long) = one(&pattern[at..], byte);
                takes[usize::from(byte) * words + word] |= if hit { bit } else { 0 };
                length = long;
            }
            at += length;
            symbols += 1;
        }
        Ok(Self { takes, stays, symbols })
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

    /// How much work `text` is, in steps of about a nanosecond.
    pub(crate) fn steps(&self, text: &[u8]) -> usize {
        text.len() * self.stays.len()
    }
}

/// Whether the head of `pattern`, which is not `*`, takes `symbol`, and how long that head is.
fn one(pattern: &[u8], symbol: u8) -> (bool, usize) {
    match pattern {
        [b'?', ..] => (true, 1),
        [b'\\', escaped, ..] => (*escaped == symbol, 2),
        [b'[', class @ ..] => class_takes(class, symbol),
        [plain, ..] => (*plain == symbol, 1),
        [] => (false, 0),
    }
}

/// `class` begins after the bracket; a class without its closing bracket runs to the end of the pattern.
fn class_takes(class: &[u8], symbol: u8) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut at = usize::from(negated);
    let mut hit = false;
    loop {
        match &class[at..] {
            [] => return (hit != negated, at + 1),
            [b']', ..] => return (hit != negated, at + 2),
            [b'\\', escaped, ..] => {
                hit |= *escaped == symbol;
                at += 2;
            }
            [from, b'-', to, ..] if *to != b']' => {
                hit |= (*from.min(to)..=*from.max(to)).contains(&symbol);
                at += 3;
            }
            [plain, ..] => {
                hit |= *plain == symbol;
                at += 1;
            }
        }
    }
}
