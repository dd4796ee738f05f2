//! Clients of a planned history. Each makes one request at a time and records the answer.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::{KeyspaceId, Partition, Topology};
use quorate_crdt::NodeId;
use quorate_dynamo::op::{
    Answer, Mutation, Op, PartitionOp, Query, Receipt, Reply, Request, RequestError, SetExpiry,
};
use quorate_dynamo::preference::Access;
use quorate_dynamo::protocol::RequestId;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::clock::START_UNIX_MILLIS;
use super::grants::Grants;
use super::history::{Need, Record, Told};
use super::host::Door;
use super::oracle::Oracle;
use super::plan::request::{Ask, Deed, GRANTED, Key, LAST, name, request_of};
use crate::doors::Data;

/// What all clients share.
#[derive(Clone)]
pub(super) struct Shared {
    /// When the plan's time starts.
    pub(super) start: Instant,
    /// When the simulation's wall clocks started.
    pub(super) epoch: Instant,
    pub(super) record: Record,
    pub(super) grants: Grants,
    pub(super) oracle: Oracle,
    /// Set when clients must not start anything more.
    pub(super) dismissed: Arc<AtomicBool>,
}

pub(super) struct Asker {
    shared: Shared,
    /// The causal tokens received for each key, newest first.
    tokens: BTreeMap<(u8, Key), VecDeque<Seen>>,
    /// The number of the last request under a lock, and the first that was not given up.
    sequence: u64,
    since: u64,
}

/// A causal token and the requests whose values it covers.
type Seen = (Bytes, Vec<u32>);

/// A request and the doors it goes through.
pub(super) struct Errand {
    pub(super) ask: Ask,
    pub(super) at: Target,
    /// Where to repeat it while its outcome is unknown.
    pub(super) again: Vec<Target>,
}

/// A node and the door to it.
pub(super) struct Target {
    pub(super) node: NodeId,
    pub(super) door: Door,
}

/// The result of one attempt.
struct Tried {
    result: Result<Answer, RequestError>,
    need: Need,
}

/// How often, and how long apart, a client repeats a request of the last check that a node refused
/// as overloaded.
const OVERLOADED_TRIES: usize = 10;
const OVERLOADED_PAUSE: Duration = Duration::from_millis(100);
/// How many tokens a client remembers per key.
const TOKENS: usize = 4;

/// The keyspace that a plan refers to as `number`.
pub(super) fn keyspace_of(topology: &Topology, number: u8) -> Option<KeyspaceId> {
    if number == 0 {
        Some(KeyspaceId(0))
    } else {
        topology
            .keyspace_named(&format!("ks{number}"))
            .map(|(id, _)| id)
    }
}

