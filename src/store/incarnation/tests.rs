use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use quorate_control::store::{Batch, MemoryStore, Space, Store, StoreError};

use super::{APPEARANCES_PER_LIFE, LIVES, Life, Lives, NUMBERS_MAX, Record, read, write};

fn begin(store: &Arc<MemoryStore>, seed: u64, unix_millis: u64) -> Life {
    Lives::begin(Arc::clone(store) as _, seed, unix_millis)
        .unwrap()
        .0
}

/// A copy of the disk, equal to the last bit.
fn snapshot(store: &MemoryStore) -> Arc<MemoryStore> {
    let mut batch = Batch::default();
    store
        .scan(Space::Meta, &[], None, &mut |key, value| {
            batch.put(
                Space::Meta,
                Bytes::copy_from_slice(key),
                Bytes::copy_from_slice(value),
            );
            ControlFlow::Continue(())
        })
        .unwrap();
    let copy = MemoryStore::new();
    copy.apply(batch).unwrap();
    Arc::new(copy)
}

#[test]
fn every_start_is_a_new_life_and_so_is_every_number_drawn_later() {
    let store = Arc::new(MemoryStore::new());
    let mut seen = BTreeSet::new();
    for start in 0..50 {
        let (life, lives) = Lives::begin(Arc::clone(&store) as _, start, 1000).unwrap();
        assert!(seen.insert(life.incarnation));
        for _ in 0..3 {
            assert!(seen.insert(lives.next().unwrap()));
        }
    }
    assert!(!seen.contains(&0));
}

#[test]
fn a_number_that_comes_up_again_is_not_taken() {
    let store = Arc::new(MemoryStore::new());
    // The same seed draws the same numbers; only the record keeps them apart.
    let numbers: BTreeSet<u32> = (0..20)
        .map(|_| begin(&store, 7, 1000).incarnation)
        .collect();
    assert_eq!(numbers.len(), 20);
}

#[test]
fn a_disk_brought_back_from_a_snapshot_is_a_life_of_its_own() {
    let store = Arc::new(MemoryStore::new());
    begin(&store, 1, 1000);
    let brought_back = snapshot(&store);
    let original: Vec<Life> = (2..12).map(|seed| begin(&store, seed, 2000)).collect();
    let other = begin(&brought_back, 99, 3_000_000);
    assert!(
        original
            .iter()
            .all(|life| life.incarnation != other.incarnation)
    );
    assert!(
        original
            .iter()
            .all(|life| life.appearance < other.appearance),
        "the others would take it for one of the past"
    );
}

#[test]
fn appearances_rise_when_the_clock_is_set_back() {
    let store = Arc::new(MemoryStore::new());
    let first = begin(&store, 1, 5_000_000);
    let second = begin(&store, 2, 1000);
    assert_eq!(
        (first.appearance, second.appearance),
        (5_000_000, 5_000_000 + APPEARANCES_PER_LIFE)
    );
}

#[test]
fn the_record_stays_small() {
    let store = Arc::new(MemoryStore::new());
    write(
        &*store,
        &Record {
            appearance: 1,
            numbers: (1..=NUMBERS_MAX as u32).collect(),
        },
    )
    .unwrap();
    let life = begin(&store, 1, 1000);
    let record = read(&*store).unwrap();
    assert_eq!(
        (
            record.numbers.len(),
            record.numbers[0],
            record.numbers.last()
        ),
        (NUMBERS_MAX, 2, Some(&life.incarnation))
    );
}

#[test]
fn a_damaged_record_stops_the_start() {
    let store = Arc::new(MemoryStore::new());
    begin(&store, 1, 1000);
    let mut value = store.get(Space::Meta, LIVES).unwrap().unwrap().to_vec();
    *value.last_mut().unwrap() ^= 1;
    let mut batch = Batch::default();
    batch.put(Space::Meta, LIVES, value);
    store.apply(batch).unwrap();
    assert!(matches!(
        Lives::begin(store, 1, 1000),
        Err(StoreError::Damaged { .. })
    ));
}
