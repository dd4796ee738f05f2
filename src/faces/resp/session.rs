//! The state of one connection: who the client is, what it has chosen, what it has written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use quorate_control::topology::{
    Caller, DEFAULT_USER, Datacenter, Denied, KeyspaceId, Partition, Right, Topology,
};
use quorate_dynamo::Consistency;
use quorate_dynamo::fence::Claim;
use quorate_dynamo::op::{Answer, Op, PartitionOp, Receipt, Request, RequestError};
use quorate_dynamo::protocol::RequestId;
use tokio::sync::watch;

use super::refuse::Refused;
use super::server::Server;
use super::work::Outcome;
use crate::doors::TIMEOUT_MAX;
use crate::faces::gate::{self, NotAdmitted};

/// [`TIMEOUT_MAX`] in milliseconds.
pub(crate) const TIMEOUT_MS_MAX: u64 = TIMEOUT_MAX.as_millis() as u64;

/// The level and timeout of a connection's requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    /// `None` takes the keyspace's default.
    pub consistency: Option<Consistency>,
    /// How long a request may take.
    pub timeout: Duration,
}

/// The parts of a level that a client has named; the rest stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The level.
    pub consistency: Wanted,
    /// How long a request may take.
    pub timeout: Option<Duration>,
}

/// Which level a client names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// None was named: keep the one before.
    #[default]
    Same,
    /// The keyspace's default.
    Default,
    /// This one.
    Level(Consistency),
}

impl Asked {
    /// Reads `LOCAL_QUORUM`, `R=2,W=2,TIMEOUT=50ms`, `TIMEOUT=1s` or `DEFAULT`.
    pub(crate) fn parse(spec: &[u8]) -> Result<Self, Refused> {
        // Usually this is a single name, and it runs for every command after `CL`.
        if let Some(level) = std::str::from_utf8(spec)
            .ok()
            .and_then(|name| name.parse().ok())
        {
            return Ok(Self {
                consistency: Wanted::Level(level),
                timeout: None,
            });
        }
        let spec = String::from_utf8_lossy(spec).to_ascii_uppercase();
        let mut asked = Self::default();
        let mut names = Vec::new();
        for part in spec.split(',') {
            match part.trim().strip_prefix("TIMEOUT=") {
                Some(time) => asked.timeout = Some(timeout(time)?),
                None => names.push(part.trim()),
            }
        }
        match names.join(",").as_str() {
            "" => {}
            "DEFAULT" => asked.consistency = Wanted::Default,
            "SERIAL" => return Err(Refused::LevelNotOffered { level: "SERIAL" }),
            "LOCAL_SERIAL" => {
                return Err(Refused::LevelNotOffered {
                    level: "LOCAL_SERIAL",
                });
            }
            "ANY" => return Err(Refused::LevelNotOffered { level: "ANY" }),
            name => asked.consistency = Wanted::Level(name.parse().map_err(Refused::Level)?),
        }
        Ok(asked)
    }

    /// The level; whatever was not named is taken from `base`.
    pub(crate) fn over(self, base: Level) -> Level {
        let consistency = match self.consistency {
            Wanted::Same => base.consistency,
            Wanted::Default => None,
            Wanted::Level(level) => Some(level),
        };
        Level {
            consistency,
            timeout: self.timeout.unwrap_or(base.timeout),
        }
    }
}

/// `50MS` or `2S`.
fn timeout(text: &str) -> Result<Duration, Refused> {
    let refused = Refused::LevelTimeout {
        max_ms: TIMEOUT_MS_MAX,
    };
    let (number, unit) = match text.strip_suffix("MS") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('S').ok_or_else(|| refused.clone())?, 1000),
    };
    let number: u64 = number.parse().map_err(|_not_a_number| refused.clone())?;
    match number.checked_mul(unit) {
        Some(ms @ 1..=TIMEOUT_MS_MAX) => Ok(Duration::from_millis(ms)),
        _ => Err(refused),
    }
}

/// The state of one connection. Commands change it only while none of its requests is under way.
#[derive(Debug)]
pub(crate) struct Session {
    /// State shared by all connections.
    pub server: Arc<Server>,
    /// The number of this connection. Numbers start at 1 and are never reused by a process.
    pub id: u64,
    /// Who the client is.
    pub caller: Caller,
    /// The keyspace of its keys.
    pub keyspace: KeyspaceId,
    /// The level of its reads.
    pub read: Level,
    /// The level of its writes.
    pub write: Level,
    /// The request name that the client has given to the current command.
    pub named: Option<RequestId>,
    /// The lock under which the current command acts.
    pub claim: Option<Claim>,
    /// The last event that this connection wrote in each partition: what `WAIT` waits for.
    pub receipts: BTreeMap<(KeyspaceId, Partition), Receipt>,
    /// Becomes true when the server is to stop.
    pub stop: watch::Receiver<bool>,
    /// The last `SELECT` was refused. Clients often do not look at the answer, and data must not go
    /// to a keyspace that they did not choose.
    pub unselected: bool,
    /// Close the connection after the replies so far.
    pub closing: bool,
    /// The datacenter of the node, once the node knows it.
    datacenter: Option<Datacenter>,
}

impl Session {
    /// A connection before its first command.
    pub(crate) fn new(server: Arc<Server>, id: u64, stop: watch::Receiver<bool>) -> Self {
        let level = Level {
            consistency: None,
            timeout: server.config.timeout,
        };
        Self {
            caller: server.config.gate.newcomer(),
            id,
            keyspace: KeyspaceId(0),
            read: level,
            write: level,
            named: None,
            claim: None,
            receipts: BTreeMap::new(),
            stop,
            unselected: false,
            closing: false,
            datacenter: None,
            server,
        }
    }

