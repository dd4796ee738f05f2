//! Quorate crdt.
