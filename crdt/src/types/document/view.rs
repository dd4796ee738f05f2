//! What the changes amount to, kept up to date by the engine, and which changes are left out.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::mem;

use super::change::{Actor, Change, ChangeHash, Changes};
use super::engine::{DocumentError, Engine, contained};
use super::order;

/// An engine with all changes of a set except the quarantined ones.
///
/// **Invariant:** of several changes that claim the same number of one writer, the one that most
/// others build on counts, and among equals the one with the least hash, whatever the order of
/// their arrival. So a forged change hides nothing that people have built on, unless as many
/// changes are forged.
#[derive(Clone, Default, Debug)]
pub(super) struct View<E> {
    pub(super) engine: E,
    pub(super) quarantined: BTreeMap<ChangeHash, DocumentError>,
    numbers: BTreeMap<(Actor, u64), ChangeHash>,
}

impl<E: Engine> View<E> {
    /// The view of all changes, built from nothing. Never fails: changes that the engine refuses
    /// are quarantined.
    pub(super) fn of(changes: &Changes) -> Self {
        let mut view = Self::default();
        let mut claims: BTreeMap<(Actor, u64), Vec<ChangeHash>> = BTreeMap::new();
        for (&hash, change) in changes {
            claims
                .entry((change.actor, change.number))
                .or_default()
                .push(hash);
        }
        let followers = if claims.len() < changes.len() {
            order::followers(changes)
        } else {
            BTreeMap::new()
        };
        for ((actor, number), mut claimants) in claims {
            if claimants.len() > 1 {
                claimants.sort_by_cached_key(|&hash| {
                    (Reverse(order::count_above(hash, &followers)), hash)
                });
            }
            for hash in claimants {
                view.claim(hash, actor, number);
            }
        }
        let sound: Vec<Arc<Change>> = order::in_order(changes)
            .into_iter()
            .filter(|change| !view.quarantined.contains_key(&change.hash))
            .cloned()
            .collect();
        view.take(&sound);
        view
    }

    /// Takes more changes, all at once. Returns `false` if that is not possible and the view must
    /// be rebuilt.
    pub(super) fn add(&mut self, fresh: &[Arc<Change>]) -> bool {
        if self
            .quarantined
            .values()
            .any(|error| matches!(error, DocumentError::Reused { .. }))
        {
            return false;
        }
        let mut sound = Vec::with_capacity(fresh.len());
        for change in fresh {
            // Where an id was used twice, each new change can tip the balance.
            if !self.claim(change.hash, change.actor, change.number) {
                return false;
            }
            sound.push(Arc::clone(change));
        }
        let mut engine = mem::take(&mut self.engine);
        match contained(|| engine.apply_changes(&sound).map(|()| engine)) {
            Ok(engine) => self.engine = engine,
            Err(_) => return false,
        }
        true
    }

    /// Counts a change that the engine has made itself.
    pub(super) fn made(&mut self, change: &Change) {
        self.numbers
            .insert((change.actor, change.number), change.hash);
    }

    /// Why the actor must not write here, if there is a reason.
    pub(super) fn objection(&self, actor: Actor, changes: &Changes) -> Option<DocumentError> {
        let reused = self.quarantined.iter().find_map(|(hash, error)| {
            let mine = matches!(error, DocumentError::Reused { .. })
                && changes
                    .get(hash)
                    .is_some_and(|change| change.actor == actor);
            mine.then(|| error.clone())
        });
        let last = self
            .numbers
            .range((actor, 0)..=(actor, u64::MAX))
            .next_back();
        let waits = last
            .is_some_and(|(_, &hash)| !contained(|| Ok(self.engine.has(hash))).unwrap_or(false));
        reused.or_else(|| waits.then_some(DocumentError::Incomplete))
    }

    /// Whether the change is the one that counts under its writer's number; otherwise it is
    /// quarantined.
    fn claim(&mut self, hash: ChangeHash, actor: Actor, number: u64) -> bool {
        let holder = *self.numbers.entry((actor, number)).or_insert(hash);
        if holder != hash {
            self.quarantined
                .insert(hash, DocumentError::Reused { number });
        }
        holder == hash
    }

    /// Applies the changes in one batch. If that fails, halves the batch until the failing changes
    /// are found.
    fn take(&mut self, changes: &[Arc<Change>]) {
        if changes.is_empty() {
            return;
        }
        let mut engine = self.engine.clone();
        match contained(|| engine.apply_changes(changes).map(|()| engine)) {
            Ok(engine) => self.engine = engine,
            Err(error) if changes.len() == 1 => {
                self.quarantined.insert(changes[0].hash, error);
            }
            Err(_) => {
                let (first, second) = changes.split_at(changes.len() / 2);
                self.take(first);
                self.take(second);
            }
        }
    }
}
