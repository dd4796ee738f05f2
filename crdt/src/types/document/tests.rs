//! Documents over automerge, and over an engine that breaks down on demand.

use std::cell::Cell;
use std::sync::Arc;

use serde_json::{Value, json};

use super::change::Changes;
use super::engine::DEPTH;
use super::*;
use crate::codec::{DecodeError, Kind, Reader, VERSION, Writer};
use crate::{Causal, CausalContext, Lattice, NodeId, Refused, ReplicaId, Replicated};
use Step::{Index, Key};

type Replica<E = Automerge> = Replicated<Document<E>>;

fn replica<E: Engine + 'static>(node: u64) -> Replica<E> {
    Replicated::new(ReplicaId::new(NodeId(node), 0))
}

fn put<E: Engine + 'static>(
    at: &mut Replica<E>,
    key: &str,
    value: impl Into<Value>,
) -> Causal<Document<E>> {
    at.update(|doc, tx| doc.put(tx, &[key], value).unwrap())
}

fn json<E: Engine>(at: &Replica<E>) -> Value {
    at.to_json().unwrap()
}

/// Pseudo-random numbers.
fn random(seed: &mut u64) -> usize {
    *seed = seed
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*seed >> 33) as usize
}

#[test]
fn all_kinds_of_values_are_written_and_read() {
    let mut doc: Replica = replica(1);
    doc.update(|doc, tx| {
        doc.put(tx, &["list"], json!([1, {"deep": [true, null]}, "x"]))
            .unwrap();
        doc.put_text(tx, &["text"], "Hello").unwrap();
        doc.put_counter(tx, &["count"], 3).unwrap();
        doc.increment(tx, &["count"], -5).unwrap();
        doc.splice(tx, &["text"], 1, 4, "äß").unwrap();
        doc.insert(tx, &[Key("list"), Index(1)], 1.5).unwrap();
        doc.push(tx, &["list"], u64::MAX).unwrap();
        doc.put(tx, &[Key("list"), Index(2), Key("deep"), Index(0)], false)
            .unwrap();
        doc.delete(tx, &[Key("list"), Index(3)]).unwrap();
        assert_eq!(
            doc.get(&["text"]).unwrap(),
            Some(json!("Häß")),
            "reads see what was written"
        );
    });
    assert_eq!(
        json(&doc),
        json!({"list": [1, 1.5, {"deep": [false, null]}, u64::MAX], "text": "Häß", "count": -2})
    );
    assert_eq!(doc.get(&[Key("list"), Index(9)]).unwrap(), None);
    assert_eq!(doc.get(&["text", "no object"]).unwrap(), None);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut doc: Replica = replica(1);
    put(&mut doc, "a", json!([1]));
    let before = doc.state().clone();
    let delta = doc.update(|doc, tx| {
        assert_eq!(
            doc.put(tx, &["no", "way"], 1),
            Err(DocumentError::Missing(0))
        );
        assert_eq!(
            doc.put(tx, &["a", "key of a list"], 1),
            Err(DocumentError::OtherType(1))
        );
        assert_eq!(
            doc.put(tx, &[Key("a"), Index(1)], 1),
            Err(DocumentError::Missing(1))
        );
        assert_eq!(
            doc.insert(tx, &[Key("a"), Index(2)], 1),
            Err(DocumentError::Missing(1))
        );
        assert_eq!(
            doc.increment(tx, &["a"], 1),
            Err(DocumentError::OtherType(0))
        );
        assert_eq!(
            doc.splice(tx, &["a"], 0, 0, "x"),
            Err(DocumentError::OtherType(0))
        );
        assert_eq!(doc.delete(tx, &["b"]), Err(DocumentError::Missing(0)));
        assert_eq!(
            doc.put::<Step<'_>>(tx, &[], 1),
            Err(DocumentError::OtherType(0))
        );
    });
    assert!(delta.is_bottom() && *doc.state() == before);
}

