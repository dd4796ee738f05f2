//! Sketches, in small sizes so that cells collide.

use quorate_crdt::{Bloom, CountMin, HyperLogLog, TopK};

quorate_crdt::laws! {
    hyper_log_log: HyperLogLog<4>, |sketch, tx, op| sketch.add(tx, &(op.argument, op.action));
    bloom: Bloom<24, 3>, |filter, tx, op| filter.add(tx, &op.argument);
    count_min: CountMin<4, 2>, |sketch, tx, op| sketch.add(tx, &op.argument, u64::from(op.action));
    top_k: TopK<u8, 2>, |top, tx, op| top.add(tx, op.argument, u64::from(op.action));
}
