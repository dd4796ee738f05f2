//! The state machine of the control group, command by command.
//!
//! ```text
//! found NAME DC/RACK               founds the cluster
//! join NAME DC/RACK                a second time it is a retry; NAME* is another node of that
//!                                  name, NAME~ one whose store may forget what it synchronised,
//!                                  and NAME! a witness
//! replace N by NAME DC/RACK        NAME joins in the place of N, which is dead
//! remove N | lose N                removes a node; `lose`: its disk will not come back
//! drain N | undrain N              N holds nothing and stays; N holds partitions again
//! keyspace NAME PARTITIONS auto    creates a keyspace (or with DC=N DC=N …)
//! alter NAME auto                  changes its replication
//! drop NAME                        drops it
//! report N NAME                    node N has done what it owes for this keyspace
//! report N NAME at EPOCH           the same for partitions at this epoch, whatever N owes now
//! settle                           every node reports, until nothing moves
//! ```
//!
//! After each command a script of `membership` shows who votes, a script of `moves` the partitions
//! of every keyspace but `default`: epoch, phase, sets, who has reported and who is waited for.

use std::collections::BTreeSet;

use quorate_control::state::{
    Alteration, Command, ControlState, LogIndex, NewKeyspace, NewToken, NodeSpec, Response, TokenId,
};
use quorate_control::topology::{
    ClusterId, DEFAULT_KEYSPACE, Epoch, KeyspaceId, Partition, Phase, Placement, SplitPolicy,
};
use quorate_crdt::{NodeId, PublicKey, Secret};

use crate::placement::replication;
use crate::runner::shown;

const TOKEN: TokenId = TokenId(1);

/// What is shown after each command.
#[derive(Clone, Copy)]
pub(crate) enum Shows {
    Members,
    Partitions,
}

#[derive(Default)]
pub(crate) struct Cluster {
    state: ControlState,
    index: u64,
}

