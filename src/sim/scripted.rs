//! Short histories written by hand, for what random ones rarely reach.

use std::collections::BTreeMap;

use quorate_dynamo::Consistency;
use quorate_dynamo::op::Limits;

use super::{Action, Ask, Deed, Key, Kind, Knobs, Plan, Shape, Step};
use crate::node::Queues;
use crate::sim::ask::NAMES;

/// A script under construction.
struct Script {
    plan: Plan,
    asked: u32,
}

impl Script {
    /// A cluster with these numbers of nodes per datacenter, one partition, and a network without
    /// faults.
    fn new(datacenters: &[u8]) -> Self {
        let shape = Shape {
            datacenters: datacenters.to_vec(),
            racks: 0,
            partitions: 1,
            cores: 1,
            within_us: 500,
            between_ms: 5,
            loss: 0.0,
            skew_ms: 0,
            heartbeat_ms: 150,
        };
        Self {
            plan: Plan {
                seed: 1,
                shape,
                knobs: Knobs::default(),
                limits: Limits::default(),
                queues: Queues::default(),
                steps: Vec::new(),
                until: 1_000,
            },
            asked: 0,
        }
    }

    fn knobs(mut self, change: impl FnOnce(&mut Knobs)) -> Self {
        change(&mut self.plan.knobs);
        self
    }

    fn queues(mut self, change: impl FnOnce(&mut Queues)) -> Self {
        change(&mut self.plan.queues);
        self
    }

    fn at(mut self, at: u64, action: Action) -> Self {
        self.plan.until = self.plan.until.max(at + 1_000);
        self.plan.steps.push(Step { at, action });
        self
    }

    /// A request in the first keyspace. Each node has a client of its own.
    fn ask(mut self, at: u64, (node, level): (u64, Consistency), kind: Kind, deed: Deed) -> Self {
        self.asked += 1;
        let (client, key, again) = (node as u8, Key(kind, 0), Vec::new());
        let ask = Ask {
            id: self.asked,
            client,
            node,
            level,
            keyspace: 1,
            key,
            deed,
            timeout: 1_000,
            again,
            wait: 0,
        };
        self.at(at, Action::Ask(ask))
    }

    fn done(mut self) -> Plan {
        self.plan.steps.sort_by_key(|step| step.at);
        self.plan
    }
}

const QUORUM: Consistency = Consistency::Quorum;
const ONE: Consistency = Consistency::One;
const ALL: Consistency = Consistency::All;

/// The scripts that can find the bug, with their names.
pub(super) fn for_bug(bug: &str) -> Vec<(&'static str, Plan)> {
    match bug {
        "reap-by-own-clock" | "reap-at-one" => vec![("a clock two hours ahead", clock_ahead())],
        "reap-without-a-look" => {
            vec![("an expiry extended while the reaper is cut off", extended())]
        }
        "expiry-outlives-set" => vec![("a set over a value that expires", set_over_expiry())],
        "switch-without-spread" => vec![("a move away from the one that knows", leaving())],
        "lives-reused" => vec![("away and back", away_and_back())],
        "chunk-of-any-stream" | "pull-once" => {
            vec![("a wiped node behind a link that drops", wiped())]
        }
        "topology-from-the-leader-alone" => vec![(
            "a leader that joined while a node was away",
            unknown_leader(),
        )],
        "renew-by-one" => {
            vec![
                ("a disk from three starts before", set_back()),
                ("an older disk after an hour ahead", older_disk()),
            ]
        }
        "plane-fails-alone" => vec![("a disk that fails under the control group", control_disk())],
        "oversize-frame-dropped" => vec![("many elements at once", many_elements())],
        "oversize-reply-unanswered" => vec![("an answer longer than a message", long_answer())],
        "frames-wait-without-bound" => vec![("a disk that stands still", standing_disk())],
        "panic-unnoticed" => vec![("a shard that panics", panicking())],
        "oversize-question-forgotten" => vec![("a write longer than a message", long_write())],
        "topology-kept-unsynced" => vec![("a decision while a disk is slow", slow_to_keep())],
        "topology-goes-back" => vec![("a node that starts again after decisions", replayed())],
        "topology-kept-late" => vec![("a node that starts again", started_again())],
        _ => Vec::new(),
    }
}

