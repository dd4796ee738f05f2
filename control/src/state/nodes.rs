//! Which nodes belong to the cluster: founding, join tokens, admission, removal.

use std::sync::Arc;

use quorate_crdt::NodeId;

use super::command::{CommandRefusal, NewKeyspace, NewToken, NodeSpec, Response, TokenId};
use super::decided::{ControlState, Token};
use super::keyspaces::check_partitions;
use crate::planted::{JOIN_RETRY_UNKNOWN, TOKEN_USE_COUNTED_TWICE};
use crate::topology::{
    ClusterId, DEFAULT_KEYSPACE, Epoch, NodeInfo, Replication, is_address, is_name,
};

impl ControlState {
    pub(super) fn found(
        &mut self,
        epoch: Epoch,
        cluster: ClusterId,
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
                verifier: token.verifier,
                uses_left: token.uses,
                expires_ms: token.expires_ms,
            },
        );
        Ok(Response::Done)
    }

    /// Whether `node` would be admitted with this token: as a new node (`None`), or as one that has
    /// been admitted and asks again. Recognises a retry before it counts uses, so that a retry does
    /// not find the token used up by its own first attempt.
    ///
    /// # Errors
    /// Why not. A member whose state is behind may be wrong about it; the log decides.
    pub fn may_enter(
        &self,
        token: TokenId,
        node: &NodeSpec,
        at_ms: u64,
    ) -> Result<Option<NodeId>, CommandRefusal> {
        let token = self
            .tokens
            .get(&token)
            .ok_or(CommandRefusal::UnknownToken)?;
        check_spec(node)?;
        let known = self
            .topology
            .node_of(&node.key)
            .filter(|known| !self.leaving.contains(known));
        if known.is_some() && !JOIN_RETRY_UNKNOWN.is_planted() {
            return Ok(known);
        }
        if self.topology.node_named(&node.name).is_some()
            || self.topology.node_of(&node.key).is_some()
        {
            return Err(CommandRefusal::NameTaken);
        }
        if token.expires_ms.is_some_and(|expires| at_ms >= expires) {
            return Err(CommandRefusal::Expired);
        }
        if token.uses_left == Some(0) {
            return Err(CommandRefusal::UsedUp);
        }
        Ok(None)
    }

    pub(super) fn admit(
        &mut self,
        epoch: Epoch,
        token: TokenId,
        node: &NodeSpec,
        at_ms: u64,
    ) -> Result<Response, CommandRefusal> {
        let known = self.may_enter(token, node, at_ms)?;
        if known.is_none() || TOKEN_USE_COUNTED_TWICE.is_planted() {
            let uses = self
                .tokens
                .get_mut(&token)
                .and_then(|token| token.uses_left.as_mut());
            if let Some(uses) = uses {
                *uses = uses.saturating_sub(1);
            }
        }
        if let Some(known) = known {
            self.move_node(known, &node.quic)?;
            return Ok(Response::Admitted { node: known });
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
            key: spec.key,
            voter: false,
        };
        self.topology_mut().nodes.insert(node, info);
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
