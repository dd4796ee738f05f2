//! A set sorted by score.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeSet;
use core::borrow::Borrow;
use core::fmt;
use core::hash::Hash;
use core::ops::RangeBounds;

use serde::{Deserialize, Serialize};

use super::entries::{self, Entries, Entry};
use crate::causal::{DotFun, DotMap};
use crate::codec::{DecodeError, Kind, Reader, Tag, Writer};
use crate::{
    CausalContext, Contexts, Crdt, Dot, DotStore, Edit, Key, MapEffects, ReplicaId, Stamp, Tx,
    Undotted,
};

/// Elements with scores, in the order of the scores: leaderboards, priorities, deadlines. The merge
/// rule is that of the sorted sets of Redis Active-Active: membership is an
/// [`OrSet`](crate::OrSet), and a score is a base that can be overwritten plus a counter. For
/// example, Amy sets a score to 100 while Ben increments the old score by 1: both see 101.
///
/// | concurrently | result |
/// |---|---|
/// | increment and increment of one element | both count |
/// | set and set of its score | the one with the greater stamp; increments that it had not seen are added |
/// | set and increment | the set score plus the increment |
/// | increment or set, and remove | the element stays, with only what the removal had not seen: an increment starts from zero |
///
/// Scores are `i64`, because a sum of floating-point numbers depends on the order of its terms. A
/// sum beyond `i64` shows as the nearest `i64`. Elements with equal scores ascend.
///
/// The anomaly of [`ResetCounter`](crate::ResetCounter) applies to increments: an increment
/// replaces the earlier ones of its replica by the sum, so a concurrent set or removal reaches none
/// of them. What grows: nothing but the context. An element holds one entry per replica that has
/// incremented it since its score was set, and one per concurrent set.
///
/// **Invariant:** the order holds each element once, under its current score.
#[derive(Clone)]
pub struct SortedSet<T> {
    scores: Scores<T>,
    order: BTreeSet<(i64, T)>,
}

/// The parts of the score of each element.
type Scores<T> = DotMap<T, Entries<Part>>;

/// A part of a score.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
enum Part {
    /// What one replica has added in total since it last saw the score set.
    Added(i128),
    /// The value that the score was set to.
    Base(Stamp, i64),
}

impl Entry for Part {
    type View = i64;

    fn stamp(&self) -> Option<Stamp> {
        if let Self::Base(stamp, _) = self {
            Some(*stamp)
        } else {
            None
        }
    }

    fn view(parts: &DotFun<Self>) -> Option<i64> {
        let base = latest(parts).map_or(0, |(_, score)| i128::from(score));
        let sum = parts.iter().fold(base, |sum, (_, part)| {
            if let Self::Added(total) = part {
                sum.saturating_add(*total)
            } else {
                sum
            }
        });
        let nearest = i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX });
        (!parts.is_empty()).then_some(nearest)
    }
}

fn latest(parts: &DotFun<Part>) -> Option<(Stamp, i64)> {
    parts
        .iter()
        .filter_map(|(_, part)| {
            if let Part::Base(stamp, score) = part {
                Some((*stamp, *score))
            } else {
                None
            }
        })
        .max()
}

impl<T> SortedSet<T> {
    /// How many elements the set has. O(1).
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Elements with their scores, ascending by score, then by element: the same at every replica.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&T, i64)> + ExactSizeIterator {
        self.order.iter().map(|(score, element)| (element, *score))
    }

    /// At most `count` elements from rank `first` on; rank 0 has the lowest score. O(first +
    /// count).
    pub fn range_by_rank(&self, first: usize, count: usize) -> impl Iterator<Item = (&T, i64)> {
        self.iter().skip(first).take(count)
    }
}

impl<T: Key> SortedSet<T> {
    /// The score of the element, if it is present. O(1).
    pub fn score<Q>(&self, element: &Q) -> Option<i64>
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord + Hash,
    {
        self.scores.get(element).and_then(Entries::view)
    }

    /// Whether the element is present. O(1).
    pub fn contains<Q>(&self, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord + Hash,
    {
        self.scores.contains_key(element)
    }

    /// How many elements rank below this one. O(rank).
    pub fn rank<Q>(&self, element: &Q) -> Option<usize>
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord + Hash,
    {
        let score = self.score(element)?;
        self.order
            .iter()
            .position(|(at, other)| *at == score && other.borrow() == element)
    }

    /// The elements with a score in the range, in order. O(n).
    pub fn range_by_score(
        &self,
        scores: impl RangeBounds<i64>,
    ) -> impl DoubleEndedIterator<Item = (&T, i64)> {
        self.iter().filter(move |(_, score)| scores.contains(score))
    }

    /// Brings the order up to date after a change of one element.
    fn reorder(&mut self, element: T, before: Option<i64>) {
        let after = self.score(&element);
        if before == after {
            return;
        }
        let mut entry = (before.unwrap_or_default(), element);
        if before.is_some() {
            self.order.remove(&entry);
        }
        if let Some(score) = after {
            entry.0 = score;
            self.order.insert(entry);
        }
    }

    fn of(scores: Scores<T>) -> Self {
        let order = scores
            .iter()
            .filter_map(|(element, parts)| Some((parts.view()?, element.clone())))
            .collect();
        Self { scores, order }
    }
}

impl<T: Key> Edit<'_, SortedSet<T>> {
    /// Sets the score of the element, and adds the element if it is absent. Replaces everything
    /// that this replica has seen of the score.
    pub fn set(&mut self, tx: &mut Tx<'_>, element: T, score: i64) {
        let seen = self
            .scores
            .get(&element)
            .and_then(|parts| latest(&parts.0))
            .map(|(stamp, _)| stamp);
        let base = Part::Base(tx.stamp_after(seen), score);
        self.change(element, |scores, delta, element| {
            entries::put(scores, delta, tx, element, base);
        });
    }

