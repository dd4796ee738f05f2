//! The rules of the house, checked over the sources: layers, caps, names, documents.
//!
//! Each rule is a function from a [`Tree`] to its findings. The tests below apply the rules to this
//! repository; beside each rule a test applies it to a small planted violation, so that no rule can
//! pass by seeing nothing.

mod caps;
mod docs;
mod layers;
mod modules;
mod names;
mod rust;
mod tree;

use std::sync::LazyLock;

use tree::Tree;

/// One broken rule: where, and what about it.
type Finding = String;

/// Read once, because every rule looks at all of it.
static REPOSITORY: LazyLock<Tree> = LazyLock::new(|| {
    let tree = Tree::read(env!("CARGO_MANIFEST_DIR").as_ref());
    assert!(
        tree.production().count() > 10,
        "the sources of the repository were not found"
    );
    tree
});

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
    holds(&layers::edges(&REPOSITORY));
}

#[test]
fn rooms_name_only_those_they_stand_on() {
    holds(&modules::rooms(&REPOSITORY));
    holds(&modules::idle_doors(&REPOSITORY));
}

#[test]
fn machines_of_the_coordination_group_know_only_sessions() {
    holds(&modules::machines(&REPOSITORY));
}

#[test]
fn files_of_a_crate_are_in_no_circles() {
    holds(&modules::circles(&REPOSITORY));
}

#[test]
fn engines_stay_behind_their_modules() {
    holds(&layers::confined(&REPOSITORY));
}

#[test]
fn versions_stand_in_one_list() {
    holds(&layers::one_dependency_list(&REPOSITORY));
}

#[test]
fn protocol_crates_share_one_clippy_configuration() {
    holds(&layers::equal_clippy(&REPOSITORY));
}

#[test]
fn pure_crates_resolve_without_runtime_consensus_or_transport() {
    holds(&layers::pure_dependency_trees(
        env!("CARGO_MANIFEST_DIR").as_ref(),
    ));
}

#[test]
fn files_are_short() {
    holds(&caps::file_lines(&REPOSITORY));
}

#[test]
fn structs_have_few_fields() {
    holds(&caps::struct_fields(&REPOSITORY));
}

#[test]
fn functions_take_arguments_and_no_tuples_of_them() {
    holds(&caps::packed_arguments(&REPOSITORY));
}

#[test]
fn lines_fit_beside_a_diff() {
    holds(&caps::columns(&REPOSITORY));
}

#[test]
fn cores_hold_no_locks_clocks_or_random_sources() {
    holds(&caps::pure_cores(&REPOSITORY));
}

#[test]
fn nothing_is_unfinished_or_silenced() {
    holds(&caps::unfinished(&REPOSITORY));
}

#[test]
fn production_code_panics_only_for_broken_invariants() {
    holds(&caps::panics(&REPOSITORY));
}

#[test]
fn files_are_named_for_what_they_hold() {
    holds(&names::files(&REPOSITORY));
}

#[test]
fn public_names_keep_to_the_vocabulary() {
    holds(&names::vocabulary(&REPOSITORY));
}

#[test]
fn public_types_of_one_name_say_what_they_are_unlike() {
    holds(&names::namesakes(&REPOSITORY));
}

#[test]
fn every_file_says_what_it_is_for() {
    holds(&docs::purposes(&REPOSITORY));
}

#[test]
fn nothing_names_a_private_machine() {
    holds(&names::machine_paths(&REPOSITORY));
}

#[test]
fn links_between_documents_resolve() {
    holds(&docs::links(&REPOSITORY));
}

#[test]
fn code_shown_in_the_readme_is_run() {
    holds(&docs::shown_code(&REPOSITORY));
}

#[test]
fn guarantees_name_tests_that_exist() {
    holds(&docs::guarantees(&REPOSITORY));
}

#[test]
fn invariants_of_the_architecture_name_what_upholds_them() {
    holds(&docs::invariants(&REPOSITORY));
}

#[test]
fn files_that_documents_name_exist() {
    holds(&docs::named_files(&REPOSITORY));
}

#[test]
fn sizes_in_the_style_are_those_that_are_checked() {
    holds(&docs::sizes(&REPOSITORY));
}

#[test]
fn what_the_architecture_follows_exists() {
    holds(&docs::followed(&REPOSITORY));
}

#[test]
fn every_metric_is_explained_and_every_explained_metric_exists() {
    holds(&docs::metrics(&REPOSITORY));
}

#[test]
fn alerts_and_dashboards_name_metrics_that_exist() {
    holds(&docs::operated_metrics(&REPOSITORY));
}
