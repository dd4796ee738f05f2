//! Rows that are gone and still lie on disk.
//!
//! An event that removes a million rows is one record on disk: a *mark*, which says that of what
//! lies in a range the entries with certain dots are dead. It is written together with the event.
//! The rows themselves are removed a few at a time, and the mark with the last of them; a start
//! that finds a mark reads no row that it calls dead, and goes on removing.
//!
//! **Law:** what is on disk is what its rows say, less what its marks call dead. A mark calls dead
//! what the event had seen and what does not live on in the range: of a row that is put there later
//! no entry is dead, because a dot is never given twice, and one that has been seen is never taken
//! again. Only a replica that is mended takes back what it had seen; then it is no longer called
//! dead.
//!
//! A row of a mark is removed from disk only as long as it is not live again: then the live one
//! lies there in its place.
//!
//! Their names are kept in memory until then. How many there may be is the business of the core,
//! which removes more at a time the more there are.

use std::collections::VecDeque;

use quorate_crdt::CausalContext;

use super::journal::Journal;
use super::range::Range;
use super::row::{Row, RowKey};
use super::rows::{Rows, Taken};
use crate::planted;

/// Rows that an event removes from disk together with itself, and how many of the others are
/// removed at a time, unless told otherwise.
pub(crate) const ROWS_AT_ONCE: usize = 1_000;
/// Of so many rows what they hold is freed at a time, when they are removed and afterwards. Guess:
/// a millisecond or two.
pub(crate) const FREED_AT_ONCE: usize = 10_000;

/// All of a replica, oldest first.
#[derive(Clone, Debug)]
pub(super) struct Remains {
    pub(super) marks: VecDeque<Mark>,
    /// The number of the last mark.
    last: u64,
    pub(super) at_once: usize,
    /// How many rows events have left since that was last asked.
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
    /// Puts back what was written down.
    pub(super) fn restore(&mut self, number: u64, range: Range, dead: CausalContext) {
        self.last = self.last.max(number);
        self.marks.push_back(Mark {
            number,
            range,
            dead,
            rows: Taken::default(),
        });
    }

    /// A row has been read from disk: what is dead of it goes, and the row with its last entry.
    /// Returns whether any did.
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

    /// An event has left these rows on disk.
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

    /// What was seen and dead lives again.
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

    /// Takes out everything that lies on disk and is gone: the numbers of the marks, and the rows.
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
