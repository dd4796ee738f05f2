//! Where partitions belong.
//!
//! ```text
//! nodes DC/RACK A,B,…         these nodes are there
//! replication auto            up to three replicas per datacenter
//! replication DC=N DC=N …     exactly these
//! place FROM..TO              the holders of these partitions of keyspace 0, in preference order
//! join DC/RACK N FROM..TO     what changes for these partitions when N joins
//! leave N FROM..TO            and when N leaves
//! shares PARTITIONS           how many of the first partitions each node holds
//! ```

use std::collections::BTreeMap;
use std::ops::Range;

use quorate_control::state::place;
use quorate_control::topology::{KeyspaceId, NodeInfo, Partition, Replication};
use quorate_crdt::NodeId;

use crate::runner::{numbers, shown};

pub(crate) struct Places {
    nodes: BTreeMap<NodeId, NodeInfo>,
    replication: Replication,
}

impl Default for Places {
    fn default() -> Self {
        Self {
            nodes: BTreeMap::new(),
            replication: Replication::Auto,
        }
    }
}

impl Places {
    pub(crate) fn command(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["nodes", place, list] => {
                for node in numbers(list) {
                    self.nodes.insert(NodeId(node), standing(place));
                }
                self.racks()
            }
            ["replication", ref wanted @ ..] => {
                self.replication = replication(wanted);
                "ok".to_owned()
            }
            ["place", partitions] => range(partitions)
                .map(|partition| {
                    let holders = self.holders(partition);
                    let names: Vec<_> = holders.iter().map(|node| self.name(*node)).collect();
                    let names = if names.is_empty() {
                        "-".to_owned()
                    } else {
                        names.join(" ")
                    };
                    format!("\n{partition}: {names}")
                })
                .collect(),
            ["join", place, node, partitions] => {
                let node = NodeId(node.parse().unwrap());
                self.change(partitions, |nodes| {
                    nodes.insert(node, standing(place));
                })
            }
            ["leave", node, partitions] => {
                let node = NodeId(node.parse().unwrap());
                self.change(partitions, |nodes| {
                    nodes.remove(&node);
                })
            }
            ["shares", partitions] => {
                let mut shares: BTreeMap<NodeId, usize> = BTreeMap::new();
                for node in (0..partitions.parse().unwrap()).flat_map(|n| self.holders(n)) {
                    *shares.entry(node).or_default() += 1;
                }
                let shares = shares
                    .iter()
                    .map(|(node, share)| format!("{node}: {share}"));
                shares.collect::<Vec<_>>().join(", ")
            }
            _ => panic!("no such command: {line}"),
        }
    }

    fn holders(&self, partition: u16) -> Vec<NodeId> {
        place(
            self.nodes.iter().map(|(&node, info)| (node, info)),
            &self.replication,
            KeyspaceId(0),
            Partition(partition),
        )
    }

    /// `3(a/r1)`: node 3 in rack r1 of datacenter a.
    fn name(&self, node: NodeId) -> String {
        let info = &self.nodes[&node];
        format!("{node}({}/{})", info.datacenter, info.rack)
    }

    fn racks(&self) -> String {
        let mut racks: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for (node, info) in &self.nodes {
            let rack = format!("{}/{}", info.datacenter, info.rack);
            racks.entry(rack).or_default().push(node.0);
        }
        let racks = racks
            .into_iter()
            .map(|(rack, nodes)| format!("{rack}: {}", shown(nodes)));
        racks.collect::<Vec<_>>().join(", ")
    }

    /// Changes the nodes; lists the partitions whose holders change by it.
    fn change(
        &mut self,
        partitions: &str,
        edit: impl FnOnce(&mut BTreeMap<NodeId, NodeInfo>),
    ) -> String {
        let partitions = range(partitions);
        let before: Vec<_> = partitions.clone().map(|n| self.holders(n)).collect();
        edit(&mut self.nodes);
        let mut text = String::new();
        let mut same = 0;
        for (partition, before) in partitions.zip(before) {
            let after = self.holders(partition);
            let only = |these: &[NodeId], those: &[NodeId]| {
                let only = these.iter().filter(|node| !those.contains(node));
                shown(only.map(|node| node.0))
            };
            let (gone, come) = (only(&before, &after), only(&after, &before));
            if gone == come {
                same += 1;
            } else {
                text += &format!("\n{partition}: {come} for {gone}");
            }
        }
        format!("{same} partitions keep their holders{text}")
    }
}

/// A node of `datacenter/rack`.
fn standing(place: &str) -> NodeInfo {
    let (datacenter, rack) = place.split_once('/').unwrap();
    NodeInfo {
        name: "n".into(),
        datacenter: datacenter.into(),
        rack: rack.into(),
        quic: "127.0.0.1:7381".into(),
        key: quorate_crdt::PublicKey([0; 32]),
        next_key: None,
        voter: false,
        witness: false,
    }
}

/// `auto`, or `a=2 b=1`.
pub(crate) fn replication(words: &[&str]) -> Replication {
    if words == ["auto"] {
        return Replication::Auto;
    }
    let fixed = words.iter().map(|word| {
        let (datacenter, replicas) = word.split_once('=').unwrap();
        (datacenter.into(), replicas.parse().unwrap())
    });
    Replication::Fixed(fixed.collect())
}

fn range(text: &str) -> Range<u16> {
    let (from, to) = text.split_once("..").unwrap();
    from.parse().unwrap()..to.parse().unwrap()
}
