use super::*;
use crate::token::{JoinToken, TokenError};

/// A member that lets one newcomer in by `token`, as node 2, and then no other; names and times as
/// a control plane would check them.
fn member() -> (Node, JoinToken, ClusterAuthority) {
    let authority = ClusterAuthority::generate(77).unwrap();
    let token = authority.token(4).unwrap();
    let (known, secret) = (token.clone(), authority.to_secret());
    let used = Mutex::new(false);
    let decide = move |request: &JoinRequest| match request.token {
        3 => Err(JoinRefusal::Expired),
        4 if request.secret == known.secret => {
            let mut used = used.lock().unwrap();
            match request.name.as_ref() {
                "taken" => Err(JoinRefusal::NameTaken),
                _ if *used => Err(JoinRefusal::UsedUp),
                _ => {
                    *used = true;
                    Ok(JoinGrant {
                        node: NodeId(2),
                        authority: secret.clone(),
                        topology: Bytes::from_static(b"the topology"),
                    })
                }
            }
        }
        _ => Err(JoinRefusal::UnknownToken),
    };
    let node = Node::start_as(
        QuicConfig::new(loopback(0), authority.identity(NodeId(1)).unwrap()),
        decide,
    );
    (node, token, authority)
}

fn named(name: &str) -> JoinRequest {
    let nothing = TokenSecret([0; 16]);
    let (datacenter, rack, quic) = ("dc".into(), "r".into(), "127.0.0.1:1".into());
    JoinRequest {
        token: 0,
        secret: nothing,
        name: name.into(),
        datacenter,
        rack,
        quic,
        instance: 1,
    }
}

use crate::token::TokenSecret;

#[tokio::test]
async fn a_newcomer_becomes_a_member_once() {
    let (mut member, token, _authority) = member();
    let token: JoinToken = token.to_string().parse().unwrap();
    let joined = join(member.address(), &token, named("new")).await.unwrap();
    assert_eq!(
        (joined.identity.node(), joined.identity.cluster()),
        (NodeId(2), 77)
    );
    assert_eq!(joined.topology, "the topology");
    // The identity survives the disk and is worth a connection.
    let identity = NodeIdentity::from_secret(&joined.identity.to_secret()).unwrap();
    let newcomer = Node::start(identity);
    newcomer.know(&[(NodeId(1), member.address())]);
    member.know(&[(NodeId(2), newcomer.address())]);
    member.until_connection(NodeId(2), true).await;
    // The token is spent.
    let again = join(member.address(), &token, named("second"))
        .await
        .unwrap_err();
    assert!(
        matches!(again, JoinError::Refused(JoinRefusal::UsedUp)),
        "{again:?}"
    );
}

#[tokio::test]
async fn each_wrong_token_is_told_what_is_wrong() {
    let (member, token, _authority) = member();
    let wrong_secret = JoinToken {
        secret: TokenSecret([1; 16]),
        ..token.clone()
    };
    let expired = JoinToken {
        id: 3,
        ..token.clone()
    };
    let unknown = JoinToken {
        id: 99,
        ..token.clone()
    };
    for (token, name, expected) in [
        (&wrong_secret, "new", JoinRefusal::UnknownToken),
        (&unknown, "new", JoinRefusal::UnknownToken),
        (&expired, "new", JoinRefusal::Expired),
        (&token, "taken", JoinRefusal::NameTaken),
    ] {
        match join(member.address(), token, named(name))
            .await
            .unwrap_err()
        {
            JoinError::Refused(refusal) => assert_eq!(refusal, expected),
            other => panic!("{other:?}"),
        }
    }
    let garbage = token.to_string().replace("qt1.", "qt1.%");
    assert_eq!(garbage.parse::<JoinToken>(), Err(TokenError::Alphabet));
    // None of it used the token up.
    assert!(join(member.address(), &token, named("new")).await.is_ok());
}

#[tokio::test]
async fn a_stranger_at_the_address_never_sees_the_secret() {
    let asked = Arc::new(Mutex::new(0));
    let start = |cluster, asked: Arc<Mutex<u32>>| {
        let identity = ClusterAuthority::generate(cluster)
            .unwrap()
            .identity(NodeId(1))
            .unwrap();
        Node::start_as(QuicConfig::new(loopback(0), identity), move |_| {
            *asked.lock().unwrap() += 1;
            Err(JoinRefusal::UnknownToken)
        })
    };
    let impostor = start(77, Arc::clone(&asked));
    let other = start(78, Arc::clone(&asked));
    let token = ClusterAuthority::generate(77).unwrap().token(1).unwrap();
    let error = join(impostor.address(), &token, named("new"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, JoinError::ForeignAuthority { address } if address == impostor.address()),
        "{error:?}"
    );
    let error = join(other.address(), &token, named("new"))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            JoinError::AnotherCluster {
                found: 78,
                expected: 77,
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(*asked.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_join_connection_can_do_nothing_else() {
    let (mut member, ..) = member();
    let endpoint = quinn::Endpoint::client(loopback(0)).unwrap();
    let dial = || {
        let config = quinn::ClientConfig::new(Arc::new(tls::client(None, tls::ALPN_JOIN).unwrap()));
        endpoint
            .connect_with(config, member.address(), "join")
            .unwrap()
    };
    // Streams and datagrams as a member would send them, and then a question that is none.
    let connection = dial().await.unwrap();
    let mut control = connection.open_uni().await.unwrap();
    control.write_all(&[0, 2, 0, 0, 0, 0, 1]).await.unwrap();
    connection
        .send_datagram(Bytes::from_static(b"probe"))
        .unwrap();
    let (mut ask, mut answer) = connection.open_bi().await.unwrap();
    ask.write_all(b"let me in").await.unwrap();
    ask.finish().unwrap();
    assert!(answer.read_to_end(1000).await.is_err());
    assert_eq!(
        PeerError::from(&connection.closed().await),
        PeerError::RefusedByPeer(CloseReason::Violation)
    );
    member.transport.shutdown().await;
    assert!(member.events.try_recv().is_err());
}

#[tokio::test]
async fn nobody_at_the_address_is_unreachable() {
    let (member, token, _authority) = member();
    let address = member.address();
    member.transport.shutdown().await;
    drop(member);
    let error = join(address, &token, named("new")).await.unwrap_err();
    assert!(
        matches!(error, JoinError::Unreachable { address: dialled } if dialled == address),
        "{error:?}"
    );
}
