//! Removes many rows at once: from memory with the event that removes them, from disk afterwards.

#[cfg(test)]
mod tests;

use quorate_crdt::CausalContext;

use super::Replica;
use super::delta::Part;
use super::range::Range;
use super::remains::FREED_AT_ONCE;
use super::row::Row;

impl Replica {
    /// An event removes at most so many rows from disk together with itself; of more, the rest goes
    /// with [`clear_remains`](Self::clear_remains).
    pub fn remove_at_once(&mut self, rows: usize) {
        self.remains.at_once = rows;
    }

    /// Whether rows that are gone still lie on disk.
    pub fn has_remains(&self) -> bool {
        !self.remains.marks.is_empty()
    }

    /// How many rows that are gone still lie on disk.
    pub fn remains_count(&self) -> usize {
        self.remains.marks.iter().map(|mark| mark.rows.len()).sum()
    }

    /// How many of them events have left since this was last called.
    pub fn new_remains(&mut self) -> usize {
        std::mem::take(&mut self.remains.added)
    }

    /// Frees what up to so many of them hold in memory beside their names. Returns how many.
    pub fn free_remains(&mut self, rows: usize) -> usize {
        self.remains
            .marks
            .iter_mut()
            .fold(0, |freed, mark| freed + mark.rows.free(rows - freed))
    }

    /// Removes up to so many rows that are gone from disk, one at least. Returns how many.
    pub fn clear_remains(&mut self, rows: usize) -> usize {
        self.remains
            .clear(rows.max(1), &self.rows, &mut self.journal)
    }

    /// Drops the rows that lie in `range`, which has many, and of which all entries are in `dead`,
    /// if those are too many to be removed from disk at once. What is left is dropped row by row.
    /// Returns whether there were so many.
    fn drop_many(&mut self, range: &Range, dead: &CausalContext) -> bool {
        let all_seen = |row: &Row| row.iter().all(|(dot, _)| dead.contains(dot));
        // Whoever has seen all that this replica has seen has seen all that lives here.
        let goes: Option<&dyn Fn(&Row) -> bool> = if self.is_exact() && dead.covers(&self.context) {
            None
        } else {
            Some(&all_seen)
        };
        let most = self.remains.at_once;
        if goes.is_some() && !self.rows.has_more(most, range, goes) {
            return false;
        }
        let mut rows = self.rows.take(range, goes);
        if self.journal.is_kept() {
            rows.free(FREED_AT_ONCE);
            self.remains.leave(range, dead, rows, &mut self.journal);
        }
        true
    }

    /// Drops all that is visible in `range` and has been seen, if that is much.
    pub(super) fn wipe_many(&mut self, range: &Range) -> bool {
        if matches!(range, Range::Row(_)) || !self.rows.has_more(self.remains.at_once, range, None)
        {
            return false;
        }
        let seen = self.context.clone();
        self.drop_many(range, &seen)
    }

    /// Of a part that another replica says to be all that lives in its range: drops what has been
    /// seen there and lives no more, if it is much.
    pub(super) fn drop_seen(&mut self, part: &Part, context: &CausalContext) -> bool {
        if matches!(part.range, Range::Row(_))
            || !self.rows.has_more(self.remains.at_once, &part.range, None)
        {
            return false;
        }
        let rows = part
            .rows
            .iter()
            .filter(|(name, _)| part.range.contains(name));
        let live: CausalContext = rows
            .flat_map(|(_, row)| row.iter().map(|(dot, _)| dot))
            .collect();
        self.drop_many(&part.range, &context.without(&live))
    }
}
