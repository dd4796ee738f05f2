//! How a newcomer becomes a member: one exchange, over a connection that can do nothing else.
//!
//! The newcomer has drawn its key before it asks, and the handshake proves it. So a newcomer that
//! asks again is the same one, whatever happened to its first attempt.
//!
//! The newcomer signs its request with the token, and the member checks the signature before it
//! does anything else. A member in turn vouches for what it grants with what the cluster keeps of
//! the token. Both cover a number that only the two ends of this connection know, so neither can be
//! used a second time or passed on, and the token's secret never leaves the newcomer.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use quinn::{ClientConfig, Connection, Endpoint};
use quorate_crdt::{PublicKey, Secret};
use serde::{Deserialize, Serialize};

use super::keys::{KeyPair, signed, vouch, vouched};
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
/// How long a wrong token waits for its refusal. Meanwhile a token that was made a moment ago, on
/// another member, becomes known here.
const RELUCTANCE: Duration = Duration::from_secs(1);

/// Why a newcomer did not become a member. Unless the variant says otherwise, the cluster is
/// unchanged and the token can still be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The cluster refused.
    #[error("the cluster refused: {0}")]
    Refused(#[from] JoinRefusal),
    /// Whoever answers at the address does not know the token, so it is not a member of the cluster
    /// that the token is for.
    #[error("what answers at {address} is not a member of the token's cluster")]
    Impostor {
        /// Where it listens.
        address: SocketAddr,
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
    /// ask again with the same key.
    #[error("the connection to {address} failed")]
    Connection {
        /// What was dialled.
        address: SocketAddr,
        /// How it failed.
        #[source]
        source: PeerError,
    },
    /// The answer cannot be read. The node may ask again with the same key.
    #[error("the answer is not valid")]
    Answer(#[from] WireError),
    /// No socket could be opened, or TLS could not be set up.
    #[error("could not open a local socket")]
    Socket(#[from] std::io::Error),
}

impl JoinError {
    /// Whether the cluster has decided against the node: then it need not ask at another address.
    pub fn is_of_the_cluster(&self) -> bool {
        match self {
            Self::Refused(refusal) => !matches!(
                refusal,
                JoinRefusal::NotReady | JoinRefusal::OtherCluster { .. }
            ),
            _ => false,
        }
    }

    /// Whether the node may have been admitted. To find out, it must ask again with the same key.
    pub fn may_be_let_in(&self) -> bool {
        match self {
            Self::Connection { source, .. } => !matches!(
                source,
                PeerError::OtherVersion
                    | PeerError::Handshake { .. }
                    | PeerError::RefusedByPeer(CloseReason::Busy)
            ),
            Self::Refused(JoinRefusal::NotReady) | Self::Answer(_) => true,
            _ => false,
        }
    }

    /// Whether the member asks to be asked later.
    pub fn is_busy(&self) -> bool {
        matches!(
            self,
            Self::Connection {
                source: PeerError::RefusedByPeer(CloseReason::Busy),
                ..
            }
        )
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Hello {
    /// The cluster that the token is for.
    pub(super) cluster: u128,
    /// A [`JoinRequest`], encoded.
    pub(super) request: Bytes,
    /// Made with the token over [`said`].
    pub(super) signature: Bytes,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Answer {
    Granted {
        /// A [`JoinGrant`], encoded.
        grant: Bytes,
        /// Made with what the cluster keeps of the token, over [`said`].
        proof: Bytes,
    },
    Refused(JoinRefusal),
}

/// What is signed and vouched for: `message`, on this connection, of a newcomer with this key.
pub(super) fn said(bound: &[u8; 32], newcomer: &PublicKey, message: &[u8]) -> Vec<u8> {
    [&bound[..], &newcomer.0, message].concat()
}

/// Asks the member at `address` to admit the node that holds `keys`. `request` is what the node
/// says about itself; its token field is set from `token`. Asking again with the same keys gives
/// the same answer and uses the token up once.
///
/// Must run inside a tokio runtime with I/O and time.
///
/// # Errors
/// [`JoinError`], which says whether the token may be used up.
pub async fn join(
    address: SocketAddr,
    token: &JoinToken,
    keys: &KeyPair,
    mut request: JoinRequest,
) -> Result<JoinGrant, JoinError> {
    let any: SocketAddr = if address.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let endpoint = Endpoint::client(any)?;
    let mut config = ClientConfig::new(Arc::new(
        tls::client(keys, tls::ALPN_JOIN).map_err(std::io::Error::other)?,
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
        .connect_with(config, address, tls::SERVER_NAME)
        .map_err(|_bad_address| unreachable())?;
    let connection = match tokio::time::timeout(HANDSHAKE, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(failed(address, &error)),
        Err(_elapsed) => return Err(unreachable()),
    };
    let bound = tls::bound(&connection).ok_or_else(unreachable)?;
    request.token = token.id;
    let request = wire::encode(&request);
    let hello = wire::encode(&Hello {
        cluster: token.cluster,
        signature: token.sign(&said(&bound, &keys.public(), &request)).into(),
        request,
    });
    let answer = tokio::time::timeout(2 * PATIENCE, ask(&connection, &hello))
        .await
        .unwrap_or(None);
    CloseReason::JoinDone.close(&connection);
    let granted = match answer.as_deref().map(wire::decode) {
        Some(Ok(Answer::Granted { grant, proof })) => {
            if vouched(
                &token.verifier(),
                &said(&bound, &keys.public(), &grant),
                &proof,
            ) {
                wire::decode(&grant).map_err(JoinError::from)
            } else {
                Err(JoinError::Impostor { address })
            }
        }
        Some(Ok(Answer::Refused(refusal))) => Err(refusal.into()),
        Some(Err(error)) => Err(error.into()),
        None => Err(JoinError::Connection {
            address,
            source: PeerError::from(&connection.closed().await),
        }),
    };
    endpoint.wait_idle().await;
    granted
}

fn failed(address: SocketAddr, error: &quinn::ConnectionError) -> JoinError {
    match PeerError::from(error) {
        PeerError::Unreachable | PeerError::Local => JoinError::Unreachable { address },
        source => JoinError::Connection { address, source },
    }
}

pub(super) async fn ask(connection: &Connection, hello: &[u8]) -> Option<Vec<u8>> {
    let (mut send, mut receive) = connection.open_bi().await.ok()?;
    send.write_all(hello).await.ok()?;
    send.finish().ok()?;
    receive.read_to_end(FRAME_BYTES_MAX).await.ok()
}

/// How a conversation with a stranger went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It held a token of this cluster.
    Token,
    /// It did not.
    NoToken,
}

/// The member's side: reads one request, answers it and closes. Also closes if no request comes in
/// time.
pub(super) async fn serve(
    connection: &Connection,
    cluster: u128,
    inbound: &Arc<dyn Inbound>,
) -> Heard {
    let heard = tokio::time::timeout(PATIENCE, hear(connection)).await;
    let Ok(Some((mut send, hello))) = heard else {
        CloseReason::Violation.close(connection);
        return Heard::NoToken;
    };
    let (answer, heard) = match check(connection, cluster, inbound, hello).await {
        // No time limit: only the control plane knows whether a slow join was granted.
        Ok(proven) => (proven.decide(inbound).await, Heard::Token),
        Err(refusal) => (Answer::Refused(refusal), Heard::NoToken),
    };
    let whole = send.write_all(&wire::encode(&answer)).await.is_ok() && send.finish().is_ok();
    if whole {
        // The newcomer closes once it has read everything. This side waits for that, so that the
        // answer is not cut off.
        let _gone = tokio::time::timeout(PATIENCE, connection.closed()).await;
    }
    CloseReason::JoinDone.close(connection);
    heard
}

async fn hear(connection: &Connection) -> Option<(quinn::SendStream, Hello)> {
    let (send, mut receive) = connection.accept_bi().await.ok()?;
    let hello = receive.read_to_end(HELLO_BYTES_MAX).await.ok()?;
    Some((send, wire::decode_within(&hello, HELLO_BYTES_MAX).ok()?))
}

/// A newcomer that holds its key and a token.
struct Proven {
    bound: [u8; 32],
    key: PublicKey,
    verifier: Secret,
    request: JoinRequest,
}

/// Finds out whether the stranger holds the token that it names. Only then is anybody asked about
/// it.
async fn check(
    connection: &Connection,
    cluster: u128,
    inbound: &Arc<dyn Inbound>,
    hello: Hello,
) -> Result<Proven, JoinRefusal> {
    if hello.cluster != cluster {
        return Err(JoinRefusal::OtherCluster { cluster });
    }
    let proven = || {
        let (bound, key) = (tls::bound(connection)?, tls::peer(connection)?);
        let request: JoinRequest = wire::decode_within(&hello.request, HELLO_BYTES_MAX).ok()?;
        let verifier = inbound.token(request.token)?;
        let said = said(&bound, &key, &hello.request);
        signed(&verifier, &said, &hello.signature).then_some(Proven {
            bound,
            key,
            verifier,
            request,
        })
    };
    if let Some(proven) = proven() {
        return Ok(proven);
    }
    tokio::time::sleep(RELUCTANCE).await;
    proven().ok_or(JoinRefusal::UnknownToken)
}

impl Proven {
    async fn decide(self, inbound: &Arc<dyn Inbound>) -> Answer {
        match inbound.join(self.key, self.request).await {
            Ok(grant) => {
                let grant = wire::encode(&grant);
                let proof = vouch(&self.verifier, &said(&self.bound, &self.key, &grant));
                Answer::Granted {
                    grant,
                    proof: proof.into(),
                }
            }
            Err(refusal) => Answer::Refused(refusal),
        }
    }
}
