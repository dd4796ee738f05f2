//! The rows in which a removal under a lock has left something, so that they are found when it is
//! no longer needed.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::replica::row::{Fact, Row, RowKey};

/// Rows that may hold such an entry. A row that has lost it otherwise is taken out when it is
/// looked at.
#[derive(Clone, Debug, Default)]
pub(in crate::replica) struct Marks {
    rows: BTreeSet<RowKey>,
    /// The row that was looked at last.
    last: Option<RowKey>,
}

impl Marks {
    /// Notes the row if it holds such an entry.
    pub(super) fn note(&mut self, name: &RowKey, row: &Row) {
        if is_marked(row) {
            self.rows.insert(name.clone());
        }
    }

    pub(in crate::replica) fn forget(&mut self, name: &RowKey) {
        self.rows.remove(name);
    }

    /// The next rows to look at; after the last comes the first.
    pub(in crate::replica) fn next(&mut self, max: usize) -> Vec<RowKey> {
        let from = self.last.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let after = self.rows.range((from, Bound::Unbounded));
        let names: Vec<RowKey> = after.take(max).cloned().collect();
        self.last = names.last().filter(|_| names.len() == max).cloned();
        names
    }
}

/// Whether a removal under a lock has left something in the row.
pub(in crate::replica) fn is_marked(row: &Row) -> bool {
    let facts = row.iter().filter_map(|(_, payload)| payload.guarded());
    facts.map(|held| &held.fact).any(|fact| *fact == Fact::Gone)
}
