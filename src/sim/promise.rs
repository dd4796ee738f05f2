//! Holds what clients were told against `docs/consistency.md`. Every check knows what was done to
//! the cluster and excuses exactly what that explains: a write may be lost with its disks only if
//! at least as many disks were destroyed as its level has copies.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use quorate_crdt::NodeId;
use quorate_dynamo::op::{Reply, RequestError};

use super::history::{Fate, Need, Told};
use super::oracle::{Destruction, Harm, Violation};
use super::plan::{Action, Deed, Key, Kind, Plan, Step};

mod counter;
mod expiring;
mod register;
mod set;
mod siblings;
#[cfg(test)]
mod tests;
mod text;
mod turning;

/// Several times what a request takes on the slowest network without faults.
const LONG_ENOUGH_MS: u64 = 1_000;
/// Slack for rounding to milliseconds.
const ROUNDING: Duration = Duration::from_millis(5);

/// A history to judge.
pub(super) struct Judged<'a> {
    pub(super) plan: &'a Plan,
    /// In the order of asking.
    pub(super) history: &'a [Told],
    /// What every node answered at the end, when all was at rest.
    pub(super) last: &'a [Told],
    /// When nodes lost their copies.
    pub(super) destroyed: &'a [Destruction],
    /// The most by which two wall clocks may have differed, in milliseconds.
    pub(super) spread: u64,
}

/// The requests for one key.
pub(super) struct OfKey<'a> {
    judged: &'a Judged<'a>,
    keyspace: u8,
    key: Key,
    all: Vec<&'a Told>,
    last: Vec<&'a Told>,
    /// Requests that cleared a partition, perhaps that of this key.
    flushes: Vec<&'a Told>,
}

/// The reads of the last check for a key of this kind.
pub(super) fn last_reads(kind: Kind) -> Vec<Deed> {
    match kind {
        Kind::Register | Kind::Cell | Kind::Counter | Kind::Text => vec![Deed::Get],
        Kind::Expiring => vec![Deed::Get, Deed::Ttl],
        Kind::Siblings => vec![Deed::Siblings],
        Kind::Set => vec![Deed::Members],
        Kind::Hash | Kind::Tally => vec![Deed::Entries],
        Kind::Turning => vec![Deed::Get, Deed::Members],
        Kind::Mixed => vec![Deed::Get, Deed::Members, Deed::Entries],
    }
}

/// The promises that the history shows to be broken, at most one violation per check.
pub(super) fn judge(judged: &Judged<'_>) -> Vec<Violation> {
    let dropped = |keyspace: u8| {
        judged
            .plan
            .steps
            .iter()
            .any(|step| step.action == Action::DropKeyspace(keyspace))
    };
    let mut by_key: BTreeMap<(u8, Key), OfKey<'_>> = BTreeMap::new();
    // The last check's own deletions come after its reads, so the reads cannot have missed them.
    let last_reads = judged.last.iter().filter(|told| !told.ask.deed.writes());
    for told in judged
        .history
        .iter()
        .chain(last_reads)
        .filter(|told| !dropped(told.ask.keyspace))
    {
        let place = told.place();
        let of_key = by_key.entry(place).or_insert_with(|| OfKey {
            judged,
            keyspace: place.0,
            key: place.1,
            all: Vec::new(),
            last: Vec::new(),
            flushes: Vec::new(),
        });
        of_key.all.push(told);
    }
    for told in judged.last {
        if let Some(of_key) = by_key.get_mut(&told.place()) {
            of_key.last.push(told);
        }
    }
    for told in judged
        .history
        .iter()
        .filter(|told| told.ask.deed == Deed::Flush)
    {
        by_key
            .values_mut()
            .filter(|of_key| of_key.keyspace == told.ask.keyspace)
            .for_each(|of_key| of_key.flushes.push(told));
    }
    let mut found: Vec<Violation> = Vec::new();
    for of_key in by_key.values() {
        let shown = match of_key.key.0 {
            Kind::Register | Kind::Cell => register::judge(of_key),
            Kind::Expiring => expiring::judge(of_key),
            Kind::Counter => counter::judge(of_key),
            Kind::Text => text::judge(of_key),
            Kind::Siblings => siblings::judge(of_key),
            Kind::Set => set::judge(of_key),
            Kind::Hash => register::judge_fields(of_key),
            Kind::Tally => counter::judge_fields(of_key),
            Kind::Turning => turning::judge(of_key),
            Kind::Mixed => Vec::new(),
        };
        let shown = shown
            .into_iter()
            .chain(of_key.too_long())
            .filter(|violation| !of_key.rotten(violation));
        for violation in of_key.same_everywhere().into_iter().chain(shown) {
            if !found.iter().any(|known| known.check == violation.check) {
                found.push(violation);
            }
        }
    }
    found.extend(timed_out(judged));
    found
}

