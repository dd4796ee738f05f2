//! Doubts a clock that nobody has confirmed. A node that starts has only its own word for the time,
//! and its clock may have been set wrong while it was down. Until other nodes have told their time
//! it stamps nothing, and requests that need a stamp wait.
//!
//! The doubt ends, after one round trip, with the first answer from a node that is sure of its own
//! clock, or when a majority of all clocks agrees. It also ends when no reachable node has more to
//! say: a node that is left alone continues at its own risk.

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

    /// Asks for the time at once: the node has started, or it can reach somebody after having met
    /// nobody.
    pub(super) fn doubt_clock(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.clocks.doubt.begin(now, self.config.hedge_after);
        self.compare_clocks(now, effects);
        self.keep_sweeping(effects);
    }

    /// Whether this is the only node, and its clock has not yet held its time for long since the
    /// start. Nobody else can say whether the clock was set wrong while the node was down, and
    /// somebody may be about to correct it.
    pub(super) fn is_new_and_alone(&self, now: Now) -> bool {
        let stood = now.monotonic.saturating_sub(self.clocks.doubt.since);
        self.clocks_there_are() <= 1
            && stood < HOLD
            && !planted::LONE_CLOCK_REMOVES_AT_ONCE.is_planted()
    }

    /// A node can be reached again.
    pub(super) fn meet_clock(&mut self, now: Now, effects: &mut Vec<Effect>) {
        match self.clocks.doubt.worth {
            Worth::Unheard if self.routes.topology().is_some() => self.doubt_clock(now, effects),
            Worth::Doubted => self.compare_clocks(now, effects),
            _ => {}
        }
    }

    /// Asks again, more and more patiently, and checks whether the doubt is over.
    pub(super) fn go_on_doubting(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self.clocks.doubt.asks_again(now) {
            self.compare_clocks(now, effects);
        } else if self.is_in_doubt() {
            self.weigh_clock(now, effects);
        }
    }

    /// Decides from all that is known what this node's clock is worth, and resumes the requests
    /// that waited for that.
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
        // A time in the request was computed from what the clock said when it came.
        let moved = match stage {
            Stage::Parked(Until::Timed(base)) => self.clocks.is_apart(base_of(now), *base),
            _ => false,
        };
        if moved && flight.request.op.names_time() {
            return Next::Done(Err(RequestError::ClockUnconfirmed));
        }
        self.begin(now, flight, None, &[], effects).into()
    }

    /// Whether the request must wait until this node knows what its clock is worth, because it
    /// would be stamped here or depends on the time.
    pub(super) fn must_wait_for_clock(&self, now: Now, flight: &Flight) -> bool {
        if !self.is_in_doubt() || planted::STAMPS_BEFORE_ASKING.is_planted() {
            return false;
        }
        // Under a token, reads are stamped too.
        let claimed = flight.request.claim.is_some();
        let stamps = |replica| match &flight.request.op {
            Op::Mutate(key, mutation) => {
                claimed || value::needs_time(replica, key, mutation, now.unix_millis)
            }
            Op::Query(..) => claimed,
            Op::Partition(..) => false,
        };
        let replica = self
            .replica(flight.place)
            .filter(|_| self.executes(flight.place, &flight.request.op));
        let stamped = replica.is_some_and(stamps);
        flight.request.op.names_time() || (stamped && !self.remembers(flight))
    }

    /// The nodes whose time is worth asking for. A node that has just started does not know yet who
    /// is reachable, and asks everybody.
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
