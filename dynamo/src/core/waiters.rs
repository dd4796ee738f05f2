//! Clients that wait until other replicas have what they have written (`WAIT`).
//!
//! Each is looked at for one of its events at a time, the first that too few replicas are known to
//! have, and only when something is learnt about that event. So an acknowledgement costs what it
//! tells, however many clients wait: all those that wait for a dead replica, for example.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};

use crate::op::Receipt;
use crate::planted;
use crate::protocol::Ticket;
use crate::seen::At;

/// A client that waits.
#[derive(Clone, Debug)]
pub(super) struct Waiter {
    pub(super) ticket: Ticket,
    pub(super) receipts: Vec<Receipt>,
    pub(super) replicas: u32,
    pub(super) deadline: Duration,
}

/// All clients of a core that wait, by number.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// Each with how many of its events enough replicas are known to have.
    by_number: BTreeMap<u64, (Waiter, usize)>,
    /// The event that each is looked at for.
    awaited: BTreeSet<(At, Dot, u64)>,
    due: BTreeSet<(Duration, u64)>,
    last: u64,
}

impl Waiters {
    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    pub(super) fn insert(&mut self, waiter: Waiter, known: usize) {
        self.last += 1;
        let number = self.last;
        if let Some(receipt) = waiter.receipts.get(known) {
            self.awaited.insert((at_of(receipt), receipt.dot, number));
        }
        self.due.insert((waiter.deadline, number));
        self.by_number.insert(number, (waiter, known));
    }

    pub(super) fn take(&mut self, number: u64) -> Option<(Waiter, usize)> {
        let (waiter, known) = self.by_number.remove(&number)?;
        if let Some(receipt) = waiter.receipts.get(known) {
            self.awaited.remove(&(at_of(receipt), receipt.dot, number));
        }
        self.due.remove(&(waiter.deadline, number));
        Some((waiter, known))
    }

    /// Those that are looked at for one of `events` of the partition.
    pub(super) fn of_events(&self, at: At, events: &CausalContext) -> Vec<u64> {
        if planted::EVERY_WAITER_LOOKED_AT.is_planted() {
            return self.all();
        }
        let mut found = Vec::new();
        for (replica, run) in events.runs() {
            let from = (at, Dot::new(replica, *run.start()), 0);
            let through = (at, Dot::new(replica, *run.end()), u64::MAX);
            let awaited = self.awaited.range(from..=through);
            found.extend(awaited.map(|(_, _, number)| *number));
        }
        found
    }

    /// Those that are looked at for any event of the partition.
    pub(super) fn of_place(&self, at: At) -> Vec<u64> {
        let first = Dot::new(ReplicaId::new(NodeId(0), 0), 0);
        let awaited = self.awaited.range((at, first, 0)..);
        awaited
            .take_while(|(place, _, _)| *place == at)
            .map(|(_, _, number)| *number)
            .collect()
    }

    pub(super) fn all(&self) -> Vec<u64> {
        self.by_number.keys().copied().collect()
    }

    pub(super) fn overdue(&self, now: Duration) -> Vec<u64> {
        let due = self.due.range(..=(now, u64::MAX));
        due.map(|(_, number)| *number).collect()
    }
}

pub(super) fn at_of(receipt: &Receipt) -> At {
    (receipt.keyspace, receipt.partition)
}
