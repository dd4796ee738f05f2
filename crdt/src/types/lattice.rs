//! Small lattices to build others from (the algebra of Conway et al., "Logic and lattices for
//! distributed programming", 2012).

use serde::{Deserialize, Serialize};

use super::delegate::without_dots;
use crate::codec::{DecodeError, Kind, Reader, Tag, Writer};
use crate::value::undotted;
use crate::{
    CausalContext, Changed, Contexts, Crdt, Dot, DotStore, Edit, Effects, Lattice, Plain,
    ReplicaId, Stamp, Tx, Undotted,
};

/// The greatest value ever written. "No value yet" is below every value, so `T` needs no least
/// value. For example, Amy raises it to 3 while Ben raises it to 5: both see 5.
///
/// **Law:** merging takes the greater one. What grows: nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Max<T>(Option<T>);

undotted! { [T: Plain + Ord] Max<T>, kind: Max, valid: |_| true }

impl<T> Max<T> {
    /// The greatest value; `None` only before the first write.
    pub fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T: Plain + Ord> Edit<'_, Max<T>> {
    /// Writes the value and says whether it is greater than all before. If it is not, there is
    /// nothing to send.
    pub fn raise(&mut self, _: &mut Tx<'_>, value: T) -> bool {
        let (state, delta) = self.parts();
        let raises = Some(&value) > state.0.as_ref();
        if raises {
            state.0 = Some(value);
            delta.0.clone_from(&state.0);
        }
        raises
    }
}

impl<T: Ord + Clone> Lattice for Max<T> {
    fn merge(&mut self, other: &Self) -> bool {
        let raises = other.0 > self.0;
        if raises {
            self.0.clone_from(&other.0);
        }
        raises
    }
}

impl<T> Default for Max<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// The least value ever written. "No value yet" is the bottom of the lattice, so `T` needs no
/// greatest value. For example, Amy lowers it to 3 while Ben lowers it to 5: both see 3.
///
/// **Law:** merging takes the lesser one. What grows: nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Min<T>(Option<T>);

undotted! { [T: Plain + Ord] Min<T>, kind: Min, valid: |_| true }

impl<T> Min<T> {
    /// The least value; `None` only before the first write.
    pub fn get(&self) -> Option<&T> {
        self.0.as_ref()
    }
}

impl<T: Plain + Ord> Edit<'_, Min<T>> {
    /// Writes the value and says whether it is less than all before. If it is not, there is nothing
    /// to send.
    pub fn lower(&mut self, _: &mut Tx<'_>, value: T) -> bool {
        let (state, delta) = self.parts();
        let lowers = state.0.as_ref().is_none_or(|least| value < *least);
        if lowers {
            state.0 = Some(value);
            delta.0.clone_from(&state.0);
        }
        lowers
    }
}

impl<T: Ord + Clone> Lattice for Min<T> {
    fn merge(&mut self, other: &Self) -> bool {
        let Some(theirs) = &other.0 else { return false };
        let lowers = self.0.as_ref().is_none_or(|least| theirs < least);
        if lowers {
            self.0 = Some(theirs.clone());
        }
        lowers
    }
}

impl<T> Default for Min<T> {
    fn default() -> Self {
        Self(None)
    }
}

/// Whether something has ever happened: once true, always true. For a flag that can be lowered, see
/// [`EwFlag`](crate::EwFlag).
///
/// **Law:** merging is the disjunction. What grows: nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub struct Bool(bool);

undotted! { [] Bool, kind: Bool, valid: |_| true }

impl Bool {
    /// Whether it has happened.
    pub fn get(self) -> bool {
        self.0
    }
}

impl Edit<'_, Bool> {
    /// Makes it true, for good.
    pub fn raise(&mut self, _: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        delta.0 |= !state.0;
        state.0 = true;
    }
}

impl Lattice for Bool {
    fn merge(&mut self, other: &Self) -> bool {
        let raises = other.0 && !self.0;
        self.0 |= other.0;
        raises
    }
}

/// Two replicated values side by side, each merged by its own rule. For named parts, derive
/// [`Crdt`](macro@crate::Crdt) for a struct.
///
/// **Law:** the product: merging merges each part. What grows: whatever the parts grow by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Pair<A, B> {
    first: A,
    second: B,
}

/// What a merge changed in each part.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PairEffects<A, B> {
    /// What changed in the first part.
    pub first: A,
    /// What changed in the second part.
    pub second: B,
}

impl<A, B> Pair<A, B> {
    /// The first part, for reading.
    pub fn first(&self) -> &A {
        &self.first
    }

    /// The second part, for reading.
    pub fn second(&self) -> &B {
        &self.second
    }
}

