//! How a newcomer becomes a member: one exchange, over a connection that can do nothing else.
//!
//! The newcomer makes a key and checks that the authority named by its token has certified the
//! other side. Only then does it show the token's secret. The member asks the control plane and, if
//! the join is granted, signs the newcomer's key.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use quinn::{ClientConfig, Connection, Endpoint};
use quorate_crdt::NodeId;
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use super::identity::{ClusterAuthority, IdentityError, NewKey, NodeIdentity, PUBLIC_KEY_BYTES};
use super::reasons::{CloseReason, PeerError};
use super::tls;
use super::tuning::{Profile, Tuning};
use crate::token::JoinToken;
use crate::transport::{Inbound, JoinGrant, JoinRefusal, JoinRequest};
use crate::wire::{self, FRAME_BYTES_MAX, WireError};

/// The longest request of a stranger, in bytes.
const HELLO_BYTES_MAX: usize = 16 * 1024;
/// How long a stranger may take to send its request. A member may take twice as long to answer,
/// because the control group may have to elect a leader.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// What a newcomer receives when it has become a member.
#[derive(Clone, Debug)]
pub struct Joined {
    /// Its identity. Store it before anything else, because the token may be used up now.
    pub identity: NodeIdentity,
    /// The topology that contains this node, as the control plane wrote it.
    pub topology: Bytes,
}

