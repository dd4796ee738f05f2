//! Bugs of this crate that can be planted: see [`quorate_crdt::planted`].

quorate_crdt::bugs! {
    /// A SET without an expiry says nothing of the expiry.
    EXPIRY_OUTLIVES_SET = "expiry-outlives-set": "an earlier expiry applies to a later SET";
    /// A query about some rows does not ask for the key's kind and expiry.
    EXPIRY_NOT_ASKED = "expiry-not-asked": "SISMEMBER and HGET miss an expiry or a kind that was acknowledged";
    /// A write is refused by what one replica has, whatever its level.
    REFUSES_UNSEEN = "refuses-unseen": "a write is refused, or takes a key for expired, by what one replica alone has";
    /// The reaper asks nobody whether a key has expired.
    REAP_BY_OWN_CLOCK = "reap-by-own-clock": "one wrong clock removes keys for good";
    /// The reaper does not look again once a quorum's clocks have agreed.
    REAP_WITHOUT_A_LOOK = "reap-without-a-look": "a key that was extended meanwhile is removed";
    /// The reaper removes by what one replica has.
    REAP_AT_ONE = "reap-at-one": "an expired key is removed without a look at what a quorum has";
    /// A row's name is a key of the store, however long it is.
    LONG_STORE_KEYS = "long-store-keys": "a key that was accepted ends a node whose engine does not take it";
}
