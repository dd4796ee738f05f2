//! Sees all nodes at once and what is on their disks. Checks every invariant whose violation no
//! client could see before it is too late.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_control::store::StoreError;
use quorate_control::topology::{Epoch, KeyspaceId, Partition, Topology};
use quorate_crdt::{Dot, NodeId};
use quorate_dynamo::op::Receipt;
use quorate_dynamo::replica::Replica;
use quorate_gossip::wire;
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::eye::Eye;
use super::history::Need;
use super::host::{Door, Host, Shelf};
use super::plan::request::Ask;

type At = (KeyspaceId, Partition);

/// How long a topology may take to show up on some node before an action based on it counts as
/// unexplained.
const UNEXPLAINED: Duration = Duration::from_secs(5);

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The name of the check that found it.
    pub check: &'static str,
    /// When, in milliseconds of the history.
    pub at: u64,
    /// What was found.
    pub what: String,
}

/// The damage done to a node's copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    /// They are gone, and the node knows that it has nothing.
    Gone,
    /// They are older copies, and the node has no way of knowing.
    SetBack,
    /// One byte has changed.
    Rotten,
}

/// When a node's copies were damaged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Destruction {
    pub(super) at: Duration,
    pub(super) node: NodeId,
    pub(super) harm: Harm,
}

/// Sees all machines. Cheap to clone.
#[derive(Clone)]
pub(super) struct Oracle(Arc<Mutex<Knowledge>>);

struct Knowledge {
    start: Instant,
    machines: BTreeMap<NodeId, Machine>,
    /// The newest topology that any node has shown.
    newest: Option<Arc<Topology>>,
    /// A hash of what each event wrote, and where.
    payloads: BTreeMap<(At, Dot), u64>,
    violations: Vec<Violation>,
    /// Whether some disk may show what nobody wrote. Until the end of the history only that disk is
    /// to blame.
    rotten: bool,
}

struct Machine {
    shelf: Shelf,
    door: Door,
    eye: Eye,
    /// What each replica held at the last look.
    last: BTreeMap<At, Arc<Replica>>,
    /// Replicas that disappeared or went back in time, and for which no decision has been seen yet.
    unexplained: BTreeMap<At, (Duration, Arc<Replica>, &'static str)>,
    /// When its data was destroyed.
    destroyed: Vec<Destruction>,
    /// The newest topology it has shown since its disk was last replaced.
    acted_on: Epoch,
}

impl Oracle {
    pub(super) fn new(start: Instant) -> Self {
        let machines = BTreeMap::new();
        Self(Arc::new(Mutex::new(Knowledge {
            start,
            machines,
            newest: None,
            payloads: BTreeMap::new(),
            violations: Vec::new(),
            rotten: false,
        })))
    }

    fn lock(&self) -> MutexGuard<'_, Knowledge> {
        self.0
            .lock()
            .expect("invariant: no code panics while it holds the oracle")
    }

    pub(super) fn watch(&self, number: NodeId, host: &Host) {
        let (disk, door, eye) = (host.disk.clone(), host.door(), host.eye());
        let machine = Machine {
            shelf: disk,
            door,
            eye,
            last: BTreeMap::new(),
            unexplained: BTreeMap::new(),
            destroyed: Vec::new(),
            acted_on: Epoch(0),
        };
        self.lock().machines.insert(number, machine);
    }

    /// Records that a node's copies were damaged on purpose, so that no check blames the node.
    pub(super) fn destroyed(&self, node: NodeId, harm: Harm) {
        let mut knowledge = self.lock();
        knowledge.forget(node);
        knowledge.rotten |= harm == Harm::Rotten;
        let at = knowledge.start.elapsed();
        if let Some(machine) = knowledge.machines.get_mut(&node) {
            machine.last.clear();
            machine.eye.forget();
            machine.acted_on = Epoch(0);
            machine.destroyed.push(Destruction { at, node, harm });
        }
    }

    /// When copies were destroyed, and how.
    pub(super) fn destructions(&self) -> Vec<Destruction> {
        self.lock()
            .machines
            .values()
            .flat_map(|machine| machine.destroyed.iter().copied())
            .collect()
    }

    pub(super) fn found(&self, check: &'static str, what: String) {
        self.lock().found(check, what);
    }

    pub(super) fn violations(&self) -> Vec<Violation> {
        self.lock().violations.clone()
    }

    pub(super) fn newest(&self) -> Option<Arc<Topology>> {
        self.lock().newest.clone()
    }

    /// The newest topology that any node is acting on right now.
    pub(super) fn acted_on(&self) -> Option<Arc<Topology>> {
        let knowledge = self.lock();
        let shown = knowledge
            .machines
            .values()
            .filter_map(|machine| machine.door.get())
            .map(|data| data.topology());
        shown.max_by_key(|topology| topology.epoch)
    }

