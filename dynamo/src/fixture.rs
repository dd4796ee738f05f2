//! What tests of cores and of replicas share.

use std::ops::ControlFlow;

use quorate_control::store::{MemoryStore, Space, Store};

/// How many records of a space begin with `name` behind the prefix of their partition.
pub(crate) fn records(store: &MemoryStore, space: Space, name: &[u8]) -> usize {
    let mut count = 0;
    let mut visit = |key: &[u8], _: &[u8]| {
        count += usize::from(key[6..].starts_with(name));
        ControlFlow::Continue(())
    };
    store.scan(space, &[], None, &mut visit).expect("memory");
    count
}
