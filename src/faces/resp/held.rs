//! Keeps a connection from running commands that depend on one that was refused.
//!
//! Clients send first and read later. A client whose `MULTI` was refused has already sent the
//! commands after it, and one whose `SELECT` was refused at connect often never looks. Running what
//! follows would apply commands that the client believes refused, or put data where the client did
//! not want it.

use super::parse::Args;
use super::refuse::Refused;

/// Why a connection's commands are held back.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Holds {
    /// A `MULTI` was refused, and no `EXEC` or `DISCARD` has come since.
    transaction: bool,
    /// The last `SELECT` was refused.
    pub unselected: bool,
}

/// What happens to a command after a refusal.
pub(crate) enum Held {
    /// The transaction ends: nothing was queued, and nothing is applied.
    Discarded,
    /// The command does not run.
    Refused(Refused),
}

impl Holds {
    /// A command that is not offered was refused. If it is `MULTI`, what follows it is refused too.
    pub(crate) fn begin_transaction(&mut self, name: &str) {
        self.transaction |= name.eq_ignore_ascii_case("multi");
    }

    /// What happens to the command, if it is held back. `EXEC` and `DISCARD` end that.
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

    /// Refuses a command on data if the last `SELECT` was refused.
    pub(crate) fn keyspace(self, is_on_data: bool) -> Result<(), Refused> {
        if self.unselected && is_on_data {
            Err(Refused::Unselected)
        } else {
            Ok(())
        }
    }
}
