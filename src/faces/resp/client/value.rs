//! What a server replies: values, and refusals in its own words.

use bytes::Bytes;

/// A reply. Simple and bulk strings are both [`Value::Bulk`]: no caller needs to tell them apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Nothing: a null bulk string or null array.
    Nil,
    /// A number.
    Integer(i64),
    /// A string of any kind.
    Bulk(Bytes),
    /// An array of replies.
    Array(Vec<Value>),
    /// The server refused. Only the sender of a pipeline sees this variant.
    Error(Refusal),
}

impl Value {
    /// The bytes of a string reply; `None` for every other kind.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Bulk(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A number reply, or a string reply that is a decimal number.
    pub fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Bulk(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
            _ => None,
        }
    }
}

/// An error reply, in the server's own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Refusal {
    /// The whole line after the minus sign, for example `NOTQUORATE QUORUM needs 2 replicas, …`.
    pub text: String,
}

impl Refusal {
    /// The first word, on which programs decide: `ERR`, `WRONGTYPE`, `NOTQUORATE`, `TIMEOUT`, ….
    pub fn code(&self) -> &str {
        self.text.split(' ').next().unwrap_or_default()
    }

    /// Whether the server says that the outcome of a change is unknown, even if only for one key of
    /// many.
    pub fn may_have_been_applied(&self) -> bool {
        self.text.contains("may have been applied")
    }
}
