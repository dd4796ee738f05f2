//! Linearizability: could the operations on one key have happened one after another, each between
//! its beginning and its end?
//!
//! The search is that of Wing and Gong ("Testing and verifying concurrent objects", J. Parallel
//! Distrib. Comput. 17, 1993) with the memory of Lowe ("Testing for linearizability", Concurrency
//! Comput. Pract. Exper. 29(4), 2017, section 3): it never looks twice at the same pair of a set of
//! operations and a state. An operation with an unknown outcome may happen at any time after its
//! beginning, or never. The problem is NP-complete, so the search has a budget.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;

use super::history::Action;
use super::operation::Operation;
use super::report::Rule;
use super::unusable::Unusable;
use super::violation::Violation;

/// The budget of the search for one key, in steps (guess: a few seconds and a few hundred megabytes
/// of memory).
const STEPS_MAX: usize = 2_000_000;

/// The sequential behaviour of a key.
pub(super) trait Machine {
    /// What a key is between two operations.
    type State: Clone + Default + Eq + Hash;
    /// What it means that there is no order.
    const NO_ORDER: &'static str;

    /// Whether the operation is one of this machine.
    fn knows(&self, action: &Action) -> bool;

    /// The state after `operation`, or `None` if it cannot happen in `state`.
    fn step(&self, state: &Self::State, operation: &Operation<'_>) -> Option<Self::State>;

    /// Whether `other` can be left out of `all` only together with `chosen`. If there is an order
    /// of all, there must be one without all of these.
    fn goes_with(
        &self,
        chosen: &Operation<'_>,
        other: &Operation<'_>,
        all: &[Operation<'_>],
    ) -> bool;
}

/// Searches an order of `operations`, which are in the order of their beginnings.
pub(super) fn check<'h, M: Machine>(
    machine: &M,
    operations: &[Operation<'h>],
) -> Result<Option<Violation<'h>>, Unusable> {
    let kept: Vec<Operation<'h>> = operations
        .iter()
        .filter(|operation| relevant(machine, operation))
        .copied()
        .collect();
    if ordered(machine, &kept)? {
        return Ok(None);
    }
    let shown = shortest(machine, kept)?;
    Ok(Some(Violation::new(
        Rule::NotLinearizable,
        M::NO_ORDER.to_owned(),
        &shown,
    )))
}

/// Leaves out what cannot matter: a refused operation did not happen, and a read without an answer
/// says nothing.
fn relevant<M: Machine>(machine: &M, operation: &Operation<'_>) -> bool {
    machine.knows(&operation.call.f)
        && if operation.call.f.is_read() {
            operation.done()
        } else {
            operation.possible()
        }
}

/// The search. The entries are beginnings and ends in their order; whatever has been put in order
/// is taken out of the list.
fn ordered<M: Machine>(machine: &M, operations: &[Operation<'_>]) -> Result<bool, Unusable> {
    let mut search = Search::new(operations);
    let mut state = M::State::default();
    let mut stack: Vec<(usize, M::State)> = Vec::new();
    let mut seen: HashSet<(Box<[u64]>, M::State)> = HashSet::new();
    let mut at = search.next[0];
    for _ in 0..STEPS_MAX {
        if search.left == 0 {
            return Ok(true);
        }
        let entry = search.entries.get(at.wrapping_sub(1)).copied();
        if let Some((operation, true)) = entry {
            let next = machine.step(&state, &operations[operation]);
            let fresh = next.filter(|next| seen.insert((search.with(operation), next.clone())));
            if let Some(next) = fresh {
                stack.push((at, std::mem::replace(&mut state, next)));
                search.lift(at);
                at = search.next[0];
            } else {
                at = search.next[at];
            }
            continue;
        }
        // An end comes before its beginning was put in order, or nothing is left to try: the last
        // choice was wrong.
        let Some((last, before)) = stack.pop() else {
            return Ok(false);
        };
        state = before;
        search.unlift(last);
        at = search.next[last];
    }
    Err(Unusable::TooHard {
        key: operations
            .first()
            .map(|operation| operation.key().into())
            .unwrap_or_default(),
    })
}

/// A doubly linked list of entries, numbered from 1. 0 is both its ends.
struct Search {
    entries: Vec<(usize, bool)>,
    /// For each operation, the entry of its end.
    ends: Vec<Option<usize>>,
    next: Vec<usize>,
    before: Vec<usize>,
    taken: Box<[u64]>,
    /// How many of the operations that were done are not in order yet.
    left: usize,
    done: Vec<bool>,
}

impl Search {
    fn new(operations: &[Operation<'_>]) -> Self {
        let begins = operations
            .iter()
            .enumerate()
            .map(|(number, operation)| (operation.begin, number, true));
        let ends = operations
            .iter()
            .enumerate()
            .filter(|(_, operation)| operation.done());
        let mut moments: Vec<_> = begins
            .chain(ends.map(|(number, operation)| (operation.end, number, false)))
            .collect();
        moments.sort_unstable();
        let entries: Vec<_> = moments
            .into_iter()
            .map(|(_, number, begin)| (number, begin))
            .collect();
        let mut ends = vec![None; operations.len()];
        for (at, (number, begin)) in entries.iter().enumerate() {
            if !begin {
                ends[*number] = Some(at + 1);
            }
        }
        let size = entries.len() + 1;
        Self {
            next: (0..size).map(|at| (at + 1) % size).collect(),
            before: (0..size).map(|at| (at + size - 1) % size).collect(),
            taken: vec![0; operations.len().div_ceil(64)].into(),
            left: operations
                .iter()
                .filter(|operation| operation.done())
                .count(),
            done: operations.iter().map(Operation::done).collect(),
            entries,
            ends,
        }
    }

    /// The set of taken operations after `operation` is taken.
    fn with(&self, operation: usize) -> Box<[u64]> {
        let mut taken = self.taken.clone();
        taken[operation / 64] |= 1 << (operation % 64);
        taken
    }

    fn lift(&mut self, at: usize) {
        let operation = self.entries[at - 1].0;
        self.taken = self.with(operation);
        self.left -= usize::from(self.done[operation]);
        self.unlink(at);
        if let Some(end) = self.ends[operation] {
            self.unlink(end);
        }
    }

    fn unlift(&mut self, at: usize) {
        let operation = self.entries[at - 1].0;
        self.taken[operation / 64] &= !(1 << (operation % 64));
        self.left += usize::from(self.done[operation]);
        if let Some(end) = self.ends[operation] {
            self.link(end);
        }
        self.link(at);
    }

    fn unlink(&mut self, at: usize) {
        let (before, next) = (self.before[at], self.next[at]);
        self.next[before] = next;
        self.before[next] = before;
    }

    fn link(&mut self, at: usize) {
        let (before, next) = (self.before[at], self.next[at]);
        self.next[before] = at;
        self.before[next] = at;
    }
}

/// The smallest set of operations found that still has no order: first a prefix, then without
/// everything that can be left out.
///
/// If a history has an order, then it still has one without any read, without a write together with
/// all reads of its value, and without all grants of one process together with all that names them.
/// So whatever part has no order shows what is wrong with the whole.
fn shortest<'h, M: Machine>(
    machine: &M,
    mut operations: Vec<Operation<'h>>,
) -> Result<Vec<Operation<'h>>, Unusable> {
    let ends: BTreeSet<usize> = operations
        .iter()
        .filter(|operation| operation.done())
        .map(|operation| operation.end)
        .collect();
    let ends: Vec<usize> = ends.into_iter().collect();
    let (mut low, mut high) = (0, ends.len());
    while low + 1 < high {
        let middle = usize::midpoint(low, high);
        if ordered(machine, &until(&operations, ends[middle - 1]))? {
            low = middle;
        } else {
            high = middle;
        }
    }
    operations = until(&operations, ends[high - 1]);
    let mut at = operations.len();
    while at > 0 {
        at -= 1;
        let unit = unit(machine, &operations, at);
        let kept = operations
            .iter()
            .enumerate()
            .filter(|(number, _)| !unit.contains(number))
            .map(|(_, kept)| *kept);
        let kept: Vec<_> = kept.collect();
        // If leaving it out is too hard to decide, it stays in.
        if ordered(machine, &kept).is_ok_and(|ordered| !ordered) {
            operations = kept;
            at = at.min(operations.len());
        }
    }
    Ok(operations)
}

/// Everything that had begun by `end`. What had not ended by then has an unknown outcome.
fn until<'h>(operations: &[Operation<'h>], end: usize) -> Vec<Operation<'h>> {
    let begun = operations.iter().filter(|operation| {
        operation.begin < end && (operation.end <= end || !operation.call.f.is_read())
    });
    begun
        .map(|operation| {
            if operation.end <= end {
                *operation
            } else {
                operation.left_open()
            }
        })
        .collect()
}

/// Operations that can only be left out together.
fn unit<M: Machine>(machine: &M, operations: &[Operation<'_>], at: usize) -> BTreeSet<usize> {
    let chosen = &operations[at];
    operations
        .iter()
        .enumerate()
        .filter(|(number, other)| *number == at || machine.goes_with(chosen, other, operations))
        .map(|(number, _)| number)
        .collect()
}
