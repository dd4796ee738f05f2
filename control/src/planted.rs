//! Bugs that can be planted in this crate, so that checks can show that they notice: see
//! [`quorate_crdt::planted`].

quorate_crdt::bugs! {
    /// After a power loss the node votes twice in one term.
    VOTE_UNSYNCED = "vote-unsynced": "a vote is cast before it is durable";
    /// After a power loss a committed command is gone.
    LOG_UNSYNCED = "log-unsynced": "an entry of the control log is acknowledged before it is durable";
    /// A node whose answer was lost can never join under its name.
    JOIN_RETRY_UNKNOWN = "topology-join-retry-unknown": "a newcomer that asks again is taken for another";
    /// A user of one keyspace reads and writes all others.
    GRANT_EVERYWHERE = "grant-everywhere": "a role in one keyspace is taken for a role in all";
    /// A user who was dropped goes on working until the connection ends.
    SESSION_OUTLIVES_PASSWORD = "session-outlives-password": "whoever has come in stays in, whatever becomes of the user";
    /// A connection from before the first user may do everything for ever.
    USERS_LEAVE_THE_DOOR_OPEN = "users-leave-the-door-open": "users exist, and callers without a name are still let in";
    /// Nobody can administer the cluster any more.
    LAST_ADMINISTRATOR_GOES = "last-administrator-goes": "the last user who administers the cluster is dropped or loses the role";
    /// A token for one node is used up by a newcomer that asked twice, and admits no other.
    TOKEN_USE_COUNTED_TWICE = "token-use-counted-twice": "a newcomer that asks again uses its token up a second time";
    /// Whoever has the key of a removed node is taken for a member.
    REMOVED_KEY_CONNECTS = "removed-key-connects": "a key that is not in the topology is believed";
    /// A member can say that another has moved, or has done what it has not.
    REPORTS_FOR_OTHERS = "reports-for-others": "a member may report for another one";
}
