//! What the documents promise is there.

use std::collections::BTreeSet;

use toml::{Table, Value};

use crate::Finding;
use crate::caps::{COLUMNS_MAX, FILE_LINES_MAX, STRUCT_FIELDS_MAX};
use crate::tree::{Tree, is_test_path};

const GUARANTEES: &str = "docs/consistency.md";
/// The page of what is promised about locks.
const COORDINATION: &str = "docs/coordination.md";
const STYLE: &str = "docs/style.md";
const ARCHITECTURE: &str = "docs/architecture.md";
/// Sections of the architecture that lead through the code.
const FOLLOWED: [&str; 2] = ["Follow a write", "Follow a read"];
const METRICS: &str = "docs/metrics.md";

/// Relative links to files that do not exist, and to headings that do not.
pub(crate) fn links(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in tree
        .all()
        .filter(|(path, _)| path.strip_suffix(".md").is_some())
    {
        for target in outside_code(&file.text)
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            // A path of Rust, in a chapter of a crate's documentation, is checked by rustdoc.
            if target.contains("://")
                || target.starts_with("mailto:")
                || target.starts_with("crate::")
            {
                continue;
            }
            let (file_part, heading) = target.split_once('#').unwrap_or((target, ""));
            let resolved = if file_part.is_empty() {
                path.to_owned()
            } else {
                resolve(path, file_part)
            };
            let heading_exists = heading.is_empty()
                || tree
                    .text(&resolved)
                    .lines()
                    .any(|line| anchor(line).as_deref() == Some(heading));
            if !tree.has(&resolved) || !heading_exists {
                findings.push(format!("{path}: link to {target}"));
            }
        }
    }
    findings
}

/// Rust in the README that stands in no example, where it would be compiled and run.
pub(crate) fn shown_code(tree: &Tree) -> Vec<Finding> {
    let joined = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let examples = tree
        .sources()
        .filter(|(path, _)| path.starts_with("examples/"))
        .map(|(_, file)| joined(&file.text))
        .collect::<Vec<_>>();
    let blocks = tree
        .text("README.md")
        .split("```rust\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let unknown = blocks.filter(|block| {
        !examples
            .iter()
            .any(|example| example.contains(&joined(block)))
    });
    unknown
        .map(|block| {
            format!(
                "README.md: in no example: {}",
                block.lines().next().unwrap_or_default()
            )
        })
        .collect()
}

/// Guarantees that name no test, or one that does not exist.
pub(crate) fn guarantees(tree: &Tree) -> Vec<Finding> {
    let is_there = |page: &&str| *page == GUARANTEES || !tree.text(page).is_empty();
    let pages = [GUARANTEES, COORDINATION].into_iter().filter(is_there);
    let exists = |tree: &Tree, name: &str| is_test(tree, name);
    pages
        .flat_map(|page| backed(tree, page, "**[guarantee]**", "test:", &exists))
        .collect()
}

/// Invariants of the architecture that name no lint or test, or one that does not exist.
pub(crate) fn invariants(tree: &Tree) -> Vec<Finding> {
    let upheld = |tree: &Tree, name: &str| {
        let lint = ["Cargo.toml", "clippy.toml", "crdt/clippy.toml"]
            .iter()
            .any(|path| tree.text(path).contains(name));
        lint || is_test(tree, name)
    };
    backed(
        tree,
        ARCHITECTURE,
        "**Architecture Invariant:**",
        "Upheld by:",
        &upheld,
    )
}

/// Metrics that the code registers and the page does not explain, and those that the page explains
/// and the code does not have.
pub(crate) fn metrics(tree: &Tree) -> Vec<Finding> {
    let code = tree
        .sources()
        .filter(|(path, _)| path.starts_with("src/") && !is_test_path(path));
    let registered: BTreeSet<&str> = code
        .flat_map(|(_, file)| metric_names(&file.text, '"'))
        .collect();
    // A name begins a row of a table. The library writes the ending of counters itself.
    let rows = tree
        .text(METRICS)
        .lines()
        .filter_map(|line| line.strip_prefix("| "));
    let explained: BTreeSet<&str> = rows
        .filter_map(|row| metric_names(row.split('|').next().unwrap_or_default(), '`').next())
        .map(|name| name.strip_suffix("_total").unwrap_or(name))
        .collect();
    let silent = registered
        .difference(&explained)
        .map(|name| format!("{METRICS}: {name} is not explained"));
    let gone = explained
        .difference(&registered)
        .map(|name| format!("{METRICS}: no code has {name}"));
    let nothing = registered
        .is_empty()
        .then(|| "src: no metric was found".to_owned());
    silent.chain(gone).chain(nothing).collect()
}

