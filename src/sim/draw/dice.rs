//! Choices at random.

use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

/// One of `of`, each as likely as the others. An entry that is listed twice is twice as likely.
pub(super) fn pick<T: Copy, const N: usize>(rng: &mut StdRng, of: [T; N]) -> T {
    *of.choose(rng)
        .expect("invariant: there is something to choose from")
}

/// One of `small` with the probability `share`, otherwise `usual`.
pub(super) fn sometimes(rng: &mut StdRng, share: f64, small: &[usize], usual: usize) -> usize {
    *small
        .choose(rng)
        .filter(|_| rng.random_bool(share))
        .unwrap_or(&usual)
}
