//! Members over QUIC: certificates, joining, and the [`Transport`](crate::transport::Transport) of real nodes.
//!
//! A pair of nodes shares one connection, dialled by the lower identifier. Both sides prove the key of a certificate that the cluster's own
//! authority signed; a connection carries nothing before both have accepted the other.

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

#[cfg(test)]
mod tests;
