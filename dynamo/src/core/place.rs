//! Decides which replicas this core keeps and under which ids they write.
//!
//! **Destruction needs a decision.** A replica remembers the epoch at which a topology last placed
//! it here. Only a newer topology that does not name this node releases it: see [`Release`]. A
//! topology that is empty, or that was granted when the node joined, or that comes from replaying
//! the first decisions again, says nothing about a replica that was placed later.
//!
//! A released replica is erased only when the holders have everything that it has. What it leaves
//! on disk is deleted a few records at a time, and no new replica is created in its place until
//! that is done.

use std::collections::BTreeMap;

use quorate_control::quorum::majority;
use quorate_control::topology::Placement;
use quorate_crdt::{CausalContext, NodeId, Now, ReplicaId};

use super::Dynamo;
use super::flight::{Next, Until};
use super::places::{Release, Renewal};
use crate::planted;
use crate::protocol::Effect;
use crate::replica::{Closed, Replica};
use crate::seen::At;

impl Dynamo {
    /// Creates the replicas that this core should hold under the topology, and lets go of those
    /// that it releases.
    pub(super) fn place_replicas(&mut self) {
        let Some(topology) = self.routes.topology().cloned() else {
            return;
        };
        for (keyspace, info) in &topology.keyspaces {
            for (partition, placement) in info.partitions() {
                if self.seat.owns(partition) && placement.holds(self.seat.me) {
                    self.keep((*keyspace, partition), placement);
                }
            }
        }
        let releases: Vec<Release> = self
            .replicas
            .iter()
            .filter_map(|(at, replica)| Release::by(&topology, *at, replica, self.seat.me))
            .collect();
        for release in releases {
            let Some(replica) = self.replicas.get_mut(&release.at()) else {
                continue;
            };
            replica.settle_slices();
            self.dirty.insert(release.at());
            let held = replica.context().clone();
            self.places
                .leaving
                .entry(release.at())
                .or_insert((release, held));
        }
        self.let_go();
        self.note_stops();
        // A node that comes back with nothing cannot tell what it has lost from what is new,
        // neither now nor after its next start.
        let lost_all = self.seat.restarted && self.places.known.placed.is_none();
        if !lost_all && self.places.known.placed < Some(topology.epoch) {
            let disk = self.config.persist.then_some(&mut self.places.disk);
            self.places
                .known
                .place_up_to(topology.epoch, self.seat.core, disk);
        }
    }

    /// The topology places a replica here.
    fn keep(&mut self, at: At, placement: &Placement) {
        self.places.leaving.remove(&at);
        if let Some(replica) = self.replicas.get_mut(&at) {
            if replica.place_at(placement.epoch) {
                self.dirty.insert(at);
            }
            return;
        }
        // A replica that a newer decision has erased is not created again by an older one.
        if self
            .places
            .known
            .closed
            .get(&at)
            .is_some_and(|closed| closed.epoch >= placement.epoch)
        {
            return;
        }
        // What an erased replica has left on disk is deleted by key, and a new replica would write
        // under the same keys.
        if self.places.known.erased.contains_key(&at) && !planted::MADE_OVER_REMAINS.is_planted() {
            return;
        }
        self.make_replica(at, placement);
    }

    fn make_replica(&mut self, at: At, placement: &Placement) {
        let mut replica = Replica::new(ReplicaId::new(self.seat.me, self.seat.incarnation));
        if self.config.persist {
            replica.persist_as(at.0, at.1);
        }
        replica.remove_at_once(self.config.removal.rows_at_once);
        replica.place_at(placement.epoch);
        let newcomer = !placement.replicas.contains(&self.seat.me);
        let known = &self.places.known;
        let old = known.placed.is_none_or(|placed| placement.epoch <= placed);
        let lost = self.seat.restarted && old && placement.holders().len() > 1;
        if newcomer || lost {
            replica.start_filling();
        }
        let used = known
            .closed
            .get(&at)
            .is_some_and(|closed| closed.incarnation >= self.seat.incarnation);
        if used && !planted::LIVES_REUSED.is_planted() {
            replica.spend_life();
            self.places.renewal.want();
        }
        self.replicas.insert(at, replica);
        self.dirty.insert(at);
    }

    /// Erases the released replicas whose holders have everything they had. Replicas of a dropped
    /// keyspace are erased at once.
    pub(super) fn let_go(&mut self) {
        let ready: Vec<At> = self
            .places
            .leaving
            .iter()
            .filter(|(at, (_, held))| {
                self.routes.placement(**at).is_none_or(|placement| {
                    self.has_spread(**at, placement, &placement.holders(), held)
                })
            })
            .map(|(at, _)| *at)
            .collect();
        for at in ready {
            if let Some((release, _)) = self.places.leaving.remove(&at) {
                self.erase(&release);
            }
        }
    }

