//! Was this element added? A Bloom filter.

use serde::Serialize;

use super::cells::Cells;
use crate::codec::{DecodeError, Kind, Reader, Writer};
use crate::types::delegate::without_dots;
use crate::{Changed, Contexts, Crdt, Edit, Lattice, Tx};

/// Says that an element was certainly never added, or that it probably was, in `BYTES` bytes
/// (Bloom, "Space/time trade-offs in hash coding with allowable errors", CACM 1970).
///
/// **Bound:** after n different additions, an element that was never added is reported as present
/// with probability (1 - e^(-KEYS·n / (8·BYTES)))^KEYS. For 1 %, take 1.2 bytes per element and 7
/// keys.
///
/// **Law:** a lattice: merging is the union of the bits, so replicas agree exactly. What grows:
/// nothing beyond `BYTES` bytes, but the error does.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Bloom<const BYTES: usize, const KEYS: usize = 7> {
    bits: Cells,
}

impl<const BYTES: usize, const KEYS: usize> Bloom<BYTES, KEYS> {
    const BITS: usize = {
        assert!(
            BYTES > 0 && BYTES < 1 << 29 && KEYS > 0,
            "at least one byte and one key, and places of 32 bits"
        );
        8 * BYTES
    };

    /// Whether the element may have been added. `false` is always right. O(KEYS).
    pub fn may_contain(&self, element: &(impl Serialize + ?Sized)) -> bool {
        super::places(element, Self::BITS)
            .take(KEYS)
            .all(|place| self.bits.get(place / 8) >> (place % 8) & 1 == 1)
    }

    /// How many of the 8·`BYTES` bits are set. At one half the error is 2^-KEYS, and the filter is
    /// full.
    pub fn bits_set(&self) -> usize {
        self.bits
            .iter()
            .map(|(_, byte)| byte.count_ones() as usize)
            .sum()
    }
}

fn union(a: u8, b: u8) -> u8 {
    a | b
}

impl<const BYTES: usize, const KEYS: usize> Edit<'_, Bloom<BYTES, KEYS>> {
    /// Adds the element and says whether it was certainly absent before. If not, there is nothing
    /// to send.
    pub fn add(&mut self, _: &mut Tx<'_>, element: &(impl Serialize + ?Sized)) -> bool {
        let (state, delta) = self.parts();
        let mut new = false;
        for place in super::places(element, Bloom::<BYTES, KEYS>::BITS).take(KEYS) {
            let bit = 1 << (place % 8);
            if state.bits.raise(BYTES, place / 8, bit, union) {
                delta.bits.raise(BYTES, place / 8, bit, union);
                new = true;
            }
        }
        new
    }
}

impl<const BYTES: usize, const KEYS: usize> Lattice for Bloom<BYTES, KEYS> {
    fn merge(&mut self, other: &Self) -> bool {
        self.bits.merge(BYTES, &other.bits, union)
    }
}

impl<const BYTES: usize, const KEYS: usize> Crdt for Bloom<BYTES, KEYS> {
    without_dots!(|tag| {
        tag.kind(Kind::Bloom);
        tag.size(BYTES);
        tag.size(KEYS);
    });
    type Effects = Changed;

    fn join(&mut self, theirs: &Self, _: Contexts<'_>) -> Changed {
        Changed(self.merge(theirs))
    }

    fn encode(&self, out: &mut Writer) {
        self.bits.encode(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Cells::decode(input, BYTES, |_| true).map(|bits| Self { bits })
    }
}
