//! An index of live dots as bitmaps: which dots are alive, and the slot of each in a table.

use alloc::vec::Vec;

use smallvec::SmallVec;

use crate::{CausalContext, Dot, ReplicaId};

/// A map from live dots to slots, in words of 64 consecutive counters of one replica: a bitmap of
/// the live ones, and their slots in order. Comparing two indexes works word by word, without
/// looking at the dots that they agree on.
///
/// **Invariant:** replicas and words ascend; a chunk has as many slots as bits. A dot takes about 5
/// bytes in a long row, about 60 alone.
#[derive(Clone, Debug, Default)]
pub(super) struct DotIndex {
    replicas: SmallVec<[Chunks; 1]>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Chunks {
    replica: ReplicaId,
    words: SmallVec<[Chunk; 1]>,
    /// The number of empty chunks, which are swept once they are the majority.
    empty: usize,
}

#[derive(Clone, Debug)]
struct Chunk {
    word: u64,
    bits: u64,
    slots: SmallVec<[u32; 4]>,
}

impl Chunk {
    fn place(&self, bit: u32) -> usize {
        (self.bits & ((1 << bit) - 1)).count_ones() as usize
    }

    fn has(&self, bit: u32) -> bool {
        self.bits >> bit & 1 == 1
    }

    fn pick(&self, replica: ReplicaId, mut bits: u64, found: &mut Vec<(Dot, u32)>) {
        while bits != 0 {
            let bit = bits.trailing_zeros();
            bits &= bits - 1;
            found.push((
                Dot::new(replica, self.word * 64 + u64::from(bit)),
                self.slots[self.place(bit)],
            ));
        }
    }
}

fn split(counter: u64) -> (u64, u32) {
    (counter / 64, (counter % 64) as u32)
}

impl DotIndex {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The slot of the dot, if it is alive.
    pub(super) fn get(&self, dot: Dot) -> Option<u32> {
        let (word, bit) = split(dot.counter);
        let chunk = self.chunks(dot.replica)?.find(word)?;
        chunk.has(bit).then(|| chunk.slots[chunk.place(bit)])
    }

    /// Makes the dot alive in a slot, or moves it there.
    pub(super) fn insert(&mut self, dot: Dot, slot: u32) {
        let (word, bit) = split(dot.counter);
        let at = self
            .replicas
            .partition_point(|chunks| chunks.replica < dot.replica);
        if self
            .replicas
            .get(at)
            .is_none_or(|chunks| chunks.replica != dot.replica)
        {
            self.replicas.insert(
                at,
                Chunks {
                    replica: dot.replica,
                    words: SmallVec::new(),
                    empty: 0,
                },
            );
        }
        let chunk = self.replicas[at].chunk_mut(word);
        let place = chunk.place(bit);
        if chunk.has(bit) {
            chunk.slots[place] = slot;
        } else {
            chunk.slots.insert(place, slot);
            chunk.bits |= 1 << bit;
            self.len += 1;
        }
    }

    /// Removes the dot and returns its slot.
    pub(super) fn remove(&mut self, dot: Dot) -> Option<u32> {
        let (word, bit) = split(dot.counter);
        let at = self
            .replicas
            .binary_search_by_key(&dot.replica, |chunks| chunks.replica)
            .ok()?;
        let chunks = &mut self.replicas[at];
        let chunk_at = chunks.position(word).ok()?;
        let chunk = &mut chunks.words[chunk_at];
        if !chunk.has(bit) {
            return None;
        }
        let slot = chunk.slots.remove(chunk.place(bit));
        chunk.bits &= !(1 << bit);
        if chunk.slots.spilled() && chunk.slots.len() <= chunk.slots.capacity() / 4 {
            chunk.slots.shrink_to_fit();
        }
        if chunk.bits == 0 {
            chunks.empty += 1;
            chunks.sweep();
            if chunks.words.is_empty() {
                self.replicas.remove(at);
            }
        }
        self.len -= 1;
        Some(slot)
    }

    /// All live dots with their slots, ascending by dot.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Dot, u32)> + '_ {
        self.replicas.iter().flat_map(Chunks::iter)
    }

