//! Replicas that come and go: what may erase one, what must have spread before, and under which id
//! the next one writes.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_control::store::{MemoryStore, Space, Store};
use quorate_control::topology::{Epoch, KeyspaceId, Phase, Placement, Topology};
use quorate_crdt::Now;

use super::net::{Net, START_UNIX_MILLIS, node, secs, topology};
use crate::consistency::Consistency as C;
use crate::op::{Mutation, Op, Request};
use crate::protocol::{Config, Effect, Input, ReplicaSummary, Ticket, Timer};
use crate::{Dynamo, Seat};

/// One core on a store, without a network.
struct Solo {
    core: Dynamo,
    store: MemoryStore,
    effects: Vec<Effect>,
}

impl Solo {
    fn new() -> Self {
        let seat = Seat {
            me: node(2),
            incarnation: 1,
            core: 0,
            cores: 1,
            life: 1,
            restarted: false,
        };
        Self {
            core: Dynamo::new(Config::default(), seat),
            store: MemoryStore::new(),
            effects: Vec::new(),
        }
    }

    /// Takes an input without writing its changes to disk.
    fn take(&mut self, input: Input) {
        let now = Now {
            monotonic: secs(1),
            unix_millis: START_UNIX_MILLIS,
        };
        self.core.handle(now, input, &mut self.effects);
    }

    fn drain(&mut self) {
        self.store.apply(self.core.drain()).expect("in memory");
    }

    fn input(&mut self, input: Input) {
        self.take(input);
        self.drain();
    }

    fn topology(&mut self, topology: &Topology) {
        self.input(Input::Topology(Arc::new(topology.clone())));
    }

    fn write(keyspace: u32, mutation: Mutation) -> Input {
        let op = Op::Mutate("k".into(), mutation);
        let (consistency, timeout) = (Some(C::One), secs(1));
        let request = Request {
            keyspace: KeyspaceId(keyspace),
            op,
            consistency,
            timeout,
            datacenter: "dc1".into(),
            id: None,
            claim: None,
        };
        Input::Request {
            ticket: Ticket(1),
            request,
        }
    }

    fn count(keyspace: u32) -> Input {
        Self::write(keyspace, Mutation::Increment(1))
    }

    fn restart(&mut self) {
        let seat = Seat {
            me: node(2),
            incarnation: 1,
            core: 0,
            cores: 1,
            life: 2,
            restarted: true,
        };
        self.core = Dynamo::new(Config::default(), seat);
        self.core.restore(&self.store).expect("in memory");
    }

    fn replica(&self, keyspace: u32) -> Option<ReplicaSummary> {
        self.core
            .summaries()
            .into_iter()
            .find(|summary| summary.keyspace == KeyspaceId(keyspace))
    }

    fn on_disk(&self, space: Space) -> usize {
        let mut count = 0;
        let scanned = self.store.scan(space, &[], None, &mut |_, _| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        });
        scanned.expect("in memory");
        count
    }
}

/// `topology` with a second keyspace that was created later.
fn two_keyspaces(topology: &Topology) -> Topology {
    let mut new = topology.clone();
    new.epoch = Epoch(2);
    let mut keyspace = new.keyspaces[&KeyspaceId(0)].clone();
    keyspace.placement[0].epoch = Epoch(2);
    new.keyspaces.insert(KeyspaceId(1), keyspace);
    new
}

/// The same without this node.
fn without_this_node(topology: &Topology, epoch: u64) -> Topology {
    let mut topology = topology.clone();
    topology.epoch = Epoch(epoch);
    for keyspace in topology.keyspaces.values_mut() {
        keyspace.placement[0] = Placement::stable(Epoch(epoch), vec![node(1), node(3)]);
    }
    topology
}

#[test]
fn a_topology_older_than_a_placement_erases_nothing() {
    let old = topology(&[3]);
    let new = two_keyspaces(&old);
    let nothing = Topology {
        epoch: Epoch(0),
        nodes: BTreeMap::new(),
        keyspaces: BTreeMap::new(),
        ..old.clone()
    };
    let mut solo = Solo::new();
    solo.topology(&new);
    solo.input(Solo::count(1));
    solo.restart();
    for earlier in [nothing, old, new] {
        solo.topology(&earlier);
        let replica = solo.replica(1).expect("kept");
        assert_eq!(
            (replica.rows, replica.filling),
            (1, false),
            "after a topology of epoch {:?}",
            earlier.epoch
        );
    }
    assert_eq!(solo.on_disk(Space::Rows), 1);
}

