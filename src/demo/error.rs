//! Why a demo showed nothing.

use std::io;

use super::plan::PlanError;
use crate::faces::resp::client::ClientError;
use crate::node::StartError;

/// Why a demo showed nothing. Its nodes have been stopped and its directory removed, unless the
/// variant says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DemoError {
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An error with directories, sockets or the terminal. If the demo's directory could not be
    /// removed, the error names it.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A node failed to start.
    #[error("{node} did not start")]
    Start {
        /// The node's name.
        node: String,
        /// Why it failed.
        source: StartError,
    },
    /// A client's connection to a node failed.
    #[error("a client's connection to a node failed")]
    Client(#[from] ClientError),
    /// Something did not happen in time.
    #[error("gave up waiting for {what} after {seconds} s")]
    Stuck {
        /// What was waited for.
        what: &'static str,
        /// How long, in seconds.
        seconds: u64,
    },
    /// A task of the demo panicked; stderr has the message.
    #[error("a task of the demo stopped unexpectedly")]
    Stopped,
    /// The user ended the demo.
    #[error("interrupted before there was a verdict")]
    Interrupted,
    /// The demo ran to its end, but something did not hold.
    #[error("the demo did not show what it should")]
    NotHeld,
}
