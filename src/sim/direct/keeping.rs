//! Drills on replicas that come and go, and on the ids under which they write.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_control::store::{MemoryStore, Store};
use quorate_control::topology::{Epoch, KeyspaceId, Placement, Topology};
use quorate_crdt::{NodeId, Now};
use quorate_dynamo::op::{Mutation, Op};
use quorate_dynamo::protocol::{Config, Effect, Input};
use quorate_dynamo::{Consistency as C, Dynamo, Seat};

use super::cores::{Cores, secs};
use super::drill::{Drills, Verdict, holds};
use super::topology::topology;
use crate::sim::clock::START_UNIX_MILLIS;

pub(super) const DRILLS: Drills = &[
    (
        "erase-what-is-not-named",
        "erased-by-the-past",
        older_topology,
    ),
    ("lives-reused", "life-reused", away_and_back),
    ("made-over-remains", "erased-with-the-former", made_again),
    ("switch-without-spread", "move-ends-early", leaves_alone),
    ("copies-trusted", "event-issued-twice", copied),
    (
        "own-events-overlooked",
        "own-events-overlooked",
        former_events,
    ),
    ("lost-events-awaited", "residuals-stay", lost_events),
    ("lost-while-handed-over", "lost", handed_over_late),
];

/// A core of node 2 on a store, without a network.
struct Solo {
    core: Dynamo,
    store: MemoryStore,
}

impl Solo {
    fn new() -> Self {
        let seat = Seat {
            me: NodeId(2),
            incarnation: 1,
            core: 0,
            cores: 1,
            life: 1,
            restarted: false,
        };
        Self {
            core: Dynamo::new(Config::default(), seat),
            store: MemoryStore::new(),
        }
    }

    /// Applies a topology. Returns whether the core asked for a new life.
    fn act_on(&mut self, topology: &Topology) -> Result<bool, String> {
        let mut effects = Vec::new();
        let now = Now {
            monotonic: secs(1),
            unix_millis: START_UNIX_MILLIS,
        };
        self.core.handle(
            now,
            Input::Topology(Arc::new(topology.clone())),
            &mut effects,
        );
        self.store
            .apply(self.core.drain())
            .map_err(|error| error.to_string())?;
        Ok(effects
            .iter()
            .any(|effect| matches!(effect, Effect::NewLife)))
    }

    fn restart(&mut self) -> Verdict {
        let seat = Seat {
            me: NodeId(2),
            incarnation: 1,
            core: 0,
            cores: 1,
            life: 2,
            restarted: true,
        };
        self.core = Dynamo::new(Config::default(), seat);
        self.core
            .restore(&self.store)
            .map_err(|error| error.to_string())
    }
}

/// A node that holds a new partition receives topologies older than the partition.
fn older_topology() -> Verdict {
    let old = topology(&[3], 3);
    let nothing = Topology {
        epoch: Epoch(0),
        nodes: BTreeMap::new(),
        keyspaces: BTreeMap::new(),
        ..old.clone()
    };
    let mut new = Topology {
        epoch: Epoch(2),
        ..old.clone()
    };
    let mut later = old.keyspaces[&KeyspaceId(0)].clone();
    later
        .placement
        .iter_mut()
        .for_each(|placement| placement.epoch = Epoch(2));
    new.keyspaces.insert(KeyspaceId(1), later);
    let mut solo = Solo::new();
    solo.act_on(&new)?;
    solo.restart()?;
    for earlier in [nothing, old, new] {
        solo.act_on(&earlier)?;
        let kept = solo
            .core
            .summaries()
            .iter()
            .any(|summary| summary.keyspace == KeyspaceId(1));
        holds(
            kept,
            format!("erased by a topology of epoch {}", earlier.epoch.0),
        )?;
    }
    Ok(())
}

/// Within one life, a partition leaves a node and comes back.
fn away_and_back() -> Verdict {
    let all = topology(&[3], 3);
    let at = |epoch, replicas: &[u64]| {
        let mut topology = Topology {
            epoch: Epoch(epoch),
            ..all.clone()
        };
        let replicas: Vec<NodeId> = replicas.iter().map(|node| NodeId(*node)).collect();
        for keyspace in topology.keyspaces.values_mut() {
            keyspace.placement = vec![Placement::stable(Epoch(epoch), replicas.clone())];
        }
        topology
    };
    let mut solo = Solo::new();
    solo.act_on(&all)?;
    solo.act_on(&at(5, &[1, 3]))?;
    solo.restart()?;
    holds(
        solo.act_on(&at(9, &[1, 2, 3]))?,
        "it continues in the life that was closed here",
    )
}

/// A keyspace is dropped, and a replica is needed in its place before the old rows have left the
/// disk.
fn made_again() -> Verdict {
    let mut net = Cores::new(1, 1, |config| {
        config.persist = true;
        config.removal.rows_at_once = 10;
    });
    let members = (0..300_u32).map(|n| n.to_string().into()).collect();
    holds(
        matches!(
            net.mutate(1, "s", Mutation::Add(members), C::One),
            Some(Ok(_))
        ),
        "healthy",
    )?;
    let keyspaces = net.topology.keyspaces.clone();
    net.set_topology(|topology| topology.keyspaces.clear());
    let disk = net.disk(1)?;
    net.set_topology(|topology| topology.keyspaces = keyspaces);
    net.set_placement(|_| {});
    let early = net.mutate(1, "s", Mutation::Add(vec!["7".into()]), C::One);
    let write_down = |net: &mut Cores| {
        let batch = net
            .at
            .get_mut(&NodeId(1))
            .map(Dynamo::drain)
            .unwrap_or_default();
        disk.apply(batch).map_err(|error| error.to_string())
    };
    write_down(&mut net)?;
    net.run(secs(1));
    write_down(&mut net)?;
    let late = net.mutate(1, "s", Mutation::Add(vec!["8".into()]), C::One);
    write_down(&mut net)?;
    net.start_on(1, &disk)?;
    let added = [early, late]
        .iter()
        .filter(|answer| matches!(answer, Some(Ok(_))))
        .count() as u64;
    holds(added > 0, "the replica must be created in the end")?;
    holds(
        net.rows(1) == added,
        format!("{} of {added} rows after a start", net.rows(1)),
    )
}

