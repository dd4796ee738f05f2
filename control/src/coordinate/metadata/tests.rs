//! A value is what was written last; a condition is checked against it; the whole is bounded.

use super::*;

fn name(text: &str) -> Name {
    Name::try_from(Bytes::copy_from_slice(text.as_bytes())).unwrap()
}

fn put(text: &str, value: Bytes, expected: Option<Revision>) -> MetadataCommand {
    MetadataCommand::Put {
        name: name(text),
        value,
        expected,
    }
}

#[test]
fn a_value_is_replaced_only_if_it_is_the_one_that_was_expected() {
    let mut metadata = Metadata::default();
    let value = |text: &'static str| Bytes::from_static(text.as_bytes());
    let none = Some(Revision::NONE);
    let first = metadata.apply(3, put("k", value("a"), none));
    assert_eq!(first, MetadataOutcome::Put(Revision(3)));
    for expected in [none, Some(Revision(2)), Some(Revision(4))] {
        let refused = metadata.apply(5, put("k", value("b"), expected));
        assert_eq!(refused, MetadataOutcome::Differs(Revision(3)));
        let name = name("k");
        let refused = metadata.apply(5, MetadataCommand::Delete { name, expected });
        assert_eq!(refused, MetadataOutcome::Differs(Revision(3)));
    }
    assert_eq!(metadata.get(&name("k")).unwrap().value, value("a"));
    let second = metadata.apply(6, put("k", value("b"), Some(Revision(3))));
    assert_eq!(second, MetadataOutcome::Put(Revision(6)));
    let delete = |expected| MetadataCommand::Delete {
        name: name("k"),
        expected,
    };
    let deleted = metadata.apply(7, delete(Some(Revision(6))));
    assert_eq!(deleted, MetadataOutcome::Deleted(true));
    assert_eq!(
        metadata.apply(8, delete(None)),
        MetadataOutcome::Deleted(false)
    );
    assert_eq!(
        metadata.apply(9, put("k", value("c"), Some(Revision(6)))),
        MetadataOutcome::Differs(Revision::NONE),
        "what was deleted does not come back under its old revision"
    );
    assert_eq!(metadata, Metadata::default());
}

#[test]
fn values_are_bounded_one_by_one_and_together() {
    let mut metadata = Metadata::default();
    let longest = Bytes::from(vec![b'x'; METADATA_VALUE_BYTES_MAX]);
    let longer = Bytes::from(vec![b'x'; METADATA_VALUE_BYTES_MAX + 1]);
    let refused = metadata.apply(1, put("k", longer, None));
    let (bytes, limit) = (METADATA_VALUE_BYTES_MAX + 1, METADATA_VALUE_BYTES_MAX);
    assert_eq!(
        refused,
        MetadataOutcome::Refused(MetadataRefusal::TooLong { bytes, limit })
    );
    let mut fitted = 0_u64;
    let limit = METADATA_BYTES_MAX;
    let full = MetadataOutcome::Refused(MetadataRefusal::Full { limit });
    while metadata.apply(fitted + 1, put(&fitted.to_string(), longest.clone(), None)) != full {
        fitted += 1;
    }
    assert_eq!(fitted, 255, "16 MiB less what each takes besides its value");
    // What is there can be replaced and deleted, and then there is room.
    let replaced = metadata.apply(300, put("7", longest.clone(), None));
    assert_eq!(replaced, MetadataOutcome::Put(Revision(300)));
    let name = name("7");
    metadata.apply(
        301,
        MetadataCommand::Delete {
            name,
            expected: None,
        },
    );
    let put = metadata.apply(302, put("new", longest, None));
    assert_eq!(put, MetadataOutcome::Put(Revision(302)));
    let mut read = metadata.clone();
    assert!(read.rebuild());
    assert_eq!(read, metadata, "what is counted is what there is");
}
