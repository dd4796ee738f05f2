//! One node's copy of one partition: a causal map from rows to dotted entries under one context.
//!
//! There are two ways to change a replica. Everything from outside (replication, read repair,
//! handoff, anti-entropy, filling a new replica) goes through [`Replica::join`]. Everything that a
//! client changes here goes through a [`Write`], whose delta the other replicas then join.
//!
//! The rules are those of node-wide dotted clocks (Gonçalves, Almeida, Baquero, Fonte: "Concise
//! server-wide causality management for eventually consistent data stores", 2015; "`DottedDB`:
//! anti-entropy without Merkle trees, deletes without tombstones", SRDS 2017) and of dot stores
//! (Almeida, Shoker, Baquero: "Delta state replicated data types", arXiv 1603.01529, section 7).
//! Residuals are an addition: see `docs/adr/0003-one-context-per-partition-replica.md`.

mod admit;
mod closed;
mod delta;
mod disk;
mod erased;
mod fences;
mod heard;
mod journal;
mod known;
mod life;
mod lost;
pub(crate) mod packed;
mod range;
mod recent;
mod remains;
mod removal;
mod residuals;
mod row;
mod rows;
mod shown;
mod shut;
mod sync;
mod trust;
mod write;

#[cfg(test)]
mod model;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use quorate_control::topology::Epoch;
use quorate_crdt::{CausalContext, Dot, Hlc, NodeId, ReplicaId};

pub(crate) use admit::FENCES_MAX;
pub use delta::{Chunk, Delta, Missing, Part};
pub use disk::{Held, place_of, restore};
pub use erased::Erased;
pub use fences::Fences;
pub use heard::Mend;
pub use known::{Closed, Known};
pub use range::{Cut, Range, Within};
pub(crate) use remains::{FREED_AT_ONCE, ROWS_AT_ONCE};
pub use residuals::Residual;
pub use row::{Fact, Guarded, Payload, Row, RowKey, RowKind};
pub use rows::KeyRows;
pub(crate) use shown::{guarded, winner};
pub use write::{Replaces, Write};

use heard::{Heard, Trust};
use journal::Journal;
use recent::Recent;
use remains::Remains;
use residuals::Residuals;
use row::join_entries;
use rows::Rows;

use crate::planted;

/// Up to this many residuals, every join checks whether they are still needed. With more, only
/// ticks check. Guess.
const RESIDUALS_CHECKED_AT_ONCE: usize = 8;

/// A partition replica. Pure: no clock, no disk, no network.
///
/// **Invariants:** the dot of every live entry is in the context or in a residual over its row;
/// every dot of `recent` is in the context; the replica's own dots have no gaps. **Law:** two
/// replicas with equal contexts and no residuals have equal rows.
#[derive(Clone, Debug)]
pub struct Replica {
    id: ReplicaId,
    context: CausalContext,
    rows: Rows,
    /// Events that some primary may not know yet, with the range that each one affects.
    recent: Recent,
    residuals: Residuals,
    /// What the other primaries have reported.
    heard: BTreeMap<NodeId, Heard>,
    /// Whether they have the same rows.
    trust: Trust,
    /// Whether the replica is still being filled and must not be read.
    filling: bool,
    /// The epoch of the placement when this replica was last placed here. Topologies up to this
    /// epoch decide nothing about it.
    placed: Epoch,
    life: Life,
    /// What other nodes have told this replica, since it was read from disk, about this node's
    /// former lives, and it has not seen.
    former: CausalContext,
    fences: Fences,
    journal: Journal,
    remains: Remains,
}

/// Whether a replica may issue events under its id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Life {
    /// Yes: the id is new, or confirmed.
    #[default]
    Sure,
    /// Not yet: the id was read from disk, and other nodes may know events of it that this replica
    /// does not.
    Continued,
    /// Never again: others do know such events, or a replica that was erased here has written under
    /// the id.
    Spent,
}

impl Replica {
    /// An empty replica that writes under `id`.
    pub fn new(id: ReplicaId) -> Self {
        Self {
            id,
            context: CausalContext::new(),
            rows: Rows::default(),
            recent: Recent::default(),
            residuals: Residuals::default(),
            heard: BTreeMap::new(),
            trust: Trust::default(),
            filling: false,
            placed: Epoch::default(),
            life: Life::default(),
            former: CausalContext::new(),
            fences: Fences::default(),
            journal: Journal::default(),
            remains: Remains::default(),
        }
    }

