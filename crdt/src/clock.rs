//! The hybrid logical clock of a node: stamps that never go back.
//!
//! Nothing here reads a clock. A hybrid logical clock (Kulkarni et al., "Logical Physical Clocks",
//! 2014) follows the wall clock while it can and counts when it cannot. It orders writes only where
//! causality does not: for last-writer-wins and for expiry.

#[cfg(test)]
mod tests;

use core::fmt;
use core::time::Duration;

use hlc_gen::source::ManualClock;
use hlc_gen::{HlcGenerator, HlcTimestamp};
use thiserror::Error;

use crate::{Hlc, Now};

/// How far a remote stamp may be ahead of this node's wall clock before it is refused. A guess: NTP
/// keeps machines within tens of milliseconds, and a longer bound lets a broken clock win for
/// longer.
pub const DRIFT_DEFAULT: Duration = Duration::from_millis(500);

/// Why a clock was not created.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ClockConfigError {
    /// hlc-gen takes a bound of 0 for "no bound"; a single hostile stamp would then stop the clock
    /// for good.
    #[error("the drift bound must be at least one millisecond")]
    NoDriftBound,
}

/// A remote stamp was refused. The clock has not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the remote stamp is {ahead:?} ahead of the wall clock; the bound is {bound:?}")]
pub struct DriftTooLarge {
    /// How far the stamp is ahead of this node's wall clock.
    pub ahead: Duration,
    /// The largest lead that is accepted.
    pub bound: Duration,
}

/// The source of a node's stamps.
///
/// **Law:** every stamp it gives is greater than all that it gave before, all that it was
/// [restored](Self::restore) to and all that it [observed](Self::observe), whatever the wall clock
/// does. At the last stamp, in 2109, it stands still.
///
/// It wraps hlc-gen's generator, which gives no stamp while its counter is full. This one carries
/// into the milliseconds instead, so neither a frozen wall clock nor a sender with a full counter
/// can stop writes.
pub struct HybridClock {
    generator: HlcGenerator<ManualClock>,
    bound: Duration,
}

fn to_generator(hlc: Hlc) -> HlcTimestamp {
    HlcTimestamp::try_from(hlc.as_u64()).expect("invariant: both end with the same stamp")
}

fn from_generator(stamp: HlcTimestamp) -> Hlc {
    Hlc::try_from(stamp.as_u64()).unwrap_or_default()
}

impl HybridClock {
    /// A clock that has seen nothing. `max_drift` bounds how far ahead a remote stamp may be;
    /// usually [`DRIFT_DEFAULT`].
    ///
    /// # Errors
    /// The bound is below one millisecond, which hlc-gen would take for no bound.
    pub fn new(max_drift: Duration) -> Result<Self, ClockConfigError> {
        match usize::try_from(max_drift.as_millis()).unwrap_or(usize::MAX) {
            0 => Err(ClockConfigError::NoDriftBound),
            millis => Ok(Self {
                generator: HlcGenerator::manual(millis),
                bound: max_drift,
            }),
        }
    }

    /// The stamp of a local event: the wall clock if it is ahead of every stamp so far, otherwise
    /// the next stamp.
    pub fn tick(&mut self, now: Now) -> Hlc {
        self.set_wall(now.unix_millis);
        self.generator
            .next_timestamp()
            .map_or_else(|| self.carry(), from_generator)
    }

    /// The stamp of a write that overwrites `observed`: above all of them, however far they are
    /// ahead of the wall clock.
    ///
    /// A stored stamp may be ahead of the wall clock if the wall clock has stepped back. Without a
    /// stamp above it, the overwrite would lose to what it overwrites. Stamps from other nodes must
    /// have passed [`observe`](Self::observe) when they were stored.
    pub fn tick_after(&mut self, now: Now, observed: impl IntoIterator<Item = Hlc>) -> Hlc {
        if let Some(highest) = observed.into_iter().max() {
            self.restore(highest);
        }
        self.tick(now)
    }

