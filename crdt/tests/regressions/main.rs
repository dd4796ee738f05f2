//! Faults that this library had, each with the name of its case. Defects of other libraries are in
//! `defects.rs`.

#![expect(clippy::unwrap_used, reason = "test helpers may panic like the tests")]

mod decoding;
mod documents;
mod exchange;
mod identities;
mod values;

use quorate_crdt::laws::replica;
use quorate_crdt::{Replicated, Schema};

fn at<T: Schema>(n: usize) -> Replicated<T> {
    Replicated::new(replica(n))
}
