//! What [`Replica::join`](super::Replica::join) takes, and what replicas send each other to be
//! joined.

use std::collections::BTreeSet;

use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};

use super::range::{Cut, Range};
use super::residuals::Residual;
use super::row::{Row, RowKey};
use super::rows::row_weight;
use super::{recent, residuals};

/// Bytes of memory that a run in a context takes.
pub(super) const RUN_WEIGHT: usize = 24;

/// Parts of a partition under one context. Each part holds everything that is live in its range,
/// and the context says which events this accounts for. On the wire each key appears once: see
/// `packed`. Unlike the `Delta` of `quorate_crdt`, which is a change of one value, it covers ranges
/// of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The replica that speaks. What the delta says of its knowledge holds for this life of it
    /// only.
    pub replica: ReplicaId,
    /// What the sender had seen. It speaks only for the ranges of the parts.
    pub context: CausalContext,
    /// The parts.
    pub parts: Vec<Part>,
    /// Ranges in which the sender knew more than its context: the residual's context holds there
    /// too.
    pub residuals: Vec<Residual>,
}

/// Everything live in one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The range.
    pub range: Range,
    /// All rows of the range that have live entries.
    pub rows: Vec<(RowKey, Row)>,
    /// Events whose whole effect lies in the range: whoever has joined the part has seen them. Dots
    /// that live in its rows are settled without being listed, unless the range is a slice.
    pub settled: Vec<Dot>,
}

impl Part {
    /// Whether the range is a slice: a piece of a stream.
    pub(super) fn is_slice(&self) -> bool {
        matches!(self.range, Range::Slice { .. })
    }

    /// The rows that lie in the part's range. Any others are ignored.
    pub(super) fn rows_inside(&self) -> impl Iterator<Item = &(RowKey, Row)> {
        self.rows
            .iter()
            .filter(|(name, _)| self.range.contains(name))
    }

    /// The events that have been seen once this part is joined.
    pub fn events(&self) -> impl Iterator<Item = Dot> {
        let rows = if self.is_slice() {
            [].as_slice()
        } else {
            &self.rows
        };
        rows.iter()
            .flat_map(|(_, row)| row.iter().map(|(dot, _)| dot))
            .chain(self.settled.iter().copied())
    }
}

impl Default for Delta {
    /// An empty delta of no replica.
    fn default() -> Self {
        Self {
            replica: ReplicaId::new(NodeId(0), 0),
            context: CausalContext::new(),
            parts: Vec::new(),
            residuals: Vec::new(),
        }
    }
}

impl Delta {
    /// An upper estimate of the memory that the delta takes where it is kept, counted like
    /// [`Replica::held_bytes`](super::Replica::held_bytes).
    pub fn bytes(&self) -> usize {
        let event = |range: &Range| recent::EVENT_WEIGHT + RUN_WEIGHT + recent::weight(range);
        let of_row = |(name, row): &(RowKey, Row)| {
            row_weight(name, row) + row.iter().count() * event(&Range::Row(name.clone()))
        };
        let of_part = |part: &Part| {
            let rows: usize = part.rows.iter().map(of_row).sum();
            rows + part.settled.len() * event(&part.range)
                + residuals::weight(&part.range, &self.context)
        };
        let residuals: usize = self
            .residuals
            .iter()
            .map(|residual| residuals::weight(&residual.range, &residual.context))
            .sum();
        self.parts.iter().map(of_part).sum::<usize>() + residuals
    }

    /// Roughly the bytes that its rows have on the wire. Cheap, because every message is asked.
    pub(crate) fn sent_bytes(&self) -> usize {
        let rows = self.parts.iter().flat_map(|part| &part.rows);
        rows.map(|(name, row)| row_weight(name, row)).sum::<usize>()
            + (self.parts.len() + self.residuals.len()) * RUN_WEIGHT
    }

    /// Adds what the same replica says under the same context of other ranges. A range of which
    /// this speaks already is left out: its rows would travel twice.
    pub(crate) fn add(&mut self, other: Self) {
        let said: BTreeSet<&Range> = self.parts.iter().map(|part| &part.range).collect();
        let mut parts = other.parts;
        parts.retain(|part| !said.contains(&part.range));
        self.parts.extend(parts);
        self.residuals.extend(other.residuals);
    }

    /// Whether there is nothing to join.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}

/// What to send to a replica that lacks some events.
#[derive(Clone, Debug, Default)]
pub struct Missing {
    /// The deltas to join there.
    pub deltas: Vec<Delta>,
    /// The range after which to continue, if this was not everything.
    pub next: Option<Range>,
    /// What must be streamed instead: the whole partition if some of the events are no longer
    /// remembered one by one, or the range of an event if it is too large for a message.
    pub behind: Option<Range>,
}

/// A piece of a range that is being streamed.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// Everything live in the piece.
    pub delta: Delta,
    /// Where the piece ends and the next one begins; `None` if it ends the range.
    pub next: Option<Cut>,
    /// In the last piece: events whose effect lies in exactly this range.
    pub settled: Vec<Dot>,
}