    /// The id under which this replica writes.
    pub fn id(&self) -> ReplicaId {
        self.id
    }

    /// Everything this replica has seen of the whole partition.
    pub fn context(&self) -> &CausalContext {
        &self.context
    }

    /// Order-independent hash of all live rows.
    pub fn digest(&self) -> u128 {
        self.rows.digest()
    }

    /// Sum of the digests of the live rows in the ranges.
    pub fn digest_of(&self, ranges: &[Range]) -> u128 {
        ranges
            .iter()
            .map(|range| self.rows.digest_of(range))
            .fold(0, u128::wrapping_add)
    }

    /// The latest stamp of any live entry.
    pub fn latest_stamp(&self) -> Hlc {
        let rows = self.rows.keys().flat_map(|(_, rows)| rows.iter());
        rows.flat_map(|(_, _, row)| row.iter())
            .filter_map(|(_, payload)| payload.stamp().map(|stamp| stamp.hlc))
            .max()
            .unwrap_or_default()
    }

    /// Live rows.
    pub fn row_count(&self) -> u64 {
        self.rows.count()
    }

    /// Events that some primary may not know yet.
    pub fn recent_count(&self) -> usize {
        self.recent.len()
    }

    /// Ranges in which the replica knows more than its context says.
    pub fn residual_count(&self) -> usize {
        self.residuals.len()
    }

    /// Whether the replica is still being filled.
    pub fn filling(&self) -> bool {
        self.filling
    }

    /// The live rows of a key, even if the key has expired.
    pub fn key(&self, key: &Bytes) -> Option<&KeyRows> {
        self.rows.key(key)
    }

    /// Whether all of `events` have been seen, as far as they concern this row.
    pub fn has_seen(&self, name: &RowKey, events: &CausalContext) -> bool {
        self.residuals.filled(&self.context, name).covers(events)
    }

    /// The number of keys that exist at this time. Costs a step for each key that has expired and
    /// has not been removed yet.
    pub fn keys_alive(&self, unix_millis: u64) -> u64 {
        self.rows.keys_alive(unix_millis)
    }

    /// The number of keys that exist at this time and will expire.
    pub fn keys_expiring(&self, unix_millis: u64) -> u64 {
        self.rows.keys_expiring(unix_millis)
    }

    /// Whether anything was written under a fencing token, or over something that was.
    pub fn is_guarded(&self) -> bool {
        self.rows.is_guarded()
    }

    /// All keys, in order, with their live rows.
    pub fn keys(&self) -> impl Iterator<Item = (&Bytes, &KeyRows)> {
        self.rows.keys()
    }

    /// The keys after this one, in order, with their live rows; all of them without one.
    pub fn keys_after(&self, key: Option<&Bytes>) -> impl Iterator<Item = (&Bytes, &KeyRows)> {
        self.rows.keys_after(key)
    }

    /// The keys from a mark on, in order, each with its mark and its live rows. See
    /// [`MARK_BITS`](crate::op::MARK_BITS).
    pub fn keys_from(&self, mark: u64) -> impl Iterator<Item = (u64, &Bytes, &KeyRows)> {
        self.rows.keys_from(mark)
    }

    /// Keys that expire at or before `unix_millis`, and keys of which only an expiry is left.
    pub fn expired(&self, unix_millis: u64) -> impl Iterator<Item = &Bytes> {
        self.rows.expired(unix_millis)
    }

    /// The one door: joins what another replica says. Idempotent, and commutative and associative
    /// with every other join. Returns whether rows changed.
    pub fn join(&mut self, delta: &Delta) -> bool {
        self.heed_own_events(delta);
        let mut changed = false;
        for part in &delta.parts {
            changed |= self.join_rows(part, delta);
        }
        self.settle_parts(&delta.parts);
        self.hold_parts(delta);
        for residual in &delta.residuals {
            self.hold(&residual.range, &residual.context);
        }
        if self.residuals.len() <= RESIDUALS_CHECKED_AT_ONCE {
            self.strip();
        }
        if delta.parts.iter().any(Part::is_slice) {
            self.residuals.unsettled = self.residuals.has_slices();
        }
        changed
    }

