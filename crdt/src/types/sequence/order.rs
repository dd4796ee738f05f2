//! The elements in order: which one is the n-th visible, and where is a given one?
//!
//! Pieces of elements lie in leaves of bounded size. A Fenwick tree (Fenwick 1994) over the leaves
//! counts visible elements, and a sorted list per replica leads from an element to its leaf. Both
//! lookups cost O(log n). Only a split of a leaf costs O(leaves), about once in sixteen new pieces.

use alloc::vec::Vec;

use super::content::Content;
use super::leaves::Leaves;
use super::piece::{EDGE, Id, Piece};

/// The most pieces that a leaf holds.
const LEAF: usize = 32;

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
    /// The position of the leaf in the order.
    rank: u32,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    leaves: Vec<Leaf>,
    ranked: Vec<u32>,
    /// Fenwick: entry `i` counts the visible elements in the leaves `i - lowest_bit(i) .. i`.
    sums: Vec<usize>,
    /// For each replica, which leaf holds its elements.
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
        self.ranked
            .iter()
            .flat_map(|&leaf| &self.leaves[leaf as usize].pieces)
    }

    /// The pieces from the one at `place` on.
    pub(super) fn pieces_from(&self, place: Place) -> impl Iterator<Item = &Piece> {
        let rank = self.leaves[place.leaf as usize].rank as usize;
        self.ranked[rank..]
            .iter()
            .flat_map(|&leaf| &self.leaves[leaf as usize].pieces)
            .skip(place.piece)
    }

    /// All pieces, for moving their content.
    pub(super) fn pieces_mut(&mut self) -> impl Iterator<Item = &mut Piece> {
        self.leaves.iter_mut().flat_map(|leaf| &mut leaf.pieces)
    }

    /// The place of the visible element with index `at`, which is below [`visible`](Self::visible).
    pub(super) fn find(&self, at: usize) -> Place {
        let (mut rank, mut rest) = (0, at);
        let mut step = self.ranked.len().next_power_of_two();
        while step > 0 {
            if rank + step <= self.ranked.len() && self.sums[rank + step] <= rest {
                rank += step;
                rest -= self.sums[rank];
            }
            step /= 2;
        }
        let leaf = self.ranked[rank];
        for (piece, candidate) in self.leaves[leaf as usize].pieces.iter().enumerate() {
            let visible = candidate.visible();
            if rest < visible {
                return Place {
                    leaf,
                    piece,
                    offset: rest as u32,
                };
            }
            rest -= visible;
        }
        unreachable!("invariant: the sums count what the leaves hold")
    }

    /// The place of an element, if it is here.
    pub(super) fn locate(&self, id: Id) -> Option<Place> {
        let leaf = self.index.get(id.replica as usize)?.of(id.counter)?;
        let pieces = &self.leaves[leaf as usize].pieces;
        let piece = pieces.iter().position(|piece| piece.contains(id))?;
        Some(Place {
            leaf,
            piece,
            offset: (id.counter - pieces[piece].counter) as u32,
        })
    }

    /// How many visible elements come before this one.
    pub(super) fn position(&self, place: Place) -> usize {
        let leaf = &self.leaves[place.leaf as usize];
        let within: usize = leaf.pieces[..place.piece].iter().map(Piece::visible).sum();
        let mut rank = leaf.rank as usize;
        let mut before = within
            + if leaf.pieces[place.piece].alive {
                place.offset as usize
            } else {
                0
            };
        while rank > 0 {
            before += self.sums[rank];
            rank &= rank - 1;
        }
        before
    }

    /// A key that orders places as it orders their elements.
    pub(super) fn key(&self, place: Place) -> (u32, usize, u32) {
        (
            self.leaves[place.leaf as usize].rank,
            place.piece,
            place.offset,
        )
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
        self.ranked
            .get(leaf.rank as usize + 1)
            .map_or(EDGE, |&next| self.leaves[next as usize].pieces[0].id())
    }

    /// The first element, visible or not; [`EDGE`] if there is none.
    pub(super) fn first(&self) -> Id {
        self.ranked
            .first()
            .map_or(EDGE, |&first| self.leaves[first as usize].pieces[0].id())
    }

    /// Inserts a piece directly before the element at `before`, which may be one past the end of
    /// its piece, or at the start. Returns the place of the piece's last element.
    pub(super) fn insert<C: Content>(
        &mut self,
        content: &C,
        before: Option<Place>,
        piece: Piece,
    ) -> Place {
        let (leaf, at) = match before.map(|place| self.split(content, place)) {
            Some(place) => self.insert_piece(place.leaf, place.piece, piece),
            None => self.insert_first(piece),
        };
        Place {
            leaf,
            piece: at,
            offset: piece.len - 1,
        }
    }

    fn insert_first(&mut self, piece: Piece) -> (u32, usize) {
        if self.ranked.is_empty() {
            self.leaves.push(Leaf {
                pieces: Vec::new(),
                visible: 0,
                rank: 0,
            });
            self.ranked.push(0);
            self.sums = alloc::vec![0, 0];
        }
        self.insert_piece(self.ranked[0], 0, piece)
    }

    /// Splits a piece so that one starts at `place`, and returns its place.
    fn split<C: Content>(&mut self, content: &C, place: Place) -> Place {
        let piece = &mut self.leaves[place.leaf as usize].pieces;
        let Some(piece) = piece.get_mut(place.piece).filter(|_| place.offset > 0) else {
            return place;
        };
        if place.offset == piece.len {
            return Place {
                piece: place.piece + 1,
                offset: 0,
                ..place
            };
        }
        let tail = piece.split_off(content, place.offset);
        // These are counted again when the tail is inserted.
        self.count(place.leaf, -(tail.visible().cast_signed()));
        let (leaf, piece) = self.insert_piece(place.leaf, place.piece + 1, tail);
        Place {
            leaf,
            piece,
            offset: 0,
        }
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
        self.count(leaf, piece.visible().cast_signed());
        (leaf, at)
    }

    fn index_piece(&mut self, piece: &Piece, leaf: u32) {
        let replica = piece.replica as usize;
        if self.index.len() <= replica {
            self.index.resize_with(replica + 1, Leaves::default);
        }
        self.index[replica].assign(piece.counter, piece.end(), leaf);
    }

    /// Moves everything behind the first `keep` pieces to a new leaf.
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
        self.leaves.push(Leaf {
            pieces,
            visible,
            rank,
        });
        self.ranked.insert(rank as usize, new);
        self.recount();
        new
    }

    fn recount(&mut self) {
        self.sums.clear();
        self.sums.resize(self.ranked.len() + 1, 0);
        for (rank, &leaf) in self.ranked.iter().enumerate() {
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

    /// Inserts a piece that continues a run behind the element before it, and joins it with that
    /// element's piece if possible. Returns the place of its last element.
    pub(super) fn append<C: Content>(&mut self, content: &C, behind: Place, piece: Piece) -> Place {
        let before = &mut self.leaves[behind.leaf as usize].pieces[behind.piece];
        if behind.offset != before.len || !before.joins(&piece) {
            return self.insert(content, Some(behind), piece);
        }
        before.len += piece.len;
        before.size += piece.size;
        self.index[piece.replica as usize].assign(piece.counter, piece.end(), behind.leaf);
        self.count(behind.leaf, piece.visible().cast_signed());
        Place {
            offset: behind.offset + piece.len - 1,
            ..behind
        }
    }

    /// Makes `len` elements from `place` on, which lie in one piece, visible or not, and returns
    /// the piece as it was.
    pub(super) fn set<C: Content>(
        &mut self,
        content: &C,
        place: Place,
        len: u32,
        made: Option<(usize, u32)>,
    ) -> Piece {
        let start = self.split(content, place);
        self.split(
            content,
            Place {
                offset: len,
                ..start
            },
        );
        // The second split may have moved the piece to another leaf.
        let start = if self.leaves[start.leaf as usize].pieces.len() > start.piece {
            start
        } else {
            self.after(start)
        };
        let piece = &mut self.leaves[start.leaf as usize].pieces[start.piece];
        let before = *piece;
        piece.alive = made.is_some();
        (piece.at, piece.size) = made.unwrap_or_default();
        let change = piece.visible().cast_signed() - before.visible().cast_signed();
        self.count(start.leaf, change);
        if made.is_none() {
            self.merge_around(start);
        }
        before
    }

    /// The first place of the next leaf, if the given place is past the last piece of its leaf.
    fn after(&self, place: Place) -> Place {
        let leaf = &self.leaves[place.leaf as usize];
        Place {
            leaf: self.ranked[leaf.rank as usize + 1],
            piece: place.piece - leaf.pieces.len(),
            offset: 0,
        }
    }

    fn merge_around(&mut self, place: Place) {
        self.merge_next(place.leaf, place.piece);
        if let Some(before) = place.piece.checked_sub(1) {
            self.merge_next(place.leaf, before);
        }
    }

    fn merge_next(&mut self, leaf: u32, at: usize) {
        let pieces = &mut self.leaves[leaf as usize].pieces;
        let Some(next) = pieces
            .get(at + 1)
            .copied()
            .filter(|next| !next.alive && pieces[at].joins(next))
        else {
            return;
        };
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
