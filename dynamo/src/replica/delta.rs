//! What [`Replica::join`](super::Replica::join) takes.

use quorate_crdt::{CausalContext, Dot};
use serde::{Deserialize, Serialize};

use super::range::Range;
use super::row::{Row, RowKey};
use super::rows::row_weight;

/// Parts of a partition under one context: everything live in each part's range, and the context in which that is the whole truth there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// What the sender had seen. It speaks for the ranges of the parts only.
    pub context: CausalContext,
    /// The parts.
    pub parts: Vec<Part>,
    /// Where the sender knew more than its context: the context of that range is this one too.
    pub residuals: Vec<Residual>,
}

/// Everything live in one range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// The range.
    pub range: Range,
    /// All its rows that have live entries.
    pub rows: Vec<(RowKey, Row)>,
    /// Events whose whole effect lies in the range: the receiver has seen them when it has joined this part.
    pub settled: Vec<Dot>,
}

/// A context that is true in one range but not yet in the whole partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residual {
    /// Where.
    pub range: Range,
    /// What is the truth there.
    pub context: CausalContext,
}

impl Delta {
    /// Roughly the bytes of memory that this takes where it is kept.
    pub fn bytes(&self) -> usize {
        let context = self.context.runs().count() * 24 + 128;
        let rows: usize = self.parts.iter().flat_map(|part| &part.rows).map(|(name, row)| row_weight(name, row)).sum();
        let settled: usize = self.parts.iter().map(|part| part.settled.len() * 160 + context).sum();
        rows + settled
    }

    /// Whether there is nothing to join.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }
}
