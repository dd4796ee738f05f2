//! Sets compared with `crdts::Orswot`.

use std::hint::black_box;

use crdts::{CmRDT, CvRDT, Orswot};
use quorate_crdt::{Causal, NodeId, OrSet, ReplicaId, Replicated};

use crate::MEMORY;
use crate::measure::{Nanos, SplitMix, gate_at_most, gate_faster, medians, time};

type Ours = Causal<OrSet<u64>>;
type Peer = Orswot<u64, u64>;

const ELEMENTS: usize = 100_000;
const ACTORS: u64 = 16;
/// How many elements an actor adds before the next one takes over.
const TURN: usize = 16;

pub(crate) fn run() {
    adding();
    merging();
    memory();
    sizes();
    syncing();
}

fn elements() -> Vec<u64> {
    SplitMix(1).take(ELEMENTS).collect()
}

/// The actor of each turn.
fn actor(turn: usize) -> u64 {
    turn as u64 % ACTORS + 1
}

fn replica(actor: u64) -> ReplicaId {
    ReplicaId::new(NodeId(actor), 0)
}

/// Adds all elements, actor by actor, each in a transaction of its own with a delta ready to send.
fn ours(elements: &[u64]) -> Ours {
    let mut state = Ours::new();
    for (turn, elements) in elements.chunks(TURN).enumerate() {
        let mut set = Replicated::<OrSet<u64>>::resume(replica(actor(turn)), state).unwrap();
        for &element in elements {
            black_box(set.update(|set, tx| set.add(tx, element)));
        }
        state = set.into_state();
    }
    state
}

/// The same with one transaction and one delta per turn.
fn ours_by_turn(elements: &[u64]) -> Ours {
    let mut state = Ours::new();
    for (turn, elements) in elements.chunks(TURN).enumerate() {
        let mut set = Replicated::<OrSet<u64>>::resume(replica(actor(turn)), state).unwrap();
        black_box(set.update(|set, tx| elements.iter().for_each(|&element| set.add(tx, element))));
        state = set.into_state();
    }
    state
}

/// The same with one operation per element, ready to send.
fn peer(elements: &[u64]) -> Peer {
    let mut set = Peer::new();
    for (turn, elements) in elements.chunks(TURN).enumerate() {
        for &element in elements {
            let op = set.add(element, set.read_ctx().derive_add_ctx(actor(turn)));
            set.apply(op.clone());
            black_box(op);
        }
    }
    set
}

fn adding() {
    let elements = elements();
    let [each, by_turn, theirs] = medians(
        5,
        [
            &mut || time(|| ours(&elements)),
            &mut || time(|| ours_by_turn(&elements)),
            &mut || time(|| peer(&elements)),
        ],
    )
    .map(|taken| taken / ELEMENTS as f64);
    gate_faster("set-add", each, theirs, 5.0);
    println!(
        "      with one transaction for {TURN} adds: {}, {:.2} times",
        Nanos(by_turn),
        theirs / by_turn
    );
}

/// Removes one element in 200 at the first replica and adds as many at the second; `round` chooses
/// which.
fn diverge_ours(
    a: &mut Replicated<OrSet<u64>>,
    b: &mut Replicated<OrSet<u64>>,
    elements: &[u64],
    round: usize,
) {
    for element in elements.iter().skip(round).step_by(200) {
        a.update(|set, tx| _ = set.remove(tx, element));
    }
    for element in SplitMix(round as u64 + 2).take(ELEMENTS / 200) {
        b.update(|set, tx| set.add(tx, element));
    }
}

fn diverge_peer(a: &mut Peer, b: &mut Peer, elements: &[u64], round: usize) {
    for element in elements.iter().skip(round).step_by(200) {
        let op = a.rm(*element, a.contains(element).derive_rm_ctx());
        a.apply(op);
    }
    for element in SplitMix(round as u64 + 2).take(ELEMENTS / 200) {
        let op = b.add(element, b.read_ctx().derive_add_ctx(2));
        b.apply(op);
    }
}

/// Two replicas diverge and merge, round after round; this measures what the first needs to merge
/// the second. The peer's merge consumes its argument, and a replica that continues after the merge
/// must be cloned for it, so the clone counts.
fn merging() {
    const ROUNDS: usize = 9;
    let elements = elements();
    let both = ours(&elements);
    let (mut a, mut b) = (
        Replicated::<OrSet<u64>>::resume(replica(1), both.clone()).unwrap(),
        Replicated::<OrSet<u64>>::resume(replica(2), both).unwrap(),
    );
    let mut c = peer(&elements);
    let mut d = c.clone();
    let (mut round, mut peer_round, mut moved) = (0, 0, Vec::new());
    let [taken, theirs] = medians(
        ROUNDS,
        [
            &mut || {
                diverge_ours(&mut a, &mut b, &elements, round);
                round += 1;
                let taken = time(|| a.merge(b.state()));
                assert!(
                    b.merge(a.state()).is_ok() && a.len() == ELEMENTS,
                    "both hold the same"
                );
                taken
            },
            &mut || {
                diverge_peer(&mut c, &mut d, &elements, peer_round);
                peer_round += 1;
                let copy = d.clone();
                let mut other = c.clone();
                moved.push(time(|| other.merge(copy)));
                let taken = time(|| c.merge(d.clone()));
                d.merge(c.clone());
                assert_eq!(d.iter().count(), ELEMENTS, "both hold the same");
                taken
            },
        ],
    );
    gate_faster("set-merge", taken, theirs, 300.0);
    moved.sort_by(f64::total_cmp);
    println!(
        "      should the peer's argument be of no further use, so that it need not be cloned: {}",
        Nanos(moved[ROUNDS / 2])
    );
}

