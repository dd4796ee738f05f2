//! How two sequences become one: the skeletons are united, and dots decide what is alive.

use alloc::vec::Vec;

use smallvec::SmallVec;

use super::content::Content;
use super::piece::{Changed, Id, Piece};
use super::state::{Sequence, SequenceEffect};
use crate::{CausalContext, Contexts};

/// Visits the maximal parts of `0..len` for which the test gives the same answer, with start,
/// length and answer.
pub(super) fn parts<T: Copy + PartialEq>(
    len: u64,
    test: impl Fn(u64) -> T,
    mut visit: impl FnMut(u64, u64, T),
) {
    let mut from = 0;
    while from < len {
        let passes = test(from);
        let end = (from + 1..len)
            .find(|&at| test(at) != passes)
            .unwrap_or(len);
        visit(from, end - from, passes);
        from = end;
    }
}

impl<C: Content> Sequence<C> {
    pub(crate) fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> Vec<SequenceEffect> {
        let mut changed = Changed::new();
        self.end_seen(theirs, contexts.theirs, &mut changed);
        for replica in theirs.peers.all() {
            for piece in theirs.pieces_of(replica, 0, u64::MAX) {
                let mut rest = *piece;
                while rest.len > 0 {
                    let end = theirs.run_end(&rest);
                    self.take(
                        theirs,
                        &cut(&mut rest, theirs, end),
                        contexts.mine,
                        &mut changed,
                    );
                }
            }
        }
        self.collect_garbage();
        self.effects(&changed)
    }

    /// Removes what they have seen and no longer have alive.
    fn end_seen(&mut self, theirs: &Self, seen: &CausalContext, changed: &mut Changed) {
        for (replica, run) in seen.runs() {
            let Some(mine) = self.peers.find(replica) else {
                continue;
            };
            let there = theirs
                .peers
                .find(replica)
                .into_iter()
                .flat_map(|there| theirs.pieces_of(there, *run.start(), *run.end()));
            let mut there = there.filter(|piece| piece.alive).peekable();
            let mut gone: SmallVec<[(u64, u64); 4]> = SmallVec::new();
            for piece in self
                .pieces_of(mine, *run.start(), *run.end())
                .filter(|piece| piece.alive)
            {
                let (mut at, end) = (
                    piece.counter.max(*run.start()),
                    piece.end().min(run.end().saturating_add(1)),
                );
                while at < end {
                    while there.next_if(|other| other.end() <= at).is_some() {}
                    let next = there.peek().map_or(end, |other| other.counter.min(end));
                    if next > at {
                        gone.push((at, next - at));
                    }
                    at = there.peek().map_or(end, |other| other.end().min(end));
                }
            }
            for (counter, len) in gone {
                self.kill(
                    Id {
                        replica: mine,
                        counter,
                    },
                    len,
                    changed,
                );
            }
        }
    }

    /// The end of the run in which a piece starts. A removed piece can span several runs.
    pub(super) fn run_end(&self, piece: &Piece) -> u64 {
        self.peers
            .run(piece.id())
            .map_or(piece.end(), |run| run.first + run.len)
    }

    /// Takes what is new in a piece of theirs, which lies in one run.
    pub(super) fn take(
        &mut self,
        theirs: &Self,
        piece: &Piece,
        seen: &CausalContext,
        changed: &mut Changed,
    ) {
        let mine = self.adopt(&theirs.peers, piece.id()).replica;
        let known: SmallVec<[(u64, u64, bool); 2]> = self
            .pieces_of(mine, piece.counter, piece.end() - 1)
            .map(|known| (known.counter, known.end(), known.alive))
            .collect();
        let mut rest = *piece;
        for (first, end, alive) in known {
            if rest.counter < first {
                let new = cut(&mut rest, theirs, first);
                self.take_new(theirs, &new, seen, changed);
            }
            let known = cut(&mut rest, theirs, end);
            if known.alive && !alive {
                self.revive(theirs, &known, seen, changed);
            }
        }
        if rest.len > 0 {
            self.take_new(theirs, &rest, seen, changed);
        }
    }

    fn take_new(
        &mut self,
        theirs: &Self,
        piece: &Piece,
        seen: &CausalContext,
        changed: &mut Changed,
    ) {
        let mut rest = *piece;
        let dot = |at: u64| theirs.peers.dot(piece.id().plus(at));
        parts(
            u64::from(piece.len),
            |at| piece.alive && !seen.contains(dot(at)),
            |_, count, alive| {
                let end = rest.counter + count;
                let part = cut(&mut rest, theirs, end);
                let origin = theirs
                    .origin(part.id())
                    .map(|id| self.adopt(&theirs.peers, id));
                let id = self.adopt(&theirs.peers, part.id());
                self.add(
                    id,
                    part.len as usize,
                    origin,
                    alive.then(|| theirs.slice_of(&part)),
                    changed,
                );
            },
        );
    }

    /// Makes elements alive that are here only as part of the skeleton and were not removed here.
    fn revive(
        &mut self,
        theirs: &Self,
        piece: &Piece,
        seen: &CausalContext,
        changed: &mut Changed,
    ) {
        let mut rest = *piece;
        let dot = |at: u64| theirs.peers.dot(piece.id().plus(at));
        parts(
            u64::from(piece.len),
            |at| !seen.contains(dot(at)),
            |_, count, new| {
                let end = rest.counter + count;
                let mut part = cut(&mut rest, theirs, end);
                if new {
                    let elements = theirs.slice_of(&part);
                    (part.replica, part.at) = (
                        self.adopt(&theirs.peers, part.id()).replica,
                        self.content.size(),
                    );
                    self.content.push(elements);
                    self.make_alive(&part, changed);
                }
            },
        );
    }

