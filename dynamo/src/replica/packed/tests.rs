use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};

use super::super::{Cut, Delta, Part, Payload, Range, Replaces, Replica, Residual, RowKey};

fn members(key: &Bytes, count: u32) -> Delta {
    let mut replica = Replica::new(ReplicaId::new(NodeId(1), 1));
    let mut write = replica.write();
    for n in 0..count {
        write.put(
            RowKey::member(key.clone(), n.to_string().into()),
            Payload::Member,
            Replaces::All,
        );
    }
    write.finish().expect("something was written").0
}

fn sent<T: serde::Serialize>(what: &T) -> Vec<u8> {
    postcard::to_stdvec(what).expect("always has a postcard form")
}

#[test]
fn a_key_travels_once_however_many_rows_it_has() {
    let key = Bytes::from(vec![b'k'; 10_000]);
    let delta = members(&key, 1000);
    let bytes = sent(&delta);
    assert!(bytes.len() < 10_000 + 1000 * 50, "{} bytes", bytes.len());
    let taken: Delta = postcard::from_bytes(&bytes).expect("just written");
    assert_eq!(taken, delta);
    let first = taken.parts[0].rows[0].0.key.as_ptr();
    assert!(
        taken
            .parts
            .iter()
            .flat_map(|part| &part.rows)
            .all(|(name, _)| name.key.as_ptr() == first),
        "one key in memory"
    );
}

#[test]
fn every_shape_of_a_delta_comes_back() {
    let mut delta = members(&"a".into(), 2);
    let dot = Dot::new(ReplicaId::new(NodeId(2), 1), 7);
    let context: CausalContext = [dot].into_iter().collect();
    for range in [
        Range::ALL,
        Range::Key("b".into()),
        Range::Slice {
            after: Some(Cut::before("a".into())),
            through: None,
        },
        Range::Slice {
            after: Some(Cut::behind("b".into())),
            through: Some(Cut::behind("a".into())),
        },
    ] {
        delta.residuals.push(Residual {
            range: range.clone(),
            context: context.clone(),
        });
        delta.parts.push(Part {
            range,
            rows: Vec::new(),
            settled: vec![dot],
        });
    }
    assert_eq!(postcard::from_bytes::<Delta>(&sent(&delta)), Ok(delta));
}

#[test]
fn a_number_that_is_not_in_the_table_is_refused() {
    let table: (Vec<Bytes>, Vec<Range<u32>>) =
        (vec!["a".into()], vec![Range::Key(0), Range::Key(1)]);
    let bytes = sent(&table);
    assert!(super::deserialize(&mut postcard::Deserializer::from_bytes(&bytes)).is_err());
    let bytes = sent(&(vec![Bytes::from_static(b"a")], vec![Range::Key(0_u32)]));
    assert_eq!(
        super::deserialize(&mut postcard::Deserializer::from_bytes(&bytes)),
        Ok(vec![Range::Key("a".into())])
    );
}

#[test]
fn events_come_back_in_any_order() {
    let dot =
        |node, incarnation, counter| Dot::new(ReplicaId::new(NodeId(node), incarnation), counter);
    let cases = [
        vec![],
        vec![
            dot(1, 1, 5),
            dot(1, 1, 6),
            dot(1, 1, 9),
            dot(2, 1, 7),
            dot(2, 1, 8),
        ],
        vec![dot(1, 1, 5), dot(1, 2, 6), dot(1, 1, 7), dot(1, 1, 8)],
        vec![
            dot(1, 1, 9),
            dot(1, 1, 8),
            dot(1, 1, 8),
            dot(1, 1, u64::MAX),
        ],
    ];
    for settled in cases {
        let delta = Delta {
            parts: vec![Part {
                range: Range::ALL,
                rows: Vec::new(),
                settled,
            }],
            ..Delta::default()
        };
        assert_eq!(postcard::from_bytes::<Delta>(&sent(&delta)), Ok(delta));
    }
}

/// Most events of a delta follow each other: each but the first costs a byte.
#[test]
fn events_that_follow_each_other_travel_in_a_byte_each() {
    let replica = ReplicaId::new(NodeId(u64::MAX), u32::MAX);
    let delta = |count: u64| {
        let counters = u64::from(u32::MAX)..;
        let dots = counters.map(|counter| Dot::new(replica, counter));
        Delta {
            parts: vec![Part {
                range: Range::ALL,
                rows: Vec::new(),
                settled: dots.take(count as usize).collect(),
            }],
            ..Delta::default()
        }
    };
    let (few, many) = (sent(&delta(10)).len(), sent(&delta(110)).len());
    assert_eq!(many - few, 100);
}
