//! Who a starting node is: the founder of a cluster, a newcomer, or the one it was before.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use quorate_control::state::{Command, NewToken, NodeSpec, TokenId};
use quorate_control::topology::{ClusterId, Topology};
use quorate_crdt::{NodeId, Secret};
use quorate_gossip::quic::{ClusterAuthority, JoinError, NodeIdentity, join, random_bytes};
use quorate_gossip::token::JoinToken;
use quorate_gossip::transport::JoinRequest;
use quorate_gossip::wire;
use tokio::time::Instant;

use super::adopted::{keep_granted, last_kept};
use super::clock::unix_millis;
use super::disk::Disk;
use super::start::StartError;
use crate::config::{Join, NodeConfig};
use crate::store::Identity;

/// How long a newcomer goes on asking when it may have been let in. Guess: a member that was killed
/// is back by then, or the control group has a leader.
const INSIST: Duration = Duration::from_secs(15);
/// How long it waits before it asks again.
const INSIST_PAUSE: Duration = Duration::from_millis(500);

/// A node's origin.
pub(super) struct Origin {
    pub(super) identity: NodeIdentity,
    /// Where to listen: with a port, if the others have already been told one.
    pub(super) listen: SocketAddr,
    /// The cluster knows the node from before.
    pub(super) restarted: bool,
    /// The cluster is still to be founded.
    pub(super) founding: Option<Founding>,
}

/// What the founder of a cluster has drawn.
pub(super) struct Founding {
    authority: ClusterAuthority,
    token: JoinToken,
    instance: u128,
}

impl Origin {
    /// The directory decides; without an identity in it, the configuration does.
    pub(super) async fn find(config: &NodeConfig, disk: &Disk) -> Result<Self, StartError> {
        let known = disk
            .dir
            .as_ref()
            .map(|dir| dir.identity())
            .transpose()?
            .flatten();
        match (known, &config.join) {
            (Some(identity), _) => Self::return_as(config, disk, &identity),
            (None, Some(entrance)) => Self::join(config, disk, entrance).await,
            (None, None) => Self::found(config),
        }
    }

    fn return_as(config: &NodeConfig, disk: &Disk, known: &Identity) -> Result<Self, StartError> {
        // A token is not needed any more, but one of another cluster says that this directory is
        // not the one that was meant.
        if let (Some(entrance), Some(dir)) = (&config.join, &disk.dir) {
            let token: JoinToken = entrance.token.reveal().parse()?;
            dir.expect_cluster(known, ClusterId(token.cluster))?;
        }
        check_place(
            config,
            last_kept(&*disk.store)?.as_ref(),
            (known.node, &known.name),
        )?;
        let identity = NodeIdentity::from_secret(&Secret::new(&known.credentials))?;
        let listen = again(config.listen.quic, disk.address()?);
        Ok(Self {
            identity,
            listen,
            restarted: true,
            founding: None,
        })
    }

    async fn join(config: &NodeConfig, disk: &Disk, entrance: &Join) -> Result<Self, StartError> {
        let token: JoinToken = entrance.token.reveal().parse()?;
        let listen = with_port(config.listen.quic)?;
        let address = entrance
            .resolve()
            .ok()
            .and_then(|all| all.first().copied())
            .ok_or(StartError::NoAddress)?;
        let request = JoinRequest {
            token: token.id,
            secret: token.secret,
            name: config.node.as_str().into(),
            datacenter: config.datacenter.as_str().into(),
            rack: config.rack.as_str().into(),
            quic: listen,
            instance: disk.instance(u128::from_le_bytes(random_bytes()?))?,
        };
        let joined = insist(async || join(address, &token, request.clone()).await).await?;
        let topology = wire::decode(&joined.topology)?;
        // It may have been let in before, by what it was set to then.
        check_place(
            config,
            Some(&topology),
            (joined.identity.node(), &config.node),
        )?;
        // First, because a node with an identity begins with the topology that it has kept.
        keep_granted(&*disk.store, &topology)?;
        keep_identity(config, disk, &joined.identity)?;
        Ok(Self {
            identity: joined.identity,
            listen,
            restarted: false,
            founding: None,
        })
    }

