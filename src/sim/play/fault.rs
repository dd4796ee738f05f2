//! Carries out a plan's faults on the cluster, and repairs them at the end.

use std::sync::Arc;
use std::time::Duration;

use quorate_control::state::{Alteration, Command, NewKeyspace};
use quorate_control::store::MemoryStore;
use quorate_control::topology::{Replication, SplitPolicy};
use quorate_crdt::NodeId;

use super::stage::Stage;
use crate::sim::ask::keyspace_of;
use crate::sim::oracle::Harm;
use crate::sim::plan::action::Action;
use crate::sim::plan::shape::conditions;

/// The command that creates the keyspace `ks` followed by this number. Every other one is read-only
/// on the smaller side of a split.
pub(super) fn keyspace(number: u8, partitions: u16) -> Command {
    Command::CreateKeyspace(NewKeyspace {
        name: format!("ks{number}").into(),
        replication: Replication::Auto,
        partitions,
        read: "QUORUM".into(),
        write: "QUORUM".into(),
        split: SplitPolicy::ALL[usize::from(number % 2)],
    })
}

impl Stage<'_> {
    /// Carries out one action. Returns whether there was anything to do.
    pub(super) fn fault(&mut self, action: &Action) -> bool {
        let network = self.cluster.network.clone();
        let nodes = |numbers: &[u64]| {
            numbers
                .iter()
                .map(|&number| NodeId(number))
                .collect::<Vec<_>>()
        };
        match action {
            Action::Ask(_) | Action::Bid(_) => return false,
            Action::Cut { from, to } => network.cut(&nodes(from), &nodes(to)),
            Action::Heal => network.heal(),
            Action::Weather {
                within_us,
                between_ms,
                loss,
            } => network.set_conditions(conditions(*within_us, *between_ms, *loss)),
            Action::Garble {
                duplicated,
                overtaken,
            } => network.garble(*duplicated, *overtaken),
            Action::DropFrames { from, to, share } => {
                network.drop_frames(NodeId(*from), NodeId(*to), *share);
            }
            Action::Stop(node)
            | Action::GoOn(node)
            | Action::Crash(node)
            | Action::Restart(node)
            | Action::Readdress(node) => {
                return self.process_fault(action, NodeId(*node));
            }
            Action::SlowDisk(node, _)
            | Action::FullDisk(node, _)
            | Action::FailDisk(node)
            | Action::Panic(node)
            | Action::Backup(node) => {
                return self.disk_fault(action, NodeId(*node));
            }
            Action::Restore(node) | Action::Wipe(node) | Action::Rot(node) => {
                return self.destroy(action, NodeId(*node));
            }
            Action::Jump(node, _)
            | Action::Drift(node, _)
            | Action::Freeze(node, _)
            | Action::MendClock(node) => {
                return self.clock_fault(action, NodeId(*node));
            }
            _ => return self.topology_change(action),
        }
        true
    }

    fn process_fault(&mut self, action: &Action, node: NodeId) -> bool {
        let Some(host) = self.cluster.hosts.get_mut(&node) else {
            return false;
        };
        match action {
            Action::Restart(_) => {
                if host.is_alive() || self.removed.contains(&node) {
                    return false;
                }
                self.cluster.start_process(node, None);
            }
            Action::Readdress(_) => {
                if host.is_alive() {
                    return false;
                }
                host.readdress();
            }
            _ if !host.is_alive() => return false,
            Action::Stop(_) => host.stop(&self.cluster.network),
            Action::GoOn(_) => host.go_on(&self.cluster.network),
            _ => host.crash(&self.cluster.network),
        }
        true
    }

    fn disk_fault(&mut self, action: &Action, node: NodeId) -> bool {
        let Some(host) = self.cluster.hosts.get(&node) else {
            return false;
        };
        let disk = host.disk.get();
        match action {
            Action::SlowDisk(_, millis) => disk.slow_down(Duration::from_millis(*millis)),
            Action::FullDisk(_, full) => disk.set_full(*full),
            Action::FailDisk(_) => disk.fail(),
            Action::Panic(_) => disk.set_panics(),
            _ => drop(self.backups.insert(node, disk.backup())),
        }
        true
    }

    /// Changes the disk of a dead node behind its back.
    fn destroy(&mut self, action: &Action, node: NodeId) -> bool {
        let Some(host) = self
            .cluster
            .hosts
            .get(&node)
            .filter(|host| !host.is_alive())
        else {
            return false;
        };
        let disk = host.disk.get();
        let harmed = match action {
            Action::Restore(_) => self
                .backups
                .get(&node)
                .map(|backup| (disk.restored(backup), Harm::SetBack)),
            Action::Wipe(_) => Some((disk.restored(&MemoryStore::new()), Harm::Gone)),
            _ => disk.rotten().map(|rotten| (rotten, Harm::Rotten)),
        };
        let Some((next, harm)) = harmed else {
            return false;
        };
        host.disk.set(next);
        self.oracle().destroyed(node, harm);
        true
    }

    fn clock_fault(&mut self, action: &Action, node: NodeId) -> bool {
        let Some(host) = self.cluster.hosts.get(&node) else {
            return false;
        };
        match action {
            Action::Jump(_, millis) => host.clock.jump(*millis),
            Action::Drift(_, millionths) => host.clock.drift(*millionths),
            Action::Freeze(_, frozen) => host.clock.freeze(*frozen),
            _ => host.clock.mend(),
        }
        true
    }

    fn topology_change(&mut self, action: &Action) -> bool {
        let topology = self.oracle().newest();
        let known = |number: u8| {
            topology
                .as_deref()
                .and_then(|topology| keyspace_of(topology, number))
        };
        let command = match action {
            Action::MakeKeyspace { number, partitions } => keyspace(*number, *partitions),
            Action::DropKeyspace(number) => match known(*number).filter(|_| *number > 0) {
                Some(keyspace) => Command::DropKeyspace(keyspace),
                None => return false,
            },
            Action::Replicate {
                keyspace: number,
                replicas,
            } => {
                let Some(keyspace) = known(*number) else {
                    return false;
                };
                let fixed = replicas
                    .iter()
                    .map(|(datacenter, &count)| (format!("dc{datacenter}").into(), count));
                let replication = Some(Replication::Fixed(fixed.collect()));
                Command::AlterKeyspace {
                    keyspace,
                    change: Alteration {
                        replication,
                        ..Alteration::default()
                    },
                }
            }
            Action::Remove { node, lost } => {
                self.removals.push((NodeId(*node), *lost));
                if *lost {
                    self.removed.push(NodeId(*node));
                    self.oracle().destroyed(NodeId(*node), Harm::Gone);
                }
                Command::RemoveNode {
                    node: NodeId(*node),
                    lost: *lost,
                }
            }
            Action::Drain { node, drained } => Command::DrainNode {
                node: NodeId(*node),
                drained: *drained,
            },
            Action::Join(datacenter) => return self.newcomer(*datacenter),
            Action::Replace(node) => return self.replacement(NodeId(*node)),
            _ => return false,
        };
        self.propose(&command)
    }

    /// Repeats removals that have not taken effect, as an administrator would.
    pub(super) fn insist(&mut self) {
        let topology = self.oracle().newest();
        let stays = |node: &NodeId| {
            topology
                .as_deref()
                .is_some_and(|topology| topology.nodes.contains_key(node))
        };
        let removals: Vec<_> = self
            .removals
            .iter()
            .copied()
            .filter(|(node, _)| stays(node))
            .collect();
        for (node, lost) in removals {
            self.propose(&Command::RemoveNode { node, lost });
        }
    }

    /// Proposes a command through the first node that is up. The answer does not matter.
    fn propose(&mut self, command: &Command) -> bool {
        let proposal = self
            .cluster
            .hosts
            .values()
            .find_map(|host| host.started(|started| started.propose(command.clone())));
        let Some(proposal) = proposal else {
            return false;
        };
        self.proposals
            .push(tokio::spawn(async move { drop(proposal.await) }));
        true
    }

    /// Lets a node ask to join. It starts once it is admitted.
    fn newcomer(&mut self, datacenter: u8) -> bool {
        let datacenter: Arc<str> = format!("dc{datacenter}").into();
        self.cluster.invite(&datacenter, None)
    }

    /// Lets a newcomer ask for the place of a node that does not come back.
    fn replacement(&mut self, node: NodeId) -> bool {
        let topology = self.oracle().newest();
        let Some(info) = topology.as_deref().and_then(|known| known.nodes.get(&node)) else {
            return false;
        };
        self.removed.push(node);
        self.oracle().destroyed(node, Harm::Gone);
        self.cluster
            .invite(&info.datacenter, Some(Arc::clone(&info.name)))
    }

    /// Restarts nodes that ended because their disk failed before it was repaired, as a process
    /// supervisor would. A node that gives up on a good disk stays down.
    pub(super) fn start_again(&mut self) {
        for node in self.cluster.nodes() {
            let Some(host) = self
                .cluster
                .hosts
                .get(&node)
                .filter(|host| host.disk.get().has_failed())
            else {
                continue;
            };
            if let Some(failure) = host.failure() {
                self.has_ended(node, &failure);
                self.process_fault(&Action::Crash(node.0), node);
                self.process_fault(&Action::Restart(node.0), node);
            }
        }
    }

    /// Ends every fault and starts every node that should be running.
    pub(super) fn mend(&mut self) {
        self.cluster.network.set_conditions(conditions(500, 5, 0.0));
        self.cluster.network.calm();
        for node in self.cluster.nodes() {
            let Some(host) = self.cluster.hosts.get_mut(&node) else {
                continue;
            };
            host.clock.mend();
            // Before anything starts on it: a dead node's disk may have failed too.
            host.disk.get().mend();
            host.go_on(&self.cluster.network);
            if let Some(failure) = host.failure() {
                self.has_ended(node, &failure);
                self.process_fault(&Action::Crash(node.0), node);
            }
            if !self.removed.contains(&node) {
                self.process_fault(&Action::Restart(node.0), node);
            }
        }
    }
}
