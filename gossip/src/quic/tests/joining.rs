use super::*;
use crate::token::{TokenError, TokenSecret};
use crate::wire;

/// A member that lets one newcomer in by the token, as node 2, and then no other; names and times
/// as a control plane would check them.
fn member() -> (Node, JoinToken) {
    let token = JoinToken::draw(CLUSTER).unwrap();
    let spent = JoinToken::draw(CLUSTER).unwrap();
    let let_in = Mutex::new(None);
    let id = token.id;
    let decide = move |key, request: &JoinRequest| {
        if request.token != id {
            return Err(JoinRefusal::Expired);
        }
        let mut let_in = let_in.lock().unwrap();
        match request.name.as_ref() {
            "taken" => Err(JoinRefusal::NameTaken),
            _ if *let_in.get_or_insert(key) != key => Err(JoinRefusal::UsedUp),
            _ => Ok(JoinGrant {
                node: NodeId(2),
                topology: Bytes::from_static(b"the topology"),
            }),
        }
    };
    let node = Node::start_as(QuicConfig::new(loopback(0), identity_of(1)), decide);
    *node.recorder.tokens.lock().unwrap() = vec![token.clone(), spent];
    (node, token)
}

fn named(name: &str) -> JoinRequest {
    let (datacenter, rack, quic) = ("dc".into(), "r".into(), "127.0.0.1:1".into());
    JoinRequest {
        token: 0,
        name: name.into(),
        datacenter,
        rack,
        quic,
        durable: true,
        witness: false,
        replaces: None,
        expects: Expected::default(),
    }
}

