//! Replica ids that are used twice, and forged stamps.

use std::time::Duration;

use quorate_crdt::laws::replica;
use quorate_crdt::{
    BoundedCounter, Causal, CausalContext, Crdt, Document, Hlc, LwwRegister, NodeKey, Now, OrSet,
    PnCounter, Refused, ReplicaId, Replicated, Standing, Text, Tree, Tx,
};

use crate::at;

/// Case G3-CLONE: two copies with one id write different things; each notices when they meet.
fn clone_is_noticed<T: Crdt + std::fmt::Debug>(write: impl Fn(&mut T::Edit<'_>, &mut Tx<'_>, u8)) {
    let mut here = at::<T>(0);
    here.update(|edit, tx| write(edit, tx, 1));
    let mut copy = here.clone();
    let (mine, theirs) = (
        here.update(|edit, tx| write(edit, tx, 2)),
        copy.update(|edit, tx| write(edit, tx, 3)),
    );
    let noticed = [here.merge(&theirs).err(), copy.merge(&mine).err()];
    assert!(
        noticed.contains(&Some(Refused::Reused {
            replica: replica(0)
        })),
        "{noticed:?}"
    );
}

#[test]
fn a_clone_that_writes_is_noticed_by_every_type() {
    clone_is_noticed::<OrSet<u8>>(|set, tx, n| {
        set.add(tx, n);
    });
    clone_is_noticed::<Text>(|text, tx, n| text.push(tx, &n.to_string()));
    clone_is_noticed::<PnCounter>(|counter, tx, n| counter.increment(tx, u64::from(n)));
    clone_is_noticed::<BoundedCounter>(|counter, tx, n| counter.increment(tx, u64::from(n)));
    clone_is_noticed::<LwwRegister<u8>>(|register, tx, n| {
        register.set(tx, n);
    });
    clone_is_noticed::<Tree<u8>>(|tree, tx, n| {
        tree.create(tx, NodeKey::ROOT, n);
    });
    clone_is_noticed::<Document>(|document, tx, n| document.put(tx, &["n"], n).unwrap());
}

/// Case G3-CLONE: a third replica that has heard of both cannot tell who is right, but sees that
/// something is wrong.
#[test]
fn replicas_that_hold_different_values_of_the_same_events_are_told_apart() {
    let mut here = at::<OrSet<u8>>(0);
    let mut copy = here.clone();
    let (milk, eggs) = (
        here.update(|set, tx| set.add(tx, 1)),
        copy.update(|set, tx| set.add(tx, 2)),
    );
    let (mut one, mut other) = (at::<OrSet<u8>>(1), at::<OrSet<u8>>(2));
    one.merge(&milk).unwrap();
    assert_eq!(one.compare(&other.summary()), Standing::Apart);
    other.merge(&eggs).unwrap();
    assert_eq!(one.compare(&other.summary()), Standing::Forked);
    other = at(3);
    other.merge(&milk).unwrap();
    assert_eq!(one.compare(&other.summary()), Standing::Equal);
}

/// Case G3-WIPED: a reinstalled device is told to continue under the next incarnation, and then
/// can.
#[test]
fn a_wiped_replica_is_told_to_go_on_under_the_next_incarnation() {
    fn wiped<T: Crdt + std::fmt::Debug>(write: impl Fn(&mut T::Edit<'_>, &mut Tx<'_>, u8)) {
        let (mut server, mut phone) = (at::<T>(1), at::<T>(0));
        for n in 0..50 {
            server
                .merge(&phone.update(|edit, tx| write(edit, tx, n)))
                .unwrap();
        }
        for edits in [0, 1] {
            let mut phone = at::<T>(0);
            (0..edits).for_each(|n| {
                phone.update(|edit, tx| write(edit, tx, 60 + n));
            });
            let before = phone.clone();
            let refused = phone.merge(server.state()).unwrap_err();
            assert!(
                matches!(refused, Refused::Unissued { claimed: 50, .. }),
                "{refused:?}"
            );
            assert!(refused.to_string().contains("next incarnation") && phone == before);
        }
        let mut phone = Replicated::<T>::new(ReplicaId::new(replica(0).node, 1));
        phone.merge(server.state()).unwrap();
        server
            .merge(&phone.update(|edit, tx| write(edit, tx, 99)))
            .unwrap();
        assert!(server == phone);
    }
    wiped::<OrSet<u8>>(|set, tx, n| {
        set.add(tx, n);
    });
    wiped::<Document>(|document, tx, n| document.put(tx, &[n.to_string().as_str()], n).unwrap());
    // Case 5: types without dots, whose count stayed where it was.
    wiped::<PnCounter>(|counter, tx, n| counter.increment(tx, u64::from(n) + 1));
    wiped::<LwwRegister<u8>>(|register, tx, n| {
        register.set(tx, n);
    });
}

/// Case 2: if somebody has claimed all events of an id, a replica cannot resume under it and takes
/// another.
#[test]
fn an_id_whose_events_are_used_up_is_not_resumed() {
    let mut context = CausalContext::new();
    context.insert_run(replica(0), 1, u64::MAX >> 1);
    let empty = Causal::<OrSet<u8>>::new().encode();
    let forged = [&empty[..2], &postcard::to_stdvec(&context).unwrap(), &[1]].concat();
    let forged = Causal::<OrSet<u8>>::decode(&[forged, vec![0]].concat()).unwrap();
    let resumed = Replicated::<OrSet<u8>>::resume(replica(0), forged.clone()).map(drop);
    assert_eq!(
        resumed,
        Err(Refused::Exhausted {
            replica: replica(0)
        })
    );
    let mut other = Replicated::<OrSet<u8>>::resume(replica(1), forged).unwrap();
    other.update(|set, tx| set.add(tx, 1));
    assert_eq!(
        Causal::decode(&other.state().encode()).as_ref(),
        Ok(other.state())
    );
}

/// Case 14: a clock in the far future, and the last of all stamps.
#[test]
fn a_stamp_from_the_future_is_refused_and_the_last_one_does_no_harm() {
    let now = Now {
        unix_millis: 1_800_000_000_000,
        ..Now::default()
    };
    let late = Now {
        unix_millis: now.unix_millis + 3_600_000,
        ..now
    };
    let (mut here, mut there) = (at::<LwwRegister<u8>>(0), at::<LwwRegister<u8>>(1));
    let delta = there.update_at(late, |register, tx| register.set(tx, 1));
    let refused = here
        .merge_at(now, Duration::from_millis(500), &delta)
        .unwrap_err();
    assert!(
        matches!(refused, Refused::FromTheFuture { ahead, .. } if ahead.as_millis() == 3_600_000),
        "{refused}"
    );
    assert_eq!(here.get(), None);
    here.merge_at(late, Duration::from_millis(500), &delta)
        .unwrap();
    // The last millisecond that has stamps: a value stamped there shows the same everywhere.
    let end = Now {
        unix_millis: (1 << 42) - 1,
        ..now
    };
    let mut forger = at::<LwwRegister<u8>>(2);
    let mut last = forger.update_at(end, |register, tx| register.set(tx, 5));
    for _ in 0..3 {
        last = forger.update_at(end, |register, tx| register.set(tx, 5));
    }
    assert!(last.stamp().is_some_and(|stamp| stamp.hlc > Hlc::default()));
    here.merge(&last).unwrap();
    there.merge(&last).unwrap();
    there
        .merge(&here.update(|register, tx| register.set(tx, 4)))
        .unwrap();
    assert_eq!(here.get(), there.get());
}
