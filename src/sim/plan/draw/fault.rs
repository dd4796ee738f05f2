//! Draws incidents: what breaks, and when it is repaired.

use std::collections::BTreeMap;

use rand::RngExt;
use rand::seq::{IndexedRandom, SliceRandom};

use super::{Draw, Focus};
use crate::sim::plan::{Action, Shape, Step};

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
}

impl Incident {
    /// All kinds, which is what a plan draws from by default.
    pub const ALL: [Self; 25] = [
        Self::Cut,
        Self::Flap,
        Self::Weather,
        Self::Garble,
        Self::DropFrames,
        Self::Stop,
        Self::Crash,
        Self::CrashWhileStarting,
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
    ];
}

/// Kinds that destroy a node's copy of the data. A plan has at most one of these, because a
/// majority must keep what it acknowledged.
const DESTRUCTIVE: [Incident; 4] = [
    Incident::Wipe,
    Incident::Restore,
    Incident::Rot,
    Incident::Remove,
];

impl Draw {
    /// Draws all incidents of a plan that ends at `until`.
    pub(super) fn faults(&mut self, shape: &Shape, until: u64, focus: Focus) {
        let mut kinds = if focus.incidents.is_empty() {
            Incident::ALL.to_vec()
        } else {
            focus.incidents.to_vec()
        };
        kinds.shuffle(&mut self.rng);
        let most = if focus.incidents.is_empty() {
            5
        } else {
            kinds.len()
        };
        let least = usize::from(!focus.incidents.is_empty());
        kinds.truncate(self.rng.random_range(least..=most));
        let mut destroyed = false;
        for kind in kinds {
            let destructive = DESTRUCTIVE.contains(&kind);
            if destructive && std::mem::replace(&mut destroyed, true) {
                continue;
            }
            let times = if destructive {
                1
            } else {
                self.rng.random_range(1..=3)
            };
            for _ in 0..times {
                let from = self.rng.random_range(500..until - 2_000);
                let to = self.rng.random_range(from + 100..until);
                self.incident(kind, shape, (from, to));
            }
        }
    }

    fn push(&mut self, at: u64, action: Action) {
        self.steps.push(Step { at, action });
    }

    fn incident(&mut self, kind: Incident, shape: &Shape, (from, to): (u64, u64)) {
        let nodes: u64 = shape
            .datacenters
            .iter()
            .map(|&nodes| u64::from(nodes))
            .sum();
        let node = self.rng.random_range(1..=nodes);
        match kind {
            Incident::Cut
            | Incident::Flap
            | Incident::Weather
            | Incident::Garble
            | Incident::DropFrames => {
                self.network_incident(kind, nodes, (from, to));
            }
            Incident::Stop => {
                self.push(from, Action::Stop(node));
                self.push(to, Action::GoOn(node));
            }
            Incident::Crash
            | Incident::CrashWhileStarting
            | Incident::CrashAll
            | Incident::CrashMost => {
                self.crash_incident(kind, nodes, (from, to));
            }
            Incident::SlowDisk
            | Incident::FullDisk
            | Incident::FailDisk
            | Incident::Panic
            | Incident::Wipe
            | Incident::Restore
            | Incident::Rot => {
                self.disk_incident(kind, (node, nodes), (from, to));
            }
            Incident::Jump | Incident::Drift | Incident::Freeze | Incident::WrongStart => {
                self.clock_incident(kind, node, (from, to))
            }
            Incident::Keyspace | Incident::Join | Incident::Move | Incident::Remove => {
                self.topology_incident(kind, shape, (node, nodes), (from, to));
            }
        }
    }

    fn network_incident(&mut self, kind: Incident, nodes: u64, (from, to): (u64, u64)) {
        let mut all: Vec<u64> = (1..=nodes).collect();
        all.shuffle(&mut self.rng);
        let inside = all.split_off(self.rng.random_range(0..all.len()));
        match kind {
            Incident::Weather => {
                let (within_us, between_ms) = (
                    self.rng.random_range(500..30_000),
                    self.rng.random_range(20..300),
                );
                let loss = *[0.0, 0.05, 0.3].choose(&mut self.rng).unwrap_or(&0.0);
                self.push(
                    from,
                    Action::Weather {
                        within_us,
                        between_ms,
                        loss,
                    },
                );
                self.push(
                    to,
                    Action::Weather {
                        within_us: 500,
                        between_ms: 10,
                        loss: 0.0,
                    },
                );
            }
            Incident::Garble => {
                let shares = [0.0, 0.05, 0.3];
                let duplicated = *shares.choose(&mut self.rng).unwrap_or(&0.0);
                let overtaken = *shares.choose(&mut self.rng).unwrap_or(&0.3);
                self.push(
                    from,
                    Action::Garble {
                        duplicated,
                        overtaken,
                    },
                );
                self.push(
                    to,
                    Action::Garble {
                        duplicated: 0.0,
                        overtaken: 0.0,
                    },
                );
            }
            Incident::DropFrames => {
                let (Some(&sender), Some(&receiver)) = (inside.first(), all.first()) else {
                    return;
                };
                let share = *[0.1, 0.5, 1.0].choose(&mut self.rng).unwrap_or(&0.5);
                self.push(
                    from,
                    Action::DropFrames {
                        from: sender,
                        to: receiver,
                        share,
                    },
                );
                self.push(
                    to,
                    Action::DropFrames {
                        from: sender,
                        to: receiver,
                        share: 0.0,
                    },
                );
            }
            Incident::Flap => {
                let (Some(&a), Some(&b)) = (inside.first(), all.first()) else {
                    return;
                };
                let period = self.rng.random_range(100..2_500);
                for at in (from..to).step_by(2 * period as usize) {
                    self.push(
                        at,
                        Action::Cut {
                            from: vec![a],
                            to: vec![b],
                        },
                    );
                    self.push(
                        at,
                        Action::Cut {
                            from: vec![b],
                            to: vec![a],
                        },
                    );
                    self.push(at + period, Action::Heal);
                }
            }
            _ => {
                if self.rng.random_bool(0.7) {
                    self.push(
                        from,
                        Action::Cut {
                            from: all.clone(),
                            to: inside.clone(),
                        },
                    );
                }
                self.push(
                    from,
                    Action::Cut {
                        from: inside,
                        to: all,
                    },
                );
                self.push(to, Action::Heal);
            }
        }
    }

