//! Serves one connection: turns bytes into commands, commands into requests and answers into bytes,
//! all in order.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use quorate_dynamo::op::{Op, Request, RequestError};
use smallvec::SmallVec;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout};

use super::admit::{Admitted, admit};
use super::output::Output;
use super::parse::{Command, Parser, REQUEST_BYTES_MAX};
use super::refuse::Refused;
use super::server::{Counters, Server};
use super::session::{Session, writes};
use super::stats::{SlowEntry, SlowLog};
use super::table::{self, Run, Spec};
use super::transaction::{Next, Transaction};
use super::work::{Outcome, Outcomes, Shape, Work, answer, now_ms};
use crate::doors::{Pending, Room};
use crate::tls::Stream;

/// The room for one read.
const READ_BYTES: usize = 16 * 1024;
/// How long a client that broke the protocol may continue to send before it is cut off. Guess: 16
/// MiB on a slow link.
const FAREWELL: Duration = Duration::from_secs(5);

/// A command that has begun to run.
#[derive(Debug)]
struct Begun {
    /// Its number in the table.
    number: usize,
    /// Whether the slow log may show it.
    is_logged: bool,
    command: Command,
    at: Instant,
}

/// A command whose requests are under way.
#[derive(Debug)]
struct InFlight {
    begun: Begun,
    shape: Shape,
    writes: bool,
    answers: SmallVec<[UnderWay; 1]>,
}

/// A request that is under way.
#[derive(Debug)]
struct UnderWay {
    answer: Pending<Outcome>,
    /// A copy, if it is a read, for the case that its answer finds no room. Behind a pointer,
    /// because commands move a few times while they wait.
    again: Option<Box<Request>>,
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
    transaction: Transaction,
    parser: Parser,
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
    /// Another client has asked that this one leave.
    leave: Arc<Notify>,
}

impl Connection {
    /// A connection that has been accepted and registered.
    pub(crate) fn new(stream: Stream, session: Session, leave: Arc<Notify>) -> Self {
        let config = &session.server.config;
        Self {
            parser: Parser::default(),
            output: Output::new(stream, config.write_stall),
            in_flight: VecDeque::new(),
            requests: 0,
            window: Window(Window::START),
            room: Room::new(&session.server.answers),
            turn: Turn::default(),
            strangers_until: Instant::now() + config.greeting,
            broken: false,
            leave,
            transaction: Transaction::default(),
            session,
        }
    }

    /// Serves until the client leaves, breaks the protocol or does not read, or until the server
    /// stops. Everything that was submitted is answered first.
    pub(crate) async fn run(mut self) -> io::Result<()> {
        let ended = self.serve_all().await;
        // One that the system gives means that the client is gone.
        let stalled = |error: &io::Error| {
            error.kind() == io::ErrorKind::TimedOut && error.raw_os_error().is_none()
        };
        if ended.as_ref().is_err_and(stalled) {
            let client = self.session.server.clients.find(self.session.id);
            tracing::warn!(
                client = client.map(|client| client.address.to_string()),
                "cut off a client that sent commands and did not read the replies: it should read \
                 while it sends, or send shorter pipelines"
            );
        }
        ended
    }

