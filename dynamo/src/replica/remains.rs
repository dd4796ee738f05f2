//! Rows that have been removed and still lie on disk.
//!
//! An event that removes a million rows writes one record, a *mark*. It says that within a range,
//! entries with certain dots are dead. The mark is written together with the event. The rows are
//! deleted a few at a time, and the mark goes with the last of them. A node that finds a mark when
//! it starts reads none of the entries that it calls dead, and continues to delete.
//!
//! **Law:** the content of the disk is what its rows say, less what its marks call dead. A mark
//! calls dead what the event had seen and what does not live on in the range. It never hits a row
//! that is put there later: a dot is never issued twice, and a dot that has been seen is never
//! taken in again. The one exception is a replica that is being mended and takes back what it had
//! seen; those dots are then removed from the mark.
//!
//! A row of a mark is deleted from disk only if it is not live again by then, because the live row
//! has the same key.
//!
//! The names of the rows stay in memory until they are deleted. The core bounds their number: the
//! more there are, the more it deletes at a time.

use std::collections::VecDeque;

use quorate_crdt::CausalContext;

use super::journal::Journal;
use super::range::Range;
use super::row::{Row, RowKey};
use super::rows::{Rows, Taken};
use crate::planted;

/// How many rows an event may delete from disk in its own batch, and how many of the remaining ones
/// are deleted at a time, unless configured otherwise.
pub(crate) const ROWS_AT_ONCE: usize = 1_000;
/// How many removed rows have their memory freed at a time. Guess: one or two milliseconds.
pub(crate) const FREED_AT_ONCE: usize = 10_000;

/// All remains of one replica, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Remains {
    pub(super) marks: VecDeque<Mark>,
    /// The number of the last mark.
    last: u64,
    pub(super) at_once: usize,
    /// How many rows have been left since this was last asked.
    pub(super) added: usize,
}

/// What one event has left.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    number: u64,
    range: Range,
    dead: CausalContext,
    pub(super) rows: Taken,
}

impl Default for Remains {
    fn default() -> Self {
        Self {
            marks: VecDeque::new(),
            last: 0,
            at_once: ROWS_AT_ONCE,
            added: 0,
        }
    }
}

impl Remains {
    /// Restores a mark that was read from disk. Its rows follow with [`bury`](Self::bury).
    pub(super) fn restore(&mut self, number: u64, range: Range, dead: CausalContext) {
        self.last = self.last.max(number);
        self.marks.push_back(Mark {
            number,
            range,
            dead,
            rows: Taken::default(),
        });
    }

    /// Drops the dead entries of a row that was just read from disk. A row that loses its last
    /// entry becomes one of the mark's. Returns whether anything was dropped.
    pub(super) fn bury(&mut self, name: &RowKey, row: &mut Row) -> bool {
        let before = row.len();
        for mark in self
            .marks
            .iter_mut()
            .filter(|mark| mark.range.contains(name))
        {
            row.retain(|dot, _| {
                !mark.dead.contains(dot) && !planted::MARK_SWALLOWS_LATER.is_planted()
            });
            if row.is_empty() && before > 0 {
                mark.rows.add(name);
                return true;
            }
        }
        row.len() < before
    }

    /// Records what one event has left on disk.
    pub(super) fn leave(
        &mut self,
        range: &Range,
        dead: &CausalContext,
        rows: Taken,
        journal: &mut Journal,
    ) {
        self.added += rows.len();
        self.last += 1;
        journal.mark(self.last, range, dead);
        self.marks.push_back(Mark {
            number: self.last,
            range: range.clone(),
            dead: dead.clone(),
            rows,
        });
    }

    /// Takes dots that live again out of the marks that call them dead.
    pub(super) fn revive(&mut self, name: &RowKey, dots: &CausalContext, journal: &mut Journal) {
        for mark in self
            .marks
            .iter_mut()
            .filter(|mark| mark.range.contains(name))
        {
            mark.dead = mark.dead.without(dots);
            journal.mark(mark.number, &mark.range, &mark.dead);
        }
    }

    /// Takes out everything that has been removed and is still on disk: the numbers of the marks,
    /// and the rows.
    pub(super) fn take(&mut self) -> (Vec<u64>, Vec<Taken>) {
        std::mem::take(&mut self.marks)
            .into_iter()
            .map(|mark| (mark.number, mark.rows))
            .unzip()
    }

    pub(super) fn clear(&mut self, max: usize, rows: &Rows, journal: &mut Journal) -> usize {
        let mut cleared = 0;
        while cleared < max
            && let Some(mark) = self.marks.front_mut()
        {
            let Some(name) = mark.rows.next() else {
                journal.unmark(mark.number);
                self.marks.pop_front();
                continue;
            };
            cleared += 1;
            if rows.get(&name).is_none() || planted::REMAINS_OVER_LIVE.is_planted() {
                journal.row(&name, &Row::new());
            }
        }
        cleared
    }
}
