//! Serves one connection: turns bytes into commands, commands into requests and answers into bytes,
//! all in order.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{Op, Request, RequestError};
use quorate_dynamo::protocol::RequestId;
use smallvec::SmallVec;
use tokio::io::AsyncWriteExt;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

use super::held::Held;
use super::output::Output;
use super::parse::{Args, Command, Parser};
use super::permit::permit;
use super::refuse::Refused;
use super::server::{Counters, Server};
use super::session::{Asked, Level, Session, Wanted, observes, writes};
use super::table::{self, Flags, NEEDS_SERIAL, Run, Spec};
use super::work::{Outcome, Outcomes, Shape, Work, answer};
use crate::doors::{Pending, Room};
use crate::tls::Stream;

/// The room for one read.
const READ_BYTES: usize = 16 * 1024;
/// How long a client that broke the protocol may continue to send before it is cut off. Guess: 16
/// MiB on a slow link.
const FAREWELL: Duration = Duration::from_secs(5);
/// How many bytes of an unknown command's arguments are repeated to the client. Redis: 128.
const ECHO_BYTES: usize = 128;

/// A command whose requests are under way.
#[derive(Debug)]
struct InFlight {
    shape: Shape,
    writes: bool,
    answers: SmallVec<[UnderWay; 1]>,
}

/// A request that is under way.
#[derive(Debug)]
struct UnderWay {
    answer: Pending<Outcome>,
    /// A copy, if it is a read, for the case that its answer finds no room.
    again: Option<Request>,
}

/// The most requests of one connection under way together: one more after every short answer, and
/// no more than fit after a long one. An answer waits in memory until those before it are written,
/// and nobody knows its length before it is there: if long answers follow short ones, they may not
/// all fit. Then [`Room`] refuses some, and they are asked for again one by one.
#[derive(Debug)]
struct Window(usize);

impl Window {
    const START: usize = 64;
    const MAX: usize = 1024;
    /// The most bytes that the answers of a whole window may take.
    const BYTES: usize = Room::BYTES;

    fn saw(&mut self, bytes: usize) {
        let fitting = Self::BYTES / bytes.max(1);
        self.0 = (self.0 + 1).min(fitting).clamp(1, Self::MAX);
    }
}

/// The work done for a connection since others had their turn, in steps of about a nanosecond. The
/// faces share their thread with the network: a client that sends a lot at once must not hold up
/// everybody.
#[derive(Debug, Default)]
struct Turn(usize);

impl Turn {
    /// The length of a turn; about a quarter of a millisecond. Guess.
    const STEPS: usize = 256 * 1024;
    /// The least cost of a command.
    const COMMAND: usize = 1024;
    /// The most that a byte of a command can cost: a pattern is compiled for each byte that a text
    /// may have at that place.
    const INPUT: usize = 64;
    /// The cost of a byte of a reply.
    const OUTPUT: usize = 4;

    /// Whether the turn is over after a command of `input` bytes whose reply has `output` bytes. If
    /// so, the next turn begins.
    fn is_over(&mut self, input: usize, output: usize) -> bool {
        self.0 += Self::COMMAND + Self::INPUT * input + Self::OUTPUT * output;
        let over = self.0 >= Self::STEPS;
        self.0 = if over { 0 } else { self.0 };
        over
    }
}

/// One client.
#[derive(Debug)]
pub(crate) struct Connection {
    session: Session,
    parser: Parser,
    input: BytesMut,
    output: Output,
    in_flight: VecDeque<InFlight>,
    /// The requests of all commands in `in_flight`.
    requests: usize,
    window: Window,
    /// The room for the answers that are under way.
    room: Arc<Room>,
    turn: Turn,
    /// When a client that has not authenticated is disconnected.
    strangers_until: Instant,
    /// The client broke the protocol.
    broken: bool,
}

impl Connection {
    /// A connection that has been accepted and registered.
    pub(crate) fn new(stream: Stream, session: Session) -> Self {
        let config = &session.server.config;
        Self {
            parser: Parser::default(),
            input: BytesMut::new(),
            output: Output::new(stream, config.write_stall),
            in_flight: VecDeque::new(),
            requests: 0,
            window: Window(Window::START),
            room: Room::new(&session.server.answers),
            turn: Turn::default(),
            strangers_until: Instant::now() + config.greeting,
            broken: false,
            session,
        }
    }

