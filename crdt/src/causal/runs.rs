//! A collector of dots that arrive in any order.

use smallvec::SmallVec;

use super::context::CausalContext;
use crate::{Dot, ReplicaId};

/// Collects dots in any order. O(n log n) whatever the order, and O(runs) memory if they come in
/// order. Inserting them one by one into a context would move everything above each.
#[derive(Default)]
pub(super) struct Runs(SmallVec<[(ReplicaId, u64, u64); 2]>);

impl Runs {
    #[inline]
    pub(super) fn push(&mut self, dot: Dot) {
        match self.0.last_mut() {
            Some((replica, _, last))
                if *replica == dot.replica && last.checked_add(1) == Some(dot.counter) =>
            {
                *last = dot.counter;
            }
            _ => self.0.push((dot.replica, dot.counter, dot.counter)),
        }
    }

    /// The set of the dots, and whether each came only once.
    pub(super) fn into_context(mut self) -> (CausalContext, bool) {
        self.0.sort_unstable();
        let once = self
            .0
            .windows(2)
            .all(|pair| pair[0].0 != pair[1].0 || pair[0].2 < pair[1].1);
        let mut context = CausalContext::new();
        for (replica, first, last) in self.0 {
            context.insert_run(replica, first, last);
        }
        (context, once)
    }
}

impl FromIterator<Dot> for CausalContext {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut context = Self::new();
        context.extend(dots);
        context
    }
}

impl Extend<Dot> for CausalContext {
    /// O(n log n), whatever the order of the dots.
    fn extend<I: IntoIterator<Item = Dot>>(&mut self, dots: I) {
        let mut runs = Runs::default();
        dots.into_iter().for_each(|dot| runs.push(dot));
        self.union(&runs.into_context().0);
    }
}
