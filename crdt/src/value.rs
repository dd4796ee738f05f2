//! What makes a type replicated: the traits that every type of this crate implements, and that
//! yours can.

use alloc::vec::Vec;
use core::fmt::Debug;
use core::hash::Hash;
use core::ops::{Deref, DerefMut};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{DecodeError, Reader, Tag, Writer};
use crate::{CausalContext, Dot, ReplicaId, Stamp};

/// A join semilattice: values that replicas merge until they agree.
pub trait Lattice {
    /// Makes `self` the least upper bound of both and says whether that changed it.
    ///
    /// **Laws**, for values of one history (no two writers share a replica id): commutative,
    /// associative, idempotent; monotone, so merging either operand again changes nothing; and
    /// merging the delta of a mutation equals performing it. So deltas may be lost, repeated and
    /// reordered, and a full state can replace any of them.
    fn merge(&mut self, other: &Self) -> bool;
}

/// The contexts of the two sides of a join: the events that each has seen, whether or not their
/// effect is still visible.
#[derive(Clone, Copy, Debug)]
pub struct Contexts<'a> {
    /// The events that the changed value has seen so far.
    pub mine: &'a CausalContext,
    /// The events that the other value has seen.
    pub theirs: &'a CausalContext,
}

/// A replicated type: what is alive of it under a context, and how two values of it become one.
///
/// A value never says by itself that something is gone: it is gone if its dot has been seen and is
/// not here. So a value is complete only with the context that it is true in
/// ([`Causal`](crate::Causal)), and [`join`](Self::join) takes both contexts. Types without
/// removals need no dots and ignore the contexts.
///
/// The value of a replica and a delta have the same type. The macro `laws!`, with the feature
/// `laws`, checks implementations for your own types.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a replicated type",
    label = "neither replicated nor marked as a plain value",
    note = "mark a field that holds a plain value with `#[crdt(lww)]`, `#[crdt(mv)]` or `#[crdt(max)]`, a field that is local to each replica with `#[crdt(skip)]`, or name the replicated type that stands for it with `#[crdt(with = \"…\")]`",
    note = "a struct of replicated fields needs `#[derive(Crdt)]`"
)]
pub trait Crdt: Clone + Default + PartialEq {
    /// What a transaction writes through. It reads like the value and has the mutators. Usually
    /// [`Edit<Self>`](Edit).
    type Edit<'a>
    where
        Self: 'a;

    /// What a join changed, as readers see it.
    type Effects: Effects;

    /// Adds the tag of this type, and for a container the tags of what it contains. See [`Tag`];
    /// your own types use [`Tag::own`].
    fn tag(tag: &mut Tag);

    /// Whether this is the default value, which means the same as an absent one.
    fn is_bottom(&self) -> bool;

    /// Keeps what both have, what is mine and they have not seen, and what is theirs and I have not
    /// seen. The caller unites the contexts afterwards.
    ///
    /// **Law:** with the contexts united, a join semilattice (commutative, associative, idempotent)
    /// over states of one history, in which the same dot always stands for the same value.
    fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> Self::Effects;

    /// Visits every live dot once, in any order.
    fn dots(&self, visit: &mut dyn FnMut(Dot));

    /// How many dots are alive. Maps ask their values at each join, so a type that knows the number
    /// should override this.
    fn dot_count(&self) -> usize {
        let mut count = 0;
        self.dots(&mut |_| count += 1);
        count
    }

    /// Whether the dot is alive. Maps ask their values after each change of one, so a type with a
    /// faster way than visiting all dots should override this.
    fn has_dot(&self, dot: Dot) -> bool {
        let mut found = false;
        self.dots(&mut |alive| found |= alive == dot);
        found
    }

    /// What is alive among the `dots`, and as much of what has no dots as `undotted` says.
    #[must_use]
    fn part(&self, dots: &CausalContext, undotted: Undotted<'_>) -> Self;

    /// Whether it holds something without dots, whose changes therefore come with an event of their
    /// own. Characters and list elements have the dots of their insertions, even when they are
    /// gone.
    fn has_undotted(&self) -> bool {
        false
    }

    /// The highest counter of this replica that the value names besides its live dots, as the
    /// places of removed characters do; 0 if none.
    fn named(&self, _replica: ReplicaId) -> u64 {
        0
    }

    /// Whether `theirs` contains a write of `replica` that `replica` did not make. `self` is the
    /// value at the replica itself, so the proof is another value under a dot that is alive in
    /// both, or a greater count.
    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        let mut own = Vec::new();
        theirs.dots(&mut |dot| own.extend((dot.replica == replica).then_some(dot)));
        if own.is_empty() {
            return false;
        }
        let mine = self.part(&own.into_iter().collect(), Undotted::Dropped);
        let mut both = Vec::new();
        mine.dots(&mut |dot| both.push(dot));
        theirs.part(&both.into_iter().collect(), Undotted::Dropped) != mine
    }

