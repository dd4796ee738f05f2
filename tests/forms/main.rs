//! Bytes that other versions of the program must be able to tell apart: what nodes say to each
//! other, and what lies on their disks. Each form is written down in a file whose name has its
//! version. A form that changes without a new version fails here, and not in somebody's cluster.
//!
//! To change a form: raise `VERSION` in `gossip/src/wire.rs` and `FORMAT_NOW` in
//! `src/node/disk.rs`, then `UPDATE=1 cargo test --test forms`, and remove the file of the version
//! before.

mod messages;
mod requests;
mod stored;

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use quorate_gossip::wire::{self, VERSION};
use serde::Serialize;

/// One form after the other: a name and the bytes.
#[derive(Default)]
struct Forms(String);

impl Forms {
    fn add(&mut self, name: &str, bytes: &[u8]) {
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").expect("invariant: a string takes all that is written");
            hex
        });
        let before = self
            .0
            .lines()
            .any(|line| line.split(' ').next() == Some(name));
        assert!(!before, "{name} is there twice");
        writeln!(self.0, "{name} {hex}").expect("invariant: a string takes all that is written");
    }

    /// A message as it goes over the wire.
    fn message<T: Serialize>(&mut self, name: &str, message: &T) {
        self.add(name, &wire::encode(message));
    }

    /// Compares with what was written down for this version.
    fn check(&self, what: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("tests/forms")
            .join(format!("{what}-{VERSION}.txt"));
        let written = match fs::read_to_string(&path) {
            Ok(written) => written,
            Err(_not_there) if std::env::var_os("UPDATE").is_some() => {
                fs::write(&path, &self.0).expect("the file can be written");
                return;
            }
            Err(error) => panic!("{}: {error}; write it with UPDATE=1", path.display()),
        };
        let changed: Vec<&str> = self
            .0
            .lines()
            .filter(|line| !written.lines().any(|held| held == *line))
            .map(|line| line.split(' ').next().unwrap_or(line))
            .collect();
        assert!(
            written == self.0,
            "these have another form than version {VERSION} of {what} has, so raise the version: {changed:?}"
        );
    }
}

/// Only the present version is written down: the others are in the history of the repository.
#[test]
fn only_the_forms_of_this_version_are_written_down() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/forms");
    let files = fs::read_dir(folder).expect("the folder is there");
    for file in files {
        let name = file.expect("the folder can be read").file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".txt") {
            assert!(
                name.ends_with(&format!("-{VERSION}.txt")),
                "{name} is of another version"
            );
        }
    }
}
