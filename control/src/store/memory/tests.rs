use std::ops::ControlFlow;

use super::{CHUNK, MemoryStore};
use crate::store::{Batch, Space, Store};

fn numbered(n: usize) -> MemoryStore {
    let store = MemoryStore::new();
    let mut batch = Batch::default();
    for i in 0..n {
        batch.put(Space::Rows, (i as u32).to_be_bytes().to_vec(), vec![1; 6]);
    }
    store.apply(batch).unwrap();
    store
}

fn keys(store: &MemoryStore, from: &[u8], to: Option<&[u8]>, limit: usize) -> Vec<u32> {
    let mut seen = Vec::new();
    let mut visit = |key: &[u8], _: &[u8]| {
        seen.push(u32::from_be_bytes(key.try_into().unwrap()));
        if seen.len() == limit {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    store.scan(Space::Rows, from, to, &mut visit).unwrap();
    seen
}

#[test]
fn a_scan_goes_on_across_chunks_without_gap_or_repeat() {
    for n in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let store = numbered(n);
        assert_eq!(
            keys(&store, b"", None, usize::MAX),
            (0..n as u32).collect::<Vec<_>>()
        );
    }
    let store = numbered(3 * CHUNK);
    let (from, to) = (5_u32.to_be_bytes(), 150_u32.to_be_bytes());
    assert_eq!(
        keys(&store, &from, Some(&to), usize::MAX),
        (5..150).collect::<Vec<_>>()
    );
    assert_eq!(
        keys(&store, &from, Some(&to), CHUNK + 3),
        (5..5 + CHUNK as u32 + 3).collect::<Vec<_>>()
    );
    assert_eq!(
        keys(&store, &to, Some(&from), usize::MAX),
        Vec::<u32>::new()
    );
}

#[test]
fn a_visitor_may_write_to_the_store_it_reads() {
    let store = numbered(2 * CHUNK);
    let mut seen = 0;
    let mut visit = |key: &[u8], _: &[u8]| {
        let mut batch = Batch::default();
        batch.delete(Space::Rows, key.to_vec());
        store.apply(batch).unwrap();
        seen += 1;
        ControlFlow::Continue(())
    };
    store.scan(Space::Rows, b"", None, &mut visit).unwrap();
    assert_eq!(seen, 2 * CHUNK);
    assert_eq!(keys(&store, b"", None, usize::MAX), Vec::<u32>::new());
}

#[test]
fn bytes_count_what_is_there_now() {
    let store = numbered(3);
    assert_eq!(store.stats().bytes, 30);
    let mut batch = Batch::default();
    batch.put(Space::Rows, 0_u32.to_be_bytes().to_vec(), vec![]);
    batch.delete(Space::Rows, 1_u32.to_be_bytes().to_vec());
    batch.delete(Space::Rows, 1_u32.to_be_bytes().to_vec());
    batch.delete(Space::Hints, b"absent".to_vec());
    store.apply(batch).unwrap();
    assert_eq!(store.stats().bytes, 4 + 10);
}
