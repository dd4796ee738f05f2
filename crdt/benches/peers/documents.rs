//! Maps, registers and counters compared with document libraries. There are no gates, because a
//! document serves another purpose than one value. The documents write everything in one
//! transaction, which is their best case. Ours do so too, and once more with a transaction and a
//! delta for each write.

use automerge::transaction::Transactable;
use automerge::{ActorId, Automerge, ROOT, ScalarValue};
use loro::{ExportMode, LoroDoc};
use quorate_crdt::{MvRegister, NodeId, OrMap, PnCounter, ReplicaId, Replicated};
use yrs::updates::decoder::Decode;
use yrs::{Doc, Map, ReadTxn, Transact, Update};

use crate::measure::{medians, row, time};

type Registers = OrMap<String, MvRegister<i64>>;

const KEYS: usize = 10_000;
const WRITES: i64 = 10_000;
/// In automerge, an increment takes time proportional to the number of increments before it.
const INCREMENTS: i64 = 2_000;
const ROUNDS: usize = 3;

pub(crate) fn run() {
    filling();
    overwriting();
    counting();
    merging();
}

fn keys() -> Vec<String> {
    (0..KEYS)
        .map(|number| format!("{:016x}", number as u64 * 0x9e37_79b9_7f4a_7c15))
        .collect()
}

fn replica(node: u64) -> ReplicaId {
    ReplicaId::new(NodeId(node), 0)
}

fn ours(keys: &[String], value: i64) -> Replicated<Registers> {
    let mut map = Replicated::<Registers>::new(replica(1));
    map.update(|map, tx| {
        for key in keys {
            map.update(tx, key.clone(), |register, tx| register.set(tx, value));
        }
    });
    map
}

fn ours_one_by_one(keys: &[String], value: i64) -> Replicated<Registers> {
    let mut map = Replicated::<Registers>::new(replica(1));
    for key in keys {
        std::hint::black_box(
            map.update(|map, tx| {
                map.update(tx, key.clone(), |register, tx| register.set(tx, value))
            }),
        );
    }
    map
}

fn automerge(keys: &[String], value: i64) -> Automerge {
    let mut doc = Automerge::new().with_actor(ActorId::from([1; 16]));
    let mut tx = doc.transaction();
    for key in keys {
        tx.put(ROOT, key.as_str(), value)
            .expect("a put at the root");
    }
    tx.commit();
    doc
}

fn loro(keys: &[String], value: i64) -> LoroDoc {
    let doc = LoroDoc::new();
    doc.set_peer_id(1).expect("a peer id");
    let map = doc.get_map("map");
    for key in keys {
        map.insert(key, value).expect("an insertion");
    }
    doc.commit();
    doc
}

fn yrs(keys: &[String], value: i64) -> Doc {
    let doc = Doc::with_client_id(1);
    let map = doc.get_or_insert_map("map");
    let mut tx = doc.transact_mut();
    for key in keys {
        map.insert(&mut tx, key.as_str(), value);
    }
    drop(tx);
    doc
}

