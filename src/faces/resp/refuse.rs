//! Every error that a Redis client can get, in Redis's own words where Redis has them.

use quorate_control::topology::Topology;
use quorate_crdt::NodeId;
use quorate_dynamo::consistency::{Consistency, UnknownLevel};
use quorate_dynamo::op::RequestError;
use quorate_dynamo::protocol::Refusal;

use crate::doors::{AdminError, CoordinationError, name_of};

/// The first word of the error for a command that the coordination group has not answered.
fn coordination_code(error: CoordinationError) -> &'static str {
    match error {
        CoordinationError::NoQuorum => "NOTQUORATE",
        CoordinationError::TooStale { .. } => "TOOSTALE",
        CoordinationError::TimedOut => "TIMEOUT",
        CoordinationError::Stopping => "STOPPING",
        CoordinationError::Malformed => "ERR",
    }
}

/// A command that the face itself refuses; nothing was applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// No such command. The text is Redis's, including the blank at its end.
    #[error("ERR unknown command '{name}', with args beginning with: {args}")]
    UnknownCommand { name: String, args: String },
    #[error("ERR unknown subcommand '{name}'. Try {command} HELP.")]
    UnknownSubcommand { command: String, name: String },
    #[error("ERR wrong number of arguments for '{name}' command")]
    Arity { name: String },
    /// A Redis command that leaderless data cannot answer honestly.
    #[error("ERR '{name}' needs CL SERIAL, which this version does not offer: {reason}")]
    NeedsSerial {
        name: &'static str,
        reason: &'static str,
    },
    /// After a refused `MULTI`.
    #[error(
        "ERR not run: MULTI was refused, and so is everything up to EXEC or DISCARD; nothing was applied"
    )]
    InRefusedTransaction,
    /// A command was refused since `MULTI`.
    #[error("EXECABORT Transaction discarded because of previous errors.")]
    ExecAbort,
    #[error("EXECABORT Transaction discarded because {name} was refused; nothing was applied")]
    ExecAbortBy { name: &'static str },
    /// `EXEC` itself was refused.
    #[error("EXECABORT Transaction discarded because of: {}", .refused.trim_start_matches("ERR "))]
    ExecAbortOver { refused: String },
    #[error("ERR MULTI calls can not be nested")]
    NestedTransaction,
    #[error("ERR {} without MULTI", .name.to_uppercase())]
    WithoutMulti { name: &'static str },
    #[error(
        "ERR the commands since MULTI would have more than {max} bytes; nothing will be applied"
    )]
    TransactionTooLong { max: usize },
    /// After a refused `SELECT`.
    #[error("ERR not run: the last SELECT was refused; nothing was applied")]
    Unselected,
    #[error("ERR syntax error")]
    Syntax,
    #[error("ERR value is not an integer or out of range")]
    NotAnInteger,
    #[error("ERR decrement would overflow")]
    DecrementOverflow,
    #[error("ERR invalid expire time in '{name}' command")]
    ExpireTime { name: &'static str },
    #[error("ERR timeout is negative")]
    NegativeTimeout,
    /// A command on locks and their like that was not carried out.
    #[error("ERR {why}")]
    Coordination { why: String },
    #[error("DEADLOCK waiting would never end: {circle}; nothing was changed")]
    Deadlock { circle: String },
    #[error("BROKEN a party of this round died, left or waited too long")]
    BrokenBarrier,
    /// The coordination group has no answer.
    #[error("{} {error}", coordination_code(*.error))]
    NotCoordinated { error: CoordinationError },
    #[error("ERR invalid cursor")]
    Cursor,
    #[error("ERR DB index is out of range")]
    KeyspaceNumber,
    #[error("ERR invalid DB index")]
    KeyspaceName,
    #[error("ERR the keyspace no longer exists; SELECT another")]
    KeyspaceGone,
    #[error("ERR the keyspace {name} does not exist and could not be made: {error}")]
    NoKeyspace { name: String, error: AdminError },
    #[error("ERR {0}")]
    Level(UnknownLevel),
    #[error("ERR {level} is not offered by this version")]
    LevelNotOffered { level: &'static str },
    #[error("ERR TIMEOUT must be a time such as 50ms or 2s, from 1ms to {max_ms}ms")]
    LevelTimeout { max_ms: u64 },
    #[error("ERR {prefix} must precede a command on data, not '{name}'")]
    Prefix {
        prefix: &'static str,
        name: &'static str,
    },
    #[error("ERR a request name must have 1 to 32 bytes")]
    RequestName,
    #[error(
        "ERR FENCE takes the key of a lock, its token and, if they are known, SEQ and SINCE: numbers, the token above 0 and SINCE not above SEQ"
    )]
    Fence,
    /// A named command that could not be promised to run only once.
    #[error(
        "ERR REQ cannot precede '{name}': only commands that change keys can be named; nothing was applied"
    )]
    Unnamed { name: &'static str },
    /// The command cannot keep the level that was asked for.
    #[error(
        "ERR '{name}' asks one replica of each partition and cannot run at {level}; leave out CL, or use ONE or LOCAL_ONE"
    )]
    OneReplica {
        name: &'static str,
        level: Consistency,
    },
    #[error("ERR the reply would have more than {max} bytes; ask for less at a time")]
    ReplyTooLong { max: usize },
    #[error("ERR a pattern of {bytes} bytes is more than the {max} allowed")]
    PatternTooLong { bytes: usize, max: usize },
    #[error("ERR patterns of {bytes} bytes together are more than the {max} allowed")]
    PatternsTooLong { bytes: usize, max: usize },
    #[error("ERR at most {max} names or patterns at a time")]
    TooManyNames { max: usize },
    /// The client did not authenticate in time; the connection is closed.
    #[error("NOAUTH you did not authenticate in time; the connection is closed")]
    Stranger,
    #[error("NOAUTH Authentication required.")]
    NoAuth,
    #[error(
        "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be \
         used to authenticate the client and select the RESP protocol version at the same time"
    )]
    NoAuthHello,
    #[error("WRONGPASS invalid username-password pair or user is disabled.")]
    WrongPass,
    #[error(
        "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?"
    )]
    NoPassword,
    #[error("ERR too many passwords are being checked; try again later")]
    TooManyChecks,
    #[error("NOPERM User {user} has no permissions to run the '{command}' command")]
    NoPermission { user: String, command: String },
    /// The user may run the command in other keyspaces.
    #[error("NOPERM No permissions to access a key")]
    NoKeyPermission,
    #[error("ERR Unknown category '{name}'")]
    NoSuchCategory { name: String },
    #[error("NOPROTO unsupported protocol version")]
    NoProtocol,
    #[error("ERR Protocol version is not an integer or out of range")]
    ProtocolVersion,
    #[error("ERR Unknown client type '{name}'")]
    ClientType { name: String },
    #[error("ERR Invalid client ID")]
    ClientNumber,
    #[error("ERR No such client")]
    NoSuchClient,
    #[error("ERR This instance has cluster support disabled")]
    NoCluster,
    /// A Redis command that no version will have, or that is not there yet for want of work.
    #[error("ERR '{name}' is not offered: {reason}")]
    NotOffered {
        name: &'static str,
        reason: &'static str,
    },
    #[error("ERR Unsupported option {name}")]
    ExpireOption { name: String },
    #[error("ERR count should be greater than or equal to -1")]
    SlowCount,
    #[error("ERR Client names cannot contain spaces, newlines or special characters.")]
    ClientName,
    #[error("ERR a name of {bytes} bytes is more than the {max} allowed")]
    ClientNameTooLong { bytes: usize, max: usize },
    #[error("ERR Unrecognized option '{name}'")]
    ClientAttribute { name: String },
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{name}'")]
    UnknownSetting { name: String },
    #[error(
        "ERR CONFIG SET failed (possibly related to argument '{name}') - can't set immutable config"
    )]
    FixedSetting { name: String },
    #[error(
        "ERR CONFIG SET failed (possibly related to argument '{name}') - argument couldn't be parsed into an integer"
    )]
    NumberSetting { name: String },
    #[error("ERR The server is running without a config file")]
    NoConfigFile,
    #[error("ERR more than {max} keys match; use SCAN")]
    TooManyKeys { max: usize },
    #[error("ERR Invalid command specified")]
    NoSuchCommand,
    #[error("ERR The command has no key arguments")]
    NoKeys,
    #[error(
        "LOADING the node is not ready: it has no topology yet, or its partitions are still loading"
    )]
    Loading,
    /// All places for connections are taken; the connection is closed.
    #[error("ERR max number of clients reached")]
    Clients,
}

