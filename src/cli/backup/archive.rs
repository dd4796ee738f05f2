//! The files of a backup. Each page of a partition is a file; the manifest says which pages there
//! are and has the checksum of each, and its own checksum is written last.
//!
//! ```text
//! pages/default/00012-000000.page   the first page of partition 12 of keyspace default
//! begun.json                        what was begun, until it is finished
//! manifest.json                     keyspaces, users, and the size and SHA-256 of every page
//! manifest.sha256                   the checksum of the manifest, as `sha256sum` writes it
//! ```
//!
//! A reader takes no path from an archive: it makes the names of the files itself, from names of
//! keyspaces that it has checked, and from numbers.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::doors::backup::{BackupPage, Inventory, PAGE_BYTES_MAX, PageError};

/// The format of the directory. Pages have a format of their own.
const FORMAT: u16 = 1;
const BEGUN: &str = "begun.json";
const MANIFEST: &str = "manifest.json";
const CHECKSUM: &str = "manifest.sha256";
/// The longest manifest that is read: that of some terabytes.
const MANIFEST_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Why a directory cannot be written to or read as a backup. Nothing was restored from it.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ArchiveError {
    #[error("{}: {cause}", file.display())]
    Io { file: PathBuf, cause: io::Error },
    #[error("{} holds no backup", dir.display())]
    NotABackup { dir: PathBuf },
    #[error("{} holds something else: a backup begins in a directory that is empty or not there", dir.display())]
    Occupied { dir: PathBuf },
    #[error("the backup in {} is finished: begin the next one in another directory", dir.display())]
    Finished { dir: PathBuf },
    #[error("the backup in {dir} is not finished: go on with `quorate backup --to {dir}`", dir = dir.display())]
    Unfinished { dir: PathBuf },
    #[error("the backup in {} is of cluster {found}, and this is cluster {asked}", dir.display())]
    OtherCluster {
        dir: PathBuf,
        found: String,
        asked: String,
    },
    #[error("the backup in {} was begun at {found}: go on at that level", dir.display())]
    OtherLevel { dir: PathBuf, found: String },
    #[error("{}: the backup has format {found}, and this program reads format {FORMAT}", file.display())]
    Format { file: PathBuf, found: u16 },
    #[error("{}: it is not a regular file", file.display())]
    NotAFile { file: PathBuf },
    #[error("{}: it has {bytes} bytes, and {expected} are expected", file.display())]
    Length {
        file: PathBuf,
        bytes: u64,
        expected: u64,
    },
    #[error("{}: its checksum is wrong", file.display())]
    Checksum { file: PathBuf },
    #[error("{}: {why}", file.display())]
    Malformed { file: PathBuf, why: Box<str> },
    #[error("{}: {cause}", file.display())]
    Page { file: PathBuf, cause: PageError },
    #[error("the manifest names {name:?}, which no keyspace can be called")]
    BadName { name: Box<str> },
    #[error(
        "the manifest does not have the pages of partition {partition} of {keyspace} once each, in their order"
    )]
    Pages { keyspace: String, partition: u16 },
    #[error("the backup has no keyspace {name}")]
    NoKeyspace { name: String },
}

/// What a backup was begun as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Begun {
    format: u16,
    /// The number of the backup, 32 hexadecimal digits drawn at random.
    pub(super) archive: String,
    pub(super) level: String,
    /// When that was, in milliseconds since 1970 by the clock of the machine that took it.
    unix_millis: u64,
    pub(super) inventory: Inventory,
}

/// What a finished backup holds.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub(super) begun: Begun,
    finished: u64,
    pub(super) pages: Vec<PageRecord>,
}

/// The first thing that is read of a manifest.
#[derive(Deserialize)]
struct AnyFormat {
    begun: FormatOnly,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u16,
}

/// One page of a backup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageRecord {
    pub(super) keyspace: String,
    pub(super) partition: u16,
    page: u32,
    pub(super) bytes: u64,
    pub(super) keys: u64,
    sha256: String,
}

impl Begun {
    pub(super) fn new(archive: u128, level: String, inventory: Inventory) -> Self {
        Self {
            format: FORMAT,
            archive: format!("{archive:032x}"),
            level,
            unix_millis: now(),
            inventory,
        }
    }
}

impl PageRecord {
    /// The record of a page that is stored as `bytes`.
    pub(super) fn of(keyspace: &str, partition: u16, page: u32, keys: usize, bytes: &[u8]) -> Self {
        Self {
            keyspace: keyspace.to_owned(),
            partition,
            page,
            bytes: bytes.len() as u64,
            keys: keys as u64,
            sha256: sha256(bytes),
        }
    }

