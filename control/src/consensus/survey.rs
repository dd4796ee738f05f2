//! What the voters of a group say of themselves, asked all at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_crdt::NodeId;
use tokio::task::JoinSet;

use super::engine::Engine;
use super::messages::{Ask, Reply};
use super::status::GroupStatus;
use crate::topology::Topology;

impl Engine {
    /// The group as each voter sees it; `None` for those that do not answer in time. A node without
    /// a part in the group takes the voters for those that the topology names.
    pub(super) async fn survey(
        &self,
        topology: &Topology,
        within: Duration,
    ) -> BTreeMap<NodeId, Option<GroupStatus>> {
        let here = self.status();
        let mut voters: BTreeSet<NodeId> = here.voters.iter().copied().collect();
        if voters.is_empty() {
            voters.extend(topology.voters());
        }
        let mut asked = JoinSet::new();
        for &voter in voters.iter().filter(|&&voter| voter != self.me()) {
            let peer = self.peer(voter);
            asked.spawn(async move {
                match peer.ask(Ask::Status, within).await {
                    Ok(Reply::Status(status)) => (voter, Some(status)),
                    Ok(_) | Err(_) => (voter, None),
                }
            });
        }
        let mut said: BTreeMap<_, _> = voters.iter().map(|&voter| (voter, None)).collect();
        if let Some(own) = said.get_mut(&self.me()) {
            *own = Some(here);
        }
        while let Some(answer) = asked.join_next().await {
            if let Ok((voter, status)) = answer {
                said.insert(voter, status);
            }
        }
        said
    }
}
