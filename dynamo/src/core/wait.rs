//! Tells clients that wait when enough replicas are known to have what they wrote. Who waits for
//! what is in [`waiters`](super::waiters).

use quorate_control::topology::Placement;
use quorate_crdt::{CausalContext, Now};

use super::Dynamo;
use super::waiters::{Waiter, at_of};
use crate::op::Receipt;
use crate::protocol::Effect;
use crate::seen::At;

impl Dynamo {
    /// A client waits from now on, unless enough replicas are known to have its writes already.
    pub(super) fn on_wait(&mut self, now: Now, waiter: Waiter, effects: &mut Vec<Effect>) {
        self.wait_on(now, waiter, 0, effects);
        self.keep_sweeping(effects);
    }

    /// `known` of the waiter's events need not be looked at any more.
    fn wait_on(&mut self, now: Now, waiter: Waiter, mut known: usize, effects: &mut Vec<Effect>) {
        self.counters.waits_looked_at += 1;
        let spread = |receipt: &Receipt| self.known_elsewhere(receipt) >= waiter.replicas;
        while waiter.receipts.get(known).is_some_and(spread) {
            known += 1;
        }
        if known < waiter.receipts.len() && now.monotonic < waiter.deadline {
            self.waiters.insert(waiter, known);
            return;
        }
        let all = waiter.receipts.iter();
        let least = all.map(|receipt| self.known_elsewhere(receipt)).min();
        effects.push(Effect::Waited {
            ticket: waiter.ticket,
            replicas: least.unwrap_or(0),
        });
    }

    fn look_at(&mut self, now: Now, numbers: Vec<u64>, effects: &mut Vec<Effect>) {
        for number in numbers {
            if let Some((waiter, known)) = self.waiters.take(number) {
                self.wait_on(now, waiter, known, effects);
            }
        }
    }

    /// Another replica is known to have these events.
    pub(super) fn have_spread(
        &mut self,
        now: Now,
        at: At,
        events: &CausalContext,
        effects: &mut Vec<Effect>,
    ) {
        self.look_at(now, self.waiters.of_events(at, events), effects);
    }

    /// Another replica of the partition has reported.
    pub(super) fn may_have_spread(&mut self, now: Now, at: At, effects: &mut Vec<Effect>) {
        self.look_at(now, self.waiters.of_place(at), effects);
    }

    /// Each tick: what is learnt from the deltas of others is told to nobody, and the holders of a
    /// partition change.
    pub(super) fn look_after_waiters(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.look_at(now, self.waiters.all(), effects);
    }

    /// Answers those whose time is over.
    pub(super) fn end_waits(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.look_at(now, self.waiters.overdue(now.monotonic), effects);
    }

    /// How many other holders of the partition are known to have the event.
    fn known_elsewhere(&self, receipt: &Receipt) -> u32 {
        let at = at_of(receipt);
        let Some(replica) = self.replicas.get(&at) else {
            return 0;
        };
        let holders = self
            .routes
            .placement(at)
            .map_or_else(Vec::new, Placement::holders);
        holders
            .into_iter()
            .filter(|node| *node != self.seat.me && replica.knows(*node, receipt.dot))
            .count() as u32
    }
}
