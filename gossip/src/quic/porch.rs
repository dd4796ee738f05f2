//! Where strangers wait: how many may ask to join at once, and which addresses have shown too many
//! wrong tokens.

use core::net::{IpAddr, Ipv6Addr};
use core::time::Duration;
use std::collections::BTreeMap;

use tokio::time::Instant;

/// How many may ask to join at once. Guess: more than are ever started together.
const INSIDE_MAX: usize = 64;
/// How many of them may come from one address. Guess: nodes of one machine or behind one gateway.
const INSIDE_OF_ONE_MAX: usize = 16;
/// After so many wrong tokens within a [`PERIOD`] an address is not heard for the rest of it.
/// Guess: more than an operator's mistakes.
const STRIKES_MAX: u32 = 20;
/// How long wrong tokens are remembered.
const PERIOD: Duration = Duration::from_mins(1);
/// How many addresses are remembered. When there is no room for another one, it is not heard.
const SOURCES_MAX: usize = 4096;

/// Everybody who asks to join at the moment, or has shown a wrong token lately.
#[derive(Debug, Default)]
pub(super) struct Porch {
    inside: usize,
    sources: BTreeMap<IpAddr, Visits>,
}

#[derive(Debug)]
struct Visits {
    inside: usize,
    strikes: u32,
    /// The first visit of the period.
    since: Instant,
}

impl Porch {
    /// Whether somebody from `address` is heard. Whoever is heard must [`leave`](Self::leave).
    pub(super) fn enter(&mut self, address: IpAddr, now: Instant) -> bool {
        let source = source(address);
        self.sources
            .retain(|_, visits| visits.inside > 0 || now < visits.since + PERIOD);
        if self.inside >= INSIDE_MAX
            || (self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&source))
        {
            return false;
        }
        let visits = self.sources.entry(source).or_insert(Visits {
            inside: 0,
            strikes: 0,
            since: now,
        });
        if now >= visits.since + PERIOD {
            (visits.strikes, visits.since) = (0, now);
        }
        if visits.inside >= INSIDE_OF_ONE_MAX || visits.strikes >= STRIKES_MAX {
            return false;
        }
        visits.inside += 1;
        self.inside += 1;
        true
    }

    /// Somebody from `address` has shown a wrong token.
    pub(super) fn strike(&mut self, address: IpAddr) {
        if let Some(visits) = self.sources.get_mut(&source(address)) {
            visits.strikes += 1;
        }
    }

    /// Somebody who was heard is gone.
    pub(super) fn leave(&mut self, address: IpAddr) {
        self.inside = self.inside.saturating_sub(1);
        if let Some(visits) = self.sources.get_mut(&source(address)) {
            visits.inside = visits.inside.saturating_sub(1);
        }
    }
}

/// Who is behind an address: in IPv6 a network of 64 bits is the smallest that is handed out, so
/// its addresses count as one.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests;
