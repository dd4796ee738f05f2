//! Who a starting node is: the founder of a cluster, a newcomer to one, or the node that it was
//! before.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use quorate_control::state::{Command, NewToken, NodeSpec, TokenId};
use quorate_control::topology::{ClusterId, Topology};
use quorate_crdt::{NodeId, PublicKey};
use quorate_gossip::quic::{BindError, JoinError, NodeIdentity, join, look_up, random_bytes};
use quorate_gossip::token::JoinToken;
use quorate_gossip::transport::{Expected, JoinRequest};
use quorate_gossip::wire;
use tokio::time::Instant;

use super::adopted::{keep_granted, last_kept};
use super::disk::{BegunFounding, Disk};
use super::error::StartError;
use crate::config::{Join, NodeConfig, PARTITIONS, TokenSource};
use crate::store::Identity;

/// How long a newcomer keeps asking once it may have been admitted. Guess: by then a member that
/// was killed is back, or the control group has a leader.
const INSIST: Duration = Duration::from_secs(15);
/// How long it waits before it asks again.
const INSIST_PAUSE: Duration = Duration::from_millis(500);

/// How long the token is good that is made when the cluster is founded. It is printed, and what was
/// printed is not forgotten.
const FIRST_TOKEN_LIFE: Duration = Duration::from_hours(24);

/// As whom a node starts.
pub(super) struct StartAs {
    /// Its number, its cluster and its keys.
    pub(super) identity: NodeIdentity,
    /// Where to listen. Port 0 only if nobody has been told a port yet.
    pub(super) listen: SocketAddr,
    /// The cluster knows the node from an earlier life.
    pub(super) restarted: bool,
    /// Set if the cluster is still to be founded.
    pub(super) founding: Option<Founding>,
}

/// What the founder of a cluster draws at random.
pub(super) struct Founding {
    token: JoinToken,
}

impl StartAs {
    /// Decides by the data directory and, if that holds no identity, by the configuration. So a
    /// command line with `--found` or `--join` starts the same node again.
    ///
    /// # Errors
    /// [`StartError`].
    pub(super) async fn decide(config: &NodeConfig, disk: &Disk) -> Result<Self, StartError> {
        match (disk.dir.identity()?, &config.join) {
            (Some(identity), _) => Self::resume(config, disk, &identity),
            (None, Some(entrance)) => Self::join(config, disk, entrance).await,
            (None, None) => Self::found(config, disk),
        }
    }

    fn resume(config: &NodeConfig, disk: &Disk, known: &Identity) -> Result<Self, StartError> {
        // A token is not needed any more, and its file may be gone. One of another cluster says
        // that this is not the directory that was meant.
        let token = config
            .join
            .as_ref()
            .and_then(|entrance| entrance.token.as_ref());
        if let Some(Ok(text)) = token.map(TokenSource::read) {
            let token: JoinToken = text.reveal().parse()?;
            disk.dir.expect_cluster(known, ClusterId(token.cluster))?;
        }
        let kept = last_kept(&*disk.store)?;
        if kept
            .as_ref()
            .is_some_and(|kept| !kept.nodes.contains_key(&known.node))
        {
            return Err(StartError::Removed);
        }
        check_place(config, kept.as_ref(), known.node, &known.name)?;
        Ok(Self {
            identity: NodeIdentity::new(known.node, known.cluster.0, disk.kept_keys()?),
            listen: again(config.listen.quic, disk.address()?),
            restarted: true,
            founding: None,
        })
    }

    async fn join(config: &NodeConfig, disk: &Disk, entrance: &Join) -> Result<Self, StartError> {
        if disk.begun_founding()?.is_some() {
            return Err(StartError::Founding);
        }
        let token = entrance.token.as_ref().ok_or_else(|| no_node(config))?;
        let text = token.read().map_err(StartError::TokenFile)?;
        let token: JoinToken = text.reveal().parse()?;
        let keys = disk.keys()?;
        let listen = with_port(config.listen.quic)?;
        let quic = advertised(config, listen);
        check_dialled(&quic, &entrance.addresses).await?;
        let request = JoinRequest {
            token: token.id,
            name: config.node.as_str().into(),
            datacenter: config.datacenter.as_str().into(),
            rack: config.rack.as_str().into(),
            quic,
            durable: config.storage.keeps_what_is_synced(),
            witness: entrance.witness,
            replaces: entrance.replace.as_deref().map(Into::into),
            expects: Expected {
                partitions: config.partitions,
                users: config.exposed(false).is_some() && !config.access.insecure,
            },
        };
        let granted = insist(async || {
            ask_in_turn(&entrance.addresses, async |address| {
                join(address, &token, &keys, request.clone()).await
            })
            .await
        })
        .await?;
        let topology: Topology = wire::decode(&granted.topology)?;
        // An earlier attempt may have been admitted with other settings.
        let name = topology
            .nodes
            .get(&granted.node)
            .map_or(&*config.node, |info| &*info.name);
        check_place(config, Some(&topology), granted.node, name)?;
        // The topology first, because a node with an identity starts with the topology that it has
        // kept.
        keep_granted(&*disk.store, &topology)?;
        let identity = NodeIdentity::new(granted.node, token.cluster, keys);
        keep_identity(config, disk, &identity)?;
        Ok(Self {
            identity,
            listen,
            restarted: false,
            founding: None,
        })
    }