/// What happened to the keys of a command, for its one error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Whether the command changes data.
    pub writes: bool,
    /// Keys of the command.
    pub keys: usize,
    /// Keys whose change was applied.
    pub applied: usize,
    /// Keys whose change may have been applied.
    pub unknown: usize,
}

impl Extent {
    /// Says what is now true of the key that failed, and of the others.
    fn describe(self, may_be_applied: bool) -> String {
        let Self {
            writes,
            keys,
            applied,
            unknown,
        } = self;
        let refused = keys.saturating_sub(applied + unknown);
        match (writes, keys, may_be_applied) {
            (false, ..) => String::new(),
            (true, 0 | 1, true) => "; the write may have been applied".to_owned(),
            (true, 0 | 1, false) => "; nothing was applied".to_owned(),
            // Each key is a request of its own, and one error stands for all of them: so it counts.
            (true, ..) if refused == keys => "; nothing was applied".to_owned(),
            (true, ..) => {
                let unknown = if unknown > 0 {
                    format!(", {unknown} may have been applied")
                } else {
                    String::new()
                };
                let were = if refused == 1 { "was" } else { "were" };
                let refused = if refused > 0 {
                    format!(", {refused} {were} not")
                } else {
                    String::new()
                };
                format!("; {applied} of {keys} keys were applied{unknown}{refused}")
            }
        }
    }
}

