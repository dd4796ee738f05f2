//! `topology`, `quorum` and `store` are the ground: they know neither commands nor consensus, and
//! they are all that `dynamo` uses of this crate.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::fs;
use std::path::Path;

const GROUND: [&str; 3] = ["topology", "quorum", "store"];

/// The modules that `text` names right after `root`, outside of comments.
fn named<'a>(text: &'a str, root: &str) -> Vec<&'a str> {
    let code = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let paths = code.flat_map(|line| line.split(root).skip(1));
    let modules = paths.flat_map(|path| match path.strip_prefix('{') {
        Some(list) => list.split(',').collect(),
        None => vec![path],
    });
    let first = |path: &'a str| path.trim().split(|c: char| !c.is_alphanumeric()).next();
    modules.filter_map(first).collect()
}

/// Calls `see` with the path and the text of every Rust file at or below `path`.
fn walk(path: &Path, see: &mut impl FnMut(&str, &str)) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), see);
        }
    } else if path.extension().is_some_and(|kind| kind == "rs") {
        see(path.to_str().unwrap(), &fs::read_to_string(path).unwrap());
    }
}

/// Fails if a file at or below `path` names another module of `root` than those of the ground. The
/// switches of planted bugs are constants that stand on nothing.
fn stands_on_the_ground(path: &Path, root: &str) {
    let mut files = 0;
    walk(path, &mut |path, text| {
        files += 1;
        for module in named(text, root) {
            let allowed = GROUND.contains(&module) || module == "planted";
            assert!(allowed, "{path} names {root}{module}");
        }
    });
    assert!(files > 0, "no file at {}", path.display());
}

#[test]
fn the_ground_knows_neither_commands_nor_consensus() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for module in GROUND {
        stands_on_the_ground(&src.join(format!("{module}.rs")), "crate::");
        if src.join(module).is_dir() {
            stands_on_the_ground(&src.join(module), "crate::");
        }
    }
}

#[test]
fn dynamo_stands_on_the_ground_alone() {
    let dynamo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dynamo/src");
    stands_on_the_ground(&dynamo, "quorate_control::");
}

#[test]
fn what_is_named_is_found() {
    let text =
        "use crate::state::Command;\n// crate::consensus\nuse crate::{store, quorum::Tally};";
    assert_eq!(named(text, "crate::"), ["state", "store", "quorum"]);
    let text = "fn a(b: quorate_control::consensus::Role) {}";
    assert_eq!(named(text, "quorate_control::"), ["consensus"]);
}
