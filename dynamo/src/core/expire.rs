//! Removes expired keys. Reading is different from removing: readers hide expired keys by their own
//! clocks, and a corrected clock undoes that. What is removed stays removed, so a removal first
//! needs the agreement of a quorum's clocks and then sees what a quorum has.
//!
//! **Invariant:** no single clock removes anything. A key is removed only if a majority of its
//! holders say, by their own clocks and rows, that it expired more than the margin ago. The removal
//! then drops exactly what it has seen.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::quorum::{Tally, Verdict};
use quorate_crdt::{NodeId, Now};

use super::Dynamo;
use super::lapse::Asked;
use super::request::Start;
use crate::consistency::Consistency;
use crate::op::{Mutation, Op, Request};
use crate::planted;
use crate::preference::{Access, groups};
use crate::protocol::{Effect, FlightId, Message, Place};
use crate::seen::At;
use crate::value;

/// How many expired keys of a partition are removed at a time.
const REAP_MAX: usize = 256;
/// How many bytes their names may have; far below what a message may carry.
const REAP_BYTES_MAX: usize = 1024 * 1024;
/// How long to wait for an answer before the question is asked again.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long a removal may take.
const REAP_TIMEOUT: Duration = Duration::from_secs(1);

impl Dynamo {
    /// Asks about expired keys in the partitions whose first reachable holder is this node, with
    /// one question per partition at a time.
    pub(super) fn on_reap(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.clocks
            .lapses
            .retain(|_, asked| now.monotonic < asked.since + PATIENCE);
        if !self.clocks.is_trusted() || self.is_new_and_alone(now) {
            return;
        }
        let busy: BTreeSet<_> = self
            .clocks
            .lapses
            .values()
            .map(|asked| asked.place.at())
            .collect();
        let places: Vec<At> = self
            .replicas
            .keys()
            .copied()
            .filter(|at| !busy.contains(at))
            .collect();
        for at in places {
            self.ask_lapsed(now, at, effects);
        }
    }

    fn ask_lapsed(&mut self, now: Now, at: At, effects: &mut Vec<Effect>) {
        let (Some(replica), Some(placement)) = (self.replicas.get(&at), self.routes.placement(at))
        else {
            return;
        };
        // If this node's clock is right, a holder whose clock is known to be off is skipped, so
        // that the next one does the work.
        let may = |node: &&NodeId| {
            self.routes.reachable(**node)
                && (**node == self.seat.me || !self.clocks.disagrees(now, **node))
        };
        let first = placement.readers().flatten().find(may);
        if first != Some(&self.seat.me) || !replica.vouches() || self.healing.waking.contains(at) {
            return;
        }
        let place = Place::new(at, placement.epoch);
        let mut budget = REAP_BYTES_MAX;
        let due = replica
            .expired(now.unix_millis)
            .filter(|key| value::lapsed(replica, key, now.unix_millis, self.margin()))
            .take(REAP_MAX);
        let within = |key: &&Bytes| {
            budget = budget.saturating_sub(key.len());
            budget > 0
        };
        // If only an expiry is left, the key's rows may still be on their way. Then all holders
        // must agree.
        let level = |key: &Bytes| {
            if replica
                .key(key)
                .is_some_and(crate::replica::KeyRows::has_value)
            {
                Consistency::Quorum
            } else {
                Consistency::All
            }
        };
        let keys: Vec<(Bytes, Option<Tally>)> = due
            .take_while(within)
            .map(|key| (key.clone(), self.agreement(place, level(key))))
            .collect();
        if keys.is_empty() {
            return;
        }
        let names: Vec<Bytes> = keys.iter().map(|(key, _)| key.clone()).collect();
        let holders = placement.holders();
        let id = self.flights.new_name();
        for to in holders
            .into_iter()
            .filter(|node| *node != self.seat.me && self.routes.reachable(*node))
        {
            effects.push(Effect::Send {
                to,
                message: Message::Lapsed {
                    id,
                    place,
                    keys: names.clone(),
                },
            });
        }
        self.clocks.lapses.insert(
            id,
            Asked {
                place,
                since: now.monotonic,
                keys,
            },
        );
        self.agree(now, self.seat.me, id, &vec![true; names.len()], effects);
    }

