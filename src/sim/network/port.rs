//! One node's plug in the simulated network.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_crdt::{NodeId, PublicKey};
use quorate_gossip::transport::{CallError, Class, DATAGRAM_BYTES_MAX, Inbound, Later, Transport};
use quorate_gossip::wire::MESSAGE_BYTES_MAX;
use tokio::sync::oneshot;

use super::Network;
use super::state::{Body, Call, Event, Host};

/// The [`Transport`] of one life of one node. Once the node is unplugged or restarted, the old port
/// sends nothing more.
#[derive(Debug)]
pub struct Port {
    network: Network,
    node: NodeId,
    life: u64,
}

impl Network {
    /// Plugs a node in at `address` that shows `key` to the others. Whatever a former life of it
    /// had in transit is lost, and so is what that had learnt of other nodes' addresses.
    pub fn plug(
        &self,
        node: NodeId,
        key: PublicKey,
        datacenter: Arc<str>,
        address: Arc<str>,
        inbound: Arc<dyn Inbound>,
    ) -> Arc<Port> {
        let mut state = self.shared.lock();
        let life = state.number();
        state.hosts.insert(
            node,
            Host {
                inbound,
                key,
                datacenter,
                address,
                told: BTreeMap::new(),
                proven: BTreeMap::new(),
                heard: BTreeMap::new(),
                life,
            },
        );
        drop(state);
        Arc::new(Port {
            network: self.clone(),
            node,
            life,
        })
    }
}

impl Port {
    fn connection(&self, to: NodeId) -> Option<u64> {
        self.network
            .shared
            .lock()
            .connection(self.node, self.life, to)
    }

    fn send_body(&self, to: NodeId, body: Body) -> bool {
        let Some(connection) = self.connection(to) else {
            return false;
        };
        self.network.shared.send(Event {
            from: self.node,
            to,
            connection,
            body,
        });
        true
    }
}

impl Transport for Port {
    fn send(&self, to: NodeId, class: Class, frame: Bytes) -> bool {
        frame.len() <= MESSAGE_BYTES_MAX && self.send_body(to, Body::Frame(class, frame))
    }

    fn backlog(&self, to: NodeId, class: Class) -> usize {
        self.network.shared.lock().backlog(self.node, to, class)
    }

    fn datagram(&self, to: NodeId, payload: Bytes) {
        if payload.len() <= DATAGRAM_BYTES_MAX {
            self.send_body(to, Body::Datagram(payload));
        }
    }

    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        timeout: Duration,
    ) -> Later<Result<Bytes, CallError>> {
        if request.len() > MESSAGE_BYTES_MAX {
            let bytes = request.len();
            return Box::pin(async move { Err(CallError::TooLarge { bytes }) });
        }
        let Some(connection) = self.connection(to) else {
            return Box::pin(async move { Err(CallError::NotConnected(to)) });
        };
        let (answer, answered) = oneshot::channel();
        let network = self.network.clone();
        let id = {
            let mut state = network.shared.lock();
            let id = state.number();
            state.calls.insert(
                id,
                Call {
                    connection,
                    peer: to,
                    answer,
                },
            );
            id
        };
        self.send_body(to, Body::Call(id, request));
        Box::pin(async move {
            match tokio::time::timeout(timeout, answered).await {
                Ok(Ok(result)) => result,
                Ok(Err(_network_is_gone)) => Err(CallError::Disconnected(to)),
                Err(_elapsed) => {
                    let call = network.shared.lock().calls.remove(&id);
                    drop(call);
                    Err(CallError::TimedOut {
                        node: to,
                        after: timeout,
                    })
                }
            }
        })
    }

    fn set_peers(&self, mut peers: BTreeMap<NodeId, Arc<str>>) {
        let mut state = self.network.shared.lock();
        if let Some(host) = state
            .hosts
            .get_mut(&self.node)
            .filter(|host| host.life == self.life)
        {
            peers.remove(&self.node);
            host.proven.retain(|peer, _| peers.contains_key(peer));
            host.told = peers;
        }
    }

    fn met(&self) -> BTreeMap<NodeId, Arc<str>> {
        self.network.shared.lock().met(self.node, self.life)
    }

    fn hear(&self, met: BTreeMap<NodeId, Arc<str>>) {
        let mut state = self.network.shared.lock();
        if let Some(host) = state
            .hosts
            .get_mut(&self.node)
            .filter(|host| host.life == self.life)
        {
            host.heard.extend(met);
        }
    }

    fn rtt(&self, to: NodeId) -> Option<Duration> {
        self.connection(to)?;
        Some(self.network.shared.lock().distance(self.node, to) * 2)
    }

    fn connected(&self, to: NodeId) -> bool {
        self.connection(to).is_some()
    }
}
