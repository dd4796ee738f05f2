//! What [`Replica::join`](super::Replica::join) takes.

use quorate_crdt::{CausalContext, Dot, NodeId, ReplicaId};

use super::range::Range;
use super::row::{Row, RowKey};
use super::rows::row_weight;
use super::{recent, residuals};

/// Bytes of one more run in a context.
pub(super) const RUN_WEIGHT: usize = 24;

/// Parts of a partition under one context: everything live in each part's range, and the context in
/// which that is the whole truth there. It travels with each key once: see `packed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The replica that says so: what it had seen is known of this life of it, and of no other.
    pub replica: ReplicaId,
    /// What the sender had seen. It speaks for the ranges of the parts only.
    pub context: CausalContext,
    /// The parts.
    pub parts: Vec<Part>,
    /// Where the sender knew more than its context: the context of that range is this one too.
    pub residuals: Vec<Residual>,
}

/// Everything live in one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The range.
    pub range: Range,
    /// All its rows that have live entries.
    pub rows: Vec<(RowKey, Row)>,
    /// Events whose whole effect lies in the range: the receiver has seen them when it has joined
    /// this part. Those that live in rows of it need not be named, unless the range is a slice.
    pub settled: Vec<Dot>,
}

/// A context that is true in one range but not yet in the whole partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residual {
    /// Where.
    pub range: Range,
    /// What is the truth there.
    pub context: CausalContext,
}

impl Part {
    /// What whoever joins this has seen.
    pub fn events(&self) -> impl Iterator<Item = Dot> {
        let rows = if matches!(self.range, Range::Slice { .. }) {
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
    /// Nothing, said by nobody.
    fn default() -> Self {
        let (replica, context) = (ReplicaId::new(NodeId(0), 0), CausalContext::new());
        Self {
            replica,
            context,
            parts: Vec::new(),
            residuals: Vec::new(),
        }
    }
}

impl Delta {
    /// Roughly the bytes of memory that this takes where it is kept, and no less: as
    /// [`Replica::held_bytes`](super::Replica::held_bytes) counts.
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

    /// Roughly the bytes that its rows have on their way. Cheap: it is asked of all that is sent.
    pub(crate) fn sent_bytes(&self) -> usize {
        let rows = self.parts.iter().flat_map(|part| &part.rows);
        rows.map(|(name, row)| row_weight(name, row)).sum::<usize>()
            + (self.parts.len() + self.residuals.len()) * RUN_WEIGHT
    }

    /// Whether there is nothing to join.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}