/// Series that an alert or a dashboard names and the page of metrics does not explain.
pub(crate) fn operated_metrics(tree: &Tree) -> Vec<Finding> {
    let explained: BTreeSet<&str> = tree.text(METRICS).split('`').collect();
    let series = |text: &'_ str| -> Vec<String> {
        text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'))
            .filter(|word| word.starts_with("quorate_") || word.starts_with("process_"))
            .map(|word| {
                let mut histogram = ["_bucket", "_sum", "_count"].into_iter();
                let family = histogram.find_map(|end| word.strip_suffix(end));
                family.unwrap_or(word).to_owned()
            })
            .collect()
    };
    let mut named = 0;
    let mut findings = Vec::new();
    for (path, file) in tree.all().filter(|(path, _)| path.starts_with("ops/")) {
        for name in series(&file.text) {
            named += 1;
            if !explained.contains(name.as_str()) {
                findings.push(format!("{path}: no metric is called {name}"));
            }
        }
    }
    findings.extend((named == 0).then(|| "ops: no metric was found".to_owned()));
    findings
}

/// Files of which the first paragraph does not say what they are for: it is not there, or has no
/// three words besides articles and the name of the file.
pub(crate) fn purposes(tree: &Tree) -> Vec<Finding> {
    let bare = |word: &str| word.to_lowercase().trim_end_matches('s').to_owned();
    let says_something = |path: &str, text: &str| {
        let stem = bare(
            path.rsplit('/')
                .next()
                .unwrap_or(path)
                .trim_end_matches(".rs"),
        );
        let paragraph = text.lines().map_while(|line| line.strip_prefix("//! "));
        let words = paragraph
            .flat_map(|line| line.split(|c: char| !c.is_alphanumeric()))
            .map(bare);
        let telling = words.filter(|word| !["", "a", "an", "the", &stem].contains(&word.as_str()));
        telling.count() >= 3
    };
    tree.production()
        .filter(|(path, file)| !says_something(path, &file.text))
        .map(|(path, _)| format!("{path}: the first line does not say what it is for"))
        .collect()
}

/// What "Follow a write" and "Follow a read" name in backticks and the sources do not have: paths
/// of files and folders, `Type::function` and `module::function`, and types.
pub(crate) fn followed(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for heading in FOLLOWED {
        let quoted = section(tree.text(ARCHITECTURE), heading)
            .split('`')
            .skip(1)
            .step_by(2);
        let named = quoted
            .filter(|name| is_path(name) || is_name(name))
            .collect::<Vec<_>>();
        if named.is_empty() {
            findings.push(format!(
                "{ARCHITECTURE}: {heading} names nothing in the sources"
            ));
        }
        let missing = named
            .iter()
            .filter(|name| !is_file(tree, name) && !is_declared(tree, name));
        findings.extend(
            missing.map(|name| format!("{ARCHITECTURE}: {heading}: no {name} in the sources")),
        );
    }
    findings
}

/// Rust files that a document names in backticks and that do not exist. Histories may name what is
/// gone: the changelogs and the decisions.
pub(crate) fn named_files(tree: &Tree) -> Vec<Finding> {
    let is_current = |path: &str| {
        path.strip_suffix(".md").is_some()
            && !path.contains("CHANGELOG")
            && !path.contains("docs/adr/")
    };
    let mut findings = Vec::new();
    for (path, file) in tree.all().filter(|(path, _)| is_current(path)) {
        for line in file.text.lines() {
            let quoted = line.split('`').skip(1).step_by(2);
            let missing = quoted.filter(|name| {
                is_path(name) && name.strip_suffix(".rs").is_some() && !is_file(tree, name)
            });
            findings.extend(missing.map(|name| format!("{path}: no file {name}")));
        }
    }
    findings
}

/// Rows of the table of sizes that say another number than what is checked.
pub(crate) fn sizes(tree: &Tree) -> Vec<Finding> {
    let set = |path: &str, key: &str| {
        let table = tree.text(path).parse::<Table>().unwrap_or_default();
        let value = table.get(key).and_then(Value::as_integer);
        value.unwrap_or_default().to_string()
    };
    let rows = [
        ("columns of a line", COLUMNS_MAX.to_string()),
        ("columns of a line", set("rustfmt.toml", "max_width")),
        (
            "lines of a function",
            set("clippy.toml", "too-many-lines-threshold"),
        ),
        (
            "arguments of a function",
            set("clippy.toml", "too-many-arguments-threshold"),
        ),
        ("fields of a struct", STRUCT_FIELDS_MAX.to_string()),
        ("lines of code in a file", FILE_LINES_MAX.to_string()),
    ];
    let missing = rows.into_iter().filter_map(|(of, most)| {
        let row = format!("| {of} | {most} |");
        (!tree.text(STYLE).contains(&row)).then(|| format!("{STYLE}: no row {row}"))
    });
    missing.collect()
}

