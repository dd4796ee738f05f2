//! The door to one Raft group, and the documents about it: `quorate consensus` and
//! `/v1/consensus`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use quorate_control::quorum::majority;
use serde::{Deserialize, Serialize};

use super::pending::Pending;
use super::refused::AdminError;

/// A group in detail, as one node knows it. Unlike `GroupDetails` of `quorate-control`, it names
/// nodes as operators do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupView {
    /// The group.
    pub group: String,
    /// The node that answers.
    pub node: String,
    /// What it does in the group.
    pub role: String,
    /// The number of the current leadership.
    pub term: u64,
    /// The leader, as far as the node knows.
    pub leader: Option<String>,
    /// The voters; during a change, those of both sets.
    pub voters: Vec<String>,
    /// The nodes that follow without a vote.
    pub learners: Vec<String>,
    /// Whether the voters are being changed.
    pub joint: bool,
    /// How far the node is.
    #[serde(flatten)]
    pub log: LogView,
    /// On the leader: how many milliseconds ago a message was sent that a majority has answered
    /// since.
    pub majority_heard_ms: Option<u64>,
    /// The other members, as the leader knows them; empty on other nodes.
    pub followers: Vec<FollowerView>,
}

/// How far a node is in the log of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogView {
    /// The first entry that the node's log still has.
    pub first_log: u64,
    /// The last entry of the node's log.
    pub last_log: u64,
    /// Up to where the node knows that a majority has the log.
    pub committed: u64,
    /// The last entry that the node has applied.
    pub applied: u64,
    /// Up to where the node's snapshot goes.
    pub snapshot: Option<u64>,
}

/// Another member of a group, as the leader knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FollowerView {
    /// Its name.
    pub node: String,
    /// The last entry that it certainly has.
    pub matched: Option<u64>,
    /// How many entries it lacks at most.
    pub behind: u64,
    /// How many milliseconds ago it last answered.
    pub heard_ms: Option<u64>,
}

/// An entry of a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntryView {
    /// Its position.
    pub index: u64,
    /// The term of the leader that wrote it.
    pub term: u64,
    /// What it decides, in words and without secrets.
    pub what: String,
}

/// Who decides in a group, as its voters say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumView {
    /// The group.
    pub group: String,
    /// The leader that a majority of the voters follows.
    pub leader: Option<String>,
    /// The highest term that a voter has told.
    pub term: u64,
    /// The voters; during a change, those of both sets.
    pub voters: Vec<String>,
    /// Those that answer.
    pub answering: Vec<String>,
    /// How many a decision needs.
    pub needed: usize,
    /// Whether as many answer.
    pub quorate: bool,
    /// How many more may fail.
    pub spare: usize,
    /// What each of those says that answer.
    #[serde(default)]
    pub said: Vec<VoterView>,
}

/// What a voter says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VoterView {
    /// The voter.
    pub node: String,
    /// The highest term that it knows of.
    pub term: u64,
    /// Whom it follows.
    pub follows: Option<String>,
    /// The last entry of its log.
    pub last_log: u64,
    /// The last entry that it has applied.
    pub applied: u64,
    /// Whether it may not vote, because its directory may be older than one that it has run on.
    pub distrusted: bool,
    /// The entry at which its state differed from that of a majority; it takes no part any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs: Option<u64>,
}

impl QuorumView {
    /// What follows from what the voters say. The leader is the one of the highest term, if a
    /// majority follows it: one that was cut off believes in itself for a while.
    pub fn new(group: String, voters: Vec<String>, said: Vec<VoterView>) -> Self {
        let needed = majority(voters.len());
        let newest = said.iter().filter(|voter| voter.follows.is_some());
        let newest = newest.max_by_key(|voter| voter.term);
        let leader = newest.and_then(|newest| {
            let same =
                |voter: &&VoterView| (voter.term, &voter.follows) == (newest.term, &newest.follows);
            let followers = said.iter().filter(same).count();
            newest.follows.clone().filter(|_| followers >= needed)
        });
        let answering: Vec<String> = said.iter().map(|voter| voter.node.clone()).collect();
        Self {
            group,
            leader,
            term: said.iter().map(|voter| voter.term).max().unwrap_or(0),
            quorate: !voters.is_empty() && answering.len() >= needed,
            spare: answering.len().saturating_sub(needed),
            needed,
            voters,
            answering,
            said,
        }
    }

    /// The group as it would be without a node.
    #[must_use]
    pub fn without(self, node: &str) -> Self {
        let (mut voters, mut said) = (self.voters, self.said);
        voters.retain(|voter| voter != node);
        said.retain(|voter| voter.node != node);
        Self::new(self.group, voters, said)
    }
}

impl fmt::Display for QuorumView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let leader = self.leader.as_deref().unwrap_or("nobody");
        write!(
            f,
            "{}: {} of {} voters answer and {} are needed; {leader} leads in term {}; ",
            self.group,
            self.answering.len(),
            self.voters.len(),
            self.needed,
            self.term
        )?;
        match (self.quorate, self.spare) {
            (false, _) => f.write_str("nothing can be decided"),
            (true, 0) => f.write_str("no more may fail"),
            (true, 1) => f.write_str("1 more may fail"),
            (true, spare) => write!(f, "{spare} more may fail"),
        }
    }
}

/// The state of a group as one node has applied it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateView {
    /// The group.
    pub group: String,
    /// The node that answers.
    pub node: String,
    /// The last entry that it has applied.
    pub applied: u64,
    /// How much there is of what.
    pub figures: BTreeMap<String, u64>,
    /// The hashes of its last states at certain entries, in hexadecimal. All replicas have the
    /// same.
    pub hashes: BTreeMap<u64, String>,
}

/// What operators ask of one Raft group, through one node.
pub trait GroupDoor: Send + Sync {
    /// What the node knows of the group.
    fn view(&self) -> GroupView;

    /// The state as the node has applied it.
    fn state(&self) -> StateView;

    /// Who decides in the group, as its voters say.
    fn quorum(&self) -> Pending<QuorumView>;

    /// The last entries of the node's log, oldest first.
    ///
    /// # Errors
    /// [`AdminError::Stopping`] if the disk has failed.
    fn log(&self, entries: u64) -> Result<Vec<LogEntryView>, AdminError>;

    /// Has the leader hand over to a voter of this name, or to any other that has all entries.
    /// Answers who leads then.
    fn hand_over(&self, to: Option<&str>, within: Duration) -> Pending<Result<String, AdminError>>;

    /// Has the group elect a leader: another one if there is one.
    fn elect(&self, within: Duration) -> Pending<Result<String, AdminError>>;

    /// Has the node make a snapshot, and answers up to where it goes.
    fn snapshot(&self, within: Duration) -> Pending<Result<u64, AdminError>>;

    /// Has the node drop the entries of its log before this one, as far as its snapshot contains
    /// them. Answers the first entry that is left.
    fn compact(&self, before: u64, within: Duration) -> Pending<Result<u64, AdminError>>;
}

#[cfg(test)]
mod tests;
