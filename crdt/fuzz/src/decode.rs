//! Feeds the decoder that `FUZZ_TARGET` names with the fuzzer's inputs.

#![no_main]

use std::alloc::System;
use std::sync::LazyLock;

use cap::Cap;
use libfuzzer_sys::fuzz_target;

#[path = "../targets.rs"]
mod targets;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

static TARGET: LazyLock<targets::Target> = LazyLock::new(|| {
    // Reporting the origin of a panic takes more memory than decoding may.
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        MEMORY
            .set_limit(usize::MAX)
            .expect("invariant: no limit is above what is allocated");
        tell(panic);
    }));
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let target = targets::TARGETS.iter().find(|(known, _)| *known == name);
    target
        .unwrap_or_else(|| panic!("FUZZ_TARGET is {name:?}, which targets.rs does not name"))
        .1
});

static TELL: LazyLock<bool> = LazyLock::new(|| std::env::var_os("FUZZ_TELL").is_some());

fuzz_target!(|bytes: &[u8]| {
    // An allocation beyond this fails, which ends the process: libFuzzer's own limit needs a
    // sanitizer.
    let target = *TARGET;
    let limit = MEMORY.allocated() + targets::MEMORY;
    MEMORY
        .set_limit(limit)
        .expect("invariant: the limit is above what is allocated");
    let is_value = (target.run)(bytes);
    MEMORY
        .set_limit(usize::MAX)
        .expect("invariant: no limit is above what is allocated");
    // For `run`, which chooses inputs to commit.
    if is_value && *TELL {
        println!("a value");
    }
});
