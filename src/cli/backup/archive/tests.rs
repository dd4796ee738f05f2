use std::os::unix::fs::{PermissionsExt as _, symlink};

use quorate_control::topology::SplitPolicy;
use quorate_dynamo::saved::{PageEnd, SavedKey, SavedName, SavedRow};
use tempfile::TempDir;

use super::*;
use crate::doors::backup::KeyspaceRecord;

fn inventory(names: &[&str]) -> Inventory {
    let keyspace = |name: &&str| KeyspaceRecord {
        name: (*name).to_owned(),
        partitions: 2,
        replicas: None,
        read: "ONE".to_owned(),
        write: "QUORUM".to_owned(),
        split: SplitPolicy::default(),
    };
    Inventory {
        cluster: "c".repeat(32),
        keyspaces: names.iter().map(keyspace).collect(),
        users: Vec::new(),
    }
}

fn page_of(key: &'static str, goes_on: bool) -> Vec<u8> {
    let row = SavedRow {
        name: SavedName::String,
        registers: Vec::new(),
        count: Some(7),
    };
    let keys = vec![SavedKey {
        key: key.into(),
        expiry: None,
        rows: vec![row],
    }];
    let next = goes_on.then(|| PageEnd {
        key: key.into(),
        row: None,
    });
    BackupPage { keys, next }.encode()
}

/// A backup of one keyspace with two partitions, the first of which has two pages.
fn begun(dir: &Path) -> (Begun, Vec<PageRecord>) {
    let new = Begun::new(7, "QUORUM".to_owned(), inventory(&["default"]));
    let (begun, goes_on) = begin(dir, new).unwrap();
    assert!(!goes_on);
    let pages = [
        (0, 0, page_of("a", true)),
        (0, 1, page_of("b", false)),
        (1, 0, page_of("c", false)),
    ];
    let put = |(partition, number, bytes): (u16, u32, Vec<u8>)| {
        let record = PageRecord::of("default", partition, number, 1, &bytes);
        write(dir, &record.path(), &bytes).unwrap();
        record
    };
    (begun, pages.into_iter().map(put).collect())
}

fn finished() -> TempDir {
    let dir = TempDir::new().unwrap();
    let (begun, pages) = begun(dir.path());
    seal(dir.path(), &Manifest::new(begun, pages));
    finish(dir.path()).unwrap();
    dir
}

fn seal(dir: &Path, manifest: &Manifest) {
    for (path, bytes) in manifest.files() {
        write(dir, path, &bytes).unwrap();
    }
}

/// Reads the manifest and every page.
fn read_all(dir: &Path) -> Result<usize, ArchiveError> {
    let manifest = Manifest::read(dir)?;
    for record in &manifest.pages {
        page(dir, record)?;
    }
    Ok(manifest.pages.len())
}

#[test]
fn a_finished_backup_is_read_and_is_its_owners_alone() {
    let dir = finished();
    assert_eq!(read_all(dir.path()).unwrap(), 3);
    let mode = |path: &str| {
        let found = fs::metadata(dir.path().join(path)).unwrap();
        found.permissions().mode() & 0o777
    };
    assert_eq!(mode(MANIFEST), 0o600);
    assert_eq!(mode("pages/default/00000-000001.page"), 0o600);
    assert_eq!(mode("pages"), 0o700);
    let new = Begun::new(8, "QUORUM".to_owned(), inventory(&["default"]));
    let refused = begin(dir.path(), new).unwrap_err();
    assert!(
        matches!(refused, ArchiveError::Finished { .. }),
        "{refused}"
    );
}

/// Every byte of every file counts.
#[test]
fn a_backup_with_one_byte_changed_is_refused() {
    let dir = finished();
    let files = [
        MANIFEST,
        CHECKSUM,
        "pages/default/00000-000000.page",
        "pages/default/00000-000001.page",
        "pages/default/00001-000000.page",
    ];
    for path in files {
        let file = dir.path().join(path);
        let whole = fs::read(&file).unwrap();
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            fs::write(&file, &changed).unwrap();
            let refused = read_all(dir.path()).unwrap_err();
            assert!(
                matches!(refused, ArchiveError::Checksum { .. }),
                "{path} {at}: {refused}"
            );
        }
        for cut in [0, whole.len() / 2, whole.len() - 1] {
            fs::write(&file, &whole[..cut]).unwrap();
            assert!(read_all(dir.path()).is_err(), "{path} {cut}");
        }
        fs::write(&file, [&whole[..], b"x"].concat()).unwrap();
        assert!(read_all(dir.path()).is_err(), "{path}");
        fs::write(&file, whole).unwrap();
    }
    assert_eq!(read_all(dir.path()).unwrap(), 3);
}

