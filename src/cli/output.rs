//! Prints results: data to stdout, notes to stderr.

use std::fmt;
use std::io::{self, Write as _};

use clap::ValueEnum;
use serde_json::Value;

/// How to print a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Table,
    /// For programs: one stable JSON document.
    Json,
}

/// Prints one line of data.
pub(super) fn line(text: impl fmt::Display) -> io::Result<()> {
    bytes(text.to_string().as_bytes())
}

/// Prints data unchanged, and a line end.
pub(super) fn bytes(data: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(data)?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}

/// Prints a line for the reader at the terminal. A closed stderr is not an error.
pub(super) fn note(text: fmt::Arguments<'_>) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Bytes in a JSON document: as text if they are UTF-8, otherwise as base64 under another name, so
/// that no byte is lost.
pub(super) fn value_field(data: &[u8]) -> (&'static str, Value) {
    use base64::Engine as _;
    match std::str::from_utf8(data) {
        Ok(text) => ("value", Value::from(text)),
        Err(_not_text) => (
            "value_base64",
            Value::from(base64::engine::general_purpose::STANDARD.encode(data)),
        ),
    }
}
