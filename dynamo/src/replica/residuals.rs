//! Ranges in which a replica knows more than its context says.

use std::collections::BTreeMap;

use bytes::Bytes;
use quorate_crdt::{CausalContext, Dot, Observed};
use smallvec::SmallVec;

use super::range::Range;
use super::row::RowKey;

/// A context that holds in one range but not yet in the whole partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residual {
    /// The range.
    pub range: Range,
    /// The context that holds there.
    pub context: CausalContext,
}

/// All residuals of a replica. They stop an older event that arrives late, by another path, from
/// reappearing beside the one that overwrote it. Empty in the steady state.
///
/// **Merging.** Slices that overlap or touch are merged: events known in both are known in their
/// union, and the rest stays with each. So the slices of one stream grow into a single slice,
/// whatever their order of arrival, and a slice that spans the partition is what the replica has
/// seen of the whole. This is the only way in which a replica adopts the context of a stream: a
/// piece that is missing, late or from another stream leaves a gap, or a smaller common context.
#[derive(Clone, Debug, Default)]
pub(super) struct Residuals {
    by_range: BTreeMap<Range, CausalContext>,
    bytes: usize,
    /// Whether slices have brought live entries that are not yet in the replica's context. They are
    /// settled when the slice is.
    pub(super) unsettled: bool,
}

pub(super) fn weight(range: &Range, context: &CausalContext) -> usize {
    let name = match range {
        Range::Row(row) => row.key.len() + row.field.len(),
        Range::Key(key) => key.len(),
        Range::Slice { after, through } => {
            after.iter().chain(through).map(|cut| cut.key.len()).sum()
        }
    };
    128 + name + context.runs().count() * 24
}

/// Everything known about one row: the replica's context and every residual over the row, without
/// building their union.
pub(super) struct Filled<'a> {
    context: &'a CausalContext,
    residuals: SmallVec<[&'a CausalContext; 2]>,
}

impl Observed for Filled<'_> {
    fn has_seen(&self, dot: Dot) -> bool {
        self.context.contains(dot) || self.residuals.iter().any(|residual| residual.contains(dot))
    }
}

impl Filled<'_> {
    /// Whether all of `events` have been seen. The cost depends on the runs of `events`, not on
    /// their number, which a client can make as large as it likes.
    pub(super) fn covers(&self, events: &CausalContext) -> bool {
        let rest = events.without(self.context);
        self.residuals
            .iter()
            .fold(rest, |rest, residual| rest.without(residual))
            .is_empty()
    }
}

impl Residuals {
    pub(super) fn len(&self) -> usize {
        self.by_range.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Range, &CausalContext)> {
        self.by_range.iter()
    }

    /// Roughly the memory that all residuals take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Remembers that `context`, which the replica's own context lacks, holds in `range`. Appends
    /// the ranges whose residuals have changed.
    pub(super) fn add(&mut self, range: Range, context: CausalContext, changed: &mut Vec<Range>) {
        if !matches!(range, Range::Slice { .. }) {
            let mut all = context;
            if let Some(held) = self.by_range.get(&range) {
                all.union(held);
            }
            self.set(range, all, changed);
            return;
        }
        let mut rest = context;
        for (_, held) in self.slices().filter(|(held, _)| held.encloses(&range)) {
            rest = rest.without(held);
        }
        while !rest.is_empty() {
            let Some((other, common)) = self.neighbour(&range, &rest) else {
                break;
            };
            let both = other
                .joined(&range)
                .expect("invariant: a neighbour touches");
            let held = self
                .by_range
                .get(&other)
                .map(|held| held.without(&common))
                .unwrap_or_default();
            self.set(other, held, changed);
            rest = rest.without(&common);
            self.add(both, common, changed);
        }
        if !rest.is_empty() {
            let inside: Vec<Range> = self
                .slices()
                .map(|(held, _)| held)
                .filter(|held| range.encloses(held) && **held != range)
                .cloned()
                .collect();
            for held in inside {
                let less = self
                    .by_range
                    .get(&held)
                    .map(|context| context.without(&rest))
                    .unwrap_or_default();
                self.set(held, less, changed);
            }
            if let Some(held) = self.by_range.get(&range) {
                rest.union(held);
            }
            self.set(range, rest, changed);
        }
    }

    /// A slice that overlaps or touches `range`, without either containing the other, and knows
    /// some of the events in `context`; with those events.
    fn neighbour(&self, range: &Range, context: &CausalContext) -> Option<(Range, CausalContext)> {
        self.slices()
            .filter(|(held, _)| {
                !held.encloses(range) && !range.encloses(held) && held.joined(range).is_some()
            })
            .find_map(|(held, said)| {
                let common = said.intersection(context);
                (!common.is_empty()).then(|| (held.clone(), common))
            })
    }

