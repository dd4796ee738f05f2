//! A fake node without replication: it runs every operation on one ordered map and remembers every
//! request.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use quorate::doors::{
    AdminError, Coordinator, Data, Explanation, LoneCoordinator, Pending, Room, Shortfall, Status,
};
use quorate_control::topology::{
    ClusterId, Epoch, Keyspace, KeyspaceId, NodeInfo, Partition, Placement, Replication,
    SplitPolicy, Timing, Topology,
};
use quorate_crdt::{Dot, NodeId, ReplicaId};
use quorate_dynamo::op::{
    Answer, Expiry, Kind, Mutation, Op, PartitionOp, Query, Receipt, Reply, Request, RequestError,
    SetExpiry,
};
use tokio::sync::oneshot;

/// Partitions of each keyspace.
pub(crate) const PARTITIONS: u16 = 4;

#[derive(Clone, Debug)]
enum Held {
    String(Bytes),
    Hash(BTreeMap<Bytes, Bytes>),
    Set(BTreeSet<Bytes>),
}

type Outcome = Result<Answer, RequestError>;

/// A key of a keyspace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct At {
    keyspace: KeyspaceId,
    key: Bytes,
}

/// A request whose answer the test holds back.
pub(crate) struct Kept {
    pub(crate) request: Request,
    outcome: Outcome,
    answer: oneshot::Sender<Outcome>,
}

impl Kept {
    /// Sends the client its answer.
    pub(crate) fn release(self) {
        self.answer.send(self.outcome).ok();
    }
}

#[derive(Default)]
pub(crate) struct State {
    values: BTreeMap<At, Held>,
    expiries: BTreeMap<At, u64>,
    events: u64,
    /// Every request submitted so far.
    pub(crate) log: Vec<Request>,
    /// The errors that the next requests get instead of being executed; `None` executes one.
    pub(crate) script: VecDeque<Option<RequestError>>,
    /// Whether answers are held back in `kept`.
    pub(crate) hold: bool,
    pub(crate) kept: VecDeque<Kept>,
    /// The receipts and arguments of every `wait`.
    pub(crate) waits: Vec<(Vec<Receipt>, u32, Duration)>,
    pub(crate) loading: bool,
    /// Why no keyspace can be made.
    pub(crate) makes_none: Option<AdminError>,
    /// Whether reads whose answers find no room are refused.
    pub(crate) bounded: bool,
}

pub(crate) struct Fake {
    topology: Mutex<Arc<Topology>>,
    state: Mutex<State>,
    coordinator: LoneCoordinator,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        let node = |name: &str, datacenter: &str| NodeInfo {
            name: Arc::from(name),
            datacenter: Arc::from(datacenter),
            rack: Arc::from("r"),
            quic: "127.0.0.1:1".into(),
            key: quorate_crdt::PublicKey([0; 32]),
            next_key: None,
            voter: true,
            witness: false,
        };
        let keyspace = |name: &str| Keyspace {
            name: Arc::from(name),
            replication: Replication::Auto,
            read: Arc::from("ONE"),
            write: Arc::from("ONE"),
            split: SplitPolicy::default(),
            placement: vec![
                Placement {
                    epoch: Epoch(1),
                    replicas: vec![NodeId(1)],
                    transition: None
                };
                usize::from(PARTITIONS)
            ],
        };
        let topology = Topology {
            cluster: ClusterId(7),
            epoch: Epoch(3),
            nodes: BTreeMap::from([
                (NodeId(1), node("a", "east")),
                (NodeId(2), node("b", "west")),
            ]),
            keyspaces: BTreeMap::from([
                (KeyspaceId(0), keyspace("default")),
                (KeyspaceId(2), keyspace("carts")),
            ]),
            users: BTreeMap::new(),
            timing: Timing::default(),
        };
        Arc::new(Self {
            topology: Mutex::new(Arc::new(topology)),
            coordinator: LoneCoordinator::default(),
            state: Mutex::default(),
        })
    }

    /// Changes the topology that the node acts on.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Topology)) {
        change(Arc::make_mut(&mut self.topology.lock().unwrap()));
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Executes or refuses, and answers now or when it is released.
    fn give(&self, request: Request, room: Option<&Arc<Room>>) -> Pending<Outcome> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        state.log.push(request.clone());
        let outcome = match state.script.pop_front().flatten() {
            Some(error) => Err(error),
            None => state.execute(&request),
        };
        let bytes = outcome.as_ref().map_or(0, |answer| answer.reply.weight());
        let mut outcome = outcome;
        if let Some(room) = room {
            if !state.bounded || request.op.writes() {
                room.add(bytes);
            } else if !room.try_add(bytes) {
                outcome = Err(RequestError::Overloaded);
                room.refuse();
            }
        }
        if state.hold {
            state.kept.push_back(Kept {
                request,
                outcome,
                answer: sender,
            });
        } else {
            sender.send(outcome).ok();
        }
        receiver
    }
}

