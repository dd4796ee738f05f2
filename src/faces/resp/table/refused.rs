//! Commands of Redis that have no entry in the table, and why.

/// Commands of Redis that leaderless data cannot answer honestly, with the reason.
pub(crate) static NEEDS_SERIAL: &[(&str, &str)] = &[
    ("blmove", POP),
    ("blpop", POP),
    ("brpop", POP),
    ("brpoplpush", POP),
    ("bzpopmax", POP),
    ("bzpopmin", POP),
    ("copy", IF_ABSENT),
    ("eval", SCRIPT),
    ("eval_ro", SCRIPT),
    ("evalsha", SCRIPT),
    ("evalsha_ro", SCRIPT),
    ("fcall", SCRIPT),
    ("fcall_ro", SCRIPT),
    ("getset", SWAP),
    ("hsetnx", IF_ABSENT),
    ("lmove", POP),
    ("lpop", POP),
    ("msetnx", IF_ABSENT),
    ("rename", SWAP),
    ("renamenx", IF_ABSENT),
    ("rpop", POP),
    ("rpoplpush", POP),
    ("setnx", IF_ABSENT),
    ("smove", SWAP),
    ("spop", POP),
    ("watch", WATCH),
    ("zpopmax", POP),
    ("zpopmin", POP),
];

const POP: &str = "two clients at two replicas could both get the same element";
const IF_ABSENT: &str = "two clients at two replicas could both find the key absent";
const SWAP: &str = "two clients at two replicas could both get the same old value";
const WATCH: &str = "other replicas could change the key between WATCH and EXEC";
const SCRIPT: &str = "a script expects that nobody else changes its keys while it runs";

/// Other commands of Redis for which clients look, with the reason.
pub(crate) static NOT_OFFERED: &[(&str, &str)] = &[
    ("bgsave", SAVE),
    (
        "monitor",
        "a node does not show one client what others send",
    ),
    ("psubscribe", PUBSUB),
    ("publish", PUBSUB),
    ("pubsub", PUBSUB),
    ("punsubscribe", PUBSUB),
    ("save", SAVE),
    ("spublish", PUBSUB),
    ("ssubscribe", PUBSUB),
    ("subscribe", PUBSUB),
    ("sunsubscribe", PUBSUB),
    ("unsubscribe", PUBSUB),
];

const PUBSUB: &str = "no node passes messages from client to client";
const SAVE: &str = "every change is written when it is made";
