//! Decoding: what is accepted can be merged, read, edited, saved and sent.

use quorate_crdt::codec::VERSION;
use quorate_crdt::laws::replica;
use quorate_crdt::{
    Causal, CausalContext, ClSet, Crdt, DecodeError, Dot, DwFlag, EwFlag, GCounter, GSet, Limits,
    LwwRegister, NodeId, NodeKey, OrMap, OrSet, PnCounter, ReplicaId, Replicated, Text, Tree,
    TwoPhaseSet,
};

use crate::at;

/// A value of a map with two fields that have dots.
#[derive(Crdt)]
#[crdt(causal)]
struct Card {
    done: EwFlag,
    tags: OrSet<u8>,
}

/// More than eight keys, so that the map builds its index.
fn cards() -> Replicated<OrMap<u8, Card>> {
    let mut cards = Replicated::<OrMap<u8, Card>>::new(ReplicaId::new(NodeId(1), 0));
    cards.update(|cards, tx| {
        for key in 0..10 {
            cards.update(tx, key, |card, tx| {
                card.done.enable(tx);
                card.tags.add(tx, 1);
            });
        }
    });
    cards
}

/// Case 1: with one changed byte, the decoder used a slot before it existed, because a store named
/// a dot twice.
#[test]
fn decoding_with_one_changed_byte_never_panics() {
    let bytes = cards().state().encode();
    let mut decoded = 0;
    for at in 0..bytes.len() {
        for changed in 0..=u8::MAX {
            let mut bytes = bytes.clone();
            bytes[at] = changed;
            if let Ok(value) = Causal::<OrMap<u8, Card>>::decode(&bytes) {
                decoded += 1;
                assert_eq!(value.encode(), bytes, "byte {at} as {changed}");
            }
        }
    }
    assert!(
        decoded > bytes.len(),
        "the bytes themselves, and other keys and tags"
    );
}

/// Case 1: a dot that two fields name.
#[test]
fn a_dot_that_a_store_names_twice_is_refused() {
    let mut bytes = cards().state().encode();
    // The last value has two fields; the first holds the first of two dots, the second the second.
    let at = bytes.len() - 5;
    assert_eq!(
        bytes[at - 1..],
        [2, 1, 0, 2, 0, 1],
        "which of the two dots: a run of one from the second on"
    );
    bytes[at] = 0;
    assert!(Causal::<OrMap<u8, Card>>::decode(&bytes).is_err());
}

/// Case 2: sixteen bytes that claim 2^63 events, after which nothing could be saved or sent.
#[test]
fn sixteen_bytes_that_claim_all_events_do_not_stop_a_victim_from_saving() {
    let claims = u64::MAX >> 1;
    let context: CausalContext = {
        let mut context = CausalContext::new();
        context.insert_run(ReplicaId::new(NodeId(3), 0), 1, claims);
        context
    };
    let empty = Causal::<OrSet<u8>>::new().encode();
    let forged = [
        &empty[..2],
        &postcard::to_stdvec(&context).unwrap(),
        &[1, 0],
    ]
    .concat();
    assert!(forged.len() <= 17, "{forged:?}");
    let forged = Causal::<OrSet<u8>>::decode(&forged).unwrap();
    let mut victim = Replicated::<OrSet<u8>>::new(replica(0));
    victim.update(|set, tx| set.add(tx, 1));
    victim.merge(&forged).unwrap();
    victim.update(|set, tx| set.add(tx, 2));
    let saved = victim.state().encode();
    assert_eq!(Causal::decode(&saved).as_ref(), Ok(victim.state()));
    let mut peer = Replicated::<OrSet<u8>>::new(replica(1));
    peer.merge(&victim.delta_since(&peer.summary())).unwrap();
    assert_eq!(
        (peer.sorted(), peer.state().digest()),
        (vec![&1, &2], victim.state().digest())
    );
}

