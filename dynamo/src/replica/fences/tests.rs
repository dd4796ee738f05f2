//! Which fences a floor makes superfluous, and what is refused without them.

use super::Fences;
use crate::fence::{LockId, Rank};

fn lock(name: &str) -> LockId {
    LockId::of(name.as_bytes())
}

#[test]
fn a_floor_drops_the_fences_below_it_and_no_others() {
    let mut fences = Fences::default();
    for (name, token) in [("a", 4), ("b", 5), ("c", 6)] {
        assert!(fences.raise(lock(name), Rank::of(token, 3)));
    }
    assert_eq!(fences.raise_floor(5), Some(vec![lock("a")]));
    let held = ["a", "b", "c", "never held"].map(|name| fences.of(lock(name)));
    let floor = Rank::of(5, 0);
    assert_eq!(held, [floor, Rank::of(5, 3), Rank::of(6, 3), floor]);
    assert_eq!((fences.len(), fences.floor()), (2, 5));
    for floor in [4, 5] {
        assert_eq!(fences.raise_floor(floor), None, "it is as high already");
    }
    assert!(!fences.raise(lock("a"), Rank::of(4, 9)), "below the floor");
}

#[test]
fn nothing_is_refused_without_a_floor_and_without_fences() {
    let mut fences = Fences::default();
    assert!(fences.is_empty());
    fences.raise(lock("a"), Rank::of(1, 0));
    assert!(!fences.is_empty(), "a fence");
    fences.raise_floor(2);
    assert_eq!((fences.len(), fences.is_empty()), (0, false), "a floor");
}
