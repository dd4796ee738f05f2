//! Runs the demo as users do, from the built binary: its exit codes, its output, and what it leaves
//! behind.
#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot start the binary has nothing else to say"
)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

/// The demo with these flags and its directories in `home`.
fn demo(home: &Path, flags: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    command
        .arg("demo")
        .args(flags.split_whitespace())
        .env("TMPDIR", home)
        .env_remove("QUORATE_LOG");
    command
}

fn left_in(home: &Path) -> usize {
    std::fs::read_dir(home).unwrap().count()
}

#[test]
fn a_small_demo_splits_heals_crashes_and_proves_it() {
    let home = tempfile::tempdir().unwrap();
    let output = demo(
        home.path(),
        "--datacenters 2 --nodes 1 --duration 10s --output json",
    )
    .output()
    .unwrap();
    let (stdout, story) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(0), "{story}\n{stdout}");
    assert_eq!(stdout.lines().count(), 1, "{stdout}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        (report["nodes"].as_u64(), report["datacenters"].as_u64()),
        (Some(2), Some(2))
    );
    for nothing in ["lost", "double_counted", "resurrected", "phantom", "unread"] {
        assert_eq!(report[nothing], 0, "{nothing} in {report}");
    }
    assert_eq!(report["converged"], true);
    // With two datacenters, neither has more than half of all copies.
    for (level, ok) in [
        ("ONE", true),
        ("LOCAL_QUORUM", true),
        ("QUORUM", false),
        ("EACH_QUORUM", false),
    ] {
        let side = |side: &str| &report["levels"][level][side];
        assert!(
            side("before")["ok"].as_u64() > Some(9),
            "{level} in {report}"
        );
        for side in [side("majority_side"), side("minority_side")] {
            assert_eq!(
                (
                    side["ok"].as_u64() > Some(9),
                    side["failed"].as_u64() > Some(9)
                ),
                (ok, !ok),
                "{level} in {report}"
            );
        }
    }
    assert!(report["operations"].as_u64() > report["acknowledged"].as_u64());
    assert!(
        story.contains("redis-cli -p") && story.contains("verdict: all held"),
        "{story}"
    );
    assert_eq!(left_in(home.path()), 0);
}

#[test]
fn a_holder_that_comes_back_too_late_is_refused_and_the_story_says_so() {
    let home = tempfile::tempdir().unwrap();
    let output = demo(home.path(), "--scene fencing --output json")
        .output()
        .unwrap();
    let (stdout, story) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(0), "{story}\n{stdout}");
    let report: Value = serde_json::from_str(&stdout).unwrap();
    let number = |field: &str| report[field].as_u64().unwrap();
    assert!(number("second_token") > number("first_token"), "{report}");
    assert_eq!(
        (number("late_requests"), number("refused")),
        (6, 6),
        "{report}"
    );
    assert_eq!(
        (number("nodes"), number("unchanged_at")),
        (3, 3),
        "{report}"
    );
    assert_eq!(
        (&report["plain_replaced"], &report["held"]),
        (&Value::Bool(true), &Value::Bool(true))
    );
    let named = format!("FENCED requests below token {},", number("second_token"));
    assert!(story.contains(&named), "{story}");
    assert_eq!(left_in(home.path()), 0);
}

#[test]
fn an_interrupt_ends_all_nodes_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let mut child = demo(home.path(), "--datacenters 2 --nodes 1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("redis-cli -p") {
        line.clear();
        assert!(
            stdout.read_line(&mut line).unwrap() > 0,
            "it ended before all nodes served"
        );
    }
    let told = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(told.success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    let mut notes = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut notes)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{notes}");
    assert!(
        notes.contains("interrupted before there was a verdict") && !rest.contains("verdict:"),
        "{notes}\n{rest}"
    );
    assert_eq!(left_in(home.path()), 0);
}

#[test]
fn a_plan_that_cannot_be_carried_out_is_a_usage_error() {
    let home = tempfile::tempdir().unwrap();
    for (flags, word) in [
        ("--datacenters 1", "from 2 to 6"),
        ("--datacenters 7", "from 2 to 6"),
        ("--nodes 0", "at least 1"),
        ("--datacenters 5 --nodes 5", "at most 24"),
        ("--duration 1s", "at least 10s"),
    ] {
        let output = demo(home.path(), flags).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flags}: {stderr}");
        assert!(stderr.contains(word), "{flags}: {stderr}");
    }
    assert_eq!(left_in(home.path()), 0);
}
