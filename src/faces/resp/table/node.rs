//! The entries of the command table that are about connections and the node.

use super::{Flags, Spec};
use crate::faces::resp::commands::{
    absent, acl, admin, client, command, connection, database, info, slowlog,
};

const MANAGE: Flags = Flags::ADMIN.and(Flags::LOADING);
const OPEN: Flags = Flags::LOADING.and(Flags::NO_AUTH).and(Flags::FAST);

pub(super) const CONNECTION: &[Spec] = &[
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
    Spec::alone(
        "select",
        2,
        "number-or-name",
        "Chooses the keyspace. 0 is default; a number n up to 15 is the keyspace dbn, which is made if there is none.",
        database::select,
    )
    .flags(Flags::LOADING),
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
pub(super) const HELP: Spec = Spec::about("help", 2, "", "Lists the subcommands.", command::help);

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
        "[TYPE type | ID id [id …]]",
        "Lists the connections of this node. Needs the role admin.",
        client::list,
    )
    .flags(MANAGE),
    Spec::local(
        "kill",
        -3,
        "host:port | [ID id] [ADDR host:port] [LADDR host:port] [USER user] [TYPE type] [SKIPME yes | no]",
        "Ends connections, each as soon as what it has sent is answered.",
        client::kill,
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

pub(super) const SERVER: &[Spec] = &[
    Spec::alone(
        "info",
        -1,
        "[section …]",
        "Returns information about this node. The keys of a keyspace are those that one replica of each partition holds, and are left out if counting them takes more than a second.",
        info::info,
    )
    .flags(Flags::LOADING),
    Spec::local("time", 1, "", "Returns this node's time: Unix seconds and microseconds.", admin::time),
    Spec::local("role", 1, "", "Returns master: every node takes writes.", absent::role),
    Spec::about(
        "slowlog",
        -2,
        "subcommand",
        "Commands about commands that took long: from when they began until their answer was there, at this node. In a pipeline that includes the wait for the commands before.",
        command::container,
    )
    .flags(MANAGE)
    .subcommands(&[
        HELP,
        Spec::local("get", -2, "[count]", "Returns the latest entries, newest first: number, Unix seconds, microseconds, words, client, name. -1 returns all.", slowlog::get).flags(MANAGE),
        Spec::local("len", 2, "", "Returns the number of entries.", slowlog::len).flags(MANAGE),
        Spec::local("reset", 2, "", "Drops all entries.", slowlog::reset).flags(MANAGE),
    ]),
    Spec::about(
        "config",
        -2,
        "subcommand",
        "Commands about the settings.",
        command::container,
    )
    .flags(MANAGE)
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
            "Sets slowlog-log-slower-than and slowlog-max-len until the node stops. Other settings come from the configuration: they can be set to what they are.",
            admin::config_set,
        )
        .flags(MANAGE),
        Spec::local("resetstat", 2, "", "Sets the totals of INFO to 0.", admin::config_resetstat).flags(MANAGE),
        Spec::local("rewrite", 2, "", "Refused: the node does not write its configuration.", admin::config_rewrite).flags(MANAGE),
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
            -2,
            "[FILTERBY MODULE name | ACLCAT category | PATTERN pattern]",
            "Lists the names of commands.",
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
    Spec::local("cluster", -2, "subcommand", "Refused, as by a Redis without its cluster protocol: any node serves any key.", absent::cluster),
    Spec::local("readonly", 1, "", "Refused; see CLUSTER.", absent::cluster),
    Spec::local("readwrite", 1, "", "Refused; see CLUSTER.", absent::cluster),
    Spec::local("asking", 1, "", "Refused; see CLUSTER.", absent::cluster),
    Spec::about("module", -2, "subcommand", "Commands about modules, of which there are none.", command::container)
        .subcommands(&[HELP, Spec::local("list", 2, "", "Returns an empty list.", absent::nothing)]),
    Spec::about("function", -2, "subcommand", "Commands about functions, of which there are none.", command::container)
        .subcommands(&[
            HELP,
            Spec::local("list", -2, "[LIBRARYNAME pattern] [WITHCODE]", "Returns an empty list.", absent::nothing),
            Spec::local("flush", -2, "[ASYNC | SYNC]", "Removes all functions.", absent::flush),
        ]),
    Spec::about("script", -2, "subcommand", "Commands about scripts, of which there are none.", command::container)
        .subcommands(&[
            HELP,
            Spec::local("exists", -3, "sha1 [sha1 …]", "Returns 0 for each.", absent::none_of_them),
            Spec::local("flush", -2, "[ASYNC | SYNC]", "Removes all scripts.", absent::flush),
        ]),
    Spec::about("latency", -2, "subcommand", "Commands about latency events, of which none is recorded: see SLOWLOG.", command::container)
        .subcommands(&[
            HELP,
            Spec::local("latest", 2, "", "Returns an empty list.", absent::nothing),
            Spec::local("history", 3, "event", "Returns an empty list.", absent::nothing),
            Spec::local("reset", -2, "[event …]", "Returns 0.", absent::zero),
        ]),
];
