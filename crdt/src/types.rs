//! The replicated values: each a thin reading of a dot store, or a lattice of its own.

mod counter;
#[cfg(feature = "document")]
mod document;
mod flag;
mod map;
mod register;
mod set;

pub use counter::{GCounter, PnCounter, ResetCounter};
#[cfg(feature = "document")]
pub use document::{Automerge, Change, ChangeHash, Document, DocumentEdit, DocumentError, Engine, Step, Write};
pub use flag::{DwFlag, EwFlag};
pub use map::OrMap;
pub use register::{LwwRegister, MvRegister};
pub use set::{OrSet, SetEffects};
