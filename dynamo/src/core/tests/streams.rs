//! Streams: chunks that are lost, late or from another stream, and who may help whom.

use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::{Epoch, KeyspaceId, Placement};
use quorate_crdt::NodeId;

use super::net::{Net, node, secs, topology};
use crate::consistency::Consistency as C;
use crate::core::healing::STREAMS_AT_ONCE;
use crate::op::Mutation;
use crate::protocol::{Input, Message, Timer};

fn keys(net: &mut Net, at: u64, keys: std::ops::Range<u32>, level: C) {
    for n in keys {
        net.set(at, &format!("k{n}"), "v", level)
            .expect("enough replicas");
    }
}

/// n3 is so far behind that it must be streamed to.
fn one_far_behind() -> Net {
    let mut net = Net::new(&[3]);
    net.config.recent.events_max = 5;
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
    for lost in [
        |message: &Message| matches!(message, Message::Pull { .. }),
        |message: &Message| matches!(message, Message::Chunk { .. }),
    ] {
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
    net.run_until_lost();
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
    net.lose(
        1,
        |message| matches!(message, Message::Chunk { piece, .. } if piece.next.is_none()),
    );
    net.run_until_lost();
    let (source, _, message) = net.last_lost.take().expect("lost");
    (net, source, message)
}

#[test]
fn a_late_chunk_of_an_abandoned_stream_is_ignored() {
    let (mut net, source, message) = held_back();
    // n4 loses sight of everybody and abandons the stream. The keys that it has got so far are
    // overwritten, and it begins another stream.
    for n in 1..=3 {
        net.input(
            node(4),
            Input::Reachable {
                node: node(n),
                up: false,
            },
        );
    }
    net.input(node(4), Input::Timer(Timer::AntiEntropy));
    net.cut(&[1, 2, 3], &[4]);
    keys(&mut net, source.0, 0..30, C::Quorum);
    net.heal();
    for n in 1..=3 {
        net.input(
            node(4),
            Input::Reachable {
                node: node(n),
                up: true,
            },
        );
    }
    net.input(node(4), Input::Timer(Timer::AntiEntropy));
    net.drop_all();
    net.input(
        node(4),
        Input::Message {
            from: source,
            message,
        },
    );
    assert!(
        net.summary(4).filling,
        "the new stream has brought nothing yet"
    );
    net.run(secs(60));
    let (there, here) = (net.summary(source.0), net.summary(4));
    assert_eq!(
        (here.filling, here.rows, here.digest),
        (false, there.rows, there.digest)
    );
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
        assert_eq!(
            [1, 2, 3].map(|at| net.summary(at).rows),
            [rows; 3],
            "{wiped:?} lost their disks"
        );
        assert!(net.set(wiped[0], "new", "v", C::All).is_ok());
    }
}

#[test]
fn what_one_of_several_filling_replicas_got_reaches_the_others() {
    let mut net = Net::new(&[3]);
    keys(&mut net, 1, 0..50, C::All);
    net.run(secs(3));
    // n2 and n3 lose their disks, and n2 is filled again. Then n1 loses its own before it has
    // reported to n3.
    net.boot(node(2), true);
    net.boot(node(3), true);
    net.cut(&[1], &[3]);
    net.run(secs(3));
    net.boot(node(1), true);
    net.heal();
    net.run(secs(5));
    assert_eq!(
        [1, 2, 3].map(|at| (net.summary(at).rows, net.summary(at).filling)),
        [(50, false); 3]
    );
}

#[test]
fn a_wiped_replica_waits_for_a_majority_of_the_others() {
    let mut net = Net::new(&[3]);
    // Acknowledged by n2 and n3, unknown to n1. Then n2 loses its disk while n3 is away.
    net.cut(&[1], &[2, 3]);
    net.set(2, "k", "v", C::Quorum).expect("two of three");
    net.drop_all();
    net.cut(&[3], &[1, 2]);
    net.heal_between(&[1], &[2]);
    net.boot(node(2), true);
    for at in [1, 2] {
        net.input(
            node(at),
            Input::Reachable {
                node: node(3),
                up: false,
            },
        );
    }
    net.run(secs(30));
    assert!(
        net.summary(2).filling,
        "n1 and n2 together would be a majority that has not the write"
    );
    net.heal();
    for at in [1, 2] {
        net.input(
            node(at),
            Input::Reachable {
                node: node(3),
                up: true,
            },
        );
    }
    net.run(secs(5));
    assert_eq!(net.get(2, "k", C::One), Ok(Some("v".into())));
}

#[test]
fn a_wiped_replica_that_was_the_only_one_waits_for_those_it_moves_to() {
    let mut net = Net::new(&[2]);
    net.set_placement(|placement| *placement = Placement::stable(placement.epoch, vec![node(1)]));
    net.begin_move(&[1, 2]);
    net.set(1, "k", "v", C::Quorum).expect("both have it");
    net.cut(&[1], &[2]);
    net.boot(node(1), true);
    net.input(
        node(1),
        Input::Reachable {
            node: node(2),
            up: false,
        },
    );
    net.run(secs(10));
    assert!(net.summary(1).filling, "n2 alone has what was acknowledged");
    net.heal();
    net.input(
        node(1),
        Input::Reachable {
            node: node(2),
            up: true,
        },
    );
    net.run(secs(5));
    assert_eq!(net.get(1, "k", C::One), Ok(Some("v".into())));
}

