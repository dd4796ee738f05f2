//! The entries of the command table that are about locks and their like, and metadata.

use super::{Flags, Spec};
use crate::faces::resp::commands::{locks, meetings, metadata};

/// They name no keys: a lock is no key of a keyspace.
const CHANGE: Flags = Flags::WRITE.and(Flags::EVERYWHERE);
const WAIT: Flags = CHANGE.and(Flags::BLOCKING);
const LOOK: Flags = Flags::READONLY.and(Flags::EVERYWHERE);

pub(super) const LOCKS: &[Spec] = &[
    Spec::alone(
        "lock.acquire",
        -4,
        "key TTL ms [WAIT ms] [SHARED] [HOLDER name] [PRIORITY n] [DELAY ms] | key SESSION id [WAIT ms] [SHARED] [PRIORITY n]",
        "Takes a lock: [token, session], or nil if it was not granted within WAIT. Without WAIT it is tried once. Renew it within its TTL.",
        locks::lock,
    )
    .flags(WAIT),
    Spec::alone(
        "lock.acquireall",
        -5,
        "count key [key …] TTL ms [WAIT ms] [HOLDER name] [PRIORITY n]",
        "Takes all of these locks under one token, or none: [token, session], or nil.",
        locks::lock_all,
    )
    .flags(WAIT),
    Spec::alone(
        "lock.renew",
        -3,
        "key token [SESSION id]",
        "Gives the lock its whole TTL again: 1, or 0 if it is not held under this token any more.",
        locks::renew,
    )
    .flags(CHANGE),
    Spec::alone(
        "lock.release",
        -3,
        "key token [SESSION id]",
        "Gives the lock back: 1, or 0 if it is not held under this token any more. Where several share it, SESSION says whose hold is meant.",
        locks::release,
    )
    .flags(CHANGE),
    Spec::alone(
        "lock.downgrade",
        -3,
        "key token [SESSION id]",
        "Lets others share a lock that was held exclusively: 1, or 0 if it is not held under this token any more.",
        locks::downgrade,
    )
    .flags(CHANGE),
    Spec::alone(
        "lock.list",
        -1,
        "[HELD-BY name]",
        "Lists the locks that are held, with holders and waiters, at most 10,000.",
        locks::list,
    )
    .flags(LOOK),
    Spec::alone(
        "lock.why",
        2,
        "key",
        "Says who holds the lock, what that holder waits for, who holds that, and so on.",
        locks::why,
    )
    .flags(LOOK),
    Spec::alone(
        "lock.force",
        2,
        "key",
        "Takes a lock from all that hold it: how many. They learn of it when they renew. Needs the role admin.",
        locks::force,
    )
    .flags(Flags::ADMIN),
    Spec::alone(
        "lock.open",
        -3,
        "TTL ms [HOLDER name] [DELAY ms]",
        "Opens a session, under which several things can be held and renewed together: its number.",
        locks::open,
    )
    .flags(CHANGE),
    Spec::alone(
        "lock.keepalive",
        -2,
        "session [session …]",
        "Gives sessions their whole TTL again: how many of them have not ended.",
        locks::keep_alive,
    )
    .flags(CHANGE),
    Spec::alone(
        "lock.close",
        2,
        "session",
        "Ends a session and gives back all that it holds: 1, or 0 if it had ended.",
        locks::close,
    )
    .flags(CHANGE),
    Spec::alone(
        "semaphore.acquire",
        -5,
        "key permits TTL ms [WAIT ms] [TAKE n] [HOLDER name] [PRIORITY n]",
        "Takes one of so many permits, or n: [token, session], or nil. All users of a semaphore name the same number of permits.",
        locks::permits,
    )
    .flags(WAIT),
    Spec::alone(
        "semaphore.renew",
        -3,
        "key token [SESSION id]",
        "Gives the permits their whole TTL again: 1, or 0 if they are not held under this token any more.",
        locks::renew_permits,
    )
    .flags(CHANGE),
    Spec::alone(
        "semaphore.release",
        -3,
        "key token [SESSION id]",
        "Gives the permits back: 1, or 0 if they are not held under this token any more.",
        locks::release_permits,
    )
    .flags(CHANGE),
    Spec::alone(
        "semaphore.resize",
        3,
        "key permits",
        "Gives a semaphore in use another number of permits: how many it had, or nil if nobody uses it.",
        locks::resize,
    )
    .flags(CHANGE),
    Spec::alone(
        "election.campaign",
        -5,
        "key value TTL ms [WAIT ms] [HOLDER name] [PRIORITY n]",
        "Leads and publishes the value: [token, session], or nil if somebody else leads.",
        locks::campaign,
    )
    .flags(WAIT),
    Spec::alone(
        "election.renew",
        -3,
        "key token [SESSION id]",
        "Gives the leadership its whole TTL again: 1, or 0 if it is lost.",
        locks::renew_leadership,
    )
    .flags(CHANGE),
    Spec::alone(
        "election.proclaim",
        4,
        "key token value",
        "Publishes another value: 1, or 0 if the leadership is lost.",
        locks::proclaim,
    )
    .flags(CHANGE),
    Spec::alone(
        "election.observe",
        -2,
        "key [STRONG | LEASE | STALE [ms]]",
        "Returns what the leader publishes, and its token: [value, token], or nil if nobody leads.",
        locks::observe,
    )
    .flags(LOOK),
    Spec::alone(
        "election.resign",
        -3,
        "key token [SESSION id]",
        "Leads no longer: 1, or 0 if the leadership was lost.",
        locks::resign,
    )
    .flags(CHANGE),
    Spec::alone(
        "barrier.wait",
        5,
        "key parties TIMEOUT ms",
        "Waits until so many parties have come: 1. If one of them dies or its time is over, all get the error BROKEN.",
        meetings::wait,
    )
    .flags(WAIT),
    Spec::alone(
        "barrier.enter",
        7,
        "key parties SESSION id TIMEOUT ms",
        "Enters a double barrier with all others: 1, or the error BROKEN.",
        meetings::enter,
    )
    .flags(WAIT),
    Spec::alone(
        "barrier.leave",
        6,
        "key SESSION id TIMEOUT ms",
        "Leaves a double barrier with all others: 1, or the error BROKEN.",
        meetings::leave,
    )
    .flags(WAIT),
    Spec::alone(
        "latch.set",
        3,
        "key count",
        "Closes a latch that opens after so many counts: 1, or 0 if it counts already. 0 opens it.",
        meetings::set,
    )
    .flags(CHANGE),
    Spec::alone(
        "latch.countdown",
        -2,
        "key [by]",
        "Counts a latch down and returns what is left.",
        meetings::count_down,
    )
    .flags(CHANGE),
    Spec::alone(
        "latch.await",
        -2,
        "key [TIMEOUT ms]",
        "Waits until the latch is open: 1, or 0 if it is not in time. A latch that nobody has set is open.",
        meetings::await_latch,
    )
    .flags(WAIT),
    Spec::alone(
        "meta.get",
        -2,
        "key [STRONG | LEASE | STALE [ms]]",
        "Returns a value of metadata and its revision: [value, revision], or nil. STRONG, if nothing is said, has everything that was decided before. STALE is what the node has, at most so old.",
        metadata::get,
    )
    .flags(LOOK),
    Spec::alone(
        "meta.set",
        3,
        "key value",
        "Sets a value of metadata, of at most 65,536 bytes, and returns its revision.",
        metadata::set,
    )
    .flags(CHANGE),
    Spec::alone(
        "meta.cas",
        4,
        "key revision value",
        "Sets a value if it is at this revision, 0 for none, and returns the new revision; nil if it is at another.",
        metadata::compare_and_set,
    )
    .flags(CHANGE),
    Spec::alone(
        "meta.del",
        -2,
        "key [revision]",
        "Removes a value, if it is at this revision: 1, 0 if there was none, nil if it is at another.",
        metadata::delete,
    )
    .flags(CHANGE),
];
