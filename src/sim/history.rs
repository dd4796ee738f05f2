//! What clients asked and were told, with what was then true of the cluster.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate_control::topology::{Epoch, Keyspace, KeyspaceId, Topology};
use quorate_crdt::Dot;
use quorate_dynamo::Consistency;
use quorate_dynamo::op::{Reply, RequestError};
use quorate_dynamo::preference::{Access, groups};

use super::may_be_applied;
use super::plan::{Ask, Deed, Key};

/// One request with its outcome.
#[derive(Clone, Debug)]
pub struct Told {
    /// The request.
    pub ask: Ask,
    /// When it was sent, since the cluster was at rest for the first time.
    pub from: Duration,
    /// When it was answered.
    pub to: Duration,
    /// The answer.
    pub result: Result<Reply, RequestError>,
    /// The event that it made, if it made one.
    pub dot: Option<Dot>,
    /// What its level asked for.
    pub need: Need,
    /// For a write with a causal token: the requests whose values the token covers.
    pub covers: Vec<u32>,
}

/// What a request's level asks of the replicas: enough in each datacenter, and enough altogether.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// The placement it is counted in.
    pub epoch: Epoch,
    /// Replicas of each datacenter, and how many of them.
    each: BTreeMap<Arc<str>, (usize, usize)>,
    /// Altogether.
    total: usize,
}

/// How sure it is that a write happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was acknowledged.
    Done,
    /// It may be applied, now or later.
    Open,
    /// It is not, and never will be.
    Refused,
}

impl Need {
    /// What `level` asks for when a client in `home` uses it on `keyspace`, in the placement of the key.
    pub(super) fn of(topology: &Topology, keyspace: KeyspaceId, key: &[u8], (level, access): (Consistency, Access), home: &str) -> Self {
        let Some(info) = topology.keyspaces.get(&keyspace) else { return Self::default() };
        let Some(placement) = Keyspace::placement(info, info.partition_of(key)) else { return Self::default() };
        let mut need = Self { epoch: placement.epoch, ..Self::default() };
        let datacenter = |node| topology.datacenter_of(node).cloned().unwrap_or_else(|| "".into());
        for node in &placement.replicas {
            need.each.entry(datacenter(*node)).or_default().0 += 1;
        }
        for group in groups(level, access, placement, topology, home) {
            let mut of: Vec<Arc<str>> = group.members.iter().map(|node| datacenter(*node)).collect();
            of.sort_unstable();
            of.dedup();
            let within = of.len() == 1 && need.each.len() > 1;
            match need.each.get_mut(of.first().map_or("", |datacenter| datacenter)).filter(|_| within) {
                Some(part) => part.1 = part.1.max(group.needed),
                None => need.total = need.total.max(group.needed),
            }
        }
        need
    }

    /// So many copies of so many replicas in one datacenter.
    #[cfg(test)]
    pub(super) fn flat(replicas: usize, copies: usize) -> Self {
        Self { total: copies, ..Self::local(1, &[(replicas, 0)]) }
    }

    /// Of each datacenter: how many replicas it has, and how many copies are asked of them.
    #[cfg(test)]
    pub(super) fn local(epoch: u64, each: &[(usize, usize)]) -> Self {
        let named = each.iter().zip(1..).map(|(part, number)| (format!("dc{number}").into(), *part));
        Self { epoch: Epoch(epoch), each: named.collect(), total: 0 }
    }

    /// A majority of the same replicas.
    fn majority(&self) -> Self {
        let all: usize = self.each.values().map(|(all, _)| all).sum();
        let each = self.each.iter().map(|(datacenter, (all, _))| (Arc::clone(datacenter), (*all, 0))).collect();
        Self { epoch: self.epoch, each, total: all / 2 + 1 }
    }

    /// How many copies it is sure to find, or make.
    pub fn copies(&self) -> usize {
        self.total.max(self.each.values().map(|(_, needed)| needed).sum())
    }

    /// Replicas altogether.
    pub fn replicas(&self) -> usize {
        self.each.values().map(|(all, _)| all).sum()
    }

    /// Whether every choice of replicas that suffices for the one shares a replica with every choice that suffices for the other.
    fn shares(&self, other: &Self) -> bool {
        let part = |datacenter: &Arc<str>| other.each.get(datacenter).map_or(0, |(_, needed)| *needed);
        self.each.iter().any(|(datacenter, (all, needed))| needed + part(datacenter) > *all)
            || self.copies() + other.copies() > self.replicas()
    }

    /// Whether both ask for copies in one and the same datacenter, or one of them asks in no particular one.
    fn concern_each_other(&self, later: &Self) -> bool {
        let asks = |need: &Self, datacenter: &Arc<str>| need.each.get(datacenter).is_some_and(|(_, needed)| *needed > 0);
        self.total > 0 || later.total > 0 || self.each.keys().any(|datacenter| asks(self, datacenter) && asks(later, datacenter))
    }

    /// Whether `later` surely finds what this one left. When the partition has moved between them, its new replicas were filled from a majority
    /// of the old ones; but `LOCAL_QUORUM` promises nothing of what was written at `LOCAL_QUORUM` elsewhere.
    pub fn meets(&self, later: &Self) -> bool {
        if self.replicas() == 0 || later.replicas() == 0 {
            return false;
        }
        if self.epoch == later.epoch {
            return self.shares(later);
        }
        self.concern_each_other(later) && self.shares(&self.majority()) && later.majority().shares(later)
    }
}

impl Told {
    /// What became of it.
    pub fn fate(&self) -> Fate {
        match &self.result {
            Ok(_) => Fate::Done,
            Err(error) if may_be_applied(error) => Fate::Open,
            Err(_) => Fate::Refused,
        }
    }

    /// Of which keyspace and key it is.
    pub fn place(&self) -> (u8, Key) {
        (self.ask.keyspace, self.ask.key)
    }

    /// When it was surely over: never, while it is not known what became of it.
    pub fn over(&self) -> Option<Duration> {
        (self.fate() != Fate::Open).then_some(self.to)
    }
}

impl Deed {
    /// After how long the key is gone, if this request gives it an expiry.
    pub(super) fn life(&self) -> Option<Duration> {
        match self {
            Self::SetFor { ms } | Self::ExpireIn { ms } => Some(Duration::from_millis(*ms)),
            _ => None,
        }
    }

    /// Whether it changes anything.
    pub fn writes(&self) -> bool {
        !matches!(
            self,
            Self::Get
                | Self::Length
                | Self::Exists
                | Self::Ttl
                | Self::Members
                | Self::Contains(_)
                | Self::Cardinality
                | Self::Fields(_)
                | Self::Entries
                | Self::Siblings
        )
    }
}

/// Where clients write down what they were told. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Record(Arc<Mutex<Vec<Told>>>);

impl Record {
    fn lock(&self) -> MutexGuard<'_, Vec<Told>> {
        self.0.lock().expect("invariant: no code panics while it writes a record")
    }

    pub(super) fn push(&self, told: Told) {
        self.lock().push(told);
    }

    /// Everything so far, in the order of asking.
    pub(super) fn take(&self) -> Vec<Told> {
        let mut all = std::mem::take(&mut *self.lock());
        all.sort_by_key(|told| (told.from, told.ask.id));
        all
    }
}
