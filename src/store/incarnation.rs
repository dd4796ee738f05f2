//! The incarnation in a node's [`ReplicaId`](quorate_crdt::ReplicaId)s: a new number at every
//! start.
//!
//! A dot must never be issued twice. But a node cannot tell whether its disk is the newest one that
//! it ever had: a restored snapshot of the disk, or a copy of it that is started elsewhere, is
//! equal to the last bit. So no start goes on under an old number. Every start draws a new one, and
//! so does every replica that learns in the middle of a life that it has forgotten something: 32
//! random bits, different from all numbers that this disk remembers, durable before anything is
//! told under it.
//!
//! A restored disk remembers all lives but the `k` that came after the snapshot. The number that it
//! draws is one of theirs with probability `k / 2^32` (for a hundred lives, one in forty million).
//! A second copy of a disk draws its own numbers.
//!
//! The price: a partition's context has one entry for each life that wrote to it, and a counter has
//! one share for each life that counted.

use std::sync::{Arc, Mutex, PoisonError};

use quorate_control::store::{Batch, Space, Store, StoreError};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::planted::LIFE_NUMBER_REUSED;

#[cfg(test)]
mod tests;

/// The key of the record in [`Space::Meta`]. The value is a CRC-32 (LE), then the record in
/// postcard.
const LIVES: &[u8] = b"lives";
const DAMAGED: StoreError = StoreError::Damaged {
    what: "the node's lives",
};
/// The most numbers that are remembered. The oldest are forgotten first; each forgotten one may be
/// drawn again with probability `2^-32`. Guess: sixteen kilobytes.
const NUMBERS_MAX: usize = 4096;
/// How many times a node can be declared down and appear again within one life.
const APPEARANCES_PER_LIFE: u64 = 1 << 16;

/// One life of a node, from its start to its stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Part of every [`ReplicaId`](quorate_crdt::ReplicaId) of this node.
    pub incarnation: u32,
    /// For the failure detector; rises from life to life. It is at least the wall clock at the
    /// start in milliseconds, so that it rises on a restored disk too, and it is above the last
    /// one, so that it rises although the clock was set back.
    pub appearance: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    appearance: u64,
    /// Oldest first.
    numbers: Vec<u32>,
}

/// Draws the incarnations of a node and remembers them in its store.
pub struct Lives {
    store: Arc<dyn Store>,
    chance: Mutex<StdRng>,
}

impl std::fmt::Debug for Lives {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lives").finish_non_exhaustive()
    }
}

impl Lives {
    /// Begins a life. Call it once per start, before anything is told. `seed` must differ at every
    /// start.
    ///
    /// # Errors
    /// [`StoreError`]; then the node must not serve.
    pub fn begin(
        store: Arc<dyn Store>,
        seed: u64,
        unix_millis: u64,
    ) -> Result<(Life, Self), StoreError> {
        let lives = Self {
            store,
            chance: Mutex::new(StdRng::seed_from_u64(seed)),
        };
        let (incarnation, record) = lives.draw(|record| {
            record.appearance =
                unix_millis.max(record.appearance.saturating_add(APPEARANCES_PER_LIFE));
        })?;
        Ok((
            Life {
                incarnation,
                appearance: record.appearance,
            },
            lives,
        ))
    }

    /// A number under which this node has never issued an event, durable before this returns: for a
    /// replica that has forgotten events of its own.
    ///
    /// # Errors
    /// [`StoreError`]; then the node must stop.
    pub fn next(&self) -> Result<u32, StoreError> {
        self.draw(|_| {}).map(|(number, _)| number)
    }

    fn draw(&self, begin: impl FnOnce(&mut Record)) -> Result<(u32, Record), StoreError> {
        // Held from reading to writing, because two shards may draw at once. A panic in between
        // leaves the generator intact.
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        let mut record = read(&*self.store)?;
        begin(&mut record);
        let mut number = chance.random::<u32>();
        while number == 0 || record.numbers.contains(&number) {
            number = chance.random();
        }
        if LIFE_NUMBER_REUSED.is_planted() {
            number = record.numbers.last().copied().unwrap_or(number);
        }
        record.numbers.push(number);
        let excess = record.numbers.len().saturating_sub(NUMBERS_MAX);
        record.numbers.drain(..excess);
        write(&*self.store, &record)?;
        Ok((number, record))
    }
}

fn read(store: &dyn Store) -> Result<Record, StoreError> {
    let Some(value) = store.get(Space::Meta, LIVES)? else {
        return Ok(Record::default());
    };
    let (crc, body) = value.split_first_chunk::<4>().ok_or(DAMAGED)?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(DAMAGED);
    }
    postcard::from_bytes(body).map_err(|_shape| DAMAGED)
}

fn write(store: &dyn Store, record: &Record) -> Result<(), StoreError> {
    let body = postcard::to_stdvec(record)
        .expect("invariant: a record of numbers always has a postcard form");
    let mut value = crc32fast::hash(&body).to_le_bytes().to_vec();
    value.extend_from_slice(&body);
    let mut batch = Batch::default();
    batch.put(Space::Meta, LIVES, value);
    store.apply(batch)?;
    store.persist()
}
