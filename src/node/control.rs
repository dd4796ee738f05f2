//! The node's part in the control group: its link over the transport, and the admission of new
//! nodes.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use quorate_control::consensus::{
    Consensus, ConsensusConfig, ControlGroup, Group, GroupId, Link, LinkError, OpenError,
    ProposeError,
};
use quorate_control::coordinate::Coordination;
use quorate_control::state::{Command, CommandRefusal, Entry, NodeSpec, Response, TokenId};
use quorate_control::store::{Commit, Store};
use quorate_control::topology::Topology;
use quorate_crdt::{NodeId, PublicKey, Secret};
use quorate_gossip::transport::{
    CallError, Expected, JoinGrant, JoinRefusal, JoinRequest, Later, Transport,
};
use quorate_gossip::wire;
use tokio::sync::watch;

use super::clock::Clock;
use super::figures::Following;
use super::hub::{Call, ControlDoor, tagged};
use super::reach::Reach;
use crate::planted::{REFUSED_JOIN_PROPOSED, UNFIT_ADMITTED};

/// How long a proposal may take: enough for several elections.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The node's part in the Raft groups, and the clock by which join tokens expire.
pub(super) struct Control {
    consensus: Consensus,
    coordination: Group<Coordination>,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

/// The groups' [`Link`]: calls over the node's transport.
struct Calls(Arc<dyn Transport>);

impl Link for Calls {
    fn round_trips(&self) -> Vec<(NodeId, Duration)> {
        let met = self.0.met().into_keys();
        met.filter_map(|node| Some((node, self.0.rtt(node)?)))
            .collect()
    }

