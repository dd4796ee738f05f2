//! Compares wall clocks. Every core measures the other nodes' wall clocks against its own
//! *monotonic* clock. So a jump of its own wall clock shows at once, against all of them.
//!
//! A clock is *off* when more than half of the witnesses disagree with it by more than the bound.
//! Witnesses are the other nodes, and this node's own clock before it jumped. While its clock is
//! off, a node stamps nothing and removes nothing because of time; once the clock is right again,
//! it continues at once. If only two nodes disagree, nobody can say which one is wrong, unless one
//! of them jumped.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_control::quorum::majority;
use quorate_crdt::{Hlc, HybridClock, NodeId, Now};

use super::lapse::Asked;
use super::worth::{Doubt, Worth};
use crate::planted;
use crate::protocol::FlightId;

/// How long a measurement of another clock counts. Guess: quartz drifts by a few milliseconds in
/// that time.
const FRESH: Duration = Duration::from_mins(1);
/// How long a clock that has jumped or just started must hold its time if there is nobody to ask.
/// Guess.
pub(super) const HOLD: Duration = Duration::from_mins(1);
/// How late a write may arrive from a node whose clock has not been compared in its present life,
/// without that clock being taken for wrong. Guess.
const LATE_MILLIS: i64 = 5000;

/// The clocks of one core.
#[derive(Debug)]
pub(super) struct Clocks {
    /// Stamps what is written here.
    pub(super) hybrid: HybridClock,
    /// The highest stamp that was given or restored since a majority of clocks last found all
    /// stamps right. The hybrid clock itself forgets stamps from the far future.
    pub(super) highest: Hlc,
    /// Questions to other holders, in progress, about keys that may have expired.
    pub(super) lapses: BTreeMap<FlightId, Asked>,
    /// How many milliseconds two clocks may differ.
    bound: i64,
    /// This node's wall clock minus its monotonic one, when it was last believed.
    believed: Option<i64>,
    /// A jump that nobody has confirmed yet: the new difference, and since when.
    jumped: Option<(i64, Duration)>,
    others: BTreeMap<NodeId, Other>,
    asked: BTreeMap<NodeId, (FlightId, Duration)>,
    /// How many milliseconds this node's clock is ahead of the majority's, if that is more than the
    /// bound.
    pub(super) off: Option<i64>,
    /// Nodes whose clocks were last reported to be off.
    said: BTreeMap<NodeId, i64>,
    pub(super) doubt: Doubt,
}

/// Another node's wall clock.
#[derive(Clone, Copy, Debug)]
struct Other {
    /// That clock minus this node's monotonic one.
    base: i64,
    /// The error of `base`: half the round trip.
    slack: i64,
    measured: Duration,
    /// The life of that node when it answered.
    life: u64,
    /// Whether other nodes had confirmed it by then.
    confirmed: bool,
}

/// Another node's answer about the time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Telling {
    pub(super) unix_millis: u64,
    /// The life of that node.
    pub(super) life: u64,
    /// Whether other nodes have confirmed its clock.
    pub(super) confirmed: bool,
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// The wall clock minus the monotonic one.
pub(super) fn base_of(now: Now) -> i64 {
    i64::try_from(now.unix_millis)
        .unwrap_or(i64::MAX)
        .saturating_sub(millis(now.monotonic))
}

impl Clocks {
    pub(super) fn new(drift: Duration) -> Self {
        let drift = drift.max(Duration::from_millis(1));
        Self {
            hybrid: HybridClock::new(drift)
                .expect("invariant: the bound is at least a millisecond"),
            highest: Hlc::default(),
            lapses: BTreeMap::new(),
            bound: millis(drift),
            believed: None,
            jumped: None,
            others: BTreeMap::new(),
            asked: BTreeMap::new(),
            off: None,
            said: BTreeMap::new(),
            doubt: Doubt::default(),
        }
    }

    /// How many milliseconds this node's clock is ahead of the majority's (negative: behind), if
    /// that is more than the bound.
    pub(super) fn off(&self) -> Option<i64> {
        self.off.filter(|_| !planted::NO_CLOCK_CHECK.is_planted())
    }

    /// Whether this clock may take part in decisions that cannot be undone.
    pub(super) fn is_trusted(&self) -> bool {
        self.off().is_none() && self.jumped.is_none() && self.doubt.worth >= Worth::Compared
    }

    /// Whether other nodes have confirmed this clock, and it has not jumped since.
    pub(super) fn is_confirmed(&self) -> bool {
        self.is_trusted() && self.doubt.worth == Worth::Confirmed
    }

