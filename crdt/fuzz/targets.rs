//! The fuzz targets: one line per decoder, with the edits to make to what decodes. The fuzzer
//! (`src/decode.rs`) and the replay of its corpus (`tests/corpus.rs`) share this file.

use core::fmt::Debug;

use quorate_crdt::codec::VERSION;
use quorate_crdt::{
    Bloom, Bool, BoundedCounter, Causal, ClSet, CountMin, Crdt, Document, DwFlag, EwFlag, GCounter,
    GSet, HyperLogLog, Lex, Limits, List, LwwMap, LwwRegister, Max, Min, MvRegister, NodeId,
    NodeKey, OrMap, OrSet, Pair, PnCounter, ReplicaId, Replicated, ResetCounter, RwSet, SortedSet,
    Summary, Text, TopK, Tree, TwoPhaseSet, Tx,
};

/// A value in a map, with two fields that have dots.
#[derive(Crdt)]
#[crdt(causal)]
struct Card {
    done: EwFlag,
    tags: OrSet<u8>,
}

/// A struct with every kind of field.
#[derive(Crdt)]
struct Board {
    cards: OrMap<u8, Card>,
    title: LwwRegister<String>,
    text: Text,
    hits: PnCounter,
    stock: BoundedCounter,
    #[crdt(mv)]
    mood: u8,
}

/// One decoder to fuzz.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// Takes any bytes, must return, and says whether they were a value.
    pub(crate) run: fn(&[u8]) -> bool,
    /// Inputs that are values.
    pub(crate) seeds: fn() -> Vec<Vec<u8>>,
}

macro_rules! edited {
    ($type:ty, |$edit:ident, $tx:ident, $n:ident| $change:expr) => {{
        #[allow(
            unused_variables,
            clippy::semicolon_if_nothing_returned,
            reason = "a type may have only one kind of change"
        )]
        fn change($edit: &mut <$type as Crdt>::Edit<'_>, $tx: &mut Tx<'_>, $n: u8) {
            let _done = $change;
        }
        Target {
            run: |bytes| causal::<$type>(bytes, &change),
            seeds: || seeds::<$type>(&change),
        }
    }};
}

