//! A plan is a schedule as plain data: what the cluster looks like, what is asked of it and what is
//! done to it, each with its time. A seed draws one; shrinking a failure produces a shorter one.

use std::time::Duration;

use quorate_dynamo::op::Limits;
use quorate_dynamo::protocol::Config;
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use crate::node::Queues;

pub(super) mod action;
pub(super) mod bid;
pub(super) mod request;
pub(super) mod shape;

use action::Action;
use shape::{Knobs, Shape, conditions};

/// Everything that happens in one history. The same plan always gives the same history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Decides what the plan leaves open: delays, losses, elections.
    pub seed: u64,
    /// The cluster at its start.
    pub shape: Shape,
    /// Bounds and intervals of the data plane.
    pub knobs: Knobs,
    /// Limits on the values of one key.
    pub limits: Limits,
    /// Bounds of the driver's queues.
    pub queues: Queues,
    /// What happens, in order of time.
    pub steps: Vec<Step>,
    /// When every fault is repaired, in milliseconds. From then on the cluster must come to rest.
    pub until: u64,
}

/// An action and its time. Unlike the `Step` of `crdt`, it changes a cluster, not a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Milliseconds since the cluster was first at rest.
    pub at: u64,
    /// What happens.
    pub action: Action,
}

impl Plan {
    /// How many requests the plan makes.
    pub fn operations(&self) -> usize {
        self.steps
            .iter()
            .filter(|step| step.action.is_request())
            .count()
    }

    /// The layout of the cluster to start.
    pub(super) fn layout(&self) -> Layout {
        let Shape {
            datacenters,
            racks,
            partitions: _,
            cores,
            within_us,
            between_ms,
            loss,
            skew_ms,
            heartbeat_ms,
        } = &self.shape;
        let named = datacenters
            .iter()
            .zip(1..)
            .map(|(&nodes, number)| (format!("dc{number}").into(), usize::from(nodes)));
        Layout {
            datacenters: named.collect(),
            conditions: conditions(*within_us, *between_ms, *loss),
            cores: *cores,
            skew: Duration::from_millis(*skew_ms),
            data: Config {
                limits: self.limits,
                ..self.knobs.config()
            },
            racks: usize::from(*racks),
            heartbeat: Some(Duration::from_millis(*heartbeat_ms)),
            queues: self.queues,
        }
    }
}
