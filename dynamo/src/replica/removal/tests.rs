use quorate_control::store::{Batch, Change, MemoryStore, Space, Store};
use quorate_control::topology::{KeyspaceId, Partition};
use quorate_crdt::{Hlc, NodeId, ReplicaId};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use crate::fixture::records;
#[cfg(feature = "planted-bugs")]
use crate::planted;
use crate::replica::{
    Cut, Delta, Mend, Part, Payload, Range, Replaces, Replica, Row, RowKey, Within, restore,
};
use crate::replica::{FREED_AT_ONCE, ROWS_AT_ONCE};

const PLACE: (KeyspaceId, Partition) = (KeyspaceId(7), Partition(3));

fn persisted(at_once: usize) -> Replica {
    let mut replica = Replica::new(ReplicaId::new(NodeId(1), 1));
    replica.persist_as(PLACE.0, PLACE.1);
    replica.remove_at_once(at_once);
    replica
}

fn peer() -> Replica {
    Replica::new(ReplicaId::new(NodeId(2), 1))
}

fn member(n: usize) -> RowKey {
    RowKey::member("s".into(), n.to_string().into())
}

fn put(replica: &mut Replica, name: RowKey) -> Delta {
    let mut write = replica.write();
    write.put(
        name,
        Payload::Register {
            hlc: Hlc::default(),
            value: "v".into(),
            expires: None,
        },
        Replaces::All,
    );
    write.finish().expect("something was written").0
}

fn wipe(replica: &mut Replica, range: Range) -> Delta {
    let mut write = replica.write();
    write.wipe(range);
    write.finish().expect("something was written").0
}

/// Applies the changes to the store and returns them.
fn save(replica: &mut Replica, store: &MemoryStore) -> Vec<Change> {
    let mut batch = Batch::default();
    replica.drain_into(&mut batch);
    store.apply(batch.clone()).expect("memory");
    batch.changes
}

fn read_back(store: &MemoryStore) -> Replica {
    restore(store, |_, _| true)
        .expect("readable")
        .0
        .remove(&PLACE)
        .expect("the replica")
}

fn rows(replica: &Replica) -> Vec<(RowKey, Row)> {
    replica.delta(Range::ALL).parts.remove(0).rows
}

fn assert_same(left: &Replica, right: &Replica, when: &str) {
    assert_eq!(rows(left), rows(right), "{when}");
    assert_eq!(
        (left.digest(), left.row_count()),
        (right.digest(), right.row_count()),
        "{when}"
    );
    assert_eq!(left.context(), right.context(), "{when}");
}

/// A set of many elements on disk that all replicas know.
fn filled(members: usize) -> (Replica, Replica, MemoryStore) {
    let (mut replica, mut other, store) = (persisted(ROWS_AT_ONCE), peer(), MemoryStore::new());
    for n in 0..members {
        other.join(&put(&mut replica, member(n)));
    }
    save(&mut replica, &store);
    (replica, other, store)
}

#[test]
fn a_large_removal_is_one_record_on_disk_and_its_rows_go_in_pieces() {
    let (mut replica, mut other, store) = filled(5_000);
    let delta = wipe(&mut replica, Range::Key("s".into()));
    assert_eq!((replica.row_count(), replica.digest()), (0, 0));
    let changes = save(&mut replica, &store);
    assert!(
        changes.len() <= 3,
        "the mark, the event and the context, but {} changes",
        changes.len()
    );
    assert_eq!(
        (
            records(&store, Space::Rows, b""),
            records(&store, Space::Causal, b"d")
        ),
        (5_000, 1)
    );
    other.join(&delta);
    assert_eq!(other.digest(), 0);
    let mut pieces = 0;
    while replica.has_remains() {
        replica.clear_remains(ROWS_AT_ONCE);
        let changes = save(&mut replica, &store);
        assert!(
            changes.len() <= ROWS_AT_ONCE + 1,
            "{} changes at once",
            changes.len()
        );
        pieces += 1;
    }
    assert!((5..=6).contains(&pieces), "{pieces}");
    assert_eq!(
        (
            records(&store, Space::Rows, b""),
            records(&store, Space::Causal, b"d")
        ),
        (0, 0)
    );
}

