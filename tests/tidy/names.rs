//! One word per thing, in names that others see.

use std::collections::BTreeMap;

use crate::Finding;
use crate::rust::{PublicType, Token};
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

/// What each protocol crate has: the shape of a core.
const SHAPE: [&str; 5] = ["Config", "Input", "Message", "Timer", "Effect"];

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
    for (path, file) in tree.production() {
        for Token { text, line, .. } in public_names(&file.production) {
            let snake = snake_case(text);
            let is_part = |word: &str| snake.split('_').any(|part| part == word);
            let word = FOREIGN_WORDS.iter().find(|(word, _)| is_part(word));
            let pair = FOREIGN_PAIRS.iter().find(|(pair, _)| snake.contains(pair));
            if let Some((foreign, ours)) = word.or(pair) {
                findings.push(format!("{path}:{line}: {text}: say {ours}, not {foreign}"));
            }
        }
    }
    findings
}

/// Public types that share a name, if more than one of them does not say in its documentation what
/// it is unlike. The names of [`SHAPE`] are shared on purpose.
pub(crate) fn namesakes(tree: &Tree) -> Vec<Finding> {
    let mut unexplained = BTreeMap::<&str, Vec<String>>::new();
    for (path, file) in tree
        .production()
        .filter(|(path, _)| format!("/{path}").contains("/src/"))
    {
        for PublicType { line, name, doc } in &file.items.public_types {
            if !SHAPE.contains(&name.as_str()) && !doc.to_lowercase().contains("unlike") {
                unexplained
                    .entry(name)
                    .or_default()
                    .push(format!("{path}:{line}"));
            }
        }
    }
    let several = unexplained
        .into_iter()
        .filter(|(_, places)| places.len() > 1);
    several
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect()
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

/// Names of items, fields and methods behind a plain `pub`.
fn public_names(code: &[Token]) -> impl Iterator<Item = &Token> {
    let keywords = [
        "fn", "struct", "enum", "trait", "type", "const", "static", "mod", "async", "unsafe", "use",
    ];
    let is_name = move |token: &&Token| {
        !keywords.contains(&token.text.as_str())
            && token.text.starts_with(|c: char| c.is_alphabetic())
    };
    let public = code
        .windows(2)
        .enumerate()
        .filter(|(_, pair)| pair[0].text == "pub" && pair[1].text != "(");
    public.filter_map(move |(at, _)| code[at + 1..].iter().find(is_name))
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
fn namesakes_without_a_reason_are_found() {
    let found = |doc: &str| {
        let first = (
            "crdt/src/a.rs".to_owned(),
            "pub struct Delta; pub enum Effect {}".to_owned(),
        );
        let second = (
            "dynamo/src/b.rs".to_owned(),
            format!("pub enum Effect {{}}\n/// {doc}\npub struct Delta;"),
        );
        namesakes(&Tree::new([first, second]))
    };
    assert_eq!(
        found("A change."),
        ["Delta: crdt/src/a.rs:1, dynamo/src/b.rs:3"]
    );
    assert_eq!(
        found("Unlike the `Delta` of `crdt`, it holds rows."),
        [""; 0]
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
