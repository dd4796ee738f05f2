//! The entries of the command table that are about data. A new command is one entry here and one
//! function in `commands`.

use super::coordination::LOCKS;
use super::node::{CONNECTION, HELP, SERVER};
use super::{Flags, Group, Spec, Step};
use crate::faces::resp::commands::{command, hashes, keys, own, scan, sets, strings};

/// All commands, by group, in the order in which the page shows them.
pub(crate) static TABLE: &[(Group, &[Spec])] = &[
    (Group::String, STRINGS),
    (Group::Hash, HASHES),
    (Group::Set, SETS),
    (Group::Generic, GENERIC),
    (Group::Transactions, TRANSACTIONS),
    (Group::Coordination, LOCKS),
    (Group::Quorate, OWN),
    (Group::Connection, CONNECTION),
    (Group::Server, SERVER),
];

const SLOW_READ: Flags = Flags::READONLY;
const WALK: Flags = Flags::READONLY.and(Flags::ONE_REPLICA);

const STRINGS: &[Spec] = &[
    Spec::read("get", 2, "key", "Returns the string or counter.", strings::get),
    Spec::write(
        "set",
        -3,
        "key value [EX seconds | PX milliseconds | EXAT unix-seconds | PXAT unix-milliseconds | KEEPTTL]",
        "Sets a string, replacing whatever the key holds. NX, XX and GET need CL SERIAL, which is not offered yet.",
        strings::set,
    ),
    Spec::write("setex", 4, "key seconds value", "Sets a string with a time to live in seconds.", strings::setex),
    Spec::write("psetex", 4, "key milliseconds value", "Sets a string with a time to live in milliseconds.", strings::psetex),
    Spec::read(
        "mget",
        -2,
        "key [key …]",
        "Returns the strings. Each key is a request of its own, so the result is not one snapshot. Refused if the values take more than 512 MiB together.",
        strings::mget,
    )
    .keys(1, -1, 1),
    Spec::write(
        "mset",
        -3,
        "key value [key value …]",
        "Sets strings. Not atomic: each key is a request of its own, and an error says how many were applied.",
        strings::mset,
    )
    .keys(1, -1, 2),
    Spec::write("getdel", 2, "key", "Removes the string and returns its value.", strings::getdel),
    Spec::read("strlen", 2, "key", "Returns the length of the string in bytes.", strings::strlen),
    Spec::write(
        "append",
        3,
        "key value",
        "Appends to the string. Of two concurrent APPENDs, one result is shown. Refused if the result would be longer than 16 MiB.",
        strings::append,
    ),
    Spec::write(
        "incr",
        2,
        "key",
        "Adds 1. Concurrent increments add up; the reply is the value at the replica that executed the command.",
        strings::incr,
    ),
    Spec::write("incrby", 3, "key increment", "Adds a number; see INCR.", strings::incrby),
    Spec::write("decr", 2, "key", "Subtracts 1; see INCR.", strings::decr),
    Spec::write("decrby", 3, "key decrement", "Subtracts a number; see INCR.", strings::decrby),
];

const HASHES: &[Spec] = &[
    Spec::write(
        "hset",
        -4,
        "key field value [field value …]",
        "Sets fields. Returns how many were new to the replica that executed the command.",
        hashes::hset,
    ),
    Spec::write(
        "hmset",
        -4,
        "key field value [field value …]",
        "Sets fields.",
        hashes::hmset,
    ),
    Spec::read(
        "hget",
        3,
        "key field",
        "Returns the value of a field.",
        hashes::hget,
    ),
    Spec::read(
        "hmget",
        -3,
        "key field [field …]",
        "Returns the values of fields. Refused if they take more than 512 MiB together.",
        hashes::hmget,
    ),
    Spec::write(
        "hdel",
        -3,
        "key field [field …]",
        "Removes fields. A concurrent HSET of the same field survives.",
        hashes::hdel,
    ),
    Spec::read(
        "hgetall",
        2,
        "key",
        "Returns all fields and values.",
        hashes::hgetall,
    )
    .flags(SLOW_READ),
    Spec::read("hkeys", 2, "key", "Returns all fields.", hashes::hkeys).flags(SLOW_READ),
    Spec::read("hvals", 2, "key", "Returns all values.", hashes::hvals).flags(SLOW_READ),
    Spec::read(
        "hlen",
        2,
        "key",
        "Returns the number of fields.",
        hashes::hlen,
    ),
    Spec::read(
        "hexists",
        3,
        "key field",
        "Returns 1 if the field exists, otherwise 0.",
        hashes::hexists,
    ),
    Spec::write(
        "hincrby",
        4,
        "key field increment",
        "Adds to the counter in a field. Concurrent increments add up.",
        hashes::hincrby,
    ),
    Spec::alone(
        "hscan",
        -3,
        "key cursor [MATCH pattern] [COUNT count] [NOVALUES]",
        "Returns all fields and values in one page: the cursor of the reply is 0, and COUNT changes nothing.",
        scan::hscan,
    )
    .flags(SLOW_READ)
    .keys(1, 1, 1),
];

