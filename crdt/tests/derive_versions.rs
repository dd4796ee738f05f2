//! Versions of a derived struct: an older one keeps and merges the fields that it does not know,
//! and loses nothing.
#![deny(warnings)]

use proptest::prelude::*;
use quorate_crdt::{
    Causal, Crdt, DecodeError, Delta, Effects, Limits, MvRegister, NodeId, OrMap, OrSet, PnCounter,
    ReplicaId, Replicated, Schema, Tx,
};

/// The first version.
#[derive(Crdt)]
struct Old {
    tags: OrSet<u8>,
}

/// The second version, with more fields before and after, of every kind: with dots, without dots,
/// and mixed.
#[derive(Crdt)]
struct New {
    tags: OrSet<u8>,
    #[crdt(mv, id = 9)]
    note: u8,
    #[crdt(id = 4)]
    words: OrSet<u8>,
    #[crdt(with = "PnCounter", id = 5)]
    hits: i64,
    #[crdt(id = 6)]
    inner: Inner,
    #[crdt(id = 7)]
    table: OrMap<u8, Cell>,
}

/// A part that only the second version knows.
#[derive(Crdt)]
struct Inner {
    #[crdt(lww)]
    name: u8,
    members: OrSet<u8>,
}

/// A value in a map, which the second version knows in full.
#[derive(Crdt)]
#[crdt(causal)]
struct Cell {
    #[crdt(mv)]
    left: u8,
    right: OrSet<u8>,
}

/// The same value in the first version.
#[derive(Crdt)]
#[crdt(causal)]
struct OldCell {
    #[crdt(mv)]
    left: u8,
}

/// The bytes of one version, read by another.
fn as_version<A: Schema, B: Schema>(from: &Causal<A::State>) -> Causal<B::State> {
    Causal::decode(&from.encode()).expect("each version reads the bytes of the other")
}

fn replica<T: Schema>(node: u64) -> Replicated<T> {
    Replicated::new(ReplicaId::new(NodeId(node), 0))
}

fn change(new: &mut NewEdit<'_>, tx: &mut Tx<'_>, action: u8, argument: u8) {
    let argument = argument % 4;
    match action % 14 {
        0 => new.tags.add(tx, argument),
        1 => {
            new.tags.remove(tx, &argument);
        }
        2 => new.note.set(tx, argument),
        3 => new.note.clear(tx),
        4 | 5 => new.words.add(tx, argument),
        6 => {
            new.words.remove(tx, &argument);
        }
        7 => new.words.clear(tx),
        8 => new.hits.increment(tx, u64::from(argument)),
        9 => new.inner.name.set(tx, argument),
        10 => new.inner.members.add(tx, argument),
        11 => {
            new.inner.members.remove(tx, &argument);
        }
        12 => new
            .table
            .update(tx, argument, |cell, tx| cell.right.add(tx, argument)),
        _ => {
            new.table.remove(tx, &argument);
        }
    }
}

#[test]
fn what_passes_through_an_older_version_comes_out_whole() {
    let mut amy = replica::<New>(1);
    for action in [0, 2, 4, 8, 9, 10, 12] {
        amy.update(|new, tx| change(new, tx, action, 1));
    }
    let old = as_version::<New, Old>(amy.state());
    assert_eq!(
        old.encode(),
        amy.state().encode(),
        "a full state has the same bytes in both versions"
    );
    assert!(as_version::<Old, New>(&old) == *amy.state());
}

