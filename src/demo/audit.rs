//! Reads everything back from one node, as any client would, and probes which replicas it reaches.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use quorate_control::topology::KeyspaceId;
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{Op, Query, Request, RequestError};

use super::error::DemoError;
use super::ledger::{Held, Kind, Ledger, Reading};
use super::wan;
use crate::doors::Data;
use crate::faces::resp::client::{Client, Options, Value};

/// Timeout of each exchange with the node.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many keys are probed to see which replicas a node can reach: enough that every node holds
/// some of them.
const PROBES: usize = 8;
/// Timeout of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);

/// What the node's own replicas hold (level `ONE`) for every key that was written. A key that it
/// refuses to read is missing from the result.
pub(super) async fn read_back(address: SocketAddr, ledger: &Ledger) -> Result<Reading, DemoError> {
    let keys: Vec<(String, Kind)> = ledger
        .keys()
        .map(|(key, kind)| (key.to_owned(), kind))
        .collect();
    let mut client = Client::connect(
        address,
        Options {
            timeout: PATIENCE,
            ..Options::default()
        },
    )
    .await?;
    let commands: Vec<[&[u8]; 4]> = keys
        .iter()
        .map(|(key, kind)| [b"CL".as_slice(), b"ONE", kind.command(), key.as_bytes()])
        .collect();
    let replies = client.pipeline(&commands).await?;
    let held = keys
        .iter()
        .zip(replies)
        .filter_map(|((key, kind), reply)| Some((key.clone(), kind.held(&reply)?)));
    Ok(held.collect())
}

/// How many of `all` replicas a node can reach now: the minimum over some keys. `None` if the node
/// does not know yet, or is stopping.
pub(super) async fn replicas_in_reach(door: &dyn Data, site: usize, all: usize) -> Option<usize> {
    let mut least = all;
    for number in 0..PROBES {
        let answer = door.submit(Request {
            keyspace: KeyspaceId(0),
            op: Op::Query(format!("probe:{number}").into(), Query::Get),
            consistency: Some(Consistency::All),
            timeout: PROBE_TIMEOUT,
            datacenter: wan::name(site).into(),
            id: None,
            claim: None,
        });
        match answer.await.ok()? {
            Ok(_) => {}
            Err(RequestError::Unavailable { alive, .. }) => least = least.min(alive as usize),
            Err(_) => return None,
        }
    }
    Some(least)
}

impl Kind {
    fn command(self) -> &'static [u8] {
        match self {
            Self::Text => b"GET",
            Self::Set => b"SMEMBERS",
            Self::Hash => b"HGETALL",
        }
    }

    fn held(self, reply: &Value) -> Option<Held> {
        match (self, reply) {
            (Self::Text, Value::Nil) => Some(Held::Nothing),
            (Self::Text, value) => Some(Held::Text(text(value)?)),
            (Self::Set, Value::Array(elements)) => Some(Held::Set(
                elements.iter().map(text).collect::<Option<BTreeSet<_>>>()?,
            )),
            (Self::Hash, Value::Array(words)) => {
                let pairs = words
                    .chunks(2)
                    .map(|pair| Some((text(pair.first()?)?, text(pair.get(1)?)?)));
                Some(Held::Hash(pairs.collect::<Option<BTreeMap<_, _>>>()?))
            }
            _ => None,
        }
    }
}

fn text(value: &Value) -> Option<String> {
    value
        .bytes()
        .map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