/// Whoever makes a manifest can give it a right checksum.
#[test]
fn a_manifest_with_a_right_checksum_can_lead_nowhere_else() {
    let refused = |change: &dyn Fn(&mut Manifest)| {
        let dir = finished();
        let mut manifest = Manifest::read(dir.path()).unwrap();
        change(&mut manifest);
        seal(dir.path(), &manifest);
        read_all(dir.path()).unwrap_err()
    };
    for name in ["../../etc", "/etc", "a/b", "", "7", "a\0b"] {
        let error = refused(&|manifest| {
            manifest.begun.inventory.keyspaces[0].name = name.to_owned();
            for page in &mut manifest.pages {
                page.keyspace = name.to_owned();
            }
        });
        assert!(
            matches!(error, ArchiveError::BadName { .. }),
            "{name:?}: {error}"
        );
    }
    let pages: [&dyn Fn(&mut Manifest); 5] = [
        &|manifest| drop(manifest.pages.pop()),
        &|manifest| drop(manifest.pages.remove(0)),
        &|manifest| manifest.pages.push(manifest.pages[0].clone()),
        &|manifest| manifest.pages[1].page = u32::MAX,
        &|manifest| manifest.pages[2].keyspace = "../default".to_owned(),
    ];
    for (number, change) in pages.iter().enumerate() {
        let error = refused(change);
        assert!(
            matches!(error, ArchiveError::Pages { .. }),
            "{number}: {error}"
        );
    }
    let error = refused(&|manifest| manifest.pages[0].bytes = u64::MAX);
    assert!(matches!(error, ArchiveError::Length { .. }), "{error}");
    let error = refused(&|manifest| manifest.begun.format = 2);
    assert!(
        matches!(error, ArchiveError::Format { found: 2, .. }),
        "{error}"
    );
    let error = refused(&|manifest| manifest.begun.archive = "x".to_owned());
    assert!(matches!(error, ArchiveError::Malformed { .. }), "{error}");
}

/// A page whose checksums are right, of a format that does not exist.
#[test]
fn a_page_of_another_format_is_refused() {
    let dir = TempDir::new().unwrap();
    let (begun, mut pages) = begun(dir.path());
    let mut bytes = page_of("c", false);
    bytes[4] = 9;
    let end = bytes.len() - 4;
    let checksum = crc32fast::hash(&bytes[..end]).to_le_bytes();
    bytes[end..].copy_from_slice(&checksum);
    pages[2] = PageRecord::of("default", 1, 0, 1, &bytes);
    write(dir.path(), &pages[2].path(), &bytes).unwrap();
    seal(dir.path(), &Manifest::new(begun, pages));
    let refused = read_all(dir.path()).unwrap_err();
    let format = PageError::Format { found: 9 };
    assert!(
        matches!(refused, ArchiveError::Page { cause, .. } if cause == format),
        "{refused}"
    );
}

#[test]
fn a_link_is_not_followed() {
    let dir = finished();
    let file = dir.path().join("pages/default/00001-000000.page");
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&file, &elsewhere).unwrap();
    symlink(&elsewhere, &file).unwrap();
    let refused = read_all(dir.path()).unwrap_err();
    assert!(
        matches!(refused, ArchiveError::NotAFile { .. }),
        "{refused}"
    );
}

#[test]
fn what_is_not_finished_or_no_backup_is_not_read() {
    let dir = TempDir::new().unwrap();
    let refused = read_all(dir.path()).unwrap_err();
    assert!(
        matches!(refused, ArchiveError::NotABackup { .. }),
        "{refused}"
    );
    let (begun, pages) = begun(dir.path());
    let refused = read_all(dir.path()).unwrap_err();
    assert!(
        matches!(refused, ArchiveError::Unfinished { .. }),
        "{refused}"
    );
    // Killed between the two files that finish it.
    let [(path, bytes), _] = Manifest::new(begun, pages).files();
    write(dir.path(), path, &bytes).unwrap();
    let refused = read_all(dir.path()).unwrap_err();
    assert!(
        matches!(refused, ArchiveError::Unfinished { .. }),
        "{refused}"
    );
}

#[test]
fn an_interrupted_backup_goes_on_after_its_last_whole_page() {
    let dir = TempDir::new().unwrap();
    let (first, pages) = begun(dir.path());
    let again = || Begun::new(8, "QUORUM".to_owned(), inventory(&["default", "later"]));
    assert_eq!(begin(dir.path(), again()).unwrap(), (first, true));
    let numbers = |partition| -> Vec<PageRecord> {
        let found = saved(dir.path(), "default", partition);
        found.into_iter().map(|(record, _)| record).collect()
    };
    assert_eq!(numbers(0), pages[..2]);
    assert_eq!(numbers(1), pages[2..]);
    let second = dir.path().join(pages[1].path());
    let whole = fs::read(&second).unwrap();
    for damaged in [&whole[..whole.len() - 1], b""] {
        fs::write(&second, damaged).unwrap();
        assert_eq!(numbers(0), pages[..1]);
    }
    fs::write(&second, whole).unwrap();
    fs::remove_file(dir.path().join(pages[0].path())).unwrap();
    assert_eq!(numbers(0), []);
}

#[test]
fn a_backup_goes_on_only_with_the_same_cluster_and_level() {
    let dir = TempDir::new().unwrap();
    begun(dir.path());
    let mut other = inventory(&["default"]);
    other.cluster = "d".repeat(32);
    let refused = begin(dir.path(), Begun::new(8, "QUORUM".to_owned(), other)).unwrap_err();
    assert!(
        matches!(refused, ArchiveError::OtherCluster { .. }),
        "{refused}"
    );
    let other = Begun::new(8, "ONE".to_owned(), inventory(&["default"]));
    let refused = begin(dir.path(), other).unwrap_err();
    assert!(
        matches!(refused, ArchiveError::OtherLevel { .. }),
        "{refused}"
    );
    let occupied = TempDir::new().unwrap();
    fs::write(occupied.path().join("notes.txt"), "mine").unwrap();
    let new = Begun::new(8, "ONE".to_owned(), inventory(&["default"]));
    let refused = begin(occupied.path(), new).unwrap_err();
    assert!(
        matches!(refused, ArchiveError::Occupied { .. }),
        "{refused}"
    );
}
