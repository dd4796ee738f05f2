//! One lease: a task of its own takes it, renews it, and gives it back.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::faces::resp::client::{Client, ClientError, Options, Refusal, Value};

/// By which part of its time a lease is given up before the cluster may grant it to somebody else.
const MARGIN: u32 = 10;
/// How often within its time it is renewed.
const RENEWALS: u32 = 3;
/// Pause before another node is tried.
const PAUSE: Duration = Duration::from_millis(20);

/// The lease is over: it was not renewed in time, or an administrator took it away. Somebody else
/// may hold what it was about. Unlike the `Lost` of `doors`, it says nothing about a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the lease under token {token} is lost; somebody else may hold it")]
pub struct Lost {
    /// The token of the grant.
    pub token: u64,
}

/// Why there is no lease.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseError {
    /// Somebody else held it for as long as was waited. Nothing is held.
    #[error("it was not granted in time; somebody else holds it")]
    NotGranted,
    /// It was held, and is lost.
    #[error(transparent)]
    Lost(#[from] Lost),
    /// The cluster refused the request. Nothing is held.
    #[error("{0}")]
    Refused(Refusal),
    /// No node could be asked, or none has answered. What may have been granted is lost after its
    /// time to live.
    #[error("no node has answered: {0}")]
    NoAnswer(ClientError),
    /// There is no node to ask.
    #[error("no node was named")]
    NoNode,
}

/// What can be held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Lock,
    Election,
}

/// What is to be held, and how.
pub(super) struct Terms {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// What a leader publishes.
    pub(super) value: Vec<u8>,
    pub(super) ttl: Duration,
    pub(super) wait: Duration,
    pub(super) shared: bool,
}

/// Something that is held until it is given back, or lost. Dropping it gives it back, in the
/// background.
#[derive(Debug)]
pub struct Lease {
    token: u64,
    /// Until when it is held at least; `None` once it is lost.
    until: watch::Receiver<Option<Instant>>,
    wishes: mpsc::Sender<Wish>,
}

/// What the holder wants of the task.
enum Wish {
    Release(oneshot::Sender<bool>),
    Proclaim(Vec<u8>, oneshot::Sender<bool>),
}

impl Lease {
    /// The fencing token of the grant: higher than all that were granted before for the same thing.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// For how much longer it is held if it is not renewed any more; `None` if it is lost. A
    /// program that was stopped sees what has passed meanwhile.
    pub fn remaining(&self) -> Option<Duration> {
        let until = (*self.until.borrow())?;
        until.checked_duration_since(Instant::now())
    }

    /// Waits until the lease is lost. Never returns while it is renewed in time.
    pub async fn lost(&self) -> Lost {
        let mut until = self.until.clone();
        loop {
            let Some(ends) = *until.borrow_and_update() else {
                break;
            };
            tokio::select! {
                () = sleep_until(ends) => break,
                changed = until.changed() => if changed.is_err() { break },
            }
        }
        Lost { token: self.token }
    }

    /// Takes a lease in a task of its own. If nobody wants it any more once it is granted, the task
    /// gives it back.
    pub(super) async fn take(
        nodes: Arc<[String]>,
        options: Options,
        terms: Terms,
    ) -> Result<Self, LeaseError> {
        let (caller, granted) = oneshot::channel();
        tokio::spawn(async move {
            let mut keeper = Keeper {
                way: Way::new(nodes, options),
                terms,
                token: 0,
                session: 0,
            };
            let until = match keeper.acquire().await {
                Ok(until) => until,
                Err(error) => {
                    drop(caller.send(Err(error)));
                    return;
                }
            };
            let (held, shown) = watch::channel(Some(until));
            let (wishes, wanted) = mpsc::channel(1);
            let lease = Self {
                token: keeper.token,
                until: shown,
                wishes,
            };
            // If the caller has gone, the lease is dropped here, and given back.
            drop(caller.send(Ok(lease)));
            keeper.keep(held, wanted).await;
        });
        granted.await.unwrap_or(Err(LeaseError::NotGranted))
    }

    pub(super) async fn release(self) -> Result<(), Lost> {
        let token = self.token;
        let (answer, answered) = oneshot::channel();
        drop(self.wishes.send(Wish::Release(answer)).await);
        match answered.await {
            Ok(true) => Ok(()),
            _ => Err(Lost { token }),
        }
    }