    /// The only way in which a replica is removed.
    fn erase(&mut self, release: &Release) {
        let Some(replica) = self.replicas.remove(&release.at()) else {
            return;
        };
        let closed = Closed {
            incarnation: replica.id().incarnation,
            epoch: release.epoch(),
        };
        if let Some(erased) = replica.erase(&mut self.places.disk) {
            self.places.known.erased.insert(release.at(), erased);
            self.places.clearing.want();
        }
        self.dirty.remove(&release.at());
        self.healing.forget_place(release.at());
        let disk = self.config.persist.then_some(&mut self.places.disk);
        self.places.known.close(release.at(), closed, disk);
    }

    /// Whether a released replica is still here because it has something to hand on.
    pub(super) fn is_leaving(&self, at: At) -> bool {
        self.places.leaving.contains_key(&at)
    }

    /// Whether a majority of `heirs`, and all of them that can be reached, have all of `held`.
    fn has_spread(
        &self,
        at: At,
        placement: &Placement,
        heirs: &[NodeId],
        held: &CausalContext,
    ) -> bool {
        let Some(replica) = self.replicas.get(&at) else {
            return true;
        };
        if planted::SWITCH_WITHOUT_SPREAD.is_planted() {
            return true;
        }
        let have = |node: &NodeId| replica.has_told_all(*node, placement.epoch, held);
        let others = || heirs.iter().filter(|node| **node != self.seat.me);
        let count = others().filter(|node| have(node)).count();
        held.is_empty()
            || (count >= majority(heirs.len()).min(others().count())
                && others().all(|node| have(node) || !self.routes.reachable(*node)))
    }

    /// A replica that is about to leave stops serving now, so its present content is all that it
    /// alone can have.
    fn note_stops(&mut self) {
        let mut stopped = BTreeMap::new();
        for (at, replica) in &mut self.replicas {
            let Some(placement) = self
                .routes
                .placement(*at)
                .filter(|placement| placement.owes(self.seat.me).is_some())
            else {
                continue;
            };
            let held = self
                .places
                .stopped
                .remove(at)
                .filter(|(epoch, _)| *epoch == placement.epoch);
            let held = held.unwrap_or_else(|| {
                replica.settle_slices();
                (placement.epoch, replica.context().clone())
            });
            self.dirty.insert(*at);
            stopped.insert(*at, held);
        }
        self.places.stopped = stopped;
    }

    /// Whether a member of the old set may report that it refuses requests of older epochs: at once
    /// if it stays, otherwise when the new set has everything that it alone may have.
    pub(super) fn may_leave(&self, at: At, placement: &Placement, to: &[NodeId]) -> bool {
        let staying = to.contains(&self.seat.me);
        staying
            || self
                .places
                .stopped
                .get(&at)
                .is_some_and(|(_, held)| self.has_spread(at, placement, to, held))
    }

    /// Whether the replica may issue events under its id now. If not, this asks for a new life.
    pub(super) fn may_issue(&mut self, at: At) -> bool {
        if self
            .replicas
            .get(&at)
            .is_none_or(|replica| !replica.needs_life())
        {
            return true;
        }
        let others = self.others(at);
        let Some(replica) = self.replicas.get_mut(&at) else {
            return true;
        };
        replica.confirm_life(&others);
        let may = !replica.is_spent();
        if !may {
            self.places.renewal.want();
        }
        may
    }

    /// The other holders of the partition.
    pub(super) fn others(&self, at: At) -> Vec<NodeId> {
        let holders = self
            .routes
            .placement(at)
            .map_or_else(Vec::new, Placement::holders);
        holders
            .into_iter()
            .filter(|node| *node != self.seat.me)
            .collect()
    }

    /// Asks for a new life if this turn has shown that one is needed.
    pub(super) fn ask_for_a_life(&mut self, effects: &mut Vec<Effect>) {
        if self.places.renewal == Renewal::Wanted {
            self.places.renewal = Renewal::Asked;
            effects.push(Effect::NewLife);
        }
    }

    /// A number that was never used before. Every replica whose id is spent, or not confirmed by
    /// the others, continues under it.
    pub(super) fn on_incarnation(&mut self, now: Now, incarnation: u32, effects: &mut Vec<Effect>) {
        self.seat.incarnation = incarnation;
        self.places.renewal = Renewal::No;
        let id = ReplicaId::new(self.seat.me, incarnation);
        for (at, replica) in &mut self.replicas {
            if replica.needs_life() {
                replica.reincarnate(id);
                self.dirty.insert(*at);
            }
        }
        self.unpark(now, |until| *until == Until::Renewed, effects);
    }

    /// Restarts the flights that wait for this.
    pub(super) fn unpark(
        &mut self,
        now: Now,
        choose: impl Fn(&Until) -> bool,
        effects: &mut Vec<Effect>,
    ) {
        for id in self.flights.parked(choose) {
            self.resume(now, id, effects, |_, _, _, _| Next::Again(Vec::new()));
        }
    }
}