    /// Goes on with the founding that an earlier start began, or draws a new one if the
    /// configuration says to found a cluster. A new one is not written before [`Founding::keep`].
    fn found(config: &NodeConfig, disk: &Disk) -> Result<Self, StartError> {
        let founding = match disk.begun_founding()? {
            Some(begun) => Founding::resume(&begun)?,
            None if config.found => Founding::draw()?,
            None => return Err(no_node(config)),
        };
        Ok(Self {
            identity: NodeIdentity::new(NodeId(1), founding.token.cluster, disk.keys()?),
            listen: again(config.listen.quic, disk.address()?),
            restarted: false,
            founding: Some(founding),
        })
    }
}

/// A node was expected that the directory does not hold.
fn no_node(config: &NodeConfig) -> StartError {
    StartError::NoNode {
        dir: config.data_dir.clone(),
    }
}

/// Asks to be admitted until it is clear whether the node was: asking again with the same key gives
/// the same answer. Whoever gave up now would leave a member behind that does not run.
async fn insist<T>(mut ask: impl AsyncFnMut() -> Result<T, JoinError>) -> Result<T, JoinError> {
    let until = Instant::now() + INSIST;
    let mut in_doubt = false;
    loop {
        let error = match ask().await {
            Ok(joined) => return Ok(joined),
            Err(error) => error,
        };
        in_doubt |= error.may_be_let_in();
        let open = error.may_be_let_in()
            || matches!(
                error,
                JoinError::Unreachable { .. } | JoinError::UnknownHosts { .. }
            );
        let again = error.is_busy() || (in_doubt && open);
        if !again || Instant::now() >= until {
            return Err(error);
        }
        tracing::info!(%error, in_doubt, "this node asks again to be admitted");
        tokio::time::sleep(INSIST_PAUSE).await;
    }
}

/// Checks that the configuration gives `node` the name, datacenter and rack that the topology gives
/// it, and names no other number of partitions than the cluster has. Under another name or in
/// another datacenter it would count quorums differently from all other nodes.
fn check_place(
    config: &NodeConfig,
    topology: Option<&Topology>,
    node: NodeId,
    name: &str,
) -> Result<(), StartError> {
    let info = topology.and_then(|topology| topology.nodes.get(&node));
    let partitions = |count: u16| Box::<str>::from(count.to_string());
    let mut kept: Vec<(_, Box<str>, Box<str>)> =
        vec![("name", name.into(), config.node.as_str().into())];
    if let Some(info) = info {
        let (datacenter, rack) = (config.datacenter.as_str(), config.rack.as_str());
        kept.push(("datacenter", (&*info.datacenter).into(), datacenter.into()));
        kept.push(("rack", (&*info.rack).into(), rack.into()));
    }
    let usual = topology.and_then(Topology::usual_partitions);
    if let (Some(usual), Some(configured)) = (usual, config.partitions) {
        kept.push((
            "number of partitions",
            partitions(usual),
            partitions(configured),
        ));
    }
    match kept
        .into_iter()
        .find(|(_, kept, configured)| kept != configured)
    {
        Some((what, kept, configured)) => Err(StartError::Misplaced {
            what,
            kept,
            configured,
        }),
        None => Ok(()),
    }
}

/// Writes down who the node is, durably.
fn keep_identity(
    config: &NodeConfig,
    disk: &Disk,
    identity: &NodeIdentity,
) -> Result<(), StartError> {
    Ok(disk.dir.set_identity(&Identity {
        cluster: ClusterId(identity.cluster()),
        node: identity.node(),
        name: config.node.clone(),
    })?)
}

/// What other nodes are told to dial: what the configuration says, or else the address that the
/// node listens at.
pub(super) fn advertised(config: &NodeConfig, listens: SocketAddr) -> Arc<str> {
    match &config.listen.advertise {
        Some(address) => address.as_str().into(),
        None => listens.to_string().into(),
    }
}

