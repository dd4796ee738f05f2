//! Defects that other CRDT libraries have or had, each as a test that passes here. Faults of this
//! library are in `regressions`.

#![expect(clippy::unwrap_used, reason = "test helpers may panic like the tests")]

use std::cell::Cell;
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};
use std::time::Duration;

use quorate_crdt::laws::replica;
use quorate_crdt::{
    Causal, DRIFT_DEFAULT, Delta, Hlc, HybridClock, LwwRegister, Now, OrMap, OrSet, Refused,
    Replicated, ResetCounter, Schema,
};
use serde::{Deserialize, Serialize};

type Sets = Replicated<OrSet<u8>>;

const TODAY: u64 = 1_800_000_000_000;

fn at<T: Schema>(n: usize) -> Replicated<T> {
    Replicated::new(replica(n))
}

fn add(set: &mut Sets, element: u8) -> Delta<OrSet<u8>> {
    set.update(|set, tx| set.add(tx, element))
}

fn remove(set: &mut Sets, element: u8) -> Delta<OrSet<u8>> {
    set.update(|set, tx| {
        set.remove(tx, &element);
    })
}

/// rust-crdt's `Orswot`, whose clock is a version vector: the second addition overtakes the first,
/// which then counts as seen, and even a full state does not bring it back.
#[test]
fn an_add_that_is_overtaken_is_not_lost() {
    let (mut origin, mut by_delta): (Sets, Sets) = (at(0), at(1));
    let (first, second) = (add(&mut origin, 1), add(&mut origin, 2));
    by_delta.merge(&second).unwrap();
    assert!(by_delta.state().context().has_gaps());
    let (mut by_state, mut by_sync) = (by_delta.clone(), by_delta.clone());
    by_state.merge(origin.state()).unwrap();
    by_sync
        .merge(&origin.delta_since(&by_sync.summary()))
        .unwrap();
    by_delta.merge(&first).unwrap();
    for replica in [by_delta, by_state, by_sync] {
        assert_eq!(replica, origin);
        assert!(!replica.state().context().has_gaps());
    }
}

/// rust-crdt's `LWWReg`, which compares only stamps: two values under one stamp stay different for
/// ever. Here, a replica that has lost its memory writes a second time under the same stamp.
#[test]
fn equal_stamps_with_different_values_converge() {
    let now = Now {
        unix_millis: TODAY,
        ..Now::default()
    };
    let (mut before, mut after) = (at::<LwwRegister<u8>>(0), at::<LwwRegister<u8>>(0));
    let a = before.update_at(now, |register, tx| register.set(tx, 1));
    let b = after.update_at(now, |register, tx| register.set(tx, 2));
    assert!(a != b && a.stamp() == b.stamp());
    let reused = Refused::Reused {
        replica: replica(0),
    };
    assert_eq!(
        before.merge(&b),
        Err(reused),
        "a replica reports a write of its own that it did not make"
    );
    let (mut one, mut other) = (at::<LwwRegister<u8>>(1), at::<LwwRegister<u8>>(2));
    for (register, deltas) in [(&mut one, [&a, &b]), (&mut other, [&b, &a])] {
        for delta in deltas {
            register.merge(delta).unwrap();
        }
    }
    assert_eq!(one, other);
    assert_eq!(
        one.get(),
        Some(&2),
        "if stamps are equal, the greater value wins"
    );
}

thread_local! {
    static LOOKS: Cell<u64> = const { Cell::new(0) };
}

/// An element that counts how often it is compared or hashed.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Watched(u32);

fn look() {
    LOOKS.set(LOOKS.get() + 1);
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        look();
        self.0 == other.0
    }
}

impl Eq for Watched {}

impl PartialOrd for Watched {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Watched {
    fn cmp(&self, other: &Self) -> Ordering {
        look();
        self.0.cmp(&other.0)
    }
}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        look();
        self.0.hash(hasher);
    }
}

fn looks(work: impl FnOnce()) -> u64 {
    LOOKS.set(0);
    work();
    LOOKS.get()
}

