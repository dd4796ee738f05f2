//! A counter that never goes below zero.

use alloc::collections::BTreeMap;

use thiserror::Error;

use super::delegate::without_dots;
use crate::codec::{DecodeError, Kind, Reader, Writer};
use crate::{Changed, Contexts, Crdt, Edit, Lattice, ReplicaId, Tx};

/// A counter that never goes below zero and needs no coordination for that (escrow: O'Neil, "The
/// escrow transactional method", TODS 1986; Balegas et al., "Extending eventually consistent cloud
/// databases for enforcing numeric invariants", SRDS 2015). Typical uses are stock, quotas and
/// seats.
///
/// Adding gives the replica the right to take the same amount away, and a replica can transfer
/// rights to another. For example, the warehouse adds 10 and transfers 4 to the shop. The shop can
/// then sell 4 while offline; its fifth sale is refused although the counter still shows 6.
///
/// | concurrently | result |
/// |---|---|
/// | add and add, add and take | all count |
/// | two takes | both count; a replica without the rights has already refused its own |
/// | transfer and take at its origin | both count: the replica had the rights for both, or it refused the later one |
///
/// **Invariant:** only a replica writes its own rows, and they only grow: what it has added, what
/// it has used, and what it has transferred to each other replica. Merging takes the maximum of
/// each. What grows: two numbers per replica that ever counted, and one per pair of replicas that
/// ever transferred rights.
///
/// **Bound:** the guarantee holds per [`ReplicaId`]. A replica that loses its memory continues
/// under a new id, and nobody can use the rights of the old one any more. The same happens to the
/// rights of a replica that leaves without a [`transfer`](Edit::transfer).
#[derive(Clone, Default, PartialEq, Eq, Hash, Debug)]
pub struct BoundedCounter {
    /// (From, to): rights transferred. The diagonal holds what the replica itself has added. No
    /// zeros.
    rights: BTreeMap<(ReplicaId, ReplicaId), u64>,
    /// What each replica has taken away. No zeros.
    used: BTreeMap<ReplicaId, u64>,
}

/// This replica does not have the rights to take away or transfer that much. Nothing has changed.
/// Other replicas may have the rights: ask one of them for a transfer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("this replica may take away {available}, not {wanted}")]
pub struct NotEnoughRights {
    /// The amount asked for.
    pub wanted: u64,
    /// The amount this replica may take away.
    pub available: u64,
}

impl BoundedCounter {
    /// Everything added less everything taken away. A replica that has heard of a use but not yet
    /// of the additions behind it shows zero. O(pairs of replicas).
    pub fn value(&self) -> u128 {
        let added: u128 = self
            .rights
            .iter()
            .filter(|((from, to), _)| from == to)
            .map(|(_, &n)| u128::from(n))
            .sum();
        added.saturating_sub(self.used.values().map(|&n| u128::from(n)).sum())
    }

    /// How much the replica may take away, as far as this replica knows; exact for the replica
    /// itself. O(pairs of replicas).
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
    /// Adds `by`, and with it the right of this replica to take the same amount away. The total
    /// that one replica adds stops at `u64::MAX`.
    pub fn increment(&mut self, tx: &mut Tx<'_>, by: u64) {
        let me = tx.replica();
        let total = self
            .rights
            .get(&(me, me))
            .copied()
            .unwrap_or(0)
            .saturating_add(by);
        self.grant(me, me, total);
    }

    /// Takes `by` away. O(pairs of replicas).
    ///
    /// # Errors
    /// This replica does not have the rights. Nothing has changed.
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

    /// Transfers the right to take `by` away to another replica. A transfer to itself changes
    /// nothing.
    ///
    /// # Errors
    /// This replica does not have the rights. Nothing has changed.
    pub fn transfer(
        &mut self,
        tx: &mut Tx<'_>,
        to: ReplicaId,
        by: u64,
    ) -> Result<(), NotEnoughRights> {
        let pair = (tx.replica(), to);
        let total = self.spend(pair.0, by, self.rights.get(&pair).copied().unwrap_or(0))?;
        if pair.0 != to {
            self.grant(pair.0, to, total);
        }
        Ok(())
    }

    /// The new value of a growing total after it takes `by` of the rights.
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

    fn grant(&mut self, from: ReplicaId, to: ReplicaId, total: u64) {
        if total > 0 {
            let (state, delta) = self.parts();
            state.rights.insert((from, to), total);
            delta.rights.insert((from, to), total);
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