#[test]
fn a_transaction_is_one_change_and_its_delta_that_change_alone() {
    let mut doc: Replica = replica(1);
    put(&mut doc, "title", "a");
    let delta = doc.update(|doc, tx| {
        for title in ["b", "c", "d"] {
            doc.put(tx, &["title"], title).unwrap();
        }
    });
    assert_eq!((delta.len(), doc.len(), delta.heads()), (1, 2, doc.heads()));
    assert!(doc.update(|_, _| {}).is_bottom(), "no writes, no change");
}

#[test]
fn replicas_converge_whatever_is_repeated_reordered_or_lost() {
    for seed in 0..30_u64 {
        let mut seed = seed;
        let mut all: [Replica; 3] = [1, 2, 3].map(replica);
        let mut deltas = Vec::new();
        for step in 0..20 {
            let at = random(&mut seed) % 3;
            deltas.push(put(&mut all[at], ["a", "b"][step % 2], step as u64));
            for _ in 0..2 {
                let (to, which) = (random(&mut seed) % 3, random(&mut seed) % deltas.len());
                all[to].merge(&deltas[which]).unwrap();
                if random(&mut seed).is_multiple_of(4) {
                    json(&all[to]);
                }
            }
        }
        // The full states contain what was lost.
        for (from, to) in [(0, 1), (1, 2), (2, 1), (1, 0)] {
            let state = all[from].state().clone();
            all[to].merge(&state).unwrap();
        }
        let fresh: Replica = Replicated::resume(
            ReplicaId::new(NodeId(9), 0),
            Causal::decode(&all[0].state().encode()).unwrap(),
        )
        .unwrap();
        for other in [&all[1], &all[2], &fresh] {
            assert_eq!(json(&all[0]), json(other));
            assert_eq!(all[0].state().encode(), other.state().encode());
        }
        assert_eq!(fresh.len(), 20);
    }
}

#[test]
fn a_change_waits_for_what_it_builds_on() {
    let (mut a, mut b): (Replica, Replica) = (replica(1), replica(2));
    let first = put(&mut a, "x", 1);
    let second = put(&mut a, "x", 2);
    json(&b);
    b.merge(&second).unwrap();
    assert_eq!((json(&b), b.missing()), (json!({}), first.heads()));
    let reread: Causal<Document> = Causal::decode(&b.state().encode()).unwrap();
    assert!(
        reread == *b.state(),
        "it still waits after encoding and decoding"
    );
    b.merge(&first).unwrap();
    assert_eq!(
        (json(&b), b.missing(), b.heads()),
        (json!({"x": 2}), Vec::new(), a.heads())
    );
}

#[test]
fn what_is_new_since_some_heads_is_sent_alone() {
    let mut a: Replica = replica(1);
    put(&mut a, "x", 1);
    let (known, old) = (a.heads(), a.state().clone());
    put(&mut a, "x", 2);
    put(&mut a, "y", 3);
    let new = a.changes_since(&known);
    assert_eq!(
        (
            new.len(),
            a.changes_since(&a.heads()).len(),
            a.changes_since(&[]).len()
        ),
        (2, 0, 3)
    );
    let mut old = old.into_parts().0;
    old.merge(&new);
    assert_eq!(old.to_json().unwrap(), json(&a));
}

#[test]
fn a_writer_whose_id_was_used_twice_is_found_out_and_stopped() {
    let (mut a, mut twin, mut other): (Replica, Replica, Replica) =
        (replica(1), replica(1), replica(2));
    let (one, two) = (put(&mut a, "x", 1), put(&mut twin, "x", 2));
    other.merge(&one).unwrap();
    json(&other);
    other.merge(&two).unwrap();
    // Each of the two notices it at once.
    let reused = Err(Refused::Reused {
        replica: a.replica(),
    });
    assert_eq!((a.merge(&two), twin.merge(&one)), (reused, reused));
    a.local_mut(|edit| edit.0.parts().0.merge(&two));
    twin.local_mut(|edit| edit.0.parts().0.merge(&one));
    let lesser = if one.heads() < two.heads() { 1 } else { 2 };
    for each in [&a, &twin, &other] {
        assert_eq!(json(each), json!({"x": lesser}), "the same everywhere");
        assert_eq!(
            each.quarantined()
                .iter()
                .map(|(_, why)| why.clone())
                .collect::<Vec<_>>(),
            [DocumentError::Reused { number: 1 }]
        );
    }
    a.update(|doc, tx| {
        assert_eq!(
            doc.put(tx, &["x"], 3),
            Err(DocumentError::Reused { number: 1 })
        );
    });
    other.update(|doc, tx| assert_eq!(doc.put(tx, &["x"], 3), Ok(())));
}

