//! Why two nodes are not connected. Each reason for closing a connection has a number, which is the
//! application error code of the QUIC close.

use quinn::{ConnectionError, TransportErrorCode, VarInt};

use crate::wire::VERSION;

/// Why a node closes a connection. The other side reads the same value from the close frame.
/// The numbers are part of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
#[non_exhaustive]
#[repr(u32)]
pub enum CloseReason {
    /// The key of the other side is that of no member: not yet, no longer, or of another cluster.
    #[error("its key is not that of a member")]
    NotAdmitted = 1,
    /// Somebody other than the node that was dialled answers at its address.
    #[error("another node listens at this address")]
    WrongNode = 2,
    /// Too many ask to join at the moment, or this address has shown too many wrong join tokens.
    #[error("too many join requests or wrong join tokens: try again in a minute")]
    Busy = 3,
    /// Another connection between the same two nodes stays: a newer one, or the one that the node
    /// with the lower number has dialled.
    #[error("there is another connection between these two nodes")]
    Duplicate = 4,
    /// The node is stopping.
    #[error("the node is shutting down")]
    Shutdown = 5,
    /// A frame arrived that no version of this protocol sends.
    #[error("the protocol was violated")]
    Violation = 6,
    /// The peer is no longer among the nodes that may be connected.
    #[error("the node was removed from the peers")]
    Removed = 7,
    /// A stream of this connection ended. A new connection starts afresh.
    #[error("a stream of the connection ended")]
    StreamEnded = 8,
    /// A join exchange is over.
    #[error("the join exchange is over")]
    JoinDone = 9,
}

impl CloseReason {
    const ALL: [Self; 9] = [
        Self::NotAdmitted,
        Self::WrongNode,
        Self::Busy,
        Self::Duplicate,
        Self::Shutdown,
        Self::Violation,
        Self::Removed,
        Self::StreamEnded,
        Self::JoinDone,
    ];

    fn from_code(code: VarInt) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|refusal| *refusal as u64 == code.into_inner())
    }

    /// Closes `connection` for this reason, with words for the other side's log. If either side has
    /// closed it already, the first reason stays.
    pub(super) fn close(self, connection: &quinn::Connection) {
        if connection.close_reason().is_none() {
            connection.close(VarInt::from_u32(self as u32), self.to_string().as_bytes());
        }
    }
}

/// Why there is no connection to a node.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerError {
    /// This node refused the other.
    #[error("refused here: {0}")]
    Refused(CloseReason),
    /// The other node refused this one.
    #[error("refused by the other side: {0}")]
    RefusedByPeer(CloseReason),
    /// Nothing answers at the address, or answers have stopped.
    #[error("nothing answers")]
    Unreachable,
    /// The node has dialled its own address.
    #[error("this node itself is at the address")]
    Itself,
    /// The host name that the node has told has no address now.
    #[error("no address is known for its host")]
    UnknownHost,
    /// The other side is a node that speaks another version of the protocol.
    #[error("the other side speaks another version of the protocol than {VERSION}")]
    OtherVersion,
    /// The handshake failed: the other side is probably not a Quorate node.
    #[error("the TLS or QUIC handshake failed with code {code:#x}")]
    Handshake {
        /// The QUIC transport error. A TLS alert is 0x100 plus its number.
        code: u64,
    },
    /// This node's own socket or configuration failed.
    #[error("the local endpoint cannot connect")]
    Local,
}

/// The TLS alert for "no protocol in common" (RFC 7301, section 3.2).
const NO_APPLICATION_PROTOCOL: u8 = 120;

impl PeerError {
    fn handshake(code: TransportErrorCode) -> Self {
        if code == TransportErrorCode::crypto(NO_APPLICATION_PROTOCOL) {
            return Self::OtherVersion;
        }
        Self::Handshake {
            code: u64::from(code),
        }
    }
}

impl From<&ConnectionError> for PeerError {
    fn from(error: &ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => CloseReason::from_code(close.error_code)
                .map_or(
                    Self::Handshake {
                        code: close.error_code.into_inner(),
                    },
                    Self::RefusedByPeer,
                ),
            ConnectionError::ConnectionClosed(close) => Self::handshake(close.error_code),
            ConnectionError::TransportError(error) => Self::handshake(error.code),
            ConnectionError::TimedOut | ConnectionError::Reset => Self::Unreachable,
            ConnectionError::VersionMismatch => Self::Handshake { code: 0 },
            ConnectionError::LocallyClosed | ConnectionError::CidsExhausted => Self::Local,
        }
    }
}