    /// Serves until the client leaves, breaks the protocol or does not read, or until the server
    /// stops. Everything that was submitted is answered first.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        loop {
            self.serve_buffered().await?;
            self.settle().await?;
            self.output.write().await?;
            if self.session.closing {
                return self.close().await;
            }
            if !self.read().await? {
                return Ok(());
            }
        }
    }

    /// Ends the connection. If the client is still sending, its bytes are read and dropped for a
    /// while: closing at once would discard the error that tells it why.
    async fn close(&mut self) -> io::Result<()> {
        let stream = &mut self.output.stream;
        stream.shutdown().await?;
        if self.broken {
            let rest = async { tokio::io::copy(stream, &mut tokio::io::sink()).await };
            // Whether the client reads it is up to the client.
            drop(timeout(FAREWELL, rest).await);
        }
        Ok(())
    }

    /// Waits for bytes; false if there will be none. An idle connection holds no buffer, and one
    /// that has not authenticated holds its place only for a while.
    async fn read(&mut self) -> io::Result<bool> {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        let known = self.session.authenticated();
        tokio::select! {
            read = self.output.stream.read_some(&mut self.input, READ_BYTES) => {
                return Ok(read? > 0);
            }
            _ = self.session.stop.wait_for(|stop| *stop) => return Ok(false),
            () = sleep_until(self.strangers_until), if !known => {}
        }
        self.output.encoder.error(&Refused::Stranger.to_string());
        self.output.write().await?;
        Ok(false)
    }

    /// Runs every complete command in the input buffer.
    async fn serve_buffered(&mut self) -> io::Result<()> {
        while !self.session.closing {
            self.parser.trust(self.session.authenticated());
            match self.parser.next(&mut self.input) {
                Ok(Some(command)) => {
                    let before = self.output.encoder.out.len();
                    self.serve(&command).await?;
                    let grown = self.output.encoder.out.len().saturating_sub(before);
                    // Before the next command gets its reply, so that replies to a slow reader do
                    // not pile up.
                    self.output.write_if_full().await?;
                    if self.turn.is_over(command.bytes(), grown) {
                        yield_now().await;
                    }
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    self.settle().await?;
                    self.output
                        .encoder
                        .error(&format!("ERR Protocol error: {error}"));
                    self.session.closing = true;
                    self.broken = true;
                }
            }
        }
        Ok(())
    }

    /// Runs one command; its reply may still be under way afterwards.
    async fn serve(&mut self, command: &Command) -> io::Result<()> {
        Counters::add(&self.session.server.counters.commands, 1);
        let admitted = match self.session.held.take(command.args(0)) {
            Some(Held::Discarded) => {
                self.settle().await?;
                self.output.encoder.ok();
                return Ok(());
            }
            Some(Held::Refused(refused)) => Err(refused),
            None => admit(&mut self.session, command.args(0)),
        };
        let served = match admitted {
            Ok(admitted) => self.execute(admitted).await?,
            Err(refused) => Err(refused),
        };
        if let Err(refused) = served {
            self.settle().await?;
            self.output.encoder.error(&refused.to_string());
        }
        Ok(())
    }

    async fn execute(&mut self, admitted: Admitted<'_>) -> io::Result<Result<(), Refused>> {
        let Admitted {
            spec,
            args,
            level,
            named,
        } = admitted;
        // `AUTH` sets levels that stay.
        let before = level.map(|_| (self.session.read, self.session.write));
        if let Some(level) = level {
            (self.session.read, self.session.write) = level;
        }
        self.session.named = named;
        let result = match spec.run {
            Run::Data(run) => match run(&self.session, args) {
                Ok(work) => self.submit(work).await.map(Ok),
                Err(refused) => Ok(Err(refused)),
            },
            Run::Alone(run) => {
                self.settle().await?;
                match run(&mut self.session, args, &mut self.output.encoder).await {
                    Ok(strings) => self.output.bulks(strings).await.map(Ok),
                    Err(refused) => Ok(Err(refused)),
                }
            }
            Run::Local(run) => {
                self.settle().await?;
                self.session.named = None;
                let known = self.session.authenticated();
                let result = run(&mut self.session, args, &mut self.output.encoder);
                // `RESET` restarts the time to authenticate, but not for a client that never did: a
                // stranger could keep its place by resetting.
                if known && !self.session.authenticated() {
                    self.strangers_until = Instant::now() + self.session.server.config.greeting;
                }
                return Ok(result);
            }
            Run::About(run) => {
                self.settle().await?;
                self.session.named = None;
                return Ok(run(table::commands(), args, &mut self.output.encoder));
            }
            Run::Prefix => Ok(Err(Refused::Prefix {
                prefix: "CL",
                name: spec.name,
            })),
        };
        if let Some(before) = before {
            (self.session.read, self.session.write) = before;
        }
        self.session.named = None;
        result
    }

    /// Submits the requests of one command. A command that takes two rounds could be overtaken by
    /// the next, so it is answered first.
    async fn submit(&mut self, work: Work) -> io::Result<()> {
        let (writes, alone) = (work.ops.iter().any(writes), work.ops.iter().any(observes));
        // A named change takes two rounds too.
        let alone = alone || (writes && self.session.named.is_some());
        let Work { ops, shape } = work;
        if ops.len() > self.window.0 {
            return self.submit_in_windows(ops.into_vec(), shape, writes).await;
        }
        if self.requests + ops.len() > self.window.0 {
            self.settle().await?;
        }
        self.requests += ops.len();
        let answers = ops.into_iter().enumerate();
        let answers = answers.map(|(part, op)| self.under_way(op, part)).collect();
        self.in_flight.push_back(InFlight {
            shape,
            writes,
            answers,
        });
        if alone { self.settle().await } else { Ok(()) }
    }

    /// Runs a command with more keys than may be under way together. If its reply is already too
    /// long, it asks for no more.
    async fn submit_in_windows(
        &mut self,
        ops: Vec<Op>,
        shape: Shape,
        writes: bool,
    ) -> io::Result<()> {
        self.settle().await?;
        let mut outcomes = Outcomes::with_capacity(ops.len());
        let mut ops = ops.into_iter().enumerate().peekable();
        while ops.peek().is_some() && !outcomes.too_much() {
            let window = ops.by_ref().take(self.window.0);
            let pending: Vec<_> = window.map(|(part, op)| self.under_way(op, part)).collect();
            self.gather(pending, &mut outcomes).await;
        }
        answer(
            shape,
            writes,
            outcomes,
            &*self.session.server.data,
            &mut self.output,
        )
        .await?;
        self.room.clear();
        Ok(())
    }

    /// Submits one request of a command.
    fn under_way(&self, op: Op, part: usize) -> UnderWay {
        let again = !writes(&op);
        let request = self.session.request(op, part);
        let again = again.then(|| request.clone());
        let answer = self.session.server.data.submit_into(request, &self.room);
        UnderWay { answer, again }
    }

    /// Waits for everything under way and answers it in order.
    async fn settle(&mut self) -> io::Result<()> {
        while let Some(InFlight {
            shape,
            writes,
            answers,
        }) = self.in_flight.pop_front()
        {
            self.requests -= answers.len();
            let mut outcomes = Outcomes::with_capacity(answers.len());
            self.gather(answers, &mut outcomes).await;
            answer(
                shape,
                writes,
                outcomes,
                &*self.session.server.data,
                &mut self.output,
            )
            .await?;
            self.output.write_if_full().await?;
            self.room.clear();
        }
        Ok(())
    }

    /// Waits for these answers. Everything before them is written, so a read whose answer found no
    /// room is asked for again, unless a later change is under way, which it must not see.
    async fn gather(
        &mut self,
        answers: impl IntoIterator<Item = UnderWay>,
        outcomes: &mut Outcomes,
    ) {
        for UnderWay { answer, again } in answers {
            let mut outcome = outcome(&mut self.session, answer).await;
            if outcome == Err(RequestError::Overloaded)
                && self.room.was_refused()
                && !self.in_flight.iter().any(|later| later.writes)
                && let Some(again) = again
            {
                let answer = self.session.server.data.submit(again);
                outcome = answer.await.unwrap_or(Err(RequestError::Stopping));
                self.room.add(weight(&outcome));
            }
            let bytes = weight(&outcome);
            self.room.take(bytes);
            self.window.saw(bytes);
            outcomes.push(outcome);
            if self.room.all_is_taken(0) {
                outcomes.bound(Room::BYTES);
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.session.server.clients.leave(self.session.id);
    }
}

/// The bytes that an answer takes while it waits.
fn weight(outcome: &Outcome) -> usize {
    outcome.as_ref().map_or(0, |answer| answer.reply.weight())
}

/// Waits for the answer of one request. A node that is stopping drops it.
async fn outcome(session: &mut Session, answer: Pending<Outcome>) -> Outcome {
    let outcome = answer.await.unwrap_or(Err(RequestError::Stopping));
    if let Ok(answer) = &outcome {
        session.remember(answer);
    }
    outcome
}

/// A command that may run.
struct Admitted<'a> {
    spec: &'static Spec,
    args: Args<'a>,
    /// The levels of a `CL` prefix, for this command only.
    level: Option<(Level, Level)>,
    /// The name of a `REQ` prefix, for this command only.
    named: Option<RequestId>,
}

