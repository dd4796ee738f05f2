//! Describes one entry of the command table.

use std::fmt;
use std::pin::Pin;

use bytes::Bytes;

use crate::faces::resp::encode::Encoder;
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;
use crate::faces::resp::work::Work;

/// The rest of a command that takes several rounds.
///
/// It returns the strings that are still to be written after what has been encoded: many or long
/// strings are never encoded all at once.
pub(crate) type RunFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<Bytes>, Refused>> + Send + 'a>>;

type DataRun = fn(&Session, Args<'_>) -> Result<Work, Refused>;
type LocalRun = fn(&mut Session, Args<'_>, &mut Encoder) -> Result<(), Refused>;
type AboutRun = fn(&Commands, Args<'_>, &mut Encoder) -> Result<(), Refused>;
type AloneRun = for<'a> fn(&'a mut Session, Args<'a>, &'a mut Encoder) -> RunFuture<'a>;

/// How a command runs. A refusal means that nothing was done and nothing was written.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// Turns into requests, many of which may be under way at the same time.
    Data(DataRun),
    /// Reads or changes the connection and answers at once, after all earlier replies.
    Local(LocalRun),
    /// Answers at once from the table of commands, after all earlier replies.
    About(AboutRun),
    /// Needs several rounds; runs after all earlier replies and before any later command.
    Alone(AloneRun),
    /// Begins or ends a transaction of the connection.
    Transaction(Step),
    /// `CL spec command …`: the command after it, at another level.
    Prefix,
}

/// What a command does to the connection's transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Begins it.
    Multi,
    /// Runs what was queued.
    Exec,
    /// Drops what was queued.
    Discard,
    /// Forgets a `WATCH`.
    Unwatch,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Data(_) => "Data",
            Self::Local(_) => "Local",
            Self::About(_) => "About",
            Self::Alone(_) => "Alone",
            Self::Transaction(_) => "Transaction",
            Self::Prefix => "Prefix",
        })
    }
}

/// The flags that `COMMAND` reports, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    const NAMES: [(Self, &'static str); 7] = [
        (Self::WRITE, "write"),
        (Self::READONLY, "readonly"),
        (Self::ADMIN, "admin"),
        (Self::LOADING, "loading"),
        (Self::NO_AUTH, "no_auth"),
        (Self::FAST, "fast"),
        (Self::BLOCKING, "blocking"),
    ];
    /// No flag.
    pub(crate) const NONE: Self = Self(0);
    /// Changes data.
    pub(crate) const WRITE: Self = Self(1);
    /// Reads data.
    pub(crate) const READONLY: Self = Self(2);
    /// Is meant for operators.
    pub(crate) const ADMIN: Self = Self(4);
    /// Answers while the node is loading.
    pub(crate) const LOADING: Self = Self(8);
    /// Answers before `AUTH`.
    pub(crate) const NO_AUTH: Self = Self(16);
    /// Costs the same whatever the size of the data.
    pub(crate) const FAST: Self = Self(32);
    /// Asks one replica of each partition, whatever the connection's level. Redis has no name for
    /// this.
    pub(crate) const ONE_REPLICA: Self = Self(64);
    /// Waits because the client asks it to.
    pub(crate) const BLOCKING: Self = Self(128);
    /// Is about no keyspace: what holds in `default` holds for it. Redis has no name for this.
    pub(crate) const EVERYWHERE: Self = Self(256);

    /// Both sets of flags.
    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags that are set, by Redis's names.
    pub(crate) fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .into_iter()
            .filter(move |(flag, _)| self.has(*flag))
            .map(|(_, name)| name)
    }
}

/// The section of the table to which a command belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    Connection,
    Server,
    Generic,
    String,
    Hash,
    Set,
    Transactions,
    Coordination,
    Quorate,
}

impl Group {
    /// The name that `COMMAND DOCS` and clients use.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Generic => "generic",
            Self::String => "string",
            Self::Hash => "hash",
            Self::Set => "set",
            Self::Transactions => "transactions",
            Self::Coordination => "coordination",
            Self::Quorate => "quorate",
        }
    }
}

