use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

use quorate_control::topology::ClusterId;
use quorate_crdt::{NodeId, Secret};

use super::{DataDir, DataDirError, Identity};
use crate::store::{Engine, RecordError, free_bytes};

fn identity() -> Identity {
    Identity {
        cluster: ClusterId(7),
        node: NodeId(3),
        name: "c".to_owned(),
    }
}

#[test]
fn a_directory_serves_one_process_and_is_named_to_the_second() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("a/b");
    let dir = DataDir::open(&path).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let Err(DataDirError::Locked { dir: named }) = DataDir::open(&path) else {
        panic!("two owners")
    };
    assert_eq!(named, path);
    drop(dir);
    DataDir::open(&path).unwrap();
}

#[test]
fn identity_is_kept_and_never_becomes_somebody_else() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::open(parent.path()).unwrap();
    assert_eq!(dir.identity().unwrap(), None);
    dir.set_identity(&identity()).unwrap();
    assert_eq!(
        fs::metadata(parent.path().join("identity"))
            .unwrap()
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let renewed = Identity {
        name: "d".repeat(5000),
        ..identity()
    };
    dir.set_identity(&renewed).unwrap();
    let other_node = Identity {
        node: NodeId(4),
        ..identity()
    };
    assert!(matches!(
        dir.set_identity(&other_node),
        Err(DataDirError::OtherNode {
            expected: NodeId(4),
            found: NodeId(3),
            ..
        })
    ));
    let other_cluster = Identity {
        cluster: ClusterId(8),
        ..identity()
    };
    assert!(matches!(
        dir.set_identity(&other_cluster),
        Err(DataDirError::OtherCluster {
            expected: ClusterId(8),
            found: ClusterId(7),
            ..
        })
    ));
    assert_eq!(dir.identity().unwrap(), Some(renewed));
}

#[test]
fn a_key_is_kept_for_its_owner_alone() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::open(parent.path()).unwrap();
    assert_eq!(dir.key().unwrap(), None);
    dir.set_key(&Secret::new("drawn")).unwrap();
    assert_eq!(dir.key().unwrap(), Some(Secret::new("drawn")));
    assert_eq!(mode(&parent.path().join("key")), 0o600);
}

