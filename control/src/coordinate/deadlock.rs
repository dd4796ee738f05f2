//! Circles in a wait-for graph. Whoever is about to wait is told the circle that this would close;
//! so there is never one, and nobody need be made a victim.

use std::collections::BTreeSet;

#[cfg(test)]
mod tests;

/// How many edges are followed before the search gives up. A request then waits as long as it said
/// it would, and no longer. Guess: a few milliseconds.
pub(super) const EDGES_MAX: usize = 10_000;

/// The shortest way found from `start` back to it, depth first, without the end: each waits for the
/// next, and the last for the first. `waits_for` says whom a party waits for.
///
/// A party that waits for itself is none: two requests of one party are served one after the other.
pub(super) fn circle<P: Ord + Copy>(
    start: P,
    mut waits_for: impl FnMut(P) -> Vec<P>,
) -> Option<Vec<P>> {
    let mut seen = BTreeSet::from([start]);
    let mut way = vec![start];
    let mut open = vec![waits_for(start)];
    let mut edges = 0;
    while let Some(next) = open.last_mut() {
        let Some(party) = next.pop() else {
            open.pop();
            way.pop();
            continue;
        };
        edges += 1;
        if edges > EDGES_MAX {
            return None;
        }
        if party == start && way.len() > 1 {
            return Some(way);
        }
        if seen.insert(party) {
            way.push(party);
            open.push(waits_for(party));
        }
    }
    None
}
