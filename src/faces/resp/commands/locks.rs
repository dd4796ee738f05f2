//! `LOCK.*`, `SEMAPHORE.*` and `ELECTION.*`: what can be held, for as long as a lease is renewed.

use std::sync::Arc;

use bytes::Bytes;
use quorate_control::consensus::ReadLevel;
use quorate_control::coordinate::{
    AcquireRefusal, Acquired, By, CoordinationAnswer, CoordinationDeed, CoordinationOutcome,
    CoordinationQuery, ElectionCommand, ElectionOutcome, HoldRef, Holder, LockCommand, LockMode,
    LockOutcome, Name, NotHeld, Patience, Resource, ResourceKind, SemaphoreCommand,
    SemaphoreOutcome, SessionCommand, SessionId, SessionOutcome, SessionSpec, Ttl,
};
use quorate_control::topology::FencingToken;

use super::coordinator::{ask, decide, level, name, nothing, number, unforeseen, wrong};
use super::{integer, is, text};
use crate::faces::resp::encode::Encoder;
use crate::faces::resp::parse::Args;
use crate::faces::resp::refuse::Refused;
use crate::faces::resp::session::Session;
use crate::faces::resp::table::RunFuture;

/// What the words behind a command ask for.
struct Options {
    ttl: Option<Ttl>,
    wait_ms: u64,
    priority: i8,
    mode: LockMode,
    holder: Holder,
    session: Option<SessionId>,
    delay_ms: u32,
    take: u32,
}

impl Options {
    /// Reads the words from number `from` on. `TTL` takes milliseconds, as `WAIT` does.
    fn read(args: Args<'_>, from: usize) -> Result<Self, Refused> {
        let mut read = Self {
            ttl: None,
            wait_ms: 0,
            priority: 0,
            mode: LockMode::Exclusive,
            holder: Holder::default(),
            session: None,
            delay_ms: 0,
            take: 1,
        };
        let mut words = args.iter(from);
        while let Some(word) = words.next() {
            if is(word, "SHARED") {
                read.mode = LockMode::Shared;
                continue;
            }
            let value = words.next().ok_or(Refused::Syntax)?;
            if is(word, "TTL") {
                // Zero and less are no numbers of their own here: the refusal says the bounds.
                let ms = u64::try_from(integer(value)?).unwrap_or(0);
                read.ttl = Some(Ttl::try_from(ms).map_err(wrong)?);
            } else if is(word, "WAIT") || is(word, "TIMEOUT") {
                read.wait_ms = number(value)?;
            } else if is(word, "PRIORITY") {
                read.priority = number(value)?;
            } else if is(word, "HOLDER") {
                let holder: Arc<str> = text(value).into();
                read.holder = Holder::try_from(holder).map_err(wrong)?;
            } else if is(word, "SESSION") {
                read.session = Some(SessionId(number(value)?));
            } else if is(word, "DELAY") {
                read.delay_ms = number(value)?;
            } else if is(word, "TAKE") {
                read.take = number(value)?;
            } else {
                return Err(Refused::Syntax);
            }
        }
        Ok(read)
    }

    /// Under which session to ask: one that was named, or a new one, which needs a TTL.
    fn by(&self) -> Result<By, Refused> {
        match (self.session, self.ttl) {
            (Some(session), _) => Ok(By::Session(session)),
            (None, Some(ttl)) => Ok(By::New(self.spec(ttl)?)),
            (None, None) => Err(Refused::Coordination {
                why: "TTL is missing: there is no lock without one".to_owned(),
            }),
        }
    }

    fn spec(&self, ttl: Ttl) -> Result<SessionSpec, Refused> {
        let spec = SessionSpec::new(self.holder.clone(), ttl, self.delay_ms);
        spec.map_err(wrong)
    }

    fn patience(&self) -> Result<Patience, Refused> {
        Patience::new(self.wait_ms, self.priority).map_err(wrong)
    }
}

/// The hold that `key token [SESSION id]` names.
fn hold(args: Args<'_>, kind: ResourceKind) -> Result<HoldRef, Refused> {
    let resource = Resource {
        kind,
        name: name(args, 1)?,
    };
    Ok(HoldRef {
        resource,
        token: FencingToken(number(args.get(2))?),
        session: Options::read(args, 3)?.session,
    })
}

