//! Counters: growing, up and down, and resettable.

use alloc::vec::Vec;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use smallvec::SmallVec;

use crate::causal::DotFun;
use crate::codec::Kind;
use crate::value::{dot_store_by_field, undotted};
use crate::{Edit, Lattice, ReplicaId, Tx};

/// What one replica has counted. Only grows.
trait Count: Copy + Default + Eq {
    /// The larger of both, component by component.
    fn most(self, other: Self) -> Self;
}

impl Count for u64 {
    fn most(self, other: Self) -> Self {
        self.max(other)
    }
}

/// (Added, taken away).
impl Count for (u64, u64) {
    fn most(self, other: Self) -> Self {
        (self.0.max(other.0), self.1.max(other.1))
    }
}

/// How much each replica has counted. The delta of one replica is held without an allocation.
///
/// **Invariant:** ascending by replica, and no entry for a replica that has counted nothing.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(transparent)]
struct Tallies<C>(SmallVec<[(ReplicaId, C); 1]>);

/// Up to this many entries are searched one by one.
const FEW: usize = 32;

impl<C: Count> Tallies<C> {
    fn counts(&self) -> impl Iterator<Item = C> + '_ {
        self.0.iter().map(|tally| tally.1)
    }

    /// Raises the count of a replica with `change`, which must not lower it, and returns the new
    /// count.
    #[inline]
    fn raise(&mut self, replica: ReplicaId, change: impl FnOnce(C) -> C) -> C {
        match self.position(replica) {
            Ok(at) => {
                let tally = &mut self.0[at].1;
                *tally = change(*tally);
                *tally
            }
            Err(at) => {
                let count = change(C::default());
                if count != C::default() {
                    self.0.insert(at, (replica, count));
                }
                count
            }
        }
    }

    /// Whether `theirs` holds a higher count for `replica`, which writes here.
    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        let counted = |tallies: &Self| {
            tallies
                .position(replica)
                .map_or(C::default(), |at| tallies.0[at].1)
        };
        let mine = counted(self);
        mine.most(counted(theirs)) != mine
    }

    #[inline]
    fn position(&self, replica: ReplicaId) -> Result<usize, usize> {
        // In a short list, a predictable linear scan beats a binary search.
        if self.0.len() <= FEW
            && let Some(at) = self.0.iter().position(|tally| tally.0 == replica)
        {
            return Ok(at);
        }
        self.0.binary_search_by_key(&replica, |tally| tally.0)
    }
}

/// The delta carries the replica's total, so merging it twice does no harm.
#[inline]
fn count<C: Count>(
    state: &mut Tallies<C>,
    delta: &mut Tallies<C>,
    replica: ReplicaId,
    change: impl FnOnce(C) -> C,
) {
    let total = state.raise(replica, change);
    delta.raise(replica, |_| total);
}

/// The maximum per replica.
impl<C: Count> Lattice for Tallies<C> {
    fn merge(&mut self, other: &Self) -> bool {
        let mut changed = false;
        // Replicas of one cluster mostly know the same writers: both lists then ascend in step.
        let mut in_step = 0;
        for (mine, &(replica, count)) in self.0.iter_mut().zip(&other.0) {
            if mine.0 != replica {
                break;
            }
            in_step += 1;
            let most = mine.1.most(count);
            changed |= most != mine.1;
            mine.1 = most;
        }
        for &(replica, count) in &other.0[in_step..] {
            self.raise(replica, |mine| {
                let most = mine.most(count);
                changed |= most != mine;
                most
            });
        }
        changed
    }
}

impl<'de, C: Count + Deserialize<'de>> Deserialize<'de> for Tallies<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let tallies: Vec<(ReplicaId, C)> = Deserialize::deserialize(deserializer)?;
        let ascending = tallies.windows(2).all(|pair| pair[0].0 < pair[1].0);
        if !ascending || tallies.iter().any(|tally| tally.1 == C::default()) {
            return Err(D::Error::custom(
                "replicas do not ascend or have counted nothing",
            ));
        }
        Ok(Self(SmallVec::from_vec(tallies)))
    }
}

/// Counts up. It holds what each replica has added (Shapiro et al. 2011, specification 6). For
/// example, if two replicas that have seen 10 add 1 and 2, both end at 13.
///
/// **Law:** merging takes the maximum per replica, so a delta that arrives twice counts once. What
/// grows: one entry per replica that ever added.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GCounter(Tallies<u64>);

undotted! { [] GCounter, kind: GCounter, valid: |_| true,
    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        self.0.contradicts(&theirs.0, replica)
    }
}

impl GCounter {
    /// The sum over all replicas. O(replicas).
    pub fn value(&self) -> u128 {
        self.0.counts().map(u128::from).sum()
    }
}

