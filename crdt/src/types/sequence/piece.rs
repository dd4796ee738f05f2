//! Elements and pieces of them.

use super::Content;

/// How many elements a piece holds at most, so that finding a character in a piece is bounded.
pub(super) const PIECE: usize = 1024;

/// An element, by the place of its replica among those known here; [`EDGE`] is none, but the start
/// or the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Id {
    pub(super) replica: u32,
    pub(super) counter: u64,
}

/// As a parent the start of the sequence, as a right origin its end.
pub(super) const EDGE: Id = Id {
    replica: u32::MAX,
    counter: 0,
};

impl Id {
    /// The element that the same replica made `count` later.
    #[inline]
    pub(super) fn plus(self, count: u64) -> Self {
        Self {
            counter: self.counter + count,
            ..self
        }
    }
}

/// Elements that one replica made one after the other, which stand next to each other, all visible
/// or none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) counter: u64,
    /// Where the content of visible elements starts.
    pub(super) at: usize,
    pub(super) replica: u32,
    pub(super) len: u32,
    /// How many units of content there are.
    pub(super) size: u32,
    pub(super) alive: bool,
}

impl Piece {
    #[inline]
    pub(super) fn dead(id: Id, len: usize) -> Self {
        Self {
            counter: id.counter,
            at: 0,
            replica: id.replica,
            len: len as u32,
            size: 0,
            alive: false,
        }
    }

    #[inline]
    pub(super) fn id(&self) -> Id {
        Id {
            replica: self.replica,
            counter: self.counter,
        }
    }

    /// The counter after the last one.
    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.counter + u64::from(self.len)
    }

    #[inline]
    pub(super) fn contains(&self, id: Id) -> bool {
        self.replica == id.replica && self.counter <= id.counter && id.counter < self.end()
    }

    #[inline]
    pub(super) fn visible(&self) -> usize {
        if self.alive { self.len as usize } else { 0 }
    }

    /// Cuts off and returns what follows the first `count` elements.
    pub(super) fn split_off<C: Content>(&mut self, content: &C, count: u32) -> Self {
        let units = if !self.alive {
            0
        } else if self.size == self.len {
            count
        } else {
            C::offset(
                content.slice(self.at..self.at + self.size as usize),
                count as usize,
            ) as u32
        };
        let at = if self.alive {
            self.at + units as usize
        } else {
            0
        };
        let tail = Self {
            counter: self.counter + u64::from(count),
            at,
            len: self.len - count,
            size: self.size - units,
            ..*self
        };
        (self.len, self.size) = (count, units);
        tail
    }

    /// Whether `next` can become part of this piece.
    #[inline]
    pub(super) fn joins(&self, next: &Self) -> bool {
        self.replica == next.replica
            && self.end() == next.counter
            && self.alive == next.alive
            && (self.len + next.len) as usize <= PIECE
            && (!self.alive || self.at + self.size as usize == next.at)
    }
}
