//! The last check: once all is at rest, read everything through every node, then write to
//! everything.

use std::collections::BTreeSet;
use std::sync::Arc;

use quorate_crdt::NodeId;
use quorate_dynamo::Consistency;
use tokio::sync::mpsc;

use super::stage::Stage;
use crate::sim::ask::{Asker, Errand, Shared, Target, keyspace_of};
use crate::sim::bidder::{Approach, Bidder};
use crate::sim::history::{Record, Told};
use crate::sim::host::Door;
use crate::sim::plan::action::Action;
use crate::sim::plan::bid::{Bid, PERMITS, Stake, Thing, Wish};
use crate::sim::plan::request::{Ask, Deed, Key, LAST};
use crate::sim::promise;

/// Timeout of a request of the last check.
const LAST_TIMEOUT_MS: u64 = 2_000;
/// When everything must be free at the latest: longer than any session of a plan lives and any
/// client waits.
const FREE_WITHIN_MS: u64 = 60_000;

impl Stage<'_> {
    /// The members that serve.
    fn serving(&self) -> Vec<(NodeId, Door)> {
        let topology = self.oracle().newest();
        let member = |node: NodeId| {
            topology
                .as_deref()
                .is_some_and(|topology| topology.nodes.contains_key(&node))
        };
        self.cluster
            .hosts
            .iter()
            .filter(|(node, host)| host.is_up() && member(**node))
            .map(|(&node, host)| (node, host.door()))
            .collect()
    }

    /// Reads every key through every node at `ONE`, then deletes every key at `ALL`.
    pub(super) async fn last_words(&mut self) -> Vec<Told> {
        let mut keys: Vec<(u8, Key)> = self
            .plan
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Ask(ask) => Some((ask.keyspace, ask.key)),
                _ => None,
            })
            .collect();
        keys.sort_unstable();
        keys.dedup();
        let topology = self.oracle().newest();
        let there = |number: u8| {
            topology
                .as_deref()
                .is_some_and(|topology| keyspace_of(topology, number).is_some())
        };
        keys.retain(|(keyspace, key)| there(*keyspace) && !key.is_too_long());
        let shared = Shared {
            record: Record::default(),
            dismissed: Arc::default(),
            ..self.shared.clone()
        };
        let mut id = LAST;
        let mut errands = Vec::new();
        let nodes = self.serving();
        for (node, door) in &nodes {
            for &(keyspace, key) in &keys {
                for deed in promise::last_reads(key.0) {
                    id += 1;
                    let ask = Ask {
                        level: Consistency::One,
                        ..ask(id, *node, keyspace, key, deed)
                    };
                    errands.push(errand(ask, door));
                }
            }
        }
        for &(keyspace, key) in &keys {
            let Some((node, door)) = nodes.get(id as usize % nodes.len().max(1)) else {
                continue;
            };
            id += 1;
            let ask = Ask {
                level: Consistency::All,
                ..ask(id, *node, keyspace, key, Deed::Delete)
            };
            errands.push(errand(ask, door));
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        for errand in errands {
            drop(sender.send(errand));
        }
        drop(sender);
        Asker::new(shared.clone()).work(receiver).await;
        shared.record.take()
    }
}

impl Stage<'_> {
    /// Takes everything that clients wanted to hold, whole, and gives it back: whatever became of
    /// its holders, it is free again in time.
    pub(super) async fn last_bids(&mut self) {
        let wanted = self
            .plan
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Bid(bid) => Some(bid.thing),
                _ => None,
            });
        let held = wanted.filter(|thing| !matches!(thing, Thing::Metadata(_)));
        let things: BTreeSet<Thing> = held.collect();
        let nodes: Vec<(NodeId, Door)> = self.serving();
        let shared = Shared {
            dismissed: Arc::default(),
            ..self.shared.clone()
        };
        let (sender, receiver) = mpsc::unbounded_channel();
        let whole = Wish::Take(Stake {
            ttl: LAST_TIMEOUT_MS,
            wait: FREE_WITHIN_MS,
            shared: false,
            permits: PERMITS,
        });
        let mut id = LAST;
        for (number, thing) in things.into_iter().enumerate() {
            let Some((node, door)) = nodes.get(number % nodes.len().max(1)) else {
                continue;
            };
            for wish in [whole, Wish::GiveBack(0)] {
                id += 1;
                let bid = Bid {
                    id,
                    client: u8::MAX,
                    node: node.0,
                    thing,
                    wish,
                };
                let door = door.clone();
                drop(sender.send(Approach { bid, door }));
            }
        }
        drop(sender);
        Bidder::new(shared).work(receiver).await;
    }
}

fn ask(id: u32, node: NodeId, keyspace: u8, key: Key, deed: Deed) -> Ask {
    Ask {
        client: 0,
        keyspace,
        timeout: LAST_TIMEOUT_MS,
        ..Ask::new(id, node.0, key, deed)
    }
}

fn errand(ask: Ask, door: &Door) -> Errand {
    Errand {
        at: Target {
            node: NodeId(ask.node),
            door: door.clone(),
        },
        ask,
        again: Vec::new(),
    }
}
