//! The book: how this library works and how to work with it, in four short chapters.
//!
//! 1. [Merging](merging): dots, contexts, and why a removal needs no tombstone.
//! 2. [Syncing](syncing): deltas while you are connected, summaries when you come back.
//! 3. [Bytes](bytes): the encoding, its limits, and structs of different versions.
//! 4. [Own types](own_types): what a replicated type must guarantee, and how to check that it does.

#[doc = include_str!("book/merging.md")]
pub mod merging {}

#[doc = include_str!("book/syncing.md")]
pub mod syncing {}

#[doc = include_str!("book/bytes.md")]
pub mod bytes {}

#[doc = include_str!("book/own_types.md")]
pub mod own_types {}
