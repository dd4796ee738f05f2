//! The scripts under `control/testdata`: inputs and what they print, as text that a person can
//! review. After a change that is meant to print something else:
//!
//! ```console
//! $ UPDATE=1 cargo test -p quorate-control --test testdata
//! $ git diff control/testdata        # every changed line is a changed decision: read it
//! ```
//!
//! `runner.rs` says how a script is written, and each of the other files which commands it may use.

#![allow(
    clippy::format_push_string,
    clippy::format_collect,
    reason = "a printed line is clearest where it is put together"
)]
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, with the script's line in the message"
)]

mod cluster;
mod coordination;
mod placement;
mod quorum;
mod runner;

use cluster::{Cluster, Shows};

#[test]
fn quorum_scripts() {
    runner::run("quorum", quorum::Counting::default, |counting, line| {
        counting.command(line)
    });
}

#[test]
fn placement_scripts() {
    runner::run("placement", placement::Places::default, |places, line| {
        places.command(line)
    });
}

#[test]
fn moves_scripts() {
    runner::run("moves", Cluster::default, |cluster, line| {
        cluster.command(line, Shows::Partitions)
    });
}

#[test]
fn membership_scripts() {
    runner::run("membership", Cluster::default, |cluster, line| {
        cluster.command(line, Shows::Members)
    });
}

#[test]
fn coordination_scripts() {
    runner::run(
        "coordination",
        coordination::Group::default,
        coordination::Group::command,
    );
}
