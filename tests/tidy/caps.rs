//! Caps on size and on what code may do.

use std::collections::BTreeSet;

use crate::Finding;
use crate::rust::{Struct, Token};
use crate::tree::{File, Tree, positions};

/// Lines of code in one file, without tests, comments and blank lines.
pub(crate) const FILE_LINES_MAX: usize = 550;
/// Fields of one struct: above this it is no longer one idea.
pub(crate) const STRUCT_FIELDS_MAX: usize = 14;
/// The crates whose code takes time and randomness as arguments.
const CORES: [&str; 4] = ["crdt/src/", "control/src/", "gossip/src/", "dynamo/src/"];
/// The module of those crates that drives the consensus engine.
pub(crate) const CONSENSUS: &str = "control/src/consensus";
/// The module of those crates that is the transport.
pub(crate) const QUIC: &str = "gossip/src/quic";

/// Columns of a line.
pub(crate) const COLUMNS_MAX: usize = 100;

/// Files over the cap.
pub(crate) fn file_lines(tree: &Tree) -> Vec<Finding> {
    let lines = |file: &File| {
        let covered = file
            .production
            .iter()
            .flat_map(|token| token.line..=token.end);
        covered.collect::<BTreeSet<_>>().len()
    };
    tree.production()
        .map(|(path, file)| (path, lines(file)))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(path, lines)| format!("{path}: {lines} lines of code, at most {FILE_LINES_MAX}"))
        .collect()
}

/// Structs over the cap.
pub(crate) fn struct_fields(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in tree.production() {
        let wide = file
            .items
            .structs
            .iter()
            .filter(|found| found.fields > STRUCT_FIELDS_MAX);
        findings.extend(wide.map(|Struct { line, name, fields }| {
            format!("{path}:{line}: struct {name} has {fields} fields, at most {STRUCT_FIELDS_MAX}")
        }));
    }
    findings
}

/// Functions that pack arguments into a tuple. What a foreign trait dictates is exempt, and so are
/// closures, which take what their caller has.
pub(crate) fn packed_arguments(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in tree.production() {
        let packing = file.items.packing.iter();
        findings.extend(
            packing.map(|(line, name)| format!("{path}:{line}: {name} takes a tuple of arguments")),
        );
    }
    findings
}

/// Lines over the cap: of Rust without the strings on them, of Markdown without tables, fenced
/// blocks and what cannot be broken.
pub(crate) fn columns(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in tree.all() {
        let is_prose = path.strip_suffix(".md").is_some();
        if !is_prose && path.strip_suffix(".rs").is_none() {
            continue;
        }
        let mut is_fenced = false;
        for (at, line) in file.text.lines().enumerate() {
            let text = line
                .trim_start()
                .trim_start_matches(['/', '!'])
                .trim_start();
            is_fenced ^= is_prose && text.starts_with("```");
            let in_table =
                (is_prose || text.len() < line.trim_start().len()) && text.starts_with('|');
            let unbroken = !text.trim_start_matches("- ").contains(' ');
            if line.chars().count() > COLUMNS_MAX
                && !(is_fenced || in_table || unbroken)
                && without_strings(file, at + 1, line) > COLUMNS_MAX
            {
                findings.push(format!(
                    "{path}:{}: more than {COLUMNS_MAX} columns",
                    at + 1
                ));
            }
        }
    }
    findings
}

/// The length of `line` without what its strings contain.
fn without_strings(file: &File, number: usize, line: &str) -> usize {
    let on_line = file
        .code
        .iter()
        .filter(|token| token.line <= number && token.end >= number);
    let mut length = line.chars().count();
    for token in on_line.filter(|token| token.text.ends_with(['"', '#']) && token.text.len() > 1) {
        if token.line < token.end {
            return 0;
        }
        length -= token.text.chars().count();
    }
    length
}

/// Locks, clocks and random sources in the pure parts of the protocol crates. (`clippy.toml` bans
/// the types; this sees through imports and macros, and through an `expect` that lifts the lint.)
pub(crate) fn pure_cores(tree: &Tree) -> Vec<Finding> {
    let banned = [
        "Arc < Mutex",
        "Arc < RwLock",
        "Instant :: now",
        "SystemTime :: now",
        "UNIX_EPOCH . elapsed",
        "rand :: rng (",
        "thread_rng (",
        "from_os_rng (",
    ];
    let is_core = |path: &str| {
        CORES.iter().any(|core| path.starts_with(core))
            && ![CONSENSUS, QUIC]
                .iter()
                .any(|outer| path.starts_with(outer))
    };
    let cores = tree.production().filter(|(path, _)| is_core(path));
    find(cores, |file| &file.production, &banned)
}

