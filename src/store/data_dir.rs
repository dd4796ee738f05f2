//! The directory of one node: who it is, and its store.
//!
//! ```text
//! LOCK       held while a process uses the directory
//! identity   cluster, node, name, credentials
//! fjall/     or sled/: the store
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use quorate_control::topology::ClusterId;
use quorate_crdt::NodeId;
use serde::{Deserialize, Serialize};

use super::record::{self, Record, RecordError};
use super::{Engine, out_of_space, sync_dir};

/// Who the node of this directory is. Written when it joins a cluster, then kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster it belongs to; a directory never changes its cluster.
    pub cluster: ClusterId,
    /// Its number there.
    pub node: NodeId,
    /// Its name there.
    pub name: String,
    /// Certificate, key and what else proves it, in the form of whoever wrote it. The file is
    /// readable by its owner only.
    pub credentials: Vec<u8>,
}

impl Record for Identity {
    const FILE: &'static str = "identity";
    const VERSION: u16 = 1;
}

/// The data directory cannot be used as asked. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataDirError {
    /// Another process uses it.
    #[error("{} is in use by another process", dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// It belongs to a node of another cluster.
    #[error("{} belongs to cluster {:032x}, not to {:032x}", dir.display(), found.0, expected.0)]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// The cluster asked for.
        expected: ClusterId,
        /// The cluster it belongs to.
        found: ClusterId,
    },
    /// It belongs to another node of this cluster.
    #[error("{} belongs to node {found}, not to {expected}", dir.display())]
    OtherNode {
        /// The directory.
        dir: PathBuf,
        /// The node asked for.
        expected: NodeId,
        /// The node it belongs to.
        found: NodeId,
    },
    /// Its data was written by another engine.
    #[error("the data in {} was written by {}, not by {}", dir.display(), found.name(), expected.name())]
    OtherEngine {
        /// The directory.
        dir: PathBuf,
        /// The engine asked for.
        expected: Engine,
        /// The engine whose data is there.
        found: Engine,
    },
    /// A file of it cannot be used: damaged, or written by a later version.
    #[error("{} cannot be used", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
    /// This user may not write there.
    #[error("{} is not writable", dir.display())]
    NotWritable {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The device has no space left.
    #[error("the device of {} is full", dir.display())]
    Full {
        /// The directory.
        dir: PathBuf,
    },
    /// The operating system failed otherwise.
    #[error("{} failed", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

impl DataDirError {
    fn io(dir: &Path, source: io::Error) -> Self {
        let dir = dir.to_path_buf();
        match source.kind() {
            _ if out_of_space(&source) => Self::Full { dir },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::NotWritable { dir, source }
            }
            _ => Self::Io { dir, source },
        }
    }

    fn record(dir: &Path, file: &str, error: RecordError) -> Self {
        match error {
            RecordError::Io(error) => Self::io(dir, error),
            source => Self::File {
                file: dir.join(file),
                source,
            },
        }
    }
}

/// A data directory that this process alone uses, until dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The lock goes with the open file, and with the process, however it ends.
    _lock: File,
}

impl DataDir {
    /// Takes the directory at `path` for this process, creating it (for its owner only) if it is
    /// not there.
    ///
    /// # Errors
    /// [`DataDirError::Locked`], [`DataDirError::NotWritable`], [`DataDirError::Full`],
    /// [`DataDirError::Io`].
    pub fn open(path: &Path) -> Result<Self, DataDirError> {
        let error = |error| DataDirError::io(path, error);
        if !path.is_dir() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(path).map_err(error)?;
            path.canonicalize()
                .and_then(|path| path.parent().map_or(Ok(()), sync_dir))
                .map_err(error)?;
        }
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("LOCK"))
            .map_err(error)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_path_buf(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(DataDirError::Locked {
                dir: path.to_path_buf(),
            }),
            Err(TryLockError::Error(source)) => Err(error(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who the node is, or nothing if it has not joined a cluster yet.
    ///
    /// # Errors
    /// [`DataDirError::File`] for a damaged or newer file: a node that does not know who it is must
    /// not start as somebody else.
    pub fn identity(&self) -> Result<Option<Identity>, DataDirError> {
        let found = record::read(&self.path)
            .map_err(|error| DataDirError::record(&self.path, Identity::FILE, error))?;
        Ok(found)
    }

    /// Writes down who the node is. Its name and credentials may change, its cluster and number may
    /// not.
    ///
    /// # Errors
    /// [`DataDirError::OtherCluster`], [`DataDirError::OtherNode`] if it is already somebody else,
    /// and those of [`identity`](Self::identity) and of writing; the old identity stays.
    pub fn set_identity(&self, identity: &Identity) -> Result<(), DataDirError> {
        if let Some(present) = self.identity()? {
            self.expect_cluster(&present, identity.cluster)?;
            if present.node != identity.node {
                return Err(DataDirError::OtherNode {
                    dir: self.path.clone(),
                    expected: identity.node,
                    found: present.node,
                });
            }
        }
        record::write(&self.path, identity)
            .map_err(|error| DataDirError::record(&self.path, Identity::FILE, error))
    }

    /// Whether `identity`, read from here, is one of `cluster`.
    ///
    /// # Errors
    /// [`DataDirError::OtherCluster`].
    pub fn expect_cluster(
        &self,
        identity: &Identity,
        cluster: ClusterId,
    ) -> Result<(), DataDirError> {
        if identity.cluster == cluster {
            return Ok(());
        }
        Err(DataDirError::OtherCluster {
            dir: self.path.clone(),
            expected: cluster,
            found: identity.cluster,
        })
    }

    /// Where the store of `engine` goes. It may not be there yet.
    ///
    /// # Errors
    /// [`DataDirError::OtherEngine`] if the node's data was written by another engine: it would
    /// start empty beside it.
    pub fn store_dir(&self, engine: Engine) -> Result<PathBuf, DataDirError> {
        let other = [Engine::Fjall, Engine::Sled]
            .into_iter()
            .find(|other| *other != engine && self.path.join(other.name()).exists());
        match other {
            Some(found) => Err(DataDirError::OtherEngine {
                dir: self.path.clone(),
                expected: engine,
                found,
            }),
            None => Ok(self.path.join(engine.name())),
        }
    }
}

/// Bytes that an ordinary user can still write on the device of `path`, so that a node can refuse
/// writes before its engine fails.
///
/// # Errors
/// What the operating system said.
pub fn free_bytes(path: &Path) -> io::Result<u64> {
    let figures = rustix::fs::statvfs(path)?;
    Ok(figures.f_bavail.saturating_mul(figures.f_frsize))
}

#[cfg(test)]
mod tests;
