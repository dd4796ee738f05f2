//! Removes from disk what is gone already.
//!
//! Rows that an event has removed, and whose names are all that is left of them in memory, leave the disk a few at a time. **Bound:** there are
//! never more of them than [`waiting_max`](crate::protocol::Removal::waiting_max), unless a single event brings more, or a start finds more; then no
//! later event makes them more. The more there are, the more go at a time; and beyond the bound an event clears with its own turn as many as it adds,
//! so that whoever removes faster than a disk does pays for it.

use super::{At, Dynamo};
use crate::planted;
use crate::protocol::{Effect, Timer};
use crate::replica::{FREED_AT_ONCE, Replica};

/// Of how many of the rows that may wait one goes at a time.
const SHARE: usize = 100;

/// Whether something that is gone still lies on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Clearing {
    #[default]
    Done,
    /// Perhaps, and no timer runs.
    Wanted,
    /// The timer runs.
    Armed,
}

impl Dynamo {
    /// What a start has found on disk goes on leaving it.
    pub(super) fn find_remains(&mut self) {
        self.standing.waiting_max = self.removed_rows();
        if self.replicas.values().any(Replica::has_remains) {
            self.standing.clearing = Clearing::Wanted;
        }
    }

    /// Arms the timer, if something waits for it.
    pub(super) fn go_on_clearing(&mut self, effects: &mut Vec<Effect>) {
        if self.standing.clearing == Clearing::Wanted {
            self.standing.clearing = Clearing::Armed;
            effects.push(Effect::Arm { after: self.config.removal.every, timer: Timer::Remains });
        }
    }

    /// How many rows of all replicas are gone and lie on disk.
    pub(super) fn removed_rows(&self) -> usize {
        self.replicas.values().map(Replica::remains_count).sum()
    }

    /// How many there may be now.
    pub(super) fn removed_rows_max(&self) -> usize {
        self.config.removal.waiting_max.max(self.standing.waiting_max)
    }

    /// Rows may have gone that still lie on disk.
    pub(super) fn note_remains(&mut self, at: At) {
        let Some(replica) = self.replicas.get_mut(&at).filter(|replica| replica.has_remains()) else { return };
        let added = replica.new_remains();
        if self.standing.clearing == Clearing::Done {
            self.standing.clearing = Clearing::Wanted;
        }
        if added == 0 {
            return;
        }
        let waiting = self.removed_rows();
        if waiting.saturating_sub(added) <= self.config.removal.waiting_max {
            self.standing.waiting_max = waiting;
        } else if !planted::REMAINS_WITHOUT_BOUND.is_planted() {
            self.clear_rows(added);
        }
    }

    /// The next rows leave the disk, and more the more there are. Beyond the bound it is no longer this that keeps them from growing: a turn stays
    /// short.
    pub(super) fn clear_remains(&mut self) {
        let removal = self.config.removal;
        let share = self.removed_rows().min(removal.waiting_max) / SHARE;
        let share = if planted::REMAINS_WITHOUT_BOUND.is_planted() { 0 } else { share };
        self.clear_rows(removal.rows_at_once.max(share).max(1));
        self.standing.waiting_max = self.standing.waiting_max.min(self.removed_rows());
        let mut left = FREED_AT_ONCE;
        self.standing.clearing = Clearing::Done;
        for replica in self.replicas.values_mut().filter(|replica| replica.has_remains()) {
            left -= replica.free_remains(left);
            self.standing.clearing = Clearing::Wanted;
        }
    }

    /// Removes so many rows that are gone from disk, of one replica after the other.
    fn clear_rows(&mut self, mut left: usize) {
        for (at, replica) in self.replicas.iter_mut().filter(|(_, replica)| replica.has_remains()) {
            if left == 0 {
                return;
            }
            left = left.saturating_sub(replica.clear_remains(left));
            self.dirty.insert(*at);
        }
    }
}
