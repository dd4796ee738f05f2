//! The promises of the library, each checked on a random history.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::world::{Random, World, view};
use crate::{
    Causal, DwFlag, EwFlag, GCounter, LwwRegister, NodeId, Now, OrSet, PnCounter, Refused,
    ReplicaId, Replicated, Stable, Standing, Summary,
};

type Check = fn(u64) -> Result<(), String>;

pub(super) const ALL: &[(&str, Check)] = &[
    (
        "replicas that synchronise by summaries become equal",
        converges,
    ),
    (
        "an answer to a summary stays right although the asker has heard more since",
        answers_hold,
    ),
    ("forgotten elements do not come back", nothing_comes_back),
    ("a value has one form", one_form),
    ("bytes of one type are refused by another", own_type),
    ("a copy of a replica is noticed", copies_are_noticed),
    ("every change is an event", changes_are_events),
    ("a stamp from the future is refused", stamps_are_bounded),
];

fn id(node: u64) -> ReplicaId {
    ReplicaId::new(NodeId(node), 0)
}

fn converges(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed);
    for _ in 0..24 {
        world.step()?;
    }
    world.synchronise()?;
    let [a, b, c] = world.replicas.as_slice() else {
        return Err("three replicas".into());
    };
    for other in [b, c] {
        if a.state() != other.state() || a.compare(&other.summary()) != Standing::Equal {
            return Err(format!(
                "{:?} and {:?} after synchronising",
                view(a.state()),
                view(other.state())
            ));
        }
    }
    Ok(())
}

/// Between question and answer, the asker hears of what a third replica has done.
fn answers_hold(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed);
    for _ in 0..12 {
        world.step()?;
    }
    world.synchronise()?;
    for _ in 0..8 {
        world.change();
    }
    // The second replica knows what the third does; the first learns of it later.
    let third = world.replicas[2].state().clone();
    world.merge(1, &third)?;
    let first = world.replicas[0].summary();
    let answer = world.replicas[1].summary_against(&first);
    for _ in 0..8 {
        world.change();
    }
    let third = world.replicas[2].state().clone();
    world.merge(0, &third)?;
    let mut settled = world.replicas[0].state().clone();
    settled.merge(world.replicas[1].state());
    let delta = world.replicas[0].delta_since(&answer);
    world.merge(1, &delta)?;
    if *world.replicas[1].state() == settled {
        return Ok(());
    }
    Err(format!(
        "{:?} instead of {:?}",
        view(world.replicas[1].state()),
        view(&settled)
    ))
}

fn nothing_comes_back(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed);
    for _ in 0..30 {
        world.step()?;
    }
    let summaries: Vec<Summary> = world.replicas[1..]
        .iter()
        .map(Replicated::summary)
        .collect();
    // A replica that forgets must have heard everything that the others have issued.
    for other in 1..3 {
        let state = world.replicas[other].state().clone();
        world.merge(0, &state)?;
    }
    let stable: Stable = world.replicas[0].stable(&summaries);
    let before = [1, 2].map(|at| view(world.replicas[at].state()).banned);
    let forgotten = world.replicas[0].update(|value, tx| {
        value.second_mut(tx, |rest, tx| {
            rest.second_mut(tx, |rest, tx| {
                rest.second_mut(tx, |banned, tx| {
                    banned.forget(tx, &stable);
                });
            });
        });
    });
    for (at, before) in [1, 2].into_iter().zip(before) {
        world.merge(at, &forgotten)?;
        let after = view(world.replicas[at].state()).banned;
        if let Some(back) = after.iter().find(|element| !before.contains(element)) {
            return Err(format!("{back} is back after its removal was forgotten"));
        }
    }
    Ok(())
}