/// Why a newcomer did not become a member. Unless the variant says otherwise, the cluster is
/// unchanged and the token can still be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The cluster refused.
    #[error("the cluster refused: {0}")]
    Refused(#[from] JoinRefusal),
    /// The node at the address is not certified by the authority that the token names. The secret
    /// was not shown.
    #[error("the node at {address} is not certified by the token's cluster")]
    ForeignAuthority {
        /// Where it listens.
        address: SocketAddr,
    },
    /// The node at the address belongs to another cluster. The secret was not shown.
    #[error("the node at {address} belongs to cluster {found:032x}, the token to {expected:032x}")]
    AnotherCluster {
        /// Where it listens.
        address: SocketAddr,
        /// The cluster that it claims to belong to.
        found: u128,
        /// The cluster of the token.
        expected: u128,
    },
    /// Nothing answers at the address.
    #[error("nothing answers at {address}")]
    Unreachable {
        /// What was dialled.
        address: SocketAddr,
    },
    /// None of the hosts to join at has an address, as far as can be found out now.
    #[error("no address is known for {hosts}")]
    UnknownHosts {
        /// The hosts.
        hosts: Box<str>,
    },
    /// The connection failed. If the request had been sent, the node may have been admitted. It may
    /// ask again as the same instance.
    #[error("the connection to {address} failed")]
    Connection {
        /// What was dialled.
        address: SocketAddr,
        /// How it failed.
        #[source]
        source: PeerError,
    },
    /// The answer cannot be read, or its certificate is not for this node's key. The node may ask
    /// again as the same instance.
    #[error("the answer is not valid")]
    Answer(#[from] WireError),
    /// The join was granted, but the member could not sign the certificate. The node may ask again
    /// as the same instance.
    #[error("the cluster could not sign this node's certificate")]
    Signing,
    /// No key could be made.
    #[error("could not make a key for this node")]
    Identity(#[from] IdentityError),
    /// No socket could be opened, or TLS could not be set up.
    #[error("could not open a local socket")]
    Socket(#[from] std::io::Error),
}

impl JoinError {
    /// Whether the cluster has decided against the node, or the node cannot ask at all: then it
    /// need not ask at another address.
    pub fn is_of_the_cluster(&self) -> bool {
        match self {
            Self::Refused(refusal) => *refusal != JoinRefusal::NotReady,
            Self::Identity(_) => true,
            _ => false,
        }
    }

    /// Whether the node may have been admitted. To find out, it must ask again as the same
    /// instance.
    pub fn may_be_let_in(&self) -> bool {
        match self {
            Self::Connection { source, .. } => !matches!(
                source,
                PeerError::OtherVersion | PeerError::Handshake { .. }
            ),
            Self::Refused(JoinRefusal::NotReady) | Self::Signing => true,
            _ => false,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Hello {
    public_key: Bytes,
    request: JoinRequest,
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Granted {
        node: NodeId,
        certificate: Bytes,
        topology: Bytes,
    },
    Refused(JoinRefusal),
    NotSigned,
}

/// Asks the member at `address` to admit this node. `request` is what the node says about itself;
/// its token fields are set from `token`.
///
/// Must run inside a tokio runtime with I/O and time.
///
/// # Errors
/// [`JoinError`], which says whether the token may be used up.
pub async fn join(
    address: SocketAddr,
    token: &JoinToken,
    mut request: JoinRequest,
) -> Result<Joined, JoinError> {
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let endpoint = Endpoint::client(any)?;
    let mut config = ClientConfig::new(Arc::new(
        tls::client(None, tls::ALPN_JOIN).map_err(std::io::Error::other)?,
    ));
    config.transport_config(
        Tuning {
            profile: Profile::Wan,
            local: false,
            shaped: false,
        }
        .transport(address),
    );
    let unreachable = || JoinError::Unreachable { address };
    let connecting = endpoint
        .connect_with(config, address, "join.quorate")
        .map_err(|_bad_address| unreachable())?;
    let connection = match tokio::time::timeout(HANDSHAKE, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(failed(address, &error)),
        Err(_elapsed) => return Err(unreachable()),
    };
    let authority = tls::vet_for_join(&connection, token).map_err(|claimed| {
        CloseReason::ForeignAuthority.close(&connection);
        match claimed {
            Some(found) if found != token.cluster => JoinError::AnotherCluster {
                address,
                found,
                expected: token.cluster,
            },
            _ => JoinError::ForeignAuthority { address },
        }
    })?;
    let key = NewKey::generate()?;
    (request.token, request.secret) = (token.id, token.secret);
    let hello = wire::encode(&Hello {
        public_key: Bytes::copy_from_slice(key.public()),
        request,
    });
    let answer = tokio::time::timeout(2 * PATIENCE, ask(&connection, &hello))
        .await
        .unwrap_or(None);
    CloseReason::JoinDone.close(&connection);
    let joined = match answer {
        Some(answer) => read_answer(&answer, key, token, authority),
        None => Err(JoinError::Connection {
            address,
            source: PeerError::from(&connection.closed().await),
        }),
    };
    endpoint.wait_idle().await;
    joined
}

fn failed(address: SocketAddr, error: &quinn::ConnectionError) -> JoinError {
    match PeerError::from(error) {
        PeerError::Unreachable | PeerError::Local => JoinError::Unreachable { address },
        source => JoinError::Connection { address, source },
    }
}

async fn ask(connection: &Connection, hello: &[u8]) -> Option<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(hello).await.ok()?;
    send.finish().ok()?;
    receive.read_to_end(FRAME_BYTES_MAX).await.ok()
}

fn read_answer(
    answer: &[u8],
    key: NewKey,
    token: &JoinToken,
    authority: CertificateDer<'static>,
) -> Result<Joined, JoinError> {
    match wire::decode(answer)? {
        Answer::Granted {
            node,
            certificate,
            topology,
        } => {
            let certificate = CertificateDer::from(certificate.to_vec());
            if tls::claim(&certificate)
                != Some(tls::Claim {
                    node,
                    cluster: token.cluster,
                })
                || !tls::signed_by(&certificate, &authority)
            {
                return Err(WireError::Malformed.into());
            }
            Ok(Joined {
                identity: key.into_identity(node, token.cluster, [certificate, authority]),
                topology,
            })
        }
        Answer::Refused(refusal) => Err(refusal.into()),
        Answer::NotSigned => Err(JoinError::Signing),
    }
}

/// The member's side: reads one request, answers it and closes. Also closes if no request comes in
/// time.
pub(super) async fn serve(connection: Connection, inbound: Arc<dyn Inbound>) {
    match tokio::time::timeout(PATIENCE, hear(&connection)).await {
        Ok(Some((mut send, hello))) => {
            // No time limit: only the control plane knows whether a slow join was granted.
            let answer = match inbound.join(hello.request).await {
                Ok(grant) => sign(grant, &hello.public_key),
                Err(refusal) => Answer::Refused(refusal),
            };
            let whole =
                send.write_all(&wire::encode(&answer)).await.is_ok() && send.finish().is_ok();
            if whole {
                // The newcomer closes once it has read everything. This side waits for that, so
                // that the answer is not cut off.
                let _gone = tokio::time::timeout(PATIENCE, connection.closed()).await;
            }
            CloseReason::JoinDone.close(&connection);
        }
        Ok(None) | Err(_) => CloseReason::Violation.close(&connection),
    }
}

async fn hear(connection: &Connection) -> Option<(quinn::SendStream, Hello)> {
    let (send, mut receive) = connection.accept_bi().await.ok()?;
    let hello = receive.read_to_end(HELLO_BYTES_MAX).await.ok()?;
    let hello: Hello = wire::decode_within(&hello, HELLO_BYTES_MAX).ok()?;
    // Checked before the control plane is asked, because a granted join uses the token.
    (hello.public_key.len() == PUBLIC_KEY_BYTES).then_some((send, hello))
}

fn sign(grant: JoinGrant, public_key: &[u8]) -> Answer {
    let signed = ClusterAuthority::from_secret(&grant.authority)
        .and_then(|authority| authority.certify(grant.node, public_key));
    match signed {
        Ok(certificate) => Answer::Granted {
            node: grant.node,
            certificate: Bytes::copy_from_slice(&certificate),
            topology: grant.topology,
        },
        Err(error) => {
            tracing::error!(node = %grant.node, %error, "a granted join could not be signed");
            Answer::NotSigned
        }
    }
}
