//! Requests under a fencing token.
//!
//! **Why each step.** Every replica that takes part, as reader or writer, first raises its fence,
//! so that of two holders of a lock the earlier one fails wherever the later one has been. What the
//! later one finds by then it writes once more under its own token before it answers, because an
//! earlier write that reached a single replica may still arrive. So every read and write of a
//! holder looks at a majority that refuses what is older, in every set of replicas that counts: the
//! first phase of Paxos, in which the lock has already chosen who proposes.
//!
//! A replica that has lost its memory, or is not sure of it, takes no part: its fence may be lost.

use quorate_control::quorum::{Group, majority};
use quorate_crdt::{NodeId, Now, ReplicaId};

use super::Dynamo;
use super::flight::{Beside, Flight, Next, Reading, Stage, Until};
use super::ledger::Ledger;
use crate::consistency::Consistency;
use crate::fence::{Claim, Rank};
use crate::op::{Answer, Op, Request, RequestError};
use crate::planted;
use crate::preference::Access;
use crate::protocol::{Effect, FlightId, Look, Place, Refusal};
use crate::value::{self, Clocked};

/// Refuses what cannot be done under a token.
pub(super) fn check_claim(request: &Request, level: Consistency) -> Result<(), RequestError> {
    let Some(claim) = &request.claim else {
        return Ok(());
    };
    if !claim.is_valid() {
        return Err(RequestError::BadClaim);
    }
    if !level.needs_majority() {
        return Err(RequestError::BelowQuorum { level });
    }
    if matches!(request.op, Op::Partition(..)) || request.id.is_some() {
        return Err(RequestError::NotUnderToken);
    }
    Ok(())
}

/// In which sets of replicas a request looks at what others have: under a token in all in which a
/// write counts.
pub(super) fn looks_in(flight: &Flight) -> Access {
    if flight.request.claim.is_some() {
        Access::Write
    } else {
        Access::Read
    }
}

impl Dynamo {
    /// The first step of a request under a token at the node that executes it. Returns what the
    /// request waits for, if it cannot begin.
    pub(super) fn enter(
        &mut self,
        now: Now,
        flight: &mut Flight,
    ) -> Result<Option<Next>, RequestError> {
        let at = flight.place.at();
        let until = if self.is_waking(flight.place) {
            Some(Until::Awake(at))
        } else if !self.may_issue(at) {
            Some(Until::Renewed)
        } else {
            None
        };
        if let Some(until) = until {
            let id = self.flights.name(flight);
            return Ok(Some(Next::Wait(id, Stage::Parked(until))));
        }
        // Reads write, too.
        if self.disk_full {
            return Err(RequestError::DiskFull);
        }
        if let Some(offset_ms) = self.clocks.off() {
            self.counters.drift_refused += 1;
            return Err(RequestError::Clock { offset_ms });
        }
        self.is_free(now, flight)?;
        Ok(None)
    }

    /// Raises the fence here, and checks that nothing has been done that comes after this request.
    /// An entry is as good as a fence: it may have arrived without it. A request without a token is
    /// always free.
    pub(super) fn is_free(&mut self, now: Now, flight: &Flight) -> Result<(), RequestError> {
        let Some(claim) = &flight.request.claim else {
            return Ok(());
        };
        let (Op::Query(key, _) | Op::Mutate(key, _)) = &flight.request.op else {
            return Err(RequestError::NotUnderToken);
        };
        let replica = self.replica_mut(flight.place).ok_or(RequestError::Moving)?;
        match replica.admit(claim) {
            Ok(()) => {}
            Err(Refusal::Fenced { token, since }) => {
                return Err(RequestError::fenced(Rank::of(token, since)));
            }
            Err(reason) => {
                return Err(RequestError::Refused {
                    level: flight.level,
                    acked: 0,
                    required: 1,
                    refused: vec![(self.seat.me, reason)],
                    missing: Vec::new(),
                    may_be_applied: false,
                });
            }
        }
        let op = &flight.request.op;
        match value::overtaken(replica, key, op, claim, now.unix_millis) {
            Some(rank) => Err(RequestError::fenced(rank)),
            None => Ok(()),
        }
    }

    /// The holders that must answer a look at a whole collection under a token, because they have
    /// not said yet that they admit nothing lower. Nobody, if the request looks at named rows.
    ///
    /// # Errors
    /// `NotClosed` if one of them cannot be reached or has not reported yet.
    pub(super) fn open_holders(&self, flight: &Flight) -> Result<Beside, RequestError> {
        let place = flight.place;
        let replica = self.replica(place).ok_or(RequestError::Moving)?;
        let (Op::Query(key, query), Some(claim)) = (&flight.request.op, &flight.request.claim)
        else {
            return Ok(Beside::Nobody);
        };
        if !value::reads_whole_collection(replica, key, query) {
            return Ok(Beside::Nobody);
        }
        let others = self.others(place.at());
        let mut members = replica.open_at(claim.lock, claim.lowest(), &others, place.epoch);
        let by_quorum = planted::CLOSED_BY_QUORUM.is_planted();
        let absent =
            |node: &NodeId| !self.routes.reachable(*node) || replica.heard_of(*node).is_none();
        let missing: Vec<NodeId> = members.iter().copied().filter(absent).collect();
        if !missing.is_empty() && !by_quorum {
            let refused = Vec::new();
            return Err(RequestError::NotClosed { missing, refused });
        }
        members.push(self.seat.me);
        let needed = if by_quorum {
            majority(members.len())
        } else {
            members.len()
        };
        let group = Group { members, needed };
        let mut ledger = Ledger::new(vec![group]).map_err(|_changed| RequestError::Moving)?;
        ledger.has(self.seat.me);
        Ok(Beside::Open(ledger))
    }

