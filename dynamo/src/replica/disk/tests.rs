mod erasure;

use quorate_control::store::{Change, MemoryStore};
use quorate_crdt::Hlc;

use super::*;
use crate::fence::Claim;
use crate::replica::journal::{NAME_MAX, encode, residual_key, row_key};
use crate::replica::{Cut, Delta, Part, Payload, Replaces, Residual};

/// The longest key that the engines accept: fjall's bound.
const ENGINE_MAX: usize = 65_535;
const PLACE: (KeyspaceId, Partition) = (KeyspaceId(7), Partition(3));

fn id(node: u64) -> ReplicaId {
    ReplicaId::new(NodeId(node), 1)
}

fn persisted() -> Replica {
    let mut replica = Replica::new(id(1));
    replica.persist_as(PLACE.0, PLACE.1);
    replica
}

fn text(byte: u8, length: usize) -> Bytes {
    Bytes::from(vec![byte; length])
}

fn put(replica: &mut Replica, name: RowKey) {
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
}

fn key_of(change: &Change) -> &Bytes {
    match change {
        Change::Put(_, key, _) | Change::Delete(_, key) => key,
    }
}

/// Drains to the store and checks keys as an engine would.
fn save(replica: &mut Replica, store: &MemoryStore) {
    let mut batch = Batch::default();
    replica.drain_into(&mut batch);
    let longest = batch
        .changes
        .iter()
        .map(|change| key_of(change).len())
        .max()
        .unwrap_or(0);
    assert!(longest <= ENGINE_MAX, "a key of {longest} bytes");
    store.apply(batch).expect("memory");
}

fn read_back(store: &MemoryStore) -> Replica {
    restore(store, |_, _| true)
        .expect("readable")
        .0
        .remove(&PLACE)
        .expect("the replica")
}

fn long_names() -> Vec<RowKey> {
    let longest = text(b'k', crate::op::KEY_BYTES_MAX);
    vec![
        RowKey::string(longest.clone()),
        RowKey::string(text(b'k', 65_525)),
        RowKey::member("s".into(), text(b'm', 65_536)),
        RowKey::field(text(b'k', 40_000), text(b'f', 40_000)),
        RowKey::field(longest, text(b'f', 1_000_000)),
        RowKey::string("short".into()),
    ]
}

#[test]
fn no_accepted_name_is_longer_than_a_store_takes() {
    let store = MemoryStore::new();
    let mut replica = persisted();
    for name in long_names() {
        put(&mut replica, name);
    }
    let slice = Range::Slice {
        after: Some(Cut::behind(text(b'a', 64 * 1024))),
        through: Some(Cut::behind(text(b'b', 64 * 1024))),
    };
    let mut ahead = CausalContext::new();
    ahead.insert(Dot::new(id(2), 5));
    let part = Part {
        range: Range::Row(RowKey::string("short".into())),
        rows: Vec::new(),
        settled: Vec::new(),
    };
    replica.join(&Delta {
        parts: vec![part],
        residuals: vec![Residual {
            range: slice,
            context: ahead,
        }],
        ..Delta::default()
    });
    save(&mut replica, &store);
    let mut back = read_back(&store);
    assert_eq!(
        back.rows.copy_of(&Range::ALL),
        replica.rows.copy_of(&Range::ALL)
    );
    assert_eq!(
        (back.digest(), back.recent.clone(), back.residual_count()),
        (replica.digest(), replica.recent.clone(), 1)
    );
    back.persist_as(PLACE.0, PLACE.1);
    let mut write = back.write();
    write.wipe(Range::ALL);
    save(&mut back, &store);
    assert_eq!(
        read_back(&store).row_count(),
        0,
        "a long name is also removed"
    );
    put(&mut back, long_names().remove(3));
    let mut batch = Batch::default();
    let mut erased = back
        .erase(&mut batch)
        .expect("the row, its event and the residual");
    store.apply(batch).expect("memory");
    let (held, known) = restore(&store, |_, _| true).expect("readable");
    assert!(held.is_empty());
    assert_eq!(
        known.erased[&PLACE].len(),
        erased.len(),
        "a start finds what is left"
    );
    let mut batch = Batch::default();
    erased.clear(usize::MAX, &mut batch);
    store.apply(batch).expect("memory");
    assert!(
        restore(&store, |_, _| true)
            .expect("readable")
            .1
            .erased
            .is_empty()
    );
}

/// The bytes on disk never change.
#[test]
fn the_key_of_a_long_name_is_its_hash() {
    let prefix = prefix(PLACE.0, PLACE.1);
    let (short, none) = row_key(prefix, &RowKey::field("k".into(), "f".into()));
    assert_eq!(
        (&short[..], none),
        (&b"\0\0\0\x07\0\x03\0\0\0\x01k\x01f"[..], None)
    );
    let (longest, none) = row_key(prefix, &RowKey::string(text(b'k', NAME_MAX - 5)));
    assert_eq!((longest.len(), none), (PREFIX + NAME_MAX, None));
    let (hashed, name) = row_key(prefix, &RowKey::string(text(b'k', NAME_MAX - 4)));
    assert_eq!(hashed[..=PREFIX], *b"\0\0\0\x07\0\x03\xff");
    assert_eq!(hashed[PREFIX + 1..], GOLDEN);
    assert_eq!(name.map(|name| name.len()), Some(NAME_MAX + 1));
    let range = residual_key(prefix, &text(1, NAME_MAX + 1));
    assert_eq!((range.len(), range[PREFIX]), (PREFIX + 33, LONG_RESIDUAL));
}

