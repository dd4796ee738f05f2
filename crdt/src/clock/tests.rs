//! The clock against wall clocks that freeze, step and lie.

use proptest::prelude::*;

use super::*;
use crate::{NodeId, ReplicaId, Stamp, StampOutOfRange};

const TODAY: u64 = 1_800_000_000_000;
const FULL: u64 = (1 << 22) - 1;
const LAST_MILLI: u64 = (1 << 42) - 1;

fn at(unix_millis: u64) -> Now {
    Now {
        monotonic: Duration::ZERO,
        unix_millis,
    }
}

fn clock() -> HybridClock {
    HybridClock::new(DRIFT_DEFAULT).unwrap()
}

fn hlc(unix_millis: u64, counter: u64) -> Hlc {
    Hlc::from_parts(unix_millis, counter).unwrap()
}

#[test]
fn a_bound_of_zero_is_refused_because_it_would_mean_none() {
    for bound in [Duration::ZERO, Duration::from_micros(999)] {
        assert_eq!(
            HybridClock::new(bound).err(),
            Some(ClockConfigError::NoDriftBound)
        );
    }
    assert!(HybridClock::new(Duration::MAX).is_ok());
}

#[test]
fn follows_the_wall_clock_and_counts_within_a_millisecond() {
    let mut clock = clock();
    assert_eq!(clock.tick(at(TODAY)), hlc(TODAY, 0));
    assert_eq!(clock.tick(at(TODAY)), hlc(TODAY, 1));
    assert_eq!(clock.tick(at(TODAY + 7)), hlc(TODAY + 7, 0));
}

#[test]
fn a_frozen_or_backward_wall_clock_never_stops_the_stamps() {
    for wall in [TODAY, TODAY - 3_600_000, 0] {
        let mut clock = clock();
        let mut last = clock.tick(at(TODAY));
        for _ in 0..4_300_000 {
            let next = clock.tick(at(wall));
            assert!(next > last);
            last = next;
        }
        assert_eq!(
            last.unix_millis(),
            TODAY + 1,
            "the full counter was carried once"
        );
    }
}

#[test]
fn what_a_wrong_clock_left_behind_is_let_go() {
    let mut clock = clock();
    let poison = clock.tick(at(TODAY + 3_600_000));
    assert!(
        !clock.let_go(at(TODAY + 3_599_500)),
        "it stays if it is within the bound"
    );
    let above = clock.tick_near(at(TODAY), [poison, hlc(TODAY + 300, 7)]);
    assert!(hlc(TODAY + 300, 7) < above && above < hlc(TODAY + 301, 0));
    assert_eq!(clock.tick_near(at(TODAY + 400), []), hlc(TODAY + 400, 0));
    let mut restored = self::clock();
    restored.restore(poison);
    assert_eq!(
        restored.tick_near(at(TODAY), []),
        hlc(TODAY, 0),
        "also after a restart"
    );
    assert_eq!(
        restored
            .observe(at(TODAY), hlc(TODAY + 501, 0))
            .map_err(|e| e.ahead),
        Err(Duration::from_millis(501))
    );
}

#[test]
fn a_full_remote_counter_costs_a_millisecond_and_not_the_clock() {
    let mut clock = clock();
    clock.tick(at(TODAY));
    for counter in [FULL - 1, FULL] {
        let poison = hlc(TODAY + 500, counter);
        assert_eq!(clock.observe(at(TODAY), poison), Ok(()));
        let next = clock.tick(at(TODAY));
        assert!(
            next > poison && next.unix_millis() <= TODAY + 501,
            "{next:?}"
        );
    }
}

#[test]
fn a_stamp_from_the_far_future_is_refused_and_leaves_no_trace() {
    let mut clock = clock();
    let last = clock.tick(at(TODAY));
    for ahead in [501, 86_400_000 * 365 * 50] {
        let refused = clock.observe(at(TODAY), hlc(TODAY + ahead, 3));
        assert_eq!(
            refused,
            Err(DriftTooLarge {
                ahead: Duration::from_millis(ahead),
                bound: DRIFT_DEFAULT
            })
        );
        assert_eq!(clock.last(), last);
    }
    assert_eq!(clock.tick(at(TODAY + 1)), hlc(TODAY + 1, 0));
}