pub(crate) fn partition(key: &[u8]) -> Partition {
    Partition(key.iter().map(|byte| u16::from(*byte)).sum::<u16>() % PARTITIONS)
}

/// A key's place in a scan. Many keys have the same.
fn mark(key: &[u8]) -> u64 {
    key.iter().map(|byte| u64::from(*byte)).sum::<u64>() % 100 + (1 << 40)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis() as u64
}

impl Data for Fake {
    fn submit(&self, request: Request) -> Pending<Outcome> {
        self.give(request, None)
    }

    fn submit_into(&self, request: Request, room: &Arc<Room>) -> Pending<Outcome> {
        self.give(request, Some(room))
    }

    fn wait(&self, receipts: Vec<Receipt>, replicas: u32, timeout: Duration) -> Pending<u32> {
        let (sender, receiver) = oneshot::channel();
        self.state().waits.push((receipts, replicas, timeout));
        sender.send(1).ok();
        receiver
    }

    fn open_keyspace(&self, name: &str) -> Pending<Result<KeyspaceId, AdminError>> {
        let (sender, receiver) = oneshot::channel();
        let mut topology = self.topology.lock().unwrap();
        let known = topology.keyspace_named(name).map(|(keyspace, _)| keyspace);
        let why_none = self.state().makes_none.clone();
        let answer = match (known, why_none) {
            (Some(keyspace), _) => Ok(keyspace),
            (None, Some(error)) => Err(error),
            (None, None) => {
                let keyspaces = &mut Arc::make_mut(&mut topology).keyspaces;
                let keyspace = KeyspaceId(keyspaces.keys().last().unwrap().0 + 1);
                let mut like_default = keyspaces[&KeyspaceId(0)].clone();
                like_default.name = Arc::from(name);
                keyspaces.insert(keyspace, like_default);
                Ok(keyspace)
            }
        };
        sender.send(answer).ok();
        receiver
    }

    fn coordinator(&self) -> Arc<dyn Coordinator> {
        Arc::new(self.coordinator.clone())
    }

    fn topology(&self) -> Arc<Topology> {
        Arc::clone(&self.topology.lock().unwrap())
    }

    fn node(&self) -> NodeId {
        NodeId(1)
    }

    fn status(&self) -> Pending<Status> {
        let (sender, receiver) = oneshot::channel();
        let status = Status {
            cluster: "7".to_owned(),
            epoch: 3,
            converged: true,
            ..Status::default()
        };
        sender.send(status).ok();
        receiver
    }

    fn explain(&self, _keyspace: KeyspaceId, _key: Bytes) -> Pending<Option<Explanation>> {
        oneshot::channel().1
    }

    fn metrics(&self) -> String {
        String::new()
    }

    fn ready(&self) -> bool {
        !self.state().loading
    }

    fn shortfall(&self) -> Option<Shortfall> {
        None
    }
}

impl State {
    fn execute(&mut self, request: &Request) -> Outcome {
        let keyspace = request.keyspace;
        match &request.op {
            Op::Query(key, query) => {
                let key = key.clone();
                let at = At { keyspace, key };
                self.query(&at, query).map(|reply| Answer {
                    reply,
                    receipt: None,
                })
            }
            Op::Mutate(key, mutation) => {
                let at = At {
                    keyspace,
                    key: key.clone(),
                };
                let reply = self.mutate(&at, mutation)?;
                self.events += 1;
                let dot = Dot::new(ReplicaId::new(NodeId(1), 0), self.events);
                Ok(Answer {
                    reply,
                    receipt: Some(Receipt {
                        keyspace,
                        partition: partition(key),
                        dot,
                    }),
                })
            }
            Op::Partition(number, what) => Ok(Answer {
                reply: self.partition(keyspace, *number, what),
                receipt: None,
            }),
        }
    }

