//! Decides whether a replica may still issue events under its id.
//!
//! It may only while it knows every event ever issued under that id. A disk that was restored from
//! an older copy breaks this, and nothing on the disk shows it: only the other nodes know. So every
//! message from outside is checked for events under the own id, and an id that was read from disk
//! issues nothing before every other holder has reported.

use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};

use super::delta::Delta;
use super::heard::Heard;
use super::{Life, Replica};
use crate::planted;

impl Replica {
    /// Continues under another id. The old one is closed.
    pub fn reincarnate(&mut self, id: ReplicaId) {
        self.id = id;
        self.life = Life::Sure;
        self.journal.touch();
    }

    /// Forbids new events under the present id.
    pub fn spend_life(&mut self) {
        self.life = Life::Spent;
    }

    /// Whether the present id may issue no more events.
    pub fn is_spent(&self) -> bool {
        self.life == Life::Spent
    }

    /// Whether the id is spent or unconfirmed, so that a new life is needed or at least harmless.
    pub fn needs_life(&self) -> bool {
        self.life != Life::Sure
    }

    /// Called before an event is issued. An id from disk is good if all of `others`, the other
    /// holders, have reported since this node started. Otherwise it is given up: the replica does
    /// not wait for them.
    pub fn confirm_life(&mut self, others: &[NodeId]) {
        if self.life == Life::Continued {
            let all_have_spoken = others.iter().all(|node| self.heard.contains_key(node))
                || planted::COPIES_TRUSTED.is_planted();
            self.life = if all_have_spoken {
                Life::Sure
            } else {
                Life::Spent
            };
        }
    }

    /// Whether this replica may replace the entry of `dot` by one of its own. It may if the entry
    /// belongs to its present life; or to a former life of this node, if all holders know the entry
    /// and none knows more of that life than this replica does.
    pub fn may_take_over(&self, dot: Dot) -> bool {
        let life = dot.replica;
        let knows_more = |heard: &Heard| heard.context.without(&self.context).max(life) > 0;
        let is_former = life.node == self.id.node && self.recent.is_known_by_all(dot);
        life == self.id || (is_former && !self.heard.values().any(knows_more))
    }

    /// Notes that the placement at `epoch` names this node. Returns whether that is news.
    pub fn place_at(&mut self, epoch: Epoch) -> bool {
        let news = epoch > self.placed;
        if news {
            self.placed = epoch;
            self.journal.touch();
        }
        news
    }

    /// The epoch of the placement when this replica was last placed here.
    pub fn placed(&self) -> Epoch {
        self.placed
    }

    /// Looks for events under the own id that are unknown here.
    pub(super) fn heed(&mut self, context: &CausalContext) {
        if context.max(self.id) > self.context.max(self.id)
            && !planted::OWN_EVENTS_OVERLOOKED.is_planted()
        {
            self.life = Life::Spent;
        }
    }

    /// Looks for events of this node's former lives that are unknown here. The replica must have
    /// known them once, so its disk is an older copy. It has lost part of what it acknowledged, and
    /// is filled as if it had lost everything.
    pub(super) fn heed_former_lives(&mut self, context: &CausalContext) {
        let lost = context
            .missing_runs(&self.context)
            .any(|(replica, _)| replica.node == self.id.node);
        if lost && !self.filling && !planted::OLD_DISK_OVERLOOKED.is_planted() {
            self.start_filling();
        }
    }

    /// Another holder tells what it had heard from this node's former lives. If the replica lacks
    /// some of that, its disk is an older copy, and it is filled. What it lacks afterwards nobody
    /// has, so only news starts another filling. Returns whether one starts.
    pub fn hear_of_former_lives(&mut self, events: &CausalContext) -> bool {
        let lacking = events.without(&self.context);
        let starts = !self.former.covers(&lacking) && !self.filling;
        if !planted::LOST_MEMORY_AWAITED.is_planted() {
            self.former.union(&lacking);
        }
        if starts {
            self.start_filling();
        }
        starts
    }

    /// What [`hear_of_former_lives`](Self::hear_of_former_lives) was told and is still lacking.
    pub fn former(&self) -> &CausalContext {
        &self.former
    }

    pub(super) fn heed_own_events(&mut self, delta: &Delta) {
        self.heed(&delta.context);
        for residual in &delta.residuals {
            self.heed(&residual.context);
        }
        let (own, issued) = (self.id, self.context.max(self.id));
        let live = delta
            .parts
            .iter()
            .flat_map(|part| &part.rows)
            .flat_map(|(_, row)| row.iter().map(|(dot, _)| dot));
        let settled = delta
            .parts
            .iter()
            .flat_map(|part| part.settled.iter().copied());
        if live
            .chain(settled)
            .any(|dot| dot.replica == own && dot.counter > issued)
            && !planted::OWN_EVENTS_OVERLOOKED.is_planted()
        {
            self.life = Life::Spent;
        }
    }
}