async fn refusal(address: SocketAddr, token: &JoinToken, name: &str) -> JoinRefusal {
    let keys = KeyPair::generate().unwrap();
    match join(address, token, &keys, named(name)).await.unwrap_err() {
        JoinError::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_newcomer_becomes_a_member_once_and_may_ask_again() {
    let (mut member, token) = member();
    let token: JoinToken = token.to_string().parse().unwrap();
    for _again in 0..2 {
        let granted = join(member.address(), &token, &KEYS[2], named("new"))
            .await
            .unwrap();
        assert_eq!(granted.node, NodeId(2));
        assert_eq!(granted.topology, "the topology");
    }
    // Its key is worth a connection.
    let newcomer = Node::start(identity_of(2));
    newcomer.know(&[(NodeId(1), member.address())]);
    member.know(&[(NodeId(2), newcomer.address())]);
    member.until_connection(NodeId(2), true).await;
    // For others, the token is spent.
    let another = refusal(member.address(), &token, "second").await;
    assert_eq!(another, JoinRefusal::UsedUp);
}

#[tokio::test]
async fn each_wrong_token_is_told_what_is_wrong() {
    let (member, token) = member();
    let spent = member.recorder.tokens.lock().unwrap()[1].clone();
    let wrong_secret = JoinToken {
        secret: TokenSecret([1; 16]),
        ..token.clone()
    };
    let unknown = JoinToken {
        id: token.id ^ 1,
        ..token.clone()
    };
    let foreign = JoinToken {
        cluster: CLUSTER + 1,
        ..token.clone()
    };
    for (token, name, expected) in [
        (&wrong_secret, "new", JoinRefusal::UnknownToken),
        (&unknown, "new", JoinRefusal::UnknownToken),
        (&spent, "new", JoinRefusal::Expired),
        (&token, "taken", JoinRefusal::NameTaken),
        (
            &foreign,
            "new",
            JoinRefusal::OtherCluster { cluster: CLUSTER },
        ),
    ] {
        assert_eq!(refusal(member.address(), token, name).await, expected);
    }
    let garbage = token.to_string().replace("qt2.", "qt2.%");
    assert_eq!(garbage.parse::<JoinToken>(), Err(TokenError::Alphabet));
    // None of it used the token up.
    let granted = join(member.address(), &token, &KEYS[2], named("new")).await;
    assert!(granted.is_ok(), "{granted:?}");
}

#[tokio::test]
async fn nobody_is_asked_about_a_wrong_token_and_many_of_them_are_not_heard() {
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    let member = Node::start_as(QuicConfig::new(loopback(0), identity_of(1)), move |_, _| {
        *counted.lock().unwrap() += 1;
        Err(JoinRefusal::NotReady)
    });
    let good = JoinToken::draw(CLUSTER).unwrap();
    *member.recorder.tokens.lock().unwrap() = vec![good.clone()];
    let guess = |number: u8| JoinToken {
        secret: TokenSecret([number; 16]),
        ..good.clone()
    };
    let mut attempts = tokio::task::JoinSet::new();
    for number in 0..40 {
        let (address, token) = (member.address(), guess(number));
        attempts.spawn(async move {
            let keys = KeyPair::generate().unwrap();
            join(address, &token, &keys, named("new"))
                .await
                .unwrap_err()
        });
        // A few at a time, so that all are refused for what they show and not for their number.
        if number % 8 == 7 {
            while let Some(refused) = attempts.join_next().await {
                let refused = refused.unwrap();
                assert!(
                    matches!(refused, JoinError::Refused(JoinRefusal::UnknownToken))
                        || refused.is_busy(),
                    "{refused:?}"
                );
            }
        }
    }
    assert!(member.transport.refused(CloseReason::Busy) >= 8);
    assert_eq!(*asked.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_token_that_was_made_a_moment_ago_is_waited_for() {
    let (member, token) = member();
    let known = core::mem::take(&mut *member.recorder.tokens.lock().unwrap());
    let (granted, ()) = tokio::join!(
        join(member.address(), &token, &KEYS[2], named("new")),
        async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            *member.recorder.tokens.lock().unwrap() = known;
        }
    );
    assert!(granted.is_ok(), "{granted:?}");
}

#[tokio::test]
async fn whoever_does_not_know_the_token_cannot_pass_for_its_cluster() {
    let token = JoinToken::draw(CLUSTER).unwrap();
    // It knows the numbers, which are not secret, and grants everything.
    let impostor = Node::start_as(QuicConfig::new(loopback(0), identity_of(1)), |_, _| {
        Ok(JoinGrant {
            node: NodeId(2),
            topology: Bytes::from_static(b"a trap"),
        })
    });
    let mine = JoinToken {
        secret: TokenSecret([9; 16]),
        ..token.clone()
    };
    *impostor.recorder.tokens.lock().unwrap() = vec![mine];
    let refused = join(impostor.address(), &token, &KEYS[2], named("new"))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, JoinError::Refused(JoinRefusal::UnknownToken)),
        "an honest program cannot even check it: {refused:?}"
    );
    let address = trap();
    let refused = join(address, &token, &KEYS[2], named("new"))
        .await
        .unwrap_err();
    assert!(
        matches!(refused, JoinError::Impostor { address: asked } if asked == address),
        "{refused:?}"
    );
}

/// A server that grants every join without having checked anything.
fn trap() -> SocketAddr {
    let server = quinn::ServerConfig::with_crypto(Arc::new(tls::server(&KEYS[3]).unwrap()));
    let endpoint = quinn::Endpoint::server(server, loopback(0)).unwrap();
    let address = endpoint.local_addr().unwrap();
    tokio::spawn(async move {
        let connection = endpoint.accept().await.unwrap().await.unwrap();
        let (mut send, mut receive) = connection.accept_bi().await.unwrap();
        receive.read_to_end(10_000).await.unwrap();
        let grant = JoinGrant {
            node: NodeId(2),
            topology: Bytes::from_static(b"a trap"),
        };
        let answer = join::Answer::Granted {
            grant: wire::encode(&grant),
            proof: Bytes::from_static(&[7; 32]),
        };
        send.write_all(&wire::encode(&answer)).await.unwrap();
        send.finish().unwrap();
        connection.closed().await;
    });
    address
}

#[tokio::test]
async fn what_was_said_on_one_connection_is_worth_nothing_on_another() {
    let (member, token) = member();
    let request = wire::encode(&JoinRequest {
        token: token.id,
        ..named("new")
    });
    let said = join::said(&[7; 32], &KEYS[2].public(), &request);
    let hello = join::Hello {
        cluster: CLUSTER,
        signature: token.sign(&said).into(),
        request,
    };
    let endpoint = quinn::Endpoint::client(loopback(0)).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls::client(&KEYS[2], tls::ALPN_JOIN).unwrap()));
    let connection = endpoint
        .connect_with(config, member.address(), tls::SERVER_NAME)
        .unwrap()
        .await
        .unwrap();
    let answer = join::ask(&connection, &wire::encode(&hello)).await.unwrap();
    assert!(
        matches!(
            wire::decode(&answer),
            Ok(join::Answer::Refused(JoinRefusal::UnknownToken))
        ),
        "the same words, signed for another connection"
    );
}

#[tokio::test]
async fn a_join_connection_can_do_nothing_else() {
    let (mut member, _) = member();
    let endpoint = quinn::Endpoint::client(loopback(0)).unwrap();
    let config = quinn::ClientConfig::new(Arc::new(tls::client(&KEYS[2], tls::ALPN_JOIN).unwrap()));
    let dialling = endpoint.connect_with(config, member.address(), tls::SERVER_NAME);
    // Streams and datagrams as a member would send them, and then a question that is none.
    let connection = dialling.unwrap().await.unwrap();
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
    let (member, token) = member();
    let address = member.address();
    member.transport.shutdown().await;
    drop(member);
    let error = join(address, &token, &KEYS[2], named("new"))
        .await
        .unwrap_err();
    assert!(
        matches!(error, JoinError::Unreachable { address: dialled } if dialled == address),
        "{error:?}"
    );
}
