//! The conformance suite that every storage engine must pass.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use proptest::prelude::*;
use quorate::store::{Engine, StoreConfig, open};
use quorate_control::store::{Batch, Change, KEY_BYTES_MAX, Space, Store, StoreError};
use tempfile::TempDir;

type Entries = Vec<(Bytes, Bytes)>;

/// A store, and what it takes to open it again.
struct Bench {
    engine: Engine,
    dir: TempDir,
    store: Option<Arc<dyn Store>>,
}

impl Bench {
    fn new(engine: Engine) -> Self {
        let mut bench = Self {
            engine,
            dir: tempfile::tempdir().unwrap(),
            store: None,
        };
        bench.reopen();
        bench
    }

    fn store(&self) -> &Arc<dyn Store> {
        self.store.as_ref().unwrap()
    }

    /// Drops the store without `persist` and opens it again. A memory store cannot be reopened, so
    /// it stays.
    fn reopen(&mut self) {
        if self.engine != Engine::Memory || self.store.is_none() {
            drop(self.store.take());
            let config = StoreConfig {
                cache_bytes: 1 << 20,
                ..StoreConfig::default()
            };
            self.store = Some(open(self.engine, &self.dir.path().join("store"), config).unwrap());
        }
    }

    fn put(&self, space: Space, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        let mut batch = Batch::default();
        batch.put(space, key, value);
        self.store().apply(batch).unwrap();
    }
}

fn scan(store: &dyn Store, space: Space, from: &[u8], to: Option<&[u8]>, limit: usize) -> Entries {
    let mut seen = Vec::new();
    if limit > 0 {
        let mut visit = |key: &[u8], value: &[u8]| {
            seen.push((Bytes::copy_from_slice(key), Bytes::copy_from_slice(value)));
            if seen.len() == limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        };
        store.scan(space, from, to, &mut visit).unwrap();
    }
    seen
}

/// The reference model: an ordered map.
#[derive(Default)]
struct Model(BTreeMap<(Space, Bytes), Bytes>);

impl Model {
    fn apply(&mut self, batch: &Batch) {
        for change in &batch.changes {
            match change {
                Change::Put(space, key, value) => {
                    self.0.insert((*space, key.clone()), value.clone())
                }
                Change::Delete(space, key) => self.0.remove(&(*space, key.clone())),
            };
        }
    }

    fn scan(&self, space: Space, from: &[u8], to: Option<&[u8]>, limit: usize) -> Entries {
        let inside = |(at, key): &(Space, Bytes)| {
            *at == space && key[..] >= *from && to.is_none_or(|to| key[..] < *to)
        };
        let entries = self.0.iter().filter(|(place, _)| inside(place));
        entries
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .take(limit)
            .collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Apply(Batch),
    Get(Space, Bytes),
    Scan {
        space: Space,
        from: Bytes,
        to: Option<Bytes>,
        limit: usize,
    },
    Persist,
    Reopen,
}

/// Few, short keys, so that they collide, with zero and 0xff bytes, which engines use to mark ends.
fn key() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(prop::sample::select(vec![0_u8, 1, b'a', 0xff]), 0..4)
        .prop_map(Bytes::from)
}

fn space() -> impl Strategy<Value = Space> {
    prop::sample::select(Space::ALL.to_vec())
}

