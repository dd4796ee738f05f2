//! Parts of a sequence: some of its live elements, with as much of the skeleton as is asked for.

use super::content::Content;
use super::join::{cut, parts};
use super::piece::{Changed, Piece};
use super::state::Sequence;
use crate::{CausalContext, Dot, Undotted};

impl<C: Content> Sequence<C> {
    /// Those of the dots that are alive, with their content, and as much of the skeleton as
    /// `undotted` says.
    pub(crate) fn part(&self, dots: &CausalContext, undotted: Undotted<'_>) -> Self {
        match undotted {
            Undotted::Kept => self.part_with_skeleton(dots),
            Undotted::Dropped => self.part_of_live(dots),
            Undotted::Within(seen) => self.part_with_places(dots, |place| seen.contains(place)),
            Undotted::Beyond(seen) | Undotted::Since(seen) => {
                self.part_with_places(dots, |place| !seen.contains(place))
            }
        }
    }

    fn part_with_skeleton(&self, dots: &CausalContext) -> Self {
        let mut part = self.clone();
        part.cursor = None;
        if dots.is_empty() {
            part.order.hide_all();
            part.pending.values_mut().for_each(|span| {
                span.piece = Piece::dead(span.piece.id(), span.piece.len as usize);
            });
            part.content = C::default();
            part.garbage = 0;
            return part;
        }
        for replica in self.peers.all() {
            for piece in self
                .pieces_of(replica, 0, u64::MAX)
                .filter(|piece| piece.alive)
            {
                let id = piece.id();
                parts(
                    u64::from(piece.len),
                    |more| dots.contains(self.peers.dot(id.plus(more))),
                    |from, count, asked| {
                        if !asked {
                            part.kill(id.plus(from), count, &mut Changed::new());
                        }
                    },
                );
            }
        }
        part.collect_garbage();
        part
    }

    fn part_of_live(&self, dots: &CausalContext) -> Self {
        let mut part = Self::default();
        for (replica, run) in dots.runs() {
            let Some(replica) = self.peers.find(replica) else {
                continue;
            };
            for piece in self
                .pieces_of(replica, *run.start(), *run.end())
                .filter(|piece| piece.alive)
            {
                let (first, end) = (
                    piece.counter.max(*run.start()),
                    piece.end().min(run.end() + 1),
                );
                part.add_from(self, &self.inner(piece, first, end));
            }
        }
        part
    }

    /// Those of the dots that are alive, and the places of those other elements for which `wanted`
    /// holds.
    fn part_with_places(&self, dots: &CausalContext, wanted: impl Fn(Dot) -> bool) -> Self {
        let mut part = Self::default();
        for replica in self.peers.all() {
            for piece in self.pieces_of(replica, 0, u64::MAX) {
                let mut rest = *piece;
                while rest.len > 0 {
                    let end = self.run_end(&rest);
                    let piece = cut(&mut rest, self, end);
                    let dot = |more| self.peers.dot(piece.id().plus(more));
                    parts(
                        u64::from(piece.len),
                        |more| (piece.alive && dots.contains(dot(more)), wanted(dot(more))),
                        |from, count, (alive, wanted)| {
                            let inner = self.inner(
                                &piece,
                                piece.counter + from,
                                piece.counter + from + count,
                            );
                            if alive {
                                part.add_from(self, &inner);
                            } else if wanted {
                                part.add_from(self, &Piece::dead(inner.id(), count as usize));
                            }
                        },
                    );
                }
            }
        }
        part
    }

    /// The elements `first..end` of a piece.
    fn inner(&self, piece: &Piece, first: u64, end: u64) -> Piece {
        let mut inner = *piece;
        if first > inner.counter {
            inner = inner.split_off(&self.content, (first - inner.counter) as u32);
        }
        inner.split_off(&self.content, (end - first) as u32);
        inner
    }

    /// Adds elements of another sequence, none of which is here.
    fn add_from(&mut self, other: &Self, piece: &Piece) {
        let origin = other
            .origin(piece.id())
            .map(|id| self.adopt(&other.peers, id));
        let id = self.adopt(&other.peers, piece.id());
        let elements = piece.alive.then(|| other.slice_of(piece));
        self.add(
            id,
            piece.len as usize,
            origin,
            elements,
            &mut Changed::new(),
        );
    }
}