    /// Whether two times differ by more than the bound.
    pub(super) fn is_apart(&self, one: i64, other: i64) -> bool {
        (one - other).abs() > self.bound
    }

    /// Whether this clock has not jumped since it was last believed.
    pub(super) fn stands(&self) -> bool {
        self.jumped.is_none()
    }

    /// Whether the node has told its time recently.
    pub(super) fn is_fresh(&self, now: Now, node: NodeId) -> bool {
        self.fresh(now).any(|(other, _)| other == node)
    }

    pub(super) fn offsets(&self, now: Now) -> BTreeMap<NodeId, i64> {
        self.fresh(now)
            .map(|(node, other)| (node, other.base - base_of(now)))
            .collect()
    }

    fn fresh(&self, now: Now) -> impl Iterator<Item = (NodeId, Other)> {
        self.others
            .iter()
            .filter(move |(_, other)| now.monotonic < other.measured + FRESH)
            .map(|(node, other)| (*node, *other))
    }

    /// Notices when this node's own wall clock jumps and when that ends. Returns true if something
    /// changed; then call [`judge`](Self::judge).
    pub(super) fn look(&mut self, now: Now, alone: bool) -> bool {
        self.highest = self.highest.max(self.hybrid.last());
        let base = base_of(now);
        let near = |held: i64| !self.is_apart(base, held);
        // A clock that was never compared with another is as good after a jump as before.
        let unheard = self.doubt.worth <= Worth::Unheard;
        if unheard || self.believed.is_none_or(near) {
            let moved = self
                .believed
                .replace(base)
                .is_some_and(|held| self.is_apart(base, held));
            return self.jumped.take().is_some() || (moved && unheard);
        }
        let (fresh, agree) = self.fresh(now).fold((0, 0), |(fresh, agree), (_, other)| {
            (
                fresh + 1,
                agree + usize::from((base - other.base).abs() <= self.bound + other.slack),
            )
        });
        let held_long =
            matches!(self.jumped, Some((to, since)) if near(to) && now.monotonic >= since + HOLD);
        if agree * 2 > fresh || (alone && held_long) {
            self.believed = Some(base);
            self.jumped = None;
            return true;
        }
        if self.jumped.is_some_and(|(to, _)| near(to)) {
            return false;
        }
        self.jumped = Some((base, now.monotonic));
        true
    }

    /// Decides again, from all that is known, whether this clock is off.
    pub(super) fn judge(&mut self, now: Now, alone: bool) {
        let base = base_of(now);
        let mut apart: Vec<i64> = Vec::new();
        // If some other clock has been confirmed, an unconfirmed clock of this node is no witness.
        let unconfirmed =
            self.doubt.worth < Worth::Confirmed && !planted::EVERY_CLOCK_A_WITNESS.is_planted();
        let guided = unconfirmed && self.fresh(now).any(|(_, other)| other.confirmed);
        let mut witnesses = usize::from(!guided);
        for (_, other) in self
            .fresh(now)
            .filter(|(_, other)| other.confirmed || !guided)
        {
            witnesses += 1;
            let ahead = base - other.base;
            apart.extend((ahead.abs() > self.bound + other.slack).then_some(ahead));
        }
        let jump = self.jumped.and_then(|_| Some(base - self.believed?));
        let against = apart.len() + usize::from(jump.is_some());
        apart.sort_unstable();
        let measured = apart.get(apart.len() / 2).copied();
        self.off =
            (against * 2 > witnesses && !alone).then(|| measured.or(jump).unwrap_or_default());
    }

    /// The time on which a majority of `nodes` agrees, this node's clock included. While nobody has
    /// confirmed this node's clock, one other clock that has been confirmed is enough. `None` if
    /// not enough clocks have been compared, or they disagree.
    pub(super) fn agreed_time(&self, now: Now, nodes: usize) -> Option<u64> {
        let base = base_of(now);
        let off = self.off.unwrap_or(0);
        let agreeing = || {
            self.fresh(now)
                .filter(|(_, other)| (base - off - other.base).abs() <= self.bound + other.slack)
        };
        let with_me = agreeing().count() + usize::from(off == 0);
        let guided =
            self.doubt.worth < Worth::Confirmed && agreeing().any(|(_, other)| other.confirmed);
        let agreed = nodes > 1 && (guided || with_me >= majority(nodes));
        agreed.then(|| now.unix_millis.saturating_add_signed(-off))
    }

