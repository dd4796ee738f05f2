//! The Redis face: any Redis client speaks to the node through it.
//!
//! [`parse`] takes commands out of bytes; `table` says what each is; `commands` turns it into
//! operations of [`crate::doors::Data`] or answers at once; `connection` keeps replies in order;
//! [`serve`] accepts. [`client`] is the other side, for our own tools.

pub mod client;
#[expect(
    clippy::unnecessary_wraps,
    reason = "the command table calls all commands through the same few signatures"
)]
mod commands;
mod connection;
mod cursors;
mod encode;
mod glob;
mod held;
mod output;
pub mod parse;
mod refuse;
mod serve;
mod server;
mod session;
mod table;
mod work;

pub use serve::serve;
pub use server::RespConfig;
pub(crate) use session::{Asked, Wanted};
