//! Lists and texts against a slow model of the paper, and their special cases.

use std::collections::BTreeSet;
use std::string::String;
use std::vec::Vec;
use std::{format, vec};

use proptest::prelude::*;

use crate::{
    Causal, Crdt, Delta, Dot, List, NodeId, OutOfRange, ReplicaId, Replicated, SequenceEffect,
    Text, Undotted,
};

const REPLICAS: usize = 3;

type Texts = Replicated<Text>;

fn replica(at: usize) -> ReplicaId {
    ReplicaId::new(NodeId(at as u64 + 1), 0)
}

fn text(at: usize) -> Texts {
    Replicated::new(replica(at))
}

fn insert(text: &mut Texts, at: usize, what: &str) -> Delta<Text> {
    text.update(|text, tx| text.insert(tx, at, what).unwrap())
}

fn delete(text: &mut Texts, range: core::ops::Range<usize>) -> Delta<Text> {
    text.update(|text, tx| text.delete(tx, range).unwrap())
}

fn merge_all(texts: &mut [Texts]) {
    let states: Vec<_> = texts.iter().map(|text| text.state().clone()).collect();
    for text in texts {
        for state in &states {
            text.merge(state).unwrap();
        }
    }
}

/// The tree of the paper: one node per character, and the order computed by walking it. Slow and
/// simple.
#[derive(Clone, Default)]
struct Model {
    /// Ordered by creation: a node comes after those it refers to.
    nodes: Vec<Node>,
    dead: BTreeSet<Dot>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    dot: Dot,
    parent: Option<Dot>,
    left: bool,
    right_origin: Option<Dot>,
    what: char,
}

impl Model {
    /// Walks all nodes, including dead ones.
    fn walk(&self) -> Vec<Node> {
        let mut order: Vec<Node> = Vec::new();
        for (known, node) in self.nodes.iter().enumerate() {
            // A right origin is always an older node, so a walk of the older nodes ranks it.
            let rank = |origin: Option<Dot>| {
                origin.map_or(usize::MAX, |dot| {
                    order.iter().position(|node| node.dot == dot).unwrap()
                })
            };
            let mut siblings: Vec<Node> = self.nodes[..=known].to_vec();
            siblings.sort_by_key(|node| {
                (
                    if node.left {
                        0
                    } else {
                        usize::MAX - rank(node.right_origin)
                    },
                    node.dot,
                )
            });
            let mut next = Vec::new();
            Self::visit(&siblings, None, &mut next);
            assert_eq!(next.len(), known + 1, "{node:?}");
            order = next;
        }
        order
    }

    fn visit(nodes: &[Node], parent: Option<Node>, out: &mut Vec<Node>) {
        let dot = parent.map(|node| node.dot);
        let children = |left: bool| {
            nodes
                .iter()
                .filter(move |node| node.left == left && node.parent == dot)
        };
        children(true)
            .filter(|_| parent.is_some())
            .for_each(|node| Self::visit(nodes, Some(*node), out));
        out.extend(parent);
        children(false).for_each(|node| Self::visit(nodes, Some(*node), out));
    }

    fn text(&self) -> String {
        self.walk()
            .iter()
            .filter(|node| !self.dead.contains(&node.dot))
            .map(|node| node.what)
            .collect()
    }

    fn insert(&mut self, at: usize, dot: Dot, what: char) {
        let walk = self.walk();
        let before = at.checked_sub(1).map(|n| {
            walk.iter()
                .enumerate()
                .filter(|(_, node)| !self.dead.contains(&node.dot))
                .nth(n)
                .unwrap()
                .0
        });
        let left_origin = before.map(|before| walk[before].dot);
        let right_origin = walk
            .get(before.map_or(0, |before| before + 1))
            .map(|node| node.dot);
        let has_right = self
            .nodes
            .iter()
            .any(|node| !node.left && node.parent == left_origin);
        let parent = if has_right { right_origin } else { left_origin };
        self.nodes.push(Node {
            dot,
            parent,
            left: has_right,
            right_origin,
            what,
        });
    }

    fn delete(&mut self, at: usize) {
        let walk = self.walk();
        let node = walk
            .iter()
            .filter(|node| !self.dead.contains(&node.dot))
            .nth(at)
            .unwrap();
        self.dead.insert(node.dot);
    }

