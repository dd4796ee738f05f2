//! Distances are symmetric, and cuts separate one datacenter from all others.

use super::*;

fn at(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

#[test]
fn distances_are_the_same_both_ways_and_none_at_home() {
    for (a, row) in ROUND_TRIPS_MS.iter().enumerate() {
        for (b, _) in row.iter().enumerate() {
            assert_eq!(round_trip(a, b), round_trip(b, a));
            assert_eq!(round_trip(a, b).is_zero(), a == b);
        }
    }
}

#[test]
fn a_cut_separates_one_datacenter_from_all_others_and_heals_with_its_delays() {
    let wan = Wan::new(vec![(0, at(1)), (0, at(2)), (1, at(3)), (2, at(4))]);
    wan.cut_off(2);
    let cut = |a, b| wan.shape().get(at(a), at(b)).cut;
    assert!(cut(1, 4) && cut(4, 1) && cut(4, 3) && cut(3, 4));
    assert!(!cut(1, 2) && !cut(1, 3) && !cut(3, 2));
    wan.heal();
    assert_eq!(
        wan.shape().get(at(4), at(3)),
        LinkState {
            delay: Duration::from_millis(60),
            cut: false
        }
    );
    assert_eq!(wan.shape().get(at(1), at(2)), LinkState::default());
}
