//! The files of the repository as the rules see them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use proc_macro2::TokenStream;

use crate::rust::{self, Items, Token};

/// What is never looked into: build output, history, editors' folders.
const SKIPPED: [&str; 4] = ["target", ".git", "node_modules", "__pycache__"];
/// What a rule can read.
const TEXT: [&str; 11] = [
    "rs", "md", "toml", "py", "mjs", "sh", "txt", "yml", "yaml", "json", "service",
];

/// All text files, by path relative to the root, with `/` between the parts.
pub(crate) struct Tree {
    files: BTreeMap<String, File>,
}

/// One file, and if it is Rust, what it says; the rest is empty for other files.
#[derive(Default)]
pub(crate) struct File {
    /// Everything.
    pub(crate) text: String,
    /// All tokens.
    pub(crate) code: Vec<Token>,
    /// The names of its test functions.
    pub(crate) tests: BTreeSet<String>,
    /// The tokens that are not for tests only.
    pub(crate) production: Vec<Token>,
    /// What those declare.
    pub(crate) items: Items,
}

impl Tree {
    /// Reads everything under `root`.
    pub(crate) fn read(root: &Path) -> Self {
        let mut found = Vec::new();
        walk(root, "", &mut found);
        Self::new(found)
    }

    /// A tree of these paths and texts. Panics if a Rust file does not parse.
    pub(crate) fn new(files: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut tests = Vec::new();
        let mut files: BTreeMap<_, _> = files
            .into_iter()
            .map(|(path, text)| {
                let file = File::parse(&path, text, &mut tests);
                (path, file)
            })
            .collect();
        for (path, file) in &mut files {
            let stem = path.trim_end_matches(".rs");
            let is_declared = |module: &String| {
                let below = stem.strip_prefix(module.as_str());
                below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            };
            if is_test_path(path) || tests.iter().any(is_declared) {
                file.production.clear();
                file.items = Items::default();
            }
        }
        Self { files }
    }

    /// A tree of one file, for planted violations.
    pub(crate) fn of(path: &str, text: &str) -> Self {
        Self::new([(path.to_owned(), text.to_owned())])
    }

    /// All files.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    /// The Rust files that hold more than tests.
    pub(crate) fn production(&self) -> impl Iterator<Item = (&str, &File)> {
        self.sources()
            .filter(|(_, file)| !file.production.is_empty())
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

impl File {
    /// Adds the modules that only tests see, as paths without `.rs`, to `tests`.
    fn parse(path: &str, text: String, tests: &mut Vec<String>) -> Self {
        if !is_rust(path) {
            return Self {
                text,
                ..Self::default()
            };
        }
        let stream: TokenStream = text
            .parse()
            .unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut modules = Vec::new();
        let production = rust::without_tests(stream.clone(), &mut modules);
        let folder = children_of(path);
        tests.extend(modules.iter().map(|module| format!("{folder}/{module}")));
        let code = rust::tokens(stream);
        Self {
            text,
            tests: rust::tests(&code),
            code,
            production: rust::tokens(production.clone()),
            items: rust::items(production).unwrap_or_else(|error| panic!("{path}: {error}")),
        }
    }
}

/// Where `wanted`, a sequence of tokens with a blank between each, begins in `code`.
pub(crate) fn positions(code: &[Token], wanted: &str) -> Vec<usize> {
    let wanted = wanted.split(' ').collect::<Vec<_>>();
    let same = |window: &[Token]| {
        window
            .iter()
            .map(|token| token.text.as_str())
            .eq(wanted.iter().copied())
    };
    let windows = code.windows(wanted.len()).enumerate();
    windows
        .filter(|(_, window)| same(window))
        .map(|(at, _)| at)
        .collect()
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
    assert_eq!(
        tree.production().map(|(path, _)| path).collect::<Vec<_>>(),
        ["a/src/d.rs", "a/src/lib.rs"]
    );
    assert!(tree.has("a/src") && tree.has("a/src/d.rs") && !tree.has("a/sr"));
}

#[test]
fn code_is_told_from_comments_and_tests() {
    let text = "/// todo!()\nfn a(x: &'a str) { \"b.unwrap()\"; r#\"c::d\"# } // e::f\n\
                /// Attributes go with their item.\n#[derive(Debug)]\n#[cfg(test)]\nstruct G;\n\
                #[cfg(test)] mod h { fn i() {} }\n#[cfg(unix)] fn j() -> k::l { m() }";
    let tree = Tree::of("src/a.rs", text);
    let file = &tree.files["src/a.rs"];
    let all = |code: &[Token]| {
        code.iter()
            .map(|token| token.text.as_str())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        all(&file.production),
        "fn a ( x : & ' a str ) { \"b.unwrap()\" ; r#\"c::d\"# } # [ cfg ( unix ) ] fn j ( ) - > k :: l { m ( ) }"
    );
    assert!(all(&file.code).contains("struct G ; # [ cfg ( test ) ] mod h {"));
    assert!(file.items.names.iter().eq(["a", "j"]));
    let lines = positions(&file.production, "k :: l")
        .into_iter()
        .map(|at| file.production[at].line);
    assert_eq!(lines.collect::<Vec<_>>(), [8]);
}
