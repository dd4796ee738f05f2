//! Counters compared with `crdts::PNCounter`.

use std::hint::black_box;

use crdts::{CmRDT, CvRDT, PNCounter};
use quorate_crdt::{Causal, NodeId, PnCounter, ReplicaId, Replicated};

use crate::measure::{Nanos, gate_faster, medians, row, time};

const ACTORS: u64 = 16;
const TIMES: u32 = 100_000;

pub(crate) fn run() {
    incrementing();
    merging();
}

fn replica(actor: u64) -> ReplicaId {
    ReplicaId::new(NodeId(actor), 0)
}

/// A counter that each actor has added to and taken from.
fn ours() -> Causal<PnCounter> {
    let mut state = Causal::new();
    for actor in 1..=ACTORS {
        let mut counter = Replicated::<PnCounter>::resume(replica(actor), state).unwrap();
        counter.update(|counter, tx| {
            counter.increment(tx, actor);
            counter.decrement(tx, 1);
        });
        state = counter.into_state();
    }
    state
}

fn peer() -> PNCounter<u64> {
    let mut counter = PNCounter::new();
    for actor in 1..=ACTORS {
        counter.apply(counter.inc_many(actor, actor));
        counter.apply(counter.dec(actor));
    }
    counter
}

/// The gate compares the work for one increment that can be sent: here a transaction with its
/// delta, there an operation that is made and applied.
fn incrementing() {
    let mut counter = Replicated::<PnCounter>::resume(replica(8), ours()).unwrap();
    let mut batched = Replicated::<PnCounter>::resume(replica(8), ours()).unwrap();
    let mut theirs = peer();
    let [each, batch, op] = medians(
        9,
        [
            &mut || {
                time(|| {
                    (0..TIMES).for_each(|_| {
                        drop(black_box(
                            counter.update(|counter, tx| counter.increment(tx, 1)),
                        ))
                    })
                })
            },
            &mut || {
                time(|| {
                    batched.update(|counter, tx| {
                        (0..TIMES).for_each(|_| black_box(&mut *counter).increment(tx, 1))
                    })
                })
            },
            &mut || {
                time(|| {
                    for _ in 0..TIMES {
                        let op = theirs.inc(8);
                        theirs.apply(op.clone());
                        black_box(op);
                    }
                })
            },
        ],
    )
    .map(|taken| taken / f64::from(TIMES));
    gate_faster("counter-increment", each, op, 3.0);
    println!(
        "      within one transaction: {}, {:.2} times",
        Nanos(batch),
        op / batch
    );
}

fn merging() {
    let (ours, theirs) = (ours(), peer());
    let mut mine = ours.clone();
    let mut yours = theirs.clone();
    let [merge, merge_theirs, read, read_theirs] = medians(
        9,
        [
            &mut || time(|| (0..TIMES).for_each(|_| _ = black_box(mine.merge(black_box(&ours))))),
            &mut || time(|| (0..TIMES).for_each(|_| yours.merge(black_box(&theirs).clone()))),
            &mut || time(|| (0..TIMES).for_each(|_| _ = black_box(black_box(&ours).value()))),
            &mut || time(|| (0..TIMES).for_each(|_| drop(black_box(black_box(&theirs).read())))),
        ],
    )
    .map(|taken| taken / f64::from(TIMES));
    gate_faster("counter-merge", merge, merge_theirs, 10.0);
    row(
        "counter of 16 actors, read",
        &[("ours", read), ("crdts", read_theirs)],
    );
}
