//! The parts of the skeleton: where an element belongs, runs of elements, and the runs per replica.

use alloc::vec::Vec;

use super::content::Content;
use super::piece::{Id, Piece};
use crate::{Dot, ReplicaId};

/// On which side of its parent an element is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Side {
    Left,
    Right,
}

/// Where an element belongs. For a run, this is the origin of its first element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Origin {
    /// [`EDGE`](super::piece::EDGE) for the start.
    pub(super) parent: Id,
    pub(super) side: Side,
    /// The element that stood behind it when it was inserted; [`EDGE`](super::piece::EDGE) for the
    /// end. For a left child this is its parent.
    pub(super) right: Id,
}

impl Origin {
    pub(super) fn map(self, mut id: impl FnMut(Id) -> Id) -> Self {
        Self {
            parent: id(self.parent),
            right: id(self.right),
            ..self
        }
    }

    /// The origin of the next element of a run, given this origin and the id `before` of the
    /// previous element.
    #[inline]
    pub(super) fn next_of(self, before: Id) -> Self {
        Self {
            parent: before,
            side: Side::Right,
            right: self.right,
        }
    }
}

/// Elements with consecutive dots, each the right child of the previous one, with the same right
/// origin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) len: u64,
    pub(super) origin: Origin,
}

/// Elements of one run, all alive or all dead, that are not in the tree yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) piece: Piece,
    pub(super) origin: Origin,
}

/// The replicas whose elements are known or referred to, in order of appearance.
#[derive(Clone, Debug, Default)]
pub(super) struct Peers {
    peers: Vec<Peer>,
    /// Indexes into `peers`, ascending by replica.
    sorted: Vec<u32>,
}

#[derive(Clone, Debug)]
struct Peer {
    id: ReplicaId,
    /// The elements in the tree, ascending; no run continues the one before.
    runs: Vec<Run>,
}

impl Peers {
    /// All replicas, ascending.
    pub(super) fn all(&self) -> impl Iterator<Item = u32> {
        self.sorted.iter().copied()
    }

    #[inline]
    pub(super) fn find(&self, replica: ReplicaId) -> Option<u32> {
        match self.peers.as_slice() {
            [only] => (only.id == replica).then_some(0),
            _ => self
                .sorted
                .binary_search_by_key(&replica, |&at| self.peers[at as usize].id)
                .ok()
                .map(|at| self.sorted[at]),
        }
    }

    #[inline]
    pub(super) fn id(&self, dot: Dot) -> Option<Id> {
        self.find(dot.replica).map(|replica| Id {
            replica,
            counter: dot.counter,
        })
    }

    #[inline]
    pub(super) fn intern(&mut self, dot: Dot) -> Id {
        let replica = self.find(dot.replica).unwrap_or_else(|| {
            let new = self.peers.len() as u32;
            let at = self
                .sorted
                .partition_point(|&at| self.peers[at as usize].id < dot.replica);
            self.sorted.insert(at, new);
            self.peers.push(Peer {
                id: dot.replica,
                runs: Vec::new(),
            });
            new
        });
        Id {
            replica,
            counter: dot.counter,
        }
    }

    #[inline]
    pub(super) fn replica(&self, replica: u32) -> ReplicaId {
        self.peers[replica as usize].id
    }

    #[inline]
    pub(super) fn dot(&self, id: Id) -> Dot {
        Dot::new(self.replica(id.replica), id.counter)
    }

    #[inline]
    pub(super) fn runs(&self, replica: u32) -> &[Run] {
        &self.peers[replica as usize].runs
    }

    /// The run in which an element of the tree is.
    #[inline]
    pub(super) fn run(&self, id: Id) -> Option<&Run> {
        let runs = &self.peers.get(id.replica as usize)?.runs;
        let run = match runs.last() {
            Some(last) if last.first <= id.counter => last,
            _ => {
                &runs[runs
                    .partition_point(|run| run.first <= id.counter)
                    .checked_sub(1)?]
            }
        };
        (id.counter - run.first < run.len).then_some(run)
    }

    /// The runs of a replica that end above a counter.
    pub(super) fn runs_above(&self, replica: u32, counter: u64) -> &[Run] {
        let runs = self.runs(replica);
        match runs.last() {
            Some(last) if last.first <= counter => &runs[runs.len() - 1..],
            _ => &runs[runs.partition_point(|run| run.first + run.len <= counter)..],
        }
    }

    /// The element after this one in its run.
    #[inline]
    pub(super) fn next_in_run(&self, id: Id) -> Option<Id> {
        self.run(id)
            .filter(|run| id.counter + 1 < run.first + run.len)
            .map(|_| id.plus(1))
    }

    /// Records elements and says whether they continue the run before them.
    #[inline]
    pub(super) fn note(&mut self, id: Id, len: u64, origin: Origin) -> bool {
        let runs = &mut self.peers[id.replica as usize].runs;
        let at = match runs.last() {
            Some(last) if last.first < id.counter => runs.len(),
            _ => runs.partition_point(|run| run.first < id.counter),
        };
        if let Some(before) = at.checked_sub(1).map(|at| &mut runs[at]) {
            let end = Id {
                counter: before.first + before.len,
                ..id
            };
            if end == id
                && origin
                    == before.origin.next_of(Id {
                        counter: id.counter - 1,
                        ..id
                    })
            {
                before.len += len;
                return true;
            }
        }
        runs.insert(
            at,
            Run {
                first: id.counter,
                len,
                origin,
            },
        );
        false
    }
}

impl Span {
    /// Whether `next` can be joined to this span.
    pub(super) fn continues(&self, next: &Self) -> bool {
        let (mine, theirs) = (&self.piece, &next.piece);
        mine.joins(theirs)
            && next.origin
                == self.origin.next_of(Id {
                    counter: theirs.counter - 1,
                    replica: theirs.replica,
                })
    }

    /// Cuts off and returns everything behind the first `count` elements.
    pub(super) fn split_off<C: Content>(&mut self, content: &C, count: u32) -> Self {
        let piece = self.piece.split_off(content, count);
        Self {
            origin: self
                .origin
                .next_of(self.piece.id().plus(u64::from(count) - 1)),
            piece,
        }
    }
}
