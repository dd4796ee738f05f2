//! Bugs that can be planted in this crate, so that checks can show that they notice: see
//! [`quorate_crdt::planted`].

quorate_crdt::bugs! {
    /// A node that comes back under an old number counts up from there.
    RENEW_BY_ONE = "renew-by-one": "a node whose disk was set back is considered dead until it has counted through all that it has forgotten";
    /// Whoever knows the number of a token can join.
    JOIN_UNSIGNED = "join-unsigned": "a member does not check that a newcomer holds its token";
    /// A node that comes back at another address is not found, although it knows where the others
    /// are.
    LOWER_DIALS_ALONE = "lower-dials-alone": "of two nodes only the one with the lower number dials";
    /// A large answer arrives without its beginning.
    PARTS_MIXED_UP = "parts-mixed-up": "the parts of a long message are not put before its end";
}
