//! Where a shard keeps the ones that wait for an answer: by the ticket that comes back with it.

use quorate_dynamo::protocol::Ticket;

/// Values under small numbers. A freed number is used again.
pub(super) struct Slots<T> {
    slots: Vec<Option<T>>,
    free: Vec<u64>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slots<T> {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn put(&mut self, value: T) -> Ticket {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() as u64 - 1
        });
        self.slots[slot as usize] = Some(value);
        Ticket(slot)
    }

    pub(super) fn take(&mut self, ticket: Ticket) -> Option<T> {
        let value = self.slots.get_mut(ticket.0 as usize)?.take()?;
        self.free.push(ticket.0);
        Some(value)
    }
}