    /// Adds `by`, which may be negative, to the score of the element. An absent element starts from
    /// zero.
    pub fn increment(&mut self, tx: &mut Tx<'_>, element: T, by: i64) {
        self.change(element, |scores, delta, element| {
            DotMap::update(&mut Edit::new(scores, delta), tx, element, |parts, tx| {
                let (me, mut total) = (tx.replica(), i128::from(by));
                let (state, delta) = parts.parts();
                state.0.retain(|dot, part| match part {
                    Part::Added(before) if dot.replica == me => {
                        total = total.saturating_add(*before);
                        tx.end(dot);
                        delta.0.remove(dot);
                        false
                    }
                    _ => true,
                });
                let dot = tx.issue();
                state.0.insert(dot, Part::Added(total));
                delta.0.insert(dot, Part::Added(total));
            });
        });
    }

    /// Removes what this replica has seen of the element, and says whether it was present.
    pub fn remove<Q>(&mut self, tx: &mut Tx<'_>, element: &Q) -> bool
    where
        T: Borrow<Q>,
        Q: ?Sized + Ord + Hash + ToOwned<Owned = T>,
    {
        let there = self.contains(element);
        self.change(element.to_owned(), |scores, delta, _| {
            entries::take(scores, delta, tx, element);
        });
        there
    }

    /// Removes every element that this replica has seen.
    pub fn clear(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        DotMap::clear(&mut Edit::new(&mut state.scores, &mut delta.scores), tx);
        state.order.clear();
        delta.order.clear();
    }

    /// Changes the entries of the element, and brings both orders up to date.
    fn change(&mut self, element: T, change: impl FnOnce(&mut Scores<T>, &mut Scores<T>, T)) {
        let (state, delta) = self.parts();
        let before = (state.score(&element), delta.score(&element));
        change(&mut state.scores, &mut delta.scores, element.clone());
        state.reorder(element.clone(), before.0);
        delta.reorder(element, before.1);
    }
}

impl<T: Key> Crdt for SortedSet<T> {
    type Edit<'a>
        = Edit<'a, Self>
    where
        Self: 'a;
    /// Updated elements come with their new scores.
    type Effects = MapEffects<T, i64>;

    fn tag(tag: &mut Tag) {
        tag.kind(Kind::SortedSet);
    }

    fn is_bottom(&self) -> bool {
        self.scores.is_empty()
    }

    fn join(&mut self, theirs: &Self, contexts: Contexts<'_>) -> MapEffects<T, i64> {
        let mut effects = MapEffects::default();
        let Self { scores, order } = self;
        scores.join_with(&theirs.scores, contexts, |element, _, _, shift| {
            if shift.before == shift.after {
                return;
            }
            if let Some(score) = shift.before {
                order.remove(&(score, element.clone()));
            }
            match shift.after {
                Some(score) => {
                    order.insert((score, element.clone()));
                    effects.updated.push((element.clone(), score));
                }
                None => effects.removed.push(element.clone()),
            }
        });
        effects
    }

    fn dots(&self, visit: &mut dyn FnMut(Dot)) {
        self.scores.dots(visit);
    }

    fn dot_count(&self) -> usize {
        Crdt::dot_count(&self.scores)
    }

    fn has_dot(&self, dot: Dot) -> bool {
        self.scores.has_dot(dot)
    }

    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        self.scores.contradicts(&theirs.scores, replica)
    }

    fn stamps(&self, visit: &mut dyn FnMut(Stamp)) {
        self.scores.stamps(visit);
    }

    fn part(&self, dots: &CausalContext, undotted: Undotted<'_>) -> Self {
        Self::of(self.scores.part(dots, undotted))
    }

    fn edit<'a>(state: &'a mut Self, delta: &'a mut Self) -> Edit<'a, Self> {
        Edit::new(state, delta)
    }

    fn encode(&self, out: &mut Writer) {
        self.scores.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        DotMap::decode(input).map(Self::of)
    }
}

impl<T: Key> DotStore for SortedSet<T> {}

impl<T> Default for SortedSet<T> {
    fn default() -> Self {
        Self {
            scores: DotMap::default(),
            order: BTreeSet::new(),
        }
    }
}

impl<T: Key> PartialEq for SortedSet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.scores == other.scores
    }
}

impl<T: Key> Eq for SortedSet<T> {}

impl<T: fmt::Debug> fmt::Debug for SortedSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
