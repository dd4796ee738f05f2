//! Clients of the coordination group in a planned history. Each makes one bid at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use quorate_control::consensus::ReadLevel;
use quorate_control::coordinate::{
    Acquired, By, CoordinationAnswer, CoordinationDeed, CoordinationOutcome, CoordinationQuery,
    ElectionCommand, ElectionOutcome, HoldRef, Holder, LockCommand, LockMode, LockOutcome,
    MetadataCommand, MetadataOutcome, Name, Patience, Resource, ResourceKind, Revision,
    SemaphoreCommand, SemaphoreOutcome, SessionId, SessionSpec, Ttl, WordError,
};
use quorate_control::topology::FencingToken;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::ask::Shared;
use super::grants::{Fortune, Heard};
use super::host::Door;
use super::plan::bid::{Bid, PERMITS, Stake, Thing, Wish};
use crate::doors::{CoordinationError, Coordinator};

/// How long a client waits for an answer, besides the wait that it asks for: longer than a node
/// tries to get one.
const PATIENCE: Duration = Duration::from_secs(20);
/// How many grants of each thing a client remembers.
const GRANTS: usize = 4;

/// A bid and the door it goes through.
pub(super) struct Approach {
    pub(super) bid: Bid,
    pub(super) door: Door,
}

/// A client.
pub(super) struct Bidder {
    shared: Shared,
    /// What it was granted, newest first.
    grants: BTreeMap<Thing, VecDeque<Grant>>,
    /// The values that it has seen last, each with its revision.
    seen: BTreeMap<Thing, (Option<u64>, Revision)>,
}

/// What a client was granted, and by which bid.
#[derive(Clone, Copy)]
struct Grant {
    token: FencingToken,
    session: SessionId,
    bid: u32,
}

/// What the node is asked for.
enum Asked {
    Deed(CoordinationDeed, Duration),
    Query(CoordinationQuery, ReadLevel),
}

