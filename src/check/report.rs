//! The verdict on a history.

use serde::Serialize;

use super::history::Event;
use super::model::Model;

/// The rule that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Something acknowledged is missing.
    Lost,
    /// A read returned an older value than one it had to know.
    Stale,
    /// A later read shows an older state than an earlier one.
    Turned,
    /// A read returned something that was never written, or not yet, or not that often.
    Invented,
    /// A read returned something that was refused as *not applied*.
    Refused,
    /// Something that was removed is there again.
    CameBack,
    /// A session does not see its own write.
    OwnWriteUnseen,
    /// A session sees something older than it saw before.
    SessionWentBack,
    /// Nodes differ at the end.
    Diverged,
    /// No order explains the operations.
    NotLinearizable,
}

/// The operations on one key that show what is wrong, and no others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Counterexample {
    /// The rule that was broken.
    pub rule: Rule,
    /// The key. A field of a hash follows its key after a slash.
    pub key: Box<str>,
    /// The violation in a sentence.
    pub says: String,
    /// In how many keys something is broken.
    pub keys: usize,
    /// The lines of the history, in order.
    pub history: Vec<Event>,
}

/// The verdict on a history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The model it was checked against.
    pub model: Model,
    /// Operations that were done, on keys of the model's kind.
    pub operations: usize,
    /// Whether all promises were kept.
    pub ok: bool,
    /// The shortest counterexample found.
    pub counterexample: Option<Counterexample>,
}
