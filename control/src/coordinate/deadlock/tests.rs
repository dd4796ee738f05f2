//! Circles are found wherever they are, and nothing else is taken for one.

use proptest::prelude::*;

use super::*;

fn find(edges: &[(u8, u8)], start: u8) -> Option<Vec<u8>> {
    circle(start, |from| {
        let out = edges.iter().filter(|edge| edge.0 == from);
        out.map(|edge| edge.1).collect()
    })
}

#[test]
fn a_circle_is_told_in_the_order_of_waiting() {
    assert_eq!(
        find(&[(1, 2), (2, 3), (3, 1), (2, 4)], 1),
        Some(vec![1, 2, 3])
    );
    assert_eq!(
        find(&[(1, 2), (2, 3), (3, 2)], 1),
        None,
        "start is not in it"
    );
    assert_eq!(find(&[(1, 1)], 1), None, "nobody waits for itself");
}

#[test]
fn a_search_over_too_many_edges_gives_up() {
    let mut asked = 0;
    let found = circle(0_u32, |_| {
        asked += 1;
        (1..=1000).map(|n| asked * 1000 + n).collect()
    });
    assert_eq!(found, None);
    assert!(asked as usize <= EDGES_MAX + 1);
}

proptest! {
    /// Whether a circle is found is whether the start can be reached from itself; and what is told
    /// is one.
    #[test]
    fn what_is_found_is_what_can_be_reached(
        edges in prop::collection::vec((0_u8..8, 0_u8..8), 0..24),
    ) {
        let mut reached = [false; 8];
        let out = |from: u8| edges.iter().filter(move |e| e.0 == from && e.1 != from);
        let mut open: Vec<u8> = out(0).map(|e| e.1).collect();
        while let Some(at) = open.pop() {
            if !std::mem::replace(&mut reached[usize::from(at)], true) {
                open.extend(out(at).map(|e| e.1));
            }
        }
        let found = find(&edges, 0);
        prop_assert_eq!(found.is_some(), reached[0]);
        if let Some(way) = found {
            let next = way.iter().cycle().skip(1);
            for (from, to) in way.iter().zip(next) {
                prop_assert!(edges.contains(&(*from, *to)));
            }
        }
    }
}
