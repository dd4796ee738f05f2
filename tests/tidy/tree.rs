//! The files of the repository as the rules see them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::lexer;

/// What is never looked into: build output, history, editors' folders.
const SKIPPED: [&str; 4] = ["target", ".git", "node_modules", "__pycache__"];
/// What a rule can read.
const TEXT: [&str; 9] = ["rs", "md", "toml", "py", "mjs", "sh", "txt", "yml", "json"];

/// All text files, by path relative to the root, with `/` between the parts.
pub(crate) struct Tree {
    files: BTreeMap<String, File>,
}

/// One file, and if it is Rust, its code.
pub(crate) struct File {
    /// Everything.
    pub(crate) text: String,
    /// Without comments and literals; empty if the file is not Rust.
    pub(crate) code: String,
    /// `code` without what only tests see.
    pub(crate) production: String,
}

impl Tree {
    /// Reads everything under `root`.
    pub(crate) fn read(root: &Path) -> Self {
        let mut found = Vec::new();
        walk(root, "", &mut found);
        Self::new(found)
    }

    /// A tree of these paths and texts.
    pub(crate) fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut tests = BTreeSet::new();
        let mut read: BTreeMap<String, File> = BTreeMap::new();
        for (path, text) in files {
            let code = if is_rust(&path) {
                lexer::code_only(&text)
            } else {
                String::new()
            };
            let (production, modules) = lexer::without_tests(&code);
            tests.extend(
                modules
                    .iter()
                    .map(|module| format!("{}/{module}", children_of(&path))),
            );
            read.insert(
                path,
                File {
                    text,
                    code,
                    production,
                },
            );
        }
        for (path, file) in &mut read {
            let stem = path.trim_end_matches(".rs");
            let declared = tests
                .iter()
                .any(|module| stem == module || path.starts_with(&format!("{module}/")));
            if declared || is_test_path(path) {
                file.production.clear();
            }
        }
        Self { files: read }
    }

    /// A tree of one file, for planted violations.
    #[cfg(test)]
    pub(crate) fn of(path: &str, text: &str) -> Self {
        Self::new([(path.to_owned(), text.to_owned())])
    }

    /// All files.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// The Rust files.
    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &File)> {
        self.all().filter(|(path, _)| is_rust(path))
    }

    /// The file at `path`.
    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// The text at `path`, or nothing.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.get(path).map_or("", |file| &file.text)
    }

    /// Whether there is a file or a folder at `path`.
    pub(crate) fn has(&self, path: &str) -> bool {
        self.files.contains_key(path)
            || self
                .files
                .keys()
                .any(|file| file.starts_with(&format!("{}/", path.trim_end_matches('/'))))
    }
}

/// The line of a byte position, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn is_rust(path: &str) -> bool {
    path.rsplit_once('.')
        .is_some_and(|(_, extension)| extension == "rs")
}

/// Whether the path alone says that only tests see the file.
pub(crate) fn is_test_path(path: &str) -> bool {
    path.split('/')
        .any(|part| matches!(part, "tests" | "tests.rs" | "benches"))
}

/// Where the files of a module's children lie.
fn children_of(path: &str) -> String {
    let stem = path.trim_end_matches(".rs");
    match stem.rsplit_once('/') {
        Some((folder, "lib" | "main" | "mod")) => folder.to_owned(),
        _ => stem.to_owned(),
    }
}

fn walk(root: &Path, prefix: &str, found: &mut Vec<(String, String)>) {
    let entries = fs::read_dir(root.join(prefix)).expect("the repository can be listed");
    for entry in entries {
        let entry = entry.expect("the repository can be listed");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}/{name}")
        };
        let kind = entry.file_type().expect("the kind of a file is known");
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            walk(root, &path, found);
        } else if name
            .rsplit_once('.')
            .is_none_or(|(_, extension)| TEXT.contains(&extension))
        {
            // A file that another program has just removed, or that is not text, is no source.
            found.extend(
                fs::read_to_string(entry.path())
                    .ok()
                    .map(|text| (path, text)),
            );
        }
    }
}

#[test]
fn modules_declared_for_tests_hold_no_production_code() {
    let tree = Tree::new([
        (
            "a/src/lib.rs".to_owned(),
            "#[cfg(test)]\nmod laws;\nfn a() {}".to_owned(),
        ),
        ("a/src/laws.rs".to_owned(), "fn b() {}".to_owned()),
        ("a/src/laws/more.rs".to_owned(), "fn c() {}".to_owned()),
        ("a/src/d.rs".to_owned(), "fn d() {}".to_owned()),
    ]);
    let with_code = tree
        .sources()
        .filter(|(_, file)| !file.production.trim().is_empty());
    assert_eq!(
        with_code.map(|(path, _)| path).collect::<Vec<_>>(),
        ["a/src/d.rs", "a/src/lib.rs"]
    );
    assert!(tree.has("a/src") && tree.has("a/src/d.rs") && !tree.has("a/sr"));
}
