//! The documents of a backup: what a cluster is apart from its keys, and pages of keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use quorate_control::topology::{
    Keyspace, PasswordHash, Replication, Role, SplitPolicy, Topology, User, is_keyspace_name,
};
use quorate_crdt::Secret;
use quorate_dynamo::saved::{PageEnd, SavedKey};
use serde::{Deserialize, Serialize};

/// The longest page that is taken, in bytes: a page has 8 MiB, or a single row with the longest
/// value, field and key.
pub const PAGE_BYTES_MAX: usize = 20 * 1024 * 1024;

/// What a cluster is apart from its keys: `GET /v1/backup`. It has the hashes of passwords.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// The cluster, 32 hexadecimal digits.
    pub cluster: String,
    /// Its keyspaces.
    pub keyspaces: Vec<KeyspaceRecord>,
    /// Its users.
    pub users: Vec<UserRecord>,
}

/// A keyspace without what is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyspaceRecord {
    /// Its name.
    pub name: String,
    /// The number of its partitions.
    pub partitions: u16,
    /// Replicas per datacenter; absent: automatic.
    pub replicas: Option<BTreeMap<String, u8>>,
    /// The level of a read that names none.
    pub read: String,
    /// The level of a write that names none.
    pub write: String,
    /// What the smaller side of a split may do.
    pub split: SplitPolicy,
}

/// A user, with the hash of the password.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRecord {
    /// Its name.
    pub name: String,
    /// The hash of its password.
    pub password: HashRecord,
    /// Its role in every keyspace.
    pub everywhere: Option<Role>,
    /// Its roles in single keyspaces, by name.
    pub keyspaces: BTreeMap<String, Role>,
}

/// A [`PasswordHash`] as text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashRecord {
    memory_kib: u32,
    passes: u32,
    /// In base64, as the digest.
    salt: String,
    digest: String,
}

/// What became of an inventory that was restored: `POST /v1/restore`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredInventory {
    /// Keyspaces that were made.
    pub keyspaces_made: Vec<String>,
    /// Those of them that got automatic replication, because a datacenter of theirs is not here or
    /// has too few nodes.
    pub keyspaces_auto: Vec<String>,
    /// Keyspaces that were there, and stay as they are.
    pub keyspaces_kept: Vec<String>,
    /// Users that were made.
    pub users_made: Vec<String>,
    /// Users that were there, and stay as they are.
    pub users_kept: Vec<String>,
}

/// What became of a page that was restored: `POST /v1/restore/{keyspace}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredPage {
    /// Rows that were missing, or older.
    pub restored: u64,
    /// Rows that stay as they are.
    pub kept: u64,
}

/// Keys of one partition, as one replica had them under one context, and where the next page goes
/// on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupPage {
    /// The keys.
    pub keys: Vec<SavedKey>,
    /// The end of the page; `None` for the last page of its partition.
    pub next: Option<PageEnd>,
}

/// Bytes that are not a page. Nothing was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// Something else.
    #[error("it is no page of a backup")]
    Foreign,
    /// A page that another version of the program wrote.
    #[error("it has format {found}, and this program reads format {FORMAT}")]
    Format {
        /// Its format.
        found: u16,
    },
    /// The page is cut off, or something follows it.
    #[error("it has {bytes} bytes where {expected} were written")]
    Length {
        /// Bytes there are.
        bytes: u64,
        /// Bytes that its head says.
        expected: u64,
    },
    /// A byte has changed.
    #[error("its checksum is wrong")]
    Checksum,
    /// The checksum is right, and what it covers makes no sense.
    #[error("its content is malformed")]
    Malformed,
}

const MAGIC: [u8; 4] = *b"QRPG";
/// The format of pages. It rises with every change of [`BackupPage`] or of its head.
pub const FORMAT: u16 = 1;
/// Magic, format and length of the body.
const HEAD_BYTES: usize = 10;
const CHECKSUM_BYTES: usize = 4;

