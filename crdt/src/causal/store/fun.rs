//! A store with a value for each dot.

use alloc::vec::Vec;
use core::fmt;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use crate::causal::Observed;
use crate::codec::{DecodeError, Kind, Reader, Tag, Writer};
use crate::{
    CausalContext, Changed, Contexts, Crdt, Dot, DotStore, Edit, Plain, ReplicaId, Undotted,
};

/// A map from live dots to values: one entry per concurrent write that nothing has overwritten yet.
///
/// **Invariant:** ascending by dot, each dot once, no counter 0 after decoding. One entry, the
/// steady state of a register or an element, is held without an allocation.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct DotFun<V> {
    entries: SmallVec<[(Dot, V); 1]>,
}

impl<V: Clone> DotFun<V> {
    /// Nothing alive.
    pub fn new() -> Self {
        Self::default()
    }

    /// One live write.
    #[inline]
    pub fn one(dot: Dot, value: V) -> Self {
        Self {
            entries: SmallVec::from_buf([(dot, value)]),
        }
    }

    /// Whether nothing is alive.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many entries are alive: more than one only while no write has overwritten concurrent
    /// ones.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The live entries, ascending by dot.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (Dot, &V)> + ExactSizeIterator {
        self.entries.iter().map(|(dot, value)| (*dot, value))
    }

    /// The value written by `dot`, if that write is still visible.
    pub fn get(&self, dot: Dot) -> Option<&V> {
        self.position(dot).ok().map(|at| &self.entries[at].1)
    }

    /// Whether the write `dot` is still visible.
    pub fn contains(&self, dot: Dot) -> bool {
        self.position(dot).is_ok()
    }

    /// Makes `dot` alive and returns the value it had before. In a replicated store, a dot never
    /// changes its value.
    pub fn insert(&mut self, dot: Dot, value: V) -> Option<V> {
        match self.position(dot) {
            Ok(at) => Some(core::mem::replace(&mut self.entries[at].1, value)),
            Err(at) => {
                self.entries.insert(at, (dot, value));
                None
            }
        }
    }

    /// Removes `dot` and returns its value. Other replicas learn of it only from a context that
    /// contains the dot.
    pub fn remove(&mut self, dot: Dot) -> Option<V> {
        self.position(dot).ok().map(|at| self.entries.remove(at).1)
    }

    /// Keeps the entries for which `keep` holds, in order.
    pub fn retain(&mut self, mut keep: impl FnMut(Dot, &V) -> bool) {
        self.entries.retain(|(dot, value)| keep(*dot, value));
    }

    /// Removes all entries and returns them, ascending by dot.
    pub fn drain(&mut self) -> impl Iterator<Item = (Dot, V)> + '_ {
        self.entries.drain(..)
    }

    /// Keeps what both have; keeps mine that `their_context` has not seen; takes theirs that
    /// `my_context` has not seen. Returns whether `self` changed.
    ///
    /// **Law:** see [`Crdt::join`]. One dot always stands for one value, so for a dot that both
    /// have, mine is kept.
    pub fn join(
        &mut self,
        theirs: &Self,
        my_context: &impl Observed,
        their_context: &impl Observed,
    ) -> bool {
        let before = self.len();
        self.entries
            .retain(|(dot, _)| theirs.contains(*dot) || !their_context.has_seen(*dot));
        let kept = self.len();
        for (dot, value) in &theirs.entries {
            // Only the first `kept` entries are sorted while others are appended, and no dot of
            // theirs comes twice.
            let mine = self.entries[..kept].binary_search_by(|(d, _)| d.cmp(dot));
            if mine.is_err() && !my_context.has_seen(*dot) {
                self.entries.push((*dot, value.clone()));
            }
        }
        let taken = self.len() - kept;
        if taken > 0 && kept > 0 {
            self.entries.sort_by_key(|(dot, _)| *dot);
        }
        kept < before || taken > 0
    }

    fn position(&self, dot: Dot) -> Result<usize, usize> {
        self.entries.binary_search_by(|(d, _)| d.cmp(&dot))
    }
}

impl<V: Plain> Crdt for DotFun<V> {
    type Edit<'a>
        = Edit<'a, Self>
    where
        Self: 'a;
    type Effects = Changed;

    fn tag(tag: &mut Tag) {
        tag.kind(Kind::DotFun);
    }

    fn is_bottom(&self) -> bool {
        self.entries.is_empty()
    }

    fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> Changed {
        Changed(Self::join(self, theirs, contexts.mine, contexts.theirs))
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        for (dot, _) in &self.entries {
            visit(*dot);
        }
    }

    fn dot_count(&self) -> usize {
        self.len()
    }

    fn has_dot(&self, dot: Dot) -> bool {
        self.contains(dot)
    }

    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        let own = theirs
            .entries
            .iter()
            .filter(|(dot, _)| dot.replica == replica);
        own.into_iter()
            .any(|(dot, value)| self.get(*dot).is_some_and(|mine| mine != value))
    }

    fn part(&self, dots: &CausalContext, _: Undotted<'_>) -> Self {
        Self {
            entries: self
                .entries
                .iter()
                .filter(|(dot, _)| dots.contains(*dot))
                .cloned()
                .collect(),
        }
    }

    fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> Edit<'a, Self> {
        Edit::new(state, delta)
    }

    fn encode(&self, out: &mut Writer) {
        out.number(self.entries.len() as u64);
        for (dot, value) in &self.entries {
            out.dot(*dot);
            out.value(value);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut entries: SmallVec<[(Dot, V); 1]> = SmallVec::new();
        for _ in 0..input.count()? {
            let dot = input.dot()?;
            if entries.last().is_some_and(|(before, _)| *before >= dot) {
                return Err(DecodeError::Invalid("dots that do not ascend"));
            }
            entries.push((dot, input.value()?));
        }
        Ok(Self { entries })
    }
}

impl<V: Plain> DotStore for DotFun<V> {}

impl<V> Default for DotFun<V> {
    fn default() -> Self {
        Self {
            entries: SmallVec::new(),
        }
    }
}

/// A later value for the same dot replaces the earlier one.
impl<V: Clone> FromIterator<(Dot, V)> for DotFun<V> {
    fn from_iter<I: IntoIterator<Item = (Dot, V)>>(entries: I) -> Self {
        let mut all = Self::new();
        for (dot, value) in entries {
            all.insert(dot, value);
        }
        all
    }
}

impl<V: fmt::Debug> fmt::Debug for DotFun<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.entries.iter().map(|(dot, value)| (dot, value)))
            .finish()
    }
}

impl<V: Serialize> Serialize for DotFun<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(&self.entries)
    }
}

impl<'de, V: Deserialize<'de>> Deserialize<'de> for DotFun<V> {
    /// Refuses entries that do not ascend and counters of 0.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries: Vec<(Dot, V)> = Vec::deserialize(deserializer)?;
        let ascending = entries.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ascending || entries.iter().any(|(dot, _)| dot.counter == 0) {
            return Err(D::Error::custom("dots do not ascend or name no event"));
        }
        Ok(Self {
            entries: SmallVec::from_vec(entries),
        })
    }
}
