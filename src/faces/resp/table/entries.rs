//! The entries of the command table. A new command is one entry here and one function in
//! `commands`.

use super::{Flags, Group, Spec};
use crate::faces::resp::commands::{
    acl, admin, client, command, connection, hashes, keys, own, scan, sets, strings,
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
const MANAGE: Flags = Flags::ADMIN.and(Flags::LOADING);
const OPEN: Flags = Flags::LOADING.and(Flags::NO_AUTH).and(Flags::FAST);

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
];

const GENERIC: &[Spec] = &[
    Spec::write("del", -2, "key [key …]", "Removes keys. Each key is a request of its own. What a concurrent writer adds survives.", keys::del)
        .keys(1, -1, 1),
    Spec::write("unlink", -2, "key [key …]", "The same as DEL.", keys::del).keys(1, -1, 1),
    Spec::read("exists", -2, "key [key …]", "Returns how many of the keys exist.", keys::exists).keys(1, -1, 1),
    Spec::read("touch", -2, "key [key …]", "Returns how many of the keys exist. Access times are not kept.", keys::exists).keys(1, -1, 1),
    Spec::read("type", 2, "key", "Returns string, hash, set or none.", keys::kind),
    Spec::write("expire", 3, "key seconds", "Sets a time to live in seconds. NX, XX, GT and LT are not offered.", keys::expire),
    Spec::write("pexpire", 3, "key milliseconds", "Sets a time to live in milliseconds.", keys::pexpire),
    Spec::write("expireat", 3, "key unix-seconds", "Sets the Unix time in seconds at which the key expires.", keys::expireat),
    Spec::write("pexpireat", 3, "key unix-milliseconds", "Sets the Unix time in milliseconds at which the key expires.", keys::pexpireat),
    Spec::read("ttl", 2, "key", "Returns the time to live in seconds: -1 without an expiry, -2 if there is no such key.", keys::ttl),
    Spec::read("pttl", 2, "key", "Returns the time to live in milliseconds: -1 without an expiry, -2 if there is no such key.", keys::pttl),
    Spec::read("expiretime", 2, "key", "Returns the Unix time of the expiry in seconds: -1 without an expiry, -2 if there is no such key.", keys::expiretime),
    Spec::read("pexpiretime", 2, "key", "Returns the Unix time of the expiry in milliseconds: -1 without an expiry, -2 if there is no such key.", keys::pexpiretime),
    Spec::write("persist", 2, "key", "Removes the expiry.", keys::persist),
    Spec::alone(
        "scan",
        -2,
        "cursor [MATCH pattern] [COUNT count] [TYPE type]",
        "Returns a page of the keys that one replica of each partition holds. A key that the replica holds during the whole scan is returned at \
         least once. COUNT is a hint; a pattern has at most 1024 bytes.",
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
    Spec::alone(
        "wait",
        3,
        "replicas milliseconds",
        "Returns how many other replicas have this connection's last writes in each partition, as soon as there are enough. 0 milliseconds means 60 s.",
        own::wait,
    ),
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

const CONNECTION: &[Spec] = &[
    Spec::local("ping", -1, "[message]", "Returns PONG, or the message.", connection::ping).flags(Flags::LOADING.and(Flags::FAST)),
    Spec::local("echo", 2, "message", "Returns the message.", connection::echo).flags(Flags::LOADING.and(Flags::FAST)),
    Spec::alone("hello", -1, "[protover [AUTH user password] [SETNAME name]]", "Chooses RESP2 or RESP3.", connection::hello).flags(OPEN),
    Spec::alone(
        "auth",
        -2,
        "[user] password",
        "Authenticates. `user+level` chooses the connection's level as well; a level alone stands for the user default at that level.",
        connection::auth,
    )
    .flags(OPEN),
    Spec::local("select", 2, "number-or-name", "Chooses the keyspace.", connection::select),
    Spec::local("quit", -1, "", "Closes the connection once the replies so far are sent.", connection::quit).flags(OPEN),
    Spec::local("reset", 1, "", "Returns the connection to its initial state.", connection::reset).flags(OPEN),
    Spec::about("client", -2, "subcommand", "Commands about connections.", command::container).subcommands(CLIENT),
    Spec::about("acl", -2, "subcommand", "Commands about users.", command::container).subcommands(ACL),
];

const ACL: &[Spec] = &[
    HELP,
    Spec::local(
        "whoami",
        2,
        "",
        "Returns the name of the user that this connection is.",
        acl::whoami,
    ),
    Spec::local(
        "list",
        2,
        "",
        "Lists the users and what each may do. Needs the role admin.",
        acl::list,
    )
    .flags(MANAGE),
    Spec::local(
        "users",
        2,
        "",
        "Lists the names of the users. Needs the role admin.",
        acl::users,
    )
    .flags(MANAGE),
    Spec::about(
        "cat",
        -2,
        "[category]",
        "Lists the categories of commands, or the commands of one.",
        acl::cat,
    ),
];

/// Part of every list of subcommands.
const HELP: Spec = Spec::about("help", 2, "", "Lists the subcommands.", command::help);

const CLIENT: &[Spec] = &[
    HELP,
    Spec::local(
        "id",
        2,
        "",
        "Returns the number of this connection.",
        client::id,
    ),
    Spec::local(
        "setname",
        3,
        "name",
        "Names this connection. A name has at most 128 bytes.",
        client::setname,
    ),
    Spec::local(
        "getname",
        2,
        "",
        "Returns the name of this connection.",
        client::getname,
    ),
    Spec::local(
        "setinfo",
        4,
        "LIB-NAME name | LIB-VER version",
        "Records what the client library says about itself.",
        client::setinfo,
    ),
    Spec::local(
        "list",
        -2,
        "",
        "Lists all connections of this node. Needs the role admin.",
        client::list,
    )
    .flags(MANAGE),
    Spec::local("info", 2, "", "Describes this connection.", client::info),
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
        "Sets the levels of this connection (spec as in CL, or DEFAULT). Without arguments, returns them.",
        client::consistency,
    ),
];

const SERVER: &[Spec] = &[
    Spec::local(
        "info",
        -1,
        "[section …]",
        "Returns information about this node.",
        admin::info,
    ),
    Spec::about(
        "config",
        -2,
        "subcommand",
        "Commands about the settings.",
        command::container,
    )
    .flags(Flags::ADMIN.and(Flags::LOADING))
    .subcommands(&[
        HELP,
        Spec::local(
            "get",
            -3,
            "pattern [pattern …]",
            "Returns the settings that clients ask for.",
            admin::config_get,
        ),
        Spec::local(
            "set",
            -4,
            "name value [name value …]",
            "Always refused: settings come from the configuration of the node.",
            admin::config_set,
        ),
    ]),
    Spec::about(
        "command",
        -1,
        "",
        "Lists all commands, in the form that client libraries read.",
        command::all,
    )
    .subcommands(&[
        HELP,
        Spec::about(
            "count",
            2,
            "",
            "Returns the number of commands.",
            command::count,
        ),
        Spec::about(
            "info",
            -2,
            "[name …]",
            "Describes some commands, in the form that client libraries read.",
            command::info,
        ),
        Spec::about(
            "docs",
            -2,
            "[name …]",
            "Says what commands do.",
            command::docs,
        ),
        Spec::about(
            "list",
            2,
            "",
            "Lists the names of all commands.",
            command::list,
        ),
        Spec::about(
            "getkeys",
            -3,
            "command [arg …]",
            "Returns the keys in a command.",
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

const POP: &str = "two clients at two replicas could both get the same element";
const IF_ABSENT: &str = "two clients at two replicas could both find the key absent";
const SWAP: &str = "two clients at two replicas could both get the same old value";
const MULTI: &str = "other replicas could show or change the keys between the commands";