impl BackupPage {
    /// The page as bytes: four letters, the format, the length of the body, the body in postcard,
    /// and the CRC-32 of all that. Numbers are little-endian.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes = postcard::to_extend(self, bytes)
            .expect("invariant: pages have no sequence of unknown length");
        let body = u32::try_from(bytes.len() - HEAD_BYTES).unwrap_or(u32::MAX);
        bytes[HEAD_BYTES - 4..HEAD_BYTES].copy_from_slice(&body.to_le_bytes());
        let checksum = crc32fast::hash(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads a page.
    ///
    /// # Errors
    /// [`PageError`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PageError> {
        let (magic, rest) = bytes.split_first_chunk().ok_or(PageError::Foreign)?;
        if *magic != MAGIC {
            return Err(PageError::Foreign);
        }
        let (format, rest) = rest.split_first_chunk().ok_or(PageError::Foreign)?;
        let found = u16::from_le_bytes(*format);
        if found != FORMAT {
            return Err(PageError::Format { found });
        }
        let (length, rest) = rest.split_first_chunk().ok_or(PageError::Foreign)?;
        let body = u64::from(u32::from_le_bytes(*length));
        let expected = (HEAD_BYTES + CHECKSUM_BYTES) as u64 + body;
        if bytes.len() as u64 != expected {
            return Err(PageError::Length {
                bytes: bytes.len() as u64,
                expected,
            });
        }
        let (body, checksum) = rest
            .split_last_chunk::<CHECKSUM_BYTES>()
            .ok_or(PageError::Foreign)?;
        let covered = &bytes[..bytes.len() - CHECKSUM_BYTES];
        if crc32fast::hash(covered) != u32::from_le_bytes(*checksum) {
            return Err(PageError::Checksum);
        }
        match postcard::take_from_bytes(body) {
            Ok((page, [])) => Ok(page),
            _ => Err(PageError::Malformed),
        }
    }
}

/// Where a page ended, as bytes: what asks for the next page.
pub fn encode_end(end: &PageEnd) -> Vec<u8> {
    postcard::to_stdvec(end).expect("invariant: an end has no sequence of unknown length")
}

/// Undoes [`encode_end`]; `None` if the bytes are something else.
pub fn decode_end(bytes: &[u8]) -> Option<PageEnd> {
    match postcard::take_from_bytes(bytes) {
        Ok((end, [])) => Some(end),
        _ => None,
    }
}

impl Inventory {
    /// What the topology has.
    pub fn of(topology: &Topology) -> Self {
        let user = |(name, user): (&Arc<str>, &User)| UserRecord::of(name, user, topology);
        Self {
            cluster: format!("{:032x}", topology.cluster.0),
            keyspaces: topology
                .keyspaces
                .values()
                .map(KeyspaceRecord::of)
                .collect(),
            users: topology.users.iter().map(user).collect(),
        }
    }

    /// The first name that no keyspace can have.
    pub fn bad_name(&self) -> Option<&str> {
        let mut names = self.keyspaces.iter().map(|keyspace| &*keyspace.name);
        names.find(|name| !is_keyspace_name(name))
    }
}

impl KeyspaceRecord {
    fn of(keyspace: &Keyspace) -> Self {
        Self {
            name: keyspace.name.to_string(),
            partitions: u16::try_from(keyspace.placement.len()).unwrap_or(u16::MAX),
            replicas: match &keyspace.replication {
                Replication::Auto => None,
                Replication::Fixed(counts) => Some(
                    counts
                        .iter()
                        .map(|(datacenter, count)| (datacenter.to_string(), *count))
                        .collect(),
                ),
            },
            read: keyspace.read.to_string(),
            write: keyspace.write.to_string(),
            split: keyspace.split,
        }
    }

    /// Its replication.
    pub fn replication(&self) -> Replication {
        match &self.replicas {
            None => Replication::Auto,
            Some(counts) => Replication::Fixed(
                counts
                    .iter()
                    .map(|(datacenter, count)| (datacenter.as_str().into(), *count))
                    .collect(),
            ),
        }
    }
}

impl UserRecord {
    fn of(name: &str, user: &User, topology: &Topology) -> Self {
        let PasswordHash {
            memory_kib,
            passes,
            salt,
            digest,
        } = &user.password;
        let role = |(id, role): (_, &Role)| {
            let keyspace = topology.keyspaces.get(id)?;
            Some((keyspace.name.to_string(), *role))
        };
        Self {
            name: name.to_owned(),
            password: HashRecord {
                memory_kib: *memory_kib,
                passes: *passes,
                salt: STANDARD.encode(salt.expose()),
                digest: STANDARD.encode(digest.expose()),
            },
            everywhere: user.everywhere,
            keyspaces: user.keyspaces.iter().filter_map(role).collect(),
        }
    }
}

impl HashRecord {
    /// The hash; `None` if it is not in base64.
    pub fn hash(&self) -> Option<PasswordHash> {
        let secret = |text: &String| STANDARD.decode(text).ok().map(Secret::new);
        Some(PasswordHash {
            memory_kib: self.memory_kib,
            passes: self.passes,
            salt: secret(&self.salt)?,
            digest: secret(&self.digest)?,
        })
    }
}

#[cfg(test)]
mod tests;