/// Every decoder. To commit what the fuzzer finds beyond the seeds: `crdt/fuzz/run 30 its_name`.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    (
        "summary",
        Target {
            run: summary,
            seeds: summaries,
        },
    ),
    (
        "or_set",
        edited!(OrSet<u8>, |set, tx, n| if n.is_multiple_of(3) {
            set.remove(tx, &n);
        } else {
            set.add(tx, n);
        }),
    ),
    (
        "or_set_of_names",
        edited!(OrSet<(String, Option<u8>)>, |set, tx, n| set
            .add(tx, (n.to_string(), Some(n)))),
    ),
    // Elements that take no bytes: only counting them bounds how many there are.
    (
        "or_set_of_nothing",
        edited!(OrSet<()>, |set, tx, n| set.add(tx, ())),
    ),
    (
        "mv_register",
        edited!(MvRegister<u8>, |register, tx, n| register.set(tx, n)),
    ),
    (
        "mv_register_of_nothing",
        edited!(MvRegister<()>, |register, tx, n| register.set(tx, ())),
    ),
    (
        "lww_register",
        edited!(LwwRegister<String>, |register, tx, n| register
            .set(tx, n.to_string())),
    ),
    (
        "ew_flag",
        edited!(EwFlag, |flag, tx, n| if n.is_multiple_of(2) {
            flag.enable(tx);
        } else {
            flag.disable(tx);
        }),
    ),
    (
        "dw_flag",
        edited!(DwFlag, |flag, tx, n| if n.is_multiple_of(2) {
            flag.enable(tx);
        } else {
            flag.disable(tx);
        }),
    ),
    (
        "g_counter",
        edited!(GCounter, |counter, tx, n| counter
            .increment(tx, u64::from(n))),
    ),
    (
        "pn_counter",
        edited!(PnCounter, |counter, tx, n| {
            counter.increment(tx, u64::from(n));
            counter.decrement(tx, u64::MAX);
        }),
    ),
    (
        "reset_counter",
        edited!(ResetCounter, |counter, tx, n| counter.add(tx, i64::from(n))),
    ),
    (
        "map_of_counters",
        edited!(OrMap<u8, ResetCounter>, |map, tx, n| {
            map.update(tx, n, |counter, tx| counter.add(tx, 1));
        }),
    ),
    (
        "map_of_maps_of_sets",
        edited!(OrMap<u8, OrMap<u8, OrSet<u8>>>, |map, tx, n| {
            map.update(tx, n % 8, |map, tx| map.update(tx, n, |set, tx| set.add(tx, n)));
            map.remove(tx, &(n % 3))
        }),
    ),
    (
        "map_of_nothing",
        edited!(OrMap<(), OrMap<(), MvRegister<()>>>, |map, tx, n| {
            map.update(tx, (), |map, tx| map.update(tx, (), |register, tx| register.set(tx, ())));
        }),
    ),
    (
        "map_of_cards",
        edited!(OrMap<u8, Card>, |map, tx, n| change_cards(map, tx, n)),
    ),
    (
        "board",
        edited!(BoardState, |board, tx, n| change_board(board, tx, n)),
    ),
    (
        "bounded_counter",
        edited!(BoundedCounter, |counter, tx, n| {
            counter.increment(tx, u64::from(n));
            let _refused = (
                counter.decrement(tx, 3),
                counter.transfer(tx, ReplicaId::new(NodeId(5), 0), 1),
            );
        }),
    ),
    ("g_set", edited!(GSet<u8>, |set, tx, n| set.add(tx, n))),
    (
        "two_phase_set",
        edited!(TwoPhaseSet<u8>, |set, tx, n| (
            set.add(tx, n),
            set.remove(tx, &(n / 2))
        )),
    ),
    (
        "cl_set",
        edited!(ClSet<u8>, |set, tx, n| (set.remove(tx, &n), set.add(tx, n))),
    ),
    (
        "rw_set",
        edited!(RwSet<u8>, |set, tx, n| if n.is_multiple_of(3) {
            set.remove(tx, &n);
        } else {
            set.add(tx, n);
        }),
    ),
    (
        "lww_map",
        edited!(LwwMap<u8, u8>, |map, tx, n| {
            map.remove(tx, &(n / 2));
            map.set(tx, n, n);
        }),
    ),
    (
        "sorted_set",
        edited!(SortedSet<u8>, |set, tx, n| {
            set.increment(tx, n, i64::MAX);
            set.set(tx, n / 2, 1);
        }),
    ),
    (
        "map_of_sorted_sets",
        edited!(OrMap<u8, SortedSet<u8>>, |map, tx, n| {
            map.update(tx, n, |set, tx| set.increment(tx, n, 1));
        }),
    ),
    (
        "list",
        edited!(List<u8>, |list, tx, n| {
            list.push(tx, n);
            list.delete(tx, 0..1).is_ok()
        }),
    ),
    (
        "list_of_nothing",
        edited!(List<()>, |list, tx, n| list.push(tx, ())),
    ),
    (
        "text",
        edited!(Text, |text, tx, n| {
            text.push(tx, "né");
            let middle = text.len() / 2;
            let _moved = text.anchor(middle).map(|anchor| text.resolve(&anchor));
            (
                text.insert(tx, middle, "x").is_ok(),
                text.delete(tx, 0..1).is_ok(),
            )
        }),
    ),
    (
        "tree",
        edited!(Tree<u8>, |tree, tx, n| change_tree(tree, tx, n)),
    ),
    (
        "map_of_trees",
        edited!(OrMap<u8, Tree<u8>>, |map, tx, n| {
            map.update(tx, n, |tree, tx| change_tree(tree, tx, n))
        }),
    ),
    ("max", edited!(Max<u8>, |max, tx, n| max.raise(tx, n))),
    (
        "min",
        edited!(Min<String>, |min, tx, n| min.lower(tx, n.to_string())),
    ),
    ("bool_or", edited!(Bool, |truth, tx, n| truth.raise(tx))),
    (
        "pair",
        edited!(Pair<OrSet<u8>, GCounter>, |pair, tx, n| {
            pair.first_mut(tx, |set, tx| set.add(tx, n));
            pair.second_mut(tx, |counter, tx| counter.increment(tx, 1));
        }),
    ),
    (
        "lex",
        edited!(Lex<u8, GSet<u8>>, |lex, tx, n| {
            lex.advance(tx, n);
            lex.update(tx, |set, tx| set.add(tx, n))
        }),
    ),
    (
        "option",
        edited!(Option<LwwRegister<u8>>, |option, tx, n| option
            .update(tx, |register, tx| register.set(tx, n))),
    ),
    (
        "hyper_log_log",
        edited!(HyperLogLog<4>, |sketch, tx, n| sketch.add(tx, &n)),
    ),
    (
        "bloom",
        edited!(Bloom<24, 3>, |sketch, tx, n| sketch.add(tx, &n)),
    ),
    (
        "count_min",
        edited!(CountMin<4, 2>, |sketch, tx, n| sketch.add(tx, &n, u64::MAX / 2)),
    ),
    (
        "top_k",
        edited!(TopK<u8, 2>, |sketch, tx, n| sketch.add(tx, n, u64::MAX / 3)),
    ),
    (
        "document",
        edited!(Document, |document, tx, n| document
            .put(tx, &["n"], n)
            .is_ok()),
    ),
];

