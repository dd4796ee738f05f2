//! Metadata: small values under names, such as settings on which everybody must agree. A value is
//! replaced blindly, or only if nobody has replaced it since it was read.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::session::Name;
use crate::planted::METADATA_SET_BLINDLY;

#[cfg(test)]
mod tests;

/// The longest value in bytes. Guess: a configuration file. What is longer belongs in a keyspace.
pub const METADATA_VALUE_BYTES_MAX: usize = 64 * 1024;
/// How many bytes all values have together, with their names and 64 bytes for each. Guess: a
/// snapshot of them fits into one message.
pub const METADATA_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What a value takes besides its bytes and its name. Guess.
const ENTRY_BYTES: usize = 64;

/// The number of the command that wrote a value. Later values have higher ones, also after a
/// restore, and none is used twice. [`Revision::NONE`] stands for no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Revision(pub u64);

impl Revision {
    /// There is no value under the name.
    pub const NONE: Self = Self(0);
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A value and when it was written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetadataEntry {
    /// The value.
    pub value: Bytes,
    /// The number of the command that wrote it.
    pub revision: Revision,
}

/// What may be asked about metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataCommand {
    /// Writes a value. Answer: [`MetadataOutcome::Put`] or [`MetadataOutcome::Differs`].
    Put {
        /// Under which name.
        name: Name,
        /// The value.
        value: Bytes,
        /// What must be there; `None` for whatever there is.
        expected: Option<Revision>,
    },
    /// Removes a value. Answer: [`MetadataOutcome::Deleted`] or [`MetadataOutcome::Differs`].
    Delete {
        /// Under which name.
        name: Name,
        /// What must be there; `None` for whatever there is.
        expected: Option<Revision>,
    },
}

impl fmt::Display for MetadataCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, expected) = match self {
            Self::Put {
                name,
                value,
                expected,
            } => {
                write!(f, "put {} bytes of metadata under {name}", value.len())?;
                (name, expected)
            }
            Self::Delete { name, expected } => {
                write!(f, "delete metadata {name}")?;
                (name, expected)
            }
        };
        match *expected {
            None => Ok(()),
            Some(Revision::NONE) => write!(f, ", if {name} has no value"),
            Some(revision) => write!(f, ", if {name} is at revision {revision}"),
        }
    }
}

/// What became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MetadataOutcome {
    /// The value is there, under this revision.
    Put(Revision),
    /// There is no value any more; `false` if there was none before.
    Deleted(bool),
    /// Nothing has changed: there is not what was expected, but this.
    Differs(Revision),
    /// Nothing has changed.
    Refused(MetadataRefusal),
}

/// Why a value was not written. Nothing has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MetadataRefusal {
    /// It is too long.
    #[error("a value of metadata has at most {limit} bytes, not {bytes}; nothing was changed")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// All values together would be too long.
    #[error("all metadata has at most {limit} bytes; nothing was changed: delete some")]
    Full {
        /// The limit.
        limit: usize,
    },
}

/// All metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Metadata {
    entries: BTreeMap<Name, MetadataEntry>,
    /// What they take, as [`METADATA_BYTES_MAX`] counts.
    #[serde(skip)]
    bytes: usize,
}

fn bytes_of(name: &Name, value: &Bytes) -> usize {
    name.bytes().len() + value.len() + ENTRY_BYTES
}

impl Metadata {
    /// The value under a name.
    pub(super) fn get(&self, name: &Name) -> Option<&MetadataEntry> {
        self.entries.get(name)
    }

    /// How many values there are.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// What they take, as [`METADATA_BYTES_MAX`] counts.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Carries out a command with this number.
    pub(super) fn apply(&mut self, number: u64, command: MetadataCommand) -> MetadataOutcome {
        let (name, expected) = match &command {
            MetadataCommand::Put { name, expected, .. }
            | MetadataCommand::Delete { name, expected } => (name, *expected),
        };
        let entry = self.get(name);
        let there = entry.map_or(Revision::NONE, |entry| entry.revision);
        if expected.is_some_and(|expected| expected != there) && !METADATA_SET_BLINDLY.is_planted()
        {
            return MetadataOutcome::Differs(there);
        }
        match command {
            MetadataCommand::Put { name, value, .. } => {
                let put = self.put(name, value, Revision(number));
                put.map_or_else(MetadataOutcome::Refused, MetadataOutcome::Put)
            }
            MetadataCommand::Delete { name, .. } => {
                let removed = self.entries.remove(&name);
                self.bytes -= removed.map_or(0, |entry| bytes_of(&name, &entry.value));
                MetadataOutcome::Deleted(there != Revision::NONE)
            }
        }
    }

    fn put(
        &mut self,
        name: Name,
        value: Bytes,
        revision: Revision,
    ) -> Result<Revision, MetadataRefusal> {
        let (bytes, limit) = (value.len(), METADATA_VALUE_BYTES_MAX);
        if bytes > limit {
            return Err(MetadataRefusal::TooLong { bytes, limit });
        }
        let before = self.get(&name);
        let freed = before.map_or(0, |entry| bytes_of(&name, &entry.value));
        let bytes = self.bytes - freed + bytes_of(&name, &value);
        if bytes > METADATA_BYTES_MAX {
            let limit = METADATA_BYTES_MAX;
            return Err(MetadataRefusal::Full { limit });
        }
        self.bytes = bytes;
        self.entries.insert(name, MetadataEntry { value, revision });
        Ok(revision)
    }

    /// Makes what follows from the values anew, as after reading them; `false` if they cannot be.
    pub(super) fn rebuild(&mut self) -> bool {
        let entries = self.entries.iter();
        self.bytes = entries
            .map(|(name, entry)| bytes_of(name, &entry.value))
            .sum();
        let is_right = |entry: &MetadataEntry| {
            entry.value.len() <= METADATA_VALUE_BYTES_MAX && entry.revision != Revision::NONE
        };
        self.bytes <= METADATA_BYTES_MAX && self.entries.values().all(is_right)
    }
}
