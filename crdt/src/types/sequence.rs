//! The engine of [`List`](super::List) and [`Text`](super::Text): Fugue in its form `FugueMax`
//! (Weidner and Kleppmann, "The Art of the Fugue", arXiv 2305.00583, section 5).
//!
//! Each element is a node of a tree: a left or right child of an element that stood next to it when
//! it was inserted. The in-order walk of the tree is the order. Left siblings are ordered by their
//! dots. Right siblings are ordered by their right origins (the element that stood behind them when
//! they were inserted), in reverse, and then by their dots. So the order follows from the set of
//! elements alone, whoever merged with whom and when, and what two writers insert at one place does
//! not interleave.
//!
//! A removed element keeps its node, because others refer to it: the tree without content is the
//! **skeleton**. Elements that one replica inserted one after the other, each the right child of
//! the one before, are one run of the skeleton.

mod content;
mod edit;
mod join;
mod leaves;
mod order;
mod part;
mod piece;
mod skeleton;
mod state;
#[cfg(test)]
mod tests;
mod tree;
mod wire;

pub(crate) use self::state::Sequence;
pub use self::state::{Anchor, OutOfRange, SequenceEffect};

/// Implements [`Crdt`](crate::Crdt) for a newtype of a sequence.
macro_rules! crdt_by_sequence {
    ([$($generics:tt)*] $type:ty, $kind:ident) => {
        impl<$($generics)*> Crdt for $type {
            type Edit<'a> = Edit<'a, Self> where Self: 'a;
            type Effects = Vec<SequenceEffect>;

            fn tag(tag: &mut Tag) {
                tag.kind(Kind::$kind);
            }

            fn is_bottom(&self) -> bool {
                self.0.is_bottom()
            }

            fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> Vec<SequenceEffect> {
                self.0.join(&theirs.0, contexts)
            }

            fn dots(&self, visit: &mut dyn FnMut(Dot)) {
                self.0.dots(visit);
            }

            fn dot_count(&self) -> usize {
                self.0.dot_count()
            }

            fn has_dot(&self, dot: Dot) -> bool {
                self.0.is_alive(dot)
            }

            fn named(&self, replica: ReplicaId) -> u64 {
                self.0.named(replica)
            }

            fn part(&self, dots: &CausalContext, undotted: Undotted<'_>) -> Self {
                Self(self.0.part(dots, undotted))
            }

            fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> Edit<'a, Self> {
                Edit::new(state, delta)
            }

            fn encode(&self, out: &mut Writer) {
                self.0.encode(out);
            }

            fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
                Sequence::decode(input).map(Self)
            }
        }
    };
}
pub(crate) use crdt_by_sequence;
