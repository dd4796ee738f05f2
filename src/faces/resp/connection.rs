//! One connection: bytes to commands, commands to requests, answers to bytes, all in order.

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
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

use super::held::Held;
use super::output::Output;
use super::parse::{Args, Command, Parser};
use super::refuse::Refused;
use super::server::{Counters, Server};
use super::session::{Asked, Level, Session, Wanted, observes, writes};
use super::table::{self, Flags, NEEDS_SERIAL, Run, Spec};
use super::work::{Outcome, Outcomes, Shape, Work, answer};
use crate::doors::{Pending, Room};

/// What a read has room for.
const READ_BYTES: usize = 16 * 1024;
/// How long a client that broke the protocol may go on sending before it is cut off. Guess: 16 MiB
/// on a slow link.
const FAREWELL: Duration = Duration::from_secs(5);
/// How much of the arguments of an unknown command is repeated to the client. Redis: 128.
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
    /// The same once more, if it reads: for when its answer finds no room.
    again: Option<Request>,
}

/// How many requests of one connection may be under way together: one more for every short answer,
/// and at once no more than fit after a long one. An answer waits in memory until those before it
/// are written, and nobody knows its length before it is there: after short answers long ones can
/// be more than fit. Then [`Room`] refuses some, and they are asked for again one by one.
#[derive(Debug)]
struct Window(usize);

impl Window {
    const START: usize = 64;
    const MAX: usize = 1024;
    /// What the answers of a whole window may take.
    const BYTES: usize = Room::BYTES;

    fn saw(&mut self, bytes: usize) {
        let fitting = Self::BYTES / bytes.max(1);
        self.0 = (self.0 + 1).min(fitting).clamp(1, Self::MAX);
    }
}

/// What has been done for a connection since others had their turn, in steps of about a nanosecond.
/// The faces share their thread with the network: who sends much at once must not hold up
/// everybody.
#[derive(Debug, Default)]
struct Turn(usize);

impl Turn {
    /// When it is over; about a quarter of a millisecond. Guess.
    const STEPS: usize = 256 * 1024;
    /// What a command costs at least.
    const COMMAND: usize = 1024;
    /// What a byte of a command can cost: in a pattern it is compiled for each byte that a text may
    /// have there.
    const INPUT: usize = 64;
    /// What a byte of a reply costs.
    const OUTPUT: usize = 4;

    /// Whether it is over with a command of `input` bytes whose reply has `output`; then the next
    /// begins.
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
    /// Requests of all commands in `in_flight`.
    requests: usize,
    window: Window,
    /// What the answers that are under way take.
    room: Arc<Room>,
    turn: Turn,
    /// When a client that has not authenticated is sent away.
    strangers_until: Instant,
    /// What the client sent last is no request.
    broken: bool,
}

impl Connection {
    /// A connection that has been accepted and entered.
    pub(crate) fn new(stream: TcpStream, session: Session) -> Self {
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

    /// Serves until the client goes, breaks the protocol or does not read, or the server stops;
    /// what was submitted is answered first.
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

    /// Ends the connection. A client that is still sending is listened to for a while without being
    /// heard: closing at once would take back the error that tells it why.
    async fn close(&mut self) -> io::Result<()> {
        let stream = &mut self.output.stream;
        stream.shutdown().await?;
        if self.broken {
            let rest = async { tokio::io::copy(stream, &mut tokio::io::sink()).await };
            // Whether the client heard it is its own affair.
            drop(timeout(FAREWELL, rest).await);
        }
        Ok(())
    }

    /// Waits for bytes; false when there will be none. An idle connection holds no buffer, and one
    /// that nobody has authenticated no place for long.
    async fn read(&mut self) -> io::Result<bool> {
        if self.input.is_empty() {
            self.input = BytesMut::new();
        }
        loop {
            let in_time = tokio::select! {
                ready = self.output.stream.readable() => ready.map(|()| true)?,
                _ = self.session.stop.wait_for(|stop| *stop) => return Ok(false),
                () = sleep_until(self.strangers_until), if !self.session.authenticated => false,
            };
            if !in_time {
                self.output.encoder.error(&Refused::Stranger.to_string());
                self.output.write().await?;
                return Ok(false);
            }
            self.input.reserve(READ_BYTES);
            match self.output.stream.try_read_buf(&mut self.input) {
                Ok(length) => return Ok(length > 0),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Runs every whole command in the input buffer.
    async fn serve_buffered(&mut self) -> io::Result<()> {
        while !self.session.closing {
            self.parser.trust(self.session.authenticated);
            match self.parser.next(&mut self.input) {
                Ok(Some(command)) => {
                    let before = self.output.encoder.out.len();
                    self.serve(&command).await?;
                    let grown = self.output.encoder.out.len().saturating_sub(before);
                    // Before the next command has its reply: what a reader does not take must not
                    // pile up.
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
        let before = (self.session.read, self.session.write);
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
                let known = self.session.authenticated;
                let result = run(&mut self.session, args, &mut self.output.encoder);
                // After `RESET` the client has its time again. Who never authenticated has not: a
                // stranger would keep its place by resetting.
                if known && !self.session.authenticated {
                    self.strangers_until = Instant::now() + self.session.server.config.greeting;
                }
                return Ok(result);
            }
            Run::Prefix => Ok(Err(Refused::Prefix {
                prefix: "CL",
                name: spec.name,
            })),
        };
        (self.session.read, self.session.write) = before;
        self.session.named = None;
        result
    }

    /// Submits the requests of one command. A command that takes two rounds could be overtaken by
    /// the next, so it is answered first.
    async fn submit(&mut self, work: Work) -> io::Result<()> {
        let (writes, alone) = (work.ops.iter().any(writes), work.ops.iter().any(observes));
        // A change with a name takes two rounds too.
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

    /// A command of so many keys that not all may be under way together. One whose reply is too
    /// long already asks for no more.
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

    /// Waits for these answers. All before them are written, so what found no room is asked for
    /// again; but not if a change is under way behind it, which it must not see.
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

/// The bytes of an answer while it waits.
fn weight(outcome: &Outcome) -> usize {
    outcome.as_ref().map_or(0, |answer| answer.reply.weight())
}

/// The answer of one request; a node that is gone has dropped it.
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

/// Finds the command and checks all that is the same for every one: name, number of arguments,
/// authentication, readiness.
fn admit<'a>(session: &mut Session, args: Args<'a>) -> Result<Admitted<'a>, Refused> {
    let mut admitted = Admitted {
        spec: find(session, args)?,
        args,
        level: None,
        named: None,
    };
    if !session.authenticated && !admitted.spec.flags.has(Flags::NO_AUTH) {
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
        if matches!(admitted.spec.run, Run::Local(_)) {
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
    session.held.keyspace(spec)?;
    if spec.flags.has(Flags::LOADING) || session.ready() {
        Ok(())
    } else {
        Err(Refused::Loading)
    }
}

/// The entry of the table for these words, which are as many as it takes.
fn find(session: &mut Session, args: Args<'_>) -> Result<&'static Spec, Refused> {
    let name = args.get(0);
    let Some(spec) = table::find(name) else {
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

/// Why there is no such command. A browser that was made to post to this port is sent away at once.
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

/// Enters a new connection; it leaves the list when it is dropped.
pub(crate) fn open(
    stream: TcpStream,
    server: &Arc<Server>,
    stop: tokio::sync::watch::Receiver<bool>,
) -> io::Result<Connection> {
    let id = server.clients.enter(stream.peer_addr()?);
    Ok(Connection::new(
        stream,
        Session::new(Arc::clone(server), id, stop),
    ))
}