    /// The stamp of a write that is ordered by its event, so that the stamp need not be unique:
    /// above `observed` and above this clock's own past, where these are within the bound of the
    /// wall clock. Anything further ahead is left over from a wrong clock and is forgotten: once
    /// the wall clock is right, so are the stamps.
    ///
    /// Not for [`Stamp`](crate::Stamp)s, which name writes: after the clock forgets a mark, it can
    /// give the same stamp again.
    pub fn tick_near(&mut self, now: Now, observed: impl IntoIterator<Item = Hlc>) -> Hlc {
        self.let_go(now);
        let near = |stamp: &Hlc| !self.is_too_far(now, *stamp);
        let highest = observed.into_iter().filter(near).max();
        self.tick_after(now, highest)
    }

    /// Forgets a past that is further ahead of the wall clock than the bound. Returns whether there
    /// was one.
    pub fn let_go(&mut self, now: Now) -> bool {
        let beyond = self.is_beyond(now);
        if beyond {
            self.generator =
                HlcGenerator::manual(usize::try_from(self.bound.as_millis()).unwrap_or(usize::MAX));
        }
        beyond
    }

    /// Whether this clock's past is further ahead of the wall clock than the bound.
    fn is_beyond(&self, now: Now) -> bool {
        self.is_too_far(now, self.last())
    }

    fn is_too_far(&self, now: Now, stamp: Hlc) -> bool {
        u128::from(stamp.unix_millis().saturating_sub(now.unix_millis)) > self.bound.as_millis()
    }

    /// Takes note of a remote stamp, so that later local stamps are above it.
    ///
    /// A stamp that this clock has already passed is harmless and accepted, even after a backward
    /// step.
    ///
    /// # Errors
    /// The stamp is ahead of this clock and further ahead of the wall clock than the bound. The
    /// clock has not changed.
    pub fn observe(&mut self, now: Now, remote: Hlc) -> Result<(), DriftTooLarge> {
        if remote <= self.last() {
            return Ok(());
        }
        let ahead = Duration::from_millis(remote.unix_millis().saturating_sub(now.unix_millis));
        if ahead > self.bound {
            return Err(DriftTooLarge {
                ahead,
                bound: self.bound,
            });
        }
        self.set_wall(now.unix_millis);
        if self.generator.update(&to_generator(remote)).is_err() {
            // The only reason left is a full counter; hlc-gen has changed nothing.
            self.restore(remote);
        }
        Ok(())
    }

    /// The last stamp given or accepted. Store it as the high-water mark.
    pub fn last(&self) -> Hlc {
        from_generator(self.generator.timestamp())
    }

    /// Continues above `high_water`, the mark that this node stored before it stopped, without
    /// checking the bound. Never goes back.
    pub fn restore(&mut self, high_water: Hlc) {
        if high_water > self.last() {
            // With the wall clock at the mark itself there is no drift to refuse.
            self.set_wall(high_water.unix_millis());
            if self.generator.update(&to_generator(high_water)).is_err() {
                self.carry_from(high_water);
            }
        }
    }

    fn carry(&mut self) -> Hlc {
        let last = self.last();
        self.carry_from(last)
    }

    /// The first stamp of the millisecond after `full`, from hlc-gen told that this is the time.
    fn carry_from(&mut self, full: Hlc) -> Hlc {
        self.set_wall(full.unix_millis() + 1);
        self.generator
            .next_timestamp()
            .map_or_else(|| self.last(), from_generator)
    }

    fn set_wall(&mut self, unix_millis: u64) {
        self.generator
            .set_current_timestamp(i64::try_from(unix_millis).unwrap_or(i64::MAX));
    }
}

impl fmt::Debug for HybridClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HybridClock")
            .field("last", &self.last())
            .field("bound", &self.bound)
            .finish_non_exhaustive()
    }
}
