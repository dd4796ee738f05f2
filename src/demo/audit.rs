//! Reads everything back from one node, as any client would.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use super::DemoError;
use super::ledger::{Held, Kind, Ledger, Reading};
use crate::faces::resp::client::{Client, ClientError, Options, Refusal, Value};

/// Timeout of each exchange with the node.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many keys are probed to see which replicas a node can reach: enough that every node holds
/// some of them.
const PROBES: usize = 8;

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

/// How many of `all` replicas a node can reach now: the minimum over some keys. The node says so
/// itself when it cannot reach all.
pub(super) async fn replicas_in_reach(
    address: SocketAddr,
    all: usize,
) -> Result<Option<usize>, DemoError> {
    let mut client = Client::connect(
        address,
        Options {
            timeout: PATIENCE,
            ..Options::default()
        },
    )
    .await?;
    let mut least = Some(all);
    for number in 0..PROBES {
        let key = format!("probe:{number}");
        let reached = match client
            .command(&[b"CL", b"ALL,TIMEOUT=1s", b"GET", key.as_bytes()])
            .await
        {
            Ok(_) => Some(all),
            Err(ClientError::Refused(refusal)) => in_reach(&refusal),
            Err(error) => return Err(error.into()),
        };
        least = least.and_then(|least| Some(least.min(reached?)));
    }
    Ok(least)
}

/// The number in `NOTQUORATE ALL needs 9 replicas, 6 can be reached; missing …`.
fn in_reach(refusal: &Refusal) -> Option<usize> {
    let words = refusal.text.split_once(" replicas, ")?.1;
    words.split_once(" can be reached")?.0.parse().ok()
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
