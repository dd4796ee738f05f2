//! What clients saw, held against what is promised: `quorate check`, and the same as functions.
//!
//! A history is a list of [`Event`]s, recorded from a live cluster (`quorate bench --record`), by
//! the simulator in virtual time, or by anybody else; [`check`] holds it against a [`Model`]. The
//! checkers are pure: the same events give the same verdict.
//!
//! ```
//! use quorate::check::{self, Action, Call, History, Least, Model, Options};
//!
//! let mut history = History::default();
//! history.invoke(Call::new(0, Action::Write, "k", 7), 10);
//! history.ok(0, serde_json::Value::Null, 20);
//! history.invoke(Call::new(1, Action::Read, "k", serde_json::Value::Null), 30);
//! history.ok(1, serde_json::Value::Null, 40);
//! let options = Options { least: Least::NOTHING, ..Options::default() };
//! let report = check::check(history.events(), Model::Register, &options).expect("the history is well formed");
//! assert_eq!(report.counterexample.expect("an acknowledged write is lost").rule, check::Rule::Lost);
//! ```

mod converge;
mod counter;
mod history;
mod linear;
mod operation;
mod register;
mod set;
mod sort;

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

pub use history::{Action, Call, Event, History, Kind, Process, ReadError, read};
use linear::Machine;
use operation::Operation;

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
    /// At most one holder at a time: linearizable.
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

/// How to check.
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

/// Why a history cannot be judged. It has neither passed nor failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unusable {
    /// The indices do not increase.
    #[error("line {line}: its index is not greater than that of the line before")]
    Order {
        /// The line, counted from 1.
        line: usize,
    },
    /// An operation that no model knows.
    #[error("line {line}: no model knows the operation {name}")]
    UnknownOperation {
        /// The line, counted from 1.
        line: usize,
        /// The name of the operation.
        name: Box<str>,
    },
    /// A level that does not say how many replicas were asked.
    #[error(
        "line {line}: {level:?} does not say how many replicas were asked; record a level that CL accepts, but not DEFAULT, or none for QUORUM"
    )]
    UnknownLevel {
        /// The line, counted from 1.
        line: usize,
        /// The level in the history.
        level: Box<str>,
    },
    /// An increment without a number.
    #[error("line {line}: an increment must be a 64-bit integer, not {value}")]
    NoIncrement {
        /// The line, counted from 1.
        line: usize,
        /// The value in the history.
        value: Box<str>,
    },
    /// A process began an operation before its previous one had ended.
    #[error("line {line}: the process already has an operation under way")]
    TwoAtOnce {
        /// The line, counted from 1.
        line: usize,
    },
    /// An operation ended that had not begun.
    #[error("line {line}: the process has not begun this operation")]
    NotBegun {
        /// The line, counted from 1.
        line: usize,
    },
    /// A key is used as two kinds of data.
    #[error("key {key} is used as a {one} and as a {other}")]
    Mixed {
        /// The key.
        key: Box<str>,
        /// One kind.
        one: Model,
        /// The other kind.
        other: Model,
    },
    /// The history shows too little.
    #[error("too little to judge: {found} {what}, at least {least} are needed")]
    TooLittle {
        /// What there is too little of.
        what: &'static str,
        /// How much there is.
        found: usize,
        /// How much is required.
        least: usize,
    },
    /// The search for an order was given up.
    #[error(
        "key {key} has too many concurrent operations to find an order for them: spread them over more keys"
    )]
    TooHard {
        /// The key.
        key: Box<str>,
    },
}

/// Something that a checker found wrong with one key.
#[derive(Clone, Debug)]
struct Violation<'h> {
    rule: Rule,
    says: String,
    events: Vec<&'h Event>,
}

impl<'h> Violation<'h> {
    fn new<'a>(
        rule: Rule,
        says: String,
        operations: impl IntoIterator<Item = &'a Operation<'h>>,
    ) -> Self
    where
        'h: 'a,
    {
        let mut events: Vec<&Event> = operations.into_iter().flat_map(Operation::lines).collect();
        events.sort_by_key(|event| event.index);
        events.dedup_by_key(|event| event.index);
        Self { rule, says, events }
    }
}

/// Checks `events` against what `model` promises.
///
/// # Errors
/// [`Unusable`] when the history is not well formed or shows too little.
pub fn check(events: &[Event], model: Model, options: &Options) -> Result<Report, Unusable> {
    let operations = operation::operations(events)?;
    let keys = sort::keys(&operations, model)?;
    let done = sort::enough(events, &keys, model, &options.least)?;
    let mut found: Vec<(Box<str>, Violation<'_>)> = Vec::new();
    for (key, operations) in &keys {
        found.extend(violations(key, operations, model, options)?);
    }
    let broken = found.len();
    let shortest = found
        .into_iter()
        .min_by_key(|(_, violation)| violation.events.len());
    let counterexample = shortest.map(|(key, violation)| Counterexample {
        rule: violation.rule,
        key,
        says: violation.says,
        keys: broken,
        history: violation.events.into_iter().cloned().collect(),
    });
    Ok(Report {
        model,
        operations: done,
        ok: counterexample.is_none(),
        counterexample,
    })
}

/// What is wrong with one key, at most one violation for each of its registers.
fn violations<'h>(
    key: &str,
    operations: &[Operation<'h>],
    model: Model,
    options: &Options,
) -> Result<Vec<(Box<str>, Violation<'h>)>, Unusable> {
    let whole = |violation: Option<Violation<'h>>| {
        violation
            .map(|violation| (key.into(), violation))
            .into_iter()
            .collect()
    };
    Ok(match model {
        Model::Register if options.linearizable => {
            whole(linear::check(Machine::Register, operations)?)
        }
        Model::Lock => whole(linear::check(Machine::Lock, operations)?),
        Model::Set => whole(set::check(operations)),
        Model::Counter => whole(counter::check(operations)?),
        Model::Converge => whole(converge::check(operations)),
        Model::Register | Model::Hash | Model::Session => {
            let check = if model == Model::Session {
                register::check_session
            } else {
                register::check
            };
            let registers: BTreeMap<_, _> = sort::registers(key, operations);
            registers
                .into_iter()
                .filter_map(|(name, accesses)| Some((name, check(&accesses, options)?)))
                .collect()
        }
    })
}

#[cfg(test)]
mod tests;
