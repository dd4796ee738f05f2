//! The rules of the house, checked over the sources: layers, caps, names, documents.
//!
//! Each rule is a function from a [`Tree`] to its findings. The tests below apply the rules to this
//! repository; beside each rule a test applies it to a small planted violation, so that no rule can
//! pass by seeing nothing.

mod caps;
mod docs;
mod layers;
mod lexer;
mod names;
mod tree;

use tree::Tree;

/// One broken rule: where, and what about it.
type Finding = String;

fn repository() -> Tree {
    let tree = Tree::read(env!("CARGO_MANIFEST_DIR").as_ref());
    assert!(
        tree.sources().count() > 10,
        "the sources of the repository were not found"
    );
    tree
}

#[track_caller]
fn holds(findings: &[Finding]) {
    assert!(
        findings.is_empty(),
        "{} broken:\n  {}",
        findings.len(),
        findings.join("\n  ")
    );
}

#[test]
fn imports_run_one_way() {
    holds(&layers::edges(&repository()));
}

#[test]
fn engines_stay_behind_their_modules() {
    holds(&layers::confined(&repository()));
}

#[test]
fn versions_stand_in_one_list() {
    holds(&layers::one_dependency_list(&repository()));
}

#[test]
fn protocol_crates_share_one_clippy_configuration() {
    holds(&layers::equal_clippy(&repository()));
}

#[test]
fn pure_crates_resolve_without_runtime_consensus_or_transport() {
    holds(&layers::pure_dependency_trees(
        env!("CARGO_MANIFEST_DIR").as_ref(),
    ));
}

#[test]
fn files_are_short() {
    holds(&caps::file_lines(&repository()));
}

#[test]
fn structs_have_few_fields() {
    holds(&caps::struct_fields(&repository()));
}

#[test]
fn cores_hold_no_locks_clocks_or_random_sources() {
    holds(&caps::pure_cores(&repository()));
}

#[test]
fn nothing_is_unfinished_or_silenced() {
    holds(&caps::unfinished(&repository()));
}

#[test]
fn production_code_panics_only_for_broken_invariants() {
    holds(&caps::panics(&repository()));
}

#[test]
fn files_are_named_for_what_they_hold() {
    holds(&names::files(&repository()));
}

#[test]
fn public_names_keep_to_the_vocabulary() {
    holds(&names::vocabulary(&repository()));
}

#[test]
fn nothing_names_a_private_machine() {
    holds(&names::machine_paths(&repository()));
}

#[test]
fn links_between_documents_resolve() {
    holds(&docs::links(&repository()));
}

#[test]
fn code_shown_in_the_readme_is_run() {
    holds(&docs::shown_code(&repository()));
}

#[test]
fn guarantees_name_tests_that_exist() {
    holds(&docs::guarantees(&repository()));
}

#[test]
fn invariants_of_the_architecture_name_what_upholds_them() {
    holds(&docs::invariants(&repository()));
}

#[test]
fn every_metric_is_explained_and_every_explained_metric_exists() {
    holds(&docs::metrics(&repository()));
}
