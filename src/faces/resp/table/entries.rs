//! The entries. A new command is one line here and one function in `commands`.

use super::{Flags, Group, Spec};
use crate::faces::resp::commands::{
    admin, client, command, connection, hashes, keys, own, scan, sets, strings,
};

/// All commands, by group, in the order in which the page shows them.
pub(crate) static TABLE: &[(Group, &[Spec])] = &[
    (Group::String, STRINGS),
    (Group::Hash, HASHES),
    (Group::Set, SETS),
    (Group::Generic, GENERIC),
    (Group::Quorate, OWN),
    (Group::Connection, CONNECTION),
    (Group::Server, SERVER),
];

const SLOW_READ: Flags = Flags::READONLY;
const WALK: Flags = Flags::READONLY.and(Flags::ONE_REPLICA);
const OPEN: Flags = Flags::LOADING.and(Flags::NO_AUTH).and(Flags::FAST);

const STRINGS: &[Spec] = &[
    Spec::read("get", 2, "key", "The string or counter.", strings::get),
    Spec::write(
        "set",
        -3,
        "key value [EX seconds | PX milliseconds | EXAT unix-seconds | PXAT unix-milliseconds | KEEPTTL]",
        "Replaces whatever the key holds. NX, XX and GET need CL SERIAL, which is not offered yet.",
        strings::set,
    ),
    Spec::write("setex", 4, "key seconds value", "Sets a string that expires.", strings::setex),
    Spec::write("psetex", 4, "key milliseconds value", "Sets a string that expires.", strings::psetex),
    Spec::read(
        "mget",
        -2,
        "key [key …]",
        "The strings; one request for each key, not one snapshot. Refused when they have more than 512 MiB together.",
        strings::mget,
    )
    .keys(1, -1, 1),
    Spec::write(
        "mset",
        -3,
        "key value [key value …]",
        "Sets strings. Not atomic: one request for each key; an error tells how many were applied.",
        strings::mset,
    )
    .keys(1, -1, 2),
    Spec::write("getdel", 2, "key", "Removes the string and answers what it was.", strings::getdel),
    Spec::read("strlen", 2, "key", "Bytes of the string.", strings::strlen),
    Spec::write(
        "append",
        3,
        "key value",
        "Appends to the string. Of two concurrent APPENDs one result is shown. Refused when the result would be longer than 16 MiB.",
        strings::append,
    ),
    Spec::write(
        "incr",
        2,
        "key",
        "Adds 1. Concurrent increments add up; the answer is the value at the replica that executed it.",
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
        "Sets fields; answers how many were new to the replica that executed it.",
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
        "The value of a field.",
        hashes::hget,
    ),
    Spec::read(
        "hmget",
        -3,
        "key field [field …]",
        "The values of fields. Refused when they have more than 512 MiB together.",
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
        "All fields and values.",
        hashes::hgetall,
    )
    .flags(SLOW_READ),
    Spec::read("hkeys", 2, "key", "All fields.", hashes::hkeys).flags(SLOW_READ),
    Spec::read("hvals", 2, "key", "All values.", hashes::hvals).flags(SLOW_READ),
    Spec::read("hlen", 2, "key", "How many fields.", hashes::hlen),
    Spec::read(
        "hexists",
        3,
        "key field",
        "1 if the field is there.",
        hashes::hexists,
    ),
    Spec::write(
        "hincrby",
        4,
        "key field increment",
        "Adds to the counter in a field; concurrent increments add up.",
        hashes::hincrby,
    ),
];

const SETS: &[Spec] = &[
    Spec::write(
        "sadd",
        -3,
        "key member [member …]",
        "Adds members; answers how many were new to the replica that executed it.",
        sets::sadd,
    ),
    Spec::write(
        "srem",
        -3,
        "key member [member …]",
        "Removes members. A concurrent SADD of the same member survives.",
        sets::srem,
    ),
    Spec::read("smembers", 2, "key", "All members.", sets::smembers).flags(SLOW_READ),
    Spec::read(
        "sismember",
        3,
        "key member",
        "1 if the member is there.",
        sets::sismember,
    ),
    Spec::read(
        "smismember",
        -3,
        "key member [member …]",
        "1 or 0 for each member.",
        sets::smismember,
    ),
    Spec::read("scard", 2, "key", "How many members.", sets::scard),
];