    fn set(&mut self, range: Range, context: CausalContext, changed: &mut Vec<Range>) {
        if let Some(old) = self.by_range.remove(&range) {
            self.bytes -= weight(&range, &old);
        } else if context.is_empty() {
            return;
        }
        changed.push(range.clone());
        if !context.is_empty() {
            self.bytes += weight(&range, &context);
            self.by_range.insert(range, context);
        }
    }

    /// Restores a residual from disk.
    pub(super) fn restore(&mut self, range: Range, context: CausalContext) {
        self.unsettled |= matches!(range, Range::Slice { .. });
        self.set(range, context, &mut Vec::new());
    }

    /// Takes the residual of the whole partition, if there is one: the replica has seen it.
    pub(super) fn take_whole(&mut self, changed: &mut Vec<Range>) -> Option<CausalContext> {
        let whole = self.by_range.get(&Range::ALL).cloned()?;
        self.set(Range::ALL, CausalContext::new(), changed);
        Some(whole)
    }

    pub(super) fn get(&self, range: &Range) -> Option<&CausalContext> {
        self.by_range.get(range)
    }

    /// Whether the event is known in all of `range`.
    pub(super) fn has_seen_in(&self, range: &Range, dot: Dot) -> bool {
        let slice = range.as_slice();
        self.slices()
            .any(|(held, context)| held.encloses(&slice) && context.contains(dot))
            || self.get(range).is_some_and(|held| held.contains(dot))
    }

    /// Drops residuals that the replica's context now covers. Appends their ranges.
    pub(super) fn strip(&mut self, context: &CausalContext, changed: &mut Vec<Range>) {
        let covered: Vec<Range> = self
            .by_range
            .iter()
            .filter(|(_, residual)| context.covers(residual))
            .map(|(range, _)| range.clone())
            .collect();
        for range in covered {
            self.set(range, CausalContext::new(), changed);
        }
        self.unsettled = self.unsettled && self.has_slices();
    }

    /// Everything known about the row: `context` and every residual over it.
    pub(super) fn filled<'a>(&'a self, context: &'a CausalContext, row: &RowKey) -> Filled<'a> {
        let mut residuals = SmallVec::new();
        if !self.by_range.is_empty() {
            residuals.extend(self.by_range.get(&Range::Row(row.clone())));
            residuals.extend(self.by_range.get(&Range::Key(row.key.clone())));
            residuals.extend(
                self.slices()
                    .filter(|(slice, _)| slice.contains(row))
                    .map(|(_, residual)| residual),
            );
        }
        Filled { context, residuals }
    }

    /// The residuals to send with a delta of `range`: every one that touches the range, cut to it.
    pub(super) fn within(&self, range: &Range) -> Vec<Residual> {
        if self.by_range.is_empty() {
            return Vec::new();
        }
        let residual = |(held, context): (&Range, &CausalContext)| {
            held.clip(range).map(|range| Residual {
                range,
                context: context.clone(),
            })
        };
        match range {
            Range::Row(row) => {
                let over = [range.clone(), Range::Key(row.key.clone())];
                let exact = over
                    .iter()
                    .filter_map(|held| self.by_range.get_key_value(held));
                exact.chain(self.slices()).filter_map(residual).collect()
            }
            Range::Key(key) => {
                let rows = self
                    .by_range
                    .range(Range::first_row_of(key.clone())..)
                    .take_while(|(held, _)| is_row_of(held, key));
                let exact = self.by_range.get_key_value(range);
                rows.chain(exact)
                    .chain(self.slices())
                    .filter_map(residual)
                    .collect()
            }
            Range::Slice { .. } => self.by_range.iter().filter_map(residual).collect(),
        }
    }

    pub(super) fn has_slices(&self) -> bool {
        self.slices().next().is_some()
    }

    pub(super) fn slices(&self) -> impl Iterator<Item = (&Range, &CausalContext)> {
        self.by_range.range(Range::ALL..)
    }
}

fn is_row_of(range: &Range, key: &Bytes) -> bool {
    matches!(range, Range::Row(row) if row.key == *key)
}

/// Everything that the sender of a delta knew about `row`: the delta's context and its residuals
/// over the row.
pub(super) fn remote<'a>(
    context: &'a CausalContext,
    residuals: &'a [Residual],
    row: &RowKey,
) -> Filled<'a> {
    let over = residuals
        .iter()
        .filter(|residual| residual.range.contains(row))
        .map(|residual| &residual.context);
    Filled {
        context,
        residuals: over.collect(),
    }
}