    /// The live dots of one replica with their slots, ascending.
    pub(super) fn of(&self, replica: ReplicaId) -> impl Iterator<Item = (Dot, u32)> + '_ {
        self.chunks(replica).into_iter().flat_map(Chunks::iter)
    }

    /// My dots that `theirs` does not have although `their_context` has seen them: what a join
    /// removes.
    pub(super) fn ended_by(&self, theirs: &Self, their_context: &CausalContext) -> Vec<(Dot, u32)> {
        let mut found = Vec::new();
        for mine in &self.replicas {
            let their_chunks = theirs.chunks(mine.replica);
            let mut from = 0;
            for run in their_context.runs_of(mine.replica) {
                let (first, last) = (run.start() / 64, run.end() / 64);
                from += mine.words[from..].partition_point(|chunk| chunk.word < first);
                for chunk in mine.words[from..]
                    .iter()
                    .take_while(|chunk| chunk.word <= last)
                {
                    let low = if chunk.word == first {
                        u64::MAX << (run.start() % 64)
                    } else {
                        u64::MAX
                    };
                    let high = if chunk.word == last {
                        u64::MAX >> (63 - run.end() % 64)
                    } else {
                        u64::MAX
                    };
                    let alive = chunk.bits & low & high;
                    let there = if alive == 0 {
                        0
                    } else {
                        their_chunks
                            .and_then(|c| c.find(chunk.word))
                            .map_or(0, |c| c.bits)
                    };
                    chunk.pick(mine.replica, alive & !there, &mut found);
                }
            }
        }
        found
    }

    /// My dots that `other` does not have and `context` has not seen: what a join takes from me.
    pub(super) fn new_to(&self, other: &Self, context: &CausalContext) -> Vec<(Dot, u32)> {
        let mut found = Vec::new();
        for mine in &self.replicas {
            let known = context.prefix(mine.replica);
            let others = other.chunks(mine.replica);
            for chunk in mine
                .words
                .iter()
                .skip_while(|chunk| chunk.word * 64 + 63 <= known)
            {
                let seen = context.word(mine.replica, chunk.word);
                let there = others
                    .and_then(|c| c.find(chunk.word))
                    .map_or(0, |c| c.bits);
                chunk.pick(mine.replica, chunk.bits & !seen & !there, &mut found);
            }
        }
        found
    }

    /// My dots that are in `dots`.
    pub(super) fn among(&self, dots: &CausalContext) -> Vec<(Dot, u32)> {
        self.ended_by(&Self::default(), dots)
    }

    fn chunks(&self, replica: ReplicaId) -> Option<&Chunks> {
        self.replicas
            .binary_search_by_key(&replica, |chunks| chunks.replica)
            .ok()
            .map(|at| &self.replicas[at])
    }
}

impl Chunks {
    fn iter(&self) -> impl Iterator<Item = (Dot, u32)> + '_ {
        self.words.iter().flat_map(move |chunk| {
            let bits = (0..64_u32).filter(move |&bit| chunk.has(bit));
            bits.zip(&chunk.slots).map(move |(bit, &slot)| {
                (
                    Dot::new(self.replica, chunk.word * 64 + u64::from(bit)),
                    slot,
                )
            })
        })
    }

    fn position(&self, word: u64) -> Result<usize, usize> {
        match self.words.last() {
            // Counters grow, so it is usually the last chunk.
            Some(last) if last.word == word => Ok(self.words.len() - 1),
            Some(last) if last.word < word => Err(self.words.len()),
            _ => self.words.binary_search_by_key(&word, |chunk| chunk.word),
        }
    }

    fn find(&self, word: u64) -> Option<&Chunk> {
        self.position(word).ok().map(|at| &self.words[at])
    }

    fn chunk_mut(&mut self, word: u64) -> &mut Chunk {
        let at = match self.position(word) {
            Ok(at) => {
                self.empty -= usize::from(self.words[at].bits == 0);
                at
            }
            Err(at) => {
                self.words.insert(
                    at,
                    Chunk {
                        word,
                        bits: 0,
                        slots: SmallVec::new(),
                    },
                );
                at
            }
        };
        &mut self.words[at]
    }

    fn sweep(&mut self) {
        if self.empty * 2 > self.words.len() {
            self.words.retain(|chunk| chunk.bits != 0);
            self.empty = 0;
            if self.words.len() < self.words.capacity() / 4 {
                self.words.shrink_to_fit();
            }
        }
    }
}