#[test]
fn a_newer_topology_without_this_node_erases_what_has_spread() {
    let all = topology(&[3]);
    let mut solo = Solo::new();
    solo.topology(&all);
    solo.topology(&without_this_node(&all, 5));
    assert_eq!(solo.replica(0), None, "it had nothing");
    solo.topology(&Topology {
        epoch: Epoch(7),
        ..all
    });
    assert_eq!(
        solo.replica(0),
        None,
        "a placement older than the release does not bring it back"
    );
}

#[test]
fn a_dropped_keyspace_is_erased_with_what_was_deleted_in_the_same_turn() {
    let both = two_keyspaces(&topology(&[3]));
    let mut solo = Solo::new();
    solo.topology(&both);
    solo.input(Solo::count(1));
    assert_eq!(solo.on_disk(Space::Rows), 1);
    let mut dropped = both;
    dropped.epoch = Epoch(9);
    dropped.keyspaces.remove(&KeyspaceId(1));
    solo.take(Solo::write(1, Mutation::Delete));
    solo.take(Input::Topology(Arc::new(dropped)));
    solo.drain();
    assert_eq!(
        solo.on_disk(Space::Rows),
        0,
        "one batch deleted the row and then erased the replica"
    );
    solo.input(Input::Timer(Timer::Remains));
    assert_eq!(solo.on_disk(Space::Recent), 0, "and the rest has followed");
}

#[test]
fn an_id_closed_by_an_erasure_writes_nothing_more() {
    let all = topology(&[3]);
    let mut solo = Solo::new();
    solo.topology(&all);
    solo.topology(&without_this_node(&all, 5));
    solo.restart();
    let mut back = all;
    back.epoch = Epoch(9);
    back.keyspaces
        .get_mut(&KeyspaceId(0))
        .expect("default")
        .placement[0]
        .epoch = Epoch(9);
    solo.effects.clear();
    solo.topology(&back);
    assert!(
        solo.effects
            .iter()
            .any(|effect| matches!(effect, Effect::NewLife)),
        "the life that wrote here before is over"
    );
    solo.input(Solo::count(0));
    let replies = |solo: &Solo| {
        solo.effects
            .iter()
            .filter(|effect| matches!(effect, Effect::Reply { .. }))
            .count()
    };
    assert_eq!(replies(&solo), 0, "a write waits for the new life");
    solo.input(Input::Incarnation(7));
    assert_eq!(replies(&solo), 1);
    let written = solo.effects.iter().find_map(|effect| match effect {
        Effect::Reply {
            result: Ok(answer), ..
        } => answer.receipt,
        _ => None,
    });
    assert_eq!(written.expect("acknowledged").dot.replica.incarnation, 7);
}

#[test]
fn a_move_ends_when_what_the_leaving_replica_alone_has_has_spread() {
    let mut net = Net::three_of(4);
    net.cut(&[1], &[2, 3, 4]);
    net.set(1, "alone", "v", C::One).expect("ONE is local");
    net.drop_all();
    for n in 2..=4 {
        net.input(
            node(n),
            Input::Reachable {
                node: node(1),
                up: false,
            },
        );
    }
    net.begin_move(&[2, 3, 4]);
    net.run(secs(3));
    net.reports.clear();
    net.set_placement(|placement| {
        placement.transition.as_mut().expect("moving").phase = Phase::Switching;
    });
    net.run(secs(3));
    assert!(!net.reports.contains(&node(1)), "n1 alone has the write");
    // Whatever the control plane decides, the replica is kept until it has handed on what it has.
    net.set_placement(|placement| {
        *placement = Placement::stable(placement.epoch, vec![node(2), node(3), node(4)]);
    });
    net.run(secs(3));
    assert_eq!(net.summary(1).rows, 1);
    net.heal();
    for n in 2..=4 {
        net.input(
            node(n),
            Input::Reachable {
                node: node(1),
                up: true,
            },
        );
    }
    net.run(secs(3));
    assert_eq!(net.get(4, "alone", C::One), Ok(Some("v".into())));
    assert!(
        net.cores[&node(1)].summaries().is_empty(),
        "now it is erased"
    );
}

