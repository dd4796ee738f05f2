//! Locks, semaphores and elections as they behave when one operation follows another: who holds
//! what under which token, and until when at least.
//!
//! A grant with a time to live may end by itself, but not before that time has passed since its
//! holder asked for it or renewed it. So the clock of the history decides what is possible, and
//! never what must be.

use serde::Deserialize;
use serde_json::Value;

use super::history::{Action, Process};
use super::linear::Machine;
use super::operation::Operation;
use super::unusable::Unusable;

/// The machine of what is held. Clocks may differ by `skew` nanoseconds.
pub(super) struct Leases {
    pub(super) skew: u64,
}

/// How something is to be held: the value of an `acquire` when it begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Terms {
    /// Milliseconds after which it may end unless it is renewed; without them it lasts.
    ttl: Option<u64>,
    /// Whether others may share it.
    shared: bool,
    /// Permits of a semaphore to take.
    permits: Option<u64>,
    /// How many it has.
    of: Option<u64>,
}

/// Who holds, and the highest token so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Held {
    highest: Option<u64>,
    holders: Vec<Holder>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Holder {
    process: Process,
    /// `None` if nobody has said it yet.
    token: Option<u64>,
    shared: bool,
    permits: u64,
    ttl: Option<u64>,
    /// Before this moment it is not lost. `None`: it is never lost.
    until: Option<u64>,
}

