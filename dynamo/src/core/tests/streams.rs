//! Replicas that are streamed to: chunks that are lost, late or of another stream, and who may help whom.

use std::time::Duration;

use quorate_control::topology::Epoch;
use quorate_crdt::NodeId;

use super::net::{Net, PLACE, node, secs};
use crate::consistency::Consistency as C;
use crate::protocol::{Input, Message, Place, Timer};

fn keys(net: &mut Net, at: u64, keys: std::ops::Range<u32>, level: C) {
    for n in keys {
        net.set(at, &format!("k{n}"), "v", level).expect("enough replicas");
    }
}

/// n3 is so far behind that it must be streamed to.
fn one_far_behind() -> Net {
    let mut net = Net::new(&[3]);
    net.config.recent_max = 5;
    net.config.chunk_bytes = 600;
    net.boot_all();
    net.cut(&[3], &[1, 2]);
    keys(&mut net, 1, 0..50, C::Quorum);
    net.run(secs(2));
    net.heal();
    net
}

#[test]
fn a_lost_question_or_chunk_is_asked_for_again() {
    for lost in [|message: &Message| matches!(message, Message::Pull { .. }), |message: &Message| matches!(message, Message::Chunk { .. })]
    {
        let mut net = one_far_behind();
        // The third of these messages is lost.
        net.lose(3, lost);
        net.run(secs(10));
        assert_eq!(net.summary(3).rows, 50);
        net.assert_converged();
    }
}

#[test]
fn another_source_is_asked_when_the_first_falls_silent() {
    let mut net = one_far_behind();
    net.lose(2, |message| matches!(message, Message::Chunk { .. }));
    net.run(secs(1));
    let source = net.last_lost.take().expect("a chunk was lost").0;
    net.cut(&[source.0], &[3]);
    net.run(secs(10));
    assert_eq!(net.summary(3).rows, 50);
}

/// n4 is being filled, and the last piece of a stream to it is held back.
fn held_back() -> (Net, NodeId, Message) {
    let mut net = Net::three_of(4);
    net.config.chunk_bytes = 600;
    net.boot_all();
    keys(&mut net, 1, 0..30, C::All);
    net.run(secs(2));
    net.begin_move(&[1, 2, 4]);
    net.lose(1, |message| matches!(message, Message::Chunk { piece, .. } if piece.next.is_none()));
    while net.last_lost.is_none() {
        net.run(Duration::from_millis(50));
    }
    let (source, _, message) = net.last_lost.take().expect("lost");
    (net, source, message)
}

#[test]
fn a_late_chunk_of_an_abandoned_stream_is_ignored() {
    let (mut net, source, message) = held_back();
    // n4 loses sight of everybody and abandons the stream; what it has got of the keys so far is overwritten; it begins another stream.
    for n in 1..=3 {
        net.input(node(4), Input::Reachable { node: node(n), up: false });
    }
    net.input(node(4), Input::Timer(Timer::AntiEntropy));
    net.cut(&[1, 2, 3], &[4]);
    keys(&mut net, source.0, 0..30, C::Quorum);
    net.heal();
    for n in 1..=3 {
        net.input(node(4), Input::Reachable { node: node(n), up: true });
    }
    let place = Place { epoch: net.topology.epoch, ..PLACE };
    net.input(node(4), Input::Message { from: source, message: Message::Behind { place } });
    net.drop_all();
    net.input(node(4), Input::Message { from: source, message });
    assert!(net.summary(4).filling, "the new stream has brought nothing yet");
    net.run(secs(60));
    let (there, here) = (net.summary(source.0), net.summary(4));
    assert_eq!((here.filling, here.rows, here.digest), (false, there.rows, there.digest));
}

#[test]
fn replicas_that_lost_their_disks_together_are_filled() {
    for wiped in [vec![2, 3], vec![1, 2], vec![1, 2, 3]] {
        let mut net = Net::new(&[3]);
        keys(&mut net, 1, 0..50, C::All);
        net.run(secs(3));
        for at in &wiped {
            net.boot(node(*at), true);
        }
        net.run(secs(5));
        let filling = wiped.iter().filter(|at| net.summary(**at).filling).count();
        assert_eq!(filling, 0, "{wiped:?} lost their disks");
        let rows = if wiped.len() == 3 { 0 } else { 50 };
        assert_eq!([1, 2, 3].map(|at| net.summary(at).rows), [rows; 3], "{wiped:?} lost their disks");
        assert!(net.set(wiped[0], "new", "v", C::All).is_ok());
    }
}

#[test]
fn what_one_of_several_filling_replicas_got_reaches_the_others() {
    let mut net = Net::new(&[3]);
    keys(&mut net, 1, 0..50, C::All);
    net.run(secs(3));
    // n2 and n3 lose their disks; n2 is filled again; then n1 loses its own before it has spoken to n3.
    net.boot(node(2), true);
    net.boot(node(3), true);
    net.cut(&[1], &[3]);
    net.run(secs(3));
    net.boot(node(1), true);
    net.heal();
    net.run(secs(5));
    assert_eq!([1, 2, 3].map(|at| (net.summary(at).rows, net.summary(at).filling)), [(50, false); 3]);
}

#[test]
fn a_wiped_replica_waits_for_a_majority_of_the_others() {
    let mut net = Net::new(&[3]);
    // Acknowledged by n2 and n3, unknown to n1; then n2 loses its disk and n3 is away.
    net.cut(&[1], &[2, 3]);
    net.set(2, "k", "v", C::Quorum).expect("two of three");
    net.drop_all();
    net.cut(&[3], &[1, 2]);
    net.heal_between(&[1], &[2]);
    net.boot(node(2), true);
    for at in [1, 2] {
        net.input(node(at), Input::Reachable { node: node(3), up: false });
    }
    net.run(secs(30));
    assert!(net.summary(2).filling, "n1 and n2 together would be a majority that has not the write");
    net.heal();
    for at in [1, 2] {
        net.input(node(at), Input::Reachable { node: node(3), up: true });
    }
    net.run(secs(5));
    assert_eq!(net.get(2, "k", C::One), Ok(Some("v".into())));
}

#[test]
fn a_move_goes_on_while_one_old_replica_is_down() {
    let mut net = Net::three_of(4);
    net.set(2, "a", "v", C::All).expect("healthy");
    net.run(secs(1));
    net.cut(&[1], &[2, 3, 4]);
    for other in [2, 3, 4] {
        net.input(node(other), Input::Reachable { node: node(1), up: false });
    }
    net.begin_move(&[2, 3, 4]);
    net.run(secs(10));
    for to in [2, 3, 4] {
        assert!(net.reports.contains(&node(to)), "n{to} has not reported");
    }
}

#[test]
fn a_keyspace_made_while_holders_are_down_is_served_when_they_are_back() {
    let mut net = Net::new(&[3]);
    net.set_placement(|placement| placement.epoch = Epoch(5));
    net.boot(node(2), true);
    net.boot(node(3), true);
    net.run(secs(3));
    assert!([1, 2, 3].iter().all(|at| !net.summary(*at).filling));
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_of_streams_are_noticed() {
    use crate::planted;
    super::noticed(&[
        (&planted::CHUNK_OF_ANY_STREAM, a_late_chunk_of_an_abandoned_stream_is_ignored),
        (&planted::PULL_ONCE, a_lost_question_or_chunk_is_asked_for_again),
        (&planted::FILL_FROM_FILLED_ONLY, replicas_that_lost_their_disks_together_are_filled),
        (&planted::MOVER_FORGETS_ITSELF, a_move_goes_on_while_one_old_replica_is_down),
    ]);
}