/// One command.
#[derive(Debug)]
pub(crate) struct Spec {
    /// Its name in lower case; for a subcommand, only its own word.
    pub name: &'static str,
    /// The number of arguments including the name; if negative, the minimum. This is Redis's
    /// convention.
    pub arity: i8,
    pub flags: Flags,
    /// The first and last argument that is a key, and the step between keys. 0 means none; a
    /// negative last one counts from the end.
    pub keys: (i8, i8, i8),
    /// The arguments, in the form for people.
    pub syntax: &'static str,
    /// A summary. It says where the meaning differs from Redis's.
    pub summary: &'static str,
    /// The version of Quorate that introduced it.
    pub since: &'static str,
    pub run: Run,
    /// Its subcommands.
    pub subcommands: &'static [Spec],
}

impl Spec {
    const fn new(
        name: &'static str,
        arity: i8,
        syntax: &'static str,
        summary: &'static str,
        run: Run,
    ) -> Self {
        Self {
            name,
            arity,
            flags: Flags::NONE,
            keys: (0, 0, 0),
            syntax,
            summary,
            since: "0.1.0",
            run,
            subcommands: &[],
        }
    }

    /// A command that reads the key in its first argument.
    pub(super) const fn read(
        name: &'static str,
        arity: i8,
        syntax: &'static str,
        summary: &'static str,
        run: DataRun,
    ) -> Self {
        Self::new(name, arity, syntax, summary, Run::Data(run))
            .flags(Flags::READONLY.and(Flags::FAST))
            .keys(1, 1, 1)
    }

    /// A command that changes the key in its first argument.
    pub(super) const fn write(
        name: &'static str,
        arity: i8,
        syntax: &'static str,
        summary: &'static str,
        run: DataRun,
    ) -> Self {
        Self::new(name, arity, syntax, summary, Run::Data(run))
            .flags(Flags::WRITE.and(Flags::FAST))
            .keys(1, 1, 1)
    }

    /// A command about the connection or the node, not the data.
    pub(super) const fn local(
        name: &'static str,
        arity: i8,
        syntax: &'static str,
        summary: &'static str,
        run: LocalRun,
    ) -> Self {
        Self::new(name, arity, syntax, summary, Run::Local(run)).flags(Flags::LOADING)
    }

    /// A command about commands.
    pub(super) const fn about(
        name: &'static str,
        arity: i8,
        syntax: &'static str,
        summary: &'static str,
        run: AboutRun,
    ) -> Self {
        Self::new(name, arity, syntax, summary, Run::About(run)).flags(Flags::LOADING)
    }

    /// A command that takes several rounds.
    pub(super) const fn alone(
        name: &'static str,
        arity: i8,
        syntax: &'static str,
        summary: &'static str,
        run: AloneRun,
    ) -> Self {
        Self::new(name, arity, syntax, summary, Run::Alone(run))
    }

    /// A command about the connection's transaction.
    pub(super) const fn step(
        name: &'static str,
        arity: i8,
        syntax: &'static str,
        summary: &'static str,
        step: Step,
    ) -> Self {
        Self::new(name, arity, syntax, summary, Run::Transaction(step))
            .flags(Flags::LOADING.and(Flags::FAST))
    }

    /// A prefix of another command.
    pub(super) const fn prefix(
        name: &'static str,
        arity: i8,
        syntax: &'static str,
        summary: &'static str,
    ) -> Self {
        Self::new(name, arity, syntax, summary, Run::Prefix)
    }

    pub(super) const fn flags(mut self, flags: Flags) -> Self {
        self.flags = flags;
        self
    }

    pub(super) const fn keys(mut self, first: i8, last: i8, step: i8) -> Self {
        self.keys = (first, last, step);
        self
    }

    pub(super) const fn subcommands(mut self, subcommands: &'static [Self]) -> Self {
        self.subcommands = subcommands;
        self
    }

    /// Whether a command of `length` words has the right number of them.
    pub(crate) fn takes(&self, length: usize) -> bool {
        let arity = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 {
            length >= arity
        } else {
            length == arity
        }
    }

