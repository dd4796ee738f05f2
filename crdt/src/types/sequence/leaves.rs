//! The index from an element to its leaf.

use alloc::vec::Vec;

use smallvec::SmallVec;

/// Which leaf holds each element of a replica. An entry applies up to the next one, so changes
/// within a leaf do not touch the index. Counters without an element may lead anywhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaves {
    /// (First counter, leaf), ascending; no two neighbours lead to the same leaf.
    starts: Vec<(u64, u32)>,
    /// One more than the highest counter here.
    end: u64,
}

impl Leaves {
    #[inline]
    pub(super) fn of(&self, counter: u64) -> Option<u32> {
        match self.starts.last() {
            Some(&(first, leaf)) if first <= counter => Some(leaf),
            _ => self.starts[..self.starts.partition_point(|start| start.0 <= counter)]
                .last()
                .map(|start| start.1),
        }
    }

    /// Records that the elements `first..end` are in `leaf`.
    #[inline]
    pub(super) fn assign(&mut self, first: u64, end: u64, leaf: u32) {
        let is_last = first >= self.end;
        self.end = self.end.max(end);
        if is_last {
            if self.starts.last().is_none_or(|last| last.1 != leaf) {
                self.starts.push((first, leaf));
            }
            return;
        }
        let from = self.starts.partition_point(|start| start.0 < first);
        let to = from + self.starts[from..].partition_point(|start| start.0 <= end);
        let before = from.checked_sub(1).map(|at| self.starts[at].1);
        let behind = to.checked_sub(1).map(|at| self.starts[at].1);
        let mut entries: SmallVec<[(u64, u32); 2]> = SmallVec::new();
        if before != Some(leaf) {
            entries.push((first, leaf));
        }
        if let Some(behind) = behind.filter(|&behind| behind != leaf) {
            entries.push((end, behind));
        }
        if self.starts[from..to] != entries[..] {
            self.starts.splice(from..to, entries);
        }
    }
}
