//! The live dots of a value, collected into a set.

use super::context::CausalContext;
use super::runs::Runs;
use crate::Crdt;

/// The dots that are alive in a value.
pub(crate) fn live_dots(value: &impl Crdt) -> CausalContext {
    alive(value).0
}

/// The dots that are alive in a value, and whether each was visited exactly once.
pub(crate) fn alive(value: &impl Crdt) -> (CausalContext, bool) {
    let mut runs = Runs::default();
    value.dots(&mut |dot| runs.push(dot));
    runs.into_context()
}
