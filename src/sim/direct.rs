//! Drills: fixed schedules for situations that whole clusters meet too rarely, because the order of
//! single messages decides them.
//!
//! A drill plays its schedule on real cores (see [`cores`]) or a real replica, without a network.
//! It passes as long as its rule is upheld.

use std::panic::{AssertUnwindSafe, catch_unwind};

mod bounds;
mod cores;
mod expiring;
mod flights;
mod keeping;
mod limits;
mod memory;
mod repairs;
mod replicas;
mod streams;
mod trust;
mod votes;

const ALL: [Drills; 11] = [
    bounds::DRILLS,
    flights::DRILLS,
    limits::DRILLS,
    streams::DRILLS,
    keeping::DRILLS,
    expiring::DRILLS,
    replicas::DRILLS,
    votes::DRILLS,
    repairs::DRILLS,
    trust::DRILLS,
    memory::DRILLS,
];

/// Why a drill failed.
pub(super) type Verdict = Result<(), String>;

/// A drill and the name of what it checks.
pub(super) struct Drill {
    pub(super) check: &'static str,
    run: fn() -> Verdict,
}

impl Drill {
    /// Whether the drill fails. A panic is a failure.
    pub(super) fn fails(&self) -> bool {
        let failed = !matches!(catch_unwind(AssertUnwindSafe(self.run)), Ok(Ok(())));
        drop(super::panics::taken());
        failed
    }
}

/// The drill for the rule that this bug breaks.
pub(super) fn for_bug(bug: &str) -> Option<Drill> {
    let (_, check, run) = ALL
        .into_iter()
        .flatten()
        .find(|(about, ..)| *about == bug)?;
    Some(Drill { check, run: *run })
}

/// Drills, each with its planted bug and the name of its check.
type Drills = &'static [(&'static str, &'static str, fn() -> Verdict)];

/// Fails with `otherwise` unless `so`.
fn holds(so: bool, otherwise: impl Into<String>) -> Verdict {
    if so { Ok(()) } else { Err(otherwise.into()) }
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
        for bug in crate::planted::everywhere() {
            let Some(drill) = for_bug(bug.name) else {
                continue;
            };
            quorate_crdt::planted::plant(Some(bug));
            let failed = drill.fails();
            quorate_crdt::planted::plant(None);
            assert!(failed, "{} does not notice {}", drill.check, bug.name);
        }
    }
}