/// While nothing is done to a cluster, a request that cannot be served must be refused with a
/// reason, not left to time out.
fn timed_out(judged: &Judged<'_>) -> Option<Violation> {
    let Plan { steps, shape, .. } = judged.plan;
    let calm = shape.loss == 0.0
        && steps
            .iter()
            .all(|step| matches!(step.action, Action::Ask(_)));
    let in_vain = |told: &&Told| {
        told.ask.timeout >= LONG_ENOUGH_MS
            && matches!(told.result, Err(RequestError::TimedOut { .. }))
    };
    let told = judged.history.iter().find(in_vain).filter(|_| calm)?;
    let what = format!(
        "{} timed out although nothing is wrong: {:?}",
        told.ask, told.result
    );
    Some(Violation {
        check: "timed-out-without-cause",
        at: told.to.as_millis() as u64,
        what,
    })
}

impl<'a> OfKey<'a> {
    fn broken(&self, check: &'static str, at: &Told, what: impl fmt::Display) -> Violation {
        let place = if self.keyspace == 0 {
            String::new()
        } else {
            format!("ks{}/", self.keyspace)
        };
        Violation {
            check,
            at: at.to.as_millis() as u64,
            what: format!("{place}{}: {what}", self.key),
        }
    }

    /// Requests that may have changed the key; refused ones are left out.
    fn writes(&self) -> impl Iterator<Item = &'a Told> {
        self.all
            .iter()
            .copied()
            .filter(|told| told.ask.deed.writes() && told.fate() != Fate::Refused)
    }

    fn by_number(&self, number: u32) -> Option<&'a Told> {
        self.all.iter().copied().find(|told| told.ask.id == number)
    }

    /// Whether bit rot explains the violation. A rotten copy shows what nobody wrote until it is
    /// detected, and by the end it must be. But two copies cannot tell which of them is right, and
    /// whatever was computed from a rotten value stays.
    fn rotten(&self, violation: &Violation) -> bool {
        let rotten = self
            .judged
            .destroyed
            .iter()
            .any(|destruction| destruction.harm == Harm::Rotten);
        let undecided = self.last.iter().any(|told| told.need.replicas() < 3);
        let derived = matches!(self.key.0, Kind::Counter | Kind::Text | Kind::Expiring);
        rotten && (violation.at < self.judged.plan.until || undecided || derived)
    }

    /// Whether enough nodes certainly kept `write` for `read` to find it.
    fn must_find(&self, write: &Told, read: &Told) -> bool {
        write.fate() == Fate::Done
            && write.to < read.from
            && self.kept(write, read)
            && self.meets(write, read)
    }

    /// Whether fewer disks were destroyed than the level of `told` has copies.
    fn kept(&self, told: &Told, until: &Told) -> bool {
        self.harmed(told, until, |_| true) < told.need.copies().min(self.fewest_copies(told, until))
    }

    /// How many nodes' copies were damaged between the two.
    fn harmed(&self, told: &Told, until: &Told, how: impl Fn(Harm) -> bool) -> usize {
        let between = |destruction: &&Destruction| {
            destruction.at >= told.from && destruction.at <= until.to && how(destruction.harm)
        };
        let nodes: BTreeSet<NodeId> = self
            .judged
            .destroyed
            .iter()
            .filter(between)
            .map(|destruction| destruction.node)
            .collect();
        nodes.len()
    }

    /// Whether `later` at its level finds what `earlier` was told at its own. At the end, when all
    /// replicas are equal, every read finds everything. A node that was set back shows its old copy
    /// until the others have told it more.
    fn meets(&self, earlier: &Told, later: &Told) -> bool {
        let set_back = self.harmed(earlier, later, |harm| harm == Harm::SetBack);
        later.ask.id > LAST && earlier.need.replicas() > 0
            || Need::meets(&earlier.need, &later.need, set_back)
    }

    /// The fewest copies that an administrator asked for between the two.
    fn fewest_copies(&self, told: &Told, until: &Told) -> usize {
        let between = |step: &&Step| {
            let at = Duration::from_millis(step.at);
            at + COPIES_CHANGE >= told.from && at <= until.to
        };
        let copies = |step: &Step| match &step.action {
            Action::Replicate { keyspace, replicas } if *keyspace == self.keyspace => {
                Some(replicas.values().map(|&count| usize::from(count)).sum())
            }
            _ => None,
        };
        self.judged
            .plan
            .steps
            .iter()
            .filter(between)
            .filter_map(copies)
            .min()
            .unwrap_or(usize::MAX)
    }

    /// Whether `earlier` certainly has the older stamp.
    fn older(&self, earlier: &Told, later: &Told) -> bool {
        let apart = Duration::from_millis(self.judged.spread) + ROUNDING;
        earlier.over().is_some_and(|over| over + apart < later.from)
    }

    /// Whether a flush may have removed what `write` wrote.
    fn flushed(&self, write: &Told) -> bool {
        self.flushes.iter().any(|flush| {
            flush.fate() != Fate::Refused && flush.over().is_none_or(|over| over >= write.from)
        })
    }

    /// Whether any clock was ever wrong.
    fn clock_was_wrong(&self) -> bool {
        let bends = |action: &Action| {
            matches!(
                action,
                Action::Jump(..) | Action::Drift(..) | Action::Freeze(..)
            )
        };
        self.judged
            .plan
            .steps
            .iter()
            .any(|step| bends(&step.action))
    }

    /// The most by which two nodes' clocks may have differed.
    fn margin(&self) -> Duration {
        Duration::from_millis(self.judged.spread) + ROUNDING
    }

    /// Whether the key may have expired for `read`. A wrong clock may hide a value that it
    /// considers expired, but only until the clock is right again.
    fn may_have_expired(&self, read: &Told) -> bool {
        let clock_was_wrong = self.clock_was_wrong() && read.ask.id <= LAST;
        let ends = |told: &Told| told.ask.deed.life().map(|life| told.from + life);
        self.writes()
            .filter_map(ends)
            .any(|end| clock_was_wrong || end <= read.to + self.margin())
    }

    /// The request whose expiry had certainly passed before `read`, if it was the last change of
    /// the key and had seen all others.
    fn expired(&self, read: &Told) -> Option<&'a Told> {
        self.writes().find(|expiry| {
            let Some(life) = expiry
                .ask
                .deed
                .life()
                .filter(|_| expiry.result == Ok(Reply::Integer(1)))
            else {
                return false;
            };
            let seen =
                |write: &Told| write.ask.id == expiry.ask.id || self.must_find(write, expiry);
            let over = expiry.to + life + self.margin() < read.from;
            over && self.must_find(expiry, read)
                && self.flushes.is_empty()
                && self.writes().all(seen)
        })
    }

    /// A key with too long a name must never be accepted.
    fn too_long(&self) -> Option<Violation> {
        let taken = self.all.iter().find(|told| {
            self.key.is_too_long() && told.ask.deed != Deed::Flush && told.result.is_ok()
        })?;
        Some(self.broken(
            "took-too-much",
            taken,
            format!("{} was accepted although the name is too long", taken.ask),
        ))
    }

    /// At the end every node must show the same.
    fn same_everywhere(&self) -> Option<Violation> {
        let mut shown: BTreeMap<String, (&Told, String)> = BTreeMap::new();
        for told in self.last.iter().filter(|told| !told.ask.deed.writes()) {
            let what = match &told.result {
                Ok(reply) => format!("{:?}", sorted(reply)),
                Err(error) => error.to_string(),
            };
            let (first, same) = shown
                .entry(format!("{:?}", told.ask.deed))
                .or_insert_with(|| (told, what.clone()));
            // Close to its expiry a key exists for one clock and not for another.
            let expires = self.key.0 == Kind::Mixed
                || self.all.iter().any(|told| told.ask.deed.life().is_some());
            if *same != what && !expires {
                let what = format!(
                    "at rest, node {} shows {same} but node {} shows {what}",
                    first.ask.node, told.ask.node
                );
                return Some(self.broken("diverged", told, what));
            }
        }
        let refused = self
            .last
            .iter()
            .find(|told| told.ask.deed.writes() && told.result.is_err())?;
        Some(self.broken(
            "no-writes-at-all",
            refused,
            format!("at rest, {} is refused: {:?}", refused.ask, refused.result),
        ))
    }
}

/// How long the moves that follow a change of the replica count may take.
const COPIES_CHANGE: Duration = Duration::from_secs(30);

/// Requests with higher numbers belong to the last check.
pub(super) const LAST: u32 = 1_000_000;

/// Sorts a reply whose order means nothing.
fn sorted(reply: &Reply) -> Reply {
    match reply {
        Reply::List(list) => {
            let mut list = list.clone();
            list.sort_unstable();
            Reply::List(list)
        }
        Reply::Pairs(pairs) => {
            let mut pairs = pairs.clone();
            pairs.sort_unstable();
            Reply::Pairs(pairs)
        }
        Reply::Siblings { values, .. } => {
            let mut values = values.clone();
            values.sort_unstable();
            Reply::List(values)
        }
        other => other.clone(),
    }
}