    /// Joins row by row within the part's range: keeps what both have, keeps mine that they have
    /// not seen, takes theirs that I have not seen.
    fn join_rows(&mut self, part: &Part, delta: &Delta) -> bool {
        let empty = Row::new();
        let mut changed = self.drop_seen(part, &delta.context);
        // First the rows of the part, then mine that it lacks. Each row is joined by itself, so the
        // order does not matter.
        for (name, theirs) in part.rows_inside() {
            changed |= self.join_row(name, theirs, delta);
        }
        let alone = matches!(part.range, Range::Row(_)) && !part.rows.is_empty();
        if !alone {
            let named: BTreeSet<&RowKey> = part.rows.iter().map(|(name, _)| name).collect();
            for name in self.rows.names_in(&part.range) {
                if !named.contains(&name) {
                    changed |= self.join_row(&name, &empty, delta);
                }
            }
        }
        changed
    }

    fn join_row(&mut self, name: &RowKey, theirs: &Row, delta: &Delta) -> bool {
        let mine = self.residuals.filled(&self.context, name);
        let remote = residuals::remote(&delta.context, &delta.residuals, name);
        let journal = &mut self.journal;
        self.rows.update(name, |row| {
            let changed = join_entries(row, theirs, &mine, &remote);
            if changed {
                journal.row(name, row);
            }
            changed
        })
    }

    /// Marks the live dots of the parts, and the events that they settle, as seen, and remembers
    /// where they lie.
    fn settle_parts(&mut self, parts: &[Part]) {
        let (mut live, mut settled) = (Vec::new(), Vec::new());
        for part in parts {
            // What lives in a slice is known through the slice's residual. Settling it dot by dot
            // would break the context into that many runs.
            if !part.is_slice() {
                for (name, row) in part.rows_inside() {
                    let new = row.iter().filter(|(dot, _)| !self.context.contains(*dot));
                    live.extend(new.map(|(dot, _)| (dot, name)));
                }
            }
            let new = part
                .settled
                .iter()
                .filter(|dot| !self.context.contains(**dot));
            settled.extend(new.map(|dot| (*dot, &part.range)));
        }
        // In this order a context grows at the end of its runs. Dot by dot, thousands of them in
        // any other order would move all of its runs as often.
        let mut dots: Vec<Dot> = live.iter().map(|(dot, _)| *dot).collect();
        dots.extend(settled.iter().map(|(dot, _)| *dot));
        match dots.as_slice() {
            [] => return,
            [dot] => drop(self.context.insert(*dot)),
            _ => {
                dots.sort_unstable();
                self.context.union(&dots.into_iter().collect());
            }
        }
        // A dot that lives is remembered by its row, whatever else settles it.
        let mut named = BTreeSet::new();
        for (dot, name) in live {
            if named.insert(dot) {
                self.remember(dot, Range::Row(name.clone()));
            }
        }
        for (dot, range) in settled {
            if named.insert(dot) {
                self.remember(dot, range.clone());
            }
        }
    }

    /// Whether joining this delta needs room, because something in it is new here. Rows that
    /// remember requests are bounded and do not count.
    pub fn grows_by(&self, delta: &Delta) -> bool {
        let mut rows = delta
            .parts
            .iter()
            .flat_map(|part| &part.rows)
            .filter(|(name, _)| name.kind != RowKind::Request);
        rows.any(|(name, row)| {
            let held = self.rows.get(name);
            row.iter().any(|(dot, _)| {
                !self.context.contains(dot)
                    && held.is_none_or(|held| held.iter().all(|(mine, _)| mine != dot))
            })
        })
    }

    /// Captures everything live in these ranges, and the events to settle there, under the present
    /// context.
    fn capture(&self, ranges: Vec<(Range, Vec<Dot>)>) -> Delta {
        let parts = Vec::with_capacity(ranges.len());
        let mut delta = Delta {
            replica: self.id,
            context: self.context.clone(),
            parts,
            residuals: Vec::new(),
        };
        for (range, mut settled) in ranges {
            delta.residuals.extend(self.residuals.within(&range));
            let rows = self.rows.copy_of(&range);
            // A live entry settles its own dot in a range that is a row. Most parts are one row
            // with one event.
            if let (Range::Row(_), [(_, row)]) = (&range, rows.as_slice()) {
                settled.retain(|dot| row.get(*dot).is_none());
            }
            settled.sort_unstable();
            delta.parts.push(Part {
                range,
                rows,
                settled,
            });
        }
        delta
    }

    /// A delta of everything live in `range`. It settles nothing but the live dots.
    pub fn delta(&self, range: Range) -> Delta {
        self.capture(vec![(range, Vec::new())])
    }

