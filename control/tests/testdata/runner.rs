//! Runs scripts, in the manner of the data-driven tests of raft-rs and `CockroachDB`.
//!
//! A script is cases separated by empty lines. A case is its commands, one a line, then `----`,
//! then what they print. Lines that begin with `#` say what the case shows. All cases of one file
//! share a state, so a later case goes on where the earlier one ended.
//!
//! ```text
//! # Two answers of three nodes are a majority.
//! groups 2/1,2,3
//! ack 1
//! ack 2
//! ----
//! groups 2/1,2,3  pending   0 of 2, silent 1 2 3
//! ack 1           pending   1 of 2, silent 2 3
//! ack 2           reached   2 of 2, silent 3
//! ```

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// Between the commands of a case and what they print.
const RULE: &str = "----";

/// Runs every script in `testdata/{folder}`, each from a fresh state. Fails with a list of all
/// cases that print something else than expected; with `UPDATE` set, rewrites the scripts instead.
pub(crate) fn run<S>(
    folder: &str,
    fresh: impl Fn() -> S,
    mut command: impl FnMut(&mut S, &str) -> String,
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(folder);
    let mut scripts: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no script in {}", folder.display());
    let mut wrong = String::new();
    for path in scripts {
        let text = fs::read_to_string(&path).unwrap();
        let mut state = fresh();
        let printed = replay(&text, |line| command(&mut state, line));
        if printed == text {
            continue;
        }
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, printed).unwrap();
        } else {
            let list = differences(&text, &printed);
            let list = if list.is_empty() {
                "  its spacing\n"
            } else {
                &list
            };
            writeln!(wrong, "{}:\n{}", path.display(), list.trim_end()).unwrap();
        }
    }
    assert!(
        wrong.is_empty(),
        "scripts print something else than expected (UPDATE=1 accepts it):\n{wrong}"
    );
}

/// The script with what its commands print now. Equal to `text` if, and only if, every case prints
/// what it says.
fn replay(text: &str, mut command: impl FnMut(&str) -> String) -> String {
    let mut cases = Vec::new();
    for case in text.trim_matches('\n').split("\n\n") {
        let head: Vec<&str> = case.lines().take_while(|line| *line != RULE).collect();
        let commands: Vec<&str> = head
            .iter()
            .copied()
            .filter(|line| !line.starts_with('#'))
            .collect();
        let mut printed = head.join("\n");
        // A case of comments alone is a heading.
        if !commands.is_empty() {
            printed += &format!("\n{RULE}");
        }
        let width = commands.iter().map(|line| line.len()).max().unwrap_or(0);
        for line in commands {
            let output = command(line);
            assert!(!output.contains("\n\n"), "an empty line would end the case");
            printed += &match output.strip_prefix('\n') {
                Some(lines) => format!("\n{line}\n    {}", lines.replace('\n', "\n    ")),
                None => format!("\n{line:width$}  {}", output.replace('\n', "\n    ")),
            };
        }
        cases.push(printed);
    }
    cases.join("\n\n") + "\n"
}

/// The lines in which two forms of a script differ, case by case.
fn differences(expected: &str, printed: &str) -> String {
    let mut list = String::new();
    for (expected, printed) in expected.split("\n\n").zip(printed.split("\n\n")) {
        let (expected, printed) = (expected.trim_end(), printed.trim_end());
        if expected != printed {
            let (new, old): (Vec<_>, Vec<_>) =
                (printed.lines().collect(), expected.lines().collect());
            for line in old.iter().filter(|line| !new.contains(line)) {
                writeln!(list, "  - {line}").unwrap();
            }
            for line in new.iter().filter(|line| !old.contains(line)) {
                writeln!(list, "  + {line}").unwrap();
            }
        }
    }
    list
}

/// The numbers of a list such as `1,2,3`; `-` is the empty list.
pub(crate) fn numbers(list: &str) -> Vec<u64> {
    match list {
        "-" => Vec::new(),
        _ => list.split(',').map(|n| n.parse().unwrap()).collect(),
    }
}

/// Numbers as a script shows them: separated by spaces; `-` if there are none.
pub(crate) fn shown(numbers: impl IntoIterator<Item = u64>) -> String {
    let words: Vec<_> = numbers.into_iter().map(|n| n.to_string()).collect();
    if words.is_empty() {
        "-".to_owned()
    } else {
        words.join(" ")
    }
}

#[test]
fn a_wrong_expectation_is_found_and_an_update_rights_it() {
    let right = "# A heading.\n\n# Twice.\nsay a\nsay bb\n----\nsay a   A\nsay bb  BB\n";
    let wrong = right.replace("  BB", "  BA");
    let unanswered = "# A heading.\n\n# Twice.\nsay a\nsay bb\n";
    let shout = |line: &str| line.strip_prefix("say ").unwrap().to_uppercase();
    assert_eq!(replay(right, shout), right);
    for script in [&*wrong, unanswered] {
        let printed = replay(script, shout);
        assert_eq!(printed, right);
        assert_ne!(printed, script);
    }
    assert_eq!(
        differences(&wrong, right),
        "  - say bb  BA\n  + say bb  BB\n"
    );
}
