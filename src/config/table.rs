//! The one table of keys: their names and what they take.

use super::text;

/// A key of the file. The variable is `QUORATE_` and the name in capitals; the flag is `--` and the
/// name with dashes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// What it takes, as the end of the sentence "… must be …".
    pub(super) expected: &'static str,
    /// How the file writes its value.
    pub(super) kind: Kind,
}

/// How the file writes a value. Variables and flags write the same as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// In quotes.
    Text,
    /// As a whole number.
    Number,
    /// As `true` or `false`.
    Switch,
}

const fn key(name: &'static str, expected: &'static str) -> Key {
    Key {
        name,
        expected,
        kind: Kind::Text,
    }
}

const ADDRESS: &str = "a string with an IP address and a port, such as \"127.0.0.1:7379\"";

const FILE: &str = "a string with the path of a PEM file";

pub(super) const KEYS: [Key; 30] = [
    key("data_dir", "a string with a path"),
    key("node", text::NAME),
    key("datacenter", text::NAME),
    key("rack", text::NAME),
    key("resp", ADDRESS),
    key("http", ADDRESS),
    key("quic", ADDRESS),
    key("etcd", ADDRESS),
    key("advertise", text::HOST),
    Key {
        name: "found",
        expected: "true or false",
        kind: Kind::Switch,
    },
    key(
        "join",
        "a string with host and port of one or more members, such as \"10.0.0.1:7381,10.0.0.2:7381\"",
    ),
    key("token", "a string with a join token"),
    key(
        "token_file",
        "a string with the path of a file that holds a join token",
    ),
    key("replace", "a string with the name of a dead member"),
    Key {
        name: "witness",
        expected: "true or false",
        kind: Kind::Switch,
    },
    key("storage", "\"fjall\", \"sled\" or \"memory\""),
    key("durability", "\"sync\", \"interval\" or \"none\""),
    key("durability_interval", text::DURATION),
    key("password", "a string that is not empty"),
    key("tls_cert", FILE),
    key("tls_key", FILE),
    key("tls_client_ca", FILE),
    Key {
        name: "insecure",
        expected: "true or false",
        kind: Kind::Switch,
    },
    Key {
        name: "maxclients",
        expected: "a number more than 0",
        kind: Kind::Number,
    },
    key("request_timeout", text::DURATION),
    key("slow_command", text::DURATION),
    // Refused, with the reason: an earlier version had it.
    key("network", "left out"),
    key(
        "log",
        "a level (off, error, warn, info, debug, trace) or TARGET=LEVEL; several are separated by commas",
    ),
    key("log_format", "\"text\" or \"json\""),
    Key {
        name: "partitions",
        expected: text::PARTITIONS,
        kind: Kind::Number,
    },
];
