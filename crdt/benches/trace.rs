//! A synthetic editing trace: the edits, always the same, that produce a text of about 105,000
//! characters.
//!
//! The model: words are typed character by character, and typing errors are soon noticed and
//! removed with the backspace key. Now and then the cursor jumps, usually not far, and a passage is
//! deleted or written there. The shares (about 260,000 patches, at least four insertions per
//! deletion) are those of the `automerge-paper` trace (`josephg/editing-traces`).

/// One edit: at character `at`, `delete` characters are replaced by `insert`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Patch {
    /// Counts characters; all are ASCII, so it also counts bytes.
    pub at: usize,
    /// How many characters are removed.
    pub delete: usize,
    /// The text that replaces them.
    pub insert: String,
}

/// The number of patches in the trace.
const PATCHES: usize = 260_000;

/// The state of the writer.
struct Writer {
    /// State of an xorshift generator (Marsaglia, "Xorshift RNGs", 2003).
    state: u64,
    cursor: usize,
    len: usize,
    patches: Vec<Patch>,
}

/// The edits, in order. Every call returns the same.
pub fn editing_trace() -> Vec<Patch> {
    let mut writer = Writer {
        state: 0x9e37_79b9_7f4a_7c15,
        cursor: 0,
        len: 0,
        patches: Vec::with_capacity(PATCHES),
    };
    while writer.patches.len() < PATCHES {
        match writer.below(100) {
            0..50 => writer.type_passage(),
            50..78 => writer.backspace(),
            78..94 => writer.jump(),
            _ => writer.delete_forwards(),
        }
    }
    writer.patches.truncate(PATCHES);
    writer.patches
}

impl Writer {
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state % end as u64) as usize
    }

    fn type_passage(&mut self) {
        for _ in 0..1 + self.below(14) {
            let letter = b" etaoinshrdlucmfwypvbgkqjxz"[self.below(27).min(self.below(27))];
            self.patches.push(Patch {
                at: self.cursor,
                delete: 0,
                insert: char::from(letter).to_string(),
            });
            self.cursor += 1;
            self.len += 1;
        }
    }

    fn backspace(&mut self) {
        for _ in 0..(1 + self.below(10)).min(self.cursor) {
            self.cursor -= 1;
            self.len -= 1;
            self.patches.push(Patch {
                at: self.cursor,
                delete: 1,
                insert: String::new(),
            });
        }
    }

    fn delete_forwards(&mut self) {
        for _ in 0..(1 + self.below(6)).min(self.len - self.cursor) {
            self.len -= 1;
            self.patches.push(Patch {
                at: self.cursor,
                delete: 1,
                insert: String::new(),
            });
        }
    }

    /// Jumps, mostly back to the end, otherwise nearby, otherwise anywhere.
    fn jump(&mut self) {
        self.cursor = match self.below(8) {
            0..2 => self.len,
            2..7 => (self.cursor + self.below(400))
                .saturating_sub(200)
                .min(self.len),
            _ => self.below(self.len + 1),
        };
    }
}
