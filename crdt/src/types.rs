//! The replicated values: each a thin reading of a dot store, or a lattice of its own.

mod counter;
#[cfg(feature = "document")]
mod document;
mod flag;
mod list;
mod map;
mod register;
mod sequence;
mod set;
mod text;

pub use counter::{GCounter, PnCounter, ResetCounter};
#[cfg(feature = "document")]
pub use document::{Automerge, Change, ChangeHash, Document, DocumentEdit, DocumentError, Engine, Step, Write};
pub use flag::{DwFlag, EwFlag};
pub use list::List;
pub use map::OrMap;
pub use register::{LwwRegister, MvRegister};
pub use sequence::{Anchor, OutOfRange, SequenceEffect};
pub use set::{OrSet, SetEffects};
pub use text::Text;
