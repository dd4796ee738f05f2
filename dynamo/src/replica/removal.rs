//! Removes many rows at once: from memory together with the event that removes them, from disk
//! afterwards.

#[cfg(test)]
mod tests;

use quorate_crdt::CausalContext;

use super::Replica;
use super::delta::Part;
use super::range::Range;
use super::remains::FREED_AT_ONCE;
use super::row::Row;

impl Replica {
    /// Sets how many rows an event may delete from disk in its own batch. If it removes more,
    /// [`clear_remains`](Self::clear_remains) deletes them later.
    pub fn remove_at_once(&mut self, rows: usize) {
        self.remains.at_once = rows;
    }

    /// Whether removed rows still lie on disk.
    pub fn has_remains(&self) -> bool {
        !self.remains.marks.is_empty()
    }

    /// How many removed rows still lie on disk.
    pub fn remains_count(&self) -> usize {
        self.remains.marks.iter().map(|mark| mark.rows.len()).sum()
    }

    /// How many rows events have left on disk since the last call.
    pub fn new_remains(&mut self) -> usize {
        std::mem::take(&mut self.remains.added)
    }

    /// Frees the memory that up to `rows` removed rows hold beside their names. Returns how many
    /// were freed.
    pub fn free_remains(&mut self, rows: usize) -> usize {
        self.remains
            .marks
            .iter_mut()
            .fold(0, |freed, mark| freed + mark.rows.free(rows - freed))
    }

    /// Deletes up to `rows` removed rows from disk, at least one. Returns how many.
    pub fn clear_remains(&mut self, rows: usize) -> usize {
        self.remains
            .clear(rows.max(1), &self.rows, &mut self.journal)
    }

    /// Drops those rows of `range` whose entries are all in `dead`, if they are too many to be
    /// deleted from disk in one batch. Returns whether they were. Rows that it leaves are dropped
    /// one by one.
    fn drop_many(&mut self, range: &Range, dead: &CausalContext) -> bool {
        let all_seen = |row: &Row| row.iter().all(|(dot, _)| dead.contains(dot));
        // A context that covers this replica's covers everything that lives here.
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

    /// Drops everything visible in `range`, if that is many rows. Returns whether it was.
    pub(super) fn wipe_many(&mut self, range: &Range) -> bool {
        if matches!(range, Range::Row(_)) || !self.rows.has_more(self.remains.at_once, range, None)
        {
            return false;
        }
        let seen = self.context.clone();
        self.drop_many(range, &seen)
    }

    /// For a part that says what lives in its range at another replica: drops what that replica has
    /// seen and no longer has, if that is many rows. Returns whether it was.
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
