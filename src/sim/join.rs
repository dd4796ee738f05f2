//! Nodes that join while time goes on.

use std::sync::Arc;
use std::time::Duration;

use quorate_control::topology::Topology;
use quorate_crdt::NodeId;
use quorate_gossip::token::{TokenId, TokenSecret};
use quorate_gossip::transport::{JoinRefusal, JoinRequest};
use quorate_gossip::wire;
use tokio::time::{Instant, sleep};

use super::host::Host;
use super::oracle::Oracle;
use super::{SimClock, Simulation, TOKEN};

/// A node that was let in: its number, where it stands, and what it was told of the cluster.
pub(super) type Admitted = (NodeId, Arc<str>, Arc<Topology>);

/// How long a newcomer asks.
const ASKS_FOR: Duration = Duration::from_secs(10);

impl Simulation {
    /// Lets one more node of `datacenter` ask every node in turn to be let in. Whether there is anybody to ask.
    pub(super) fn invite(&mut self, datacenter: &Arc<str>) -> bool {
        let members = self.nodes();
        let number = self.hosts.len() + self.invited.len();
        let quic = ([10, 0, 0, number as u8 + 1], 7381).into();
        let (token, secret, name) = (TokenId(TOKEN.0), TokenSecret(TOKEN.1), format!("late-{number}").into());
        let request = JoinRequest { token, secret, name, datacenter: Arc::clone(datacenter), rack: "rack1".into(), quic };
        let (network, datacenter) = (self.network.clone(), Arc::clone(datacenter));
        let asking = async move {
            let deadline = Instant::now() + ASKS_FOR;
            for member in members.iter().cycle() {
                match network.join(*member, request.clone()).await {
                    Ok(grant) => return Some((grant.node, datacenter, Arc::new(wire::decode(&grant.topology).ok()?))),
                    Err(JoinRefusal::NotReady) if Instant::now() < deadline => sleep(Duration::from_millis(300)).await,
                    Err(_) => return None,
                }
            }
            None
        };
        self.invited.push(tokio::spawn(asking));
        true
    }

    /// Starts the nodes that have been let in since the last call.
    pub(super) async fn take_newcomers(&mut self, oracle: &Oracle) {
        for asking in std::mem::take(&mut self.invited) {
            if !asking.is_finished() {
                self.invited.push(asking);
                continue;
            }
            let Ok(Some((node, datacenter, topology))) = asking.await else { continue };
            let (seed, skew) = (self.random(), self.skew());
            let host = Host::new(node, datacenter, Some(topology), (seed, SimClock::new(self.start, skew)));
            oracle.watch(node, (host.disk.clone(), host.door()));
            self.hosts.insert(node, host);
            self.start_process(node, None);
        }
    }
}
