//! Every planted bug is found, and nothing where none is planted.

use super::*;

#[test]
fn every_planted_bug_is_found_and_sound_code_is_not_accused() {
    assert_eq!(find(None, 0..200), None);
    for bug in crate::bugs::ALL {
        let found = find(Some(bug), 0..500);
        assert!(found.is_some(), "{} is not found: {}", bug.name, bug.breaks);
        assert!(!bug.is_planted(), "it is planted only during the search");
    }
}