#[test]
fn whoever_is_told_of_a_large_removal_keeps_one_record_of_it() {
    let (mut replica, mut other, store) = filled(5_000);
    put(&mut other, RowKey::string("elsewhere".into()));
    let late = put(&mut replica, member(7));
    save(&mut replica, &store);
    replica.join(&wipe(&mut other, Range::Key("s".into())));
    let changes = save(&mut replica, &store);
    assert!(changes.len() < 10, "{} changes", changes.len());
    assert_eq!(
        rows(&replica),
        vec![(member(7), late.parts[0].rows[0].1.clone())],
        "what the remover had not seen stays"
    );
    assert_same(&read_back(&store), &replica, "after a start");
}

#[test]
fn a_large_removal_names_few_events() {
    let (mut replica, mut other, _) = filled(5_000);
    let mut away = Replica::new(ReplicaId::new(NodeId(3), 1));
    let delta = wipe(&mut replica, Range::Key("s".into()));
    assert!(
        delta.parts[0].settled.len() <= ROWS_AT_ONCE + 1,
        "{} events in one message",
        delta.parts[0].settled.len()
    );
    for lacking in [&mut away, &mut other] {
        lacking.join(&delta);
        let missing = replica.missing_at(lacking.context(), 100_000, usize::MAX);
        for delta in &missing.deltas {
            lacking.join(delta);
        }
        lacking.strip();
        assert_same(lacking, &replica, "all has been told");
        assert_eq!(lacking.residual_count(), 0);
    }
}

#[test]
fn what_is_written_after_a_large_removal_survives_it() {
    let (mut replica, _, store) = filled(5_000);
    wipe(&mut replica, Range::Key("s".into()));
    put(&mut replica, member(0));
    put(&mut replica, member(5_000));
    put(&mut replica, RowKey::string("s".into()));
    save(&mut replica, &store);
    assert_same(&read_back(&store), &replica, "before anything was removed");
    let mut again = read_back(&store);
    assert!(again.has_remains());
    while again.has_remains() {
        again.clear_remains(700);
        save(&mut again, &store);
        assert_same(&read_back(&store), &replica, "while rows are removed");
    }
    assert_eq!(records(&store, Space::Rows, b""), 3);
}

#[test]
fn what_is_taken_back_is_no_longer_dead() {
    let (mut replica, store) = (persisted(0), MemoryStore::new());
    let written = put(&mut replica, member(1));
    wipe(&mut replica, Range::Key("s".into()));
    save(&mut replica, &store);
    // Another replica has seen the same, and there the element lives.
    let part = Part {
        range: Range::ALL,
        rows: written.parts[0].rows.clone(),
        settled: Vec::new(),
    };
    let says = Delta {
        context: replica.context().clone(),
        parts: vec![part],
        ..Delta::default()
    };
    replica.take_mending(&says, Mend::TakeBack);
    save(&mut replica, &store);
    assert_eq!(replica.row_count(), 1);
    assert_same(&read_back(&store), &replica, "after a start");
}

fn names() -> Vec<RowKey> {
    ["a", "b", "c"]
        .into_iter()
        .flat_map(|key| ["0", "1", "2", "3"].map(|field| RowKey::member(key.into(), field.into())))
        .collect()
}

fn any_range(rng: &mut StdRng) -> Range {
    let name = names().choose(rng).expect("not empty").clone();
    let mut cut = || {
        let name = names().choose(rng).expect("not empty").clone();
        let within = [
            Within::Before,
            Within::Row(name.kind, name.field),
            Within::After,
        ]
        .choose(rng)
        .expect("not empty")
        .clone();
        Some(Cut {
            key: name.key,
            within,
        })
        .filter(|_| rng.random_bool(0.8))
    };
    let slice = Range::Slice {
        after: cut(),
        through: cut(),
    };
    [
        Range::Row(name.clone()),
        Range::Key(name.key.clone()),
        Range::Key(name.key),
        Range::ALL,
        slice,
    ]
    .choose(rng)
    .expect("not empty")
    .clone()
}

