use std::fs;
use std::path::Path;
use std::time::Duration;

use super::{Life, LifeError};
use crate::store::{DataDir, Durability, Engine, RecordError, StoreConfig, open};

const SYNC: (Engine, Durability) = (Engine::Fjall, Durability::Sync);
const INTERVAL: (Engine, Durability) = (Engine::Fjall, Durability::Interval(Duration::from_secs(1)));
const SLED: (Engine, Durability) = (Engine::Sled, Durability::Sync);
const MEMORY: (Engine, Durability) = (Engine::Memory, Durability::Sync);

/// One life of a node in `path`: begun at `unix_seconds`, ended cleanly or not.
fn live(path: &Path, setting: (Engine, Durability), unix_seconds: u32, clean: bool) -> Life {
    let dir = DataDir::open(path).unwrap();
    let store = open(setting.0, &dir.store_dir(setting.0).unwrap(), StoreConfig { cache_bytes: 0 }).unwrap();
    let life = dir.begin_life(&*store, setting, unix_seconds).unwrap();
    if clean {
        store.persist().unwrap();
        dir.end_life().unwrap();
    }
    life
}

fn new(incarnation: u32) -> Life {
    Life { incarnation, continued: false }
}

fn continued(incarnation: u32) -> Life {
    Life { incarnation, continued: true }
}

fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[test]
fn a_clean_stop_is_continued_whatever_the_clock_says() {
    for setting in [SYNC, INTERVAL, SLED, (Engine::Fjall, Durability::None)] {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(live(dir.path(), setting, 1000, true), new(1000));
        assert_eq!(live(dir.path(), setting, 5, true), continued(1000));
        assert_eq!(live(dir.path(), setting, 9000, true), continued(1000));
    }
}

#[test]
fn a_kill_is_continued_only_where_nothing_is_told_before_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(live(dir.path(), SYNC, 1000, false), new(1000));
    assert_eq!(live(dir.path(), SYNC, 2000, false), continued(1000));
    // What counts is how the life that was killed ran, not how the new one will.
    assert_eq!(live(dir.path(), INTERVAL, 3000, false), continued(1000));
    assert_eq!(live(dir.path(), SYNC, 4000, false), new(1001));
    assert_eq!(live(dir.path(), SYNC, 4000, false), continued(1001));

    for setting in [INTERVAL, SLED, (Engine::Fjall, Durability::None)] {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(live(dir.path(), setting, 1000, false), new(1000));
        assert_eq!(live(dir.path(), setting, 1000, false), new(1001));
        // The mark of an earlier clean stop does not cover the life after it.
        assert_eq!(live(dir.path(), setting, 1000, true), new(1002));
        assert_eq!(live(dir.path(), setting, 1000, false), continued(1002));
        assert_eq!(live(dir.path(), setting, 1000, true), new(1003));
    }
}

#[test]
fn a_copy_is_a_new_life_even_after_a_clean_stop_and_the_original_goes_on() {
    let parent = tempfile::tempdir().unwrap();
    let (original, copy, second) = (parent.path().join("original"), parent.path().join("copy"), parent.path().join("second"));
    assert_eq!(live(&original, SYNC, 1000, true), new(1000));
    copy_tree(&original, &copy);
    copy_tree(&original, &second);
    assert_eq!(live(&copy, SYNC, 2000, true), new(2000));
    assert_eq!(live(&second, SYNC, 2001, true), new(2001));
    assert_eq!(live(&original, SYNC, 2002, true), continued(1000));
    assert_eq!(live(&copy, SYNC, 2003, true), continued(2000));

    // A backup put back where it came from, by a clock that went wrong.
    let backup = parent.path().join("backup");
    copy_tree(&original, &backup);
    fs::remove_dir_all(&original).unwrap();
    copy_tree(&backup, &original);
    assert_eq!(live(&original, SYNC, 10, true), new(1001));
}

#[test]
fn a_renamed_directory_is_the_same_one() {
    let parent = tempfile::tempdir().unwrap();
    let (here, there) = (parent.path().join("here"), parent.path().join("there"));
    assert_eq!(live(&here, SYNC, 1000, true), new(1000));
    fs::rename(&here, &there).unwrap();
    assert_eq!(live(&there, SYNC, 2000, true), continued(1000));
}

#[test]
fn a_store_that_is_gone_is_not_continued() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(live(dir.path(), SYNC, 1000, true), new(1000));
    fs::remove_dir_all(dir.path().join("fjall")).unwrap();
    assert_eq!(live(dir.path(), SYNC, 1000, true), new(1001));

    let memory = tempfile::tempdir().unwrap();
    assert_eq!(live(memory.path(), MEMORY, 1000, true), new(1000));
    assert_eq!(live(memory.path(), MEMORY, 1000, true), new(1001));
}

#[test]
fn an_unknown_past_starts_at_the_time_and_a_later_format_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(live(dir.path(), SYNC, 1000, true), new(1000));
    let file = dir.path().join("life");
    let mut bytes = fs::read(&file).unwrap();
    bytes[12] ^= 1;
    fs::write(&file, &bytes).unwrap();
    assert_eq!(live(dir.path(), SYNC, 2000, true), new(2000));

    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() - 4);
    bytes[4] = 2;
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    fs::write(&file, &bytes).unwrap();
    let dir = DataDir::open(dir.path()).unwrap();
    let store = open(Engine::Fjall, &dir.store_dir(Engine::Fjall).unwrap(), StoreConfig { cache_bytes: 0 }).unwrap();
    let refused = dir.begin_life(&*store, SYNC, 3000);
    assert!(matches!(refused, Err(LifeError::Record(RecordError::Newer { found: 2, supported: 1 }))));
}

#[test]
fn a_number_drawn_in_the_middle_of_a_life_is_new_and_is_the_one_that_goes_on() {
    let path = tempfile::tempdir().unwrap();
    {
        let dir = DataDir::open(path.path()).unwrap();
        let store = open(Engine::Fjall, &dir.store_dir(Engine::Fjall).unwrap(), StoreConfig { cache_bytes: 0 }).unwrap();
        assert_eq!(dir.begin_life(&*store, SYNC, 1000).unwrap(), new(1000));
        assert_eq!(dir.next_incarnation(&*store, 7).unwrap(), 1001);
        assert_eq!(dir.next_incarnation(&*store, 2000).unwrap(), 2000);
    }
    assert_eq!(live(path.path(), SYNC, 1, false), continued(2000));
}
