//! What a checker finds wrong with one key.

use super::history::Event;
use super::operation::Operation;
use super::report::Rule;

/// Something that a checker found wrong with one key.
#[derive(Clone, Debug)]
pub(super) struct Violation<'h> {
    pub(super) rule: Rule,
    pub(super) says: String,
    pub(super) events: Vec<&'h Event>,
}

impl<'h> Violation<'h> {
    pub(super) fn new<'a>(
        rule: Rule,
        says: String,
        operations: impl IntoIterator<Item = &'a Operation<'h>>,
    ) -> Self
    where
        'h: 'a,
    {
        let mut events: Vec<&Event> = operations.into_iter().flat_map(Operation::lines).collect();
        events.sort_by_key(|event| event.index);
        events.dedup_by_key(|event| event.index);
        Self { rule, says, events }
    }
}
