//! A round ends for all of its parties at once, one way or the other.

use super::*;

fn name() -> Name {
    Name::try_from(bytes::Bytes::from_static(b"b")).unwrap()
}

fn arrive(barriers: &mut Barriers, number: u64, session: u64) -> Option<RoundEnd> {
    let ended = barriers.arrive(number, &name(), SessionId(session), 100, 2, false)?;
    barriers.remember(&ended, 50);
    Some(ended.end)
}

#[test]
fn all_pass_when_all_have_come() {
    let mut barriers = Barriers::default();
    assert_eq!(arrive(&mut barriers, 10, 1), None);
    assert_eq!(barriers.end_of(&name(), 10), None);
    assert_eq!(arrive(&mut barriers, 11, 2), Some(RoundEnd::Passed));
    assert_eq!(barriers.end_of(&name(), 10), Some(RoundEnd::Passed));
    assert!(barriers.get(&name()).is_none());
}

#[test]
fn a_round_that_one_waits_too_long_for_is_broken_for_all() {
    let mut barriers = Barriers::default();
    barriers.arrive(10, &name(), SessionId(1), 100, 3, false);
    barriers.arrive(11, &name(), SessionId(2), 200, 3, false);
    assert_eq!(barriers.tick(99), []);
    let broken = barriers.tick(100);
    assert_eq!(broken[0].end, RoundEnd::Broken);
    assert_eq!(broken[0].freed, [SessionId(1), SessionId(2)]);
    assert_eq!(barriers.tick(200), []);
}

#[test]
fn the_end_of_a_round_is_remembered_for_a_while_and_then_counts_as_broken() {
    let mut barriers = Barriers::default();
    arrive(&mut barriers, 10, 1);
    arrive(&mut barriers, 11, 2);
    barriers.tick(50 + ROUND_KEPT_MS - 1);
    assert_eq!(barriers.end_of(&name(), 10), Some(RoundEnd::Passed));
    barriers.tick(50 + ROUND_KEPT_MS);
    assert_eq!(barriers.end_of(&name(), 10), Some(RoundEnd::Broken));
}