    /// A client was told that its write succeeded: check that enough replicas have it on disk.
    pub(super) fn acknowledged(&self, ask: &Ask, need: &Need, receipt: Option<Receipt>) {
        let Some(receipt) = receipt.filter(|_| need.replicas() > 0) else {
            return;
        };
        self.lock().acknowledged(ask, need, receipt);
    }

    /// A client was told that `replicas` others have its write: check that they have it on disk.
    pub(super) fn waited(&self, ask: &Ask, receipt: Receipt, placed: Epoch, replicas: u32) {
        let at = (receipt.keyspace, receipt.partition);
        let now = self
            .acted_on()
            .and_then(|topology| Some(topology.keyspaces.get(&at.0)?.placement(at.1)?.epoch));
        // Replicas that a later decision released may have been counted.
        if now == Some(placed) {
            self.lock().waited(ask, receipt, replicas as usize);
        }
    }

    /// Looks at every disk.
    pub(super) fn look(&self) {
        self.lock().look();
    }
}

impl Knowledge {
    fn found(&mut self, check: &'static str, what: String) {
        let at = self.start.elapsed().as_millis() as u64;
        if !self.violations.iter().any(|known| known.check == check) {
            self.violations.push(Violation { check, at, what });
        }
    }

    /// Forgets events of `node` that only its own disk knew: they may be issued again.
    fn forget(&mut self, node: NodeId) {
        let others = self.machines.iter().filter(|(other, _)| **other != node);
        let elsewhere: Vec<_> = others
            .filter_map(|(_, machine)| machine.shelf.get().replicas().ok())
            .collect();
        let knows = |at: &At, dot: Dot| {
            elsewhere.iter().any(|replicas| {
                replicas
                    .get(at)
                    .is_some_and(|replica| replica.context().contains(dot))
            })
        };
        self.payloads
            .retain(|(at, dot), _| dot.replica.node != node || knows(at, *dot));
    }

    fn acknowledged(&mut self, ask: &Ask, need: &Need, receipt: Receipt) {
        let (holders, destroyed) = self.holders(receipt);
        if holders.len() + destroyed < need.copies() {
            let (copies, held) = (need.copies(), holders.len());
            let what = format!(
                "{ask} was acknowledged, which takes {copies} copies, but only {held} nodes have it on disk: {holders:?}"
            );
            self.found("acknowledged-not-durable", what);
        }
    }

    fn waited(&mut self, ask: &Ask, receipt: Receipt, replicas: usize) {
        let (holders, destroyed) = self.holders(receipt);
        if holders.len() + destroyed < replicas {
            let what = format!(
                "{ask} was reported to be on {replicas} other replicas, but only these nodes have it on disk: {holders:?}"
            );
            self.found("acknowledged-not-durable", what);
        }
    }

    /// The nodes that have the event on disk, and how many nodes lost a copy to destruction: those
    /// may have been counted.
    fn holders(&self, receipt: Receipt) -> (Vec<u64>, usize) {
        let at = (receipt.keyspace, receipt.partition);
        let has = |machine: &Machine| {
            let replicas = machine.shelf.get().replicas();
            replicas.is_ok_and(|replicas| {
                replicas
                    .get(&at)
                    .is_some_and(|replica| replica.context().contains(receipt.dot))
            })
        };
        let holders = self
            .machines
            .iter()
            .filter(|(_, machine)| has(machine))
            .map(|(node, _)| node.0)
            .collect();
        (
            holders,
            self.machines
                .values()
                .filter(|machine| !machine.destroyed.is_empty())
                .count(),
        )
    }

    fn look(&mut self) {
        let mut found = Vec::new();
        for (node, machine) in &mut self.machines {
            found.extend(
                machine
                    .eye
                    .found()
                    .into_iter()
                    .map(|(check, what)| (check, format!("node {}: {what}", node.0))),
            );
            if let Some((before, now)) = machine.shelf.get().gone_back() {
                let what = format!(
                    "node {} has overwritten the topology of epoch {} with that of epoch {}",
                    node.0, before.0, now.0
                );
                found.push(("topology-went-back", what));
            }
            let shown = machine.door.get().map(|data| data.topology());
            if let Some(Epoch(epoch)) = shown.as_ref().map(|topology| topology.epoch) {
                if epoch < machine.acted_on.0 {
                    let what = format!(
                        "node {} shows epoch {epoch} after it showed {}",
                        node.0, machine.acted_on.0
                    );
                    found.push(("topology-went-back", what));
                }
                if epoch > machine.acted_on.0 {
                    let kept = machine.shelf.get().kept_epoch().unwrap_or_default();
                    let what = format!(
                        "node {} acts on epoch {epoch}, but after a crash it would start with {}",
                        node.0, kept.0
                    );
                    found.extend(
                        (kept.0 < epoch).then_some(("topology-acted-on-before-kept", what)),
                    );
                }
                machine.acted_on = Epoch(epoch);
            }
            self.newest = self
                .newest
                .take()
                .into_iter()
                .chain(shown)
                .max_by_key(|topology| topology.epoch);
        }
        for (check, what) in found {
            self.found(check, what);
        }
        let mut by_place: BTreeMap<At, Vec<(NodeId, Arc<Replica>)>> = BTreeMap::new();
        for node in self.machines.keys().copied().collect::<Vec<_>>() {
            match self.look_at(node) {
                Ok(replicas) => replicas.into_iter().for_each(|(at, replica)| {
                    by_place.entry(at).or_default().push((node, replica));
                }),
                Err(error) => self.found("unreadable-disk", format!("node {}: {error}", node.0)),
            }
        }
        if !self.rotten {
            for (at, replicas) in by_place {
                self.compare(at, &replicas);
            }
        }
    }

