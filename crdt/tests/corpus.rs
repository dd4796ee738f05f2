//! Replays the fuzzer's seeds, with each byte changed, and its findings (`crdt/fuzz/run`), in
//! bounded memory.

use std::alloc::System;
use std::fs;
use std::path::Path;

use cap::Cap;

#[path = "../fuzz/targets.rs"]
mod targets;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// A single test, so that no other test allocates meanwhile.
#[test]
fn inputs_of_the_corpus_are_refused_or_are_values_and_take_bounded_memory() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let seeds = (target.seeds)();
        assert!(seeds.len() > 2, "{name}");
        for seed in &seeds {
            assert!(
                within_memory(*target, seed),
                "{name}: a seed is no value: {seed:?}"
            );
        }
        let files = fs::read_dir(corpus.join(name)).into_iter().flatten();
        let mut files: Vec<_> = files.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in &files {
            println!("{}", file.display());
            within_memory(*target, &fs::read(file).unwrap());
        }
        // Each byte of the seeds is changed; for documents, which are slow, only a sample.
        let step = if *name == "document" { 37 } else { 1 };
        let mut refused = 0;
        for seed in &seeds {
            for at in (0..seed.len()).step_by(step) {
                let mut changed = seed.clone();
                changed[at] ^= 1 << (at % 8);
                refused += usize::from(!within_memory(*target, &changed));
            }
        }
        assert!(refused > 0, "{name}: anything is a value");
    }
}

/// An allocation beyond the limit ends the process.
fn within_memory(target: targets::Target, input: &[u8]) -> bool {
    ALLOCATOR
        .set_limit(ALLOCATOR.allocated() + targets::MEMORY)
        .expect("the limit is above what is allocated");
    let is_value = (target.run)(input);
    ALLOCATOR
        .set_limit(usize::MAX)
        .expect("no limit is above what is allocated");
    is_value
}