#[test]
fn a_stamp_already_passed_is_accepted_after_a_step_back() {
    let mut clock = clock();
    let last = clock.tick(at(TODAY));
    assert_eq!(clock.observe(at(TODAY - 10_000), last), Ok(()));
}

#[test]
fn a_restart_does_not_repeat_stamps() {
    let mut before = clock();
    assert_eq!(before.observe(at(TODAY), hlc(TODAY + 400, 9)), Ok(()));
    let stamp = before.tick(at(TODAY));
    let mut after = clock();
    after.restore(before.last());
    assert!(
        after.tick(at(TODAY - 5_000)) > stamp,
        "the wall clock was set back while the node was down"
    );
    let high = after.last();
    after.restore(hlc(TODAY, 0));
    assert_eq!(after.last(), high, "a mark never moves the clock back");
}

#[test]
fn an_overwrite_is_above_what_it_overwrites() {
    let mut clock = clock();
    let stored = hlc(TODAY + 86_400_000, FULL);
    assert!(clock.tick_after(at(TODAY), [hlc(TODAY, 5), stored, hlc(TODAY, 7)]) > stored);
    assert_eq!(
        HybridClock::tick_after(&mut self::clock(), at(TODAY), []),
        hlc(TODAY, 0)
    );
}

#[test]
fn equal_times_are_ordered_by_replica() {
    let stamp = |node| Stamp {
        hlc: hlc(TODAY, 1),
        replica: ReplicaId::new(NodeId(node), 0),
    };
    assert!(stamp(1) < stamp(2));
    assert!(
        stamp(2)
            < Stamp {
                hlc: hlc(TODAY, 2),
                ..stamp(1)
            }
    );
}

#[test]
fn the_end_of_the_range_stands_still_and_does_not_panic() {
    let mut clock = clock();
    let end = hlc(LAST_MILLI, FULL);
    assert_eq!(clock.tick_after(at(u64::MAX), [end]), clock.last());
    clock.restore(hlc(LAST_MILLI, FULL - 1));
    assert_eq!(clock.tick(at(u64::MAX)), end);
    assert_eq!(clock.tick(at(u64::MAX)), end);
    assert_eq!(clock.observe(at(u64::MAX), end), Ok(()));
}

#[test]
fn numbers_beyond_the_range_do_not_decode() {
    assert_eq!(Hlc::try_from(u64::MAX), Err(StampOutOfRange(u64::MAX)));
    assert!(postcard::from_bytes::<Hlc>(&postcard::to_stdvec(&u64::MAX).unwrap()).is_err());
    let stamp = hlc(TODAY, 77);
    assert_eq!(
        postcard::from_bytes::<Hlc>(&postcard::to_stdvec(&stamp).unwrap()).unwrap(),
        stamp
    );
}

/// What happens, the wall clock, how far ahead the remote stamp is, and its counter.
fn step() -> impl Strategy<Value = (u8, u64, u64, u64)> {
    let counter = prop::sample::select(vec![0, 1, FULL - 1, FULL]);
    (0..3_u8, 0..2_000_u64, 0..1_500_u64, counter)
}

proptest! {
    /// Any mixture of wall clocks and remote stamps: stamps increase and are above everything
    /// accepted.
    #[test]
    fn stamps_only_increase(steps in prop::collection::vec(step(), 1..60)) {
        let mut clock = clock();
        let mut above = clock.tick(at(TODAY));
        for (kind, wall, ahead, counter) in steps {
            let now = at(TODAY + wall);
            let remote = hlc(TODAY + ahead, counter);
            match kind {
                0 => {}
                1 => {
                    let before = clock.last();
                    match clock.observe(now, remote) {
                        Ok(()) => above = above.max(remote),
                        Err(refused) => {
                            prop_assert!(refused.ahead > refused.bound && remote > before);
                            prop_assert_eq!(clock.last(), before);
                        }
                    }
                }
                _ => {
                    let stamp = clock.tick_after(now, [remote]);
                    prop_assert!(stamp > remote && stamp > above);
                    above = stamp;
                }
            }
            let stamp = clock.tick(now);
            prop_assert!(stamp > above);
            above = stamp;
        }
    }
}
