//! What clients asked, what they were told, and what the cluster looked like at that moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_control::topology::{Epoch, Keyspace, KeyspaceId, Placement, Topology};
use quorate_crdt::Dot;
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{Reply, RequestError};
use quorate_dynamo::preference::{Access, groups};

use super::plan::request::{Ask, Key};

/// One request and its outcome.
#[derive(Clone, Debug)]
pub struct Told {
    /// The request.
    pub ask: Ask,
    /// When it was sent, counted from when the cluster was first at rest.
    pub from: Duration,
    /// When the answer came.
    pub to: Duration,
    /// The answer.
    pub result: Result<Reply, RequestError>,
    /// The event that it created, if any.
    pub dot: Option<Dot>,
    /// What its level required.
    pub need: Need,
    /// For a write with a causal token: the requests whose values the token covers.
    pub covers: Vec<u32>,
}

/// What a request's level requires of the replicas: enough in each datacenter, and enough in total.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// The placement in which answers are counted.
    pub epoch: Epoch,
    /// Per datacenter: how many replicas it has, and how many must answer.
    each: BTreeMap<Arc<str>, (usize, usize)>,
    /// How many must answer in total.
    total: usize,
}

/// How certain it is that a write happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was acknowledged.
    Done,
    /// It may be applied, now or later.
    Open,
    /// It was not applied and never will be.
    Refused,
}

impl Need {
    /// What `level` requires for a client in `home` that accesses `key` in `keyspace`. While a
    /// partition is moving, this counts in the replica set that reads use. Writes count in the
    /// other set too, but no read can tell.
    pub(super) fn of(
        topology: &Topology,
        keyspace: KeyspaceId,
        key: &[u8],
        level: Consistency,
        access: Access,
        home: &str,
    ) -> Self {
        let Some(info) = topology.keyspaces.get(&keyspace) else {
            return Self::default();
        };
        let Some(placement) = Keyspace::placement(info, info.partition_of(key)) else {
            return Self::default();
        };
        let read = Placement::stable(
            placement.epoch,
            placement.readers().flatten().copied().collect(),
        );
        let mut need = Self {
            epoch: placement.epoch,
            ..Self::default()
        };
        let datacenter = |node| {
            topology
                .datacenter_of(node)
                .cloned()
                .unwrap_or_else(|| "".into())
        };
        for node in &read.replicas {
            need.each.entry(datacenter(*node)).or_default().0 += 1;
        }
        for group in groups(level, access, &read, topology, home) {
            let mut of: Vec<Arc<str>> =
                group.members.iter().map(|node| datacenter(*node)).collect();
            of.sort_unstable();
            of.dedup();
            let within = of.len() == 1 && need.each.len() > 1;
            match need
                .each
                .get_mut(of.first().map_or("", |datacenter| datacenter))
                .filter(|_| within)
            {
                Some(part) => part.1 = part.1.max(group.needed),
                None => need.total = need.total.max(group.needed),
            }
        }
        need
    }

    /// `copies` of `replicas` in one datacenter.
    #[cfg(test)]
    pub(super) fn flat(replicas: usize, copies: usize) -> Self {
        Self {
            total: copies,
            ..Self::local(1, &[(replicas, 0)])
        }
    }

    /// For each datacenter: how many replicas it has, and how many copies are required there.
    #[cfg(test)]
    pub(super) fn local(epoch: u64, each: &[(usize, usize)]) -> Self {
        let named = each
            .iter()
            .zip(1..)
            .map(|(part, number)| (format!("dc{number}").into(), *part));
        Self {
            epoch: Epoch(epoch),
            each: named.collect(),
            total: 0,
        }
    }

    /// How many copies the request is certain to find, or make.
    pub fn copies(&self) -> usize {
        self.total
            .max(self.each.values().map(|(_, needed)| needed).sum())
    }

    /// Replicas in total.
    pub fn replicas(&self) -> usize {
        self.each.values().map(|(all, _)| all).sum()
    }

    /// Whether every choice of replicas that satisfies one shares more than `gone` replicas with
    /// every choice that satisfies the other.
    fn shares(&self, other: &Self, gone: usize) -> bool {
        let part =
            |datacenter: &Arc<str>| other.each.get(datacenter).map_or(0, |(_, needed)| *needed);
        self.each
            .iter()
            .any(|(datacenter, (all, needed))| needed + part(datacenter) > *all + gone)
            || self.copies() + other.copies() > self.replicas() + gone
    }