/// Whether it looks like the path of a file or a folder.
fn is_path(name: &str) -> bool {
    name.contains('/') && !name.contains([' ', '{', '…', ':', '*', '<']) && !name.starts_with('/')
}

/// Whether it looks like something that Rust code declares.
fn is_name(name: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    name.contains("::")
        || (name.chars().all(is_word)
            && name.starts_with(char::is_uppercase)
            && name.contains(char::is_lowercase))
}

/// The text under the heading with this title, its sections below included.
fn section<'a>(text: &'a str, title: &str) -> &'a str {
    let level = |line: &str| line.len() - line.trim_start_matches('#').len();
    let is_heading = |line: &str| level(line) > 0 && line.trim_start_matches('#').trim() == title;
    let Some(heading) = text.lines().find(|line| is_heading(line)) else {
        return "";
    };
    let behind = text.split_once(heading).map_or("", |(_, behind)| behind);
    let next = behind
        .lines()
        .find(|line| (1..=level(heading)).contains(&level(line)));
    next.and_then(|next| behind.split_once(&format!("\n{next}")))
        .map_or(behind, |(section, _)| section)
}

/// Whether there is a file or a folder whose path ends in `name`.
fn is_file(tree: &Tree, name: &str) -> bool {
    let (file, folder) = (
        format!("/{name}"),
        format!("/{}/", name.trim_end_matches('/')),
    );
    tree.all().any(|(path, _)| {
        let path = format!("/{path}");
        path.ends_with(&file) || path.contains(&folder)
    })
}

/// Whether the sources declare `name`: a type, or something in a type or a module.
fn is_declared(tree: &Tree, name: &str) -> bool {
    let name = name.split(['(', '<']).next().unwrap_or(name);
    let (owner, item) = name.rsplit_once("::").unwrap_or(("", name));
    let owner = owner.rsplit("::").next().unwrap_or_default();
    tree.production().any(|(path, file)| {
        let in_module = path.rsplit('/').next() == Some(&format!("{owner}.rs"));
        let names = &file.items.names;
        let is_alone = in_module || owner.is_empty();
        names.contains(&format!("{owner}::{item}")) || (is_alone && names.contains(item))
    })
}

/// Names of metrics that stand alone between two `quote`s.
fn metric_names(text: &str, quote: char) -> impl Iterator<Item = &str> {
    let name = |part: &&str| {
        part.starts_with("quorate_") && part.chars().all(|c| c.is_ascii_lowercase() || c == '_')
    };
    text.split(quote).filter(name)
}

/// Paragraphs of the document at `path` with `mark` that do not end in `label` and names in
/// backticks which all satisfy `exists`.
fn backed(
    tree: &Tree,
    path: &str,
    mark: &str,
    label: &str,
    exists: &dyn Fn(&Tree, &str) -> bool,
) -> Vec<Finding> {
    let text = tree.text(path);
    let marked = text
        .split("\n\n")
        .flat_map(|paragraph| paragraph.split("\n- "))
        .filter(|paragraph| paragraph.contains(mark));
    let mut findings = Vec::new();
    let mut seen = 0;
    for paragraph in marked {
        seen += 1;
        let title = paragraph.lines().next().unwrap_or_default();
        let names = paragraph
            .rsplit_once(label)
            .map(|(_, names)| names.split('`').skip(1).step_by(2).collect::<Vec<_>>());
        match names.as_deref() {
            None | Some([]) => findings.push(format!("{path}: nothing behind: {title}")),
            Some(names) => {
                let missing = names.iter().filter(|name| !exists(tree, name));
                findings.extend(
                    missing.map(|name| format!("{path}: {name} does not exist, behind: {title}")),
                );
            }
        }
    }
    if seen == 0 {
        findings.push(format!("{path}: no paragraph has {mark}"));
    }
    findings
}

/// Whether `name` is a test function in Rust, or a check of the acceptance run.
fn is_test(tree: &Tree, name: &str) -> bool {
    let name = name.rsplit("::").next().unwrap_or(name);
    let rust = tree.sources().any(|(_, file)| file.tests.contains(name));
    let check = format!("def {name}(");
    rust || tree.all().any(|(path, file)| {
        path.starts_with(".ci/acceptance/")
            && name.starts_with("check_")
            && file.text.contains(&check)
    })
}

