//! One word per thing, in names that others see.

use crate::Finding;
use crate::tree::{Tree, is_test_path, line_of};

/// File names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "utils.rs",
    "util.rs",
    "helpers.rs",
    "helper.rs",
    "misc.rs",
    "common.rs",
    "stuff.rs",
    "tools.rs",
];
/// Words of other systems for things that have a name here (`docs/style.md`). Only words without a
/// second, legitimate meaning.
const FOREIGN_WORDS: [(&str, &str); 9] = [
    ("vnode", "partition or replica"),
    ("vnodes", "partitions or replicas"),
    ("tablet", "partition"),
    ("apl", "preference list"),
    ("preflist", "preference list"),
    ("vclock", "causal context"),
    ("actor", "node or replica"),
    ("region", "datacenter"),
    ("tracker", "tally"),
];
/// The same for names of two words.
const FOREIGN_PAIRS: [(&str, &str); 4] = [
    ("ring_state", "topology"),
    ("cluster_layout", "topology"),
    ("consistency_mode", "consistency"),
    ("quorum_tracker", "tally"),
];

/// Files whose name could stand on any content.
pub(crate) fn files(tree: &Tree) -> Vec<Finding> {
    let empty = |path: &str| EMPTY_NAMES.contains(&path.rsplit('/').next().unwrap_or(path));
    tree.sources()
        .filter(|(path, _)| empty(path))
        .map(|(path, _)| format!("{path}: the name says nothing"))
        .collect()
}

/// Public identifiers that use another system's word.
pub(crate) fn vocabulary(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in tree.sources() {
        for (at, name) in public_names(&file.production) {
            let snake = snake_case(name);
            let word = FOREIGN_WORDS
                .iter()
                .find(|(word, _)| snake.split('_').any(|part| part == *word));
            let pair = FOREIGN_PAIRS.iter().find(|(pair, _)| snake.contains(pair));
            if let Some((foreign, ours)) = word.or(pair) {
                findings.push(format!(
                    "{path}:{}: {name}: say {ours}, not {foreign}",
                    line_of(&file.text, at)
                ));
            }
        }
    }
    findings
}

/// Absolute paths of somebody's machine.
pub(crate) fn machine_paths(tree: &Tree) -> Vec<Finding> {
    // In pieces, so that this file does not find itself.
    let homes = ["root", "work", "home", "Users"].map(|folder| format!("/{folder}/"));
    let mut findings = Vec::new();
    for (path, file) in tree.all().filter(|(path, _)| *path != "Cargo.lock") {
        // A test may make up a user's home.
        let homes = if is_test_path(path) {
            &homes[..2]
        } else {
            &homes[..]
        };
        for home in homes {
            let absolute = |at: &usize| {
                file.text[..*at]
                    .chars()
                    .next_back()
                    .is_none_or(|c| !c.is_alphanumeric() && !"._-}/)~>".contains(c))
            };
            let found = file
                .text
                .match_indices(home.as_str())
                .filter(|(at, _)| absolute(at));
            findings
                .extend(found.map(|(at, _)| format!("{path}:{}: {home}", line_of(&file.text, at))));
        }
    }
    findings
}

/// Names of items, fields and methods behind a plain `pub`, with their positions.
fn public_names(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let keywords = [
        "fn", "struct", "enum", "trait", "type", "const", "static", "mod", "async", "unsafe", "use",
    ];
    code.match_indices("pub ").filter_map(move |(at, found)| {
        let mut words = code[at + found.len()..]
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .filter(|word| !word.is_empty());
        words
            .find(|word| !keywords.contains(word))
            .map(|name| (at, name))
    })
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    let mut lower = false;
    for c in name.chars() {
        if c.is_uppercase() && lower {
            snake.push('_');
        }
        lower = c.is_lowercase();
        snake.extend(c.to_lowercase());
    }
    snake
}

#[test]
fn a_name_that_says_nothing_is_found() {
    assert_eq!(
        files(&Tree::of("dynamo/src/utils.rs", "")),
        ["dynamo/src/utils.rs: the name says nothing"]
    );
    assert_eq!(files(&Tree::of("dynamo/src/tally.rs", "")), [""; 0]);
}

#[test]
fn another_systems_word_is_found() {
    let found = |text: &str| vocabulary(&Tree::of("src/a.rs", text)).len();
    for text in [
        "pub struct VNode;",
        "pub fn vnode_of() {}",
        "pub struct S { pub actor: u8 }",
        "pub enum RingState {}",
        "pub const fn region() {}",
    ] {
        assert_eq!(found(text), 1, "{text}");
    }
    assert_eq!(
        found("fn vnode() {} pub fn plan() {} pub struct Regional; // pub fn tablet()"),
        0
    );
}

#[test]
fn a_machine_path_is_found() {
    let home = ["/ho", "me/ada/data"].concat();
    assert_eq!(
        machine_paths(&Tree::of("docs/a.md", &format!("run it in `{home}`"))).len(),
        1
    );
    assert_eq!(
        machine_paths(&Tree::of(
            "docs/a.md",
            &format!("https://example.org{home}")
        )),
        [""; 0]
    );
}
