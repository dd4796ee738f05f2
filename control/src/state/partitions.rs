//! Where the partitions of all keyspaces are going: starts their moves, takes the reports of nodes
//! and lets each move take its next step.

use quorate_crdt::NodeId;

use super::command::{CommandRefusal, Response};
use super::decided::ControlState;
use super::moves;
use crate::planted::DRAINED_IS_AWAITED;
use crate::topology::{Epoch, KeyspaceId, Partition, Placement};

impl ControlState {
    /// The nodes whose reports the move of this partition still waits for. Empty when the partition
    /// is not moving or does not exist.
    pub fn awaited(&self, keyspace: KeyspaceId, partition: Partition) -> Vec<NodeId> {
        let placement = self
            .topology
            .keyspaces
            .get(&keyspace)
            .and_then(|keyspace| keyspace.placement(partition));
        placement.map_or_else(Vec::new, |placement| {
            moves::awaited(placement, &self.topology, |node| {
                let drained = self.drained.contains(&node) && !DRAINED_IS_AWAITED.is_planted();
                drained || self.leaving.contains(&node)
            })
        })
    }

    pub(super) fn report_move(
        &mut self,
        epoch: Epoch,
        node: NodeId,
        keyspace: KeyspaceId,
        partitions: &[Partition],
        of: Epoch,
    ) -> Result<Response, CommandRefusal> {
        self.known(node)?;
        self.keyspace(keyspace)?;
        for &partition in partitions {
            let marked = self.change(keyspace, partition, |placement| {
                moves::mark(placement, node, of)
            });
            if marked && self.advance(epoch, keyspace, partition) {
                self.retarget(epoch, keyspace, partition);
            }
        }
        self.dismiss_leavers();
        Ok(Response::Done)
    }

    /// Applies `edit` to the placement and returns what it returns; `false` if there is none.
    fn change(
        &mut self,
        keyspace: KeyspaceId,
        partition: Partition,
        edit: impl FnOnce(&mut Placement) -> bool,
    ) -> bool {
        let keyspace = self.topology_mut().keyspaces.get_mut(&keyspace);
        keyspace
            .and_then(|keyspace| keyspace.placement.get_mut(usize::from(partition.0)))
            .is_some_and(edit)
    }

    /// Enters the next phase if no report is missing. Returns whether the placement is stable now.
    fn advance(&mut self, epoch: Epoch, keyspace: KeyspaceId, partition: Partition) -> bool {
        self.awaited(keyspace, partition).is_empty()
            && self.change(keyspace, partition, |placement| {
                moves::step(placement, epoch)
            })
    }

    pub(super) fn retarget_all(&mut self, epoch: Epoch) {
        let keyspaces: Vec<_> = self.topology.keyspaces.keys().copied().collect();
        for keyspace in keyspaces {
            self.retarget_keyspace(epoch, keyspace);
        }
    }

    /// Also advances moves: a node that leaves or is lost may have been the last one they waited
    /// for.
    pub(super) fn retarget_keyspace(&mut self, epoch: Epoch, keyspace: KeyspaceId) {
        let count = self
            .topology
            .keyspaces
            .get(&keyspace)
            .map_or(0, |keyspace| keyspace.placement.len());
        for partition in (0u16..).map(Partition).take(count) {
            self.retarget(epoch, keyspace, partition);
            if self.advance(epoch, keyspace, partition) {
                self.retarget(epoch, keyspace, partition);
            }
        }
    }

    /// Sends the partition to where it belongs now.
    fn retarget(&mut self, epoch: Epoch, keyspace: KeyspaceId, partition: Partition) {
        let Some(replication) = self
            .topology
            .keyspaces
            .get(&keyspace)
            .map(|keyspace| &keyspace.replication)
        else {
            return;
        };
        let target = self.home(replication, keyspace, partition);
        let current = self
            .topology
            .keyspaces
            .get(&keyspace)
            .and_then(|keyspace| keyspace.placement(partition));
        if let Some(aimed) = current.and_then(|placement| moves::aim(placement, &target, epoch)) {
            self.replace(keyspace, partition, aimed);
        }
    }

    fn replace(&mut self, keyspace: KeyspaceId, partition: Partition, with: Placement) {
        self.change(keyspace, partition, |placement| {
            *placement = with;
            true
        });
    }

    /// Strikes a node whose disk is gone from every set.
    pub(super) fn strip(&mut self, epoch: Epoch, node: NodeId) {
        for placement in self
            .placements_mut()
            .filter(|placement| placement.holds(node))
        {
            moves::strip(placement, node, epoch);
        }
        let keyspaces: Vec<_> = self.topology.keyspaces.keys().copied().collect();
        for keyspace in keyspaces {
            self.refill(epoch, keyspace);
        }
    }

    /// A partition that has lost its only replica starts again, empty, where it belongs.
    fn refill(&mut self, epoch: Epoch, keyspace: KeyspaceId) {
        let Some(held) = self.topology.keyspaces.get(&keyspace) else {
            return;
        };
        let empty: Vec<_> = held
            .partitions()
            .filter(|(_, placement)| placement.replicas.is_empty())
            .map(|(partition, _)| partition)
            .collect();
        for partition in empty {
            let Some(held) = self.topology.keyspaces.get(&keyspace) else {
                return;
            };
            let fresh = Placement::stable(epoch, self.home(&held.replication, keyspace, partition));
            self.replace(keyspace, partition, fresh);
        }
    }
}