    /// Whether `later` certainly finds what this one left, even if `gone` of the replicas no longer
    /// have it.
    ///
    /// If the partition has moved in between, its new replicas were filled from a majority of the
    /// old ones in each datacenter. So a majority (of all replicas, or within a datacenter) finds
    /// what a majority has, and everyone finds what all replicas have. But `LOCAL_QUORUM` promises
    /// nothing about what was written at `LOCAL_QUORUM` in another datacenter.
    pub fn meets(&self, later: &Self, gone: usize) -> bool {
        if self.replicas() == 0 || later.replicas() == 0 {
            return false;
        }
        if self.epoch == later.epoch {
            return self.shares(later, gone);
        }
        let most = |need: &Self| 2 * need.copies() > need.replicas() + gone;
        let most_of = |need: &Self, datacenter: &Arc<str>| {
            need.each
                .get(datacenter)
                .is_some_and(|(all, needed)| 2 * needed > all + gone)
        };
        let local = self
            .each
            .keys()
            .any(|datacenter| most_of(self, datacenter) && most_of(later, datacenter));
        local || most(self) && (most(later) || self.copies() >= self.replicas() + gone)
    }
}

impl Told {
    /// What the client knows about the outcome.
    pub fn fate(&self) -> Fate {
        match &self.result {
            Ok(_) => Fate::Done,
            Err(error) if error.may_be_applied() => Fate::Open,
            Err(_) => Fate::Refused,
        }
    }

    /// Whether it may have been executed twice, as two concurrent changes: a client repeated it,
    /// and the node that executed the repetition did not know of the first time. A removal removes
    /// the one that it has seen; the other shows up when its node comes back.
    pub(super) fn may_have_a_twin(&self) -> bool {
        !self.ask.again.is_empty()
    }

    /// Its keyspace and key.
    pub fn place(&self) -> (u8, Key) {
        (self.ask.keyspace, self.ask.key)
    }

    /// When it was certainly over: never, as long as the outcome is unknown.
    pub fn over(&self) -> Option<Duration> {
        (self.fate() != Fate::Open).then_some(self.to)
    }
}

/// Where clients record what they were told. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Record(Arc<Mutex<Vec<Told>>>);

impl Record {
    fn lock(&self) -> MutexGuard<'_, Vec<Told>> {
        self.0
            .lock()
            .expect("invariant: no code panics while it writes a record")
    }

    pub(super) fn push(&self, told: Told) {
        self.lock().push(told);
    }

    /// Takes everything recorded so far, in the order of asking.
    pub(super) fn take(&self) -> Vec<Told> {
        let mut all = std::mem::take(&mut *self.lock());
        all.sort_by_key(|told| (told.from, told.ask.id));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two datacenters of two replicas, with the copies required in each and in total.
    fn need(epoch: u64, here: usize, there: usize, total: usize) -> Need {
        Need {
            epoch: Epoch(epoch),
            each: BTreeMap::from([("dc1".into(), (2, here)), ("dc2".into(), (2, there))]),
            total,
        }
    }

    #[test]
    fn a_majority_is_found_after_a_move_and_a_datacenter_is_not() {
        let (quorum, all, one) = (
            |epoch| need(epoch, 0, 0, 3),
            |epoch| need(epoch, 0, 0, 4),
            |epoch| need(epoch, 0, 0, 1),
        );
        let (here, there) = (|epoch| need(epoch, 2, 0, 0), |epoch| need(epoch, 0, 2, 0));
        assert!(
            quorum(1).meets(&quorum(2), 0)
                && all(1).meets(&one(2), 0)
                && here(1).meets(&here(1), 0)
                && here(1).meets(&here(2), 0)
        );
        assert!(
            !here(1).meets(&there(1), 0)
                && !here(1).meets(&there(2), 0)
                && !one(1).meets(&quorum(2), 0)
        );
        // One of the copies has been set back to an older state.
        assert!(
            !quorum(1).meets(&quorum(1), 2)
                && !quorum(1).meets(&quorum(2), 2)
                && !all(1).meets(&one(2), 1)
        );
        assert!(quorum(1).meets(&all(1), 1) && all(1).meets(&all(2), 1));
    }
}
