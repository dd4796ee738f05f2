//! Drills: fixed schedules for situations that whole clusters meet too rarely, because the order of
//! single messages decides them.
//!
//! A drill plays its schedule on real cores (see [`cores`]) or a real replica, without a network;
//! those on connections ([`dials`]) use real sockets, because the simulated network has none of the
//! rules that they are about. It passes as long as its rule is upheld.

mod backups;
mod bounds;
mod coordination;
mod cores;
mod dials;
mod drill;
mod expiring;
mod fencing;
mod flights;
mod group;
mod groups;
mod joins;
mod keeping;
mod limits;
mod memory;
mod places;
mod repairs;
mod replicas;
mod splits;
mod streams;
mod sums;
mod topology;
mod trust;
mod users;
mod voters;
mod votes;

use drill::{Drill, Drills};

const ALL: [Drills; 21] = [
    backups::DRILLS,
    bounds::DRILLS,
    dials::DRILLS,
    fencing::DRILLS,
    flights::DRILLS,
    joins::DRILLS,
    limits::DRILLS,
    streams::DRILLS,
    keeping::DRILLS,
    expiring::DRILLS,
    replicas::DRILLS,
    votes::DRILLS,
    voters::DRILLS,
    groups::DRILLS,
    repairs::DRILLS,
    trust::DRILLS,
    memory::DRILLS,
    places::DRILLS,
    splits::DRILLS,
    users::DRILLS,
    coordination::DRILLS,
];

/// The drill for the rule that this bug breaks.
pub(super) fn for_bug(bug: &str) -> Option<Drill> {
    let (_, check, run) = ALL
        .into_iter()
        .flatten()
        .find(|(about, ..)| *about == bug)?;
    Some(Drill { check, run: *run })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_drill_passes_while_its_rule_is_upheld() {
        for drills in ALL {
            for (about, _, run) in drills {
                assert_eq!(run(), Ok(()), "{about}");
            }
        }
    }

    #[cfg(feature = "planted-bugs")]
    #[test]
    fn every_drill_fails_when_its_rule_is_broken() {
        let mut unnoticed = Vec::new();
        for bug in crate::planted::everywhere() {
            let Some(drill) = for_bug(bug.name) else {
                continue;
            };
            quorate_crdt::planted::plant(Some(bug));
            if !drill.fails() {
                unnoticed.push((drill.check, bug.name));
            }
            quorate_crdt::planted::plant(None);
        }
        assert_eq!(unnoticed, []);
    }
}
