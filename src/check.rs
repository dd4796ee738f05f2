//! Checks what clients saw against what is promised: `quorate check` as a library.
//!
//! A history is a list of [`Event`]s, recorded from a live cluster by `quorate bench --record` or
//! by any other tool. [`check`] checks it against a [`Model`]. The checkers are pure: the same
//! events always give the same verdict.
//!
//! ```
//! use quorate::check::{self, Action, Call, History, Least, Model, Options};
//!
//! let mut history = History::default();
//! history.invoke(Call::new(0, Action::Write, "k", 7), 10);
//! history.ok(0, serde_json::Value::Null, 20);
//! history.invoke(Call::new(1, Action::Read, "k", serde_json::Value::Null), 30);
//! history.ok(1, serde_json::Value::Null, 40);
//! let options = Options {
//!     least: Least::NOTHING,
//!     ..Options::default()
//! };
//! let report = check::check(history.events(), Model::Register, &options)?;
//! let counterexample = report.counterexample.expect("an acknowledged write is lost");
//! assert_eq!(counterexample.rule, check::Rule::Lost);
//! # Ok::<(), check::Unusable>(())
//! ```

mod converge;
mod counter;
mod history;
mod lease;
mod linear;
mod model;
mod operation;
mod register;
mod report;
mod set;
mod sort;
mod unusable;
mod value;
mod violation;

use std::collections::BTreeMap;

pub use history::{Action, Call, Event, History, Kind, Process, ReadError, read};
use lease::Leases;
pub use model::{Least, Model, Options};
use operation::Operation;
pub use report::{Counterexample, Report, Rule};
pub use unusable::Unusable;
use value::LastValue;
use violation::Violation;

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
        Model::Register if options.linearizable => whole(linear::check(&LastValue, operations)?),
        Model::Lock => {
            lease::check_terms(operations)?;
            let leases = Leases { skew: options.skew };
            whole(linear::check(&leases, operations)?)
        }
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