    fn crash_incident(&mut self, kind: Incident, nodes: u64, (from, to): (u64, u64)) {
        let node = self.rng.random_range(1..=nodes);
        match kind {
            Incident::CrashAll => {
                for node in 1..=nodes {
                    self.push(from, Action::Crash(node));
                    let late = self.rng.random_range(0..2_000);
                    self.push(u64::min(from + 100 + late, to), Action::Restart(node));
                }
            }
            Incident::CrashMost => {
                let mut all: Vec<u64> = (1..=nodes).collect();
                all.shuffle(&mut self.rng);
                all.truncate(1 + all.len() / 2);
                for node in all {
                    let early = self.rng.random_range(0..500);
                    self.push(from.saturating_sub(early), Action::Crash(node));
                    let late = self.rng.random_range(0..2_000);
                    self.push(to + late, Action::Restart(node));
                }
            }
            Incident::CrashWhileStarting => {
                self.push(from, Action::Crash(node));
                self.push(from + 50, Action::Restart(node));
                let again = from + 50 + self.rng.random_range(0..600);
                self.push(again, Action::Crash(node));
                self.push(u64::max(again + 50, to), Action::Restart(node));
            }
            _ => {
                self.push(from, Action::Crash(node));
                self.push(to, Action::Restart(node));
            }
        }
    }

    fn disk_incident(&mut self, kind: Incident, (node, nodes): (u64, u64), (from, to): (u64, u64)) {
        match kind {
            Incident::SlowDisk => {
                let slower = self.rng.random_range(5..800);
                self.push(from, Action::SlowDisk(node, slower));
                self.push(to, Action::SlowDisk(node, 0));
            }
            Incident::FullDisk => {
                self.push(from, Action::FullDisk(node, true));
                self.push(to, Action::FullDisk(node, false));
            }
            Incident::FailDisk | Incident::Panic => {
                self.push(
                    from,
                    if kind == Incident::Panic {
                        Action::Panic(node)
                    } else {
                        Action::FailDisk(node)
                    },
                );
                self.push(to, Action::Crash(node));
                self.push(to + 50, Action::Restart(node));
            }
            Incident::Restore => {
                self.push(from / 2, Action::Backup(node));
                self.push(from, Action::Crash(node));
                self.push(to, Action::Restore(node));
                self.push(to, Action::Restart(node));
            }
            // With fewer than three copies, a rotten one cannot be outvoted.
            Incident::Rot if nodes < 3 => {}
            kind => {
                self.push(from, Action::Crash(node));
                self.push(
                    to,
                    if kind == Incident::Wipe {
                        Action::Wipe(node)
                    } else {
                        Action::Rot(node)
                    },
                );
                self.push(to, Action::Restart(node));
            }
        }
    }

    fn clock_incident(&mut self, kind: Incident, node: u64, (from, to): (u64, u64)) {
        let mut jump = || {
            Action::Jump(
                node,
                *[-3_600_000, -2_000, 300, 2_000, 3_600_000]
                    .choose(&mut self.rng)
                    .unwrap_or(&2_000),
            )
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
            Incident::Drift => Action::Drift(
                node,
                *[-100_000, -1_000, 1_000, 100_000]
                    .choose(&mut self.rng)
                    .unwrap_or(&1_000),
            ),
            _ => Action::Freeze(node, true),
        };
        self.push(from, action);
        self.push(to, Action::MendClock(node));
    }

    fn topology_incident(
        &mut self,
        kind: Incident,
        shape: &Shape,
        (node, nodes): (u64, u64),
        (from, to): (u64, u64),
    ) {
        match kind {
            Incident::Keyspace => {
                let number = self.rng.random_range(2..=3);
                let partitions = *[1, 2, 8].choose(&mut self.rng).unwrap_or(&1);
                self.push(from, Action::MakeKeyspace { number, partitions });
                if self.rng.random_bool(0.2) {
                    self.push(to, Action::DropKeyspace(number));
                }
            }
            Incident::Join => {
                let datacenter = self.rng.random_range(1..=shape.datacenters.len() as u8);
                self.push(from, Action::Join(datacenter));
            }
            Incident::Remove => {
                if nodes >= 4 {
                    let lost = self.rng.random_bool(0.3);
                    if lost {
                        self.push(from, Action::Crash(node));
                    }
                    self.push(from + 1, Action::Remove { node, lost });
                }
            }
            _ => {
                let mut replicas = BTreeMap::new();
                for (&nodes, datacenter) in shape.datacenters.iter().zip(1..) {
                    replicas.insert(
                        datacenter,
                        self.rng
                            .random_range(u8::from(datacenter == 1)..=u8::min(nodes, 3)),
                    );
                }
                self.push(
                    from,
                    Action::Replicate {
                        keyspace: 1,
                        replicas,
                    },
                );
            }
        }
    }
}
