//! How many different elements were added? A `HyperLogLog`.

use serde::Serialize;

use super::cells::Cells;
use crate::codec::{DecodeError, Kind, Reader, Writer};
use crate::types::delegate::without_dots;
use crate::{Changed, Contexts, Crdt, Edit, Lattice, Tx};

/// Estimates how many different elements were added, in 2^P bytes (Flajolet, Fusy, Gandouet,
/// Meunier, "`HyperLogLog`", `AofA` 2007, with 64-bit hashes; the estimate is the improved raw
/// estimator of Ertl, arXiv 1702.01284, section 3).
///
/// **Bound:** P is from 4 to 16. The standard error is 1.04 / √(2^P), however many elements there
/// are: 1.6 % for P = 12, the default.
///
/// **Law:** a lattice: merging takes the maximum of each register, so replicas agree exactly, and
/// an element counts once, wherever and however often it is added. Only
/// [`estimate`](Self::estimate) is inexact. What grows: nothing beyond 2^P bytes; fewer while there
/// are few elements.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct HyperLogLog<const P: u32 = 12> {
    registers: Cells,
}

impl<const P: u32> HyperLogLog<P> {
    const SIZE: usize = {
        assert!(P >= 4 && P <= 16, "P is from 4 to 16");
        1 << P
    };
    /// How many bits of the hash are left for the rank.
    const BITS: u32 = 64 - P;

    /// About how many different elements were added. O(2^P).
    pub fn estimate(&self) -> f64 {
        let size = Self::SIZE as f64;
        // How many registers have each rank; the highest rank is BITS + 1.
        let mut ranks = [0_u32; 62];
        let mut empty = Self::SIZE;
        for (_, rank) in self.registers.iter() {
            ranks[usize::from(rank)] += 1;
            empty -= 1;
        }
        if empty == Self::SIZE {
            return 0.0;
        }
        // The sum of 2^-rank. Full registers are counted as they are: a correction matters only
        // above 2^58 elements.
        let sum = (1..=Self::BITS as usize + 1)
            .rev()
            .fold(0.0, |sum, rank| 0.5 * (sum + f64::from(ranks[rank])));
        let sum = sum + size * sigma(empty as f64 / size);
        size * size / (2.0 * core::f64::consts::LN_2 * sum)
    }
}

/// The contribution of the empty registers: x + Σ x^(2^k) · 2^(k-1). Finite, because not all
/// registers are empty.
fn sigma(mut x: f64) -> f64 {
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum <= before {
            return sum;
        }
    }
}

impl<const P: u32> Edit<'_, HyperLogLog<P>> {
    /// Adds the element and says whether that changed the sketch. If not, there is nothing to send.
    pub fn add(&mut self, _: &mut Tx<'_>, element: &(impl Serialize + ?Sized)) -> bool {
        let hash = super::hash(element);
        let (at, rest) = ((hash >> HyperLogLog::<P>::BITS) as usize, hash << P);
        let rank = rest.leading_zeros().min(HyperLogLog::<P>::BITS) as u8 + 1;
        let (state, delta) = self.parts();
        let raises = state
            .registers
            .raise(HyperLogLog::<P>::SIZE, at, rank, u8::max);
        if raises {
            delta
                .registers
                .raise(HyperLogLog::<P>::SIZE, at, rank, u8::max);
        }
        raises
    }
}

impl<const P: u32> Lattice for HyperLogLog<P> {
    fn merge(&mut self, other: &Self) -> bool {
        self.registers.merge(Self::SIZE, &other.registers, u8::max)
    }
}

impl<const P: u32> Crdt for HyperLogLog<P> {
    without_dots!(|tag| {
        tag.kind(Kind::HyperLogLog);
        tag.size(Self::SIZE);
    });
    type Effects = Changed;

    fn join(&mut self, theirs: &Self, _: Contexts<'_>) -> Changed {
        Changed(self.merge(theirs))
    }

    fn encode(&self, out: &mut Writer) {
        self.registers.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let registers = Cells::decode(input, Self::SIZE, |rank| u32::from(rank) <= Self::BITS + 1)?;
        Ok(Self { registers })
    }
}
