//! Scripts on disks that lose their data, fail or hang.

use super::script::{ALL, ONE, Script};
use crate::sim::plan::Plan;
use crate::sim::plan::action::Action;
use crate::sim::plan::request::{Deed, Kind};

/// A node loses its data and is refilled over links that drop most frames.
pub(super) fn wiped() -> Plan {
    let script = Script::new(3).knobs(|knobs| (knobs.recent_max, knobs.chunk_bytes) = (1, 1));
    let script = (1..=5).fold(script, |script, n| {
        let add = Deed::Add(vec![n as u8 - 1]);
        script.ask(100 * n, 1 + n % 3, ALL, Kind::Set, add)
    });
    [1, 3]
        .into_iter()
        .fold(script, |script, other| {
            script
                .drop_frames(900, other, 2, 0.7)
                .drop_frames(900, 2, other, 0.7)
        })
        .away(2, 1_000, 1_600)
        .at(1_500, Action::Wipe(2))
        .at(9_000, Action::Heal)
        .done()
}

/// Two disks fail while nothing is written to them except the votes that follow the leader's death.
pub(super) fn control_disk() -> Plan {
    Script::new(3)
        .at(500, Action::FailDisk(2))
        .at(500, Action::FailDisk(3))
        .away(1, 1_000, 4_000)
        .done()
}

/// A node's answers wait for its disk, which hangs.
pub(super) fn standing_disk() -> Plan {
    Script::new(3)
        .queues(|queues| queues.unsynced_bytes_max = 500)
        .at(500, Action::SlowDisk(1, 4_000))
        .ask(600, 1, ONE, Kind::Set, Deed::Add(vec![1]))
        .at(5_000, Action::SlowDisk(1, 0))
        .done()
}
