//! Everyone who is not a member, and what each is told. In every case the member reports no
//! connection: not one byte of state went out.

use quinn::{ClientConfig, Endpoint};

use super::*;

/// A member with number 5 that admits node 1.
fn member() -> Node {
    let node = Node::start(identity_of(5));
    node.know(&[(NodeId(1), loopback(9))]);
    node
}

/// Somebody who says that it is node 1 and has another key.
fn impostor() -> NodeIdentity {
    NodeIdentity::new(NodeId(1), CLUSTER, KeyPair::generate().unwrap())
}

/// Dials `member` as `identity` and waits until both sides have said what they think; then nothing
/// has come out of the member.
async fn refused(
    mut member: Node,
    identity: NodeIdentity,
    seen_by_member: CloseReason,
    seen_by_stranger: PeerError,
) {
    let stranger = Node::start(identity);
    stranger.know(&[(member.id, member.address())]);
    stranger
        .until(|transport| transport.trouble(NodeId(5)) == Some(seen_by_stranger.clone()))
        .await;
    if matches!(seen_by_stranger, PeerError::RefusedByPeer(_)) {
        member
            .until(|transport| transport.refused(seen_by_member) > 0)
            .await;
    }
    assert!(!member.transport.connected(stranger.id) && !stranger.transport.connected(NodeId(5)));
    member.transport.shutdown().await;
    assert!(
        member.events.try_recv().is_err(),
        "the member took part in a connection"
    );
}

#[tokio::test]
async fn a_node_that_was_not_admitted_is_told_so() {
    refused(
        member(),
        identity_of(2),
        CloseReason::NotAdmitted,
        PeerError::RefusedByPeer(CloseReason::NotAdmitted),
    )
    .await;
}

#[tokio::test]
async fn a_node_with_the_number_of_a_member_and_another_key_is_refused() {
    refused(
        member(),
        impostor(),
        CloseReason::NotAdmitted,
        PeerError::RefusedByPeer(CloseReason::NotAdmitted),
    )
    .await;
}

#[tokio::test]
async fn a_removed_node_cannot_connect_with_its_old_key() {
    let mut nodes = cluster(2).await;
    let removed = &nodes[0];
    // The member hears of the removal. The removed node does not, and dials again and again.
    nodes[1].know(&[]);
    removed
        .until(|transport| {
            transport.trouble(NodeId(2)) == Some(PeerError::RefusedByPeer(CloseReason::NotAdmitted))
        })
        .await;
    assert!(!nodes[1].transport.connected(NodeId(1)));
    assert_eq!(nodes[1].event().await, Event::Connection(NodeId(1), false));
    let error = attack(&nodes[1], &KEYS[1]).await;
    assert_eq!(error, PeerError::RefusedByPeer(CloseReason::NotAdmitted));
    nodes[1].transport.shutdown().await;
    assert!(nodes[1].events.try_recv().is_err(), "not even for a moment");
}

/// As long as the member believes both keys, whatever the other shows is good; then only the new
/// one is, and the connection under the old one ends.
#[tokio::test]
async fn a_connection_ends_with_the_key_that_was_shown_on_it() {
    let mut nodes = cluster(2).await;
    let (old, new) = (KEYS[1].public(), &KEYS[8]);
    let (mut member, changing) = (nodes.remove(1), nodes.remove(0));
    let at: Arc<str> = changing.address().to_string().into();
    let believe = |member: &Node, keys: &[PublicKey]| {
        let believed = keys.iter().map(|key| (*key, NodeId(1))).collect();
        *member.recorder.admitted.lock().unwrap() = believed;
        let peers = BTreeMap::from([(NodeId(1), Arc::clone(&at))]);
        member.transport.set_peers(peers);
    };
    believe(&member, &[old, new.public()]);
    changing.transport.show(new).unwrap();
    assert!(
        member.transport.connected(NodeId(1)),
        "nothing has ended yet"
    );
    believe(&member, &[new.public()]);
    assert_eq!(member.event().await, Event::Connection(NodeId(1), false));
    assert_eq!(
        member.event().await,
        Event::Connection(NodeId(1), true),
        "they meet again under the new key"
    );
    let error = attack(&member, &KEYS[1]).await;
    assert_eq!(error, PeerError::RefusedByPeer(CloseReason::NotAdmitted));
}

#[tokio::test]
async fn a_node_of_another_version_is_told_so() {
    let member = member();
    let endpoint = Endpoint::client(loopback(0)).unwrap();
    for other in [b"quorate/1".as_slice(), b"quorate/999", b"quorate-join/1"] {
        let config = ClientConfig::new(Arc::new(tls::client(&KEYS[1], other).unwrap()));
        let error = endpoint
            .connect_with(config, member.address(), tls::SERVER_NAME)
            .unwrap()
            .await
            .unwrap_err();
        assert_eq!(PeerError::from(&error), PeerError::OtherVersion);
    }
}

#[tokio::test]
async fn another_node_at_the_address_is_noticed() {
    let member = member();
    for (dialler, expected) in [(1, 7), (2, 5)] {
        let dialler = Node::start(identity_of(dialler));
        dialler.know(&[(NodeId(expected), member.address())]);
        // The second one expects the key of node 5 from somebody else.
        if expected == 5 {
            *dialler.recorder.admitted.lock().unwrap() = [(KEYS[6].public(), NodeId(5))].into();
        }
        dialler
            .until(|transport| {
                transport.trouble(NodeId(expected))
                    == Some(PeerError::Refused(CloseReason::WrongNode))
            })
            .await;
    }
}

/// Shows a key to `member` without looking at the member's own, as an attacker would.
async fn attack(member: &Node, keys: &KeyPair) -> PeerError {
    let endpoint = Endpoint::client(loopback(0)).unwrap();
    let config = ClientConfig::new(Arc::new(tls::client(keys, tls::ALPN).unwrap()));
    let connection = endpoint
        .connect_with(config, member.address(), tls::SERVER_NAME)
        .unwrap()
        .await
        .unwrap();
    let received = tokio::time::timeout(PATIENCE, connection.accept_uni())
        .await
        .unwrap();
    PeerError::from(&received.expect_err("the member opened a stream to a stranger"))
}

#[tokio::test]
async fn whoever_does_not_look_is_refused_by_the_member() {
    let mut member = member();
    for (keys, reason, count) in [
        (&KEYS[2], CloseReason::NotAdmitted, 1),
        (impostor().keys(), CloseReason::NotAdmitted, 2),
    ] {
        assert_eq!(
            attack(&member, keys).await,
            PeerError::RefusedByPeer(reason)
        );
        assert_eq!(member.transport.refused(reason), count);
    }
    member.transport.shutdown().await;
    assert!(
        member.events.try_recv().is_err(),
        "the member took part in a connection"
    );
}

#[tokio::test]
async fn whoever_shows_no_key_or_another_kind_does_not_pass_the_handshake() {
    let member = member();
    let endpoint = Endpoint::client(loopback(0)).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut anonymous = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    for alpn in [tls::ALPN, tls::ALPN_JOIN] {
        anonymous.alpn_protocols = vec![alpn.to_vec()];
        let quic = quinn::crypto::rustls::QuicClientConfig::try_from(anonymous.clone()).unwrap();
        let refused = endpoint
            .connect_with(
                ClientConfig::new(Arc::new(quic)),
                member.address(),
                tls::SERVER_NAME,
            )
            .unwrap()
            .await;
        assert!(refused.is_err(), "{refused:?}");
    }
}
