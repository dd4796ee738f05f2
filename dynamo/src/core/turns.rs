//! Keeps the order of requests for one key.
//!
//! Commands of one connection must take effect in the order in which they were sent. A core
//! executes what it is given at once, but some mutations have to wait first: for what other
//! replicas have, for the time, or for a new life. Later requests for the same key then wait behind
//! them.
//!
//! A mutation that must look at other replicas does so while it waits, because an answer that comes
//! after its question is never too old. So many requests for one key together take as long as the
//! longest look among those before them, not the sum of all looks. If what a mutation must look at
//! has changed when its turn comes, it looks again.
//!
//! **Invariant:** a request waits only for requests that came earlier, so the first of all never
//! waits. Requests that waited for one are looked at before the next input, however that one ends.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::flight::{Flight, Origin, Stage, Until};
use crate::op::{Op, PartitionOp};
use crate::seen::At;

/// What takes turns: one key, or all keys of a partition.
pub(super) type Scope = (At, Option<Bytes>);

/// Requests that have not been executed, and that others wait for or would have to.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// The last turn that was given out.
    last: u64,
    /// Requests by scope and turn; with the flight's number if the request itself waits for its
    /// turn.
    held: BTreeMap<(Scope, u64), Option<u64>>,
    /// How many wait for their turn.
    waiting: usize,
    /// Scopes in which a request has left since turns were last checked.
    freed: BTreeSet<Scope>,
}

impl Turns {
    /// The turn of a request that has just come.
    pub(super) fn draw(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn enter(&mut self, flight: &Flight, stage: &Stage, number: u64) {
        if !holds_up(flight, stage) {
            return;
        }
        if let Some(scope) = scope_of(flight) {
            let waits = matches!(stage, Stage::Parked(Until::Turn(_)));
            self.waiting += usize::from(waits);
            self.held
                .insert((scope, flight.turn), waits.then_some(number));
        }
    }

    pub(super) fn leave(&mut self, flight: &Flight, stage: &Stage) {
        if self.held.is_empty() || !holds_up(flight, stage) {
            return;
        }
        let Some(scope) = scope_of(flight) else {
            return;
        };
        let at = scope.0;
        let left = self.held.remove(&(scope.clone(), flight.turn)).flatten();
        self.waiting -= usize::from(left.is_some());
        if self.waiting == 0 {
            return;
        }
        if scope.1.is_none() {
            self.freed
                .extend(of_partition(&self.held, at).map(|(scope, _)| scope.clone()));
        }
        self.freed.extend([scope, (at, None)]);
    }

    /// Whether a request with an earlier turn holds up `scope`.
    pub(super) fn is_behind(&self, scope: &Scope, turn: u64) -> bool {
        let earlier = |scope: Scope| {
            self.held
                .range((scope.clone(), 0)..(scope, turn))
                .next()
                .is_some()
        };
        match scope {
            (at, None) => of_partition(&self.held, *at).any(|(_, other)| *other < turn),
            (at, Some(_)) => earlier((*at, None)) || earlier(scope.clone()),
        }
    }

    /// Whether no request holds up any other.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The number of a flight whose turn has come. It must be taken out before the next call.
    pub(super) fn next(&mut self) -> Option<u64> {
        while let Some(scope) = self.freed.first() {
            // The first of a scope is enough: as long as it is there, the others are behind it.
            let first = self
                .held
                .range((scope.clone(), 0)..)
                .next()
                .filter(|((of, _), _)| of == scope);
            let waits = first.and_then(|((_, turn), number)| Some((*turn, (*number)?)));
            if let Some((_, number)) = waits.filter(|(turn, _)| !self.is_behind(scope, *turn)) {
                return Some(number);
            }
            self.freed.pop_first();
        }
        None
    }
}

fn of_partition(
    held: &BTreeMap<(Scope, u64), Option<u64>>,
    at: At,
) -> impl Iterator<Item = &(Scope, u64)> {
    held.range(((at, None), 0)..)
        .map(|(key, _)| key)
        .take_while(move |(scope, _)| scope.0 == at)
}

/// Whether later requests must wait for this one: a mutation that has not been executed, or a
/// request that itself waits for its turn. Requests that no client has sent promise no order.
fn holds_up(flight: &Flight, stage: &Stage) -> bool {
    let waits = match stage {
        Stage::Parked(Until::Turn(_)) => true,
        Stage::Parked(_) => flight.request.op.writes(),
        Stage::Reading(reading) => reading.eager.is_none(),
        Stage::Repairing(_) | Stage::Writing(_) | Stage::Forwarded(_) => false,
    };
    waits && !matches!(flight.origin, Origin::Nobody)
}

pub(super) fn scope_of(flight: &Flight) -> Option<Scope> {
    let at = flight.place.at();
    match &flight.request.op {
        Op::Query(key, _) | Op::Mutate(key, _) => Some((at, Some(key.clone()))),
        Op::Partition(_, PartitionOp::Clear) => Some((at, None)),
        Op::Partition(..) => None,
    }
}
