//! What clients were told by the coordination group: a history that `quorate check` can judge, and
//! the tokens under which clients write.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};

use super::plan::bid::{Bid, PERMITS, Stake, Thing, Wish};
use crate::check::{Action, Call, History};

/// What became of a bid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fortune {
    /// It is held, under this token.
    Granted(u64),
    /// Whether what was renewed or given back was held.
    Kept(bool),
    /// Who looked was shown this token or value, or that nobody holds it or none is there.
    Shown(Option<u64>),
    /// The value is there.
    Written,
    /// Nothing has changed.
    Refused,
    /// Nobody knows whether it was done.
    Open,
}

/// A bid, and what became of it.
#[derive(Clone, Debug)]
pub struct Heard {
    /// The bid.
    pub bid: Bid,
    /// When it was made, counted from when the cluster was first at rest.
    pub from: Duration,
    /// When the answer came.
    pub to: Duration,
    /// The answer.
    pub fortune: Fortune,
}

/// What all clients were told. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Grants(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    history: History,
    heard: Vec<Heard>,
    /// The newest token of each client for each lock.
    tokens: BTreeMap<(u8, u8), u64>,
}

impl Grants {
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0
            .lock()
            .expect("invariant: no code panics while it writes down a grant")
    }

    /// A client makes a bid. It names a token, or the value that it expects. Each hold is a process
    /// of its own, that of the bid which took it: a client may share a lock with itself.
    pub(super) fn begins(&self, bid: &Bid, process: u32, named: Option<u64>, at: Duration) {
        let (f, value) = match bid.wish {
            Wish::Take(Stake {
                ttl,
                shared,
                permits,
                ..
            }) => {
                let value = match bid.thing {
                    Thing::Semaphore(_) => json!({ "ttl": ttl, "permits": permits, "of": PERMITS }),
                    _ => json!({ "ttl": ttl, "shared": shared }),
                };
                (Action::Acquire, value)
            }
            Wish::Renew(_) => (Action::Renew, named.into()),
            Wish::GiveBack(_) => (Action::Release, named.into()),
            Wish::Look { .. } => (Action::Read, Value::Null),
            Wish::Write { if_seen: false } => (Action::Write, bid.id.into()),
            Wish::Write { if_seen: true } => (Action::Cas, json!([named, bid.id])),
        };
        let call = Call {
            node: Some(bid.node.to_string().into()),
            ..Call::new(u64::from(process), f, bid.thing.to_string(), value)
        };
        self.lock().history.invoke(call, nanos(at));
    }

    /// A client is told what became of its bid.
    pub(super) fn ends(&self, heard: Heard, process: u32) {
        let Known {
            history,
            heard: all,
            tokens,
        } = &mut *self.lock();
        let (process, at) = (u64::from(process), nanos(heard.to));
        match heard.fortune {
            Fortune::Granted(token) => history.ok(process, token.into(), at),
            Fortune::Kept(kept) => history.ok(process, kept.into(), at),
            Fortune::Shown(token) => history.ok(process, token.into(), at),
            Fortune::Written => history.ok(process, Value::Null, at),
            Fortune::Refused => history.fail(process, "refused", at),
            Fortune::Open => history.info(process, "unknown", at),
        }
        if let (Thing::Lock(number), Fortune::Granted(token)) = (heard.bid.thing, heard.fortune) {
            tokens.insert((heard.bid.client, number), token);
        }
        all.push(heard);
    }

    /// The newest token of this client for the lock of this number.
    pub(super) fn token(&self, client: u8, lock: u8) -> Option<u64> {
        self.lock().tokens.get(&(client, lock)).copied()
    }

    /// Takes everything: what was heard, in the order of asking, and the same as a history.
    pub(super) fn take(&self) -> (Vec<Heard>, History) {
        let Known {
            history, mut heard, ..
        } = std::mem::take(&mut *self.lock());
        heard.sort_by_key(|heard| (heard.from, heard.bid.id));
        (heard, history)
    }
}

fn nanos(at: Duration) -> u64 {
    u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)
}
