//! Compares the types of this crate with those of other libraries: `cargo bench -p quorate-crdt
//! --bench peers [-- NAME…]`.
//!
//! The comparison is a crate of its own, outside the workspace, so that building or testing this
//! one does not compile five other libraries. This program runs it in its release profile.

use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peers");
    let names = std::env::args_os()
        .skip(1)
        .filter(|argument| argument != "--bench");
    let run = Command::new(cargo)
        .args(["run", "--release", "--quiet", "--manifest-path"])
        .arg(format!("{folder}/Cargo.toml"))
        .arg("--target-dir")
        .arg(format!("{folder}/../../../target/peers"))
        .arg("--")
        .args(names)
        .status();
    match run {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo does not start: {error}");
            ExitCode::FAILURE
        }
    }
}
