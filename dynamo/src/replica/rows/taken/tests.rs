use bytes::Bytes;
use quorate_crdt::{Dot, Hlc, NodeId, ReplicaId};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::super::{KeyRows, Rows};
use crate::replica::{Cut, Payload, Range, Row, RowKey, RowKind, Within};

fn any_name(rng: &mut StdRng) -> RowKey {
    let key = Bytes::from(format!("k{}", rng.random_range(0..3)));
    let kind = *[
        RowKind::String,
        RowKind::Set,
        RowKind::Set,
        RowKind::Set,
        RowKind::Expiry,
    ]
    .choose(rng)
    .expect("not empty");
    let field = if kind == RowKind::Set {
        rng.random_range(0..20).to_string().into()
    } else {
        Bytes::new()
    };
    RowKey { key, kind, field }
}

fn any_cut(rng: &mut StdRng) -> Option<Cut> {
    let name = any_name(rng);
    let within = [
        Within::Before,
        Within::Row(name.kind, name.field),
        Within::After,
    ]
    .choose(rng)
    .expect("not empty")
    .clone();
    Some(Cut {
        key: name.key,
        within,
    })
    .filter(|_| rng.random_bool(0.8))
}

/// Taking rows out at once leaves the same rows as removing them one by one, even if the two ends
/// of a slice are the wrong way round.
#[test]
fn what_is_taken_out_at_once_leaves_what_row_by_row_leaves() {
    for seed in 0..3_000 {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut rows = Rows::default();
        for counter in 1..=rng.random_range(1..60) {
            let (name, dot) = (
                any_name(rng),
                Dot::new(ReplicaId::new(NodeId(1), 1), counter),
            );
            let payload = match name.kind {
                RowKind::Expiry => Payload::Expiry {
                    hlc: Hlc::default(),
                    at: Some(counter),
                },
                RowKind::String => Payload::Register {
                    hlc: Hlc::default(),
                    value: "v".into(),
                    expires: Some(counter),
                },
                _ => Payload::Member,
            };
            rows.update(&name, |row| row.insert(dot, payload));
        }
        let slice = Range::Slice {
            after: any_cut(rng),
            through: any_cut(rng),
        };
        let range = [slice.clone(), slice, Range::Key("k1".into()), Range::ALL]
            .choose(rng)
            .expect("not empty")
            .clone();
        let odd = |row: &Row| row.iter().all(|(dot, _)| dot.counter % 2 == 1);
        let goes = Some(&odd as &dyn Fn(&Row) -> bool).filter(|_| rng.random_bool(0.5));
        let mut expected = rows.clone();
        let mut names = expected.names_in(&range);
        names.retain(|name| goes.is_none_or(|goes| goes(expected.get(name).expect("live"))));
        assert!(!rows.has_more(names.len(), &range, goes), "seed {seed}");
        assert!(
            names.is_empty() || rows.has_more(names.len() - 1, &range, goes),
            "seed {seed}"
        );
        for name in &names {
            expected.update(name, |row| drop(row.drain()));
        }
        let mut taken = rows.take(&range, goes);
        let left = |rows: &Rows| {
            (
                rows.copy_of(&Range::ALL),
                rows.count,
                rows.bytes,
                rows.digest,
                rows.due.clone(),
            )
        };
        assert_eq!(left(&rows), left(&expected), "seed {seed}");
        for now in [0, 30, 60] {
            let expires = |rows: &KeyRows| rows.expires_at().filter(|_| rows.has_value());
            let lapsed = |rows: &KeyRows| expires(rows).is_some_and(|at| at <= now);
            let alive = |(_, rows): &(_, &KeyRows)| rows.has_value() && !lapsed(rows);
            let alive: Vec<_> = rows.keys().filter(alive).collect();
            assert_eq!(rows.keys_alive(now), alive.len() as u64, "seed {seed}");
            let expiring = alive.iter().filter(|(_, rows)| expires(rows).is_some());
            assert_eq!(
                rows.keys_expiring(now),
                expiring.count() as u64,
                "seed {seed}"
            );
        }
        for (position, kept) in &expected.keys {
            let other = &rows.keys[position];
            assert_eq!(
                (other.digest, other.bytes, other.counts),
                (kept.digest, kept.bytes, kept.counts),
                "seed {seed}"
            );
        }
        assert_eq!(taken.len(), names.len(), "seed {seed}");
        let mut told = Vec::new();
        loop {
            // Their content may be freed before.
            taken.free(rng.random_range(0..3));
            let Some(name) = taken.next() else { break };
            told.push(name);
            assert_eq!(told.len() + taken.len(), names.len(), "seed {seed}");
        }
        told.sort();
        names.sort();
        assert_eq!(told, names, "seed {seed}");
    }
}
