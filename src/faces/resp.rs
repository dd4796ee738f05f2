//! The Redis face, through which any Redis client talks to the node.
//!
//! [`parse`] cuts commands out of bytes; `table` describes every command; `commands` turns one into
//! operations of [`crate::doors::Data`], or answers it at once; `connection` keeps replies in
//! order; [`serve`] accepts connections, and [`serve_loading`] those that come too early.
//! [`client`] is the other side, for our own tools.

mod admit;
pub mod client;
#[expect(
    clippy::unnecessary_wraps,
    reason = "the command table calls all commands through the same few signatures"
)]
mod commands;
mod connection;
mod encode;
mod glob;
mod loading;
mod output;
pub mod parse;
mod permit;
mod refuse;
mod serve;
mod server;
mod session;
mod stats;
mod table;
mod transaction;
mod work;

pub use loading::serve_loading;
pub use serve::serve;
pub use server::RespConfig;
pub(crate) use session::{Asked, Wanted};
