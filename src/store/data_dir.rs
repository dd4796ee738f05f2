//! The data directory of one node: its lock, its identity and its store.
//!
//! ```text
//! LOCK       held while a process uses the directory
//! key        the node's private key, drawn at its first start
//! next-key   the one that it is about to show instead
//! identity   cluster, node, name
//! fjall/     or sled/: the store; memory/: what a node keeps on disk that has its data in memory
//! ```

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use quorate_control::topology::ClusterId;
use quorate_crdt::{NodeId, Secret};
use serde::{Deserialize, Serialize};

use super::cause::out_of_space;
use super::engine::Engine;
use super::files::sync_dir;
use super::record::{self, Record, RecordError};

/// Held while a process uses the directory.
const LOCK: &str = "LOCK";

/// Who the node of this directory is. Written when it founds or joins a cluster, then kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The cluster of the node. A directory never changes its cluster.
    pub cluster: ClusterId,
    /// Its number there.
    pub node: NodeId,
    /// Its name there.
    pub name: String,
}

impl Record for Identity {
    const FILE: &'static str = "identity";
    const VERSION: u16 = 2;
}

/// The node's private key, in the format of the code that made it.
#[derive(Serialize, Deserialize)]
struct Key(Secret);

impl Record for Key {
    const FILE: &'static str = "key";
    const VERSION: u16 = 1;
}

/// The private key that the node is about to show instead.
#[derive(Serialize, Deserialize)]
struct NextKey(Secret);

impl Record for NextKey {
    const FILE: &'static str = "next-key";
    const VERSION: u16 = 1;
}

impl Identity {
    /// Whether a node has founded or joined a cluster with this directory.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(Self::FILE).exists()
    }
}

/// Why a data directory cannot be used as asked. Nothing in it was changed.
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
    #[error(
        "the data in {} was written by {found}, not by {}: start with --storage {found}, or give another --data-dir",
        dir.display(), expected.name(), found = found.name()
    )]
    OtherEngine {
        /// The directory.
        dir: PathBuf,
        /// The engine asked for.
        expected: Engine,
        /// The engine whose data is there.
        found: Engine,
    },
    /// A file in it cannot be used: it is damaged, or a later version wrote it.
    #[error("{} cannot be used", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: RecordError,
    },
    /// Another user owns it, and could read the node's key and data.
    #[error(
        "{} belongs to user {owner}, and this process runs as user {user}: start the node as its owner, or give it away with chown",
        dir.display()
    )]
    Foreign {
        /// The directory.
        dir: PathBuf,
        /// The number of the user that it belongs to.
        owner: u32,
        /// The number of the user that this process runs as.
        user: u32,
    },
    /// It holds files of others, and others can read it.
    #[error(
        "{} is no data directory, it is not empty, and others can read it: give the node a directory of its own",
        dir.display()
    )]
    Shared {
        /// The directory.
        dir: PathBuf,
    },
    /// This user may not write to it.
    #[error("{} is not writable", dir.display())]
    NotWritable {
        /// The directory.
        dir: PathBuf,
        /// The error of the operating system.
        #[source]
        source: io::Error,
    },
    /// The device has no space left.
    #[error("the device of {} is full", dir.display())]
    Full {
        /// The directory.
        dir: PathBuf,
    },
    /// Any other failure of the operating system.
    #[error("{} failed", dir.display())]
    Io {
        /// The directory.
        dir: PathBuf,
        /// The error of the operating system.
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

/// A data directory that only this process uses, until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
    /// The lock ends with the open file, and so with the process, however that ends.
    _lock: File,
}

impl DataDir {
    /// Takes the directory at `path` for this process. A directory that is not there is created. It
    /// is for its owner only, and so are the files in it that hold secrets: modes that let others
    /// read are mended.
    ///
    /// # Errors
    /// [`DataDirError::Locked`], [`DataDirError::Foreign`], [`DataDirError::Shared`],
    /// [`DataDirError::NotWritable`], [`DataDirError::Full`], [`DataDirError::Io`].
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
        #[cfg(unix)]
        make_private(path)?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
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

    /// Whether a node has left anything at `path`: its identity or a store. Creates nothing.
    pub fn is_used(path: &Path) -> bool {
        path.join(Identity::FILE).exists() || Self::engine_at(path).is_some()
    }

    /// The engine that has written data at `path`. Creates nothing.
    pub fn engine_at(path: &Path) -> Option<Engine> {
        [Engine::Fjall, Engine::Sled, Engine::Memory]
            .into_iter()
            .find(|engine| path.join(engine.name()).exists())
    }

    /// Checks that `engine` may keep the data of the node at `path`: no other engine has written
    /// any there. Creates nothing.
    ///
    /// # Errors
    /// [`DataDirError::OtherEngine`]: the new engine would start empty beside the other.
    pub fn expect_engine(path: &Path, engine: Engine) -> Result<(), DataDirError> {
        match Self::engine_at(path).filter(|found| *found != engine) {
            Some(found) => Err(DataDirError::OtherEngine {
                dir: path.to_path_buf(),
                expected: engine,
                found,
            }),
            None => Ok(()),
        }
    }