impl Cluster {
    pub(crate) fn command(&mut self, line: &str, shows: Shows) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = match words[..] {
            ["settle"] => self.settle(),
            ["report", node, keyspace] => self.report(node.parse().unwrap(), keyspace, None),
            ["report", node, keyspace, "at", epoch] => {
                self.report(node.parse().unwrap(), keyspace, Some(epoch))
            }
            _ => {
                let command = self.command_of(&words);
                self.apply(command)
            }
        };
        match shows {
            Shows::Members => format!("{answer}; {}", self.members()),
            Shows::Partitions => answer + &self.partitions(),
        }
    }

    fn command_of(&self, words: &[&str]) -> Command {
        match *words {
            ["found", name, place] => Command::Found {
                cluster: ClusterId(1),
                token: NewToken {
                    id: TOKEN,
                    verifier: Secret::new("open"),
                    uses: None,
                    expires_ms: None,
                },
                node: spec(name, place),
                partitions: 64,
                at_ms: 0,
            },
            ["join", name, place] => Command::Admit {
                token: TOKEN,
                node: spec(name, place),
                replaces: None,
                at_ms: 0,
            },
            ["replace", dead, "by", name, place] => Command::Admit {
                token: TOKEN,
                node: spec(name, place),
                replaces: Some(NodeId(dead.parse().unwrap())),
                at_ms: 0,
            },
            ["remove", node] => remove(node, false),
            ["lose", node] => remove(node, true),
            ["drain", node] => drain(node, true),
            ["undrain", node] => drain(node, false),
            ["keyspace", name, partitions, ref wanted @ ..] => {
                Command::CreateKeyspace(NewKeyspace {
                    name: name.into(),
                    replication: replication(wanted),
                    partitions: partitions.parse().unwrap(),
                    read: "ONE".into(),
                    write: "ONE".into(),
                    split: SplitPolicy::default(),
                })
            }
            ["alter", name, ref wanted @ ..] => Command::AlterKeyspace {
                keyspace: self.keyspace(name),
                change: Alteration {
                    replication: Some(replication(wanted)),
                    ..Alteration::default()
                },
            },
            ["drop", name] => Command::DropKeyspace(self.keyspace(name)),
            _ => panic!("no such command: {words:?}"),
        }
    }

    fn keyspace(&self, name: &str) -> KeyspaceId {
        self.state.topology().keyspace_named(name).unwrap().0
    }

    fn apply(&mut self, command: Command) -> String {
        self.index += 1;
        match self.state.apply(LogIndex(self.index), command) {
            Response::Admitted { node } => format!("node {node}"),
            Response::Created { keyspace } => format!("keyspace {}", keyspace.0),
            Response::Done => "done".to_owned(),
            Response::Refused(refusal) => format!("refused: {refusal}"),
        }
    }

    /// Reports everything that `node` owes for the keyspace, or its partitions at `epoch`.
    fn report(&mut self, node: u64, keyspace: &str, epoch: Option<&str>) -> String {
        let (node, keyspace) = (NodeId(node), self.keyspace(keyspace));
        let epochs: BTreeSet<Epoch> = match epoch {
            Some(epoch) => BTreeSet::from([Epoch(epoch.parse().unwrap())]),
            None => self
                .placements(keyspace)
                .into_iter()
                .filter(|(_, placement)| placement.owes(node).is_some())
                .map(|(_, placement)| placement.epoch)
                .collect(),
        };
        if epochs.is_empty() {
            return "owes nothing".to_owned();
        }
        let mut answer = String::new();
        for of in epochs {
            let at = |placement: &Placement| {
                epoch.is_some() || (placement.epoch == of && placement.owes(node).is_some())
            };
            let partitions = self
                .placements(keyspace)
                .into_iter()
                .filter(|(_, placement)| at(placement))
                .map(|(partition, _)| partition)
                .collect();
            answer = self.apply(Command::ReportMove {
                node,
                keyspace,
                partitions,
                epoch: of,
            });
        }
        answer
    }

    fn settle(&mut self) -> String {
        for _ in 0..12 {
            let topology = self.state.topology().clone();
            for node in topology.nodes.keys() {
                for keyspace in topology.keyspaces.values() {
                    self.report(node.0, &keyspace.name, None);
                }
            }
        }
        let keyspaces: Vec<_> = self.state.topology().keyspaces.keys().copied().collect();
        let moving = keyspaces
            .into_iter()
            .flat_map(|keyspace| self.placements(keyspace))
            .any(|(_, placement)| placement.transition.is_some());
        if moving { "still moving" } else { "settled" }.to_owned()
    }

    fn placements(&self, keyspace: KeyspaceId) -> Vec<(Partition, Placement)> {
        let keyspace = &self.state.topology().keyspaces[&keyspace];
        let placements = keyspace.partitions();
        placements
            .map(|(partition, placement)| (partition, placement.clone()))
            .collect()
    }

    fn members(&self) -> String {
        let topology = self.state.topology();
        let learners = topology.nodes.iter().filter(|(_, info)| !info.voter);
        format!(
            "voters {}, learners {}, leaving {}{}",
            ids(topology.voters()),
            ids(learners.map(|(&node, _)| node)),
            ids(self.state.leaving().iter().copied()),
            match self.state.drained() {
                drained if drained.is_empty() => String::new(),
                drained => format!(", drained {}", ids(drained.iter().copied())),
            }
        )
    }

    fn partitions(&self) -> String {
        let mut text = String::new();
        let topology = self.state.topology();
        for (&id, keyspace) in topology
            .keyspaces
            .iter()
            .filter(|(id, _)| **id != DEFAULT_KEYSPACE)
        {
            for (partition, placement) in keyspace.partitions() {
                text += &format!(
                    "\n{}/{} @{} ",
                    keyspace.name, partition.0, placement.epoch.0
                );
                text += &match &placement.transition {
                    None => format!("stable {}", ids(placement.replicas.iter().copied())),
                    Some(transition) => format!(
                        "{} {} -> {}, done {}, waits for {}",
                        match transition.phase {
                            Phase::Copying => "copying",
                            Phase::Switching => "switching",
                        },
                        ids(placement.replicas.iter().copied()),
                        ids(transition.to.iter().copied()),
                        ids(transition.done.iter().copied()),
                        ids(self.state.awaited(id, partition))
                    ),
                };
            }
        }
        text
    }
}

/// A name with a `*` is that name with another data directory, one with a `~` has a store that may
/// forget, one with a `!` is a witness.
fn spec(name: &str, place: &str) -> NodeSpec {
    let (datacenter, rack) = place.split_once('/').unwrap();
    NodeSpec {
        name: name.trim_end_matches(['*', '~', '!']).into(),
        datacenter: datacenter.into(),
        rack: rack.into(),
        quic: "127.0.0.1:7381".into(),
        key: key(name),
        durable: !name.ends_with('~'),
        witness: name.ends_with('!'),
    }
}

/// A key for each name, with or without its `*`.
fn key(name: &str) -> PublicKey {
    let mut bytes = [0; 32];
    bytes[..name.len()].copy_from_slice(name.as_bytes());
    PublicKey(bytes)
}

fn remove(node: &str, lost: bool) -> Command {
    Command::RemoveNode {
        node: NodeId(node.parse().unwrap()),
        lost,
    }
}

fn drain(node: &str, drained: bool) -> Command {
    Command::DrainNode {
        node: NodeId(node.parse().unwrap()),
        drained,
    }
}

fn ids(nodes: impl IntoIterator<Item = NodeId>) -> String {
    shown(nodes.into_iter().map(|node| node.0))
}