    /// Nodes, this one included, whose clocks are newly off, or right again (`None`). Each change
    /// is returned once.
    pub(super) fn news(&mut self, now: Now, me: NodeId) -> Vec<(NodeId, Option<i64>)> {
        let mut today: BTreeMap<NodeId, i64> = self.off.iter().map(|off| (me, *off)).collect();
        if today.is_empty() {
            let apart = |(node, other): (NodeId, Other)| {
                let ahead = other.base - base_of(now);
                (ahead.abs() > self.bound + other.slack).then_some((node, ahead))
            };
            today.extend(self.fresh(now).filter_map(apart));
        }
        let ended = self
            .said
            .keys()
            .filter(|node| !today.contains_key(node))
            .map(|node| (*node, None));
        let begun = today
            .iter()
            .filter(|(node, _)| !self.said.contains_key(node))
            .map(|(node, off)| (*node, Some(*off)));
        let news = ended.chain(begun).collect();
        self.said = today;
        news
    }

    /// Another node has been asked for its time.
    pub(super) fn asked(&mut self, now: Now, node: NodeId, id: FlightId) {
        self.asked.insert(node, (id, now.monotonic));
    }

    /// Another node has told its time. Of two measurements that agree, the more precise one is
    /// kept.
    pub(super) fn told(&mut self, now: Now, node: NodeId, id: FlightId, telling: Telling) {
        let Some((_, since)) = self
            .asked
            .get(&node)
            .copied()
            .filter(|(asked, _)| *asked == id)
        else {
            return;
        };
        self.asked.remove(&node);
        let half = millis(now.monotonic.saturating_sub(since)) / 2;
        let Telling {
            unix_millis,
            life,
            confirmed,
        } = telling;
        let base = i64::try_from(unix_millis)
            .unwrap_or(i64::MAX)
            .saturating_sub(millis(now.monotonic))
            .saturating_add(half);
        let slack = half + 1;
        let new = Other {
            base,
            slack,
            measured: now.monotonic,
            life,
            confirmed,
        };
        let held = self
            .others
            .get(&node)
            .filter(|held| held.life == life && now.monotonic < held.measured + FRESH / 2);
        let same = held.is_some_and(|held| {
            held.slack < slack
                && held.confirmed == confirmed
                && (held.base - base).abs() <= held.slack + slack
        });
        if !same {
            self.others.insert(node, new);
        }
    }

    /// Whether the node's clock differs from this one by more than the bound.
    pub(super) fn disagrees(&self, now: Now, node: NodeId) -> bool {
        let apart = |other: Other| (base_of(now) - other.base).abs() > self.bound + other.slack;
        self.fresh(now)
            .any(|(from, other)| from == node && apart(other))
            && !planted::FIRST_HOLDER_HAS_A_VETO.is_planted()
    }

    /// The life of the node when it last told its time.
    pub(super) fn life_of(&self, node: NodeId) -> Option<u64> {
        self.others.get(&node).map(|other| other.life)
    }

    /// Forgets nodes that are no longer members.
    pub(super) fn keep(&mut self, member: impl Fn(&NodeId) -> bool) {
        self.others.retain(|node, _| member(node));
        self.asked.retain(|node, _| member(node));
    }

    /// Whether a clock that is right must object to the stamp of a new write; if so, how many
    /// milliseconds its coordinator was ahead.
    ///
    /// A stamp from the future speaks for itself. A stamp from the past does not, because the write
    /// may simply have been slow to arrive. Then the last comparison decides, if it was made in the
    /// same life of the node that stamped it.
    pub(super) fn refuses(
        &self,
        now: Now,
        from: NodeId,
        life: u64,
        stamped_at: u64,
    ) -> Option<i64> {
        let ahead = i64::try_from(stamped_at)
            .unwrap_or(i64::MAX)
            .saturating_sub(i64::try_from(now.unix_millis).unwrap_or(i64::MAX));
        let agrees = |other: Other| (base_of(now) - other.base).abs() <= self.bound + other.slack;
        let compared = self
            .fresh(now)
            .any(|(node, other)| node == from && other.life == life && agrees(other));
        let late = -ahead > self.bound + LATE_MILLIS
            && (!compared || planted::LATE_IS_BEHIND.is_planted());
        let wrong = ahead > self.bound || late;
        (wrong && self.is_trusted() && !planted::NO_CLOCK_CHECK.is_planted()).then_some(ahead)
    }
}
