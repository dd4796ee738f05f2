//! Everyone who is not a member, and what each is told. In every case the member reports no
//! connection: not one byte of state went out.

use quinn::{ClientConfig, Endpoint};

use super::*;

const CLUSTER: u128 = 0xA11CE;

/// A member with number 5 that admits node 1, and the authority behind it.
fn member() -> (ClusterAuthority, Node) {
    let authority = ClusterAuthority::generate(CLUSTER).unwrap();
    let node = Node::start(authority.identity(NodeId(5)).unwrap());
    node.know(&[(NodeId(1), loopback(9))]);
    (authority, node)
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
    let (authority, member) = member();
    let identity = authority.identity(NodeId(2)).unwrap();
    refused(
        member,
        identity,
        CloseReason::NotAdmitted,
        PeerError::RefusedByPeer(CloseReason::NotAdmitted),
    )
    .await;
}

#[tokio::test]
async fn a_forged_authority_of_the_same_cluster_name_is_refused_by_both_sides() {
    let (_, member) = member();
    let forged = ClusterAuthority::generate(CLUSTER)
        .unwrap()
        .identity(NodeId(1))
        .unwrap();
    // The dialling side looks first: to it, the member is the one with the foreign authority.
    refused(
        member,
        forged,
        CloseReason::ForeignAuthority,
        PeerError::Refused(CloseReason::ForeignAuthority),
    )
    .await;
}

#[tokio::test]
async fn a_node_of_another_cluster_is_refused_by_both_sides() {
    let (_, member) = member();
    let other = ClusterAuthority::generate(0xB0B)
        .unwrap()
        .identity(NodeId(1))
        .unwrap();
    refused(
        member,
        other,
        CloseReason::OtherCluster,
        PeerError::Refused(CloseReason::OtherCluster),
    )
    .await;
}

#[tokio::test]
async fn a_node_of_another_version_is_told_so() {
    let (authority, member) = member();
    let endpoint = Endpoint::client(loopback(0)).unwrap();
    let lower = authority.identity(NodeId(1)).unwrap();
    for (identity, other) in [
        (Some(&lower), b"quorate/1".as_slice()),
        (Some(&lower), b"quorate/999"),
        (None, b"quorate-join/1"),
    ] {
        let config = ClientConfig::new(Arc::new(tls::client(identity, other).unwrap()));
        let error = endpoint
            .connect_with(config, member.address(), "node")
            .unwrap()
            .await
            .unwrap_err();
        assert_eq!(PeerError::from(&error), PeerError::OtherVersion);
    }
}

#[tokio::test]
async fn another_node_at_the_address_is_noticed() {
    let (authority, member) = member();
    let dialler = Node::start(authority.identity(NodeId(1)).unwrap());
    dialler.know(&[(NodeId(7), member.address())]);
    dialler
        .until(|transport| {
            transport.trouble(NodeId(7)) == Some(PeerError::Refused(CloseReason::WrongNode))
        })
        .await;
}

/// Shows `identity` (or nothing) to `member` without looking at the member's own certificate, as an
/// attacker would.
async fn attack(member: &Node, identity: Option<&NodeIdentity>) -> PeerError {
    let endpoint = Endpoint::client(loopback(0)).unwrap();
    let config = ClientConfig::new(Arc::new(tls::client(identity, tls::ALPN).unwrap()));
    let connection = endpoint
        .connect_with(config, member.address(), "node")
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
    let (_, mut member) = member();
    let forged = ClusterAuthority::generate(CLUSTER)
        .unwrap()
        .identity(NodeId(1))
        .unwrap();
    let other = ClusterAuthority::generate(0xB0B)
        .unwrap()
        .identity(NodeId(1))
        .unwrap();
    for (identity, reason) in [
        (None, CloseReason::NoCertificate),
        (Some(&forged), CloseReason::ForeignAuthority),
        (Some(&other), CloseReason::OtherCluster),
    ] {
        assert_eq!(
            attack(&member, identity).await,
            PeerError::RefusedByPeer(reason)
        );
        assert_eq!(member.transport.refused(reason), 1);
    }
    member.transport.shutdown().await;
    assert!(
        member.events.try_recv().is_err(),
        "the member took part in a connection"
    );
}
