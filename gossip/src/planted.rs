//! Bugs of this crate that can be planted: see [`quorate_crdt::planted`].

quorate_crdt::bugs! {
    /// A large answer arrives without its beginning.
    PARTS_MIXED_UP = "parts-mixed-up": "the parts of a long message are not put before its end";
}
