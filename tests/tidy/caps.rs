//! Caps on size and on what code may do.

use crate::Finding;
use crate::lexer::item_end;
use crate::tree::{File, Tree, line_of};

/// Lines of code in one file, without tests, comments and blank lines.
const FILE_LINES_MAX: usize = 550;
/// Fields of one struct: above this it is no longer one idea.
const STRUCT_FIELDS_MAX: usize = 12;
/// The crates whose code takes time and randomness as arguments.
const CORES: [&str; 4] = ["crdt/src/", "control/src/", "gossip/src/", "dynamo/src/"];
/// The module of those crates that drives the consensus engine.
pub(crate) const CONSENSUS: &str = "control/src/consensus";
/// The module of those crates that is the transport.
pub(crate) const QUIC: &str = "gossip/src/quic";

/// Files over the cap.
pub(crate) fn file_lines(tree: &Tree) -> Vec<Finding> {
    let lines = |file: &File| {
        file.production
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count()
    };
    let long = tree
        .sources()
        .map(|(path, file)| (path, lines(file)))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX);
    long.map(|(path, lines)| format!("{path}: {lines} lines of code, at most {FILE_LINES_MAX}"))
        .collect()
}

/// Structs over the cap.
pub(crate) fn struct_fields(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in tree.sources() {
        for (at, name, fields) in structs(&file.production) {
            if fields > STRUCT_FIELDS_MAX {
                let line = line_of(&file.text, at);
                findings.push(format!(
                    "{path}:{line}: struct {name} has {fields} fields, at most {STRUCT_FIELDS_MAX}"
                ));
            }
        }
    }
    findings
}

/// Locks, clocks and random sources in the pure parts of the protocol crates. (`clippy.toml` bans
/// the types; this sees through imports and macros, and through an `expect` that lifts the lint.)
pub(crate) fn pure_cores(tree: &Tree) -> Vec<Finding> {
    let banned = [
        "Arc<Mutex",
        "Arc<RwLock",
        "Instant::now",
        "SystemTime::now",
        "UNIX_EPOCH.elapsed",
        "rand::rng(",
        "thread_rng(",
        "from_os_rng(",
    ];
    let core = |path: &str| {
        CORES.iter().any(|core| path.starts_with(core))
            && ![CONSENSUS, QUIC]
                .iter()
                .any(|outer| path.starts_with(outer))
    };
    find(tree, &banned, |path, file| {
        if core(path) { &file.production } else { "" }
    })
}

/// Code that says it is not done, and tests that are switched off or pass by failing.
///
/// A test that its own file starts as a process of its own (with `--ignored`, to kill it) is not
/// switched off.
pub(crate) fn unfinished(tree: &Tree) -> Vec<Finding> {
    let mut findings = find(
        tree,
        &["todo!", "unimplemented!", "should_panic"],
        |_, file| &file.code,
    );
    findings.extend(find(tree, &["#[ignore"], |_, file| {
        if file.text.contains("\"--ignored\"") {
            ""
        } else {
            &file.code
        }
    }));
    findings
}

/// `unwrap`, and every `expect` that does not name the invariant which makes it unreachable.
pub(crate) fn panics(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in tree.sources() {
        for (at, _) in file.production.match_indices(".unwrap()") {
            // In the value of a constant it is the compiler that would panic.
            let statement = file.production[..at]
                .rfind([';', '}', '{'])
                .map_or(0, |n| n + 1);
            if !file.production[statement..at].contains("const ") {
                findings.push(format!("{path}:{}: .unwrap()", line_of(&file.text, at)));
            }
        }
        for (at, call) in file.production.match_indices(".expect(") {
            let message = file.text[at + call.len()..].trim_start();
            if message.starts_with('"')
                && !message.starts_with("\"invariant: ")
                && !path.starts_with("examples/")
            {
                findings.push(format!(
                    "{path}:{}: expect without the invariant that it relies on",
                    line_of(&file.text, at)
                ));
            }
        }
    }
    findings
}

fn find<'a>(
    tree: &'a Tree,
    banned: &[&str],
    code: impl Fn(&str, &'a File) -> &'a str,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in tree.sources() {
        for word in banned {
            let found = code(path, file).match_indices(word);
            findings
                .extend(found.map(|(at, _)| format!("{path}:{}: {word}", line_of(&file.text, at))));
        }
    }
    findings
}

/// Every struct with its position, name and number of fields.
fn structs(code: &str) -> Vec<(usize, &str, usize)> {
    let keyword = code.match_indices("struct ").filter(|(at, _)| {
        code[..*at]
            .chars()
            .next_back()
            .is_none_or(char::is_whitespace)
    });
    keyword
        .map(|(at, keyword)| {
            let item = &code[at + keyword.len()..item_end(code.as_bytes(), at)];
            let name = item
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next()
                .unwrap_or_default();
            (at, name, fields(item))
        })
        .collect()
}

