//! A run counts as a success only if everything held and enough was done to show it.

use super::*;

/// A run in which everything held.
fn good() -> Report {
    let served = Cell {
        ok: 100,
        failed: 0,
        p50_ms: 40.0,
        p99_ms: 50.0,
    };
    let refused = Cell {
        ok: 0,
        failed: 100,
        p50_ms: 0.5,
        p99_ms: 1.0,
    };
    Report {
        datacenters: 3,
        nodes: 9,
        totals: Totals {
            operations: 1200,
            acknowledged: 900,
            refused: 300,
            unknown: 0,
        },
        table: [
            [served; 3],
            [served; 3],
            [served, served, refused],
            [served, refused, refused],
        ],
        harms: Harms::default(),
        facts: 500,
        removals: 40,
        healing: Healing {
            converged: true,
            after_split_ms: 2100,
            after_crash_ms: 900,
        },
        seconds: 50.0,
    }
}

fn changed(change: impl FnOnce(&mut Report)) -> Vec<Doubt> {
    let mut report = good();
    change(&mut report);
    assert_eq!(report.json()["passed"], report.doubts().is_empty());
    report.doubts()
}

#[test]
fn a_good_run_has_no_doubts() {
    assert_eq!(good().doubts(), []);
    assert!(
        good()
            .verdict()
            .contains("0 lost, 0 double counted, 0 resurrected; converged 2.1 s"),
        "{}",
        good().verdict()
    );
}

#[test]
fn each_harm_alone_fails_the_run() {
    assert_eq!(changed(|report| report.harms.lost = 1), [Doubt::Lost(1)]);
    assert_eq!(
        changed(|report| report.harms.double_counted = 2),
        [Doubt::DoubleCounted(2)]
    );
    assert_eq!(
        changed(|report| report.harms.resurrected = 3),
        [Doubt::Resurrected(3)]
    );
    assert_eq!(
        changed(|report| report.harms.phantom = 4),
        [Doubt::Phantom(4)]
    );
    assert_eq!(
        changed(|report| report.harms.unread = 5),
        [Doubt::Unread(5)]
    );
    assert_eq!(
        changed(|report| report.healing.converged = false),
        [Doubt::NotConverged]
    );
}

#[test]
fn a_run_that_did_too_little_proves_nothing() {
    assert_eq!(
        changed(|report| report.removals = 0),
        [Doubt::TooFewFacts {
            facts: 500,
            removals: 0
        }]
    );
    assert_eq!(
        changed(|report| report.facts = 3),
        [Doubt::TooFewFacts {
            facts: 3,
            removals: 40
        }]
    );
    let few = changed(|report| report.table[3][1] = Cell::default());
    assert_eq!(
        few,
        [Doubt::TooFewRequests {
            level: LEVELS[3],
            side: Side::Majority,
            requests: 0
        }]
    );
}

#[test]
fn a_level_must_serve_where_it_can_and_nowhere_else() {
    let refused = changed(|report| report.table[2][1].failed = 60);
    assert_eq!(
        refused,
        [Doubt::NotServed {
            level: LEVELS[2],
            side: Side::Majority,
            failed: 60
        }]
    );
    let overclaimed = changed(|report| report.table[2][2].ok = 1);
    assert_eq!(
        overclaimed,
        [Doubt::Overclaimed {
            level: LEVELS[2],
            side: Side::Minority,
            ok: 1
        }]
    );
    assert!(
        changed(|report| report.table[0][0].failed = 2).is_empty(),
        "a busy machine may lose one request in twenty"
    );
}

#[test]
fn the_document_has_the_fields_that_scripts_read() {
    let document = good().json();
    for field in [
        "nodes",
        "datacenters",
        "operations",
        "acknowledged",
        "lost",
        "double_counted",
        "resurrected",
        "converged",
        "convergence_ms",
        "seconds",
    ] {
        assert!(!document[field].is_null(), "{field}");
    }
    assert_eq!(
        document["levels"]["EACH_QUORUM"]["majority_side"]["failed"],
        100
    );
    assert_eq!(
        document["levels"]["LOCAL_QUORUM"]["minority_side"]["ok"],
        100
    );
    assert_eq!(document["levels"]["ONE"]["before"]["p50_ms"], 40.0);
}

#[test]
fn the_table_says_in_a_word_who_serves() {
    let text = levels_table(&good().table, &[Side::Majority]);
    let line = |level: &str| {
        text.lines()
            .find(|line| line.starts_with(level))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(
        line("QUORUM").ends_with("serves") && line("EACH_QUORUM").ends_with("fails fast"),
        "{text}"
    );
}
