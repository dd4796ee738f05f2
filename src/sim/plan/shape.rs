//! The cluster of a plan: its size, its network, its clocks and the bounds of its data plane.

use std::time::Duration;

use quorate_dynamo::protocol::{Config, RecentBounds, Removal};
use serde::{Deserialize, Serialize};

use crate::sim::network::state::Conditions;

/// A cluster at its start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Nodes of each datacenter. The first is `dc1`.
    pub datacenters: Vec<u8>,
    /// Racks per datacenter. 0 gives every node its own rack.
    pub racks: u8,
    /// Partitions of the keyspace `ks1`, which is created at the start; a power of two. The
    /// keyspace `default` has a fixed, large number.
    pub partitions: u16,
    /// Shards per node.
    pub cores: u8,
    /// One-way delay within a datacenter, in microseconds.
    pub within_us: u64,
    /// One-way delay between datacenters, in milliseconds.
    pub between_ms: u64,
    /// The share of datagrams that are lost.
    pub loss: f64,
    /// Each wall clock is off by at most this many milliseconds.
    pub skew_ms: u64,
    /// The control group's heartbeat interval, in milliseconds.
    pub heartbeat_ms: u64,
}

/// Bounds and intervals of the data plane; see [`Config`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(
    missing_docs,
    reason = "each is the field of Config of the same name, with its unit; `rows` are those of `removal`"
)]
pub struct Knobs {
    pub anti_entropy_ms: u64,
    pub hedge_ms: u64,
    pub reap_ms: u64,
    pub recent_max: usize,
    pub recent_bytes_max: usize,
    pub chunk_bytes: usize,
    pub hint_bytes_max: usize,
    pub flights_max: usize,
    pub flight_bytes_max: usize,
    pub rows_at_once: usize,
    pub rows_ms: u64,
    pub drift_ms: u64,
}

/// Network conditions from a plan's numbers.
pub(in crate::sim) fn conditions(within_us: u64, between_ms: u64, loss: f64) -> Conditions {
    let (within, between) = (
        Duration::from_micros(within_us),
        Duration::from_millis(between_ms),
    );
    Conditions {
        within,
        between,
        loss,
        ..Conditions::default()
    }
}

impl Knobs {
    pub(super) fn config(&self) -> Config {
        let millis = Duration::from_millis;
        Config {
            anti_entropy_every: millis(self.anti_entropy_ms),
            hedge_after: millis(self.hedge_ms),
            reap_every: millis(self.reap_ms),
            recent: RecentBounds {
                events_max: self.recent_max,
                bytes_max: self.recent_bytes_max,
            },
            chunk_bytes: self.chunk_bytes,
            hint_bytes_max: self.hint_bytes_max,
            flights_max: self.flights_max,
            flight_bytes_max: self.flight_bytes_max,
            // A small batch also gets a short queue, so that a history of a few hundred rows
            // reaches that bound as well.
            removal: Removal {
                rows_at_once: self.rows_at_once,
                every: millis(self.rows_ms),
                waiting_max: self.rows_at_once.pow(2),
            },
            drift_max: millis(self.drift_ms),
            ..Config::default()
        }
    }
}

impl Default for Knobs {
    fn default() -> Self {
        let Config {
            recent,
            chunk_bytes,
            hint_bytes_max,
            flights_max,
            flight_bytes_max,
            removal,
            ..
        } = Config::default();
        Self {
            anti_entropy_ms: 200,
            hedge_ms: 50,
            reap_ms: 1000,
            recent_max: recent.events_max,
            recent_bytes_max: recent.bytes_max,
            chunk_bytes,
            hint_bytes_max,
            flights_max,
            flight_bytes_max,
            rows_at_once: removal.rows_at_once,
            rows_ms: 10,
            drift_ms: 500,
        }
    }
}
