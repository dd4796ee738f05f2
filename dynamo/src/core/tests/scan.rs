//! Scans of a partition, page by page.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::Partition;

use super::net::{Net, secs};
use crate::consistency::Consistency as C;
use crate::op::{MARK_BITS, Mutation, Op, PartitionOp, Reply, SetExpiry};

/// The keys of a page, and where the next one begins.
fn page(net: &mut Net, at: u64, from: u64, count: u32) -> (Vec<Bytes>, Option<u64>) {
    let scan = Op::Partition(Partition(0), PartitionOp::Scan { from, count });
    match net.ask(at, scan, C::One) {
        Ok(Reply::Keys { keys, next }) => (keys, next),
        other => panic!("{other:?}"),
    }
}

/// Two of the keys have one mark. Each page comes from another replica, as behind a load balancer.
#[test]
fn a_scan_shows_every_key_that_stays_whichever_replica_gives_each_page() {
    let keys: Vec<String> = (0..200).map(|number| format!("key:{number}")).collect();
    let twins = ["k503221".to_owned(), "k2406207".to_owned()];
    for count in [1, 2, 7, 300] {
        let mut net = Net::new(&[3]);
        net.run(secs(2));
        for key in keys.iter().chain(&twins) {
            net.set(1, key, "v", C::All).expect("healthy");
        }
        let (mut seen, mut from, mut pages) = (BTreeSet::new(), Some(0), 0);
        while let Some(mark) = from {
            let (keys, after) = page(&mut net, 1 + pages % 3, mark, count);
            assert!(keys.len() <= count as usize + 1, "{count}: {keys:?}");
            assert!(after.is_none_or(|after| after > mark && after >> MARK_BITS == 0));
            seen.extend(keys);
            (from, pages) = (after, pages + 1);
        }
        let all = keys
            .iter()
            .chain(&twins)
            .map(|key| Bytes::from(key.clone()));
        assert_eq!(seen, all.collect(), "{count}");
    }
}

#[test]
fn a_scan_from_beyond_the_last_mark_is_at_its_end() {
    let mut net = Net::new(&[1]);
    net.run(secs(2));
    net.set(1, "k", "v", C::One).expect("healthy");
    for from in [(1 << MARK_BITS) - 1, 1 << MARK_BITS, u64::MAX] {
        assert_eq!(page(&mut net, 1, from, 10), (Vec::new(), None), "{from}");
    }
}

/// The reaper has not looked yet when the keys are counted.
#[test]
fn a_count_leaves_out_what_has_expired() {
    fn counts(net: &mut Net) -> [Reply; 2] {
        [PartitionOp::Count, PartitionOp::Expiring].map(|count| {
            net.ask(1, Op::Partition(Partition(0), count), C::One)
                .expect("healthy")
        })
    }
    let mut net = Net::new(&[1]);
    net.run(secs(2));
    assert_eq!(counts(&mut net), [Reply::Integer(0), Reply::Integer(0)]);
    for (key, seconds) in [("plain", None), ("soon", Some(1)), ("later", Some(3600))] {
        let at = |seconds: u64| SetExpiry::At(net.clock().unix_millis + seconds * 1000);
        let expiry = seconds.map_or(SetExpiry::Clear, at);
        let value = "v".into();
        net.mutate(1, key, Mutation::Set { value, expiry }, C::One)
            .expect("healthy");
    }
    assert_eq!(counts(&mut net), [Reply::Integer(3), Reply::Integer(2)]);
    net.now += Duration::from_millis(1001);
    assert_eq!(counts(&mut net), [Reply::Integer(2), Reply::Integer(1)]);
}
