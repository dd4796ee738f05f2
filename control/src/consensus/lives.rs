//! Whether this node may vote: not if its directory is older than one that it has run on.
//!
//! A directory that was restored from a backup, or a copy that is started elsewhere, has forgotten
//! votes and entries that the node has promised to keep. With them a node could vote twice in one
//! term, or elect a leader that lacks a decision. It cannot tell by itself: the directory is in
//! order.
//!
//! So every start is a *life* with a number drawn at random, and a directory remembers its lives. A
//! node tells every voter of its life before it votes. Whoever is told remembers the newest life of
//! every node, durably, and objects if it knows one that the directory does not remember. A node
//! that nobody objects to, and that a majority of the voters knows, may vote. One that somebody
//! objects to never votes again under its number.
//!
//! **Limit:** only those who were told can object. If the last lives of a node were told only to
//! voters that are gone, an old directory passes.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::watch::WatchReceiver;
use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::apply::Raft;
use super::codec::seal;
use super::log::Disk;
use super::messages::{Reply, Request};
use super::peer::Peer;
use super::status::VoteTrust;
use crate::planted::OLD_DISK_VOTES;
use crate::quorum::majority;
use crate::store::StoreError;

/// The lives of this node, in its own directory.
const OWN: &[u8] = b"lives";
/// Before the number of another node: the newest life of it that this node has been told of.
const OTHER: &[u8] = b"newest-life:";
/// How many lives a directory remembers. A voter that was away for more starts of a node than this
/// objects without need. Guess: eight kilobytes.
const REMEMBERED_MAX: usize = 1000;
/// How long to wait before those that have not answered are asked again. Guess.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a voter may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Record {
    /// Oldest first; the last one is the present life.
    lives: Vec<u64>,
    forgetful: bool,
}

/// The lives of this node, and those of others that it has been told of.
pub(super) struct Lives {
    disk: Disk,
    me: NodeId,
    record: Record,
    standing: watch::Sender<VoteTrust>,
}

impl Lives {
    /// The record of a node that an administrator trusts all the same, to be written.
    pub(super) fn pardoned(disk: &Disk) -> Result<Option<(Vec<u8>, Bytes)>, StoreError> {
        let record: Option<Record> = disk.read(OWN, "the node's lives")?;
        let pardon = |record: Record| {
            let pardoned = Record {
                forgetful: false,
                ..record
            };
            seal(OWN, &pardoned).map(|sealed| (OWN.to_vec(), sealed))
        };
        let sealed = record.map(pardon).transpose();
        sealed.map_err(|error| stopped(io::Error::other(error)))
    }

    /// Begins a life, durably. `life` must differ at every start.
    pub(super) async fn begin(disk: Disk, me: NodeId, life: u64) -> Result<Self, StoreError> {
        let mut record: Record = disk.read(OWN, "the node's lives")?.unwrap_or_default();
        record.lives.push(life);
        let excess = record.lives.len().saturating_sub(REMEMBERED_MAX);
        record.lives.drain(..excess);
        let standing = if record.forgetful {
            VoteTrust::Forgetful
        } else {
            VoteTrust::InDoubt
        };
        let lives = Self {
            disk,
            me,
            record,
            standing: watch::Sender::new(standing),
        };
        lives.keep(&lives.record).await.map_err(stopped)?;
        Ok(lives)
    }

    pub(super) fn standing(&self) -> VoteTrust {
        *self.standing.borrow()
    }

    /// The standing, and every later one.
    pub(super) fn standings(&self) -> watch::Receiver<VoteTrust> {
        self.standing.subscribe()
    }

    /// Whether the node may give its vote to anybody.
    pub(super) fn may_vote(&self) -> bool {
        self.standing() == VoteTrust::Trusted || OLD_DISK_VOTES.is_planted()
    }

    async fn keep(&self, record: &Record) -> io::Result<()> {
        self.disk.write(OWN.to_vec(), record)?;
        self.disk.durable().await
    }