/// One clock after another runs two hours ahead for a while. A value that expires in an hour must
/// still be there at the end.
fn clock_ahead() -> Plan {
    let script = Script::new(&[3]).ask(
        200,
        (1, ALL),
        Kind::Expiring,
        Deed::SetFor { ms: 3_600_000 },
    );
    let ahead = |script: Script, node| {
        let at = 4_000 * node - 3_000;
        script
            .at(at, Action::Jump(node, 7_200_000))
            .at(at + 3_000, Action::MendClock(node))
    };
    (1..=3).fold(script, ahead).done()
}

/// A key's expiry is extended at a quorum, but the node that removes expired values has not heard
/// of it.
fn extended() -> Plan {
    let script = Script::new(&[3]).ask(100, (1, ALL), Kind::Expiring, Deed::SetFor { ms: 1_500 });
    let script = (1..=3).fold(script, |script, other| {
        script.at(
            300,
            Action::DropFrames {
                from: 2,
                to: other,
                share: f64::from(u8::from(other == 1)),
            },
        )
    });
    script
        .at(
            300,
            Action::DropFrames {
                from: 3,
                to: 1,
                share: 0.5,
            },
        )
        .ask(
            500,
            (2, QUORUM),
            Kind::Expiring,
            Deed::ExpireIn { ms: 3_600_000 },
        )
        .at(6_000, Action::Heal)
        .done()
}

/// A node overwrites an expiring value with one that does not expire, without having heard of the
/// first: the new value must stay.
fn set_over_expiry() -> Plan {
    let deaf = |script: Script, at, share| {
        let drop = |from| Action::DropFrames { from, to: 2, share };
        script.at(at, drop(1)).at(at, drop(3))
    };
    let script = deaf(Script::new(&[3]), 50, 1.0).ask(
        100,
        (1, QUORUM),
        Kind::Expiring,
        Deed::SetFor { ms: 2_000 },
    );
    let script = deaf(
        script.ask(160, (2, ONE), Kind::Expiring, Deed::Set),
        400,
        0.0,
    );
    (3..6)
        .fold(script, |script, second| {
            script.ask(second * 1_000, (3, QUORUM), Kind::Expiring, Deed::Get)
        })
        .done()
}

/// A node starts while its clock is an hour ahead, and later from a disk older than that, with a
/// right clock.
fn older_disk() -> Plan {
    let away = |script: Script, at, clock, disk: Option<Action>| {
        let script = script.at(at, Action::Crash(1)).at(at + 10, clock);
        disk.into_iter()
            .fold(script, |script, action| script.at(at + 20, action))
            .at(at + 4_000, Action::Restart(1))
    };
    let script = Script::new(&[3]).at(100, Action::Backup(1));
    let script = away(script, 500, Action::Jump(1, 3_600_000), None);
    away(
        script,
        7_000,
        Action::MendClock(1),
        Some(Action::Restore(1)),
    )
    .ask(12_000, (2, QUORUM), Kind::Set, Deed::Add(vec![1]))
    .done()
}

/// Each node writes at `ONE` while nobody hears it; then the partition moves away from all but one.
fn leaving() -> Plan {
    let script = Script::new(&[3]);
    let mut all = (1..=3).fold(script, |script, node| {
        let others = (1..=3).filter(|other| *other != node).collect::<Vec<_>>();
        script
            .at(
                1_000 * node,
                Action::Cut {
                    from: vec![node],
                    to: others,
                },
            )
            .ask(
                1_000 * node + 100,
                (node, ONE),
                Kind::Set,
                Deed::Add(vec![node as u8]),
            )
            .at(1_000 * node + 300, Action::Heal)
    });
    all = all.at(
        3_200,
        Action::Replicate {
            keyspace: 1,
            replicas: BTreeMap::from([(1, 1)]),
        },
    );
    all.done()
}

