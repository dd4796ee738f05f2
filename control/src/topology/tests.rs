use super::*;

fn keyspace(partitions: u16) -> Keyspace {
    let placement = (0..partitions)
        .map(|_| Placement::stable(Epoch(1), vec![NodeId(1)]))
        .collect();
    Keyspace {
        name: "k".into(),
        replication: Replication::Auto,
        read: "ONE".into(),
        write: "ONE".into(),
        split: SplitPolicy::default(),
        placement,
    }
}

fn sets(groups: Groups<'_>) -> Vec<Vec<u64>> {
    groups
        .map(|set| set.iter().map(|n| n.0).collect())
        .collect()
}

#[test]
fn keys_spread_over_all_partitions() {
    let keyspace = keyspace(64);
    let mut hits = [0u32; 64];
    for key in 0u32..64_000 {
        hits[usize::from(keyspace.partition_of(&key.to_be_bytes()).0)] += 1;
    }
    assert!(hits.iter().all(|&n| (850..1150).contains(&n)), "{hits:?}");
}

#[test]
fn the_hash_is_part_of_the_format() {
    // XXH3-64 of the empty input with seed 0, from the specification of xxHash: 0x2D06800538D394C2.
    assert_eq!(keyspace(256).partition_of(b""), Partition(0x2d));
    assert_eq!(keyspace(1).partition_of(b"anything"), Partition(0));
    assert_eq!(keyspace(PARTITIONS_MAX).partition_of(b""), Partition(0x2d0));
}

#[test]
fn a_move_reads_one_set_and_writes_both() {
    let mut placement = Placement::stable(Epoch(1), vec![NodeId(1), NodeId(2)]);
    assert_eq!(
        (sets(placement.readers()), sets(placement.writers())),
        (vec![vec![1, 2]], vec![vec![1, 2]])
    );
    placement.transition = Some(Transition {
        to: vec![NodeId(2), NodeId(3)],
        phase: Phase::Copying,
        done: BTreeSet::new(),
    });
    assert_eq!(
        (sets(placement.readers()), sets(placement.writers())),
        (vec![vec![1, 2]], vec![vec![1, 2], vec![2, 3]])
    );
    placement.transition.as_mut().unwrap().phase = Phase::Switching;
    assert_eq!(
        (sets(placement.readers()), sets(placement.writers())),
        (vec![vec![2, 3]], vec![vec![1, 2], vec![2, 3]])
    );
    assert_eq!(placement.holders(), [NodeId(1), NodeId(2), NodeId(3)]);
    assert!(placement.holds(NodeId(3)) && !placement.holds(NodeId(4)));
}
