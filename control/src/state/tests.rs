use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_crdt::{NodeId, PublicKey, Secret};

use super::*;
use crate::topology::{
    ClusterId, DEFAULT_KEYSPACE, Epoch, Keyspace, KeyspaceId, PARTITIONS_MAX, Partition, Phase,
    Placement, Replication, SplitPolicy, Topology,
};

mod quorums;
mod users;

/// A state machine with a log of its own.
struct Machine {
    state: ControlState,
    index: u64,
}

fn spec(name: &str, datacenter: &str) -> NodeSpec {
    let mut key = [0; 32];
    let shown = name.len().min(key.len());
    key[..shown].copy_from_slice(&name.as_bytes()[..shown]);
    NodeSpec {
        name: name.into(),
        datacenter: datacenter.into(),
        rack: "r1".into(),
        quic: "127.0.0.1:7381".into(),
        key: PublicKey(key),
        durable: true,
        witness: false,
    }
}

fn token(id: u64, uses: Option<u32>, expires_ms: Option<u64>) -> NewToken {
    NewToken {
        id: TokenId(id),
        verifier: Secret::new("open"),
        uses,
        expires_ms,
    }
}

fn refused(refusal: CommandRefusal) -> Response {
    Response::Refused(refusal)
}

fn admitted(node: u64) -> Response {
    Response::Admitted { node: NodeId(node) }
}

impl Machine {
    fn founded() -> Self {
        let mut machine = Self {
            state: ControlState::default(),
            index: 0,
        };
        let found = Command::Found {
            cluster: ClusterId(42),
            token: token(1, None, None),
            node: spec("n1", "a"),
            partitions: 64,
            at_ms: 1000,
        };
        assert_eq!(machine.apply(found), admitted(1));
        machine
    }

    fn apply(&mut self, command: Command) -> Response {
        self.index += 1;
        let before = self.state.clone();
        let response = self.state.apply(LogIndex(self.index), command);
        if let Response::Refused(_) = response {
            assert_eq!(self.state, before, "a refusal changes nothing");
        }
        let moved = *self.state.topology != *before.topology;
        assert_eq!(
            self.state.topology.epoch,
            if moved {
                Epoch(self.index)
            } else {
                before.topology.epoch
            }
        );
        response
    }

    fn admit(&mut self, id: u64, node: NodeSpec, at_ms: u64) -> Response {
        self.apply(Command::Admit {
            token: TokenId(id),
            node,
            replaces: None,
            at_ms,
        })
    }

    fn join(&mut self, name: &str, datacenter: &str) -> NodeId {
        match self.admit(1, spec(name, datacenter), 0) {
            Response::Admitted { node } => node,
            other => panic!("{other:?}"),
        }
    }

    fn remove(&mut self, node: u64, lost: bool) -> Response {
        self.apply(Command::RemoveNode {
            node: NodeId(node),
            lost,
        })
    }

    fn topology(&self) -> &Topology {
        self.state.topology()
    }

    fn default_keyspace(&self) -> &Keyspace {
        &self.topology().keyspaces[&DEFAULT_KEYSPACE]
    }

    fn phases(&self) -> BTreeMap<Option<Phase>, usize> {
        let mut phases = BTreeMap::new();
        for placement in self
            .topology()
            .keyspaces
            .values()
            .flat_map(|keyspace| &keyspace.placement)
        {
            *phases
                .entry(
                    placement
                        .transition
                        .as_ref()
                        .map(|transition| transition.phase),
                )
                .or_default() += 1;
        }
        phases
    }

    /// Every node except `silent` reports what it owes, once.
    fn report(&mut self, silent: &[u64]) {
        let topology = Arc::clone(self.state.topology());
        for (&id, keyspace) in &topology.keyspaces {
            for &node in topology
                .nodes
                .keys()
                .filter(|node| !silent.contains(&node.0))
            {
                let mut owed: BTreeMap<Epoch, Vec<Partition>> = BTreeMap::new();
                for (partition, placement) in keyspace
                    .partitions()
                    .filter(|(_, placement)| placement.owes(node).is_some())
                {
                    owed.entry(placement.epoch).or_default().push(partition);
                }
                for (epoch, partitions) in owed {
                    let reply = self.apply(Command::ReportMove {
                        node,
                        keyspace: id,
                        partitions,
                        epoch,
                    });
                    assert!(
                        matches!(
                            reply,
                            Response::Done | Response::Refused(CommandRefusal::UnknownNode { .. })
                        ),
                        "{reply:?}"
                    );
                }
            }
        }
    }

