use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Sample {
    Empty,
    Map(BTreeMap<String, Vec<u64>>),
    Body {
        id: u128,
        body: Bytes,
        next: Option<Box<Self>>,
    },
}

fn sample() -> impl Strategy<Value = Sample> {
    prop_oneof![
        Just(Sample::Empty),
        prop::collection::btree_map(".{0,8}", prop::collection::vec(any::<u64>(), 0..5), 0..5)
            .prop_map(Sample::Map),
        (any::<u128>(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(id, body)| {
            Sample::Body {
                id,
                body: body.into(),
                next: Some(Box::new(Sample::Empty)),
            }
        }),
    ]
}

#[test]
fn each_fault_has_its_name() {
    let good = encode(&7u32);
    assert_eq!(decode::<u32>(&good), Ok(7));
    let mut other = good.to_vec();
    other[0] = 9;
    assert_eq!(decode::<u32>(&other), Err(WireError::Version { found: 9 }));
    assert_eq!(
        decode::<u32>(&[VERSION, 255, 255, 255, 255, 0]),
        Err(WireError::TooLarge {
            bytes: 4_294_967_300,
            max: 33_554_432
        })
    );
    assert_eq!(
        decode_within::<u32>(&good, 5),
        Err(WireError::TooLarge { bytes: 6, max: 5 })
    );
    let mut trailing = encode(&(7u32, 1u8)).to_vec();
    assert_eq!(decode::<u32>(&trailing), Err(WireError::Malformed));
    trailing.truncate(6);
    assert_eq!(decode::<u32>(&trailing), Err(WireError::Malformed));
    assert_eq!(decode::<u32>(&[]), Err(WireError::Malformed));
}

#[test]
fn a_claimed_length_reserves_nothing() {
    // A body that says "here are 2^60 numbers": the read must fail by running out of bytes, at
    // once.
    let mut bytes = vec![VERSION, 9, 0, 0, 0];
    bytes.extend_from_slice(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]);
    assert_eq!(decode::<Vec<u64>>(&bytes), Err(WireError::Malformed));
    assert_eq!(decode::<Bytes>(&bytes), Err(WireError::Malformed));
    assert_eq!(decode::<String>(&bytes), Err(WireError::Malformed));
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(sample in sample()) {
        prop_assert_eq!(decode::<Sample>(&encode(&sample)), Ok(sample));
    }

    #[test]
    fn a_cut_or_changed_message_never_panics(sample in sample(), at: prop::sample::Index, to: u8) {
        let mut bytes = encode(&sample).to_vec();
        let at = at.index(bytes.len());
        prop_assert_eq!(decode::<Sample>(&bytes[..at]), Err(WireError::Malformed));
        bytes[at] = to;
        let _whatever = decode::<Sample>(&bytes);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _whatever = decode::<Sample>(&bytes);
        let header = [VERSION, (bytes.len() & 255) as u8, (bytes.len() >> 8) as u8, 0, 0];
        let _whatever = decode::<Sample>(&[&header, bytes.as_slice()].concat());
    }
}

proptest! {
    #[test]
    fn a_message_whose_length_is_found_first_is_the_same(message in sample()) {
        let encoded = encode(&message);
        prop_assert_eq!(encode_within(&message, encoded.len()), Ok(encoded.clone()));
        let bytes = encoded.len() as u64;
        prop_assert_eq!(
            encode_within(&message, encoded.len() - 1),
            Err(WireError::TooLarge { bytes, max: bytes - 1 })
        );
    }
}
