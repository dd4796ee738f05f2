//! Counting answers: one [`Tally`] serves reads, writes, moves (old and new replicas at once) and
//! levels that ask every datacenter.

use quorate_crdt::NodeId;

#[cfg(test)]
mod tests;

/// `needed` of `members` must answer. A member listed twice counts once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// The nodes whose answers count.
    pub members: Vec<NodeId>,
    /// How many of them must answer; 0 is reached from the start.
    pub needed: usize,
}

/// What the answers so far decide. Once it is not `Pending` it never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// More answers can still decide either way.
    Pending,
    /// Every group has the answers it needs.
    Reached,
    /// Some group can no longer get them.
    Impossible,
}

/// A group asks for more members than it has: no answer could ever satisfy it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{needed} answers are needed but only {members} nodes count")]
pub struct Unsatisfiable {
    /// Answers the group needs.
    pub needed: usize,
    /// Distinct members it has.
    pub members: usize,
}

/// More than half of `n`: any two majorities of the same `n` nodes share a node. `majority(0)` is
/// 1, which no group without members can reach.
pub const fn majority(n: usize) -> usize {
    n / 2 + 1
}

/// Counts answers over several groups at once: reached when every group is, impossible when one
/// cannot be any more.
///
/// **Law:** the verdict does not depend on the order of answers of different nodes; of several
/// answers of one node the first counts; an answer of a node that is in no group changes nothing.
/// Answering does not allocate.
#[derive(Clone, Debug)]
pub struct Tally {
    groups: Vec<Count>,
    /// Sorted by node and then group; a node has one entry for each group it is in.
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
    /// Starts to count. Without any group it is reached from the start.
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

    /// `node` answered as it was asked to.
    pub fn ack(&mut self, node: NodeId) -> Verdict {
        self.answer(node, Answer::Acked)
    }

    /// `node` will not answer as it was asked to: it refused, or it is known to be out of reach.
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

    /// The group that lacks most answers; of equals the first.
    fn tightest(&self) -> Option<&Count> {
        self.groups
            .iter()
            .rev()
            .max_by_key(|count| count.needed.saturating_sub(count.acked))
    }

    /// Positive answers in the group that lacks most; with [`required`](Self::required) it is the
    /// "1 of 2" of an error.
    pub fn acked(&self) -> usize {
        self.tightest().map_or(0, |count| count.acked)
    }

    /// Answers that the group which lacks most needs.
    pub fn required(&self) -> usize {
        self.tightest().map_or(0, |count| count.needed)
    }

    /// Whether `node`'s answer counts in any group.
    pub fn counts(&self, node: NodeId) -> bool {
        self.members
            .binary_search_by_key(&node, |member| member.node)
            .is_ok()
    }

    /// Every node whose answer counts, once each, in ascending order.
    pub fn members(&self) -> impl Iterator<Item = NodeId> {
        self.distinct(|_| true)
    }

    /// Members that have neither acked nor failed, once each, in ascending order.
    pub fn silent(&self) -> impl Iterator<Item = NodeId> {
        self.distinct(|answer| answer == Answer::None)
    }

    /// Members that have not acked, failed ones included, once each, in ascending order.
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
