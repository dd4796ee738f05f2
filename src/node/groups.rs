//! The doors to the Raft groups of a node: what operators ask of one of them.

use std::sync::Arc;
use std::time::Duration;

use quorate_control::consensus::{
    FollowerDetails, Group, GroupStatus, HandOverError, LogLine, Machine, ProposeError, Role,
    VoteTrust,
};
use quorate_control::state::LogIndex;
use quorate_crdt::NodeId;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use super::shared::Shared;
use crate::doors::{
    AdminError, FollowerView, GroupDoor, GroupView, LogEntryView, LogView, Pending, QuorumView,
    StateView, VoterView, short_name_of,
};

/// How often a snapshot or a compaction that was begun is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a voter may take to say what it knows.
const SURVEY_WITHIN: Duration = Duration::from_secs(1);
/// The most entries of a log that are told at once.
const LOG_ENTRIES_MAX: u64 = 10_000;

/// One group of a node.
pub(super) struct GroupAt<M: Machine> {
    group: Group<M>,
    shared: Arc<Shared>,
    runtime: Handle,
}

impl<M: Machine> GroupAt<M> {
    /// The door to this group, if it has the name.
    pub(super) fn named(
        name: &str,
        group: &Group<M>,
        shared: &Arc<Shared>,
        runtime: &Handle,
    ) -> Option<Arc<dyn GroupDoor>> {
        (group.id().to_string() == name).then(|| {
            Arc::new(Self {
                group: group.clone(),
                shared: Arc::clone(shared),
                runtime: runtime.clone(),
            }) as Arc<dyn GroupDoor>
        })
    }

    fn name(&self, node: NodeId) -> String {
        short_name_of(node, &self.shared.hub.topology())
    }

    /// Answers when `answer` is known.
    fn later<T: Send + 'static>(
        &self,
        answer: impl Future<Output = Result<T, AdminError>> + Send + 'static,
    ) -> Pending<Result<T, AdminError>> {
        let (sender, pending) = oneshot::channel();
        // Whoever asked may have gone.
        self.runtime
            .spawn(async move { drop(sender.send(answer.await)) });
        pending
    }

    /// What a refusal to hand over means.
    fn refused(shared: &Shared, error: HandOverError) -> AdminError {
        let name = |node| short_name_of(node, &shared.hub.topology()).into();
        match error {
            HandOverError::NoLeader => AdminError::NoQuorum,
            HandOverError::Witness { node } => AdminError::Witness(name(node)),
            HandOverError::NotAVoter { node } => AdminError::NotAVoter(name(node)),
            HandOverError::Behind { node, entries } => AdminError::Behind {
                node: name(node),
                entries,
            },
            HandOverError::Nobody => AdminError::NoHeir,
            // Nobody has said yet who leads.
            _ => AdminError::TimedOut,
        }
    }
}

fn stopping(_: ProposeError) -> AdminError {
    AdminError::Stopping
}

