//! Local changes, applied to the value and to the delta of the transaction alike.

use core::ops::Range;

use super::content::Content;
use super::order::Place;
use super::piece::{Changed, EDGE, Id, PIECE, Piece};
use super::skeleton::{Origin, Side};
use super::state::{Cursor, OutOfRange, Sequence};
use crate::{CausalContext, Tx, bugs};

impl<C: Content> Sequence<C> {
    /// Inserts elements; the first gets index `at`.
    pub(crate) fn insert(
        &mut self,
        delta: &mut Self,
        tx: &mut Tx<'_>,
        at: usize,
        elements: &C::Slice,
    ) -> Result<(), OutOfRange> {
        self.check(at)?;
        let total = C::count(elements);
        if total == 0 {
            return Ok(());
        }
        let mut id = self.issue(tx, total as u64);
        let mut cursor = self
            .cursor
            .take()
            .filter(|cursor| cursor.end == Some(at))
            .map(|cursor| cursor.place);
        let mut place = cursor.or_else(|| at.checked_sub(1).map(|before| self.order.find(before)));
        let (mut done, mut units) = (0, 0);
        while done < total {
            let count = (total - done).min(PIECE);
            let rest = C::part(elements, units..C::units(elements));
            let size = if total <= PIECE {
                C::units(rest)
            } else {
                C::offset(rest, count)
            };
            let part = C::part(rest, 0..size);
            let origin = self.origin_behind(place, cursor.is_some());
            cursor = Some(self.insert_behind(place, id, count, part, origin));
            place = cursor;
            let there = origin.map(|id| delta.adopt(&self.peers, id));
            let first = delta.adopt(&self.peers, id);
            delta.add(first, count, there, Some(part), &mut Changed::new());
            (done, units) = (done + count, units + size);
            id = id.plus(count as u64);
        }
        let last = Id {
            counter: id.counter - 1,
            ..id
        };
        self.cursor = cursor.map(|place| Cursor {
            id: last,
            place,
            end: Some(at + total),
        });
        Ok(())
    }

    /// Issues dots that no element here has. An element with a dot that was never issued can only
    /// be forged.
    fn issue(&mut self, tx: &mut Tx<'_>, count: u64) -> Id {
        let id = self.peers.intern(tx.issue_run(count));
        let forged = self
            .peers
            .runs(id.replica)
            .last()
            .map_or(0, |run| run.first + run.len - 1);
        let pending = self
            .pending
            .range(
                id..=Id {
                    counter: u64::MAX,
                    ..id
                },
            )
            .next_back();
        let forged = pending.map_or(forged, |(_, span)| forged.max(span.piece.end() - 1));
        if forged < id.counter {
            return id;
        }
        let skipped = (forged + 1).saturating_sub(id.counter + count);
        let first = tx.issue_run(skipped + count);
        id.plus(first.counter - id.counter + skipped)
    }

    /// Inserts elements behind a visible one, or at the start, and returns the place of the last
    /// one.
    fn insert_behind(
        &mut self,
        place: Option<Place>,
        id: Id,
        count: usize,
        elements: &C::Slice,
        origin: Origin,
    ) -> Place {
        let (at, size) = (self.content.size(), C::units(elements) as u32);
        self.content.push(elements);
        let continues = self.register(id, count as u64, origin);
        let piece = Piece {
            counter: id.counter,
            at,
            replica: id.replica,
            len: count as u32,
            size,
            alive: true,
        };
        match place.map(|place| Place {
            offset: place.offset + 1,
            ..place
        }) {
            Some(place) if continues => self.order.append(&self.content, place, piece),
            place => self.order.insert(&self.content, place, piece),
        }
    }

    /// The origin of an insertion behind the element at `place`. The insertion never gets a sibling
    /// next to it: a right child has none yet, and nothing stands before the parent of a left
    /// child.
    fn origin_behind(&self, place: Option<Place>, is_last_made: bool) -> Origin {
        let Some(place) = place else {
            let first = self.order.first();
            let side = if first == EDGE {
                Side::Right
            } else {
                Side::Left
            };
            return Origin {
                parent: first,
                side,
                right: first,
            };
        };
        let right = self.order.next(place);
        let parent = self.order.piece(place).id().plus(u64::from(place.offset));
        let has_right = || {
            self.peers.next_in_run(parent).is_some()
                || self.children.contains_key(&(parent, Side::Right))
        };
        if !is_last_made && has_right() {
            Origin {
                parent: right,
                side: Side::Left,
                right,
            }
        } else {
            Origin {
                parent,
                side: Side::Right,
                right,
            }
        }
    }

    /// Deletes the elements of a range.
    pub(crate) fn delete(
        &mut self,
        delta: &mut Self,
        tx: &mut Tx<'_>,
        range: Range<usize>,
    ) -> Result<(), OutOfRange> {
        self.check(range.end)?;
        self.cursor = None;
        let mut left = range.end.saturating_sub(range.start);
        while left > 0 {
            let place = self.order.find(range.start);
            let piece = self.order.piece(place);
            let id = piece.id().plus(u64::from(place.offset));
            let count = left.min((piece.len - place.offset) as usize);
            let before = self.order.set(&self.content, place, count as u32, None);
            self.free(&before);
            let dot = self.peers.dot(id);
            for more in 0..count as u64 {
                tx.end(crate::Dot {
                    counter: dot.counter + more,
                    ..dot
                });
            }
            if let Some(there) = delta.peers.id(dot) {
                delta.kill(there, count as u64, &mut Changed::new());
            }
            // A replica that hears of the end of elements has seen them, so it must know their
            // places too.
            if !bugs::PLACELESS_DELETION.is_planted() {
                delta.take(
                    self,
                    &Piece::dead(id, count),
                    &CausalContext::new(),
                    &mut Changed::new(),
                );
            }
            left -= count;
        }
        self.collect_garbage();
        delta.collect_garbage();
        Ok(())
    }
}
