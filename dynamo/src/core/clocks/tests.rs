//! Clocks alone, at the edges of what they allow: whole cores meet these only by chance.

use std::time::Duration;

use quorate_crdt::{NodeId, Now};

use super::{Clocks, FRESH, HOLD, LATE_MILLIS, Telling, base_of};
use crate::core::worth::Worth;
use crate::protocol::FlightId;

const BOUND: i64 = 500;
const HOUR: i64 = 3_600_000;
const START: u64 = 1_800_000_000_000;
/// Answers take this many milliseconds in both directions together...
const ROUND_TRIP: u64 = 20;
/// ...so a measurement may be wrong by this many.
const SLACK: i64 = 11;

/// `millis` after the start, by a wall clock that is this far ahead.
fn time(millis: u64, ahead: i64) -> Now {
    Now {
        monotonic: Duration::from_millis(millis),
        unix_millis: (START + millis).saturating_add_signed(ahead),
    }
}

fn id(number: u64) -> FlightId {
    FlightId {
        core: 0,
        life: 1,
        number,
    }
}

/// What one answer of another node was, and how long it took.
#[derive(Clone, Copy)]
struct Told {
    node: u64,
    at: u64,
    round_trip: u64,
    ahead: i64,
    life: u64,
    confirmed: bool,
}

fn told(node: u64, ahead: i64) -> Told {
    Told {
        node,
        at: 1000,
        round_trip: ROUND_TRIP,
        ahead,
        life: 1,
        confirmed: false,
    }
}

fn confirmed(node: u64, ahead: i64) -> Told {
    Told {
        confirmed: true,
        ..told(node, ahead)
    }
}

fn tell(clocks: &mut Clocks, told: Told) {
    let node = NodeId(told.node);
    clocks.asked(time(told.at - told.round_trip, 0), node, id(told.at));
    let telling = Telling {
        unix_millis: time(told.at - told.round_trip / 2, told.ahead).unix_millis,
        life: told.life,
        confirmed: told.confirmed,
    };
    clocks.told(time(told.at, 0), node, id(told.at), telling);
}

/// A clock that other nodes have told about theirs, one second after its start.
fn clocks(worth: Worth, others: &[Told]) -> Clocks {
    let mut clocks = Clocks::new(Duration::from_millis(BOUND as u64));
    clocks.look(time(0, 0), false);
    clocks.doubt.worth = worth;
    for other in others {
        tell(&mut clocks, *other);
    }
    clocks
}

fn two_apart(ahead: i64) -> [Told; 2] {
    [told(2, ahead), told(3, ahead)]
}

#[test]
fn another_clock_is_measured_in_the_middle_of_the_round_trip() {
    for (round_trip, ahead) in [(0, 7), (20, -7), (400, HOUR)] {
        let clocks = clocks(
            Worth::Confirmed,
            &[Told {
                round_trip,
                ..told(2, ahead)
            }],
        );
        assert_eq!(
            clocks.offsets(time(1500, 0)),
            [(NodeId(2), ahead)].into(),
            "{round_trip} ms"
        );
    }
    assert_eq!(base_of(time(1234, 0)), START.cast_signed());
}

#[test]
fn a_measurement_counts_for_a_minute() {
    let clocks = clocks(Worth::Confirmed, &[told(2, 0)]);
    let ends = 1000 + FRESH.as_millis() as u64;
    for (at, counts) in [(1000, true), (ends - 1, true), (ends, false)] {
        assert_eq!(clocks.is_fresh(time(at, 0), NodeId(2)), counts, "{at}");
        assert!(!clocks.is_fresh(time(at, 0), NodeId(3)));
    }
}

