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
    /// Whoever has a copy of the old key is taken for the node.
    OLD_KEY_KEPT = "old-key-kept": "the key that a node has changed for another is believed as before";
    /// A node can announce the key of another, and is taken for it.
    KEY_OF_ANOTHER = "key-of-another": "a node may announce a key that is another's";
    /// A member can say that another has moved, or has done what it has not.
    REPORTS_FOR_OTHERS = "reports-for-others": "a member may report for another one";
    /// While the next leader fetches what it lacks, nothing is decided.
    HANDS_OVER_BLINDLY = "hands-over-blindly": "the leadership is handed to a voter that lacks entries";
    /// The other groups elect one leader after the other, and decide little.
    ONE_GROUP_BEATS = "one-group-beats": "a node gives signs of life only for the first of the groups that it leads";
    /// Over a long distance nothing is ever decided.
    PACE_UNMEASURED = "pace-unmeasured": "the leader does not look how far the others are away";
    /// A holder loses its lock because the group changed its leader.
    LEASE_CUT_SHORT = "lease-cut-short": "a new leader counts time against sessions whose renewals it may not have seen";
    /// A leader that was stopped ends every session when it goes on.
    TICK_COUNTS_A_PAUSE = "tick-counts-a-pause": "a leader counts the time for which it was stopped against sessions that could not renew";
    /// A retried unlock frees the lock of the next holder.
    RELEASE_WITHOUT_TOKEN = "release-without-token": "a lock is released or renewed under another token than that of its grant";
    /// A leader that was replaced resigns for its successor.
    RESIGN_WITHOUT_TOKEN = "resign-without-token": "a leadership ends under another token than that of its grant";
    /// Nobody renews or releases what a dead client was given.
    GRANT_TO_THE_DEAD = "grant-to-the-dead": "a request is granted although its session has ended";
    /// A lock is never free again.
    HOLDS_LEFT_BEHIND = "holds-left-behind": "a session ends and keeps its locks";
    /// Whoever holds a lock later has a lower token, and is the one that is refused.
    TOKENS_BEGIN_AGAIN = "tokens-begin-again": "tokens begin anew with the log of a restored group";
    /// The holder of an older lock is refused by all data.
    FLOOR_TOO_HIGH = "floor-too-high": "the newest token that is held is published as the oldest";
    /// A reader and a writer are in at the same time.
    SHARED_BESIDE_EXCLUSIVE = "shared-beside-exclusive": "a lock is shared while somebody holds it exclusively";
    /// A reader becomes a writer while others read.
    UPGRADE_BESIDE_READERS = "upgrade-beside-readers": "a shared lock becomes exclusive while others share it";
    /// Writers starve behind readers that came later.
    QUEUE_SKIPS = "queue-skips": "a request overtakes an earlier one that does not fit yet";
    /// Three clients wait for each other until their waits are over.
    DEADLOCK_UNSEEN = "deadlock-unseen": "a wait that closes a circle is not refused";
    /// A circle that leads through somebody's place in a queue is waited in.
    DEADLOCK_BEHIND_A_QUEUE = "deadlock-behind-a-queue": "circles are looked for among holders only, not among those who wait in front";
    /// A lock that was released once is still held.
    RETRY_REPEATED = "retry-repeated": "a command that arrives twice is carried out twice";
    /// Sessions of clients that tried once pile up.
    TRY_LEAVES_A_SESSION = "try-leaves-a-session": "a try that fails leaves the session open that it came with";
    /// More permits are out than there may be.
    RESIZE_IGNORED = "resize-ignored": "a semaphore keeps giving as many permits as it once had";
    /// The others wait for a party that will never come, or go on without it.
    BARRIER_COUNTS_THE_DEAD = "barrier-counts-the-dead": "a party that died is still counted at its barrier";
    /// Whoever waits for a latch waits for more than was agreed.
    LATCH_SET_AGAIN = "latch-set-again": "a latch that is counting is set to another number";
    /// One of two clients that have read the same value overwrites what the other has written.
    METADATA_SET_BLINDLY = "metadata-set-blindly": "metadata is replaced although it is not what was expected";
    /// The machine that is there to vote only is asked for everything that needs the leader.
    WITNESS_STANDS = "witness-stands": "a witness stands for election like any other voter";
    /// Data lies on a machine without the disk for it.
    WITNESS_HOLDS = "witness-holds": "partitions are placed on a witness";
    /// Nobody who holds data can lead, and nothing is decided when one of them dies.
    WITNESS_KEEPS_ALL_BACK = "witness-keeps-all-back": "a witness stands for no election, even if it alone has an entry that is decided";
    /// A replica that has decided otherwise answers, leads and is copied.
    DIFFERENT_GOES_ON = "different-goes-on": "a replica whose state differs from that of the others takes part as before";
    /// Two groups take each other's log for theirs.
    GROUPS_SHARE_A_LOG = "groups-share-a-log": "the records of all groups have the same keys";
    /// A leader that was cut off answers with what was replaced meanwhile.
    READS_WITHOUT_A_MAJORITY = "reads-without-a-majority": "whoever believes to lead answers strong reads";
    /// The same, while others decide: its lease has run out.
    LEASE_WITHOUT_BOUND = "lease-without-bound": "whoever believes to lead answers lease reads";
    /// A follower that was cut off answers with what was replaced long ago.
    STALE_WITHOUT_BOUND = "stale-without-bound": "a read that bounds its staleness is answered by whoever is asked";
    /// A client does not find what it has just written.
    READS_BEFORE_APPLYING = "reads-before-applying": "a follower answers a strong read before it has applied what the leader named";
    /// A group that counts on a node's log loses what it has decided.
    LEAVES_BEFORE_THE_OTHERS_AGREE = "leaves-before-the-others-agree": "a node forgets a group in which it has a part still";
}
