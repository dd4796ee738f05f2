//! The table of commands, from which dispatch, arity errors, `COMMAND …` and `docs/commands.md` are
//! derived.

mod entries;
#[cfg(test)]
mod page;
mod spec;

use std::sync::LazyLock;

pub(crate) use entries::{NEEDS_SERIAL, TABLE};
pub(crate) use spec::{Commands, Flags, Group, Run, RunFuture, Spec};

static COMMANDS: LazyLock<Commands> = LazyLock::new(|| Commands::new(TABLE));

/// The table as it is searched.
pub(crate) fn commands() -> &'static Commands {
    &COMMANDS
}

#[cfg(test)]
mod tests;