impl Asker {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared,
            tokens: BTreeMap::new(),
            sequence: 0,
            since: 1,
        }
    }

    /// Runs its errands one after the other.
    pub(super) async fn work(mut self, mut errands: mpsc::UnboundedReceiver<Errand>) {
        while let Some(errand) = errands
            .recv()
            .await
            .filter(|_| !self.shared.dismissed.load(Ordering::Relaxed))
        {
            let ask = &errand.ask;
            if ask.deed == Deed::DeleteBoth {
                let [first, second] = [0, 1].map(|number| Ask {
                    key: Key(ask.key.0, number),
                    deed: Deed::Delete,
                    ..ask.clone()
                });
                let (first, second) =
                    tokio::join!(self.ask(first, &errand), self.ask(second, &errand));
                self.shared.record.push(first);
                self.shared.record.push(second);
                continue;
            }
            let told = match ask.token {
                0 => self.ask(ask.clone(), &errand).await,
                GRANTED => match self.shared.grants.token(ask.client, ask.key.1) {
                    Some(token) => {
                        let ask = Ask {
                            token,
                            ..ask.clone()
                        };
                        self.ask_under_lock(ask, &errand).await
                    }
                    // It has never had the lock.
                    None => continue,
                },
                _ => self.ask_under_lock(ask.clone(), &errand).await,
            };
            if let (Ok(Reply::Siblings { token, values }), Deed::Siblings) =
                (&told.result, &told.ask.deed)
            {
                let covered = values
                    .iter()
                    .filter_map(|value| request_of(value))
                    .collect();
                let tokens = self.tokens.entry(told.place()).or_default();
                tokens.push_front((token.clone(), covered));
                tokens.truncate(TOKENS);
            }
            self.shared.record.push(told);
        }
    }

    /// Numbers a request, and gives it up if it fails.
    async fn ask_under_lock(&mut self, ask: Ask, errand: &Errand) -> Told {
        self.sequence += 1;
        let (sequence, since) = (self.sequence, self.since);
        let numbered = Ask {
            sequence,
            since,
            ..ask
        };
        let told = self.ask(numbered, errand).await;
        if told.result.is_err() {
            self.since = self.sequence + 1;
        }
        told
    }

    /// Sends a request, and repeats it while the outcome of the change is unknown.
    async fn ask(&self, ask: Ask, errand: &Errand) -> Told {
        let from = self.shared.start.elapsed();
        let (covers, op) = (self.seen(&ask).1, self.op(&ask));
        let mut told = self.try_at(&ask, &op, &errand.at).await;
        // At rest, no request may be refused for long.
        for _ in 0..OVERLOADED_TRIES {
            if ask.id > LAST && told.result == Err(RequestError::Overloaded) {
                tokio::time::sleep(OVERLOADED_PAUSE).await;
                told = self.try_at(&ask, &op, &errand.at).await;
            }
        }
        for at in &errand.again {
            if told
                .result
                .as_ref()
                .is_err_and(RequestError::may_be_applied)
            {
                let tried = self.try_at(&ask, &op, at).await;
                // A refused repetition says nothing about the attempt before it.
                let refused = tried
                    .result
                    .as_ref()
                    .is_err_and(|error| !error.may_be_applied());
                told = if refused { told } else { tried };
            }
        }
        let Tried { result, need } = told;
        let receipt = result.as_ref().ok().and_then(|answer| answer.receipt);
        let to = self.shared.start.elapsed();
        self.shared.oracle.acknowledged(&ask, &need, receipt);
        if let Some((receipt, data)) = receipt.zip(errand.at.door.get()).filter(|_| ask.wait > 0) {
            let known = data
                .wait(vec![receipt], ask.wait, Duration::from_millis(ask.timeout))
                .await;
            self.shared
                .oracle
                .waited(&ask, receipt, need.epoch, known.unwrap_or(0));
        }
        let dot = receipt.map(|Receipt { dot, .. }| dot);
        Told {
            ask,
            from,
            to,
            result: result.map(|answer| answer.reply),
            dot,
            need,
            covers,
        }
    }

    async fn try_at(&self, ask: &Ask, op: &Op, at: &Target) -> Tried {
        let key = ask.key.name();
        let data = at.door.get();
        let topology = data.as_ref().map(|data| data.topology());
        let home = topology
            .as_deref()
            .and_then(|topology| topology.datacenter_of(at.node).cloned())
            .unwrap_or_else(|| "".into());
        let keyspace = topology
            .as_deref()
            .and_then(|topology| keyspace_of(topology, ask.keyspace));
        let access = if ask.deed.writes() {
            Access::Write
        } else {
            Access::Read
        };
        let need = |topology: &Topology, keyspace| {
            Need::of(topology, keyspace, &key, ask.level, access, &home)
        };
        let before = topology
            .as_deref()
            .zip(keyspace)
            .map(|(topology, keyspace)| need(topology, keyspace))
            .unwrap_or_default();
        let result = match (data, topology, keyspace) {
            (Some(data), Some(topology), Some(keyspace)) => {
                let request = request(ask, op.clone(), keyspace, &home);
                if ask.deed == Deed::Flush {
                    flush(&*data, &topology, &request).await
                } else {
                    submit(&*data, request).await
                }
            }
            // Nobody is listening, so the request was never sent.
            (None, ..) => Err(RequestError::Unavailable {
                level: ask.level,
                required: 1,
                alive: 0,
                missing: vec![at.node],
            }),
            _ => Err(RequestError::NoKeyspace),
        };
        // The node that executes the request may know a newer topology than the node that was
        // asked.
        let after = self
            .shared
            .oracle
            .acted_on()
            .zip(keyspace)
            .map(|(topology, keyspace)| need(&topology, keyspace));
        // If the placement changed in between, it is unclear which one the answers were counted in:
        // then claim nothing.
        let need = if after
            .as_ref()
            .is_none_or(|after| after.epoch == before.epoch)
        {
            before
        } else {
            Need::default()
        };
        Tried { result, need }
    }

    /// The token that goes with the request.
    fn seen(&self, ask: &Ask) -> Seen {
        let Deed::SetSeen(before) = ask.deed else {
            return Seen::default();
        };
        let tokens = self.tokens.get(&(ask.keyspace, ask.key));
        tokens
            .and_then(|tokens| tokens.get(usize::from(before)).or(tokens.back()))
            .cloned()
            .unwrap_or_default()
    }

    fn op(&self, ask: &Ask) -> Op {
        let now = START_UNIX_MILLIS + self.shared.epoch.elapsed().as_millis() as u64;
        let value = || Bytes::from(format!("v{}", ask.id));
        let names = |numbers: &[u8]| {
            numbers
                .iter()
                .map(|number| name(*number))
                .collect::<Vec<_>>()
        };
        let set = |expiry| Mutation::Set {
            value: value(),
            expiry,
        };
        let key = ask.key.name();
        let mutation = match &ask.deed {
            Deed::Set => set(SetExpiry::Clear),
            Deed::SetFor { ms } => set(SetExpiry::At(now + ms)),
            Deed::SetKeep => set(SetExpiry::Keep),
            Deed::Append => Mutation::Append(format!("[{}]", ask.id).into()),
            Deed::Count(by) => Mutation::Increment(*by),
            Deed::Delete => Mutation::Delete,
            Deed::GetDelete => Mutation::GetDelete,
            Deed::ExpireIn { ms } => Mutation::ExpireAt(now + ms),
            Deed::Persist => Mutation::Persist,
            Deed::Add(members) => Mutation::Add(names(members)),
            Deed::Remove(members) => Mutation::Remove(names(members)),
            Deed::SetFields(fields) => Mutation::SetFields(
                names(fields)
                    .into_iter()
                    .map(|field| (field, value()))
                    .collect(),
            ),
            Deed::RemoveFields(fields) => Mutation::RemoveFields(names(fields)),
            Deed::CountField(field, by) => Mutation::IncrementField(name(*field), *by),
            Deed::SetSeen(_) => Mutation::SetWith {
                value: value(),
                token: self.seen(ask).0,
            },
            read => return Op::Query(key, query(read)),
        };
        Op::Mutate(key, mutation)
    }
}

