//! Under which id a replica writes, and whether it still may.
//!
//! An id is good for new events only while this replica knows every event of it. A disk that was
//! restored from an older copy breaks that without a trace on the disk itself: only the others
//! know. So whatever others say is looked at for own events in one place, and an id taken up from
//! disk issues nothing before every other holder has spoken.

use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};

use super::delta::Delta;
use super::heard::Heard;
use super::{Life, Replica};
use crate::planted;

impl Replica {
    /// Goes on under another id: the old one is closed.
    pub fn reincarnate(&mut self, id: ReplicaId) {
        self.id = id;
        self.life = Life::Sure;
        self.journal.touch();
    }

    /// Nothing more may be issued under the id.
    pub fn spend_life(&mut self) {
        self.life = Life::Spent;
    }

    /// Whether nothing may be issued under the id.
    pub fn is_spent(&self) -> bool {
        self.life == Life::Spent
    }

    /// Whether a new life is wanted or would do no harm: the id is spent, or not confirmed.
    pub fn needs_life(&self) -> bool {
        self.life != Life::Sure
    }

    /// An event is about to be issued. An id taken up from disk is good if all of `others`, the
    /// other holders, have spoken in this life of the node; otherwise it is given up rather than
    /// waited for.
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

    /// Whether this replica may put another entry of its own in place of this one: its own of this
    /// life; of a life that is over, what all holders know, if none of them knows more of that life
    /// than is known here.
    pub fn may_take_over(&self, dot: Dot) -> bool {
        let life = dot.replica;
        let knows_more = |heard: &Heard| heard.context.without(&self.context).max(life) > 0;
        let is_former = life.node == self.id.node && self.recent.is_known_by_all(dot);
        life == self.id || (is_former && !self.heard.values().any(knows_more))
    }

    /// The placement of this replica at `epoch` names this node. Returns whether that is news.
    pub fn place_at(&mut self, epoch: Epoch) -> bool {
        let news = epoch > self.placed;
        if news {
            self.placed = epoch;
            self.journal.touch();
        }
        news
    }

    /// The epoch at which this replica was last placed here.
    pub fn placed(&self) -> Epoch {
        self.placed
    }

    /// Whatever comes from outside is looked at for events under the own id that are not known
    /// here.
    pub(super) fn heed(&mut self, context: &CausalContext) {
        if context.max(self.id) > self.context.max(self.id)
            && !planted::OWN_EVENTS_OVERLOOKED.is_planted()
        {
            self.life = Life::Spent;
        }
    }

    /// What this node has written in whichever life, its replica has known. If it does not know it
    /// now, its disk is an older one: it has lost part of what it acknowledged, and is filled as
    /// one that has lost all.
    pub(super) fn heed_former_lives(&mut self, context: &CausalContext) {
        let lost = context
            .missing_runs(&self.context)
            .any(|(replica, _)| replica.node == self.id.node);
        if lost && !self.filling && !planted::OLD_DISK_OVERLOOKED.is_planted() {
            self.start_filling();
        }
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
