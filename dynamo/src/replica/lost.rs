//! Events that are lost: known of, and seen by no replica.
//!
//! A replica that is told one row by another is told with it all that the other had seen, and keeps
//! what it lacks of that as a residual of the row. If the other's disk is destroyed before the rest
//! has come, some of these events are nowhere any more, and no replica would ever cover the
//! residual.
//!
//! **An event is lost** when the life that issued it is over and no holder has seen it. Then its
//! effect lies nowhere, and whoever can know that declares it seen, with an empty range; the others
//! learn of it as of any event. The life is over, and was over before those spoke whom it takes for
//! witnesses, in two cases: (a) it was a former life of this very node, and every other holder has
//! spoken in this one; (b) its node is no holder any more, and every other holder has spoken under
//! this placement, so refuses what was written under older ones.
//!
//! Nothing that was acknowledged is declared lost while it is left anywhere: a holder that
//! acknowledged it had seen it before the life was over, and says so when it speaks.

use bytes::Bytes;
use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, NodeId};

use super::Replica;
use super::range::Range;
use crate::planted;

impl Replica {
    /// Events known of in some ranges only; none while a stream may still bring them.
    pub fn beyond(&self) -> CausalContext {
        let mut beyond = CausalContext::new();
        if !self.filling && !self.is_partial() {
            for (_, residual) in self.residuals.iter() {
                beyond.union(&residual.without(&self.context));
            }
        }
        beyond
    }

    /// Declares lost events seen. `others` are the other holders, `epoch` is the placement's.
    /// Returns whether there were any.
    pub fn settle_lost(&mut self, others: &[NodeId], epoch: Epoch) -> bool {
        if self.filling || self.is_partial() || planted::LOST_EVENTS_AWAITED.is_planted() {
            return false;
        }
        let mut lost = self.beyond();
        for heard in self.heard.values() {
            lost.union(&heard.beyond);
        }
        if lost.is_empty() {
            return false;
        }
        lost = lost.without(&self.context);
        for node in others {
            let spoken = self.heard.get(node).filter(|heard| {
                heard
                    .first
                    .as_ref()
                    .is_some_and(|(since, _)| *since >= epoch)
            });
            let Some(heard) = spoken else { return false };
            lost = lost.without(&heard.context);
        }
        let over = |node: NodeId| node == self.id.node || !others.contains(&node);
        let dots: Vec<_> = lost
            .missing(&self.context)
            .filter(|dot| dot.replica != self.id && over(dot.replica.node))
            .collect();
        for dot in &dots {
            self.settle(*dot, || Range::Key(Bytes::new()));
        }
        self.strip();
        !dots.is_empty()
    }
}
