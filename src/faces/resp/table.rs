//! The table of commands, from which dispatch, arity errors, `COMMAND …` and `docs/commands.md` are
//! derived.

mod coordination;
mod entries;
mod node;
#[cfg(test)]
mod page;
mod refused;
mod spec;

use std::sync::LazyLock;

pub(crate) use entries::TABLE;
pub(crate) use refused::{NEEDS_SERIAL, NOT_OFFERED};
pub(crate) use spec::{Commands, Flags, Group, Run, RunFuture, Spec, Step};

static COMMANDS: LazyLock<Commands> = LazyLock::new(|| Commands::new(TABLE));

/// The table as it is searched.
pub(crate) fn commands() -> &'static Commands {
    &COMMANDS
}

#[cfg(test)]
mod tests;