/// Markdown without fenced blocks and code spans, in which `](` means nothing.
fn outside_code(text: &str) -> String {
    let mut fenced = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            kept.extend(line.split('`').step_by(2));
            kept.push('\n');
        }
    }
    kept
}

/// The anchor of a heading line, as forges make it.
fn anchor(line: &str) -> Option<String> {
    let title = line.strip_prefix('#')?.trim_start_matches('#').trim();
    let kept = title
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .collect::<String>();
    Some(kept.replace(' ', "-"))
}

/// `target` as seen from the document at `path`.
fn resolve(path: &str, target: &str) -> String {
    let mut parts = path.split('/').collect::<Vec<_>>();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => drop(parts.pop()),
            name => parts.push(name),
        }
    }
    parts.join("/")
}

#[test]
fn a_broken_link_is_found() {
    let tree = |text: &str| {
        Tree::new([
            ("docs/a.md".to_owned(), text.to_owned()),
            ("README.md".to_owned(), "# A B".to_owned()),
        ])
    };
    let found = |text: &str| links(&tree(text));
    assert_eq!(found("see [x](b.md)"), ["docs/a.md: link to b.md"]);
    assert_eq!(
        found("see [x](../README.md#c)"),
        ["docs/a.md: link to ../README.md#c"]
    );
    assert_eq!(
        found(
            "[x](../README.md#a-b) [y](https://example.org/z) `[z](none.md)`\n```\n[q](none.md)\n```\n"
        ),
        [""; 0]
    );
}

#[test]
fn shown_code_that_is_not_run_is_found() {
    let found = |block: &str| {
        let example = "fn main() {\n    let a = 1;\n    drop(a);\n}\n".to_owned();
        shown_code(&Tree::new([
            ("README.md".to_owned(), format!("x\n```rust\n{block}```\n")),
            ("examples/a.rs".to_owned(), example),
        ]))
    };
    assert_eq!(found("let a = 1;\ndrop(a);\n"), [""; 0]);
    assert_eq!(
        found("let a = 2;\n"),
        ["README.md: in no example: let a = 2;"]
    );
}

#[test]
fn a_guarantee_without_a_test_is_found() {
    let tree = |line: &str| {
        Tree::new([
            (GUARANTEES.to_owned(), line.to_owned()),
            (
                "tests/a.rs".to_owned(),
                "fn not_a_test() {}\n#[test]\nfn holds() {}\n#[tokio::test(start_paused = true)]\nasync fn waits() {}".to_owned(),
            ),
            (".ci/acceptance/b.py".to_owned(), "def check_real(cluster):".to_owned()),
        ])
    };
    let found = |line: &str| guarantees(&tree(line)).len();
    for broken in [
        "**[guarantee]** x",
        "**[guarantee]** x — test: `gone`",
        "**[guarantee]** x — test: `not_a_test`",
        "nothing at all",
    ] {
        assert_eq!(found(broken), 1, "{broken}");
    }
    assert_eq!(
        found("**[guarantee]** x\nmore — test: `holds`, `waits`\n, `check_real`"),
        0
    );
}

#[test]
fn an_invariant_without_a_guard_is_found() {
    let tree = |text: &str| {
        Tree::new([
            (ARCHITECTURE.to_owned(), text.to_owned()),
            ("Cargo.toml".to_owned(), "unsafe_code = 1".to_owned()),
        ])
    };
    assert_eq!(
        invariants(&tree(
            "**Architecture Invariant:** x Upheld by: `unsafe_code`"
        )),
        [""; 0]
    );
    assert_eq!(
        invariants(&tree("**Architecture Invariant:** x Upheld by: `wishes`")).len(),
        1
    );
}

#[test]
fn a_file_that_does_not_say_what_it_is_for_is_found() {
    let found = |text: &str| purposes(&Tree::of("src/flags.rs", text)).len();
    for silent in [
        "fn a() {}",
        "//! Flags.\nfn a() {}",
        "//!\n//! The flags of a row.\nfn a() {}",
    ] {
        assert_eq!(found(silent), 1, "{silent}");
    }
    assert_eq!(
        found("//! A flag: enabled as long as\n//! anyone wants it.\nfn a() {}"),
        0
    );
    assert_eq!(purposes(&Tree::of("src/a/tests.rs", "fn a() {}")), [""; 0]);
}

