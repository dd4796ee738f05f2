use quorate_control::store::MemoryStore;

use super::*;

fn put(store: &MemoryStore, space: Space, key: &[u8], value: &[u8]) {
    let mut batch = Batch::default();
    batch.put(space, key.to_vec(), value.to_vec());
    store.apply(batch).unwrap();
}

#[test]
fn a_store_of_another_form_is_refused_and_not_read() {
    let store = MemoryStore::new();
    check_format(&store).unwrap();
    put(&store, Space::Rows, b"k", b"v");
    check_format(&store).unwrap();
    for (mark, expected) in [
        (1_u16.to_le_bytes().as_slice(), Some(1)),
        (&[0, 0], Some(0)),
        (&[1], None),
    ] {
        put(&store, Space::Meta, FORMAT, mark);
        let refused = check_format(&store);
        assert!(
            matches!(
                refused,
                Err(StartError::Format { found, supported: FORMAT_NOW }) if found == expected
            ),
            "{refused:?}"
        );
    }
}

#[test]
fn a_store_from_before_forms_were_numbered_is_refused() {
    let store = MemoryStore::new();
    put(&store, Space::Causal, b"k", b"v");
    let refused = check_format(&store);
    assert!(
        matches!(refused, Err(StartError::Format { found: None, .. })),
        "{refused:?}"
    );
    assert_eq!(
        store.get(Space::Meta, FORMAT).unwrap(),
        None,
        "nor is it marked"
    );
}
