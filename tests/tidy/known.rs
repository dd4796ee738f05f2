//! What does not keep a rule yet: how much of it there is, and where. These numbers only fall.

use crate::Finding;

/// Where findings begin, and how many there are.
type Known = &'static [(&'static str, usize)];

/// Files in circles.
pub(crate) const CIRCLES: Known = &[];
/// Functions that take tuples of arguments.
pub(crate) const PACKED: Known = &[];
/// Lines that are too long.
pub(crate) const LONG_LINES: Known = &[];
/// Public types that share their name without a reason.
pub(crate) const NAMESAKES: Known = &[];
/// Files that do not say what they are for.
pub(crate) const SILENT: Known = &[];

/// `findings` without those that `known` counts. Where there are more than it says, all of them
/// stay; where there are fewer, the number must fall.
pub(crate) fn but(findings: Vec<Finding>, known: Known) -> Vec<Finding> {
    let mut kept = findings;
    for (place, expected) in known {
        let (here, elsewhere): (Vec<_>, Vec<_>) =
            kept.into_iter().partition(|finding| is_in(finding, place));
        kept = elsewhere;
        if here.len() > *expected {
            kept.extend(here);
        } else if here.len() < *expected {
            let now = here.len();
            kept.push(format!(
                "{place}: {now}, not {expected}: lower it in tests/tidy/known.rs"
            ));
        }
    }
    kept
}

fn is_in(finding: &str, place: &str) -> bool {
    let rest = finding.strip_prefix(place);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
}

#[test]
fn what_is_known_only_falls() {
    let findings = || {
        ["src/a.rs:1: x", "src/a/c.rs:2: x", "src/ab.rs:2: x"]
            .map(str::to_owned)
            .to_vec()
    };
    assert_eq!(but(findings(), &[("src/a", 2), ("src/ab", 1)]), [""; 0]);
    assert_eq!(but(findings(), &[("src/a", 2)]), ["src/ab.rs:2: x"]);
    assert_eq!(but(findings(), &[("src/a", 1), ("src/ab", 1)]).len(), 2);
    assert_eq!(
        but(findings(), &[("src/a", 2), ("src/ab", 2)]),
        ["src/ab: 1, not 2: lower it in tests/tidy/known.rs"]
    );
}
