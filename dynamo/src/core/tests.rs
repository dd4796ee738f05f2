//! A handful of cores that talk through a queue: what each level needs and gives, what a removal
//! sees, and what heals.

mod backup;
mod bounds;
mod clocks;
mod erased;
mod expiry;
mod explain;
mod fencing;
mod flights;
mod floor;
mod forwards;
mod keeping;
mod known;
mod levels;
mod limits;
mod memory;
mod moves;
mod net;
mod once;
mod order;
mod remains;
mod repair;
mod scan;
mod streams;
mod trust;

/// Plants each bug and checks that its test then fails.
#[cfg(feature = "planted-bugs")]
fn noticed(bugs: &[(&quorate_crdt::planted::Bug, fn())]) {
    let mut unnoticed = Vec::new();
    for (bug, test) in bugs {
        quorate_crdt::planted::plant(Some(bug));
        let outcome = std::panic::catch_unwind(test);
        quorate_crdt::planted::plant(None);
        if outcome.is_ok() {
            unnoticed.push(format!("nothing noticed {}: {}", bug.name, bug.breaks));
        }
    }
    assert!(unnoticed.is_empty(), "{unnoticed:#?}");
}
