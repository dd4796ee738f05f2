//! A store in memory, for simulations and tests.
#![expect(
    clippy::disallowed_types,
    reason = "the engine's own lock behind `&self`; no protocol state is in it"
)]

use std::collections::BTreeMap;
use std::ops::{Bound, ControlFlow};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;

use super::{Batch, Change, Space, Store, StoreError, StoreStats, Visitor};

/// How many entries a scan copies each time it holds the lock: few enough that a writer hardly
/// waits, many enough that descending the tree again costs little. Guess.
const CHUNK: usize = 64;

/// An ordered store in memory, for tests, caches and simulations.
///
/// **Law:** that of [`Store`], except that nothing survives: `persist` is free, and dropping the
/// store loses everything. It keeps the [`Bytes`] that it is given, so a small slice of a large
/// buffer keeps the whole buffer alive.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    spaces: [BTreeMap<Bytes, Bytes>; Space::ALL.len()],
    bytes: u64,
}

impl State {
    fn change(&mut self, change: Change) {
        let (space, key, value) = match change {
            Change::Put(space, key, value) => (space, key, Some(value)),
            Change::Delete(space, key) => (space, key, None),
        };
        let map = &mut self.spaces[space as usize];
        let key_len = key.len() as u64;
        let new = value
            .as_ref()
            .map_or(0, |value| key_len + value.len() as u64);
        let old = match value {
            Some(value) => map.insert(key, value),
            None => map.remove(&key),
        };
        self.bytes += new;
        self.bytes -= old.map_or(0, |value| key_len + value.len() as u64);
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ignores poisoning: `apply` cannot panic unless memory runs out, and each change is made
    /// whole.
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn get(&self, space: Space, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        Ok(self.read().spaces[space as usize].get(key).cloned())
    }

    fn scan(
        &self,
        space: Space,
        from: &[u8],
        to: Option<&[u8]>,
        visit: &mut Visitor<'_>,
    ) -> Result<(), StoreError> {
        if to.is_some_and(|to| to <= from) {
            return Ok(());
        }
        let upper = to.map_or(Bound::Unbounded, Bound::Excluded);
        let mut chunk: Vec<(Bytes, Bytes)> = Vec::new();
        loop {
            // The visitor runs without the lock, because it may call the store or be slow.
            let last = chunk.pop().map(|(key, _)| key);
            let lower = last
                .as_deref()
                .map_or(Bound::Included(from), Bound::Excluded);
            chunk.clear();
            let state = self.read();
            let entries = state.spaces[space as usize].range::<[u8], _>((lower, upper));
            chunk.extend(
                entries
                    .take(CHUNK)
                    .map(|(key, value)| (key.clone(), value.clone())),
            );
            drop(state);
            for (key, value) in &chunk {
                if let ControlFlow::Break(()) = visit(key, value) {
                    return Ok(());
                }
            }
            if chunk.len() < CHUNK {
                return Ok(());
            }
        }
    }

    fn apply(&self, batch: Batch) -> Result<(), StoreError> {
        batch.check()?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        batch
            .changes
            .into_iter()
            .for_each(|change| state.change(change));
        Ok(())
    }

    fn persist(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn stats(&self) -> StoreStats {
        StoreStats {
            bytes: self.read().bytes,
        }
    }
}

#[cfg(test)]
mod tests;
