//! Bugs of this crate that can be planted: see [`quorate_crdt::planted`].

quorate_crdt::bugs! {
    /// A SET without an expiry leaves an earlier expiry in force.
    EXPIRY_OUTLIVES_SET = "expiry-outlives-set": "an earlier expiry applies to a later SET";
    /// A query about some rows does not ask for the key's kind and expiry.
    EXPIRY_NOT_ASKED = "expiry-not-asked": "SISMEMBER and HGET miss an acknowledged expiry or kind";
    /// What one replica has can make a write fail, whatever its level.
    REFUSES_UNSEEN = "refuses-unseen": "a write is refused, or treats a key as expired, because of what a single replica has";
    /// The reaper asks nobody whether a key has expired.
    REAP_BY_OWN_CLOCK = "reap-by-own-clock": "one wrong clock removes keys for good";
    /// The reaper does not look again after a quorum's clocks have agreed.
    REAP_WITHOUT_A_LOOK = "reap-without-a-look": "a key whose expiry was extended in the meantime is removed";
    /// The reaper removes what one replica has.
    REAP_AT_ONE = "reap-at-one": "an expired key is removed without a look at what a quorum has";
    /// A stamp is above everything that the clock has ever given or seen.
    CLOCK_NEVER_FALLS_BACK = "clock-never-falls-back": "a clock that was wrong for a moment stamps the future until that time has come";
    /// Data with a stamp from the future is not joined.
    DRIFT_BLOCKS_REPAIR = "drift-blocks-repair": "one row with a stamp from the future keeps a replica from converging";
    /// Nobody compares clocks.
    NO_CLOCK_CHECK = "no-clock-check": "a node whose clock is off acknowledges values that are gone at once, or that win over later writes";
    /// A node that has started trusts its clock before others have told their time.
    STAMPS_BEFORE_ASKING = "stamps-before-asking": "a node that starts under a wrong clock acknowledges writes at ONE that win over later ones";
    /// An unconfirmed clock counts as much as a confirmed one.
    EVERY_CLOCK_A_WITNESS = "every-clock-a-witness": "a node that starts under a wrong clock and meets one other believes itself about the time";
    /// Wall clocks alone decide which remembered request is the oldest.
    REMEMBERED_BY_WALL_CLOCK = "remembered-by-wall-clock": "requests executed by a node whose clock is behind are forgotten first, and counted twice";
    /// Entries keep the stamps of a wrong clock after it is known to be wrong.
    STAMPS_NOT_WITHDRAWN = "stamps-not-withdrawn": "a SET that failed under a wrong clock replaces one acknowledged later";
    /// The share of one replica must fit into 64 bits.
    SHARE_OVERFLOW = "share-overflow": "an increment is refused although the sum fits";
    /// APPEND checks only the length of what it brings.
    APPEND_UNBOUNDED = "append-unbounded": "a value grows beyond the limit";
    /// A write with a token drops whatever happens to be there.
    TOKEN_UNSEEN = "token-unseen": "a value that the token covers, but its node has not seen, comes back as a sibling";
    /// Each row that is told to a replica which has missed it is told under all that the sender has
    /// seen.
    TOLD_UNDER_EVERYTHING = "told-under-everything": "a replica that has missed n events of a partition takes memory for n times n when it comes back";
    /// A token is read however long it is.
    TOKEN_UNBOUNDED = "token-unbounded": "a client stops a shard for seconds with a long token";
    /// A write with an old token always stays beside what it has not seen.
    SIBLINGS_UNBOUNDED = "siblings-unbounded": "concurrent values pile up without bound";
    /// A row's name is used as a key of the store, however long it is.
    LONG_STORE_KEYS = "long-store-keys": "an accepted key ends a node whose engine cannot store it";
    /// The life in a [`FlightId`](crate::protocol::FlightId) is ignored.
    FLIGHT_ID_WITHOUT_LIFE = "flight-id-without-life": "an answer to a former life counts for a question of this one";
    /// A repeated forward is new only to a node that has heard from its sender before.
    LOST_FORWARD_IS_LOST = "lost-forward-is-lost": "the first write that a node forwards after its start times out if a single frame is lost";
    /// A repeated forward of a write is executed again.
    FORWARD_TWICE = "forward-twice": "a forwarded write that the network delivers twice is counted twice";
    /// A repeated forward of a read is executed again, even while the first is in flight.
    FORWARDED_READ_AGAIN = "forwarded-read-again": "a forwarded read whose answer is late is executed and answered as often as it is repeated";
    /// A ledger does not check whom its question was sent to.
    ACK_OF_ANYONE = "ack-of-anyone": "an acknowledgement counts from a node that was never asked";
    /// After a change of the topology, a node that owes nothing counts as having acknowledged.
    REWRITE_COUNTS_UNSENT = "rewrite-counts-unsent": "after a change of the topology, nodes that were never sent a write count as having acknowledged it";
    /// A write ends without an answer when its keyspace is dropped.
    ANSWER_LOST_WHEN_KEYSPACE_GONE = "answer-lost-when-keyspace-gone": "a write whose keyspace is dropped is never answered";
    /// Every acknowledgement looks at everybody.
    EVERY_WAITER_LOOKED_AT = "every-waiter-looked-at": "clients that wait for a dead replica slow every write down";
    /// A single refusal ends a request.
    REFUSED_IS_FAILED = "refused-is-failed": "one replica's refusal fails a request that others could still satisfy";
    /// Answered writes are remembered without bound and count as in flight.
    ANSWERED_WRITES_HOLD_FLIGHTS = "answered-writes-hold-flights": "one stalled replica makes a node refuse everything as overloaded";
    /// A read during a copy counts only the set that is read now.
    REPAIR_COUNTS_ONE_SET = "repair-counts-one-set": "what a read returns during a move is left on the old replicas only";
    /// A flight keeps its name when it asks something new.
    SAME_OF_AN_EARLIER_ROUND = "same-of-an-earlier-round": "an answer to an earlier question of a flight counts for a later one";
    /// Requests are hedged after a fixed time.
    HEDGE_IGNORES_DISTANCE = "hedge-ignores-distance": "every write over a wide area is sent twice";
    /// A request does not wait for earlier ones of the same key.
    LATER_OVERTAKES = "later-overtakes": "of two commands in a pipeline, the later one takes effect first";
    /// The client's name for a request is ignored.
    REQUEST_ID_FORGOTTEN = "request-id-forgotten": "an increment that is sent again after an unknown outcome is counted twice";
    /// Increments with the same name are all counted.
    TWINS_COUNT_TWICE = "twins-count-twice": "an increment that two replicas executed, unaware of each other, is counted twice";
    /// One replica answers every read, whatever its level.
    READ_QUORUM_OF_ONE = "read-quorum-of-one": "a read at any level is answered by one replica";
    /// The last replica of the set that was read does not wait for the nodes that it moves to.
    ALONE_IS_EVERYBODY = "alone-is-everybody": "a wiped replica that moves is read before the nodes it moves to have told what they have";
    /// A residual waits until some replica has seen all of it.
    LOST_EVENTS_AWAITED = "lost-events-awaited": "events that one replica alone had seen, and lost with its disk, keep the others from ever converging";
    /// Any topology erases the replicas that it does not name.
    ERASE_WHAT_IS_NOT_NAMED = "erase-what-is-not-named": "a replica is erased by a topology older than its placement";
    /// A replica writes under the id of one that was erased in its place.
    LIVES_REUSED = "lives-reused": "an id that an erasure has closed issues events again";
    /// A replica leaves before the others have what it alone has.
    SWITCH_WITHOUT_SPREAD = "switch-without-spread": "a move ends before the others have what the leaving replica alone has";
    /// An id from disk issues events before the other holders have reported.
    COPIES_TRUSTED = "copies-trusted": "a restored copy of a disk continues under an id of which others know more";
    /// What others say is not checked for events under the own id.
    OWN_EVENTS_OVERLOOKED = "own-events-overlooked": "a replica continues under an id whose events it has forgotten";
    /// A start ignores the marks of large removals.
    MARK_FORGOTTEN = "mark-forgotten": "what a large removal had left on disk is back after a start";
    /// A start takes everything in the range of a large removal for removed.
    MARK_SWALLOWS_LATER = "mark-swallows-later": "what was written after a large removal is gone after a start";
    /// Rows left by a large removal are deleted from disk even if they are live again.
    REMAINS_OVER_LIVE = "remains-over-live": "what was written after a large removal is deleted from disk with the remains";
    /// Removed rows leave the disk at a fixed pace, however many there are.
    REMAINS_WITHOUT_BOUND = "remains-without-bound": "a client that fills and removes a collection again and again takes all memory";
    /// A replica is created where an erased one has left rows.
    MADE_OVER_REMAINS = "made-over-remains": "what a replica writes is deleted from disk with what an erased one had left";
    /// Limits apply to the parts of a request, not to what results from it.
    OUTCOME_UNBOUNDED = "outcome-unbounded": "a long key with many elements turns a request into gigabytes";
    /// Deltas and questions carry the key with every row.
    KEY_IN_EVERY_ROW = "key-in-every-row": "a set under a long key sends the key once per element";
    /// The bound on requests in flight ignores their size.
    FLIGHTS_UNWEIGHED = "flights-unweighed": "requests in flight take as much memory as clients care to send";
    /// What is remembered for absent replicas is bounded per partition only.
    RECENT_BOUNDED_BY_PARTITION = "recent-bounded-by-partition": "while a replica is away, what is remembered for it takes all memory";
    /// Hints are handed over only when their owner is seen to come back.
    HINTS_WAIT_FOR_A_RETURN = "hints-wait-for-a-return": "a hint that arrives after its owner is back is kept for ever";
    /// Named increments of former lives are never folded.
    FORMER_LIVES_STAY_APART = "former-lives-stay-apart": "a counter grows by some named increments with each restart";
    /// A late write is taken for one from a clock that is behind.
    LATE_IS_BEHIND = "late-is-behind": "a write that arrives late is refused for the clock of its node, which is right";
    /// A full disk refuses removals too.
    FULL_DISK_KEEPS_ALL = "full-disk-keeps-all": "nothing can be removed through a node whose disk is full";
    /// A node with a full disk asks for what it lacks and takes it.
    FULL_DISK_TAKES_REPAIRS = "full-disk-takes-repairs": "a full disk refuses writes but takes them through anti-entropy";
    /// Requests are remembered under keys that clients may use.
    REQUESTS_UNDER_CLIENT_KEYS = "requests-under-client-keys": "a client that uses such a key makes nodes forget what they have executed";
    /// `FLUSHDB` does not look at what the replicas of its level have.
    CLEAR_UNSEEN = "clear-unseen": "FLUSHDB at QUORUM leaves what the executing replica had not seen";
    /// A delta is taken as the word of its node's present life.
    FORMER_LIFE_VOUCHES = "former-life-vouches": "a late delta of a former life vouches for what the new one has forgotten";
    /// A chunk of any stream is taken for the answer to the last question.
    CHUNK_OF_ANY_STREAM = "chunk-of-any-stream": "a late chunk of an abandoned stream ends a new one";
    /// A stream whose question or answer is lost waits for ever.
    PULL_ONCE = "pull-once": "a lost question or chunk of a stream is never asked for again";
    /// All streams to a node ask for their pieces at the same time.
    STREAMS_ALL_AT_ONCE = "streams-all-at-once": "a node that is filled holds pieces of all its partitions in memory, and asks again for those that are in line";
    /// A delta's context is not remembered for its range.
    RESIDUAL_SKIPPED = "residual-skipped": "an older event that arrives late reappears beside the one that overwrote it";
    /// What a piece says is remembered only when its stream ends.
    ADOPT_AT_THE_END = "adopt-at-the-end": "overwritten values reappear while a replica is being filled";
    /// A join keeps one of several concurrent entries, chosen by value.
    PAYLOAD_DECIDES = "payload-decides": "a join drops entries that no event has overwritten";
    /// The last piece of a stream says what has been seen.
    ADOPT_LAST_CONTEXT = "adopt-last-context": "events written behind a stream are taken for seen";
    /// Beyond its bound, `recent` drops the lowest dots.
    RECENT_DROPS_LOWEST = "recent-drops-lowest": "an event that has just arrived is forgotten before one that everybody had time to learn";
    /// Different digests under equal contexts are only counted.
    MISMATCH_IGNORED = "mismatch-ignored": "a replica that has lost rows answers reads and makes the others lose them too";
    /// Replicas that differ are counted together, even if they also differ from each other.
    ANY_DIFFERENCE_OUTVOTES = "any-difference-outvotes": "a replica is replaced because two others differ from it, each in its own way";
    /// The replica that mends another is chosen once.
    MEND_SOURCE_FIXED = "mend-source-fixed": "a replica is mended by one other, and by nobody when that one is gone";
    /// An addition to a key is joined even if its writer did not know that the key had expired.
    ADDED_TO_EXPIRED = "added-to-expired": "an increment of a key that a quorum has seen expire is acknowledged and lost";
    /// What becomes of the second try decides what the client is told of the first.
    EXECUTION_DENIED = "execution-denied": "an addition that was executed, and once more because its key had expired, is called not applied when the second try fails";
    /// A write that keeps the expiry looks for one only if this replica has one.
    KEPT_UNSEEN = "kept-unseen": "SET KEEPTTL through a node that has missed the EXPIRE makes the key stay for ever";
    /// What is gone on the executing replica counts as gone everywhere.
    GONE_HERE_IS_GONE = "gone-here-is-gone": "a repeated removal is acknowledged by the one replica that knows of the first";
    /// Answers about large keys ignore what is known in part of the range only.
    RESIDUALS_UNSAID = "residuals-unsaid": "an answer about a large key leaves out what is known about a part of it";
    /// The first reachable holder asks whether keys have expired, whatever its clock.
    FIRST_HOLDER_HAS_A_VETO = "first-holder-has-a-veto": "expired keys are never removed while one clock is off";
    /// The only clock may remove by time as soon as its node has started.
    LONE_CLOCK_REMOVES_AT_ONCE = "lone-clock-removes-at-once": "a single node that starts under a clock ahead removes keys that are due in an hour";
    /// A helper that does not answer is taken for one that remembers.
    SILENCE_IS_MEMORY = "silence-is-memory": "a replica is not filled while a node that has left seems to have what it lacks";
    /// A replica in doubt takes no writes.
    DOUBT_STOPS_WRITES = "doubt-stops-writes": "one differing row and one absent replica stop the partition";
    /// A replica in doubt answers alone.
    DOUBT_ASKS_NOBODY = "doubt-asks-nobody": "what others contradict is answered at ONE";
    /// Hints are counted by their keys alone.
    HINTS_UNCOUNTED = "hints-uncounted": "hints take far more memory than their bound";
    /// `recent` is bounded before a tick does its work.
    TICK_BEYOND_BOUND = "tick-beyond-bound": "what a tick declares lost is remembered beyond the bound";
    /// Only filled replicas count for one that is being filled.
    FILL_FROM_FILLED_ONLY = "fill-from-filled-only": "replicas that lost their disks together wait for each other for ever";
    /// A late copy of a forward from a removed node is executed.
    FORWARD_OF_A_STRANGER = "forward-of-a-stranger": "a write that a removed node had forwarded is executed twice";
    /// What was lost with a disk counts as news each time it is reported.
    LOST_MEMORY_AWAITED = "lost-memory-awaited": "a replica is filled again at each report, for what was lost with its disk";
    /// Only the holders of a partition are asked whether an event is lost.
    LOST_WHILE_HANDED_OVER = "lost-while-handed-over": "what a node that no longer holds a partition is handing over is declared lost";
    /// Unknown events of its own former lives do not tell a replica that it has lost them.
    OLD_DISK_OVERLOOKED = "old-disk-overlooked": "a replica on an older disk is read although others know what it wrote since";
    /// A replica that starts again asks nobody what it had known.
    WAKES_AT_ONCE = "wakes-at-once": "a replica on an older disk counts in a majority before anybody can have told it so";
    /// What a replica's former lives had acknowledged is not held against it.
    FORMER_LIVES_FORGOTTEN = "former-lives-forgotten": "a replica on an older disk is read although others know what it acknowledged since";
    /// A replica's first report is kept after it has been filled.
    FIRST_KEPT_OVER_FILLING = "first-kept-over-filling": "what a replica reported while it had lost its memory counts as its memory";
    /// A replica that is being filled does not count itself as a member of the old set.
    MOVER_FORGETS_ITSELF = "mover-forgets-itself": "a move stalls while one replica of the old set is down";
    /// Bounds on what is sent at a time are obeyed even if they allow nothing.
    BOUND_OF_NOTHING = "bound-of-nothing": "with small chunks, replicas never tell each other what they lack";
    /// What is read must fit into a frame.
    RANGES_FIT_A_FRAME = "ranges-fit-a-frame": "a large key cannot be read where a replica has missed it";
    /// Every holder sends what one of them lacks.
    EVERYBODY_HELPS = "everybody-helps": "what one replica has missed is sent to it by each of the others";
    /// What is on its way is asked for again.
    ASKED_AGAIN_EACH_TICK = "asked-again-each-tick": "while a round trip takes long, what one replica has missed is sent to it again and again";
    /// What others have just received is asked for at once.
    ASKED_BEFORE_OVERDUE = "asked-before-overdue": "what is on its way to a replica is sent once more as a repair";
    /// A partition is streamed as soon as one helper has forgotten an event.
    STREAMED_AT_ONCE = "streamed-at-once": "a partition is streamed although another replica remembers the missing events";
    /// The same replica is asked for help each time.
    ONE_HELPER_FOR_EVER = "one-helper-for-ever": "a replica waits for help from one that cannot give it";
    /// The split policy of a keyspace is not looked at.
    MINORITY_WRITES = "minority-writes": "a keyspace that is read-only in the minority takes writes on both sides of a split";
    /// A page of a scan ends anywhere.
    PAGE_SPLITS_MARK = "page-splits-mark": "a scan in small pages never gets past two keys with one mark";
    /// A page of a backup is what one replica has, whatever its level.
    SAVED_UNSEEN = "saved-unseen": "a backup at QUORUM leaves out what was acknowledged at QUORUM before it began";
    /// A counter that exists does not keep a backup from restoring it.
    RESTORE_ADDS_TO_COUNTERS = "restore-adds-to-counters": "a counter that is restored over itself is doubled";
    /// A restored value replaces whatever is there.
    RESTORE_OVER_NEWER = "restore-over-newer": "a backup overwrites what was written after it";
    /// Each replica restores a counter under a mark of its own.
    RESTORED_UNDER_OWN_MARK = "restored-under-own-mark": "a counter that two replicas restore, neither of which knows of the other, is doubled";
    /// The time of an entry decides before its token.
    FOLD_BY_CLOCK = "fold-by-clock": "a write of an earlier holder whose clock runs ahead is read after a later one";
    /// Within a token, the time of an entry decides before its number.
    NO_SEQUENCE = "no-sequence": "of two writes of one holder, the one through the node with the faster clock is read";
    /// A holder that gives up on a request does not fence it off.
    SINCE_IGNORED = "since-ignored": "a write that its holder has given up arrives after the holder has read";
    /// Fences are not written to disk.
    MEMORY_FENCE = "memory-fence": "a restart forgets that a later holder has been there";
    /// Fences below the floor are kept.
    NEVER_COLLECTED = "never-collected": "a replica keeps a fence for every lock that was ever held";
    /// A holder's read asks nobody.
    ANNOUNCE_AT_ONE = "announce-at-one": "an earlier holder's write succeeds after a later one has read";
    /// The replicas that a holder's read asks are not told under which token it acts.
    READ_BEFORE_ANNOUNCE = "read-before-announce": "an earlier holder's write succeeds at replicas that a later one has read";
    /// A holder's first look at a row writes nothing.
    NO_RESTATE = "no-restate": "what a holder has read is replaced by an earlier holder's write that was stuck";
    /// A holder is answered before what it has read is on enough replicas.
    RESTATE_AT_ONE = "restate-at-one": "what a holder has read is not found by the next one";
    /// A request is executed on rows that a later one has changed.
    OVERTAKEN_EXECUTES = "overtaken-executes": "an earlier holder's write drops a later one that has arrived without its fence";
    /// A removal under a token leaves nothing.
    DELETE_LEAVES_NOTHING = "delete-leaves-nothing": "what a holder has removed is back when an earlier holder's write arrives";
    /// Replicas join the writes of any holder.
    COORDINATOR_ONLY = "coordinator-only": "an earlier holder writes through a node that the later one has not reached";
    /// A replica whose memory is not sure takes part in requests under a token.
    FILLING_ANSWERS = "filling-answers": "a replica that has lost its fences with its disk admits an earlier holder";
    /// A request under a token counts only the replicas that are read now.
    JOINT_IGNORED = "joint-ignored": "during a move, what a later holder does is on the old replicas only";
    /// A replica that has lost its disk is given rows and no fences.
    WIPE_LOSES_FENCE = "wipe-loses-fence": "a replica that was filled again admits an earlier holder";
    /// A replica that a partition moves to is given rows and no fences.
    STREAM_LOSES_FENCE = "stream-loses-fence": "after a move, an earlier holder is admitted again";
    /// A replica counts as filled when a single other has told it what it has.
    REFILL_FROM_ONE = "refill-from-one": "a replica that was filled by one that a later holder had not reached admits an earlier one";
    /// A write without a token does not ask whether something hides it.
    HIDDEN_UNSEEN = "hidden-unseen": "a write without a token is acknowledged, and hidden behind one under a lock that its node has missed";
    /// A whole collection is read under a token when a majority has answered.
    CLOSED_BY_QUORUM = "closed-by-quorum": "an element that an earlier holder has added at one replica appears in a set that a later one has read";
    /// Lower ranks count as closed when the replica itself is fenced.
    REAP_EARLY = "reap-early": "a row that a holder has read once is replaced by an earlier holder's write that was stuck";
    /// What removals under locks leave is never dropped.
    MARKS_KEPT = "marks-kept": "every key that was ever removed under a lock takes space for ever";
    /// What a replica had sent before it lost its disk is joined.
    FORMER_LIFE_JOINS = "former-life-joins": "an element that an earlier holder has added at a lost replica appears in a set that a later one has read";
    /// Reports to an earlier life of a replica count for the present one.
    OLD_LIFE = "old-life": "a replica counts as filled by a report from before what it had acknowledged";
}