/// Looks until there is something, or until the time is over.
async fn wait_for<T>(
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, AdminError> {
    let until = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() >= until {
            return Err(AdminError::TimedOut);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Leader => "leader",
        Role::Follower => "follower",
        Role::Candidate => "candidate",
        Role::Learner => "learner",
        Role::Absent => "absent",
    }
}

impl<M: Machine> GroupDoor for GroupAt<M> {
    fn view(&self) -> GroupView {
        let (status, details) = (self.group.status(), self.group.details());
        let name = |node: &NodeId| self.name(*node);
        let follower = |follower: &FollowerDetails| FollowerView {
            node: self.name(follower.node),
            matched: follower.matched.map(|index| index.0),
            behind: follower.behind,
            heard_ms: follower.heard.map(millis),
        };
        GroupView {
            group: self.group.id().to_string(),
            node: self.name(self.group.node()),
            role: role(status.role).to_owned(),
            term: status.term,
            leader: status.leader.as_ref().map(name),
            voters: status.voters.iter().map(name).collect(),
            learners: status.learners.iter().map(name).collect(),
            joint: status.joint,
            log: LogView {
                first_log: details.first_log.0,
                last_log: status.last_log.0,
                committed: details.committed.0,
                applied: status.applied.0,
                snapshot: details.snapshot.map(|index| index.0),
            },
            majority_heard_ms: details.majority_heard.map(millis),
            followers: details.followers.iter().map(follower).collect(),
        }
    }

    fn state(&self) -> StateView {
        let figures = self.group.figures().into_iter();
        let GroupStatus { applied, marks, .. } = self.group.status();
        StateView {
            group: self.group.id().to_string(),
            node: self.name(self.group.node()),
            applied: applied.0,
            figures: figures
                .map(|(what, figure)| (what.to_owned(), figure))
                .collect(),
            hashes: marks
                .iter()
                .map(|mark| (mark.index.0, format!("{:032x}", mark.hash)))
                .collect(),
        }
    }

    fn quorum(&self) -> Pending<QuorumView> {
        let (group, shared) = (self.group.clone(), Arc::clone(&self.shared));
        let (sender, pending) = oneshot::channel();
        self.runtime.spawn(async move {
            let survey = group.survey(SURVEY_WITHIN).await;
            let topology = shared.hub.topology();
            let name = |node| short_name_of(node, &topology);
            let said = survey.iter().filter_map(|(&node, said)| {
                let said = said.as_ref()?;
                Some(VoterView {
                    node: name(node),
                    term: said.term,
                    follows: said.leader.map(name),
                    last_log: said.last_log.0,
                    applied: said.applied.0,
                    distrusted: said.standing == VoteTrust::Forgetful,
                    differs: said.differs.map(|index| index.0),
                })
            });
            let voters = survey.keys().map(|&voter| name(voter)).collect();
            let view = QuorumView::new(group.id().to_string(), voters, said.collect());
            // Whoever asked may have gone.
            drop(sender.send(view));
        });
        pending
    }

    fn log(&self, entries: u64) -> Result<Vec<LogEntryView>, AdminError> {
        let tail = self.group.log_tail(entries.min(LOG_ENTRIES_MAX));
        let line = |LogLine { index, term, kind }| LogEntryView {
            index: index.0,
            term,
            what: kind.to_string(),
        };
        let tail = tail.map_err(|_disk_has_failed| AdminError::Stopping)?;
        Ok(tail.into_iter().map(line).collect())
    }

    fn hand_over(&self, to: Option<&str>, within: Duration) -> Pending<Result<String, AdminError>> {
        let topology = self.shared.hub.topology();
        let to = match to {
            None => Ok(None),
            Some(name) => match topology.node_named(name) {
                Some((node, _)) => Ok(Some(node)),
                None => Err(AdminError::UnknownNode(name.into())),
            },
        };
        let (group, shared) = (self.group.clone(), Arc::clone(&self.shared));
        self.later(async move {
            let led = group.hand_over(to?, within).await;
            let leader = led.map_err(|error| Self::refused(&shared, error))?;
            Ok(short_name_of(leader, &shared.hub.topology()))
        })
    }

    fn elect(&self, within: Duration) -> Pending<Result<String, AdminError>> {
        let (group, shared) = (self.group.clone(), Arc::clone(&self.shared));
        self.later(async move {
            let leader = match group.hand_over(None, within).await {
                // Nobody leads, so nobody keeps the voters from electing this node.
                Err(HandOverError::NoLeader) => {
                    group.stand_for_election().await.map_err(stopping)?;
                    wait_for(within, || group.leader()).await?
                }
                led => led.map_err(|error| Self::refused(&shared, error))?,
            };
            Ok(short_name_of(leader, &shared.hub.topology()))
        })
    }

    fn snapshot(&self, within: Duration) -> Pending<Result<u64, AdminError>> {
        let group = self.group.clone();
        self.later(async move {
            let applied = group.status().applied;
            group.snapshot().await.map_err(stopping)?;
            let made = || group.details().snapshot.filter(|made| *made >= applied);
            wait_for(within, made).await.map(|index| index.0)
        })
    }

    fn compact(&self, before: u64, within: Duration) -> Pending<Result<u64, AdminError>> {
        let group = self.group.clone();
        self.later(async move {
            let details = group.details();
            let reaches = details.snapshot.map_or(0, |index| index.0 + 1);
            if before > reaches {
                return Err(AdminError::NotInSnapshot { before, reaches });
            }
            group.compact(LogIndex(before)).await.map_err(stopping)?;
            let dropped = || Some(group.details().first_log.0).filter(|first| *first >= before);
            wait_for(within, dropped).await
        })
    }
}
