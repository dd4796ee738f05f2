//! A set in which adding wins.

use alloc::vec::Vec;
use core::borrow::Borrow;
use core::fmt;

use crate::causal::{DotMap, DotSet};
use crate::codec::{DecodeError, Kind, Reader, Tag, Writer};
use crate::{
    CausalContext, Contexts, Crdt, Dot, DotStore, Edit, Effects, Key, ReplicaId, Tx, Undotted, bugs,
};

/// A set in which adding wins over a concurrent removal, without tombstones (Bieniusa et al., "An
/// optimized conflict-free replicated set", RR-8083). For example, Ben removes `bread` while Amy
/// adds it again: it stays, because Ben's removal had not seen Amy's new addition.
///
/// | concurrently | result |
/// |---|---|
/// | add and remove of one element | it stays: the removal has not seen the addition |
/// | add and add | it stays, under both dots until the next addition or removal |
///
/// What grows: nothing but the context. A removed element leaves nothing.
///
/// Each element holds the dots of its additions; adding it again replaces the dots seen so far by a
/// new one. An operation costs O(1), and a merge costs what differs between the sides, not what
/// they hold.
#[derive(Clone)]
pub struct OrSet<T>(DotMap<T, DotSet>);

/// What a merge changed in a set, in no order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SetEffects<T> {
    /// Elements that were not there before.
    pub added: Vec<T>,
    /// Elements that are no longer there.
    pub removed: Vec<T>,
}

impl<T> OrSet<T> {
    /// How many elements the set has. O(1).
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The elements, in an order that differs between replicas; see [`sorted`](Self::sorted).
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.iter().map(|(element, _)| element)
    }
}

impl<T: Key> OrSet<T> {
    /// Whether the set has the element: some addition of it has not been seen by a removal. O(1).
    pub fn contains<Q>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord + core::hash::Hash,
    {
        self.0.contains_key(element)
    }

    /// The elements, ascending: the same at every replica. O(n log n).
    pub fn sorted(&self) -> Vec<&T> {
        self.0.sorted_keys()
    }
}

impl<T: Key> Edit<'_, OrSet<T>> {
    /// Adds the element. Adding one that is present renews it, so that concurrent removals do not
    /// take it away.
    pub fn add(&mut self, tx: &mut Tx<'_>, element: T) {
        let dot = tx.issue();
        let (state, delta) = self.parts();
        state
            .0
            .replace(element.clone(), dot, DotSet::one(dot), &mut |old| {
                tx.end(old);
            });
        delta.0.replace(element, dot, DotSet::one(dot), &mut |_| {});
    }

    /// Removes the element, as far as this replica has seen its additions, and says whether it was
    /// present. To remove an absent element is no error, and changes nothing.
    pub fn remove<Q>(&mut self, tx: &mut Tx<'_>, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord + core::hash::Hash,
    {
        let (state, delta) = self.parts();
        delta.0.take(element, &mut |_| {});
        state.0.take(element, &mut |dot| tx.end(dot))
    }

    /// Removes every element that this replica has seen.
    pub fn clear(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        DotMap::clear(&mut Edit::new(&mut state.0, &mut delta.0), tx);
    }
}

impl<T: Key> Crdt for OrSet<T> {
    type Edit<'a>
        = Edit<'a, Self>
    where
        Self: 'a;
    type Effects = SetEffects<T>;

    fn tag(tag: &mut Tag) {
        tag.kind(Kind::OrSet);
    }

    fn is_bottom(&self) -> bool {
        self.0.is_empty()
    }

    fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> SetEffects<T> {
        let mut effects = SetEffects::default();
        self.0
            .join_with(&theirs.0, contexts, |element, was_there, dots, _| {
                match (was_there, !dots.is_empty()) {
                    (false, true) => effects.added.push(element.clone()),
                    (true, false) if !bugs::QUIET_REMOVAL.is_planted() => {
                        effects.removed.push(element.clone());
                    }
                    _ => {}
                }
            });
        effects
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.0.dots(visit);
    }

    fn dot_count(&self) -> usize {
        self.0.dot_count()
    }

    fn has_dot(&self, dot: Dot) -> bool {
        self.0.has_dot(dot)
    }

    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        self.0.contradicts(&theirs.0, replica)
    }

    fn part(&self, dots: &CausalContext, undotted: Undotted<'_>) -> Self {
        Self(self.0.part(dots, undotted))
    }

    fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> Edit<'a, Self> {
        Edit::new(state, delta)
    }

    /// The elements in the order of their first dots. Where an element has more dots, the others
    /// refer back to it.
    fn encode(&self, out: &mut Writer) {
        let mut later: Vec<(Dot, Dot)> = Vec::new();
        self.0.each_by_dot(|dot, _, dots| {
            later.extend(
                dots.first()
                    .filter(|&first| first != dot)
                    .map(|first| (dot, first)),
            );
        });
        out.number(later.len() as u64);
        for (dot, first) in later {
            out.dot(dot);
            out.dot(first);
        }
        self.0.each_by_dot(|dot, element, dots| {
            if dots.first() == Some(dot) {
                out.value(element);
            }
        });
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let dots = input.live_set()?;
        let mut later: Vec<(Dot, Dot)> = Vec::new();
        for _ in 0..input.count()? {
            let pair = (input.dot()?, input.dot()?);
            if later.last().is_some_and(|before| before.0 >= pair.0) || pair.1 >= pair.0 {
                return Err(DecodeError::Invalid("dots that do not ascend"));
            }
            later.push(pair);
        }
        let mut set = Self::default();
        let mut pending = later.iter().peekable();
        for (replica, run) in dots.runs() {
            for dot in run.map(|counter| Dot::new(replica, counter)) {
                match pending.next_if(|pair| pair.0 == dot) {
                    Some(&(_, first)) => set.also(first, dot)?,
                    None => set.first(input.value()?, dot)?,
                }
            }
        }
        if pending.next().is_some() {
            Err(DecodeError::Invalid("a dot that is not alive"))
        } else {
            Ok(set)
        }
    }
}

impl<T: Key> OrSet<T> {
    fn first(&mut self, element: T, dot: Dot) -> Result<(), DecodeError> {
        if self.contains(&element) {
            return Err(DecodeError::Invalid("an element that is there twice"));
        }
        self.0.start(element, dot, |dots| *dots = DotSet::one(dot));
        Ok(())
    }

    fn also(&mut self, first: Dot, dot: Dot) -> Result<(), DecodeError> {
        let (element, dots) = self
            .0
            .at(first)
            .ok_or(DecodeError::Invalid("a dot that is not alive"))?;
        if dots.first() != Some(first) {
            return Err(DecodeError::Invalid(
                "a dot that is not the first of its element",
            ));
        }
        self.0.start(element.clone(), dot, |dots| {
            dots.insert(dot);
        });
        Ok(())
    }
}

impl<T: Key> DotStore for OrSet<T> {}

impl<T> Default for OrSet<T> {
    fn default() -> Self {
        Self(DotMap::default())
    }
}

impl<T: Key> PartialEq for OrSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Key> Eq for OrSet<T> {}

impl<T: fmt::Debug + Ord> fmt::Debug for OrSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut elements: Vec<&T> = self.iter().collect();
        elements.sort_unstable();
        f.debug_set().entries(elements).finish()
    }
}

impl<T> Default for SetEffects<T> {
    fn default() -> Self {
        Self {
            added: Vec::new(),
            removed: Vec::new(),
        }
    }
}

impl<T: fmt::Debug> Effects for SetEffects<T> {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty()
    }
}