fn change_cards(map: &mut <OrMap<u8, Card> as Crdt>::Edit<'_>, tx: &mut Tx<'_>, n: u8) {
    map.update(tx, n, |card, tx| {
        card.done.enable(tx);
        card.tags.add(tx, n % 4);
    });
    map.update(tx, n / 2, |card, tx| card.done.disable(tx));
    map.remove(tx, &(n % 5));
}

fn change_board(board: &mut <BoardState as Crdt>::Edit<'_>, tx: &mut Tx<'_>, n: u8) {
    change_cards(&mut board.cards, tx, n);
    board.title.set(tx, n.to_string());
    board.text.push(tx, "né");
    let _shorter = board.text.delete(tx, 0..1).is_ok();
    board.hits.increment(tx, u64::from(n));
    board.stock.increment(tx, u64::from(n));
    board.mood.set(tx, n);
}

fn change_tree(tree: &mut <Tree<u8> as Crdt>::Edit<'_>, tx: &mut Tx<'_>, n: u8) {
    let first = tree.create(tx, NodeKey::ROOT, n);
    let second = tree.create(tx, first, n);
    for node in tree.nodes().into_iter().take(4) {
        tree.move_to(tx, node, second);
        tree.set_meta(tx, node, n);
    }
    tree.remove(tx, first);
}

/// What decoding under test may cost.
pub(crate) const LIMITS: Limits = Limits {
    bytes: 1 << 16,
    elements: 1 << 12,
    depth: 8,
};

/// How many bytes decoding within [`LIMITS`], and everything after it, may hold in memory at one
/// time: a dozen copies of 2^12 elements with up to 100 bytes around each, plus the 1 MiB that
/// serde reserves at most on the word of a length field.
pub(crate) const MEMORY: usize = 24 << 20;

/// Changes a value, guided by a number.
type Change<'a, T> = &'a dyn Fn(&mut <T as Crdt>::Edit<'_>, &mut Tx<'_>, u8);

/// One value, or two: a first byte that is not a version says where the second begins. What decodes
/// must survive its own bytes and can be merged, read, changed, sent and saved, here and there.
fn causal<T: Crdt + Debug + 'static>(bytes: &[u8], change: Change<'_, T>) -> bool {
    let Some((&first, rest)) = bytes.split_first() else {
        return false;
    };
    if first == VERSION {
        let Some(value) = one::<T>(bytes) else {
            return false;
        };
        goes_on(&value, &Causal::new(), change);
        return true;
    }
    let (left, right) = rest.split_at(usize::from(first).min(rest.len()));
    let (Some(left), Some(right)) = (one::<T>(left), one::<T>(right)) else {
        return false;
    };
    for (mut into, from) in [(left.clone(), &right), (right.clone(), &left)] {
        into.merge(from);
        intact(&into);
        into.merge(&from.delta_since(&into.summary_against(&from.summary())));
        intact(&into);
        goes_on(&into, from, change);
    }
    true
}

