//! JSON documents that several writers edit at once.

mod automerge;
mod change;
mod edit;
mod engine;
mod order;
mod replicated;
mod set;
#[cfg(test)]
mod tests;
mod view;

pub use self::automerge::Automerge;
pub use self::change::{Change, ChangeHash};
pub use self::edit::DocumentEdit;
pub use self::engine::{DocumentError, Engine, Step, Write};
pub use self::set::Document;
