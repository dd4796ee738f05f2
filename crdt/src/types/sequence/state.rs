//! The state of a sequence, and how it is read.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::ops::Range;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;
use thiserror::Error;

use super::content::Content;
use super::order::{Order, Place};
use super::piece::{EDGE, Id, Piece};
use super::skeleton::{Origin, Peers, Side, Span};
use crate::{Dot, Effects, ReplicaId};

/// A position, or the end of a range, is past the end of the sequence. Nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("position {at} is past the end of a sequence of length {len}")]
pub struct OutOfRange {
    /// The position.
    pub at: usize,
    /// The length of the sequence.
    pub len: usize,
}

/// A position that moves along with the text around it: behind one element, or at the start. It
/// means the same at every replica, so it can be sent to others, for instance as a user's cursor.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Anchor(Option<Dot>);

/// One range that a merge changed: at `at`, `deleted` elements were replaced by `inserted` new
/// ones. Applied to the old elements in the order given, the effects of a merge yield the new
/// elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SequenceEffect {
    /// Where the range starts after the merge.
    pub at: usize,
    /// How many elements were inserted.
    pub inserted: usize,
    /// How many elements were deleted.
    pub deleted: usize,
}

impl Effects for Vec<SequenceEffect> {
    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }
}

/// Elements in an order that all replicas agree on.
///
/// **Invariants:** the elements in `order` are those that have a run in `peers`. An element is in
/// `order` once the elements that it refers to are; until then it waits in `pending`.
#[derive(Clone, Debug)]
pub(crate) struct Sequence<C> {
    /// The content of the visible elements, in no order, with that of removed ones in between.
    pub(super) content: C,
    /// How many units of the content no element refers to.
    pub(super) garbage: usize,
    pub(super) peers: Peers,
    pub(super) order: Order,
    /// The last inserted element; `None` once anything else has changed.
    pub(super) cursor: Option<Cursor>,
    /// The children except the next element of the run, in the order of siblings.
    pub(super) children: BTreeMap<(Id, Side), SmallVec<[Id; 1]>>,
    /// Elements that refer to elements that are not here yet, by the first element.
    pub(super) pending: BTreeMap<Id, Span>,
    /// What waits for a missing element, by that element.
    pub(super) waiting: BTreeMap<Id, SmallVec<[Id; 1]>>,
}

/// The last inserted element: it has no right children yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor {
    pub(super) id: Id,
    pub(super) place: Place,
    /// How many visible elements there are up to and including this one, if it was inserted here.
    pub(super) end: Option<usize>,
}

impl<C: Content> Default for Sequence<C> {
    fn default() -> Self {
        Self {
            content: C::default(),
            garbage: 0,
            peers: Peers::default(),
            order: Order::default(),
            cursor: None,
            children: BTreeMap::new(),
            pending: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }
}

impl<C: Content> Sequence<C> {
    pub(crate) fn len(&self) -> usize {
        self.order.visible()
    }

    pub(crate) fn is_bottom(&self) -> bool {
        self.order.is_empty() && self.pending.is_empty()
    }

    /// The visible elements, in stretches.
    pub(crate) fn stretches(&self) -> impl Iterator<Item = &C::Slice> {
        self.order
            .pieces()
            .filter(|piece| piece.alive)
            .map(|piece| self.slice_of(piece))
    }

    /// The visible elements in `range`, in stretches.
    pub(crate) fn range(
        &self,
        range: Range<usize>,
    ) -> Result<impl Iterator<Item = &C::Slice>, OutOfRange> {
        self.check(range.end)?;
        let from = (range.start < range.end).then(|| self.order.find(range.start));
        let mut skip = from.map_or(0, |place| place.offset as usize);
        let mut left = range.end.saturating_sub(range.start);
        let pieces = from
            .into_iter()
            .flat_map(|place| self.order.pieces_from(place))
            .filter(|piece| piece.alive);
        Ok(pieces.map_while(move |piece| {
            let elements = self.slice_of(piece);
            let first = C::offset(elements, skip);
            let tail = C::part(elements, first..piece.size as usize);
            let tail = C::part(tail, 0..C::offset(tail, left));
            left -= left.min(piece.len as usize - skip);
            skip = 0;
            (C::count(tail) > 0).then_some(tail)
        }))
    }

    pub(crate) fn anchor(&self, at: usize) -> Result<Anchor, OutOfRange> {
        self.check(at)?;
        let before = at.checked_sub(1).map(|before| self.order.find(before));
        Ok(Anchor(before.map(|place| {
            self.peers
                .dot(self.order.piece(place).id().plus(u64::from(place.offset)))
        })))
    }

    /// Where the anchor is; `None` if its element is not here yet.
    pub(crate) fn resolve(&self, anchor: Anchor) -> Option<usize> {
        let Some(dot) = anchor.0 else { return Some(0) };
        let place = self.order.locate(self.peers.id(dot)?)?;
        Some(self.order.position(place) + usize::from(self.order.piece(place).alive))
    }

    pub(crate) fn dot_count(&self) -> usize {
        self.len()
            + self
                .pending
                .values()
                .map(|span| span.piece.visible())
                .sum::<usize>()
    }

