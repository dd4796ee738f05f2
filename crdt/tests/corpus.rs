//! Replays what the fuzzer has found (`crdt/fuzz/run`): each input, in bounded memory.

use std::alloc::System;
use std::fs;
use std::path::Path;

use cap::Cap;

#[path = "../fuzz/targets.rs"]
mod targets;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

/// One test, so that no other one allocates meanwhile.
#[test]
fn inputs_of_the_corpus_are_refused_or_are_values_and_take_bounded_memory() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    for (name, target) in targets::TARGETS {
        let mut files: Vec<_> = fs::read_dir(corpus.join(name)).expect(name).map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let mut values = 0;
        for file in &files {
            let input = fs::read(file).unwrap();
            println!("{}", file.display());
            // An allocation beyond the limit ends the process; the file was printed.
            ALLOCATOR.set_limit(ALLOCATOR.allocated() + targets::MEMORY).unwrap();
            values += usize::from(target(&input));
            ALLOCATOR.set_limit(usize::MAX).unwrap();
        }
        assert!(values > 0 && values < files.len(), "{name}: {values} of {} inputs are values", files.len());
    }
}
