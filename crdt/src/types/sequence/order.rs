//! The elements in their order: where the n-th visible one is, and where a given one is.
//!
//! Pieces of elements lie in leaves of bounded size; a Fenwick tree (Fenwick 1994) over the leaves counts what is visible,
//! and an ordered map per replica leads from an element
//! to its leaf. Finding either way costs O(log n); only the split of
//! a leaf costs O(leaves), once in some thirty new pieces.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::Content;

/// How many pieces a leaf holds at most.
const LEAF: usize = 64;

/// How many elements a piece holds at most, so that finding a character in a piece is bounded.
pub(super) const PIECE: usize = 1024;

/// An element, by the place of its replica among those known here; [`EDGE`] is none, but the start or the end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Id {
    pub(super) replica: u32,
    pub(super) counter: u64,
}

/// As a parent the start of the sequence, as a right origin its end.
pub(super) const EDGE: Id = Id { replica: u32::MAX, counter: 0 };

impl Id {
    /// The element that the same replica made `count` later.
    pub(super) fn plus(self, count: u64) -> Self {
        Self { counter: self.counter + count, ..self }
    }
}

/// Elements that one replica made one after the other, which stand next to each other, all visible or none.
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
    pub(super) fn dead(id: Id, len: usize) -> Self {
        Self { counter: id.counter, at: 0, replica: id.replica, len: len as u32, size: 0, alive: false }
    }

    pub(super) fn id(&self) -> Id {
        Id { replica: self.replica, counter: self.counter }
    }

    /// The counter after the last one.
    pub(super) fn end(&self) -> u64 {
        self.counter + u64::from(self.len)
    }

    pub(super) fn contains(&self, id: Id) -> bool {
        self.replica == id.replica && self.counter <= id.counter && id.counter < self.end()
    }

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
            C::offset(content.slice(self.at..self.at + self.size as usize), count as usize) as u32
        };
        let at = if self.alive { self.at + units as usize } else { 0 };
        let tail = Self { counter: self.counter + u64::from(count), at, len: self.len - count, size: self.size - units, ..*self };
        (self.len, self.size) = (count, units);
        tail
    }

    /// Whether `next` can become part of this piece.
    pub(super) fn joins(&self, next: &Self) -> bool {
        self.replica == next.replica
            && self.end() == next.counter
            && self.alive == next.alive
            && (self.len + next.len) as usize <= PIECE
            && (!self.alive || self.at + self.size as usize == next.at)
    }
}

/// Where an element is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) leaf: u32,
    pub(super) piece: usize,
    pub(super) offset: u32,
}

#[derive(Clone, Debug)]
struct Leaf {
    pieces: Vec<Piece>,
    visible: usize,
    /// Its place in the order.
    rank: u32,
}

/// In which leaf the elements of a replica are: an entry holds up to the next one. So what happens within a leaf does not
/// concern it. Counters without an element may lead anywhere.
#[derive(Clone, Debug, Default)]
struct Leaves {
    starts: BTreeMap<u64, u32>,
    /// Above all counters here.
    end: u64,
}

impl Leaves {
    fn of(&self, counter: u64) -> Option<u32> {
        self.starts.range(..=counter).next_back().map(|(_, &leaf)| leaf)
    }

