//! Counting answers. One [`Tally`] serves reads, writes, moves (which count in the old and the new
//! replicas at once) and levels that ask every datacenter.
//!
//! ```
//! use quorate_control::quorum::{Group, Tally, Verdict, majority};
//! use quorate_crdt::NodeId;
//!
//! let members = vec![NodeId(1), NodeId(2), NodeId(3)];
//! let needed = majority(members.len());
//! let mut tally = Tally::new(&[Group { members, needed }])?;
//! assert_eq!(tally.ack(NodeId(1)), Verdict::Pending);
//! assert_eq!(tally.fail(NodeId(2)), Verdict::Pending);
//! assert_eq!(tally.ack(NodeId(3)), Verdict::Reached);
//! # Ok::<(), quorate_control::quorum::Unsatisfiable>(())
//! ```

use quorate_crdt::NodeId;

#[cfg(test)]
mod tests;

/// A demand: `needed` of `members` must answer. A member listed twice counts once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The nodes whose answers count.
    pub members: Vec<NodeId>,
    /// How many of them must answer. With 0 the group is reached from the start.
    pub needed: usize,
}

/// What the answers so far decide. Once it is `Reached` or `Impossible`, it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Further answers decide.
    Pending,
    /// Every group has the answers it needs.
    Reached,
    /// Some group can no longer get the answers it needs.
    Impossible,
}

/// A group needs more answers than it has members, so no answers could ever satisfy it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{needed} answers are needed but only {members} nodes count")]
pub struct Unsatisfiable {
    /// How many answers the group needs.
    pub needed: usize,
    /// How many different members it has.
    pub members: usize,
}

/// The least number that is more than half of `n`. Any two majorities of the same `n` nodes share a
/// node. `majority(0)` is 1, so a group without members can never reach it.
pub const fn majority(n: usize) -> usize {
    n / 2 + 1
}

/// Counts answers over several groups at once. It is reached when every group is, and impossible as
/// soon as one group cannot be reached any more.
///
/// **Laws:** the order in which different nodes answer does not matter. Of several answers of one
/// node the first counts. The answer of a node that is in no group changes nothing. Counting an
/// answer does not allocate.
#[derive(Clone, Debug)]
pub struct Tally {
    groups: Vec<Count>,
    /// Sorted by node and then by group. A node has one entry for each group that it is in.
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    needed: usize,
    size: usize,
    acked: usize,
    failed: usize,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    node: NodeId,
    group: usize,
    answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    None,
    Acked,
    Failed,
}

impl Tally {
    /// Starts to count. A tally without groups is reached from the start.
    ///
    /// # Errors
    /// [`Unsatisfiable`] for the first group that needs more answers than it has members.
    pub fn new(groups: &[Group]) -> Result<Self, Unsatisfiable> {
        let mut members = Vec::with_capacity(groups.iter().map(|group| group.members.len()).sum());
        let mut counts = Vec::with_capacity(groups.len());
        for (index, group) in groups.iter().enumerate() {
            members.extend(group.members.iter().map(|&node| Member {
                node,
                group: index,
                answer: Answer::None,
            }));
            counts.push(Count {
                needed: group.needed,
                size: 0,
                acked: 0,
                failed: 0,
            });
        }
        members.sort_unstable_by_key(|member| (member.node, member.group));
        members.dedup_by_key(|member| (member.node, member.group));
        for member in &members {
            counts[member.group].size += 1;
        }
        match counts.iter().find(|count| count.needed > count.size) {
            Some(count) => Err(Unsatisfiable {
                needed: count.needed,
                members: count.size,
            }),
            None => Ok(Self {
                groups: counts,
                members,
            }),
        }
    }

    /// Counts an answer of `node` that is as asked.
    pub fn ack(&mut self, node: NodeId) -> Verdict {
        self.answer(node, Answer::Acked)
    }

    /// Counts `node` as failed: it refused, or it is known to be out of reach.
    pub fn fail(&mut self, node: NodeId) -> Verdict {
        self.answer(node, Answer::Failed)
    }

    fn answer(&mut self, node: NodeId, answer: Answer) -> Verdict {
        let first = self.members.partition_point(|member| member.node < node);
        for member in self.members[first..]
            .iter_mut()
            .take_while(|member| member.node == node)
        {
            if member.answer == Answer::None {
                member.answer = answer;
                let count = &mut self.groups[member.group];
                *if answer == Answer::Acked {
                    &mut count.acked
                } else {
                    &mut count.failed
                } += 1;
            }
        }
        self.verdict()
    }

    /// What the answers so far decide.
    pub fn verdict(&self) -> Verdict {
        if self
            .groups
            .iter()
            .any(|count| count.failed > count.size - count.needed)
        {
            Verdict::Impossible
        } else if self.groups.iter().all(|count| count.acked >= count.needed) {
            Verdict::Reached
        } else {
            Verdict::Pending
        }
    }

    /// The group that lacks the most answers; the first of several.
    fn tightest(&self) -> Option<&Count> {
        self.groups
            .iter()
            .rev()
            .max_by_key(|count| count.needed.saturating_sub(count.acked))
    }

    /// How many members of the group that lacks the most answers have acked. Together with
    /// [`required`](Self::required) it is the "1 of 2" of an error message.
    pub fn acked(&self) -> usize {
        self.tightest().map_or(0, |count| count.acked)
    }

    /// How many answers the group that lacks the most answers needs.
    pub fn required(&self) -> usize {
        self.tightest().map_or(0, |count| count.needed)
    }

    /// Whether `node` is a member of any group.
    pub fn counts(&self, node: NodeId) -> bool {
        self.members
            .binary_search_by_key(&node, |member| member.node)
            .is_ok()
    }

    /// Every member of any group, once each, in ascending order.
    pub fn members(&self) -> impl Iterator<Item = NodeId> {
        self.distinct(|_| true)
    }

    /// Members that have neither acked nor failed, once each, in ascending order.
    pub fn silent(&self) -> impl Iterator<Item = NodeId> {
        self.distinct(|answer| answer == Answer::None)
    }

    /// Members that have not acked, including failed ones, once each, in ascending order.
    pub fn missing(&self) -> Vec<NodeId> {
        self.distinct(|answer| answer != Answer::Acked).collect()
    }

    fn distinct(&self, wanted: impl Fn(Answer) -> bool) -> impl Iterator<Item = NodeId> {
        let mut last = None;
        self.members
            .iter()
            .filter(move |member| wanted(member.answer))
            .map(|member| member.node)
            .filter(move |&node| last.replace(node) != Some(node))
    }
}
