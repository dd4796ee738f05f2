//! Requests count only within their window, and levels are served where the replicas suffice.

use super::*;

const MS: Duration = Duration::from_millis(1);

#[test]
fn only_requests_that_lie_within_one_window_are_compared() {
    let scores = Scores::new();
    let outside = scores.begin();
    scores.look_at(Some(Window::Whole));
    scores.end(outside, 0, 1, Outcome::Acknowledged, MS);
    let inside = scores.begin();
    scores.end(inside, 0, 1, Outcome::Acknowledged, 4 * MS);
    let across = scores.begin();
    scores.look_at(Some(Window::Split(2)));
    scores.end(across, 0, 1, Outcome::Unknown, MS);
    for site in 0..3 {
        let begun = scores.begin();
        scores.end(begun, site, 1, Outcome::Refused, MS);
    }
    let table = scores.table();
    let [before, majority, minority] = table[1].map(|cell| (cell.ok, cell.failed));
    assert_eq!((before, majority, minority), ((1, 0), (0, 2), (0, 1)));
    assert!((3.9..4.1).contains(&table[1][0].p50_ms), "{table:?}");
    assert_eq!(
        scores.totals(),
        Totals {
            operations: 6,
            acknowledged: 2,
            refused: 3,
            unknown: 1
        }
    );
}

#[test]
fn a_majority_of_datacenters_has_the_quorum_and_half_has_none() {
    use Consistency::{EachQuorum, LocalQuorum, One, Quorum};
    let served = |level, side, sites| is_served(level, side, sites, 3);
    assert!(served(Quorum, Side::Majority, 3) && !served(Quorum, Side::Minority, 3));
    assert!(
        !served(Quorum, Side::Majority, 2) && !served(Quorum, Side::Minority, 2),
        "of two halves neither is more than half"
    );
    for side in [Side::Majority, Side::Minority] {
        assert!(
            served(One, side, 2) && served(LocalQuorum, side, 2) && !served(EachQuorum, side, 5)
        );
    }
    assert!(
        LEVELS
            .into_iter()
            .all(|level| served(level, Side::Before, 2))
    );
}
