//! Renders `docs/commands.md` from the command table.

use std::fmt::Write as _;

use super::{Group, NEEDS_SERIAL, NOT_OFFERED, Spec, TABLE};

const HEAD: &str = "# Commands of the Redis face

Generated from the command table; `UPDATE=1 cargo test -p quorate --lib resp::table` rewrites it.

## How do commands behave?

**Names** are not case-sensitive.

**Levels.** Every command on data runs at the connection's level for reads or writes. That is the
keyspace's default, or what `CLIENT CONSISTENCY`, the user name in the URL
(`redis://quorum@host:7379`, `redis://shop+quorum:password@host:7379`) or a `CL` prefix has chosen.

**Users.** A command that reads keys needs the role read in the connection's keyspace, one that
changes keys the role write, and one for operators the role admin in every keyspace. `FLUSHALL`
needs the role write in every keyspace. A connection may `SELECT` any keyspace. Locks and their like
are of no keyspace: they need the roles in the keyspace `default`.

**Several keys.** A command on several keys is one request per key, submitted together: it is not
atomic.

**Order.** The commands of one connection take effect in their order. A pipeline is executed
concurrently, except that a command which must first see what a quorum has (`DEL`, `SREM`, `HDEL`,
`GETDEL`, `APPEND`, `EXPIRE…`, `PERSIST`) is finished before the next one begins.

**Scans.** `SCAN`, `KEYS` and `DBSIZE` ask the nearest replica of each partition, whatever the
connection's level is. Keys that this replica has not heard of yet are missing, and keys whose
removal it has not seen are shown. So a count or a list of keys is not what a `QUORUM` read would
see. Before these commands, `CL` accepts only `ONE` and `LOCAL_ONE`; a stronger level is refused,
because it would not be kept.

**Limits.** A command has at most 131,072 arguments of 16 MiB each, 64 MiB together. The values that
`MGET` and `HMGET` return take at most 512 MiB together. A slow reader gets its reply at its own
pace.

**Expiry in the past.** `EXPIRE…` with a time that has passed, including 0 or less, removes the key,
as in Redis. Whether the time has passed is not up to the node that the client talks to: a replica
decides by its own clock, and refuses with `CLOCK` while that clock is off. On a full disk this does
not count as a removal that makes room.

**Transactions.** What is queued between `MULTI` and `EXEC` is sent to the data plane together, in
order. Nothing runs before `EXEC`, and nothing at all if a command since `MULTI` was refused or the
connection is lost before `EXEC` has arrived. Apart from that a transaction is a pipeline. It is not
isolated: others can see one key changed and another not yet. It is not all or nothing: a command
that fails at its level does not stop the others, and a node that stops in the middle leaves a part
applied. Every reply says what is true of its own command. `WATCH` is refused, and after it `EXEC`
runs nothing, until `UNWATCH`.

**Databases.** `SELECT 0` is the keyspace `default`, and `SELECT 1` to `SELECT 15` are the keyspaces
`db1` to `db15`. One that does not exist is made with the replication and the levels of `default`;
that needs a majority of the control group and the role admin, once. Any keyspace can be selected by
its name. After a refused `SELECT`, commands on data are refused until another succeeds.

**Cursors.** A cursor of `SCAN` names a place in the order of the keys, which is the same on all
nodes. A scan can go on through another node, and after a restart.

## What do errors mean?

Every error says what is now true. A command that changes several keys has one error for all of
them, with counts: `11 of 41 keys were applied, 29 may have been applied, 1 was not`. Its code is
that of a key whose outcome is unknown, if there is one.

| error | meaning |
|---|---|
| `NOTQUORATE` | too few replicas exist or can be reached for the level; nothing was applied, except that `FLUSHDB` may have cleared other partitions |
| `TOOSTALE` | the coordination group was asked for what is at most so old, and no node on this side can show how old what it knows is; nothing was read |
| `READONLY` | the node is on the smaller side of a split, and the keyspace is read-only there; nothing was applied. Reads go on, and may be old |
| `TIMEOUT` | too few replicas answered in time; the text says whether a write may have been applied |
| `REFUSED` | replicas refused their part; the text says why, and whether a write may have been applied |
| `FENCED` | a later holder of the lock has been there; the text names its token, and says whether a write may have been applied |
| `NOTCLOSED` | a whole collection under a fencing token: an earlier holder may still add to it through the replicas that the text names; nothing was read. Read its rows by name, or try again when they are back |
| `OVERLOADED` | the node has too much to do; nothing was applied. Try again later |
| `TRYAGAIN` | the topology is changing, or the replicas of the level have not seen what a causal token covers; nothing was applied |
| `DISKSLOW` | the node's own disk did not answer in time; the text says whether a write may have been applied |
| `CLOCK` | the write needs a clock, and the node's clock differs from the others', or they have not confirmed it since the node started; nothing was applied |
| `NOAUTH` | the client has not authenticated, or its user was dropped or has another password; nothing was applied |
| `WRONGPASS` | there is no such user, or the password is another |
| `NOPERM` | the user does not have the role for it: anywhere (*no permissions to run*), or in this keyspace (*no permissions to access a key*); nothing was applied |
| `OOM` | the node's disk is full; nothing was applied. Removals still work, and make room |
| `LOADING` | the node is not ready yet; nothing was applied |
| `STOPPING` | the node is stopping; a write may have been applied |
| `WRONGTYPE` | the key holds another kind of value; nothing was applied |
";

/// The whole page.
pub(crate) fn render() -> String {
    let mut page = HEAD.to_owned();
    for (group, specs) in TABLE {
        section(&mut page, *group, specs).expect("invariant: a String takes all text");
    }
    page.push_str(
        "\n## Refused\n\nThese commands of Redis need `CL SERIAL`, which this version does not offer. None of them pretends\nto work.\n\n",
    );
    page.push_str("| command | because |\n|---|---|\n");
    refused(&mut page, NEEDS_SERIAL).expect("invariant: a String takes all text");
    page.push_str("\nThese are not offered for other reasons.\n\n");
    page.push_str("| command | because |\n|---|---|\n");
    refused(&mut page, NOT_OFFERED).expect("invariant: a String takes all text");
    page
}

fn refused(page: &mut String, list: &[(&str, &str)]) -> std::fmt::Result {
    for (name, reason) in list {
        writeln!(page, "| `{}` | {reason} |", name.to_uppercase())?;
    }
    Ok(())
}

fn section(page: &mut String, group: Group, specs: &[Spec]) -> std::fmt::Result {
    let title = group.name();
    writeln!(
        page,
        "\n## {}{}\n\n| command | what it does | since |\n|---|---|---|",
        title[..1].to_uppercase(),
        &title[1..]
    )?;
    for spec in specs {
        if spec.subcommands.is_empty() || spec.takes(1) {
            row(page, "", spec)?;
        }
        for sub in spec.subcommands {
            row(page, spec.name, sub)?;
        }
    }
    Ok(())
}

fn row(page: &mut String, container: &str, spec: &Spec) -> std::fmt::Result {
    let name = format!("{container} {}", spec.name).trim().to_uppercase();
    let syntax = spec.syntax.replace('|', "\\|");
    let gap = if syntax.is_empty() { "" } else { " " };
    writeln!(
        page,
        "| `{name}{gap}{syntax}` | {} | {} |",
        spec.summary, spec.since
    )
}
