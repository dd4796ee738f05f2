//! Counters that only grow, that go both ways, that can be reset, and that have a bound.

use quorate_crdt::laws::{Op, replica};
use quorate_crdt::{BoundedCounter, Edit, GCounter, PnCounter, ResetCounter, Tx};

use crate::specs;

quorate_crdt::laws! {
    reset_counter: ResetCounter, |counter, tx, op| specs::change_reset_counter(counter, tx, op),
        spec: specs::reset_counter, view: specs::view_reset_counter;
    pn_counter: PnCounter, |counter, tx, op| specs::change_pn_counter(counter, tx, op),
        spec: specs::pn_counter, view: specs::view_pn_counter;
    g_counter: GCounter, |counter, tx, op| specs::change_g_counter(counter, tx, op),
        spec: specs::g_counter, view: specs::view_g_counter;
    bounded_counter: BoundedCounter, |counter, tx, op| count(counter, tx, op);
}

fn count(counter: &mut Edit<'_, BoundedCounter>, tx: &mut Tx<'_>, op: Op) {
    let by = u64::from(op.argument);
    // Whether it is refused depends on the rights that the replica has.
    let _ = match op.action % 8 {
        0..3 => {
            counter.increment(tx, by);
            Ok(())
        }
        3..6 => counter.decrement(tx, by),
        _ => counter.transfer(tx, replica(usize::from(op.action / 8 % 3)), by),
    };
}
