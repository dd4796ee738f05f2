//! The `COMMAND …` commands: the table, as client libraries read it.

use super::{is, text};
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::glob::Glob;
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::table::{Commands, Group, Spec};

type Done = Result<(), Refused>;

/// The most names that one `COMMAND` may ask about, and the most patterns of one `CONFIG GET`: each
/// is answered at once and in full. Guess.
const NAMES_MAX: usize = 256;

pub(super) fn few(args: Args<'_>) -> Done {
    if args.len() > NAMES_MAX + 2 {
        Err(Refused::TooManyNames { max: NAMES_MAX })
    } else {
        Ok(())
    }
}

/// A command that exists only through its subcommands; runs if the next word is none of them.
pub(crate) fn container(_: &Commands, args: Args<'_>, _: &mut Encoder) -> Done {
    Err(Refused::UnknownSubcommand {
        command: text(args.get(0)).to_uppercase(),
        name: text(args.get(1)),
    })
}

/// Lists the subcommands, one per line: `CLIENT HELP` and its like.
pub(crate) fn help(commands: &Commands, args: Args<'_>, to: &mut Encoder) -> Done {
    let spec = commands.find(args.get(0)).ok_or(Refused::NoSuchCommand)?;
    to.array(spec.subcommands.len());
    for sub in spec.subcommands {
        let words = format!("{} {}", spec.name, sub.name).to_uppercase();
        let gap = if sub.syntax.is_empty() { "" } else { " " };
        to.simple(&format!("{words}{gap}{}: {}", sub.syntax, sub.summary));
    }
    Ok(())
}

/// `COMMAND` alone; with a word that is no subcommand it is refused.
pub(crate) fn all(commands: &Commands, args: Args<'_>, to: &mut Encoder) -> Done {
    if args.len() > 1 {
        return container(commands, args, to);
    }
    to.array(commands.all().count());
    commands
        .all()
        .for_each(|(group, spec)| describe(group, "", spec, to));
    Ok(())
}

pub(crate) fn count(commands: &Commands, _: Args<'_>, to: &mut Encoder) -> Done {
    to.count(commands.all().count() as u64);
    Ok(())
}

/// Which commands `COMMAND LIST` names.
enum Filter<'a> {
    All,
    None,
    Category(&'a [u8]),
    Pattern(Glob),
}

impl<'a> Filter<'a> {
    /// Reads `[FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`.
    fn read(args: Args<'a>) -> Result<Self, Refused> {
        if args.len() == 2 {
            return Ok(Self::All);
        }
        if args.len() != 5 || !is(args.get(2), "FILTERBY") {
            return Err(Refused::Syntax);
        }
        let value = args.get(4);
        match args.get(3) {
            by if is(by, "MODULE") => Ok(Self::None),
            by if is(by, "ACLCAT") => Ok(Self::Category(value)),
            by if is(by, "PATTERN") => Ok(Self::Pattern(Glob::new(&value.to_ascii_lowercase())?)),
            _ => Err(Refused::Syntax),
        }
    }

    fn takes(&self, group: Group, spec: &Spec) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::Category(name) => is(name, group.name()),
            Self::Pattern(pattern) => pattern.matches(spec.name.as_bytes()),
        }
    }
}

pub(crate) fn list(commands: &Commands, args: Args<'_>, to: &mut Encoder) -> Done {
    let filter = Filter::read(args)?;
    let all = commands.all();
    let chosen: Vec<_> = all
        .filter(|(group, spec)| filter.takes(*group, spec))
        .collect();
    to.array(chosen.len());
    for (_, spec) in chosen {
        to.bulk(spec.name.as_bytes());
    }
    Ok(())
}

pub(crate) fn info(commands: &Commands, args: Args<'_>, to: &mut Encoder) -> Done {
    few(args)?;
    if args.len() == 2 {
        to.array(commands.all().count());
        commands
            .all()
            .for_each(|(group, spec)| describe(group, "", spec, to));
        return Ok(());
    }
    to.array(args.len() - 2);
    for name in args.iter(2) {
        match named(commands, name) {
            Some((group, spec)) => describe(group, "", spec, to),
            None => to.null(),
        }
    }
    Ok(())
}

pub(crate) fn docs(commands: &Commands, args: Args<'_>, to: &mut Encoder) -> Done {
    few(args)?;
    let chosen: Vec<_> = if args.len() == 2 {
        commands.all().collect()
    } else {
        args.iter(2)
            .filter_map(|name| named(commands, name))
            .collect()
    };
    to.map(chosen.len());
    for (group, spec) in chosen {
        to.bulk(spec.name.as_bytes());
        document(group, spec, to);
    }
    Ok(())
}

pub(crate) fn getkeys(commands: &Commands, args: Args<'_>, to: &mut Encoder) -> Done {
    let inner = args.skip(2);
    let spec = commands.find(inner.get(0)).ok_or(Refused::NoSuchCommand)?;
    if !spec.takes(inner.len()) {
        return Err(Refused::Arity {
            name: spec.name.to_owned(),
        });
    }
    let positions: Vec<usize> = spec.key_positions(inner.len()).collect();
    if positions.is_empty() {
        return Err(Refused::NoKeys);
    }
    to.array(positions.len());
    for at in positions {
        to.bulk(inner.get(at));
    }
    Ok(())
}

fn named(commands: &Commands, name: &[u8]) -> Option<(Group, &'static Spec)> {
    let spec = commands.find(name)?;
    commands.all().find(|(_, entry)| std::ptr::eq(*entry, spec))
}

/// `client|setname` for a subcommand.
fn full_name(container: &str, spec: &Spec) -> String {
    if container.is_empty() {
        spec.name.to_owned()
    } else {
        format!("{container}|{}", spec.name)
    }
}

/// The ten elements of `COMMAND INFO`: name, arity, flags, first key, last key, step, categories,
/// tips, key specifications, subcommands.
fn describe(group: Group, container: &str, spec: &Spec, to: &mut Encoder) {
    to.array(10);
    to.bulk(full_name(container, spec).as_bytes());
    to.integer(i64::from(spec.arity));
    to.set(spec.flags.names().count());
    spec.flags.names().for_each(|flag| to.simple(flag));
    let (first, last, step) = spec.keys;
    for number in [first, last, step] {
        to.integer(i64::from(number));
    }
    to.set(1);
    to.simple(&format!("@{}", group.name()));
    to.array(0);
    to.array(0);
    to.array(spec.subcommands.len());
    spec.subcommands
        .iter()
        .for_each(|sub| describe(group, spec.name, sub, to));
}

/// One value of `COMMAND DOCS`.
fn document(group: Group, spec: &Spec, to: &mut Encoder) {
    to.map(if spec.subcommands.is_empty() { 3 } else { 4 });
    let summary = if spec.syntax.is_empty() {
        spec.summary.to_owned()
    } else {
        format!("{} {}", spec.syntax, spec.summary)
    };
    for (name, value) in [
        ("summary", summary.as_str()),
        ("since", spec.since),
        ("group", group.name()),
    ] {
        to.bulk(name.as_bytes());
        to.bulk(value.as_bytes());
    }
    if spec.subcommands.is_empty() {
        return;
    }
    to.bulk(b"subcommands");
    to.map(spec.subcommands.len());
    for sub in spec.subcommands {
        to.bulk(full_name(spec.name, sub).as_bytes());
        document(group, sub, to);
    }
}
