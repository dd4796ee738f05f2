//! The replicated types: each is a thin reading of a dot store, or a lattice of its own.

mod bounded;
mod clset;
mod counter;
mod delegate;
#[cfg(feature = "document")]
mod document;
mod entries;
mod flag;
mod gset;
mod lattice;
mod list;
mod lww_map;
mod map;
mod register;
mod rwset;
mod sequence;
mod set;
pub mod sketch;
mod sorted;
mod text;
mod tree;

pub use bounded::{BoundedCounter, NotEnoughRights};
pub use clset::ClSet;
pub use counter::{GCounter, PnCounter, ResetCounter};
#[cfg(feature = "document")]
pub use document::{
    Automerge, Change, ChangeHash, Document, DocumentEdit, DocumentError, Engine, Step, Write,
};
pub use flag::{DwFlag, EwFlag};
pub use gset::{GSet, TwoPhaseSet};
pub use lattice::{Bool, Lex, Max, Min, Pair, PairEffects};
pub use list::List;
pub use lww_map::LwwMap;
pub use map::OrMap;
pub use register::{LwwRegister, MvRegister};
pub use rwset::RwSet;
pub use sequence::{Anchor, OutOfRange, SequenceEffect};
pub use set::{OrSet, SetEffects};
pub use sketch::{Bloom, CountMin, Counted, HyperLogLog, TopK};
pub use sorted::SortedSet;
pub use text::Text;
pub use tree::{NodeKey, Tree, TreeEffects};
