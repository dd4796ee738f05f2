//! The places of the datacenters, and the wide-area links between their nodes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use quorate_gossip::quic::{LinkShape, LinkState};

/// The most datacenters a demo can have.
pub const DATACENTERS_MAX: usize = SITES.len();

/// Names of the datacenters, in the order in which a demo uses them.
const SITES: [&str; 6] = ["virginia", "oregon", "paris", "tokyo", "sydney", "brazil"];

/// Round trips in milliseconds: round numbers close to those of cloud providers.
const ROUND_TRIPS_MS: [[u64; 6]; 6] = [
    [0, 40, 80, 150, 200, 120],
    [40, 0, 120, 100, 140, 170],
    [80, 120, 0, 220, 280, 190],
    [150, 100, 220, 0, 110, 260],
    [200, 140, 280, 110, 0, 300],
    [120, 170, 190, 260, 300, 0],
];

/// The name of a datacenter.
pub(super) fn name(site: usize) -> &'static str {
    SITES[site]
}

/// The round trip between two datacenters that distance adds; zero within one.
pub(super) fn round_trip(from: usize, to: usize) -> Duration {
    Duration::from_millis(ROUND_TRIPS_MS[from][to])
}

/// The links between all nodes. They lie below QUIC and know nothing about it.
#[derive(Debug)]
pub(super) struct Wan {
    shape: Arc<LinkShape>,
    /// Each node's datacenter and address.
    ends: Vec<(usize, SocketAddr)>,
}

impl Wan {
    /// Gives every link its delay.
    pub(super) fn new(ends: Vec<(usize, SocketAddr)>) -> Self {
        let wan = Self {
            shape: LinkShape::new(),
            ends,
        };
        wan.between(
            |a, b| a != b,
            |link, a, b| {
                *link = LinkState {
                    delay: round_trip(a, b) / 2,
                    cut: false,
                }
            },
        );
        wan
    }

    /// The link layer that wraps the nodes' sockets.
    pub(super) fn shape(&self) -> Arc<LinkShape> {
        Arc::clone(&self.shape)
    }

    /// From now on every datagram between this datacenter and all others is lost, in both
    /// directions, including those in transit.
    pub(super) fn cut_off(&self, site: usize) {
        self.between(
            |a, b| (a == site) != (b == site),
            |link, _, _| link.cut = true,
        );
    }

    /// Lets datagrams arrive again.
    pub(super) fn heal(&self) {
        self.between(|a, b| a != b, |link, _, _| link.cut = false);
    }

    fn between(
        &self,
        which: impl Fn(usize, usize) -> bool,
        change: impl Fn(&mut LinkState, usize, usize),
    ) {
        for &(a, from) in &self.ends {
            for &(b, to) in self.ends.iter().filter(|(b, _)| which(a, *b)) {
                self.shape.update(from, to, |link| change(link, a, b));
            }
        }
    }
}

#[cfg(test)]
mod tests;
