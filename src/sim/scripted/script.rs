//! Builds a script step by step.

use std::collections::BTreeMap;

use quorate_dynamo::Consistency;
use quorate_dynamo::op::Limits;

use crate::node::Queues;
use crate::sim::plan::action::Action;
use crate::sim::plan::request::{Ask, Deed, Key, Kind};
use crate::sim::plan::shape::{Knobs, Shape};
use crate::sim::plan::{Plan, Step};

pub(super) const QUORUM: Consistency = Consistency::Quorum;
pub(super) const ONE: Consistency = Consistency::One;
pub(super) const ALL: Consistency = Consistency::All;

/// A script under construction.
pub(super) struct Script {
    plan: Plan,
    /// The number of the last request.
    asked: u32,
}

impl Script {
    /// One datacenter of `nodes`, one partition, and a network without faults.
    pub(super) fn new(nodes: u8) -> Self {
        let shape = Shape {
            datacenters: vec![nodes],
            racks: 0,
            partitions: 1,
            cores: 1,
            within_us: 500,
            between_ms: 5,
            loss: 0.0,
            skew_ms: 0,
            heartbeat_ms: 150,
        };
        Self {
            plan: Plan {
                seed: 1,
                shape,
                knobs: Knobs::default(),
                limits: Limits::default(),
                queues: Queues::default(),
                steps: Vec::new(),
                until: 1_000,
            },
            asked: 0,
        }
    }

    pub(super) fn knobs(mut self, change: impl FnOnce(&mut Knobs)) -> Self {
        change(&mut self.plan.knobs);
        self
    }

    pub(super) fn queues(mut self, change: impl FnOnce(&mut Queues)) -> Self {
        change(&mut self.plan.queues);
        self
    }

    /// Numbers the requests that follow from `number` on.
    pub(super) fn count_from(mut self, number: u32) -> Self {
        self.asked = number - 1;
        self
    }

    pub(super) fn at(mut self, at: u64, action: Action) -> Self {
        self.plan.until = self.plan.until.max(at + 1_000);
        self.plan.steps.push(Step { at, action });
        self
    }

    /// The same once more for each of nodes 1, 2 and 3.
    pub(super) fn each(self, more: impl Fn(Self, u64) -> Self) -> Self {
        (1..=3).fold(self, more)
    }

    /// A request in the first keyspace. Each node has a client of its own.
    pub(super) fn ask(
        mut self,
        at: u64,
        node: u64,
        level: Consistency,
        kind: Kind,
        deed: Deed,
    ) -> Self {
        self.asked += 1;
        let ask = Ask {
            level,
            ..Ask::new(self.asked, node, Key(kind, 0), deed)
        };
        self.at(at, Action::Ask(ask))
    }

    /// Changes how many replicas the first keyspace has.
    pub(super) fn replicate(self, at: u64, count: u8) -> Self {
        let replicas = BTreeMap::from([(1, count)]);
        let keyspace = 1;
        self.at(at, Action::Replicate { keyspace, replicas })
    }

    /// From now on this share of the frames from one node to another is dropped.
    pub(super) fn drop_frames(self, at: u64, from: u64, to: u64, share: f64) -> Self {
        self.at(at, Action::DropFrames { from, to, share })
    }

    /// Kills a node, and starts it again later.
    pub(super) fn away(self, node: u64, from: u64, to: u64) -> Self {
        self.at(from, Action::Crash(node))
            .at(to, Action::Restart(node))
    }

    /// Kills a node, and starts it again later at another address.
    pub(super) fn moved(self, node: u64, from: u64, to: u64) -> Self {
        self.away(node, from, to)
            .at(from + 10, Action::Readdress(node))
    }

    pub(super) fn done(mut self) -> Plan {
        self.plan.steps.sort_by_key(|step| step.at);
        self.plan
    }
}
