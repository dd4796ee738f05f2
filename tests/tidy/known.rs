//! What does not keep a rule yet. These lists only get shorter: what keeps it again must leave.

use crate::Finding;

/// Files in circles.
pub(crate) const CIRCLES: &[&str] = &[];
/// Functions that take tuples of arguments, by file.
pub(crate) const PACKED: &[&str] = &[];
/// Files with lines that are too long.
pub(crate) const LONG_LINES: &[&str] = &[];
/// Names of public types that several share without a reason in their documentation.
pub(crate) const NAMESAKES: &[&str] = &[];
/// Files that do not say what they are for.
pub(crate) const SILENT: &[&str] = &[];

/// `findings` without those about what `known` lists, and what is listed without need.
pub(crate) fn but(findings: Vec<Finding>, known: &[&str]) -> Vec<Finding> {
    let is_about = |finding: &Finding, name: &str| {
        let rest = finding.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with(':'))
    };
    let needless = known
        .iter()
        .filter(|name| !findings.iter().any(|finding| is_about(finding, name)))
        .map(|name| format!("{name} keeps the rule: take it off the list in tests/tidy/known.rs"))
        .collect::<Vec<_>>();
    let new = findings
        .into_iter()
        .filter(|finding| !known.iter().any(|name| is_about(finding, name)));
    new.chain(needless).collect()
}

#[test]
fn a_list_of_the_known_only_gets_shorter() {
    let findings = || vec!["src/a.rs:1: long".to_owned(), "src/b.rs:2: long".to_owned()];
    assert_eq!(but(findings(), &["src/a.rs", "src/b.rs"]), [""; 0]);
    assert_eq!(but(findings(), &["src/a.rs"]), ["src/b.rs:2: long"]);
    assert_eq!(
        but(findings(), &["src/a.rs", "src/b.rs", "src/c.rs"]).len(),
        1
    );
}
