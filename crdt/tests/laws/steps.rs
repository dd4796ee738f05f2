//! Which operations on growing values have an effect.

use quorate_crdt::laws::SeenOp;

/// Whether the operation had an effect. One whose argument an earlier effective operation already
/// covers changes nothing, and its delta is empty.
pub(crate) fn is_step(op: &SeenOp, covers: fn(u8, u8) -> bool) -> bool {
    !op.past
        .iter()
        .any(|seen| covers(seen.op.argument, op.op.argument) && is_step(seen, covers))
}
