//! Replicas with equal contexts and different rows: who is right, and what nobody reads until that is mended.

use super::net::{Net, PLACE, node, secs};
use crate::consistency::Consistency as C;
use crate::replica::RowKey;

/// `nodes` nodes with ten keys each, at rest.
fn at_rest(nodes: u64) -> Net {
    let mut net = Net::new(&[nodes]);
    for n in 0..10 {
        net.set(1, &format!("k{n}"), "v", C::All).expect("healthy");
    }
    net.run(secs(3));
    net.assert_converged();
    net
}

/// The disk or the memory of a node loses a row.
fn rot(net: &mut Net, at: u64, key: &'static str) {
    let core = net.cores.get_mut(&node(at)).expect("a node");
    core.replicas.get_mut(&(PLACE.keyspace, PLACE.partition)).expect("held").rot(&RowKey::string(key.into()));
}

#[test]
fn a_replica_that_lost_a_row_is_mended_by_the_majority() {
    let mut net = at_rest(3);
    rot(&mut net, 3, "k3");
    net.run(secs(5));
    net.assert_converged();
    assert_eq!([1, 2, 3].map(|at| (net.summary(at).rows, net.summary(at).quarantined)), [(10, false); 3]);
    assert_eq!(net.get(3, "k3", C::One), Ok(Some("v".into())));
    let mended = net.cores.values().map(|core| core.counters().mended).sum::<u64>();
    assert_eq!(mended, 1, "the minority alone");
    assert!(net.cores[&node(3)].counters().digest_mismatches > 0);
}

#[test]
fn a_row_that_came_from_nowhere_goes() {
    let mut net = at_rest(3);
    for at in [1, 2] {
        rot(&mut net, at, "k3");
    }
    net.run(secs(5));
    net.assert_converged();
    assert_eq!([1, 2, 3].map(|at| net.summary(at).rows), [9; 3], "two of three say that there is none");
}

#[test]
fn two_replicas_that_differ_take_what_either_has() {
    let mut net = at_rest(2);
    rot(&mut net, 1, "k1");
    rot(&mut net, 2, "k2");
    net.run(secs(8));
    net.assert_converged();
    assert_eq!([1, 2].map(|at| (net.summary(at).rows, net.summary(at).quarantined)), [(10, false); 2]);
}

#[test]
fn nobody_reads_what_is_contradicted_and_not_decided() {
    let mut net = at_rest(3);
    net.cut(&[2], &[1, 3]);
    // A new life has compared itself with nobody.
    for at in [1, 3] {
        let core = net.cores.get_mut(&node(at)).expect("a node");
        core.replicas.get_mut(&(PLACE.keyspace, PLACE.partition)).expect("held").finish_mending();
    }
    rot(&mut net, 3, "k3");
    net.run(secs(5));
    assert_eq!([1, 3].map(|at| net.summary(at).quarantined), [true; 2], "one against one");
    assert!(net.get(1, "k3", C::One).is_err());
    net.heal();
    net.run(secs(8));
    net.assert_converged();
    assert_eq!(net.get(3, "k3", C::One), Ok(Some("v".into())));
    assert_eq!([1, 2, 3].map(|at| net.summary(at).quarantined), [false; 3]);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn a_planted_mismatch_ignored_is_noticed() {
    super::noticed(&[(&crate::planted::MISMATCH_IGNORED, a_replica_that_lost_a_row_is_mended_by_the_majority)]);
}