/// A request as the node takes it. One that can be repeated has a request id.
fn request(ask: &Ask, op: Op, keyspace: KeyspaceId, home: &Arc<str>) -> Request {
    let id = if ask.again.is_empty() {
        None
    } else {
        RequestId::new(format!("r{}", ask.id).into())
    };
    Request {
        keyspace,
        op,
        consistency: Some(ask.level),
        timeout: Duration::from_millis(ask.timeout),
        datacenter: Arc::clone(home),
        id,
        claim: ask.claim(),
    }
}

/// Submits a request. A node that crashes meanwhile answers that it is stopping.
async fn submit(data: &dyn Data, request: Request) -> Result<Answer, RequestError> {
    data.submit(request)
        .await
        .unwrap_or(Err(RequestError::Stopping))
}

/// Clears every partition of the keyspace of `request`, one after the other.
async fn flush(
    data: &dyn Data,
    topology: &Topology,
    request: &Request,
) -> Result<Answer, RequestError> {
    let partitions = topology
        .keyspaces
        .get(&request.keyspace)
        .map_or(0, |keyspace| keyspace.placement.len() as u16);
    let (mut answers, mut failed) = (Vec::new(), None);
    for partition in (0..partitions).map(Partition) {
        let clear = Request {
            op: Op::Partition(partition, PartitionOp::Clear),
            ..request.clone()
        };
        match submit(data, clear).await {
            Ok(answer) => answers.push(answer),
            Err(error) => failed = failed.filter(RequestError::may_be_applied).or(Some(error)),
        }
    }
    match (failed, answers.pop()) {
        (Some(error), None) => Err(error),
        (Some(error), Some(_)) if error.may_be_applied() => Err(error),
        // Some partitions are cleared and some are not.
        (Some(_), Some(_)) => Err(RequestError::Stopping),
        (None, answer) => answer
            .map(|answer| Answer {
                receipt: None,
                ..answer
            })
            .ok_or(RequestError::NoKeyspace),
    }
}

fn query(deed: &Deed) -> Query {
    let names = |numbers: &[u8]| {
        numbers
            .iter()
            .map(|number| name(*number))
            .collect::<Vec<_>>()
    };
    match deed {
        Deed::Length => Query::Length,
        Deed::Exists => Query::Exists,
        Deed::Ttl => Query::Expiry,
        Deed::Members => Query::Members,
        Deed::Contains(members) => Query::Contains(names(members)),
        Deed::Cardinality => Query::Cardinality,
        Deed::Fields(fields) => Query::Fields(names(fields)),
        Deed::Entries => Query::Entries,
        Deed::Siblings => Query::Siblings,
        _ => Query::Get,
    }
}
