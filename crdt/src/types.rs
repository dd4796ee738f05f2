//! The replicated values: each a thin reading of a dot store, or a lattice of its own.

mod bounded;
mod clset;
mod counter;
mod delegate;
mod entries;
mod flag;
mod gset;
mod lattice;
mod lww_map;
mod map;
mod register;
mod rwset;
mod set;
pub mod sketch;
mod sorted;
mod tree;

pub use bounded::{BoundedCounter, NotEnoughRights};
pub use clset::ClSet;
pub use counter::{GCounter, PnCounter, ResetCounter};
pub use flag::{DwFlag, EwFlag};
pub use gset::{GSet, TwoPhaseSet};
pub use lattice::{Bool, Lex, Max, Min, Pair, PairEffects};
pub use lww_map::LwwMap;
pub use map::OrMap;
pub use register::{LwwRegister, MvRegister};
pub use rwset::RwSet;
pub use set::{OrSet, SetEffects};
pub use sketch::{Bloom, CountMin, Counted, HyperLogLog, TopK};
pub use sorted::SortedSet;
pub use tree::{NodeKey, Tree, TreeEffects};
