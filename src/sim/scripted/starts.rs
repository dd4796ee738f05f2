//! Scripts on nodes that start again: among strangers, on older disks, under wrong clocks.

use super::script::{ALL, QUORUM, Script};
use crate::sim::plan::Plan;
use crate::sim::plan::action::Action;
use crate::sim::plan::request::{Deed, Kind};

/// While one node is away, others join, and once it is back only they can lead: the other nodes it
/// knows are starting again just as it is.
pub(super) fn unknown_leader() -> Plan {
    Script::new(3)
        .at(1_000, Action::Crash(1))
        .at(2_000, Action::Join(1))
        .at(4_000, Action::Join(1))
        .at(8_000, Action::Crash(2))
        .away(3, 8_000, 9_000)
        .done()
}

/// A node restarts a few times, then once more with a disk from before. There are enough keys for
/// each node to be asked to delete one at the end.
pub(super) fn set_back() -> Plan {
    let script = Script::new(3)
        .ask(200, 1, ALL, Kind::Cell, Deed::Set)
        .ask(200, 2, ALL, Kind::Counter, Deed::Count(1))
        .ask(200, 3, ALL, Kind::Set, Deed::Add(vec![1]))
        .at(500, Action::Backup(2));
    [1_000, 2_000, 3_000]
        .into_iter()
        .fold(script, |script, at| script.away(2, at, at + 300))
        .at(4_000, Action::Crash(2))
        .at(8_000, Action::Restore(2))
        .done()
}

/// A node starts while its clock is an hour ahead, and later from a disk older than that, with a
/// right clock.
pub(super) fn older_disk() -> Plan {
    Script::new(3)
        .at(100, Action::Backup(1))
        .away(1, 500, 4_500)
        .at(510, Action::Jump(1, 3_600_000))
        .away(1, 7_000, 11_000)
        .at(7_010, Action::MendClock(1))
        .at(7_020, Action::Restore(1))
        .ask(12_000, 2, QUORUM, Kind::Set, Deed::Add(vec![1]))
        .done()
}

/// One node after the other comes back at another address, each while another one is away. It finds
/// the others only if those that moved before have told where they are.
pub(super) fn readdressed() -> Plan {
    Script::new(3)
        .ask(200, 1, ALL, Kind::Set, Deed::Add(vec![1]))
        .moved(3, 1_000, 2_000)
        .ask(4_000, 1, ALL, Kind::Set, Deed::Add(vec![2]))
        .at(5_000, Action::Crash(2))
        .moved(1, 6_000, 7_000)
        .ask(10_000, 1, QUORUM, Kind::Set, Deed::Add(vec![3]))
        .at(11_000, Action::Readdress(2))
        .at(11_100, Action::Restart(2))
        .ask(14_000, 1, ALL, Kind::Set, Deed::Add(vec![4]))
        .done()
}

/// All voters come back at other addresses. Each finds the one node that has stayed where it was,
/// which has no vote, and the other voters only through it.
pub(super) fn readdressed_together() -> Plan {
    let script = Script::new(4).ask(200, 1, ALL, Kind::Set, Deed::Add(vec![1]));
    script
        .each(|script, voter| script.moved(voter, 1_000, 2_000))
        .ask(8_000, 1, ALL, Kind::Set, Deed::Add(vec![2]))
        .done()
}

pub(super) fn panicking() -> Plan {
    Script::new(3)
        .at(500, Action::Panic(2))
        .ask(600, 1, QUORUM, Kind::Set, Deed::Add(vec![1]))
        .at(3_000, Action::Restart(2))
        .done()
}

pub(super) fn started_again() -> Plan {
    Script::new(3).away(2, 500, 1_000).done()
}
