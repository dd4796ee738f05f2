//! Clocks, medians and printed lines.

use std::fmt;
use std::hint::black_box;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread in nanoseconds, which excludes other processes on the machine.
fn now() -> f64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// How many nanoseconds the work takes. Its result is dropped outside the measured time.
pub(crate) fn time<R>(work: impl FnOnce() -> R) -> f64 {
    let start = now();
    let result = black_box(work());
    let taken = now() - start;
    drop(result);
    taken
}

/// Runs the works in turn for `rounds` rounds and returns the median of each. The first round warms
/// up and does not count.
pub(crate) fn medians<const N: usize>(
    rounds: usize,
    mut works: [&mut dyn FnMut() -> f64; N],
) -> [f64; N] {
    let mut taken: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for round in 0..=rounds {
        for (work, taken) in works.iter_mut().zip(&mut taken) {
            let sample = work();
            if round > 0 {
                taken.push(sample);
            }
        }
    }
    taken.map(|mut samples| {
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 2]
    })
}

/// Nanoseconds, in the unit that fits.
pub(crate) struct Nanos(pub(crate) f64);

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            nanos if nanos < 1e3 => write!(f, "{nanos:.1}ns"),
            nanos if nanos < 1e6 => write!(f, "{:.2}us", nanos / 1e3),
            nanos => write!(f, "{:.2}ms", nanos / 1e6),
        }
    }
}

/// A gate on speed: the peer must take at least `target` times as long as this crate.
pub(crate) fn gate_faster(name: &str, ours: f64, peer: f64, target: f64) {
    let ratio = peer / ours;
    let met = if ratio >= target { "met" } else { "short" };
    println!(
        "gate {name} ours={} peer={} ratio={ratio:.2} target=>={target} {met}",
        Nanos(ours),
        Nanos(peer)
    );
}

/// A gate on size: this crate may take at most `target`. The peer's figure is printed beside it if
/// there is one.
pub(crate) fn gate_at_most(name: &str, ours: f64, peer: Option<f64>, target: f64) {
    let met = if ours <= target { "met" } else { "short" };
    let (peer, ratio) = peer.map_or(("-".to_owned(), "-".to_owned()), |peer| {
        (format!("{peer:.2}"), format!("{:.2}", peer / ours))
    });
    println!("gate {name} ours={ours:.2} peer={peer} ratio={ratio} target=<={target:.2} {met}");
}

/// A row of the table of further comparisons.
pub(crate) fn row(name: &str, cells: &[(&str, f64)]) {
    let cells: Vec<String> = cells
        .iter()
        .map(|(who, nanos)| format!("{who} {}", Nanos(*nanos)))
        .collect();
    println!("      {name}: {}", cells.join(" | "));
}

/// Pseudo-random numbers, the same in each run (Steele et al., "Fast splittable pseudorandom number
/// generators").
pub(crate) struct SplitMix(pub(crate) u64);

impl Iterator for SplitMix {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(z ^ (z >> 31))
    }
}
