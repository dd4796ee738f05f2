//! What a connection has queued between `MULTI` and `EXEC`, and what becomes of each command
//! meanwhile.
//!
//! Clients send first and read later. A client whose `MULTI` was refused has already sent the
//! commands after it, and one whose `WATCH` was refused often never looks. So a refusal holds until
//! `EXEC`: whoever is told that a transaction failed can rely on it that nothing of it was applied.

use std::mem;

use super::parse::{Args, Command, REQUEST_BYTES_MAX};
use super::refuse::Refused;
use super::table::{Flags, Run, Spec, Step};

/// The transaction of one connection.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    state: State,
    /// A `WATCH` was refused, and no `EXEC`, `DISCARD` or `UNWATCH` has come since.
    unwatched: bool,
}

#[derive(Debug, Default)]
enum State {
    /// Commands run as they come.
    #[default]
    Closed,
    /// Commands are queued.
    Open(Queue),
    /// A command was refused since `MULTI`: `EXEC` will run nothing.
    Spoilt,
    /// `MULTI` itself was refused.
    Refused,
}

/// The commands since `MULTI`.
#[derive(Debug, Default)]
struct Queue {
    commands: Vec<Command>,
    bytes: usize,
}

/// What becomes of a command.
#[derive(Debug)]
pub(crate) enum Next {
    /// It runs.
    Run,
    /// It was queued.
    Queued,
    /// It is done: nothing is left to run.
    Done,
    /// It was refused.
    Refused(Refused),
    /// These run now, in this order.
    Exec(Vec<Command>),
}

impl Transaction {
    /// What becomes of `command`, for which the table has an entry or a refusal.
    pub(crate) fn next(
        &mut self,
        command: &Command,
        found: Result<&'static Spec, Refused>,
    ) -> Next {
        match found {
            Ok(spec) => self.admitted(command, spec),
            Err(refused) => Next::Refused(self.refused(unprefixed(command.args(0)), refused)),
        }
    }

    fn admitted(&mut self, command: &Command, spec: &'static Spec) -> Next {
        let closed = matches!(self.state, State::Closed);
        match spec.run {
            Run::Transaction(Step::Multi) if closed => {
                self.state = State::Open(Queue::default());
                Next::Done
            }
            Run::Transaction(Step::Multi) => Next::Refused(Refused::NestedTransaction),
            Run::Transaction(Step::Exec | Step::Discard) if closed => {
                Next::Refused(Refused::WithoutMulti { name: spec.name })
            }
            Run::Transaction(Step::Exec) => self.exec(),
            Run::Transaction(Step::Discard) => {
                *self = Self::default();
                Next::Done
            }
            Run::Transaction(Step::Unwatch) if closed => {
                self.unwatched = false;
                Next::Done
            }
            _ if spec.name == "reset" => {
                *self = Self::default();
                Next::Run
            }
            _ if closed || spec.name == "quit" => Next::Run,
            _ => self.hold(command, spec),
        }
    }

    /// What becomes of a command between `MULTI` and `EXEC`.
    fn hold(&mut self, command: &Command, spec: &'static Spec) -> Next {
        match &mut self.state {
            State::Open(queue) => match queue.push(command) {
                Ok(()) => Next::Queued,
                Err(refused) => {
                    self.state = State::Spoilt;
                    Next::Refused(refused)
                }
            },
            State::Spoilt => Next::Queued,
            // A client that was refused because it had not authenticated may do so.
            State::Refused if spec.flags.has(Flags::NO_AUTH) => Next::Run,
            State::Refused | State::Closed => Next::Refused(Refused::InRefusedTransaction),
        }
    }

    fn exec(&mut self) -> Next {
        let Self { state, unwatched } = mem::take(self);
        match state {
            State::Open(queue) if !unwatched => Next::Exec(queue.commands),
            State::Spoilt => Next::Refused(Refused::ExecAbort),
            State::Refused => Next::Refused(Refused::ExecAbortBy { name: "MULTI" }),
            _ => Next::Refused(Refused::ExecAbortBy { name: "WATCH" }),
        }
    }

    /// Notes that the command of this name was refused, and returns what the client is told.
    fn refused(&mut self, name: &[u8], refused: Refused) -> Refused {
        let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
        let closed = matches!(self.state, State::Closed);
        if closed && is(b"multi") {
            self.state = State::Refused;
        } else if closed {
            self.unwatched |= is(b"watch");
        } else if is(b"exec") {
            *self = Self::default();
            return Refused::ExecAbortOver {
                refused: refused.to_string(),
            };
        } else if matches!(self.state, State::Open(_)) && !is(b"multi") {
            self.state = State::Spoilt;
        }
        refused
    }
}

impl Queue {
    /// What a queued command takes beside its own bytes. Guess.
    const COMMAND: usize = 128;

    /// Adds a command, unless all of them together would be longer than one may be.
    fn push(&mut self, command: &Command) -> Result<(), Refused> {
        let bytes = self.bytes + command.bytes() + Self::COMMAND;
        if bytes > REQUEST_BYTES_MAX {
            return Err(Refused::TransactionTooLong {
                max: REQUEST_BYTES_MAX,
            });
        }
        self.bytes = bytes;
        self.commands.push(command.kept());
        Ok(())
    }
}

/// The name of the command after its prefixes.
fn unprefixed(args: Args<'_>) -> &[u8] {
    let prefixes = |args: Args<'_>| {
        let name = args.get(0);
        args.len() > 2 && (name.eq_ignore_ascii_case(b"cl") || name.eq_ignore_ascii_case(b"req"))
    };
    let mut rest = args;
    while prefixes(rest) {
        rest = rest.skip(2);
    }
    rest.get(0)
}
