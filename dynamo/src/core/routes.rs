//! What a core knows about the cluster: the topology, who can be reached, and how far away they
//! are.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use quorate_control::topology::{KeyspaceId, Minority, Placement, SplitPolicy, Topology};
use quorate_crdt::NodeId;

use crate::consistency::Consistency;
use crate::op::{Op, Request, RequestError};
use crate::planted;
use crate::preference::{fallbacks, nearest};
use crate::protocol::Place;
use crate::seen::At;

/// The level of requests that name none, where the keyspace's default cannot be read.
const LEVEL_FALLBACK: Consistency = Consistency::LocalQuorum;

/// The cluster as one core sees it.
#[derive(Debug)]
pub(super) struct Routes {
    pub(super) me: NodeId,
    topology: Option<Arc<Topology>>,
    /// The default levels of reads and writes.
    defaults: BTreeMap<KeyspaceId, (Consistency, Consistency)>,
    unreachable: BTreeSet<NodeId>,
    /// The voters that can be reached, if they are not a majority.
    minority: Option<Minority>,
    round_trips: BTreeMap<NodeId, Duration>,
    /// All nodes of the topology, nearest first.
    nearest: Vec<NodeId>,
}

impl Routes {
    pub(super) fn new(me: NodeId) -> Self {
        Self {
            me,
            topology: None,
            defaults: BTreeMap::new(),
            unreachable: BTreeSet::new(),
            minority: None,
            round_trips: BTreeMap::new(),
            nearest: Vec::new(),
        }
    }

    /// Adopts a newer topology. Returns false if it is not newer.
    pub(super) fn adopt(&mut self, topology: &Arc<Topology>) -> bool {
        if self
            .topology
            .as_ref()
            .is_some_and(|held| held.epoch >= topology.epoch)
        {
            return false;
        }
        let parse = |text: &str| text.parse().unwrap_or(LEVEL_FALLBACK);
        self.defaults = topology
            .keyspaces
            .iter()
            .map(|(id, keyspace)| (*id, (parse(&keyspace.read), parse(&keyspace.write))))
            .collect();
        // Nodes that have left are forgotten. A node that this topology does not contain yet may be
        // in the next one.
        for gone in self
            .topology
            .iter()
            .flat_map(|held| held.nodes.keys())
            .filter(|node| !topology.nodes.contains_key(node))
        {
            self.unreachable.remove(gone);
            self.round_trips.remove(gone);
        }
        self.nearest = nearest(topology, self.me, &self.round_trips);
        self.topology = Some(Arc::clone(topology));
        self.count_voters();
        true
    }

    pub(super) fn topology(&self) -> Option<&Arc<Topology>> {
        self.topology.as_ref()
    }

    pub(super) fn placement(&self, at: At) -> Option<&Placement> {
        let keyspaces = &self.topology.as_ref()?.keyspaces;
        keyspaces.get(&at.0)?.placement(at.1)
    }

    pub(super) fn placement_of(&self, place: Place) -> Option<&Placement> {
        self.placement(place.at())
            .filter(|placement| placement.epoch == place.epoch)
    }

    /// The place of a request.
    pub(super) fn place(&self, request: &Request) -> Result<Place, RequestError> {
        let topology = self.topology.as_ref().ok_or(RequestError::Moving)?;
        let keyspace = topology
            .keyspaces
            .get(&request.keyspace)
            .ok_or(RequestError::NoKeyspace)?;
        let partition = match &request.op {
            Op::Query(key, _) | Op::Mutate(key, _) => keyspace.partition_of(key),
            Op::Partition(partition, _) => *partition,
        };
        let placement = keyspace
            .placement(partition)
            .ok_or(RequestError::NoKeyspace)?;
        Ok(Place {
            keyspace: request.keyspace,
            partition,
            epoch: placement.epoch,
        })
    }

    /// The level of a request. Under a lock, a default below `QUORUM` does not count.
    pub(super) fn level(&self, request: &Request, writes: bool) -> Consistency {
        request.consistency.unwrap_or_else(|| {
            let (read, write) = self
                .defaults
                .get(&request.keyspace)
                .copied()
                .unwrap_or((LEVEL_FALLBACK, LEVEL_FALLBACK));
            let level = if writes { write } else { read };
            if request.claim.is_some() && !level.needs_majority() {
                Consistency::Quorum
            } else {
                level
            }
        })
    }

    /// Records what the failure detector says. Returns whether that is news.
    pub(super) fn set_reachable(&mut self, node: NodeId, up: bool) -> bool {
        let news = if up {
            self.unreachable.remove(&node)
        } else {
            self.unreachable.insert(node)
        };
        self.count_voters();
        news
    }

    fn count_voters(&mut self) {
        self.minority = self
            .topology
            .as_ref()
            .and_then(|topology| Minority::of(topology.voters(), |node| self.reachable(node)));
    }

    /// Refuses a write to a keyspace that is read-only on this side of a split.
    pub(super) fn writable(&self, keyspace: KeyspaceId) -> Result<(), RequestError> {
        let Some(Minority { reached, voters }) = self.minority else {
            return Ok(());
        };
        let policy = |topology: &Arc<Topology>| Some(topology.keyspaces.get(&keyspace)?.split);
        match self.topology.as_ref().and_then(policy) {
            Some(SplitPolicy::ReadOnlyInMinority) if !planted::MINORITY_WRITES.is_planted() => {
                Err(RequestError::ReadOnly { reached, voters })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn reachable(&self, node: NodeId) -> bool {
        node == self.me || !self.unreachable.contains(&node)
    }

    /// Whether no node is known to be unreachable.
    pub(super) fn all_reachable(&self) -> bool {
        self.unreachable.is_empty()
    }

    pub(super) fn set_round_trip(&mut self, node: NodeId, rtt: Duration) {
        if self.round_trips.insert(node, rtt) != Some(rtt) {
            self.nearest = self.topology.as_ref().map_or_else(Vec::new, |topology| {
                nearest(topology, self.me, &self.round_trips)
            });
        }
    }

    /// The longest known round trip to any of these nodes.
    pub(super) fn round_trip(&self, nodes: &[NodeId]) -> Duration {
        nodes
            .iter()
            .filter_map(|node| self.round_trips.get(node))
            .max()
            .copied()
            .unwrap_or_default()
    }

    /// The nodes that hold the partition, nearest first.
    pub(super) fn holders<'a>(
        &'a self,
        placement: &'a Placement,
    ) -> impl Iterator<Item = NodeId> + 'a {
        self.nearest
            .iter()
            .copied()
            .filter(|node| placement.holds(*node))
    }

    /// The nodes that may keep a hint for an unreachable holder of the partition, best first.
    pub(super) fn fallbacks(&self, placement: &Placement) -> Vec<NodeId> {
        self.topology.as_ref().map_or_else(Vec::new, |topology| {
            fallbacks(topology, placement, self.me, &self.nearest)
        })
    }

    /// Whether this node executes requests for the partition: it is in a set that is read.
    pub(super) fn executes(&self, placement: &Placement) -> bool {
        placement.readers().any(|set| set.contains(&self.me))
    }
}