fn change() -> impl Strategy<Value = Change> {
    let value = prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    prop_oneof![
        3 => (space(), key(), value).prop_map(|(space, key, value)| Change::Put(space, key, value)),
        1 => (space(), key()).prop_map(|(space, key)| Change::Delete(space, key)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let bounds = (space(), key(), prop::option::of(key()), 0..8_usize);
    let changes = prop::collection::vec(change(), 0..12);
    prop_oneof![
        10 => changes.prop_map(|changes| Step::Apply(Batch { changes })),
        5 => (space(), key()).prop_map(|(space, key)| Step::Get(space, key)),
        5 => bounds.prop_map(|(space, from, to, limit)| Step::Scan { space, from, to, limit }),
        1 => Just(Step::Persist),
        1 => Just(Step::Reopen),
    ]
}

fn follows_the_model(engine: Engine, cases: u32) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    proptest!(config, |(steps in prop::collection::vec(step(), 1..80))| {
        let (mut bench, mut model) = (Bench::new(engine), Model::default());
        for step in steps {
            match step {
                Step::Apply(batch) => {
                    model.apply(&batch);
                    bench.store().apply(batch).unwrap();
                }
                Step::Get(space, key) => {
                    let expected = model.0.get(&(space, key.clone())).cloned();
                    prop_assert_eq!(bench.store().get(space, &key).unwrap(), expected);
                }
                Step::Scan { space, from, to, limit } => {
                    let expected = model.scan(space, &from, to.as_deref(), limit);
                    let found = scan(&**bench.store(), space, &from, to.as_deref(), limit);
                    prop_assert_eq!(found, expected);
                }
                Step::Persist => bench.store().persist().unwrap(),
                Step::Reopen => bench.reopen(),
            }
        }
        for space in Space::ALL {
            let expected = model.scan(space, b"", None, usize::MAX);
            prop_assert_eq!(scan(&**bench.store(), space, b"", None, usize::MAX), expected);
        }
    });
}

/// Empty keys and values, keys of every length around an engine's inline-storage limits, and values
/// of up to 3 MiB.
fn keeps_any_size(engine: Engine) {
    let mut bench = Bench::new(engine);
    let sizes = [0, 1, 4096, 65_536, 1 << 20, 3 << 20];
    for (i, size) in sizes.into_iter().enumerate() {
        bench.put(Space::Rows, vec![i as u8; i], vec![i as u8; size]);
    }
    bench.put(Space::Rows, vec![9; 60_000], "long key");
    for _ in 0..2 {
        for (i, size) in sizes.into_iter().enumerate() {
            assert_eq!(
                bench
                    .store()
                    .get(Space::Rows, &vec![i as u8; i])
                    .unwrap()
                    .unwrap(),
                vec![i as u8; size],
                "{size} bytes"
            );
        }
        assert_eq!(
            bench
                .store()
                .get(Space::Rows, &vec![9; 60_000])
                .unwrap()
                .unwrap(),
            "long key"
        );
        assert_eq!(
            scan(&**bench.store(), Space::Rows, b"", None, usize::MAX).len(),
            sizes.len() + 1
        );
        bench.store().persist().unwrap();
        bench.reopen();
    }
    assert!(bench.store().stats().bytes > 4 << 20);
}

/// No engine accepts what some engine could not hold, because a cluster may run several engines. A
/// refused batch does no harm.
fn refuses_what_no_engine_could_hold(engine: Engine) {
    let bench = Bench::new(engine);
    bench.put(Space::Rows, vec![1; KEY_BYTES_MAX], "longest");
    let mut batch = Batch::default();
    batch.put(Space::Rows, "beside", "1");
    batch.put(Space::Rows, vec![1; KEY_BYTES_MAX + 1], "too long");
    let refused = bench.store().apply(batch);
    assert!(
        matches!(refused, Err(StoreError::TooLong { key, value: 8 }) if key == KEY_BYTES_MAX + 1),
        "{refused:?}"
    );
    assert_eq!(
        bench.store().get(Space::Rows, b"beside").unwrap(),
        None,
        "a part of a refused batch"
    );
    bench.put(Space::Rows, "after", "2");
    bench.store().persist().unwrap();
    assert_eq!(
        scan(&**bench.store(), Space::Rows, b"", None, usize::MAX).len(),
        2
    );
}

/// After an orderly drop everything applied is there, including deletes, even if nobody called
/// `persist`.
fn reopens_after_a_drop(engine: Engine) {
    let mut bench = Bench::new(engine);
    for round in 0..5_u32 {
        for n in 0..200_u32 {
            let mut batch = Batch::default();
            batch.put(
                Space::Rows,
                n.to_be_bytes().to_vec(),
                round.to_be_bytes().to_vec(),
            );
            batch.put(
                Space::Hints,
                (round * 200 + n).to_be_bytes().to_vec(),
                vec![0; 100],
            );
            if round > 0 {
                batch.delete(Space::Hints, ((round - 1) * 200 + n).to_be_bytes().to_vec());
            }
            bench.store().apply(batch).unwrap();
        }
        bench.reopen();
        let rows = scan(&**bench.store(), Space::Rows, b"", None, usize::MAX);
        assert_eq!(rows.len(), 200);
        assert!(
            rows.iter()
                .all(|(_, value)| value[..] == round.to_be_bytes())
        );
        let hints = scan(&**bench.store(), Space::Hints, b"", None, usize::MAX);
        assert_eq!(
            (hints.len(), &hints[0].0[..]),
            (200, &(round * 200).to_be_bytes()[..])
        );
    }
}

/// A writer sets keys in four spaces to the same number in one batch while readers read them in
/// turn. A reader that has seen a number anywhere must never see a smaller one elsewhere, and a new
/// scan must not be older either.
fn readers_see_whole_batches(engine: Engine) {
    const SPACES: [Space; 4] = [Space::Rows, Space::Recent, Space::Causal, Space::Meta];
    let bench = Bench::new(engine);
    let write = |n: u64| {
        let mut batch = Batch::default();
        for space in SPACES {
            for key in 0..20_u8 {
                batch.put(space, vec![key], n.to_be_bytes().to_vec());
            }
        }
        bench.store().apply(batch).unwrap();
    };
    write(0);
    let done = AtomicBool::new(false);
    let number = |value: &[u8]| u64::from_be_bytes(value.try_into().unwrap());
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..4_usize)
            .map(|reader| {
                let (store, done) = (bench.store(), &done);
                scope.spawn(move || {
                    let (mut seen, mut reads) = (0, 0_u64);
                    // Whatever the scheduler does, each reader goes through all keys at least once.
                    while !done.load(Ordering::Acquire) || reads < 100 {
                        let space = SPACES[(reads as usize + reader) % SPACES.len()];
                        let value = store.get(space, &[(reads % 20) as u8]).unwrap().unwrap();
                        assert!(
                            number(&value) >= seen,
                            "{engine:?}: {} after {seen}",
                            number(&value)
                        );
                        seen = number(&value);
                        if reads % 16 == 0 {
                            let entries = scan(&**store, space, &[3], Some(&[13]), usize::MAX);
                            assert_eq!(entries.len(), 10);
                            assert!(
                                entries.iter().all(|(_, value)| number(value) >= seen),
                                "{engine:?}: a scan older than a get before it"
                            );
                        }
                        reads += 1;
                    }
                    seen
                })
            })
            .collect();
        for n in 1..=1500 {
            write(n);
        }
        done.store(true, Ordering::Release);
        for reader in readers {
            assert!(reader.join().unwrap() <= 1500);
        }
    });
}

