//! The table of commands, from which dispatch, arity errors, `COMMAND …` and `docs/commands.md` are
//! derived.

mod entries;
#[cfg(test)]
mod page;
mod spec;

use std::sync::LazyLock;

pub(crate) use entries::{NEEDS_SERIAL, TABLE};
pub(crate) use spec::{Flags, Group, Run, RunFuture, Spec};

/// The longest name of a command.
const NAME_BYTES_MAX: usize = 24;

/// The table by name, for binary search.
static INDEX: LazyLock<Vec<&'static Spec>> = LazyLock::new(|| {
    let mut index: Vec<&Spec> = TABLE.iter().flat_map(|(_, specs)| specs.iter()).collect();
    index.sort_unstable_by_key(|spec| spec.name);
    index
});

/// Finds a command by name, ignoring case.
pub(crate) fn find(name: &[u8]) -> Option<&'static Spec> {
    let mut buffer = [0u8; NAME_BYTES_MAX];
    let lower = buffer.get_mut(..name.len())?;
    lower.copy_from_slice(name);
    lower.make_ascii_lowercase();
    let at = INDEX
        .binary_search_by_key(&&*lower, |spec| spec.name.as_bytes())
        .ok()?;
    Some(INDEX[at])
}

/// All commands with their groups, in the order of the table.
pub(crate) fn all() -> impl Iterator<Item = (Group, &'static Spec)> {
    TABLE
        .iter()
        .flat_map(|(group, specs)| specs.iter().map(|spec| (*group, spec)))
}

#[cfg(test)]
mod tests;
