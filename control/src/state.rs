//! What the control group decides: a pure state machine over [`Command`]s.
//!
//! ```text
//! command      what may be asked, and the answers
//! decided      ControlState: everything decided so far
//! apply        one command in, one response out
//! nodes        founding, join tokens, admission, removal
//! voters       which nodes vote
//! keyspaces    making, altering, dropping
//! users        making, granting, dropping
//! partitions   every partition goes where it belongs, step by step
//! moves        the steps of one partition, and why no write is missed
//! placement    where a partition belongs
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
mod users;
mod voters;

pub use command::{
    Command, CommandRefusal, Grant, LogIndex, NewKeyspace, NewToken, NodeSpec, Response, TokenId,
};
pub use decided::{ControlState, Token};
pub use placement::place;

#[cfg(test)]
mod tests;
