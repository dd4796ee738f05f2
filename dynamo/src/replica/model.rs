//! A small cluster of replicas, checked against the reference of the executable model: the entry of
//! an event is live unless some event that had observed it dropped it.
//!
//! Each seed plays random puts, deletes, wipes of keys, loss, duplication, reordering,
//! anti-entropy, stability, guests, and a replica that loses its disk and is filled while traffic
//! continues. Then everything is delivered, and all replicas must have equal contexts, equal
//! digests, no residuals, nothing recent, and exactly the rows of the reference.
//! `each_broken_rule_is_caught` shows that this test notices a broken rule.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_control::topology::{Epoch, KeyspaceId, Partition};
use quorate_crdt::planted::Bug;
use quorate_crdt::{CausalContext, Dot, Hlc, NodeId, ReplicaId};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::{Cut, Delta, Payload, Range, Replaces, Replica, Row, RowKey, Within};
use crate::planted;
use crate::protocol::{Place, Seen};

/// Guests exist in this model only.
const GUEST_FORGETS: Bug = Bug {
    name: "guest-forgets",
    breaks: "a guest drops its rows after handoff but goes on under the same id",
};

/// What the replicas must arrive at, computed from the events alone.
#[derive(Default)]
struct Reference {
    put: BTreeMap<Dot, RowKey>,
    dropped: BTreeSet<Dot>,
}

impl Reference {
    fn rows(&self) -> BTreeMap<RowKey, BTreeSet<Dot>> {
        let mut rows: BTreeMap<RowKey, BTreeSet<Dot>> = BTreeMap::new();
        for (dot, name) in self
            .put
            .iter()
            .filter(|(dot, _)| !self.dropped.contains(dot))
        {
            rows.entry(name.clone()).or_default().insert(*dot);
        }
        rows
    }
}

/// A replica that is being filled from another.
struct Filling {
    target: ReplicaId,
    source: ReplicaId,
    context: CausalContext,
    /// The ranges still to come, in any order.
    todo: Vec<Range>,
}

struct Cluster {
    rng: StdRng,
    ids: u64,
    reference: Reference,
    primaries: Vec<Replica>,
    guests: Vec<Replica>,
    network: Vec<(ReplicaId, Delta)>,
    fillings: Vec<Filling>,
    loss: f64,
}

fn names() -> Vec<RowKey> {
    let field = |key: &'static str, field: &'static str| {
        RowKey::member(Bytes::from(key), Bytes::from(field))
    };
    ["a", "b"]
        .into_iter()
        .flat_map(|key| ["0", "1", "2"].map(|name| field(key, name)))
        .collect()
}

/// Slices that together make up the partition, cut before, inside and behind keys.
fn slices(rng: &mut StdRng) -> Vec<Range> {
    let mut cuts: Vec<Cut> = names()
        .into_iter()
        .flat_map(|name| {
            let within = [
                Within::Before,
                Within::Row(name.kind, name.field.clone()),
                Within::After,
            ];
            within.map(|within| Cut {
                key: name.key.clone(),
                within,
            })
        })
        .filter(|_| rng.random_bool(0.2))
        .collect();
    cuts.sort_by_key(Cut::point);
    cuts.dedup();
    let ends = cuts.iter().cloned().map(Some).chain([None]);
    std::iter::once(None)
        .chain(cuts.iter().cloned().map(Some))
        .zip(ends)
        .map(|(after, through)| Range::Slice { after, through })
        .collect()
}

impl Cluster {
    fn new(seed: u64) -> Self {
        let mut cluster = Self {
            rng: StdRng::seed_from_u64(seed),
            ids: 0,
            reference: Reference::default(),
            primaries: Vec::new(),
            guests: Vec::new(),
            network: Vec::new(),
            fillings: Vec::new(),
            loss: 0.0,
        };
        cluster.loss = *[0.0, 0.1, 0.5, 0.9]
            .choose(&mut cluster.rng)
            .expect("not empty");
        cluster.primaries = (0..3).map(|_| cluster.new_replica()).collect();
        cluster
    }