const SETS: &[Spec] = &[
    Spec::write(
        "sadd",
        -3,
        "key member [member …]",
        "Adds members. Returns how many were new to the replica that executed the command.",
        sets::sadd,
    ),
    Spec::write(
        "srem",
        -3,
        "key member [member …]",
        "Removes members. A concurrent SADD of the same member survives.",
        sets::srem,
    ),
    Spec::read("smembers", 2, "key", "Returns all members.", sets::smembers).flags(SLOW_READ),
    Spec::read(
        "sismember",
        3,
        "key member",
        "Returns 1 if the member is in the set, otherwise 0.",
        sets::sismember,
    ),
    Spec::read(
        "smismember",
        -3,
        "key member [member …]",
        "Returns 1 or 0 for each member.",
        sets::smismember,
    ),
    Spec::read(
        "scard",
        2,
        "key",
        "Returns the number of members.",
        sets::scard,
    ),
    Spec::alone(
        "sscan",
        -3,
        "key cursor [MATCH pattern] [COUNT count]",
        "Returns all members in one page: the cursor of the reply is 0, and COUNT changes nothing.",
        scan::sscan,
    )
    .flags(SLOW_READ)
    .keys(1, 1, 1),
];

const GENERIC: &[Spec] = &[
    Spec::write("del", -2, "key [key …]", "Removes keys. Each key is a request of its own. What a concurrent writer adds survives.", keys::del)
        .keys(1, -1, 1),
    Spec::write("unlink", -2, "key [key …]", "The same as DEL.", keys::del).keys(1, -1, 1),
    Spec::read("exists", -2, "key [key …]", "Returns how many of the keys exist.", keys::exists).keys(1, -1, 1),
    Spec::read("touch", -2, "key [key …]", "Returns how many of the keys exist. Access times are not kept.", keys::exists).keys(1, -1, 1),
    Spec::read("type", 2, "key", "Returns string, hash, set or none.", keys::kind),
    Spec::write("expire", -3, "key seconds", "Sets a time to live in seconds. NX, XX, GT and LT need CL SERIAL, which is not offered yet.", keys::expire),
    Spec::write("pexpire", -3, "key milliseconds", "Sets a time to live in milliseconds.", keys::pexpire),
    Spec::write("expireat", -3, "key unix-seconds", "Sets the Unix time in seconds at which the key expires.", keys::expireat),
    Spec::write("pexpireat", -3, "key unix-milliseconds", "Sets the Unix time in milliseconds at which the key expires.", keys::pexpireat),
    Spec::read("ttl", 2, "key", "Returns the time to live in seconds: -1 without an expiry, -2 if there is no such key.", keys::ttl),
    Spec::read("pttl", 2, "key", "Returns the time to live in milliseconds: -1 without an expiry, -2 if there is no such key.", keys::pttl),
    Spec::read("expiretime", 2, "key", "Returns the Unix time of the expiry in seconds: -1 without an expiry, -2 if there is no such key.", keys::expiretime),
    Spec::read("pexpiretime", 2, "key", "Returns the Unix time of the expiry in milliseconds: -1 without an expiry, -2 if there is no such key.", keys::pexpiretime),
    Spec::write("persist", 2, "key", "Removes the expiry.", keys::persist),
    Spec::about("object", -2, "subcommand", "Commands about how a key is kept.", command::container).subcommands(&[
        HELP,
        Spec::read("encoding", 3, "key", "Returns raw for a string, hashtable for a hash or set, and nothing if there is no such key.", keys::encoding).keys(2, 2, 1),
    ]),
    Spec::alone(
        "scan",
        -2,
        "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        "Returns a page of the keys that one replica of each partition holds. A key that all replicas hold during the whole scan is returned at \
         least once, whichever nodes answer. COUNT is a hint; a pattern has at most 1024 bytes.",
        scan::scan,
    )
    .flags(WALK),
    Spec::alone(
        "keys",
        2,
        "pattern",
        "Returns all matching keys that one replica of each partition holds, at most 100 000. Prefer SCAN.",
        scan::keys,
    )
    .flags(WALK),
    Spec::read("dbsize", 1, "", "Returns how many keys one replica of each partition holds, added up.", keys::dbsize).flags(WALK).keys(0, 0, 0),
    Spec::alone(
        "flushdb",
        -1,
        "[ASYNC | SYNC]",
        "Removes every key of the keyspace that the replicas of its level have seen, one partition after another.",
        scan::flushdb,
    )
    .flags(Flags::WRITE),
    Spec::alone("flushall", -1, "[ASYNC | SYNC]", "Runs FLUSHDB on all keyspaces.", scan::flushall).flags(Flags::WRITE),
];

