//! Exchanges the time with the other nodes, and withdraws what this node stamped while its own
//! clock was wrong.

use std::collections::BTreeMap;

use quorate_crdt::{NodeId, Now};

use super::Dynamo;
use super::clocks::Telling;
use crate::planted;
use crate::protocol::{Effect, FlightId, Message};
use crate::seen::At;

impl Dynamo {
    /// How many nodes have a clock to compare.
    pub(super) fn clocks_there_are(&self) -> usize {
        self.routes
            .topology()
            .map_or(1, |topology| topology.nodes.len())
    }

    /// Comes first with every input, so that a jump of the wall clock is noticed before anything is
    /// stamped.
    pub(super) fn look_at_clock(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let alone = self.clocks_there_are() <= 1;
        if self.clocks.look(now, alone) {
            self.judge_clock(now, effects);
        }
    }

    /// Asks every other node for its time.
    pub(super) fn compare_clocks(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(topology) = self.routes.topology().cloned() else {
            return;
        };
        self.clocks.keep(|node| topology.nodes.contains_key(node));
        for to in self.clocks_to_ask() {
            let id = self.flights.new_name();
            self.clocks.asked(now, to, id);
            effects.push(Effect::Send {
                to,
                message: Message::Clock { id },
            });
        }
        self.judge_clock(now, effects);
    }

    /// Another node asks for the time.
    pub(super) fn tell_time(&self, now: Now, to: NodeId, id: FlightId, effects: &mut Vec<Effect>) {
        let message = Message::Time {
            id,
            unix_millis: now.unix_millis,
            life: self.seat.life,
            confirmed: self.clocks.is_confirmed(),
        };
        effects.push(Effect::Send { to, message });
    }

    pub(super) fn on_time(
        &mut self,
        now: Now,
        from: NodeId,
        id: FlightId,
        telling: Telling,
        effects: &mut Vec<Effect>,
    ) {
        self.clocks.told(now, from, id, telling);
        self.look_at_clock(now, effects);
        self.judge_clock(now, effects);
    }

    fn judge_clock(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.clocks.judge(now, self.clocks_there_are() <= 1);
        if self.seat.core == 0 {
            let news = self.clocks.news(now, self.seat.me);
            effects.extend(
                news.into_iter()
                    .map(|(node, offset_ms)| Effect::ClockOff { node, offset_ms }),
            );
        }
        self.withdraw_stamps(now);
        self.weigh_clock(now, effects);
    }

    /// What this node stamped under a wrong clock must not win over what is written under right
    /// ones. Only a majority of clocks can say which is which: a clock that is behind would take
    /// its own past for the future.
    fn withdraw_stamps(&mut self, now: Now) {
        let Some(unix_millis) = self.clocks.agreed_time(now, self.clocks_there_are()) else {
            return;
        };
        let right = Now { unix_millis, ..now };
        let latest = unix_millis.saturating_add(self.config.drift_max.as_millis() as u64);
        let all_right = self.clocks.highest.unix_millis() <= latest;
        if self.disk_full || all_right || planted::STAMPS_NOT_WITHDRAWN.is_planted() {
            return;
        }
        let places: Vec<At> = self.replicas.keys().copied().collect();
        if !places.into_iter().all(|at| self.may_issue(at)) {
            // Tried again at the next comparison.
            return;
        }
        self.clocks.hybrid.let_go(right);
        self.clocks.highest = self.clocks.hybrid.last();
        for (place, replica) in &mut self.replicas {
            let withdrawn = replica.withdraw_stamps(self.seat.me, latest);
            if withdrawn > 0 {
                self.counters.stamps_withdrawn += withdrawn as u64;
                self.dirty.insert(*place);
            }
        }
    }

    /// How many milliseconds each node's wall clock, this one's included, is ahead of what this
    /// node takes for the right time: its own clock, or the majority's if its own is off. Nodes
    /// that have not been compared for a minute are left out.
    pub fn clock_offsets(&self, now: Now) -> BTreeMap<NodeId, i64> {
        let off = self.clocks.off.unwrap_or(0);
        let others = self
            .clocks
            .offsets(now)
            .into_iter()
            .map(|(node, ahead)| (node, ahead + off));
        others.chain([(self.seat.me, off)]).collect()
    }
}
