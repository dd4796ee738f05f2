//! Admits requests under locks, or refuses them because of a later holder.

use super::Replica;
use super::fences::Fences;
use crate::fence::{Claim, LockId, Rank};
use crate::planted;
use crate::refusal::Refusal;
use crate::seen::Fencing;

/// How many locks a replica keeps fences of before it refuses those that it does not know. Guess:
/// they take 128 KiB in a report.
pub(crate) const FENCES_MAX: usize = 4096;

impl Replica {
    /// Below which rank this replica refuses requests.
    pub fn fences(&self) -> &Fences {
        &self.fences
    }

    /// Checks a request under a token, reads and writes alike: refuses it if a higher one has been
    /// admitted, else raises the fence so that no lower one will be. Nothing may be answered before
    /// the fence is durable.
    ///
    /// # Errors
    /// [`Refusal::Fenced`], or [`Refusal::FencesFull`] for a lock that is new here.
    pub fn admit(&mut self, claim: &Claim) -> Result<(), Refusal> {
        let fence = self.fences.of(claim.lock);
        if claim.rank() < fence {
            return Err(Refusal::Fenced {
                token: fence.token,
                since: fence.sequence,
            });
        }
        let known = self.fences.knows(claim.lock);
        if !known && self.fences.len() >= FENCES_MAX {
            return Err(Refusal::FencesFull);
        }
        self.raise(claim.lock, claim.lowest());
        Ok(())
    }

    /// What this replica reports about locks; `None` if it has heard of none.
    pub fn fencing(&self) -> Option<Box<Fencing>> {
        if self.fences.is_empty() {
            return None;
        }
        let lives = self.heard.values().map(|heard| heard.replica);
        Some(Box::new(Fencing {
            fences: self.fences.clone(),
            lives: lives.filter(|_| self.is_fenced()).collect(),
        }))
    }

    /// Takes the fences of another replica of the partition. Returns whether any was higher.
    pub fn join_fences(&mut self, theirs: &Fences) -> bool {
        let mut raised = self.raise_floor(theirs.floor());
        for (lock, rank) in theirs.iter() {
            raised |= self.raise(lock, rank);
        }
        raised
    }

    /// Refuses every token below `floor` from now on. Fences below it are no longer needed.
    /// Returns whether the floor was lower.
    pub fn raise_floor(&mut self, floor: u64) -> bool {
        let Some(gone) = self.fences.raise_floor(floor) else {
            return false;
        };
        self.journal.floor(floor);
        for lock in gone {
            self.journal.forget_fence(lock);
        }
        true
    }

    fn raise(&mut self, lock: LockId, rank: Rank) -> bool {
        let raised = self.fences.raise(lock, rank);
        if raised && !planted::MEMORY_FENCE.is_planted() {
            self.journal.fence(lock, rank);
        }
        raised
    }
}

#[cfg(test)]
mod tests {
    use quorate_crdt::{NodeId, ReplicaId};

    use super::*;

    fn claim(lock: &[u8], token: u64, sequence: u64, since: u64) -> Claim {
        Claim {
            lock: LockId::of(lock),
            token,
            sequence,
            since,
        }
    }

    fn replica() -> Replica {
        Replica::new(ReplicaId::new(NodeId(1), 1))
    }

    #[test]
    fn a_lower_token_is_refused_and_so_is_what_the_holder_gave_up() {
        let mut replica = replica();
        assert_eq!(replica.admit(&claim(b"l", 2, 5, 3)), Ok(()));
        let fence = Refusal::Fenced { token: 2, since: 3 };
        assert_eq!(replica.admit(&claim(b"l", 1, 9, 9)), Err(fence));
        assert_eq!(replica.admit(&claim(b"l", 2, 2, 0)), Err(fence));
        assert_eq!(replica.admit(&claim(b"l", 2, 3, 0)), Ok(()), "waited for");
        assert_eq!(replica.admit(&claim(b"m", 1, 0, 0)), Ok(()), "another lock");
    }

    #[test]
    fn fences_join_as_a_maximum() {
        let (mut a, mut b) = (replica(), replica());
        a.admit(&claim(b"l", 2, 5, 3)).expect("first");
        a.admit(&claim(b"m", 1, 0, 0)).expect("first");
        b.admit(&claim(b"l", 3, 1, 1)).expect("first");
        let (mine, theirs) = (a.fences().clone(), b.fences().clone());
        a.join_fences(&theirs);
        b.join_fences(&mine);
        assert_eq!(a.fences(), b.fences());
        assert_eq!(a.fences().of(LockId::of(b"l")).token, 3);
        assert_eq!(a.fences().len(), 2);
    }

    #[test]
    fn a_floor_refuses_what_the_fences_that_it_drops_had_refused() {
        let mut replica = replica();
        replica.admit(&claim(b"l", 4, 0, 0)).expect("first");
        replica.admit(&claim(b"m", 7, 0, 0)).expect("first");
        replica.raise_floor(6);
        assert_eq!(replica.fences().len(), 1, "only the one that is held");
        assert!(replica.admit(&claim(b"l", 3, 9, 0)).is_err());
        assert!(replica.admit(&claim(b"new", 5, 0, 0)).is_err());
        assert_eq!(replica.admit(&claim(b"new", 6, 0, 0)), Ok(()));
        replica.raise_floor(2);
        assert_eq!(replica.fences().floor(), 6, "it never falls");
    }

    #[test]
    fn fences_are_bounded() {
        let mut replica = replica();
        for lock in 0..FENCES_MAX {
            replica
                .admit(&claim(&lock.to_be_bytes(), 1, 0, 0))
                .expect("room");
        }
        assert_eq!(
            replica.admit(&claim(b"one more", 1, 0, 0)),
            Err(Refusal::FencesFull)
        );
        let known = claim(&0_usize.to_be_bytes(), 2, 0, 0);
        assert_eq!(replica.admit(&known), Ok(()), "a lock that it knows");
    }
}