#[test]
fn a_replica_does_not_go_on_before_its_own_changes_are_complete() {
    let mut a: Replica = replica(1);
    put(&mut a, "x", 1);
    let second = put(&mut a, "x", 2);
    let mut restored: Replica = Replicated::resume(a.replica(), second).unwrap();
    restored.update(|doc, tx| assert_eq!(doc.put(tx, &["x"], 3), Err(DocumentError::Incomplete)));
}

#[test]
fn limits_are_kept_with_typed_errors() {
    let mut doc: Replica = replica(1);
    let deep = (0..DEPTH).fold(json!(1), |inner, _| json!([inner]));
    doc.update(|doc, tx| {
        assert_eq!(
            doc.put(tx, &["x"], deep),
            Err(DocumentError::TooDeep { limit: DEPTH })
        );
        let long = "x".repeat(Document::BYTES + 1);
        assert_eq!(
            doc.put(tx, &["x"], long),
            Err(DocumentError::TooLarge {
                limit: Document::BYTES
            })
        );
        let many = "x".repeat(usize::try_from(Document::OPERATIONS).unwrap());
        assert_eq!(
            doc.put_text(tx, &["x"], &many),
            Err(DocumentError::TooManyOperations {
                limit: Document::OPERATIONS
            })
        );
        let path = vec!["x"; 80];
        assert_eq!(
            doc.put(tx, &path, 1),
            Err(DocumentError::TooDeep { limit: DEPTH })
        );
    });
    assert!(doc.is_empty());
}

#[test]
fn what_others_nested_too_deep_is_an_error_to_read_and_no_overflow() {
    let mut doc: Replica = replica(1);
    let mut path = Vec::new();
    // Past the limit, as another program might write.
    let mut engine = Automerge::default();
    for _ in 0..2 * DEPTH {
        path.push("x");
        engine
            .write(
                [1; 16],
                &path.iter().map(|&key| Key(key)).collect::<Vec<_>>(),
                &Write::Put(json!({})),
            )
            .unwrap();
    }
    let change = Change::from_chunk(&engine.commit().unwrap()).unwrap();
    doc.merge(&Causal::of(Document::from(Changes::from([(
        change.hash,
        Arc::new(change),
    )]))))
    .unwrap();
    assert_eq!(doc.to_json(), Err(DocumentError::TooDeep { limit: DEPTH }));
}