    /// The path of the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who the node is; `None` if it has not founded or joined a cluster yet.
    ///
    /// # Errors
    /// [`DataDirError::File`] for a damaged or newer file: a node that cannot read who it is must
    /// not start as another one.
    pub fn identity(&self) -> Result<Option<Identity>, DataDirError> {
        let found = record::read(&self.path)
            .map_err(|error| DataDirError::record(&self.path, Identity::FILE, error))?;
        Ok(found)
    }

    /// Writes down who the node is. Its name and credentials may change, its cluster and number may
    /// not.
    ///
    /// # Errors
    /// [`DataDirError::OtherCluster`] or [`DataDirError::OtherNode`] if the directory belongs to
    /// another node, the errors of [`identity`](Self::identity), and those of writing. The old
    /// identity stays.
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

    /// The node's private key; `None` if none has been drawn yet.
    ///
    /// # Errors
    /// [`DataDirError::File`], [`DataDirError::Io`].
    pub fn key(&self) -> Result<Option<Secret>, DataDirError> {
        let found: Option<Key> = record::read(&self.path)
            .map_err(|error| DataDirError::record(&self.path, Key::FILE, error))?;
        Ok(found.map(|Key(key)| key))
    }

    /// Writes down the node's private key, durably, readable by its owner only.
    ///
    /// # Errors
    /// Those of writing. A key that was there stays.
    pub fn set_key(&self, key: &Secret) -> Result<(), DataDirError> {
        record::write(&self.path, &Key(key.clone()))
            .map_err(|error| DataDirError::record(&self.path, Key::FILE, error))
    }

    /// The private key that the node is about to show instead of its [`key`](Self::key). After it
    /// has become that, it stays here until another is drawn.
    ///
    /// # Errors
    /// [`DataDirError::File`], [`DataDirError::Io`].
    pub fn next_key(&self) -> Result<Option<Secret>, DataDirError> {
        let found: Option<NextKey> = record::read(&self.path)
            .map_err(|error| DataDirError::record(&self.path, NextKey::FILE, error))?;
        Ok(found.map(|NextKey(key)| key))
    }

    /// Writes down the key that the node is about to show, as [`set_key`](Self::set_key) does.
    ///
    /// # Errors
    /// Those of writing. What was there stays.
    pub fn set_next_key(&self, key: &Secret) -> Result<(), DataDirError> {
        record::write(&self.path, &NextKey(key.clone()))
            .map_err(|error| DataDirError::record(&self.path, NextKey::FILE, error))
    }

    /// Checks that `identity`, which was read from here, belongs to `cluster`.
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

    /// The engine that wrote the node's data, if there is any.
    pub fn engine(&self) -> Option<Engine> {
        Self::engine_at(&self.path)
    }

    /// The directory for the store of `engine`. It may not exist yet.
    ///
    /// # Errors
    /// As [`expect_engine`](Self::expect_engine).
    pub fn store_dir(&self, engine: Engine) -> Result<PathBuf, DataDirError> {
        Self::expect_engine(&self.path, engine)?;
        Ok(self.path.join(engine.name()))
    }
}

/// Refuses a directory of another user, and takes from everybody but the owner what they could do
/// in it. Files are mended too: their modes may have been widened, or a copy has lost them.
#[cfg(unix)]
fn make_private(dir: &Path) -> Result<(), DataDirError> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let error = |error| DataDirError::io(dir, error);
    let (found, user) = (
        fs::metadata(dir).map_err(error)?,
        rustix::process::geteuid().as_raw(),
    );
    if found.uid() != user {
        return Err(DataDirError::Foreign {
            dir: dir.to_path_buf(),
            owner: found.uid(),
            user,
        });
    }
    let open = |found: &fs::Metadata| found.permissions().mode() & 0o077 != 0;
    let is_data_dir = || dir.join(LOCK).exists() || is_empty(dir);
    if open(&found) && !is_data_dir() {
        // It may be anybody's: the directory for temporary files, or a home.
        return Err(DataDirError::Shared {
            dir: dir.to_path_buf(),
        });
    }
    let secret = [Key::FILE, NextKey::FILE, Identity::FILE].map(|file| (dir.join(file), 0o600));
    for (path, mode) in [(dir.to_path_buf(), 0o700)].into_iter().chain(secret) {
        let Ok(found) = fs::metadata(&path) else {
            continue;
        };
        if open(&found) {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).map_err(error)?;
            tracing::warn!(
                path = %path.display(),
                was = format_args!("{:o}", found.permissions().mode() & 0o777),
                "others could read this; now only its owner can"
            );
        }
    }
    Ok(())
}

/// Whether nobody has put anything there. A new file system brings a folder for what is found.
#[cfg(unix)]
fn is_empty(dir: &Path) -> bool {
    fs::read_dir(dir)
        .is_ok_and(|files| files.flatten().all(|file| file.file_name() == "lost+found"))
}

#[cfg(test)]
mod tests;
