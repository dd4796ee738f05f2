//! Why a node does not start.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use quorate_control::consensus::{FoundError, OpenError};
use quorate_control::state::CommandRefusal;
use quorate_control::store::StoreError;
use quorate_gossip::quic::{BindError, JoinError, KeyError};
use quorate_gossip::token::TokenError;
use quorate_gossip::wire::WireError;

use crate::store::DataDirError;

/// A node that did not start. Unless the variant says otherwise, nothing was left behind that would
/// stop a second attempt.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// A node was expected in the directory, and nothing of one is there. Nothing was created: an
    /// empty directory may be one whose disk is not mounted.
    #[error(
        "{} holds no node; to make a new cluster, start with --found; to join one, with --join HOST:PORT and --token TOKEN; if a node was here before, is its disk mounted?",
        dir.display()
    )]
    NoNode {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory says who the node is, but its store is empty. A node that has lost its vote
    /// and its log must not go on under its number.
    #[error(
        "{} belongs to node {node}, but its store is empty; if the data is gone, remove {node} from its cluster with --lost, and let a node join with an empty directory",
        dir.display()
    )]
    StoreLost {
        /// The directory.
        dir: PathBuf,
        /// The name of the node.
        node: Box<str>,
    },
    /// Another version of the program wrote the data in another format. Nothing of it was read or
    /// changed.
    #[error(
        "the data has format {}, and this program reads format {supported}: start the version that wrote it, or let the node join again with an empty directory",
        .found.map_or_else(|| "0 (unnumbered)".to_owned(), |found| found.to_string())
    )]
    Format {
        /// The format of the data; `None` if the store does not say.
        found: Option<u16>,
        /// The format that this program reads.
        supported: u16,
    },
    /// The configuration describes another node, or another place, than the data directory.
    #[error(
        "the data directory belongs to a node whose {what} is {kept}; the configuration says {configured}"
    )]
    Misplaced {
        /// The setting that differs.
        what: &'static str,
        /// Its value in the directory.
        kept: Box<str>,
        /// Its value in the configuration.
        configured: Box<str>,
    },
    /// The configuration says to join, but the directory was about to found a cluster of its own,
    /// and may already have done so.
    #[error(
        "the data directory was founding a cluster when its node was killed: start it with --found to finish, or empty the directory to join another cluster"
    )]
    Founding,
    /// The cluster has removed this node.
    #[error(
        "this node was removed from its cluster: let it join anew, with an empty data directory"
    )]
    Removed,
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The node's key cannot be made or read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The directory says which node it belongs to, but the file `key` is gone. The other nodes
    /// would not believe it.
    #[error(
        "the data directory has lost its file `key`: put it back from a copy, or remove the node from the cluster and let it join again with an empty directory"
    )]
    KeyLost,
    /// The text given as join token is not one.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The file that holds the join token cannot be read.
    #[error("the file with the join token cannot be read")]
    TokenFile(#[source] io::Error),
    /// The cluster did not admit the node.
    #[error("the node could not join")]
    Join(#[from] JoinError),
    /// The members are on other machines, and could not dial the node.
    #[error(
        "the other nodes would be told to dial {told}, where only this machine reaches it; the cluster is at {member}: give --quic or --advertise an address that they can dial"
    )]
    OnlyHere {
        /// What they would be told.
        told: SocketAddr,
        /// Where a member is.
        member: SocketAddr,
    },
    /// The topology that came with the admission cannot be read: another version of the program
    /// wrote it.
    #[error("the cluster's topology cannot be read")]
    Topology(#[from] WireError),
    /// The operating system gave no port.
    #[error("no port to listen at")]
    Port(#[source] io::Error),
    /// The node cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The control group did not start.
    #[error(transparent)]
    Control(#[from] OpenError),
    /// The founding of the cluster was not finished. The next start of the same directory goes on
    /// with it.
    #[error("the cluster could not be founded")]
    Found(#[from] FoundError),
    /// The control group refused to found the cluster. [`CommandRefusal::AlreadyFounded`] means
    /// that the store holds a cluster and the directory has lost the keys to it: only an empty
    /// directory can start again.
    #[error(
        "the cluster could not be founded ({0}): the data directory must be emptied before it can found or join one"
    )]
    FoundRefused(CommandRefusal),
    /// The operating system gave no thread or no runtime.
    #[error("the node's threads could not be started")]
    Threads(#[source] io::Error),
    /// The disk failed while the node started.
    #[error(transparent)]
    Failed(Arc<StoreError>),
    /// The node's thread ended before the node was up.
    #[error("the node ended while it started")]
    Ended,
}
