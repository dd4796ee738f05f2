//! Drills on connections: two real transports on this machine, in real time.

use std::collections::BTreeMap;
use std::future::ready;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_crdt::{NodeId, PublicKey, Secret};
use quorate_gossip::quic::{KeyPair, NodeIdentity, QuicConfig, QuicTransport};
use quorate_gossip::transport::{
    Class, Inbound, JoinGrant, JoinRefusal, JoinRequest, Later, Transport,
};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use super::drill::{Drills, Verdict, holds};

pub(super) const DRILLS: Drills = &[("lower-dials-alone", "node-not-found", found_by_the_higher)];

const CLUSTER: u128 = 7;
/// Long enough for every dial that the rules allow; a broken rule makes a pair wait for ever.
const PATIENCE: Duration = Duration::from_secs(6);

/// A node that knows who is a member, and nothing else.
struct Nobody(BTreeMap<PublicKey, NodeId>);

impl Inbound for Nobody {
    fn frames(&self, _: NodeId, _: Class, _: Vec<Bytes>) {}

    fn datagram(&self, _: NodeId, _: Bytes) {}

    fn call(&self, _: NodeId, _: Bytes) -> Later<Bytes> {
        Box::pin(ready(Bytes::new()))
    }

    fn token(&self, _: u64) -> Option<Secret> {
        None
    }

    fn join(&self, _: PublicKey, _: JoinRequest) -> Later<Result<JoinGrant, JoinRefusal>> {
        Box::pin(ready(Err(JoinRefusal::NotReady)))
    }

    fn member(&self, key: &PublicKey) -> Option<NodeId> {
        self.0.get(key).copied()
    }

    fn connection(&self, _: NodeId, _: bool) {}
}

/// Nodes 1 and 2 of one cluster, and where they listen. They do not know yet where the other is.
fn pair() -> Result<[(Arc<QuicTransport>, SocketAddr); 2], String> {
    let said = |error: &dyn std::fmt::Display| error.to_string();
    let keys = [KeyPair::generate(), KeyPair::generate()];
    let [first, second] = keys.map(|key| key.map_err(|error| said(&error)));
    let keys = [first?, second?];
    let members: BTreeMap<_, _> = (1..).map(NodeId).zip(&keys).collect();
    let members: BTreeMap<_, _> = members
        .iter()
        .map(|(&node, key)| (key.public(), node))
        .collect();
    let start = |node: u64, key: &KeyPair| {
        let identity = NodeIdentity::new(NodeId(node), CLUSTER, key.clone());
        let config = QuicConfig::new((Ipv4Addr::LOCALHOST, 0).into(), identity);
        let transport = QuicTransport::bind(config, Arc::new(Nobody(members.clone())));
        let transport = transport.map_err(|error| said(&error))?;
        let address = transport.local_addr().map_err(|error| said(&error))?;
        Ok::<_, String>((transport, address))
    };
    Ok([start(1, &keys[0])?, start(2, &keys[1])?])
}

/// Tells a node where the other one is.
fn tell(transport: &QuicTransport, other: u64, address: SocketAddr) {
    transport.set_peers(BTreeMap::from([(
        NodeId(other),
        address.to_string().into(),
    )]));
}

/// Runs `drill` on a pair of transports.
fn with_pair(drill: impl AsyncFnOnce([(Arc<QuicTransport>, SocketAddr); 2]) -> Verdict) -> Verdict {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime
        .map_err(|error| error.to_string())?
        .block_on(async { drill(pair()?).await })
}

async fn connected(transport: &QuicTransport, other: u64) -> bool {
    let up = async {
        while !transport.connected(NodeId(other)) {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, up).await.is_ok()
}

/// The node with the higher number alone knows where the other is.
fn found_by_the_higher() -> Verdict {
    with_pair(async |[(first, at), (second, _)]| {
        tell(&first, 2, (Ipv4Addr::LOCALHOST, 9).into());
        tell(&second, 1, at);
        holds(
            connected(&first, 2).await && connected(&second, 1).await,
            "the node with the lower number is not found",
        )
    })
}