    /// Resets everything that a command can change to its initial state. Written events stay known
    /// to `WAIT`.
    pub(crate) fn reset(&mut self) {
        let fresh = Self::new(Arc::clone(&self.server), self.id, self.stop.clone());
        let receipts = std::mem::take(&mut self.receipts);
        *self = Self { receipts, ..fresh };
    }

    /// Checks a password and adopts the level that the user name asks for. A refusal changes
    /// nothing.
    pub(crate) async fn authenticate(
        &mut self,
        user: Option<&[u8]>,
        password: &[u8],
    ) -> Result<(), Refused> {
        let (topology, gate) = (self.server.data.topology(), &self.server.config.gate);
        if user.is_none() && !gate.has_password() && topology.users.is_empty() {
            return Err(Refused::NoPassword);
        }
        let wanted = match user {
            None => Profile::DEFAULT,
            Some(text) => Profile::parse(text, &topology).ok_or(Refused::WrongPass)?,
        };
        let admitted = gate.admit(&topology, wanted.user, password).await;
        self.caller = admitted.map_err(|why| match why {
            NotAdmitted::Wrong => Refused::WrongPass,
            NotAdmitted::Busy => Refused::TooManyChecks,
        })?;
        if let Some(user) = user {
            self.read.consistency = wanted.consistency;
            self.write.consistency = wanted.consistency;
            self.server.clients.update(self.id, |client| {
                client.user = String::from_utf8_lossy(user).into_owned();
            });
        }
        Ok(())
    }

    /// Whether the client need not authenticate, or has done so.
    pub(crate) fn authenticated(&self) -> bool {
        self.may(Right::Look).is_ok()
    }

    /// The name of the user that the client is.
    pub(crate) fn user(&self) -> &str {
        gate::name_of(&self.caller)
    }

    /// Whether the client has the right now: users come and go while it is connected.
    pub(crate) fn may(&self, right: Right) -> Result<(), Denied> {
        match self.caller {
            // The usual case; the answer does not depend on the topology.
            Caller::Default => Ok(()),
            _ => self.server.data.topology().allows(&self.caller, right),
        }
    }

    /// Whether the node can take requests. Learns the datacenter on the way.
    pub(crate) fn ready(&mut self) -> bool {
        if !self.server.data.ready() {
            return false;
        }
        if self.datacenter.is_none() {
            let topology = self.server.data.topology();
            self.datacenter = topology
                .nodes
                .get(&self.server.data.node())
                .map(|node| Arc::clone(&node.datacenter));
        }
        self.datacenter.is_some()
    }

    /// The number of partitions of the keyspace. A walk over those of one that was dropped would
    /// find nothing and say so without an error.
    pub(crate) fn partitions(&self) -> Result<u16, Refused> {
        let topology = self.server.data.topology();
        let keyspace = topology.keyspaces.get(&self.keyspace);
        keyspace
            .map(|keyspace| keyspace.placement.len() as u16)
            .ok_or(Refused::KeyspaceGone)
    }

    /// The request for `op`, which is change number `part` of its command, at this connection's
    /// level.
    pub(crate) fn request(&self, op: Op, part: usize) -> Request {
        let level = if writes(&op) { self.write } else { self.read };
        let datacenter = self.datacenter.clone().unwrap_or_else(|| Arc::from(""));
        let id = self.named.as_ref().map(|named| named.part(part));
        Request {
            keyspace: self.keyspace,
            op,
            consistency: level.consistency,
            timeout: level.timeout,
            datacenter,
            id,
            claim: self.claim,
        }
    }

    /// Sends one request and waits for its answer.
    pub(crate) async fn ask(&self, op: Op) -> Outcome {
        self.server
            .data
            .submit(self.request(op, 0))
            .await
            .unwrap_or(Err(RequestError::Stopping))
    }

    /// Remembers the event of a write, for `WAIT`.
    pub(crate) fn remember(&mut self, answer: &Answer) {
        if let Some(receipt) = answer.receipt {
            self.receipts
                .insert((receipt.keyspace, receipt.partition), receipt);
        }
    }
}

/// What a client puts into the place of the user's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Profile<'a> {
    user: &'a str,
    /// `None` stands for the keyspace's own level.
    consistency: Option<Consistency>,
}

impl<'a> Profile<'a> {
    const DEFAULT: Self = Self {
        user: DEFAULT_USER,
        consistency: None,
    };

    /// `ann`, `ann+quorum` or, for the user `default`, `quorum` alone. `None` if it is none of
    /// these.
    fn parse(text: &'a [u8], topology: &Topology) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let named = |user, level: &str| {
            let consistency = Some(level.parse().ok()?);
            Some(Self { user, consistency })
        };
        if topology.users.contains_key(text) {
            return Some(Self {
                user: text,
                consistency: None,
            });
        }
        match text.rsplit_once('+') {
            Some((user, level)) => named(user, level),
            None => named(DEFAULT_USER, text).or(Some(Self {
                user: text,
                consistency: None,
            })),
        }
    }
}

/// Whether the operation changes data.
pub(crate) fn writes(op: &Op) -> bool {
    matches!(op, Op::Mutate(..) | Op::Partition(_, PartitionOp::Clear))
}

#[cfg(test)]
mod tests;
