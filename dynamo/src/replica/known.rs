//! What a core remembers about partitions beyond the replicas it holds.
//!
//! On disk, in `Causal`: under a partition's prefix, `c` → the id that was closed there; under the
//! prefix made of [`NO_KEYSPACE`] and the core's number, `p` → the epoch up to which the core has
//! placed replicas.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_control::store::{Batch, Space};
use quorate_control::topology::{Epoch, KeyspaceId, Partition};
use serde::{Deserialize, Serialize};

use super::erased::Erased;
use super::journal::{encode, prefix};

use crate::seen::At;

pub(super) const CLOSED: u8 = b'c';
pub(super) const PLACED: u8 = b'p';
/// A keyspace id that is never assigned.
const NO_KEYSPACE: KeyspaceId = KeyspaceId(u32::MAX);

/// What outlives the replicas of a core.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The epoch of the topology up to which replicas have been placed. `None` if the disk does not
    /// say, because it is new or was lost.
    pub placed: Option<Epoch>,
    /// The partitions where a replica has been erased.
    pub closed: BTreeMap<At, Closed>,
    /// What erased replicas have left on disk and is not deleted yet.
    pub erased: BTreeMap<At, Erased>,
}

/// The last replica that was erased at a partition. No later replica there writes under its id or
/// an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The incarnation in its id.
    pub incarnation: u32,
    /// The epoch of the topology that released it.
    pub epoch: Epoch,
}

impl Known {
    /// Records that a replica is being erased.
    pub fn close(&mut self, at: At, closed: Closed, disk: Option<&mut Batch>) {
        self.closed.insert(at, closed);
        if let Some(disk) = disk {
            disk.put(Space::Causal, key(at.0, at.1, CLOSED), encode(&closed));
        }
    }

    /// Records that replicas have been placed up to `epoch`.
    pub fn place_up_to(&mut self, epoch: Epoch, core: u8, disk: Option<&mut Batch>) {
        self.placed = Some(epoch);
        if let Some(disk) = disk {
            disk.put(
                Space::Causal,
                key(NO_KEYSPACE, Partition(core.into()), PLACED),
                encode(&epoch),
            );
        }
    }
}

fn key(keyspace: KeyspaceId, partition: Partition, kind: u8) -> Bytes {
    let mut bytes = prefix(keyspace, partition).to_vec();
    bytes.push(kind);
    bytes.into()
}