    fn new_replica(&mut self) -> Replica {
        self.ids += 1;
        let mut replica = Replica::new(ReplicaId::new(NodeId(self.ids), 1));
        replica.remove_at_once(*[0, 1, 1_000].choose(&mut self.rng).expect("not empty"));
        replica
    }

    fn primary(&mut self, id: ReplicaId) -> Option<&mut Replica> {
        self.primaries.iter_mut().find(|replica| replica.id() == id)
    }

    fn step(&mut self) {
        let dice: f64 = self.rng.random();
        if dice < 0.40 {
            self.client_write();
        } else if dice < 0.74 && !self.network.is_empty() {
            let at = self.rng.random_range(0..self.network.len());
            let (target, delta) = self.network.swap_remove(at);
            if let Some(replica) = self.primary(target) {
                replica.join(&delta);
            }
        } else if dice < 0.82 {
            let (behind, ahead) = self.two();
            self.anti_entropy(behind, ahead);
        } else if dice < 0.88 {
            self.exchange_contexts();
        } else if dice < 0.91 {
            self.lose_a_disk();
        } else if dice < 0.93 {
            let guest = self.new_replica();
            self.guests.push(guest);
        } else if !self.guests.is_empty() {
            let at = self.rng.random_range(0..self.guests.len());
            if dice < 0.96 {
                let name = names().choose(&mut self.rng).expect("not empty").clone();
                let mut guest = self.guests.swap_remove(at);
                self.put(&mut guest, name);
                self.guests.push(guest);
            } else {
                self.hand_off(at);
            }
        }
        for at in (0..self.fillings.len()).rev() {
            if self.rng.random_bool(0.3) {
                self.advance(at);
            }
        }
    }

    fn two(&mut self) -> (usize, usize) {
        let one = self.rng.random_range(0..3);
        (one, (one + self.rng.random_range(1..3)) % 3)
    }

    fn put(&mut self, replica: &mut Replica, name: RowKey) -> Delta {
        let dropped = replica
            .rows
            .get(&name)
            .into_iter()
            .flat_map(Row::iter)
            .map(|(dot, _)| dot)
            .collect::<Vec<_>>();
        let value = Bytes::from(self.reference.put.len().to_string());
        let mut write = replica.write();
        write.put(
            name.clone(),
            Payload::Register {
                hlc: Hlc::default(),
                value,
                expires: None,
            },
            Replaces::All,
        );
        let (delta, dot) = write.finish().expect("something was written");
        self.reference.put.insert(dot, name);
        self.reference.dropped.extend(dropped);
        delta
    }

    fn client_write(&mut self) {
        let at = self.rng.random_range(0..3);
        let name = names().choose(&mut self.rng).expect("not empty").clone();
        let mut replica = self.primaries.swap_remove(at);
        let dice: f64 = self.rng.random();
        let delta = if dice < 0.6 {
            self.put(&mut replica, name)
        } else {
            let range = if dice < 0.85 {
                Range::Row(name)
            } else {
                Range::Key(name.key)
            };
            self.reference.dropped.extend(
                replica
                    .rows
                    .copy_of(&range)
                    .iter()
                    .flat_map(|(_, row)| row.iter().map(|(dot, _)| dot)),
            );
            let mut write = replica.write();
            write.wipe(range);
            write.finish().expect("something was written").0
        };
        for other in &self.primaries {
            if !self.rng.random_bool(self.loss) {
                let copies = if self.rng.random_bool(0.1) { 2 } else { 1 };
                self.network
                    .extend(std::iter::repeat_n((other.id(), delta.clone()), copies));
            }
        }
        self.primaries.push(replica);
    }

