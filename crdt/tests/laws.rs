//! The laws of replicated types, for every type here.

use quorate_crdt::{EwFlag, OrSet};

quorate_crdt::laws! {
    or_set: OrSet<u8>, |set, tx, op| match op.action % 8 {
        0..4 => set.add(tx, op.argument),
        4..7 => {
            set.remove(tx, &op.argument);
        }
        _ => set.clear(tx),
    };
    ew_flag: EwFlag, |flag, tx, op| if op.action % 8 < 4 { flag.enable(tx) } else { flag.disable(tx) };
}
