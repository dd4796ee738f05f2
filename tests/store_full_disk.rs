//! A disk that fills up: the error is typed, and nothing durable is lost.
//!
//! Mounting a small tmpfs takes root on Linux. Without that right the tests print `not run` and
//! pass.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use quorate::store::{Engine, StoreConfig, free_bytes, open};
use quorate_control::store::{Batch, Space, Store, StoreError};
use tempfile::TempDir;

const CONFIG: StoreConfig = StoreConfig {
    cache_bytes: 1 << 20,
    files: 64,
};

/// One test at a time: between fork and `exec`, a child that is about to mount would hold any file
/// that another test has locked.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A small file system, mounted until dropped.
struct SmallDisk(
    TempDir,
    #[expect(dead_code, reason = "held")] MutexGuard<'static, ()>,
);

impl SmallDisk {
    fn mount(mebibytes: u64) -> Option<Self> {
        let alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let dir = tempfile::tempdir().unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tmpfs"])
            .arg(dir.path())
            .output();
        match mount {
            Ok(output) if output.status.success() => Some(Self(dir, alone)),
            Ok(output) => {
                println!(
                    "not run: cannot mount a tmpfs here: {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
                None
            }
            Err(error) => {
                println!("not run: there is no mount command here: {error}");
                None
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, because an engine's threads may still hold files.
        let unmounted = Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()),
            "{} stays mounted",
            self.0.path().display()
        );
    }
}

fn numbered(n: u32) -> Batch {
    let mut batch = Batch::default();
    for space in [Space::Rows, Space::Recent] {
        batch.put(space, n.to_be_bytes().to_vec(), vec![n as u8; 4000]);
    }
    batch
}

/// What a store had reported by the time it was full.
struct Filled {
    applied: u32,
    durable: u32,
    error: StoreError,
}

/// Writes batches, persisting after every `persist_every`, until there is an error.
fn fill(store: &dyn Store, persist_every: u32) -> Filled {
    let mut durable = 0;
    for n in 0.. {
        if let Err(error) = store.apply(numbered(n)) {
            return Filled {
                applied: n,
                durable,
                error,
            };
        }
        if (n + 1).is_multiple_of(persist_every) {
            if let Err(error) = store.persist() {
                return Filled {
                    applied: n + 1,
                    durable,
                    error,
                };
            }
            durable = n + 1;
        }
    }
    unreachable!("the disk never filled up")
}

/// The number of batches in the store, all of them whole and without a gap.
fn count_whole(store: &dyn Store) -> u32 {
    let counts = [Space::Rows, Space::Recent].map(|space| {
        let mut next = 0_u32;
        let mut visit = |key: &[u8], value: &[u8]| {
            assert_eq!(key, next.to_be_bytes());
            assert!(value == vec![next as u8; 4000], "batch {next} is damaged");
            next += 1;
            ControlFlow::Continue(())
        };
        store.scan(space, b"", None, &mut visit).unwrap();
        next
    });
    assert_eq!(counts[0], counts[1], "the last batch is torn");
    counts[0]
}

/// The operator can free half of the disk. An engine that sorts needs about that much: it writes
/// the tables of what it recovers while the journal still holds the same data (with an eighth of
/// the disk freed, fjall was full again in one of four runs).
fn fills_up(engine: Engine, mebibytes: u64, persist_every: u32) {
    let Some(disk) = SmallDisk::mount(mebibytes) else {
        return;
    };
    let place = disk.0.path().join("store");
    let ballast = disk.0.path().join("ballast");
    std::fs::write(&ballast, vec![1; (mebibytes as usize) << 19]).unwrap();
    let store = open(engine, &place, CONFIG).unwrap();
    let Filled {
        applied,
        durable,
        error,
    } = fill(&*store, persist_every);
    assert!(
        matches!(error, StoreError::Full),
        "{engine:?} after {durable} batches: {error:?}"
    );
    assert!(durable > 0);
    let free = free_bytes(disk.0.path()).unwrap();
    assert!(
        free < 1 << 20,
        "{engine:?} called the disk full with {free} bytes free"
    );
    // The error is final: it comes again.
    assert!(matches!(
        store
            .apply(numbered(applied))
            .and_then(|()| store.persist()),
        Err(StoreError::Full)
    ));
    // From then on sled refuses even reads.
    if engine == Engine::Fjall {
        assert_eq!(
            count_whole(&*store),
            applied,
            "what was applied stays visible, what was refused is not"
        );
    }
    drop(store);

    // An operator makes room.
    std::fs::remove_file(&ballast).unwrap();
    let store = open(engine, &place, CONFIG).unwrap();
    let kept = count_whole(&*store);
    assert!(
        (durable..=applied).contains(&kept),
        "{durable} batches were durable and {applied} applied, {kept} are left"
    );
    store.apply(numbered(kept)).unwrap();
    store.persist().unwrap();
    println!(
        "{engine:?}: full after {applied} applied and {durable} durable batches on {mebibytes} MiB, {kept} there after making room, none damaged"
    );
}

fn does_not_open_on(engine: Engine, place: &Path) -> StoreError {
    open(engine, place, CONFIG)
        .err()
        .unwrap_or_else(|| panic!("{engine:?} opened on a full disk"))
}

#[test]
fn fjall_says_full_and_keeps_what_was_durable() {
    fills_up(Engine::Fjall, 16, 1);
    fills_up(Engine::Fjall, 16, 100);
}

#[test]
fn sled_says_full_and_keeps_what_was_durable() {
    fills_up(Engine::Sled, 16, 1);
    fills_up(Engine::Sled, 16, 100);
}

#[test]
fn no_store_is_created_on_a_full_disk_and_the_next_try_with_room_succeeds() {
    let Some(disk) = SmallDisk::mount(1) else {
        return;
    };
    let ballast = disk.0.path().join("ballast");
    let mut size = 1 << 20;
    while std::fs::write(&ballast, vec![1; size]).is_err() {
        size -= 4096;
    }
    let place = disk.0.path().join("store");
    let error = does_not_open_on(Engine::Fjall, &place);
    assert!(matches!(error, StoreError::Full), "{error:?}");
    std::fs::remove_file(&ballast).unwrap();
    open(Engine::Fjall, &place, CONFIG).unwrap();
}
