//! Where a replica knows more than its context says.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot, Observed};
use smallvec::SmallVec;

use super::delta::Residual;
use super::range::Range;
use super::row::RowKey;

/// Contexts of ranges that are ahead of the replica's context. What stops an older event, arriving late by another path, from rising beside
/// the one that overwrote it. Empty in the steady state.
#[derive(Clone, Debug, Default)]
pub(super) struct Residuals {
    by_range: BTreeMap<Range, CausalContext>,
}

/// The context of one row: the replica's and every residual over the row, without building the union.
pub(super) struct Filled<'a> {
    context: &'a CausalContext,
    residuals: SmallVec<[&'a CausalContext; 2]>,
}

impl Observed for Filled<'_> {
    fn has_seen(&self, dot: Dot) -> bool {
        self.context.contains(dot) || self.residuals.iter().any(|residual| residual.contains(dot))
    }
}

impl Residuals {
    pub(super) fn len(&self) -> usize {
        self.by_range.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Range, &CausalContext)> {
        self.by_range.iter()
    }

    /// Remembers that `context` is the truth in `range`. Returns the residual of that range as it now is.
    pub(super) fn add(&mut self, range: Range, context: &CausalContext) -> &CausalContext {
        match self.by_range.entry(range) {
            Entry::Occupied(held) => {
                let held = held.into_mut();
                held.union(context);
                held
            }
            Entry::Vacant(free) => free.insert(context.clone()),
        }
    }

    /// Forgets what the replica's context covers by now; returns the ranges.
    pub(super) fn strip(&mut self, context: &CausalContext) -> Vec<Range> {
        let mut gone = Vec::new();
        self.by_range.retain(|range, residual| {
            let keep = !context.covers(residual);
            if !keep {
                gone.push(range.clone());
            }
            keep
        });
        gone
    }

    /// `context` and every residual over the row.
    pub(super) fn filled<'a>(&'a self, context: &'a CausalContext, row: &RowKey) -> Filled<'a> {
        let mut residuals = SmallVec::new();
        if !self.by_range.is_empty() {
            residuals.extend(self.by_range.get(&Range::Row(row.clone())));
            residuals.extend(self.by_range.get(&Range::Key(row.key.clone())));
            residuals.extend(self.slices().filter(|(slice, _)| slice.contains_key(&row.key)).map(|(_, residual)| residual));
        }
        Filled { context, residuals }
    }

    /// What is to be told along with a delta of `range`: every residual that touches it, cut to it.
    pub(super) fn within(&self, range: &Range) -> Vec<Residual> {
        if self.by_range.is_empty() {
            return Vec::new();
        }
        let residual =
            |(held, context): (&Range, &CausalContext)| held.clip(range).map(|range| Residual { range, context: context.clone() });
        match range {
            Range::Row(row) => {
                let over = [range.clone(), Range::Key(row.key.clone())];
                let exact = over.iter().filter_map(|held| self.by_range.get_key_value(held));
                exact.chain(self.slices()).filter_map(residual).collect()
            }
            Range::Key(key) => {
                let rows = self.by_range.range(Range::first_row_of(key.clone())..).take_while(|(held, _)| is_row_of(held, key));
                let exact = self.by_range.get_key_value(range);
                rows.chain(exact).chain(self.slices()).filter_map(residual).collect()
            }
            Range::Slice { .. } => self.by_range.iter().filter_map(residual).collect(),
        }
    }

    fn slices(&self) -> impl Iterator<Item = (&Range, &CausalContext)> {
        self.by_range.range(Range::ALL..)
    }
}

fn is_row_of(range: &Range, key: &Bytes) -> bool {
    matches!(range, Range::Row(row) if row.key == *key)
}

/// Whether any residual that came with a delta, or its context, has seen a dot of `row`.
pub(super) fn remote<'a>(context: &'a CausalContext, residuals: &'a [Residual], row: &RowKey) -> Filled<'a> {
    let over = residuals.iter().filter(|residual| residual.range.contains(row)).map(|residual| &residual.context);
    Filled { context, residuals: over.collect() }
}
