//! Bugs of the node that can be planted, and the list of all: see [`quorate_crdt::planted`].

use quorate_crdt::planted::Bug;

quorate_crdt::bugs! {}

/// Every bug of every crate.
pub fn everywhere() -> impl Iterator<Item = &'static Bug> {
    [quorate_control::planted::ALL, quorate_gossip::planted::ALL, quorate_dynamo::planted::ALL, ALL].into_iter().flatten()
}
