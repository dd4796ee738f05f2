use super::*;
use crate::transport::CallError;
use crate::wire::{FRAME_BYTES_MAX, MESSAGE_BYTES_MAX};

#[tokio::test]
async fn frames_of_a_class_arrive_in_order_between_three_nodes() {
    let mut nodes = cluster(3).await;
    for round in 0..200u32 {
        for from in &nodes {
            for to in (1..=3).map(NodeId).filter(|to| *to != from.id) {
                for class in Class::ALL {
                    let frame = Bytes::from(
                        [&[from.id.0 as u8, class as u8][..], &round.to_le_bytes()].concat(),
                    );
                    assert!(from.transport.send(to, class, frame));
                }
            }
        }
    }
    for node in &mut nodes {
        let mut next: BTreeMap<(NodeId, Class), u32> = BTreeMap::new();
        while next.values().sum::<u32>() < 2 * 3 * 200 {
            if let Event::Frames(from, class, frames) = node.event().await {
                for frame in frames {
                    let expected = next.entry((from, class)).or_default();
                    let body = [&[from.0 as u8, class as u8][..], &expected.to_le_bytes()].concat();
                    assert_eq!(frame, body);
                    *expected += 1;
                }
            }
        }
    }
}

#[tokio::test]
async fn a_frame_of_any_allowed_length_arrives_whole() {
    let mut nodes = cluster(2).await;
    let lengths = [
        0,
        1,
        4096,
        4097,
        70_000,
        5_000_000,
        FRAME_BYTES_MAX,
        FRAME_BYTES_MAX + 1,
        48_000_000,
    ];
    for length in lengths {
        let frame = Bytes::from((0..length).map(|at| (at % 251) as u8).collect::<Vec<_>>());
        let sender = Arc::clone(&nodes[0].transport);
        eventually(|| {
            core::future::ready(
                sender
                    .send(NodeId(2), Class::Repair, frame.clone())
                    .then_some(()),
            )
        })
        .await;
        assert!(
            nodes[1].frames(Class::Repair, 1).await == [frame],
            "the frame of {length} bytes differs"
        );
    }
    assert!(!nodes[0].transport.send(
        NodeId(2),
        Class::Repair,
        Bytes::from(vec![0; MESSAGE_BYTES_MAX + 1])
    ));
}

#[tokio::test]
async fn a_small_frame_is_not_held_up_by_a_large_one_of_a_lower_class() {
    let mut nodes = cluster(2).await;
    assert!(nodes[0].transport.send(
        NodeId(2),
        Class::Repair,
        Bytes::from(vec![1; 2 * FRAME_BYTES_MAX])
    ));
    assert!(
        nodes[0]
            .transport
            .send(NodeId(2), Class::Control, Bytes::from_static(b"vote"))
    );
    match nodes[1].event().await {
        Event::Frames(_, Class::Control, frames) => {
            assert_eq!(frames, [Bytes::from_static(b"vote")]);
        }
        other => panic!(
            "{} came first",
            format!("{other:?}").chars().take(60).collect::<String>()
        ),
    }
    assert_eq!(
        nodes[1].frames(Class::Repair, 1).await[0].len(),
        2 * FRAME_BYTES_MAX
    );
}

#[tokio::test]
async fn calls_are_answered_each_with_its_own_answer() {
    let nodes = cluster(2).await;
    let calls: Vec<_> = (0..100u8)
        .map(|n| {
            (
                n,
                nodes[1]
                    .transport
                    .call(NodeId(1), Bytes::from(vec![n; 3]), PATIENCE),
            )
        })
        .collect();
    for (n, call) in calls.into_iter().rev() {
        assert_eq!(call.await, Ok(Bytes::from(vec![b'2', b':', n, n, n])));
    }
}