/// Finds the command and makes the checks that are the same for all: name, number of arguments,
/// authentication, readiness.
fn admit<'a>(session: &mut Session, args: Args<'a>) -> Result<Admitted<'a>, Refused> {
    let mut admitted = Admitted {
        spec: find(session, args)?,
        args,
        level: None,
        named: None,
    };
    if !session.authenticated() && !admitted.spec.flags.has(Flags::NO_AUTH) {
        return Err(Refused::NoAuth);
    }
    let mut asked = None;
    while matches!(admitted.spec.run, Run::Prefix) {
        let word = admitted.args.get(1);
        let (prefix, again) = if admitted.spec.name == "cl" {
            let level = Asked::parse(word)?;
            asked = if let Wanted::Level(level) = level.consistency {
                Some(level)
            } else {
                None
            };
            (
                "CL",
                admitted
                    .level
                    .replace((level.over(session.read), level.over(session.write)))
                    .is_some(),
            )
        } else {
            let named = RequestId::new(Bytes::copy_from_slice(word)).ok_or(Refused::RequestName)?;
            ("REQ", admitted.named.replace(named).is_some())
        };
        if again {
            return Err(Refused::Prefix {
                prefix,
                name: admitted.spec.name,
            });
        }
        admitted.args = admitted.args.skip(2);
        admitted.spec = find(session, admitted.args)?;
        if matches!(admitted.spec.run, Run::Local(_) | Run::About(_))
            || admitted.spec.flags.has(Flags::NO_AUTH)
        {
            return Err(Refused::Prefix {
                prefix,
                name: admitted.spec.name,
            });
        }
    }
    let Spec { name, flags, .. } = *admitted.spec;
    if admitted.named.is_some() && !admitted.spec.takes_name() {
        return Err(Refused::Unnamed { name });
    }
    if let Some(level) = asked.filter(|level| flags.has(Flags::ONE_REPLICA) && !asks_one(*level)) {
        return Err(Refused::OneReplica { name, level });
    }
    permit(session, admitted.spec, admitted.args)?;
    ready(session, admitted.spec)?;
    Ok(admitted)
}

