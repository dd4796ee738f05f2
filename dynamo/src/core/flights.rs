//! All requests in flight at one core: when each must be looked at next, and who still owes an
//! acknowledgement.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use quorate_crdt::{CausalContext, NodeId};

use super::flight::{Flight, Origin, Stage, Until};
use super::forwards::Forwards;
use super::seat::Seat;
use super::turns::Turns;
use crate::planted;
use crate::protocol::{FlightId, Place};

#[derive(Debug)]
struct Held {
    flight: Flight,
    stage: Stage,
}

impl Held {
    /// When the flight must be looked at next.
    fn due(&self) -> Duration {
        self.flight.hedge.at.min(self.flight.deadline)
    }
}

/// All requests in flight at one core.
///
/// **Invariants:** every flight stands in the queue no later than its hedge time and its deadline.
/// A flight is taken out only by [`Dynamo::resume`](super::Dynamo::resume), which must say what
/// becomes of it.
#[derive(Debug)]
pub(super) struct Flights {
    core: u8,
    life: u64,
    /// Boxed, because the nodes of the tree would otherwise be as large as pages.
    by_number: BTreeMap<u64, Box<Held>>,
    queue: BinaryHeap<Reverse<(Duration, u64)>>,
    last: u64,
    /// The bytes that all of them brought.
    bytes: usize,
    pub(super) owed: Owed,
    pub(super) turns: Turns,
    /// Writes that other nodes have forwarded to this core.
    pub(super) forwards: Forwards,
    /// Whether the sweep timer is armed.
    pub(super) sweeping: bool,
}