    fn make_alive(&mut self, piece: &Piece, changed: &mut Changed) {
        self.cursor = None;
        let mut rest = *piece;
        while rest.len > 0 {
            let id = rest.id();
            let Some(place) = self.order.locate(id) else {
                return self.make_alive_pending(rest);
            };
            let count = rest.len.min(self.order.piece(place).len - place.offset);
            let tail = rest.split_off(&self.content, count);
            self.order
                .set(&self.content, place, count, Some((rest.at, rest.size)));
            changed.push((id, count));
            rest = tail;
        }
    }

    fn make_alive_pending(&mut self, mut rest: Piece) {
        while rest.len > 0 {
            let (id, count) = self.isolate_pending(rest.id(), rest.len);
            let tail = rest.split_off(&self.content, count);
            if let Some(span) = self.pending.get_mut(&id) {
                span.piece = rest;
            }
            rest = tail;
        }
    }

    /// Removes those of the elements that are alive here.
    pub(super) fn kill(&mut self, id: Id, len: u64, changed: &mut Changed) {
        self.cursor = None;
        let end = id.counter.saturating_add(len);
        let alive: SmallVec<[(u64, u64); 4]> = self
            .pieces_of(id.replica, id.counter, end - 1)
            .filter(|piece| piece.alive)
            .map(|piece| (piece.counter.max(id.counter), piece.end().min(end)))
            .collect();
        for (counter, end) in alive {
            let (id, count) = (Id { counter, ..id }, (end - counter) as u32);
            let Some(place) = self.order.locate(id) else {
                self.kill_pending(id, count);
                continue;
            };
            let before = self.order.set(&self.content, place, count, None);
            self.free(&before);
            changed.push((id, count));
        }
    }

    /// Releases the content of a removed piece.
    pub(super) fn free(&mut self, piece: &Piece) {
        if piece.at + piece.size as usize == self.content.size() {
            self.content.truncate(piece.at);
        } else {
            self.garbage += piece.size as usize;
        }
    }

    fn kill_pending(&mut self, id: Id, count: u32) {
        self.isolate_pending(id, count);
        let Some(span) = self.pending.get_mut(&id) else {
            return;
        };
        let before = core::mem::replace(&mut span.piece, Piece::dead(id, count as usize));
        let span = *span;
        self.free(&before);
        let after = id.plus(u64::from(count));
        if self
            .pending
            .get(&after)
            .is_some_and(|next| span.continues(next))
        {
            let next = self.pending.remove(&after).map_or(0, |next| next.piece.len);
            self.unwait(id.plus(u64::from(count) - 1), after);
            self.pending
                .entry(id)
                .and_modify(|span| span.piece.len += next);
        }
    }

    fn unwait(&mut self, missing: Id, id: Id) {
        if let Some(waiting) = self.waiting.get_mut(&missing) {
            waiting.retain(|other| *other != id);
            if waiting.is_empty() {
                self.waiting.remove(&missing);
            }
        }
    }

    /// Makes a pending span start at `id` and end at most `count` elements later; returns its
    /// length.
    fn isolate_pending(&mut self, id: Id, count: u32) -> (Id, u32) {
        if let Some((&first, span)) = self
            .pending
            .range_mut(..id)
            .next_back()
            .filter(|(_, span)| span.piece.contains(id))
        {
            let tail = span.split_off(&self.content, (id.counter - first.counter) as u32);
            self.pending.insert(id, tail);
            self.waiting
                .entry(Id {
                    counter: id.counter - 1,
                    ..id
                })
                .or_default()
                .push(id);
        }
        let Some(span) = self.pending.get_mut(&id) else {
            return (id, count);
        };
        if span.piece.len <= count {
            return (id, span.piece.len);
        }
        let tail = span.split_off(&self.content, count);
        let after = id.plus(u64::from(count));
        self.pending.insert(after, tail);
        self.waiting
            .entry(id.plus(u64::from(count) - 1))
            .or_default()
            .push(after);
        (id, count)
    }

    /// The change as readers see it, in order.
    fn effects(&self, changed: &Changed) -> Vec<SequenceEffect> {
        let mut ranges = Vec::with_capacity(changed.len());
        for &(id, len) in changed {
            let (mut id, mut left) = (id, len);
            while left > 0 {
                let place = self.locate(id);
                let piece = self.order.piece(place);
                let count = left.min(piece.len - place.offset);
                ranges.push((
                    self.order.key(place),
                    self.order.position(place),
                    count as usize,
                    piece.alive,
                ));
                (id, left) = (id.plus(u64::from(count)), left - count);
            }
        }
        ranges.sort_unstable();
        let mut effects: Vec<SequenceEffect> = Vec::new();
        for (_, at, count, alive) in ranges {
            let (inserted, deleted) = if alive { (count, 0) } else { (0, count) };
            match effects.last_mut() {
                Some(before) if before.at + before.inserted == at => {
                    before.inserted += inserted;
                    before.deleted += deleted;
                }
                _ => effects.push(SequenceEffect {
                    at,
                    inserted,
                    deleted,
                }),
            }
        }
        effects
    }
}

/// Cuts off and returns the elements before the counter `end`, or all.
pub(super) fn cut<C: Content>(rest: &mut Piece, of: &Sequence<C>, end: u64) -> Piece {
    let count = end.saturating_sub(rest.counter).min(u64::from(rest.len)) as u32;
    let tail = rest.split_off(&of.content, count);
    core::mem::replace(rest, tail)
}
