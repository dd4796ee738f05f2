//! A client of one simulated node, and a ledger of what it was promised.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::topology::{Datacenter, KeyspaceId};
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{Answer, Mutation, Op, Query, Reply, Request, RequestError, SetExpiry};

use crate::doors::Data;

/// Talks to one node at one level, one request at a time. Unlike the `Client` of `faces`, it calls
/// the node directly and speaks no protocol.
#[derive(Clone)]
pub struct Client {
    /// `None` if the node was dead when the client was created.
    data: Option<Arc<dyn Data>>,
    datacenter: Datacenter,
    /// The level of its requests. `None` uses the keyspace's default.
    pub level: Option<Consistency>,
    /// How long it waits for an answer.
    pub timeout: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client in `datacenter` of the node behind `data`, if that node is running. Its timeout is
    /// 2 s.
    pub fn new(
        data: Option<Arc<dyn Data>>,
        datacenter: Datacenter,
        level: Option<Consistency>,
    ) -> Self {
        Self {
            data,
            datacenter,
            level,
            timeout: Duration::from_secs(2),
        }
    }

    /// Sends a request and waits for the answer. If the node crashes meanwhile, the answer is
    /// [`RequestError::Stopping`], and a write may be applied.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn ask(&self, op: Op) -> Result<Answer, RequestError> {
        let request = Request {
            keyspace: KeyspaceId(0),
            op,
            consistency: self.level,
            timeout: self.timeout,
            datacenter: Arc::clone(&self.datacenter),
            id: None,
            claim: None,
        };
        match &self.data {
            Some(data) => data
                .submit(request)
                .await
                .unwrap_or(Err(RequestError::Stopping)),
            None => Err(RequestError::Stopping),
        }
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn query(&self, key: &str, query: Query) -> Result<Reply, RequestError> {
        self.ask(Op::Query(Bytes::copy_from_slice(key.as_bytes()), query))
            .await
            .map(|answer| answer.reply)
    }

    /// Changes a key.
    ///
    /// # Errors
    /// [`RequestError`].
    pub async fn mutate(&self, key: &str, mutation: Mutation) -> Result<Reply, RequestError> {
        self.ask(Op::Mutate(Bytes::copy_from_slice(key.as_bytes()), mutation))
            .await
            .map(|answer| answer.reply)
    }
}

/// What clients were told, and therefore what must be true in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// By set: elements whose addition was acknowledged.
    pub added: BTreeMap<String, BTreeSet<Bytes>>,
    /// By set: elements that may have been added.
    pub maybe_added: BTreeMap<String, BTreeSet<Bytes>>,
    /// By counter: the sum of acknowledged increments, and the sum of increments that may have
    /// happened.
    pub counted: BTreeMap<String, (i64, i64)>,
    /// Requests acknowledged.
    pub served: u64,
    /// Requests refused, with no effect.
    pub refused: u64,
    /// Requests with an unknown outcome.
    pub open: u64,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Broken {
    /// An acknowledged element is missing.
    #[error("set {key}: {missing} acknowledged elements are missing")]
    Lost {
        /// The set.
        key: String,
        /// How many are missing.
        missing: usize,
    },
    /// An element is present that nobody tried to add.
    #[error("set {key}: {invented} elements were never added")]
    Invented {
        /// The set.
        key: String,
        /// How many such elements there are.
        invented: usize,
    },
    /// A counter is not the sum of its increments.
    #[error(
        "counter {key} is {value}, but {acked} increments were acknowledged and {open} more are possible"
    )]
    Miscounted {
        /// The counter.
        key: String,
        /// The value it shows.
        value: i64,
        /// The sum of acknowledged increments.
        acked: i64,
        /// The sum of increments with an unknown outcome.
        open: i64,
    },
    /// The reply does not have the shape that the query promises.
    #[error("{key}: the reply has the wrong shape")]
    Shape {
        /// The key that was read.
        key: String,
    },
    /// The key could not be read, so it could not be checked.
    #[error("{key} cannot be read: {error}")]
    Unreadable {
        /// The key that was read.
        key: String,
        /// Why the read failed.
        error: RequestError,
    },
}

