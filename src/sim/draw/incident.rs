//! Draws incidents: what breaks, and when it is repaired.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use super::dice::pick;
use crate::sim::plan::Step;
use crate::sim::plan::action::Action;
use crate::sim::plan::shape::Shape;

/// A kind of incident. An incident consists of one or more [`Action`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Incident {
    /// Nodes are cut off, in one direction or both.
    Cut,
    /// One link goes down and comes back, again and again.
    Flap,
    /// The network becomes slow and lossy.
    Weather,
    /// Frames arrive twice or out of order.
    Garble,
    /// Frames are dropped while the connection stays up.
    DropFrames,
    /// A process is suspended.
    Stop,
    /// A node is killed and restarted.
    Crash,
    /// A node is killed again while it is starting.
    CrashWhileStarting,
    /// A node is killed and restarted at another address.
    Readdress,
    /// All nodes are killed and restarted.
    CrashAll,
    /// All but a minority are killed, and restarted.
    CrashMost,
    /// A shard panics.
    Panic,
    /// A disk is slow.
    SlowDisk,
    /// A disk is full.
    FullDisk,
    /// A disk fails, and only what was synced survives.
    FailDisk,
    /// A node's data is lost.
    Wipe,
    /// A node's data is set back to an earlier state.
    Restore,
    /// A byte of a value changes.
    Rot,
    /// A clock jumps.
    Jump,
    /// A clock runs too fast or too slow.
    Drift,
    /// A clock stands still.
    Freeze,
    /// A node is killed and restarted with a wrong clock.
    WrongStart,
    /// A keyspace is created, and perhaps dropped.
    Keyspace,
    /// A node joins.
    Join,
    /// The replication of a keyspace changes, so partitions move.
    Move,
    /// A node is removed.
    Remove,
    /// A node dies for good, and another takes its place.
    Replace,
    /// A node is drained, and perhaps used again.
    Drain,
}

impl Incident {
    /// All kinds, which is what a plan draws from by default.
    pub const ALL: [Self; 28] = [
        Self::Cut,
        Self::Flap,
        Self::Weather,
        Self::Garble,
        Self::DropFrames,
        Self::Stop,
        Self::Crash,
        Self::CrashWhileStarting,
        Self::Readdress,
        Self::CrashAll,
        Self::CrashMost,
        Self::Panic,
        Self::SlowDisk,
        Self::FullDisk,
        Self::FailDisk,
        Self::Wipe,
        Self::Restore,
        Self::Rot,
        Self::Jump,
        Self::Drift,
        Self::Freeze,
        Self::WrongStart,
        Self::Keyspace,
        Self::Join,
        Self::Move,
        Self::Remove,
        Self::Replace,
        Self::Drain,
    ];
}

/// Kinds that destroy a node's copy of the data, or leave all copies on fewer nodes. A plan has at
/// most one of these, because a majority must keep what it acknowledged.
const DESTRUCTIVE: [Incident; 6] = [
    Incident::Wipe,
    Incident::Restore,
    Incident::Rot,
    Incident::Remove,
    Incident::Replace,
    Incident::Drain,
];

/// All incidents of a plan that ends at `until`. `only` restricts their kinds, if not empty.
pub(super) fn steps(rng: &mut StdRng, shape: &Shape, until: u64, only: &[Incident]) -> Vec<Step> {
    let mut kinds = if only.is_empty() {
        Incident::ALL.to_vec()
    } else {
        only.to_vec()
    };
    kinds.shuffle(rng);
    let most = if only.is_empty() { 5 } else { kinds.len() };
    let least = usize::from(!only.is_empty());
    kinds.truncate(rng.random_range(least..=most));
    let nodes = shape
        .datacenters
        .iter()
        .map(|&nodes| u64::from(nodes))
        .sum();
    let mut incidents = Incidents {
        rng,
        shape,
        nodes,
        steps: Vec::new(),
    };
    let mut destroyed = false;
    for kind in kinds {
        let destructive = DESTRUCTIVE.contains(&kind);
        if destructive && std::mem::replace(&mut destroyed, true) {
            continue;
        }
        // Two nodes that both move while they do not see each other need somebody to tell them.
        let times = if destructive || kind == Incident::Readdress {
            1
        } else {
            incidents.rng.random_range(1..=3)
        };
        for _ in 0..times {
            let from = incidents.rng.random_range(500..until - 2_000);
            let to = incidents.rng.random_range(from + 100..until);
            incidents.add(kind, Span { from, to });
        }
    }
    incidents.steps
}

/// When something breaks, and when it is repaired.
#[derive(Clone, Copy)]
struct Span {
    from: u64,
    to: u64,
}