#[test]
fn an_older_version_removes_what_newer_ones_remove() {
    let (mut amy, mut ben) = (replica::<New>(1), replica::<Old>(2));
    let word = amy.update(|new, tx| new.words.add(tx, 3));
    let other = amy.update(|new, tx| new.words.add(tx, 4));
    let removal = amy.update(|new, tx| {
        new.words.remove(tx, &3);
    });
    for delta in [&word, &other] {
        let effects = ben.merge(&as_version::<New, Old>(delta)).unwrap();
        assert!(
            !effects.is_empty() && effects.paths().is_empty(),
            "something changed that has no name here"
        );
    }
    let hit = as_version::<New, Old>(&amy.update(|new, tx| new.hits.increment(tx, 1)));
    assert!(
        !ben.merge(&hit).unwrap().is_empty() && ben.merge(&hit).unwrap().is_empty(),
        "it changes once"
    );
    let both = ben.state().encode().len();
    ben.merge(&as_version::<New, Old>(&removal)).unwrap();
    assert!(
        ben.state().encode().len() < both,
        "the piece of the removed word is gone"
    );
    let back = as_version::<Old, New>(ben.state());
    assert_eq!(back.words.sorted(), [&4]);
    assert!(back == *amy.state());
    // So does one that has only a piece in which more was alive.
    let mut carl = replica::<Old>(3);
    carl.merge(&hit).unwrap();
    carl.merge(&as_version::<New, Old>(&{
        let mut both = word.clone();
        both.merge(&other);
        both
    }))
    .unwrap();
    carl.merge(&as_version::<New, Old>(&removal)).unwrap();
    assert!(as_version::<Old, New>(carl.state()) == *amy.state());
}

#[test]
fn a_write_of_an_older_version_leaves_unknown_fields_alone() {
    let (mut amy, mut ben) = (replica::<New>(1), replica::<Old>(2));
    amy.update(|new, tx| new.words.add(tx, 3));
    ben.merge(&as_version::<New, Old>(amy.state())).unwrap();
    let tag = ben.update(|old, tx| old.tags.add(tx, 1));
    amy.merge(&as_version::<Old, New>(&tag)).unwrap();
    amy.merge(&as_version::<Old, New>(ben.state())).unwrap();
    assert!(amy.words.contains(&3) && amy.tags.contains(&1));
}

#[test]
fn a_full_state_replaces_the_pieces_that_it_covers() {
    let (mut amy, mut ben) = (replica::<New>(1), replica::<Old>(2));
    for word in 0..50 {
        let delta = amy.update(|new, tx| new.words.add(tx, word));
        ben.merge(&as_version::<New, Old>(&delta)).unwrap();
    }
    let in_pieces = ben.state().encode().len();
    ben.merge(&as_version::<New, Old>(amy.state())).unwrap();
    assert_eq!(ben.state().encode(), amy.state().encode());
    assert!(
        in_pieces > 2 * ben.state().encode().len(),
        "otherwise the test shows nothing"
    );
}

#[test]
fn removing_a_key_removes_what_an_older_version_does_not_know_under_it() {
    let (mut amy, mut ben) = (
        replica::<OrMap<u8, Cell>>(1),
        replica::<OrMap<u8, OldCell>>(2),
    );
    amy.update(|map, tx| map.update(tx, 1, |cell, tx| cell.right.add(tx, 5)));
    ben.merge(&as_version::<OrMap<u8, Cell>, OrMap<u8, OldCell>>(
        amy.state(),
    ))
    .unwrap();
    assert!(
        ben.contains_key(&1),
        "it is not empty, although it looks so"
    );
    let removal = ben.update(|map, tx| {
        map.remove(tx, &1);
    });
    assert!(ben.is_empty());
    amy.merge(&as_version::<OrMap<u8, OldCell>, OrMap<u8, Cell>>(&removal))
        .unwrap();
    assert!(amy.is_empty());
}

#[test]
fn a_field_without_dots_is_no_field_of_a_struct_of_dots() {
    /// A version of [`OldCell`] that breaks its promise.
    #[derive(Crdt)]
    struct Broken {
        #[crdt(mv)]
        left: u8,
        hits: PnCounter,
    }
    let mut amy = replica::<Broken>(1);
    amy.update(|broken, tx| broken.left.set(tx, 1));
    assert!(Causal::<OldCellState>::decode(&amy.state().encode()).is_ok());
    amy.update(|broken, tx| broken.hits.increment(tx, 1));
    assert!(matches!(
        Causal::<OldCellState>::decode(&amy.state().encode()),
        Err(DecodeError::Invalid(_))
    ));
}

