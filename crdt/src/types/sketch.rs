//! Sketches: approximate answers about very many elements in little space, with a known error.
//!
//! Each sketch is a lattice, so replicas agree exactly, on the same estimate. Each type says which
//! of its answers are estimates.
//!
//! | sketch | question | merge | error |
//! |---|---|---|---|
//! | [`HyperLogLog`] | how many different elements? | the greater of each register | standard error 1.04 / √(2^P) |
//! | [`Bloom`] | was this element added? | the union of the bits | an absent element is reported as present with probability (1 - e^(-KEYS·n / bits))^KEYS |
//! | [`CountMin`] | how often was this element counted? | per replica, the greater of each cell; the replicas are summed | too high by at most e·n / WIDTH, with probability 1 - e^-DEPTH |
//! | [`TopK`] | which elements were counted most often? | per replica, the later summary | each count comes with its bounds |
//!
//! An element is hashed as the xxh3 of its postcard bytes with a fixed seed. The seed is part of
//! the format, so that replicas agree.

mod bloom;
mod cells;
mod count_min;
mod hyper_log_log;
mod top_k;

use alloc::vec::Vec;

use serde::Serialize;
use xxhash_rust::xxh3::{xxh3_64_with_seed, xxh3_128_with_seed};

pub use bloom::Bloom;
pub use count_min::CountMin;
pub use hyper_log_log::HyperLogLog;
pub use top_k::{Counted, TopK};

/// Arbitrary, but fixed for ever.
const SEED: u64 = 0x7175_6f72_6174_6531;

fn hash(element: &(impl Serialize + ?Sized)) -> u64 {
    xxh3_64_with_seed(&bytes(element), SEED)
}

/// An endless series of places below `size`, from two hashes (Kirsch & Mitzenmacher, "Less hashing,
/// same performance", 2008).
fn places(element: &(impl Serialize + ?Sized), size: usize) -> impl Iterator<Item = usize> {
    let both = xxh3_128_with_seed(&bytes(element), SEED);
    let (first, step) = (both as u64, (both >> 64) as u64 | 1);
    (0_u64..).map(move |n| {
        let hash = first.wrapping_add(n.wrapping_mul(step));
        // The high half of the product: a remainder without a division (Lemire 2019).
        ((u128::from(hash) * size as u128) >> 64) as usize
    })
}

fn bytes(element: &(impl Serialize + ?Sized)) -> Vec<u8> {
    postcard::to_allocvec(element).expect("invariant: elements are plain data")
}