/// A partition leaves its nodes and comes back, with writes before and after.
fn away_and_back() -> Plan {
    let replicas = |count| Action::Replicate {
        keyspace: 1,
        replicas: BTreeMap::from([(1, count)]),
    };
    let script = (1..=3).fold(Script::new(&[3]), |script, node| {
        script.ask(
            100 * node,
            (node, ONE),
            Kind::Set,
            Deed::Add(vec![node as u8]),
        )
    });
    let script = script.at(1_000, replicas(1)).at(6_000, replicas(3));
    (1..=3)
        .fold(script, |script, node| {
            script.ask(
                12_000 + 100 * node,
                (node, ONE),
                Kind::Set,
                Deed::Add(vec![2 + node as u8 % 3]),
            )
        })
        .done()
}

/// A node loses its data and is refilled over links that drop most frames.
fn wiped() -> Plan {
    let script = Script::new(&[3]).knobs(|knobs| (knobs.recent_max, knobs.chunk_bytes) = (1, 1));
    let script = (1..=5).fold(script, |script, n| {
        script.ask(
            100 * n,
            (1 + n % 3, ALL),
            Kind::Set,
            Deed::Add(vec![n as u8 - 1]),
        )
    });
    let script = [1, 3].into_iter().fold(script, |script, other| {
        script
            .at(
                900,
                Action::DropFrames {
                    from: other,
                    to: 2,
                    share: 0.7,
                },
            )
            .at(
                900,
                Action::DropFrames {
                    from: 2,
                    to: other,
                    share: 0.7,
                },
            )
    });
    script
        .at(1_000, Action::Crash(2))
        .at(1_500, Action::Wipe(2))
        .at(1_600, Action::Restart(2))
        .at(9_000, Action::Heal)
        .done()
}

/// While one node is away, others join, and once it is back only they can lead: the other nodes it
/// knows are starting again just as it is.
fn unknown_leader() -> Plan {
    let script = Script::new(&[3])
        .at(1_000, Action::Crash(1))
        .at(2_000, Action::Join(1))
        .at(4_000, Action::Join(1));
    script
        .at(8_000, Action::Crash(2))
        .at(8_000, Action::Crash(3))
        .at(9_000, Action::Restart(3))
        .done()
}

/// A node restarts a few times, then once more with a disk from before. There are enough keys for
/// each node to be asked to delete one at the end.
fn set_back() -> Plan {
    let script = Script::new(&[3])
        .ask(200, (1, ALL), Kind::Cell, Deed::Set)
        .ask(200, (2, ALL), Kind::Counter, Deed::Count(1));
    let script = script
        .ask(200, (3, ALL), Kind::Set, Deed::Add(vec![1]))
        .at(500, Action::Backup(2));
    let again = |script: Script, at| {
        script
            .at(at, Action::Crash(2))
            .at(at + 300, Action::Restart(2))
    };
    let script = [1_000, 2_000, 3_000].into_iter().fold(script, again);
    script
        .at(4_000, Action::Crash(2))
        .at(8_000, Action::Restore(2))
        .done()
}

/// Two disks fail while nothing is written to them except the votes that follow the leader's death.
fn control_disk() -> Plan {
    let script = Script::new(&[3])
        .at(500, Action::FailDisk(2))
        .at(500, Action::FailDisk(3))
        .at(1_000, Action::Crash(1));
    script.at(4_000, Action::Restart(1)).done()
}

/// A write of a few thousand bytes.
fn many_elements() -> Plan {
    Script::new(&[3])
        .ask(200, (1, QUORUM), Kind::Set, Deed::Add((0..=255).collect()))
        .done()
}

