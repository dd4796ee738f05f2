//! The replicated values: each a thin reading of a dot store, or a lattice of its own.

mod clset;
mod counter;
mod delegate;
mod flag;
mod gset;
mod lattice;
mod map;
mod register;
mod set;

pub use clset::ClSet;
pub use counter::{GCounter, PnCounter, ResetCounter};
pub use flag::{DwFlag, EwFlag};
pub use gset::{GSet, TwoPhaseSet};
pub use lattice::{Bool, Lex, Max, Min, Pair, PairEffects};
pub use map::OrMap;
pub use register::{LwwRegister, MvRegister};
pub use set::{OrSet, SetEffects};
