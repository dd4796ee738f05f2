//! Proposing a command: to this node if it leads, to the leader otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use openraft::errors::{ClientWriteError, InitializeError, RaftError};
use quorate_crdt::NodeId;
use tokio::time::{Instant, sleep, timeout_at};

use super::error::{FoundError, ProposeError};
use super::group::{Boxed, ControlGroup};
use super::link::LinkError;
use super::messages::{Reply, Request};
use super::peer::CallError;
use crate::state::{Command, Response};

/// What one try came to.
enum Attempt {
    Done(Result<Response, ProposeError>),
    /// Certainly not applied, so it may be tried again.
    NotApplied,
}

impl ControlGroup {
    /// Makes a group of this node alone and founds the cluster in it. After a crash in between it
    /// may be called again. If the cluster has been founded already, the response is
    /// [`CommandRefusal::AlreadyFounded`](crate::state::CommandRefusal::AlreadyFounded).
    ///
    /// # Errors
    /// [`FoundError`].
    pub fn found(&self, command: Command) -> Boxed<'_, Result<Response, FoundError>> {
        Box::pin(self.found_once(command))
    }

    async fn found_once(&self, command: Command) -> Result<Response, FoundError> {
        let node = self.node();
        if node != NodeId(1) {
            return Err(FoundError::NotFirst { node });
        }
        #[expect(
            clippy::zero_sized_map_values,
            reason = "the engine's form of a set of nodes"
        )]
        let alone = BTreeMap::from([(node, openraft::EmptyNode::default())]);
        match self.inner.raft.initialize(alone).await {
            Ok(()) | Err(RaftError::APIError(InitializeError::NotAllowed(_))) => {}
            Err(error) => return Err(FoundError::Engine(Box::new(error))),
        }
        Ok(self
            .propose(command, self.inner.config.election_max * 20)
            .await?)
    }

    /// Has the group decide on a command, and returns the outcome. A command that may have been
    /// taken is never sent again, so it is applied at most once.
    ///
    /// # Errors
    /// [`ProposeError`], after `timeout` at the latest. A refusal is not an error but a
    /// [`Response::Refused`].
    pub fn propose(
        &self,
        command: Command,
        timeout: Duration,
    ) -> Boxed<'_, Result<Response, ProposeError>> {
        Box::pin(self.propose_until_known(command, timeout))
    }

    async fn propose_until_known(
        &self,
        command: Command,
        timeout: Duration,
    ) -> Result<Response, ProposeError> {
        let deadline = Instant::now() + timeout;
        loop {
            let attempt = match self.leader() {
                Some(leader) if leader == self.node() => {
                    self.propose_here(&command, deadline).await
                }
                Some(leader) => self.propose_at(leader, &command, deadline).await,
                None => Attempt::NotApplied,
            };
            if let Attempt::Done(result) = attempt {
                return result;
            }
            let pause = self.inner.config.heartbeat;
            if Instant::now() + pause >= deadline {
                return Err(ProposeError::NoLeader);
            }
            sleep(pause).await;
        }
    }

    /// The leader's side of a forwarded proposal: one try, because only the node that first took
    /// the proposal may repeat it.
    pub(super) async fn propose_once(
        &self,
        command: &Command,
        timeout: Duration,
    ) -> Result<Response, ProposeError> {
        match self.propose_here(command, Instant::now() + timeout).await {
            Attempt::Done(result) => result,
            Attempt::NotApplied => Err(ProposeError::NoLeader),
        }
    }

    async fn propose_here(&self, command: &Command, deadline: Instant) -> Attempt {
        Attempt::Done(
            match timeout_at(deadline, self.inner.raft.client_write(command.clone())).await {
                Ok(Ok(written)) => Ok(written.data),
                Ok(Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)))) => {
                    Err(ProposeError::LeaderChanged)
                }
                Ok(Err(RaftError::APIError(_))) => return Attempt::NotApplied,
                Ok(Err(RaftError::Fatal(_))) => Err(ProposeError::Stopping),
                Err(_elapsed) => Err(ProposeError::TimedOut {
                    may_be_applied: true,
                }),
            },
        )
    }

    async fn propose_at(&self, leader: NodeId, command: &Command, deadline: Instant) -> Attempt {
        let timeout = deadline.saturating_duration_since(Instant::now());
        let request = Request::Propose {
            command: command.clone(),
            timeout,
        };
        match self.peer(leader).call(&request, timeout).await {
            Ok(Reply::Proposed(Err(ProposeError::NoLeader)))
            | Err(CallError::Link(LinkError::Unreachable) | CallError::Served(_)) => {
                Attempt::NotApplied
            }
            Ok(Reply::Proposed(result)) => Attempt::Done(result),
            Ok(_) | Err(_) => Attempt::Done(Err(ProposeError::TimedOut {
                may_be_applied: true,
            })),
        }
    }
}
