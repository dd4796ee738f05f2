//! What a connection does not run because of what was refused to it before.
//!
//! Clients send first and read later. One whose `MULTI` was refused has already sent the commands
//! after it, and one whose `SELECT` was refused at connect often never looks: running what follows
//! would apply what the client takes for refused, or put it where it did not want it.

use super::parse::Args;
use super::refuse::Refused;
use super::table::{Flags, Spec};

/// What a connection is held back from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Holds {
    /// A `MULTI` was refused, and neither `EXEC` nor `DISCARD` has come since.
    transaction: bool,
    /// The last `SELECT` was refused.
    pub unselected: bool,
}

/// What becomes of a command in a transaction that was refused.
pub(crate) enum Held {
    /// Nothing was queued, and nothing is now.
    Discarded,
    /// It is not run.
    Refused(Refused),
}

impl Holds {
    /// A command that is not offered was refused: if it is `MULTI`, what follows it is refused too.
    pub(crate) fn begin_transaction(&mut self, name: &str) {
        self.transaction |= name.eq_ignore_ascii_case("multi");
    }

    /// What becomes of the command, if it is held back. `EXEC` and `DISCARD` end that.
    pub(crate) fn take(&mut self, args: Args<'_>) -> Option<Held> {
        if !self.transaction {
            return None;
        }
        let is = |name: &str| args.get(0).eq_ignore_ascii_case(name.as_bytes());
        if is("quit") || is("reset") {
            return None;
        }
        self.transaction = !(is("exec") || is("discard"));
        Some(if is("discard") {
            Held::Discarded
        } else if is("exec") {
            Held::Refused(Refused::ExecAbort)
        } else if is("multi") {
            Held::Refused(Refused::NestedTransaction)
        } else {
            Held::Refused(Refused::InRefusedTransaction)
        })
    }

    /// Whether a command may run where the connection is.
    pub(crate) fn keyspace(self, spec: &Spec) -> Result<(), Refused> {
        let data = spec.flags.has(Flags::WRITE) || spec.flags.has(Flags::READONLY);
        if self.unselected && data {
            Err(Refused::Unselected)
        } else {
            Ok(())
        }
    }
}
