//! Making, altering and dropping keyspaces.

use quorate_crdt::NodeId;

use super::command::{Alteration, CommandRefusal, NewKeyspace, Response};
use super::decided::ControlState;
use super::placement::place;
use crate::topology::{
    DEFAULT_KEYSPACE, Epoch, Keyspace, KeyspaceId, PARTITIONS_MAX, Partition, Placement,
    is_keyspace_name, is_partition_count,
};

/// Refuses a number of partitions that no keyspace may have.
pub(super) fn check_partitions(partitions: u16) -> Result<(), CommandRefusal> {
    if is_partition_count(partitions) {
        Ok(())
    } else {
        Err(CommandRefusal::BadPartitions {
            partitions,
            max: PARTITIONS_MAX,
        })
    }
}

impl ControlState {
    pub(super) fn create_keyspace(
        &mut self,
        epoch: Epoch,
        new: NewKeyspace,
    ) -> Result<Response, CommandRefusal> {
        if !is_keyspace_name(&new.name) {
            return Err(CommandRefusal::BadName);
        }
        check_partitions(new.partitions)?;
        if self.topology.keyspace_named(&new.name).is_some() {
            return Err(CommandRefusal::NameTaken);
        }
        let keyspace = KeyspaceId(self.next_keyspace.ok_or(CommandRefusal::Exhausted)?);
        if place(self.housing(), &new.replication, keyspace, Partition(0)).is_empty() {
            return Err(CommandRefusal::NoReplicas { keyspace });
        }
        self.next_keyspace = keyspace.0.checked_add(1);
        self.insert_keyspace(epoch, keyspace, new);
        Ok(Response::Created { keyspace })
    }

    pub(super) fn insert_keyspace(&mut self, epoch: Epoch, id: KeyspaceId, new: NewKeyspace) {
        let placement = (0..new.partitions)
            .map(|partition| {
                Placement::stable(epoch, self.home(&new.replication, id, Partition(partition)))
            })
            .collect();
        let keyspace = Keyspace {
            name: new.name,
            replication: new.replication,
            read: new.read,
            write: new.write,
            split: new.split,
            placement,
        };
        self.topology_mut().keyspaces.insert(id, keyspace);
    }

    pub(super) fn alter_keyspace(
        &mut self,
        epoch: Epoch,
        id: KeyspaceId,
        change: Alteration,
    ) -> Result<Response, CommandRefusal> {
        self.keyspace(id)?;
        if let Some(replication) = &change.replication
            && place(self.housing(), replication, id, Partition(0)).is_empty()
        {
            return Err(CommandRefusal::NoReplicas { keyspace: id });
        }
        if let Some(keyspace) = self.topology_mut().keyspaces.get_mut(&id) {
            let Alteration {
                replication,
                read,
                write,
                split,
            } = change;
            keyspace.read = read.unwrap_or_else(|| keyspace.read.clone());
            keyspace.write = write.unwrap_or_else(|| keyspace.write.clone());
            keyspace.split = split.unwrap_or(keyspace.split);
            keyspace.replication = replication.unwrap_or_else(|| keyspace.replication.clone());
        }
        self.retarget_keyspace(epoch, id);
        self.dismiss_leavers();
        Ok(Response::Done)
    }

    pub(super) fn drop_keyspace(&mut self, id: KeyspaceId) -> Result<Response, CommandRefusal> {
        self.keyspace(id)?;
        if id == DEFAULT_KEYSPACE {
            return Err(CommandRefusal::DefaultKeyspace);
        }
        let topology = self.topology_mut();
        topology.keyspaces.remove(&id);
        for user in topology.users.values_mut() {
            user.keyspaces.remove(&id);
        }
        self.dismiss_leavers();
        Ok(Response::Done)
    }

    /// The first keyspace that would be left without a replica if `node` were gone.
    pub(super) fn bare_without(&self, node: NodeId) -> Option<KeyspaceId> {
        let rest = self.housing().filter(|&(other, _)| other != node);
        let bare = |(id, keyspace): &(&KeyspaceId, &Keyspace)| {
            place(rest.clone(), &keyspace.replication, **id, Partition(0)).is_empty()
        };
        self.topology.keyspaces.iter().find(bare).map(|(&id, _)| id)
    }
}
