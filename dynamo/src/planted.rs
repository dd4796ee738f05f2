//! Bugs of this crate that can be planted: see [`quorate_crdt::planted`].

quorate_crdt::bugs! {}
