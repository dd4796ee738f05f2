//! Scripts on decisions of the control group, and on partitions that move because of them.

use super::script::{ONE, Script};
use crate::sim::plan::Plan;
use crate::sim::plan::action::Action;
use crate::sim::plan::request::{Deed, Kind};

/// Each node writes at `ONE` while nobody hears it; then the partition moves away from all but one.
pub(super) fn leaving() -> Plan {
    Script::new(3)
        .each(|script, node| {
            let cut = Action::Cut {
                from: vec![node],
                to: (1..=3).filter(|other| *other != node).collect(),
            };
            let add = Deed::Add(vec![node as u8]);
            script
                .at(1_000 * node, cut)
                .ask(1_000 * node + 100, node, ONE, Kind::Set, add)
                .at(1_000 * node + 300, Action::Heal)
        })
        .replicate(3_200, 1)
        .done()
}

/// A partition leaves its nodes and comes back, with writes before and after.
pub(super) fn away_and_back() -> Plan {
    Script::new(3)
        .each(|script, node| {
            let add = Deed::Add(vec![node as u8]);
            script.ask(100 * node, node, ONE, Kind::Set, add)
        })
        .replicate(1_000, 1)
        .replicate(6_000, 3)
        .each(|script, node| {
            let add = Deed::Add(vec![2 + node as u8 % 3]);
            script.ask(12_000 + 100 * node, node, ONE, Kind::Set, add)
        })
        .done()
}

/// A decision is made while one node's disk takes seconds to sync.
pub(super) fn slow_to_keep() -> Plan {
    Script::new(3)
        .at(500, Action::SlowDisk(2, 4_000))
        .replicate(600, 2)
        .at(6_000, Action::SlowDisk(2, 0))
        .done()
}

/// A node that has acted on many decisions replays them all when it starts.
pub(super) fn replayed() -> Plan {
    (1..=4)
        .fold(Script::new(3), |script, n| {
            script.replicate(1_500 * n, 1 + n as u8 % 3)
        })
        .each(|script, node| script.away(node, 9_000, 10_000))
        .done()
}
