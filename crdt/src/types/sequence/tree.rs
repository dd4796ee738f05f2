//! The skeleton: parents and children, where that puts an element, and what waits for a missing
//! element.

use alloc::vec::Vec;
use core::cmp::Ordering;

use smallvec::SmallVec;

use super::join::Changed;
use super::order::Place;
use super::piece::{EDGE, Id, PIECE, Piece};
use super::{Content, Cursor, Sequence};
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
    /// [`EDGE`] for the start.
    pub(super) parent: Id,
    pub(super) side: Side,
    /// The element that stood behind it when it was inserted; [`EDGE`] for the end. For a left
    /// child this is its parent.
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

impl<C: Content> Sequence<C> {
    /// The origin of an element that is known here, in the tree or pending.
    pub(super) fn origin(&self, id: Id) -> Origin {
        let (first, origin) = if let Some(run) = self.peers.run(id) {
            (run.first, run.origin)
        } else {
            let (first, span) = self
                .pending
                .range(..=id)
                .next_back()
                .expect("invariant: asked only of what is known");
            (first.counter, span.origin)
        };
        if first == id.counter {
            origin
        } else {
            origin.next_of(Id {
                counter: id.counter - 1,
                ..id
            })
        }
    }

    /// Adds elements that are all unknown here, the visible ones with their content. Records in
    /// `changed` what becomes visible.
    pub(super) fn add(
        &mut self,
        mut id: Id,
        len: usize,
        mut origin: Origin,
        elements: Option<&C::Slice>,
        changed: &mut Changed,
    ) {
        let (mut left, mut units) = (len, 0);
        while left > 0 {
            let count = left.min(PIECE);
            let mut piece = Piece::dead(id, count);
            if let Some(elements) = elements {
                let size = C::offset(C::part(elements, units..C::units(elements)), count);
                (piece.at, piece.size, piece.alive) = (self.content.size(), size as u32, true);
                self.content.push(C::part(elements, units..units + size));
                units += size;
            }
            self.add_piece(Span { piece, origin }, changed);
            origin = origin.next_of(id.plus(count as u64 - 1));
            id = id.plus(count as u64);
            left -= count;
        }
    }

    /// Adds elements whose content is already in the buffer.
    pub(super) fn add_piece(&mut self, span: Span, changed: &mut Changed) {
        let mut ready: SmallVec<[Span; 2]> = SmallVec::new();
        ready.push(span);
        while let Some(span) = ready.pop() {
            let behind_cursor = self.behind_cursor(&span);
            if let Some(missing) = behind_cursor.map_or_else(|| self.missing(&span), |_| None) {
                self.wait(span, missing);
                continue;
            }
            self.place(&span, behind_cursor);
            if span.piece.alive {
                changed.push((span.piece.id(), span.piece.len));
            }
            if self.waiting.is_empty() {
                continue;
            }
            let arrived = span.piece.id()..=span.piece.id().plus(u64::from(span.piece.len) - 1);
            while let Some((&missing, _)) = self.waiting.range(arrived.clone()).next() {
                let waiting = self.waiting.remove(&missing).unwrap_or_default();
                ready.extend(waiting.iter().filter_map(|id| self.pending.remove(id)));
            }
        }
    }

    /// An element that the span refers to and that is not in the tree.
    fn missing(&self, span: &Span) -> Option<Id> {
        let known = |id: Id| id == EDGE || self.peers.run(id).is_some();
        [span.origin.parent, span.origin.right]
            .into_iter()
            .find(|&id| !known(id))
    }

    /// Keeps the span until the missing element comes.
    pub(super) fn wait(&mut self, span: Span, missing: Id) {
        let id = span.piece.id();
        let before = self
            .pending
            .range_mut(..id)
            .next_back()
            .map(|(_, before)| before);
        if let Some(before) = before.filter(|before| before.continues(&span)) {
            before.piece.len += span.piece.len;
            before.piece.size += span.piece.size;
            return;
        }
        self.pending.insert(id, span);
        self.waiting.entry(missing).or_default().push(id);
    }

    /// Puts a span whose origins are in the tree where it belongs.
    fn place(&mut self, span: &Span, known: Option<Place>) {
        let (id, origin) = (span.piece.id(), span.origin);
        let before = known.or_else(|| self.find_place(id, origin));
        let continues = self.register(id, u64::from(span.piece.len), origin);
        let place = match before {
            Some(place) if continues && place.offset > 0 => {
                self.order.append(&self.content, place, span.piece)
            }
            _ => self.order.insert(&self.content, before, span.piece),
        };
        self.cursor = Some(Cursor {
            id: id.plus(u64::from(span.piece.len) - 1),
            place,
            end: None,
        });
    }

