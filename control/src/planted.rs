//! Bugs that can be planted in this crate, so that checks can show that they notice: see
//! [`quorate_crdt::planted`].

quorate_crdt::bugs! {
    /// After a power loss the node votes twice in one term.
    VOTE_UNSYNCED = "vote-unsynced": "a vote is cast before it is durable";
    /// After a power loss a committed command is gone.
    LOG_UNSYNCED = "log-unsynced": "an entry of the control log is acknowledged before it is durable";
    /// A vote in memory is cast twice in one term when its node is killed.
    VOLATILE_VOTES = "volatile-votes": "a node that may forget its vote votes beside nodes that keep theirs";
    /// The group waits for a node that is cut off; with one more failure it decides nothing.
    SILENT_VOTER = "silent-voter": "a node becomes a voter although it does not answer";
    /// The change can never be committed, and no dead node be removed any more.
    SILENT_MAJORITY = "silent-majority": "the voters change although a majority of the new ones is silent";
    /// A node that has left, and may be dead, is needed for decisions.
    LATECOMER_KEEPS_THE_GONE = "latecomer-keeps-the-gone": "a node that has left keeps its vote until every newcomer is ready";
    /// The partitions of a dead node stay without a replica for ever.
    REPLACED_IS_AWAITED = "replaced-is-awaited": "moves wait for a dead node whose place was taken";
    /// A newcomer in a dead node's place moves partitions that neither of them holds.
    PLACE_BY_OWN_NUMBER = "place-by-own-number": "a newcomer that takes a dead node's place is placed like any other";
    /// A node that was drained and stopped keeps partitions moving for ever.
    DRAINED_IS_AWAITED = "drained-is-awaited": "moves wait for a node that is being drained";
    /// Stopping a node that was drained takes a vote away.
    DRAINED_VOTES = "drained-votes": "a node that is drained keeps its vote";
    /// What the lost voters decided meanwhile is mistaken for newer than the recovery.
    RECOVERS_IN_PLACE = "recovers-in-place": "a recovery goes on at the next index of the survivor";
    /// A restored directory has forgotten votes, and votes again.
    OLD_DISK_VOTES = "old-disk-votes": "a node votes although its directory is older than one that it has run on";
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
    /// Two groups take each other's log for theirs.
    GROUPS_SHARE_A_LOG = "groups-share-a-log": "the records of all groups have the same keys";
    /// A leader that was cut off answers with what was replaced meanwhile.
    READS_WITHOUT_A_MAJORITY = "reads-without-a-majority": "whoever believes to lead answers strong reads";
    /// A group that counts on a node's log loses what it has decided.
    LEAVES_BEFORE_THE_OTHERS_AGREE = "leaves-before-the-others-agree": "a node forgets a group in which it has a part still";
}