    /// Hears of the present life of `node`. Returns whether its directory remembers the newest one
    /// that was heard of; then the present one is kept as the newest, durably.
    pub(super) async fn hear(&self, node: NodeId, lives: &[u64]) -> io::Result<bool> {
        let key = [OTHER, &node.0.to_be_bytes()].concat();
        let heard = self.disk.read::<u64>(&key, "another node's life");
        let heard = heard.map_err(io::Error::other)?;
        if heard.is_some_and(|newest| !lives.contains(&newest)) {
            return Ok(false);
        }
        let present = lives.last().copied();
        if let Some(present) = present.filter(|_| heard != present) {
            self.disk.write(key, &present)?;
        }
        // Also if it is not new: an earlier telling may not be durable yet.
        self.disk.durable().await?;
        Ok(true)
    }

    /// Tells every voter of the topology group of this life, old ones and those to come, until
    /// somebody objects. The node is trusted with votes once a majority knows.
    pub(super) async fn tell(
        self: Arc<Self>,
        mut running: watch::Receiver<Option<Raft>>,
        peer: Peer,
    ) {
        let mut told = BTreeSet::from([self.me]);
        while self.standing() != VoteTrust::Forgetful {
            let Some(raft) = (match running.wait_for(Option::is_some).await {
                Ok(raft) => raft.clone(),
                Err(_) => return,
            }) else {
                continue;
            };
            let mut metrics = raft.server_metrics();
            let configs = {
                let metrics = metrics.borrow_watched();
                let membership = metrics.membership_config.membership();
                membership.get_joint_config().clone()
            };
            let voters: BTreeSet<NodeId> = configs.iter().flatten().copied().collect();
            let ask: BTreeSet<NodeId> = voters.difference(&told).copied().collect();
            let all_told = ask.is_empty();
            let mut answers = self.ask(&peer, ask);
            while let Some(answer) = answers.join_next().await {
                match answer {
                    Ok((node, Some(true))) => drop(told.insert(node)),
                    Ok((node, Some(false))) => return self.forget(node).await,
                    Ok((_, None)) | Err(_) => {}
                }
            }
            let knows = |voters: &BTreeSet<NodeId>| {
                voters.intersection(&told).count() >= majority(voters.len())
            };
            let trusted = !voters.is_empty() && configs.iter().all(knows);
            if trusted && self.standing() != VoteTrust::Trusted {
                self.standing.send_replace(VoteTrust::Trusted);
            }
            if all_told {
                let changed = metrics.changed().await;
                if let Err(stopped) = changed {
                    // It may be started again.
                    tracing::trace!(%stopped, "the engine of the topology group has stopped");
                }
            }
            sleep(PAUSE).await;
        }
    }

    fn ask(&self, peer: &Peer, voters: BTreeSet<NodeId>) -> JoinSet<(NodeId, Option<bool>)> {
        let mut answers = JoinSet::new();
        for target in voters {
            let (lives, peer) = (self.record.lives.clone(), peer.to(target));
            answers.spawn(async move {
                let answer = peer.call(&Request::Life { lives }, ANSWER_WITHIN).await;
                match answer {
                    Ok(Reply::Life { remembers }) => (target, Some(remembers)),
                    _ => (target, None),
                }
            });
        }
        answers
    }

    /// Gives up voting for good.
    async fn forget(&self, objector: NodeId) {
        self.standing.send_replace(VoteTrust::Forgetful);
        tracing::error!(
            %objector,
            "the data directory is older than one that this node has run on: a restored backup or a copy? The node does not vote any more; replace it with a new one"
        );
        let record = Record {
            forgetful: true,
            ..self.record.clone()
        };
        if let Err(error) = self.keep(&record).await {
            tracing::error!(%error, "that this node must not vote could not be written down");
        }
    }
}

fn stopped(error: io::Error) -> StoreError {
    StoreError::Engine {
        engine: "control",
        operation: "write",
        source: Box::new(error),
    }
}