/// The error line for a request that failed: its code, what is wrong, which nodes are missing, and
/// what is now true.
pub(crate) fn request_error(error: &RequestError, extent: Extent, topology: &Topology) -> String {
    let nothing = || extent.describe(false);
    let so_far = || extent.describe(error.may_be_applied());
    let mut line = match error {
        RequestError::WrongKind => {
            return "WRONGTYPE Operation against a key holding the wrong kind of value".to_owned();
        }
        RequestError::NotAnInteger => {
            return "ERR value is not an integer or out of range".to_owned();
        }
        RequestError::Overflow => return "ERR increment or decrement would overflow".to_owned(),
        RequestError::TooLarge { bytes, max } => format!(
            "ERR {bytes} bytes is more than the {max} allowed{}",
            nothing()
        ),
        RequestError::BadToken => {
            "ERR the causal token does not come from CTX.GET of this key".to_owned()
        }
        RequestError::Unseen => format!("TRYAGAIN {error}{}", nothing()),
        RequestError::BadRequestId => {
            "ERR REQ cannot precede this command: its answer is not kept".to_owned()
        }
        RequestError::NoKeyspace => format!(
            "ERR the keyspace no longer exists; SELECT another{}",
            nothing()
        ),
        RequestError::Unsatisfiable {
            level,
            required,
            replicas,
        } => {
            format!(
                "NOTQUORATE {level} needs {required} replicas, the keyspace has {replicas}{}",
                nothing()
            )
        }
        RequestError::Unavailable {
            level,
            required,
            alive,
            missing,
        } => {
            format!(
                "NOTQUORATE {level} needs {required} replicas, {alive} can be reached{}{}",
                names(missing, topology),
                nothing()
            )
        }
        RequestError::TimedOut {
            level,
            acked,
            required,
            missing,
            may_be_applied,
        } => format!(
            "TIMEOUT {level}: {acked} of {required} replicas answered in time{}{}",
            names(missing, topology),
            extent.describe(*may_be_applied)
        ),
        RequestError::Refused {
            level,
            acked,
            required,
            refused,
            missing,
            may_be_applied,
        } => format!(
            "REFUSED {level}: {acked} of {required} replicas did their part{}{}{}",
            reasons(refused, topology),
            names(missing, topology),
            extent.describe(*may_be_applied)
        ),
        RequestError::KeyspaceDropped => {
            format!(
                "ERR the keyspace was dropped meanwhile{}; it is erased with the keyspace",
                extent.describe(true)
            )
        }
        RequestError::Moving => format!("TRYAGAIN the topology is changing{}", nothing()),
        RequestError::Overloaded => format!("OVERLOADED the node has too much to do{}", nothing()),
        RequestError::Stopping => format!("STOPPING the node is stopping{}", extent.describe(true)),
        RequestError::Siblings { .. } => format!("ERR {error}{}", nothing()),
        RequestError::Clock { .. } | RequestError::ClockUnconfirmed => {
            format!("CLOCK {error}{}", nothing())
        }
        RequestError::DiskSlow { millis, .. } => format!(
            "DISKSLOW the disk of the node has not answered for {millis} ms{}",
            so_far()
        ),
        RequestError::ReadOnly { .. } => format!("READONLY {error}{}", nothing()),
        RequestError::DiskFull => format!("OOM the disk of the node is full{}", nothing()),
        RequestError::Fenced { .. } => format!("FENCED {error}{}", so_far()),
        RequestError::NotClosed { missing, refused } => format!(
            "NOTCLOSED {error}{}{}",
            reasons(refused, topology),
            names(missing, topology)
        ),
        other => format!("ERR {other}"),
    };
    line.retain(|symbol| symbol != '\r' && symbol != '\n');
    line
}

/// `; missing a@east, b@west`, or nothing if no node is missing.
fn names(missing: &[NodeId], topology: &Topology) -> String {
    let mut text = String::new();
    for (index, id) in missing.iter().enumerate() {
        text.push_str(if index == 0 { "; missing " } else { ", " });
        text.push_str(&name_of(*id, topology));
    }
    text
}

/// `; a@east: its disk is full`, for each node that refused.
fn reasons(refused: &[(NodeId, Refusal)], topology: &Topology) -> String {
    refused.iter().fold(String::new(), |text, (id, reason)| {
        format!("{text}; {}: {reason}", name_of(*id, topology))
    })
}

#[cfg(test)]
mod tests;