/// SHA-256 of `00 00 ea 5c`, 59,996 times `k`, `00`.
const GOLDEN: [u8; 32] = [
    0x9f, 0x39, 0x7d, 0x72, 0x63, 0x19, 0xab, 0x83, 0x3b, 0x37, 0xb0, 0xbc, 0xfa, 0xfb, 0x90, 0x79,
    0x8c, 0x7a, 0x82, 0x20, 0xca, 0x10, 0xcb, 0xe3, 0x02, 0xba, 0x01, 0x59, 0x8f, 0x7d, 0xa5, 0x0a,
];

#[test]
fn a_long_name_from_before_is_read_and_moves() {
    let store = MemoryStore::new();
    let mut replica = persisted();
    let name = RowKey::string(text(b'k', 65_000));
    put(&mut replica, name.clone());
    let mut batch = Batch::default();
    replica.drain_into(&mut batch);
    // In the old form, the whole name is the key and the value is the row alone.
    let (hashed, whole) = row_key(prefix(PLACE.0, PLACE.1), &name);
    let old = Bytes::from([&prefix(PLACE.0, PLACE.1)[..], &whole.expect("long")].concat());
    for change in &mut batch.changes {
        if let Change::Put(_, key, value) = change
            && *key == hashed
        {
            *key = old.clone();
            *value = encode(replica.rows.get(&name).expect("live"));
        }
    }
    store.apply(batch).expect("memory");
    let mut back = read_back(&store);
    assert_eq!(back.digest(), replica.digest());
    let mut batch = Batch::default();
    back.drain_into(&mut batch);
    store.apply(batch).expect("memory");
    assert!(store.get(Space::Rows, &old).expect("memory").is_none());
    assert!(store.get(Space::Rows, &hashed).expect("memory").is_some());
    assert_eq!(read_back(&store).digest(), replica.digest());
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_planted_long_store_key_is_noticed() {
    quorate_crdt::planted::plant(Some(&planted::LONG_STORE_KEYS));
    let outcome = std::panic::catch_unwind(no_accepted_name_is_longer_than_a_store_takes);
    quorate_crdt::planted::plant(None);
    assert!(outcome.is_err());
}

#[test]
fn without_another_holder_an_event_is_not_remembered() {
    let mut replica = persisted();
    let name = RowKey {
        key: "k".into(),
        kind: RowKind::String,
        field: Bytes::new(),
    };
    let recent_after = |replica: &mut Replica, others: &[NodeId]| {
        replica.tick(others);
        put(replica, name.clone());
        let mut batch = Batch::default();
        replica.drain_into(&mut batch);
        let recorded = batch
            .changes
            .iter()
            .filter(|change| matches!(change, Change::Put(Space::Recent, ..)))
            .count();
        (replica.recent_count(), recorded)
    };
    assert_eq!(recent_after(&mut replica, &[]), (0, 0));
    assert_eq!(recent_after(&mut replica, &[NodeId(2)]), (1, 1));
    // Nor do events that the other did not know while it was a holder.
    assert_eq!(recent_after(&mut replica, &[]), (0, 0));
}

#[test]
fn rows_of_every_kind_are_read_back() {
    let (mut replica, store) = (persisted(), MemoryStore::new());
    let kinds = [
        RowKind::String,
        RowKind::Hash,
        RowKind::Set,
        RowKind::Expiry,
        RowKind::Request,
    ];
    let names = kinds.map(|kind| RowKey {
        key: "k".into(),
        kind,
        field: "f".into(),
    });
    for name in names.clone() {
        put(&mut replica, name);
    }
    save(&mut replica, &store);
    let back = read_back(&store);
    assert_eq!(back.digest(), replica.digest());
    assert_eq!(back.row_count(), names.len() as u64);
    for name in &names {
        assert!(back.rows.get(name).is_some(), "{name:?}");
    }
}

/// A restart must not admit a holder that was refused before.
#[test]
fn fences_and_their_floor_are_read_back() {
    let (mut replica, store) = (persisted(), MemoryStore::new());
    let claim = |name: &[u8], token| Claim {
        lock: LockId::of(name),
        token,
        sequence: 2,
        since: 1,
    };
    for (name, token) in [(b"below", 4), (b"above", 7)] {
        replica
            .admit(&claim(name, token))
            .expect("the first holder");
    }
    save(&mut replica, &store);
    assert_eq!(read_back(&store).fences(), replica.fences());
    assert!(replica.raise_floor(6));
    save(&mut replica, &store);
    let mut back = read_back(&store);
    assert_eq!(back.fences(), replica.fences());
    assert_eq!((back.fences().floor(), back.fences().len()), (6, 1));
    for refused in [claim(b"below", 5), claim(b"above", 6)] {
        assert!(back.admit(&refused).is_err(), "{refused:?}");
    }
}

#[test]
fn a_key_of_the_store_names_its_partition() {
    let (mut replica, store) = (persisted(), MemoryStore::new());
    put(&mut replica, RowKey::string("k".into()));
    let mut batch = Batch::default();
    replica.drain_into(&mut batch);
    assert!(!batch.changes.is_empty());
    for change in &batch.changes {
        assert_eq!(place_of(key_of(change)), Some(PLACE));
    }
    store.apply(batch).expect("memory");
    assert_eq!(place_of(b"short"), None);
}