/// One request reads a value so often that the answer is longer than a message may be; one of the
/// nodes asked does not hold the value.
fn long_answer() -> Plan {
    let mut script = Script::new(&[4]).queues(|queues| queues.message_bytes_max = 1_500);
    // A value is derived from its request's number, so a high number makes it long.
    script.asked = 900_000;
    let script = script.ask(200, (1, ALL), Kind::Hash, Deed::SetFields(vec![0]));
    (1..=4)
        .fold(script, |script, node| {
            script.ask(500, (node, ONE), Kind::Hash, Deed::Fields(vec![0; 255]))
        })
        .done()
}

/// A write that is longer than a message may be.
fn long_write() -> Plan {
    let script = Script::new(&[3])
        .queues(|queues| queues.message_bytes_max = 1_500)
        .knobs(|knobs| knobs.chunk_bytes = 200);
    script
        .ask(
            200,
            (1, QUORUM),
            Kind::Set,
            Deed::Add((NAMES..=255).collect()),
        )
        .done()
}

/// A decision is made while one node's disk takes seconds to sync.
fn slow_to_keep() -> Plan {
    let script = Script::new(&[3]).at(500, Action::SlowDisk(2, 4_000));
    script
        .at(
            600,
            Action::Replicate {
                keyspace: 1,
                replicas: BTreeMap::from([(1, 2)]),
            },
        )
        .at(6_000, Action::SlowDisk(2, 0))
        .done()
}

/// A node that has acted on many decisions replays them all when it starts.
fn replayed() -> Plan {
    let replicas = |count| Action::Replicate {
        keyspace: 1,
        replicas: BTreeMap::from([(1, count)]),
    };
    let script = (1..=4).fold(Script::new(&[3]), |script, n| {
        script.at(1_500 * n, replicas(1 + n as u8 % 3))
    });
    (1..=3)
        .fold(script, |script, node| {
            script
                .at(9_000, Action::Crash(node))
                .at(10_000, Action::Restart(node))
        })
        .done()
}

/// A node's answers wait for its disk, which hangs.
fn standing_disk() -> Plan {
    let script = Script::new(&[3])
        .queues(|queues| queues.unsynced_bytes_max = 500)
        .at(500, Action::SlowDisk(1, 4_000));
    script
        .ask(600, (1, ONE), Kind::Set, Deed::Add(vec![1]))
        .at(5_000, Action::SlowDisk(1, 0))
        .done()
}

fn panicking() -> Plan {
    let script = Script::new(&[3]).at(500, Action::Panic(2)).ask(
        600,
        (1, QUORUM),
        Kind::Set,
        Deed::Add(vec![1]),
    );
    script.at(3_000, Action::Restart(2)).done()
}

fn started_again() -> Plan {
    Script::new(&[3])
        .at(500, Action::Crash(2))
        .at(1_000, Action::Restart(2))
        .done()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::play;

    fn keeps_every_promise(plan: &Plan) {
        let violations = play(plan).violations;
        assert!(violations.is_empty(), "{violations:?}");
    }

    #[test]
    fn a_leader_that_joined_while_a_node_was_away_is_let_in() {
        keeps_every_promise(&unknown_leader());
    }

    #[test]
    fn a_node_whose_disk_is_set_back_is_reached_again() {
        keeps_every_promise(&set_back());
    }

    #[test]
    fn what_is_longer_than_a_message_is_answered_at_once() {
        keeps_every_promise(&long_answer());
    }

    #[test]
    fn a_write_that_is_longer_than_a_message_is_refused_at_once() {
        keeps_every_promise(&long_write());
    }

    #[test]
    fn a_decision_is_acted_on_when_it_is_durable_and_never_taken_back() {
        keeps_every_promise(&slow_to_keep());
        keeps_every_promise(&replayed());
    }

    #[test]
    fn a_node_whose_shard_has_panicked_starts_again_and_has_what_it_acknowledged() {
        keeps_every_promise(&panicking());
    }

    #[test]
    fn a_disk_that_stands_still_takes_bounded_memory() {
        keeps_every_promise(&standing_disk());
    }

    #[test]
    fn a_disk_that_fails_under_the_control_group_ends_the_node() {
        keeps_every_promise(&control_disk());
    }
}