#[test]
fn a_move_goes_on_while_one_old_replica_is_down() {
    let mut net = Net::three_of(4);
    net.set(2, "a", "v", C::All).expect("healthy");
    net.run(secs(1));
    net.cut(&[1], &[2, 3, 4]);
    for other in [2, 3, 4] {
        net.input(
            node(other),
            Input::Reachable {
                node: node(1),
                up: false,
            },
        );
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

#[test]
fn what_is_written_behind_a_stream_is_not_taken_for_seen() {
    let (mut net, source, _) = held_back();
    // While the last piece is on its way, what has already passed is overwritten, and n4 hears
    // nothing of it. Then the last piece arrives.
    let others: Vec<u64> = (1..=3).collect();
    net.cut(&others, &[4]);
    keys(&mut net, source.0, 0..30, C::Quorum);
    net.heal();
    net.lose(1, |message| {
        matches!(message, Message::Repair { .. } | Message::Behind { .. })
    });
    while net.summary(4).filling {
        net.run(Duration::from_millis(50));
    }
    let (there, here) = (net.summary(source.0), net.summary(4));
    assert!(
        there.context != here.context || there.digest == here.digest,
        "equal contexts, different rows"
    );
    net.run(secs(10));
    assert_eq!(net.summary(source.0).digest, net.summary(4).digest);
}

/// Adds members to a set, at ONE.
fn grow(net: &mut Net, at: u64, members: std::ops::Range<usize>) {
    let members: Vec<Bytes> = members
        .map(|n| Bytes::from(format!("member-{n:025}")))
        .collect();
    for some in members.chunks(5_000) {
        net.mutate(at, "set", Mutation::Add(some.to_vec()), C::One)
            .expect("ONE is local");
    }
}

#[test]
fn a_key_larger_than_a_message_is_streamed_in_pieces() {
    let mut net = Net::new(&[3]);
    net.config.chunk_bytes = 64 * 1024;
    net.boot_all();
    grow(&mut net, 1, 0..20_000);
    net.run(secs(5));
    net.assert_converged();
    net.boot(node(3), true);
    net.drop_all();
    net.largest_chunk = 0;
    net.run(secs(10));
    net.assert_converged();
    assert_eq!(net.summary(3).rows, 20_000);
    assert!(
        (1..256 * 1024).contains(&net.largest_chunk),
        "a piece of {} bytes",
        net.largest_chunk
    );
}

#[test]
fn the_repair_of_a_key_that_was_refilled_comes_in_pieces() {
    let mut net = Net::new(&[3]);
    net.config.chunk_bytes = 16 * 1024;
    net.boot_all();
    grow(&mut net, 1, 0..1_000);
    net.run(secs(5));
    net.cut(&[3], &[1, 2]);
    net.mutate(1, "set", Mutation::Delete, C::Quorum)
        .expect("two of three");
    grow(&mut net, 1, 500..10_000);
    net.run(secs(2));
    net.heal();
    net.largest_chunk = 0;
    net.run(secs(20));
    net.assert_converged();
    assert_eq!(net.summary(3).rows, 9_500);
    assert!(
        net.largest_chunk < 128 * 1024,
        "a message of {} bytes",
        net.largest_chunk
    );
}

#[test]
fn hints_are_counted_with_values_and_die_with_their_owner() {
    let mut net = Net::three_of(5);
    net.config.hint_bytes_max = 100_000;
    net.boot_all();
    net.run(secs(1));
    net.cut(&[3], &[1, 2, 4, 5]);
    for n in [1, 2, 4, 5] {
        net.input(
            node(n),
            Input::Reachable {
                node: node(3),
                up: false,
            },
        );
    }
    let value = "v".repeat(5_000);
    for n in 0..50 {
        net.set(1, &format!("k{n}"), &value, C::Quorum)
            .expect("two of three");
    }
    let held: usize = net.cores.values().map(crate::Dynamo::hint_bytes).sum();
    let kept: u64 = net
        .cores
        .values()
        .map(|core| core.counters().hints.kept)
        .sum();
    let dropped: u64 = net
        .cores
        .values()
        .map(|core| core.counters().hints.dropped)
        .sum();
    assert!(
        held <= 100_000 && held >= kept as usize * 5_000,
        "{held} bytes for {kept} hints"
    );
    assert_eq!((kept + dropped, dropped > 25), (50, true));
    net.set_placement(|placement| placement.replicas = vec![node(1), node(2)]);
    assert_eq!(
        net.cores
            .values()
            .map(crate::Dynamo::hint_bytes)
            .sum::<usize>(),
        0,
        "n3 holds nothing any more"
    );
}

#[test]
fn a_limit_never_stops_progress() {
    for chunk_bytes in [0, 1, 100] {
        let mut net = Net::new(&[3]);
        net.config.chunk_bytes = chunk_bytes;
        net.config.hint_bytes_max = 0;
        net.boot_all();
        grow(&mut net, 1, 0..20);
        net.run(secs(5));
        net.cut(&[3], &[1, 2]);
        keys(&mut net, 1, 0..5, C::Quorum);
        net.mutate(2, "set", Mutation::Delete, C::Quorum)
            .expect("two of three");
        grow(&mut net, 1, 10..30);
        net.set(3, "alone", "v", C::One).expect("ONE is local");
        net.run(secs(2));
        net.heal();
        net.run(secs(20));
        net.assert_converged();
        assert_eq!(net.summary(3).rows, 26, "chunks of {chunk_bytes} bytes");
        net.boot(node(3), true);
        net.run(secs(20));
        net.assert_converged();
        assert_eq!(net.summary(3).rows, 26, "chunks of {chunk_bytes} bytes");
    }
}

#[test]
fn filling_keeps_one_residual_and_few_runs() {
    let mut net = Net::new(&[3]);
    net.config.chunk_bytes = 600;
    net.boot_all();
    keys(&mut net, 1, 0..200, C::All);
    net.run(secs(3));
    net.boot(node(3), true);
    // Half of the stream passes.
    net.lose(15, |message| matches!(message, Message::Chunk { .. }));
    net.run_until_lost();
    let half = net.summary(3);
    assert!(
        half.rows > 50 && half.residuals <= 2 && half.recent == 0,
        "{half:?}"
    );
    net.run(secs(10));
    net.assert_converged();
}

#[test]
fn streams_take_turns() {
    let mut topology = topology(&[3]);
    let keyspace = topology.keyspaces.get_mut(&KeyspaceId(0)).expect("default");
    keyspace.placement = vec![keyspace.placement[0].clone(); 64];
    let mut net = Net::of(topology);
    net.config.chunk_bytes = 600;
    net.boot_all();
    keys(&mut net, 1, 0..512, C::All);
    net.run(secs(2));
    net.latency = |_, _| Duration::from_millis(20);
    net.boot(node(3), true);
    let mut most = 0;
    for _ in 0..600 {
        net.run(Duration::from_millis(10));
        most = most.max(net.cores[&node(3)].healing.streaming());
    }
    assert_eq!(most, STREAMS_AT_ONCE, "64 partitions are filled");
    let filled = net.cores[&node(3)].summaries();
    assert!(filled.iter().all(|replica| !replica.filling));
    assert_eq!(filled.iter().map(|replica| replica.rows).sum::<u64>(), 512);
}

#[test]
fn a_busy_node_does_not_ask_again_for_what_lies_in_its_inbox() {
    let mut net = one_far_behind();
    net.lose(1, |message| matches!(message, Message::Chunk { .. }));
    net.run_until_lost();
    let (source, to, chunk) = net.last_lost.take().expect("a chunk was lost");
    // The node is busy for 5 s. Then its timer is handled before its inbox.
    net.now += secs(5);
    net.input(to, Input::Timer(Timer::AntiEntropy));
    let asks = |(from, _, message): &(NodeId, NodeId, Message)| {
        *from == to && matches!(message, Message::Pull { .. })
    };
    assert_eq!(net.queue.iter().filter(|sent| asks(sent)).count(), 0);
    net.input(
        to,
        Input::Message {
            from: source,
            message: chunk,
        },
    );
    assert_eq!(net.queue.iter().filter(|sent| asks(sent)).count(), 1);
}

#[cfg(feature = "planted-bugs")]
#[test]
fn planted_bugs_of_streams_are_noticed() {
    use crate::planted;
    super::noticed(&[
        (
            &planted::CHUNK_OF_ANY_STREAM,
            a_late_chunk_of_an_abandoned_stream_is_ignored,
        ),
        (&planted::STREAMS_ALL_AT_ONCE, streams_take_turns),
        (&planted::BOUND_OF_NOTHING, a_limit_never_stops_progress),
        (
            &planted::PULL_ONCE,
            a_lost_question_or_chunk_is_asked_for_again,
        ),
        (
            &planted::FILL_FROM_FILLED_ONLY,
            replicas_that_lost_their_disks_together_are_filled,
        ),
        (
            &planted::HINTS_UNCOUNTED,
            hints_are_counted_with_values_and_die_with_their_owner,
        ),
        (
            &planted::ADOPT_LAST_CONTEXT,
            what_is_written_behind_a_stream_is_not_taken_for_seen,
        ),
        (
            &planted::MOVER_FORGETS_ITSELF,
            a_move_goes_on_while_one_old_replica_is_down,
        ),
        (
            &planted::ALONE_IS_EVERYBODY,
            a_wiped_replica_that_was_the_only_one_waits_for_those_it_moves_to,
        ),
    ]);
}
