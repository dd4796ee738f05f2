//! Bugs that can be planted in this crate, so that checks can show that they notice: see
//! [`quorate_crdt::planted`].

quorate_crdt::bugs! {
    /// After a power loss the node votes twice in one term.
    VOTE_UNSYNCED = "vote-unsynced": "a vote is cast before it is durable";
    /// After a power loss a committed command is gone.
    LOG_UNSYNCED = "log-unsynced": "an entry of the control log is acknowledged before it is durable";
    /// A node whose answer was lost can never join under its name.
    JOIN_RETRY_UNKNOWN = "topology-join-retry-unknown": "a newcomer that asks again is taken for another";
}
