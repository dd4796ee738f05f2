//! Quorums against moves. Nodes learn topologies late, coordinators use old ones, replicas fence,
//! and dismissed nodes never hear that they were dismissed. In every interleaving, a majority read
//! that succeeds sees every write that a majority acknowledged before.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::quorum::majority;

struct World {
    machine: Machine,
    /// Every topology so far. Coordinators may use any that some node still believes in.
    history: Vec<Arc<Topology>>,
    nodes: BTreeMap<NodeId, Copy>,
    acknowledged: BTreeSet<u32>,
    writes: u32,
}

struct Copy {
    knows: Arc<Topology>,
    has: BTreeSet<u32>,
}

const PARTITION: Partition = Partition(5);

fn placement(topology: &Topology) -> &Placement {
    topology.keyspaces[&DEFAULT_KEYSPACE]
        .placement(PARTITION)
        .unwrap()
}

impl World {
    fn new() -> Self {
        let machine = Machine::founded();
        let mut world = Self {
            machine,
            history: vec![],
            nodes: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
            writes: 0,
        };
        world.publish();
        world
    }

    fn publish(&mut self) {
        let topology = Arc::clone(self.machine.state.topology());
        for &node in topology.nodes.keys() {
            self.nodes.entry(node).or_insert_with(|| Copy {
                knows: Arc::clone(&topology),
                has: BTreeSet::new(),
            });
        }
        self.history.push(topology);
    }

    /// A node learns a newer topology, and gives up its copy if it is not a holder any more.
    fn learn(&mut self, node: NodeId, topology: &Arc<Topology>) {
        let copy = self.nodes.get_mut(&node).unwrap();
        if copy.knows.epoch < topology.epoch {
            copy.knows = Arc::clone(topology);
            if !placement(topology).holds(node) {
                copy.has.clear();
            }
        }
    }

    /// The nodes of `set` that do not fence this request.
    fn accepting(&mut self, set: &[NodeId], topology: &Arc<Topology>) -> Vec<NodeId> {
        for &node in set {
            self.learn(node, topology);
        }
        set.iter()
            .copied()
            .filter(|node| placement(&self.nodes[node].knows).epoch <= placement(topology).epoch)
            .collect()
    }

    fn write(&mut self, topology: &Arc<Topology>, luck: u64) {
        self.writes += 1;
        let mut reached = true;
        for set in placement(topology).writers() {
            let mut accepting = self.accepting(set, topology);
            let rotation = luck as usize % accepting.len().max(1);
            accepting.rotate_left(rotation);
            // The least number that suffices: the worst case.
            for node in accepting.iter().take(majority(set.len())) {
                self.nodes.get_mut(node).unwrap().has.insert(self.writes);
            }
            reached &= accepting.len() >= majority(set.len());
        }
        if reached {
            self.acknowledged.insert(self.writes);
        }
    }

    fn read(&mut self, topology: &Arc<Topology>) {
        for set in placement(topology).readers() {
            let accepting = self.accepting(set, topology);
            if accepting.len() < majority(set.len()) {
                continue;
            }
            for write in &self.acknowledged {
                let blind = accepting
                    .iter()
                    .filter(|node| !self.nodes[node].has.contains(write))
                    .count();
                assert!(
                    blind < majority(set.len()),
                    "write {write} is missed by {blind} of {set:?} at {:?}",
                    placement(topology)
                );
            }
        }
    }

    /// `node` does what it owes according to the topology that it knows, and reports it.
    fn work(&mut self, node: NodeId, luck: u64) {
        let topology = Arc::clone(&self.nodes[&node].knows);
        let place = placement(&topology).clone();
        match place.owes(node) {
            Some(Phase::Copying) => {
                let mut sources = self.accepting(&place.replicas, &topology);
                if sources.len() < majority(place.replicas.len()) {
                    return;
                }
                let rotation = luck as usize % sources.len();
                sources.rotate_left(rotation);
                let got: BTreeSet<_> = sources
                    .iter()
                    .take(majority(place.replicas.len()))
                    .flat_map(|source| self.nodes[source].has.clone())
                    .collect();
                self.nodes.get_mut(&node).unwrap().has.extend(got);
            }
            Some(Phase::Switching) => {}
            None => return,
        }
        self.machine.apply(Command::ReportMove {
            node,
            keyspace: DEFAULT_KEYSPACE,
            partitions: vec![PARTITION],
            epoch: place.epoch,
        });
        self.publish();
    }

    fn step(&mut self, kind: u8, luck: u64) {
        let believed: BTreeSet<_> = self.nodes.values().map(|copy| copy.knows.epoch).collect();
        let recent: Vec<_> = self
            .history
            .iter()
            .filter(|topology| believed.contains(&topology.epoch))
            .cloned()
            .collect();
        let some_topology = recent[luck as usize % recent.len()].clone();
        let latest = self.history.last().unwrap().clone();
        let some_node = *latest
            .nodes
            .keys()
            .nth(luck as usize % latest.nodes.len())
            .unwrap();
        match kind {
            0 if latest.nodes.len() < 7 => {
                self.machine.join(&format!("m{luck}-{}", self.writes), "a");
                self.publish();
            }
            1 if latest.nodes.len() > 2 => {
                self.machine.remove(some_node.0, false);
                self.publish();
            }
            2..=5 => self.work(some_node, luck),
            6..=8 => self.learn(some_node, &latest),
            9..=11 => self.write(&some_topology, luck),
            _ => self.read(&some_topology),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn a_majority_read_sees_every_majority_write(
        steps in prop::collection::vec((0u8..15, any::<u64>()), 1..150),
    ) {
        let mut world = World::new();
        for (kind, luck) in steps {
            world.step(kind, luck);
        }
    }
}

/// The test above would be worth nothing if its runs never finished a move.
#[test]
fn the_walks_finish_moves() {
    let mut world = World::new();
    let (mut moves, mut luck) = (0, 1u64);
    for _ in 0..3000 {
        luck = luck
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let before = placement(world.machine.state.topology()).replicas.clone();
        world.step((luck >> 60) as u8 % 15, luck >> 20);
        moves += usize::from(placement(world.machine.state.topology()).replicas != before);
    }
    assert!(
        moves > 10 && world.acknowledged.len() > 50,
        "{moves} moves, {} writes",
        world.acknowledged.len()
    );
}
