//! The laws of replicated types, for every type of this crate. `quorate_crdt::laws` says what each
//! law is. Documents are in `document.rs`: their cases take much longer.

#[path = "../specs/mod.rs"]
mod specs;

mod counters;
mod maps;
mod registers;
mod sequences;
mod sets;
mod sketches;
mod steps;
mod trees;