impl Flights {
    pub(super) fn new(seat: &Seat) -> Self {
        Self {
            core: seat.core,
            life: seat.life,
            by_number: BTreeMap::new(),
            queue: BinaryHeap::new(),
            last: 0,
            bytes: 0,
            owed: Owed::default(),
            turns: Turns::default(),
            forwards: Forwards::default(),
            sweeping: false,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// The bytes that the requests in flight have brought.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The same, counted anew.
    pub(super) fn weights(&self) -> usize {
        self.by_number.values().map(|held| held.flight.weight).sum()
    }

    /// How many of them come from clients of this node.
    pub(super) fn of_clients(&self) -> usize {
        self.by_number
            .values()
            .filter(|held| matches!(held.flight.origin, Origin::Client(_)))
            .count()
    }

    /// A new name for the next question of this flight.
    pub(super) fn name(&mut self, flight: &mut Flight) -> FlightId {
        if let Some(last) = flight
            .last
            .filter(|_| planted::SAME_OF_AN_EARLIER_ROUND.is_planted())
        {
            return last;
        }
        let name = self.new_name();
        *flight.last.insert(name)
    }

    /// A name for a question that belongs to no request.
    pub(super) fn new_name(&mut self) -> FlightId {
        self.last += 1;
        FlightId {
            core: self.core,
            life: self.life,
            number: self.last,
        }
    }

    /// Whether this core has given the name in its present life.
    pub(super) fn is_mine(&self, id: FlightId) -> bool {
        id.core == self.core
            && (id.life == self.life || planted::FLIGHT_ID_WITHOUT_LIFE.is_planted())
    }

    pub(super) fn insert(&mut self, id: FlightId, flight: Flight, stage: Stage) {
        self.bytes += flight.weight;
        self.turns.enter(&flight, &stage, id.number);
        let held = Box::new(Held { flight, stage });
        self.queue.push(Reverse((held.due(), id.number)));
        self.by_number.insert(id.number, held);
    }

    pub(super) fn get(&self, id: FlightId) -> Option<(&Flight, &Stage)> {
        let held = self
            .by_number
            .get(&id.number)
            .filter(|_| self.is_mine(id))?;
        Some((&held.flight, &held.stage))
    }

    pub(super) fn get_mut(&mut self, id: FlightId) -> Option<(&Flight, &mut Stage)> {
        let mine = self.is_mine(id);
        let held = self.by_number.get_mut(&id.number).filter(|_| mine)?;
        Some((&held.flight, &mut held.stage))
    }

    pub(super) fn take(&mut self, id: FlightId) -> Option<(Flight, Stage)> {
        let held = self
            .is_mine(id)
            .then(|| self.by_number.remove(&id.number))
            .flatten()?;
        self.bytes -= held.flight.weight;
        self.turns.leave(&held.flight, &held.stage);
        if self.by_number.is_empty() {
            self.queue.clear();
        }
        Some((held.flight, held.stage))
    }

    /// The names of the flights for which `choose` holds, oldest first.
    pub(super) fn select(&self, choose: impl Fn(&Flight) -> bool) -> Vec<FlightId> {
        let chosen = self
            .by_number
            .iter()
            .filter(|(_, held)| choose(&held.flight));
        chosen
            .map(|(number, _)| FlightId {
                core: self.core,
                life: self.life,
                number: *number,
            })
            .collect()
    }

    /// The name of a flight that waits for its turn and whose turn has come.
    pub(super) fn whose_turn(&mut self) -> Option<FlightId> {
        let number = self.turns.next()?;
        Some(FlightId {
            core: self.core,
            life: self.life,
            number,
        })
    }

    /// The names of the parked flights for which `choose` holds, oldest first.
    pub(super) fn parked(&self, choose: impl Fn(&Until) -> bool) -> Vec<FlightId> {
        let chosen = self
            .by_number
            .iter()
            .filter(|(_, held)| matches!(&held.stage, Stage::Parked(until) if choose(until)));
        chosen
            .map(|(number, _)| FlightId {
                core: self.core,
                life: self.life,
                number: *number,
            })
            .collect()
    }

    /// The names of the flights past their hedge time or deadline, in the order of those times. The
    /// cost depends on what is due, not on what is in flight.
    pub(super) fn due(&mut self, now: Duration) -> Vec<FlightId> {
        let mut due = Vec::new();
        while let Some(Reverse((at, number))) = self
            .queue
            .peek()
            .copied()
            .filter(|Reverse((at, _))| *at <= now)
        {
            self.queue.pop();
            let id = FlightId {
                core: self.core,
                life: self.life,
                number,
            };
            // An entry with another time belongs to an earlier stage of the flight, or to a flight
            // that has ended.
            if self
                .by_number
                .get(&number)
                .is_some_and(|held| held.due() == at)
                && due.last() != Some(&id)
            {
                due.push(id);
            }
        }
        due
    }
}

/// Acknowledgements that nobody waits for any more, because their writes have been answered. They
/// still matter for `WAIT` and for forgetting events; anti-entropy tells what is missed here.
/// Bounded: the oldest is dropped.
#[derive(Debug, Default)]
pub(super) struct Owed {
    by_number: BTreeMap<u64, Debt>,
}

/// Who still owes an acknowledgement of one write.
#[derive(Debug)]
pub(super) struct Debt {
    pub(super) place: Place,
    pub(super) events: CausalContext,
    pub(super) owing: Vec<NodeId>,
}

impl Owed {
    pub(super) fn remember(&mut self, id: FlightId, debt: Debt, max: usize) {
        if debt.owing.is_empty() {
            return;
        }
        self.by_number.insert(id.number, debt);
        while self.by_number.len() > max {
            self.by_number.pop_first();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_number.len()
    }

    /// `node` has acknowledged a write. Returns the write's place and events if the node still owed
    /// it.
    pub(super) fn paid(&mut self, id: FlightId, node: NodeId) -> Option<(Place, CausalContext)> {
        let debt = self.by_number.get_mut(&id.number)?;
        let at = debt.owing.iter().position(|owing| *owing == node)?;
        debt.owing.swap_remove(at);
        if !debt.owing.is_empty() {
            return Some((debt.place, debt.events.clone()));
        }
        self.by_number
            .remove(&id.number)
            .map(|debt| (debt.place, debt.events))
    }
}
