//! Digests of parts of a key.

use bytes::Bytes;
use quorate_crdt::{Dot, NodeId, ReplicaId};

use super::Rows;
use crate::replica::{Cut, Payload, Range, RowKey, Within};

/// Two replicas compare a partition slice by slice, so its slices must add up to it, wherever they
/// divide it.
#[test]
fn the_digests_of_two_slices_add_up() {
    let mut rows = Rows::default();
    let names: Vec<RowKey> = (0..20)
        .map(|n| RowKey::member(format!("k{}", n % 3).into(), n.to_string().into()))
        .collect();
    for (counter, name) in (1..).zip(&names) {
        let dot = Dot::new(ReplicaId::new(NodeId(1), 1), counter);
        rows.update(name, |row| row.insert(dot, Payload::Member));
    }
    let mut cuts: Vec<Cut> = names
        .iter()
        .map(|name| Cut {
            key: name.key.clone(),
            within: Within::Row(name.kind, name.field.clone()),
        })
        .collect();
    for key in ["k0", "k1", "k2"] {
        cuts.push(Cut::before(Bytes::from(key)));
        cuts.push(Cut::behind(Bytes::from(key)));
    }
    for cut in cuts {
        let slice = |after, through| rows.digest_of(&Range::Slice { after, through });
        let (before, behind) = (
            slice(None, Some(cut.clone())),
            slice(Some(cut.clone()), None),
        );
        assert_eq!(before.wrapping_add(behind), rows.digest(), "{cut:?}");
    }
}