impl Edit<'_, GCounter> {
    /// Adds `by`. A replica's own total stops at `u64::MAX`.
    #[inline]
    pub fn increment(&mut self, tx: &mut Tx<'_>, by: u64) {
        let (state, delta) = self.parts();
        count(&mut state.0, &mut delta.0, tx.replica(), |count| {
            count.saturating_add(by)
        });
    }
}

impl Lattice for GCounter {
    fn merge(&mut self, other: &Self) -> bool {
        self.0.merge(&other.0)
    }
}

/// Counts up and down. It holds what each replica has added and what it has taken away; both only
/// grow (Shapiro et al. 2011, specification 7). For example, if one replica adds 5 while another
/// takes 2 away, both end 3 higher.
///
/// **Law:** merging takes the maximum per replica and direction, so nothing is counted twice. It
/// cannot be reset; [`ResetCounter`] can, but this one is smaller and faster, because its context
/// only records how often each replica has counted. What grows: one entry per replica that ever
/// counted.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PnCounter(Tallies<(u64, u64)>);

undotted! { [] PnCounter, kind: PnCounter, valid: |_| true,
    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        self.0.contradicts(&theirs.0, replica)
    }
}

impl PnCounter {
    /// The sum over all replicas. O(replicas).
    pub fn value(&self) -> i128 {
        // Each is below 2^64, and there are fewer than 2^63 replicas.
        self.0
            .counts()
            .map(|(added, taken)| i128::from(added) - i128::from(taken))
            .sum()
    }
}

impl Edit<'_, PnCounter> {
    /// Adds `by`. The total that one replica adds stops at `u64::MAX`.
    #[inline]
    pub fn increment(&mut self, tx: &mut Tx<'_>, by: u64) {
        let (state, delta) = self.parts();
        count(
            &mut state.0,
            &mut delta.0,
            tx.replica(),
            |(added, taken)| (added.saturating_add(by), taken),
        );
    }

    /// Takes `by` away. The total that one replica takes away stops at `u64::MAX`.
    #[inline]
    pub fn decrement(&mut self, tx: &mut Tx<'_>, by: u64) {
        let (state, delta) = self.parts();
        count(
            &mut state.0,
            &mut delta.0,
            tx.replica(),
            |(added, taken)| (added, taken.saturating_add(by)),
        );
    }
}

impl Lattice for PnCounter {
    fn merge(&mut self, other: &Self) -> bool {
        self.0.merge(&other.0)
    }
}

/// A counter that can be reset. That makes it usable in a map whose keys can be removed.
///
/// It holds one live entry per replica, with what that replica has added since it last saw a reset.
/// A reset removes the entries that it has seen.
///
/// | concurrently | result |
/// |---|---|
/// | add and add | both count |
/// | add and reset | the addition survives, together with what its replica had added before; see below |
///
/// **Anomaly** (Baquero, Almeida, Lerche, "The problem with embedded CRDT counters and a solution",
/// 2016): an addition replaces its replica's entry by one with the new sum, and a concurrent reset,
/// which has seen only the old entry, does not reach the new one. For example, Amy has added 5 and
/// adds 1 while Ben resets: the counter ends at 6, not at 1.
///
/// What grows: nothing but the context. A reset leaves nothing behind.
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct ResetCounter(DotFun<i128>);

dot_store_by_field! { [] ResetCounter, DotFun<i128>, |tag| tag.kind(Kind::ResetCounter) }

impl ResetCounter {
    /// The sum over all replicas. Saturates, which only forged totals can cause.
    pub fn value(&self) -> i128 {
        self.0
            .iter()
            .fold(0, |sum, (_, total)| sum.saturating_add(*total))
    }
}

impl Edit<'_, ResetCounter> {
    /// Adds `by`, which may be negative. O(live entries).
    pub fn add(&mut self, tx: &mut Tx<'_>, by: i64) {
        let replica = tx.replica();
        let mut total = i128::from(by);
        let (state, delta) = self.parts();
        state.0.retain(|old, value| {
            let mine = old.replica == replica;
            if mine {
                total = total.saturating_add(*value);
                tx.end(old);
            }
            !mine
        });
        delta.0.retain(|old, _| old.replica != replica);
        let dot = tx.issue();
        state.0.insert(dot, total);
        delta.0.insert(dot, total);
    }

    /// Removes everything that this replica has seen; additions that it has not seen stay.
    pub fn reset(&mut self, tx: &mut Tx<'_>) {
        let (state, delta) = self.parts();
        state.0.drain().for_each(|(dot, _)| tx.end(dot));
        delta.0.drain().for_each(drop);
    }
}
