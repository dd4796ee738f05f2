//! The tree: where an element belongs among the others, and what waits for a missing element.

use core::cmp::Ordering;

use smallvec::SmallVec;

use super::content::Content;
use super::order::Place;
use super::piece::{Changed, EDGE, Id, PIECE, Piece};
use super::skeleton::{Origin, Side, Span};
use super::state::{Cursor, Sequence};

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
