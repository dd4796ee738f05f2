use quorate_crdt::Hlc;
use quorate_dynamo::saved::{SavedExpiry, SavedName, SavedRegister, SavedRow};

use super::*;

fn page() -> BackupPage {
    let hlc = Hlc::from_parts(1_800_000_000_000, 3).unwrap();
    let row = |name, registers, count| SavedRow {
        name,
        registers,
        count,
    };
    let register = |value: &'static str, expires| SavedRegister {
        hlc,
        value: value.into(),
        expires,
    };
    let key = |key: &'static str, expiry, rows| SavedKey {
        key: key.into(),
        expiry,
        rows,
    };
    let text = vec![
        register("apples", Some(1_900_000_000_000)),
        register("pears", None),
    ];
    BackupPage {
        keys: vec![
            key("text", None, vec![row(SavedName::String, text, Some(-7))]),
            key(
                "hash",
                Some(SavedExpiry {
                    hlc,
                    at: Some(1_900_000_000_000),
                }),
                vec![row(
                    SavedName::Field("f".into()),
                    vec![register("v", None)],
                    None,
                )],
            ),
            key(
                "set",
                None,
                vec![row(SavedName::Member("m".into()), vec![], None)],
            ),
        ],
        next: Some(PageEnd {
            key: "set".into(),
            row: Some(SavedName::Member("m".into())),
        }),
    }
}

/// The bytes of format 1, written down when it was made. If this fails, pages have another form:
/// raise [`FORMAT`], and write down the new bytes.
#[test]
fn the_form_of_a_page_changes_only_with_its_number() {
    let golden = "
        5152504701006f0000000304746578740001000283808080f0d2e0ca05066170
        706c65730180f0cc86a63783808080f0d2e0ca0505706561727300010d046861
        73680183808080f0d2e0ca050180f0cc86a637010101660183808080f0d2e0ca
        050176000003736574000102016d000001037365740102016d95ceb023
    ";
    let golden: String = golden.split_whitespace().collect();
    let pairs = golden.as_bytes().chunks(2);
    let golden: Vec<u8> = pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect();
    assert_eq!((FORMAT, page().encode()), (1, golden));
}

#[test]
fn a_page_comes_back_as_it_was() {
    let page = page();
    assert_eq!(BackupPage::decode(&page.encode()), Ok(page.clone()));
    let end = page.next.unwrap();
    assert_eq!(decode_end(&encode_end(&end)), Some(end.clone()));
    assert_eq!(decode_end(&[encode_end(&end), vec![0]].concat()), None);
    assert_eq!(decode_end(b""), None);
}

#[test]
fn a_page_with_any_byte_changed_cut_or_added_is_refused() {
    let bytes = page().encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        let found = BackupPage::decode(&changed).unwrap_err();
        let expected = match at {
            0..4 => PageError::Foreign,
            4..6 => PageError::Format {
                found: u16::from_le_bytes([changed[4], changed[5]]),
            },
            6..10 => PageError::Length {
                bytes: bytes.len() as u64,
                expected: 14
                    + u64::from(u32::from_le_bytes([
                        changed[6], changed[7], changed[8], changed[9],
                    ])),
            },
            _ => PageError::Checksum,
        };
        assert_eq!(found, expected, "{at}");
        assert!(BackupPage::decode(&bytes[..at]).is_err(), "{at}");
    }
    assert!(BackupPage::decode(&[bytes, vec![0]].concat()).is_err());
}

/// A head and a checksum that are right say nothing about what they cover.
#[test]
fn a_page_that_claims_more_than_it_has_is_malformed() {
    let mut bytes = page().encode();
    let body = 10..bytes.len() - 4;
    for byte in &mut bytes[body] {
        *byte = 0xff;
    }
    let checksum = crc32fast::hash(&bytes[..bytes.len() - 4]).to_le_bytes();
    let end = bytes.len() - 4;
    bytes[end..].copy_from_slice(&checksum);
    assert_eq!(BackupPage::decode(&bytes), Err(PageError::Malformed));
}