#[test]
fn the_forms_of_a_field_are_refused_unless_they_are_the_canonical_ones() {
    let mut amy = replica::<New>(1);
    let bottom = amy.state().encode();
    let word = amy.update(|new, tx| new.words.add(tx, 3)).encode();
    // What comes last: how many fields; number and form; a set; which dots; the length; that no
    // others have dots; the word.
    let at = word.len() - 7;
    assert_eq!(word[at..], [1, 8, 7, 0, 2, 0, 3]);
    let refused = |tail: &[u8]| {
        let bytes = [&word[..at], tail].concat();
        let (new, old) = (
            Causal::<NewState>::decode(&bytes),
            Causal::<OldState>::decode(&bytes),
        );
        assert!(old.is_err(), "{tail:?} is {old:?}");
        new.is_err()
    };
    assert!(
        refused(&[2, 8, 7, 0, 2, 0, 3, 8, 7, 0, 2, 0, 3]),
        "a field twice"
    );
    assert!(refused(&[1, 0, 7, 0, 2, 0, 3]), "number 0");
    assert!(refused(&[1, 9, 7, 0, 0]), "no count of pieces");
    assert!(refused(&[1, 9, 7, 0, 1, 0]), "no piece");
    assert!(
        refused(&[1, 9, 7, 0, 6, 1, 0, 0, 2, 0, 3]),
        "a single whole piece in the form of pieces"
    );
    assert!(
        refused(&[1, 9, 7, 0, 5, 1, 1, 0, 1, 0]),
        "a live dot in no piece"
    );
    assert!(
        refused(&[1, 9, 7, 0, 11, 2, 0, 0, 2, 0, 3, 0, 0, 2, 0, 4]),
        "a piece that nothing needs"
    );
    let empty = [&bottom[..bottom.len() - 1], &[1, 8, 7, 0, 1, 0]].concat();
    assert!(
        Causal::<NewState>::decode(&empty).is_err(),
        "a known field that holds nothing"
    );
}

#[test]
fn nesting_in_pieces_is_bounded() {
    let mut amy = replica::<New>(1);
    amy.update(|new, tx| {
        new.inner.name.set(tx, 1);
        new.inner.members.add(tx, 1);
    });
    let bytes = amy.state().encode();
    let within = |depth| {
        Causal::<NewState>::decode_within(
            &bytes,
            Limits {
                depth,
                ..Limits::default()
            },
        )
    };
    assert_eq!(within(2), Err(DecodeError::TooDeep));
    assert_eq!(within(3).as_ref(), Ok(amy.state()));
}

/// Two replicas of each version.
struct Cluster {
    news: Vec<Replicated<New>>,
    olds: Vec<Replicated<Old>>,
    /// What the old ones would hold if they were new.
    shadows: Vec<Causal<NewState>>,
    deltas: Vec<Delta<NewState>>,
}

impl Cluster {
    /// After these steps: (what, who and with whom, which).
    fn after(steps: &[(u8, u8, u8)]) -> Self {
        let (news, olds) = ([1, 2].map(replica).into(), [3, 4].map(replica).into());
        let mut all = Self {
            news,
            olds,
            shadows: vec![Causal::new(); 2],
            deltas: Vec::new(),
        };
        for &(kind, who, what) in steps {
            let (new, old) = (usize::from(who % 2), usize::from(who / 2 % 2));
            match kind % 9 {
                0..4 => {
                    let delta = all.news[new]
                        .update(|edit, tx| change(edit, tx, kind / 9 * 4 + kind % 4, what));
                    all.deltas.push(delta);
                }
                4 => {
                    let delta = all.olds[old].update(|edit, tx| edit.tags.add(tx, what % 4));
                    let delta = as_version::<Old, New>(&delta);
                    all.shadows[old].merge(&delta);
                    all.deltas.push(delta);
                }
                5 | 6 => {
                    if let Some(which) = usize::from(what).checked_rem(all.deltas.len()) {
                        let delta = all.deltas[which].clone();
                        all.tell_old(old, &delta);
                    }
                }
                7 => {
                    let sent = as_version::<Old, New>(all.olds[old].state());
                    all.news[new].merge(&sent).expect("no event is forged");
                    let part = all.olds[old].delta_since(&all.olds[1 - old].summary());
                    all.olds[1 - old].merge(&part).expect("no event is forged");
                    let whole = all.shadows[old].clone();
                    all.shadows[1 - old].merge(&whole);
                }
                _ => {
                    let sent = all.news[new].state().clone();
                    all.tell_old(old, &sent);
                }
            }
        }
        all
    }

