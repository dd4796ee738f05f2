//! The state in a file, and back: what `quorate consensus snapshot` saves and restores.
//!
//! ```text
//! 4   QRCA
//! 1   version of the archive
//! 16  the cluster, little-endian
//! n   the state, as snapshots have it
//! 16  XXH3-128 of everything before, little-endian
//! ```

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_128;

use super::image::ImageError;
use super::restore::{RESTORE_PART_BYTES_MAX, RestoreCommand, RestoreOutcome};
use super::state::{ARCHIVE_BYTES_MAX, Coordination};
use crate::topology::ClusterId;

#[cfg(test)]
mod tests;

const MAGIC: &[u8; 4] = b"QRCA";
const VERSION: u8 = 1;
const HEAD: usize = 4 + 1 + 16;
const SUM: usize = 16;

/// Why an archive is not restored. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// It does not begin like one.
    #[error("this is no archive of a coordination group")]
    NotAnArchive,
    /// Another version of the program wrote it.
    #[error("the archive has version {found}; this program reads {VERSION}")]
    Version {
        /// Its version.
        found: u8,
    },
    /// Bytes are missing, or are not the ones that were written.
    #[error("the archive is cut short or damaged")]
    Damaged,
    /// It is of another cluster.
    #[error("the archive is of cluster {:032x}; say that it is to be restored into another one", .cluster.0)]
    Foreign {
        /// Its cluster.
        cluster: ClusterId,
    },
    /// The checksum is right, and the state in it is none.
    #[error(transparent)]
    State(#[from] ImageError),
}

/// The archive of an encoded state.
pub fn archived(cluster: ClusterId, state: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(HEAD + state.len() + SUM);
    bytes.extend_from_slice(MAGIC);
    bytes.push(VERSION);
    bytes.extend_from_slice(&cluster.0.to_le_bytes());
    bytes.extend_from_slice(state);
    let sum = xxh3_128(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes.into()
}

/// The encoded state in an archive, once everything about it is checked. One of another cluster is
/// taken only if `foreign` says so.
///
/// # Errors
/// [`ArchiveError`].
pub fn unarchived(bytes: &Bytes, own: ClusterId, foreign: bool) -> Result<Bytes, ArchiveError> {
    if !bytes.starts_with(MAGIC) {
        return Err(ArchiveError::NotAnArchive);
    }
    let Some(found) = bytes.get(MAGIC.len()).copied() else {
        return Err(ArchiveError::Damaged);
    };
    if found != VERSION {
        return Err(ArchiveError::Version { found });
    }
    let Some((body, sum)) = bytes.split_last_chunk::<SUM>() else {
        return Err(ArchiveError::Damaged);
    };
    if body.len() < HEAD || xxh3_128(body).to_le_bytes() != *sum {
        return Err(ArchiveError::Damaged);
    }
    let cluster = body.get(5..HEAD).and_then(|id| id.try_into().ok());
    let cluster = ClusterId(cluster.map_or(0, u128::from_le_bytes));
    if cluster != own && !foreign {
        return Err(ArchiveError::Foreign { cluster });
    }
    let state = bytes.slice(HEAD..body.len());
    if !Coordination::decode(&state)?.may_be_restored() {
        return Err(ImageError::Damaged.into());
    }
    Ok(state)
}

impl Coordination {
    pub(super) fn about_restoring(&mut self, command: RestoreCommand) -> RestoreOutcome {
        match command {
            RestoreCommand::Begin => {
                self.restoring.clear();
                RestoreOutcome::Taken(0)
            }
            RestoreCommand::Part { at, bytes } => {
                let is_next = at == self.restoring.len() as u64;
                let fits = bytes.len() <= RESTORE_PART_BYTES_MAX
                    && self.restoring.len() + bytes.len() <= ARCHIVE_BYTES_MAX;
                if !is_next || !fits {
                    self.restoring.clear();
                    return RestoreOutcome::Refused;
                }
                self.restoring.extend_from_slice(&bytes);
                RestoreOutcome::Taken(self.restoring.len() as u64)
            }
            RestoreCommand::Finish(sum) => {
                let bytes = std::mem::take(&mut self.restoring);
                let saved = (xxh3_128(&bytes) == sum).then(|| Self::decode(&bytes));
                let saved = saved.and_then(Result::ok);
                let Some(saved) = saved.filter(Self::may_be_restored) else {
                    return RestoreOutcome::Refused;
                };
                let above = self.replace_with(saved);
                RestoreOutcome::Restored { above }
            }
        }
    }
}