    /// Visits the stamps of its writes.
    fn stamps(&self, _visit: &mut dyn FnMut(Stamp)) {}

    /// Whether it holds so much that it does not understand that it should ask for a whole state.
    fn wants_whole(&self) -> bool {
        false
    }

    /// Whether it keeps something without understanding it; its bytes then depend on how that
    /// arrived.
    fn is_opaque(&self) -> bool {
        false
    }

    /// Opens the value for a transaction, which collects its changes in `delta`, at first the
    /// default value.
    fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> Self::Edit<'a>;

    /// Writes the value. Its dots are among those that `out` was made for. Equal values write equal
    /// bytes.
    fn encode(&self, out: &mut Writer);

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// The bytes break an invariant of the type. Whatever they are, this must not panic, and must
    /// not allocate what it has not [counted](Reader::count).
    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// Marks types that consist of dots alone: removing all dots removes everything. Only these can be
/// values in a map whose keys can be removed, because a removal names the dots that it has
/// observed.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be removed by its dots, so it cannot be a value in a map",
    label = "not known to consist of dots alone",
    note = "a struct with `#[derive(Crdt)]` needs `#[crdt(causal)]`, and in it fields that consist of dots: `#[crdt(mv)]` in place of `#[crdt(lww)]`, `ResetCounter` in place of `PnCounter`"
)]
pub trait DotStore: Crdt {}

/// What happens to the parts of a value that have no dots of their own and so do not end with them.
///
/// **Law:** what [`Within`](Self::Within) keeps and what [`Beyond`](Self::Beyond) keeps join to
/// what [`Kept`](Self::Kept) keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Undotted<'a> {
    /// They stay.
    Kept,
    /// They are left out.
    Dropped,
    /// Keeps what came with these events. Most types cannot tell, and keep everything.
    Within(&'a CausalContext),
    /// Leaves out what came with these events. Types that cannot tell leave out everything.
    Beyond(&'a CausalContext),
    /// As [`Beyond`](Self::Beyond), but types that cannot tell keep everything.
    Since(&'a CausalContext),
}

impl Undotted<'_> {
    /// Whether a type that cannot tell which events its parts came with keeps them.
    pub fn stay(self) -> bool {
        matches!(self, Self::Kept | Self::Within(_) | Self::Since(_))
    }
}

/// What a merge changed, as readers see it.
pub trait Effects: Default + Debug {
    /// Whether nothing changed.
    fn is_empty(&self) -> bool;
}

/// Names the replicated type that stands for this one: the type itself, or for a struct with
/// `#[derive(Crdt)]` the one that the derive made for it.
#[diagnostic::on_unimplemented(
    message = "nothing says how `{Self}` is replicated",
    label = "neither replicated nor marked as a plain value",
    note = "use a replicated type, or a struct with `#[derive(Crdt)]`; in such a struct, mark a plain field with `#[crdt(lww)]`, `#[crdt(mv)]`, `#[crdt(max)]` or `#[crdt(skip)]`"
)]
pub trait Schema {
    /// The replicated type.
    type State: Crdt;
}

impl<T: Crdt> Schema for T {
    type State = T;
}

/// Data that can be an element or a value: plain data that serde can write, equal only to itself.
///
/// **Bound:** where bytes from strangers are decoded, no sequence in it should have elements that
/// take no bytes (`Vec<()>`): serde believes the length and counts up to it.
/// [`Limits`](crate::Limits) count the elements of the types of this crate, whatever they are.
pub trait Plain: Clone + Eq + Debug + Serialize + DeserializeOwned {}

impl<T: Clone + Eq + Debug + Serialize + DeserializeOwned> Plain for T {}

/// Data that can be a key or the element of a set.
pub trait Key: Plain + Ord + Hash {}

impl<T: Plain + Ord + Hash> Key for T {}

/// A value open for writing. It reads like the value; its mutators change the value and the delta
/// of the transaction alike.
#[derive(Debug)]
pub struct Edit<'a, T> {
    state: &'a mut T,
    delta: &'a mut T,
}

impl<'a, T> Edit<'a, T> {
    /// Opens a value; for implementors of [`Crdt::edit`].
    pub fn new(state: &'a mut T, delta: &'a mut T) -> Self {
        Self { state, delta }
    }

    /// The value and the delta; for implementors of mutators, which must change both alike.
    pub fn parts(&mut self) -> (&mut T, &mut T) {
        (self.state, self.delta)
    }
}

impl<T> Deref for Edit<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.state
    }
}

/// The effect of a merge on a value without parts: whether it changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Changed(pub bool);