/// The refusal of a request to hold something.
pub(super) fn refused(refusal: &AcquireRefusal) -> Refused {
    let AcquireRefusal::WouldDeadlock { cycle } = refusal else {
        return Refused::Coordination {
            why: refusal.to_string(),
        };
    };
    let parties = cycle.iter().map(|party| {
        let who = match party.holder.as_str() {
            "" => format!("session {}", party.session.0),
            holder => holder.to_owned(),
        };
        format!("{who} waits for {}", party.waits_for.name)
    });
    Refused::Deadlock {
        circle: parties.collect::<Vec<_>>().join(", "),
    }
}

/// `[token, session]`, or nil if it was not granted.
fn acquired(acquired: &Acquired, to: &mut Encoder) {
    match acquired {
        Acquired::Granted { token, session, .. } => {
            to.array(2);
            to.count(token.0);
            to.count(session.0);
        }
        Acquired::Waiting { .. } | Acquired::Taken { .. } => to.null(),
    }
}

pub(crate) fn lock<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let options = Options::read(args, 2)?;
        acquire_locks(session, &options, vec![name(args, 1)?], to).await
    })
}

pub(crate) fn lock_all<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let count: usize = number(args.get(1))?;
        if count == 0 || count > args.len() - 2 {
            return Err(Refused::Syntax);
        }
        let names = (2..2 + count).map(|at| name(args, at));
        let names = names.collect::<Result<Vec<_>, _>>()?;
        let options = Options::read(args, 2 + count)?;
        acquire_locks(session, &options, names, to).await
    })
}

async fn acquire_locks(
    session: &mut Session,
    options: &Options,
    names: Vec<Name>,
    to: &mut Encoder,
) -> Result<Vec<Bytes>, Refused> {
    let deed = CoordinationDeed::Lock(LockCommand::Acquire {
        by: options.by()?,
        names,
        mode: options.mode,
        patience: options.patience()?,
    });
    match decide(session, deed, options.wait_ms).await? {
        CoordinationOutcome::Lock(LockOutcome::Acquired(outcome)) => acquired(&outcome, to),
        CoordinationOutcome::Lock(LockOutcome::Refused(refusal)) => return Err(refused(&refusal)),
        _ => return Err(unforeseen()),
    }
    Ok(nothing())
}

/// Renews, releases or changes a hold: 1, or 0 if there is no such hold.
async fn on_hold(
    session: &mut Session,
    deed: CoordinationDeed,
    to: &mut Encoder,
) -> Result<Vec<Bytes>, Refused> {
    let is_done = match decide(session, deed, 0).await? {
        CoordinationOutcome::Lock(LockOutcome::Kept { .. }) => true,
        CoordinationOutcome::Lock(LockOutcome::NotHeld(NotHeld::Lost { .. })) => false,
        CoordinationOutcome::Lock(LockOutcome::NotHeld(ambiguous)) => {
            let why = ambiguous.to_string();
            return Err(Refused::Coordination { why });
        }
        CoordinationOutcome::Semaphore(SemaphoreOutcome::Kept(kept))
        | CoordinationOutcome::Election(ElectionOutcome::Kept(kept)) => kept,
        CoordinationOutcome::Election(ElectionOutcome::Refused(refusal)) => {
            return Err(refused(&refusal));
        }
        _ => return Err(unforeseen()),
    };
    to.integer(i64::from(is_done));
    Ok(nothing())
}

macro_rules! on_holds {
    ($($(#[$doc:meta])* $function:ident: $kind:ident, $hold:ident => $deed:expr;)*) => {$(
        $(#[$doc])*
        pub(crate) fn $function<'a>(
            session: &'a mut Session,
            args: Args<'a>,
            to: &'a mut Encoder,
        ) -> RunFuture<'a> {
            Box::pin(async move {
                let $hold = hold(args, ResourceKind::$kind)?;
                on_hold(session, $deed, to).await
            })
        }
    )*};
}

on_holds! {
    renew: Lock, hold => CoordinationDeed::Lock(LockCommand::Renew(hold));
    release: Lock, hold => CoordinationDeed::Lock(LockCommand::Release(hold));
    downgrade: Lock, hold => CoordinationDeed::Lock(LockCommand::Downgrade(hold));
    renew_permits: Semaphore, hold => CoordinationDeed::Semaphore(SemaphoreCommand::Renew(hold));
    release_permits: Semaphore, hold => {
        CoordinationDeed::Semaphore(SemaphoreCommand::Release(hold))
    };
    renew_leadership: Election, hold => CoordinationDeed::Election(ElectionCommand::Renew(hold));
    resign: Election, hold => CoordinationDeed::Election(ElectionCommand::Resign(hold));
}