/// The incidents drawn so far.
struct Incidents<'a> {
    rng: &'a mut StdRng,
    shape: &'a Shape,
    nodes: u64,
    steps: Vec<Step>,
}

impl Incidents<'_> {
    fn push(&mut self, at: u64, action: Action) {
        self.steps.push(Step { at, action });
    }

    /// `wrong` for the span, then `right`.
    fn during(&mut self, span: Span, wrong: Action, right: Action) {
        self.push(span.from, wrong);
        self.push(span.to, right);
    }

    fn add(&mut self, kind: Incident, span: Span) {
        let node = self.rng.random_range(1..=self.nodes);
        match kind {
            Incident::Cut
            | Incident::Flap
            | Incident::Weather
            | Incident::Garble
            | Incident::DropFrames => self.network(kind, span),
            Incident::Stop => self.during(span, Action::Stop(node), Action::GoOn(node)),
            Incident::Crash
            | Incident::CrashWhileStarting
            | Incident::Readdress
            | Incident::CrashAll
            | Incident::CrashMost => self.crash(kind, span),
            Incident::SlowDisk
            | Incident::FullDisk
            | Incident::FailDisk
            | Incident::Panic
            | Incident::Wipe
            | Incident::Restore
            | Incident::Rot => self.disk(kind, node, span),
            Incident::Jump | Incident::Drift | Incident::Freeze | Incident::WrongStart => {
                self.clock(kind, node, span);
            }
            Incident::Keyspace
            | Incident::Join
            | Incident::Move
            | Incident::Remove
            | Incident::Replace
            | Incident::Drain => {
                self.topology(kind, node, span);
            }
        }
    }

    fn network(&mut self, kind: Incident, span: Span) {
        let mut outside: Vec<u64> = (1..=self.nodes).collect();
        outside.shuffle(self.rng);
        let inside = outside.split_off(self.rng.random_range(0..outside.len()));
        match kind {
            Incident::Weather => {
                let (within_us, between_ms) = (
                    self.rng.random_range(500..30_000),
                    self.rng.random_range(20..300),
                );
                let weather = |within_us, between_ms, loss| Action::Weather {
                    within_us,
                    between_ms,
                    loss,
                };
                let loss = pick(self.rng, [0.0, 0.05, 0.3]);
                self.during(
                    span,
                    weather(within_us, between_ms, loss),
                    weather(500, 10, 0.0),
                );
            }
            Incident::Garble => {
                let garble = |duplicated, overtaken| Action::Garble {
                    duplicated,
                    overtaken,
                };
                let duplicated = pick(self.rng, [0.0, 0.05, 0.3]);
                let overtaken = pick(self.rng, [0.0, 0.05, 0.3]);
                self.during(span, garble(duplicated, overtaken), garble(0.0, 0.0));
            }
            Incident::DropFrames => {
                let (Some(&from), Some(&to)) = (inside.first(), outside.first()) else {
                    return;
                };
                let drop = |share| Action::DropFrames { from, to, share };
                let share = pick(self.rng, [0.1, 0.5, 1.0]);
                self.during(span, drop(share), drop(0.0));
            }
            Incident::Flap => {
                if let (Some(&a), Some(&b)) = (inside.first(), outside.first()) {
                    self.flap(a, b, span);
                }
            }
            _ => {
                if self.rng.random_bool(0.7) {
                    self.push(span.from, cut(&outside, &inside));
                }
                self.during(span, cut(&inside, &outside), Action::Heal);
            }
        }
    }

    /// The link between two nodes goes down and comes back, again and again.
    fn flap(&mut self, a: u64, b: u64, span: Span) {
        let period = self.rng.random_range(100..2_500);
        for at in (span.from..span.to).step_by(2 * period as usize) {
            self.push(at, cut(&[a], &[b]));
            self.push(at, cut(&[b], &[a]));
            self.push(at + period, Action::Heal);
        }
    }

    fn crash(&mut self, kind: Incident, span: Span) {
        let Span { from, to } = span;
        let node = self.rng.random_range(1..=self.nodes);
        match kind {
            Incident::CrashAll => {
                for node in 1..=self.nodes {
                    self.push(from, Action::Crash(node));
                    let late = self.rng.random_range(0..2_000);
                    self.push(u64::min(from + 100 + late, to), Action::Restart(node));
                }
            }
            Incident::CrashMost => {
                let mut all: Vec<u64> = (1..=self.nodes).collect();
                all.shuffle(self.rng);
                all.truncate(1 + all.len() / 2);
                for node in all {
                    let early = self.rng.random_range(0..500);
                    self.push(from.saturating_sub(early), Action::Crash(node));
                    let late = self.rng.random_range(0..2_000);
                    self.push(to + late, Action::Restart(node));
                }
            }
            Incident::Readdress => {
                self.during(span, Action::Crash(node), Action::Restart(node));
                self.push(from + 10, Action::Readdress(node));
            }
            Incident::CrashWhileStarting => {
                self.push(from, Action::Crash(node));
                self.push(from + 50, Action::Restart(node));
                let again = from + 50 + self.rng.random_range(0..600);
                self.push(again, Action::Crash(node));
                self.push(u64::max(again + 50, to), Action::Restart(node));
            }
            _ => self.during(span, Action::Crash(node), Action::Restart(node)),
        }
    }

    fn disk(&mut self, kind: Incident, node: u64, span: Span) {
        let Span { from, to } = span;
        match kind {
            Incident::SlowDisk => {
                let slower = self.rng.random_range(5..800);
                self.during(
                    span,
                    Action::SlowDisk(node, slower),
                    Action::SlowDisk(node, 0),
                );
            }
            Incident::FullDisk => self.during(
                span,
                Action::FullDisk(node, true),
                Action::FullDisk(node, false),
            ),
            Incident::FailDisk | Incident::Panic => {
                let wrong = if kind == Incident::Panic {
                    Action::Panic(node)
                } else {
                    Action::FailDisk(node)
                };
                self.during(span, wrong, Action::Crash(node));
                self.push(to + 50, Action::Restart(node));
            }
            Incident::Restore => {
                self.push(from / 2, Action::Backup(node));
                self.during(span, Action::Crash(node), Action::Restore(node));
                self.push(to, Action::Restart(node));
            }
            // With fewer than three copies, a rotten one cannot be outvoted.
            Incident::Rot if self.nodes < 3 => {}
            kind => {
                let harm = if kind == Incident::Wipe {
                    Action::Wipe(node)
                } else {
                    Action::Rot(node)
                };
                self.during(span, Action::Crash(node), harm);
                self.push(to, Action::Restart(node));
            }
        }
    }

    fn clock(&mut self, kind: Incident, node: u64, span: Span) {
        let Span { from, to } = span;
        let mut jump = || {
            let millis = pick(self.rng, [-3_600_000, -2_000, 300, 2_000, 3_600_000]);
            Action::Jump(node, millis)
        };
        let action = match kind {
            Incident::Jump => jump(),
            Incident::WrongStart => {
                let wrong = jump();
                self.push(from, Action::Crash(node));
                self.push(from, wrong);
                let start = self.rng.random_range(from + 50..to);
                self.push(start, Action::Restart(node));
                self.push(to, Action::MendClock(node));
                return;
            }
            Incident::Drift => {
                Action::Drift(node, pick(self.rng, [-100_000, -1_000, 1_000, 100_000]))
            }
            _ => Action::Freeze(node, true),
        };
        self.during(span, action, Action::MendClock(node));
    }

    fn topology(&mut self, kind: Incident, node: u64, span: Span) {
        let Span { from, to } = span;
        match kind {
            Incident::Keyspace => {
                let number = self.rng.random_range(2..=3);
                let partitions = pick(self.rng, [1, 2, 8]);
                self.push(from, Action::MakeKeyspace { number, partitions });
                if self.rng.random_bool(0.2) {
                    self.push(to, Action::DropKeyspace(number));
                }
            }
            Incident::Join => {
                let datacenters = self.shape.datacenters.len() as u8;
                let datacenter = self.rng.random_range(1..=datacenters);
                self.push(from, Action::Join(datacenter));
            }
            Incident::Remove => {
                if self.nodes >= 4 {
                    let lost = self.rng.random_bool(0.3);
                    if lost {
                        self.push(from, Action::Crash(node));
                    }
                    self.push(from + 1, Action::Remove { node, lost });
                }
            }
            Incident::Replace => {
                // Of fewer than three nodes only one votes.
                if self.nodes >= 3 {
                    self.push(from, Action::Crash(node));
                    self.push(from + 1, Action::Replace(node));
                }
            }
            Incident::Drain => {
                let drain = |drained| Action::Drain { node, drained };
                self.push(from, drain(true));
                if self.rng.random_bool(0.5) {
                    self.push(to, drain(false));
                }
            }
            _ => {
                let mut replicas = BTreeMap::new();
                for (&nodes, datacenter) in self.shape.datacenters.iter().zip(1..) {
                    let least = u8::from(datacenter == 1);
                    let count = self.rng.random_range(least..=u8::min(nodes, 3));
                    replicas.insert(datacenter, count);
                }
                let keyspace = 1;
                self.push(from, Action::Replicate { keyspace, replicas });
            }
        }
    }
}

fn cut(from: &[u64], to: &[u64]) -> Action {
    Action::Cut {
        from: from.to_vec(),
        to: to.to_vec(),
    }
}