/// Changes the bytes: a number in a longer form, a flipped bit, or an extra empty run.
fn one_form(seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let mut counter = Replicated::<GCounter>::new(id(1));
    for _ in 0..=random.below(3) {
        counter.update(|counter, tx| counter.increment(tx, 1));
    }
    let bytes = counter.state().encode();
    let at = random.below(bytes.len() as u64) as usize;
    let mut longer = bytes.clone();
    longer[at] |= 0x80;
    longer.insert(at + 1, 0);
    let mut flipped = bytes.clone();
    flipped[at] ^= 1 << random.below(8);
    for bytes in [longer, flipped] {
        if let Ok(value) = Causal::<GCounter>::decode(&bytes)
            && value.encode() != bytes
        {
            return Err(format!(
                "{bytes:?} decodes to what is written as {:?}",
                value.encode()
            ));
        }
    }
    Ok(())
}

fn own_type(seed: u64) -> Result<(), String> {
    let mut flag = Replicated::<EwFlag>::new(id(1 + seed % 100));
    flag.update(|flag, tx| {
        flag.enable(tx);
    });
    let mut counter = Replicated::<PnCounter>::new(id(1));
    counter.update(|counter, tx| counter.increment(tx, seed));
    let foreign = Causal::<DwFlag>::decode(&flag.state().encode()).is_ok();
    if foreign || Causal::<LwwRegister<u32>>::decode(&counter.state().encode()).is_ok() {
        return Err("the bytes of one type decode as another".into());
    }
    Ok(())
}

/// A replica that has changed something must have seen more than one that has not, or the two look
/// like diverged copies.
fn changes_are_events(seed: u64) -> Result<(), String> {
    let mut world = World::new(seed);
    for _ in 0..6 {
        let before = world.replicas.clone();
        world.change();
        for (before, after) in before.iter().zip(&world.replicas) {
            if view(before.state()) != view(after.state())
                && before.compare(&after.summary()) == Standing::Forked
            {
                return Err(format!(
                    "{:?} becomes {:?} without an event",
                    view(before.state()),
                    view(after.state())
                ));
            }
        }
        world.synchronise()?;
    }
    Ok(())
}

fn copies_are_noticed(seed: u64) -> Result<(), String> {
    let mut random = Random(seed);
    let mut here = Replicated::<OrSet<u64>>::new(id(1));
    for _ in 0..random.below(3) {
        here.update(|set, tx| set.add(tx, 7));
    }
    let mut copy = here.clone();
    let theirs = copy.update(|set, tx| set.add(tx, 1));
    here.update(|set, tx| set.add(tx, 2));
    let set = here.merge(&theirs).err();
    // The counter of a reinstalled device.
    let (mut before, mut after) = (
        Replicated::<PnCounter>::new(id(1)),
        Replicated::<PnCounter>::new(id(1)),
    );
    for _ in 0..=random.below(5) {
        before.update(|counter, tx| counter.increment(tx, 50));
    }
    after.update(|counter, tx| counter.increment(tx, 10));
    let counter = after.merge(before.state()).err();
    if set == Some(Refused::Reused { replica: id(1) }) && counter.is_some() {
        return Ok(());
    }
    Err(format!("a copy is merged: {set:?}, {counter:?}"))
}

fn stamps_are_bounded(seed: u64) -> Result<(), String> {
    let now = |ahead: u64| Now {
        unix_millis: 1_800_000_000_000 + ahead,
        ..Now::default()
    };
    let (bound, ahead) = (Duration::from_millis(500), Random(seed).below(1_000));
    let (mut here, mut there) = (
        Replicated::<LwwRegister<u8>>::new(id(1)),
        Replicated::<LwwRegister<u8>>::new(id(2)),
    );
    let delta = there.update_at(now(ahead), |register, tx| register.set(tx, 1));
    match (here.merge_at(now(0), bound, &delta), ahead > 500) {
        (Ok(_), false) | (Err(Refused::FromTheFuture { .. }), true) => Ok(()),
        (merged, _) => Err(format!("{ahead} ms ahead: {merged:?}")),
    }
}