#[test]
fn a_hop_that_does_not_exist_is_found() {
    let found = |read: &str| {
        let page = format!(
            "## Follow a write\n\n`Dynamo::on_write`\n\n## Follow a read\n\n{read}\n\n## Time\n\n`gone::now`\n"
        );
        let code = "impl Dynamo { fn on_write(&self) {} }\nfn plan() {}\nenum Step { First }";
        followed(&Tree::new([
            (ARCHITECTURE.to_owned(), page),
            ("dynamo/src/core/write.rs".to_owned(), code.to_owned()),
        ]))
    };
    let real = "`QUORUM`, `CL LOCAL_QUORUM SET k v`, `+OK`, `core/write.rs`, `dynamo/src`, \
                `write::plan`, `core::write::plan()` and\n### More\n`Step::First`, `Step`";
    assert_eq!(found(real), [""; 0]);
    for gone in [
        "`Dynamo::on_read`",
        "`read::plan`",
        "`ore/write.rs`",
        "`src/node`",
        "`Ledger`",
        "`k`",
    ] {
        assert_eq!(found(gone).len(), 1, "{gone}");
    }
}

#[test]
fn a_document_that_names_a_file_which_is_gone_is_found() {
    let found = |path: &str, text: &str| {
        let code = ("src/sim/plan.rs".to_owned(), String::new());
        named_files(&Tree::new([code, (path.to_owned(), text.to_owned())])).len()
    };
    assert_eq!(
        found("CONTRIBUTING.md", "see `src/sim/draw.rs` and `sim/plan.rs`"),
        1
    );
    assert_eq!(
        found(
            "CONTRIBUTING.md",
            "see `src/sim/plan.rs`, `resp/*.rs` and `src/sim`"
        ),
        0
    );
    assert_eq!(found("docs/adr/0001.md", "was `src/sim/draw.rs`"), 0);
}

#[test]
fn a_size_that_the_style_does_not_say_is_found() {
    let row = |of: &str, most: usize| format!("| {of} | {most} | tidy |\n");
    let found = |arguments: usize| {
        let style = row("columns of a line", COLUMNS_MAX)
            + &row("lines of a function", 70)
            + &row("arguments of a function", arguments)
            + &row("fields of a struct", STRUCT_FIELDS_MAX)
            + &row("lines of code in a file", FILE_LINES_MAX);
        let clippy = "too-many-lines-threshold = 70\ntoo-many-arguments-threshold = 6";
        sizes(&Tree::new([
            (STYLE.to_owned(), style),
            ("clippy.toml".to_owned(), clippy.to_owned()),
            (
                "rustfmt.toml".to_owned(),
                format!("max_width = {COLUMNS_MAX}"),
            ),
        ]))
    };
    assert_eq!(found(6), [""; 0]);
    assert_eq!(
        found(7),
        ["docs/style.md: no row | arguments of a function | 6 |"]
    );
}

#[test]
fn a_metric_without_an_explanation_and_one_without_code_are_found() {
    let tree = |code: &str, page: &str| {
        Tree::new([
            ("src/meter.rs".to_owned(), code.to_owned()),
            (METRICS.to_owned(), page.to_owned()),
        ])
    };
    let code = "fn a() { register(\"quorate_rows\", \"Rows\"); register(\"quorate_streams\", \"Streams\"); }";
    let page = "| metric |\n|---|\n| `quorate_rows` | see `quorate_other` |\n| `quorate_streams_total` | x |\n";
    assert_eq!(metrics(&tree(code, page)), [""; 0]);
    assert_eq!(
        metrics(&tree(code, &page.replace("_rows", "_keys"))).len(),
        2
    );
    assert_eq!(
        metrics(&tree(&code.replace("streams", "hints"), page)).len(),
        2
    );
    assert_eq!(
        metrics(&tree("fn a() {}", "")),
        ["src: no metric was found"]
    );
}

#[test]
fn an_alert_on_a_metric_that_does_not_exist_is_found() {
    let found = |rule: &str| {
        operated_metrics(&Tree::new([
            ("ops/alerts.yml".to_owned(), rule.to_owned()),
            (
                METRICS.to_owned(),
                "| `quorate_rows` |\n| `quorate_wait_seconds` |".to_owned(),
            ),
        ]))
    };
    assert_eq!(
        found("sum(quorate_rows) / rate(quorate_wait_seconds_bucket[5m])"),
        [""; 0]
    );
    assert_eq!(
        found("quorate_keys > 1 or quorate_rows"),
        ["ops/alerts.yml: no metric is called quorate_keys"]
    );
    assert_eq!(found("up"), ["ops: no metric was found"]);
}