/// Asks at one address after another, until one gives an answer that another would give as well.
/// Names are looked up anew each time.
///
/// # Errors
/// What the first one said after which the node may have been admitted, or else the last one;
/// [`JoinError::UnknownHosts`] if there was nobody to ask.
async fn ask_in_turn<T>(
    members: &[String],
    mut ask: impl AsyncFnMut(SocketAddr) -> Result<T, JoinError>,
) -> Result<T, JoinError> {
    let mut said: Option<JoinError> = None;
    for member in members {
        for address in look_up(member).await {
            match ask(address).await {
                Err(error) if !error.is_of_the_cluster() => {
                    if !said.as_ref().is_some_and(JoinError::may_be_let_in) {
                        said = Some(error);
                    }
                }
                decided => return decided,
            }
        }
    }
    Err(said.unwrap_or_else(|| JoinError::UnknownHosts {
        hosts: members.join(", ").into(),
    }))
}

/// Where to listen. If any port will do, the last one is taken if it is free, because the other
/// nodes know it.
fn again(listen: SocketAddr, last: Option<SocketAddr>) -> SocketAddr {
    match last {
        Some(last)
            if listen.port() == 0 && last.ip() == listen.ip() && UdpSocket::bind(last).is_ok() =>
        {
            last
        }
        _ => listen,
    }
}

/// `listen` with a port that was free a moment ago: a newcomer must say where it listens before it
/// knows as whom, and one that cannot listen there must not become a member.
fn with_port(listen: SocketAddr) -> Result<SocketAddr, StartError> {
    let bound = UdpSocket::bind(listen).and_then(|socket| socket.local_addr());
    bound.map_err(|source| {
        let address = listen;
        BindError::Socket { address, source }.into()
    })
}

/// Refuses to tell a cluster on other machines an address that only this machine can dial. A name
/// may mean something else elsewhere, so only addresses are looked at.
async fn check_dialled(told: &str, members: &[String]) -> Result<(), StartError> {
    let elsewhere = |address: &SocketAddr| !address.ip().is_loopback();
    let told = told.parse::<SocketAddr>().ok();
    let Some(told) = told.filter(|told| !elsewhere(told)) else {
        return Ok(());
    };
    for member in members {
        if let Some(member) = look_up(member).await.into_iter().find(elsewhere) {
            return Err(StartError::OnlyHere { told, member });
        }
    }
    Ok(())
}

impl Founding {
    fn draw() -> Result<Self, StartError> {
        let cluster = u128::from_le_bytes(random_bytes()?);
        Ok(Self {
            token: JoinToken::draw(cluster)?,
        })
    }

    fn resume(begun: &BegunFounding) -> Result<Self, StartError> {
        Ok(Self {
            token: begun.token.parse()?,
        })
    }

    /// The first join token, as text.
    pub(super) fn token(&self) -> String {
        self.token.to_string()
    }

    /// Writes down what was drawn, durably: a founder that is killed before its identity is written
    /// down founds the same cluster at its next start. Without this record the next start would
    /// draw another cluster and could not use the one in its store.
    ///
    /// # Errors
    /// [`StartError::Store`]; then nothing has been founded.
    pub(super) fn keep(&self, disk: &Disk) -> Result<(), StartError> {
        disk.keep_founding(&BegunFounding {
            token: self.token(),
        })
    }

    /// Writes down the founder's identity in place of the record of [`keep`](Self::keep). `founded`
    /// is the topology that the control group has: an earlier start may have founded it with other
    /// settings.
    ///
    /// # Errors
    /// [`StartError::Misplaced`], and those of writing. The next start of the directory goes on
    /// from here.
    pub(super) fn finish(
        config: &NodeConfig,
        disk: &Disk,
        identity: &NodeIdentity,
        founded: &Topology,
    ) -> Result<(), StartError> {
        let node = identity.node();
        if let Some(info) = founded.nodes.get(&node) {
            check_place(config, Some(founded), node, &info.name)?;
        }
        keep_identity(config, disk, identity)?;
        disk.forget_founding()
    }

    /// The command that makes the cluster, with a token that admits any number of nodes for a day.
    pub(super) fn command(
        &self,
        config: &NodeConfig,
        key: PublicKey,
        quic: Arc<str>,
        at_ms: u64,
    ) -> Command {
        let node = NodeSpec {
            name: config.node.as_str().into(),
            datacenter: config.datacenter.as_str().into(),
            rack: config.rack.as_str().into(),
            quic,
            key,
            durable: config.storage.keeps_what_is_synced(),
            witness: false,
        };
        let life = u64::try_from(FIRST_TOKEN_LIFE.as_millis()).unwrap_or(u64::MAX);
        Command::Found {
            cluster: ClusterId(self.token.cluster),
            token: NewToken {
                id: TokenId(self.token.id),
                verifier: self.token.verifier(),
                uses: None,
                expires_ms: Some(at_ms.saturating_add(life)),
            },
            node,
            partitions: config.partitions.unwrap_or(PARTITIONS),
            at_ms,
        }
    }
}

#[cfg(test)]
mod tests;