impl Bidder {
    pub(super) fn new(shared: Shared) -> Self {
        Self {
            shared,
            grants: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    /// Makes its bids one after the other.
    pub(super) async fn work(mut self, mut bids: mpsc::UnboundedReceiver<Approach>) {
        while let Some(Approach { bid, door }) = bids
            .recv()
            .await
            .filter(|_| !self.shared.dismissed.load(Ordering::Relaxed))
        {
            self.bid(bid, &door).await;
        }
    }

    async fn bid(&mut self, bid: Bid, door: &Door) {
        let named = match bid.wish {
            Wish::Renew(before) | Wish::GiveBack(before) => {
                let grants = self.grants.get(&bid.thing);
                let grant = grants.and_then(|grants| grants.get(usize::from(before)));
                match grant {
                    Some(grant) => Some(*grant),
                    // It has nothing to name.
                    None => return,
                }
            }
            Wish::Take(_) | Wish::Look { .. } | Wish::Write { .. } => None,
        };
        let from = self.shared.start.elapsed();
        let token = named.map(|grant| grant.token.0);
        let process = named.map_or(bid.id, |grant| grant.bid);
        let seen = self.seen.get(&bid.thing).copied();
        let (value, revision) = seen.unwrap_or((None, Revision::NONE));
        self.shared
            .grants
            .begins(&bid, process, token.or(value), from);
        let fortune = match (door.get(), asked(&bid, named, revision)) {
            (Some(data), Ok(asked)) => self.ask(&bid, &*data.coordinator(), asked).await,
            // Nobody is listening, so nothing was sent.
            _ => Fortune::Refused,
        };
        let to = self.shared.start.elapsed();
        let heard = Heard {
            bid,
            from,
            to,
            fortune,
        };
        self.shared.grants.ends(heard, process);
    }

    async fn ask(&mut self, bid: &Bid, door: &dyn Coordinator, asked: Asked) -> Fortune {
        match asked {
            Asked::Deed(deed, wait) => {
                let answer = timeout(wait + PATIENCE, door.decide(deed, wait)).await;
                match answer {
                    Ok(Ok(Ok(outcome))) => self.told(bid, &outcome),
                    Ok(Ok(Err(CoordinationError::NoQuorum | CoordinationError::Malformed))) => {
                        Fortune::Refused
                    }
                    _ => Fortune::Open,
                }
            }
            Asked::Query(query, level) => match timeout(PATIENCE, door.ask(query, level)).await {
                Ok(Ok(Ok(answer))) => {
                    let shown = shown(bid.thing, &answer);
                    if let CoordinationAnswer::Metadata(entry) = answer {
                        let revision = entry.map_or(Revision::NONE, |entry| entry.revision);
                        self.seen.insert(bid.thing, (shown, revision));
                    }
                    Fortune::Shown(shown)
                }
                _ => Fortune::Refused,
            },
        }
    }

    fn told(&mut self, bid: &Bid, outcome: &CoordinationOutcome) -> Fortune {
        let thing = bid.thing;
        match outcome {
            CoordinationOutcome::Metadata(MetadataOutcome::Put(revision)) => {
                self.seen
                    .insert(thing, (Some(u64::from(bid.id)), *revision));
                Fortune::Written
            }
            CoordinationOutcome::Lock(LockOutcome::Acquired(acquired))
            | CoordinationOutcome::Semaphore(SemaphoreOutcome::Acquired(acquired))
            | CoordinationOutcome::Election(ElectionOutcome::Acquired(acquired)) => {
                match acquired {
                    Acquired::Granted { token, session, .. } => {
                        let grants = self.grants.entry(thing).or_default();
                        grants.push_front(Grant {
                            token: *token,
                            session: *session,
                            bid: bid.id,
                        });
                        grants.truncate(GRANTS);
                        Fortune::Granted(token.0)
                    }
                    Acquired::Taken { .. } => Fortune::Refused,
                    Acquired::Waiting { .. } => Fortune::Open,
                }
            }
            CoordinationOutcome::Lock(LockOutcome::Kept { .. }) => Fortune::Kept(true),
            CoordinationOutcome::Lock(LockOutcome::NotHeld(_)) => Fortune::Kept(false),
            CoordinationOutcome::Semaphore(SemaphoreOutcome::Kept(kept))
            | CoordinationOutcome::Election(ElectionOutcome::Kept(kept)) => Fortune::Kept(*kept),
            _ => Fortune::Refused,
        }
    }
}

fn kind(thing: Thing) -> ResourceKind {
    match thing {
        Thing::Lock(_) => ResourceKind::Lock,
        Thing::Semaphore(_) => ResourceKind::Semaphore,
        // A value is not held.
        Thing::Election(_) | Thing::Metadata(_) => ResourceKind::Election,
    }
}

/// The request as the node takes it.
fn asked(bid: &Bid, named: Option<Grant>, seen: Revision) -> Result<Asked, WordError> {
    let name = Name::try_from(bid.thing.name())?;
    let hold = named.map(|Grant { token, session, .. }| HoldRef {
        resource: Resource {
            kind: kind(bid.thing),
            name: name.clone(),
        },
        token,
        session: Some(session),
    });
    let at_once = |deed| Asked::Deed(deed, Duration::ZERO);
    Ok(match (bid.wish, hold) {
        (Wish::Renew(_), Some(hold)) => at_once(match bid.thing {
            Thing::Lock(_) => CoordinationDeed::Lock(LockCommand::Renew(hold)),
            Thing::Semaphore(_) => CoordinationDeed::Semaphore(SemaphoreCommand::Renew(hold)),
            _ => CoordinationDeed::Election(ElectionCommand::Renew(hold)),
        }),
        (Wish::GiveBack(_), Some(hold)) => at_once(match bid.thing {
            Thing::Lock(_) => CoordinationDeed::Lock(LockCommand::Release(hold)),
            Thing::Semaphore(_) => CoordinationDeed::Semaphore(SemaphoreCommand::Release(hold)),
            _ => CoordinationDeed::Election(ElectionCommand::Resign(hold)),
        }),
        (Wish::Take(stake), _) => {
            Asked::Deed(take(bid, stake, name)?, Duration::from_millis(stake.wait))
        }
        (Wish::Write { if_seen }, _) => at_once(CoordinationDeed::Metadata(MetadataCommand::Put {
            name,
            value: Bytes::from(bid.id.to_string()),
            expected: if_seen.then_some(seen),
        })),
        (wish, _) => {
            let query = match bid.thing {
                Thing::Election(_) => CoordinationQuery::Leader(name),
                Thing::Metadata(_) => CoordinationQuery::Metadata(name),
                _ => CoordinationQuery::Locks { held_by: None },
            };
            let level = match wish {
                Wish::Look { by_lease: true } => ReadLevel::Lease,
                _ => ReadLevel::Strong,
            };
            Asked::Query(query, level)
        }
    })
}

fn take(bid: &Bid, stake: Stake, name: Name) -> Result<CoordinationDeed, WordError> {
    let Stake {
        ttl,
        wait,
        shared,
        permits,
    } = stake;
    let holder = Holder::try_from(Arc::from(format!("client {}", bid.client)))?;
    let by = By::New(SessionSpec::new(holder, Ttl::try_from(ttl)?, 0)?);
    let patience = Patience::new(wait, 0)?;
    Ok(match bid.thing {
        Thing::Lock(_) => CoordinationDeed::Lock(LockCommand::Acquire {
            by,
            names: vec![name],
            mode: if shared {
                LockMode::Shared
            } else {
                LockMode::Exclusive
            },
            patience,
        }),
        Thing::Semaphore(_) => CoordinationDeed::Semaphore(SemaphoreCommand::Acquire {
            by,
            name,
            size: PERMITS,
            take: permits,
            patience,
        }),
        _ => CoordinationDeed::Election(ElectionCommand::Campaign {
            by,
            name,
            value: Bytes::from(bid.id.to_string()),
            patience,
        }),
    })
}

/// The token under which the thing is held, or the value.
fn shown(thing: Thing, answer: &CoordinationAnswer) -> Option<u64> {
    match answer {
        CoordinationAnswer::Leader(leader) => leader.as_ref().map(|leader| leader.token.0),
        CoordinationAnswer::Locks(locks) => {
            let lock = locks
                .iter()
                .find(|lock| *lock.name.bytes() == thing.name())?;
            Some(lock.token.0)
        }
        CoordinationAnswer::Metadata(entry) => std::str::from_utf8(&entry.as_ref()?.value)
            .ok()?
            .parse()
            .ok(),
        _ => None,
    }
}
