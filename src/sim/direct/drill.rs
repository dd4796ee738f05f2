//! What a drill is, and how one ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::sim::panics;

/// Why a drill failed.
pub(super) type Verdict = Result<(), String>;

/// Drills, each with its planted bug and the name of its check.
pub(super) type Drills = &'static [(&'static str, &'static str, fn() -> Verdict)];

/// A drill and the name of what it checks.
pub(in crate::sim) struct Drill {
    pub(in crate::sim) check: &'static str,
    pub(super) run: fn() -> Verdict,
}

impl Drill {
    /// Whether the drill fails. A panic is a failure.
    pub(in crate::sim) fn fails(&self) -> bool {
        let failed = !matches!(catch_unwind(AssertUnwindSafe(self.run)), Ok(Ok(())));
        drop(panics::taken());
        failed
    }
}

/// Fails with `otherwise` unless `so`.
pub(super) fn holds(so: bool, otherwise: impl Into<String>) -> Verdict {
    if so { Ok(()) } else { Err(otherwise.into()) }
}