fn mode(path: &std::path::Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn what_others_could_read_is_closed_at_the_next_start_unless_it_is_theirs() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    let widen = |path: &std::path::Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    };
    fs::create_dir(&path).unwrap();
    widen(&path, 0o755);
    let dir = DataDir::open(&path).unwrap();
    assert_eq!(
        mode(&path),
        0o700,
        "an empty directory that was made before"
    );
    dir.set_identity(&identity()).unwrap();
    dir.set_key(&Secret::new("drawn")).unwrap();
    drop(dir);
    for file in ["key", "identity"] {
        widen(&path.join(file), 0o644);
    }
    widen(&path, 0o750);
    drop(DataDir::open(&path).unwrap());
    let modes = [path.clone(), path.join("key"), path.join("identity")].map(|path| mode(&path));
    assert_eq!(modes, [0o700, 0o600, 0o600]);

    // A directory with other files may be anybody's, for example that of all temporary files.
    let shared = parent.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::write(shared.join("letter"), b"of somebody").unwrap();
    widen(&shared, 0o777);
    assert!(matches!(
        DataDir::open(&shared),
        Err(DataDirError::Shared { .. })
    ));
    assert_eq!(mode(&shared), 0o777);
    widen(&shared, 0o700);
    assert!(DataDir::open(&shared).is_ok());

    // Only root can give a directory away, and everything here may run as root.
    if std::os::unix::fs::chown(&path, Some(12_345), None).is_ok() {
        let refused = DataDir::open(&path);
        assert!(
            matches!(refused, Err(DataDirError::Foreign { owner: 12_345, .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn every_damage_of_the_identity_is_seen() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::open(parent.path()).unwrap();
    dir.set_identity(&identity()).unwrap();
    let file = parent.path().join("identity");
    let good = fs::read(&file).unwrap();
    for length in 0..good.len() {
        fs::write(&file, &good[..length]).unwrap();
        assert!(
            matches!(
                dir.identity(),
                Err(DataDirError::File {
                    source: RecordError::Damaged,
                    ..
                })
            ),
            "cut to {length}"
        );
    }
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        fs::write(&file, &bad).unwrap();
        assert!(
            matches!(
                dir.identity(),
                Err(DataDirError::File {
                    source: RecordError::Damaged,
                    ..
                })
            ),
            "bit {bit}"
        );
    }
    assert!(
        matches!(
            dir.set_identity(&identity()),
            Err(DataDirError::File { .. })
        ),
        "a damaged identity is not overwritten"
    );
}

#[test]
fn a_later_format_is_told_from_damage() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::open(parent.path()).unwrap();
    dir.set_identity(&identity()).unwrap();
    let file = parent.path().join("identity");
    let mut bytes = fs::read(&file).unwrap();
    bytes.truncate(bytes.len() - 4);
    bytes[4] = 3;
    let crc = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    fs::write(&file, &bytes).unwrap();
    let Err(DataDirError::File { source, .. }) = dir.identity() else {
        panic!("read a later format")
    };
    assert!(matches!(
        source,
        RecordError::Newer {
            found: 3,
            supported: 2
        }
    ));
}

#[test]
fn an_unfinished_write_leaves_the_old_identity() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::open(parent.path()).unwrap();
    dir.set_identity(&identity()).unwrap();
    fs::write(parent.path().join("identity.new"), b"half").unwrap();
    assert_eq!(dir.identity().unwrap(), Some(identity()));
    dir.set_identity(&identity()).unwrap();
    assert_eq!(dir.identity().unwrap(), Some(identity()));
}

#[test]
fn data_of_another_engine_is_not_passed_over() {
    let parent = tempfile::tempdir().unwrap();
    let dir = DataDir::open(parent.path()).unwrap();
    fs::create_dir(dir.store_dir(Engine::Sled).unwrap()).unwrap();
    assert!(matches!(
        dir.store_dir(Engine::Fjall),
        Err(DataDirError::OtherEngine {
            expected: Engine::Fjall,
            found: Engine::Sled,
            ..
        })
    ));
    assert!(matches!(
        dir.store_dir(Engine::Memory),
        Err(DataDirError::OtherEngine {
            found: Engine::Sled,
            ..
        })
    ));
    assert_eq!(
        dir.store_dir(Engine::Sled).unwrap(),
        parent.path().join("sled")
    );
    let refused = DataDir::expect_engine(parent.path(), Engine::Memory)
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("--storage sled") && refused.contains("another --data-dir"),
        "{refused}"
    );
}

#[test]
fn looking_at_a_directory_creates_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("data");
    assert!(!DataDir::is_used(&path));
    DataDir::expect_engine(&path, Engine::Fjall).unwrap();
    assert!(!path.exists());
    let dir = DataDir::open(&path).unwrap();
    assert!(!DataDir::is_used(&path), "the lock alone is nobody's data");
    dir.set_identity(&identity()).unwrap();
    assert!(DataDir::is_used(&path));
}

#[test]
fn a_place_that_cannot_be_a_directory_is_a_typed_error() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("file");
    File::create(&file).unwrap();
    assert!(matches!(
        DataDir::open(&file.join("below")),
        Err(DataDirError::Io { .. })
    ));
    // Nobody can create a directory in /proc, not even root.
    let refused = DataDir::open("/proc/quorate".as_ref());
    assert!(
        matches!(
            refused,
            Err(DataDirError::NotWritable { .. } | DataDirError::Io { .. })
        ),
        "{refused:?}"
    );
}

#[test]
fn free_bytes_are_those_of_the_device() {
    let dir = tempfile::tempdir().unwrap();
    assert!(free_bytes(dir.path()).unwrap() > 0);
    assert!(free_bytes(&dir.path().join("absent")).is_err());
}