#[test]
fn of_two_measurements_that_agree_the_more_precise_one_is_kept() {
    type Case = (&'static str, fn(&mut Told), bool);
    const OLD: u64 = 1000 + FRESH.as_millis() as u64 / 2;
    let first = Told {
        round_trip: 100,
        ..told(2, 0)
    };
    // What differs in the second, and whether the first is kept. Together they may be wrong by 103.
    let cases: [Case; 10] = [
        ("more precise", |second| second.round_trip = 98, false),
        ("as precise", |second| second.round_trip = 100, false),
        ("less precise", |_| {}, true),
        ("just agrees", |second| second.ahead = 103, true),
        ("differs", |second| second.ahead = 104, false),
        ("differs, behind", |second| second.ahead = -104, false),
        ("another life", |second| second.life = 2, false),
        ("confirmed since", |second| second.confirmed = true, false),
        ("nearly old", |second| second.at = OLD - 1, true),
        ("old", |second| second.at = OLD, false),
    ];
    for (name, differs, keeps_first) in cases {
        let mut second = Told {
            at: 2000,
            round_trip: 102,
            ahead: 40,
            ..first
        };
        differs(&mut second);
        let clocks = clocks(Worth::Confirmed, &[first, second]);
        let kept = if keeps_first { first } else { second };
        assert_eq!(
            clocks.offsets(time(second.at, 0)),
            [(NodeId(2), kept.ahead)].into(),
            "{name}"
        );
        assert_eq!(clocks.life_of(NodeId(2)), Some(kept.life), "{name}");
    }
}

#[test]
fn only_the_last_question_is_answered_and_only_once() {
    let mut clocks = clocks(Worth::Confirmed, &[]);
    let telling = |ahead| Telling {
        unix_millis: time(1000, ahead).unix_millis,
        life: 1,
        confirmed: false,
    };
    let (now, two) = (time(1000, 0), NodeId(2));
    clocks.asked(now, two, id(1));
    clocks.asked(now, two, id(2));
    clocks.told(now, two, id(1), telling(10));
    clocks.told(now, NodeId(3), id(2), telling(20));
    assert_eq!(clocks.offsets(now), [].into());
    clocks.told(now, two, id(2), telling(30));
    clocks.told(now, two, id(2), telling(40));
    assert_eq!(clocks.offsets(now), [(two, 30)].into());
    clocks.asked(now, two, id(3));
    clocks.keep(|node| *node != two);
    clocks.told(now, two, id(3), telling(50));
    assert_eq!(clocks.offsets(now), [].into(), "no longer a member");
}

#[test]
fn a_clock_is_off_when_more_than_half_of_the_witnesses_say_so() {
    let far = BOUND + SLACK + 1;
    let cases: &[(&str, Worth, &[Told], Option<i64>)] = &[
        ("nobody else", Worth::Confirmed, &[], None),
        ("one of one", Worth::Confirmed, &[told(2, far)], None),
        (
            "one of two",
            Worth::Confirmed,
            &[told(2, 0), told(3, far)],
            None,
        ),
        (
            "both, just apart",
            Worth::Confirmed,
            &two_apart(far),
            Some(-far),
        ),
        (
            "both, not quite",
            Worth::Confirmed,
            &two_apart(far - 1),
            None,
        ),
        ("both behind", Worth::Confirmed, &two_apart(-far), Some(far)),
        (
            "both behind, not quite",
            Worth::Confirmed,
            &two_apart(1 - far),
            None,
        ),
        (
            "the median says by how much",
            Worth::Confirmed,
            &[told(2, -2000), told(3, -9000), told(4, -4000)],
            Some(4000),
        ),
        (
            "a confirmed one outweighs me",
            Worth::Compared,
            &[confirmed(2, far)],
            Some(-far),
        ),
        (
            "but not when I am confirmed",
            Worth::Confirmed,
            &[confirmed(2, far)],
            None,
        ),
        (
            "beside a confirmed one, others are no witnesses",
            Worth::Compared,
            &[confirmed(2, 0), told(3, far), told(4, far)],
            None,
        ),
        (
            "half of the confirmed ones are too few",
            Worth::Compared,
            &[confirmed(2, 0), confirmed(3, far)],
            None,
        ),
    ];
    for (name, worth, others, off) in cases {
        let mut clocks = clocks(*worth, others);
        clocks.judge(time(1000, 0), false);
        assert_eq!(clocks.off(), *off, "{name}");
        assert_eq!(clocks.is_trusted(), off.is_none(), "{name}");
        clocks.judge(time(1000, 0), true);
        assert_eq!(clocks.off(), None, "{name}, but it is alone");
    }
}

#[test]
fn what_a_clock_is_worth_decides_what_it_may_say() {
    for (worth, trusted, is_confirmed) in [
        (Worth::Doubted, false, false),
        (Worth::Unheard, false, false),
        (Worth::Compared, true, false),
        (Worth::Confirmed, true, true),
    ] {
        let mut clocks = clocks(worth, &two_apart(HOUR));
        let both = |clocks: &Clocks| (clocks.is_trusted(), clocks.is_confirmed());
        assert_eq!(both(&clocks), (trusted, is_confirmed), "{worth:?}");
        clocks.judge(time(1000, 0), false);
        assert_eq!(both(&clocks), (false, false), "{worth:?}, off");
    }
}

#[test]
fn a_jump_is_one_witness_and_its_own_measure_if_there_is_no_other() {
    let far = BOUND + SLACK + 1;
    let cases: &[(&str, &[Told], i64)] = &[
        ("nobody else", &[], HOUR),
        ("one that disagrees", &[told(2, HOUR - far)], far),
        (
            "one of two that disagrees",
            &[told(2, HOUR - far), told(3, HOUR)],
            far,
        ),
    ];
    for (name, others, off) in cases {
        let mut clocks = clocks(Worth::Confirmed, others);
        assert!(clocks.look(time(1000, HOUR), false), "{name}");
        clocks.judge(time(1000, HOUR), false);
        assert!(!clocks.stands() && !clocks.is_trusted(), "{name}");
        assert_eq!(clocks.off(), Some(*off), "{name}");
    }
}

#[test]
fn a_jump_is_believed_when_more_than_half_of_the_others_agree_with_it() {
    let near = HOUR - BOUND - SLACK;
    let cases: &[(&str, &[Told], bool)] = &[
        ("nobody", &[], false),
        ("one of one", &[told(2, HOUR)], true),
        ("one, just near enough", &[told(2, near)], true),
        ("one, not quite", &[told(2, near - 1)], false),
        ("one of two", &[told(2, HOUR), told(3, 0)], false),
        (
            "two of three",
            &[told(2, HOUR), told(3, HOUR), told(4, 0)],
            true,
        ),
    ];
    for (name, others, believed) in cases {
        let mut clocks = clocks(Worth::Confirmed, others);
        assert!(clocks.look(time(1000, HOUR), false), "{name}: news");
        assert_eq!(clocks.stands(), *believed, "{name}");
        assert!(!clocks.look(time(1001, HOUR), false), "{name}: no news");
        // Back where it was: a jump that was believed is now one the other way.
        assert!(clocks.look(time(1002, 0), false), "{name}: back");
        assert_eq!(clocks.stands(), !*believed, "{name}: back");
    }
}

#[test]
fn only_what_moves_by_more_than_the_bound_is_a_jump() {
    for (ahead, jumps) in [
        (BOUND, false),
        (BOUND + 1, true),
        (-BOUND, false),
        (-BOUND - 1, true),
    ] {
        let mut clocks = clocks(Worth::Confirmed, &[]);
        assert_eq!(clocks.look(time(1000, ahead), false), jumps, "{ahead}");
        assert_eq!(clocks.stands(), !jumps, "{ahead}");
    }
}

/// With nobody to ask, a clock that holds its new time for long is believed.
#[test]
fn a_jump_is_believed_after_a_while_by_a_node_that_is_alone() {
    let held = 1000 + HOLD.as_millis() as u64;
    for alone in [true, false] {
        let mut clocks = clocks(Worth::Confirmed, &[]);
        clocks.look(time(1000, HOUR), alone);
        assert!(!clocks.look(time(held - 1, HOUR + BOUND), alone));
        assert!(!clocks.stands());
        assert_eq!(clocks.look(time(held, HOUR), alone), alone);
        assert_eq!(clocks.stands(), alone);
    }
    let mut clocks = clocks(Worth::Confirmed, &[]);
    clocks.look(time(1000, HOUR), true);
    assert!(clocks.look(time(2000, 2 * HOUR), true), "it jumps again");
    assert!(
        !clocks.look(time(held, 2 * HOUR), true),
        "the while starts again"
    );
    assert!(clocks.look(time(held + 1000, 2 * HOUR), true));
    assert!(clocks.stands());
}

#[test]
fn a_clock_that_was_never_compared_is_as_good_after_a_jump_as_before() {
    for worth in [Worth::Doubted, Worth::Unheard] {
        let mut clocks = clocks(worth, &[]);
        assert!(!clocks.look(time(1000, BOUND), false), "no jump, no news");
        assert!(
            clocks.look(time(1000, HOUR), false),
            "what is known is judged again"
        );
        assert!(clocks.stands());
        assert!(!clocks.look(time(1001, HOUR), false));
    }
}

#[test]
fn the_time_is_agreed_by_a_majority_or_by_one_that_was_confirmed() {
    let edge = BOUND + SLACK;
    let cases: &[(&str, Worth, &[Told], usize, bool)] = &[
        ("alone", Worth::Confirmed, &[], 1, false),
        ("one of three", Worth::Confirmed, &[], 3, false),
        ("two of three", Worth::Confirmed, &[told(2, edge)], 3, true),
        (
            "two of three, behind",
            Worth::Confirmed,
            &[told(2, -edge)],
            3,
            true,
        ),
        (
            "the second is apart",
            Worth::Confirmed,
            &[told(2, edge + 1)],
            3,
            false,
        ),
        (
            "the second is behind",
            Worth::Confirmed,
            &[told(2, -edge - 1)],
            3,
            false,
        ),
        ("two of four", Worth::Confirmed, &[told(2, 0)], 4, false),
        (
            "one of five, confirmed",
            Worth::Compared,
            &[confirmed(2, 0)],
            5,
            true,
        ),
        (
            "one of five, confirmed, apart",
            Worth::Compared,
            &[confirmed(2, HOUR)],
            5,
            false,
        ),
        (
            "one of five, and mine is confirmed",
            Worth::Confirmed,
            &[confirmed(2, 0)],
            5,
            false,
        ),
        (
            "one of five, unconfirmed",
            Worth::Compared,
            &[told(2, 0)],
            5,
            false,
        ),
    ];
    for (name, worth, others, nodes, agreed) in cases {
        let clocks = clocks(*worth, others);
        let now = time(1000, 0);
        let expected = agreed.then_some(now.unix_millis);
        assert_eq!(clocks.agreed_time(now, *nodes), expected, "{name}");
    }
}

/// A clock that is off does not count itself, and says what the others say.
#[test]
fn a_clock_that_is_off_agrees_on_the_time_of_the_others() {
    for ahead in [HOUR, -HOUR] {
        let mut clocks = clocks(Worth::Confirmed, &[told(2, 0), told(3, 0)]);
        let now = time(1000, ahead);
        clocks.judge(now, false);
        assert_eq!(clocks.off(), Some(ahead));
        assert_eq!(clocks.agreed_time(now, 3), Some(time(1000, 0).unix_millis));
        assert_eq!(clocks.agreed_time(now, 5), None, "two of five");
    }
}

#[test]
fn each_change_of_a_clock_is_news_once() {
    let (me, far) = (NodeId(1), BOUND + SLACK + 1);
    let cases = [
        (vec![told(2, far - 1), told(3, 1 - far)], vec![]),
        (vec![told(2, far), told(3, 0)], vec![(2, far)]),
        (vec![told(2, 0), told(3, -far)], vec![(3, -far)]),
        // Its own clock is the one that is off: the others are right.
        (vec![told(2, far), told(3, far)], vec![(1, -far)]),
    ];
    for (others, off) in cases {
        let mut clocks = clocks(Worth::Confirmed, &others);
        let now = time(1000, 0);
        clocks.judge(now, false);
        let begun: Vec<_> = off
            .iter()
            .map(|(node, off)| (NodeId(*node), Some(*off)))
            .collect();
        assert_eq!(clocks.news(now, me), begun);
        assert_eq!(clocks.news(now, me), [], "said");
        for other in others {
            tell(
                &mut clocks,
                Told {
                    at: 2000,
                    life: 2,
                    ahead: 0,
                    ..other
                },
            );
        }
        let now = time(2000, 0);
        clocks.judge(now, false);
        let ended: Vec<_> = off.iter().map(|(node, _)| (NodeId(*node), None)).collect();
        assert_eq!(clocks.news(now, me), ended);
    }
}

#[test]
fn two_clocks_disagree_when_they_differ_by_more_than_the_bound() {
    let edge = BOUND + SLACK;
    for (ahead, disagrees) in [
        (edge, false),
        (edge + 1, true),
        (-edge, false),
        (-edge - 1, true),
    ] {
        let clocks = clocks(Worth::Confirmed, &[told(2, ahead), told(3, 0)]);
        assert_eq!(
            clocks.disagrees(time(1000, 0), NodeId(2)),
            disagrees,
            "{ahead}"
        );
        assert!(!clocks.disagrees(time(1000, 0), NodeId(3)));
        assert!(
            !clocks.disagrees(time(1000, HOUR), NodeId(4)),
            "never asked"
        );
    }
}

#[test]
fn a_stamp_is_refused_when_its_clock_and_not_its_way_is_to_blame() {
    let late = -BOUND - LATE_MILLIS;
    // Whether node 2, which stamps in life 1, was compared, and how far ahead it was.
    let cases: &[(&str, Worth, &[Told], i64, bool)] = &[
        ("from the future", Worth::Confirmed, &[], BOUND + 1, true),
        ("nearly", Worth::Confirmed, &[], BOUND, false),
        (
            "compared, from the future",
            Worth::Confirmed,
            &[told(2, 0)],
            BOUND + 1,
            true,
        ),
        ("late", Worth::Confirmed, &[], late, false),
        ("too late", Worth::Confirmed, &[], late - 1, true),
        (
            "too late, but compared",
            Worth::Confirmed,
            &[told(2, 0)],
            late - 1,
            false,
        ),
        (
            "another was compared",
            Worth::Confirmed,
            &[told(3, 0)],
            late - 1,
            true,
        ),
        (
            "another life was compared",
            Worth::Confirmed,
            &[Told {
                life: 2,
                ..told(2, 0)
            }],
            late - 1,
            true,
        ),
        (
            "just agreed",
            Worth::Confirmed,
            &[told(2, -BOUND - SLACK)],
            late - 1,
            false,
        ),
        (
            "did not agree",
            Worth::Confirmed,
            &[told(2, -BOUND - SLACK - 1)],
            late - 1,
            true,
        ),
        ("by a clock without a say", Worth::Unheard, &[], HOUR, false),
    ];
    for (name, worth, others, ahead, refused) in cases {
        let clocks = clocks(*worth, others);
        let (now, stamped) = (time(1000, 0), time(1000, *ahead).unix_millis);
        let expected = refused.then_some(*ahead);
        assert_eq!(
            clocks.refuses(now, NodeId(2), 1, stamped),
            expected,
            "{name}"
        );
    }
}
