//! What the control group decides: a pure state machine over [`Command`]s.
//!
//! **Law:** the state is a function of the commands and their log indices alone: no clock, no
//! chance, no order of a hash map. A refused command changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

mod command;
mod keyspaces;
mod moves;
mod nodes;
mod voters;

pub use command::{
    Command, LogIndex, NewKeyspace, NewToken, NodeSpec, Refusal, Response, Secret, TokenId,
};

use crate::topology::{ClusterId, Epoch, Keyspace, KeyspaceId, NodeInfo, Placement, Topology};

#[cfg(test)]
mod tests;

/// The most partitions a keyspace may have. Guess: 4096 placements are some 100 kB in every
/// published topology.
pub const PARTITIONS_MAX: u16 = 4096;
/// How many partitions the keyspace `default` has.
pub const DEFAULT_PARTITIONS: u16 = 64;
/// The keyspace that exists from the start.
pub const DEFAULT_KEYSPACE: KeyspaceId = KeyspaceId(0);

/// Everything the control group has decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ControlState {
    topology: Arc<Topology>,
    authority: Secret,
    tokens: BTreeMap<TokenId, Token>,
    /// What tells a node's retry from a stranger of the same name.
    instances: BTreeMap<NodeId, u128>,
    /// Nodes that are being removed; still in the topology because partitions are moving away from
    /// them.
    leaving: BTreeSet<NodeId>,
    /// The last number given to a node.
    last_node: u64,
    /// The next number for a keyspace; `None` when all have been given out.
    next_keyspace: Option<u32>,
}

/// A join token as the state keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What a newcomer must show.
    pub secret: Secret,
    /// How many more nodes it lets in; `None`: any number.
    pub uses_left: Option<u32>,
    /// From this Unix time in milliseconds on it lets nobody in.
    pub expires_ms: Option<u64>,
}

impl Default for ControlState {
    /// Before the founding: a topology of epoch 0 and cluster 0 without nodes and keyspaces.
    fn default() -> Self {
        let topology = Topology {
            cluster: ClusterId(0),
            epoch: Epoch(0),
            nodes: BTreeMap::new(),
            keyspaces: BTreeMap::new(),
        };
        Self {
            topology: Arc::new(topology),
            authority: Secret::default(),
            tokens: BTreeMap::new(),
            instances: BTreeMap::new(),
            leaving: BTreeSet::new(),
            last_node: 0,
            next_keyspace: Some(1),
        }
    }
}

impl ControlState {
    /// What every node routes by. A cheap clone; it never changes once handed out.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Whether the cluster has been founded.
    pub fn founded(&self) -> bool {
        self.last_node > 0
    }

    /// The cluster authority's key and certificate, as they were given at the founding; empty
    /// before.
    pub fn authority(&self) -> &Secret {
        &self.authority
    }

    /// All join tokens, spent and expired ones included.
    pub fn tokens(&self) -> &BTreeMap<TokenId, Token> {
        &self.tokens
    }

    /// Nodes on their way out: still in the topology, but nothing is placed on them any more.
    pub fn leaving(&self) -> &BTreeSet<NodeId> {
        &self.leaving
    }

    /// Carries out the command at this place of the log. Indices are strictly increasing; the first
    /// is at least 1.
    pub fn apply(&mut self, index: LogIndex, command: Command) -> Response {
        let before = Arc::clone(&self.topology);
        let epoch = Epoch(index.0);
        match self.decide(epoch, command) {
            Ok(response) => {
                if self.topology != before {
                    self.topology_mut().epoch = epoch;
                }
                response
            }
            Err(refusal) => Response::Refused(refusal),
        }
    }

    fn decide(&mut self, epoch: Epoch, command: Command) -> Result<Response, Refusal> {
        if let Command::Found {
            cluster,
            authority,
            token,
            node,
            at_ms: _,
        } = command
        {
            return self.found(epoch, (cluster, authority), token, &node);
        }
        if !self.founded() {
            return Err(Refusal::NotFounded);
        }
        match command {
            Command::Found { .. } => Err(Refusal::AlreadyFounded),
            Command::Admit {
                token,
                secret,
                node,
                at_ms,
            } => self.admit(epoch, (token, &secret), &node, at_ms),
            Command::MoveNode { node, quic } => self.move_node(node, quic),
            Command::RemoveNode { node, lost } => self.remove_node(epoch, node, lost),
            Command::CreateToken(token) => self.create_token(token),
            Command::RevokeToken(token) => {
                self.tokens.remove(&token);
                Ok(Response::Done)
            }
            Command::CreateKeyspace(keyspace) => self.create_keyspace(epoch, keyspace),
            Command::AlterKeyspace {
                keyspace,
                replication,
                read,
                write,
            } => self.alter_keyspace(epoch, keyspace, replication, (read, write)),
            Command::DropKeyspace(keyspace) => self.drop_keyspace(keyspace),
            Command::ReportMove {
                node,
                keyspace,
                partitions,
                epoch: of,
            } => self.report_move(epoch, (node, keyspace), &partitions, of),
        }
    }

    fn move_node(&mut self, node: NodeId, quic: SocketAddr) -> Result<Response, Refusal> {
        self.known(node)?;
        if let Some(info) = self.topology_mut().nodes.get_mut(&node) {
            info.quic = quic;
        }
        Ok(Response::Done)
    }

    fn known(&self, node: NodeId) -> Result<&NodeInfo, Refusal> {
        self.topology
            .nodes
            .get(&node)
            .ok_or(Refusal::UnknownNode { node })
    }

    fn keyspace(&self, keyspace: KeyspaceId) -> Result<&Keyspace, Refusal> {
        self.topology
            .keyspaces
            .get(&keyspace)
            .ok_or(Refusal::UnknownKeyspace { keyspace })
    }

    fn topology_mut(&mut self) -> &mut Topology {
        Arc::make_mut(&mut self.topology)
    }

    /// Nodes that partitions may be placed on.
    fn staying(&self) -> impl Iterator<Item = (NodeId, &NodeInfo)> + Clone {
        self.topology
            .nodes
            .iter()
            .filter(|(node, _)| !self.leaving.contains(node))
            .map(|(&node, info)| (node, info))
    }

    /// All placements of all keyspaces, to change.
    fn placements_mut(&mut self) -> impl Iterator<Item = &mut Placement> {
        self.topology_mut()
            .keyspaces
            .values_mut()
            .flat_map(|keyspace| &mut keyspace.placement)
    }
}

/// Names are short and printable, because they end up in paths, metrics and tables.
fn check_name(name: &str) -> Result<(), Refusal> {
    let good = (1..=64).contains(&name.len())
        && !name.chars().any(|c| c.is_control() || c.is_whitespace());
    if good { Ok(()) } else { Err(Refusal::BadName) }
}
