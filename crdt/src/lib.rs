//! Convergent replicated values: replicas change them at any time, on their own, and agree again
//! once they have exchanged their changes.
//!
//! ```
//! use quorate_crdt::{Crdt, Delta, NodeId, OrMap, OrSet, ReplicaId, Replicated, ResetCounter};
//!
//! #[derive(Crdt)]
//! struct Cart {
//!     items: OrSet<String>,
//!     amounts: OrMap<String, ResetCounter>,
//!     #[crdt(lww)]
//!     paid: bool,
//! }
//!
//! let mut phone = Replicated::<Cart>::new(ReplicaId::new(NodeId(1), 0));
//! let mut laptop = Replicated::<Cart>::new(ReplicaId::new(NodeId(2), 0));
//!
//! let delta = phone.update(|cart, tx| {
//!     cart.items.add(tx, "bread".to_owned());
//!     cart.amounts.update(tx, "bread".to_owned(), |amount, tx| amount.add(tx, 2));
//! });
//! let bytes = delta.encode(); // send these, by whatever way
//!
//! let effects = laptop.merge(&Delta::decode(&bytes)?)?;
//! assert_eq!(effects.items.added, ["bread"]);
//! assert_eq!(laptop.amounts.get("bread").unwrap().value(), 2);
//! assert!(laptop == phone);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The library does no I/O, is not async, reads no clock, and uses no randomness in what is
//! replicated; without the default features it is `no_std` with `alloc`. Messages between replicas
//! may be lost, repeated and reordered without loss of data, and no bytes make decoding panic.
//!
//! # Four words
//!
//! - A **lattice** is a type whose values merge commutatively, associatively and idempotently, so
//!   the order and the number of merges do not matter.
//! - A **dot** ([`Dot`]) names one event: the n-th of one replica. Every change except a removal is
//!   one. Replicas that have seen the same events, of which the same are alive, hold the same
//!   value. A replica never issues a dot twice: one that loses its memory continues under a new
//!   incarnation of its [`ReplicaId`], and gets an error ([`Refused`]) if it does not.
//! - A **context** ([`CausalContext`]) is the exact set of dots seen. What is in the context and
//!   not alive in the value was overwritten or removed. So removals need no tombstones, and no old
//!   message undoes them.
//! - A **delta** ([`Delta`]) is a small value of the same type as the state, under the exact dots
//!   that it covers. Every transaction returns one, and merging it equals making the change. Send
//!   deltas as they arise; to a replica that has been away, send what [`Replicated::delta_since`]
//!   returns.
//!
//! # Which type to choose
//!
//! | you have | take | concurrent changes |
//! |---|---|---|
//! | tags, members, anything "in or out" | [`OrSet`] | adding wins over removing |
//! | a ban list, revoked rights | [`RwSet`] | removing wins over adding |
//! | a set with thousands of writers | [`ClSet`] | the longer history of the element wins |
//! | a set that only grows | [`GSet`] | all stay |
//! | a set where what is removed never returns | [`TwoPhaseSet`] | removing wins, for ever |
//! | a number that only grows | [`GCounter`] | all count |
//! | a number that goes up and down | [`PnCounter`] | all count |
//! | a number inside a map, or one to be reset | [`ResetCounter`] | all count; a reset removes what it has seen |
//! | stock, seats, money: never below zero | [`BoundedCounter`] | rights are used up and transferred |
//! | one value, the latest counts | [`LwwRegister`] | the later stamp wins, one write is lost |
//! | one value, no write may be lost | [`MvRegister`] | all are kept until a later write decides |
//! | on or off | [`EwFlag`], [`DwFlag`] | on wins, off wins |
//! | a map of any of these, with removable keys | [`OrMap`] | updating wins over removing; values merge |
//! | a map of plain values | [`LwwMap`] | the later stamp wins, per key |
//! | a ranking | [`SortedSet`] | increments add up; setting a score overwrites |
//! | an ordered list | [`List`] | insertions never interleave |
//! | text that people edit together | [`Text`] | the same, by character |
//! | folders, outlines, org charts | [`Tree`] | moves never make a cycle |
//! | a whole JSON document with its history | [`Document`](types), feature `document` | automerge's rules |
//! | the highest, the lowest, pairs, versions | [`Max`], [`Min`], [`Pair`], [`Lex`] | the greater, the smaller, by part, the later version |
//! | how many different ones, whether added, how often | [`HyperLogLog`], [`Bloom`], [`CountMin`], [`TopK`] | estimates that merge |
//!
//! Several of them together form a struct with [`#[derive(Crdt)]`](macro@Crdt). The page of each
//! type says what concurrent changes result in and what grows, and when it is collected.
//!
//! # Read on
//!
//! [`book`] explains the library in four short chapters: [how values merge](book::merging), [how
//! replicas find out what they lack](book::syncing), [what is stored and sent](book::bytes), [how
//! to make and check own types](book::own_types).

#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod book;
pub mod bugs;
pub mod causal;
#[cfg(feature = "std")]
pub mod clock;
pub mod codec;
#[cfg(feature = "planted-bugs")]
pub mod hunt;
pub mod id;
#[doc(hidden)]
pub mod key;
#[cfg(feature = "laws")]
pub mod laws;
pub mod planted;
mod refused;
mod replicated;
#[doc(hidden)]
pub mod secret;
mod stamp;
mod sync;
pub mod types;
#[doc(hidden)]
pub mod unknown;
mod value;

pub use causal::{Causal, CausalContext, Delta, DotFun, DotMap, DotSet, MapEffects, Observed};
#[cfg(feature = "std")]
pub use clock::{ClockConfigError, DRIFT_DEFAULT, DriftTooLarge, HybridClock};
pub use codec::{DecodeError, Limits};
pub use id::{Dot, NodeId, ReplicaId};
#[doc(hidden)]
pub use key::PublicKey;
#[cfg(feature = "derive")]
#[doc = include_str!("derive.md")]
pub use quorate_crdt_derive::Crdt;
pub use refused::Refused;
pub use replicated::{Replicated, Tx};
#[doc(hidden)]
pub use secret::Secret;
pub use stamp::{Hlc, Now, Stamp, StampOutOfRange};
pub use sync::{Stable, Standing, Summary};
pub use types::{Anchor, List, OutOfRange, SequenceEffect, Text};
#[cfg(feature = "document")]
pub use types::{
    Automerge, Change, ChangeHash, Document, DocumentEdit, DocumentError, Engine, Step, Write,
};
pub use types::{
    Bloom, Bool, BoundedCounter, ClSet, CountMin, Counted, GSet, HyperLogLog, Lex, LwwMap, Max,
    Min, NodeKey, NotEnoughRights, Pair, PairEffects, RwSet, SortedSet, TopK, Tree, TreeEffects,
    TwoPhaseSet,
};
pub use types::{
    DwFlag, EwFlag, GCounter, LwwRegister, MvRegister, OrMap, OrSet, PnCounter, ResetCounter,
    SetEffects,
};
pub use value::{
    Changed, Contexts, Crdt, DotStore, Edit, Effects, Key, Lattice, Local, Plain, Schema, Undotted,
};

/// Compiles and runs the code in the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