    pub(super) async fn proclaim(&self, value: &[u8]) -> Result<(), LeaseError> {
        let (answer, answered) = oneshot::channel();
        drop(
            self.wishes
                .send(Wish::Proclaim(value.to_vec(), answer))
                .await,
        );
        match answered.await {
            Ok(true) => Ok(()),
            _ => Err(Lost { token: self.token }.into()),
        }
    }
}

/// What the leader of an election publishes, and its token.
pub(super) async fn observe(
    nodes: &Arc<[String]>,
    options: &Options,
    name: &str,
) -> Result<Option<(Vec<u8>, u64)>, LeaseError> {
    let mut way = Way::new(Arc::clone(nodes), options.clone());
    let until = Instant::now() + options.timeout;
    match way
        .ask(&[b"ELECTION.OBSERVE", name.as_bytes()], until)
        .await?
    {
        Value::Array(leader) => Ok(leader
            .first()
            .and_then(Value::bytes)
            .map(<[u8]>::to_vec)
            .zip(leader.get(1).and_then(number))),
        _ => Ok(None),
    }
}

fn number(value: &Value) -> Option<u64> {
    value
        .integer()
        .and_then(|number| u64::try_from(number).ok())
}

/// A connection to one of the nodes, made anew when it breaks.
struct Way {
    nodes: Arc<[String]>,
    options: Options,
    at: usize,
    client: Option<Client>,
}

impl Way {
    fn new(nodes: Arc<[String]>, options: Options) -> Self {
        Self {
            nodes,
            options,
            at: 0,
            client: None,
        }
    }

    /// Asks one node after the other until `until`; one that says nothing is waited for no longer
    /// than the options' timeout. A command may be carried out twice: a lock that was granted to a
    /// try that was not heard of is lost after its time to live.
    async fn ask(&mut self, words: &[&[u8]], until: Instant) -> Result<Value, LeaseError> {
        let mut failed = None;
        loop {
            let waited = self.options.timeout;
            let turn = until.min(Instant::now() + waited);
            match timeout_at(turn, self.try_once(words)).await {
                Ok(Ok(value)) => return Ok(value),
                // This node cannot have it decided now; another one may.
                Ok(Err(ClientError::Refused(refusal)))
                    if !matches!(refusal.code(), "NOTQUORATE" | "TIMEOUT" | "STOPPING") =>
                {
                    return Err(LeaseError::Refused(refusal));
                }
                Ok(Err(error)) => failed = Some(error),
                Err(_elapsed) if turn < until => failed = Some(ClientError::TimedOut { waited }),
                Err(_elapsed) => {
                    self.client = None;
                    let error = failed.unwrap_or(ClientError::TimedOut { waited });
                    return Err(LeaseError::NoAnswer(error));
                }
            }
            self.at += 1;
            self.client = None;
            sleep_until((Instant::now() + PAUSE).min(until)).await;
        }
    }

    async fn try_once(&mut self, words: &[&[u8]]) -> Result<Value, ClientError> {
        let mut client = if let Some(client) = self.client.take() {
            client
        } else {
            let node = self.nodes.get(self.at % self.nodes.len().max(1));
            let node = node.ok_or(ClientError::Closed)?;
            Client::connect(node, self.options.clone()).await?
        };
        let value = client.command(words).await?;
        self.client = Some(client);
        Ok(value)
    }
}

/// Whoever keeps the lease.
struct Keeper {
    way: Way,
    terms: Terms,
    token: u64,
    session: u64,
}

