use super::*;

/// Two connected nodes whose links obey the returned shape.
async fn pair() -> (Arc<LinkShape>, Node, Node) {
    let shape = LinkShape::new();
    let start = |node| {
        let config = QuicConfig {
            shape: Some(Arc::clone(&shape)),
            ..QuicConfig::new(loopback(0), identity_of(node))
        };
        Node::start_as(config, |_, _| Err(JoinRefusal::NotReady))
    };
    let (mut a, mut b) = (start(1), start(2));
    both_ways(&shape, &a, &b, |link| {
        link.delay = Duration::from_millis(20);
    });
    a.know(&[(b.id, b.address())]);
    b.know(&[(a.id, a.address())]);
    a.until_connection(b.id, true).await;
    b.until_connection(a.id, true).await;
    (shape, a, b)
}

fn both_ways(shape: &LinkShape, a: &Node, b: &Node, change: impl Fn(&mut LinkState)) {
    shape.update(a.address(), b.address(), &change);
    shape.update(b.address(), a.address(), &change);
}

#[tokio::test]
async fn a_delay_shows_in_the_round_trip() {
    let (_shape, a, b) = pair().await;
    let started = tokio::time::Instant::now();
    a.transport
        .call(b.id, Bytes::from_static(b"x"), PATIENCE)
        .await
        .unwrap();
    assert!(started.elapsed() >= Duration::from_millis(40));
    let rtt = a.transport.rtt(b.id).unwrap();
    assert!(rtt >= Duration::from_millis(40), "{rtt:?}");
    assert_eq!(a.transport.rtt(NodeId(9)), None);
}

#[tokio::test]
async fn a_cut_breaks_the_connection_and_a_heal_mends_it() {
    let (shape, mut a, mut b) = pair().await;
    both_ways(&shape, &a, &b, |link| link.cut = true);
    assert!(
        a.transport
            .send(b.id, Class::Data, Bytes::from_static(b"into the cut")),
        "the cut is not noticed at once"
    );
    a.until_connection(b.id, false).await;
    b.until_connection(a.id, false).await;
    a.until(|transport| transport.trouble(NodeId(2)) == Some(PeerError::Unreachable))
        .await;
    both_ways(&shape, &a, &b, |link| link.cut = false);
    a.until_connection(b.id, true).await;
    b.until_connection(a.id, true).await;
    assert!(
        a.transport
            .send(b.id, Class::Data, Bytes::from_static(b"after"))
    );
    assert_eq!(
        b.frames(Class::Data, 1).await,
        [Bytes::from_static(b"after")]
    );
}

#[tokio::test]
async fn a_one_way_cut_breaks_both_directions() {
    let (shape, mut a, mut b) = pair().await;
    shape.update(a.address(), b.address(), |link| link.cut = true);
    a.until_connection(b.id, false).await;
    b.until_connection(a.id, false).await;
    assert!(!a.transport.connected(b.id));
}
