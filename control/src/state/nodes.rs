//! Which nodes belong to the cluster: founding, join tokens, admission, removal.

use std::sync::Arc;

use quorate_crdt::{NodeId, Secret};

use super::command::{CommandRefusal, NewKeyspace, NewToken, NodeSpec, Response, TokenId};
use super::decided::{ControlState, Token};
use super::keyspaces::check_partitions;
use crate::planted::JOIN_RETRY_UNKNOWN;
use crate::topology::{
    ClusterId, DEFAULT_KEYSPACE, Epoch, NodeInfo, Replication, is_address, is_name,
};

impl ControlState {
    pub(super) fn found(
        &mut self,
        epoch: Epoch,
        cluster: ClusterId,
        authority: Secret,
        token: NewToken,
        node: &NodeSpec,
        partitions: u16,
    ) -> Result<Response, CommandRefusal> {
        if self.founded() {
            return Err(CommandRefusal::AlreadyFounded);
        }
        check_spec(node)?;
        check_partitions(partitions)?;
        self.topology_mut().cluster = cluster;
        self.authority = authority;
        self.create_token(token)?;
        let first = self.enter(node);
        let level = "LOCAL_QUORUM";
        let default = NewKeyspace {
            name: "default".into(),
            replication: Replication::Auto,
            partitions,
            read: level.into(),
            write: level.into(),
        };
        self.insert_keyspace(epoch, DEFAULT_KEYSPACE, default);
        self.choose_voters();
        Ok(Response::Admitted { node: first })
    }

    pub(super) fn create_token(&mut self, token: NewToken) -> Result<Response, CommandRefusal> {
        if self.tokens.contains_key(&token.id) {
            return Err(CommandRefusal::TokenExists);
        }
        self.tokens.insert(
            token.id,
            Token {
                secret: token.secret,
                uses_left: token.uses,
                expires_ms: token.expires_ms,
            },
        );
        Ok(Response::Done)
    }

    /// Checks the token first, so that a stranger learns nothing about names. Recognises a retry
    /// before it counts uses, so that a retry does not find the token used up by its own first
    /// attempt.
    pub(super) fn admit(
        &mut self,
        epoch: Epoch,
        id: TokenId,
        secret: &Secret,
        node: &NodeSpec,
        at_ms: u64,
    ) -> Result<Response, CommandRefusal> {
        let token = self
            .tokens
            .get(&id)
            .filter(|token| &token.secret == secret)
            .ok_or(CommandRefusal::UnknownToken)?;
        check_spec(node)?;
        if let Some((known, _)) = self.topology.node_named(&node.name) {
            let same = self.instances.get(&known) == Some(&node.instance)
                && !self.leaving.contains(&known);
            return if same && !JOIN_RETRY_UNKNOWN.is_planted() {
                self.move_node(known, &node.quic)
                    .map(|_| Response::Admitted { node: known })
            } else {
                Err(CommandRefusal::NameTaken)
            };
        }
        if token.expires_ms.is_some_and(|expires| at_ms >= expires) {
            return Err(CommandRefusal::Expired);
        }
        let uses_left = match token.uses_left {
            Some(uses) => Some(uses.checked_sub(1).ok_or(CommandRefusal::UsedUp)?),
            None => None,
        };
        if let Some(token) = self.tokens.get_mut(&id) {
            token.uses_left = uses_left;
        }
        let admitted = self.enter(node);
        self.choose_voters();
        self.retarget_all(epoch);
        Ok(Response::Admitted { node: admitted })
    }

    /// Gives the node the next number. Numbers are never reused: an old node that comes back must
    /// not pass for a new one.
    fn enter(&mut self, spec: &NodeSpec) -> NodeId {
        self.last_node += 1;
        let node = NodeId(self.last_node);
        let info = NodeInfo {
            name: spec.name.clone(),
            datacenter: spec.datacenter.clone(),
            rack: spec.rack.clone(),
            quic: Arc::clone(&spec.quic),
            voter: false,
        };
        self.topology_mut().nodes.insert(node, info);
        self.instances.insert(node, spec.instance);
        node
    }

    pub(super) fn move_node(
        &mut self,
        node: NodeId,
        quic: &Arc<str>,
    ) -> Result<Response, CommandRefusal> {
        self.known(node)?;
        if !is_address(quic) {
            return Err(CommandRefusal::BadAddress);
        }
        if let Some(info) = self.topology_mut().nodes.get_mut(&node) {
            info.quic = Arc::clone(quic);
        }
        Ok(Response::Done)
    }

    pub(super) fn remove_node(
        &mut self,
        epoch: Epoch,
        node: NodeId,
        lost: bool,
    ) -> Result<Response, CommandRefusal> {
        self.known(node)?;
        if !self.staying().any(|(other, _)| other != node) {
            return Err(CommandRefusal::LastNode);
        }
        if let Some(keyspace) = self.bare_without(node) {
            return Err(CommandRefusal::NoReplicas { keyspace });
        }
        self.leaving.insert(node);
        if lost {
            self.strip(epoch, node);
        }
        self.choose_voters();
        self.retarget_all(epoch);
        self.dismiss_leavers();
        Ok(Response::Done)
    }
}

fn check_spec(spec: &NodeSpec) -> Result<(), CommandRefusal> {
    let names = [&spec.name, &spec.datacenter, &spec.rack];
    if !names.into_iter().all(|name| is_name(name)) {
        return Err(CommandRefusal::BadName);
    }
    if !is_address(&spec.quic) {
        return Err(CommandRefusal::BadAddress);
    }
    Ok(())
}
