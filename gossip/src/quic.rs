//! Members over QUIC: certificates, joining, and the [`Transport`](crate::transport::Transport) of
//! real nodes.
//!
//! A pair of nodes shares one connection, dialled by the lower identifier. Both sides prove the key
//! of a certificate that the cluster's own authority signed; a connection carries nothing before
//! both have accepted the other.

mod endpoint;
mod frame;
mod identity;
mod join;
mod link;
mod outbox;
mod refusal;
mod shape;
mod tls;
mod tuning;

pub use endpoint::{BindError, QuicConfig, QuicTransport};
pub use identity::{ClusterAuthority, IdentityError, NodeIdentity, random_bytes};
pub use join::{JoinError, Joined, join};
pub use refusal::{PeerError, Refusal};
pub use shape::{LinkShape, LinkState};
pub use tuning::Profile;

use bytes::Bytes;

/// What arrives of messages that travel over one stream, one after the other: cut into frames and
/// parts as they are sent, and put together as they are received. For checks that have no
/// connection.
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