/// Code that says it is not done, and tests that are switched off or pass by failing.
///
/// A test that its own file starts as a process of its own (with `--ignored`, to kill it) is not
/// switched off.
pub(crate) fn unfinished(tree: &Tree) -> Vec<Finding> {
    let banned = ["todo !", "unimplemented !", "should_panic"];
    let mut findings = find(tree.sources(), |file| &file.code, &banned);
    let silent = tree
        .sources()
        .filter(|(_, file)| !file.text.contains("\"--ignored\""));
    findings.extend(find(silent, |file| &file.code, &["# [ ignore"]));
    findings
}

/// `unwrap`, and every `expect` that does not name the invariant which makes it unreachable.
pub(crate) fn panics(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in tree.production() {
        let code = &file.production;
        // In the value of a constant it is the compiler that would panic.
        let in_constant = |at: &usize| {
            let before = code[..*at].iter().rev().map(|token| token.text.as_str());
            before
                .take_while(|text| ![";", "{", "}"].contains(text))
                .any(|text| text == "const")
        };
        let unwraps = positions(code, ". unwrap ( )")
            .into_iter()
            .filter(|at| !in_constant(at));
        findings.extend(unwraps.map(|at| format!("{path}:{}: .unwrap()", code[at].line)));
        let unfounded = |at: &usize| {
            let message = code.get(at + 3).map_or("", |token| &token.text);
            message.starts_with('"')
                && !message.starts_with("\"invariant: ")
                && !path.starts_with("examples/")
        };
        let expects = positions(code, ". expect (").into_iter().filter(unfounded);
        findings.extend(expects.map(|at| {
            format!(
                "{path}:{}: expect without the invariant that it relies on",
                code[at].line
            )
        }));
    }
    findings
}

fn find<'a>(
    files: impl Iterator<Item = (&'a str, &'a File)>,
    code: impl Fn(&File) -> &[Token],
    banned: &[&str],
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in files {
        for words in banned {
            let found = positions(code(file), words).into_iter();
            let name = words.replace(' ', "");
            findings.extend(found.map(|at| format!("{path}:{}: {name}", code(file)[at].line)));
        }
    }
    findings
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
        found(&wide(14)),
        ["src/a.rs:1: struct A has 15 fields, at most 14"]
    );
    assert_eq!(found(&wide(13)), [""; 0]);
    assert_eq!(found(&format!("struct T({});", "u8, ".repeat(15))).len(), 1);
}

#[test]
fn packed_arguments_are_found() {
    let found = |text: &str| packed_arguments(&Tree::of("src/a.rs", text)).len();
    assert_eq!(found("fn a((b, c): (u8, u8)) {}"), 1);
    assert_eq!(found("struct S; impl S { fn a(&self, b: (u8, u8)) {} }"), 1);
    assert_eq!(found("trait T { fn a(b: (u8, u8, u8)); }"), 1);
    for honest in [
        "fn a(b: &(u8, u8), c: (u8,), d: ()) -> (u8, u8) { e.map(|(f, g): (u8, u8)| f + g) }",
        "impl Extend<(u8, u8)> for S { fn a(&self, b: (u8, u8)) {} }",
        "#[cfg(test)] mod tests { fn a(b: (u8, u8)) {} }",
    ] {
        assert_eq!(found(honest), 0, "{honest}");
    }
}

#[test]
fn a_long_line_is_found_but_for_strings_and_tables() {
    let found = |path: &str, text: &str| columns(&Tree::of(path, text)).len();
    let long = "long ".repeat(20);
    assert_eq!(found("src/a.rs", &format!("// {long}")), 1);
    assert_eq!(
        found(
            "src/a.rs",
            &format!("fn a() {{ b({}\"\") }}", "1 + ".repeat(30))
        ),
        1
    );
    assert_eq!(found("docs/a.md", &format!("Some {long}")), 1);
    assert_eq!(
        found("src/a.rs", &format!("const A: &str = \"{long}\";")),
        0
    );
    assert_eq!(
        found("src/a.rs", &format!("const A: &str = \"\n{long} b\";")),
        0
    );
    assert_eq!(found("src/a.rs", &format!("//! | a | {long} |")), 0);
    assert_eq!(
        found(
            "docs/a.md",
            &format!("| a | {long} |\n```\n$ {long}\n```\n")
        ),
        0
    );
    assert_eq!(found("docs/a.md", &format!("[a]({})", "b".repeat(100))), 0);
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
