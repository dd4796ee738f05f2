//! The context as bytes: one tuple per replica, every number relative to the one before it.
//!
//! The tuple is `(node, incarnation, prefix, [(gap, length)])`. `node` is the distance from the
//! node before; for another incarnation of the same node (distance 0), `incarnation` is the
//! distance minus one. `gap` is the first counter of a run minus the smallest that it could be, and
//! `length` is the last minus the first. So every number is as small as possible, which a varint
//! writes in few bytes, and almost no disorder can even be expressed.

use alloc::vec::Vec;

use serde::de::Error;
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use smallvec::SmallVec;

use super::CausalContext;
use super::seen::{Run, Seen};
use crate::{NodeId, ReplicaId};

/// The highest counter that decodes. It leaves every replica 2^63 events to issue above whatever a
/// sender claims.
const HIGHEST_COUNTER: u64 = u64::MAX >> 1;

/// Node, incarnation, prefix and the runs as (gap, length).
pub(super) type Entry = (u64, u32, u64, Vec<(u64, u64)>);

struct Runs<'a>(&'a Seen);

impl Serialize for CausalContext {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_seq(Some(self.replicas.len()))?;
        let mut before: Option<ReplicaId> = None;
        for seen in &self.replicas {
            let ReplicaId { node, incarnation } = seen.replica;
            let (node, incarnation) = match before {
                Some(b) if b.node == node => (0, incarnation - b.incarnation - 1),
                Some(b) => (node.0 - b.node.0, incarnation),
                None => (node.0, incarnation),
            };
            out.serialize_element(&(node, incarnation, seen.prefix, Runs(seen)))?;
            before = Some(seen.replica);
        }
        out.end()
    }
}

impl Serialize for Runs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_seq(Some(self.0.runs.len()))?;
        let mut before = self.0.prefix;
        for run in &self.0.runs {
            out.serialize_element(&(run.first - before - 2, run.last - run.first))?;
            before = run.last;
        }
        out.end()
    }
}

impl<'de> Deserialize<'de> for CausalContext {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde's `Vec` reserves at most 1 MiB on the word of a length field; beyond that it grows
        // with what really arrives.
        let entries: Vec<Entry> = Vec::deserialize(deserializer)?;
        let mut context = Self {
            replicas: SmallVec::with_capacity(entries.len()),
        };
        let mut before: Option<ReplicaId> = None;
        for (node, incarnation, prefix, runs) in entries {
            let replica = next_replica(before, node, incarnation)
                .ok_or_else(|| D::Error::custom("replica id out of range"))?;
            if prefix > HIGHEST_COUNTER {
                return Err(D::Error::custom("counter out of range"));
            }
            if prefix == 0 && runs.is_empty() {
                return Err(D::Error::custom("replica of which nothing was seen"));
            }
            let runs =
                absolute(prefix, &runs).ok_or_else(|| D::Error::custom("counter out of range"))?;
            context.replicas.push(Seen {
                replica,
                prefix,
                runs,
            });
            before = Some(replica);
        }
        Ok(context)
    }
}

fn next_replica(before: Option<ReplicaId>, node: u64, incarnation: u32) -> Option<ReplicaId> {
    Some(match before {
        Some(b) if node == 0 => ReplicaId::new(
            b.node,
            b.incarnation.checked_add(incarnation)?.checked_add(1)?,
        ),
        Some(b) => ReplicaId::new(NodeId(b.node.0.checked_add(node)?), incarnation),
        None => ReplicaId::new(NodeId(node), incarnation),
    })
}

fn absolute(prefix: u64, runs: &[(u64, u64)]) -> Option<SmallVec<[Run; 1]>> {
    let mut before = prefix;
    runs.iter()
        .map(|&(gap, length)| {
            let first = before.checked_add(2)?.checked_add(gap)?;
            before = first
                .checked_add(length)
                .filter(|&last| last <= HIGHEST_COUNTER)?;
            Some(Run {
                first,
                last: before,
            })
        })
        .collect()
}