impl<A: Crdt, B: Crdt> Edit<'_, Pair<A, B>> {
    /// Changes the first part, in the same transaction and delta as the second.
    pub fn first_mut<R>(
        &mut self,
        tx: &mut Tx<'_>,
        change: impl FnOnce(&mut A::Edit<'_>, &mut Tx<'_>) -> R,
    ) -> R {
        let (state, delta) = self.parts();
        change(&mut A::edit(&mut state.first, &mut delta.first), tx)
    }

    /// Changes the second part, in the same transaction and delta as the first.
    pub fn second_mut<R>(
        &mut self,
        tx: &mut Tx<'_>,
        change: impl FnOnce(&mut B::Edit<'_>, &mut Tx<'_>) -> R,
    ) -> R {
        let (state, delta) = self.parts();
        change(&mut B::edit(&mut state.second, &mut delta.second), tx)
    }
}

impl<A: Lattice, B: Lattice> Lattice for Pair<A, B> {
    fn merge(&mut self, other: &Self) -> bool {
        self.first.merge(&other.first) | self.second.merge(&other.second)
    }
}

impl<A: Crdt, B: Crdt> Crdt for Pair<A, B> {
    type Edit<'a>
        = Edit<'a, Self>
    where
        Self: 'a;
    type Effects = PairEffects<A::Effects, B::Effects>;

    fn tag(tag: &mut Tag) {
        tag.kind(Kind::Pair);
        A::tag(tag);
        B::tag(tag);
    }

    fn is_bottom(&self) -> bool {
        self.first.is_bottom() && self.second.is_bottom()
    }

    fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> Self::Effects {
        PairEffects {
            first: self.first.join(&theirs.first, contexts),
            second: self.second.join(&theirs.second, contexts),
        }
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.first.dots(visit);
        self.second.dots(visit);
    }

    fn dot_count(&self) -> usize {
        self.first.dot_count() + self.second.dot_count()
    }

    fn has_dot(&self, dot: Dot) -> bool {
        self.first.has_dot(dot) || self.second.has_dot(dot)
    }

    fn has_undotted(&self) -> bool {
        self.first.has_undotted() || self.second.has_undotted()
    }

    fn named(&self, replica: ReplicaId) -> u64 {
        self.first.named(replica).max(self.second.named(replica))
    }

    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        self.first.contradicts(&theirs.first, replica)
            || self.second.contradicts(&theirs.second, replica)
    }

    fn stamps(&self, visit: &mut dyn FnMut(Stamp)) {
        self.first.stamps(visit);
        self.second.stamps(visit);
    }

    fn wants_whole(&self) -> bool {
        self.first.wants_whole() || self.second.wants_whole()
    }

    fn is_opaque(&self) -> bool {
        self.first.is_opaque() || self.second.is_opaque()
    }

    fn part(&self, dots: &CausalContext, undotted: Undotted<'_>) -> Self {
        Self {
            first: self.first.part(dots, undotted),
            second: self.second.part(dots, undotted),
        }
    }

    fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> Edit<'a, Self> {
        Edit::new(state, delta)
    }

    fn encode(&self, out: &mut Writer) {
        out.inner(&self.first);
        out.inner(&self.second);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            first: input.inner()?,
            second: input.inner()?,
        })
    }
}

impl<A: DotStore, B: DotStore> DotStore for Pair<A, B> {}

impl<A: Effects, B: Effects> Effects for PairEffects<A, B> {
    fn is_empty(&self) -> bool {
        self.first.is_empty() && self.second.is_empty()
    }
}

/// A lattice under a version: a later version replaces the whole value, and values of one version
/// merge. For example, a configuration whose migration starts a new version discards edits to the
/// old one.
///
/// | concurrently | result |
/// |---|---|
/// | a change, and the step to a later version | the later version, without the change |
/// | two steps to the same version | both values, merged |
///
/// **Law:** the lexicographic product. It is a lattice only because versions are totally ordered
/// (`A: Ord`). "No version yet" is below every version, so `A` needs no least value. What grows:
/// what the value grows by within one version.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Lex<A, B>(Option<(A, B)>);

impl<A, B> Lex<A, B> {
    /// The latest version; `None` only before the first.
    pub fn version(&self) -> Option<&A> {
        self.0.as_ref().map(|(version, _)| version)
    }

    /// The value under the latest version; `None` before the first.
    pub fn get(&self) -> Option<&B> {
        self.0.as_ref().map(|(_, value)| value)
    }
}

