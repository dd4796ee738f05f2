//! Drills on places that change hands: a newcomer takes that of a dead node.

use std::time::Duration;

use quorate_control::state::{Command, ControlState, LogIndex};
use quorate_control::topology::{DEFAULT_KEYSPACE, Placement};
use quorate_crdt::NodeId;

use super::drill::{Drills, Verdict, holds};
use super::group::{admission, spec};
use crate::sim::cluster::{founding, run};
use crate::sim::layout::Layout;

pub(super) const DRILLS: Drills = &[
    ("replaced-is-awaited", "dead-node-holds", struck),
    ("place-by-own-number", "others-move", others),
    ("living-taken-for-lost", "living-replaced", living),
];

/// The placements of the keyspace `default`.
fn placements(state: &ControlState) -> Vec<Placement> {
    let keyspace = state.topology().keyspaces.get(&DEFAULT_KEYSPACE);
    keyspace.map_or_else(Vec::new, |keyspace| keyspace.placement.clone())
}

/// Four nodes of one datacenter, each partition held by three of them, before and after node 5 has
/// taken the place of node 2. The moves by which the four came together are passed over.
fn replaced() -> (Vec<Placement>, Vec<Placement>) {
    let mut state = ControlState::default();
    let mut index = 0;
    let mut apply = |state: &mut ControlState, command| {
        index += 1;
        state.apply(LogIndex(index), command)
    };
    apply(&mut state, founding(1, spec(1)));
    for number in 2..=4 {
        apply(&mut state, admission(spec(number)));
    }
    while let Some((node, placement, partition)) = owed(&state) {
        let report = Command::ReportMove {
            node,
            keyspace: DEFAULT_KEYSPACE,
            partitions: vec![partition],
            epoch: placement.epoch,
        };
        apply(&mut state, report);
    }
    let before = placements(&state);
    let mut replacement = admission(spec(5));
    if let Command::Admit { replaces, .. } = &mut replacement {
        *replaces = Some(NodeId(2));
    }
    apply(&mut state, replacement);
    (before, placements(&state))
}

/// A report that is still to be made.
fn owed(
    state: &ControlState,
) -> Option<(NodeId, Placement, quorate_control::topology::Partition)> {
    let topology = state.topology();
    let keyspace = topology.keyspaces.get(&DEFAULT_KEYSPACE)?;
    keyspace.partitions().find_map(|(partition, placement)| {
        let node = topology.nodes.keys().find(|node| placement.owes(**node).is_some())?;
        Some((*node, placement.clone(), partition))
    })
}

/// A dead node whose place was taken holds nothing, so that nobody waits for it.
fn struck() -> Verdict {
    let (before, after) = replaced();
    holds(
        before.iter().any(|placement| placement.holds(NodeId(2))),
        "node 2 held nothing",
    )?;
    let left = after.iter().filter(|placement| placement.holds(NodeId(2))).count();
    holds(left == 0, format!("a dead node still holds {left} partitions"))
}

/// The newcomer gets what the dead node held, and no other partition moves.
fn others() -> Verdict {
    let (before, after) = replaced();
    for (before, after) in before.iter().zip(&after) {
        let concerned = before.holds(NodeId(2));
        let gets = after.holds(NodeId(5));
        holds(
            concerned == gets && (concerned || before == after),
            format!("{before:?} became {after:?}"),
        )?;
    }
    Ok(())
}

/// A node that answers keeps its place, whoever asks for it.
fn living() -> Verdict {
    let played = run(1, Layout::new(1, 3), async |cluster| {
        cluster.invite(&"dc1".into(), Some("dc1-2".into()));
        cluster.pass(Duration::from_secs(15)).await;
        let topology = cluster.data(NodeId(1)).map(|data| data.topology());
        topology.is_some_and(|topology| topology.nodes.contains_key(&NodeId(2)))
    });
    let (stays, _) = played.map_err(|error| error.to_string())?;
    holds(stays, "a node that answers was replaced")
}