#[test]
fn a_chunk_comes_back_from_automerge_under_the_same_hash() {
    let mut doc: Replica = replica(7);
    let delta = doc.update(|doc, tx| {
        doc.put_text(tx, &["t"], &"long enough to be compressed ".repeat(40))
            .unwrap();
    });
    let (hash, change) = delta.changes.first_key_value().unwrap();
    let read = ::automerge::Change::from_bytes(change.chunk()).unwrap();
    assert_eq!(
        (read.hash().0, read.seq(), read.len() as u64),
        (hash.0, change.number, change.operations)
    );
    assert_eq!(
        read.actor_id().to_bytes(),
        [0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(Change::from_chunk(&change.chunk()).as_ref(), Ok(&**change));
}

#[test]
fn automerge_reads_what_was_compacted() {
    let mut doc: Replica = replica(1);
    put(&mut doc, "x", 1);
    put(&mut doc, "x", 2);
    let saved = ::automerge::AutoCommit::load(&doc.compact().unwrap()).unwrap();
    assert_eq!(
        ::automerge::ReadDoc::get(&saved, ::automerge::ROOT, "x")
            .unwrap()
            .unwrap()
            .0
            .as_i64(),
        Some(2)
    );
}

#[test]
fn damaged_bytes_are_refused_or_are_a_document() {
    let (mut a, mut b): (Replica, Replica) = (replica(1), replica(2));
    for step in 0..4_u64 {
        put(&mut a, "a", json!({"step": [step]}));
        b.merge(a.state()).unwrap();
        put(&mut b, "b", step);
        a.merge(b.state()).unwrap();
    }
    let bytes = a.state().encode();
    let mut taken = 0;
    let mut seed = 1;
    for length in 0..bytes.len() {
        assert!(
            Causal::<Document>::decode(&bytes[..length]).is_err(),
            "cut off after {length} bytes"
        );
    }
    for _ in 0..2000 {
        let mut bytes = bytes.clone();
        for _ in 0..=random(&mut seed) % 3 {
            let at = random(&mut seed) % bytes.len();
            bytes[at] = random(&mut seed) as u8;
        }
        if let Ok(read) = Causal::<Document>::decode(&bytes) {
            taken += 1;
            assert_eq!(read.encode(), bytes, "one form");
            let mut read: Replica = Replicated::resume(ReplicaId::new(NodeId(3), 0), read).unwrap();
            let _unreadable_perhaps = read.to_json();
            read.update(|doc, tx| drop(doc.put(tx, &["c"], 1)));
        }
    }
    assert!(
        taken > 100,
        "{taken} of 2000 were still documents: otherwise this tests little"
    );
}

#[test]
fn a_set_of_changes_in_another_order_is_refused() {
    let (mut a, b): (Replica, Replica) = (replica(1), replica(2));
    let (one, two) = (
        put(&mut a, "x", 1),
        { b }.update(|doc, tx| doc.put(tx, &["y"], 2).unwrap()),
    );
    let written = |order: [&Document; 2]| {
        let mut inner = Writer::new(&CausalContext::new());
        inner.number(2);
        for (place, document) in order.into_iter().enumerate() {
            let change = document.changes.values().next().unwrap();
            inner.number(0);
            inner.number(place as u64);
            inner.append(&change.actor.0);
            inner.bytes(&change.rest);
        }
        let mut out = Writer::new(&CausalContext::new());
        out.bytes(&inner.finish());
        // No events, none of them alive.
        [
            &[VERSION, Kind::Document as u8, 0, 0],
            out.finish().as_slice(),
        ]
        .concat()
    };
    let (lesser, greater) = if one.heads() < two.heads() {
        (&one, &two)
    } else {
        (&two, &one)
    };
    let read =
        |bytes: &[u8]| Causal::<Document>::decode(bytes).map(|document| document.into_parts().0);
    let mut both = Document::clone(&one);
    both.merge(&two);
    assert_eq!(read(&written([lesser, greater])), Ok(both));
    assert_eq!(
        read(&written([greater, lesser])),
        Err(DecodeError::NotCanonical)
    );
}

#[test]
fn a_value_that_is_said_to_be_repeated_too_often_is_refused() {
    let mut doc: Replica = replica(1);
    put(&mut doc, "x", 1);
    let change = doc.changes.values().next().unwrap();
    let mut input = Reader::new(&[], &CausalContext::new(), crate::Limits::default()).unwrap();
    let refused = |rest: &[u8], input: &mut Reader<'_>| {
        Change::new(Vec::new(), change.actor, rest, input).map(|change| change.operations)
    };
    assert_eq!(refused(&change.rest, &mut input), Ok(1));
    // Number 1, first operation 1, no time, no message, no actors, one column of actions: 2^50
    // zeros, or none.
    for run in [
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 0][..],
        &[0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
    ] {
        let rest = [&[1, 1, 0, 0, 0, 1, 66, 9], run].concat();
        assert_eq!(
            refused(&rest, &mut input),
            Err(DecodeError::TooManyElements)
        );
    }
}

thread_local! {
    static BATCHES: Cell<usize> = const { Cell::new(0) };
}

/// Panics on a change that contains "boom", refuses one that contains "bust", and counts its calls.
#[derive(Clone, Default, Debug)]
struct Brittle(Automerge);

impl Engine for Brittle {
    fn apply_changes(&mut self, changes: &[Arc<Change>]) -> Result<(), DocumentError> {
        BATCHES.set(BATCHES.get() + 1);
        let says = |word: &[u8]| {
            changes
                .iter()
                .any(|change| change.rest.windows(4).any(|four| four == word))
        };
        self.0.apply_changes(changes)?;
        assert!(!says(b"boom"), "boom");
        if says(b"bust") {
            Err(DocumentError::Refused("bust".into()))
        } else {
            Ok(())
        }
    }

    fn has(&self, change: ChangeHash) -> bool {
        self.0.has(change)
    }

    fn view(&self, path: &[Step<'_>], depth: usize) -> Result<Option<Value>, DocumentError> {
        self.0.view(path, depth)
    }

    fn compact(&mut self) -> Vec<u8> {
        self.0.compact()
    }

    fn write(
        &mut self,
        actor: [u8; 16],
        path: &[Step<'_>],
        write: &Write<'_>,
    ) -> Result<(), DocumentError> {
        assert!(*write != Write::Put(json!("writing panics")), "boom");
        self.0.write(actor, path, write)
    }

    fn pending(&self) -> u64 {
        self.0.pending()
    }

    fn commit(&mut self) -> Option<Vec<u8>> {
        self.0.commit()
    }
}

#[test]
fn a_change_on_which_the_engine_breaks_down_is_quarantined_and_the_others_are_not() {
    let (mut a, mut b, mut c): (Replica<Brittle>, Replica<Brittle>, Replica<Brittle>) =
        (replica(1), replica(2), replica(3));
    put(&mut c, "mine", 0);
    put(&mut a, "x", 1);
    let boom = put(&mut a, "y", "boom");
    let bust = put(&mut b, "z", "bust");
    put(&mut b, "w", 2);
    let mut all = a.state().clone();
    all.merge(b.state());
    assert!(
        c.merge(&all).unwrap().0,
        "the set of changes contains all of them"
    );
    assert_eq!(
        json(&c),
        json!({"mine": 0, "x": 1}),
        "w builds on a quarantined change, so it waits"
    );
    let mut reasons = vec![
        (boom.heads()[0], DocumentError::Panicked("boom".into())),
        (bust.heads()[0], DocumentError::Refused("bust".into())),
    ];
    reasons.sort_by_key(|reason| reason.0);
    assert_eq!(c.quarantined(), reasons);
    c.update(|doc, tx| doc.put(tx, &["mine"], 3).unwrap());
    assert_eq!(json(&c), json!({"mine": 3, "x": 1}));
}

#[test]
fn a_panic_while_writing_loses_the_transaction_and_nothing_else() {
    let mut a: Replica<Brittle> = replica(1);
    put(&mut a, "x", 1);
    let delta = a.update(|doc, tx| {
        doc.put(tx, &["x"], 2).unwrap();
        assert_eq!(
            doc.put(tx, &["x"], "writing panics"),
            Err(DocumentError::Panicked("boom".into()))
        );
    });
    assert!(delta.is_bottom());
    assert_eq!(json(&a), json!({"x": 1}));
}

#[test]
fn a_merge_is_one_batch_and_who_only_stores_starts_no_engine() {
    let (mut a, mut b, mut store): (Replica<Brittle>, Replica<Brittle>, Replica<Brittle>) =
        (replica(1), replica(2), replica(3));
    (0..50_u64).for_each(|step| drop(put(&mut a, "x", step)));
    json(&b);
    BATCHES.set(0);
    store.merge(a.state()).unwrap();
    assert_eq!(BATCHES.get(), 0);
    b.merge(a.state()).unwrap();
    assert_eq!((BATCHES.get(), json(&b)), (1, json!({"x": 49})));
    b.merge(a.state()).unwrap();
    assert_eq!(BATCHES.get(), 1, "nothing new");
    let read = store.clone();
    assert_eq!(
        (json(&store), json(&read), BATCHES.get()),
        (json!({"x": 49}), json!({"x": 49}), 3)
    );
}