/// A replica leaves that alone has a write.
fn leaves_alone() -> Verdict {
    let mut net = Cores::new(4, 3, |_| {});
    net.cut(&[1], &[2, 3, 4]);
    holds(net.set(1, "alone", "v", C::One), "local")?;
    net.queue.clear();
    net.sees(&[2, 3, 4], 1, false);
    net.begin_move(&[2, 3, 4]);
    net.run(secs(3));
    net.noted.reports.clear();
    net.switch(false);
    net.run(secs(3));
    holds(
        !net.noted.reports.contains(&NodeId(1)),
        "ready to leave although it alone has the write",
    )?;
    net.switch(true);
    net.run(secs(3));
    holds(net.rows(1) == 1, "erased although it alone had the write")
}

/// A disk is an older copy from the same life, without the events issued since. A write arrives
/// before anybody has told the node.
fn copied() -> Verdict {
    let mut net = Cores::three();
    for n in 0..5 {
        holds(net.set(3, &format!("k{n}"), "v", C::All), "healthy")?;
    }
    net.cut(&[3], &[1, 2]);
    // The third of the three nodes was booted in the third life of all.
    let seat = Seat {
        me: NodeId(3),
        incarnation: 1,
        core: 0,
        cores: 1,
        life: 500,
        restarted: false,
    };
    let (config, store) = (Config::default(), MemoryStore::new());
    let mut core = Dynamo::new(config.clone(), seat.clone());
    core.handle(
        net.clock(),
        Input::Topology(Arc::new(net.topology.clone())),
        &mut Vec::new(),
    );
    store
        .apply(core.drain())
        .map_err(|error| error.to_string())?;
    let mut core = Dynamo::new(
        config,
        Seat {
            restarted: true,
            ..seat
        },
    );
    core.restore(&store).map_err(|error| error.to_string())?;
    net.put(3, core);
    net.mutate(3, "mine", Mutation::Increment(1), C::One);
    net.heal();
    net.run(secs(5));
    holds(
        net.converged() && net.rows(1) == 6,
        format!("{} of 6 rows: an event was issued twice", net.rows(1)),
    )
}

/// A node has forgotten its former events. It first hears of them in a write that settles one of
/// them.
fn former_events() -> Verdict {
    let mut net = Cores::three();
    for n in 0..3 {
        holds(net.set(3, &format!("k{n}"), "v", C::All), "healthy")?;
    }
    net.boot(3, false);
    net.queue.clear();
    let append = net.submit(
        1,
        Op::Mutate("k0".into(), Mutation::Append("w".into())),
        C::All,
        None,
    );
    net.settle();
    holds(matches!(net.reply(append), Some(Ok(_))), "healthy")?;
    holds(net.set(3, "mine", "w", C::All), "healthy")?;
    net.run(secs(5));
    holds(
        net.converged() && net.rows(1) == 4,
        format!("{} of 4 rows", net.rows(1)),
    )
}

/// A node passes on one row together with its whole context, and its disk is destroyed before it
/// passes on the rest.
fn lost_events() -> Verdict {
    for leaves in [false, true] {
        let mut net = Cores::three();
        net.cut(&[1], &[2, 3]);
        for n in 0..3 {
            holds(net.set(1, &format!("k{n}"), "v", C::One), "local")?;
        }
        net.queue.clear();
        net.heal();
        holds(net.set(1, "k0", "w", C::Quorum), "healthy")?;
        if leaves {
            net.at.remove(&NodeId(1));
            net.set_placement(|placement| placement.replicas.retain(|node| *node != NodeId(1)));
            net.set_topology(|topology| drop(topology.nodes.remove(&NodeId(1))));
        } else {
            net.boot(1, true);
        }
        net.queue.clear();
        net.run(secs(10));
        let told = net.rows(2);
        holds(
            told == 1 && net.converged(),
            format!(
                "{told} of 1 row; still waiting for what was lost with the disk: {:?}",
                net.summary(2)
            ),
        )?;
    }
    Ok(())
}

/// n1 wrote alone, and the partition moved away from it. One row came with all that n1 had seen.
fn handed_over_late() -> Verdict {
    let mut net = Cores::three();
    net.cut(&[1], &[2, 3]);
    for n in 0..3 {
        holds(net.set(1, &format!("k{n}"), "v", C::One), "local")?;
    }
    net.queue.clear();
    net.heal();
    holds(net.set(1, "k0", "w", C::Quorum), "healthy")?;
    net.queue.clear();
    net.cut(&[1], &[2, 3]);
    net.set_placement(|placement| placement.replicas.retain(|node| *node != NodeId(1)));
    net.run(secs(5));
    net.heal();
    net.run(secs(10));
    let came = net.rows(2);
    holds(came == 3, format!("{came} of 3 rows that n1 still had"))
}
