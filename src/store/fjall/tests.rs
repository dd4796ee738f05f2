use std::fs;

use bytes::Bytes;
use quorate_control::store::{Batch, Change, KEY_BYTES_MAX, Space, Store, StoreError};

use super::{FjallStore, last_per_key, original_key, stored_key};
use crate::store::StoreConfig;

#[test]
fn stored_keys_keep_the_order_and_come_back() {
    let keys: [&[u8]; 8] = [
        b"", b"\0", b"\0\0", b"\0\x01", b"\0a", b"\x01", b"a", b"a\0",
    ];
    let stored: Vec<_> = keys.iter().map(|key| stored_key(key)).collect();
    assert!(stored.is_sorted_by(|a, b| a < b), "{stored:?}");
    for (key, stored) in keys.iter().zip(&stored) {
        assert!(!stored.is_empty());
        assert_eq!(original_key(stored), *key);
    }
}

#[test]
fn the_last_change_of_a_key_is_kept() {
    let put = |key: &'static [u8], value: &'static [u8]| {
        Change::Put(
            Space::Rows,
            Bytes::from_static(key),
            Bytes::from_static(value),
        )
    };
    let delete = |key: &'static [u8]| Change::Delete(Space::Rows, Bytes::from_static(key));
    let changes = vec![
        put(b"a", b"1"),
        put(b"b", b"1"),
        put(b"a", b"2"),
        delete(b"b"),
        put(b"c", b"1"),
        put(b"a", b"3"),
    ];
    assert_eq!(
        last_per_key(changes),
        vec![put(b"a", b"3"), delete(b"b"), put(b"c", b"1")]
    );
    let other = Change::Put(Space::Hints, Bytes::from_static(b"a"), Bytes::new());
    assert_eq!(
        last_per_key(vec![other.clone(), put(b"a", b"1")]),
        vec![put(b"a", b"1"), other]
    );
}

#[test]
fn what_a_kill_during_creation_leaves_is_cleared_away() {
    let dir = tempfile::tempdir().unwrap();
    let (place, unfinished) = (dir.path().join("fjall"), dir.path().join("fjall.new"));
    fs::create_dir_all(unfinished.join("keyspaces")).unwrap();
    fs::write(unfinished.join("0.jnl"), b"torn").unwrap();
    drop(
        FjallStore::open(
            &place,
            StoreConfig {
                cache_bytes: 0,
                ..StoreConfig::default()
            },
        )
        .unwrap(),
    );
    assert!(place.exists() && !unfinished.exists());
}

#[test]
fn an_entry_without_a_format_is_refused_and_nothing_of_its_batch_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let store = FjallStore::open(
        &dir.path().join("fjall"),
        StoreConfig {
            cache_bytes: 0,
            ..StoreConfig::default()
        },
    )
    .unwrap();
    let (largest, larger) = (vec![0; KEY_BYTES_MAX], vec![0; KEY_BYTES_MAX + 1]);
    let mut batch = Batch::default();
    batch.put(Space::Rows, largest.clone(), "1");
    batch.put(Space::Rows, larger.clone(), "1");
    let Err(StoreError::TooLong { key, value }) = store.apply(batch) else {
        panic!("accepted a key that cannot be stored")
    };
    assert_eq!((key, value), (larger.len(), 1));
    assert_eq!(store.get(Space::Rows, &largest).unwrap(), None);
    assert_eq!(store.get(Space::Rows, &larger).unwrap(), None);

    let mut batch = Batch::default();
    batch.put(Space::Rows, largest.clone(), "1");
    store.apply(batch).unwrap();
    assert_eq!(store.get(Space::Rows, &largest).unwrap().unwrap(), "1");
}

/// A copy of the files while the store is open: what a killed process leaves behind.
#[test]
fn what_was_handed_over_survives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let (place, left) = (dir.path().join("fjall"), dir.path().join("left"));
    let store = FjallStore::open(
        &place,
        StoreConfig {
            cache_bytes: 0,
            ..StoreConfig::default()
        },
    )
    .unwrap();
    for n in 0..30_u8 {
        let mut batch = Batch::default();
        batch.put(Space::Rows, vec![1, n], vec![n; 100]);
        store.apply(batch).unwrap();
        store.hand_over().unwrap();
    }
    copy(&place, &left);
    let store = FjallStore::open(
        &left,
        StoreConfig {
            cache_bytes: 0,
            ..StoreConfig::default()
        },
    )
    .unwrap();
    for n in 0..30_u8 {
        assert_eq!(
            store.get(Space::Rows, &[1, n]).unwrap().as_deref(),
            Some(&[n; 100][..]),
            "row {n}"
        );
    }
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}
