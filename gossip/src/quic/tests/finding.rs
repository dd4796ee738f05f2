//! How nodes find each other when addresses change, and that one connection is left.

use super::*;

/// An address at which nobody is.
fn nowhere() -> SocketAddr {
    loopback(9)
}

async fn connected(nodes: &[&Node; 2]) {
    for (node, peer) in [(nodes[0], nodes[1].id), (nodes[1], nodes[0].id)] {
        node.until(|transport| transport.connected(peer)).await;
    }
}

/// Nodes 1 and 2 of one cluster, not connected.
fn two() -> (Node, Node) {
    (Node::start(identity_of(1)), Node::start(identity_of(2)))
}

#[tokio::test]
async fn either_side_may_dial() {
    for (told_first, told_second) in [(true, false), (false, true)] {
        let (first, second) = two();
        let told = |known: bool, node: &Node| if known { node.address() } else { nowhere() };
        first.know(&[(second.id, told(told_first, &second))]);
        second.know(&[(first.id, told(told_second, &first))]);
        connected(&[&first, &second]).await;
    }
}

/// Both dial at the same time, again and again: in the end one connection carries everything.
#[tokio::test]
async fn of_two_dials_one_connection_stays() {
    let (first, mut second) = two();
    first.know(&[(second.id, second.address())]);
    second.know(&[(first.id, first.address())]);
    for node in [&first, &second] {
        let seed = if node.id == first.id { &second } else { &first };
        node.transport
            .ask_at(vec![seed.address().to_string().into()]);
    }
    connected(&[&first, &second]).await;
    for round in 0..20_u8 {
        let frame = Bytes::from(vec![round]);
        eventually(|| {
            let sent = first.transport.send(second.id, Class::Data, frame.clone());
            core::future::ready(sent.then_some(()))
        })
        .await;
        assert_eq!(second.frames(Class::Data, 1).await, [frame]);
    }
}

#[tokio::test]
async fn a_node_that_came_from_elsewhere_is_found_there_again() {
    let (first, second) = two();
    // Only the second knows where the other is.
    first.know(&[(second.id, nowhere())]);
    second.know(&[(first.id, first.address())]);
    connected(&[&first, &second]).await;
    let address = second.address();
    second.transport.shutdown().await;
    drop(second);
    eventually(|| core::future::ready(std::net::UdpSocket::bind(address).ok())).await;
    // It comes back where it was, and does not know any more where the first is.
    let config = QuicConfig::new(address, identity_of(2));
    let second = Node::start_as(config, |_, _| Err(JoinRefusal::NotReady));
    second.know(&[(first.id, nowhere())]);
    connected(&[&first, &second]).await;
}

#[tokio::test]
async fn a_seed_leads_to_members_whose_addresses_are_out_of_date() {
    let start = |node, seeds: Vec<SocketAddr>| {
        let node = Node::start(identity_of(node));
        let seeds = seeds.iter().map(|address| address.to_string().into());
        node.transport.ask_at(seeds.collect());
        node
    };
    let first = start(1, Vec::new());
    // A list of all members names the node itself and may name nobody.
    let second = start(2, vec![nowhere(), first.address()]);
    let third = start(3, vec![second.address(), first.address()]);
    let all = [first, second, third];
    for node in &all {
        let others: Vec<_> = all
            .iter()
            .filter(|other| other.id != node.id)
            .map(|other| (other.id, nowhere()))
            .collect();
        node.know(&others);
    }
    for node in &all {
        for other in all.iter().filter(|other| other.id != node.id) {
            node.until(|transport| transport.connected(other.id)).await;
        }
    }
}

#[tokio::test]
async fn a_seed_that_is_the_node_itself_is_passed_over() {
    let (first, second) = two();
    first.know(&[(second.id, nowhere())]);
    second.know(&[(first.id, nowhere())]);
    let both = || [&first, &second].map(|node| node.address().to_string().into());
    second.transport.ask_at(both().to_vec());
    connected(&[&first, &second]).await;
    assert_eq!(second.transport.refused(CloseReason::Duplicate), 0);
}

#[tokio::test]
async fn what_another_member_has_met_leads_to_a_node() {
    let (first, second) = two();
    let third = Node::start(identity_of(3));
    first.know(&[(second.id, nowhere()), (third.id, third.address())]);
    second.know(&[(first.id, nowhere()), (third.id, third.address())]);
    third.know(&[(first.id, nowhere()), (second.id, nowhere())]);
    connected(&[&first, &third]).await;
    connected(&[&second, &third]).await;
    let met = third.transport.met();
    assert_eq!(met.len(), 2);
    // Of a stranger nothing is kept.
    let strange = BTreeMap::from([(NodeId(9), third.address().to_string().into())]);
    first.transport.hear(strange);
    first.transport.hear(met);
    connected(&[&first, &second]).await;
}

#[tokio::test]
async fn an_address_that_changes_closes_no_connection() {
    let (mut first, second) = two();
    first.know(&[(second.id, second.address())]);
    second.know(&[(first.id, first.address())]);
    connected(&[&first, &second]).await;
    first.until_connection(second.id, true).await;
    first.know(&[(second.id, nowhere())]);
    assert!(
        first
            .transport
            .send(second.id, Class::Data, Bytes::from_static(b"on"))
    );
    assert!(
        first.events.try_recv().is_err(),
        "the connection is as it was"
    );
}

#[tokio::test]
async fn a_name_is_looked_up_and_one_that_does_not_exist_is_said() {
    let (first, second) = two();
    let named = |address: SocketAddr| format!("localhost:{}", address.port()).into();
    first.admit(&[second.id]);
    first.transport.set_peers(BTreeMap::from([(
        second.id,
        "no-such-host.invalid:1".into(),
    )]));
    first
        .until(|transport| transport.trouble(NodeId(2)) == Some(PeerError::UnknownHost))
        .await;
    first
        .transport
        .set_peers(BTreeMap::from([(second.id, named(second.address()))]));
    second.know(&[(first.id, nowhere())]);
    connected(&[&first, &second]).await;
}
