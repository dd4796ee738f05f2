//! A writer at work: the edits by which a text of some 105,000 characters comes about, always the
//! same ones.
//!
//! The model: words are typed character by character; typing errors are noticed soon and taken back
//! with the backspace key; now and then the cursor jumps, mostly not far, and a stretch is deleted
//! or a passage written there. The shares (some 260,000 patches, four insertions for one deletion
//! or less) are those of the `automerge-paper` trace (`josephg/editing-traces`).

/// One edit: at character `at`, `delete` characters go and `insert` comes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Patch {
    /// Counts characters, all ASCII, so bytes as well.
    pub at: usize,
    /// How many characters go.
    pub delete: usize,
    /// What comes in their place.
    pub insert: String,
}

/// How many patches there are.
const PATCHES: usize = 260_000;

/// The writer.
struct Writer {
    /// Of an xorshift generator (Marsaglia, "Xorshift RNGs", 2003).
    state: u64,
    cursor: usize,
    len: usize,
    patches: Vec<Patch>,
}

/// The edits in order. The same at every call.
pub fn editing_trace() -> Vec<Patch> {
    let mut writer = Writer { state: 0x9e37_79b9_7f4a_7c15, cursor: 0, len: 0, patches: Vec::with_capacity(PATCHES) };
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
            self.patches.push(Patch { at: self.cursor, delete: 0, insert: char::from(letter).to_string() });
            self.cursor += 1;
            self.len += 1;
        }
    }

    fn backspace(&mut self) {
        for _ in 0..(1 + self.below(10)).min(self.cursor) {
            self.cursor -= 1;
            self.len -= 1;
            self.patches.push(Patch { at: self.cursor, delete: 1, insert: String::new() });
        }
    }

    fn delete_forwards(&mut self) {
        for _ in 0..(1 + self.below(6)).min(self.len - self.cursor) {
            self.len -= 1;
            self.patches.push(Patch { at: self.cursor, delete: 1, insert: String::new() });
        }
    }

    /// Mostly back to the end, else near by, else anywhere.
    fn jump(&mut self) {
        self.cursor = match self.below(8) {
            0..2 => self.len,
            2..7 => (self.cursor + self.below(400)).saturating_sub(200).min(self.len),
            _ => self.below(self.len + 1),
        };
    }
}