    fn settle(&mut self, dot: Dot, range: impl FnOnce() -> Range) {
        if self.context.insert(dot) {
            self.remember(dot, range());
        }
    }

    fn remember(&mut self, dot: Dot, range: Range) {
        self.journal.touch();
        if self.recent.alone {
            return;
        }
        let arrival = self.recent.next_arrival();
        self.journal.remember(dot, arrival, &range);
        self.recent.insert(dot, arrival, range);
    }

    /// Changes one row here and in the journal.
    fn change_row<R>(&mut self, name: &RowKey, change: impl FnOnce(&mut Row) -> R) -> R {
        let journal = &mut self.journal;
        self.rows.update(name, |row| {
            let result = change(row);
            journal.row(name, row);
            result
        })
    }

    /// Remembers that `context` is the whole truth in `range`. Once such ranges together cover the
    /// partition, the context has been seen.
    fn hold(&mut self, range: &Range, context: &CausalContext) {
        if !self.context.covers(context) {
            self.hold_unseen(range, context.without(&self.context));
        }
    }

    /// The same for events of which none has been seen. Returns whether the context has grown.
    fn hold_unseen(&mut self, range: &Range, unseen: CausalContext) -> bool {
        let mut changed = Vec::new();
        self.residuals.add(range.clone(), unseen, &mut changed);
        let whole = self.residuals.take_whole(&mut changed);
        if let Some(whole) = &whole {
            self.context.union(whole);
            self.journal.touch();
            self.residuals.strip(&self.context, &mut changed);
        }
        self.write_residuals(&changed);
        whole.is_some()
    }

    /// Holds the context of a delta for the range of each of its parts. What is unseen of it is
    /// worked out once, because a delta can have thousands of parts.
    fn hold_parts(&mut self, delta: &Delta) {
        if self.context.covers(&delta.context) || planted::RESIDUAL_SKIPPED.is_planted() {
            return;
        }
        let mut unseen = delta.context.without(&self.context);
        for part in &delta.parts {
            if unseen.is_empty() {
                return;
            }
            let skipped = planted::ADOPT_AT_THE_END.is_planted() && part.is_slice();
            if !skipped && self.hold_unseen(&part.range, unseen.clone()) {
                unseen = delta.context.without(&self.context);
            }
        }
    }

    fn write_residuals(&mut self, changed: &[Range]) {
        for range in changed {
            match self.residuals.get(range) {
                Some(context) => self.journal.hold(range, context),
                None => self.journal.release(range),
            }
        }
    }

    /// Drops residuals that the context now covers.
    pub fn strip(&mut self) {
        if self.context.covers(&self.former) {
            self.former = CausalContext::new();
        }
        let mut changed = Vec::new();
        self.residuals.strip(&self.context, &mut changed);
        self.write_residuals(&changed);
    }

    /// Whether slices have brought live entries that only residuals know of, so that the replica
    /// has more than its context says.
    pub fn is_partial(&self) -> bool {
        self.residuals.unsettled
    }

    /// Settles the live entries of slices one by one, so that other replicas learn of them. Called
    /// when no stream continues with these slices.
    pub fn settle_slices(&mut self) {
        if !std::mem::take(&mut self.residuals.unsettled) {
            return;
        }
        let mut live = Vec::new();
        for (slice, _) in self.residuals.slices() {
            for (name, row) in self.rows.copy_of(slice) {
                live.extend(
                    row.iter()
                        .filter(|(dot, _)| !self.context.contains(*dot))
                        .map(|(dot, _)| (dot, name.clone())),
                );
            }
        }
        // In this order the context grows at the ends of its runs.
        live.sort_unstable_by_key(|(dot, _)| *dot);
        self.context
            .union(&live.iter().map(|(dot, _)| *dot).collect());
        live.dedup_by_key(|(dot, _)| *dot);
        for (dot, name) in live {
            self.remember(dot, Range::Row(name));
        }
        self.strip();
    }

    /// Settles events that lie in `range`, if everything known about the range includes them.
    pub fn settle_in(&mut self, range: &Range, dots: &[Dot]) {
        for dot in dots {
            if self.residuals.has_seen_in(range, *dot) {
                self.settle(*dot, || range.clone());
            }
        }
    }

    /// Roughly the bytes of memory that this replica takes.
    pub fn held_bytes(&self) -> usize {
        self.rows.bytes()
            + self.recent.bytes()
            + self.residuals.bytes()
            + self.context.runs().count() * 24
    }
}
