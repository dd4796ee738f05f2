//! Membership, the transport between nodes, and the one codec of the workspace.
//!
//! [`transport`] says what a node needs from a network, and what a network needs from a node; the
//! simulator and the QUIC transport (feature `quic`) both implement it. [`wire`] is the codec,
//! [`token`] the text that lets a newcomer in. All but `quic` is pure.

pub mod membership;
pub mod planted;
#[cfg(feature = "quic")]
pub mod quic;
pub mod token;
pub mod transport;
pub mod wire;
