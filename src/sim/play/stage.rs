//! A running cluster and the state of the plan that is being played on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use quorate_control::store::MemoryStore;
use quorate_crdt::NodeId;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::sim::agreement::Agreement;
use crate::sim::ask::{Asker, Errand, Shared, Target};
use crate::sim::bidder::{Approach, Bidder};
use crate::sim::cluster::Simulation;
use crate::sim::grants::Grants;
use crate::sim::history::Record;
use crate::sim::oracle::Oracle;
use crate::sim::plan::Plan;
use crate::sim::plan::bid::Bid;
use crate::sim::plan::request::Ask;

/// Clients by their numbers: the way to hand them what they are to do, and their work.
type Clients<T> = BTreeMap<u8, (mpsc::UnboundedSender<T>, JoinHandle<()>)>;

/// A running cluster and the state of the plan being played on it.
pub(super) struct Stage<'a> {
    pub(super) plan: &'a Plan,
    pub(super) cluster: &'a mut Simulation,
    pub(super) start: Instant,
    pub(super) shared: Shared,
    pub(super) clients: Clients<Errand>,
    pub(super) bidders: Clients<Approach>,
    pub(super) agreement: Agreement,
    pub(super) backups: BTreeMap<NodeId, MemoryStore>,
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) events: Vec<(u64, String)>,
    pub(super) removed: Vec<NodeId>,
    /// Removals that were requested, and whether the node's disk is lost.
    pub(super) removals: Vec<(NodeId, bool)>,
    /// Commands that may still be under way.
    pub(super) proposals: Vec<JoinHandle<()>>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(plan: &'a Plan, cluster: &'a mut Simulation) -> Self {
        let start = Instant::now();
        let (record, oracle, dismissed) = (Record::default(), Oracle::new(start), Arc::default());
        let shared = Shared {
            start,
            epoch: cluster.start,
            record,
            grants: Grants::default(),
            oracle,
            dismissed,
        };
        for (&node, host) in &cluster.hosts {
            shared.oracle.watch(node, host);
        }
        let (backups, faults) = (BTreeMap::new(), BTreeMap::new());
        Self {
            plan,
            cluster,
            start,
            shared,
            clients: BTreeMap::new(),
            bidders: BTreeMap::new(),
            agreement: Agreement::default(),
            backups,
            faults,
            events: Vec::new(),
            removed: Vec::new(),
            removals: Vec::new(),
            proposals: Vec::new(),
        }
    }

    pub(super) fn oracle(&self) -> &Oracle {
        &self.shared.oracle
    }

    /// Records that a node ended by itself. It may do so because of its disk, or because the plan
    /// made it panic; anything else is a violation.
    pub(super) fn has_ended(&mut self, node: NodeId, failure: &str) {
        self.note(format!("node {} has ended: {failure}", node.0));
        let caused = self
            .cluster
            .hosts
            .get(&node)
            .is_some_and(|host| host.disk.get().has_failed());
        if !caused {
            self.oracle().found(
                "ended-without-cause",
                format!(
                    "node {} has ended although its disk is good: {failure}",
                    node.0
                ),
            );
        }
    }

    pub(super) fn note(&mut self, what: String) {
        self.events
            .push((self.start.elapsed().as_millis() as u64, what));
    }

    /// Hands a client its next request.
    pub(super) fn send(&mut self, ask: Ask) {
        let door = |node: &u64| {
            let node = NodeId(*node);
            let door = self.cluster.hosts.get(&node)?.door();
            Some(Target { node, door })
        };
        let Some(at) = door(&ask.node) else { return };
        let errand = Errand {
            at,
            again: ask.again.iter().filter_map(door).collect(),
            ask,
        };
        let shared = &self.shared;
        let client = self.clients.entry(errand.ask.client).or_insert_with(|| {
            let (sender, errands) = mpsc::unbounded_channel();
            (
                sender,
                tokio::spawn(Asker::new(shared.clone()).work(errands)),
            )
        });
        // The channel stays open until the client is dismissed.
        drop(client.0.send(errand));
    }

    /// Hands a client its next bid.
    pub(super) fn bid(&mut self, bid: Bid) {
        let Some(host) = self.cluster.hosts.get(&NodeId(bid.node)) else {
            return;
        };
        let approach = Approach {
            door: host.door(),
            bid,
        };
        let shared = &self.shared;
        let client = self.bidders.entry(approach.bid.client).or_insert_with(|| {
            let (sender, bids) = mpsc::unbounded_channel();
            let work = Bidder::new(shared.clone()).work(bids);
            (sender, tokio::spawn(work))
        });
        // As above.
        drop(client.0.send(approach));
    }

    /// Looks at every disk, and at what the coordination group has decided.
    pub(super) fn look(&mut self) {
        self.oracle().look();
        for (check, what) in self.agreement.look(self.cluster) {
            self.oracle().found(check, what);
        }
    }

    /// Whether any command was still under way at the last call. What such commands changed is only
    /// visible from the next look on.
    pub(super) fn commands(&mut self) -> bool {
        let any = !self.proposals.is_empty();
        self.proposals.retain(|proposal| !proposal.is_finished());
        any
    }
}