impl Effects for Changed {
    fn is_empty(&self) -> bool {
        !self.0
    }
}

/// A field that is not replicated: each replica has its own.
#[derive(Clone, Debug, Default)]
pub struct Local<T>(pub T);

/// Always equal: a field that is not replicated makes no difference between replicas.
impl<T> PartialEq for Local<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Deref for Local<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Local<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// Implements [`Crdt`] and [`DotStore`] for a newtype whose only field is a dot store.
macro_rules! dot_store_by_field {
    ([$($generics:tt)*] $type:ty, $field:ty, |$tag:ident| $write_tag:expr) => {
        impl<$($generics)*> $crate::Crdt for $type {
            type Edit<'a> = $crate::Edit<'a, Self> where Self: 'a;
            type Effects = <$field as $crate::Crdt>::Effects;

            fn tag($tag: &mut $crate::codec::Tag) {
                $write_tag;
            }

            fn is_bottom(&self) -> bool {
                $crate::Crdt::is_bottom(&self.0)
            }

            fn join(&mut self, theirs: &Self, contexts: $crate::Contexts<'_>) -> Self::Effects {
                $crate::Crdt::join(&mut self.0, &theirs.0, contexts)
            }

            fn dots(&self, visit: &mut dyn FnMut($crate::Dot)) {
                $crate::Crdt::dots(&self.0, visit);
            }

            fn dot_count(&self) -> usize {
                $crate::Crdt::dot_count(&self.0)
            }

            fn part(&self, dots: &$crate::CausalContext, undotted: $crate::Undotted<'_>) -> Self {
                Self($crate::Crdt::part(&self.0, dots, undotted))
            }

            fn has_dot(&self, dot: $crate::Dot) -> bool {
                $crate::Crdt::has_dot(&self.0, dot)
            }

            fn named(&self, replica: $crate::ReplicaId) -> u64 {
                $crate::Crdt::named(&self.0, replica)
            }

            fn contradicts(&self, theirs: &Self, replica: $crate::ReplicaId) -> bool {
                $crate::Crdt::contradicts(&self.0, &theirs.0, replica)
            }

            fn stamps(&self, visit: &mut dyn FnMut($crate::Stamp)) {
                $crate::Crdt::stamps(&self.0, visit);
            }

            fn is_opaque(&self) -> bool {
                $crate::Crdt::is_opaque(&self.0)
            }

            fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> Self::Edit<'a> {
                $crate::Edit::new(state, delta)
            }

            fn encode(&self, out: &mut $crate::codec::Writer) {
                $crate::Crdt::encode(&self.0, out);
            }

            fn decode(
                input: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                $crate::Crdt::decode(input).map(Self)
            }
        }

        impl<$($generics)*> $crate::DotStore for $type {}
    };
}
pub(crate) use dot_store_by_field;

/// Implements [`Crdt`] for a [`Lattice`] without dots: `encode` and `decode` use serde, and
/// `decode` refuses values for which `valid` does not hold.
macro_rules! undotted {
    ([$($generics:tt)*] $type:ty, kind: $kind:ident, valid: $valid:expr $(, $($more:item)*)?) => {
        impl<$($generics)*> $crate::Crdt for $type {
            type Edit<'a> = $crate::Edit<'a, Self> where Self: 'a;
            type Effects = $crate::Changed;

            fn tag(tag: &mut $crate::codec::Tag) {
                tag.kind($crate::codec::Kind::$kind);
            }

            fn is_bottom(&self) -> bool {
                *self == Self::default()
            }

            fn join(&mut self, theirs: &Self, _: $crate::Contexts<'_>) -> $crate::Changed {
                $crate::Changed($crate::Lattice::merge(self, theirs))
            }

            fn dots(&self, _: &mut dyn FnMut($crate::Dot)) {}

            fn part(&self, _: &$crate::CausalContext, undotted: $crate::Undotted<'_>) -> Self {
                if undotted.stay() { self.clone() } else { Self::default() }
            }

            fn has_undotted(&self) -> bool {
                !$crate::Crdt::is_bottom(self)
            }

            $($($more)*)?

            fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> Self::Edit<'a> {
                $crate::Edit::new(state, delta)
            }

            fn encode(&self, out: &mut $crate::codec::Writer) {
                out.value(self);
            }

            fn decode(
                input: &mut $crate::codec::Reader<'_>,
            ) -> Result<Self, $crate::codec::DecodeError> {
                let value: Self = input.value()?;
                let valid: fn(&Self) -> bool = $valid;
                if valid(&value) {
                    Ok(value)
                } else {
                    Err($crate::codec::DecodeError::Invalid(stringify!($type)))
                }
            }
        }
    };
}
pub(crate) use undotted;
