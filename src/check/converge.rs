//! Convergence: at the end all nodes show the same.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::history::Action;
use super::operation::Operation;
use super::report::Rule;
use super::violation::Violation;

/// The final reads that were answered.
pub(super) fn final_reads<'a, 'h>(
    operations: &'a [Operation<'h>],
) -> impl Iterator<Item = &'a Operation<'h>> {
    operations
        .iter()
        .filter(|operation| operation.call.f == Action::FinalRead && operation.done())
}

/// How many different nodes answered them.
pub(super) fn nodes(operations: &[Operation<'_>]) -> usize {
    final_reads(operations)
        .map(|read| read.call.node.as_deref())
        .collect::<BTreeSet<_>>()
        .len()
}

/// A comparable form of a value: the elements of a set have no order.
fn comparable(value: &Value) -> String {
    match value {
        Value::Array(elements) => elements
            .iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(","),
        value => value.to_string(),
    }
}

/// Two final reads of one key that differ.
pub(super) fn check<'h>(operations: &[Operation<'h>]) -> Option<Violation<'h>> {
    let mut first: BTreeMap<Option<&str>, &Operation<'h>> = BTreeMap::new();
    final_reads(operations).find_map(|read| {
        let before = *first.entry(read.call.field.as_deref()).or_insert(read);
        let differs = comparable(before.answer()) != comparable(read.answer());
        let node = |read: &Operation<'h>| read.call.node.clone().unwrap_or_else(|| "a node".into());
        differs.then(|| {
            Violation::new(
                Rule::Diverged,
                format!("{} and {} show different values", node(before), node(read)),
                [before, read],
            )
        })
    })
}