fn memory() {
    let elements = elements();
    let held = |before: usize, count: usize| (MEMORY.allocated() - before) as f64 / count as f64;
    let before = MEMORY.allocated();
    let mut theirs = peer(&elements);
    let peer_dense = held(before, ELEMENTS);
    let mut order = SplitMix(3);
    let gone: Vec<u64> = elements
        .iter()
        .copied()
        .filter(|_| order.by_ref().next().is_some_and(|number| number % 10 != 0))
        .collect();
    let left = ELEMENTS - gone.len();
    for element in &gone {
        let op = theirs.rm(*element, theirs.contains(element).derive_rm_ctx());
        theirs.apply(op);
    }
    let gone_bytes = gone.capacity() * size_of::<u64>();
    let peer_sparse = held(before + gone_bytes, left);
    drop(theirs);
    let before = MEMORY.allocated();
    let state = ours(&elements);
    gate_at_most(
        "set-memory-dense-bytes",
        held(before, ELEMENTS),
        Some(peer_dense),
        70.0,
    );
    let mut set = Replicated::<OrSet<u64>>::resume(replica(1), state).unwrap();
    for element in &gone {
        set.update(|set, tx| _ = set.remove(tx, element));
    }
    assert_eq!(set.len(), left, "one in ten is left");
    gate_at_most(
        "set-memory-sparse-bytes",
        held(before, left),
        Some(peer_sparse),
        120.0,
    );
}

/// The bytes of the elements alone.
fn plain_bytes(elements: impl Iterator<Item = u64>) -> usize {
    elements
        .map(|element| postcard::to_allocvec(&element).map_or(0, |bytes| bytes.len()))
        .sum()
}

fn sizes() {
    let elements = elements();
    let plain = plain_bytes(elements.iter().copied());
    let encoded = ours(&elements).encode().len();
    let theirs = postcard::to_allocvec(&peer(&elements)).map_or(0, |bytes| bytes.len());
    let per_element = |bytes: usize| bytes.saturating_sub(plain) as f64 / ELEMENTS as f64;
    gate_at_most(
        "set-encoded-metadata-bytes",
        per_element(encoded),
        Some(per_element(theirs)),
        0.5,
    );
    let largest_delta = |node| {
        let mut set =
            Replicated::<OrSet<u64>>::resume(ReplicaId::new(NodeId(node), 0), ours(&elements))
                .unwrap();
        let deltas = SplitMix(4)
            .take(1000)
            .map(|element| (element, set.update(|set, tx| set.add(tx, element))));
        deltas
            .map(|(element, delta)| delta.encode().len() - plain_bytes([element].into_iter()))
            .max()
            .unwrap_or(0)
    };
    gate_at_most("set-delta-bytes", largest_delta(7) as f64, None, 12.0);
    println!(
        "      by a node whose id is any number of 64 bits, not one allocated in turn: {}",
        largest_delta(u64::MAX - 7)
    );
}

/// Two round trips: A's summary; B's summary against it; A's delta with its summary against that;
/// B's delta.
fn syncing() {
    let elements = elements();
    let both = ours(&elements);
    let (mut a, mut b) = (
        Replicated::<OrSet<u64>>::resume(replica(1), both.clone()).unwrap(),
        Replicated::<OrSet<u64>>::resume(replica(2), both).unwrap(),
    );
    diverge_ours(&mut a, &mut b, &elements, 0);
    let first = a.summary();
    let second = b.summary_against(&first);
    let (third, for_b) = (a.summary_against(&second), a.delta_since(&second));
    let for_a = b.delta_since(&third);
    let sizes = [
        first.encode().len(),
        second.encode().len(),
        third.encode().len(),
        for_b.encode().len(),
        for_a.encode().len(),
    ];
    let merged = b.merge(&for_b).and_then(|_| a.merge(&for_a).map(|_| ()));
    assert!(merged.is_ok() && a == b, "two round trips are enough");
    let differing = plain_bytes(
        elements
            .iter()
            .copied()
            .step_by(200)
            .chain(SplitMix(2).take(ELEMENTS / 200)),
    );
    gate_at_most(
        "set-sync-bytes",
        sizes.iter().sum::<usize>() as f64,
        None,
        1.5 * differing as f64 + 4096.0,
    );
    println!("      messages: {sizes:?}; the differing elements alone: {differing}");
}
