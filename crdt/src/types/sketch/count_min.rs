//! How often was this element counted? A count-min sketch.

use alloc::collections::BTreeMap;

use serde::Serialize;

use crate::codec::{DecodeError, Kind, Reader, Writer};
use crate::types::delegate::without_dots;
use crate::{Changed, Contexts, Crdt, Edit, Lattice, ReplicaId, Tx};

/// Estimates how often each element was counted, in WIDTH × DEPTH cells (Cormode & Muthukrishnan,
/// "An improved data stream summary: the count-min sketch", J. Algorithms 2005).
///
/// **Bound:** an estimate is never too low. With n counted in all, it is too high by at most e·n /
/// WIDTH, with probability 1 - e^-DEPTH per question.
///
/// **Law:** a lattice, because each replica raises only its own cells: merging takes the maximum
/// per replica and cell, and an estimate sums over the replicas. (The usual merge, which adds the
/// cells of two sketches, would count a repeated delta twice.) Only [`estimate`](Self::estimate) is
/// inexact. What grows: up to WIDTH × DEPTH cells per replica that ever counted.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct CountMin<const WIDTH: usize = 2048, const DEPTH: usize = 4> {
    /// By cell, then by replica; no zeros.
    cells: BTreeMap<(u32, ReplicaId), u64>,
}

impl<const WIDTH: usize, const DEPTH: usize> CountMin<WIDTH, DEPTH> {
    const SIZE: usize = {
        assert!(
            WIDTH > 0 && DEPTH > 0 && WIDTH <= 1 << 24 && DEPTH <= 64,
            "some cells, with places of 32 bits"
        );
        WIDTH * DEPTH
    };

    /// About how often all replicas together have counted the element; never too low. O(DEPTH ·
    /// replicas).
    pub fn estimate(&self, element: &(impl Serialize + ?Sized)) -> u128 {
        cells_of::<WIDTH, DEPTH>(element)
            .map(|cell| self.sum(cell))
            .min()
            .unwrap_or(0)
    }

    /// How much was counted in all. Exact.
    pub fn total(&self) -> u128 {
        // Each row has counted everything.
        let first_row = (0, LOWEST)..(WIDTH as u32, LOWEST);
        self.cells
            .range(first_row)
            .map(|(_, &count)| u128::from(count))
            .sum()
    }

    fn sum(&self, cell: u32) -> u128 {
        self.cells
            .range((cell, LOWEST)..(cell + 1, LOWEST))
            .map(|(_, &count)| u128::from(count))
            .sum()
    }
}

/// No replica is lower.
const LOWEST: ReplicaId = ReplicaId::new(crate::NodeId(0), 0);

/// One cell in each row.
fn cells_of<const WIDTH: usize, const DEPTH: usize>(
    element: &(impl Serialize + ?Sized),
) -> impl Iterator<Item = u32> {
    super::places(element, WIDTH)
        .take(DEPTH)
        .enumerate()
        .map(|(row, place)| (row * WIDTH + place) as u32)
}

impl<const WIDTH: usize, const DEPTH: usize> Edit<'_, CountMin<WIDTH, DEPTH>> {
    /// Counts the element `by` times. A replica's count in a cell stops at `u64::MAX`.
    pub fn add(&mut self, tx: &mut Tx<'_>, element: &(impl Serialize + ?Sized), by: u64) {
        if by == 0 {
            return;
        }
        let (state, delta) = self.parts();
        for cell in cells_of::<WIDTH, DEPTH>(element) {
            let count = state.cells.entry((cell, tx.replica())).or_default();
            *count = count.saturating_add(by);
            delta.cells.insert((cell, tx.replica()), *count);
        }
    }
}

impl<const WIDTH: usize, const DEPTH: usize> Lattice for CountMin<WIDTH, DEPTH> {
    fn merge(&mut self, other: &Self) -> bool {
        let mut raised = false;
        for (&cell, &count) in &other.cells {
            let mine = self.cells.entry(cell).or_default();
            raised |= count > *mine;
            *mine = count.max(*mine);
        }
        raised
    }
}

impl<const WIDTH: usize, const DEPTH: usize> Crdt for CountMin<WIDTH, DEPTH> {
    without_dots!(|tag| {
        tag.kind(Kind::CountMin);
        tag.size(WIDTH);
        tag.size(DEPTH);
    });
    type Effects = Changed;

    fn join(&mut self, theirs: &Self, _: Contexts<'_>) -> Changed {
        Changed(self.merge(theirs))
    }

    fn contradicts(&self, theirs: &Self, replica: ReplicaId) -> bool {
        let own = theirs.cells.iter().filter(|(cell, _)| cell.1 == replica);
        own.into_iter()
            .any(|(cell, count)| *count > self.cells.get(cell).copied().unwrap_or(0))
    }

    fn encode(&self, out: &mut Writer) {
        out.number(self.cells.len() as u64);
        for (cell, &count) in &self.cells {
            out.value(cell);
            out.number(count);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let mut cells = BTreeMap::new();
        for _ in 0..input.count()? {
            let (cell, count): ((u32, ReplicaId), u64) = (input.value()?, input.number()?);
            let ascends = cells
                .last_key_value()
                .is_none_or(|(before, _)| *before < cell);
            if !ascends || cell.0 as usize >= Self::SIZE || count == 0 {
                return Err(DecodeError::Invalid("cells of another sketch"));
            }
            cells.insert(cell, count);
        }
        Ok(Self { cells })
    }
}
