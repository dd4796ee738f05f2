//! Drills on places that change hands: a newcomer takes that of a dead node, a node is drained.

use std::time::Duration;

use quorate_control::state::{Command, ControlState, LogIndex, NodeSpec, Response};
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
    ("drained-is-awaited", "move-does-not-end", drained),
    ("drained-votes", "drained-node-votes", voteless),
    ("witness-holds", "data-on-a-witness", witness),
];

/// The control group's state and the length of its log.
struct Decided {
    state: ControlState,
    index: u64,
}

impl Decided {
    /// Four nodes of one datacenter at rest; each partition is held by three of them.
    fn four() -> Self {
        let mut decided = Self {
            state: ControlState::default(),
            index: 0,
        };
        decided.apply(founding(1, spec(1)));
        for number in 2..=4 {
            decided.apply(admission(spec(number)));
        }
        decided.settle(None);
        decided
    }

    fn apply(&mut self, command: Command) -> Response {
        self.index += 1;
        self.state.apply(LogIndex(self.index), command)
    }

    /// Every node but `silent` reports all that it owes.
    fn settle(&mut self, silent: Option<NodeId>) {
        while let Some(report) = self.owed(silent) {
            self.apply(report);
        }
    }

    fn owed(&self, silent: Option<NodeId>) -> Option<Command> {
        let topology = self.state.topology();
        let keyspace = topology.keyspaces.get(&DEFAULT_KEYSPACE)?;
        keyspace.partitions().find_map(|(partition, placement)| {
            let owes = |node: &&NodeId| placement.owes(**node).is_some() && silent != Some(**node);
            Some(Command::ReportMove {
                node: *topology.nodes.keys().find(owes)?,
                keyspace: DEFAULT_KEYSPACE,
                partitions: vec![partition],
                epoch: placement.epoch,
            })
        })
    }

    /// The placements of the keyspace `default`.
    fn placements(&self) -> Vec<Placement> {
        let keyspace = self.state.topology().keyspaces.get(&DEFAULT_KEYSPACE);
        keyspace.map_or_else(Vec::new, |keyspace| keyspace.placement.clone())
    }
}

/// How many of these the node holds.
fn held(placements: &[Placement], node: u64) -> usize {
    let holds = |placement: &&Placement| placement.holds(NodeId(node));
    placements.iter().filter(holds).count()
}

/// The placements before and after node 5 has taken the place of node 2.
fn replaced() -> (Vec<Placement>, Vec<Placement>) {
    let mut decided = Decided::four();
    let before = decided.placements();
    let mut replacement = admission(spec(5));
    if let Command::Admit { replaces, .. } = &mut replacement {
        *replaces = Some(NodeId(2));
    }
    decided.apply(replacement);
    (before, decided.placements())
}

/// A dead node whose place was taken holds nothing, so that nobody waits for it.
fn struck() -> Verdict {
    let (before, after) = replaced();
    holds(held(&before, 2) > 0, "node 2 held nothing")?;
    let left = held(&after, 2);
    holds(
        left == 0,
        format!("a dead node still holds {left} partitions"),
    )
}

/// The newcomer gets what the dead node held, and no other partition moves.
fn others() -> Verdict {
    let (before, after) = replaced();
    for (before, after) in before.iter().zip(&after) {
        let (had, gets) = (before.holds(NodeId(2)), after.holds(NodeId(5)));
        holds(
            had == gets && (had || before == after),
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

/// Node 3 is being drained.
fn draining() -> Result<Decided, String> {
    let mut decided = Decided::four();
    let node = NodeId(3);
    let answer = decided.apply(Command::DrainNode {
        node,
        drained: true,
    });
    holds(answer == Response::Done, format!("{answer:?}"))?;
    Ok(decided)
}

/// A node that is being drained does not hold a move up, even if it dies meanwhile.
fn drained() -> Verdict {
    let mut decided = draining()?;
    decided.settle(Some(NodeId(3)));
    let left = held(&decided.placements(), 3);
    holds(
        left == 0,
        format!("a drained node still holds {left} partitions"),
    )
}

/// A drained node does not vote, so that it can be stopped.
fn voteless() -> Verdict {
    let voters: Vec<_> = draining()?.state.topology().voters().collect();
    holds(
        !voters.contains(&NodeId(3)) && voters.len() == 3,
        format!("the voters are {voters:?}"),
    )
}

/// A witness votes and holds nothing.
fn witness() -> Verdict {
    let mut decided = Decided {
        state: ControlState::default(),
        index: 0,
    };
    decided.apply(founding(1, spec(1)));
    decided.apply(admission(spec(2)));
    decided.apply(admission(NodeSpec {
        witness: true,
        ..spec(3)
    }));
    decided.settle(None);
    let topology = decided.state.topology();
    let keyspaces = topology.keyspaces.values();
    let placements = keyspaces.flat_map(|keyspace| &keyspace.placement);
    let held = placements.filter(|it| it.holds(NodeId(3))).count();
    let voters = topology.voters().count();
    holds(
        (held, voters) == (0, 3),
        format!("a witness holds {held} partitions, and {voters} of three nodes vote"),
    )
}
