//! Which nodes vote in the control group: an odd number of those that keep their votes, spread over
//! datacenters and racks. Witnesses make an even number odd; they are always fewer than the others.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use quorate_crdt::NodeId;

use super::command::{CommandRefusal, Response};
use super::decided::ControlState;
use crate::planted::{DRAINED_VOTES, VOLATILE_VOTES};
use crate::topology::{Datacenter, NodeInfo};

/// The most voters. More would slow every decision down and make none safer.
pub(super) const VOTERS_MAX: usize = 7;

/// How many of `nodes` nodes vote: an odd number, because an even one has one more voter to wait
/// for and survives no more failures.
pub(super) const fn voters_of(nodes: usize) -> usize {
    match nodes {
        0 => 0,
        1 | 2 => 1,
        3..VOTERS_MAX => nodes - 1 + nodes % 2,
        _ => VOTERS_MAX,
    }
}

impl ControlState {
    /// Sets the voter flags: as many voters as the number of eligible nodes allows, spread over
    /// datacenters and then over racks. A voter keeps its vote unless it is no longer eligible,
    /// there are too many voters, or its datacenter has at least two more voters than another
    /// datacenter that could have one.
    pub(super) fn choose_voters(&mut self) {
        let mut roll = self.eligible();
        let wanted = voters_of(roll.nodes.len());
        while roll.voters(|_| true) > wanted {
            let Some(node) = roll.dispensable() else {
                break;
            };
            roll.set(node, false);
        }
        while roll.voters(|_| true) < wanted {
            let Some(node) = roll.candidate() else { break };
            roll.set(node, true);
        }
        // Each swap makes the spread smaller, so the loop ends.
        while let (Some(out), Some(into)) = (roll.dispensable(), roll.candidate()) {
            if roll.votes_beside(out) < roll.votes_beside(into) + 2 {
                break;
            }
            roll.set(out, false);
            roll.set(into, true);
        }
        let changed: Vec<_> = self
            .topology
            .nodes
            .iter()
            .map(|(&node, info)| {
                (
                    node,
                    info.voter,
                    roll.nodes.get(&node).is_some_and(|info| info.voter),
                )
            })
            .filter(|(_, before, after)| before != after)
            .collect();
        for (node, _, voter) in changed {
            if let Some(info) = self.topology_mut().nodes.get_mut(&node) {
                info.voter = voter;
            }
        }
    }
}

impl ControlState {
    /// Notes that the node's store may forget. It keeps its vote if there would be fewer voters
    /// without it: then it abstains, and a majority of the others decides.
    pub(super) fn distrust(&mut self, node: NodeId) -> Result<Response, CommandRefusal> {
        self.known(node)?;
        self.volatile.insert(node);
        let voters = self.topology.voters().count();
        if voters_of(self.eligible().nodes.len()) >= voters {
            self.choose_voters();
        }
        Ok(Response::Done)
    }

    /// The nodes that may vote: those that stay and keep their votes, or, if there is none, all
    /// that stay.
    fn eligible(&self) -> Roll {
        let stays = |(node, info): (NodeId, &NodeInfo)| (node, info.clone());
        let mut nodes: BTreeMap<_, _> = self.staying().map(stays).collect();
        if DRAINED_VOTES.is_planted() {
            nodes.extend(self.topology.nodes.clone());
        }
        let keeps = |node: &NodeId| !self.volatile.contains(node) || VOLATILE_VOTES.is_planted();
        if nodes.keys().any(keeps) {
            nodes.retain(|node, _| keeps(node));
        }
        let witnesses = nodes.iter().filter(|(_, info)| info.witness);
        let witnesses: Vec<_> = witnesses.map(|(&node, _)| node).collect();
        let others = nodes.len() - witnesses.len();
        for surplus in witnesses.iter().skip(others.saturating_sub(1)) {
            nodes.remove(surplus);
        }
        Roll { nodes }
    }
}

/// The nodes that may vote, while voters are being chosen.
struct Roll {
    nodes: BTreeMap<NodeId, NodeInfo>,
}

impl Roll {
    fn voters(&self, which: impl Fn(&NodeInfo) -> bool) -> usize {
        self.nodes
            .values()
            .filter(|info| info.voter && which(info))
            .count()
    }

    fn in_datacenter(&self, datacenter: &Datacenter) -> usize {
        self.voters(|info| &info.datacenter == datacenter)
    }

    fn in_rack(&self, of: &NodeInfo) -> usize {
        self.voters(|info| info.datacenter == of.datacenter && info.rack == of.rack)
    }

    fn votes_beside(&self, node: NodeId) -> usize {
        self.nodes
            .get(&node)
            .map_or(0, |info| self.in_datacenter(&info.datacenter))
    }

    fn set(&mut self, node: NodeId, voter: bool) {
        if let Some(info) = self.nodes.get_mut(&node) {
            info.voter = voter;
        }
    }

    /// The node to vote next: the oldest one in the datacenter, and then the rack, with the fewest
    /// voters; a witness only where there is no other.
    fn candidate(&self) -> Option<NodeId> {
        let others = self.nodes.iter().filter(|(_, info)| !info.voter);
        others
            .min_by_key(|(node, info)| {
                (
                    self.in_datacenter(&info.datacenter),
                    self.in_rack(info),
                    info.witness,
                    **node,
                )
            })
            .map(|(&node, _)| node)
    }

    /// The voter to stop first: the newest one in the datacenter, and then the rack, with the most
    /// voters; a witness before others.
    fn dispensable(&self) -> Option<NodeId> {
        let voters = self.nodes.iter().filter(|(_, info)| info.voter);
        voters
            .min_by_key(|(node, info)| {
                (
                    Reverse(self.in_datacenter(&info.datacenter)),
                    Reverse(self.in_rack(info)),
                    !info.witness,
                    Reverse(**node),
                )
            })
            .map(|(&node, _)| node)
    }
}