/// How many elements are looked at: to decode and merge a set of this size, and then to merge one
/// more element.
fn work(elements: u32) -> (u64, u64) {
    let (mut from, mut to) = (at::<OrSet<Watched>>(0), at::<OrSet<Watched>>(1));
    from.update(|set, tx| (0..elements).for_each(|n| set.add(tx, Watched(n))));
    let bytes = from.state().encode();
    let whole = looks(|| {
        to.merge(&Causal::decode(&bytes).unwrap()).unwrap();
    });
    from.update(|set, tx| set.add(tx, Watched(elements)));
    let one_more = looks(|| {
        to.merge(from.state()).unwrap();
    });
    (whole, one_more)
}

/// rust-crdt's `validate_merge` compares each element with every other: 196 ms for 4,000 elements,
/// minutes for 100,000.
#[test]
fn checking_and_merging_cost_what_differs() {
    let ((small, small_more), (large, large_more)) = (work(1_000), work(4_000));
    assert!(
        small >= 1_000 && large <= 5 * small,
        "{small} and {large} looks at elements: more than linear"
    );
    assert!(
        small_more >= 1 && large_more <= small_more + 4,
        "{small_more} and {large_more} looks for one new element"
    );
}

/// rust-crdt with a JSON encoder: "key must be a string" for elements that are tuples, and for
/// removals that wait.
#[test]
fn composite_keys_and_elements_encode() {
    type Grid = OrMap<(u8, Option<String>), OrSet<(i16, Vec<char>)>>;
    let mut grid = at::<Grid>(0);
    let key = (7, Some("k".to_owned()));
    grid.update(|grid, tx| {
        grid.update(tx, key.clone(), |set, tx| {
            set.add(tx, (-300, vec!['a', 'ß']));
        });
    });
    let removal = grid.clone().update(|grid, tx| {
        grid.remove(tx, &key);
    });
    for value in [grid.state(), &removal] {
        assert_eq!(Causal::<Grid>::decode(&value.encode()).as_ref(), Ok(value));
    }
    assert!(grid.get(&key).unwrap().contains(&(-300, vec!['a', 'ß'])));
}

/// Sets that collect their tombstones: a replica that still holds the element brings it back.
#[test]
fn a_stale_peer_does_not_bring_a_removed_element_back() {
    let mut here: Sets = at(0);
    let addition = add(&mut here, 1);
    let stale = here.state().clone();
    remove(&mut here, 1);
    for old in [&addition, &stale] {
        assert!(here.merge(old).unwrap().added.is_empty());
        assert!(here.is_empty());
    }
    let mut peer = Replicated::<OrSet<u8>>::resume(replica(1), stale).unwrap();
    here.merge(&peer.delta_since(&here.summary())).unwrap();
    assert!(here.is_empty());
    assert_eq!(
        peer.merge(&here.delta_since(&peer.summary()))
            .unwrap()
            .removed,
        [1]
    );
}

/// hlc-gen: after one stamp from the far future, it gives no stamp any more.
#[test]
fn a_hostile_stamp_does_not_stop_the_clock() {
    let now = |millis| Now {
        monotonic: Duration::ZERO,
        unix_millis: TODAY + millis,
    };
    let mut clock = HybridClock::new(DRIFT_DEFAULT).unwrap();
    let before = clock.tick(now(0));
    let within = Hlc::from_parts(TODAY + 500, (1 << 22) - 1).unwrap();
    for hostile in [
        Hlc::try_from(u64::from(within) + (1 << 40)).unwrap(),
        within,
    ] {
        // Refused or accepted, the clock continues.
        let _taken = clock.observe(now(0), hostile);
        assert!(clock.tick(now(1)) > before);
    }
    assert!(
        clock.tick(now(1)) > within,
        "the clock follows a stamp within the bound"
    );
    let next = clock.tick(now(1));
    assert!(clock.tick(now(1)) > next);
}