    /// Where the page is, below the directory of the backup.
    pub(super) fn path(&self) -> String {
        format!(
            "pages/{}/{:05}-{:06}.page",
            self.keyspace, self.partition, self.page
        )
    }
}

impl Manifest {
    pub(super) fn new(begun: Begun, mut pages: Vec<PageRecord>) -> Self {
        pages.sort();
        Self {
            begun,
            finished: now(),
            pages,
        }
    }

    /// The files that finish a backup, in the order in which they are written.
    pub(super) fn files(&self) -> [(&'static str, Vec<u8>); 2] {
        let mut document = serde_json::to_vec_pretty(self)
            .expect("invariant: a manifest has string keys and serialises");
        document.push(b'\n');
        let checksum = format!("{}  {MANIFEST}\n", sha256(&document));
        [(MANIFEST, document), (CHECKSUM, checksum.into_bytes())]
    }

    /// Reads the manifest of a finished backup.
    pub(super) fn read(dir: &Path) -> Result<Self, ArchiveError> {
        if !dir.join(CHECKSUM).exists() {
            let dir = dir.to_path_buf();
            return Err(if dir.join(BEGUN).exists() {
                ArchiveError::Unfinished { dir }
            } else {
                ArchiveError::NotABackup { dir }
            });
        }
        let checksum = read(&dir.join(CHECKSUM), 0..=256)?;
        let file = dir.join(MANIFEST);
        let document = read(&file, 0..=MANIFEST_BYTES_MAX)?;
        let expected = format!("{}  {MANIFEST}\n", sha256(&document));
        if checksum != expected.as_bytes() {
            return Err(ArchiveError::Checksum { file });
        }
        let AnyFormat { begun } = parse(&file, &document)?;
        if begun.format != FORMAT {
            let found = begun.format;
            return Err(ArchiveError::Format { file, found });
        }
        let manifest: Self = parse(&file, &document)?;
        manifest.check(file)?;
        Ok(manifest)
    }

    /// Checks what a checksum says nothing about: whoever made the manifest made that as well.
    fn check(&self, file: PathBuf) -> Result<(), ArchiveError> {
        let inventory = &self.begun.inventory;
        if let Some(name) = inventory.bad_name() {
            return Err(ArchiveError::BadName { name: name.into() });
        }
        if u128::from_str_radix(&self.begun.archive, 16).is_err() {
            let why = "the number of the backup is not hexadecimal".into();
            return Err(ArchiveError::Malformed { file, why });
        }
        let mut expected = BTreeSet::new();
        for keyspace in &inventory.keyspaces {
            let all = (0..keyspace.partitions).map(|partition| (&*keyspace.name, partition));
            expected.extend(all);
        }
        let mut last: Option<&PageRecord> = None;
        for page in &self.pages {
            let place = (&*page.keyspace, page.partition);
            let follows = match last.filter(|last| (&*last.keyspace, last.partition) == place) {
                Some(last) => last.page.checked_add(1) == Some(page.page),
                None => page.page == 0 && expected.remove(&place),
            };
            if !follows {
                return Err(ArchiveError::Pages {
                    keyspace: page.keyspace.clone(),
                    partition: page.partition,
                });
            }
            last = Some(page);
        }
        match expected.into_iter().next() {
            None => Ok(()),
            Some((keyspace, partition)) => Err(ArchiveError::Pages {
                keyspace: keyspace.to_owned(),
                partition,
            }),
        }
    }
}

/// Begins a backup in a directory, or finds the one that was begun there.
pub(super) fn begin(dir: &Path, new: Begun) -> Result<(Begun, bool), ArchiveError> {
    let here = || dir.to_path_buf();
    if dir.join(CHECKSUM).exists() {
        return Err(ArchiveError::Finished { dir: here() });
    }
    let file = dir.join(BEGUN);
    if file.exists() {
        let document = read(&file, 0..=MANIFEST_BYTES_MAX)?;
        let FormatOnly { format: found } = parse(&file, &document)?;
        if found != FORMAT {
            return Err(ArchiveError::Format { file, found });
        }
        let begun: Begun = parse(&file, &document)?;
        if begun.inventory.cluster != new.inventory.cluster {
            return Err(ArchiveError::OtherCluster {
                dir: here(),
                found: begun.inventory.cluster,
                asked: new.inventory.cluster,
            });
        }
        if begun.level != new.level {
            return Err(ArchiveError::OtherLevel {
                dir: here(),
                found: begun.level,
            });
        }
        if let Some(name) = begun.inventory.bad_name() {
            return Err(ArchiveError::BadName { name: name.into() });
        }
        return Ok((begun, true));
    }
    let io = |cause| ArchiveError::Io {
        file: here(),
        cause,
    };
    make_dir(dir).map_err(io)?;
    if fs::read_dir(dir).map_err(io)?.next().is_some() {
        return Err(ArchiveError::Occupied { dir: here() });
    }
    let document = serde_json::to_vec_pretty(&new)
        .expect("invariant: an inventory has string keys and serialises");
    write(dir, BEGUN, &document)?;
    Ok((new, false))
}

/// Removes what a finished backup no longer needs.
pub(super) fn finish(dir: &Path) -> Result<(), ArchiveError> {
    let file = dir.join(BEGUN);
    fs::remove_file(&file).map_err(|cause| ArchiveError::Io { file, cause })
}

/// The pages of a partition that are there already, and what follows the last of them. What is cut
/// off or damaged is not there.
pub(super) fn saved(dir: &Path, keyspace: &str, partition: u16) -> Vec<(PageRecord, BackupPage)> {
    let mut pages = Vec::new();
    loop {
        let number = u32::try_from(pages.len()).unwrap_or(u32::MAX);
        let record = PageRecord::of(keyspace, partition, number, 0, &[]);
        let Ok(bytes) = read(&dir.join(record.path()), 0..=PAGE_BYTES_MAX as u64) else {
            return pages;
        };
        let Ok(page) = BackupPage::decode(&bytes) else {
            return pages;
        };
        let last = page.next.is_none();
        let record = PageRecord::of(keyspace, partition, number, page.keys.len(), &bytes);
        // The keys are not needed, and there may be many.
        let keys = Vec::new();
        pages.push((record, BackupPage { keys, ..page }));
        if last {
            return pages;
        }
    }
}

/// Writes a file so that it is there whole or not at all, also after a power cut. Only its owner
/// can read it: a backup has everything that the cluster has.
pub(super) fn write(dir: &Path, path: &str, bytes: &[u8]) -> Result<(), ArchiveError> {
    let file = dir.join(path);
    let unfinished = file.with_extension("new");
    let written = || {
        let parent = file.parent().unwrap_or(dir);
        make_dir(parent)?;
        let mut new = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        new.write_all(bytes)?;
        new.sync_all()?;
        fs::rename(&unfinished, &file)?;
        File::open(parent)?.sync_all()
    };
    written().map_err(|cause| ArchiveError::Io {
        file: file.clone(),
        cause,
    })
}

fn make_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// Reads a page of a manifest and checks it, as bytes and as what they say.
pub(super) fn page(dir: &Path, record: &PageRecord) -> Result<(Vec<u8>, BackupPage), ArchiveError> {
    let file = dir.join(record.path());
    let expected = record.bytes;
    if expected > PAGE_BYTES_MAX as u64 {
        return Err(ArchiveError::Length {
            file,
            bytes: expected,
            expected: PAGE_BYTES_MAX as u64,
        });
    }
    let bytes = read(&file, expected..=expected)?;
    if sha256(&bytes) != record.sha256 {
        return Err(ArchiveError::Checksum { file });
    }
    match BackupPage::decode(&bytes) {
        Ok(page) => Ok((bytes, page)),
        Err(cause) => Err(ArchiveError::Page { file, cause }),
    }
}

/// Reads a regular file of an allowed length. A link is not followed.
fn read(file: &Path, allowed: std::ops::RangeInclusive<u64>) -> Result<Vec<u8>, ArchiveError> {
    let io = |cause| ArchiveError::Io {
        file: file.to_path_buf(),
        cause,
    };
    let found = fs::symlink_metadata(file).map_err(io)?;
    let file = || file.to_path_buf();
    if !found.is_file() {
        return Err(ArchiveError::NotAFile { file: file() });
    }
    let length = |bytes| ArchiveError::Length {
        file: file(),
        bytes,
        expected: *allowed.end(),
    };
    if !allowed.contains(&found.len()) {
        return Err(length(found.len()));
    }
    let mut bytes = Vec::new();
    let opened = File::open(file()).map_err(io)?;
    opened
        .take(allowed.end().saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(io)?;
    if allowed.contains(&(bytes.len() as u64)) {
        Ok(bytes)
    } else {
        Err(length(bytes.len() as u64))
    }
}

fn parse<T: DeserializeOwned>(file: &Path, document: &[u8]) -> Result<T, ArchiveError> {
    serde_json::from_slice(document).map_err(|error| ArchiveError::Malformed {
        file: file.to_path_buf(),
        why: error.to_string().into(),
    })
}

fn sha256(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").expect("invariant: a string takes all that is written");
    }
    text
}

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed();
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}

#[cfg(test)]
mod tests;
