//! Reading and changing values: plain schemas, local fields, positions of editors.

use quorate_crdt::{Crdt, Document, NodeId, OrSet, ReplicaId, Replicated, Text};

use crate::at;

/// A schema that can be neither copied nor printed.
#[derive(Crdt)]
struct Plain {
    set: OrSet<u8>,
}

/// Case 9: a deletion longer than any number counts, and a replica of a struct that can be neither
/// copied nor printed.
#[test]
fn extreme_numbers_and_plain_schemas_are_no_obstacle() {
    let mut document = at::<Document>(0);
    document.update(|document, tx| {
        document.put_text(tx, &["t"], "text").unwrap();
        assert!(document.splice(tx, &["t"], 1, usize::MAX, "x").is_err());
        assert!(
            document
                .splice(tx, &["t"], usize::MAX, usize::MAX, "x")
                .is_err()
        );
    });
    let first = at::<Plain>(0);
    assert!(first.clone() == first && format!("{first:?}").starts_with("Replicated"));
}

/// Case 9: replicated fields cannot be written outside a transaction.
#[test]
fn only_what_is_local_can_be_changed_beside_a_transaction() {
    #[derive(Crdt)]
    struct Window {
        tags: OrSet<u8>,
        #[crdt(skip)]
        scroll: u32,
    }
    let mut window = Replicated::<Window>::new(ReplicaId::new(NodeId(1), 0));
    let before = window.state().encode();
    window.local_mut(|window| *window.scroll = 7);
    assert!(*window.scroll == 7 && window.state().encode() == before && window.tags.is_empty());
}

/// Case G3-UTF16: the positions of editors that count UTF-16 units or bytes.
#[test]
fn positions_of_editors_are_converted_and_none_lies_within_a_character() {
    let plain = "A📊B👨\u{200d}👩\u{200d}👧Привет e\u{301}";
    let mut text = at::<Text>(0);
    text.update(|text, tx| text.push(tx, plain));
    let (mut units, mut bytes) = (0, 0);
    for (number, character) in plain.chars().enumerate() {
        assert_eq!(
            (text.to_utf16(number), text.from_utf16(units)),
            (Ok(units), Some(number))
        );
        assert_eq!(
            (text.to_bytes(number), text.from_bytes(bytes)),
            (Ok(bytes), Some(number))
        );
        assert!(
            (1..character.len_utf16()).all(|more| text.from_utf16(units + more).is_none()),
            "half of {character}"
        );
        assert!(
            (1..character.len_utf8()).all(|more| text.from_bytes(bytes + more).is_none()),
            "a part of {character}"
        );
        (units, bytes) = (units + character.len_utf16(), bytes + character.len_utf8());
    }
    assert_eq!(
        (text.from_utf16(units), text.from_bytes(bytes)),
        (Some(text.len()), Some(text.len())),
        "the end"
    );
    assert_eq!(
        (text.from_utf16(units + 1), text.from_bytes(bytes + 1)),
        (None, None)
    );
    assert!(text.to_utf16(text.len() + 1).is_err() && text.to_bytes(usize::MAX).is_err());
}