fn per(count: f64, [each, batch, automerge, loro, yrs]: [f64; 5]) -> [(&'static str, f64); 5] {
    [
        ("ours", batch / count),
        ("ours with a delta each", each / count),
        ("automerge", automerge / count),
        ("loro", loro / count),
        ("yrs", yrs / count),
    ]
}

fn filling() {
    let keys = keys();
    let taken = medians(
        ROUNDS,
        [
            &mut || time(|| ours_one_by_one(&keys, 1)),
            &mut || time(|| ours(&keys, 1)),
            &mut || time(|| automerge(&keys, 1)),
            &mut || time(|| loro(&keys, 1)),
            &mut || time(|| yrs(&keys, 1)),
        ],
    );
    row("map, a new key", &per(KEYS as f64, taken));
}

fn overwriting() {
    let mut each = Replicated::<MvRegister<i64>>::new(replica(1));
    let mut batch = Replicated::<MvRegister<i64>>::new(replica(1));
    let taken = medians(
        ROUNDS,
        [
            &mut || {
                time(|| {
                    (0..WRITES).for_each(|value| {
                        drop(std::hint::black_box(
                            each.update(|register, tx| register.set(tx, value)),
                        ))
                    })
                })
            },
            &mut || {
                time(|| {
                    batch.update(|register, tx| {
                        (0..WRITES).for_each(|value| register.set(tx, value))
                    })
                })
            },
            &mut || {
                let mut doc = Automerge::new();
                let mut tx = doc.transaction();
                let taken = time(|| {
                    (0..WRITES)
                        .for_each(|value| tx.put(ROOT, "value", value).expect("a put at the root"))
                });
                taken + time(|| tx.commit())
            },
            &mut || {
                let doc = LoroDoc::new();
                let map = doc.get_map("map");
                time(|| {
                    (0..WRITES).for_each(|value| map.insert("value", value).expect("an insertion"));
                    doc.commit();
                })
            },
            &mut || {
                let doc = Doc::new();
                let map = doc.get_or_insert_map("map");
                time(|| {
                    let mut tx = doc.transact_mut();
                    for value in 0..WRITES {
                        map.insert(&mut tx, "value", value);
                    }
                })
            },
        ],
    );
    row("register, overwritten", &per(WRITES as f64, taken));
}

fn counting() {
    let mut each = Replicated::<PnCounter>::new(replica(1));
    let mut batch = Replicated::<PnCounter>::new(replica(1));
    let [each, batch, automerge, loro] = medians(
        ROUNDS,
        [
            &mut || {
                time(|| {
                    (0..INCREMENTS).for_each(|_| {
                        drop(std::hint::black_box(
                            each.update(|counter, tx| counter.increment(tx, 1)),
                        ))
                    })
                })
            },
            &mut || {
                time(|| {
                    batch.update(|counter, tx| {
                        (0..INCREMENTS).for_each(|_| counter.increment(tx, 1))
                    })
                })
            },
            &mut || {
                let mut doc = Automerge::new();
                let mut tx = doc.transaction();
                tx.put(ROOT, "count", ScalarValue::counter(0))
                    .expect("a put at the root");
                let taken = time(|| {
                    (0..INCREMENTS)
                        .for_each(|_| tx.increment(ROOT, "count", 1).expect("there is a counter"))
                });
                taken + time(|| tx.commit())
            },
            &mut || {
                let doc = LoroDoc::new();
                let counter = doc.get_counter("count");
                time(|| {
                    (0..INCREMENTS).for_each(|_| counter.increment(1.0).expect("an increment"));
                    doc.commit();
                })
            },
        ],
    )
    .map(|taken| taken / INCREMENTS as f64);
    row(
        "counter, increment",
        &[
            ("ours", batch),
            ("ours with a delta each", each),
            ("automerge", automerge),
            ("loro", loro),
        ],
    );
}

/// The work to catch up with another replica that has since written one key in a hundred: applying
/// its delta, its changes or its update, without the work of making them.
fn merging() {
    let keys = keys();
    let some: Vec<&String> = keys.iter().step_by(100).collect();
    let base = ours(&keys, 1);
    let mut written = Replicated::<Registers>::resume(replica(2), base.state().clone()).unwrap();
    let delta = written.update(|map, tx| {
        some.iter()
            .for_each(|key| map.update(tx, (*key).clone(), |register, tx| register.set(tx, 2)))
    });
    let automerge_base = automerge(&keys, 1);
    let mut fork = automerge_base.fork();
    let mut tx = fork.transaction();
    for key in &some {
        tx.put(ROOT, key.as_str(), 2).expect("a put at the root");
    }
    tx.commit();
    let changes = fork.get_changes(&automerge_base.get_heads());
    let loro_base = loro(&keys, 1);
    let fork = loro_base.fork();
    for key in &some {
        fork.get_map("map").insert(key, 2).expect("an insertion");
    }
    let update = fork
        .export(ExportMode::updates(&loro_base.oplog_vv()))
        .expect("an export");
    let yrs_base = yrs(&keys, 1)
        .transact()
        .encode_state_as_update_v1(&yrs::StateVector::default());
    let yrs_doc = |client| {
        let doc = Doc::with_client_id(client);
        doc.transact_mut()
            .apply_update(Update::decode_v1(&yrs_base).expect("own bytes"))
            .expect("own bytes");
        doc
    };
    let fork = yrs_doc(2);
    let map = fork.get_or_insert_map("map");
    let seen = fork.transact().state_vector();
    for key in &some {
        map.insert(&mut fork.transact_mut(), key.as_str(), 2_i64);
    }
    let diff = fork.transact().encode_diff_v1(&seen);
    let [ours, automerge, loro, yrs] = medians(
        ROUNDS,
        [
            &mut || {
                let mut base = base.clone();
                time(|| base.merge(&delta).map(drop))
            },
            &mut || {
                let mut base = automerge_base.clone();
                let changes = changes.clone();
                time(|| base.apply_changes(changes))
            },
            &mut || {
                let base = loro_base.fork();
                time(|| base.import(&update))
            },
            &mut || {
                let base = yrs_doc(3);
                time(|| {
                    base.transact_mut()
                        .apply_update(Update::decode_v1(&diff).expect("own bytes"))
                })
            },
        ],
    );
    row(
        "map of 10,000 keys, merge of 100 writes",
        &[
            ("ours", ours),
            ("automerge", automerge),
            ("loro", loro),
            ("yrs", yrs),
        ],
    );
}