    /// Compares what a node's disk holds with what it held before.
    fn look_at(&mut self, node: NodeId) -> Result<BTreeMap<At, Arc<Replica>>, StoreError> {
        let Some(machine) = self.machines.get_mut(&node) else {
            return Ok(BTreeMap::new());
        };
        let replicas = machine.shelf.get().replicas()?;
        let now = self.start.elapsed();
        let newest = self.newest.clone();
        let epoch = |at: &At| {
            let keyspace = newest.as_deref()?.keyspaces.get(&at.0)?;
            keyspace.placement(at.1).map(|placement| placement.epoch)
        };
        let mut before = std::mem::take(&mut machine.last);
        let mut changed = Vec::new();
        for (at, replica) in &replicas {
            machine.last.insert(*at, Arc::clone(replica));
            match before.remove(at) {
                // Unchanged since the last look.
                Some(same) if Arc::ptr_eq(&same, replica) => continue,
                Some(other) if !replica.context().covers(other.context()) => {
                    machine.unexplained.entry(*at).or_insert((
                        now,
                        other,
                        "behind its earlier state",
                    ));
                }
                _ => {}
            }
            changed.push((*at, Arc::clone(replica)));
        }
        for (at, last) in before {
            machine.unexplained.entry(at).or_insert((now, last, "gone"));
        }
        let held = |at: &At| {
            let topology = newest.as_deref()?;
            Some(
                topology
                    .keyspaces
                    .get(&at.0)
                    .and_then(|keyspace| keyspace.placement(at.1))
                    .is_some_and(|placement| placement.holds(node)),
            )
        };
        // The placement has changed since the replica was placed: a decision in between may have
        // released it, and it may have been created again.
        machine.unexplained.retain(|at, (_, last, _)| {
            let unchanged = epoch(at) == Some(last.placed());
            held(at) == Some(true) && unchanged && machine.destroyed.is_empty()
        });
        let overdue = machine
            .unexplained
            .iter()
            .find(|(_, (since, ..))| now.saturating_sub(*since) > UNEXPLAINED);
        if let Some((at, (since, last, reason))) = overdue {
            let what = format!(
                "node {}: the replica of keyspace {} partition {} has been {reason} since {} ms. It knew {} events (digest {:x}), and no decision released it",
                node.0,
                at.0.0,
                at.1.0,
                since.as_millis(),
                last.context().event_count(),
                last.digest()
            );
            self.found("erased-without-decision", what);
        }
        if !self.rotten {
            self.payloads_of(node, &changed);
        }
        Ok(replicas)
    }

    /// Checks that no event stands for two different things.
    fn payloads_of(&mut self, node: NodeId, replicas: &[(At, Arc<Replica>)]) {
        let mut twice = None;
        for (at, replica) in replicas {
            for (key, rows) in replica.keys() {
                for (kind, field, row) in rows.iter() {
                    for (dot, payload) in row.iter() {
                        let put = xxh3_64(&wire::encode(&(key, kind as u8, field, payload)));
                        if *self.payloads.entry((*at, dot)).or_insert(put) != put {
                            let what = format!("{key:?} {kind:?} {field:?} {payload:?}");
                            twice = Some(format!(
                                "node {}: event {dot:?} is {what}, but it was something else before",
                                node.0
                            ));
                        }
                    }
                }
            }
        }
        if let Some(what) = twice {
            self.found("event-issued-twice", what);
        }
    }

    /// Checks that replicas that have seen the same events hold the same rows.
    fn compare(&mut self, at: At, replicas: &[(NodeId, Arc<Replica>)]) {
        let settled: Vec<_> = replicas
            .iter()
            .filter(|(_, replica)| replica.residual_count() == 0 && !replica.filling())
            .collect();
        for (i, (a, first)) in settled.iter().enumerate() {
            for (b, second) in &settled[i + 1..] {
                if first.context() == second.context() && first.digest() != second.digest() {
                    let what = format!(
                        "nodes {} and {} have seen the same events of keyspace {} partition {} but hold different rows",
                        a.0, b.0, at.0.0, at.1.0
                    );
                    self.found("equal-contexts-differ", what);
                }
            }
        }
    }
}