    fn merge(&mut self, other: &Self) {
        for node in &other.nodes {
            if !self.nodes.iter().any(|known| known.dot == node.dot) {
                self.nodes.push(*node);
            }
        }
        self.dead.extend(&other.dead);
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Insert {
        at: usize,
        place: usize,
        count: usize,
    },
    Delete {
        at: usize,
        place: usize,
        count: usize,
    },
    Merge {
        from: usize,
        to: usize,
    },
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step =
        (0..8_u8, 0..REPLICAS, any::<usize>(), 1..4_usize).prop_map(|(kind, at, place, count)| {
            match kind {
                0..4 => Step::Insert { at, place, count },
                4..6 => Step::Delete { at, place, count },
                _ => Step::Merge {
                    from: at,
                    to: place % REPLICAS,
                },
            }
        });
    prop::collection::vec(step, 1..most)
}

fn play(steps: &[Step]) -> Result<(), TestCaseError> {
    let mut texts: Vec<Texts> = (0..REPLICAS).map(text).collect();
    let mut models = vec![Model::default(); REPLICAS];
    for (n, step) in steps.iter().enumerate() {
        match *step {
            Step::Insert { at, place, count } => {
                let place = place % (texts[at].len() + 1);
                let what: String = ('a'..).skip(n % 20).take(count).collect();
                let first = texts[at].state().context().max(replica(at)) + 1;
                insert(&mut texts[at], place, &what);
                for (more, what) in what.chars().enumerate() {
                    models[at].insert(
                        place + more,
                        Dot::new(replica(at), first + more as u64),
                        what,
                    );
                }
            }
            Step::Delete { at, place, count } => {
                let place = place % (texts[at].len() + 1);
                let end = texts[at].len().min(place + count);
                delete(&mut texts[at], place..end);
                (place..end).for_each(|_| models[at].delete(place));
            }
            Step::Merge { from, to } => {
                let (sent, model) = (texts[from].state().clone(), models[from].clone());
                let before = texts[to].to_string();
                let effects = texts[to].merge(&sent).unwrap();
                models[to].merge(&model);
                prop_assert_eq!(
                    applied(&before, &effects, &texts[to]),
                    texts[to].to_string(),
                    "effects {:?}",
                    effects
                );
            }
        }
        for (text, model) in texts.iter().zip(&models) {
            prop_assert_eq!(text.to_string(), model.text(), "after {:?}", step);
            prop_assert_eq!(text.len(), text.chars().count());
        }
    }
    Ok(())
}

/// What an editor shows that follows the effects.
fn applied(before: &str, effects: &[SequenceEffect], after: &Text) -> String {
    let mut shown: Vec<char> = before.chars().collect();
    for effect in effects {
        let new: Vec<char> = after
            .slice(effect.at..effect.at + effect.inserted)
            .unwrap()
            .chars()
            .collect();
        shown.splice(effect.at..effect.at + effect.deleted, new);
    }
    shown.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_order_and_the_effects_are_those_of_the_tree_in_the_paper(steps in steps(24)) {
        play(&steps)?;
    }
}

#[test]
fn what_two_writers_type_at_one_place_is_not_torn_apart() {
    for backwards in [false, true] {
        let mut texts: Vec<Texts> = (0..REPLICAS).map(text).collect();
        insert(&mut texts[0], 0, "()");
        merge_all(&mut texts);
        for (text, word) in texts.iter_mut().zip(["aaaa", "bbbb", "cccc"]) {
            for (n, letter) in word.chars().enumerate() {
                insert(
                    text,
                    if backwards { 1 } else { n + 1 },
                    &String::from(letter),
                );
            }
        }
        merge_all(&mut texts);
        let merged = texts[0].to_string();
        assert!(
            ["aaaa", "bbbb", "cccc"]
                .iter()
                .all(|word| merged.contains(word)),
            "{merged}"
        );
        assert_eq!((merged.len(), &merged), (14, &texts[2].to_string()));
    }
}

/// This distinguishes `FugueMax` from plain Fugue, which orders these siblings by their dots.
#[test]
fn right_siblings_stand_by_their_right_origins() {
    let mut texts: Vec<Texts> = (0..REPLICAS).map(text).collect();
    let [x, y, z] = &mut texts[..] else {
        unreachable!()
    };
    let first = insert(x, 0, "A");
    z.merge(&first).unwrap();
    x.merge(&insert(y, 0, "B")).unwrap();
    assert_eq!(x.to_string(), "AB");
    insert(x, 1, "c"); // knows that B stands behind
    insert(z, 1, "d"); // takes A for the last one
    merge_all(&mut texts);
    assert!(
        texts.iter().all(|text| text.to_string() == "AdcB"),
        "{:?}",
        &*texts[0]
    );
}

#[test]
fn an_insertion_waits_for_what_it_was_typed_next_to() {
    let (mut here, mut there) = (text(0), text(1));
    let one = insert(&mut here, 0, "ab");
    let two = insert(&mut here, 2, "d");
    let three = insert(&mut here, 2, "c");
    for delta in [&three, &two] {
        assert_eq!(there.merge(delta).unwrap(), []);
        assert_eq!(there.to_string(), "");
        let bytes = there.state().encode();
        let decoded = Causal::<Text>::decode(&bytes).unwrap();
        assert!(
            decoded == *there.state() && decoded.encode() == bytes,
            "waiting elements are encoded"
        );
    }
    assert_eq!(
        there.state().live().event_count(),
        2,
        "waiting elements are alive"
    );
    assert_eq!(
        there.merge(&one).unwrap(),
        [SequenceEffect {
            at: 0,
            inserted: 4,
            deleted: 0
        }]
    );
    assert!(there == here && there.to_string() == "abcd");
}

#[test]
fn a_deletion_may_come_before_its_insertion() {
    let (mut here, mut there) = (text(0), text(1));
    let insertion = insert(&mut here, 0, "abcd");
    let deletion = delete(&mut here, 1..3);
    assert_eq!(there.merge(&deletion).unwrap(), []);
    assert_eq!(
        there.merge(&insertion).unwrap(),
        [SequenceEffect {
            at: 0,
            inserted: 2,
            deleted: 0
        }]
    );
    assert!(there == here && there.to_string() == "ad");
}

#[test]
fn what_is_deleted_while_it_waits_stays_deleted() {
    let (mut here, mut there) = (text(0), text(1));
    let root = insert(&mut here, 0, "()");
    let inner = insert(&mut here, 1, "abcdef");
    for deletion in [
        delete(&mut here, 3..4),
        delete(&mut here, 4..5),
        delete(&mut here, 3..4),
        delete(&mut here, 1..2),
    ] {
        there.merge(&inner).unwrap();
        there.merge(&deletion).unwrap();
    }
    there.merge(&root).unwrap();
    assert_eq!(there.to_string(), "(bf)");
    assert!(there == here);
}

#[test]
fn a_delta_holds_what_was_inserted_and_names_what_was_deleted() {
    let mut here = text(0);
    insert(&mut here, 0, "a long text that is not sent again");
    let small = insert(&mut here, 6, "er");
    assert!(small.encode().len() < 24, "{}", small.encode().len());
    assert_eq!(small.live().event_count(), 2);
    let ended = delete(&mut here, 0..4);
    assert!(ended.is_empty() && ended.live().is_empty() && ended.context().event_count() == 4);
    assert!(
        ended.encode().len() < 24,
        "the places of what was deleted, as one run: {}",
        ended.encode().len()
    );
    let both = here.update(|text, tx| {
        text.insert(tx, 0, "abc").unwrap();
        text.delete(tx, 1..2).unwrap();
    });
    assert_eq!(
        (both.live().event_count(), both.context().event_count()),
        (2, 3)
    );
}

#[test]
fn a_part_has_the_elements_asked_for_and_the_places_of_all() {
    let mut here = text(0);
    insert(&mut here, 0, "abcdef");
    delete(&mut here, 2..3);
    let asked = [2, 5]
        .into_iter()
        .map(|counter| Dot::new(replica(0), counter))
        .collect();
    let with_places = here.part(&asked, Undotted::Kept);
    assert_eq!(with_places.to_string(), "be");
    let mut live = Vec::new();
    with_places.dots(&mut |dot| live.push(dot.counter));
    assert_eq!(live, [2, 5]);
    assert!(
        !here
            .part(&crate::CausalContext::new(), Undotted::Kept)
            .is_bottom()
    );
    let without = here.part(&asked, Undotted::Dropped);
    assert_eq!(
        (without.len(), without.dot_count()),
        (0, 2),
        "without the places, they wait for them"
    );
}

#[test]
fn anchors_stay_behind_their_character_and_where_it_was() {
    let (mut here, mut there) = (text(0), text(1));
    insert(&mut here, 0, "abcd");
    let (start, cursor) = (here.anchor(0).unwrap(), here.anchor(2).unwrap());
    assert_eq!(there.resolve(&cursor), None, "not seen there yet");
    there.merge(here.state()).unwrap();
    insert(&mut there, 0, "xyz");
    assert_eq!(
        (there.resolve(&start), there.resolve(&cursor)),
        (Some(0), Some(5))
    );
    delete(&mut there, 3..6);
    assert_eq!(there.resolve(&cursor), Some(3));
    assert_eq!(here.anchor(5), Err(OutOfRange { at: 5, len: 4 }));
}

#[test]
fn positions_behind_the_end_are_refused_and_change_nothing() {
    let mut here = text(0);
    insert(&mut here, 0, "äöü");
    let before = here.state().clone();
    let nothing = here.update(|text, tx| {
        let refused = Err(OutOfRange { at: 4, len: 3 });
        assert_eq!(text.insert(tx, 4, "x"), refused);
        assert_eq!(text.delete(tx, 1..4), refused);
        assert_eq!(text.splice(tx, 1..4, "x"), refused);
        let (end, start) = (2, 4);
        assert_eq!(text.splice(tx, start..end, "x"), refused);
    });
    assert!(nothing.is_bottom() && *here.state() == before);
    assert_eq!(
        (here.char_at(2), here.char_at(3), here.char_at(usize::MAX)),
        (Some('ü'), None, None)
    );
    assert_eq!(here.slice(2..4), Err(OutOfRange { at: 4, len: 3 }));
    assert_eq!(here.slice(1..3).as_deref(), Ok("öü"));
}

/// Enough pieces for leaves to split, checked against a plain vector.
#[test]
fn many_edits_leave_what_a_vector_holds() {
    let mut list = Replicated::<List<u32>>::new(replica(0));
    let mut plain: Vec<u32> = Vec::new();
    let mut state = 1_u64;
    let mut next = |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut whole = Delta::<List<u32>>::new();
    for n in 0..4_000 {
        let at = next(plain.len() + 1);
        let end = plain.len().min(at + next(4));
        let delete = next(3) == 0;
        whole.merge(&list.update(|list, tx| {
            if delete {
                list.delete(tx, at..end).unwrap();
                plain.drain(at..end);
            } else {
                let new: Vec<u32> = (0..=next(3) as u32).map(|more| n * 10 + more).collect();
                list.insert_all(tx, at, &new).unwrap();
                plain.splice(at..at, new);
            }
        }));
    }
    assert!(list.iter().eq(&plain), "the list differs");
    assert!(whole == *list.state(), "the deltas differ");
    assert!((0..plain.len()).all(|at| list.get(at) == Some(&plain[at])));
    assert!(list.range(100..200).unwrap().eq(&plain[100..200]));
    let mut elsewhere = Replicated::<List<u32>>::new(replica(1));
    let effects = elsewhere.merge(list.state()).unwrap();
    assert_eq!(
        effects,
        [SequenceEffect {
            at: 0,
            inserted: plain.len(),
            deleted: 0
        }]
    );
    let bytes = list.state().encode();
    let decoded = Causal::<List<u32>>::decode(&bytes).unwrap();
    assert!(decoded.iter().eq(&plain) && decoded.encode() == bytes);
}

/// More characters than one piece holds, each of several bytes.
#[test]
fn long_insertions_are_one_run() {
    let mut here = text(0);
    let long: String = "aé漢🦀".chars().cycle().take(5_000).collect();
    insert(&mut here, 0, &long);
    let before = here.state().encode().len();
    insert(&mut here, 2_500, "x");
    let expected: Vec<char> = long[..]
        .chars()
        .take(2_500)
        .chain(['x'])
        .chain(long.chars().skip(2_500))
        .collect();
    assert!(here.chars().eq(expected.iter().copied()));
    assert!(
        here.state().encode().len() < before + 16,
        "a long insertion is written as one run"
    );
    delete(&mut here, 10..4_990);
    assert_eq!(
        here.slice(8..12).unwrap(),
        expected[8..10]
            .iter()
            .chain(&expected[4_990..4_992])
            .collect::<String>()
    );
    let decoded = Causal::<Text>::decode(&here.state().encode()).unwrap();
    assert!(decoded == *here.state() && format!("{decoded:?}") == format!("{:?}", here.state()));
}

#[test]
fn a_delta_since_brings_the_places_of_what_is_new_and_of_nothing_else() {
    let (mut here, mut there) = (text(1), text(2));
    for at in 0..500 {
        // Never one behind the other, so that each has a place of its own in the encoding.
        there.merge(&insert(&mut here, at / 2, "ab")).unwrap();
    }
    there.merge(&delete(&mut here, 100..700)).unwrap();
    insert(&mut here, 50, "here");
    insert(&mut there, 50, "there");
    let whole = here.state().encode().len();
    let answer = there.summary_against(&here.summary());
    let (delta, second) = (here.delta_since(&answer), here.summary_against(&answer));
    let back = there.delta_since(&second);
    assert!(
        whole > 1_000 && delta.encode().len() < 100 && back.encode().len() < 100,
        "{whole} {}",
        delta.encode().len()
    );
    here.merge(&back).unwrap();
    there.merge(&delta).unwrap();
    assert!(
        here == there && here.to_string().contains("here") && here.to_string().contains("there")
    );
}