    fn settle(&mut self) {
        for _ in 0..12 {
            self.report(&[]);
        }
        assert_eq!(
            self.phases().keys().collect::<Vec<_>>(),
            [&None],
            "all moves have ended"
        );
    }

    fn voters(&self) -> Vec<u64> {
        self.topology().voters().map(|node| node.0).collect()
    }
}

#[test]
fn nothing_happens_before_the_founding_and_it_happens_once() {
    let mut machine = Machine {
        state: ControlState::default(),
        index: 0,
    };
    assert_eq!(
        machine.admit(1, spec("n1", "a"), 0),
        refused(CommandRefusal::NotFounded)
    );
    let mut machine = Machine::founded();
    let default = machine.default_keyspace();
    assert_eq!(
        (
            &*default.name,
            default.partition_count(),
            &*default.read,
            &*default.write
        ),
        ("default", 64, "LOCAL_QUORUM", "LOCAL_QUORUM")
    );
    assert!(
        default
            .placement
            .iter()
            .all(|placement| placement.replicas == [NodeId(1)])
    );
    let again = Command::Found {
        cluster: ClusterId(1),
        token: token(9, None, None),
        node: spec("m", "a"),
        partitions: 64,
        at_ms: 0,
    };
    assert_eq!(
        machine.apply(again),
        refused(CommandRefusal::AlreadyFounded)
    );
}

#[test]
fn a_token_opens_until_it_expires_or_is_used_up() {
    let mut machine = Machine::founded();
    assert_eq!(
        machine.apply(Command::CreateToken(token(2, Some(2), Some(5000)))),
        Response::Done
    );
    assert_eq!(
        machine.apply(Command::CreateToken(token(2, None, None))),
        refused(CommandRefusal::TokenExists)
    );
    assert_eq!(
        machine.admit(3, spec("n2", "a"), 0),
        refused(CommandRefusal::UnknownToken)
    );
    assert_eq!(
        machine.admit(2, spec("n2", "a"), 5000),
        refused(CommandRefusal::Expired)
    );
    assert_eq!(machine.admit(2, spec("n2", "a"), 4999), admitted(2));
    assert_eq!(
        machine.admit(2, spec("n2", "a"), 9999),
        admitted(2),
        "a retry is recognised, whatever the time"
    );
    assert_eq!(machine.admit(2, spec("n3", "a"), 0), admitted(3));
    assert_eq!(
        machine.admit(2, spec("n4", "a"), 0),
        refused(CommandRefusal::UsedUp)
    );
    assert_eq!(
        machine.admit(2, spec("n3", "a"), 0),
        admitted(3),
        "a retry does not need another use"
    );
    assert_eq!(
        machine.apply(Command::RevokeToken(TokenId(1))),
        Response::Done
    );
    assert_eq!(
        machine.admit(1, spec("n4", "a"), 0),
        refused(CommandRefusal::UnknownToken)
    );
}

#[test]
fn a_name_belongs_to_one_node_until_it_is_removed() {
    let mut machine = Machine::founded();
    assert_eq!(machine.join("n2", "a"), NodeId(2));
    let wiped = NodeSpec {
        key: PublicKey([9; 32]),
        ..spec("n2", "a")
    };
    assert_eq!(
        machine.admit(1, wiped.clone(), 0),
        refused(CommandRefusal::NameTaken)
    );
    assert_eq!(
        machine.admit(1, spec("", "a"), 0),
        refused(CommandRefusal::BadName)
    );
    assert_eq!(
        machine.admit(1, spec("a b", "a"), 0),
        refused(CommandRefusal::BadName)
    );
    assert_eq!(machine.remove(2, true), Response::Done);
    assert_eq!(
        machine.admit(1, wiped, 0),
        admitted(3),
        "the number is never used again"
    );
    assert_eq!(
        machine.remove(2, false),
        refused(CommandRefusal::UnknownNode { node: NodeId(2) })
    );
}