    /// The place of a span that continues the run of the last inserted element.
    fn behind_cursor(&self, span: &Span) -> Option<Place> {
        let cursor = self
            .cursor
            .filter(|cursor| cursor.id == span.origin.parent && span.origin.side == Side::Right)?;
        let run = self
            .peers
            .run(cursor.id)
            .filter(|run| run.origin.right == span.origin.right)?;
        (run.first + run.len == cursor.id.counter + 1).then_some(Place {
            offset: cursor.place.offset + 1,
            ..cursor.place
        })
    }

    /// Records elements in the tree, and says whether they continue a run.
    pub(super) fn register(&mut self, id: Id, len: u64, origin: Origin) -> bool {
        let continues = self.peers.note(id, len, origin);
        if !continues {
            let key = (origin.parent, origin.side);
            let at = self.children.get(&key).map_or(0, |siblings| {
                siblings.partition_point(|&other| self.stands_before(other, id))
            });
            self.children.entry(key).or_default().insert(at, id);
        }
        continues
    }

    /// The place before which a new element belongs.
    fn find_place(&self, id: Id, origin: Origin) -> Option<Place> {
        let siblings = self
            .children
            .get(&(origin.parent, origin.side))
            .map_or(&[][..], |siblings| siblings.as_slice());
        let before_me =
            siblings.partition_point(|&other| self.compare(origin, other, id) == Ordering::Less);
        let (mut last, mut next) = (
            before_me.checked_sub(1).map(|at| siblings[at]),
            siblings.get(before_me).copied(),
        );
        if origin.side == Side::Left {
            let parent = self.locate(origin.parent);
            return Some(next.map_or(parent, |next| self.locate(self.leftmost(next))));
        }
        if let Some(in_run) = self.peers.next_in_run(origin.parent) {
            if self.compare(origin, in_run, id) == Ordering::Less {
                last = Some(
                    last.filter(|&last| self.stands_before(in_run, last))
                        .unwrap_or(in_run),
                );
            } else {
                next = Some(
                    next.filter(|&next| self.stands_before(next, in_run))
                        .unwrap_or(in_run),
                );
            }
        }
        match (last, next) {
            (_, Some(next)) => Some(self.locate(self.leftmost(next))),
            (Some(last), None) => Some(self.behind(self.rightmost(last))),
            (None, None) if origin.parent == EDGE => None,
            (None, None) => Some(self.behind(origin.parent)),
        }
    }

    /// Whether an element stands before its sibling.
    fn stands_before(&self, one: Id, other: Id) -> bool {
        self.compare(self.origin(other), one, other) == Ordering::Less
    }

    /// How `one` compares with its sibling `other`, which has the given origin.
    fn compare(&self, others: Origin, one: Id, other: Id) -> Ordering {
        let by_right = match others.side {
            Side::Left => Ordering::Equal,
            Side::Right => self.compare_places(others.right, self.origin(one).right),
        };
        by_right.then_with(|| self.peers.dot(one).cmp(&self.peers.dot(other)))
    }

    /// Which of two right origins comes first.
    fn compare_places(&self, one: Id, other: Id) -> Ordering {
        match (one, other) {
            _ if one == other => Ordering::Equal,
            (EDGE, _) => Ordering::Greater,
            (_, EDGE) => Ordering::Less,
            _ => self
                .order
                .key(self.locate(one))
                .cmp(&self.order.key(self.locate(other))),
        }
    }

    /// The first element in the subtree of this one.
    fn leftmost(&self, mut id: Id) -> Id {
        while let Some(children) = self.children.get(&(id, Side::Left)) {
            id = children[0];
        }
        id
    }

    /// The last element in the subtree of this one. Skips whole runs at once.
    fn rightmost(&self, mut id: Id) -> Id {
        'below: loop {
            let Some(run) = self.peers.run(id) else {
                return id;
            };
            let end = Id {
                counter: run.first + run.len - 1,
                ..id
            };
            for (&(parent, side), children) in
                self.children.range((id, Side::Left)..=(end, Side::Right))
            {
                let Some(&last) = children.last().filter(|_| side == Side::Right) else {
                    continue;
                };
                if parent == end || self.stands_before(parent.plus(1), last) {
                    id = last;
                    continue 'below;
                }
            }
            return end;
        }
    }

    pub(super) fn locate(&self, id: Id) -> Place {
        self.order
            .locate(id)
            .expect("invariant: what has a run has its place")
    }

    fn behind(&self, id: Id) -> Place {
        let place = self.locate(id);
        Place {
            offset: place.offset + 1,
            ..place
        }
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