    /// Visits every live dot, ascending per replica.
    pub(crate) fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        for replica in self.peers.all() {
            for piece in self
                .pieces_of(replica, 0, u64::MAX)
                .filter(|piece| piece.alive)
            {
                (0..u64::from(piece.len))
                    .for_each(|more| visit(self.peers.dot(piece.id().plus(more))));
            }
        }
    }

    pub(crate) fn is_alive(&self, dot: Dot) -> bool {
        let Some(id) = self.peers.id(dot) else {
            return false;
        };
        self.pieces_of(id.replica, id.counter, id.counter)
            .any(|piece| piece.alive)
    }

    /// The highest counter of the replica that is named here, by an element or by a reference to
    /// one.
    pub(crate) fn named(&self, replica: ReplicaId) -> u64 {
        let Some(of) = self.peers.find(replica) else {
            return 0;
        };
        let named = |id: Id| if id.replica == of { id.counter } else { 0 };
        let of_origin = |origin: Origin| named(origin.parent).max(named(origin.right));
        let runs = self
            .peers
            .all()
            .flat_map(|peer| self.peers.runs(peer).iter().map(move |run| (peer, run)));
        let runs = runs.map(|(peer, run)| {
            named(Id {
                replica: peer,
                counter: run.first + (run.len - 1),
            })
            .max(of_origin(run.origin))
        });
        let pending = self.pending.values().map(|span| {
            named(span.piece.id().plus(u64::from(span.piece.len) - 1)).max(of_origin(span.origin))
        });
        runs.chain(pending).max().unwrap_or(0)
    }

    /// The local id of an element that the other sequence calls `id`.
    pub(super) fn adopt(&mut self, others: &Peers, id: Id) -> Id {
        if id == EDGE {
            EDGE
        } else {
            self.peers.intern(others.dot(id))
        }
    }

    pub(super) fn slice_of(&self, piece: &Piece) -> &C::Slice {
        self.content.slice(piece.at..piece.at + piece.size as usize)
    }

    pub(super) fn check(&self, at: usize) -> Result<(), OutOfRange> {
        let len = self.len();
        if at <= len {
            Ok(())
        } else {
            Err(OutOfRange { at, len })
        }
    }

    /// The pieces of a replica that reach into `first..=last`, ascending, including pending ones.
    pub(super) fn pieces_of(
        &self,
        replica: u32,
        first: u64,
        last: u64,
    ) -> impl Iterator<Item = &Piece> {
        let mut placed = self.placed_pieces(replica, first, last).peekable();
        let from = self
            .pending
            .range(
                ..=Id {
                    replica,
                    counter: first,
                },
            )
            .next_back();
        let from = from.map_or(first, |(id, _)| {
            if id.replica == replica {
                id.counter
            } else {
                first
            }
        });
        let range = Id {
            replica,
            counter: from,
        }..=Id {
            replica,
            counter: last,
        };
        let mut pending = self
            .pending
            .range(range)
            .map(|(_, span)| &span.piece)
            .filter(move |piece| piece.end() > first)
            .peekable();
        core::iter::from_fn(move || match (placed.peek(), pending.peek()) {
            (Some(a), Some(b)) if a.counter > b.counter => pending.next(),
            (Some(_), _) => placed.next(),
            _ => pending.next(),
        })
    }

    fn placed_pieces(&self, replica: u32, first: u64, last: u64) -> impl Iterator<Item = &Piece> {
        let mut runs = self.peers.runs_above(replica, first).iter();
        let mut run = runs.next();
        let mut at = first;
        core::iter::from_fn(move || {
            while run.is_some_and(|run| run.first + run.len <= at) {
                run = runs.next();
            }
            let counter = run
                .map(|run| run.first.max(at))
                .filter(|&counter| counter <= last)?;
            let piece = self
                .order
                .piece(self.order.locate(Id { replica, counter })?);
            at = piece.end();
            Some(piece)
        })
    }

    /// Rewrites the content once most of it is garbage. Linear, and paid for by the removals.
    pub(super) fn collect_garbage(&mut self) {
        if self.garbage <= 1024 || self.garbage <= self.content.size() / 2 {
            return;
        }
        let old = core::mem::take(&mut self.content);
        let pieces = self
            .order
            .pieces_mut()
            .chain(self.pending.values_mut().map(|span| &mut span.piece));
        for piece in pieces.filter(|piece| piece.alive) {
            let units = piece.at..piece.at + piece.size as usize;
            piece.at = self.content.size();
            self.content.push(old.slice(units));
        }
        self.garbage = 0;
    }
}

/// Equal if they have the same elements, alive and dead, at the same places, with the same content.
impl<C: Content> PartialEq for Sequence<C> {
    fn eq(&self, other: &Self) -> bool {
        let (mine, theirs) = (self.skeleton(), other.skeleton());
        mine.len() == theirs.len()
            && mine.iter().zip(&theirs).all(|((mine, a), (theirs, b))| {
                self.run_dots(*mine, a) == other.run_dots(*theirs, b)
            })
            && self.live_content_is(other)
    }
}