    /// Nothing is written before the cluster is founded.
    fn found(config: &NodeConfig) -> Result<Self, StartError> {
        let authority = ClusterAuthority::generate(u128::from_le_bytes(random_bytes()?))?;
        let identity = authority.identity(NodeId(1))?;
        let token = authority.token(u64::from_le_bytes(random_bytes()?))?;
        let founding = Founding {
            authority,
            token,
            instance: u128::from_le_bytes(random_bytes()?),
        };
        Ok(Self {
            identity,
            listen: config.listen.quic,
            restarted: false,
            founding: Some(founding),
        })
    }
}

/// Asks to be let in until it is clear whether it was: whoever asks again as the same instance gets
/// the same answer. A node that stores in memory is another instance after its next start, so it
/// must not end while it may be a member already.
async fn insist<T>(mut ask: impl AsyncFnMut() -> Result<T, JoinError>) -> Result<T, JoinError> {
    let until = Instant::now() + INSIST;
    let mut in_doubt = false;
    loop {
        let error = match ask().await {
            Ok(joined) => return Ok(joined),
            Err(error) => error,
        };
        in_doubt |= error.may_be_let_in();
        let open = error.may_be_let_in() || matches!(error, JoinError::Unreachable { .. });
        if !in_doubt || !open || Instant::now() >= until {
            return Err(error);
        }
        tracing::info!(%error, "whether this node was let in is not known; it asks again");
        tokio::time::sleep(INSIST_PAUSE).await;
    }
}

/// Whether the configuration means the node that this directory is, where it stands. It is counted
/// by what the topology says of it: by another name or in another datacenter it would count quorums
/// differently from everybody else.
fn check_place(
    config: &NodeConfig,
    topology: Option<&Topology>,
    (node, name): (NodeId, &str),
) -> Result<(), StartError> {
    let info = topology.and_then(|topology| topology.nodes.get(&node));
    let mut kept = vec![("name", name, config.node.as_str())];
    if let Some(info) = info {
        kept.push(("datacenter", &info.datacenter, &config.datacenter));
        kept.push(("rack", &info.rack, &config.rack));
    }
    match kept
        .into_iter()
        .find(|(_, kept, configured)| kept != configured)
    {
        Some((what, kept, configured)) => Err(StartError::Misplaced {
            what,
            kept: kept.into(),
            configured: configured.into(),
        }),
        None => Ok(()),
    }
}

/// Writes down who the node is.
pub(super) fn keep_identity(
    config: &NodeConfig,
    disk: &Disk,
    identity: &NodeIdentity,
) -> Result<(), StartError> {
    let Some(dir) = &disk.dir else { return Ok(()) };
    let credentials = identity.to_secret().expose().to_vec();
    Ok(dir.set_identity(&Identity {
        cluster: ClusterId(identity.cluster()),
        node: identity.node(),
        name: config.node.clone(),
        credentials,
    })?)
}

/// Where to listen when any port will do: at the last one, if it is free, because that is the one
/// that the others know.
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

/// `listen` with a port that was free just now: a newcomer must say where it listens before it has
/// the certificate to listen with.
fn with_port(listen: SocketAddr) -> Result<SocketAddr, StartError> {
    if listen.port() != 0 {
        return Ok(listen);
    }
    UdpSocket::bind(listen)
        .and_then(|socket| socket.local_addr())
        .map_err(StartError::Port)
}

impl Founding {
    /// The command that makes the cluster, with a token for any number of nodes that does not
    /// expire.
    pub(super) fn command(&self, config: &NodeConfig, quic: SocketAddr) -> Command {
        let node = NodeSpec {
            name: config.node.as_str().into(),
            datacenter: config.datacenter.as_str().into(),
            rack: config.rack.as_str().into(),
            quic,
            instance: self.instance,
        };
        Command::Found {
            cluster: ClusterId(self.authority.cluster()),
            authority: self.authority.to_secret(),
            token: NewToken {
                id: TokenId(self.token.id),
                secret: self.token.secret.into(),
                uses: None,
                expires_ms: None,
            },
            node,
            at_ms: unix_millis(),
        }
    }
}

#[cfg(test)]
mod tests;
