//! The requests for one key, and what can be concluded from them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use quorate_crdt::NodeId;
use quorate_dynamo::op::Reply;

use crate::check::Event;
use crate::sim::grants::Heard;
use crate::sim::history::{Fate, Need, Told};
use crate::sim::oracle::{Destruction, Harm, Violation};
use crate::sim::plan::action::Action;
use crate::sim::plan::request::{Deed, Key, Kind, LAST};
use crate::sim::plan::{Plan, Step};

/// Slack for rounding to milliseconds.
const ROUNDING: Duration = Duration::from_millis(5);

/// How long the moves that follow a change of the replica count may take.
const COPIES_CHANGE: Duration = Duration::from_secs(30);

/// A history to judge.
pub(in crate::sim) struct Judged<'a> {
    pub(in crate::sim) plan: &'a Plan,
    /// In the order of asking.
    pub(in crate::sim) history: &'a [Told],
    /// What every node answered at the end, when all was at rest.
    pub(in crate::sim) last: &'a [Told],
    /// What clients of the coordination group were told.
    pub(in crate::sim) heard: &'a [Heard],
    /// The same as a history.
    pub(in crate::sim) of_holds: &'a [Event],
    /// When nodes lost their copies.
    pub(in crate::sim) destroyed: &'a [Destruction],
    /// The most by which two wall clocks may have differed, in milliseconds.
    pub(in crate::sim) spread: u64,
}

/// The requests for one key.
pub(super) struct KeyHistory<'a> {
    pub(super) judged: &'a Judged<'a>,
    pub(super) keyspace: u8,
    pub(super) key: Key,
    pub(super) all: Vec<&'a Told>,
    pub(super) last: Vec<&'a Told>,
    /// Requests that cleared a partition, perhaps that of this key.
    pub(super) flushes: Vec<&'a Told>,
}

impl<'a> KeyHistory<'a> {
    pub(super) fn broken(
        &self,
        check: &'static str,
        at: &Told,
        what: impl fmt::Display,
    ) -> Violation {
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
    pub(super) fn writes(&self) -> impl Iterator<Item = &'a Told> {
        self.all
            .iter()
            .copied()
            .filter(|told| told.ask.deed.writes() && told.fate() != Fate::Refused)
    }

    pub(super) fn by_number(&self, number: u32) -> Option<&'a Told> {
        self.all.iter().copied().find(|told| told.ask.id == number)
    }

    /// Whether bit rot explains the violation. A rotten copy shows what nobody wrote until it is
    /// detected, and by the end it must be. But two copies cannot tell which of them is right, and
    /// whatever was computed from a rotten value stays.
    pub(super) fn rotten(&self, violation: &Violation) -> bool {
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
    pub(super) fn must_find(&self, write: &Told, read: &Told) -> bool {
        write.fate() == Fate::Done
            && write.to < read.from
            && self.kept(write, read)
            && self.meets(write, read)
    }

    /// Whether fewer disks were destroyed than the level of `told` has copies.
    pub(super) fn kept(&self, told: &Told, until: &Told) -> bool {
        self.harmed(told, until, |_| true) < told.need.copies().min(self.fewest_copies(told, until))
    }

    /// How many nodes' copies were damaged between the two.
    pub(super) fn harmed(&self, told: &Told, until: &Told, how: impl Fn(Harm) -> bool) -> usize {
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
    pub(super) fn meets(&self, earlier: &Told, later: &Told) -> bool {
        let set_back = self.harmed(earlier, later, |harm| harm == Harm::SetBack);
        later.ask.id > LAST && earlier.need.replicas() > 0
            || Need::meets(&earlier.need, &later.need, set_back)
    }

    /// The fewest copies that an administrator asked for between the two.
    pub(super) fn fewest_copies(&self, told: &Told, until: &Told) -> usize {
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
    pub(super) fn older(&self, earlier: &Told, later: &Told) -> bool {
        let apart = Duration::from_millis(self.judged.spread) + ROUNDING;
        earlier.over().is_some_and(|over| over + apart < later.from)
    }

    /// Whether a flush may have removed what `write` wrote.
    pub(super) fn flushed(&self, write: &Told) -> bool {
        self.flushes.iter().any(|flush| {
            flush.fate() != Fate::Refused && flush.over().is_none_or(|over| over >= write.from)
        })
    }

    /// Whether any clock was ever wrong.
    pub(super) fn clock_was_wrong(&self) -> bool {
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
    pub(super) fn margin(&self) -> Duration {
        Duration::from_millis(self.judged.spread) + ROUNDING
    }

    /// Whether the clock by which `read` was answered may have been wrong. Such a clock may hide a
    /// value that it considers expired, and show one that it does not, but only until it is right
    /// again.
    pub(super) fn clock_may_be_wrong_at(&self, read: &Told) -> bool {
        self.clock_was_wrong() && read.ask.id <= LAST
    }

    /// Whether the key may have expired for `read`.
    pub(super) fn may_have_expired(&self, read: &Told) -> bool {
        let clock_was_wrong = self.clock_may_be_wrong_at(read);
        let ends = |told: &Told| told.ask.deed.life().map(|life| told.from + life);
        self.writes()
            .filter_map(ends)
            .any(|end| clock_was_wrong || end <= read.to + self.margin())
    }

    /// The request whose expiry had certainly passed before `read`, if it was the last change of
    /// the key and had seen all others.
    pub(super) fn expired(&self, read: &Told) -> Option<&'a Told> {
        let sure = !self.clock_may_be_wrong_at(read);
        self.writes().filter(|_| sure).find(|expiry| {
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
    pub(super) fn too_long(&self) -> Option<Violation> {
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
    pub(super) fn same_everywhere(&self) -> Option<Violation> {
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
