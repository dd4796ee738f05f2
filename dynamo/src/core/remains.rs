//! Deletes from disk what has already been removed.
//!
//! Rows that an event has removed are known in memory by name only, and leave the disk a few at a
//! time.
//!
//! **Bound:** there are at most [`waiting_max`](crate::protocol::Removal::waiting_max) of them. A
//! single event may leave more, or a start may find more; then no later event adds to that number.
//! The more there are, the more are deleted at a time. Beyond the bound, an event deletes in its
//! own turn as many rows as it adds, so that whoever removes faster than the disk pays for it.
//!
//! What erased replicas have left is deleted in the same way, always at the same pace, because no
//! client can make it grow. Where the topology wants a replica again, it goes ten times as fast,
//! because the new replica has to wait for it.

use quorate_crdt::Now;

use super::Dynamo;
use super::places::Clearing;
use crate::planted;
use crate::protocol::{Effect, Timer};
use crate::replica::{Erased, FREED_AT_ONCE, Replica};
use crate::seen::At;

/// One in this many of the waiting rows is deleted at a time.
const SHARE: usize = 100;
/// The fewest records of erased replicas that are deleted at a time, however few rows are. Guess: a
/// turn does not notice that many.
const ERASED_AT_LEAST: usize = 10;
/// How many times as many are deleted where a replica is wanted again. Guess: about 30 ms of work.
const WANTED_FACTOR: usize = 10;

impl Dynamo {
    /// Continues to delete what a start has found on disk.
    pub(super) fn find_remains(&mut self) {
        self.places.removed_max = self.removed_rows();
        if self.replicas.values().any(Replica::has_remains) || !self.places.known.erased.is_empty()
        {
            self.places.clearing.want();
        }
    }

    /// Arms the timer if something waits for it.
    pub(super) fn go_on_clearing(&mut self, effects: &mut Vec<Effect>) {
        if self.places.clearing == Clearing::Wanted {
            self.places.clearing = Clearing::Armed;
            effects.push(Effect::Arm {
                after: self.config.removal.every,
                timer: Timer::Remains,
            });
        }
    }

    /// How many removed rows of all replicas still lie on disk.
    pub(super) fn removed_rows(&self) -> usize {
        self.replicas.values().map(Replica::remains_count).sum()
    }

    /// How many there may be now.
    pub(super) fn removed_rows_max(&self) -> usize {
        self.config.removal.waiting_max.max(self.places.removed_max)
    }

    /// Notes that a change may have left removed rows on disk.
    pub(super) fn note_remains(&mut self, at: At) {
        let Some(replica) = self
            .replicas
            .get_mut(&at)
            .filter(|replica| replica.has_remains())
        else {
            return;
        };
        let added = replica.new_remains();
        self.places.clearing.want();
        if added == 0 {
            return;
        }
        let waiting = self.removed_rows();
        if waiting.saturating_sub(added) <= self.config.removal.waiting_max {
            self.places.removed_max = waiting;
        } else if !planted::REMAINS_WITHOUT_BOUND.is_planted() {
            self.clear_rows(added);
        }
    }

    /// Deletes the next rows, more of them the more there are. Beyond the bound it is the events
    /// themselves that stop the growth, so a turn of this stays short.
    pub(super) fn clear_remains(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let removal = self.config.removal;
        let share = self.removed_rows().min(removal.waiting_max) / SHARE;
        let share = if planted::REMAINS_WITHOUT_BOUND.is_planted() {
            0
        } else {
            share
        };
        self.clear_rows(removal.rows_at_once.max(share).max(1));
        self.places.removed_max = self.places.removed_max.min(self.removed_rows());
        let mut left = FREED_AT_ONCE;
        self.places.clearing = Clearing::Done;
        for replica in self
            .replicas
            .values_mut()
            .filter(|replica| replica.has_remains())
        {
            left -= replica.free_remains(left);
            self.places.clearing.want();
        }
        if !self.places.known.erased.is_empty() {
            self.clear_erased(left);
            self.look_at_places_again(now, effects);
        }
    }

    /// How many records of erased replicas still lie on disk.
    pub(super) fn erased_records(&self) -> usize {
        self.places.known.erased.values().map(Erased::len).sum()
    }

    /// Deletes the next records of erased replicas, and frees the memory of up to `left` rows.
    fn clear_erased(&mut self, mut left: usize) {
        let pace = self.config.removal.rows_at_once.max(ERASED_AT_LEAST);
        let mut cleared = 0;
        for (at, erased) in &mut self.places.known.erased {
            let wanted = self
                .routes
                .placement(*at)
                .is_some_and(|placement| placement.holds(self.seat.me));
            let most = if wanted { pace * WANTED_FACTOR } else { pace };
            cleared += erased.clear(most.saturating_sub(cleared), &mut self.places.disk);
            left -= erased.free(left);
        }
    }

    /// Creates replicas that had to wait until the records of their erased predecessors were gone.
    fn look_at_places_again(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let before = self.places.known.erased.len();
        self.places
            .known
            .erased
            .retain(|_, erased| !erased.is_empty());
        if !self.places.known.erased.is_empty() {
            self.places.clearing.want();
        }
        if self.places.known.erased.len() == before || self.routes.topology().is_none() {
            return;
        }
        let replicas = self.replicas.len();
        self.place_replicas();
        if self.replicas.len() > replicas {
            self.on_anti_entropy(now, effects);
        }
    }

    /// Deletes up to `left` removed rows from disk, one replica after the other.
    fn clear_rows(&mut self, mut left: usize) {
        for (at, replica) in self
            .replicas
            .iter_mut()
            .filter(|(_, replica)| replica.has_remains())
        {
            if left == 0 {
                return;
            }
            left = left.saturating_sub(replica.clear_remains(left));
            self.dirty.insert(*at);
        }
    }
}