impl Ledger {
    fn outcome(&mut self, result: &Result<Reply, RequestError>) -> Outcome {
        match result {
            Ok(_) => {
                self.served += 1;
                Outcome::Done
            }
            Err(error) if error.may_be_applied() => {
                self.open += 1;
                Outcome::Open
            }
            Err(_) => {
                self.refused += 1;
                Outcome::Refused
            }
        }
    }

    /// Adds `element` to the set `key` and records the outcome.
    pub async fn add(&mut self, client: &Client, key: &str, element: String) {
        let element = Bytes::from(element);
        let result = client
            .mutate(key, Mutation::Add(vec![element.clone()]))
            .await;
        let side = match self.outcome(&result) {
            Outcome::Done => &mut self.added,
            Outcome::Open => &mut self.maybe_added,
            Outcome::Refused => return,
        };
        side.entry(key.to_owned()).or_default().insert(element);
    }

    /// Adds 1 to the counter `key` and records the outcome.
    pub async fn count(&mut self, client: &Client, key: &str) {
        let result = client.mutate(key, Mutation::Increment(1)).await;
        let outcome = self.outcome(&result);
        let (acked, open) = self.counted.entry(key.to_owned()).or_default();
        match outcome {
            Outcome::Done => *acked += 1,
            Outcome::Open => *open += 1,
            Outcome::Refused => {}
        }
    }

    /// Sets a string and records only whether the request was served.
    pub async fn set(&mut self, client: &Client, key: &str, value: String) {
        let result = client
            .mutate(
                key,
                Mutation::Set {
                    value: value.into(),
                    expiry: SetExpiry::Clear,
                },
            )
            .await;
        self.outcome(&result);
    }

    /// Adds what another client was told.
    pub fn merge(&mut self, other: Self) {
        for (key, elements) in other.added {
            self.added.entry(key).or_default().extend(elements);
        }
        for (key, elements) in other.maybe_added {
            self.maybe_added.entry(key).or_default().extend(elements);
        }
        for (key, (acked, open)) in other.counted {
            let sum = self.counted.entry(key).or_default();
            *sum = (sum.0 + acked, sum.1 + open);
        }
        self.served += other.served;
        self.refused += other.refused;
        self.open += other.open;
    }

    /// Reads everything through `client` and compares it with the ledger.
    ///
    /// # Errors
    /// The first promise that was [`Broken`].
    pub async fn check(&self, client: &Client) -> Result<(), Broken> {
        let nothing = BTreeSet::new();
        for key in self
            .added
            .keys()
            .chain(self.maybe_added.keys())
            .collect::<BTreeSet<_>>()
        {
            let reply =
                client
                    .query(key, Query::Members)
                    .await
                    .map_err(|error| Broken::Unreadable {
                        key: key.clone(),
                        error,
                    })?;
            let Reply::List(present) = reply else {
                return Err(Broken::Shape { key: key.clone() });
            };
            let present: BTreeSet<Bytes> = present.into_iter().collect();
            let (added, maybe) = (
                self.added.get(key).unwrap_or(&nothing),
                self.maybe_added.get(key).unwrap_or(&nothing),
            );
            let missing = added.difference(&present).count();
            if missing > 0 {
                return Err(Broken::Lost {
                    key: key.clone(),
                    missing,
                });
            }
            let invented = present
                .iter()
                .filter(|element| !added.contains(*element) && !maybe.contains(*element))
                .count();
            if invented > 0 {
                return Err(Broken::Invented {
                    key: key.clone(),
                    invented,
                });
            }
        }
        for (key, &(acked, open)) in &self.counted {
            let reply =
                client
                    .query(key, Query::Get)
                    .await
                    .map_err(|error| Broken::Unreadable {
                        key: key.clone(),
                        error,
                    })?;
            let value = match reply {
                Reply::Nil => Some(0),
                Reply::Value(text) => std::str::from_utf8(&text)
                    .ok()
                    .and_then(|text| text.parse().ok()),
                _ => None,
            };
            let value: i64 = value.ok_or_else(|| Broken::Shape { key: key.clone() })?;
            if !(acked..=acked + open).contains(&value) {
                return Err(Broken::Miscounted {
                    key: key.clone(),
                    value,
                    acked,
                    open,
                });
            }
        }
        Ok(())
    }
}

/// What a client knows about its request.
enum Outcome {
    Done,
    Open,
    Refused,
}
