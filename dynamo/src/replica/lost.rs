//! Events that are lost: known to exist, but seen by no replica.
//!
//! How they arise: a replica that gets one row from another also gets the other's context, and
//! keeps what it has not seen of it as a residual of the row. If the other's disk is destroyed
//! before the rest arrives, some of those events exist nowhere any more, and no replica would ever
//! cover the residual.
//!
//! **An event is lost** when the life that issued it is over and no holder has seen it. It then has
//! no effect anywhere. A replica that can prove this declares the event seen, with an empty range,
//! and the others learn of it as of any event. The proof needs that the life ended before the
//! witnesses reported. That is certain in two cases: (a) it was a former life of this node, and
//! every other holder has reported since this life began; (b) its node is no longer a holder, and
//! every other holder has reported under the present placement, so that it refuses writes under
//! older ones.
//!
//! Nothing acknowledged is declared lost while any holder still has it: a holder that acknowledged
//! an event had seen it before the life ended, and reports it.

use bytes::Bytes;
use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, NodeId};

use super::Replica;
use super::range::Range;
use crate::planted;

impl Replica {
    /// Events that are known and have not been seen: known in some ranges only, or from what others
    /// remember of this node's former lives. Empty while a stream may still bring them.
    pub fn beyond(&self) -> CausalContext {
        let mut beyond = CausalContext::new();
        if !self.filling && !self.is_partial() {
            beyond.union(&self.former.without(&self.context));
            for (_, residual) in self.residuals.iter() {
                beyond.union(&residual.without(&self.context));
            }
        }
        beyond
    }

    /// Declares lost events seen. `others` are the other holders, `epoch` is the placement's.
    ///
    /// What a member has seen is not lost, even if it no longer holds the partition: it may still
    /// be handing it over. Returns whether there were any.
    pub fn settle_lost(
        &mut self,
        others: &[NodeId],
        epoch: Epoch,
        is_member: impl Fn(NodeId) -> bool,
    ) -> bool {
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
        for (node, heard) in &self.heard {
            if is_member(*node) && !planted::LOST_WHILE_HANDED_OVER.is_planted() {
                lost = lost.without(&heard.context);
            }
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