/// A delta, a small value, a large value, and two values that diverged.
fn seeds<T: Crdt + 'static>(change: Change<'_, T>) -> Vec<Vec<u8>> {
    let mut here = Replicated::<T>::new(ReplicaId::new(NodeId(2), 1));
    let mut seeds = vec![here.update(|edit, tx| change(edit, tx, 3)).encode()];
    let there = Replicated::<T>::resume(ReplicaId::new(NodeId(700), 0), here.state().clone());
    let mut there = there.expect("invariant: a new id that nothing was heard of");
    there.update(|edit, tx| change(edit, tx, 8));
    seeds.push(there.state().encode());
    here.update(|edit, tx| change(edit, tx, 5));
    let [left, right] = [here.state().encode(), there.state().encode()];
    if let Some(length) = u8::try_from(left.len())
        .ok()
        .filter(|length| *length != VERSION)
    {
        seeds.push([&[length], left.as_slice(), &right].concat());
    }
    (0..11).for_each(|n| {
        here.update(|edit, tx| change(edit, tx, n * 7));
    });
    seeds.push(here.state().encode());
    seeds
}

/// Two replicas: one resumes from the value, the other has issued nothing and merges it. Both
/// change it and tell each other.
fn goes_on<T: Crdt + Debug + 'static>(value: &Causal<T>, other: &Causal<T>, change: Change<'_, T>) {
    let mut there = Replicated::<T>::new(ReplicaId::new(NodeId(1), 0));
    let _taken = there.merge(value).map(drop);
    let Ok(mut here) = Replicated::<T>::resume(ReplicaId::new(NodeId(9), 7), value.clone()) else {
        return;
    };
    assert!(!format!("{:?}", **here.state()).is_empty(), "reads");
    for n in 0..12 {
        let delta = here.update(|edit, tx| change(edit, tx, n * 3));
        intact(&delta);
        let _taken = there.merge(&delta).map(drop);
        let back = there.update(|edit, tx| change(edit, tx, n));
        let _taken = here.merge(&back).map(drop);
    }
    for state in [here.state(), there.state()] {
        intact(state);
        intact(&state.delta_since(&other.summary()));
    }
}

fn one<T: Crdt>(bytes: &[u8]) -> Option<Causal<T>> {
    let value = Causal::<T>::decode_within(bytes, LIMITS).ok()?;
    intact(&value);
    Some(value)
}

fn intact<T: Crdt>(value: &Causal<T>) {
    let bytes = value.encode();
    let again = Causal::<T>::decode(&bytes).expect("invariant: an encoded value decodes");
    assert!(
        again == *value && again.encode() == bytes,
        "a value does not survive its own bytes"
    );
}

fn summaries() -> Vec<Vec<u8>> {
    let mut here = Replicated::<OrSet<u8>>::new(ReplicaId::new(NodeId(1), 0));
    here.update(|set, tx| (0..60).for_each(|n| set.add(tx, n)));
    let mut there = Replicated::<OrSet<u8>>::new(ReplicaId::new(NodeId(2), 0));
    there.update(|set, tx| set.add(tx, 70));
    vec![
        here.summary().encode(),
        here.summary_against(&there.summary()).encode(),
        Summary::default().encode(),
    ]
}

fn summary(bytes: &[u8]) -> bool {
    let Ok(theirs) = Summary::decode(bytes) else {
        return false;
    };
    assert_eq!(
        Summary::decode(&theirs.encode()).as_ref(),
        Ok(&theirs),
        "a summary does not survive its own bytes"
    );
    // Some of what a forged summary names is alive here.
    let mut here = Replicated::<OrSet<u8>>::new(ReplicaId::new(NodeId(1), 0));
    for n in 0..100 {
        here.update(|set, tx| set.add(tx, n % 50));
    }
    let delta = here.delta_since(&theirs);
    assert!(
        here.state().context().covers(delta.context()),
        "a delta claims events that its sender has not seen"
    );
    intact(&delta);
    let answer = here.summary_against(&theirs);
    assert_eq!(
        Summary::decode(&answer.encode()).as_ref(),
        Ok(&answer),
        "a summary does not survive its own bytes"
    );
    true
}
