//! Bounds the answers that wait until clients take them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The bytes of answers that wait for one client, and its share in those that wait for all clients
/// of a face.
///
/// A client can ask for a lot with a short request and read slowly. The length of an answer is
/// known only when it is there, so its giver asks for room first. The first answer always finds
/// room: a client that asks for one thing at a time is never refused.
#[derive(Debug)]
pub struct Room {
    /// Given, but not taken yet.
    waiting: AtomicUsize,
    /// Taken, but not written to the client yet.
    taken: AtomicUsize,
    /// Reads that were refused because too much is under way, and that have not been asked for
    /// again.
    refused: AtomicUsize,
    all: Arc<AtomicUsize>,
}

impl Room {
    /// The most bytes that may wait for one client. Guess: some of the longest values.
    pub const BYTES: usize = 64 * 1024 * 1024;
    /// The most bytes that may wait for all clients, apart from one answer for each. Guess: what a
    /// node can spare.
    pub const ALL_BYTES: usize = 1024 * 1024 * 1024;

    /// Room for one more client; `all` counts the bytes that wait for all clients.
    pub fn new(all: &Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self {
            waiting: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            all: Arc::clone(all),
        })
    }

    /// Adds an answer that must be given, however much waits.
    pub fn add(&self, bytes: usize) {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Adds an answer. `false` means that too much waits already, and nothing was changed.
    pub fn try_add(&self, bytes: usize) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let too_much = waiting > 0 && (waiting + bytes > Self::BYTES || self.all_is_taken(bytes));
        if !too_much {
            self.add(bytes);
        }
        !too_much
    }

    /// Notes that a read was refused because too much is under way.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a read was refused; true once for each. The read may be asked for again when the
    /// answers before it are written.
    pub fn was_refused(&self) -> bool {
        let one_less = |refused: usize| refused.checked_sub(1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.refused.fetch_update(set, fetch, one_less).is_ok()
    }

    /// Notes that the client's task has taken an answer.
    pub fn take(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Notes that everything taken has been written.
    pub fn clear(&self) {
        let taken = self.taken.swap(0, Ordering::Relaxed);
        self.all.fetch_sub(taken, Ordering::Relaxed);
    }

    /// Whether this many more bytes would be too much for all clients together.
    pub fn all_is_taken(&self, bytes: usize) -> bool {
        self.all.load(Ordering::Relaxed) + bytes > Self::ALL_BYTES
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let left = *self.waiting.get_mut() + *self.taken.get_mut();
        self.all.fetch_sub(left, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_bounded_for_each_client_and_for_all() {
        let all = Arc::new(AtomicUsize::new(0));
        let (room, other) = (Room::new(&all), Room::new(&all));
        assert!(room.try_add(2 * Room::BYTES), "the first always fits");
        assert!(!room.try_add(1));
        room.refuse();
        assert!(room.was_refused() && !room.was_refused());
        room.take(2 * Room::BYTES);
        assert!(room.try_add(Room::BYTES), "what was taken does not wait");
        other.add(Room::ALL_BYTES);
        assert!(!other.try_add(1) && !room.try_add(0));
        room.clear();
        assert_eq!(all.load(Ordering::Relaxed), Room::ALL_BYTES + Room::BYTES);
        drop((room, other));
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