/// Enough data to exceed the engine's write buffers and caches, overwritten several times.
fn outgrows_its_memory(engine: Engine) {
    let mut bench = Bench::new(engine);
    for round in 0..4_u32 {
        for chunk in 0..40_u32 {
            let mut batch = Batch::default();
            for n in 0..100 {
                let key = (chunk * 100 + n).wrapping_mul(0x9e37_79b1);
                batch.put(
                    Space::Rows,
                    key.to_be_bytes().to_vec(),
                    vec![round as u8; 700],
                );
            }
            bench.store().apply(batch).unwrap();
        }
        bench.store().persist().unwrap();
    }
    bench.reopen();
    let rows = scan(&**bench.store(), Space::Rows, b"", None, usize::MAX);
    assert_eq!(rows.len(), 4000);
    assert!(rows.is_sorted() && rows.iter().all(|(_, value)| value[..] == [3; 700]));
}

macro_rules! conformance {
    ($name:ident, $engine:expr, $cases:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn follows_the_model() {
                super::follows_the_model($engine, $cases);
            }
            #[test]
            fn keeps_any_size() {
                super::keeps_any_size($engine);
            }
            #[test]
            fn refuses_what_no_engine_could_hold() {
                super::refuses_what_no_engine_could_hold($engine);
            }
            #[test]
            fn reopens_after_a_drop() {
                super::reopens_after_a_drop($engine);
            }
            #[test]
            fn readers_see_whole_batches() {
                super::readers_see_whole_batches($engine);
            }
            #[test]
            fn outgrows_its_memory() {
                super::outgrows_its_memory($engine);
            }
        }
    };
}

conformance!(fjall, Engine::Fjall, 24);
conformance!(sled, Engine::Sled, 24);
conformance!(memory, Engine::Memory, 128);