    /// Whether `REQ` may precede it: whether it changes keys, so that replicas can remember it by
    /// name and do it once.
    pub(crate) fn takes_name(&self) -> bool {
        matches!(self.run, Run::Data(_)) && self.flags.has(Flags::WRITE)
    }

    /// Whether the slow log may show it: not a password, and not what the client waits for on
    /// purpose.
    pub(crate) fn is_logged(&self) -> bool {
        !self.flags.has(Flags::NO_AUTH) && !self.flags.has(Flags::BLOCKING)
    }

    /// Whether it reads or changes data.
    pub(crate) fn is_on_data(&self) -> bool {
        let keys = self.flags.has(Flags::WRITE) || self.flags.has(Flags::READONLY);
        keys && !self.flags.has(Flags::EVERYWHERE)
    }

    /// The positions of the keys in a command of `length` words.
    pub(crate) fn key_positions(&self, length: usize) -> impl Iterator<Item = usize> {
        let (first, last, step) = self.keys;
        let end = if last < 0 {
            length.saturating_sub(usize::from(last.unsigned_abs()))
        } else {
            usize::from(last.unsigned_abs())
        };
        let first = usize::from(first.unsigned_abs());
        (first..=end)
            .step_by(usize::from(step.unsigned_abs()).max(1))
            .filter(move |at| *at > 0 && *at < length)
    }
}

/// The longest name of a command.
pub(super) const NAME_BYTES_MAX: usize = 24;

/// All commands, in the order of the table and by name.
pub(crate) struct Commands {
    groups: &'static [(Group, &'static [Spec])],
    /// By name, for binary search, each with its number. Its subcommands have the numbers after it.
    index: Vec<(usize, &'static Spec)>,
}

impl Commands {
    pub(super) fn new(groups: &'static [(Group, &'static [Spec])]) -> Self {
        let mut number = 0;
        let numbered = |spec: &'static Spec| {
            let entry = (number, spec);
            number += 1 + spec.subcommands.len();
            entry
        };
        let mut index: Vec<_> = groups
            .iter()
            .flat_map(|(_, specs)| specs.iter())
            .map(numbered)
            .collect();
        index.sort_unstable_by_key(|(_, spec)| spec.name);
        Self { groups, index }
    }

    /// Finds a command by name, ignoring case.
    pub(crate) fn find(&self, name: &[u8]) -> Option<&'static Spec> {
        self.entry(name).map(|(_, spec)| spec)
    }

    /// Finds the command of these words, or its subcommand, and its number.
    pub(crate) fn resolve(&self, args: Args<'_>) -> Option<(usize, &'static Spec)> {
        let (number, spec) = self.entry(args.get(0))?;
        let sub = args.iter(1).next().and_then(|word| {
            let mut names = spec.subcommands.iter().map(|sub| sub.name.as_bytes());
            names.position(|name| name.eq_ignore_ascii_case(word))
        });
        Some(match sub {
            Some(at) => (number + 1 + at, &spec.subcommands[at]),
            None => (number, spec),
        })
    }

    /// The full names of all commands and subcommands, by number.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.all().flat_map(|(_, spec)| {
            let subs = spec.subcommands.iter();
            let subs = subs.map(|sub| format!("{}|{}", spec.name, sub.name));
            std::iter::once(spec.name.to_owned()).chain(subs)
        })
    }

    fn entry(&self, name: &[u8]) -> Option<(usize, &'static Spec)> {
        let mut buffer = [0u8; NAME_BYTES_MAX];
        let lower = buffer.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        let at = self
            .index
            .binary_search_by_key(&&*lower, |(_, spec)| spec.name.as_bytes())
            .ok()?;
        Some(self.index[at])
    }

    /// All commands with their groups, in the order of the table.
    pub(crate) fn all(&self) -> impl Iterator<Item = (Group, &'static Spec)> {
        self.groups
            .iter()
            .flat_map(|(group, specs)| specs.iter().map(|spec| (*group, spec)))
    }
}
