//! What a node cannot do for its clients now.

use std::fmt;
use std::sync::Arc;

use quorate_dynamo::Consistency;

/// A keyspace that this node cannot serve at its default level, because too few of its replicas can
/// be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shortfall {
    /// The name of the keyspace.
    pub keyspace: Arc<str>,
    /// Whether it is the default level of writes that cannot be met, and not that of reads.
    pub writes: bool,
    /// The level.
    pub level: Consistency,
    /// How many replicas it needs.
    pub required: usize,
    /// How many of those that count can be reached, this node included.
    pub reached: usize,
}

impl fmt::Display for Shortfall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            keyspace,
            writes,
            level,
            required,
            reached,
        } = self;
        let what = if *writes { "writes" } else { "reads" };
        write!(
            f,
            "keyspace {keyspace}: {what} at its default level {level} need {required} replicas, and {reached} can be reached"
        )
    }
}
