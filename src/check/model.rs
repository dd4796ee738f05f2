//! The models that a history can be checked against, and the options of a check.

use std::fmt;

use serde::Serialize;

/// What a key is, and what is promised about it. Each model looks only at keys of its own kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// A value that is replaced: what was acknowledged at `QUORUM` is seen, and what was seen
    /// stays. With [`Options::linearizable`], operations happen one after another.
    Register,
    /// Elements that are added and removed.
    Set,
    /// A sum.
    Counter,
    /// Fields, each of which is a register.
    Hash,
    /// Registers and fields as one session sees them: its own writes, and nothing older than it has
    /// seen. For a process without a session, this holds as far as its levels go.
    Session,
    /// At the end all nodes show the same.
    Converge,
    /// Held by one at a time, or by as many as may share it, under rising tokens, and not lost
    /// before its time: linearizable.
    Lock,
}

impl Model {
    /// All models.
    pub const ALL: [Self; 7] = [
        Self::Register,
        Self::Set,
        Self::Counter,
        Self::Hash,
        Self::Session,
        Self::Converge,
        Self::Lock,
    ];
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Register => "register",
            Self::Set => "set",
            Self::Counter => "counter",
            Self::Hash => "hash",
            Self::Session => "session",
            Self::Converge => "converge",
            Self::Lock => "lock",
        })
    }
}

/// How to check. Unlike other `Options`, they change what counts as a violation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Registers are linearizable (`SERIAL`).
    pub linearizable: bool,
    /// By how many nanoseconds the clocks of two nodes may differ. Two writes closer than this may
    /// be ordered either way.
    pub skew: u64,
    /// What a history must contain to be judged.
    pub least: Least,
}

/// The minimum content of a history. With less, a history shows nothing, and passing it would be
/// misleading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Least {
    /// Operations that were done (guess: 100).
    pub operations: usize,
    /// Operations that overlap one of another process on the same key, where at least one of the
    /// two changes it (guess: 10). Does not apply to [`Model::Converge`], whose final reads overlap
    /// nothing.
    pub overlaps: usize,
    /// Fault lines between the first and the last operation.
    pub faults: usize,
}

impl Least {
    /// Judges everything, even a history that shows nothing.
    pub const NOTHING: Self = Self {
        operations: 0,
        overlaps: 0,
        faults: 0,
    };
}

impl Default for Least {
    fn default() -> Self {
        Self {
            operations: 100,
            overlaps: 10,
            faults: 1,
        }
    }
}
