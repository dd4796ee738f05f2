//! How much of what clients are answered may wait for them to take it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What waits for one client, in bytes, and a share in what waits for all clients of a face.
///
/// A client can ask for much with few words and read slowly. How long an answer is shows only when
/// it is there, so the one who gives it asks for room first. The first answer always finds room:
/// whoever asks for one thing at a time is never refused.
#[derive(Debug)]
pub struct Room {
    /// Given, and not taken yet.
    waiting: AtomicUsize,
    /// Taken, and not written to the client yet.
    taken: AtomicUsize,
    /// Reads that were refused because too much is under way, and that nobody has asked for again.
    refused: AtomicUsize,
    all: Arc<AtomicUsize>,
}

impl Room {
    /// What may wait for one client. Guess: some of the longest values.
    pub const BYTES: usize = 64 * 1024 * 1024;
    /// What may wait for all clients, but for one answer of each. Guess: what a node can spare.
    pub const ALL_BYTES: usize = 1024 * 1024 * 1024;

    /// Room for one more client; `all` is what waits for those there are.
    pub fn new(all: &Arc<AtomicUsize>) -> Arc<Self> {
        Arc::new(Self {
            waiting: AtomicUsize::new(0),
            taken: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            all: Arc::clone(all),
        })
    }

    /// Makes room for an answer that must be given, however much waits.
    pub fn add(&self, bytes: usize) {
        self.waiting.fetch_add(bytes, Ordering::Relaxed);
        self.all.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Makes room for an answer; `false`: too much waits already, and nothing was changed.
    pub fn try_add(&self, bytes: usize) -> bool {
        let waiting = self.waiting.load(Ordering::Relaxed);
        let too_much = waiting > 0 && (waiting + bytes > Self::BYTES || self.all_is_taken(bytes));
        if !too_much {
            self.add(bytes);
        }
        !too_much
    }

    /// A read is refused because too much is under way.
    pub fn refuse(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a read was refused; true once for each. It may be asked for again when the answers
    /// before it are written.
    pub fn was_refused(&self) -> bool {
        let one_less = |refused: usize| refused.checked_sub(1);
        let (set, fetch) = (Ordering::Relaxed, Ordering::Relaxed);
        self.refused.fetch_update(set, fetch, one_less).is_ok()
    }

    /// The client's task has taken an answer.
    pub fn take(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.taken.fetch_add(bytes, Ordering::Relaxed);
    }

    /// All that was taken has been written.
    pub fn clear(&self) {
        let taken = self.taken.swap(0, Ordering::Relaxed);
        self.all.fetch_sub(taken, Ordering::Relaxed);
    }

    /// Whether so many bytes more would be too much for all clients together.
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
