//! Ranges as sets of rows.

use bytes::Bytes;

use super::{Cut, Range, RowKey, Within};
use crate::replica::RowKind;

fn rows() -> Vec<RowKey> {
    let mut rows = Vec::new();
    for key in ["a", "b", "c"] {
        rows.push(RowKey::string(key.into()));
        for field in ["1", "2"] {
            rows.push(RowKey::field(key.into(), field.into()));
        }
    }
    rows
}

fn cuts() -> Vec<Option<Cut>> {
    let mut cuts = vec![None];
    for key in ["a", "b", "c"] {
        for within in [
            Within::Before,
            Within::Row(RowKind::String, Bytes::new()),
            Within::Row(RowKind::Hash, "1".into()),
            Within::After,
        ] {
            let key = key.into();
            cuts.push(Some(Cut { key, within }));
        }
    }
    cuts
}

fn ranges() -> Vec<Range> {
    let mut ranges: Vec<Range> = rows().into_iter().map(Range::Row).collect();
    ranges.extend(["a", "b", "c"].map(|key| Range::Key(key.into())));
    for after in cuts() {
        for through in cuts() {
            let after = after.clone();
            ranges.push(Range::Slice { after, through });
        }
    }
    ranges
}

#[test]
fn the_clip_of_two_ranges_has_the_rows_that_both_have() {
    let (rows, ranges) = (rows(), ranges());
    for one in &ranges {
        for other in &ranges {
            let clip = one.clip(other);
            for row in &rows {
                assert_eq!(
                    clip.as_ref().is_some_and(|clip| clip.contains(row)),
                    one.contains(row) && other.contains(row),
                    "{row:?} in {one:?} and {other:?}"
                );
            }
        }
    }
}

/// A key is remembered, sent and joined as a key, which costs less than the slice that it is.
#[test]
fn a_key_within_another_range_stays_a_key() {
    let key = |key: &'static str| Range::Key(key.into());
    let whole = key("b").as_slice();
    for around in [Range::ALL, key("b"), whole] {
        for clip in [key("b").clip(&around), around.clip(&key("b"))] {
            assert_eq!(clip, Some(key("b")), "in {around:?}");
        }
    }
    assert_eq!(key("a").clip(&key("b")), None);
}
