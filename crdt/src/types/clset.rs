//! A set that stores one number per element and no replica ids.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use core::borrow::Borrow;

use super::delegate::without_dots;
use crate::codec::{DecodeError, Kind, Reader, Writer};
use crate::{Contexts, Crdt, Edit, Key, Lattice, SetEffects, Tx};

/// A set that counts how often each element was added and removed (Yu & Rostad, "A low-cost set
/// CRDT based on causal lengths", `PaPoC` 2020). An element is in the set while its count, the
/// causal length, is odd.
///
/// | concurrently | result |
/// |---|---|
/// | add and add | it is in: both took the same step |
/// | remove and remove | it is out: both took the same step |
/// | add and remove of one element | where both replicas agree, only one of them is a step. If they disagree, the replica that has taken more steps wins |
///
/// This is where it differs from [`OrSet`](crate::OrSet). Amy removes an element and adds it again
/// (two steps) while Ben removes it (one step): the element stays. But if Amy removes, adds and
/// removes it (three steps) while Ben removes and adds it (two), the element is gone, although Ben
/// added it last.
///
/// **Law:** merging takes the greater length per element. What grows: one number per element ever
/// added, even if it was removed, and a few bytes of context per writer. Elements store no replica
/// ids, so this is the set for a very large number of writers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClSet<T> {
    lengths: BTreeMap<T, u64>,
}

impl<T> ClSet<T> {
    /// The elements in the set, ascending. O(elements ever added).
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.lengths
            .iter()
            .filter(|(_, length)| is_in(**length))
            .map(|(element, _)| element)
    }

    /// How many elements are in the set. O(elements ever added).
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether no element is in the set. O(elements ever added).
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }
}

impl<T: Key> ClSet<T> {
    /// Whether the element is in the set. O(log elements ever added).
    pub fn contains<Q>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord,
    {
        is_in(self.causal_length(element))
    }

    /// How often the element was added and removed; 0 if it was never seen. Odd means that it is
    /// in.
    pub fn causal_length<Q>(&self, element: &Q) -> u64
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord,
    {
        self.lengths.get(element).copied().unwrap_or(0)
    }

    fn absorb(&mut self, theirs: &Self, mut changed: impl FnMut(&T, u64, u64)) {
        for (element, &length) in &theirs.lengths {
            match self.lengths.get_mut(element) {
                None => {
                    self.lengths.insert(element.clone(), length);
                    changed(element, 0, length);
                }
                Some(mine) if *mine < length => {
                    changed(element, *mine, length);
                    *mine = length;
                }
                Some(_) => {}
            }
        }
    }
}

impl<T: Key> Edit<'_, ClSet<T>> {
    /// Adds the element and says whether it was out. If it was in, there is nothing to send.
    pub fn add(&mut self, _: &mut Tx<'_>, element: T) -> bool {
        let length = self.causal_length(&element);
        if !is_in(length) {
            self.step(element, length + 1);
        }
        !is_in(length)
    }

    /// Removes the element and says whether it was in. If it was out, there is nothing to send.
    pub fn remove<Q>(&mut self, _: &mut Tx<'_>, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord + ToOwned<Owned = T>,
    {
        let Some(length) = Some(self.causal_length(element)).filter(|length| is_in(*length)) else {
            return false;
        };
        // No real history reaches `u64::MAX`; a forged one ends there.
        self.step(element.to_owned(), length.saturating_add(1));
        true
    }

    fn step(&mut self, element: T, length: u64) {
        let (state, delta) = self.parts();
        state.lengths.insert(element.clone(), length);
        delta.lengths.insert(element, length);
    }
}

fn is_in(length: u64) -> bool {
    length % 2 == 1
}

impl<T: Key> Lattice for ClSet<T> {
    fn merge(&mut self, other: &Self) -> bool {
        let mut any = false;
        self.absorb(other, |_, _, _| any = true);
        any
    }
}

impl<T: Key> Crdt for ClSet<T> {
    without_dots!(|tag| tag.kind(Kind::ClSet));
    type Effects = SetEffects<T>;

    fn join(&mut self, theirs: &Self, _: Contexts<'_>) -> SetEffects<T> {
        let mut effects = SetEffects::default();
        self.absorb(theirs, |element, before, after| {
            match (is_in(before), is_in(after)) {
                (false, true) => effects.added.push(element.clone()),
                (true, false) => effects.removed.push(element.clone()),
                _ => {}
            }
        });
        effects
    }

    fn encode(&self, out: &mut Writer) {
        out.number(self.lengths.len() as u64);
        for (element, &length) in &self.lengths {
            out.value(element);
            out.number(length);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut lengths = BTreeMap::new();
        for _ in 0..input.count()? {
            let element: T = input.value()?;
            let length = input.number()?;
            if lengths
                .last_key_value()
                .is_some_and(|(before, _)| *before >= element)
                || length == 0
            {
                return Err(DecodeError::Invalid(
                    "elements that do not ascend, or were never in",
                ));
            }
            lengths.insert(element, length);
        }
        Ok(Self { lengths })
    }
}

impl<T> Default for ClSet<T> {
    fn default() -> Self {
        Self {
            lengths: BTreeMap::new(),
        }
    }
}
