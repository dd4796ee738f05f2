//! Proposing: here if this node leads, at the leader otherwise.

use std::time::Duration;

use openraft::errors::{ClientWriteError, RaftError};
use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, timeout_at};

use super::network::{CallError, LinkError, Reply, Request};
use super::{Boxed, ControlGroup};
use crate::state::{Command, Response};

/// A proposal without an answer. Every variant says what is now true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// No leader was found in time: this side has no majority of the voters. Not applied.
    #[error("the control group has no leader on this side")]
    NoLeader,
    /// No answer came in time.
    #[error("the control group did not decide in time")]
    TimedOut {
        /// Whether the command may have been applied, or may be later.
        may_be_applied: bool,
    },
    /// The leader was replaced while the command was on its way. It may have been applied, or may
    /// be later.
    #[error("the leader of the control group changed while it was deciding")]
    LeaderChanged,
    /// The node that took the command is stopping, or its disk has failed. It may have been
    /// applied, or may be later.
    #[error("the control group's node is stopping")]
    Stopping,
}

/// One try.
enum Attempt {
    Done(Result<Response, ProposeError>),
    /// Certainly not applied: it may be tried again.
    NotApplied,
}

impl ControlGroup {
    /// Has the group decide on a command and answers what became of it. A command that may have
    /// been taken is never sent twice, so it is applied at most once.
    ///
    /// # Errors
    /// [`ProposeError`], after `timeout` at the latest. A refusal is no error but a
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

    /// What a node answers to whom it leads: one try, because only the first proposer may repeat.
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