    /// Sends what the replica behind lacks, or starts to fill it if the other no longer remembers
    /// it event by event.
    fn anti_entropy(&mut self, behind: usize, ahead: usize) {
        if self.primaries[ahead].filling() {
            return;
        }
        let (target, source) = (self.primaries[behind].id(), self.primaries[ahead].id());
        let missing = self.primaries[ahead].missing_at(
            self.primaries[behind].context(),
            usize::MAX,
            usize::MAX,
        );
        if missing.behind.is_some() {
            self.fill(target, source);
            return;
        }
        for delta in missing.deltas {
            if self.rng.random_bool(0.7) {
                self.network.push((target, delta));
            }
        }
    }

    fn fill(&mut self, target: ReplicaId, source: ReplicaId) {
        let context = self.primary(source).expect("a primary").context().clone();
        let todo = slices(&mut self.rng);
        self.fillings.push(Filling {
            target,
            source,
            context,
            todo,
        });
    }

    fn advance(&mut self, at: usize) {
        let Filling {
            target,
            source,
            context,
            todo,
        } = &mut self.fillings[at];
        let (target, source) = (*target, *source);
        let present = |id| self.primaries.iter().any(|replica| replica.id() == id);
        if !present(target) || !present(source) {
            self.fillings.swap_remove(at);
            if let Some(replica) = self.primary(target) {
                replica.settle_slices();
            }
        } else if todo.is_empty() {
            let context = context.clone();
            self.fillings.swap_remove(at);
            let replica = self.primary(target).expect("present");
            if planted::ADOPT_AT_THE_END.is_planted() {
                replica.hold(&Range::ALL, &context);
            }
            assert!(
                replica.context().covers(&context) || planted::RESIDUAL_SKIPPED.is_planted(),
                "a whole stream has not been adopted"
            );
            replica.finish_filling();
        } else {
            let range = todo.swap_remove(self.rng.random_range(0..todo.len()));
            let delta = self.primary(source).expect("present").delta(range);
            self.primary(target).expect("present").join(&delta);
        }
    }

    fn exchange_contexts(&mut self) {
        let at = self.rng.random_range(0..3);
        let mut replica = self.primaries.swap_remove(at);
        for other in &self.primaries {
            if self.rng.random_bool(0.8) {
                replica.hear(other.id().node, &seen(other));
            }
        }
        let others: Vec<NodeId> = self.primaries.iter().map(|other| other.id().node).collect();
        replica.tick(&others);
        self.primaries.push(replica);
    }

    /// Destroys a disk. Only events that some other primary has can survive, so this waits for a
    /// moment when that holds for all.
    fn lose_a_disk(&mut self) {
        let at = self.rng.random_range(0..3);
        let covered = |other: &Replica| {
            !other.filling() && other.context().covers(self.primaries[at].context())
        };
        let sources: Vec<ReplicaId> = self
            .primaries
            .iter()
            .enumerate()
            .filter(|(i, other)| *i != at && covered(other))
            .map(|(_, other)| other.id())
            .collect();
        let Some(source) = sources.choose(&mut self.rng).copied() else {
            return;
        };
        if self.primaries.iter().any(Replica::filling) {
            return;
        }
        let mut fresh = self.new_replica();
        fresh.start_filling();
        let target = fresh.id();
        self.primaries[at] = fresh;
        self.fill(target, source);
    }

    fn hand_off(&mut self, at: usize) {
        for primary in &mut self.primaries {
            let missing = self.guests[at].missing_at(primary.context(), usize::MAX, usize::MAX);
            missing.deltas.iter().for_each(|delta| {
                primary.join(delta);
            });
        }
        if GUEST_FORGETS.is_planted() {
            let guest = &mut self.guests[at];
            guest.rows = super::Rows::default();
            guest.recent = super::Recent::default();
        } else {
            self.guests.swap_remove(at);
        }
    }

    fn finish_fillings(&mut self) {
        while !self.fillings.is_empty() {
            self.advance(0);
        }
    }