#[test]
fn a_key_is_one_node_and_whoever_asks_again_with_it_is_the_same() {
    let mut machine = Machine::founded();
    assert_eq!(
        machine.apply(Command::CreateToken(token(2, Some(1), None))),
        Response::Done
    );
    assert_eq!(machine.admit(2, spec("n2", "a"), 0), admitted(2));
    let key = machine.topology().nodes[&NodeId(2)].key;
    assert_eq!(machine.topology().node_of(&key), Some(NodeId(2)));
    // Under another name, at another address, with another token: it is still the node that it is.
    let renamed = NodeSpec {
        key,
        quic: "127.0.0.2:1".into(),
        ..spec("n9", "b")
    };
    assert_eq!(machine.admit(1, renamed.clone(), 0), admitted(2));
    let info = machine.topology().nodes[&NodeId(2)].clone();
    assert_eq!((&*info.name, info.quic), ("n2", renamed.quic));
    assert_eq!(machine.state.tokens()[&TokenId(2)].uses_left, Some(0));
    // The founder's key under another name is no second founder.
    let twin = NodeSpec {
        key: spec("n1", "a").key,
        ..spec("n8", "a")
    };
    assert_eq!(machine.admit(1, twin, 0), admitted(1));
    // Nobody is let in again while it is on its way out; afterwards it is a new node.
    machine.settle();
    assert_eq!(machine.remove(2, false), Response::Done);
    assert_eq!(
        machine.admit(1, spec("n2", "a"), 0),
        refused(CommandRefusal::NameTaken)
    );
    machine.settle();
    assert_eq!(machine.topology().node_of(&key), None);
    assert_eq!(machine.admit(1, spec("n2", "a"), 0), admitted(3));
}

#[test]
fn what_would_be_refused_is_known_without_a_command() {
    let mut machine = Machine::founded();
    let commands = [
        Command::CreateToken(token(2, Some(1), None)),
        Command::CreateToken(token(3, None, Some(5))),
    ];
    for command in commands {
        assert_eq!(machine.apply(command), Response::Done);
    }
    assert_eq!(machine.admit(2, spec("n2", "a"), 0), admitted(2));
    for (id, name, at_ms) in [
        (1, "n3", 0),
        (1, "n2", 0),
        (2, "n2", 9),
        (2, "n3", 0),
        (3, "n3", 5),
        (9, "n3", 0),
        (1, "a b", 0),
    ] {
        let asked = Entry {
            token: TokenId(id),
            replaces: None,
            at_ms,
        };
        let foreseen = machine.state.may_enter(&asked, &spec(name, "a"));
        let mut copy = machine.state.clone();
        let decided = copy.apply(
            LogIndex(100),
            Command::Admit {
                token: TokenId(id),
                node: spec(name, "a"),
                replaces: None,
                at_ms,
            },
        );
        match foreseen {
            Ok(known) => assert_eq!(decided, admitted(known.map_or(3, |known| known.0))),
            Err(refusal) => assert_eq!(decided, refused(refusal)),
        }
    }
}

#[test]
fn secrets_do_not_show() {
    let shown = format!("{:?}{:?}", Machine::founded().state, token(1, None, None));
    assert!(
        !shown.contains("open") && shown.contains("Secret(…)"),
        "{shown}"
    );
}

#[test]
fn nine_nodes_join_three_datacenters_while_partitions_move() {
    let mut machine = Machine::founded();
    for (n, name) in ["n2", "n3", "n4", "n5", "n6", "n7", "n8", "n9"]
        .into_iter()
        .enumerate()
    {
        let node = machine.join(name, ["a", "b", "c"][(n + 1) / 3]);
        assert_eq!(node, NodeId(n as u64 + 2));
        if n % 3 == 0 {
            machine.report(&[]);
        }
    }
    machine.settle();
    for placement in &machine.default_keyspace().placement {
        assert_eq!(placement.replicas.len(), 9, "three in each datacenter");
    }
    assert_eq!(machine.voters().len(), 7);
    let mut spread = BTreeMap::new();
    for voter in machine.topology().voters() {
        *spread
            .entry(machine.topology().datacenter_of(voter).unwrap().to_string())
            .or_insert(0) += 1;
    }
    assert_eq!(spread.into_values().collect::<Vec<_>>(), [3, 2, 2]);
}