const GENERIC: &[Spec] = &[
    Spec::write("del", -2, "key [key …]", "Removes keys; one request for each. What a concurrent writer adds survives.", keys::del)
        .keys(1, -1, 1),
    Spec::write("unlink", -2, "key [key …]", "The same as DEL.", keys::del).keys(1, -1, 1),
    Spec::read("exists", -2, "key [key …]", "How many of the keys exist.", keys::exists).keys(1, -1, 1),
    Spec::read("touch", -2, "key [key …]", "How many of the keys exist; access times are not kept.", keys::exists).keys(1, -1, 1),
    Spec::read("type", 2, "key", "string, hash, set or none.", keys::kind),
    Spec::write("expire", 3, "key seconds", "Lets the key expire. NX, XX, GT and LT are not offered.", keys::expire),
    Spec::write("pexpire", 3, "key milliseconds", "Lets the key expire.", keys::pexpire),
    Spec::write("expireat", 3, "key unix-seconds", "Lets the key expire at a time.", keys::expireat),
    Spec::write("pexpireat", 3, "key unix-milliseconds", "Lets the key expire at a time.", keys::pexpireat),
    Spec::read("ttl", 2, "key", "Seconds to live; -1 without expiry, -2 without key.", keys::ttl),
    Spec::read("pttl", 2, "key", "Milliseconds to live; -1 without expiry, -2 without key.", keys::pttl),
    Spec::read("expiretime", 2, "key", "Unix time of the expiry in seconds; -1 without expiry, -2 without key.", keys::expiretime),
    Spec::read("pexpiretime", 2, "key", "Unix time of the expiry in milliseconds; -1 without expiry, -2 without key.", keys::pexpiretime),
    Spec::write("persist", 2, "key", "Takes the expiry away.", keys::persist),
    Spec::alone(
        "scan",
        -2,
        "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        "A page of the keys that one replica of each partition has. A key that it has during the whole scan is shown at least once; COUNT is a hint, and \
         a pattern has at most 1024 bytes.",
        scan::scan,
    )
    .flags(WALK),
    Spec::alone(
        "keys",
        2,
        "pattern",
        "All keys that one replica of each partition has and that match, at most 100 000; prefer SCAN.",
        scan::keys,
    )
    .flags(WALK),
    Spec::read("dbsize", 1, "", "How many keys one replica of each partition has, added up.", keys::dbsize).flags(WALK).keys(0, 0, 0),
    Spec::alone(
        "flushdb",
        -1,
        "[ASYNC | SYNC]",
        "Removes every key of the keyspace that the replicas of its level have seen, one partition after the other.",
        scan::flushdb,
    )
    .flags(Flags::WRITE),
    Spec::alone("flushall", -1, "[ASYNC | SYNC]", "FLUSHDB of all keyspaces.", scan::flushall).flags(Flags::WRITE),
];

const OWN: &[Spec] = &[
    Spec::prefix(
        "cl",
        -3,
        "spec command [arg …]",
        "Runs a command at a level: ONE, TWO, THREE, QUORUM, ALL, LOCAL_ONE, LOCAL_QUORUM, EACH_QUORUM, R=n,W=n, with TIMEOUT=50ms if wanted.",
    ),
    Spec::prefix(
        "req",
        -3,
        "name command [arg …]",
        "Runs a change of keys under a name of 1 to 32 bytes that the client has chosen: asked again under that name, through whichever node, it is done once. Refused before anything else, and before GETDEL, whose answer is not kept.",
    ),
    Spec::alone(
        "wait",
        3,
        "replicas milliseconds",
        "How many other replicas have this connection's last writes in each partition, as soon as that is enough; 0 milliseconds means 60 s.",
        own::wait,
    ),
    Spec::read(
        "ctx.get",
        2,
        "key",
        "The causal token and all concurrent values: [token, [sibling …]].",
        own::ctx_get,
    ),
    Spec::write(
        "ctx.set",
        4,
        "key value token",
        "Overwrites exactly what the token covers; what it does not cover stays as a sibling. Refused with TRYAGAIN while the replicas of the level have not seen what it covers. At most 100 siblings, 16 MiB together: beyond that it is refused, read and resolve first.",
        own::ctx_set,
    ),
    Spec::local(
        "quorate",
        -2,
        "subcommand",
        "About the cluster.",
        command::container,
    )
    .subcommands(&[
        HELP,
        Spec::alone(
            "status",
            2,
            "",
            "The status document, as JSON.",
            own::status,
        )
        .flags(Flags::LOADING),
    ]),
];