/// Case 7: `[1, 0, 1, 0]`, and numbers with more bytes than they need.
#[test]
fn a_value_has_one_form_and_nothing_else_decodes() {
    type Sets = Causal<OrSet<u8>>;
    let empty = Sets::new().encode();
    let [version, tag, context, all, none] = empty[..] else {
        panic!("{empty:?}")
    };
    assert_eq!((version, context, all, none), (VERSION, 0, 0, 0));
    for other in [
        &[version, tag, 0, 1, 0][..],
        &[version, tag, 0, 2, 0, 0, 0],
        &[version, tag, 0x80, 0, 0, 0],
        &[version, tag, 0, 0x80, 0, 0],
    ] {
        assert!(
            Sets::decode(other).is_err(),
            "{other:?} is the empty set in another form"
        );
    }
    // By serde, which accepts numbers of any length.
    let mut counter = Replicated::<GCounter>::new(replica(0));
    counter.update(|counter, tx| counter.increment(tx, 1));
    let bytes = counter.state().encode();
    let longer = [&bytes[..bytes.len() - 1], &[0x81, 0]].concat();
    assert_eq!(
        Causal::<GCounter>::decode(&bytes).as_ref(),
        Ok(counter.state())
    );
    assert_eq!(
        Causal::<GCounter>::decode(&longer),
        Err(DecodeError::NotCanonical)
    );
}

/// Case 8: one side accepted a text that others refused.
#[test]
fn what_encode_gives_decodes_within_the_default_limits() {
    let mut text = Replicated::<Text>::new(replica(0));
    text.update(|text, tx| text.push(tx, &"x".repeat(10_000_000)));
    text.update(|text, tx| text.delete(tx, 100..1_000).unwrap());
    assert!(text.state().encode().len() < Limits::default().bytes);
    let decoded =
        Causal::<Text>::decode(&text.state().encode()).expect("an accepted value can be sent");
    assert!(decoded == *text.state());
}

#[derive(Crdt)]
struct Flag {
    flag: EwFlag,
}

#[derive(Crdt)]
struct Other {
    flag: DwFlag,
}

/// Case 9: bytes of one type decoded as another.
#[test]
fn bytes_of_one_type_never_decode_as_another() {
    fn refused<A: Crdt, B: Crdt + std::fmt::Debug>() {
        assert_eq!(
            Causal::<B>::decode(&Causal::<A>::new().encode()),
            Err(DecodeError::OtherType)
        );
    }
    refused::<EwFlag, DwFlag>();
    refused::<DwFlag, EwFlag>();
    refused::<PnCounter, LwwRegister<u32>>();
    refused::<GSet<u8>, TwoPhaseSet<u8>>();
    refused::<GSet<u8>, ClSet<u8>>();
    refused::<OrMap<u8, OrSet<u8>>, OrMap<u8, EwFlag>>();
    refused::<Option<GCounter>, Option<PnCounter>>();
    // Fields of structs as well.
    let mut flag = Replicated::<Flag>::new(replica(0));
    flag.update(|flag, tx| flag.flag.enable(tx));
    assert!(Causal::<FlagState>::decode(&flag.state().encode()).is_ok());
    assert_eq!(
        Causal::<OtherState>::decode(&flag.state().encode()).map(drop),
        Err(DecodeError::OtherType)
    );
}

/// Case 15: a context with replicas in descending order, decoded as the dots of a map.
#[test]
fn dots_in_an_unfavourable_order_are_sorted_and_not_inserted_one_by_one() {
    let dots = (0..200_000)
        .rev()
        .map(|node| Dot::new(ReplicaId::new(NodeId(node), 0), 1));
    let context: CausalContext = dots.collect();
    assert_eq!(context.event_count(), 200_000);
}

/// Case 15: decoding a chain of nodes took quadratic time, 12 s for 16,000 nodes.
#[test]
fn a_deep_tree_is_decoded_in_proportion_to_its_size() {
    let mut tree = at::<Tree<u8>>(0);
    let mut parent = NodeKey::ROOT;
    tree.update(|tree, tx| (0..50_000).for_each(|_| parent = tree.create(tx, parent, 0)));
    let decoded = Causal::<Tree<u8>>::decode(&tree.state().encode()).unwrap();
    assert!(decoded == *tree.state() && decoded.contains(parent));
}