#[test]
fn a_restored_copy_goes_on_under_a_new_id_before_its_first_write() {
    let mut net = Net::new(&[3]);
    for n in 0..5 {
        net.set(3, &format!("k{n}"), "v", C::All).expect("healthy");
    }
    // The disk is an older copy of the same life that knows nothing of it. A write comes before any
    // other node has reported.
    net.cut(&[3], &[1, 2]);
    net.copy_of_nothing(3);
    net.mutate(3, "mine", Mutation::Increment(1), C::One)
        .expect("ONE is local");
    net.heal();
    net.run(secs(5));
    net.assert_converged();
    assert_eq!(net.summary(1).rows, 6, "no event was issued twice");
}

#[test]
fn own_events_in_what_others_write_are_noticed() {
    let mut net = Net::new(&[3]);
    for n in 0..3 {
        net.set(3, &format!("k{n}"), "v", C::All).expect("healthy");
    }
    net.boot(node(3), false);
    net.drop_all();
    // The first that n3 hears of its former life is a write that knows all of it and settles one of
    // its events.
    let write = net.submit(
        1,
        Op::Mutate("k0".into(), Mutation::Append("w".into())),
        C::All,
    );
    net.settle();
    assert!(net.replies[&write].is_ok());
    net.set(3, "mine", "w", C::All).expect("healthy");
    net.run(secs(5));
    net.assert_converged();
    assert_eq!(net.summary(1).rows, 4);
}

#[test]
fn what_is_lost_with_a_disk_is_not_waited_for() {
    for leaves in [false, true] {
        let mut net = Net::new(&[3]);
        net.cut(&[1], &[2, 3]);
        for n in 0..3 {
            net.set(1, &format!("k{n}"), "v", C::One)
                .expect("ONE is local");
        }
        net.drop_all();
        net.heal();
        // One row is sent with everything that n1 had seen. n1's disk is destroyed before anybody
        // gets the rest.
        net.set(1, "k0", "w", C::Quorum).expect("healthy");
        if leaves {
            net.cores.remove(&node(1));
            net.set_placement(|placement| placement.replicas.retain(|held| *held != node(1)));
            net.set_topology(|topology| {
                topology.nodes.remove(&node(1));
            });
        } else {
            net.boot(node(1), true);
        }
        net.drop_all();
        assert_ne!(
            net.summary(2).residuals,
            0,
            "n2 has heard of what nobody has"
        );
        net.run(secs(10));
        net.assert_converged();
        assert_eq!(net.summary(2).rows, 1);
    }
}

/// n1 wrote alone, and the partition moved away from it. One row came with all that n1 had seen.
#[test]
fn what_a_member_still_hands_over_is_not_lost() {
    let mut net = Net::new(&[3]);
    net.cut(&[1], &[2, 3]);
    for n in 0..3 {
        net.set(1, &format!("k{n}"), "v", C::One)
            .expect("ONE is local");
    }
    net.drop_all();
    net.heal();
    net.set(1, "k0", "w", C::Quorum).expect("healthy");
    net.drop_all();
    net.cut(&[1], &[2, 3]);
    net.set_placement(|placement| placement.replicas.retain(|held| *held != node(1)));
    net.run(secs(5));
    net.heal();
    net.run(secs(10));
    assert_eq!(net.summary(2).rows, 3, "n1 still had them");
    assert_eq!(net.summary(2).residuals, 0);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_of_keeping_are_noticed() {
    use crate::planted;
    super::noticed(&[
        (
            &planted::ERASE_WHAT_IS_NOT_NAMED,
            a_topology_older_than_a_placement_erases_nothing,
        ),
        (
            &planted::LOST_WHILE_HANDED_OVER,
            what_a_member_still_hands_over_is_not_lost,
        ),
        (
            &planted::LIVES_REUSED,
            an_id_closed_by_an_erasure_writes_nothing_more,
        ),
        (
            &planted::SWITCH_WITHOUT_SPREAD,
            a_move_ends_when_what_the_leaving_replica_alone_has_has_spread,
        ),
        (
            &planted::COPIES_TRUSTED,
            a_restored_copy_goes_on_under_a_new_id_before_its_first_write,
        ),
        (
            &planted::OWN_EVENTS_OVERLOOKED,
            own_events_in_what_others_write_are_noticed,
        ),
        (
            &planted::LOST_EVENTS_AWAITED,
            what_is_lost_with_a_disk_is_not_waited_for,
        ),
    ]);
}
