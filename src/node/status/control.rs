//! Who leads the control group, as its voters say.

use std::collections::{BTreeMap, BTreeSet};

use quorate_control::quorum::majority;
use quorate_crdt::NodeId;

use crate::doors::ControlView;
use crate::node::figures::Answers;

/// How far the voters agree, and the leader that a majority of them follows. A leader that was cut
/// off goes on believing in itself for a while; the voters that have elected another one are in a
/// higher term.
pub(super) fn view(voters: &BTreeSet<NodeId>, answers: &Answers) -> (ControlView, Option<NodeId>) {
    let answered: Vec<_> = voters
        .iter()
        .filter_map(|voter| Some(answers.get(voter)?.as_ref()?.following))
        .collect();
    let mut following: BTreeMap<(u64, NodeId), u32> = BTreeMap::new();
    for told in &answered {
        if let Some(leader) = told.leader {
            *following.entry((told.term, leader)).or_default() += 1;
        }
    }
    let voters = voters.len();
    let newest = following.last_key_value();
    let view = ControlView {
        term: answered.iter().map(|told| told.term).max().unwrap_or(0),
        voters: voters as u32,
        answering: answered.len() as u32,
        following: newest.map_or(0, |(_, &count)| count),
    };
    let leader = newest.filter(|&(_, &count)| count as usize >= majority(voters));
    (view, leader.map(|(&(_, leader), _)| leader))
}