    /// Counts the holders that must agree.
    fn agreement(&self, place: Place, level: Consistency) -> Option<Tally> {
        if planted::REAP_BY_OWN_CLOCK.is_planted() {
            return Tally::new(&[]).ok();
        }
        let placement = self.routes.placement_of(place)?;
        let topology = self.routes.topology()?;
        Tally::new(&groups(level, Access::Write, placement, topology, "")).ok()
    }

    /// How long ago, in milliseconds, a key must have expired before it is removed. Two clocks that
    /// trust each other may differ by twice the bound.
    fn margin(&self) -> u64 {
        self.config.drift_max.as_millis() as u64 * 2
    }

    /// Another holder asks.
    pub(super) fn on_lapsed(
        &mut self,
        now: Now,
        from: NodeId,
        id: FlightId,
        place: Place,
        keys: &[Bytes],
        effects: &mut Vec<Effect>,
    ) {
        if self.serving(place).is_err() || !self.clocks.is_trusted() || self.is_waking(place) {
            return;
        }
        let Some(replica) = self.replica(place).filter(|replica| replica.vouches()) else {
            return;
        };
        let lapsed = keys
            .iter()
            .map(|key| value::lapsed(replica, key, now.unix_millis, self.margin()))
            .collect();
        effects.push(Effect::Send {
            to: from,
            message: Message::LapsedToo { id, lapsed },
        });
    }

    pub(super) fn on_lapsed_too(
        &mut self,
        now: Now,
        from: NodeId,
        id: FlightId,
        lapsed: &[bool],
        effects: &mut Vec<Effect>,
    ) {
        self.agree(now, from, id, lapsed, effects);
    }

    fn agree(
        &mut self,
        now: Now,
        from: NodeId,
        id: FlightId,
        lapsed: &[bool],
        effects: &mut Vec<Effect>,
    ) {
        let Some(asked) = self.clocks.lapses.get_mut(&id) else {
            return;
        };
        let place = asked.place;
        let mut agreed = Vec::new();
        for ((key, tally), lapsed) in asked.keys.iter_mut().zip(lapsed) {
            let Some(count) = tally else { continue };
            let verdict = if *lapsed {
                count.ack(from)
            } else {
                count.fail(from)
            };
            if verdict != Verdict::Pending {
                let all = count.missing().is_empty();
                *tally = None;
                agreed.extend((verdict == Verdict::Reached).then(|| (key.clone(), all)));
            }
        }
        if asked.keys.iter().all(|(_, tally)| tally.is_none()) {
            self.clocks.lapses.remove(&id);
        }
        for (key, all) in agreed {
            self.remove_lapsed(now, place, key, all, effects);
        }
    }

    fn remove_lapsed(
        &mut self,
        now: Now,
        place: Place,
        key: Bytes,
        all: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Some(home) = self
            .routes
            .topology()
            .and_then(|topology| topology.datacenter_of(self.seat.me))
            .cloned()
        else {
            return;
        };
        let level = if all {
            Consistency::All
        } else {
            Consistency::Quorum
        };
        let request = Request {
            keyspace: place.keyspace,
            op: Op::Mutate(
                key,
                Mutation::Lapse {
                    margin: self.margin(),
                },
            ),
            consistency: Some(if planted::REAP_AT_ONE.is_planted() {
                Consistency::One
            } else {
                level
            }),
            timeout: REAP_TIMEOUT,
            datacenter: home,
            id: None,
            claim: None,
        };
        self.start(now, Start::nobody(request), effects);
    }
}
