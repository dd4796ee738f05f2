//! When nothing below a fence can appear any more.
//!
//! **Closed.** A rank is closed under a lock once every holder of the partition has said, under the
//! present placement, that it admits nothing lower, and what each of them had then has been joined
//! here. From then on whatever an earlier holder has done is here, or never will be anywhere: a
//! holder that is fenced takes nothing lower from a client, and what it takes from another holder
//! was there already. So what is read of a whole collection is complete, a row need not be written
//! once more before it is told, and a removal need not leave anything behind.
//!
//! **Lives.** What was on its way when a node lost its disk is nowhere else. So the holders must
//! also agree on who they are. Each of them takes nothing any more from a replica that it knows to
//! have been replaced ([`Replica::is_former`]).

use quorate_control::topology::Epoch;
use quorate_crdt::{NodeId, ReplicaId};

use super::Replica;
use super::range::Range;
use super::row::RowKind;
use super::rows::is_marked;
use crate::fence::{LockId, Rank};
use crate::planted;

impl Replica {
    /// The holders because of which `rank` is not closed under the lock, as far as reports say.
    /// `others` are the other holders under the placement of `epoch`.
    pub fn open_at(
        &self,
        lock: LockId,
        rank: Rank,
        others: &[NodeId],
        epoch: Epoch,
    ) -> Vec<NodeId> {
        let closes = |node: &NodeId| {
            let heard = self.heard.get(node)?;
            let shut = heard.shut.as_ref().filter(|_| !heard.filling)?;
            let said = match &shut.higher {
                Some((fences, had)) if self.context.covers(had) => fences,
                _ => &shut.fences,
            };
            let agrees = self.has_lives(&shut.lives, others, Some(*node));
            Some(shut.epoch == epoch && said.of(lock) >= rank && agrees)
        };
        let open = others.iter().filter(|node| closes(node) != Some(true));
        open.copied().collect()
    }

    /// Whether `rank` is closed under the lock, as far as reports say.
    pub fn is_closed(&self, lock: LockId, rank: Rank, others: &[NodeId], epoch: Epoch) -> bool {
        let fenced = !self.filling && self.fences.of(lock) >= rank;
        if planted::REAP_EARLY.is_planted() {
            return fenced;
        }
        fenced && self.open_at(lock, rank, others, epoch).is_empty()
    }

    /// Drops what removals under locks have left, where nothing can appear any more that it must
    /// hide and all holders know of the removal: each then has what was left, or knows that it was
    /// dropped. Looks at up to `max` rows. Returns whether anything was dropped.
    pub fn forget_marks(&mut self, others: &[NodeId], epoch: Epoch, max: usize) -> bool {
        let mut dropped = false;
        for name in self.rows.marks.next(max) {
            let marked = self.rows.get(&name).is_some_and(is_marked);
            let Some(rows) = self.rows.key(&name.key).filter(|_| marked) else {
                self.rows.marks.forget(&name);
                continue;
            };
            // What hides the whole key and what it hides go together, or the rest would show.
            let range = if !rows.has_left() {
                Range::Key(name.key.clone())
            } else if name.kind != RowKind::String && rows.shown(name.kind, &name.field).is_none() {
                Range::Row(name)
            } else {
                continue;
            };
            if self.is_over(&range, others, epoch) {
                self.write().wipe(range);
                dropped = true;
            }
        }
        dropped
    }

    /// Whether nothing ranked below what was written under locks in this range can appear any more,
    /// and all holders know what was written.
    fn is_over(&self, range: &Range, others: &[NodeId], epoch: Epoch) -> bool {
        let rows = self.rows.copy_of(range);
        let mut entries = rows.iter().flat_map(|(_, row)| row.iter());
        entries.all(|(dot, payload)| {
            payload.guarded().is_none_or(|held| {
                let known = self.recent.is_known_by_all(dot) || planted::REAP_EARLY.is_planted();
                known && self.is_closed(held.lock, held.stamp.rank.next(), others, epoch)
            })
        })
    }

    /// This replica and those of `others`; `None` if one of them has not reported yet.
    pub fn lives(&self, others: &[NodeId]) -> Option<Vec<ReplicaId>> {
        let others = others.iter().map(|node| self.heard_of(*node));
        std::iter::once(Some(self.id)).chain(others).collect()
    }

    /// Whether `lives` names this replica, and for each of `others` but `but` the one that has last
    /// reported from there.
    pub fn has_lives(&self, lives: &[ReplicaId], others: &[NodeId], but: Option<NodeId>) -> bool {
        let mut others = others.iter().filter(|node| Some(**node) != but);
        lives.contains(&self.id)
            && others.all(|node| self.heard_of(*node).is_some_and(|id| lives.contains(&id)))
    }

    /// Whether `node` has since reported as another replica than this one. Looked at only where
    /// something is fenced: elsewhere it does no harm to join what a former life had sent.
    pub fn is_former(&self, node: NodeId, replica: ReplicaId) -> bool {
        self.is_fenced()
            && !planted::FORMER_LIFE_JOINS.is_planted()
            && self
                .heard
                .get(&node)
                .is_some_and(|heard| heard.former.contains(&replica))
    }

    /// Whether requests under locks have left anything here.
    pub(crate) fn is_fenced(&self) -> bool {
        self.fences.names_locks() || self.rows.is_guarded()
    }
}
