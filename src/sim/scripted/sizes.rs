//! Scripts on requests and answers that are longer than usual.

use super::script::{ALL, ONE, QUORUM, Script};
use crate::sim::plan::Plan;
use crate::sim::plan::request::{Deed, Kind, NAMES};

/// A write of a few thousand bytes.
pub(super) fn many_elements() -> Plan {
    let add = Deed::Add((0..=255).collect());
    Script::new(3).ask(200, 1, QUORUM, Kind::Set, add).done()
}

/// One request reads a value so often that the answer is longer than a message may be; one of the
/// nodes asked does not hold the value.
pub(super) fn long_answer() -> Plan {
    let script = Script::new(4)
        .queues(|queues| queues.message_bytes_max = 1_500)
        // A value is derived from its request's number, so a high number makes it long.
        .count_from(900_001)
        .ask(200, 1, ALL, Kind::Hash, Deed::SetFields(vec![0]));
    (1..=4)
        .fold(script, |script, node| {
            script.ask(500, node, ONE, Kind::Hash, Deed::Fields(vec![0; 255]))
        })
        .done()
}

/// A write that is longer than a message may be.
pub(super) fn long_write() -> Plan {
    let add = Deed::Add((NAMES..=255).collect());
    Script::new(3)
        .queues(|queues| queues.message_bytes_max = 2_200)
        .knobs(|knobs| knobs.chunk_bytes = 200)
        .ask(200, 1, QUORUM, Kind::Set, add)
        .done()
}