    async fn serve_all(&mut self) -> io::Result<()> {
        loop {
            self.serve_buffered().await?;
            self.settle().await?;
            self.output.write().await?;
            let sent = mem::take(&mut self.output.sent);
            Counters::add(&self.session.server.counters.output, sent);
            if self.session.closing {
                return self.close().await;
            }
            if !self.output.has_read() && !self.read().await? {
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
        if self.output.input.is_empty() {
            self.output.input = BytesMut::new();
        }
        let known = self.session.authenticated();
        let Output { stream, input, .. } = &mut self.output;
        tokio::select! {
            read = stream.read_some(input, READ_BYTES) => return Ok(read? > 0),
            _ = self.session.stop.wait_for(|stop| *stop) => return Ok(false),
            () = self.leave.notified() => return Ok(false),
            () = sleep_until(self.strangers_until), if !known => {}
        }
        self.output.encoder.error(&Refused::Stranger.to_string());
        self.output.write().await?;
        Ok(false)
    }

    /// Runs every complete command in the input buffer.
    async fn serve_buffered(&mut self) -> io::Result<()> {
        while !self.session.closing {
            let known = self.session.authenticated();
            self.parser.trust(known);
            self.output.ahead = if known { REQUEST_BYTES_MAX } else { 0 };
            match self.parser.next(&mut self.output.input) {
                Ok(Some(command)) => {
                    let (bytes, before) = (command.bytes(), self.output.encoder.out.len());
                    self.serve(command).await?;
                    self.pause(bytes, before).await?;
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

    /// After a command of `bytes`, before which there were `before` bytes of replies: writes them
    /// before the next command gets its reply, so that replies to a slow reader do not pile up, and
    /// gives others their turn.
    async fn pause(&mut self, bytes: usize, before: usize) -> io::Result<()> {
        let grown = self.output.encoder.out.len().saturating_sub(before);
        self.output.write_if_full().await?;
        if self.turn.is_over(bytes, grown) {
            yield_now().await;
        }
        Ok(())
    }

    /// Runs or queues one command; its reply may still be under way afterwards.
    async fn serve(&mut self, command: Command) -> io::Result<()> {
        let counters = &self.session.server.counters;
        Counters::add(&counters.commands, 1);
        Counters::add(&counters.input, command.bytes() as u64);
        let admitted = admit(&mut self.session, command.args(0));
        let number = admitted.as_ref().ok().map(|admitted| admitted.number);
        let found = admitted.as_ref().map(|admitted| admitted.spec);
        let next = self.transaction.next(&command, found.map_err(Clone::clone));
        if let (Next::Exec(_) | Next::Done, Some(number)) = (&next, number) {
            let stats = &self.session.server.stats;
            stats.ran(number, Duration::ZERO, Vec::new());
        }
        match next {
            Next::Run => self.run_one(command, admitted).await,
            Next::Refused(refused) => self.run_one(command, Err(refused)).await,
            Next::Exec(commands) => self.exec(commands).await,
            Next::Done => {
                self.settle().await?;
                self.output.encoder.ok();
                Ok(())
            }
            Next::Queued => {
                self.settle().await?;
                self.output.encoder.simple("QUEUED");
                Ok(())
            }
        }
    }

    /// Runs the commands of a transaction like a pipeline. Their replies are the elements of its
    /// own, and some may still be under way afterwards.
    async fn exec(&mut self, commands: Vec<Command>) -> io::Result<()> {
        self.settle().await?;
        self.output.encoder.array(commands.len());
        for command in commands {
            let (bytes, before) = (command.bytes(), self.output.encoder.out.len());
            let admitted = admit(&mut self.session, command.args(0));
            self.run_one(command, admitted).await?;
            self.pause(bytes, before).await?;
        }
        Ok(())
    }

    /// Runs a command that may run, or says why it may not.
    async fn run_one(
        &mut self,
        command: Command,
        admitted: Result<Admitted, Refused>,
    ) -> io::Result<()> {
        let admitted = match admitted {
            Ok(admitted) => admitted,
            Err(refused) => {
                self.settle().await?;
                self.output.encoder.error(&refused.to_string());
                let errors = mem::take(&mut self.output.encoder.errors);
                let found = table::commands().resolve(command.args(0));
                // Whatever it was refused for, the client may believe that it has chosen.
                self.session.unselected |= found.is_some_and(|(_, spec)| spec.name == "select");
                let number = found.map(|(number, _)| number);
                self.session.server.stats.rejected(number, errors);
                return Ok(());
            }
        };
        let Admitted {
            number,
            spec,
            prefixes,
            level,
            named,
            claim,
        } = admitted;
        let mut begun = Begun {
            number,
            is_logged: spec.is_logged(),
            command,
            at: Instant::now(),
        };
        if !matches!(spec.run, Run::Data(_)) {
            self.settle().await?;
            // What came before it is not its time.
            begun.at = Instant::now();
        }
        let before = (self.session.read, self.session.write);
        if let Some(level) = level {
            (self.session.read, self.session.write) = level;
        }
        (self.session.named, self.session.claim) = (named, claim);
        let ran = if let Run::Data(run) = spec.run {
            match run(&self.session, begun.command.args(prefixes)) {
                Ok(work) => self.submit(work, begun).await,
                Err(refused) => {
                    self.settle().await?;
                    self.ran(&begun, Err(refused), Vec::new()).await
                }
            }
        } else {
            self.execute(spec, &begun, prefixes).await
        };
        // Other commands change the levels for good.
        if level.is_some() {
            (self.session.read, self.session.write) = before;
        }
        (self.session.named, self.session.claim) = (None, None);
        ran
    }

    /// Runs a command that is no request to the data plane.
    async fn execute(&mut self, spec: &Spec, begun: &Begun, prefixes: usize) -> io::Result<()> {
        let args = begun.command.args(prefixes);
        let mut strings = Vec::new();
        let ran = match spec.run {
            Run::Alone(run) => {
                let ran = run(&mut self.session, args, &mut self.output.encoder).await;
                ran.map(|rest| strings = rest)
            }
            Run::Local(run) => {
                let known = self.session.authenticated();
                let ran = run(&mut self.session, args, &mut self.output.encoder);
                // `RESET` restarts the time to authenticate, but not for a client that never did: a
                // stranger could keep its place by resetting.
                if known && !self.session.authenticated() {
                    self.strangers_until = Instant::now() + self.session.server.config.greeting;
                }
                ran
            }
            Run::About(run) => run(table::commands(), args, &mut self.output.encoder),
            // What takes effect before a transaction runs has nothing left to do in it.
            Run::Transaction(_) => {
                self.output.encoder.ok();
                Ok(())
            }
            Run::Data(_) | Run::Prefix => Err(Refused::Prefix {
                prefix: "CL",
                name: spec.name,
            }),
        };
        self.ran(begun, ran, strings).await
    }

    /// Writes the reply of a command that has run, of which `strings` are the last part.
    async fn ran(
        &mut self,
        begun: &Begun,
        ran: Result<(), Refused>,
        strings: Vec<Bytes>,
    ) -> io::Result<()> {
        let took = begun.at.elapsed();
        if let Err(refused) = ran {
            self.output.encoder.error(&refused.to_string());
        }
        self.output.bulks(strings).await?;
        self.answered(begun, took);
        Ok(())
    }

    /// Notes that a command has been answered, after `took`.
    fn answered(&mut self, begun: &Begun, took: Duration) {
        let server = &self.session.server;
        let errors = mem::take(&mut self.output.encoder.errors);
        server.stats.ran(begun.number, took, errors);
        if begun.is_logged
            && server.stats.slow.takes(took)
            && let Some(client) = server.clients.find(self.session.id)
        {
            server.stats.slow.add(SlowEntry {
                number: 0,
                at: now_ms() / 1000,
                micros: took.as_micros() as u64,
                words: SlowLog::shortened(begun.command.args(0)),
                client: client.address,
                name: client.name,
            });
        }
    }

    /// Submits the requests of one command. The node keeps the order of those for one key. What is
    /// done under a lock is answered first: a holder has one request at a time under way for a row.
    async fn submit(&mut self, work: Work, begun: Begun) -> io::Result<()> {
        let writes = work.ops.iter().any(writes);
        let alone = self.session.claim.is_some();
        let requests = work.ops.len();
        if requests > self.window.0 {
            let Work { ops, shape } = work;
            return self
                .submit_in_windows(ops.into_vec(), shape, writes, &begun)
                .await;
        }
        if self.requests + requests > self.window.0 {
            self.settle().await?;
        }
        self.requests += requests;
        let Work { ops, shape } = work;
        let answers = ops.into_iter().enumerate();
        let answers = answers.map(|(part, op)| self.under_way(op, part)).collect();
        self.in_flight.push_back(InFlight {
            begun,
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
        begun: &Begun,
    ) -> io::Result<()> {
        self.settle().await?;
        let mut outcomes = Outcomes::with_capacity(ops.len());
        let mut ops = ops.into_iter().enumerate().peekable();
        while ops.peek().is_some() && !outcomes.too_much() {
            let window = ops.by_ref().take(self.window.0);
            let pending: Vec<_> = window.map(|(part, op)| self.under_way(op, part)).collect();
            for under_way in pending {
                self.gather(under_way, &mut outcomes).await;
            }
        }
        let took = begun.at.elapsed();
        answer(
            shape,
            writes,
            &mut outcomes,
            &*self.session.server.data,
            &mut self.output,
        )
        .await?;
        self.answered(begun, took);
        self.room.clear();
        Ok(())
    }

    /// Submits one request of a command.
    fn under_way(&self, op: Op, part: usize) -> UnderWay {
        let again = !writes(&op);
        let request = self.session.request(op, part);
        let again = again.then(|| Box::new(request.clone()));
        let answer = self.session.server.data.submit_into(request, &self.room);
        UnderWay { answer, again }
    }

    /// Waits for everything under way and answers it in order.
    async fn settle(&mut self) -> io::Result<()> {
        while let Some(mut command) = self.in_flight.pop_front() {
            self.requests -= command.answers.len();
            let mut outcomes = Outcomes::with_capacity(command.answers.len());
            for under_way in command.answers.drain(..) {
                self.gather(under_way, &mut outcomes).await;
            }
            let InFlight {
                begun,
                shape,
                writes,
                ..
            } = &command;
            let took = begun.at.elapsed();
            answer(
                *shape,
                *writes,
                &mut outcomes,
                &*self.session.server.data,
                &mut self.output,
            )
            .await?;
            self.answered(begun, took);
            self.output.write_if_full().await?;
            self.room.clear();
        }
        Ok(())
    }

    /// Waits for this answer. Everything before it is written, so a read whose answer found no room
    /// is asked for again, unless a later change is under way, which it must not see.
    async fn gather(&mut self, UnderWay { answer, again }: UnderWay, outcomes: &mut Outcomes) {
        let mut outcome = answer.await.unwrap_or(Err(RequestError::Stopping));
        if outcome == Err(RequestError::Overloaded)
            && self.room.was_refused()
            && !self.in_flight.iter().any(|later| later.writes)
            && let Some(again) = again
        {
            let answer = self.session.server.data.submit(*again);
            outcome = answer.await.unwrap_or(Err(RequestError::Stopping));
            self.room.add(weight(&outcome));
        }
        if let Ok(answer) = &outcome {
            self.session.remember(answer);
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

impl Drop for Connection {
    fn drop(&mut self) {
        self.session.server.clients.leave(self.session.id);
    }
}

/// The bytes that an answer takes while it waits.
fn weight(outcome: &Outcome) -> usize {
    outcome.as_ref().map_or(0, |answer| answer.reply.weight())
}

/// Registers a new connection. It leaves the list when it is dropped.
pub(crate) fn open(
    stream: Stream,
    server: &Arc<Server>,
    stop: tokio::sync::watch::Receiver<bool>,
) -> io::Result<Connection> {
    let (id, leave) = server.clients.enter(stream.peer_addr()?);
    Ok(Connection::new(
        stream,
        Session::new(Arc::clone(server), id, stop),
        leave,
    ))
}
