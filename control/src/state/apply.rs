//! Gives each command to the file that decides about it.

use std::sync::Arc;

use super::command::{Command, CommandRefusal, Response};
use super::decided::ControlState;
use super::nodes::Entry;
use crate::topology::{Epoch, LogIndex};

impl ControlState {
    /// Carries out the command at this position of the log. Indices are strictly increasing; the
    /// first is at least 1.
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

    fn decide(&mut self, epoch: Epoch, command: Command) -> Result<Response, CommandRefusal> {
        if let Command::Found {
            cluster,
            token,
            node,
            partitions,
            at_ms: _,
        } = command
        {
            return self.found(epoch, cluster, token, &node, partitions);
        }
        if !self.founded() {
            return Err(CommandRefusal::NotFounded);
        }
        match command {
            Command::Found { .. } => Err(CommandRefusal::AlreadyFounded),
            Command::Admit {
                token,
                node,
                replaces,
                at_ms,
            } => {
                let asked = Entry {
                    token,
                    replaces,
                    at_ms,
                };
                self.admit(epoch, &asked, &node)
            }
            Command::MoveNode { node, quic } => self.move_node(node, &quic),
            Command::RemoveNode { node, lost } => self.remove_node(epoch, node, lost),
            Command::Distrust { node } => self.distrust(node),
            Command::DrainNode { node, drained } => self.drain_node(epoch, node, drained),
            Command::CreateToken(token) => self.create_token(token),
            Command::RevokeToken(token) => {
                self.tokens.remove(&token);
                Ok(Response::Done)
            }
            Command::CreateKeyspace(keyspace) => self.create_keyspace(epoch, keyspace),
            Command::AlterKeyspace { keyspace, change } => {
                self.alter_keyspace(epoch, keyspace, change)
            }
            Command::DropKeyspace(keyspace) => self.drop_keyspace(keyspace),
            Command::ReportMove {
                node,
                keyspace,
                partitions,
                epoch: of,
            } => self.report_move(epoch, node, keyspace, &partitions, of),
            Command::CreateUser {
                name,
                password,
                grant,
            } => self.create_user(epoch, name, password, &grant),
            Command::SetPassword { user, password } => self.set_password(epoch, &user, password),
            Command::Grant { user, grant } => self.grant(&user, &grant),
            Command::DropUser(user) => self.drop_user(&user),
            Command::OfferKey { node, key } => self.offer_key(node, key),
            Command::ChangeKey { node, key } => self.change_key(node, key),
            Command::SetTiming(timing) => {
                if self.topology.timing != timing {
                    self.topology_mut().timing = timing;
                }
                Ok(Response::Done)
            }
        }
    }
}
