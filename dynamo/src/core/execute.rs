//! Executes mutations on this node's replica, once they have seen what they must see and their turn
//! has come.

use bytes::Bytes;
use quorate_control::quorum::Verdict;
use quorate_crdt::{Dot, Now};

use super::Dynamo;
use super::fencing::looks_in;
use super::flight::{Beside, Flight, Next, Stage, Until};
use super::ledger::Ledger;
use crate::consistency::Consistency;
use crate::op::{Answer, Mutation, Op, Receipt, Reply, Request, RequestError};
use crate::planted;
use crate::preference::Access;
use crate::protocol::{Effect, Place, Refusal};
use crate::replica::{Delta, Range};
use crate::value::{self, Clocked, Remembered};

impl Dynamo {
    pub(super) fn start_mutation(
        &mut self,
        now: Now,
        flight: &mut Flight,
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        let removes = flight.request.op.frees() && !planted::FULL_DISK_KEEPS_ALL.is_planted();
        if self.disk_full && !removes {
            return Err(RequestError::DiskFull);
        }
        if !self.may_issue(flight.place.at()) {
            // The request waits until its replica has a new life.
            return Ok(Next::Wait(
                self.flights.name(flight),
                Stage::Parked(Until::Renewed),
            ));
        }
        let enough = self.ledger(flight, flight.level, Access::Write)?;
        if let Some(ranges) = self.must_see(now, flight) {
            let ledger = self.ledger(flight, observing(flight.level), looks_in(flight))?;
            if ledger.verdict() != Verdict::Reached {
                let beside = Beside::Nobody;
                return self.ask(now, flight, ranges, None, ledger, beside, effects);
            }
        }
        if self.is_behind(flight) {
            return Ok(self.wait_for_turn(flight));
        }
        self.execute(now, flight, enough, &[], effects)
    }

    /// What the mutation must see before it is executed, judged by what is here now.
    fn must_see(&self, now: Now, flight: &Flight) -> Option<Vec<Range>> {
        let replica = self.replica(flight.place)?;
        match &flight.request.op {
            Op::Mutate(key, mutation) if flight.request.claim.is_some() => {
                value::must_look(replica, key, mutation)
            }
            Op::Mutate(key, mutation) => value::must_see_once(
                replica,
                key,
                mutation,
                mark(&flight.request, key),
                now.unix_millis,
                self.config.limits,
            ),
            Op::Partition(..) => (!planted::CLEAR_UNSEEN.is_planted()).then(|| vec![Range::ALL]),
            Op::Query(..) => None,
        }
    }

    /// Resumes a mutation whose turn has come. What it must see may have changed meanwhile, through
    /// mutations before it or through time.
    pub(super) fn go_on_after(
        &mut self,
        now: Now,
        flight: &mut Flight,
        seen: &[Range],
        effects: &mut Vec<Effect>,
    ) -> Next {
        let expired = match (&flight.request.op, self.replica(flight.place)) {
            (Op::Mutate(key, _), Some(replica)) => value::is_stale(replica, key, now.unix_millis),
            _ => false,
        };
        let enough = !expired
            && self
                .must_see(now, flight)
                .is_none_or(|ranges| has_seen(seen, &ranges));
        if enough && !seen.is_empty() {
            // Whether other replicas lack some of it was not recorded, so all of it is sent along.
            self.execute_observed(now, flight, seen, effects)
        } else {
            self.begin(now, flight, None, &[], effects).into()
        }
    }

    /// The mutation has seen what it must. Checks again that enough writers can be reached.
    /// `behind` names the ranges in which some replica lacks what this one has.
    pub(super) fn execute_observed(
        &mut self,
        now: Now,
        flight: &mut Flight,
        behind: &[Range],
        effects: &mut Vec<Effect>,
    ) -> Next {
        // Where it has looked at a whole key, it may need less of it now: of a key that has become
        // large only the rows that it names.
        let needed = match behind {
            [Range::Key(_)] => self.must_see(now, flight),
            _ => None,
        };
        let behind = needed
            .as_deref()
            .filter(|needed| has_seen(behind, needed))
            .unwrap_or(behind);
        self.ledger(flight, flight.level, Access::Write)
            .and_then(|ledger| self.execute(now, flight, ledger, behind, effects))
            .into()
    }