#[tokio::test]
async fn a_call_without_answer_says_why() {
    let nodes = cluster(2).await;
    let short = Duration::from_millis(50);
    let call = |to, request: Bytes, timeout| nodes[0].transport.call(to, request, timeout);
    let never = Bytes::from_static(b"never");
    assert_eq!(
        call(NodeId(2), never.clone(), short).await,
        Err(CallError::TimedOut {
            node: NodeId(2),
            after: short
        })
    );
    assert_eq!(
        call(NodeId(9), never.clone(), short).await,
        Err(CallError::NotConnected(NodeId(9)))
    );
    let bytes = MESSAGE_BYTES_MAX + 1;
    assert_eq!(
        call(NodeId(2), Bytes::from(vec![0; bytes]), short).await,
        Err(CallError::TooLarge { bytes })
    );
    let waiting = call(NodeId(2), never, PATIENCE);
    let (answer, ()) = tokio::join!(waiting, nodes[1].transport.shutdown());
    assert_eq!(answer, Err(CallError::Disconnected(NodeId(2))));
}

#[tokio::test]
async fn datagrams_arrive_and_long_ones_are_dropped() {
    let mut nodes = cluster(2).await;
    nodes[0]
        .transport
        .datagram(NodeId(2), Bytes::from(vec![9; 1101]));
    nodes[0]
        .transport
        .datagram(NodeId(2), Bytes::from(vec![7; 1100]));
    assert_eq!(
        nodes[1].event().await,
        Event::Datagram(NodeId(1), Bytes::from(vec![7; 1100]))
    );
}

#[tokio::test]
async fn a_restarted_peer_is_connected_again_and_nothing_of_before_comes() {
    let mut nodes = cluster(2).await;
    let old = nodes.pop().unwrap();
    let address = old.address();
    tokio::join!(old.transport.shutdown(), async {
        nodes[0].until_connection(NodeId(2), false).await;
        assert_eq!(
            nodes[0].transport.trouble(NodeId(2)),
            Some(PeerError::RefusedByPeer(CloseReason::Shutdown))
        );
    });
    assert!(
        !nodes[0]
            .transport
            .send(NodeId(2), Class::Data, Bytes::from_static(b"lost")),
        "nothing is queued for an absent node"
    );
    drop(old);
    eventually(|| core::future::ready(std::net::UdpSocket::bind(address).ok())).await;
    let config = QuicConfig::new(address, identity_of(2));
    let mut new = Node::start_as(config, |_, _| Err(JoinRefusal::NotReady));
    new.know(&[(NodeId(1), nodes[0].address())]);
    nodes[0].until_connection(NodeId(2), true).await;
    new.until_connection(NodeId(1), true).await;
    assert!(
        nodes[0]
            .transport
            .send(NodeId(2), Class::Data, Bytes::from_static(b"new"))
    );
    assert_eq!(
        new.frames(Class::Data, 1).await,
        [Bytes::from_static(b"new")]
    );
    assert_eq!(nodes[0].transport.trouble(NodeId(2)), None);
}

#[tokio::test]
async fn a_peer_that_comes_back_before_its_loss_is_noticed_takes_over() {
    let mut nodes = cluster(2).await;
    // A second process with the identity of node 1: what node 2 sees when node 1 was killed and
    // started again at once.
    let again = Node::start(identity_of(1));
    again.know(&[(NodeId(2), nodes[1].address())]);
    assert_eq!(nodes[1].event().await, Event::Connection(NodeId(1), false));
    assert_eq!(nodes[1].event().await, Event::Connection(NodeId(1), true));
}

#[tokio::test]
async fn a_node_taken_off_the_peers_is_disconnected() {
    let mut nodes = cluster(3).await;
    let third = nodes[2].address();
    nodes[0].know(&[(NodeId(3), third)]);
    nodes[0].until_connection(NodeId(2), false).await;
    nodes[1].until_connection(NodeId(1), false).await;
    assert!(nodes[0].transport.connected(NodeId(3)) && !nodes[0].transport.connected(NodeId(2)));
}

#[test]
fn binding_needs_a_runtime() {
    let (events, _unused) = mpsc::unbounded_channel();
    let recorder = Recorder {
        events,
        admitted: Mutex::default(),
        tokens: Mutex::default(),
        decide: Box::new(|_, _| Err(JoinRefusal::NotReady)),
    };
    let config = QuicConfig::new(loopback(0), identity_of(1));
    let bound = QuicTransport::bind(config, Arc::new(recorder));
    assert!(matches!(bound, Err(BindError::NoRuntime)));
}