/// The number of pieces between the outermost commas of the outermost braces, or else parentheses.
fn fields(item: &str) -> usize {
    let Some(open) = item.find('{').or_else(|| item.find('(')) else {
        return 0;
    };
    let (mut depth, mut count, mut filled, mut before) = (0_i32, 0, false, ' ');
    for c in item[open + 1..].chars() {
        match c {
            '{' | '(' | '[' | '<' => depth += 1,
            '}' | ')' | ']' if depth == 0 => break,
            '>' if before == '-' => {}
            '}' | ')' | ']' | '>' => depth -= 1,
            ',' if depth == 0 => {
                count += usize::from(filled);
                filled = false;
            }
            _ => filled |= !c.is_whitespace(),
        }
        before = c;
    }
    count + usize::from(filled)
}

#[test]
fn a_long_file_is_found_and_tests_and_comments_do_not_count() {
    let lines = |n: usize| "fn a() {}\n".repeat(n);
    let counted = |text: String| file_lines(&Tree::of("src/a.rs", &text)).len();
    assert_eq!(counted(lines(551)), 1);
    assert_eq!(
        counted(
            lines(550)
                + "\n\n// comment\n/* one\ntwo */\n#[cfg(test)] mod tests {\n fn b() {}\n}\n"
        ),
        0
    );
}

#[test]
fn a_wide_struct_is_found() {
    let wide = |n: usize| {
        format!(
            "pub struct A<F: Fn(u8) -> u8> {{ {} last: Map<u8, (u8, u8)> }}",
            "#[x(a, b)] pub a: fn(u8, u8) -> u8, ".repeat(n)
        )
    };
    let found = |text: &str| struct_fields(&Tree::of("src/a.rs", text));
    assert_eq!(
        found(&wide(12)),
        ["src/a.rs:1: struct A has 13 fields, at most 12"]
    );
    assert_eq!(found(&wide(11)), [""; 0]);
    assert_eq!(found(&format!("struct T({});", "u8, ".repeat(13))).len(), 1);
}

#[test]
fn a_core_that_reads_a_clock_is_found() {
    let text = "use std::time::Instant;\nfn a() { let now = Instant::now(); }";
    assert_eq!(
        pure_cores(&Tree::of("dynamo/src/a.rs", text)),
        ["dynamo/src/a.rs:2: Instant::now"]
    );
    assert_eq!(
        pure_cores(&Tree::of(
            "gossip/src/membership.rs",
            "type S = Arc<Mutex<u8>>;"
        ))
        .len(),
        1
    );
    assert_eq!(
        pure_cores(&Tree::of("gossip/src/quic/endpoint.rs", text)),
        [""; 0]
    );
    assert_eq!(pure_cores(&Tree::of("src/driver.rs", text)), [""; 0]);
}

#[test]
fn unfinished_code_and_silenced_tests_are_found() {
    for text in [
        "fn a() { todo!() }",
        "fn a() { unimplemented!() }",
        "#[test]\n#[ignore]\nfn a() {}",
        "#[should_panic(expected = \"x\")] fn a() {}",
    ] {
        assert_eq!(
            unfinished(&Tree::of("crdt/tests/a.rs", text)).len(),
            1,
            "{text}"
        );
    }
    let killed = "#[test]\n#[ignore = \"started below\"] fn child() {}\n#[test] fn kill() { start(&[\"child\", \"--ignored\"]) }";
    assert_eq!(unfinished(&Tree::of("tests/a.rs", killed)), [""; 0]);
    assert_eq!(
        unfinished(&Tree::of(
            "src/a.rs",
            "// todo!() is banned\nconst A: &str = \"#[ignore]\";"
        )),
        [""; 0]
    );
}

#[test]
fn panics_outside_tests_are_found() {
    let found = |path, text| panics(&Tree::of(path, text)).len();
    assert_eq!(found("src/a.rs", "fn a() { b.unwrap(); }"), 1);
    assert_eq!(found("src/a.rs", "fn a() { b.expect(\"works\"); }"), 1);
    assert_eq!(
        found(
            "src/a.rs",
            "pub const THREE: NonZeroU8 = NonZeroU8::new(3).unwrap();"
        ),
        0
    );
    assert_eq!(
        found(
            "src/a.rs",
            "fn a() { b.expect(\"invariant: b was checked\"); }"
        ),
        0
    );
    assert_eq!(found("src/a/tests.rs", "fn a() { b.unwrap(); }"), 0);
}