/// loro, yrs and automerge after some releases: damaged bytes silently decode to something else, or
/// loading stops half way without an error. There is no checksum here: each single flipped bit is
/// refused, or gives a value as good as any other.
#[test]
fn flipped_bits_are_refused_or_valid_and_nothing_in_between() {
    let mut map = at::<OrMap<u8, OrSet<u16>>>(0);
    for n in 0..40_u16 {
        map.update(|map, tx| map.update(tx, (n % 5) as u8, |set, tx| set.add(tx, n * 100)));
    }
    map.update(|map, tx| {
        map.remove(tx, &3);
    });
    let bytes = map.state().encode();
    let (mut refused, mut valid) = (0, 0);
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        match Causal::<OrMap<u8, OrSet<u16>>>::decode(&flipped) {
            Err(_) => refused += 1,
            Ok(value) => {
                valid += 1;
                assert_ne!(&value, map.state(), "bit {bit} has no effect");
                assert_eq!(
                    Causal::decode(&value.encode()).as_ref(),
                    Ok(&value),
                    "bit {bit}"
                );
                map.clone().merge(&value).unwrap_or_default();
            }
        }
    }
    for length in 0..bytes.len() {
        assert!(
            Causal::<OrMap<u8, OrSet<u16>>>::decode(&bytes[..length]).is_err(),
            "the first {length} bytes"
        );
    }
    assert!(
        refused > valid && valid > 0,
        "{refused} refused, {valid} valid"
    );
}

/// `delta_crdt_ex` #65: a partial delta under the sender's whole version vector makes the receiver
/// remove what it was not sent.
#[test]
fn a_delta_with_gaps_removes_nothing_that_was_not_sent() {
    let (mut here, mut there): (Sets, Sets) = (at(0), at(1));
    let deltas: Vec<_> = (0..6).map(|n| add(&mut here, n)).collect();
    there.merge(here.state()).unwrap();
    let removal = remove(&mut here, 2);
    let last = add(&mut here, 9);
    assert_eq!(there.merge(&last).unwrap().removed, [0_u8; 0]);
    assert_eq!(there.sorted(), [&0, &1, &2, &3, &4, &5, &9]);
    there.merge(&deltas[3]).unwrap();
    assert_eq!(there.len(), 7, "an old delta covers only its own events");
    assert_eq!(there.merge(&removal).unwrap().removed, [2]);
    let mut late: Sets = at(2);
    late.merge(&last).unwrap();
    late.merge(&deltas[5]).unwrap();
    assert!(
        there.merge(late.state()).unwrap().removed.is_empty(),
        "nor does the state of a replica that has seen only some of them"
    );
    there.merge(here.state()).unwrap();
    assert_eq!(there, here);
}

/// Akka's `ORMap` #22606, #22648: a removed key comes back with its old contents, or a delta of one
/// key removes another.
#[test]
fn removing_a_key_resets_its_value_and_spares_concurrent_updates() {
    type Carts = OrMap<String, OrSet<String>>;
    let (amy, ben) = ("amy".to_owned(), "ben".to_owned());
    let put = |cart: &mut Replicated<Carts>, key: &String, item: &str| {
        cart.update(|map, tx| map.update(tx, key.clone(), |cart, tx| cart.add(tx, item.to_owned())))
    };
    let (mut here, mut there) = (at::<Carts>(0), at::<Carts>(1));
    there.merge(&put(&mut here, &amy, "bread")).unwrap();
    there.merge(&put(&mut here, &ben, "soap")).unwrap();
    let removal = there.update(|map, tx| {
        map.remove(tx, &amy);
    });
    let concurrent = put(&mut here, &amy, "milk");
    here.merge(&removal).unwrap();
    there.merge(&concurrent).unwrap();
    assert_eq!(here, there);
    assert_eq!(
        here.get(&amy).unwrap().sorted(),
        ["milk"],
        "what the removal had seen does not come back with the key"
    );
    assert!(
        here.get(&ben).unwrap().contains("soap"),
        "the other key does not change"
    );
}

/// riak's map of counters before 2.0: a counter under a key that was removed and added again
/// continues from the old sum.
#[test]
fn a_counter_under_a_removed_key_starts_again_from_zero() {
    type Hits = OrMap<u8, ResetCounter>;
    let (mut here, mut there) = (at::<Hits>(0), at::<Hits>(1));
    here.update(|map, tx| map.update(tx, 1, |counter, tx| counter.add(tx, 10)));
    there.merge(here.state()).unwrap();
    there.update(|map, tx| {
        map.remove(tx, &1);
    });
    there.update(|map, tx| map.update(tx, 1, |counter, tx| counter.add(tx, 1)));
    here.merge(there.state()).unwrap();
    assert_eq!(here.get(&1).unwrap().value(), 1);
}
