//! Compares what the nodes have applied in the coordination group: at one index all have the same
//! state, tokens never fall, and whoever holds alone is alone.

use std::collections::BTreeMap;

use quorate_control::consensus::Role;
use quorate_control::coordinate::{Coordination, CoordinationAnswer, CoordinationQuery, LockMode};
use quorate_control::topology::FencingToken;
use quorate_crdt::NodeId;

use super::cluster::Simulation;
use crate::node::Started;

/// What was seen at one index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    node: NodeId,
    hash: u128,
    highest: FencingToken,
}

/// What was seen of the group so far.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    /// By the index that was applied.
    seen: BTreeMap<u64, Seen>,
}

impl Agreement {
    /// Looks at every node.
    pub(super) fn look(&mut self, cluster: &Simulation) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for (&node, host) in &cluster.hosts {
            let Some(status) = host.started(Started::coordination) else {
                continue;
            };
            if status.role == Role::Absent {
                continue;
            }
            let shown = host.started(|started| {
                started.coordinated(|state| (state.hash(), state.highest(), two_alone(state)))
            });
            let Some((hash, highest, two)) = shown else {
                continue;
            };
            found.extend(two.map(|lock| {
                let what = format!("node {}: several hold {lock} alone", node.0);
                ("held-by-two", what)
            }));
            let seen = Seen {
                node,
                hash,
                highest,
            };
            found.extend(self.compare(status.applied.0, seen));
        }
        found
    }

    fn compare(&mut self, index: u64, now: Seen) -> Option<(&'static str, String)> {
        let first = *self.seen.entry(index).or_insert(now);
        if first.hash != now.hash {
            let what = format!(
                "at index {index}, the state of the coordination group is {:x} on node {} and {:x} on node {}",
                first.hash, first.node.0, now.hash, now.node.0
            );
            return Some(("states-differ", what));
        }
        let before = self.seen.range(..index).next_back();
        let after = self.seen.range(index + 1..).next();
        let fell = before.is_some_and(|(_, before)| before.highest > now.highest)
            || after.is_some_and(|(_, after)| after.highest < now.highest);
        fell.then(|| {
            let what = format!(
                "at index {index}, node {} has granted tokens up to {}, but {before:?} and {after:?}",
                now.node.0, now.highest.0
            );
            ("token-fell", what)
        })
    }
}

/// A lock that several hold although one of them holds it alone.
fn two_alone(state: &Coordination) -> Option<String> {
    let CoordinationAnswer::Locks(locks) =
        state.answer(&CoordinationQuery::Locks { held_by: None })
    else {
        return None;
    };
    let two = locks
        .into_iter()
        .find(|lock| lock.mode == LockMode::Exclusive && lock.holders.len() != 1)?;
    Some(two.name.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(node: u64, hash: u128, highest: u64) -> Seen {
        Seen {
            node: NodeId(node),
            hash,
            highest: FencingToken(highest),
        }
    }

    #[test]
    fn states_that_differ_and_tokens_that_fall_are_found() {
        let mut agreement = Agreement::default();
        assert_eq!(agreement.compare(5, seen(1, 7, 3)), None);
        assert_eq!(agreement.compare(5, seen(2, 7, 3)), None);
        assert_eq!(agreement.compare(9, seen(1, 8, 4)), None);
        let differs = agreement.compare(5, seen(3, 8, 3));
        assert!(differs.is_some_and(|(check, _)| check == "states-differ"));
        let fell = agreement.compare(10, seen(1, 9, 3));
        assert!(fell.is_some_and(|(check, _)| check == "token-fell"));
        let fell = agreement.compare(4, seen(1, 9, 5));
        assert!(fell.is_some_and(|(check, _)| check == "token-fell"));
    }
}
