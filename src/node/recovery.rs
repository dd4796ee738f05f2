//! Offline: makes the node of a data directory the only voter of its cluster, when a majority of
//! the voters is lost for good.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use quorate_control::consensus::{Recovery, RecoveryError};
use quorate_control::topology::ClusterId;
use quorate_crdt::NodeId;

use super::adopted::last_kept;
use super::disk::check_format;
use super::error::StartError;
use crate::store::{DataDir, StoreConfig, open};

/// Why nothing was recovered, and nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SurvivorError {
    /// No node has ever lived in the directory.
    #[error("{} is not the data directory of a node", dir.display())]
    NoNode {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory cannot be used as it is.
    #[error(transparent)]
    Disk(#[from] StartError),
    /// A node to be kept is not a member.
    #[error("there is no node {name} to keep: the survivor knows {known}")]
    UnknownNode {
        /// The name given.
        name: Box<str>,
        /// The members, separated by commas.
        known: Box<str>,
    },
    /// The control group has nothing to go on from.
    #[error(transparent)]
    Control(#[from] RecoveryError),
}

/// The node of a data directory, held by this process, and what a recovery from it would do.
#[derive(Debug)]
pub struct Survivor {
    /// Its name.
    pub name: String,
    /// Its cluster.
    pub cluster: ClusterId,
    /// What would be done.
    pub recovery: Recovery,
    /// Held, so that no node runs on the directory meanwhile.
    _dir: DataDir,
}

impl Survivor {
    /// Takes the directory, which no process may be using, and plans a recovery in which the nodes
    /// named in `keep` stay members. Changes nothing.
    ///
    /// # Errors
    /// [`SurvivorError`].
    pub fn examine(path: &Path, keep: &[String]) -> Result<Self, SurvivorError> {
        let nobody = || SurvivorError::NoNode {
            dir: path.to_owned(),
        };
        // Opening it would make it.
        if !path.is_dir() {
            return Err(nobody());
        }
        let dir = DataDir::open(path).map_err(StartError::from)?;
        let identity = dir
            .identity()
            .map_err(StartError::from)?
            .ok_or_else(nobody)?;
        let engine = dir.engine().ok_or_else(nobody)?;
        let at = dir.store_dir(engine).map_err(StartError::from)?;
        let store = open(engine, &at, StoreConfig::default()).map_err(StartError::from)?;
        check_format(&*store)?;
        let topology = last_kept(&*store).map_err(StartError::from)?;
        let mut kept = BTreeSet::<NodeId>::new();
        for name in keep {
            let named = topology.as_ref().and_then(|known| known.node_named(name));
            let Some((node, _)) = named else {
                let nodes = topology.iter().flat_map(|known| known.nodes.values());
                let known: Vec<&str> = nodes.map(|info| &*info.name).collect();
                return Err(SurvivorError::UnknownNode {
                    name: name.as_str().into(),
                    known: known.join(", ").into(),
                });
            };
            kept.insert(node);
        }
        let recovery = Recovery::plan(Arc::clone(&store), identity.node, &kept)?;
        Ok(Self {
            name: identity.name,
            cluster: identity.cluster,
            recovery,
            _dir: dir,
        })
    }
}