/// A replica that writes, hears from another, removes, and is killed at any moment.
fn play(seed: u64) {
    let mut rng = StdRng::seed_from_u64(seed);
    let at_once = *[0, 1, 3].choose(&mut rng).expect("not empty");
    let (mut replica, mut other, store) = (persisted(at_once), peer(), MemoryStore::new());
    let mut told = Vec::new();
    save(&mut replica, &store);
    for step in 0..rng.random_range(10..80) {
        match rng.random_range(0..10) {
            0..=2 => drop(other.join(&put(
                &mut replica,
                names().choose(&mut rng).expect("not empty").clone(),
            ))),
            3..=4 => told.push(put(
                &mut other,
                names().choose(&mut rng).expect("not empty").clone(),
            )),
            5 => {
                // Nobody ever wipes a slice.
                let range = Some(any_range(&mut rng))
                    .filter(|range| !matches!(range, Range::Slice { .. }))
                    .unwrap_or(Range::ALL);
                let who = if rng.random_bool(0.5) {
                    &mut replica
                } else {
                    &mut other
                };
                told.push(wipe(who, range));
            }
            6 => told.push(other.delta(any_range(&mut rng))),
            7..=8 if !told.is_empty() => {
                let delta = told.swap_remove(rng.random_range(0..told.len()));
                replica.join(&delta);
            }
            _ => drop(replica.clear_remains(rng.random_range(0..3))),
        }
        if rng.random_bool(0.7) {
            save(&mut replica, &store);
            assert_same(
                &read_back(&store),
                &replica,
                &format!("seed {seed}, step {step}"),
            );
        }
        if rng.random_bool(0.1) {
            replica = read_back(&store);
            replica.reincarnate(ReplicaId::new(NodeId(1), 2 + step));
            replica.remove_at_once(at_once);
        }
    }
    while replica.has_remains() {
        replica.clear_remains(1);
    }
    save(&mut replica, &store);
    assert_same(
        &read_back(&store),
        &replica,
        &format!("seed {seed}, in the end"),
    );
    assert_eq!(
        records(&store, Space::Rows, b"") as u64,
        replica.row_count(),
        "seed {seed}"
    );
    assert_eq!(records(&store, Space::Causal, b"d"), 0, "seed {seed}");
}

#[test]
fn a_crash_at_any_moment_of_a_removal_brings_nothing_back_and_loses_nothing() {
    (0..1_500).for_each(play);
}

/// An event frees some rows at once. Of two sets, it leaves three rows each.
#[test]
fn the_memory_of_removed_rows_is_freed_as_slowly_as_asked() {
    let filled = || {
        let mut replica = persisted(1);
        for set in ["s", "t"] {
            let mut write = replica.write();
            for n in 0..FREED_AT_ONCE + 3 {
                let name = RowKey::member(set.into(), n.to_string().into());
                write.put(name, Payload::Member, Replaces::All);
            }
            write.finish().expect("something was written");
        }
        for set in ["s", "t"] {
            wipe(&mut replica, Range::Key(set.into()));
        }
        replica
    };
    let steps = [0, 2, 2, 9, 9];
    let mut replica = filled();
    let freed = steps.map(|rows| replica.free_remains(rows));
    assert_eq!(freed, [0, 2, 2, 2, 0]);

    let mut batch = Batch::default();
    let mut erased = filled().erase(&mut batch).expect("it was on disk");
    let freed = steps.map(|rows| erased.free(rows));
    assert_eq!(freed, [0, 2, 2, 2, 0]);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_of_remains_are_noticed() {
    for bug in [
        &planted::MARK_FORGOTTEN,
        &planted::MARK_SWALLOWS_LATER,
        &planted::REMAINS_OVER_LIVE,
    ] {
        quorate_crdt::planted::plant(Some(bug));
        let outcome = std::panic::catch_unwind(
            a_crash_at_any_moment_of_a_removal_brings_nothing_back_and_loses_nothing,
        );
        quorate_crdt::planted::plant(None);
        assert!(outcome.is_err(), "{}", bug.name);
    }
}
