//! Which crate may know which, and where an engine may be touched.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use toml::{Table, Value};

use crate::Finding;
use crate::caps::{CONSENSUS, QUIC};
use crate::tree::{Tree, positions};

/// The crates of the workspace with those of them that each may use.
const LAYERS: [(&str, &[&str]); 6] = [
    ("crdt/derive", &[]),
    // Itself, with the features that its tests need.
    ("crdt", &["crdt", "crdt-derive"]),
    ("control", &["crdt"]),
    ("gossip", &["crdt"]),
    ("dynamo", &["crdt", "control"]),
    (".", &["crdt", "control", "gossip", "dynamo"]),
];
/// Engines, and the only folders of the protocol crates that may name them.
const CONFINED: [(&str, &[&str]); 5] = [
    ("openraft", &[CONSENSUS]),
    ("quinn", &[QUIC]),
    ("rustls", &[QUIC]),
    ("dashmap", &[QUIC]),
    ("tokio", &[CONSENSUS, QUIC]),
];
/// What the crates without I/O must not resolve to, whatever their dependencies choose.
const IMPURE: [&str; 10] = [
    "tokio",
    "openraft",
    "quinn",
    "quinn-proto",
    "rustls",
    "mio",
    "socket2",
    "fjall",
    "sled",
    "async-std",
];
/// The crates without I/O, as they are built when used alone.
const PURE: [&str; 4] = [
    "quorate-crdt",
    "quorate-dynamo",
    "quorate-control",
    "quorate-gossip",
];

/// Dependencies between the crates of the workspace that the layers do not allow.
pub(crate) fn edges(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (member, allowed) in LAYERS {
        for (table, name, _) in dependencies(&manifest(tree, member)) {
            let Some(target) = name.strip_prefix("quorate-") else {
                continue;
            };
            if !allowed.contains(&target) {
                findings.push(format!("{}: {table} on {name}", manifest_path(member)));
            }
        }
    }
    findings
}

/// Places outside an engine's own module that name it.
pub(crate) fn confined(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, file) in tree.production().filter(|(path, _)| path.contains("/src/")) {
        for (engine, homes) in CONFINED {
            if !homes.iter().any(|home| path.starts_with(home)) {
                let found = positions(&file.production, &format!("{engine} ::")).into_iter();
                findings.extend(
                    found.map(|at| format!("{path}:{}: {engine}", file.production[at].line)),
                );
            }
        }
    }
    findings
}

/// Dependencies that say anything but `workspace = true` and what they add to it.
pub(crate) fn one_dependency_list(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (member, _) in LAYERS {
        for (table, name, value) in dependencies(&manifest(tree, member)) {
            let inherited = value.get("workspace").and_then(Value::as_bool) == Some(true);
            let own = ["version", "path", "git", "registry"]
                .iter()
                .any(|key| value.get(key).is_some());
            if !inherited || own {
                findings.push(format!(
                    "{}: {table}.{name} is not inherited from the workspace",
                    manifest_path(member)
                ));
            }
        }
    }
    findings
}

/// Differences between the `clippy.toml` of the protocol crates, and keys of the root's that they
/// lack: a member's file replaces the root's.
pub(crate) fn equal_clippy(tree: &Tree) -> Vec<Finding> {
    let read = |path: &str| tree.text(path).parse::<Table>().unwrap_or_default();
    let (root, first) = (read("clippy.toml"), read("crdt/clippy.toml"));
    let mut findings = Vec::new();
    for required in [
        "too-many-lines-threshold",
        "too-many-arguments-threshold",
        "disallowed-methods",
        "disallowed-types",
    ] {
        if !first.contains_key(required) {
            findings.push(format!("crdt/clippy.toml: no {required}"));
        }
    }
    for (member, _) in &LAYERS[1..5] {
        let path = format!("{member}/clippy.toml");
        let own = read(&path);
        let keys = own
            .keys()
            .chain(first.keys())
            .chain(root.keys())
            .collect::<BTreeSet<_>>();
        let differs = |key: &str| {
            own.get(key) != first.get(key)
                || root
                    .get(key)
                    .is_some_and(|value| own.get(key) != Some(value))
        };
        findings.extend(
            keys.into_iter()
                .filter(|key| differs(key))
                .map(|key| format!("{path}: {key} differs")),
        );
    }
    findings
}