    /// What the replicas are told that are asked what they have.
    pub(super) fn look_of(&self, flight: &Flight, beside: &Beside) -> Option<Look> {
        let claim = flight
            .request
            .claim
            .filter(|_| !planted::READ_BEFORE_ANNOUNCE.is_planted())?;
        let others = || self.others(flight.place.at());
        let lives = match beside {
            Beside::Open(_) => self
                .replica(flight.place)
                .and_then(|replica| replica.lives(&others())),
            Beside::Nobody | Beside::Later(_) => None,
        };
        let lives = lives.unwrap_or_default();
        Some(Look { claim, lives })
    }

    /// Whether this node's replica has heard of the same lives of all holders, if any are named.
    pub(super) fn agrees_on_lives(&self, place: Place, lives: &[ReplicaId]) -> Result<(), Refusal> {
        if lives.is_empty() || planted::FORMER_LIFE_JOINS.is_planted() {
            return Ok(());
        }
        let replica = self.replica(place).ok_or(Refusal::NotServing)?;
        if replica.has_lives(lives, &self.others(place.at()), None) {
            Ok(())
        } else {
            Err(Refusal::OtherLives)
        }
    }

    /// Another node asks for something under a token.
    pub(super) fn admit_asked(&mut self, place: Place, claim: &Claim) -> Result<(), Refusal> {
        let waking = self.is_waking(place);
        let replica = self.replica_mut(place).ok_or(Refusal::NotServing)?;
        if (replica.filling() || waking) && !planted::FILLING_ANSWERS.is_planted() {
            return Err(Refusal::Filling);
        }
        replica.admit(claim)
    }

    /// Enough replicas have told a holder what they have, and admit nothing lower from now on.
    /// Writes what it is about to be told once more under its token, unless one of its own requests
    /// has done so; then repairs, as any read does.
    pub(super) fn answer_holder(
        &mut self,
        now: Now,
        flight: &mut Flight,
        reading: Reading,
        effects: &mut Vec<Effect>,
    ) -> Result<Next, RequestError> {
        self.is_free(now, flight)?;
        let at = flight.place.at();
        let others = self.others(at);
        let replica = self.replicas.get_mut(&at).ok_or(RequestError::Moving)?;
        let (Op::Query(key, query), Some(claim)) = (&flight.request.op, flight.request.claim)
        else {
            return Err(RequestError::Moving);
        };
        let whole = value::reads_whole_collection(replica, key, query);
        if whole && !matches!(reading.beside, Beside::Open(_)) {
            // This node has just learned that it is one.
            return self.start_query(now, flight, effects);
        }
        let (lock, lowest) = (claim.lock, claim.lowest());
        let closed = whole || replica.is_closed(lock, lowest, &others, flight.place.epoch);
        let reply = value::query(replica, key, query, now.unix_millis)?;
        let clocked = Clocked {
            clock: &mut self.clocks.hybrid,
            now,
            limits: self.config.limits,
        };
        let restated = if closed {
            None
        } else {
            value::restate(replica, key, query, clocked, claim)
        };
        let alike = |told: Option<u128>| told == Some(reading.digest);
        let all_alike = reading.told.iter().all(|(_, told)| alike(told.digest));
        let Some((mut delta, _)) = restated else {
            return match reading.eager {
                Some(reply) if all_alike => Ok(Next::Done(reply.map(Answer::from))),
                _ => self.repair(now, flight, reading, effects),
            };
        };
        if !all_alike {
            let known = replica.difference(&reading.ranges, None);
            let known = known.ok_or_else(|| reading.ledger.failure(flight.level, false))?;
            delta.add(known);
        }
        let ledger = self.ledger(flight, flight.level, Access::Write)?;
        if planted::RESTATE_AT_ONE.is_planted() {
            drop(self.spread(now, flight, reply.clone().into(), delta, ledger, effects));
            return Ok(Next::Done(Ok(reply.into())));
        }
        Ok(self.spread(now, flight, reply.into(), delta, ledger, effects))
    }

    /// A replica that was asked admits nothing as low as this request any more.
    pub(super) fn fenced_off(
        &mut self,
        by: Rank,
        id: FlightId,
        flight: &Flight,
        stage: Stage,
    ) -> Next {
        let executed = matches!(stage, Stage::Writing(_)) && flight.request.op.writes();
        if let Stage::Writing(writing) = stage {
            self.remember_owing(id, flight.place, writing.events, writing.ledger.owing());
        }
        Next::Done(Err(RequestError::Fenced {
            token: by.token,
            since: by.sequence,
            may_be_applied: executed,
        }))
    }

    /// No lock is held under a token below this.
    pub(super) fn raise_floor(&mut self, floor: u64) {
        for (at, replica) in &mut self.replicas {
            if replica.raise_floor(floor) {
                self.dirty.insert(*at);
            }
        }
    }
}
