//! Nodes that join while the simulation runs.

use std::sync::Arc;
use std::time::Duration;

use quorate_gossip::transport::{Expected, JoinRefusal, JoinRequest};
use quorate_gossip::wire;
use tokio::time::sleep;

use super::clock::SimClock;
use super::cluster::{Admitted, Simulation, TOKEN, key_of};
use super::host::Host;
use super::oracle::Oracle;

impl Simulation {
    /// Starts the admission of one more node in `datacenter`, perhaps in the place of a dead one.
    /// It asks every node in turn until it is admitted; a retry after a lost answer is the same
    /// newcomer, not a second one. Returns whether there was anybody to ask.
    pub(super) fn invite(&mut self, datacenter: &Arc<str>, replaces: Option<Arc<str>>) -> bool {
        let members = self.nodes();
        self.newcomers += 1;
        let number = self
            .layout
            .datacenters
            .iter()
            .map(|(_, nodes)| nodes)
            .sum::<usize>()
            + self.newcomers
            - 1;
        let quic: Arc<str> = format!("10.0.0.{}:7381", number + 1).into();
        let key = key_of(number);
        let request = JoinRequest {
            token: TOKEN,
            name: format!("late-{number}").into(),
            datacenter: Arc::clone(datacenter),
            rack: "rack1".into(),
            quic: Arc::clone(&quic),
            durable: true,
            witness: false,
            replaces,
            expects: Expected::default(),
        };
        let (network, datacenter) = (self.network.clone(), Arc::clone(datacenter));
        let asking = async move {
            for member in members.iter().cycle() {
                match network.join(*member, key, request.clone()).await {
                    Ok(grant) => {
                        return Some(Admitted {
                            node: grant.node,
                            key,
                            datacenter,
                            address: quic,
                            topology: Arc::new(wire::decode(&grant.topology).ok()?),
                        });
                    }
                    Err(JoinRefusal::NotReady | JoinRefusal::StillAnswers) => {
                        sleep(Duration::from_millis(300)).await;
                    }
                    Err(_) => return None,
                }
            }
            None
        };
        self.invited.push(tokio::spawn(asking));
        true
    }

    /// Starts the nodes that were admitted since the last call.
    pub(super) async fn take_newcomers(&mut self, oracle: &Oracle) {
        for asking in std::mem::take(&mut self.invited) {
            if !asking.is_finished() {
                self.invited.push(asking);
                continue;
            }
            let Ok(Some(admitted)) = asking.await else {
                continue;
            };
            let Admitted {
                node,
                key,
                datacenter,
                address,
                topology,
            } = admitted;
            let (seed, skew) = (self.random(), self.skew());
            let host = Host::new(
                node,
                key,
                datacenter,
                address,
                Some(topology),
                seed,
                SimClock::new(self.start, skew),
            );
            oracle.watch(node, &host);
            self.hosts.insert(node, host);
            self.start_process(node, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use quorate_crdt::NodeId;

    use super::*;
    use crate::sim::{Layout, run};

    #[test]
    fn a_newcomer_whose_answer_was_lost_is_let_in_as_the_same_node() {
        let founder = NodeId(1);
        let played = run(3, Layout::new(1, 1), async |cluster| {
            assert!(cluster.invite(&"dc1".into(), None));
            let known = |cluster: &Simulation| {
                cluster
                    .data(founder)
                    .map(|data| data.topology())
                    .filter(|seen| seen.nodes.len() == 2)
            };
            let admitted = loop {
                sleep(Duration::from_micros(100)).await;
                if let Some(topology) = known(cluster) {
                    break *topology.nodes.keys().next_back().expect("two nodes");
                }
            };
            assert!(
                !cluster.invited[0].is_finished(),
                "the answer is on its way"
            );
            cluster.crash(founder);
            cluster.restart(founder).await.expect("starts again");
            let asking = cluster.invited.remove(0);
            let let_in = asking.await.expect("asks").expect("is let in");
            (admitted, let_in.node, let_in.topology.nodes.len())
        });
        let ((admitted, node, nodes), _) = played.expect("the cluster starts");
        assert_eq!((node, nodes), (admitted, 2));
    }
}