    fn tell_old(&mut self, old: usize, sent: &Causal<NewState>) {
        self.shadows[old].merge(sent);
        self.olds[old]
            .merge(&as_version::<New, Old>(sent))
            .expect("no event is forged");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Older replicas hold what a newer one would hold that has seen the same.
    #[test]
    fn an_older_replica_holds_what_a_newer_one_would(
        steps in prop::collection::vec(any::<(u8, u8, u8)>(), 1..30),
    ) {
        let all = Cluster::after(&steps);
        for (old, shadow) in all.olds.iter().zip(&all.shadows) {
            let bytes = old.state().encode();
            let decoded = Causal::<OldState>::decode(&bytes);
            prop_assert_eq!(decoded.as_ref(), Ok(old.state()), "not canonical");
            prop_assert_eq!(&as_version::<Old, New>(old.state()), shadow);
        }
    }

    /// Exchanging full states through older replicas alone gives everyone what all deltas give, and
    /// gives the older ones the same bytes.
    #[test]
    fn replicas_of_both_versions_converge(
        steps in prop::collection::vec(any::<(u8, u8, u8)>(), 1..30),
    ) {
        let mut all = Cluster::after(&steps);
        for _ in 0..2 {
            for new in 0..2 {
                for old in 0..2 {
                    let sent = as_version::<New, Old>(all.news[new].state());
                    all.olds[old].merge(&sent).unwrap();
                    let sent = as_version::<Old, New>(all.olds[old].state());
                    all.news[new].merge(&sent).unwrap();
                }
            }
        }
        for old in 0..2 {
            let sent = all.olds[1 - old].state().clone();
            all.olds[old].merge(&sent).unwrap();
        }
        let mut settled = Causal::<NewState>::new();
        all.deltas.iter().for_each(|delta| drop(settled.merge(delta)));
        prop_assert_eq!(all.news[0].state(), &settled);
        prop_assert_eq!(all.news[1].state(), &settled);
        prop_assert_eq!(all.olds[0].state(), all.olds[1].state());
        prop_assert_eq!(all.olds[0].state().encode(), all.olds[1].state().encode());
        prop_assert_eq!(&as_version::<Old, New>(all.olds[0].state()), &settled);
    }

    /// Both versions refuse damaged bytes, or decode them to values that can be used like any
    /// other.
    #[test]
    fn damaged_fields_do_no_harm(
        steps in prop::collection::vec(any::<(u8, u8, u8)>(), 1..20),
        flips in prop::collection::vec(any::<(u16, u8)>(), 1..4),
    ) {
        let all = Cluster::after(&steps);
        let mut bytes = all.olds[0].state().encode();
        for (at, bits) in flips {
            let at = usize::from(at) % bytes.len();
            bytes[at] ^= bits;
        }
        let limits = Limits { bytes: 1 << 16, elements: 1 << 12, depth: 16 };
        if let Ok(mut old) = Causal::<OldState>::decode_within(&bytes, limits) {
            prop_assert_eq!(&old.encode(), &bytes, "bytes in two forms");
            old.merge(all.olds[1].state());
            let again = Causal::decode(&old.encode());
            prop_assert_eq!(again.as_ref(), Ok(&old));
        }
        if let Ok(mut new) = Causal::<NewState>::decode_within(&bytes, limits) {
            new.merge(all.news[1].state());
            let again = Causal::decode(&new.encode());
            prop_assert_eq!(again.as_ref(), Ok(&new));
        }
    }
}

/// The test above does not compare empty values: an MV register is a field like any other.
#[test]
fn siblings_survive_the_passage() {
    let (mut amy, mut ben, mut old) = (replica::<New>(1), replica::<New>(2), replica::<Old>(3));
    let notes = [
        amy.update(|new, tx| new.note.set(tx, 1)),
        ben.update(|new, tx| new.note.set(tx, 2)),
    ];
    for note in &notes {
        old.merge(&as_version::<New, Old>(note)).unwrap();
    }
    let back = as_version::<Old, New>(old.state());
    let note: &MvRegister<u8> = &back.note;
    assert_eq!(note.values().collect::<Vec<_>>(), [&1, &2]);
}
