//! The cost of the data plane's core alone, without network, disk or Redis protocol: one core, one
//! partition, one thread.
//!
//! Run with `cargo bench --bench data_plane`. Compare ratios only within one run.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use quorate_control::topology::{
    ClusterId, Epoch, Keyspace, KeyspaceId, NodeInfo, Placement, Replication, SplitPolicy, Timing,
    Topology,
};
use quorate_crdt::{NodeId, Now};
use quorate_dynamo::op::{Mutation, Op, Query, Request, SetExpiry};
use quorate_dynamo::protocol::{Config, Effect, Input, Message, Ticket};
use quorate_dynamo::{Consistency, Dynamo, Seat};

const NOW: Now = Now {
    monotonic: Duration::from_secs(1),
    unix_millis: 1_800_000_000_000,
};

fn topology(nodes: u64) -> Arc<Topology> {
    let info = |id: u64| NodeInfo {
        name: format!("n{id}").into(),
        datacenter: format!("dc{id}").into(),
        rack: "r1".into(),
        quic: "127.0.0.1:1".into(),
        key: quorate_crdt::PublicKey([0; 32]),
        next_key: None,
        voter: true,
        witness: false,
    };
    let placement = vec![Placement::stable(
        Epoch(1),
        (1..=nodes).map(NodeId).collect(),
    )];
    let keyspace = Keyspace {
        name: "default".into(),
        replication: Replication::Auto,
        read: "ONE".into(),
        write: "ONE".into(),
        split: SplitPolicy::default(),
        placement,
    };
    Arc::new(Topology {
        cluster: ClusterId(1),
        epoch: Epoch(1),
        nodes: (1..=nodes).map(|id| (NodeId(id), info(id))).collect(),
        keyspaces: [(KeyspaceId(0), keyspace)].into(),
        users: [].into(),
        timing: Timing::default(),
    })
}

fn core(me: u64, nodes: u64) -> Dynamo {
    let seat = Seat {
        me: NodeId(me),
        incarnation: 1,
        core: 0,
        cores: 1,
        life: me,
        restarted: false,
    };
    let mut core = Dynamo::new(
        Config {
            persist: false,
            ..Config::default()
        },
        seat,
    );
    core.handle(NOW, Input::Topology(topology(nodes)), &mut Vec::new());
    core
}

fn request(op: Op, level: Consistency) -> Input {
    let request = Request {
        keyspace: KeyspaceId(0),
        op,
        consistency: Some(level),
        timeout: Duration::from_secs(1),
        datacenter: "dc1".into(),
        id: None,
        claim: None,
    };
    Input::Request {
        ticket: Ticket(1),
        request,
    }
}

fn set(n: u64, level: Consistency) -> Input {
    let value = Bytes::from_static(&[b'x'; 100]);
    request(
        Op::Mutate(
            Bytes::copy_from_slice(&n.to_be_bytes()),
            Mutation::Set {
                value,
                expiry: SetExpiry::Clear,
            },
        ),
        level,
    )
}

fn one_node(c: &mut Criterion) {
    let mut core = core(1, 1);
    let mut effects = Vec::new();
    let mut n = 0;
    c.bench_function("one node: SET of 100 bytes over 100,000 keys", |b| {
        b.iter(|| {
            n = (n + 7919) % 100_000;
            effects.clear();
            core.handle(NOW, set(n, Consistency::One), &mut effects);
        });
    });
    c.bench_function("one node: GET", |b| {
        b.iter(|| {
            n = (n + 7919) % 100_000;
            effects.clear();
            core.handle(
                NOW,
                request(
                    Op::Query(Bytes::copy_from_slice(&n.to_be_bytes()), Query::Get),
                    Consistency::One,
                ),
                &mut effects,
            );
            black_box(&effects);
        });
    });
}

/// `SADD` of a new element to sets of two sizes: rows, not blobs.
fn set_sizes(c: &mut Criterion) {
    for size in [10u64, 1_000_000] {
        let mut core = core(1, 1);
        let mut effects = Vec::new();
        let mut n = 0u64;
        let mut add = |core: &mut Dynamo, n: u64| {
            effects.clear();
            let op = Op::Mutate(
                "set".into(),
                Mutation::Add(vec![Bytes::copy_from_slice(&n.to_be_bytes())]),
            );
            core.handle(NOW, request(op, Consistency::One), &mut effects);
        };
        for element in 0..size {
            add(&mut core, element);
        }
        c.bench_function(&format!("one node: SADD to a set of {size}"), |b| {
            b.iter(|| {
                n = (n + 7919) % size;
                add(&mut core, n);
            });
        });
    }
}

/// Both ends of a replicated write: the coordinator, and a replica that joins and acknowledges.
fn replicated(c: &mut Criterion) {
    let mut coordinator = core(1, 3);
    let mut replica = core(2, 3);
    let mut n = 0;
    c.bench_function(
        "three nodes: SET at QUORUM, coordinator and one replica",
        |b| {
            b.iter_batched(
                || {
                    n = (n + 7919) % 100_000;
                    set(n, Consistency::Quorum)
                },
                |input| {
                    let mut effects = Vec::with_capacity(8);
                    coordinator.handle(NOW, input, &mut effects);
                    let mut answers = Vec::with_capacity(2);
                    for effect in effects {
                        if let Effect::Send {
                            to: NodeId(2),
                            message,
                        } = effect
                        {
                            replica.handle(
                                NOW,
                                Input::Message {
                                    from: NodeId(1),
                                    message,
                                },
                                &mut answers,
                            );
                        }
                    }
                    let mut done = Vec::with_capacity(2);
                    for answer in answers {
                        if let Effect::Send {
                            message: message @ Message::Written { id, replica },
                            ..
                        } = answer
                        {
                            coordinator.handle(
                                NOW,
                                Input::Message {
                                    from: NodeId(2),
                                    message,
                                },
                                &mut done,
                            );
                            coordinator.handle(
                                NOW,
                                Input::Message {
                                    from: NodeId(3),
                                    message: Message::Written { id, replica },
                                },
                                &mut done,
                            );
                        }
                    }
                    done
                },
                BatchSize::SmallInput,
            );
        },
    );
}

criterion_group!(benches, one_node, set_sizes, replicated);
criterion_main!(benches);
