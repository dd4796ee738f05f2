//! Which nodes belong to the cluster: founding, join tokens, admission, removal.

use std::sync::Arc;

use quorate_crdt::{NodeId, PublicKey};

use super::command::{CommandRefusal, NewKeyspace, NewToken, NodeSpec, Response, TokenId};
use super::decided::{ControlState, Token};
use super::keyspaces::check_partitions;
use crate::planted::{
    JOIN_RETRY_UNKNOWN, KEY_OF_ANOTHER, OLD_KEY_KEPT, REPLACED_IS_AWAITED, TOKEN_USE_COUNTED_TWICE,
};
use crate::topology::{
    ClusterId, DEFAULT_KEYSPACE, Epoch, NodeInfo, Replication, SplitPolicy, is_address, is_name,
};

/// How a newcomer asks to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The token that it holds.
    pub token: TokenId,
    /// The dead member whose place it takes.
    pub replaces: Option<NodeId>,
    /// Unix time in milliseconds, by the proposer's clock.
    pub at_ms: u64,
}

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
        if node.witness {
            return Err(CommandRefusal::Witness);
        }
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
            split: SplitPolicy::default(),
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

    /// Whether `node` would be admitted like this: as a new node (`None`), or as one that has been
    /// admitted and asks again. Recognises a retry before it counts uses, so that a retry does not
    /// find the token used up, or the node that it replaces gone, by its own first attempt.
    ///
    /// # Errors
    /// Why not. A member whose state is behind may be wrong about it; the log decides.
    pub fn may_enter(
        &self,
        asked: &Entry,
        node: &NodeSpec,
    ) -> Result<Option<NodeId>, CommandRefusal> {
        let token = self
            .tokens
            .get(&asked.token)
            .ok_or(CommandRefusal::UnknownToken)?;
        check_spec(node)?;
        let known = self.admitted_as(&node.key);
        if known.is_some() && !JOIN_RETRY_UNKNOWN.is_planted() {
            return Ok(known);
        }
        let named = self.topology.node_named(&node.name);
        if named.is_some_and(|(other, _)| asked.replaces != Some(other))
            || self.topology.node_of(&node.key).is_some()
        {
            return Err(CommandRefusal::NameTaken);
        }
        if token
            .expires_ms
            .is_some_and(|expires| asked.at_ms >= expires)
        {
            return Err(CommandRefusal::Expired);
        }
        if token.uses_left == Some(0) {
            return Err(CommandRefusal::UsedUp);
        }
        if let Some(dead) = asked.replaces {
            let place = self.known(dead)?;
            if place.datacenter != node.datacenter {
                return Err(CommandRefusal::OtherDatacenter {
                    node: dead,
                    datacenter: place.datacenter.clone(),
                });
            }
            if place.witness != node.witness {
                return Err(CommandRefusal::OtherKind {
                    node: dead,
                    witness: place.witness,
                });
            }
        }
        Ok(None)
    }

    pub(super) fn admit(
        &mut self,
        epoch: Epoch,
        asked: &Entry,
        node: &NodeSpec,
    ) -> Result<Response, CommandRefusal> {
        let known = self.may_enter(asked, node)?;
        if known.is_none() || TOKEN_USE_COUNTED_TWICE.is_planted() {
            let uses = self
                .tokens
                .get_mut(&asked.token)
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
        if let Some(dead) = asked.replaces {
            self.hand_over(epoch, dead, admitted);
        }
        self.choose_voters();
        self.retarget_all(epoch);
        self.dismiss_leavers();
        Ok(Response::Admitted { node: admitted })
    }

    /// Gives the place of a dead node to a newcomer. What the dead one held is filled from the
    /// others that hold it.
    fn hand_over(&mut self, epoch: Epoch, dead: NodeId, newcomer: NodeId) {
        let seat = self.seats.get(&dead).copied().unwrap_or(dead);
        self.seats.insert(newcomer, seat);
        self.leaving.insert(dead);
        if !REPLACED_IS_AWAITED.is_planted() {
            self.strip(epoch, dead);
        }
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
            next_key: None,
            voter: false,
            witness: spec.witness,
        };
        self.topology_mut().nodes.insert(node, info);
        if !spec.durable {
            self.volatile.insert(node);
        }
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

    pub(super) fn offer_key(
        &mut self,
        node: NodeId,
        key: PublicKey,
    ) -> Result<Response, CommandRefusal> {
        let present = self.known(node)?.key;
        if let Some(owner) = self.topology.node_of(&key)
            && owner != node
            && !KEY_OF_ANOTHER.is_planted()
        {
            return Err(CommandRefusal::KeyTaken { node: owner });
        }
        self.set_keys(node, present, Some(key).filter(|key| *key != present));
        Ok(Response::Done)
    }

    /// Asking again with the same key gives the same answer.
    pub(super) fn change_key(
        &mut self,
        node: NodeId,
        key: PublicKey,
    ) -> Result<Response, CommandRefusal> {
        let info = self.known(node)?;
        if !info.has_key(&key) {
            return Err(CommandRefusal::UnknownKey { node });
        }
        let before = Some(info.key).filter(|_| OLD_KEY_KEPT.is_planted());
        self.set_keys(node, key, before);
        Ok(Response::Done)
    }

    fn set_keys(&mut self, node: NodeId, key: PublicKey, next_key: Option<PublicKey>) {
        if let Some(info) = self.topology_mut().nodes.get_mut(&node) {
            (info.key, info.next_key) = (key, next_key);
        }
    }

    /// Whether the others can hold everything.
    fn dispensable(&self, node: NodeId) -> Result<(), CommandRefusal> {
        self.known(node)?;
        if !self.housing().any(|(other, _)| other != node) {
            return Err(CommandRefusal::LastNode);
        }
        match self.bare_without(node) {
            Some(keyspace) => Err(CommandRefusal::NoReplicas { keyspace }),
            None => Ok(()),
        }
    }

    /// A node that is being removed stays drained in any case.
    pub(super) fn drain_node(
        &mut self,
        epoch: Epoch,
        node: NodeId,
        drained: bool,
    ) -> Result<Response, CommandRefusal> {
        if drained {
            self.dispensable(node)?;
            self.drained.insert(node);
        } else {
            self.known(node)?;
            self.drained.remove(&node);
        }
        self.choose_voters();
        self.retarget_all(epoch);
        self.dismiss_leavers();
        Ok(Response::Done)
    }

    pub(super) fn remove_node(
        &mut self,
        epoch: Epoch,
        node: NodeId,
        lost: bool,
    ) -> Result<Response, CommandRefusal> {
        self.dispensable(node)?;
        self.drained.remove(&node);
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