    fn quiesce(&mut self) {
        for (target, delta) in std::mem::take(&mut self.network) {
            if let Some(replica) = self.primary(target) {
                replica.join(&delta);
            }
        }
        self.finish_fillings();
        while !self.guests.is_empty() {
            let before = self.guests.len();
            self.hand_off(0);
            if self.guests.len() == before {
                break;
            }
        }
        for _ in 0..4 {
            for (behind, ahead) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
                let missing = self.primaries[ahead].missing_at(
                    self.primaries[behind].context(),
                    usize::MAX,
                    usize::MAX,
                );
                if missing.behind.is_some() {
                    let (target, source) =
                        (self.primaries[behind].id(), self.primaries[ahead].id());
                    self.fill(target, source);
                    self.finish_fillings();
                }
                missing.deltas.iter().for_each(|delta| {
                    self.primaries[behind].join(delta);
                });
            }
        }
        for _ in 0..2 {
            let told: Vec<(NodeId, Seen)> = self
                .primaries
                .iter()
                .map(|replica| (replica.id().node, seen(replica)))
                .collect();
            for replica in &mut self.primaries {
                let others: Vec<_> = told
                    .iter()
                    .filter(|(node, _)| *node != replica.id().node)
                    .collect();
                for (node, seen) in &others {
                    replica.hear(*node, seen);
                }
                let others: Vec<NodeId> = others.iter().map(|(node, _)| *node).collect();
                replica.tick(&others);
            }
        }
    }

    fn verdict(&self) -> Result<(), &'static str> {
        let expected = self.reference.rows();
        for replica in &self.primaries {
            let rows: BTreeMap<RowKey, BTreeSet<Dot>> = replica
                .rows
                .copy_of(&Range::ALL)
                .into_iter()
                .map(|(name, row)| (name, row.iter().map(|(dot, _)| dot).collect()))
                .collect();
            let checks = [
                (
                    replica.context() == self.primaries[0].context(),
                    "contexts differ",
                ),
                (
                    replica.digest() == self.primaries[0].digest(),
                    "digests differ under equal contexts",
                ),
                (rows == expected, "rows differ from the reference"),
                (
                    replica.row_count() == expected.len() as u64,
                    "the row count is wrong",
                ),
                (replica.residual_count() == 0, "a residual is left"),
                (
                    replica.recent_count() == 0,
                    "an event is still recent though all know it",
                ),
            ];
            if let Some((_, problem)) = checks.iter().find(|(holds, _)| !holds) {
                return Err(problem);
            }
        }
        Ok(())
    }
}

fn seen(replica: &Replica) -> Seen {
    Seen {
        place: Place {
            keyspace: KeyspaceId(0),
            partition: Partition(0),
            epoch: Epoch(1),
        },
        replica: replica.id(),
        context: replica.context().clone(),
        digest: replica.digest(),
        filling: replica.filling(),
        partial: replica.is_partial(),
        beyond: replica.beyond(),
        waking: false,
        former: replica.former().clone(),
        exact: replica.is_exact(),
        to: None,
        fencing: replica.fencing(),
    }
}

fn run(seed: u64) -> Result<(), &'static str> {
    let mut cluster = Cluster::new(seed);
    for _ in 0..cluster.rng.random_range(20..250) {
        cluster.step();
    }
    cluster.quiesce();
    cluster.verdict()
}

/// The number of seeds. `QUORATE_MODEL_SEEDS=n` plays more.
fn seeds() -> u64 {
    std::env::var("QUORATE_MODEL_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(2000)
}

#[test]
fn replicas_converge_to_the_reference() {
    for seed in 0..seeds() {
        run(seed).unwrap_or_else(|problem| panic!("seed {seed}: {problem}"));
    }
}

#[cfg(feature = "planted-bugs")]
#[test]
fn each_broken_rule_is_caught() {
    for bug in [
        planted::RESIDUAL_SKIPPED,
        planted::ADOPT_AT_THE_END,
        GUEST_FORGETS,
        planted::PAYLOAD_DECIDES,
    ] {
        quorate_crdt::planted::plant(Some(&bug));
        let caught = (0..2000).find_map(|seed| run(seed).err());
        quorate_crdt::planted::plant(None);
        assert!(
            caught.is_some(),
            "2000 seeds did not notice that {}",
            bug.breaks
        );
    }
}
