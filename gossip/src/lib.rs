//! Which nodes are alive, and how nodes talk to each other.
//!
//! | module | what it is |
//! |---|---|
//! | [`membership`] | the failure detector, as a pure state machine |
//! | [`transport`] | what a node needs from a network, and a network from a node: the simulator implements it too |
//! | [`wire`] | messages as bytes |
//! | [`token`] | the text that lets a newcomer join |
//! | `quic` | the transport over real sockets, with keys and joining (feature `quic`) |
//!
//! Everything but `quic` is pure. Gossip only suggests: nothing here decides who belongs to the
//! cluster.

pub mod membership;
pub mod planted;
#[cfg(feature = "quic")]
pub mod quic;
pub mod token;
pub mod transport;
pub mod wire;