impl<A: Plain + Ord, B: Crdt + Lattice> Edit<'_, Lex<A, B>> {
    /// Advances to a later version with an empty value and returns true. An equal or earlier
    /// version changes nothing and returns false.
    pub fn advance(&mut self, _: &mut Tx<'_>, version: A) -> bool {
        let (state, delta) = self.parts();
        let later = Some(&version) > state.version();
        if later {
            state.0 = Some((version, B::default()));
            delta.0.clone_from(&state.0);
        }
        later
    }

    /// Changes the value under the latest version. Returns `None`, without calling `change`, if
    /// there is no version yet.
    pub fn update<R>(
        &mut self,
        tx: &mut Tx<'_>,
        change: impl FnOnce(&mut B::Edit<'_>, &mut Tx<'_>) -> R,
    ) -> Option<R> {
        let (state, delta) = self.parts();
        let (version, value) = state.0.as_mut()?;
        let (_, changed) = delta
            .0
            .get_or_insert_with(|| (version.clone(), B::default()));
        Some(change(&mut B::edit(value, changed), tx))
    }
}

impl<A: Ord + Clone, B: Lattice + Clone> Lattice for Lex<A, B> {
    fn merge(&mut self, other: &Self) -> bool {
        match (&mut self.0, &other.0) {
            (Some(mine), Some(theirs)) if mine.0 == theirs.0 => mine.1.merge(&theirs.1),
            (mine, Some(theirs)) if mine.as_ref().is_none_or(|mine| mine.0 < theirs.0) => {
                *mine = Some(theirs.clone());
                true
            }
            _ => false,
        }
    }
}

impl<A: Plain + Ord, B: Crdt + Lattice> Crdt for Lex<A, B> {
    without_dots!(|tag| {
        tag.kind(Kind::Lex);
        B::tag(tag);
    });
    type Effects = Changed;

    fn join(&mut self, theirs: &Self, _: Contexts<'_>) -> Changed {
        Changed(self.merge(theirs))
    }

    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        match (&self.0, &theirs.0) {
            (Some(mine), Some(theirs)) if mine.0 == theirs.0 => {
                mine.1.contradicts(&theirs.1, replica)
            }
            _ => false,
        }
    }

    fn stamps(&self, visit: &mut dyn FnMut(Stamp)) {
        if let Some(value) = self.get() {
            value.stamps(visit);
        }
    }

    fn encode(&self, out: &mut Writer) {
        out.byte(u8::from(self.0.is_some()));
        if let Some((version, value)) = &self.0 {
            out.value(version);
            value.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        decode_option(input, |input| Ok((input.value()?, B::decode(input)?))).map(Self)
    }
}

impl<A, B> Default for Lex<A, B> {
    fn default() -> Self {
        Self(None)
    }
}

/// A lattice with a new bottom: `None` is below even the empty value.
impl<L: Lattice + Clone> Lattice for Option<L> {
    fn merge(&mut self, other: &Self) -> bool {
        match (self, other) {
            (_, None) => false,
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine @ None, Some(theirs)) => {
                *mine = Some(theirs.clone());
                true
            }
        }
    }
}

impl<L: Crdt + Lattice> Edit<'_, Option<L>> {
    /// Changes the value; if there is none, `change` gets an empty one.
    pub fn update<R>(
        &mut self,
        tx: &mut Tx<'_>,
        change: impl FnOnce(&mut L::Edit<'_>, &mut Tx<'_>) -> R,
    ) -> R {
        let (state, delta) = self.parts();
        change(
            &mut L::edit(state.get_or_insert_default(), delta.get_or_insert_default()),
            tx,
        )
    }
}

impl<L: Crdt + Lattice> Crdt for Option<L> {
    without_dots!(|tag| {
        tag.kind(Kind::Option);
        L::tag(tag);
    });
    type Effects = Changed;

    fn join(&mut self, theirs: &Self, _: Contexts<'_>) -> Changed {
        Changed(self.merge(theirs))
    }

    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        let nothing = L::default();
        theirs.as_ref().is_some_and(|theirs| {
            self.as_ref()
                .unwrap_or(&nothing)
                .contradicts(theirs, replica)
        })
    }

    fn stamps(&self, visit: &mut dyn FnMut(Stamp)) {
        if let Some(value) = self {
            value.stamps(visit);
        }
    }

    fn encode(&self, out: &mut Writer) {
        out.byte(u8::from(self.is_some()));
        if let Some(value) = self {
            value.encode(out);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        decode_option(input, L::decode)
    }
}

fn decode_option<'a, T>(
    input: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    match input.byte()? {
        0 => Ok(None),
        1 => read(input).map(Some),
        _ => Err(DecodeError::Invalid("neither something nor nothing")),
    }
}
