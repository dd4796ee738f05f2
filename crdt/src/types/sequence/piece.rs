//! Elements, and pieces of consecutive elements.

use smallvec::SmallVec;

use super::content::Content;

/// The most elements that a piece holds, which bounds the search for a character in it.
pub(super) const PIECE: usize = 1024;

/// An element. The replica is its index among those known here; [`EDGE`] is no element but the
/// start or the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Id {
    pub(super) replica: u32,
    pub(super) counter: u64,
}

/// As a parent it is the start of the sequence, as a right origin the end.
pub(super) const EDGE: Id = Id {
    replica: u32::MAX,
    counter: 0,
};

impl Id {
    /// The element that the same replica inserted `count` elements later.
    #[inline]
    pub(super) fn plus(self, count: u64) -> Self {
        Self {
            counter: self.counter + count,
            ..self
        }
    }
}

/// Elements that became visible or stopped being visible.
pub(super) type Changed = SmallVec<[(Id, u32); 2]>;

/// Elements that one replica inserted one after the other and that stand next to each other, either
/// all visible or all not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) counter: u64,
    /// Where the content starts, if the elements are visible.
    pub(super) at: usize,
    pub(super) replica: u32,
    pub(super) len: u32,
    /// How many units of content they have.
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

    /// The counter after the last element.
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

    /// Cuts off and returns everything behind the first `count` elements.
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

    /// Whether `next` can be joined to this piece.
    #[inline]
    pub(super) fn joins(&self, next: &Self) -> bool {
        self.replica == next.replica
            && self.end() == next.counter
            && self.alive == next.alive
            && (self.len + next.len) as usize <= PIECE
            && (!self.alive || self.at + self.size as usize == next.at)
    }
}
