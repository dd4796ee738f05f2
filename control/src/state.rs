//! What the control group decides: a pure state machine over [`Command`]s.
//!
//! ```text
//! command      what may be asked, and the answers
//! placement    where a partition belongs
//! decided      ControlState: everything decided so far
//! apply        one command in, one response out
//! nodes        founding, join tokens, admission, removal
//! voters       which nodes vote
//! keyspaces    making, altering, dropping
//! users        making, granting, dropping
//! partitions   every partition goes where it belongs, step by step
//! recovery     what is left when a majority of the voters is lost for good
//! moves        the steps of one partition, and why no write is missed
//! ```
//!
//! Nothing here knows how the commands were agreed on: `consensus` feeds them in, and so do tests.

mod apply;
mod command;
mod decided;
mod keyspaces;
mod moves;
mod nodes;
mod partitions;
mod placement;
mod recovery;
mod users;
mod voters;

pub use command::{
    Alteration, Command, CommandRefusal, Grant, NewKeyspace, NewToken, NodeSpec, Response, TokenId,
};
pub use decided::{ControlState, Token};
pub use nodes::Entry;
pub use placement::place;
pub use recovery::GivenUp;

pub use crate::topology::LogIndex;

#[cfg(test)]
mod tests;