#[test]
fn voters_are_odd_spread_and_sticky() {
    let mut machine = Machine::founded();
    assert_eq!(machine.voters(), [1]);
    machine.join("n2", "a");
    assert_eq!(
        machine.voters(),
        [1],
        "two voters would survive no more than one"
    );
    machine.join("n3", "b");
    assert_eq!(machine.voters(), [1, 2, 3]);
    machine.join("n4", "c");
    assert_eq!(
        machine.voters(),
        [1, 3, 4],
        "one in each datacenter survives the loss of any"
    );
    machine.join("n5", "c");
    assert_eq!(machine.voters(), [1, 2, 3, 4, 5]);
    machine.remove(3, true);
    assert_eq!(machine.voters().len(), 3);
    machine.settle();
    let before = machine.voters();
    machine.join("n6", "a");
    assert!(
        before.iter().all(|voter| machine.voters().contains(voter)),
        "who votes goes on voting"
    );
    for n in 7..=20 {
        machine.join(&format!("n{n}"), "c");
    }
    assert_eq!(machine.voters().len(), 7);
    assert_eq!(
        (1..=9).map(voters::voters_of).collect::<Vec<_>>(),
        [1, 1, 3, 3, 5, 5, 7, 7, 7]
    );
}

#[test]
fn a_move_goes_through_both_phases_and_only_when_all_have_reported() {
    let mut machine = Machine::founded();
    machine.join("n2", "a");
    assert_eq!(machine.phases(), [(Some(Phase::Copying), 64)].into());
    assert_eq!(
        machine.state.awaited(DEFAULT_KEYSPACE, Partition(0)).len(),
        2
    );
    let copying = machine.default_keyspace().placement[0].epoch;
    machine.report(&[2]);
    assert_eq!(
        machine.state.awaited(DEFAULT_KEYSPACE, Partition(0)),
        [NodeId(2)],
        "the reason for waiting"
    );
    assert_eq!(
        machine.default_keyspace().placement[0].epoch,
        copying,
        "a report alone fences nobody"
    );
    machine.report(&[]);
    assert_eq!(machine.phases(), [(Some(Phase::Switching), 64)].into());
    assert!(machine.default_keyspace().placement[0].epoch > copying);
    let stale = Command::ReportMove {
        node: NodeId(1),
        keyspace: DEFAULT_KEYSPACE,
        partitions: vec![Partition(0)],
        epoch: copying,
    };
    let before = machine.state.clone();
    assert_eq!(machine.apply(stale), Response::Done);
    assert_eq!(
        machine.state, before,
        "a report of an older epoch is passed over"
    );
    machine.report(&[]);
    assert_eq!(machine.phases(), [(None, 64)].into());
    assert!(
        machine
            .default_keyspace()
            .placement
            .iter()
            .all(|placement| placement.replicas.len() == 2)
    );
}

#[test]
fn a_copy_is_retargeted_and_a_switch_is_finished_first() {
    let mut machine = Machine::founded();
    machine.join("n2", "a");
    machine.report(&[2]);
    machine.join("n3", "a");
    let copying = machine.default_keyspace().placement[0]
        .transition
        .clone()
        .unwrap();
    assert_eq!(
        (copying.to.len(), copying.phase, copying.done.len()),
        (3, Phase::Copying, 0)
    );
    machine.report(&[]);
    machine.join("n4", "a");
    let switching: Vec<_> = machine
        .default_keyspace()
        .placement
        .iter()
        .map(|placement| placement.transition.clone().unwrap())
        .collect();
    assert!(
        switching
            .iter()
            .all(|transition| transition.phase == Phase::Switching
                && !transition.to.contains(&NodeId(4)))
    );
    machine.report(&[]);
    let next = machine.phases();
    assert!(
        next[&Some(Phase::Copying)] > 30 && next[&None] > 0,
        "the next move began where the newcomer belongs: {next:?}"
    );
    machine.settle();
}

#[test]
fn a_leaving_node_stays_until_its_partitions_have_moved() {
    let mut machine = Machine::founded();
    for name in ["n2", "n3", "n4"] {
        machine.join(name, "a");
    }
    machine.settle();
    assert_eq!(machine.remove(2, false), Response::Done);
    assert!(
        machine.topology().nodes.contains_key(&NodeId(2))
            && machine.state.leaving().contains(&NodeId(2))
    );
    assert!(!machine.voters().contains(&2));
    for _ in 0..4 {
        machine.report(&[2]);
    }
    assert_eq!(
        machine.phases(),
        [(None, 64)].into(),
        "a dead node that is being removed holds nothing up"
    );
    assert!(!machine.topology().nodes.contains_key(&NodeId(2)));
    assert!(
        machine
            .default_keyspace()
            .placement
            .iter()
            .all(|placement| placement.replicas.len() == 3)
    );
}

