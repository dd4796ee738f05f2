//! Compares the types of this crate with those of other libraries, in one run: `cargo bench -p
//! quorate-crdt --bench peers [-- NAME…]`.
//!
//! Prints one line per gate (`gate NAME ours=… peer=… ratio=… target=… met|short`) and a table of
//! further comparisons. Times are CPU times of the thread, as medians of interleaved rounds; a
//! ratio is one of medians. Every allocation is counted, which costs both sides two uncontended
//! atomic additions each. Arguments choose among the parts `set`, `counter`, `text` and
//! `documents`.

mod counter;
mod documents;
mod measure;
mod set;
mod text;
#[path = "../trace.rs"]
#[expect(unreachable_pub, reason = "shared with other benches")]
mod trace;

use std::alloc::System;

use cap::Cap;

/// Counts allocated bytes.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

fn main() {
    let chosen: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    let parts: [(&str, fn()); 4] = [
        ("set", set::run),
        ("counter", counter::run),
        ("text", text::run),
        ("documents", documents::run),
    ];
    for (name, run) in parts {
        if chosen.is_empty() || chosen.iter().any(|choice| choice == name) {
            run();
        }
    }
}
