//! Documents with holes and with forged changes.

use quorate_crdt::{Causal, Document};

use crate::at;

/// Case 13: a replica with the first and the third change waited for ever for the second.
#[test]
fn a_hole_in_a_document_is_filled() {
    let mut a = at::<Document>(0);
    let changes: Vec<_> = (1..=3)
        .map(|n| a.update(|document, tx| document.put(tx, &["x"], n).unwrap()))
        .collect();
    let with_hole = || {
        let mut b = at::<Document>(1);
        b.merge(&changes[0]).unwrap();
        b.merge(&changes[2]).unwrap();
        assert_eq!(
            (b.missing().len(), b.complete_heads()),
            (1, changes[0].heads())
        );
        b
    };
    let (mut since, mut by_hash) = (with_hole(), with_hole());
    since
        .merge(&Causal::of(a.changes_since(&since.complete_heads())))
        .unwrap();
    by_hash
        .merge(&Causal::of(a.changes_of(&by_hash.missing())))
        .unwrap();
    for filled in [since, by_hash] {
        assert_eq!(
            (filled.missing(), filled.to_json().unwrap()),
            (Vec::new(), a.to_json().unwrap())
        );
    }
}

/// Case 3: one forged change under a used number hid everything that was built on the true one.
#[test]
fn a_reused_change_number_hides_nothing_that_others_have_built_on() {
    for forged in 0..8 {
        let (mut writer, mut forger, mut reader) =
            (at::<Document>(0), at::<Document>(0), at::<Document>(1));
        let lie = forger.update(|document, tx| document.put(tx, &["lie"], forged).unwrap());
        for n in 0..20 {
            writer.update(|document, tx| document.put(tx, &[n.to_string().as_str()], n).unwrap());
        }
        reader.merge(&lie).unwrap();
        reader.to_json().unwrap();
        reader.merge(writer.state()).unwrap();
        assert_eq!(
            reader.to_json().unwrap(),
            writer.to_json().unwrap(),
            "all twenty keys"
        );
        assert_eq!(reader.quarantined().len(), 1, "the forged change");
    }
}