impl Keeper {
    /// Takes the lease, and returns until when it is held at least.
    async fn acquire(&mut self) -> Result<Instant, LeaseError> {
        if self.way.nodes.is_empty() {
            return Err(LeaseError::NoNode);
        }
        // The node answers when the wait is over.
        let patience = self.way.options.timeout;
        self.way.options.timeout = patience + self.terms.wait;
        let ttl = self.terms.ttl.as_millis().to_string();
        let wait = self.terms.wait.as_millis().to_string();
        let name = self.terms.name.as_bytes();
        let mut words: Vec<&[u8]> = match self.terms.kind {
            Kind::Lock => vec![b"LOCK.ACQUIRE", name],
            Kind::Election => vec![b"ELECTION.CAMPAIGN", name, &self.terms.value],
        };
        words.extend([b"TTL".as_slice(), ttl.as_bytes()]);
        if !self.terms.wait.is_zero() {
            words.extend([b"WAIT".as_slice(), wait.as_bytes()]);
        }
        if self.terms.shared && self.terms.kind == Kind::Lock {
            words.push(b"SHARED");
        }
        let begun = Instant::now();
        let until = begun + self.way.options.timeout;
        let answer = self.way.ask(&words, until).await?;
        // A node that was stopped must not cost the lease while others would renew it.
        self.way.options.timeout = patience.min(self.terms.ttl / RENEWALS);
        let Value::Array(granted) = answer else {
            return Err(LeaseError::NotGranted);
        };
        let part = |at: usize| granted.get(at).and_then(number).unwrap_or(0);
        (self.token, self.session) = (part(0), part(1));
        // A lease that was waited for began at an unknown moment of the wait, so it is renewed
        // before its own clock is believed.
        if self.terms.wait.is_zero() {
            return Ok(self.ends(begun));
        }
        let asked = Instant::now();
        match self.renew(asked + self.terms.ttl).await {
            Ok(true) => Ok(self.ends(asked)),
            Ok(false) => Err(Lost { token: self.token }.into()),
            Err(error) => Err(error),
        }
    }

    /// When a lease that was asked for at this moment is given up.
    fn ends(&self, asked: Instant) -> Instant {
        asked + self.terms.ttl - self.terms.ttl / MARGIN
    }

    /// Renews the lease until it is given back or lost.
    async fn keep(
        &mut self,
        held: watch::Sender<Option<Instant>>,
        mut wanted: mpsc::Receiver<Wish>,
    ) {
        let mut renew_at = Instant::now() + self.terms.ttl / RENEWALS;
        loop {
            let Some(ends) = *held.borrow() else { break };
            tokio::select! {
                wish = wanted.recv() => match wish {
                    Some(Wish::Release(answer)) => {
                        let released = self.release(ends).await;
                        // Whoever asked may have gone.
                        answer.send(released).ok();
                        return;
                    }
                    Some(Wish::Proclaim(value, answer)) => {
                        let done = self.proclaim(&value, ends).await;
                        answer.send(done).ok();
                    }
                    None => {
                        self.release(ends).await;
                        return;
                    }
                },
                () = sleep_until(renew_at) => {
                    let asked = Instant::now();
                    renew_at = asked + self.terms.ttl / RENEWALS;
                    match self.renew(ends).await {
                        Ok(true) => drop(held.send_replace(Some(self.ends(asked)))),
                        Ok(false) | Err(_) => drop(held.send_replace(None)),
                    }
                }
            }
        }
        // Whoever wants something from now on finds nobody, which means that it is lost.
    }

    async fn renew(&mut self, until: Instant) -> Result<bool, LeaseError> {
        let verb: &[u8] = match self.terms.kind {
            Kind::Lock => b"LOCK.RENEW",
            Kind::Election => b"ELECTION.RENEW",
        };
        self.named(verb, until).await
    }

    async fn release(&mut self, until: Instant) -> bool {
        let verb: &[u8] = match self.terms.kind {
            Kind::Lock => b"LOCK.RELEASE",
            Kind::Election => b"ELECTION.RESIGN",
        };
        self.named(verb, until).await.unwrap_or(false)
    }

    /// A command about what is held: whether it was.
    async fn named(&mut self, verb: &[u8], until: Instant) -> Result<bool, LeaseError> {
        let (token, session) = (self.token.to_string(), self.session.to_string());
        let words: [&[u8]; 5] = [
            verb,
            self.terms.name.as_bytes(),
            token.as_bytes(),
            b"SESSION",
            session.as_bytes(),
        ];
        Ok(self.way.ask(&words, until).await? == Value::Integer(1))
    }

    async fn proclaim(&mut self, value: &[u8], until: Instant) -> bool {
        let token = self.token.to_string();
        let name = self.terms.name.as_bytes();
        let words: [&[u8]; 4] = [b"ELECTION.PROCLAIM", name, token.as_bytes(), value];
        let done = self.way.ask(&words, until).await;
        done.is_ok_and(|done| done == Value::Integer(1))
    }
}