/// Runtimes, engines and transports in what the pure crates resolve to. Asks cargo, without
/// network.
pub(crate) fn pure_dependency_trees(root: &Path) -> Vec<Finding> {
    let resolved = |package: &str| {
        let output = Command::new(env!("CARGO"))
            .args([
                "tree",
                "--offline",
                "--locked",
                "--edges",
                "normal",
                "--prefix",
                "none",
                "--format",
                "{p}",
                "--package",
                package,
            ])
            .current_dir(root)
            .output()
            .expect("cargo runs");
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    PURE.iter()
        .flat_map(|package| impure(package, &resolved(package)))
        .collect()
}

/// What must not be in `resolved`, one package per line as `name vVERSION …`.
fn impure(package: &str, resolved: &str) -> Vec<Finding> {
    let names = resolved
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect::<BTreeSet<_>>();
    if !names.contains(package) {
        return vec![format!("{package}: not in its own dependency tree")];
    }
    IMPURE
        .iter()
        .filter(|name| names.contains(*name))
        .map(|name| format!("{package} resolves to {name}"))
        .collect()
}

fn manifest_path(member: &str) -> String {
    if member == "." {
        "Cargo.toml".to_owned()
    } else {
        format!("{member}/Cargo.toml")
    }
}

fn manifest(tree: &Tree, member: &str) -> Table {
    tree.text(&manifest_path(member))
        .parse()
        .unwrap_or_default()
}

/// All dependencies of a manifest: which table, which name, what it says.
fn dependencies(manifest: &Table) -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    let targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table);
    for tables in targets.chain([manifest]) {
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let entries = tables
                .get(kind)
                .and_then(Value::as_table)
                .into_iter()
                .flatten();
            found.extend(
                entries.map(|(name, value)| (kind.to_owned(), name.clone(), value.clone())),
            );
        }
    }
    found
}

#[test]
fn an_import_against_the_layers_is_found() {
    let found = |path: &str, text: &str| edges(&Tree::of(path, text));
    assert_eq!(
        found(
            "gossip/Cargo.toml",
            "[dependencies]\nquorate-control.workspace = true"
        ),
        ["gossip/Cargo.toml: dependencies on quorate-control"]
    );
    assert_eq!(
        found(
            "dynamo/Cargo.toml",
            "[dev-dependencies]\nquorate-gossip.workspace = true"
        )
        .len(),
        1
    );
    assert_eq!(
        found(
            "dynamo/Cargo.toml",
            "[dependencies]\nquorate-control.workspace = true"
        ),
        [""; 0]
    );
}

#[test]
fn an_engine_outside_its_module_is_found() {
    let found = |path: &str| confined(&Tree::of(path, "use openraft::Raft;"));
    assert_eq!(
        found("control/src/state.rs"),
        ["control/src/state.rs:1: openraft"]
    );
    assert_eq!(found("control/src/consensus/network.rs"), [""; 0]);
}

#[test]
fn a_version_outside_the_list_is_found() {
    let found = |dependency: &str| {
        one_dependency_list(&Tree::of(
            "crdt/Cargo.toml",
            &format!("[dependencies]\n{dependency}"),
        ))
        .len()
    };
    for own in [
        "serde = \"1\"",
        "serde = { path = \"../x\" }",
        "serde = { workspace = true, version = \"1\" }",
    ] {
        assert_eq!(found(own), 1, "{own}");
    }
    assert_eq!(
        found("serde = { workspace = true, features = [\"rc\"] }\nbytes.workspace = true"),
        0
    );
}

#[test]
fn a_diverging_clippy_configuration_is_found() {
    let full = "too-many-lines-threshold = 70\ntoo-many-arguments-threshold = 5\ndisallowed-methods = []\ndisallowed-types = []\n";
    let tree = |gossip: &str| {
        let files = [
            ("clippy.toml", "too-many-lines-threshold = 70"),
            ("crdt/clippy.toml", full),
            ("control/clippy.toml", full),
        ];
        let more = [("gossip/clippy.toml", gossip), ("dynamo/clippy.toml", full)];
        Tree::new(
            files
                .into_iter()
                .chain(more)
                .map(|(path, text)| (path.to_owned(), text.to_owned())),
        )
    };
    assert_eq!(equal_clippy(&tree(full)), [""; 0]);
    assert_eq!(
        equal_clippy(&tree(&full.replace("70", "90"))),
        ["gossip/clippy.toml: too-many-lines-threshold differs"]
    );
    assert_eq!(
        equal_clippy(&tree(&full.replace("disallowed-types = []", ""))),
        ["gossip/clippy.toml: disallowed-types differs"]
    );
}

#[test]
fn a_runtime_in_a_pure_tree_is_found() {
    let tree = "quorate-dynamo v0.1.0 (/x)\nbytes v1.0.0\ntokio v1.40.0\n";
    assert_eq!(
        impure("quorate-dynamo", tree),
        ["quorate-dynamo resolves to tokio"]
    );
    assert_eq!(
        impure("quorate-dynamo", "error"),
        ["quorate-dynamo: not in its own dependency tree"]
    );
}
