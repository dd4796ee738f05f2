//! A store of dots without values.

use core::fmt;

use serde::{Deserialize, Serialize};

use super::fun::DotFun;
use crate::Dot;
use crate::causal::Observed;
use crate::codec::Kind;
use crate::value::dot_store_by_field;

/// A set of live dots: the presence of an element, or a raised flag.
///
/// **Invariant:** ascending, each dot once. One dot is held without an allocation.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DotSet(DotFun<()>);

impl DotSet {
    /// Nothing alive.
    pub fn new() -> Self {
        Self::default()
    }

    /// One live dot.
    #[inline]
    pub fn one(dot: Dot) -> Self {
        Self(DotFun::one(dot, ()))
    }

    /// The lowest live dot.
    pub fn first(&self) -> Option<Dot> {
        self.iter().next()
    }

    /// Whether nothing is alive.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many dots are alive: more than one only after concurrent additions.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The live dots, ascending.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = Dot> + ExactSizeIterator {
        self.0.iter().map(|(dot, ())| dot)
    }

    /// Whether `dot` is alive.
    pub fn contains(&self, dot: Dot) -> bool {
        self.0.contains(dot)
    }

    /// Makes `dot` alive and says whether it was not alive before.
    pub fn insert(&mut self, dot: Dot) -> bool {
        self.0.insert(dot, ()).is_none()
    }

    /// Removes `dot` and says whether it was alive. Other replicas learn of it only from a context
    /// that contains the dot.
    pub fn remove(&mut self, dot: Dot) -> bool {
        self.0.remove(dot).is_some()
    }

    /// Removes all dots and returns them, ascending.
    pub fn drain(&mut self) -> impl Iterator<Item = Dot> + '_ {
        self.0.drain().map(|(dot, ())| dot)
    }

    /// Keeps what both have, mine that they have not seen, theirs that I have not seen. Returns
    /// whether `self` changed.
    ///
    /// **Law:** see [`Crdt::join`](crate::Crdt::join).
    pub fn join(
        &mut self,
        theirs: &Self,
        my_context: &impl Observed,
        their_context: &impl Observed,
    ) -> bool {
        self.0.join(&theirs.0, my_context, their_context)
    }
}

dot_store_by_field! { [] DotSet, DotFun<()>, |tag| tag.kind(Kind::DotSet) }

impl FromIterator<Dot> for DotSet {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        Self(dots.into_iter().map(|dot| (dot, ())).collect())
    }
}

impl fmt::Debug for DotSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
