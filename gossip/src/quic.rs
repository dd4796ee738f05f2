//! The [`Transport`](crate::transport::Transport) of real nodes, over QUIC, and joining.
//!
//! Two nodes share one connection, which either of them has dialled. Each side proves that it holds
//! a key that the topology gives to a member, and a connection carries nothing before both sides
//! have accepted each other.
//!
//! ```text
//! reasons      why a connection is closed or missing
//! keys         the keys of nodes and of join tokens
//! tls          the handshake, and who may pass it
//! tuning       settings of QUIC for each kind of network
//! shape        simulated delays and cuts below QUIC
//! frame        frames on a stream
//! outbox       what waits to be written to one stream
//! link         one live connection
//! porch        how many strangers are heard, and which are not
//! join         how a newcomer becomes a member
//! whereabouts  where the other nodes are
//! peering      who dials whom and where, and which of several connections stays
//! endpoint     the node's socket, and what is sent over its connections
//! ```
//!
//! Each file uses only files above it.

mod endpoint;
mod frame;
mod join;
mod keys;
mod link;
mod outbox;
mod peering;
mod porch;
mod reasons;
mod shape;
mod tls;
mod tuning;
mod whereabouts;

pub use endpoint::{BindError, QuicConfig, QuicTransport};
pub use join::{JoinError, join};
pub use keys::{KeyError, KeyPair, NodeIdentity, random_bytes};
pub use reasons::{CloseReason, PeerError};
pub use shape::{LinkShape, LinkState};
pub use tuning::Profile;
pub use whereabouts::look_up;

use bytes::Bytes;
use quorate_crdt::Secret;

use crate::token::JoinToken;

/// Whether a member that keeps `verifier` would believe that the newcomer with `shown` holds the
/// token. For checks that have no connection.
pub fn holds(verifier: &Secret, shown: &JoinToken) -> bool {
    let said = b"let me in";
    keys::signed(verifier, said, &shown.sign(said))
}

/// Returns what arrives of messages that travel over one stream one after the other: cut into
/// frames and parts as a sender does it, and put together as a receiver does. For checks that have
/// no connection.
pub fn carry(messages: impl IntoIterator<Item = Bytes>) -> Vec<Bytes> {
    let (outbox, mut deframer, mut arrived) = (
        outbox::Outbox::default(),
        frame::Deframer::default(),
        Vec::new(),
    );
    for message in messages {
        if !outbox.push(frame::Header::OneWay, message) {
            continue;
        }
        let chunks = outbox.waiting();
        outbox.written(chunks.iter().map(Bytes::len).sum());
        for chunk in chunks {
            deframer.push(&chunk);
            while let Ok(Some(frame::Frame::OneWay(message))) = deframer.next() {
                arrived.push(message);
            }
        }
    }
    arrived
}

#[cfg(test)]
mod tests;