const CONNECTION: &[Spec] = &[
    Spec::local("ping", -1, "[message]", "PONG, or the message.", connection::ping).flags(Flags::LOADING.and(Flags::FAST)),
    Spec::local("echo", 2, "message", "The message.", connection::echo).flags(Flags::LOADING.and(Flags::FAST)),
    Spec::local("hello", -1, "[protover [AUTH user password] [SETNAME name]]", "Chooses RESP2 or RESP3.", connection::hello).flags(OPEN),
    Spec::local(
        "auth",
        -2,
        "[user] password",
        "Authenticates. The name of a level as the user makes it the connection's level; default is the keyspace's own.",
        connection::auth,
    )
    .flags(OPEN),
    Spec::local("select", 2, "number-or-name", "Chooses the keyspace.", connection::select),
    Spec::local("quit", -1, "", "Closes the connection after the replies so far.", connection::quit).flags(OPEN),
    Spec::local("reset", 1, "", "Puts the connection back to how it began.", connection::reset).flags(OPEN),
    Spec::local("client", -2, "subcommand", "About connections.", command::container).subcommands(CLIENT),
];

/// In every list of subcommands.
const HELP: Spec = Spec::local("help", 2, "", "What may follow, in words.", command::help);

const CLIENT: &[Spec] = &[
    HELP,
    Spec::local("id", 2, "", "The number of this connection.", client::id),
    Spec::local(
        "setname",
        3,
        "name",
        "Names this connection, with at most 128 bytes.",
        client::setname,
    ),
    Spec::local(
        "getname",
        2,
        "",
        "The name of this connection.",
        client::getname,
    ),
    Spec::local(
        "setinfo",
        4,
        "LIB-NAME name | LIB-VER version",
        "What the client library says of itself.",
        client::setinfo,
    ),
    Spec::local(
        "list",
        -2,
        "",
        "All connections of this node.",
        client::list,
    ),
    Spec::local("info", 2, "", "This connection.", client::info),
    Spec::local(
        "no-evict",
        3,
        "ON | OFF",
        "Accepted; no connection is ever evicted for memory.",
        client::on_off,
    ),
    Spec::local(
        "no-touch",
        3,
        "ON | OFF",
        "Accepted; access times are not kept.",
        client::on_off,
    ),
    Spec::local(
        "consistency",
        -2,
        "[READ spec] [WRITE spec]",
        "Sets the levels of this connection (spec as in CL, or DEFAULT); without arguments tells them.",
        client::consistency,
    ),
];

const SERVER: &[Spec] = &[
    Spec::local("info", -1, "[section …]", "About this node.", admin::info),
    Spec::local(
        "config",
        -2,
        "subcommand",
        "About the settings.",
        command::container,
    )
    .flags(Flags::ADMIN.and(Flags::LOADING))
    .subcommands(&[
        HELP,
        Spec::local(
            "get",
            -3,
            "pattern [pattern …]",
            "The settings that clients ask for.",
            admin::config_get,
        ),
        Spec::local(
            "set",
            -4,
            "name value [name value …]",
            "Always refused: settings come from the node's configuration.",
            admin::config_set,
        ),
    ]),
    Spec::local(
        "command",
        -1,
        "",
        "All commands, in the form that clients read.",
        command::all,
    )
    .subcommands(&[
        HELP,
        Spec::local("count", 2, "", "How many commands.", command::count),
        Spec::local(
            "info",
            -2,
            "[name …]",
            "Some commands, in the form that clients read.",
            command::info,
        ),
        Spec::local("docs", -2, "[name …]", "What commands do.", command::docs),
        Spec::local("list", 2, "", "The names of all commands.", command::list),
        Spec::local(
            "getkeys",
            -3,
            "command [arg …]",
            "The keys in a command.",
            command::getkeys,
        ),
    ]),
];

/// Commands of Redis that leaderless data cannot answer honestly, with the reason.
pub(crate) static NEEDS_SERIAL: &[(&str, &str)] = &[
    ("blmove", POP),
    ("blpop", POP),
    ("brpop", POP),
    ("brpoplpush", POP),
    ("bzpopmax", POP),
    ("bzpopmin", POP),
    ("copy", IF_ABSENT),
    ("discard", MULTI),
    ("exec", MULTI),
    ("getset", SWAP),
    ("hsetnx", IF_ABSENT),
    ("lmove", POP),
    ("lpop", POP),
    ("msetnx", IF_ABSENT),
    ("multi", MULTI),
    ("rename", SWAP),
    ("renamenx", IF_ABSENT),
    ("rpop", POP),
    ("rpoplpush", POP),
    ("setnx", IF_ABSENT),
    ("smove", SWAP),
    ("spop", POP),
    ("unwatch", MULTI),
    ("watch", MULTI),
    ("zpopmax", POP),
    ("zpopmin", POP),
];

const POP: &str = "two clients at two replicas could both be given the same element";
const IF_ABSENT: &str = "two clients at two replicas could both find the key absent";
const SWAP: &str = "two clients at two replicas could both be given the same old value";
const MULTI: &str = "other replicas could show and change the keys between the commands";