    fn call(
        &self,
        to: NodeId,
        request: Bytes,
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Bytes, LinkError>> + Send>> {
        let answer = self.0.call(to, tagged(Call::Control, &request), timeout);
        Box::pin(async move {
            answer.await.map_err(|error| match error {
                CallError::NotConnected(_)
                | CallError::Overloaded(_)
                | CallError::TooLarge { .. } => LinkError::Unreachable,
                _ => LinkError::TimedOut,
            })
        })
    }
}

impl Control {
    /// Goes on from what the store holds.
    ///
    /// # Errors
    /// [`OpenError`]; nothing runs then.
    pub(super) async fn open(
        config: ConsensusConfig,
        store: Arc<dyn Store>,
        commit: Arc<dyn Commit>,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, OpenError> {
        let link = Arc::new(Calls(Arc::clone(&transport)));
        let consensus = Consensus::open(config, store, commit, link).await?;
        let coordination = consensus.attend(GroupId::COORDINATION);
        Ok(Arc::new(Self {
            consensus,
            coordination,
            transport,
            clock,
        }))
    }

    /// The node's part in all groups.
    pub(super) fn consensus(&self) -> &Consensus {
        &self.consensus
    }

    /// The group that decides the topology.
    pub(super) fn group(&self) -> &ControlGroup {
        self.consensus.topology()
    }

    /// The group that decides locks and their like.
    pub(super) fn coordination(&self) -> &Group<Coordination> {
        &self.coordination
    }

    /// The topologies that the group decides, as they come.
    pub(super) fn topology(&self) -> watch::Receiver<Arc<Topology>> {
        self.group().published()
    }

    /// The newest topology that this node's part of the group has applied.
    pub(super) fn decided(&self) -> Arc<Topology> {
        self.group().read(|state| Arc::clone(state.topology()))
    }

    /// Proposes `command` and waits at most [`PROPOSE_TIMEOUT`] for what comes of it.
    pub(super) async fn propose(&self, command: Command) -> Result<Response, ProposeError> {
        self.group().propose(&command, PROPOSE_TIMEOUT).await
    }

    /// Admits the newcomer that holds `key` and the token of its request. What would be refused is
    /// refused here and costs no entry of the log. The answer waits until the topology names the
    /// node.
    async fn admit(
        self: Arc<Self>,
        key: PublicKey,
        request: JoinRequest,
    ) -> Result<JoinGrant, JoinRefusal> {
        let asked = Entry {
            token: TokenId(request.token),
            replaces: self.named_to_be_replaced(&key, &request)?,
            at_ms: self.clock.now().unix_millis,
        };
        let node = NodeSpec {
            name: request.name,
            datacenter: request.datacenter,
            rack: request.rack,
            quic: request.quic,
            key,
            durable: request.durable,
            witness: request.witness,
        };
        let foreseen = self.group().read(|state| state.may_enter(&asked, &node));
        if let Err(refusal) = foreseen
            && !REFUSED_JOIN_PROPOSED.is_planted()
        {
            return Err(refused(&refusal));
        }
        if let Some(refusal) = unmet(request.expects, &self.decided())
            && !UNFIT_ADMITTED.is_planted()
        {
            return Err(refusal);
        }
        // Only for a newcomer that would be let in does this node ask all others.
        if let Some(dead) = asked.replaces {
            self.check_dead(dead).await?;
        }
        let Entry {
            token,
            replaces,
            at_ms,
        } = asked;
        let command = Command::Admit {
            token,
            node,
            replaces,
            at_ms,
        };
        let node = match self.propose(command).await {
            Ok(Response::Admitted { node }) => node,
            Ok(Response::Refused(refusal)) => return Err(refused(&refusal)),
            Ok(_) | Err(_) => return Err(JoinRefusal::NotReady),
        };
        let mut topologies = self.topology();
        let arrived = topologies.wait_for(|topology| topology.nodes.contains_key(&node));
        match tokio::time::timeout(PROPOSE_TIMEOUT, arrived).await {
            Ok(Ok(topology)) => Ok(JoinGrant {
                node,
                topology: wire::encode(&**topology),
            }),
            _ => Err(JoinRefusal::NotReady),
        }
    }

    /// The member whose place the newcomer wants to take; `None` if it wants none, or has taken it
    /// already and its answer was lost.
    fn named_to_be_replaced(
        &self,
        key: &PublicKey,
        request: &JoinRequest,
    ) -> Result<Option<NodeId>, JoinRefusal> {
        let Some(dead) = &request.replaces else {
            return Ok(None);
        };
        if self.group().read(|state| state.admitted_as(key)).is_some() {
            return Ok(None);
        }
        match self.decided().node_named(dead) {
            Some((node, _)) => Ok(Some(node)),
            None => Err(JoinRefusal::NothingToReplace),
        }
    }

    /// Checks that no member reaches the node any more.
    async fn check_dead(&self, node: NodeId) -> Result<(), JoinRefusal> {
        let reach = Reach {
            me: self.group().node(),
            transport: &*self.transport,
        };
        if reach.still_answers(&self.decided(), node).await {
            return Err(JoinRefusal::StillAnswers);
        }
        Ok(())
    }
}

/// What a newcomer expects of the cluster in vain.
fn unmet(expected: Expected, topology: &Topology) -> Option<JoinRefusal> {
    let partitions = topology.usual_partitions()?;
    if let Some(told) = expected.partitions.filter(|&told| told != partitions) {
        return Some(JoinRefusal::OtherPartitions { partitions, told });
    }
    (expected.users && topology.users.is_empty()).then_some(JoinRefusal::NoUsers)
}

fn refused(refusal: &CommandRefusal) -> JoinRefusal {
    match refusal {
        CommandRefusal::Expired => JoinRefusal::Expired,
        CommandRefusal::UsedUp => JoinRefusal::UsedUp,
        CommandRefusal::NameTaken | CommandRefusal::BadName => JoinRefusal::NameTaken,
        CommandRefusal::BadAddress => JoinRefusal::BadAddress,
        CommandRefusal::UnknownToken => JoinRefusal::UnknownToken,
        CommandRefusal::UnknownNode { .. } => JoinRefusal::NothingToReplace,
        CommandRefusal::OtherDatacenter { .. } => JoinRefusal::OtherDatacenter,
        CommandRefusal::OtherKind { .. } => JoinRefusal::OtherKind,
        _ => JoinRefusal::NotReady,
    }
}

/// The hub's way to the control group. Weak, because the group holds the transport, which holds the
/// hub: with a strong reference a node that was killed would never release its socket and its disk.
pub(super) struct Door(pub(super) Weak<Control>);

impl ControlDoor for Door {
    fn receive(&self, from: NodeId, request: Bytes) -> Later<Bytes> {
        match self.0.upgrade() {
            Some(control) => control.consensus.serve(from, request),
            None => Box::pin(async { Bytes::new() }),
        }
    }

    fn token(&self, id: u64) -> Option<Secret> {
        let control = self.0.upgrade()?;
        control.group().read(|state| {
            let token = state.tokens().get(&TokenId(id))?;
            Some(token.verifier.clone())
        })
    }

    fn admit(&self, key: PublicKey, request: JoinRequest) -> Later<Result<JoinGrant, JoinRefusal>> {
        match self.0.upgrade() {
            Some(control) => Box::pin(control.admit(key, request)),
            None => Box::pin(async { Err(JoinRefusal::NotReady) }),
        }
    }

    fn following(&self) -> Following {
        let Some(control) = self.0.upgrade() else {
            return Following::default();
        };
        let status = control.group().status();
        Following {
            term: status.term,
            leader: status.leader,
        }
    }
}
