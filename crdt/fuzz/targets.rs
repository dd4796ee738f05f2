//! What is fuzzed, one line per decoder. The fuzzer (`src/decode.rs`) and the replay of its corpus (`tests/corpus.rs`) share
//! this file.

use quorate_crdt::codec::VERSION;
use quorate_crdt::{
    Bloom, Bool, BoundedCounter, Causal, ClSet, CountMin, Crdt, Document, DwFlag, EwFlag, GCounter, GSet, HyperLogLog, Lex, Limits, List,
    LwwMap, LwwRegister, Max, Min, MvRegister, NodeId, OrMap, OrSet, Pair, PnCounter, ReplicaId, Replicated, ResetCounter, RwSet,
    SortedSet, Summary, Text, TopK, Tree, TwoPhaseSet,
};

/// Takes any bytes, must return, and says whether they were a value.
pub(crate) type Target = fn(&[u8]) -> bool;

/// Every decoder but those that the derive makes, whose bytes `laws!` damages. A new line needs a corpus: `crdt/fuzz/run 30 its_name`.
pub(crate) const TARGETS: &[(&str, Target)] = &[
    ("summary", summary),
    ("or_set", causal::<OrSet<u8>>),
    ("or_set_of_names", causal::<OrSet<(String, Option<u8>)>>),
    // Elements that take no bytes: only what is counted bounds how many there are.
    ("or_set_of_nothing", causal::<OrSet<()>>),
    ("mv_register", causal::<MvRegister<u8>>),
    ("mv_register_of_nothing", causal::<MvRegister<()>>),
    ("lww_register", causal::<LwwRegister<String>>),
    ("ew_flag", causal::<EwFlag>),
    ("dw_flag", causal::<DwFlag>),
    ("g_counter", causal::<GCounter>),
    ("pn_counter", causal::<PnCounter>),
    ("reset_counter", causal::<ResetCounter>),
    ("map_of_counters", causal::<OrMap<u8, ResetCounter>>),
    ("map_of_maps_of_sets", causal::<OrMap<u8, OrMap<u8, OrSet<u8>>>>),
    ("map_of_nothing", causal::<OrMap<(), OrMap<(), MvRegister<()>>>>),
    ("bounded_counter", causal::<BoundedCounter>),
    ("g_set", causal::<GSet<u8>>),
    ("two_phase_set", causal::<TwoPhaseSet<u8>>),
    ("cl_set", causal::<ClSet<u8>>),
    ("rw_set", causal::<RwSet<u8>>),
    ("lww_map", causal::<LwwMap<u8, u8>>),
    ("sorted_set", causal::<SortedSet<u8>>),
    ("map_of_sorted_sets", causal::<OrMap<u8, SortedSet<u8>>>),
    ("list", causal::<List<u8>>),
    ("list_of_nothing", causal::<List<()>>),
    ("text", causal::<Text>),
    ("tree", causal::<Tree<u8>>),
    ("map_of_trees", causal::<OrMap<u8, Tree<u8>>>),
    ("max", causal::<Max<u8>>),
    ("min", causal::<Min<String>>),
    ("bool_or", causal::<Bool>),
    ("pair", causal::<Pair<OrSet<u8>, GCounter>>),
    ("lex", causal::<Lex<u8, GSet<u8>>>),
    ("option", causal::<Option<LwwRegister<u8>>>),
    ("hyper_log_log", causal::<HyperLogLog<4>>),
    ("bloom", causal::<Bloom<24, 3>>),
    ("count_min", causal::<CountMin<4, 2>>),
    ("top_k", causal::<TopK<u8, 2>>),
    ("document", causal::<Document>),
];

/// What a fuzzed decoder may cost.
pub(crate) const LIMITS: Limits = Limits { bytes: 1 << 16, elements: 1 << 12, depth: 8 };

/// What decoding within [`LIMITS`] and all that follows may hold in memory at one time, in bytes: some copies of 2^12
/// elements, each with up to 100 bytes around it, and the 1 MiB that serde reserves at most on the word of a length field.
pub(crate) const MEMORY: usize = 8 << 20;

/// One value, or two: a first byte that is no version says where the second begins. What decodes must survive its own
/// bytes, and two of them must merge.
fn causal<T: Crdt>(bytes: &[u8]) -> bool {
    let Some((&first, rest)) = bytes.split_first() else { return false };
    if first == VERSION {
        return one::<T>(bytes).is_some();
    }
    let (left, right) = rest.split_at(usize::from(first).min(rest.len()));
    let (Some(left), Some(right)) = (one::<T>(left), one::<T>(right)) else { return false };
    for (mut into, from) in [(left.clone(), &right), (right.clone(), &left)] {
        into.merge(from);
        intact(&into);
        into.merge(&from.delta_since(&into.summary_against(&from.summary())));
        intact(&into);
        // A replica that has issued nothing takes what claims nothing of it.
        let mut replica = Replicated::<T>::new(ReplicaId::new(NodeId(1), 0));
        let _taken = replica.merge(&into).map(drop);
    }
    true
}

fn one<T: Crdt>(bytes: &[u8]) -> Option<Causal<T>> {
    let value = Causal::<T>::decode_within(bytes, LIMITS).ok()?;
    intact(&value);
    Some(value)
}

fn intact<T: Crdt>(value: &Causal<T>) {
    let again = Causal::<T>::decode(&value.encode()).expect("invariant: a value that was decoded encodes to what decodes");
    assert!(again == *value, "a value does not survive its own bytes");
}

fn summary(bytes: &[u8]) -> bool {
    let Ok(theirs) = Summary::decode(bytes) else { return false };
    assert_eq!(Summary::decode(&theirs.encode()).as_ref(), Ok(&theirs), "a summary does not survive its own bytes");
    // Some of what a forged summary names is alive here.
    let mut here = Replicated::<OrSet<u8>>::new(ReplicaId::new(NodeId(1), 0));
    for n in 0..100 {
        here.update(|set, tx| set.add(tx, n % 50));
    }
    let delta = here.delta_since(&theirs);
    assert!(here.state().context().covers(delta.context()), "a delta claims what its sender has not seen");
    intact(&delta);
    let answer = here.summary_against(&theirs);
    assert_eq!(Summary::decode(&answer.encode()).as_ref(), Ok(&answer), "a summary does not survive its own bytes");
    true
}