/// Takes a lock from all that hold it. Whoever asks stands in the log.
pub(crate) fn force<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let name = name(args, 1)?;
        tracing::info!(user = session.user(), lock = %name, "a lock is taken from its holders");
        let deed = CoordinationDeed::Lock(LockCommand::Force { name, token: None });
        match decide(session, deed, 0).await? {
            CoordinationOutcome::Lock(LockOutcome::Forced { sessions }) => {
                to.integer(i64::from(sessions));
                Ok(nothing())
            }
            _ => Err(unforeseen()),
        }
    })
}

/// The locks that are held, each as a map.
pub(crate) fn list<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let held_by = match args.len() {
            1 => None,
            3 if is(args.get(1), "HELD-BY") => {
                let holder: Arc<str> = text(args.get(2)).into();
                Some(Holder::try_from(holder).map_err(wrong)?)
            }
            _ => return Err(Refused::Syntax),
        };
        let answer = ask(
            session,
            CoordinationQuery::Locks { held_by },
            ReadLevel::Strong,
        )
        .await?;
        let CoordinationAnswer::Locks(locks) = answer else {
            return Err(unforeseen());
        };
        to.array(locks.len());
        for lock in locks {
            to.map(5);
            to.bulk(b"key");
            to.bulk(lock.name.bytes());
            to.bulk(b"mode");
            to.bulk(match lock.mode {
                LockMode::Exclusive => b"exclusive".as_slice(),
                LockMode::Shared => b"shared",
            });
            to.bulk(b"token");
            to.count(lock.token.0);
            to.bulk(b"holders");
            to.array(lock.holders.len());
            for holder in lock.holders {
                to.map(3);
                to.bulk(b"holder");
                to.bulk(holder.holder.as_str().as_bytes());
                to.bulk(b"session");
                to.count(holder.session.0);
                to.bulk(b"expires-in-ms");
                to.count(holder.ends_in_ms);
            }
            to.bulk(b"waiting");
            to.array(lock.waiters.len());
            for waiter in lock.waiters {
                to.map(2);
                to.bulk(b"holder");
                to.bulk(waiter.holder.as_str().as_bytes());
                to.bulk(b"session");
                to.count(waiter.session.0);
            }
        }
        Ok(nothing())
    })
}

/// Who holds a lock, what that holder waits for, who holds that, and so on: a line for each.
pub(crate) fn why<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let answer = ask(
            session,
            CoordinationQuery::Why(name(args, 1)?),
            ReadLevel::Strong,
        )
        .await?;
        let CoordinationAnswer::Why(chain) = answer else {
            return Err(unforeseen());
        };
        to.array(chain.len());
        for link in chain {
            let who = match link.holder.as_str() {
                "" => String::new(),
                holder => format!("{holder}, "),
            };
            let next = match link.waits_for {
                None => String::new(),
                Some(next) => format!(", which waits for {}", next.name),
            };
            let line = format!(
                "{} is held by {who}session {} under token {}{next}",
                link.resource.name, link.session.0, link.token.0
            );
            to.bulk(line.as_bytes());
        }
        Ok(nothing())
    })
}

/// `LOCK.OPEN TTL ms [HOLDER name] [DELAY ms]`: a session that lasts while it is renewed.
pub(crate) fn open<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let options = Options::read(args, 1)?;
        let ttl = options.ttl.ok_or(Refused::Syntax)?;
        let open = SessionCommand::Open(options.spec(ttl)?);
        match decide(session, CoordinationDeed::Session(open), 0).await? {
            CoordinationOutcome::Session(SessionOutcome::Opened(session)) => to.count(session.0),
            CoordinationOutcome::Session(SessionOutcome::Refused(refusal)) => {
                return Err(refused(&refusal));
            }
            _ => return Err(unforeseen()),
        }
        Ok(nothing())
    })
}

