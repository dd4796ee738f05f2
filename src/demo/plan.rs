//! How large a demo is, and how long it takes.

use std::time::Duration;

use super::wan::DATACENTERS_MAX;

/// The most nodes in all datacenters together, because they share one machine.
pub const NODES_MAX: usize = 24;
/// The shortest demo in which the levels can be compared.
pub const DURATION_MIN: Duration = Duration::from_secs(10);

/// How large the demo is. [`Plan::new`] returns only plans that can be carried out. Unlike the
/// `Plan` of `sim`, it does not say what happens when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    pub(super) datacenters: usize,
    /// Nodes in each datacenter.
    pub(super) nodes: usize,
    pub(super) duration: Duration,
}

/// Why a plan cannot be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// One datacenter alone cannot be split, and only [`DATACENTERS_MAX`] places are known.
    #[error("--datacenters must be from 2 to {DATACENTERS_MAX}, not {0}")]
    Datacenters(usize),
    /// No nodes, or more than [`NODES_MAX`] in total.
    #[error(
        "--nodes must be at least 1, with at most {NODES_MAX} nodes in all datacenters together; this makes {0}"
    )]
    Nodes(usize),
    /// Shorter than [`DURATION_MIN`].
    #[error("--duration must be at least {DURATION_MIN:?}, not {0:?}")]
    Duration(Duration),
}

impl Plan {
    /// A demo with `nodes` in each of `datacenters`, which takes about `duration`.
    ///
    /// # Errors
    /// [`PlanError`] names the bound that was violated.
    pub fn new(datacenters: usize, nodes: usize, duration: Duration) -> Result<Self, PlanError> {
        if !(2..=DATACENTERS_MAX).contains(&datacenters) {
            return Err(PlanError::Datacenters(datacenters));
        }
        let all = datacenters.saturating_mul(nodes);
        if nodes == 0 || all > NODES_MAX {
            return Err(PlanError::Nodes(all));
        }
        if duration < DURATION_MIN {
            return Err(PlanError::Duration(duration));
        }
        Ok(Self {
            datacenters,
            nodes,
            duration,
        })
    }

    pub(super) fn all_nodes(self) -> usize {
        self.datacenters * self.nodes
    }

    /// Replicas of a key in each datacenter, as `replication = auto` chooses them.
    pub(super) fn replicas_each(self) -> usize {
        self.nodes.min(3)
    }
}
