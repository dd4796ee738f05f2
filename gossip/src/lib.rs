//! Quorate gossip.
