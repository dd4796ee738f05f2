//! `docs/commands.md`, out of the table.

use std::fmt::Write as _;

use super::{Group, NEEDS_SERIAL, Spec, TABLE};

const HEAD: &str = "# Commands of the Redis face

Generated from the command table; `UPDATE=1 cargo test -p quorate --lib resp::table` rewrites it.

Names are not case-sensitive. Every command on data runs at the connection's level for reads or writes: the keyspace's default, or
what `CLIENT CONSISTENCY`, the user name in the URL (`redis://quorum@host:7379`) or a `CL` prefix has chosen. Commands on several keys
are one request for each key, submitted together: they are not atomic. Commands of one connection take effect in their order;
a pipeline is executed concurrently, except that a command which must first see what a quorum has (`DEL`, `SREM`, `HDEL`, `GETDEL`,
`APPEND`, `EXPIRE…`, `PERSIST`) is finished before the next one begins.

`SCAN`, `KEYS` and `DBSIZE` ask one replica of each partition, the nearest, whatever the connection's level is. What that replica has not
heard of yet is missing, and what it has not seen removed is shown: a count or a list of keys is not what a `QUORUM` read would see. Before them
`CL` takes `ONE` and `LOCAL_ONE` only; a stronger level is refused, because it would not be kept.

One command has at most 131,072 arguments of 16 MiB each, 64 MiB together; the values that `MGET` and `HMGET` answer
have at most 512 MiB together. A client that reads slowly is written to at its own pace.

`EXPIRE…` with a time that is over, 0 or less included, removes the key, as in Redis. Whether it is over is not for the node that the client
talks to: a replica says so by its own clock, and refuses with `CLOCK` while that is off. It is no removal that makes room on a full disk.

Client libraries that wrap pipelines in `MULTI` must be told not to (redis-py: `pipeline(transaction=False)`).

Errors say what is now true. A command that changes several keys has one error for all of them, which counts: `11 of 41 keys were applied,
29 may have been applied, 1 was not`. Its code is that of a key whose outcome is not known, if there is one.

| error | meaning |
|---|---|
| `NOTQUORATE` | too few replicas exist or can be reached for the level; nothing was applied, save that `FLUSHDB` may have cleared other partitions |
| `TIMEOUT` | too few replicas answered in time; the text says whether a write may have been applied |
| `REFUSED` | replicas said that they will not do their part, and why; the text says whether a write may have been applied |
| `OVERLOADED` | the node has too much to do; nothing was applied |
| `TRYAGAIN` | the topology is changing, or the replicas of the level have not seen what a causal token covers; nothing was applied |
| `DISKSLOW` | the node's own disk did not answer in time; the text says whether a write may have been applied |
| `CLOCK` | the node's clock is off from the others', or they have not confirmed it since the node started, and the write needed it; nothing was applied |
| `OOM` | the node's disk is full; nothing was applied. Removals go on, and make room |
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
        "\n## Refused\n\nThese commands of Redis need `CL SERIAL`, which this version does not offer; none of them pretends.\n\n",
    );
    page.push_str("| command | because |\n|---|---|\n");
    for (name, reason) in NEEDS_SERIAL {
        writeln!(page, "| `{}` | {reason} |", name.to_uppercase())
            .expect("invariant: a String takes all text");
    }
    page
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