#[test]
fn a_lost_node_is_struck_at_once() {
    let mut machine = Machine::founded();
    machine.join("n2", "a");
    machine.settle();
    machine.join("n3", "a");
    machine.report(&[]);
    assert_eq!(machine.remove(2, true), Response::Done);
    assert!(!machine.topology().nodes.contains_key(&NodeId(2)));
    assert!(
        machine
            .default_keyspace()
            .placement
            .iter()
            .all(|placement| !placement.holds(NodeId(2)))
    );
    machine.settle();
    assert_eq!(machine.remove(3, true), Response::Done);
    machine.settle();
    assert_eq!(machine.remove(1, true), refused(CommandRefusal::LastNode));
}

#[test]
fn keyspaces_are_made_altered_and_dropped() {
    let mut machine = Machine::founded();
    machine.join("n2", "b");
    machine.settle();
    let new = |name: &str, partitions, datacenter: &str| {
        let replication = Replication::Fixed([(datacenter.into(), 2)].into());
        Command::CreateKeyspace(NewKeyspace {
            name: name.into(),
            replication,
            partitions,
            read: "ONE".into(),
            write: "ALL".into(),
            split: SplitPolicy::default(),
        })
    };
    assert_eq!(
        machine.apply(new("k", 12, "b")),
        refused(CommandRefusal::BadPartitions {
            partitions: 12,
            max: PARTITIONS_MAX
        })
    );
    assert_eq!(
        machine.apply(new("k", 8192, "b")),
        refused(CommandRefusal::BadPartitions {
            partitions: 8192,
            max: PARTITIONS_MAX
        })
    );
    assert_eq!(
        machine.apply(new("default", 8, "b")),
        refused(CommandRefusal::NameTaken)
    );
    assert_eq!(
        machine.apply(new("k", 8, "z")),
        refused(CommandRefusal::NoReplicas {
            keyspace: KeyspaceId(1)
        })
    );
    assert_eq!(
        machine.apply(new("k", 8, "b")),
        Response::Created {
            keyspace: KeyspaceId(1)
        }
    );
    assert!(
        machine.topology().keyspaces[&KeyspaceId(1)]
            .placement
            .iter()
            .all(|placement| placement.replicas == [NodeId(2)])
    );
    assert_eq!(
        machine.remove(2, false),
        refused(CommandRefusal::NoReplicas {
            keyspace: KeyspaceId(1)
        })
    );
    let alter = |replication| Command::AlterKeyspace {
        keyspace: KeyspaceId(1),
        change: Alteration {
            replication,
            write: Some("ONE".into()),
            split: Some(SplitPolicy::ReadOnlyInMinority),
            ..Alteration::default()
        },
    };
    assert_eq!(
        machine.apply(alter(Some(Replication::Auto))),
        Response::Done
    );
    let keyspace = &machine.topology().keyspaces[&KeyspaceId(1)];
    assert_eq!((&*keyspace.read, &*keyspace.write), ("ONE", "ONE"));
    assert_eq!(keyspace.split, SplitPolicy::ReadOnlyInMinority);
    machine.settle();
    assert!(
        machine.topology().keyspaces[&KeyspaceId(1)]
            .placement
            .iter()
            .all(|placement| placement.replicas.len() == 2)
    );
    assert_eq!(
        machine.apply(Command::DropKeyspace(DEFAULT_KEYSPACE)),
        refused(CommandRefusal::DefaultKeyspace)
    );
    assert_eq!(
        machine.apply(Command::DropKeyspace(KeyspaceId(1))),
        Response::Done
    );
    assert_eq!(
        machine.apply(alter(None)),
        refused(CommandRefusal::UnknownKeyspace {
            keyspace: KeyspaceId(1)
        })
    );
    assert_eq!(
        machine.apply(new("k", 8, "b")),
        Response::Created {
            keyspace: KeyspaceId(2)
        },
        "numbers are never reused"
    );
}