/// `LOCK.KEEPALIVE session …`: how many of them are open and have their whole time again.
pub(crate) fn keep_alive<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let sessions = args.iter(1).map(|word| number(word).map(SessionId));
        let sessions = sessions.collect::<Result<Vec<_>, _>>()?;
        let count = sessions.len();
        let renew = CoordinationDeed::Session(SessionCommand::Renew(sessions));
        match decide(session, renew, 0).await? {
            CoordinationOutcome::Session(SessionOutcome::Renewed { ended }) => {
                to.count((count - ended.len()) as u64);
                Ok(nothing())
            }
            _ => Err(unforeseen()),
        }
    })
}

/// `LOCK.CLOSE session`: 1, or 0 if it had ended.
pub(crate) fn close<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let close = SessionCommand::Close(SessionId(number(args.get(1))?));
        match decide(session, CoordinationDeed::Session(close), 0).await? {
            CoordinationOutcome::Session(SessionOutcome::Closed(was_open)) => {
                to.integer(i64::from(was_open));
                Ok(nothing())
            }
            _ => Err(unforeseen()),
        }
    })
}

/// `SEMAPHORE.ACQUIRE key permits TTL ms …`.
pub(crate) fn permits<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let options = Options::read(args, 3)?;
        let deed = CoordinationDeed::Semaphore(SemaphoreCommand::Acquire {
            by: options.by()?,
            name: name(args, 1)?,
            size: number(args.get(2))?,
            take: options.take,
            patience: options.patience()?,
        });
        match decide(session, deed, options.wait_ms).await? {
            CoordinationOutcome::Semaphore(SemaphoreOutcome::Acquired(outcome)) => {
                acquired(&outcome, to);
            }
            CoordinationOutcome::Semaphore(SemaphoreOutcome::Refused(refusal)) => {
                return Err(refused(&refusal));
            }
            _ => return Err(unforeseen()),
        }
        Ok(nothing())
    })
}

/// `SEMAPHORE.RESIZE key permits`: how many it had; nil if nobody uses it.
pub(crate) fn resize<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let deed = CoordinationDeed::Semaphore(SemaphoreCommand::Resize {
            name: name(args, 1)?,
            size: number(args.get(2))?,
        });
        match decide(session, deed, 0).await? {
            CoordinationOutcome::Semaphore(SemaphoreOutcome::Resized(before)) => match before {
                Some(before) => to.integer(i64::from(before)),
                None => to.null(),
            },
            CoordinationOutcome::Semaphore(SemaphoreOutcome::Refused(refusal)) => {
                return Err(refused(&refusal));
            }
            _ => return Err(unforeseen()),
        }
        Ok(nothing())
    })
}

/// `ELECTION.CAMPAIGN key value TTL ms …`.
pub(crate) fn campaign<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let options = Options::read(args, 3)?;
        let deed = CoordinationDeed::Election(ElectionCommand::Campaign {
            by: options.by()?,
            name: name(args, 1)?,
            value: args.kept(2),
            patience: options.patience()?,
        });
        match decide(session, deed, options.wait_ms).await? {
            CoordinationOutcome::Election(ElectionOutcome::Acquired(outcome)) => {
                acquired(&outcome, to);
            }
            CoordinationOutcome::Election(ElectionOutcome::Refused(refusal)) => {
                return Err(refused(&refusal));
            }
            _ => return Err(unforeseen()),
        }
        Ok(nothing())
    })
}

/// `ELECTION.PROCLAIM key token value`.
pub(crate) fn proclaim<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let resource = Resource {
            kind: ResourceKind::Election,
            name: name(args, 1)?,
        };
        let hold = HoldRef {
            resource,
            token: FencingToken(number(args.get(2))?),
            session: None,
        };
        let value = args.kept(3);
        let deed = CoordinationDeed::Election(ElectionCommand::Proclaim { hold, value });
        on_hold(session, deed, to).await
    })
}

/// `ELECTION.OBSERVE key [STRONG | LEASE | STALE [ms]]`: `[value, token]`, or nil if nobody leads.
pub(crate) fn observe<'a>(
    session: &'a mut Session,
    args: Args<'a>,
    to: &'a mut Encoder,
) -> RunFuture<'a> {
    Box::pin(async move {
        let query = CoordinationQuery::Leader(name(args, 1)?);
        match ask(session, query, level(args, 2)?).await? {
            CoordinationAnswer::Leader(Some(led)) => {
                to.array(2);
                to.bulk(&led.value);
                to.count(led.token.0);
            }
            CoordinationAnswer::Leader(None) => to.null(),
            _ => return Err(unforeseen()),
        }
        Ok(nothing())
    })
}
