//! A clock that nobody has confirmed. A node that starts has only its own word for the time, and
//! its clock may have been set wrong while it was down: until others have told theirs it stamps
//! nothing, and what it would have to stamp waits.
//!
//! It is over with the first node that is sure of its own clock, or when a majority of all clocks
//! agrees: one round trip. It is over without that when nobody who can be reached has more to say,
//! so that a node which is left alone goes on, at its own risk.

use quorate_crdt::{NodeId, Now};

use super::Dynamo;
use super::clocks::{HOLD, base_of};
use super::flight::{Flight, Next, Stage, Until};
use super::worth::Worth;
use crate::op::{Op, RequestError};
use crate::planted;
use crate::protocol::Effect;
use crate::value;

impl Dynamo {
    pub(super) fn is_in_doubt(&self) -> bool {
        self.clocks.doubt.worth == Worth::Doubted
    }

    /// The node has started, or meets somebody after it had met nobody: asks for the time at once.
    pub(super) fn doubt_clock(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.clocks.doubt.begin(now, self.config.hedge_after);
        self.compare_clocks(now, effects);
        self.keep_sweeping(effects);
    }

    /// Whether this is the only node there is, and its clock has not stood by its time for long
    /// since the start: nobody can say that it was set wrong while the node was down, and somebody
    /// may be about to mend it.
    pub(super) fn is_new_and_alone(&self, now: Now) -> bool {
        let stood = now.monotonic.saturating_sub(self.clocks.doubt.since);
        self.clocks_there_are() <= 1
            && stood < HOLD
            && !planted::LONE_CLOCK_REMOVES_AT_ONCE.is_planted()
    }

    /// Somebody can be reached again.
    pub(super) fn meet_clock(&mut self, now: Now, effects: &mut Vec<Effect>) {
        match self.clocks.doubt.worth {
            Worth::Unheard if self.routes.topology().is_some() => self.doubt_clock(now, effects),
            Worth::Doubted => self.compare_clocks(now, effects),
            _ => {}
        }
    }

    /// Asks for what has not been answered, more and more patiently, and looks whether that is
    /// over.
    pub(super) fn go_on_doubting(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.clocks.doubt.asks_again(now) {
            self.compare_clocks(now, effects);
        } else if self.is_in_doubt() {
            self.weigh_clock(now, effects);
        }
    }

    /// Decides by all that is known what this node's clock is worth, and lets those go on who
    /// waited for that.
    pub(super) fn weigh_clock(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let before = self.clocks.doubt.worth;
        let Some(topology) = self
            .routes
            .topology()
            .filter(|_| before != Worth::Confirmed)
        else {
            return;
        };
        let nodes = topology.nodes.len();
        let reachable: Vec<NodeId> = self
            .others_there_are()
            .filter(|node| self.routes.reachable(*node))
            .collect();
        let told = reachable
            .iter()
            .filter(|node| self.clocks.is_fresh(now, **node))
            .count();
        let doubt = &self.clocks.doubt;
        let worth = match self.clocks.agreed_time(now, nodes) {
            _ if nodes == 1 => Worth::Confirmed,
            Some(right) if right == now.unix_millis && self.clocks.stands() => Worth::Confirmed,
            Some(_) => Worth::Compared,
            None => doubt.without_a_majority(now, reachable.len(), told),
        };
        self.clocks.doubt.worth = worth;
        if before == Worth::Doubted && worth != before {
            for id in self
                .flights
                .parked(|until| matches!(until, Until::Timed(_)))
            {
                self.resume(now, id, effects, |core, flight, stage, effects| {
                    core.go_on_in_time(now, flight, &stage, effects)
                });
            }
        }
    }

    fn go_on_in_time(
        &mut self,
        now: Now,
        flight: &mut Flight,
        stage: &Stage,
        effects: &mut Vec<Effect>,
    ) -> Next {
        // A time in the request was computed from what the clock said then.
        let moved = matches!(stage, Stage::Parked(Until::Timed(base)) if self.clocks.is_apart(base_of(now), *base));
        if moved && flight.request.op.names_time() {
            return Next::Done(Err(RequestError::ClockUnconfirmed));
        }
        self.begin(now, flight, None, &[], effects).into()
    }

    /// Whether the request must wait until this node knows what its clock is worth: here it would
    /// be stamped, or depend on the time.
    pub(super) fn must_wait_for_clock(&self, now: Now, flight: &Flight) -> bool {
        if !self.is_in_doubt() || planted::STAMPS_BEFORE_ASKING.is_planted() {
            return false;
        }
        let Op::Mutate(key, mutation) = &flight.request.op else {
            return false;
        };
        let replica = self
            .replicas
            .get(&(flight.place.keyspace, flight.place.partition))
            .filter(|_| self.executes(flight.place, &flight.request.op));
        let stamped = replica
            .is_some_and(|replica| value::needs_time(replica, key, mutation, now.unix_millis));
        flight.request.op.names_time() || (stamped && !self.remembers(flight))
    }

    /// Those whose time is worth asking for. A node that has just started does not know yet who can
    /// be reached, and asks all.
    pub(super) fn clocks_to_ask(&self) -> Vec<NodeId> {
        self.others_there_are()
            .filter(|node| self.is_in_doubt() || self.routes.reachable(*node))
            .collect()
    }

    fn others_there_are(&self) -> impl Iterator<Item = NodeId> {
        let nodes = self
            .routes
            .topology()
            .into_iter()
            .flat_map(|topology| topology.nodes.keys().copied());
        nodes.filter(|node| *node != self.seat.me)
    }
}
