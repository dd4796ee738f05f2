//! Byte cells of a sketch: sparse while most of them are zero.

use alloc::vec::Vec;

use crate::codec::{DecodeError, Reader, Writer};

/// A fixed number of bytes that grow under a rule. While few are nonzero, only those are held, so
/// deltas are small.
///
/// **Invariant:** sparse with at most `size / 8` cells, ascending and nonzero, else dense with
/// `size` cells. So equal contents have equal representations.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Cells {
    Sparse(Vec<(u32, u8)>),
    Dense(Vec<u8>),
}

/// How two contents of a cell merge: a join, with 0 as the bottom.
pub(super) type Rule = fn(u8, u8) -> u8;

impl Default for Cells {
    fn default() -> Self {
        Self::Sparse(Vec::new())
    }
}

impl Cells {
    pub(super) fn get(&self, at: usize) -> u8 {
        match self {
            Self::Sparse(cells) => cells
                .binary_search_by_key(&at, |cell| cell.0 as usize)
                .map_or(0, |found| cells[found].1),
            Self::Dense(cells) => cells[at],
        }
    }

    /// The nonzero cells, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u8)> + '_ {
        let (sparse, dense): (&[(u32, u8)], &[u8]) = match self {
            Self::Sparse(cells) => (cells, &[]),
            Self::Dense(cells) => (&[], cells),
        };
        let dense = dense
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte != 0)
            .map(|(at, byte)| (at, *byte));
        sparse
            .iter()
            .map(|&(at, byte)| (at as usize, byte))
            .chain(dense)
    }

    /// Merges a byte into one of `size` cells and says whether that changed the cell.
    pub(super) fn raise(&mut self, size: usize, at: usize, byte: u8, rule: Rule) -> bool {
        let before = self.get(at);
        let after = rule(before, byte);
        if after == before {
            return false;
        }
        match self {
            Self::Dense(cells) => cells[at] = after,
            Self::Sparse(cells) => match cells.binary_search_by_key(&at, |cell| cell.0 as usize) {
                Ok(found) => cells[found].1 = after,
                Err(found) => cells.insert(found, (at as u32, after)),
            },
        }
        self.spread(size);
        true
    }

    pub(super) fn merge(&mut self, size: usize, theirs: &Self, rule: Rule) -> bool {
        let mut changed = false;
        for (at, byte) in theirs.iter() {
            changed |= self.raise(size, at, byte, rule);
        }
        changed
    }

    pub(super) fn encode(&self, out: &mut Writer) {
        match self {
            Self::Sparse(cells) => {
                out.number(cells.len() as u64 + 1);
                for &(at, byte) in cells {
                    out.number(u64::from(at));
                    out.byte(byte);
                }
            }
            Self::Dense(cells) => {
                out.number(0);
                out.bytes(cells);
            }
        }
    }

    /// Reads `size` cells for each of which `valid` holds.
    pub(super) fn decode(
        input: &mut Reader<'_>,
        size: usize,
        valid: fn(u8) -> bool,
    ) -> Result<Self, DecodeError> {
        const INVALID: DecodeError = DecodeError::Invalid("cells of another sketch");
        let cells = match input.number()?.checked_sub(1) {
            None => {
                let cells = input.bytes()?;
                let full = cells.iter().filter(|byte| **byte != 0).count();
                if cells.len() != size
                    || full <= size / 8
                    || !cells.iter().all(|&byte| byte == 0 || valid(byte))
                {
                    return Err(INVALID);
                }
                Self::Dense(cells.to_vec())
            }
            Some(count) => {
                let mut cells: Vec<(u32, u8)> = Vec::new();
                for _ in 0..input.take_elements(count)? {
                    let (at, byte) = (input.number()?, input.byte()?);
                    let ascends = cells.last().is_none_or(|before| u64::from(before.0) < at);
                    if at >= size as u64
                        || !ascends
                        || byte == 0
                        || !valid(byte)
                        || cells.len() == size / 8
                    {
                        return Err(INVALID);
                    }
                    cells.push((at as u32, byte));
                }
                Self::Sparse(cells)
            }
        };
        Ok(cells)
    }

    /// Switches to the dense form once that takes no more space.
    fn spread(&mut self, size: usize) {
        if let Self::Sparse(cells) = self
            && cells.len() > size / 8
        {
            let mut dense = alloc::vec![0; size];
            for &(at, byte) in &*cells {
                dense[at as usize] = byte;
            }
            *self = Self::Dense(dense);
        }
    }
}