    /// Applies the mutation here and sends it to the other replicas. From here on the write may be
    /// applied, whatever happens.
    ///
    /// What this replica has in the ranges `behind` is sent along and counts like the write:
    /// something that is already removed here is removed at the level only once enough replicas
    /// know of it.
    fn execute(
        &mut self,
        now: Now,
        flight: &mut Flight,
        ledger: Ledger,
        behind: &[Range],
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        let at = flight.place.at();
        let has = |dot| Some(self.replicas.get(&at)?.context().contains(dot));
        if flight.executed.is_some_and(|dot| has(dot) != Some(true)) {
            // This is another replica than the one that executed it. It would count twice.
            return Err(RequestError::Moving);
        }
        self.is_free(now, flight)?;
        let told = |core: &Self| core.replicas.get(&at)?.difference(behind, None);
        if !behind.is_empty() && told(self).is_none() {
            return Err(RequestError::Moving);
        }
        if !flight.request.op.lapses() {
            self.routes.writable(at.0)?;
        }
        let applied = self.apply(now, flight);
        self.note_remains(at);
        let (reply, changed) = applied?;
        let known = if behind.is_empty() {
            None
        } else {
            // The change itself may have made it too long to be sent along.
            Some(told(self).ok_or_else(|| ledger.failure(flight.level, true))?)
        };
        let (answer, delta) = match (changed, known) {
            (None, None) => {
                return Ok(Next::Done(Ok(reply.into())));
            }
            (None, Some(known)) => (Answer::from(reply), known),
            (Some((mut delta, dot)), known) => {
                flight.executed = Some(dot);
                if let Some(known) = known {
                    delta.add(known);
                }
                (written(reply, flight.place, dot), delta)
            }
        };
        Ok(self.spread(now, flight, answer, delta, ledger, effects))
    }

    fn apply(
        &mut self,
        now: Now,
        flight: &Flight,
    ) -> Result<(Reply, Option<(Delta, Dot)>), RequestError> {
        if !self.may_issue(flight.place.at()) {
            return Err(RequestError::Moving);
        }
        let at = flight.place.at();
        let replica = self.replicas.get_mut(&at).ok_or(RequestError::Moving)?;
        self.dirty.insert(at);
        match &flight.request.op {
            Op::Mutate(key, mutation) => {
                let once = mark(&flight.request, key);
                if let Some(again) =
                    once.and_then(|once| value::remembered(replica, key, mutation, once))
                {
                    return self.say_again(flight, again);
                }
                let claim = flight.request.claim;
                let needs_time = || {
                    claim.is_some() || value::needs_time(replica, key, mutation, now.unix_millis)
                };
                if let Some(offset_ms) = self.clocks.off().filter(|_| needs_time()) {
                    self.counters.drift_refused += 1;
                    return Err(RequestError::Clock { offset_ms });
                }
                let clocked = Clocked {
                    clock: &mut self.clocks.hybrid,
                    now,
                    limits: self.config.limits,
                };
                let mutated = value::mutate(replica, key, mutation, clocked, once, claim)?;
                self.counters.expired +=
                    u64::from(matches!(mutation, Mutation::Lapse { .. }) && mutated.1.is_some());
                Ok(mutated)
            }
            Op::Partition(..) => {
                if replica.row_count() == 0 {
                    return Ok((Reply::Done, None));
                }
                let mut write = replica.write();
                write.wipe(Range::ALL);
                Ok((Reply::Done, write.finish()))
            }
            Op::Query(..) => unreachable!("invariant: queries are never executed as writes"),
        }
    }

    /// Whether this replica remembers the request.
    pub(super) fn remembers(&self, flight: &Flight) -> bool {
        let Op::Mutate(key, mutation) = &flight.request.op else {
            return false;
        };
        let replica = self.replica(flight.place);
        let once = mark(&flight.request, key);
        replica.zip(once).is_some_and(|(replica, once)| {
            value::remembered(replica, key, mutation, once).is_some()
        })
    }

    /// The request was executed before, but may have reached no other replica. Its effect is sent
    /// to the others and counted again, so the answer again means that it is applied at its level.
    fn say_again(
        &self,
        flight: &Flight,
        again: Remembered,
    ) -> Result<(Reply, Option<(Delta, Dot)>), RequestError> {
        let Remembered { reply, dot, ranges } = again;
        let replica = self.replica(flight.place).ok_or(RequestError::Moving)?;
        let delta = replica
            .difference(&ranges, None)
            .ok_or_else(|| RequestError::Refused {
                level: flight.level,
                acked: 1,
                required: 1,
                refused: vec![(self.seat.me, Refusal::NotServing)],
                missing: Vec::new(),
                may_be_applied: true,
            })?;
        Ok((reply, Some((delta, dot))))
    }
}

/// Whether the ranges that were seen contain all of those that are needed.
fn has_seen(seen: &[Range], needed: &[Range]) -> bool {
    needed.iter().all(|range| {
        seen.contains(range)
            || matches!(range, Range::Row(row) if seen.iter().any(|wide| wide.contains(row)))
    })
}

/// The mark under which a named request is remembered.
fn mark(request: &Request, key: &Bytes) -> Option<u128> {
    let id = request
        .id
        .as_ref()
        .filter(|_| !planted::REQUEST_ID_FORGOTTEN.is_planted())?;
    Some(id.mark(key))
}

/// The level at which a mutation looks before it drops something. It meets every write acknowledged
/// at the mutation's own level.
fn observing(level: Consistency) -> Consistency {
    match level {
        Consistency::Numeric { write, .. } => Consistency::Numeric { read: write, write },
        other => other,
    }
}

/// The answer to a client's write, with its receipt.
fn written(reply: Reply, place: Place, dot: Dot) -> Answer {
    Answer {
        reply,
        receipt: Some(Receipt {
            keyspace: place.keyspace,
            partition: place.partition,
            dot,
        }),
    }
}
