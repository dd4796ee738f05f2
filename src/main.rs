//! The `quorate` binary: see `quorate --help`.

use std::process::ExitCode;

// Redis-like load allocates and frees small values all day; mimalloc was the second largest lever
// measured. It replaces `malloc` itself: called as a Rust allocator it is told an alignment each
// time, and takes a longer way.
use mimalloc as _;

fn main() -> ExitCode {
    quorate::cli::run()
}