    /// Notes that the elements `first..end` are in `leaf`.
    fn assign(&mut self, first: u64, end: u64, leaf: u32) {
        if first >= self.end {
            self.end = end;
            if self.of(first) != Some(leaf) {
                self.starts.insert(first, leaf);
            }
            return;
        }
        self.end = self.end.max(end);
        let last = self.starts.range(..=end).next_back().map(|(&start, &leaf)| (start, leaf));
        if last.is_some_and(|(start, of)| start <= first && of == leaf) {
            return;
        }
        while let Some((&start, _)) = self.starts.range(first..end).next() {
            self.starts.remove(&start);
        }
        if self.of(first) != Some(leaf) {
            self.starts.insert(first, leaf);
        }
        if let Some((_, behind)) = last.filter(|&(start, of)| start < end && of != leaf) {
            self.starts.insert(end, behind);
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    leaves: Vec<Leaf>,
    order: Vec<u32>,
    /// Fenwick: entry `i` counts what is visible in the leaves `i - lowest_bit(i) .. i`.
    sums: Vec<usize>,
    /// Per replica, in which leaf its elements are.
    index: Vec<Leaves>,
    visible: usize,
}

impl Order {
    /// How many elements are visible.
    pub(super) fn visible(&self) -> usize {
        self.visible
    }

    pub(super) fn is_empty(&self) -> bool {
        self.leaves.is_empty()
    }

    pub(super) fn piece(&self, place: Place) -> &Piece {
        &self.leaves[place.leaf as usize].pieces[place.piece]
    }

    /// All pieces in order.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.order.iter().flat_map(|&leaf| &self.leaves[leaf as usize].pieces)
    }

    /// The pieces from the one at `place` on.
    pub(super) fn pieces_from(&self, place: Place) -> impl Iterator<Item = &Piece> {
        let rank = self.leaves[place.leaf as usize].rank as usize;
        self.order[rank..].iter().flat_map(|&leaf| &self.leaves[leaf as usize].pieces).skip(place.piece)
    }

    /// All pieces, to change where their content lies.
    pub(super) fn pieces_mut(&mut self) -> impl Iterator<Item = &mut Piece> {
        self.leaves.iter_mut().flat_map(|leaf| &mut leaf.pieces)
    }

    /// The visible element number `at`, which is below [`visible`](Self::visible).
    pub(super) fn find(&self, at: usize) -> Place {
        let (mut rank, mut rest) = (0, at);
        let mut step = self.order.len().next_power_of_two();
        while step > 0 {
            if rank + step <= self.order.len() && self.sums[rank + step] <= rest {
                rank += step;
                rest -= self.sums[rank];
            }
            step /= 2;
        }
        let leaf = self.order[rank];
        for (piece, candidate) in self.leaves[leaf as usize].pieces.iter().enumerate() {
            let visible = candidate.visible();
            if rest < visible {
                return Place { leaf, piece, offset: rest as u32 };
            }
            rest -= visible;
        }
        unreachable!("invariant: the sums count what the leaves hold")
    }

    /// Where an element is, if it is here.
    pub(super) fn locate(&self, id: Id) -> Option<Place> {
        let leaf = self.index.get(id.replica as usize)?.of(id.counter)?;
        let pieces = &self.leaves[leaf as usize].pieces;
        let piece = pieces.iter().position(|piece| piece.contains(id))?;
        Some(Place { leaf, piece, offset: (id.counter - pieces[piece].counter) as u32 })
    }

    /// How many visible elements come before this one.
    pub(super) fn position(&self, place: Place) -> usize {
        let leaf = &self.leaves[place.leaf as usize];
        let within: usize = leaf.pieces[..place.piece].iter().map(Piece::visible).sum();
        let mut rank = leaf.rank as usize;
        let mut before = within + if leaf.pieces[place.piece].alive { place.offset as usize } else { 0 };
        while rank > 0 {
            before += self.sums[rank];
            rank &= rank - 1;
        }
        before
    }

    /// What orders places like the elements there.
    pub(super) fn key(&self, place: Place) -> (u32, usize, u32) {
        (self.leaves[place.leaf as usize].rank, place.piece, place.offset)
    }

    /// The element after this one, visible or not; [`EDGE`] after the last.
    pub(super) fn next(&self, place: Place) -> Id {
        let leaf = &self.leaves[place.leaf as usize];
        let piece = &leaf.pieces[place.piece];
        if place.offset + 1 < piece.len {
            return piece.id().plus(u64::from(place.offset) + 1);
        }
        if let Some(next) = leaf.pieces.get(place.piece + 1) {
            return next.id();
        }
        self.order.get(leaf.rank as usize + 1).map_or(EDGE, |&next| self.leaves[next as usize].pieces[0].id())
    }

    /// The first element, visible or not; [`EDGE`] if there is none.
    pub(super) fn first(&self) -> Id {
        self.order.first().map_or(EDGE, |&first| self.leaves[first as usize].pieces[0].id())
    }

    /// Puts a piece directly before the element at `before`, or what would be the next one of its piece, or at the start.
    /// Returns where its last element is.
    pub(super) fn insert<C: Content>(&mut self, content: &C, before: Option<Place>, piece: Piece) -> Place {
        let (leaf, at) = match before.map(|place| self.split(content, place)) {
            Some(place) => self.insert_piece(place.leaf, place.piece, piece),
            None => self.insert_first(piece),
        };
        Place { leaf, piece: at, offset: piece.len - 1 }
    }

    fn insert_first(&mut self, piece: Piece) -> (u32, usize) {
        if self.order.is_empty() {
            self.leaves.push(Leaf { pieces: Vec::new(), visible: 0, rank: 0 });
            self.order.push(0);
            self.sums = alloc::vec![0, 0];
        }
        self.insert_piece(self.order[0], 0, piece)
    }

    /// Lets a piece start at `place` and returns the place of that piece.
    fn split<C: Content>(&mut self, content: &C, place: Place) -> Place {
        let piece = &mut self.leaves[place.leaf as usize].pieces;
        let Some(piece) = piece.get_mut(place.piece).filter(|_| place.offset > 0) else { return place };
        if place.offset == piece.len {
            return Place { piece: place.piece + 1, offset: 0, ..place };
        }
        let tail = piece.split_off(content, place.offset);
        // What is counted again when the tail is inserted.
        self.count(place.leaf, -(tail.visible() as isize));
        let (leaf, piece) = self.insert_piece(place.leaf, place.piece + 1, tail);
        Place { leaf, piece, offset: 0 }
    }

    fn insert_piece(&mut self, mut leaf: u32, mut at: usize, piece: Piece) -> (u32, usize) {
        let len = self.leaves[leaf as usize].pieces.len();
        if len >= LEAF {
            let keep = if at == len { len } else { LEAF / 2 };
            let new = self.split_leaf(leaf, keep);
            if at > keep || at == len {
                (leaf, at) = (new, at - keep);
            }
        }
        self.leaves[leaf as usize].pieces.insert(at, piece);
        self.index_piece(&piece, leaf);
        self.count(leaf, piece.visible() as isize);
        (leaf, at)
    }

    fn index_piece(&mut self, piece: &Piece, leaf: u32) {
        let replica = piece.replica as usize;
        if self.index.len() <= replica {
            self.index.resize_with(replica + 1, Leaves::default);
        }
        self.index[replica].assign(piece.counter, piece.end(), leaf);
    }

    /// Moves what follows the first `keep` pieces to a new leaf.
    fn split_leaf(&mut self, leaf: u32, keep: usize) -> u32 {
        let new = self.leaves.len() as u32;
        let old = &mut self.leaves[leaf as usize];
        let pieces = old.pieces.split_off(keep);
        let visible: usize = pieces.iter().map(Piece::visible).sum();
        old.visible -= visible;
        let rank = old.rank + 1;
        for piece in &pieces {
            self.index[piece.replica as usize].assign(piece.counter, piece.end(), new);
        }
        self.leaves.push(Leaf { pieces, visible, rank });
        self.order.insert(rank as usize, new);
        self.recount();
        new
    }

    fn recount(&mut self) {
        self.sums.clear();
        self.sums.resize(self.order.len() + 1, 0);
        for (rank, &leaf) in self.order.iter().enumerate() {
            let leaf = &mut self.leaves[leaf as usize];
            leaf.rank = rank as u32;
            let at = rank + 1;
            self.sums[at] += leaf.visible;
            let parent = at + (at & at.wrapping_neg());
            if parent < self.sums.len() {
                self.sums[parent] += self.sums[at];
            }
        }
    }

    fn count(&mut self, leaf: u32, change: isize) {
        if change == 0 {
            return;
        }
        let leaf = &mut self.leaves[leaf as usize];
        leaf.visible = leaf.visible.wrapping_add_signed(change);
        self.visible = self.visible.wrapping_add_signed(change);
        let mut at = leaf.rank as usize + 1;
        while at < self.sums.len() {
            self.sums[at] = self.sums[at].wrapping_add_signed(change);
            at += at & at.wrapping_neg();
        }
    }

    /// Puts a piece, which continues a run, behind the element before it, and makes it one with its piece if it can.
    /// Returns where its last element is.
    pub(super) fn append<C: Content>(&mut self, content: &C, behind: Place, piece: Piece) -> Place {
        let before = &mut self.leaves[behind.leaf as usize].pieces[behind.piece];
        if behind.offset != before.len || !before.joins(&piece) {
            return self.insert(content, Some(behind), piece);
        }
        before.len += piece.len;
        before.size += piece.size;
        self.index[piece.replica as usize].assign(piece.counter, piece.end(), behind.leaf);
        self.count(behind.leaf, piece.visible() as isize);
        Place { offset: behind.offset + piece.len - 1, ..behind }
    }

    /// Makes `len` elements from `place` on, which lie in one piece, visible or not, and returns the piece as it was.
    pub(super) fn set<C: Content>(&mut self, content: &C, place: Place, len: u32, made: Option<(usize, u32)>) -> Piece {
        let start = self.split(content, place);
        self.split(content, Place { offset: len, ..start });
        // The second split may have moved the piece to another leaf.
        let start = if self.leaves[start.leaf as usize].pieces.len() > start.piece { start } else { self.after(start) };
        let piece = &mut self.leaves[start.leaf as usize].pieces[start.piece];
        let before = *piece;
        piece.alive = made.is_some();
        (piece.at, piece.size) = made.unwrap_or_default();
        let change = piece.visible() as isize - before.visible() as isize;
        self.count(start.leaf, change);
        if made.is_none() {
            self.merge_around(start);
        }
        before
    }

    /// The first place of the next leaf, for a place behind the last piece of its leaf.
    fn after(&self, place: Place) -> Place {
        let leaf = &self.leaves[place.leaf as usize];
        Place { leaf: self.order[leaf.rank as usize + 1], piece: place.piece - leaf.pieces.len(), offset: 0 }
    }

    fn merge_around(&mut self, place: Place) {
        self.merge_next(place.leaf, place.piece);
        if let Some(before) = place.piece.checked_sub(1) {
            self.merge_next(place.leaf, before);
        }
    }

    fn merge_next(&mut self, leaf: u32, at: usize) {
        let pieces = &mut self.leaves[leaf as usize].pieces;
        let Some(next) = pieces.get(at + 1).copied().filter(|next| !next.alive && pieces[at].joins(next)) else { return };
        pieces[at].len += next.len;
        pieces.remove(at + 1);
    }

    /// Makes everything invisible.
    pub(super) fn hide_all(&mut self) {
        self.visible = 0;
        for leaf in &mut self.leaves {
            leaf.visible = 0;
            for piece in &mut leaf.pieces {
                (piece.alive, piece.at, piece.size) = (false, 0, 0);
            }
        }
        self.recount();
    }
}