/// Checks the values of all requests to hold something.
pub(super) fn check_terms(operations: &[Operation<'_>]) -> Result<(), Unusable> {
    let asked = operations
        .iter()
        .filter(|operation| operation.call.f == Action::Acquire);
    for operation in asked {
        terms(&operation.call.value).map_err(|cause| Unusable::BadTerms {
            key: operation.key().into(),
            cause: cause.to_string().into(),
        })?;
    }
    Ok(())
}

fn terms(of: &Value) -> Result<Terms, serde_json::Error> {
    if of.is_object() {
        return Terms::deserialize(of);
    }
    // Without terms it is held alone until it is given back.
    Ok(Terms::default())
}

fn nanos(ms: u64) -> u64 {
    ms.saturating_mul(1_000_000)
}

impl Leases {
    /// Whether the hold may have ended by itself before `operation` was over.
    fn may_be_lost(&self, holder: &Holder, operation: &Operation<'_>) -> bool {
        let over = operation.ended().saturating_add(self.skew);
        holder.until.is_some_and(|until| until <= over)
    }

    /// Without all of `lost`, which must be possible.
    fn lose(
        &self,
        state: &mut Held,
        operation: &Operation<'_>,
        lost: impl Fn(&Holder) -> bool,
    ) -> Option<()> {
        let may = |holder: &Holder| !lost(holder) || self.may_be_lost(holder, operation);
        state.holders.iter().all(may).then_some(())?;
        state.holders.retain(|holder| !lost(holder));
        Some(())
    }

    fn acquire(&self, mut state: Held, operation: &Operation<'_>) -> Option<Held> {
        let terms = terms(&operation.call.value).ok()?;
        let token = operation.answer().as_u64();
        let joins = terms.shared
            && token.is_some()
            && state
                .holders
                .iter()
                .any(|other| other.shared && other.token == token);
        if let Some(permits) = terms.permits {
            let sure = |holder: &&Holder| !self.may_be_lost(holder, operation);
            let given = state.holders.iter().filter(sure).map(|it| it.permits);
            let free = terms.of?.checked_sub(given.sum())?;
            (permits <= free).then_some(())?;
        } else if terms.shared {
            let other_grant = |holder: &Holder| token.is_some() && holder.token.is_some() && !joins;
            self.lose(&mut state, operation, |holder| {
                !holder.shared || other_grant(holder)
            })?;
        } else {
            self.lose(&mut state, operation, |_| true)?;
        }
        if let Some(token) = token.filter(|_| !joins) {
            state.raise(token)?;
        }
        let ends = |ttl| {
            if operation.done() {
                operation.call.time.saturating_add(nanos(ttl))
            } else {
                // What nobody has heard of is given back at any time.
                0
            }
        };
        state.holders.push(Holder {
            process: operation.call.process,
            token,
            shared: terms.shared,
            permits: terms.permits.unwrap_or(0),
            ttl: terms.ttl,
            until: terms.ttl.map(ends),
        });
        state.holders.sort_unstable();
        Some(state)
    }

    /// Gives back what the operation names, or renews it.
    fn name(&self, mut state: Held, operation: &Operation<'_>) -> Option<Held> {
        let token = operation.call.value.as_u64();
        let named = |holder: &Holder| {
            holder.process == operation.call.process && (token.is_none() || holder.token == token)
        };
        let mut held: Vec<(Option<u64>, usize)> = state
            .holders
            .iter()
            .enumerate()
            .filter(|(_, holder)| named(holder))
            .map(|(at, holder)| (holder.until, at))
            .collect();
        held.sort_unstable_by_key(|(until, _)| until.unwrap_or(u64::MAX));
        if operation.done() && *operation.answer() == Value::Bool(false) {
            // A process that shares a lock with itself may name either hold: the first to be lost.
            if let Some((_, at)) = held.first() {
                let lost = state.holders.remove(*at);
                self.may_be_lost(&lost, operation).then_some(())?;
            }
            return Some(state);
        }
        // The one that is left may be lost sooner.
        let (_, at) = *held.last()?;
        if operation.call.f == Action::Release {
            state.holders.remove(at);
        } else {
            let holder = &mut state.holders[at];
            let renewed = holder
                .ttl
                .map(|ttl| operation.call.time.saturating_add(nanos(ttl)));
            holder.until = holder.until.max(renewed);
            state.holders.sort_unstable();
        }
        Some(state)
    }

    /// Somebody looks who holds it: nobody, or whoever has this token.
    fn look(&self, mut state: Held, operation: &Operation<'_>) -> Option<Held> {
        let Some(token) = operation.answer().as_u64() else {
            self.lose(&mut state, operation, |_| true)?;
            return Some(state);
        };
        let known = state.holders.iter().any(|it| it.token == Some(token));
        if !known {
            // A grant that its holder has not heard of. It has the newest token if it shared that
            // with holders who have left since.
            let newest = state.highest == Some(token);
            let fits = |it: &&mut Holder| it.token.is_none() && (it.shared || !newest);
            let unheard = state.holders.iter_mut().find(fits)?;
            unheard.token = Some(token);
            if !newest {
                state.raise(token)?;
            }
        }
        self.lose(&mut state, operation, |holder| {
            holder.token.is_some_and(|other| other != token)
        })?;
        state.holders.sort_unstable();
        Some(state)
    }
}

impl Held {
    /// Tokens rise.
    fn raise(&mut self, token: u64) -> Option<()> {
        let rises = self.highest.is_none_or(|before| before < token);
        self.highest = Some(token);
        rises.then_some(())
    }
}

impl Machine for Leases {
    type State = Held;
    const NO_ORDER: &'static str = "no order of these operations has one holder at a time, rising tokens, and no hold that is lost before its time";

    fn knows(&self, action: &Action) -> bool {
        action.is_about_holding() || action.is_read()
    }

    fn step(&self, state: &Held, operation: &Operation<'_>) -> Option<Held> {
        match operation.call.f {
            Action::Acquire => self.acquire(state.clone(), operation),
            Action::Release | Action::Renew => self.name(state.clone(), operation),
            _ => self.look(state.clone(), operation),
        }
    }

    fn goes_with(
        &self,
        chosen: &Operation<'_>,
        other: &Operation<'_>,
        all: &[Operation<'_>],
    ) -> bool {
        if chosen.call.f.is_read() {
            return false;
        }
        if !other.call.f.is_read() {
            return other.call.process == chosen.call.process;
        }
        let mut grants = all
            .iter()
            .filter(|it| it.call.f == Action::Acquire && it.call.process == chosen.call.process);
        // One of unknown outcome may be what any look has shown.
        grants.any(|grant| !grant.done() || grant.answer() == other.answer())
    }
}