/// Whether a read at this level asks one replica.
fn asks_one(level: Consistency) -> bool {
    matches!(
        level,
        Consistency::One | Consistency::LocalOne | Consistency::Numeric { read: 1, .. }
    )
}

fn ready(session: &mut Session, spec: &Spec) -> Result<(), Refused> {
    let is_on_data = spec.flags.has(Flags::WRITE) || spec.flags.has(Flags::READONLY);
    session.held.keyspace(is_on_data)?;
    if spec.flags.has(Flags::LOADING) || session.ready() {
        Ok(())
    } else {
        Err(Refused::Loading)
    }
}

/// The table entry for these words, if there are as many as it takes.
fn find(session: &mut Session, args: Args<'_>) -> Result<&'static Spec, Refused> {
    let name = args.get(0);
    let Some(spec) = table::commands().find(name) else {
        return Err(unknown(session, args));
    };
    let sub = if args.len() > 1 {
        spec.subcommand(args.get(1))
    } else {
        None
    };
    let (found, full) = match sub {
        Some(sub) => (sub, format_args!("{}|{}", spec.name, sub.name).to_string()),
        None if spec.takes(args.len()) => return Ok(spec),
        None => (spec, spec.name.to_owned()),
    };
    if found.takes(args.len()) {
        Ok(found)
    } else {
        Err(Refused::Arity { name: full })
    }
}

/// The error for an unknown command. A browser that was made to post to this port is disconnected
/// at once.
fn unknown(session: &mut Session, args: Args<'_>) -> Refused {
    let name = args.get(0);
    if let Some(&(name, reason)) = NEEDS_SERIAL
        .iter()
        .find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
    {
        session.held.begin_transaction(name);
        return Refused::NeedsSerial { name, reason };
    }
    if name.eq_ignore_ascii_case(b"post") || name.eq_ignore_ascii_case(b"host:") {
        session.closing = true;
    }
    let mut shown = String::new();
    for arg in args.iter(1) {
        if shown.len() >= ECHO_BYTES {
            break;
        }
        let room = (ECHO_BYTES - shown.len()).min(arg.len());
        shown.extend(["'", &String::from_utf8_lossy(&arg[..room]), "' "]);
    }
    let name = String::from_utf8_lossy(&name[..name.len().min(ECHO_BYTES)]).into_owned();
    Refused::UnknownCommand { name, args: shown }
}

/// Registers a new connection. It leaves the list when it is dropped.
pub(crate) fn open(
    stream: Stream,
    server: &Arc<Server>,
    stop: tokio::sync::watch::Receiver<bool>,
) -> io::Result<Connection> {
    let id = server.clients.enter(stream.peer_addr()?);
    Ok(Connection::new(
        stream,
        Session::new(Arc::clone(server), id, stop),
    ))
}
