//! Time: the clock that gives stamps which never go back.
//!
//! Nothing here reads a clock. A hybrid logical clock (Kulkarni et al., "Logical Physical Clocks",
//! 2014) follows the wall clock when it can and counts when it cannot. It orders writes only where
//! causality does not: last-writer-wins and expiry.

#[cfg(test)]
mod tests;

use core::fmt;
use core::time::Duration;

use hlc_gen::source::ManualClock;
use hlc_gen::{HlcGenerator, HlcTimestamp};
use thiserror::Error;

use crate::{Hlc, Now};

/// How far ahead of this node's wall clock a remote stamp may be before it is refused. A guess: NTP
/// keeps machines within tens of milliseconds, and a longer bound lets one broken clock win longer.
pub const DRIFT_DEFAULT: Duration = Duration::from_millis(500);

/// Why a clock was not created.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ClockConfigError {
    /// hlc-gen takes a bound of 0 for "no bound", after which one hostile stamp stops the clock for
    /// good.
    #[error("the drift bound must be at least one millisecond")]
    NoDriftBound,
}

/// A remote stamp was refused, and the clock is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("remote stamp is {ahead:?} ahead of the wall clock, more than {bound:?}")]
pub struct DriftTooLarge {
    /// How far the stamp is ahead of this node's wall clock.
    pub ahead: Duration,
    /// How far it may be.
    pub bound: Duration,
}

/// The source of a node's stamps.
///
/// **Law:** every stamp it gives is greater than all it gave before, all it was
/// [restored](Self::restore) to and all it [observed](Self::observe), whatever the wall clock does;
/// at the last stamp, in 2109, it stands still.
///
/// Wraps hlc-gen's generator, which does not hand out a stamp when its counter is full. This one
/// carries into the milliseconds instead, so neither a frozen wall clock nor a peer that sends a
/// full counter can stop writes.
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
    /// A clock that has seen nothing. `max_drift` bounds what it believes of others; usually
    /// [`DRIFT_DEFAULT`].
    ///
    /// # Errors
    /// A bound below one millisecond, which hlc-gen would take for none.
    pub fn new(max_drift: Duration) -> Result<Self, ClockConfigError> {
        match usize::try_from(max_drift.as_millis()).unwrap_or(usize::MAX) {
            0 => Err(ClockConfigError::NoDriftBound),
            millis => Ok(Self {
                generator: HlcGenerator::manual(millis),
                bound: max_drift,
            }),
        }
    }

    /// The stamp of a local event: the wall clock if it is ahead of everything so far, else the
    /// next number.
    pub fn tick(&mut self, now: Now) -> Hlc {
        self.set_wall(now.unix_millis);
        self.generator
            .next_timestamp()
            .map_or_else(|| self.carry(), from_generator)
    }

    /// The stamp of a write that overwrites `observed`: above all of them, however far ahead of the
    /// wall clock they are.
    ///
    /// A stored stamp is in the past even if the wall clock has stepped back behind it since; were
    /// it not exceeded, the overwrite would lose to what it overwrites. What comes from others must
    /// have passed [`observe`](Self::observe) when it was stored.
    pub fn tick_after(&mut self, now: Now, observed: impl IntoIterator<Item = Hlc>) -> Hlc {
        if let Some(highest) = observed.into_iter().max() {
            self.restore(highest);
        }
        self.tick(now)
    }

    /// The stamp of a write that is ordered by its event, so that its stamp need not be unique:
    /// above `observed` and above this clock's own past, as far as either lies within the bound of
    /// the wall clock. What lies beyond is the trace of a clock that was wrong, and is let go: once
    /// the wall clock is right, so are the stamps.
    ///
    /// Not for [`Stamp`](crate::Stamp)s, which name writes: after a mark was let go, a stamp can be
    /// given again.
    pub fn tick_near(&mut self, now: Now, observed: impl IntoIterator<Item = Hlc>) -> Hlc {
        self.let_go(now);
        let near = |stamp: &Hlc| !self.is_too_far(now, *stamp);
        let highest = observed.into_iter().filter(near).max();
        self.tick_after(now, highest)
    }

    /// Forgets what lies more than the bound ahead of the wall clock. Returns whether it did.
    pub fn let_go(&mut self, now: Now) -> bool {
        let beyond = self.is_beyond(now);
        if beyond {
            self.generator =
                HlcGenerator::manual(usize::try_from(self.bound.as_millis()).unwrap_or(usize::MAX));
        }
        beyond
    }

    /// Whether this clock's past lies more than the bound ahead of the wall clock.
    fn is_beyond(&self, now: Now) -> bool {
        self.is_too_far(now, self.last())
    }

    fn is_too_far(&self, now: Now, stamp: Hlc) -> bool {
        u128::from(stamp.unix_millis().saturating_sub(now.unix_millis)) > self.bound.as_millis()
    }

    /// Learns of a remote stamp, so that what happens here from now on is stamped above it.
    ///
    /// A stamp this clock has already passed is harmless and accepted, even after a backward step.
    ///
    /// # Errors
    /// One that is both ahead of this clock and more than the bound ahead of the wall clock; the
    /// clock is as it was.
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
            // Only a full counter is left as the reason; hlc-gen has changed nothing.
            self.restore(remote);
        }
        Ok(())
    }

    /// The last stamp given or believed; the one to store as a high-water mark.
    pub fn last(&self) -> Hlc {
        from_generator(self.generator.timestamp())
    }

    /// Goes on above `high_water`, unconditionally: the mark this node stored before it stopped.
    /// Never goes back.
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

    /// The first stamp of the millisecond after `full`, which hlc-gen gives when it is told that
    /// this is the time.
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
