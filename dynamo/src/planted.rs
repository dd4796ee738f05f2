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
    /// A stamp is above all that the clock has ever given or seen.
    CLOCK_NEVER_FALLS_BACK = "clock-never-falls-back": "a clock that was wrong for a moment stamps the future until that has come";
    /// What is data of a replica is not joined when a stamp in it is from the future.
    DRIFT_BLOCKS_REPAIR = "drift-blocks-repair": "one row with a stamp from the future keeps a replica from converging";
    /// Nobody compares clocks.
    NO_CLOCK_CHECK = "no-clock-check": "a node whose clock is off acknowledges what is gone at once, or wins against later writes";
    /// A node that has started takes its clock for right before others have told their time.
    STAMPS_BEFORE_ASKING = "stamps-before-asking": "a node that starts under a wrong clock acknowledges at ONE what wins against later writes";
    /// A clock that nobody has confirmed counts as much as one that others have.
    EVERY_CLOCK_A_WITNESS = "every-clock-a-witness": "a node that starts under a wrong clock and meets one other takes its own word for the time";
    /// Which of the remembered requests is the oldest is decided by wall clocks alone.
    REMEMBERED_BY_WALL_CLOCK = "remembered-by-wall-clock": "what a node whose clock is behind has executed is forgotten first, and counted twice";
    /// What a wrong clock stamped keeps its stamps once that is known.
    STAMPS_NOT_WITHDRAWN = "stamps-not-withdrawn": "a SET that failed under a wrong clock replaces one acknowledged later";
    /// What one replica has counted must fit into 64 bits.
    SHARE_OVERFLOW = "share-overflow": "a counter is refused although its sum fits";
    /// APPEND looks at the length of what it brings alone.
    APPEND_UNBOUNDED = "append-unbounded": "a value grows beyond what was allowed";
    /// A write with a token drops what happens to be there.
    TOKEN_UNSEEN = "token-unseen": "what a token covers and its node has not seen comes back as a sibling";
    /// A write with an old token always stays beside what it has not seen.
    SIBLINGS_UNBOUNDED = "siblings-unbounded": "concurrent values pile up without bound";
    /// A row's name is a key of the store, however long it is.
    LONG_STORE_KEYS = "long-store-keys": "a key that was accepted ends a node whose engine does not take it";
    /// [`FlightId`](crate::protocol::FlightId): the life is not looked at.
    FLIGHT_ID_WITHOUT_LIFE = "flight-id-without-life": "an answer to a former life is counted for a question of this one";
    /// A forwarded write that comes again is new only to who has heard of its sender before.
    LOST_FORWARD_IS_LOST = "lost-forward-is-lost": "the first write that a node hands on after its start times out if one frame is lost";
    /// A forwarded write that comes again is executed again.
    FORWARD_TWICE = "forward-twice": "a forwarded write that the network delivers twice is counted twice";
    /// A forwarded read that comes again is executed again, even while the first is under way.
    FORWARDED_READ_AGAIN = "forwarded-read-again": "a forwarded read whose answer is late is executed and answered as often as it is asked for";
    /// The book of a question: whom it was sent to is not looked at.
    ACK_OF_ANYONE = "ack-of-anyone": "an acknowledgement is counted of a node that was never asked";
    /// A change of the topology under a write.
    REWRITE_COUNTS_UNSENT = "rewrite-counts-unsent": "after a change of the topology whoever does not owe counts as having acknowledged";
    /// A keyspace dropped under a write.
    ANSWER_LOST_WHEN_KEYSPACE_GONE = "answer-lost-when-keyspace-gone": "a write whose keyspace is dropped is never answered";
    /// One replica refuses.
    REFUSED_IS_FAILED = "refused-is-failed": "one replica's refusal fails a request that others could still satisfy";
    /// Answered writes are remembered without bound and count as in flight.
    ANSWERED_WRITES_HOLD_FLIGHTS = "answered-writes-hold-flights": "one stalled replica makes a node refuse everything as overloaded";
    /// Reads while a partition is copied.
    REPAIR_COUNTS_ONE_SET = "repair-counts-one-set": "what a read returns during a move is left on the old replicas only";
    /// A flight keeps its name when it asks something else.
    SAME_OF_AN_EARLIER_ROUND = "same-of-an-earlier-round": "an answer to an earlier question of the same flight is counted for a later one";
    /// Hedging after a fixed time.
    HEDGE_IGNORES_DISTANCE = "hedge-ignores-distance": "every write over a wide area is sent twice";
    /// What came earlier for the same key and has not been executed is not waited for.
    LATER_OVERTAKES = "later-overtakes": "of two commands of one pipeline, the later one takes effect first";
    /// A request's name is not looked at.
    REQUEST_ID_FORGOTTEN = "request-id-forgotten": "an increment that is asked again after an unknown outcome is counted twice";
    /// Increments of one name that two replicas have executed.
    TWINS_COUNT_TWICE = "twins-count-twice": "an increment that two replicas executed, neither knowing of the other, is counted twice";
    /// Reads are answered by one replica whatever their level.
    READ_QUORUM_OF_ONE = "read-quorum-of-one": "a read at any level is answered by one replica";
    /// The rule by which a replica is filled, where it is the only one of those that were read.
    ALONE_IS_EVERYBODY = "alone-is-everybody": "a wiped replica that moves is read before those it moves to have told what they have";
    /// A residual waits until some replica has seen all of it.
    LOST_EVENTS_AWAITED = "lost-events-awaited": "what one replica alone had seen, and lost with its disk, keeps the others from ever converging";
    /// Whatever topology is at hand erases the replicas it does not name.
    ERASE_WHAT_IS_NOT_NAMED = "erase-what-is-not-named": "a replica is erased by a topology older than its placement";
    /// A replica made where another was erased writes under its id.
    LIVES_REUSED = "lives-reused": "an id that was closed by an erasure issues events again";
    /// A replica leaves before the others have what it alone has.
    SWITCH_WITHOUT_SPREAD = "switch-without-spread": "a move ends before what the leaving replica alone has has spread";
    /// An id taken up from disk issues events before the other holders have spoken.
    COPIES_TRUSTED = "copies-trusted": "a restored copy of the disk goes on under an id that others know better";
    /// Own events in what others say are not looked at.
    OWN_EVENTS_OVERLOOKED = "own-events-overlooked": "a replica goes on under an id of which it has forgotten events";
    /// A start does not look for what was gone and still lay on disk.
    MARK_FORGOTTEN = "mark-forgotten": "what a large removal had left on disk is back after a start";
    /// A start takes all that lies in the range of a large removal for what that had left.
    MARK_SWALLOWS_LATER = "mark-swallows-later": "what was written after a large removal is gone after a start";
    /// What a large removal has left is removed from disk without a look at what lives there by
    /// now.
    REMAINS_OVER_LIVE = "remains-over-live": "what was written after a large removal goes from disk with what that had left";
    /// Removed rows leave the disk so many at a time, however many come.
    REMAINS_WITHOUT_BOUND = "remains-without-bound": "who fills and removes a collection again and again takes all memory";
    /// A replica is made where an erased one has left rows.
    MADE_OVER_REMAINS = "made-over-remains": "what a replica writes goes from disk with what an erased one had left there";
    /// Limits are per part of a request, and what comes out is not looked at.
    OUTCOME_UNBOUNDED = "outcome-unbounded": "a long key with many elements makes gigabytes of a request of one";
    /// A delta and a question hold the key in each of its rows.
    KEY_IN_EVERY_ROW = "key-in-every-row": "a set under a long key is sent as many times as long as it is";
    /// The bound on requests in flight counts them.
    FLIGHTS_UNWEIGHED = "flights-unweighed": "requests in flight take as much memory as clients like to send";
    /// What is remembered for replicas that are away has a bound of its own in each partition.
    RECENT_BOUNDED_BY_PARTITION = "recent-bounded-by-partition": "while a replica is away, what is remembered for it takes all memory";
    /// Hints are handed over when their owner is seen to come back.
    HINTS_WAIT_FOR_A_RETURN = "hints-wait-for-a-return": "a hint that comes after its owner is back is kept for ever";
    /// Named increments of a former life are nobody's.
    FORMER_LIVES_STAY_APART = "former-lives-stay-apart": "a counter grows by some named increments with each restart";
    /// A write that was long under way is taken for one of a clock that is behind.
    LATE_IS_BEHIND = "late-is-behind": "a write that arrives late is refused for its node's clock, which is right";
    /// On a full disk removals are refused too.
    FULL_DISK_KEEPS_ALL = "full-disk-keeps-all": "nothing can be removed through a node whose disk is full";
    /// A node with a full disk asks for what it lacks and takes it.
    FULL_DISK_TAKES_REPAIRS = "full-disk-takes-repairs": "a full disk refuses writes and takes them by anti-entropy";
    /// Requests are remembered under keys that a client may use.
    REQUESTS_UNDER_CLIENT_KEYS = "requests-under-client-keys": "a client that uses such a key makes nodes forget what they have executed";
    /// `FLUSHDB` does not look at what the replicas of its level have.
    CLEAR_UNSEEN = "clear-unseen": "FLUSHDB at QUORUM leaves what the executing replica had not seen";
    /// What a delta says is taken for the word of the life that its node is in now.
    FORMER_LIFE_VOUCHES = "former-life-vouches": "a late delta of a former life vouches for what the new one has forgotten";
    /// The chunk of any stream is taken for the answer to the last question.
    CHUNK_OF_ANY_STREAM = "chunk-of-any-stream": "a late chunk of an abandoned stream ends a new one";
    /// A stream whose question or answer is lost waits for ever.
    PULL_ONCE = "pull-once": "a lost question or chunk of a stream is never asked for again";
    /// A delta's context is not remembered for its range.
    RESIDUAL_SKIPPED = "residual-skipped": "an older event that comes late rises beside the one that overwrote it";
    /// What a piece says is remembered only when its stream ends.
    ADOPT_AT_THE_END = "adopt-at-the-end": "while a replica is streamed to, overwritten values rise again";
    /// Join keeps one of concurrent entries by its value.
    PAYLOAD_DECIDES = "payload-decides": "a join drops what no event has overwritten";
    /// A stream's last piece says what has been seen.
    ADOPT_LAST_CONTEXT = "adopt-last-context": "events that were written behind a stream are taken for seen";
    /// Beyond its bound `recent` drops the lowest id.
    RECENT_DROPS_LOWEST = "recent-drops-lowest": "an event that has just come is forgotten before one that all had time to learn";
    /// Different digests under equal contexts are counted, and that is all.
    MISMATCH_IGNORED = "mismatch-ignored": "a replica that has lost rows answers reads and takes them from the others";
    /// Whoever differs is counted, whether they have the same or not.
    ANY_DIFFERENCE_OUTVOTES = "any-difference-outvotes": "a replica is replaced because two others differ from it, each in its own way";
    /// Whoever is to mend a replica is chosen once.
    MEND_SOURCE_FIXED = "mend-source-fixed": "a replica is mended by one other, and by nobody when that one is gone";
    /// What is added to a key is joined, whatever the writer knew of its expiry.
    ADDED_TO_EXPIRED = "added-to-expired": "an increment of a key that a quorum has seen expire is acknowledged and lost";
    /// What keeps an expiry looks for one only if this replica has one.
    KEPT_UNSEEN = "kept-unseen": "SET KEEPTTL through a node that has missed the EXPIRE makes the key stay for ever";
    /// What a mutation finds gone on the executing replica is gone.
    GONE_HERE_IS_GONE = "gone-here-is-gone": "a removal that is asked for again is acknowledged by the one replica that knows of the first";
    /// A large key is answered event by event.
    RESIDUALS_UNSAID = "residuals-unsaid": "an answer about a large key leaves out what is known of a part of it";
    /// The first holder that can be reached asks whether keys have expired, whatever its clock.
    FIRST_HOLDER_HAS_A_VETO = "first-holder-has-a-veto": "expired keys are never removed while one clock is off";
    /// The only clock there is may remove by time as soon as its node has started.
    LONE_CLOCK_REMOVES_AT_ONCE = "lone-clock-removes-at-once": "a single node that starts under a clock ahead removes keys that are due in an hour";
    /// A helper that does not answer is taken for one that remembers.
    SILENCE_IS_MEMORY = "silence-is-memory": "a replica is not streamed to as long as one that has left seems to have what it lacks";
    /// A replica that is doubted takes nothing.
    DOUBT_STOPS_WRITES = "doubt-stops-writes": "one row that differs and one replica that is away stop the partition";
    /// A replica that is doubted answers alone.
    DOUBT_ASKS_NOBODY = "doubt-asks-nobody": "what others contradict is answered at ONE";
    /// Hints are counted by their keys.
    HINTS_UNCOUNTED = "hints-uncounted": "hints take far more memory than their bound";
    /// What is remembered event by event is bounded before a tick does its work.
    TICK_BEYOND_BOUND = "tick-beyond-bound": "what a tick declares lost is remembered beyond the bound";
    /// Only filled replicas count for one that is being filled.
    FILL_FROM_FILLED_ONLY = "fill-from-filled-only": "replicas that lost their disks together wait for each other";
    /// Events of its own former lives do not tell a replica that it has lost them.
    OLD_DISK_OVERLOOKED = "old-disk-overlooked": "a replica on an older disk is read although others know what it wrote since";
    /// A replica that starts again asks nobody what it had known.
    WAKES_AT_ONCE = "wakes-at-once": "a replica on an older disk counts in a majority before anybody can have told it so";
    /// What the former lives of a replica had acknowledged is not held against it.
    FORMER_LIVES_FORGOTTEN = "former-lives-forgotten": "a replica on an older disk is read although others know what it acknowledged since";
    /// What a replica said first is kept when it has been filled.
    FIRST_KEPT_OVER_FILLING = "first-kept-over-filling": "what a replica said while it had lost its memory counts as its memory";
    /// A replica that is being filled does not count itself as a member of the old set.
    MOVER_FORGETS_ITSELF = "mover-forgets-itself": "a move stalls while one replica of the old set is down";
    /// Bounds of what is sent at once are taken as they come, be they nothing.
    BOUND_OF_NOTHING = "bound-of-nothing": "with small chunks replicas never tell each other what they lack";
    /// What is read must fit into a frame.
    RANGES_FIT_A_FRAME = "ranges-fit-a-frame": "a large key is not read where a replica has missed it";
    /// Whoever holds the partition sends what one of them lacks.
    EVERYBODY_HELPS = "everybody-helps": "what one replica has missed is sent to it by each of the others";
    /// What is under way is asked for again.
    ASKED_AGAIN_EACH_TICK = "asked-again-each-tick": "while a round trip takes long, what one replica has missed is sent to it again and again";
    /// What others have just got is asked for at once.
    ASKED_BEFORE_OVERDUE = "asked-before-overdue": "what is on its way to a replica is sent to it once more as a repair";
    /// One helper has forgotten an event.
    STREAMED_AT_ONCE = "streamed-at-once": "a partition is streamed though another replica remembers what is lacking";
    /// The same replica is asked for help each time.
    ONE_HELPER_FOR_EVER = "one-helper-for-ever": "a replica waits for help from one that cannot give it";
}