    fn partition(&mut self, keyspace: KeyspaceId, number: Partition, what: &PartitionOp) -> Reply {
        let here = |at: &At| at.keyspace == keyspace && partition(&at.key) == number;
        match what {
            PartitionOp::Count => {
                Reply::Integer(self.values.keys().filter(|key| here(key)).count() as i64)
            }
            PartitionOp::Expiring => {
                let expiring = self.expiries.keys().filter(|key| here(key));
                Reply::Integer(expiring.filter(|key| self.values.contains_key(key)).count() as i64)
            }
            PartitionOp::Save { .. } => unreachable!("no Redis client asks for a backup"),
            PartitionOp::Clear => {
                self.values.retain(|key, _| !here(key));
                Reply::Done
            }
            PartitionOp::Scan { from, count } => {
                let rest = self.values.keys().filter(|key| here(key));
                let mut rest: Vec<(u64, Bytes)> = rest
                    .map(|at| (mark(&at.key), at.key.clone()))
                    .filter(|(mark, _)| mark >= from)
                    .collect();
                rest.sort();
                let next = rest.get(*count as usize - 1).and_then(|(last, _)| {
                    let mut after = rest.iter().map(|(mark, _)| *mark);
                    after.find(|mark| mark > last)
                });
                rest.retain(|(mark, _)| next.is_none_or(|next| *mark < next));
                let keys = rest.into_iter().map(|(_, key)| key).collect();
                Reply::Keys { keys, next }
            }
        }
    }

    fn query(&self, at: &At, query: &Query) -> Result<Reply, RequestError> {
        let held = self.values.get(at);
        let string = || match held {
            None => Ok(None),
            Some(Held::String(value)) => Ok(Some(value.clone())),
            Some(_) => Err(RequestError::WrongKind),
        };
        Ok(match query {
            Query::Get => string()?.map_or(Reply::Nil, Reply::Value),
            Query::Length => Reply::Integer(string()?.map_or(0, |value| value.len() as i64)),
            Query::Exists => Reply::Integer(i64::from(held.is_some())),
            Query::Kind => Reply::Kind(held.map(|held| match held {
                Held::String(_) => Kind::String,
                Held::Hash(_) => Kind::Hash,
                Held::Set(_) => Kind::Set,
            })),
            Query::Expiry => Reply::Expiry(match (held, self.expiries.get(at)) {
                (None, _) => Expiry::NoKey,
                (_, None) => Expiry::Never,
                (_, Some(at)) => Expiry::At(*at),
            }),
            Query::Members => Reply::List(self.set(at)?.into_iter().collect()),
            Query::Cardinality => Reply::Integer(self.set(at)?.len() as i64),
            Query::Contains(elements) => {
                let set = self.set(at)?;
                Reply::Integers(
                    elements
                        .iter()
                        .map(|element| i64::from(set.contains(element)))
                        .collect(),
                )
            }
            Query::Fields(fields) => {
                let hash = self.hash(at)?;
                Reply::Values(
                    fields
                        .iter()
                        .map(|field| hash.get(field).cloned())
                        .collect(),
                )
            }
            Query::Entries => Reply::Pairs(self.hash(at)?.into_iter().collect()),
            Query::FieldCount => Reply::Integer(self.hash(at)?.len() as i64),
            Query::Siblings => Reply::Siblings {
                token: Bytes::from_static(b"T1"),
                values: string()?.into_iter().collect(),
            },
        })
    }

    fn set(&self, at: &At) -> Result<BTreeSet<Bytes>, RequestError> {
        match self.values.get(at) {
            None => Ok(BTreeSet::new()),
            Some(Held::Set(set)) => Ok(set.clone()),
            Some(_) => Err(RequestError::WrongKind),
        }
    }

    fn hash(&self, at: &At) -> Result<BTreeMap<Bytes, Bytes>, RequestError> {
        match self.values.get(at) {
            None => Ok(BTreeMap::new()),
            Some(Held::Hash(hash)) => Ok(hash.clone()),
            Some(_) => Err(RequestError::WrongKind),
        }
    }

