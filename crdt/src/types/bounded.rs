//! A number that never goes below zero.

use alloc::collections::BTreeMap;

use thiserror::Error;

use super::delegate::without_dots;
use crate::codec::{DecodeError, Kind, Reader, Writer};
use crate::{Changed, Contexts, Crdt, Edit, Lattice, ReplicaId, Tx};

/// A counter that no replica can take below zero, without asking the others (escrow: O'Neil, "The
/// escrow transactional method", TODS 1986; Balegas et al., "Extending eventually consistent cloud
/// databases for enforcing numeric invariants", SRDS 2015).
///
/// What a replica adds it may take away again; the right to do so can be handed to another replica.
/// Who has too few rights is refused, even if others have enough: stock, quotas and seats are
/// typical uses.
///
/// | concurrently | result |
/// |---|---|
/// | add and add, add and take | all count |
/// | two takes | both count, or one was refused where it was made |
/// | transfer and take at its origin | both count: the replica had the rights for both, or refused the later one |
///
/// **Invariant:** rows of a replica are written by it alone and only grow: what it has added, what
/// it has used, what it has handed to each other one. Merging takes the maximum of each. What
/// grows: two numbers per replica that ever counted and one per pair of replicas between which
/// rights ever went.
///
/// **Bound:** the guarantee is per [`ReplicaId`]: whoever loses its memory goes on under a new one,
/// and the rights of the old id are lost to all, as are those of a replica that leaves without a
/// [`transfer`](Edit::transfer).
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct BoundedCounter {
    /// From, to: rights handed over; on the diagonal what the replica has added itself. No zeros.
    rights: BTreeMap<(ReplicaId, ReplicaId), u64>,
    /// What each replica has taken away. No zeros.
    used: BTreeMap<ReplicaId, u64>,
}

/// This replica may not take or hand over so much. Others may have the rights: ask them for a
/// transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("needs the right to take {wanted}, has {available}")]
pub struct NotEnoughRights {
    /// How much was asked for.
    pub wanted: u64,
    /// How much this replica may take.
    pub available: u64,
}

impl BoundedCounter {
    /// All that was added less all that was taken. Never below zero: a replica that has heard of a
    /// use and not yet of the additions behind it shows zero until it has.
    pub fn value(&self) -> u128 {
        let added: u128 = self
            .rights
            .iter()
            .filter(|((from, to), _)| from == to)
            .map(|(_, &n)| u128::from(n))
            .sum();
        added.saturating_sub(self.used.values().map(|&n| u128::from(n)).sum())
    }

    /// How much the replica may take away, as far as is known here: exact for the replica itself.
    /// O(pairs of replicas).
    pub fn rights(&self, replica: ReplicaId) -> u64 {
        let (mut held, mut spent) = (
            0_u128,
            u128::from(self.used.get(&replica).copied().unwrap_or(0)),
        );
        for (&(from, to), &n) in &self.rights {
            if to == replica {
                held += u128::from(n);
            } else if from == replica {
                spent += u128::from(n);
            }
        }
        u64::try_from(held.saturating_sub(spent)).unwrap_or(u64::MAX)
    }
}

impl Edit<'_, BoundedCounter> {
    /// Adds `by`, and with it the right of this replica to take as much away. What one replica adds
    /// in total stops at `u64::MAX`.
    pub fn increment(&mut self, tx: &mut Tx<'_>, by: u64) {
        let me = tx.replica();
        let total = self
            .rights
            .get(&(me, me))
            .copied()
            .unwrap_or(0)
            .saturating_add(by);
        self.grant((me, me), total);
    }

    /// Takes `by` away.
    ///
    /// # Errors
    /// This replica has not the rights. Nothing has changed.
    pub fn decrement(&mut self, tx: &mut Tx<'_>, by: u64) -> Result<(), NotEnoughRights> {
        let me = tx.replica();
        let total = self.spend(me, by, self.used.get(&me).copied().unwrap_or(0))?;
        if total > 0 {
            let (state, delta) = self.parts();
            state.used.insert(me, total);
            delta.used.insert(me, total);
        }
        Ok(())
    }

    /// Hands the right to take `by` away to another replica. To itself it changes nothing.
    ///
    /// # Errors
    /// This replica has not the rights. Nothing has changed.
    pub fn transfer(
        &mut self,
        tx: &mut Tx<'_>,
        to: ReplicaId,
        by: u64,
    ) -> Result<(), NotEnoughRights> {
        let pair = (tx.replica(), to);
        let total = self.spend(pair.0, by, self.rights.get(&pair).copied().unwrap_or(0))?;
        if pair.0 != to {
            self.grant(pair, total);
        }
        Ok(())
    }

    /// What a growing total becomes once `by` of the rights have gone into it.
    fn spend(&self, me: ReplicaId, by: u64, total: u64) -> Result<u64, NotEnoughRights> {
        let available = self.rights(me).min(u64::MAX - total);
        if by > available {
            Err(NotEnoughRights {
                wanted: by,
                available,
            })
        } else {
            Ok(total + by)
        }
    }

    fn grant(&mut self, pair: (ReplicaId, ReplicaId), total: u64) {
        if total > 0 {
            let (state, delta) = self.parts();
            state.rights.insert(pair, total);
            delta.rights.insert(pair, total);
        }
    }
}

impl Lattice for BoundedCounter {
    fn merge(&mut self, other: &Self) -> bool {
        raise(&mut self.rights, &other.rights) | raise(&mut self.used, &other.used)
    }
}

fn raise<K: Ord + Copy>(mine: &mut BTreeMap<K, u64>, theirs: &BTreeMap<K, u64>) -> bool {
    let mut raised = false;
    for (&key, &total) in theirs {
        let here = mine.entry(key).or_default();
        raised |= total > *here;
        *here = total.max(*here);
    }
    raised
}

impl Crdt for BoundedCounter {
    without_dots!(|tag| tag.kind(Kind::BoundedCounter));
    type Effects = Changed;

    fn join(&mut self, theirs: &Self, _: Contexts<'_>) -> Changed {
        Changed(self.merge(theirs))
    }

    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        let more = |mine: Option<&u64>, theirs: &u64| *theirs > mine.copied().unwrap_or(0);
        theirs
            .rights
            .iter()
            .any(|(pair, total)| pair.0 == replica && more(self.rights.get(pair), total))
            || theirs
                .used
                .get(&replica)
                .is_some_and(|total| more(self.used.get(&replica), total))
    }

    fn encode(&self, out: &mut Writer) {
        encode(&self.rights, out);
        encode(&self.used, out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            rights: decode(input)?,
            used: decode(input)?,
        })
    }
}

fn encode<K: serde::Serialize>(totals: &BTreeMap<K, u64>, out: &mut Writer) {
    out.number(totals.len() as u64);
    for (key, &total) in totals {
        out.value(key);
        out.number(total);
    }
}

fn decode<K: serde::de::DeserializeOwned + Ord>(
    input: &mut Reader<'_>,
) -> Result<BTreeMap<K, u64>, DecodeError> {
    let mut totals = BTreeMap::new();
    for _ in 0..input.count()? {
        let (key, total): (K, u64) = (input.value()?, input.number()?);
        if totals
            .last_key_value()
            .is_some_and(|(before, _)| *before >= key)
            || total == 0
        {
            return Err(DecodeError::Invalid(
                "replicas that do not ascend or have counted nothing",
            ));
        }
        totals.insert(key, total);
    }
    Ok(totals)
}
