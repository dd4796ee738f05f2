//! A set of changes as bytes, in an order that only the set determines, so that equal sets have
//! equal bytes.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::change::{Actor, Change, ChangeHash, Changes, read_hash};
use crate::codec::{DecodeError, Reader, Writer};

/// For each change, those that build directly on it.
pub(super) fn followers(changes: &Changes) -> BTreeMap<ChangeHash, Vec<ChangeHash>> {
    let mut followers: BTreeMap<ChangeHash, Vec<ChangeHash>> = BTreeMap::new();
    for (&hash, change) in changes {
        change
            .dependencies
            .iter()
            .for_each(|&dependency| followers.entry(dependency).or_default().push(hash));
    }
    followers
}

/// How many changes build on this one, directly or indirectly.
pub(super) fn count_above(
    hash: ChangeHash,
    followers: &BTreeMap<ChangeHash, Vec<ChangeHash>>,
) -> usize {
    let (mut seen, mut open) = (BTreeSet::new(), alloc::vec![hash]);
    while let Some(hash) = open.pop() {
        let above = followers.get(&hash).into_iter().flatten();
        open.extend(above.filter(|&&above| seen.insert(above)));
    }
    seen.len()
}

/// The changes, each after everything it builds on, otherwise ascending by hash.
pub(super) fn in_order(changes: &Changes) -> Vec<&Arc<Change>> {
    let mut waiting: BTreeMap<ChangeHash, usize> = BTreeMap::new();
    let mut followers: BTreeMap<ChangeHash, Vec<ChangeHash>> = BTreeMap::new();
    let mut ready = BTreeSet::new();
    for (&hash, change) in changes {
        let known = change
            .dependencies
            .iter()
            .filter(|&dependency| changes.contains_key(dependency));
        let count = known
            .map(|&dependency| followers.entry(dependency).or_default().push(hash))
            .count();
        if count == 0 {
            ready.insert(hash);
        } else {
            waiting.insert(hash, count);
        }
    }
    let mut order = Vec::with_capacity(changes.len());
    while let Some(hash) = ready.pop_first() {
        order.push(&changes[&hash]);
        for follower in followers.remove(&hash).unwrap_or_default() {
            let Some(count) = waiting.get_mut(&follower) else {
                continue;
            };
            *count -= 1;
            if *count == 0 {
                waiting.remove(&follower);
                ready.insert(follower);
            }
        }
    }
    order
}

/// Writes each change with its actor as a number, and with those it builds on as distances where
/// the set contains them.
pub(super) fn encode(changes: &Changes, out: &mut Writer) {
    let mut places: BTreeMap<ChangeHash, usize> = BTreeMap::new();
    let mut actors: BTreeMap<Actor, usize> = BTreeMap::new();
    out.number(changes.len() as u64);
    for (place, change) in in_order(changes).into_iter().enumerate() {
        out.number(change.dependencies.len() as u64);
        for dependency in &change.dependencies {
            if let Some(there) = places.get(dependency) {
                out.number((place - there) as u64);
            } else {
                out.number(0);
                out.append(&dependency.0);
            }
        }
        let next = actors.len();
        let actor = *actors.entry(change.actor).or_insert(next);
        out.number(actor as u64);
        if actor == next {
            out.append(&change.actor.0);
        }
        out.bytes(&change.rest);
        places.insert(change.hash, place);
    }
}

/// Reads what [`encode`] wrote. The caller checks that the order is right.
pub(super) fn decode(input: &mut Reader<'_>) -> Result<Changes, DecodeError> {
    let mut order: Vec<ChangeHash> = Vec::new();
    let mut actors: Vec<Actor> = Vec::new();
    let mut changes = Changes::new();
    for _ in 0..input.count()? {
        let mut dependencies = Vec::new();
        for _ in 0..input.count()? {
            let distance = usize::try_from(input.number()?).unwrap_or(usize::MAX);
            let there = order
                .len()
                .checked_sub(distance)
                .ok_or(DecodeError::Invalid("a change before the first"))?;
            dependencies.push(if distance == 0 {
                read_hash(input)?
            } else {
                order[there]
            });
        }
        let actor = usize::try_from(input.number()?).unwrap_or(usize::MAX);
        if actor == actors.len() {
            let mut bytes = [0; 16];
            for byte in &mut bytes {
                *byte = input.byte()?;
            }
            actors.push(Actor(bytes));
        }
        let &actor = actors
            .get(actor)
            .ok_or(DecodeError::Invalid("an actor that was not named"))?;
        let rest = input.bytes()?;
        let change = Change::new(dependencies, actor, rest, input)?;
        order.push(change.hash);
        changes.insert(change.hash, Arc::new(change));
    }
    Ok(changes)
}