const TRANSACTIONS: &[Spec] = &[
    Spec::step(
        "multi",
        1,
        "",
        "Queues the commands that follow until EXEC or DISCARD. At most 64 MiB of them.",
        Step::Multi,
    ),
    Spec::step(
        "exec",
        1,
        "",
        "Runs the queued commands in order, as a pipeline, and returns their replies. Not isolated: others may see some of them applied and \
         others not yet, and after a failure a part may stay applied. Nothing runs if a command since MULTI, or a WATCH before it, was refused.",
        Step::Exec,
    ),
    Spec::step(
        "discard",
        1,
        "",
        "Drops the queued commands.",
        Step::Discard,
    ),
    Spec::step(
        "unwatch",
        1,
        "",
        "Accepted; WATCH needs CL SERIAL, which is not offered yet. After a refused WATCH, it lets the next EXEC run.",
        Step::Unwatch,
    ),
];

const OWN: &[Spec] = &[
    Spec::prefix(
        "cl",
        -3,
        "spec command [arg …]",
        "Runs a command at a level: ONE, TWO, THREE, QUORUM, ALL, LOCAL_ONE, LOCAL_QUORUM, EACH_QUORUM, R=n,W=n. TIMEOUT=50ms may be added.",
    ),
    Spec::prefix(
        "req",
        -3,
        "name command [arg …]",
        "Runs a change of keys under a name of 1 to 32 bytes that the client chooses. Repeated under that name, through any node, the change is done once. Refused before any other command, and before GETDEL, whose answer is not kept.",
    ),
    Spec::prefix(
        "fence",
        -4,
        "key token [SEQ n [SINCE n]] command [arg …]",
        "Runs a command on data under the lock of this key: refused with FENCED, reads and writes alike, if a holder with a higher token has been there. SEQ numbers the requests of the holder, so that they are ordered by their numbers; SINCE gives up those below it that were not answered. Needs QUORUM, EACH_QUORUM or ALL, and takes QUORUM where the keyspace has another default. A whole collection is refused with NOTCLOSED while an earlier holder may still add to it. Refused for whole databases, and together with REQ.",
    ),
    Spec::alone(
        "wait",
        3,
        "replicas milliseconds",
        "Returns how many other replicas have this connection's last writes in each partition, as soon as there are enough. 0 milliseconds means 60 s.",
        own::wait,
    )
    .flags(Flags::BLOCKING),
    Spec::read(
        "ctx.get",
        2,
        "key",
        "Returns the causal token and all concurrent values: [token, [sibling …]].",
        own::ctx_get,
    ),
    Spec::write(
        "ctx.set",
        4,
        "key value token",
        "Overwrites exactly what the token covers; everything else stays as a sibling. Refused with TRYAGAIN while the replicas of the level have not seen what the token covers. At most 100 siblings, 16 MiB together: beyond that it is refused until they are read and resolved.",
        own::ctx_set,
    ),
    Spec::about(
        "quorate",
        -2,
        "subcommand",
        "Commands about the cluster.",
        command::container,
    )
    .subcommands(&[
        HELP,
        Spec::alone(
            "status",
            2,
            "",
            "Returns the status document as JSON.",
            own::status,
        )
        .flags(Flags::LOADING),
    ]),
];
