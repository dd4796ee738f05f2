//! The `quorate` binary: see `quorate --help`.

use std::process::ExitCode;

/// Redis-like load allocates and frees small values all day; mimalloc was the second largest lever
/// measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    quorate::cli::run()
}