    fn mutate(&mut self, at: &At, mutation: &Mutation) -> Result<Reply, RequestError> {
        match mutation {
            Mutation::Set { value, expiry } => {
                self.values.insert(at.clone(), Held::String(value.clone()));
                match expiry {
                    SetExpiry::Clear => drop(self.expiries.remove(at)),
                    SetExpiry::Keep => {}
                    SetExpiry::At(time) => drop(self.expiries.insert(at.clone(), *time)),
                }
                Ok(Reply::Done)
            }
            Mutation::SetWith { token, .. } if token != "T1" => Err(RequestError::BadToken),
            Mutation::SetWith { value, .. } => {
                self.values.insert(at.clone(), Held::String(value.clone()));
                Ok(Reply::Done)
            }
            Mutation::Delete => Ok(Reply::Integer(i64::from(self.values.remove(at).is_some()))),
            Mutation::GetDelete => {
                let reply = self.query(at, &Query::Get)?;
                self.values.remove(at);
                Ok(reply)
            }
            Mutation::ExpireAt(time) => {
                let exists = if *time > now() {
                    let exists = self.values.contains_key(at);
                    exists.then(|| self.expiries.insert(at.clone(), *time));
                    exists
                } else {
                    self.values.remove(at).is_some()
                };
                Ok(Reply::Integer(i64::from(exists)))
            }
            Mutation::Persist => Ok(Reply::Integer(i64::from(
                self.expiries.remove(at).is_some(),
            ))),
            Mutation::Lapse { .. } => unreachable!("only the reaper says this"),
            Mutation::Restore { .. } => unreachable!("no Redis client restores a backup"),
            Mutation::Append(_) | Mutation::Increment(_) => self.change_string(at, mutation),
            Mutation::Add(_) | Mutation::Remove(_) => self.change_set(at, mutation),
            Mutation::SetFields(_) | Mutation::RemoveFields(_) | Mutation::IncrementField(..) => {
                self.change_hash(at, mutation)
            }
        }
    }

    fn change_string(&mut self, at: &At, mutation: &Mutation) -> Result<Reply, RequestError> {
        let old = match self.query(at, &Query::Get)? {
            Reply::Value(value) => Some(value),
            _ => None,
        };
        let (new, number) = match mutation {
            Mutation::Append(tail) => {
                let new = [old.unwrap_or_default(), tail.clone()].concat();
                let length = new.len() as i64;
                (new, length)
            }
            Mutation::Increment(by) => {
                let sum = add(old.as_ref(), *by)?;
                (sum.to_string().into_bytes(), sum)
            }
            _ => unreachable!("not a change of a string"),
        };
        self.values.insert(at.clone(), Held::String(new.into()));
        Ok(Reply::Integer(number))
    }

    fn change_set(&mut self, at: &At, mutation: &Mutation) -> Result<Reply, RequestError> {
        let mut set = self.set(at)?;
        let count = match mutation {
            Mutation::Add(elements) => elements
                .iter()
                .filter(|element| set.insert((*element).clone()))
                .count(),
            Mutation::Remove(elements) => elements
                .iter()
                .filter(|element| set.remove(*element))
                .count(),
            _ => unreachable!("not a change of a set"),
        };
        self.values.insert(at.clone(), Held::Set(set));
        Ok(Reply::Integer(count as i64))
    }

    fn change_hash(&mut self, at: &At, mutation: &Mutation) -> Result<Reply, RequestError> {
        let mut hash = self.hash(at)?;
        let number = match mutation {
            Mutation::SetFields(pairs) => pairs
                .iter()
                .filter(|(field, value)| hash.insert(field.clone(), value.clone()).is_none())
                .count() as i64,
            Mutation::RemoveFields(fields) => fields
                .iter()
                .filter(|field| hash.remove(*field).is_some())
                .count() as i64,
            Mutation::IncrementField(field, by) => {
                let sum = add(hash.get(field), *by)?;
                hash.insert(field.clone(), sum.to_string().into());
                sum
            }
            _ => unreachable!("not a change of a hash"),
        };
        self.values.insert(at.clone(), Held::Hash(hash));
        Ok(Reply::Integer(number))
    }
}

fn add(old: Option<&Bytes>, by: i64) -> Result<i64, RequestError> {
    let old = match old {
        None => 0,
        Some(text) => std::str::from_utf8(text)
            .ok()
            .and_then(|text| text.parse::<i64>().ok())
            .ok_or(RequestError::NotAnInteger)?,
    };
    old.checked_add(by).ok_or(RequestError::Overflow)
}
